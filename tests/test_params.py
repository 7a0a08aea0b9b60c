"""Grids of runs: what a budget includes, what it leaves out, and what is refused."""

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from gon.claims import params
from gon.claims.rules import LossRule
from gon.claims.strict_yaml import read_mapping, read_yaml
from gon.claims.study import Study, load_study
from gon.data import prepared as data
from gon.errors import UsageError
from gon.files import PROJECT
from gon.runs.store import RunStore
from gon.spec import RunSpec


def study_with(tmp_path: Path, claim: str, change: Mapping[str, object], budget: str = "quick") -> Study:
    """The project's parameters with one claim's file changed; with other runs it has no rules."""
    folder = tmp_path / "params"
    shutil.copytree(PROJECT / "params", folder)
    path = folder / "claims" / f"{claim}.yaml"
    without: dict[str, object] = {"rules": [], "primary": None, "headlines": []} if "runs" in change else {}
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **without, **change}))
    return load_study(budget, params=folder)


def test_what_a_budget_does_not_include_is_left_out_with_its_reason(tmp_path: Path) -> None:
    runs = [
        {"latent_dim": 8},
        {"latent_dim": 8, "model": ["vae", "glo"], "budgets": ["paper"]},
        {"latent_dim": 4, "budgets": ["smoke"]},
    ]
    quick = study_with(tmp_path, "two_step", {"runs": runs})
    requests = {r.spec.model: r.left_out for r in quick.claim("two_step").requests(quick.budget)}
    reason = "not part of the budget quick, but of paper"
    assert requests == {"gon": None, "vae": reason, "glo": reason}
    planned = {run.spec for run in quick.plan() if "two_step" in run.claims}
    assert planned == {RunSpec(latent_dim=8)}


def test_a_run_asked_for_twice_is_one_run_with_what_either_asks_for(tmp_path: Path) -> None:
    runs = [
        {"latent_dim": 8, "budgets": ["paper"]},
        {"latent_dim": 8, "evaluations": ["protocols"]},
    ]
    quick = study_with(tmp_path, "two_step", {"runs": runs})
    (request,) = quick.claim("two_step").requests(quick.budget)
    assert (request.left_out, request.evaluations) == (None, ("protocols",))


def test_a_data_set_that_cannot_be_had_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change = {"runs": [{"dataset": ["mnist", "cifar-10"]}]}
    quick = study_with(tmp_path, "two_step", change)
    assert quick.optional_datasets() == ["cifar-10"]
    monkeypatch.setattr(data, "absence", lambda name: "no server answered" if name == "cifar-10" else None)
    requests = {r.spec.dataset: r.left_out for r in quick.claim("two_step").requests(quick.budget)}
    assert requests == {"mnist": None, "cifar-10": "no server answered"}
    monkeypatch.setattr(data, "absence", lambda name: None)
    assert all(r.left_out is None for r in quick.claim("two_step").requests(quick.budget))


def test_optional_data_sets_are_part_of_the_larger_budgets_only() -> None:
    assert load_study("quick").optional_datasets() == []
    assert load_study("smoke").optional_datasets() == []
    assert load_study("standard").optional_datasets() == ["cifar-10", "small-norb"]


def test_pca_is_planned_once_for_all_budgets() -> None:
    epochs = {run.spec.model: run.epochs for run in load_study("paper").plan()}
    assert (epochs["pca"], epochs["gon"]) == (1, 500)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runs": [{"budgets": ["quik"]}]}, "two_step.yaml: runs.budgets: 'quik' is not known; allowed are"),
        ({"runs": [{"evaluations": ["all"]}]}, "two_step.yaml: .*'all' is not known; allowed are protocols"),
        ({"runs": [{"model": "ae"}]}, "two_step.yaml.*model: 'ae' is not known; allowed are gon"),
        (
            {"runs": [{"model": "pca", "width": 3}]},
            "width: 3 has no effect on the model 'pca'; allowed is 16",
        ),
        ({"runs": [{"split": "half"}]}, "split: 'half' is not known; allowed are test, held_out"),
        (
            {"headlines": [{"question": "?", "rules": ["r"]}]},
            "headlines: there is no rule 'r'; allowed are lower",
        ),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        study_with(tmp_path, "two_step", change).plan()


