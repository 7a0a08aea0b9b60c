"""Forgeries above the records: each is refused, however well its digests are made to agree again."""

import dataclasses
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from bs4 import BeautifulSoup
from narrow import there
from report_support import add_tables, build, make_claim, make_notebook, runs_of, study_of

from gon.catalogue import DATASETS
from gon.claims.claim import Claim
from gon.claims.executed import seal_notebook
from gon.claims.loading import RunLoader
from gon.claims.measuring import frame_of
from gon.claims.results import ClaimResult, write_result
from gon.errors import GonError
from gon.files import PROJECT
from gon.reporting.build import build_report
from gon.reporting.read import ReportParts
from gon.runs.store import RunStore

Content = dict[str, Any]
"""A result as it stands in its file."""


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two claims on five seeds, whose report is made."""
    folder = tmp_path_factory.mktemp("honest") / "claims"
    for name in ("latent_size", "two_step"):
        make_claim(folder / name, name, overrides=["seeds=5"], rule_epochs=1)
    build([folder / "latent_size"], folder.parent / "report")
    return folder


def refused(claim: Path, words: str) -> None:
    """Check that no report is made of a claim's folder, and why."""
    report = claim.parents[1] / "refused"
    with pytest.raises(GonError, match=words):
        build([claim], report)
    assert not report.exists()


def doctored(claim: Path, change: Callable[[Content], object], *, tables: bool = True) -> None:
    """Change a result and seal it again, as somebody would who has read this code; its tables likewise."""
    path = claim / "result.json"
    content: Content = json.loads(path.read_text(encoding="utf-8"))
    content.pop("seal")
    change(content)
    result = ClaimResult.model_validate_json(json.dumps(content))
    for table in result.tables if tables else []:
        numbers = frame_of(table.columns, table.rows, {m.name: m for m in result.measurements})
        (claim / table.csv).write_text(numbers.to_csv(index=False), encoding="utf-8")
    write_result(result, claim)


@pytest.fixture
def claim(honest: Path) -> Any:
    """The claim on latent sizes; whatever is done to it is undone."""
    folder, original = honest / "latent_size", honest.parent / "original"
    shutil.copytree(folder, original)
    yield folder
    shutil.rmtree(folder)
    original.rename(folder)


def halve(content: Content) -> None:
    """All numbers of a measurement by half, each mean that of its values."""
    of = content["measurements"][0]
    of["value"] /= 2
    of["interval"] = [bound / 2 for bound in of["interval"]]
    for entry in of["values"]:
        entry["value"] /= 2


def one_run_as_five(content: Content) -> None:
    of = content["measurements"][0]
    of["values"] = 5 * [of["values"][0]]
    of["value"], of["interval"] = of["values"][0]["value"], None


def best_seeds(content: Content) -> None:
    of = content["measurements"][0]
    of["values"] = sorted(of["values"], key=lambda entry: entry["value"])[:1]
    of["value"], of["interval"] = of["values"][0]["value"], None


def another_setting(content: Content) -> None:
    """The runs of the best setting behind the number of another one."""
    of, *others = content["measurements"]
    best = min(others, key=lambda m: m["value"])
    of.update({key: best[key] for key in ("values", "value", "interval")})


def swapped_rows(content: Content) -> None:
    rows = content["tables"][0]["rows"]
    rows[0][1:], rows[1][1:] = rows[1][1:], rows[0][1:]


def as_if_computed(content: Content) -> None:
    """A number that no record holds, said to be the notebook's own, of a run that has not come so far."""
    content["measurements"][0].update(recorded=None, epochs=500)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (halve, "its record says"),
        (one_run_as_five, "a run is named more than once"),
        (best_seeds, r"chosen seeds; allowed are the first ones, \[0\]"),
        (another_setting, "is of latent_dim|is of dataset"),
        (swapped_rows, "table table_1: .* stands in row"),
        (as_if_computed, "is said to be after 500 epochs; the run has 1"),
        (lambda r: r["measurements"][0].update(epochs=500), "is said to be after 500 epochs"),
        (lambda r: r["measurements"][0]["values"][0].update(seed=3), "is said to be of seed 3"),
        (lambda r: r["measurements"][0].update(recorded="train_loss"), "its record says"),
        (lambda r: r["measurements"][0].update(recorded="guess"), "'guess' is no quantity"),
        (lambda r: r["measurements"][0].update(value=0.1), "the mean of its values"),
        (lambda r: r["measurements"][0].update(interval=[1.0, 1.1]), "is not that of its values"),
        (lambda r: r["measurements"][0]["values"][0].update(run="0" * 16), "is not among the claim's runs"),
        (lambda r: r["records"].pop(), "is in this report only"),
        (lambda r: r["records"][0].update(epochs=500), "is in the notebook only"),
        (lambda r: r["records"][0].update(sha256="0" * 64), "is in the notebook only"),
    ],
)
def test_a_result_that_records_do_not_bear_out_is_refused(
    claim: Path, change: Callable[[Content], object], words: str
) -> None:
    doctored(claim, change)
    refused(claim, words)


@pytest.mark.parametrize("key", ["budget", "rules", "published", "verdicts"])
def test_a_result_cannot_bring_rules_or_a_budget_of_its_own(claim: Path, key: str) -> None:
    path = claim / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: {}}), encoding="utf-8")
    refused(claim, f"result.json: not a claim result: {key}: Extra inputs")


