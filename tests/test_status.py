"""How a study that trains elsewhere is watched: under way, after a kill, failed, at its end."""

import json
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from test_reference import study, train_all

from gon.claims.study import Study, load_study
from gon.runs.train import train
from gon.status import RunStatus, print_status, status_of

pytestmark = pytest.mark.timeout(1200)


def until(holds: Callable[[list[RunStatus]], bool], plan: Study, seconds: float = 400) -> list[RunStatus]:
    """Ask for the status until something holds."""
    deadline = time.monotonic() + seconds
    while not holds(runs := status_of(plan)):
        assert time.monotonic() < deadline, runs
        time.sleep(0.5)
    return runs


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setenv("GON_RUNS_DIR", str(tmp_path / "runs"))
    return study(tmp_path / "params")


def test_runs_are_seen_under_way_stopped_and_done(
    plan: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, claim = plan.budget.run_store, tmp_path / "params" / "claims" / "one.yaml"
    assert {run.state for run in status_of(plan)} == {"to do"}
    # So that no run is at its end before it is killed.
    text = claim.read_text()
    claim.write_text(text.replace("epochs: 5", "epochs: 5000"))
    longer = load_study("tiny", params=tmp_path / "params")
    process = train_all(tmp_path / "params", store.root)
    try:
        # What is trained of an epoch is lost when it is killed.
        runs = until(lambda runs: any(run.seconds_left is not None and run.epoch > 1 for run in runs), longer)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    at_work = next(run for run in runs if run.seconds_left is not None and run.epoch > 1)
    assert at_work.state == "under way" and 1 < at_work.epoch < at_work.epochs
    assert at_work.train_loss is not None and at_work.train_loss > 0
    # What was trained is killed with its parent.
    runs = until(lambda runs: all(run.state != "under way" for run in runs), longer)
    assert "stopped" in {run.state for run in runs}
    claim.write_text(text)
    for planned in plan.plan():
        train(planned.spec, planned.epochs, store, evaluations=planned.evaluations)
    assert {(run.state, run.epoch == run.epochs) for run in status_of(plan)} == {("done", True)}
    print_status(plan, as_json=False)
    assert (
        capsys.readouterr().out.splitlines()[-1].endswith("done, 0 under way, 0 failed, 0 stopped, 0 to do")
    )


def test_a_failure_is_shown_with_its_error_and_its_log(
    plan: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GON_DATA_DIR", str(tmp_path / "empty"))
    process = train_all(tmp_path / "params", plan.budget.run_store.root)
    output, _ = process.communicate()
    assert process.returncode == 1, output
    capsys.readouterr()
    print_status(plan, as_json=True)
    runs = json.loads(capsys.readouterr().out)
    assert Counter(run["state"] for run in runs) == {"failed": len(runs)}
    for run in runs:
        assert "mnist" in run["error"] and run["error"] in Path(run["log"]).read_text()
    print_status(plan, as_json=False)
    shown = capsys.readouterr().out
    assert shown.count("failed  ") == shown.count("log: ") == len(runs) and runs[0]["log"] in shown


def test_a_stage_that_is_done_and_a_training_that_was_killed_are_no_failures(plan: Study) -> None:
    """A log ends in what the training said last, which is an error only where it says so."""
    first, second, *_ = plan.plan()
    store = plan.budget.run_store
    train(first.spec, 1, store)
    for planned, said in ((first, "label: after epoch 1 training loss 2\n"), (second, "")):
        store.folder(planned.spec).mkdir(parents=True, exist_ok=True)
        (store.folder(planned.spec) / "train.log").write_text(said)
    states = {run.digest: run.state for run in status_of(plan)}
    assert (states[first.spec.digest], states[second.spec.digest]) == ("stopped", "to do")
