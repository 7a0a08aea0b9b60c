"""The long training: its order, what it costs, that it goes on after kills, and what is kept of it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from gon.claims.study import Study, load_study
from gon.errors import GonError
from gon.files import PROJECT
from gon.plan import Costs, is_done, keep_records, print_plan, tasks
from gon.runs.record import RunRecord
from gon.runs.store import RunStore
from gon.runs.train import train
from gon.science.models import build_model
from gon.spec import RunSpec

GRIDS = [
    {"latent_dim": 4, "width": 2, "at": {"tiny": {"epochs": 2, "stages": 1}}},
    {"latent_dim": 6, "width": 2, "at": {"tiny": {"epochs": 1, "stages": [3, 2]}}},
    {"latent_dim": 4, "width": 2, "evaluations": ["inner_step"], "at": {"tiny": {"epochs": 5, "stages": 4}}},
]


def study(folder: Path) -> Study:
    """Two settings from two seeds, one of them to two and later to five epochs."""
    (folder / "claims").mkdir(parents=True, exist_ok=True)
    budget = {"description": "d", "epochs": 1, "seeds": 2, "train_images": 6400, "validation_images": 64}
    (folder / "budgets.yaml").write_text(
        yaml.safe_dump({"tiny": {**budget, "store": "s", "report": "report-tiny"}})
    )
    claim = {
        "title": "t",
        "order": 1,
        "part": "beyond",
        "published": {"statement": "s", "source": {"key": "k", "where": "w"}},
        "method": "m",
        "parameters": {},
        "runs": GRIDS,
    }
    (folder / "claims" / "one.yaml").write_text(yaml.safe_dump(claim))
    return load_study("tiny", params=folder)


def train_all(folder: Path, store: Path) -> subprocess.Popen[str]:
    script = f"""
import sys
from pathlib import Path
from gon.claims.study import load_study
from gon.plan import train_plan
from gon.runs.store import RunStore
study = load_study("tiny", params=Path({str(folder)!r}))
sys.exit(train_plan(study, RunStore(Path({str(store)!r})), 2, "cpu"))
"""
    return subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def losses(store: RunStore, spec: RunSpec, epochs: int) -> bytes:
    return bytes(store.load_steps(spec, epochs).tobytes())


def test_the_order_is_that_of_the_stages_seed_by_seed(tmp_path: Path) -> None:
    found = [(t.stage, t.spec.latent_dim, t.spec.seed, t.start, t.epochs) for t in tasks(study(tmp_path))]
    assert found == [
        (1, 4, 0, 0, 2),
        (1, 4, 1, 0, 2),
        (2, 6, 1, 0, 1),
        (3, 6, 0, 0, 1),
        (4, 4, 0, 2, 5),
        (4, 4, 1, 2, 5),
    ]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_training_that_is_killed_goes_on_and_gives_the_same_bits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ended by each signal, also the one that nobody can answer; then compared with one that ran through."""
    plan, store = study(tmp_path / "params"), RunStore(tmp_path / "store")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        process = train_all(tmp_path / "params", store.root)
        assert process.stdout is not None and "trainings to do" in process.stdout.readline()
        time.sleep(4)  # among the first epochs of the first runs
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
        if number != signal.SIGKILL:
            assert process.returncode == 128 + number, output
            assert "the same command goes on" in output
    process = train_all(tmp_path / "params", store.root)
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    assert all(is_done(task, store) for task in tasks(plan))
    for task in tasks(plan):
        if task.epochs == 5:
            assert store.recorded(task.spec.digest) == [1, 2, 5]
            assert store.load_evaluation(task.spec, 2, "inner_step").keys() >= {"relative_change", "loss/1"}
        through = RunStore(tmp_path / "through")
        train(task.spec, task.epochs, through)
        assert losses(store, task.spec, task.epochs) == losses(through, task.spec, task.epochs)
        assert (
            store.load(task.spec, task.epochs).trajectory == through.load(task.spec, task.epochs).trajectory
        )
    print_plan(plan, store)
    shown = capsys.readouterr().out
    assert re.search(r"in all +6 +6 +0\.0 *$", shown, re.MULTILINE), shown
    # Nothing is left to do, and a damaged record is no reason to train anew without a word.
    process = train_all(tmp_path / "params", store.root)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output.splitlines()[0][:19]) == (0, "0 trainings to do, ")
    keep(plan, store, tmp_path / "records")