def test_budgets_say_how_many_seeds_and_a_person_may_change_it() -> None:
    assert [load_study(name).budget.seeds for name in ("quick", "standard", "paper", "reference")] == [
        1,
        5,
        5,
        5,
    ]
    study = load_study("quick", ["seeds=2"])
    runs = [run.spec for run in study.plan() if "two_step" in run.claims]
    assert sorted((spec.inner_steps, spec.seed) for spec in runs) == [(1, 0), (1, 1), (2, 0), (2, 1)]
    with pytest.raises(UsageError, match="seeds"):
        load_study("quick", ["seeds=0"])


def test_a_seed_in_a_grid_stands_and_a_computed_model_has_one(tmp_path: Path) -> None:
    change = {"runs": [{"latent_dim": 8, "seed": 7}, {"model": "pca", "latent_dim": 8}]}
    study = study_with(tmp_path, "two_step", change, "standard")
    seeds = [(run.spec.model, run.spec.seed) for run in study.plan() if "two_step" in run.claims]
    assert seeds == [("gon", 7), ("pca", 0)]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", 0),
        ("date", "soon"),
        ("alpha", 1.5),
        ("margin", -0.1),
        ("seeds", 2),
        ("epochs", []),
        ("epochs", [5, 1]),
        ("quantity", "accuracy"),
        ("compare", {"lower": {"inner_steps": 2}}),
        ("compare", {"falling": {"inner_steps": 2}}),
        ("compare", {"falling": {"inner_steps": [1, 2]}, "lower": {"inner_steps": 1}}),
    ],
)
def test_a_rule_that_is_no_rule_is_refused(tmp_path: Path, key: str, value: object) -> None:
    rules = yaml.safe_load((PROJECT / "params/claims/two_step.yaml").read_text())["rules"]
    with pytest.raises(UsageError, match=f"two_step.yaml.*{key}"):
        study_with(tmp_path, "two_step", {"rules": [{**rules[0], key: value}, *rules[1:]]})


def test_a_claim_with_rules_names_its_primary_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="primary: missing; one of the rules lower_training_loss, .* is"):
        study_with(tmp_path, "two_step", {"primary": None})
    with pytest.raises(UsageError, match="primary: there is no rule 'x'"):
        study_with(tmp_path / "other", "two_step", {"primary": "x"})


def settings(pairs: list[tuple[RunSpec, RunSpec]], *keys: str) -> list[tuple[tuple[object, ...], ...]]:
    return [tuple(tuple(getattr(spec, key) for key in keys) for spec in pair) for pair in pairs]


def test_a_rule_expands_to_the_pairs_of_its_file() -> None:
    study = load_study("quick")
    rules = {(claim.name, rule.name): (claim, rule) for claim in study.claims for rule in claim.rules}

    def pairs(claim: str, rule: str) -> list[tuple[RunSpec, RunSpec]]:
        params, found = rules[claim, rule]
        return params.pairs(found, study.budget)

    assert settings(pairs("two_step", "lower_training_loss"), "inner_steps") == [((2,), (1,))]
    assert settings(pairs("latent_size", "larger_is_better"), "dataset", "latent_dim") == [
        ((dataset, large), (dataset, small))
        for dataset in ("mnist", "fashion-mnist")
        for small, large in ((64, 128), (128, 256))
    ]
    others = [low for _, low in pairs("activations", "elu_is_lowest")]
    assert [spec.activation for spec in others] == ["relu", "tanh", "leaky_relu", "softplus"]
    assert (
        settings(pairs("model_comparison", "same_parameters"), "model", "width", "latent_dim")
        == [(("gon", 29, 256), ("autoencoder", 16, 256))] * 2
    )
    assert len(pairs("model_comparison", "lowest_mnist")) == 10


