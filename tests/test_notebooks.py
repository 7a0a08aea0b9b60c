"""What notebooks work with and how they read: frames, tables, plots, and the order of their cells."""

import re
import shutil
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from report_support import begin, plausible_loss

from gon.claims.claim import Claim, published, rules
from gon.claims.coverage import after
from gon.claims.notebooks import check_parameters, notebook_path
from gon.claims.results import read_result
from gon.claims.statistics import mean_interval
from gon.claims.study import load_study
from gon.errors import GonError, UsageError
from gon.files import PROJECT
from gon.spec import RunSpec

CLAIMS = [claim.name for claim in load_study().claims]
SEEDS = [RunSpec(latent_dim=size, seed=seed) for size in (64, 128) for seed in (0, 1, 2)]


@pytest.fixture
def claim(tmp_path: Path) -> Claim:
    """Two latent sizes from three seeds; one seed of the larger was trained farther; and PCA."""
    study = load_study("quick")
    wanted = dict.fromkeys([*SEEDS, RunSpec(model="pca")], 2) | {SEEDS[-1]: 3}
    return begin(tmp_path / "latent_size", study.claim("latent_size"), study.budget, wanted, plausible_loss)


def test_a_frame_has_a_row_per_run_of_those_trained_farthest(claim: Claim) -> None:
    runs = claim.measured()
    assert [*zip(runs.model, runs.latent_dim, runs.seed, runs.epochs, strict=True)] == [
        ("gon", 64, 0, 2),
        ("gon", 64, 1, 2),
        ("gon", 64, 2, 2),
        ("gon", 128, 2, 3),
        ("pca", 64, 0, 2),
    ]
    by_digest = {run.spec.digest: run for run in claim.runs}
    assert [
        by_digest[d].record.loss("validation_loss", n) for d, n in zip(runs.run, runs.epochs, strict=True)
    ] == [pytest.approx(loss) for loss in runs.validation_loss]
    earlier = claim.measured(epochs=2)
    assert len(earlier) == 7 and set(earlier.epochs) == {2}
    assert len(claim.measured(epochs=3).query("model == 'gon'")) == 1


