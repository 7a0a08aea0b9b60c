"""`gon diff`: what differs between two reports, as the terminal shows it and as a script reads it."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report_support import build, make_claim, plausible_loss

from gon.catalogue import DATASETS
from gon.diff import Row, compare, read_side
from gon.files import PROJECT, sealed, sha256_of_file
from gon.runs.record import RunRecord
from gon.runs.store import RunStore
from gon.spec import RunSpec

CLAIMS = ("two_step", "latent_size")


def make_report(folder: Path, *names: str, **options: Any) -> Path:
    """A report of claims with made-up losses."""
    for name in names:
        make_claim(folder / "claims" / name, name, **options)
    build([folder / "claims" / name for name in names], folder / "report", [])
    return folder / "report"


def worse_second_step(spec: RunSpec) -> float:
    """The second inner step does harm."""
    return plausible_loss(spec) * (1.5 if spec.inner_steps == 2 else 1.0)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Some reports. Tests only read them."""
    folder = tmp_path_factory.mktemp("reports")
    return {
        "one": make_report(folder / "one", *CLAIMS, rule_epochs=1),
        "again": make_report(folder / "again", *CLAIMS, rule_epochs=1),
        "worse": make_report(folder / "worse", *CLAIMS, rule_epochs=1, loss=worse_second_step),
        "longer": make_report(folder / "longer", "two_step", budget="standard", overrides=("seeds=2",)),
    }


def gon_diff(*arguments: object, columns: int = 80) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gon.cli", "diff", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": str(columns)}
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)


def found(first: Path, second: Path) -> dict[str, list[Row]]:
    return compare(read_side(str(first)), read_side(str(second)))