def keep(plan: Study, store: RunStore, folder: Path) -> None:
    """What is kept is compact, agrees with its digests, and is never altered."""
    assert keep_records(plan, store, folder) == 8
    kept = RunStore(folder)
    for task in tasks(plan):
        names = {path.name for path in kept.folder(task.spec).iterdir()}
        assert not names & {"checkpoint.pt", "lock", "train.log"}
        assert not {n for n in names if n.endswith(".weights.pt")}
        images = {n for n in names if n.endswith(".images.json")}
        ends = {5} if task.spec.latent_dim == 4 else {1}
        assert images == ({f"epochs-{n}.images.json" for n in ends} if task.spec.seed == 0 else set())
        for epochs in kept.recorded(task.spec.digest):
            assert kept.load(task.spec, epochs) == store.load(task.spec, epochs)
            assert losses(kept, task.spec, epochs) == losses(store, task.spec, epochs)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert keep_records(plan, store, folder) == 0
    # Another training of the same run, elsewhere and later: what is kept stays.
    spec = tasks(plan)[0].spec
    path = store.record_path(spec, 2)
    record = RunRecord.from_json(path.read_text(), path)
    (session,) = record.sessions[:1]
    path.write_text(path.read_text().replace(session.started, "2030-01-01T00:00:00+00:00"))
    with pytest.raises(GonError, match="altered after it was written"):
        keep_records(plan, store, folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    verified = subprocess.run(
        [sys.executable, "-m", "gon.cli", "verify", "--store", str(folder), "--runs", "9", "--epochs", "5"],
        cwd=PROJECT,
        env={**os.environ, "COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert verified.returncode == 0, verified.stdout
    assert verified.stdout.count("bit-equal") == 4


def test_a_training_that_was_stopped_goes_on_elsewhere_from_what_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between two milestones, kept as far as it came, and trained to its end in another store."""
    plan, records = study(tmp_path / "params"), RunStore(tmp_path / "records")
    monkeypatch.setenv("GON_RECORDS_DIR", str(records.root))
    here, elsewhere, through = (RunStore(tmp_path / name) for name in ("here", "elsewhere", "through"))
    spec = next(task.spec for task in tasks(plan) if task.epochs == 5)
    train(spec, 3, here)
    for path in here.folder(spec).glob("epochs-3.*"):  # killed after the checkpoint of its third epoch
        path.unlink()
    assert keep_records(plan, here, records.root) == 0  # too short to be worth it
    monkeypatch.setattr("gon.plan.SHORTEST_KEPT", 2)
    with here.lock(spec):  # as the training itself holds it
        assert keep_records(plan, here, records.root) == 0 and not records.root.exists()
    assert keep_records(plan, here, records.root) == 2
    assert records.recorded(spec.digest) == [1, 3]
    assert records.load_evaluation(spec, 3, "inner_step").keys() >= {"relative_change"}
    assert records.checkpoint_path(spec).read_bytes() == here.checkpoint_path(spec).read_bytes()
    process = train_all(tmp_path / "params", elsewhere.root)
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0 and output.startswith("5 trainings to do"), output
    assert elsewhere.recorded(spec.digest) == [5]  # went on, and did not start again
    train(spec, 5, through)
    assert losses(elsewhere, spec, 5) == losses(through, spec, 5)
    assert elsewhere.load(spec, 5).trajectory == through.load(spec, 5).trajectory
    assert [session.first_epoch for session in elsewhere.load(spec, 5).sessions] == [1, 4]
    keep_records(plan, elsewhere, records.root)
    assert records.recorded(spec.digest) == [1, 3, 5] and not records.checkpoint_path(spec).exists()
    for epochs in (1, 3, 5):
        assert records.load(spec, epochs).chain == through.load(spec, 5).chain[:epochs]


def test_costs_come_from_what_was_measured(tmp_path: Path) -> None:
    plan, store = study(tmp_path / "params"), RunStore(tmp_path / "store")
    (first, *_) = tasks(plan)
    guessed = Costs([store]).seconds_per_epoch(first.spec)
    record = train(first.spec, 2, store)
    measured = Costs([store]).seconds_per_epoch(first.spec)
    cpu = sum((e.train_cpu_seconds or 0) + (e.validation_cpu_seconds or 0) for e in record.history) / 2
    assert measured == pytest.approx(cpu) != guessed
    assert Costs([store]).hours(first, done=1) == pytest.approx(cpu / 3600)


def test_a_run_of_fifty_epochs_is_kept_in_300_kilobytes(tmp_path: Path) -> None:
    """Steps as a real training gives them take most of it: 937 an epoch, whose bits are noise."""
    noise = np.random.default_rng(0).normal(0, 0.05, 937 * 50)
    from gon.runs.chain import packed_steps

    packed = packed_steps((12 * np.exp(noise)).astype("<f4"))
    assert len(packed) < 170_000  # the rest is for records, images and evaluations


def test_parameter_counts_follow_from_the_settings() -> None:
    """Against the models themselves, on images of one and of three channels."""
    for spec in (
        RunSpec(latent_dim=64),
        RunSpec(latent_dim=256, width=29),
        RunSpec(model="gon_detached", latent_dim=3, width=5),
        RunSpec(model="autoencoder", latent_dim=256),
        RunSpec(model="autoencoder", latent_dim=7, width=5),
        RunSpec(model="autoencoder", dataset="cifar-10", latent_dim=64),
        RunSpec(dataset="cifar-10"),
    ):
        torch.manual_seed(0)
        assert spec.parameters == sum(p.numel() for p in build_model(spec).parameters()), spec


def test_the_plan_of_the_project_is_printed_for_a_newcomer(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gon.cli", "plan", "--budget", "reference"],
        cwd=PROJECT,
        env={**os.environ, "COLUMNS": "100", "GON_RUNS_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    table = lines[1:-2]  # first and last two lines are sentences, not the table
    assert max(map(len, table)) <= 100 and "hours are CPU time of one core" in lines[-1]
    stages = [int(found[1]) for line in lines if (found := re.match(r"(\d)  ", line))]
    assert stages == sorted(stages) and set(stages) == set(range(1, 9))
    assert json.dumps(str(tmp_path / "full"))[1:-1] in done.stdout
