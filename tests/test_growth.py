"""The measurement of growing evidence: its made-up runs are checked like real ones, and all of it runs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from browser import check_size, chromium, homeless_numbers, open_browser

from gon.catalogue import EVALUATIONS
from gon.claims.study import load_study
from gon.files import PROJECT

sys.path.append(str(PROJECT / "benchmarks"))
import growth  # noqa: E402


def test_made_up_runs_pass_every_check_of_a_record(tmp_path: Path) -> None:
    store = growth.lay(tmp_path, runs=25, epochs=2)
    assert store.root.is_relative_to(tmp_path)
    planned = load_study("growth", params=tmp_path / "params").plan()
    laid = [run for run in planned if store.has(run.spec, run.epochs)]
    assert len(laid) == len(list(store.root.iterdir())) == 25
    assert {run.spec.seed for run in laid} == {0, 1}
    for run in laid:
        record = store.load(run.spec, run.epochs)
        assert len(record.chain) == run.epochs and store.load_images(run.spec, run.epochs)
        for name in run.evaluations:
            assert name in EVALUATIONS and store.load_evaluation(run.spec, run.epochs, name)
    assert len({store.load(run.spec, run.epochs).trajectory for run in laid}) == 25


@pytest.mark.long
@pytest.mark.skipif(chromium() is None, reason="no Chromium; set CHROMIUM to one")
@pytest.mark.timeout(900)
def test_the_page_of_the_whole_reference_plan_is_light_and_short(tmp_path: Path) -> None:
    """As if every run of the plan were recorded: neither its cards nor its curves make the page too long."""
    store = growth.lay(tmp_path)
    planned = load_study("reference", params=tmp_path / "params").plan()
    assert all(store.has(run.spec, run.epochs) for run in planned) and len(planned) > 100
    growth.measure(tmp_path, "-m", "gon.cli", "run", "--budget", "reference", "--no-check")
    page = tmp_path / "report" / "index.html"
    led, homeless = homeless_numbers(page)
    assert led > len(planned) and homeless == []
    text = page.read_text(encoding="utf-8")
    assert text.count('"data/runs/') > 2 * len(planned)
    # The split that one claim holds out is not among those that the report rests on.
    (rests,) = re.findall("What this rests on.*?</p>", text, re.DOTALL)
    assert rests.count("validation images per data set") == 1 and "which is all of them" in rests
    with open_browser() as browser:
        check_size(browser, page)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_smallest_case_is_measured_from_plan_to_archive(tmp_path: Path) -> None:
    script = [sys.executable, str(PROJECT / "benchmarks" / "growth.py"), "--small", "--output", str(tmp_path)]
    subprocess.run(script, check=True)
    (case,) = json.loads((tmp_path / "growth.json").read_text())["cases"]
    assert case["runs"] == 10
    for phase in growth.PHASES:
        assert all(number > 0 for number in case[phase].values()), phase
        assert case[phase]["together_mib"] >= case[phase]["largest_mib"]
    assert case["report_mib"] > case["archive_mib"] > case["page_mib"] > 0
    assert (tmp_path / "growth.md").read_text().count("\n| 10 × 1 |") == 1
    assert "<svg" in (tmp_path / "growth.svg").read_text()