def test_equal_reports_do_not_differ(reports: dict[str, Path]) -> None:
    assert not any(found(reports["one"], reports["again"]).values())
    done = gon_diff(reports["one"], reports["again"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"A: {reports['one']}\nB: {reports['again']}\nA and B do not differ\n"


def test_other_losses_show_as_numbers_verdicts_and_runs_and_nothing_else(reports: dict[str, Path]) -> None:
    differing = found(reports["one"], reports["worse"])
    assert not differing["Settings"] and not differing["Environment"]
    assert all(row.what.startswith("two_step: ") for row in differing["Numbers"])
    numbers = {row.what.removeprefix("two_step: "): row for row in differing["Numbers"]}
    # 0.84 of the loss with one step before, 1.26 of it now.
    row = numbers["2 inner steps, validation loss"]
    assert float(row.second) / float(row.first) == pytest.approx(1.5, abs=0.01)
    assert row.note == "+50%"
    assert not any(what.startswith("1 inner step, validation") for what in numbers)
    assert len(differing["Verdicts"]) == 4
    for verdict in differing["Verdicts"]:
        assert "point the published way" in verdict.first and "point against" in verdict.second
    assert len(differing["Runs"]) == 1 and "2 inner steps" in differing["Runs"][0].what


def test_another_budget_shows_as_settings_and_as_claims_that_only_one_has(reports: dict[str, Path]) -> None:
    rows = {row.what: (row.first, row.second) for row in found(reports["one"], reports["longer"])["Settings"]}
    assert rows["budget"] == ("quick", "standard")
    assert rows["epochs"] == ("1", "50")
    assert rows["seeds"] == ("1", "2")
    assert rows["changed by hand"] == ("–", "seeds=2")
    assert rows["claim latent_size"] == ("present", "–")
    assert "two_step: rule lower_training_loss" not in rows  # it is the same rule


def change_records(report: Path, target: Path, change: Callable[[RunRecord], RunRecord]) -> Path:
    """A copy of a report whose records are others, sealed as they would be."""
    shutil.copytree(report, target)
    store = RunStore(target / "data/runs")
    for path in sorted(store.root.glob("*/epochs-*[0-9].json")):
        record = RunRecord.from_json(path.read_text(), path)
        losses = store.load_steps(record.spec, record.epochs)
        before, saved = sha256_of_file(path), store.save(change(record), losses)
        assert saved.spec == record.spec
        for result in target.glob("data/*/result.json"):
            content = json.loads(result.read_text().replace(before, sha256_of_file(path)))
            content.pop("seal")
            result.write_text(sealed(content, indent=1))
    return target


def on(record: RunRecord, **update: Any) -> RunRecord:
    sessions = [dataclasses.replace(session, **update) for session in record.sessions]
    return dataclasses.replace(record, sessions=sessions)


@pytest.mark.parametrize(
    ("change", "row"),
    [
        (
            lambda r: on(r, versions={**r.sessions[0].versions, "torch": "2.14.0"}),
            Row("torch", "2.13.0", "2.14.0"),
        ),
        (
            lambda r: on(r, machine={**r.sessions[0].machine, "processor": "Other"}),
            Row("processor", "Some Processor 3000", "Other"),
        ),
        (lambda r: on(r, commit=None), Row("commit", "0123456789ab", "None")),
    ],
)
def test_each_kind_of_environment_is_a_row(
    reports: dict[str, Path], tmp_path: Path, change: Callable[[RunRecord], RunRecord], row: Row
) -> None:
    differing = found(reports["one"], change_records(reports["one"], tmp_path / "changed", change))
    assert differing.pop("Environment") == [row]
    assert not any(differing.values())


def test_other_data_show_as_environment_and_runs(
    reports: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GON_ALTERED_DATA", "mnist,fashion-mnist")
    changed = change_records(
        reports["one"],
        tmp_path / "changed",
        lambda r: dataclasses.replace(r, data={**r.data, "train": "2" * 64}),
    )
    differing = found(reports["one"], changed)
    known = DATASETS["mnist"].sha256["train"]
    assert Row("mnist: train", known[:12], "2" * 12) in differing["Environment"]
    assert differing["Runs"] and not differing["Settings"] and not differing["Numbers"]


def test_another_margin_shows_as_a_setting(reports: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(reports["one"], tmp_path / "changed")
    params = tmp_path / "changed/params/claims/two_step.yaml"
    params.write_text(params.read_text().replace("margin: 0.05", "margin: 0.5", 1))
    rows = found(reports["one"], tmp_path / "changed")["Settings"]
    assert [row.what for row in rows] == ["two_step: rule lower_training_loss"]
    assert "margin 5%; level 97.5%" in rows[0].first and "margin 50%;" in rows[0].second


def test_the_terminal_shows_tables_that_fit_it(reports: dict[str, Path]) -> None:
    done = gon_diff(reports["one"], reports["worse"])
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines[2:])) <= 80
    titles = [line.strip() for line in lines if line.strip() in ("Numbers", "Verdicts", "Runs", "Settings")]
    assert titles == ["Numbers", "Verdicts", "Runs"]
    assert "+50%" in done.stdout
    assert lines[-1] == "no difference in settings, environment"
    assert "numbers: " in lines[-2] and "verdicts: 4 differences" in lines[-2]


def test_what_cannot_be_compared_is_named_with_a_status_of_its_own(
    reports: dict[str, Path], tmp_path: Path
) -> None:
    done = gon_diff(reports["one"], "huge")
    assert (done.returncode, done.stdout) == (2, "")
    assert "huge: neither a report's folder nor a budget" in done.stderr and "smoke, quick" in done.stderr
    shutil.copytree(reports["one"], tmp_path / "empty")
    for name in CLAIMS:
        shutil.rmtree(tmp_path / "empty/data" / name)
    done = gon_diff(reports["one"], tmp_path / "empty")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{tmp_path / 'empty/data'}: holds no claim result" in done.stderr
    broken = tmp_path / "broken"
    shutil.copytree(reports["one"], broken)
    path = broken / "data/two_step/result.json"
    path.write_text(path.read_text().replace('"records"', '"recods"'))
    done = gon_diff(broken, reports["one"])
    assert (done.returncode, done.stdout) == (2, "")
    assert str(broken / "data/two_step/result.json") in done.stderr and "records" in done.stderr
    assert done.stderr.count("\n") == 1