def test_a_table_and_a_figure_are_bound_to_the_result(claim: Path) -> None:
    for name in ("tables/table_1.csv", "figures/curves.svg", "figures/curves.csv", "result.json"):
        path = claim / name
        good = path.read_text(encoding="utf-8")
        at = max(good.rindex(digit) for digit in "0123456789" if digit in good)
        path.write_text(f"{good[:at]}{(int(good[at]) + 1) % 10}{good[at + 1 :]}", encoding="utf-8")
        assert path.read_text(encoding="utf-8") != good
        refused(claim, f"{name}: altered after it was written")
        path.write_text(good, encoding="utf-8")
    path = claim / "tables/table_1.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("4", "3", 1), encoding="utf-8")
    doctored(claim, lambda content: None, tables=False)
    refused(claim, "table_1.csv: does not hold the numbers of its table")


def test_an_executed_notebook_is_bound_to_its_source_and_its_result(claim: Path, tmp_path: Path) -> None:
    source, result = PROJECT / "notebooks" / "latent_size.ipynb", claim / "result.json"
    path = make_notebook(tmp_path / "latent_size.ipynb")
    build([claim], tmp_path / "report", [path])  # seals it

    def refuse(words: str) -> None:
        with pytest.raises(GonError, match=words):
            build_report(study_of([claim]), ReportParts([claim], [path]), tmp_path / "other")

    good = path.read_text(encoding="utf-8")
    path.write_text(good.replace("not bold", "wonderful"), encoding="utf-8")
    refuse("latent_size.ipynb: altered after it was executed")
    path.write_text(good, encoding="utf-8")
    seal_notebook(path, PROJECT / "notebooks" / "two_step.ipynb", result)
    refuse("was executed from another notebook than")
    seal_notebook(path, source, claim.parent / "two_step" / "result.json")
    refuse("left another result than")
    notebook = nbformat.read(path, as_version=4)
    del notebook.metadata["gon"]
    nbformat.write(notebook, path)
    refuse("altered after it was executed")


def test_one_training_cannot_be_given_as_several_seeds(tmp_path: Path) -> None:
    """The losses of seed 0 under the name of seed 1, sealed as any record, and a result made of them."""
    claim = tmp_path / "claims" / "latent_size"
    make_claim(claim, "latent_size", overrides=["seeds=3"], rule_epochs=1)
    store, study = RunStore(runs_of(claim)), study_of([claim])
    params = study.claim("latent_size")
    requests = params.available(study.budget)
    first = next(request.spec for request in requests if not request.spec.entry.exact)
    second = dataclasses.replace(first, seed=1)
    original = store.load(first, 1)
    losses = store.steps_of(original)
    shutil.rmtree(store.folder(second))
    store.save(dataclasses.replace(original, spec=second, files={}), losses)
    again = Claim(params, study.budget, claim)
    again.runs = RunLoader(study.budget).runs(requests)
    add_tables(again)
    again.judge()
    again.save()
    refused(claim, f"has the losses of run {first.digest} .* at every step of the first epoch")


def test_altered_images_are_refused_unless_asked_for_and_then_told_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = tmp_path / "claims" / "two_step"
    monkeypatch.setitem(DATASETS["mnist"].sha256, "train", "a" * 64)
    make_claim(claim, "two_step")
    monkeypatch.undo()
    with pytest.raises(GonError, match="the train images are altered: their SHA-256 is aaaa"):
        build([claim], tmp_path / "report")
    monkeypatch.setenv("GON_ALTERED_DATA", "mnist")
    build([claim], tmp_path / "report")
    page = BeautifulSoup((tmp_path / "report/index.html").read_text(encoding="utf-8"), "html.parser")
    warning = there(page.select_one("#summary .warning")).get_text()
    assert "The images of MNIST are not those that were published" in " ".join(warning.split())


@pytest.mark.parametrize(
    "times", [25, pytest.param(400, marks=[pytest.mark.long, pytest.mark.timeout(1800)])]
)
def test_whatever_is_altered_is_caught_or_changes_nothing(tmp_path: Path, times: int) -> None:
    """A random character of a random file of results, notebooks and runs, many times over."""
    claim = tmp_path / "claims" / "two_step"
    make_claim(claim, "two_step", overrides=["seeds=3"], rule_epochs=1)
    notebook = make_notebook(tmp_path / "two_step.ipynb")
    build([claim], tmp_path / "report", [notebook])
    names = ("index.html", "notebooks/two_step.html", "data/runs.csv", "data/two_step/result.json")
    honest = {name: (tmp_path / "report" / name).read_bytes() for name in names}
    files = sorted(path for path in (tmp_path / "claims").rglob("*") if path.is_file()) + [notebook]
    dice = random.Random(16)
    caught = 0
    for _ in range(times):
        path = dice.choice(files)
        good = path.read_bytes()
        at = dice.randrange(len(good))
        altered = bytes([dice.choice([good[at] ^ 1, *b"0123456789"])])
        path.write_bytes(good[:at] + altered + good[at + 1 :])
        try:
            build_report(study_of([claim]), ReportParts([claim], [notebook]), tmp_path / "other")
        except GonError:
            caught += 1
        else:
            for name, content in honest.items():
                assert (tmp_path / "other" / name).read_bytes() == content, (path, at, altered)
        path.write_bytes(good)
    assert caught