def test_rules_of_the_reference_budget_find_every_run_that_they_compare() -> None:
    """At the published lengths, from the seeds that they name: nothing is left out by the plan."""
    study = load_study("reference")
    planned = {run.spec: run.epochs for run in study.plan()}
    for claim in study.claims:
        for rule in claim.rules:
            for spec in {spec for pair in claim.pairs(rule, study.budget) for spec in pair}:
                if not isinstance(rule, LossRule):
                    continue
                for seed in range(rule.seeds) if spec.model != "pca" else [0]:
                    epochs = spec.epochs_at(rule.epochs[-1])
                    run = dataclasses.replace(spec, seed=seed)
                    assert planned.get(run, 0) >= epochs, (rule.name, run)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("two_step.inner_steps=[1]", "the rule 'lower_training_loss' of two_step has nothing to compare"),
        ("latent_size.latent_dims=[64]", "the rule 'larger_is_better' of latent_size has nothing to compare"),
        ("latent_size.latent_dims=[64, 64]", "64 occurs more than once"),
        ("epochs=010", "'010' means different things"),
        ("epochs=1:30", "'1:30' means different things"),
        ("epochs=1_0", "'1_0' means different things"),
        ("seeds=0x3", "'0x3' means different things"),
        ("two_step.latent_dim=yes", "'yes' means different things"),
        ("two_step.dataset=no", "'no' means different things"),
    ],
)
def test_parameters_that_leave_nothing_to_do_or_to_guess_are_refused_at_once(
    override: str, message: str
) -> None:
    with pytest.raises(UsageError, match=f"--set .*{message}"):
        load_study("quick", [override])


def test_a_number_in_scientific_notation_is_a_number() -> None:
    assert read_yaml("[1e-4, 2.5E3, '1e-4', 010a]") == [1e-4, 2500.0, "1e-4", "010a"]
    with pytest.raises(yaml.YAMLError, match="the key 'a' occurs more than once"):
        read_yaml("{a: 1, a: 2}")


def test_a_seed_that_no_rule_names_is_refused(tmp_path: Path) -> None:
    whole = yaml.safe_load((PROJECT / "params/claims/two_step.yaml").read_text())
    runs = [{**whole["runs"][0], "seed": [0, 3]}]
    change = {"runs": runs, "rules": whole["rules"], "primary": whole["primary"]}
    with pytest.raises(UsageError, match="runs.seed: 3 is named by no rule; allowed are 0 to 2"):
        study_with(tmp_path, "two_step", change)


def test_a_grid_goes_as_far_as_it_says_and_a_person_may_change_it(tmp_path: Path) -> None:
    runs = [
        {"latent_dim": 8},
        {"latent_dim": 8, "at": {"quick": {"epochs": 7, "seeds": 2, "stages": [3, 4]}}},
    ]
    study = study_with(tmp_path, "two_step", {"runs": runs})
    planned = {run.spec.seed: run for run in study.plan() if "two_step" in run.claims}
    assert {seed: (run.epochs, dict(run.stages)) for seed, run in planned.items()} == {
        0: (7, {1: 9, 7: 3}),
        1: (7, {7: 4}),
    }
    study = load_study("quick", ["epochs=2", "seeds=1"], params=tmp_path / "params")
    assert [run.epochs for run in study.plan() if "two_step" in run.claims] == [2]


def test_run_stores_may_lie_outside_the_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load_study("quick").budget.run_store.root == PROJECT / "runs" / "full"
    monkeypatch.setenv("GON_RUNS_DIR", str(tmp_path))
    assert load_study("quick").budget.run_store.root == tmp_path / "full"


