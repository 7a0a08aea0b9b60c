"""`gon diff`: what differs between two reports, as the terminal shows it and as a script reads it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report_support import make_claim, plausible_loss

from gon.diff import Row, compare, read_side
from gon.files import PROJECT
from gon.reporting import build_report
from gon.spec import RunSpec

CLAIMS = ("two_step", "latent_size")


def make_report(folder: Path, *names: str, **options: Any) -> Path:
    """A report of claims with made-up losses."""
    for name in names:
        make_claim(folder / "claims" / name, name, **options)
    build_report([folder / "claims" / name for name in names], folder / "report", [])
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
    row = numbers["two inner steps, validation loss"]
    assert float(row.second) / float(row.first) == pytest.approx(1.5, abs=0.01)
    assert row.note == "+50%"
    assert not any(what.startswith("one inner step, validation") for what in numbers)
    assert len(differing["Verdicts"]) == 4
    for verdict in differing["Verdicts"]:
        assert "points: as published" in verdict.first and "points: against the published" in verdict.second
    assert len(differing["Runs"]) == 1 and "2 inner steps" in differing["Runs"][0].what


def test_another_budget_shows_as_settings_and_as_claims_that_only_one_has(reports: dict[str, Path]) -> None:
    rows = {row.what: (row.first, row.second) for row in found(reports["one"], reports["longer"])["Settings"]}
    assert rows["budget"] == ("quick", "standard")
    assert rows["epochs"] == ("1", "50")
    assert rows["seeds"] == ("1", "2")
    assert rows["changed by hand"] == ("–", "seeds=2")
    assert rows["claim latent_size"] == ("present", "–")
    assert "two_step: rule lower_training_loss" not in rows  # it is the same rule


def change_result(report: Path, target: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of a report with a changed result."""
    shutil.copytree(report, target)
    path = target / "data/two_step/result.json"
    result = json.loads(path.read_text())
    change(result)
    path.write_text(json.dumps(result))
    return target


@pytest.mark.parametrize(
    ("change", "heading", "row"),
    [
        (
            lambda r: r["runs"][0]["versions"].update(torch="2.14.0"),
            "Environment",
            Row("torch", "2.13.0", "2.13.0, 2.14.0"),
        ),
        (
            lambda r: r["runs"][0]["machine"].update(processor="Other"),
            "Environment",
            Row("processor", "Some Processor 3000", "Other, Some Processor 3000"),
        ),
        (
            lambda r: r["runs"][0]["data"].update(train="2" * 64),
            "Environment",
            Row("mnist: train", "0" * 12, f"{'0' * 12}, {'2' * 12}"),
        ),
        (
            lambda r: r["parameters"].update(latent_dim=65),
            "Settings",
            Row("two_step.latent_dim", "64", "65"),
        ),
        (
            lambda r: r["verdicts"][0]["rule"].update(margin=0.5),
            "Settings",
            Row(
                "two_step: rule lower_training_loss",
                "version 3, 5%, level 0.025, 1 epoch, 3 seeds",
                "version 3, 50%, level 0.025, 1 epoch, 3 seeds",
            ),
        ),
    ],
)
def test_each_kind_of_difference_is_a_row(
    reports: dict[str, Path],
    tmp_path: Path,
    change: Callable[[dict[str, Any]], object],
    heading: str,
    row: Row,
) -> None:
    changed = change_result(reports["one"], tmp_path / "changed", change)
    differing = found(reports["one"], changed)
    assert row in differing[heading]
    assert not any(rows for other, rows in differing.items() if other != heading)


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
    (tmp_path / "empty/data").mkdir(parents=True)
    done = gon_diff(reports["one"], tmp_path / "empty")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{tmp_path / 'empty/data'}: holds no claim result" in done.stderr
    broken = change_result(reports["one"], tmp_path / "broken", lambda result: result.pop("runs"))
    done = gon_diff(broken, reports["one"])
    assert (done.returncode, done.stdout) == (2, "")
    assert str(broken / "data/two_step/result.json") in done.stderr and "runs" in done.stderr
    assert done.stderr.count("\n") == 1