def test_losses_through_training_are_those_of_the_records(claim: Claim) -> None:
    runs = claim.measured().query("latent_dim == 64")
    history = claim.history(runs)
    first = next(run for run in claim.runs if run.spec == SEEDS[0])
    own = history[history.run == first.spec.digest]
    assert own.loss.tolist() == [epoch.validation_loss for epoch in first.record.history]
    training = claim.training(runs, points=10)
    assert (training.groupby("run").size() <= 10).all()
    blocks = training[training.run == first.spec.digest]
    steps = first.step_losses
    length = -(-len(steps) // 10)
    assert blocks.loss.iloc[0] == pytest.approx(sum(steps[:length]) / length)
    assert (training.model == "pca").sum() == 1  # computed, not trained


def test_a_table_averages_seeds_and_nothing_else(claim: Claim, tmp_path: Path) -> None:
    runs = claim.measured(epochs=2)
    shown = claim.add_table(
        "losses",
        pd.concat([runs, claim.published_values.query("dataset == 'mnist'")]),
        index=["latent_dim"],
        columns=["model"],
        values=["validation_loss"],
        caption="Losses.",
    )
    assert shown is not None
    assert shown.columns.tolist() == ["GON", "PCA", "published"] and shown.columns.name == "latent size"
    assert shown.loc["latent 64", "published"] == "0.59" and shown.loc["latent 256", "GON"] == "–"
    claim.judge()
    claim.save()
    result = read_result(tmp_path / "latent_size")
    (mean,) = (m for m in result.measurements if m.name == "losses/gon/64/validation_loss")
    values = runs.query("model == 'gon' and latent_dim == 64").validation_loss.tolist()
    assert mean.value == pytest.approx(sum(values) / 3)
    assert mean.interval == pytest.approx(mean_interval(values))
    assert (mean.label, mean.recorded, mean.epochs) == ("GON, latent 64", "validation_loss", 2)
    with pytest.raises(UsageError, match="differ in more than their seed"):
        claim.add_table("mixed", runs, index=["model"], values=["validation_loss"], caption="Sizes mixed.")


def test_a_number_that_the_notebook_computes_has_its_unit_and_what_is_missing(claim: Claim) -> None:
    runs = claim.measured(epochs=2).query("model == 'gon'")
    reached = runs.assign(**{"time to 40 (s)": [1.0, 2.0, *[float("nan")] * 4]})
    shown = claim.add_table(
        "speed",
        reached,
        index=["latent_dim"],
        values=["time to 40 (s)"],
        caption="Speed.",
        missing="not reached",
    )
    assert shown is not None
    assert shown["time to 40 (s)"].tolist() == ["not reached (seed 2)", "not reached"]
    measured = claim._measurements["speed/64/time to 40 (s)"]
    assert (measured.quantity, measured.unit, measured.recorded) == ("time to 40", "s", None)


def test_what_has_no_run_is_said_and_not_drawn(claim: Claim, capsys: pytest.CaptureFixture[str]) -> None:
    none = claim.measured().query("model == 'vae'")
    assert claim.add_table("t", none, index=["model"], values=["train_loss"], caption="None.") is None
    claim.add_plot("p", none, kind="dots", x="train_loss", y="model", hue="model", caption="None.")
    claim.add_images("i", none, "samples", by="model", caption="None.")
    assert capsys.readouterr().out.split("\n")[:3] == [
        "t: no run at this budget",
        "p: no run at this budget",
        "samples: none at this budget",
    ]


def test_a_name_stands_for_one_table(claim: Claim) -> None:
    runs = claim.measured(epochs=2)
    claim.add_table("t", runs, index=["model", "latent_dim"], values=["train_loss"], caption="One.")
    with pytest.raises(UsageError, match="'t' among the tables already"):
        claim.add_table("t", runs, index=["model", "latent_dim"], values=["train_loss"], caption="Two.")
    with pytest.raises(UsageError, match="'A b' is not allowed"):
        claim.add_table("A b", runs, index=["model", "latent_dim"], values=["train_loss"], caption="Three.")


@pytest.mark.parametrize("kind", ["lines", "dots"])
def test_a_plot_leaves_its_data_and_says_what_it_shows(claim: Claim, kind: str, tmp_path: Path) -> None:
    runs = claim.measured(epochs=2)
    x, y = ("latent_dim", "validation_loss") if kind == "lines" else ("validation_loss", "latent_dim")
    claim.add_plot("p", runs, kind=kind, x=x, y=y, hue="model", col="dataset", caption="Losses.")  # type: ignore[arg-type]
    claim.judge()
    claim.save()
    folder = tmp_path / "latent_size"
    figure = next(figure for figure in read_result(folder).figures if figure.name == "p")
    assert {"GON", "PCA", "MNIST"} <= set(re.findall(r"\w+", figure.alt))
    data = pd.read_csv(folder / figure.csv)
    assert data.validation_loss.tolist() == pytest.approx(runs.validation_loss.tolist())
    assert set(figure.runs) == set(runs.run)
    # One of the runs has gone farther than it is shown.
    assert max(run.epochs for run in claim.of(runs)) > 2 and after(figure) == "After 2 epochs."
    assert [(folder / panel).read_bytes()[:5] for panel in figure.panels] == [b"<?xml"]


@pytest.mark.parametrize("name", CLAIMS)
def test_rules_and_published_say_what_the_parameter_file_says(name: str) -> None:
    params = load_study().claim(name)
    quoted = published(name).data
    assert params.published.statement in quoted and params.published.source.where in quoted
    assert params.published.source.key not in quoted  # the work is named, not its key
    told = rules(name).data
    for rule in params.rules:
        assert rule.statement in told and f"Version {rule.version}" in told
    if params.rules:
        assert told.startswith("**Primary**") and told.count("*Confirmed* if") == told.count("*Refuted* if")


@pytest.mark.parametrize("name", CLAIMS)
def test_a_notebook_goes_from_the_quote_to_how_it_is_read(name: str) -> None:
    cells = nbformat.read(notebook_path(name), 4).cells
    sources = [cell.source for cell in cells]

    def first(pattern: str) -> int:
        return next(i for i, source in enumerate(sources) if re.search(pattern, source))

    order = [first(rf'published\("{name}"\)'), first(r"\$\$")]
    if load_study().claim(name).rules:
        order.append(first(rf'^rules\("{name}"\)'))
    order.append(next(i for i, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", [])))
    order += [first(r"load_runs\(\)"), first(r"add_(plot|images)\("), first(r"add_table\(")]
    order.append(first(r"claim\.save\(\)"))
    assert order == sorted(order)
    assert cells[-1].cell_type == "markdown" and sources[-1].startswith("## How to read it")


@pytest.mark.parametrize("path", sorted((PROJECT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_headings_nest_without_a_gap(path: Path) -> None:
    """The page puts them one level down, and a screen reader goes by their levels."""
    texts = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown"]
    levels = [len(marks) for text in texts for marks in re.findall(r"^(#+) ", text, re.MULTILINE)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(level <= before + 1 for before, level in zip(levels, levels[1:], strict=False))


def test_parameters_must_agree_on_both_sides() -> None:
    params = load_study().claim("two_step")
    check_parameters(params)
    other = params.model_copy(update={"parameters": {**params.parameters, "width": 16}})
    with pytest.raises(UsageError, match="parameters.width is none"):
        check_parameters(other)
    fewer = {key: value for key, value in params.parameters.items() if key != "dataset"}
    with pytest.raises(UsageError, match="sets dataset, which"):
        check_parameters(params.model_copy(update={"parameters": fewer}))


def test_a_copy_that_starts_the_claim_it_was_copied_from_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(PROJECT / "notebooks", tmp_path / "notebooks")
    (tmp_path / "notebooks" / "two_step.ipynb").rename(tmp_path / "notebooks" / "copy.ipynb")
    monkeypatch.setattr("gon.claims.notebooks.PROJECT", tmp_path)
    copy = load_study().claim("two_step").model_copy(update={"name": "copy"})
    with pytest.raises(UsageError, match="copy.ipynb: starts the claim 'two_step'; allowed is 'copy'"):
        check_parameters(copy)


@pytest.mark.parametrize("source", ["latent_dim = ", "latent_dim = 64\n%time", "x = " + "(" * 10_000])
def test_parameters_that_are_not_python_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    shutil.copytree(PROJECT / "notebooks", tmp_path / "notebooks")
    path = tmp_path / "notebooks" / "two_step.ipynb"
    notebook = nbformat.read(path, 4)
    next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])).source = source
    nbformat.write(notebook, path)
    monkeypatch.setattr("gon.claims.notebooks.PROJECT", tmp_path)
    with pytest.raises(GonError, match=r"two_step.ipynb: its cell tagged `parameters` is not Python \("):
        check_parameters(load_study().claim("two_step"))


def test_a_published_value_is_a_row_without_a_run(claim: Claim) -> None:
    values = claim.published_values
    assert "run" not in values and set(values.model) == {"published"} and set(values.epochs) == {500}
    rows = zip(values.dataset, values.latent_dim, values.validation_loss, strict=True)
    assert {f"{dataset}/{size}": value for dataset, size, value in rows} == claim.params.published.values