def test_a_report_takes_recorded_runs_as_far_as_they_have_come(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The store counts first, then the reference records; what neither has is left out."""
    monkeypatch.setenv("GON_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setattr(params, "REFERENCE", tmp_path / "records")
    study = load_study("reference")
    claim, budget = study.claim("two_step"), study.budget
    one, two, three = (RunSpec(seed=seed) for seed in range(3))
    for root, spec, epochs in (
        (tmp_path / "records", one, 50),
        (tmp_path / "records", two, 5),  # it has come less far than the others
        (tmp_path / "runs/full", two, 50),
        (tmp_path / "runs/full", two, 200),  # beyond what is asked for
    ):
        path = RunStore(root).record_path(spec, epochs)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    found = {r.spec: (r.epochs, r.left_out) for r in claim.available(budget)}
    assert (found[one], found[two], found[three]) == ((50, None), (50, None), (50, "not trained yet"))
    stores = [budget.found(spec, 50) for spec in (one, two, three)]
    assert [entry and entry[0].root for entry in stores] == [
        tmp_path / "records",
        tmp_path / "runs/full",
        None,
    ]
    assert all(r.epochs == 50 and r.left_out is None for r in claim.requests(budget) if r.spec in found)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("store", "../elsewhere", "store"),
        ("store", "/tmp/x", "store"),
        ("store", "x; touch hacked", "store"),
        ("store", "", "store"),
        ("report", "gon", "report"),
        ("report", "report/../notebooks", "report"),
        ("report", "report; touch hacked", "report"),
        ("epochs", 20_001, "epochs: 20001 is not allowed .*20000"),
        ("seeds", 10**12, "seeds: 1000000000000 is not allowed .*20000"),
    ],
)
def test_a_budget_names_no_place_outside_and_no_number_without_end(
    tmp_path: Path, key: str, value: object, words: str
) -> None:
    shutil.copytree(PROJECT / "params", tmp_path / "params")
    path = tmp_path / "params" / "budgets.yaml"
    budgets = yaml.safe_load(path.read_text())
    budgets["quick"][key] = value
    path.write_text(yaml.safe_dump(budgets))
    with pytest.raises(UsageError, match=f"budgets.yaml: quick.{words}"):
        load_study("quick", params=tmp_path / "params")


@pytest.mark.parametrize("name", ["x; touch hacked", "--help", "a b", "ä", "$(id)"])
def test_names_are_of_letters_digits_and_signs_that_no_shell_reads(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "params"
    shutil.copytree(PROJECT / "params", folder)
    (folder / "claims" / "two_step.yaml").rename(folder / "claims" / f"{name}.yaml")
    with pytest.raises(UsageError, match="name: .* is not allowed"):
        load_study(params=folder)


@pytest.mark.parametrize("key", ["x; import os", "class", "a-b", ""])
def test_a_parameter_is_a_name_since_it_becomes_one_in_the_notebook(tmp_path: Path, key: str) -> None:
    with pytest.raises(UsageError, match="parameters: .* is not allowed"):
        study_with(tmp_path, "two_step", {"parameters": {key: 1}, "runs": [{"latent_dim": 8}]})


def test_a_seed_that_has_come_less_far_is_not_taken_with_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept on its way to the budget's epochs; beyond them a run counts at the milestones."""
    monkeypatch.setenv("GON_RECORDS_DIR", str(tmp_path))
    monkeypatch.setenv("GON_RUNS_DIR", str(tmp_path / "none"))
    budget, spec, store = load_study("reference").budget, RunSpec(latent_dim=64), RunStore(tmp_path)
    store.folder(spec).mkdir()
    for recorded, asked, found in (
        (1, 1, 1),
        (5, 50, None),
        (37, 50, None),
        (50, 50, 50),
        (137, 500, 50),
        (200, 500, 200),
        (499, 500, 200),
        (500, 500, 500),
    ):
        store.record_path(spec, recorded).touch()
        reached = budget.found(spec, asked)
        assert (reached and reached[1]) == found, (recorded, reached)


def test_a_grid_without_end_is_refused_before_it_is_made(tmp_path: Path) -> None:
    wide = {key: list(range(1, 4000)) for key in ("latent_dim", "width", "batch_size")}
    with pytest.raises(UsageError, match=r"\d{11} runs or pairs; at most 300000 are allowed"):
        study_with(tmp_path, "two_step", {"runs": [wide]})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("&a [*a]", "an alias stands inside what it repeats"),
        ("[" * 3000, "nested too deep"),
        ("9" * 5000, "is no int"),
        ("1e999", "too large for a number"),
        ("2026-02-30", "is no timestamp"),
        ("!!timestamp x", "is no timestamp"),
        ("? [a]\n: b", "a key is a text or a number"),
        (
            "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 9)}]\n" for n in range(12)),
            "holds more than 20000 values",
        ),
        ("a: 1\n" * 60_000, "300000 bytes; at most 262144 are allowed"),
    ],
)
def test_yaml_that_does_not_end_or_means_nothing_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=f"x.yaml: .*{words}"):
        read_mapping(path)
