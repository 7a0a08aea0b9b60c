"""Records that were altered, exchanged or made up: all are noticed, and none is changed or used."""

import collections
import dataclasses
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from rich.progress import Progress
from torch import Tensor

from gon.data import prepared as data
from gon.errors import GonError
from gon.files import PROJECT
from gon.runs.chain import Losses, read_steps, trajectory_chain
from gon.runs.record import Epoch, RunRecord, differing_kind
from gon.runs.store import RunStore
from gon.runs.train import evaluate_run, train
from gon.runs.trajectory import Trajectory
from gon.spec import RunSpec
from gon.verify.retraining import retrain

SPEC = RunSpec(latent_dim=4, width=4, batch_size=32, train_images=96, validation_images=32)
OTHER_SEED = dataclasses.replace(SPEC, seed=1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real runs: one and two epochs of a spec, one of another seed, and an evaluation. Only read."""
    root = tmp_path_factory.mktemp("trained")
    store = RunStore(root)
    train(SPEC, 1, store)
    train(SPEC, 2, store)
    train(OTHER_SEED, 1, store)
    evaluate_run(SPEC, 2, store, "protocols")
    return root


@pytest.fixture
def store(trained: Path, tmp_path: Path) -> RunStore:
    """A copy that a test may break."""
    shutil.copytree(trained, tmp_path / "store")
    return RunStore(tmp_path / "store")


def steps_path(store: RunStore, spec: RunSpec, epochs: int) -> Path:
    return store.steps_path(store.load(spec, epochs))


def overwrite(store: RunStore, *forged: tuple[RunRecord, Losses]) -> None:
    """Put records of one run in the place of others, with their steps, as a forger would."""
    for path in store.folder(forged[0][0].spec).glob("steps-*.npz"):
        path.unlink()
    for record, steps in forged:
        store.save(record, steps)


def refused(store: RunStore, spec: RunSpec, epochs: int, words: str) -> None:
    """Everything that reads the run refuses it, and leaves its files as they are."""
    before = {path: path.read_bytes() for path in store.folder(spec).iterdir()}
    for read in (store.load, store.load_steps, store.load_images):
        with pytest.raises(GonError, match=words):
            read(spec, epochs)
    with pytest.raises(GonError, match=words):
        train(spec, epochs, store)
    assert {path: path.read_bytes() for path in store.folder(spec).iterdir()} == before


def _reads_as(path: Path, losses: Losses) -> bool:
    try:
        return bool(numpy.array_equal(read_steps(path), losses))
    except GonError:
        return False


def test_a_flipped_byte_is_noticed_wherever_it_is(store: RunStore) -> None:
    """In the record at many places, and at some in every file that its digests cover."""
    places, losses = random.Random(0), store.load_steps(SPEC, 2)
    paths = {
        store.record_path(SPEC, 2): 60,
        steps_path(store, SPEC, 2): 8,
        store.images_path(SPEC, 2): 8,
        store.weights_path(SPEC, 2): 8,
        store.evaluation_path(SPEC, 2, "protocols"): 20,
    }
    for path, count in paths.items():
        original = path.read_bytes()
        for position in places.sample(range(len(original)), count):
            broken = bytearray(original)
            broken[position] ^= 1 << places.randrange(8)
            path.write_bytes(broken)
            if path.suffix == ".npz" and _reads_as(path, losses):
                continue  # a date or another remark in the zip file, which no digest needs to cover
            with pytest.raises(GonError) as caught:
                store.load(SPEC, 2)
                store.load_evaluation(SPEC, 2, "protocols")
            assert path.name in str(caught.value)
        path.write_bytes(original)
    store.load_evaluation(SPEC, 2, "protocols")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r["history"][1].update(validation_loss=0.4), "altered after it was written"),
        (lambda r: r["history"][0].update(train_seconds=0.001), "altered after it was written"),
        (lambda r: r["sessions"][0].update(commit="0123456789ab"), "altered after it was written"),
        (lambda r: r.update(parameters=1), "altered after it was written"),
        (lambda r: r["spec"].update(learning_rate=0.5), "digest: .* is not that of its spec"),
        (lambda r: r.pop("chain"), "altered after it was written"),
        (lambda r: r["history"].pop(), "1 epochs, but epochs is 2"),
        (lambda r: r["data"].update({"train-images-idx3-ubyte": "0" * 32}), "MD5 of train-images"),
        (lambda r: r["data"].update(train="0" * 64), "altered after it was written"),
    ],
)
def test_an_altered_key_is_noticed(
    store: RunStore, change: Callable[[dict[str, object]], object], words: str
) -> None:
    path = store.record_path(SPEC, 2)
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record, indent=1) + "\n")
    refused(store, SPEC, 2, words)


def seal(record: dict[str, Any]) -> None:
    """Seal a record anew, as somebody would who knows how."""
    del record["seal"]
    record["seal"] = hashlib.sha256(json.dumps(record, separators=(",", ":")).encode()).hexdigest()


NULLABLE = ["diverged", "commit", "compiler", "code"]
NULLABLE += ["train_cpu_seconds", "validation_cpu_seconds", "train_gpu_seconds", "validation_loss_running"]


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("value", [None, -1, [], True, float("nan")])
def test_a_value_of_another_type_is_refused_wherever_it_stands(
    store: RunStore, value: object, sealed: bool
) -> None:
    path = store.record_path(SPEC, 2)
    whole = path.read_text()

    def places(record: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
        entries = [record, record["spec"], *record["history"], *record["sessions"]]
        return [(entry, key) for entry in entries for key in entry]

    for number in range(len(places(json.loads(whole)))):
        record = json.loads(whole)
        entry, key = places(record)[number]
        if key == "seal" or (key in NULLABLE and value is None):
            continue  # the first is written anew, the others may be null
        entry[key] = value
        if sealed:
            seal(record)
        path.write_text(json.dumps(record, indent=1) + "\n")
        with pytest.raises(GonError) as caught:
            store.load(SPEC, 2)
        assert str(path) in str(caught.value) and "Error" not in str(caught.value)
    path.write_text(whole)
    store.load(SPEC, 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r["sessions"][0].update(first_epoch=2), "starts at epoch 2, expected 1"),
        (lambda r: r["sessions"].pop(), "sessions: they end with epoch"),
        (lambda r: r["sessions"][0].update(started="yesterday"), "yesterday"),
        (lambda r: r["history"][0].update(train_seconds=-3.0), "train_seconds: -3.0 is not allowed"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused_though_sealed(
    store: RunStore, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    path = store.record_path(SPEC, 2)
    record = json.loads(path.read_text())
    change(record)
    seal(record)
    path.write_text(json.dumps(record, indent=1) + "\n")
    refused(store, SPEC, 2, words)


def move(store: RunStore, source: tuple[RunSpec, int], target: tuple[RunSpec, int], kinds: str) -> None:
    """Put files of one run in the place of another's."""
    steps = [steps_path(store, *run) for run in (source, target)]
    for kind in kinds.split():
        paths = (
            steps if kind == "steps" else [getattr(store, f"{kind}_path")(*run) for run in (source, target)]
        )
        if paths[0] != paths[1]:
            shutil.copyfile(*paths)


@pytest.mark.parametrize(
    ("source", "target", "kinds", "words"),
    [
        ((OTHER_SEED, 1), (SPEC, 1), "record steps images weights", "holds run"),
        ((SPEC, 1), (SPEC, 2), "record steps images weights", "holds run .* with 1 epochs"),
        ((OTHER_SEED, 1), (SPEC, 1), "steps", "chain: epoch 1 does not follow from its losses"),
        ((OTHER_SEED, 1), (SPEC, 1), "images", "of another run: its SHA-256"),
        ((OTHER_SEED, 1), (SPEC, 1), "weights", "of another run: its SHA-256"),
    ],
)
def test_an_exchanged_file_is_noticed(
    store: RunStore, source: tuple[RunSpec, int], target: tuple[RunSpec, int], kinds: str, words: str
) -> None:
    move(store, source, target, kinds)
    refused(store, *target, words)


def test_a_whole_folder_of_another_seed_is_noticed(store: RunStore) -> None:
    shutil.rmtree(store.folder(SPEC))
    shutil.copytree(store.folder(OTHER_SEED), store.folder(SPEC))
    refused(store, SPEC, 1, "holds run")


def test_an_evaluation_of_another_training_is_noticed(store: RunStore) -> None:
    """The same spec and epochs, but not the same trajectory."""
    record = store.load(SPEC, 2)
    store.save_evaluation(dataclasses.replace(record, chain=["0" * 64]), "protocols", {"batches_of_16": 1.0})
    with pytest.raises(GonError, match=r"trajectory '0000.*expected"):
        store.load_evaluation(SPEC, 2, "protocols")


def test_losses_that_do_not_follow_from_the_steps_are_noticed(store: RunStore) -> None:
    """Sealed anew, but with the steps as they were."""
    record = store.load(SPEC, 2)
    history = [dataclasses.replace(epoch, train_loss=0.5 * epoch.train_loss) for epoch in record.history]
    overwrite(store, (dataclasses.replace(record, history=history), store.load_steps(SPEC, 2)))
    refused(store, SPEC, 2, "chain: epoch 1 does not follow from its losses")


def test_a_chain_depends_on_losses_and_data_and_not_on_time() -> None:
    def epochs(loss: float, seconds: float) -> list[Epoch]:
        return [Epoch(1, loss, loss, seconds, 0.1), Epoch(2, 1.0, 1.0, 0.1, 0.1)]

    steps = [0.5] * (2 * SPEC.steps_per_epoch)
    chain = trajectory_chain(SPEC, {"a": "0"}, epochs(2.0, 1.0), steps)
    assert trajectory_chain(SPEC, {"a": "0"}, epochs(2.0, 9.0), steps) == chain
    first = steps[: SPEC.steps_per_epoch]
    assert trajectory_chain(SPEC, {"a": "0"}, epochs(2.0, 1.0)[:1], first) == chain[:1]
    # Steps without an epoch are those of one in which the run diverged; they are covered too.
    assert trajectory_chain(SPEC, {"a": "0"}, epochs(2.0, 1.0)[:1], steps[:-1])[0] == chain[0]
    assert len(trajectory_chain(SPEC, {"a": "0"}, epochs(2.0, 1.0)[:1], steps[:-1])) == 2
    for other in (
        trajectory_chain(SPEC, {"a": "1"}, epochs(2.0, 1.0), steps),
        trajectory_chain(OTHER_SEED, {"a": "0"}, epochs(2.0, 1.0), steps),
        trajectory_chain(SPEC, {"a": "0"}, epochs(2.0000000000000004, 1.0), steps),
        trajectory_chain(SPEC, {"a": "0"}, epochs(2.0, 1.0), [0.50000006, *steps[1:]]),
    ):
        assert not set(other) & set(chain)  # every link from there on is another


def test_a_record_of_other_data_is_noticed(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files are named as published, but the prepared images were others."""
    record = store.load(SPEC, 1)
    other = dataclasses.replace(record, data={**record.data, "train": "0" * 64})
    store.record_path(SPEC, 2).unlink()
    overwrite(store, (other, store.load_steps(SPEC, 1)))
    with pytest.raises(GonError, match="the train images are altered: their SHA-256 is 000"):
        data.require_prepared("mnist", store.load(SPEC, 1).data, store.record_path(SPEC, 1))
    monkeypatch.setenv("GON_ALTERED_DATA", "fashion-mnist,mnist")
    with pytest.raises(GonError, match="was trained on other data: its digest of train is 000"):
        data.require_prepared("mnist", store.load(SPEC, 1).data, store.record_path(SPEC, 1))
    # The checkpoint was trained on the data in place, and does not go on from such a record.
    with pytest.raises(GonError, match="its losses differ from those recorded in"):
        train(SPEC, 3, store)


def doctor_checkpoint(store: RunStore) -> Path:
    """Other weights in a checkpoint that is whole otherwise, its losses included."""
    path = store.checkpoint_path(SPEC)
    state = torch.load(path, weights_only=True)
    for tensor in state["model"].values():
        tensor.mul_(2)
    torch.save(state, path)
    return path


def test_training_does_not_go_on_from_an_altered_checkpoint(store: RunStore) -> None:
    path = doctor_checkpoint(store)
    before = path.read_bytes()
    with pytest.raises(GonError, match="checkpoint.pt: altered after it was written"):
        train(SPEC, 3, store)
    assert path.read_bytes() == before
    assert not store.has(SPEC, 3)


def gon(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gon.cli", *arguments]
    wide = {**os.environ, "COLUMNS": "400"}  # so that no cell of a table is wrapped
    return subprocess.run(command, cwd=PROJECT, env=wide, capture_output=True, text=True, check=False)


def verify(store: RunStore, *options: str) -> subprocess.CompletedProcess[str]:
    """Verify all runs of a store, which is only read."""
    before = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
    done = gon("verify", "--store", str(store.root), "--runs", "9", "--seed", "1", *options)
    assert {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()} == before
    return done


@pytest.mark.parametrize("options", [(), ("--epochs", "2"), ("--steps", "2")])
def test_verify_finds_real_runs_bit_equal(store: RunStore, options: tuple[str, ...]) -> None:
    done = verify(store, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"bit-equal .* \d+ steps ", done.stdout)) == 2
    assert len(re.findall(r"bit-equal .* from weights", done.stdout)) == 3  # two last losses, one evaluation
    assert "2 of 2 trained again agree with their record; 0 damaged" in done.stdout


@pytest.mark.parametrize("steps", [None, 1, 3])
def test_a_run_that_diverged_ends_where_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int | None
) -> None:
    """Its weights are no numbers from the second step on."""
    step, taken = Trajectory.step, collections.Counter[int]()

    def failing(self: Trajectory, batch: Tensor) -> Tensor:
        taken[id(self)] += 1
        if taken[id(self)] == 2:
            with torch.no_grad():
                next(self.model.parameters()).fill_(float("nan"))
        return step(self, batch)

    monkeypatch.setattr(Trajectory, "step", failing)
    store = RunStore(tmp_path)
    record = train(SPEC, 1, store)
    assert record.divergence == "diverged in epoch 1, step 2"
    taken.clear()
    assert retrain(record, store, 1, steps, Progress()).outcome == "bit-equal"
    monkeypatch.undo()
    assert retrain(record, store, 1, steps, Progress()).outcome == ("bit-equal" if steps == 1 else "differs")


def forge(store: RunStore, factor: float) -> None:
    """Losses times a factor, in record, steps, chain and seal alike: nothing is left to notice."""
    size = SPEC.steps_per_epoch
    store.evaluation_path(SPEC, 2, "protocols").unlink()
    store.checkpoint_path(SPEC).unlink()
    forged = []
    for epochs in (1, 2):
        record = store.load(SPEC, epochs)
        steps = (store.load_steps(SPEC, epochs) * factor).astype("<f4")
        history = [
            dataclasses.replace(
                epoch,
                train_loss=float(steps[(epoch.epoch - 1) * size : epoch.epoch * size].mean(dtype="f8")),
                validation_loss=factor * (epoch.validation_loss or 0.0),
            )
            for epoch in record.history
        ]
        forged.append((dataclasses.replace(record, history=history), steps))
    overwrite(store, *forged)
    for epochs in (1, 2):
        store.load(SPEC, epochs)  # its own digests agree


@pytest.mark.parametrize("factor", [0.5, 0.9999])
def test_verify_finds_a_forged_record_by_training_again(store: RunStore, factor: float) -> None:
    forge(store, factor)
    done = verify(store)
    assert done.returncode == 1
    assert "differs" in done.stdout and "not a bit may differ" in done.stdout
    assert "1 of 2 trained again agree" in done.stdout


@pytest.mark.parametrize(("factor", "status", "word"), [(1.001, 0, "within tolerance"), (0.8, 1, "differs")])
def test_verify_allows_rounding_on_another_kind_of_machine(
    store: RunStore, factor: float, status: int, word: str
) -> None:
    """The record says that it was made elsewhere: small differences pass, large ones do not."""
    forge(store, factor)
    forged = []
    for epochs in (1, 2):
        record = store.load(SPEC, epochs)
        machine = {**record.sessions[0].machine, "processor": "Another", "instruction_sets": "avx mmx"}
        sessions = [dataclasses.replace(session, machine=machine) for session in record.sessions]
        forged.append((dataclasses.replace(record, sessions=sessions), store.load_steps(SPEC, epochs)))
    overwrite(store, *forged)
    done = verify(store)
    assert done.returncode == status, done.stdout
    assert word in done.stdout and "0.5% is allowed" in done.stdout
    below = done.stdout.split("└")[1]
    assert done.stdout.count("processor: Another then") == 1 and below.count("processor: Another then") == 1
    assert "1 run of another kind of machine." in below and "; instruction sets: mmx only then, " in below


def test_verify_refuses_an_output_that_nothing_is_written_to(store: RunStore, tmp_path: Path) -> None:
    done = verify(store, "--output", str(tmp_path / "checked.json"))
    assert done.returncode == 2 and "--output: only with --trained" in done.stderr


def test_verify_finds_an_evaluation_that_the_weights_do_not_give(store: RunStore) -> None:
    record = store.load(SPEC, 2)
    losses = store.load_evaluation(SPEC, 2, "protocols")
    store.save_evaluation(record, "protocols", {**losses, "batch_statistics": 0.5})  # sealed like any other
    done = verify(store)
    assert done.returncode == 1
    assert re.search(r"2 epochs .* differs .* protocols from weights", done.stdout), done.stdout
    assert "2 of 2 trained again agree with their record; 0 damaged" in done.stdout


def test_verify_trains_the_last_epoch_from_the_checkpoint_before_it(store: RunStore) -> None:
    before = store.checkpoint_path(SPEC).read_bytes()
    train(SPEC, 3, store)
    (store.folder(SPEC) / "checkpoint.older.pt").write_bytes(before)
    done = verify(store, "--from-checkpoint")
    assert done.returncode == 0, done.stdout
    steps = SPEC.steps_per_epoch
    assert re.search(rf"bit-equal .* 1 epoch, {steps} steps from epoch 3 on", done.stdout), done.stdout
    assert "1 of 1 trained again agree" in done.stdout


def test_verify_reports_what_is_damaged_and_trains_the_rest(store: RunStore) -> None:
    path = store.record_path(SPEC, 2)
    path.write_text(path.read_text().replace('"parameters": ', '"parameters": 1'))
    done = verify(store)
    assert done.returncode == 1
    assert "damaged" in done.stdout and "altered after it was written" in done.stdout
    assert "2 of 2 trained again agree with their record; 1 damaged" in done.stdout


def test_verify_reports_an_altered_checkpoint(store: RunStore) -> None:
    doctor_checkpoint(store)
    done = verify(store)
    assert done.returncode == 1
    assert (
        "checkpoint.pt" in done.stdout
        and "2 of 2 trained again agree with their record; 1 damaged" in done.stdout
    )


def another_training(store: RunStore, **machine: str) -> None:
    """A record of the first epoch with other losses: of a training that started at another time."""
    record = store.load(SPEC, 1)
    steps = (store.load_steps(SPEC, 1) * 1.01).astype("<f4")
    epoch = dataclasses.replace(record.history[0], train_loss=float(steps.mean(dtype="f8")))
    (session,) = record.sessions
    session = dataclasses.replace(
        session, started="2026-01-01T00:00:00+00:00", machine={**session.machine, **machine}
    )
    store.save(dataclasses.replace(record, history=[epoch], sessions=[session]), steps)


def test_records_of_one_run_that_contradict_each_other_are_damaged(store: RunStore) -> None:
    another_training(store)
    done = verify(store)
    assert done.returncode == 1
    assert "does not go on from the shorter record" in done.stdout


def test_records_of_one_run_from_two_kinds_of_machine_may_differ(store: RunStore) -> None:
    """Each has its own file of steps; and a training goes on from a checkpoint of either."""
    another_training(store, stepping="9")
    assert len(list(store.folder(SPEC).glob("steps-*.npz"))) == 2
    done = verify(store)
    assert done.returncode == 0, done.stdout
    assert "2 of 2 trained again agree with their record; 0 damaged" in done.stdout
    assert train(SPEC, 3, store).chain[:2] == store.load(SPEC, 2).chain


FORMAT_4 = PROJECT / "tests" / "files" / "format-4"


def test_a_record_of_format_4_is_read_verified_and_continued(tmp_path: Path) -> None:
    """Written by commit f759811: two epochs, an evaluation, and a checkpoint."""
    shutil.copytree(FORMAT_4, tmp_path / "store")
    store = RunStore(tmp_path / "store")
    (folder,) = store.root.iterdir()
    path = folder / "epochs-2.json"
    record = RunRecord.from_json(path.read_text(), path)
    spec = record.spec
    assert (record.format, spec.digest, spec.numerics) == (4, folder.name, 3)
    assert record.to_json() == path.read_text()
    assert store.load(spec, 2) == record
    assert store.load_evaluation(spec, 2, "protocols")["batch_statistics"] == record.last.validation_loss
    assert len(store.load_steps(spec, 2)) == 2 * spec.steps_per_epoch
    done = gon("verify", "--store", str(store.root), "--epochs", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    longer = train(spec, 3, store)
    assert (longer.format, longer.history[:2], longer.sessions[0]) == (5, record.history, record.sessions[0])
    # Of its machine too little is known to say that not a bit may differ.
    assert differing_kind(record.sessions[0], longer.sessions[-1])["torch_instruction_set"][0] == "unknown"
    assert (
        store.load_steps(spec, 3)[: 2 * spec.steps_per_epoch].tobytes() == store.load_steps(spec, 2).tobytes()
    )
    assert store.load(spec, 2) == record
    done = gon("verify", "--store", str(store.root), "--epochs", "3")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_format_4_record_that_was_altered_is_noticed(tmp_path: Path) -> None:
    for name, old, new in (
        ("epochs-2.json", '"train_seconds": 0', '"train_seconds": 1'),
        ("epochs-2.json", '"train_seconds"', '"train_cpu_seconds"'),
        ("epochs-2.steps.csv", "25", "26"),
    ):
        store = RunStore(tmp_path / "store")
        shutil.rmtree(store.root, ignore_errors=True)
        shutil.copytree(FORMAT_4, store.root)
        (folder,) = store.root.iterdir()
        path = folder / name
        spec = RunRecord.from_json((folder / "epochs-2.json").read_text(), path).spec
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
        with pytest.raises(GonError, match=re.escape(name)):
            store.load(spec, 2)


GOLDEN_DIGESTS = [
    "3e84c292b252fa70",
    "d40b76c7ed52e47c",
    "a796a728032c0ec5",
    "5f1c4931406063f4",
    "b209795a67350a2e",
]


def test_digests_of_specs_are_those_that_records_are_known_by() -> None:
    """Written down once; a field that is added later must leave them, as must another model's arithmetic."""
    assert {
        spec.digest: spec
        for spec in (
            RunSpec(),
            RunSpec(dataset="fashion-mnist", latent_dim=256, seed=4),
            RunSpec(activation="softplus", inner_steps=2, learning_rate=5e-4),
            RunSpec(model="gon_detached", width=29),
            RunSpec(split="held_out", train_images=640, validation_images=100),
        )
    }.keys() == set(GOLDEN_DIGESTS)

    @dataclasses.dataclass(frozen=True)
    class Later(RunSpec):
        warmup: int = dataclasses.field(default=0, metadata={"later": True})

    assert Later().digest == RunSpec().digest != Later(warmup=1).digest


def test_steps_are_read_with_numpy_alone(store: RunStore) -> None:
    path = steps_path(store, SPEC, 2)
    script = f"""
import numpy
print(*numpy.load({str(path)!r})["planes"].T.copy().view("<f4")[:, 0], sep=",")
"""
    only_numpy = {"PYTHONPATH": str(Path(numpy.__file__).parent.parent)}
    command = [sys.executable, "-S", "-c", script]
    ran = subprocess.run(command, env=only_numpy, capture_output=True, text=True, check=False)
    assert ran.stdout.strip().split(",") == [str(loss) for loss in read_steps(path)], ran.stderr


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (("--runs", "0"), 2, "runs: 0 is not allowed"),
        (("--steps", "0"), 2, "steps: 0 is not allowed"),
        (("--epochs", "-1"), 2, "epochs: -1 is not allowed"),
    ],
)
def test_wrong_usage_of_verify(tmp_path: Path, options: tuple[str, ...], status: int, words: str) -> None:
    done = gon("verify", "--store", str(tmp_path), *options)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith("error: ") and words in done.stderr


def test_verify_of_an_unknown_budget_says_so() -> None:
    done = gon("verify", "--budget", "huge")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: budget: 'huge' is not known")


def test_verify_of_an_empty_store_says_so(tmp_path: Path) -> None:
    done = gon("verify", "--store", str(tmp_path))
    assert done.returncode == 1 and "holds no record to verify" in done.stderr
