"""Grids of runs: what a budget includes, what it leaves out, and what is refused."""

import shutil
from pathlib import Path

import pytest
import yaml

from gon import data
from gon.errors import UsageError
from gon.params import PROJECT, Study, load_study
from gon.runs import RunSpec


def study_with(tmp_path: Path, claim: str, change: dict[str, object], budget: str = "quick") -> Study:
    """The project's parameters with one claim's file changed."""
    folder = tmp_path / "params"
    shutil.copytree(PROJECT / "params", folder)
    path = folder / "claims" / f"{claim}.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
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
    assert [spec.model for spec in quick.claim("two_step").specs(quick.budget)] == ["gon"]
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
        ({"headline": {"question": "?", "rule": "r"}}, "headline: there is no rule 'r'; allowed are lower"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        study_with(tmp_path, "two_step", change).plan()


def test_budgets_say_how_many_seeds_and_a_person_may_change_it() -> None:
    assert [load_study(name).budget.seeds for name in ("quick", "standard", "paper")] == [1, 3, 5]
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
    ("key", "value"), [("version", 0), ("date", "soon"), ("alpha", 1.5), ("margin", -0.1), ("needs_seeds", 1)]
)
def test_a_rule_that_is_no_rule_is_refused(tmp_path: Path, key: str, value: object) -> None:
    rules = yaml.safe_load((PROJECT / "params/claims/two_step.yaml").read_text())["rules"]
    with pytest.raises(UsageError, match=f"two_step.yaml.*{key}"):
        study_with(tmp_path, "two_step", {"rules": [{**rules[0], key: value}]})
