"""A report and the one before it: what changed is said, and the archive alone gives the report again."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from report_support import build, make_claim, plausible_loss

from gon.errors import GonError
from gon.files import PROJECT
from gon.spec import RunSpec


def changed(report: Path) -> list[list[str]]:
    """The rows of what changed, as the page shows them."""
    soup = BeautifulSoup((report / "index.html").read_text(encoding="utf-8"), "html.parser")
    return [
        [cell.get_text() for cell in row.select("th, td")] for row in soup.select("table.changes tbody tr")
    ]


def lower_with_two_steps(spec: RunSpec) -> float | None:
    """As plausible, but for two inner steps: these give a tenth."""
    loss = plausible_loss(spec)
    return loss * 0.1 if spec.inner_steps == 2 else loss


def test_what_changed_beyond_the_seeds_scatter_is_said_until_something_else_does(tmp_path: Path) -> None:
    report = tmp_path / "report"
    first, second = tmp_path / "first" / "two_step", tmp_path / "second" / "two_step"
    options = {"overrides": ("seeds=3",), "rule_epochs": 1}
    make_claim(first, "two_step", **options)  # type: ignore[arg-type]
    make_claim(second, "two_step", loss=lower_with_two_steps, **options)  # type: ignore[arg-type]
    build([first], report)
    assert changed(report) == []
    build([first], report)
    assert changed(report) == []
    build([second], report)
    rows = changed(report)
    assert rows
    assert all("two_step" in what and before != now for what, before, now in rows)
    assert any("2 inner steps" in what for what, _, _ in rows)
    assert not any("1 inner step," in what for what, _, _ in rows)
    build([second], report)  # a template edit, say: what changed last stays said
    assert changed(report) == rows


def test_one_more_seed_is_no_other_number(tmp_path: Path) -> None:
    report, claims = tmp_path / "report", tmp_path / "claims"
    for seeds in (2, 3):
        folder = claims / str(seeds) / "two_step"
        make_claim(folder, "two_step", overrides=(f"seeds={seeds}",), rule_epochs=1)
        build([folder], report)
    assert not [row for row in changed(report) if row[0].startswith("Numbers")]


def test_a_changed_verdict_is_said_with_both_outcomes(tmp_path: Path) -> None:
    report, claim = tmp_path / "report", tmp_path / "claims" / "two_step"
    make_claim(claim, "two_step", overrides=("seeds=3",), rule_epochs=1)
    build([claim], report)
    summary = report / "data" / "summary.json"
    content = json.loads(summary.read_text())
    entry = content["verdicts"]["two_step/lower_training_loss"]
    outcome, entry["outcome"] = entry["outcome"], "inconclusive"
    summary.write_text(json.dumps(content))
    build([claim], report)
    assert [row[1:] for row in changed(report)] == [["inconclusive", outcome]]


def test_a_damaged_summary_is_named_and_the_report_stays(tmp_path: Path) -> None:
    report, claim = tmp_path / "report", tmp_path / "claims" / "two_step"
    make_claim(claim, "two_step")
    build([claim], report)
    page = (report / "index.html").read_bytes()
    (report / "data" / "summary.json").write_text("{")
    with pytest.raises(GonError, match=r"summary\.json: cannot be read"):
        build([claim], report)
    assert (report / "index.html").read_bytes() == page


def test_the_archive_alone_gives_the_report_again(tmp_path: Path) -> None:
    claim, elsewhere = tmp_path / "claims" / "two_step", tmp_path / "elsewhere"
    make_claim(claim, "two_step")
    build([claim], tmp_path / "report")
    with zipfile.ZipFile(tmp_path / "report" / "report.zip") as archive:
        archive.extractall(elsewhere)
    shutil.rmtree(claim.parent)
    source = elsewhere / "source"
    assert not (source / "records").exists()
    assert (source / "gon" / "cli.py").read_bytes() == (PROJECT / "gon" / "cli.py").read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "gon.cli", "report", "--again", "../report", "--output", "../made"],
        cwd=source,
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in ("index.html", "report.pdf", "data/runs.csv", "data/two_step/result.json"):
        assert (elsewhere / "made" / name).read_bytes() == (tmp_path / "report" / name).read_bytes(), name
