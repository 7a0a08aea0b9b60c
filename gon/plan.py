"""The long training: runs in the order of their stages, and the finished ones as reference records.

`gon plan` shows it, `gon plan --train` trains it, and `gon plan --keep FOLDER` copies what has finished.
Each run is trained by `gon train`, which goes on from its checkpoint: the training may be stopped at any
moment, and the same command goes on. What was stopped is kept as far as it came, with its checkpoint, so that
another machine goes on with it: 500 epochs take longer than many a machine is to be had.
"""

import itertools
import os
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich import box
from rich.console import Console
from rich.table import Table

from gon.catalogue import ACTIVATIONS, DATASETS, MILESTONES
from gon.claims.params import REFERENCE, Request, records_dir
from gon.claims.study import Study
from gon.files import PROJECT, make_folder, sha256_of_file, write_atomically
from gon.processes import STOP_SIGNALS, child_environment
from gon.runs.progress import read_progress
from gon.runs.record import Epoch
from gon.runs.store import RunStore, read_record
from gon.spec import RunSpec

_SECONDS_PER_EPOCH = {
    "gon": 16.0,
    "gon_detached": 14.0,
    "autoencoder": 15.0,
    "tied_autoencoder": 15.0,
    "glo": 9.0,
    "vae": 16.0,
    "variational_gon": 150.0,
    "implicit_gon": 280.0,
    "pca": 6.0,
}
"""CPU seconds for an epoch on all images with one inner step, where no record says it: on one core of an AMD
EPYC (see docs/performance.md)."""


SHORTEST_KEPT = 50
"""Epochs up to which a run that was stopped is not kept: they are trained again within the hour, and a
repository never forgets the 1 to 7 MB of a checkpoint."""


@dataclass(frozen=True)
class Task:
    """One run up to a number of epochs, as it is due in the order of the stages."""

    stage: int
    run: Request
    """What is trained, and evaluated with each of its records."""
    epochs: int
    start: int
    """Epochs that an earlier task trains."""

    @property
    def spec(self) -> RunSpec:
        """The settings of the run."""
        return self.run.spec

    @property
    def line(self) -> tuple[object, ...]:
        """Which line of the plan it is on: that of all that differ in data set, latent size and seed only."""
        keys = ("model", "activation", "inner_steps", "width", "learning_rate", "split")
        return self.stage, self.epochs, *(getattr(self.spec, key) for key in keys)


def tasks(study: Study) -> list[Task]:
    """The runs of a study in the order in which they are trained: by stage, then seed by seed."""
    found = []
    for planned in study.plan():
        for start, epochs in itertools.pairwise([0, *sorted(planned.stages)]):
            found.append(Task(planned.stages[epochs], planned, epochs, start))
    return sorted(found, key=lambda task: (task.stage, task.spec.seed, task.epochs))


def is_done(task: Task, *stores: RunStore) -> bool:
    """Whether a task's record, or that of a longer training of the same run, is in one of some stores.

    With it are its evaluations, and those of the records before it.
    """
    return any(_holds(store, task) for store in stores)


def _holds(store: RunStore, task: Task) -> bool:
    recorded = store.recorded(task.spec.digest)
    return any(epochs >= task.epochs for epochs in recorded) and all(
        store.evaluation_path(task.spec, epochs, name).exists()
        for epochs in recorded
        for name in task.run.evaluations
        if epochs <= task.epochs
    )


class Costs:
    """Core-hours of runs, from those that were measured.

    Parameters
    ----------
    stores
        Where records are looked for.
    """

    def __init__(self, stores: Sequence[RunStore]) -> None:
        self._measured: dict[tuple[object, ...], list[float]] = {}
        for folder in itertools.chain.from_iterable(sorted(store.root.glob("*")) for store in stores):
            epochs = max(RunStore(folder.parent).recorded(folder.name), default=0)
            if epochs and (record := read_record(folder / f"epochs-{epochs}.json", {})).history:
                seconds = statistics.fmean(_cpu_seconds(epoch) for epoch in record.history)
                self._measured.setdefault(self._key(record.spec), []).append(seconds)

    @staticmethod
    def _key(spec: RunSpec) -> tuple[object, ...]:
        return spec.model, spec.latent_dim, spec.width, spec.inner_steps, spec.train_images

    def seconds_per_epoch(self, spec: RunSpec) -> float:
        """Core-seconds of an epoch with its validation."""
        if measured := self._measured.get(self._key(spec)):
            return statistics.median_high(measured)
        share = spec.steps_per_epoch * spec.batch_size / 60_000
        width = (spec.width / 16) ** 1.6 if spec.model in ("gon", "autoencoder") else 1.0
        return _SECONDS_PER_EPOCH[spec.model] * spec.inner_steps * share * width

    def hours(self, task: Task, done: int = 0) -> float:
        """Core-hours of a task, after so many epochs of its run."""
        left = max(0, task.epochs - max(task.start, done))
        return left * self.seconds_per_epoch(task.spec) / 3600


def _cpu_seconds(epoch: Epoch) -> float:
    validation = epoch.validation_cpu_seconds
    return epoch.compute_seconds + (epoch.validation_seconds if validation is None else validation)


def print_plan(study: Study, store: RunStore) -> None:
    """Print the tasks of a study, those of a line together; what is in `records/` is done."""
    kept = RunStore(records_dir())
    costs = Costs([store, RunStore(REFERENCE)])

    def figures(group: Sequence[Task]) -> list[str]:
        """Number of tasks and of those that are done; core-hours of all of them, and those that are left."""
        to_do = [task for task in group if not is_done(task, store, kept)]
        left = sum(costs.hours(task, _epochs_done(task.spec, store, kept)) for task in to_do)
        hours = [f"{sum(map(costs.hours, group)):.1f}", f"{left:.1f}" if to_do else ""]
        return [str(len(group)), str(len(group) - len(to_do)), *hours]

    lines: dict[tuple[object, ...], list[Task]] = {}
    for task in tasks(study):
        lines.setdefault(task.line, []).append(task)
    print(f"budget {study.budget.name}: {study.budget.description}")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("stage")
    table.add_column("what", min_width=30)
    for heading in ("seeds", "epochs", "runs", "done", "hours", "left"):
        table.add_column(heading, justify="right", vertical="bottom")
    for group in lines.values():
        first, seeds = group[0], sorted({task.spec.seed for task in group})
        table.add_row(
            str(first.stage),
            _settings_in_words([task.spec for task in group]),
            "–" if first.spec.entry.exact else _range(seeds),
            str(first.epochs),
            *figures(group),
        )
    table.add_section()
    table.add_row("", "in all", "", "", *figures(tasks(study)))
    Console().print(table)
    print(
        f"store: {store.root}\n"
        "hours are CPU time of one core, from the records in the store and in records/, else from "
        "docs/performance.md"
    )


def _epochs_done(spec: RunSpec, store: RunStore, kept: RunStore) -> int:
    """Epochs of a run that need no training: as its last record, its progress file or a kept state says."""
    progress = read_progress(store.progress_path(spec))
    under_way = progress.step // progress.steps_per_epoch if progress else 0
    resumable = kept.recorded(spec.digest) if kept.checkpoint_path(spec).exists() else []
    return max([under_way, *store.recorded(spec.digest), *resumable])


def _settings_in_words(specs: Sequence[RunSpec]) -> str:
    """What the specs of a line have in common, and which data sets and latent sizes."""
    spec = specs[0]
    datasets = dict.fromkeys(DATASETS[spec.dataset].title for spec in specs)
    latents = sorted({spec.latent_dim for spec in specs})
    words = [spec.model_label, " and ".join(datasets), f"latent {', '.join(map(str, latents))}"]
    if spec.activation != RunSpec.activation:
        words.append(ACTIVATIONS[spec.activation])
    return ", ".join(words + spec.unusual)


def _range(seeds: Sequence[int]) -> str:
    whole = list(seeds) == list(range(seeds[0], seeds[-1] + 1)) and len(seeds) > 1
    return f"{seeds[0]}–{seeds[-1]}" if whole else ", ".join(map(str, seeds))


def train_plan(study: Study, store: RunStore, workers: int, device: str) -> int:
    """Train the tasks of a study in their order, each in a process of its own at the lowest priority.

    Parameters
    ----------
    study
        Budget and claims.
    store
        Where the runs lie. What is in `records/` is not trained again, unless a longer training needs it and
        there is no checkpoint to go on from.
    workers
        Processes of one thread side by side.
    device
        "cpu" or "cuda".

    Returns
    -------
    int
        Exit status: 0, 1 if a run failed, or 128 and the number of the signal that stopped it. When a run
        fails, the others are trained all the same.
    """
    to_do = [task for task in tasks(study) if not is_done(task, store, RunStore(records_dir()))]
    print(f"{len(to_do)} trainings to do, {workers} side by side; store: {store.root}", flush=True)
    os.nice(19)  # and so all that are started
    running: dict[int, tuple[Task, subprocess.Popen[bytes]]] = {}
    stopping, failed = 0, False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = stopping or number
        for _, process in running.values():
            process.terminate()

    for number in STOP_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, stop)
    while running or (to_do and not stopping):
        while to_do and not stopping and len(running) < workers:
            process = _start(to_do[0], store, device)
            running[process.pid] = to_do.pop(0), process
            if stopping:  # since the process was started, and before it could be ended with the others
                process.terminate()
        pid, status = os.wait()
        task, process = running.pop(pid)
        process.returncode = os.waitstatus_to_exitcode(status)
        if not stopping:
            failed |= process.returncode != 0
            outcome = f"failed, see {_log(task, store)}" if process.returncode else "done"
            print(f"{task.spec.label}, {task.epochs} epochs: {outcome}", flush=True)
    if stopping:
        print("stopped; the same command goes on from the last epoch of each run", flush=True)
        return 128 + stopping
    return 1 if failed else 0


def _log(task: Task, store: RunStore) -> Path:
    return store.folder(task.spec) / "train.log"


def _start(task: Task, store: RunStore, device: str) -> subprocess.Popen[bytes]:
    log = _log(task, store)
    make_folder(log.parent)
    kept, own = RunStore(records_dir()).checkpoint_path(task.spec), store.checkpoint_path(task.spec)
    if kept.exists() and not own.exists():
        write_atomically(own, kept.read_bytes())
    command = [sys.executable, "-m", "gon.cli", "train", *task.run.arguments]
    command += ["--epochs", str(task.epochs), "--store", str(store.root), "--device", device]
    environment = {**child_environment(), "OMP_NUM_THREADS": "1"}
    with log.open("ab") as stream:
        return subprocess.Popen(command, cwd=PROJECT, stdout=stream, stderr=stream, env=environment)


def keep_records(study: Study, store: RunStore, folder: Path) -> int:
    """Copy what has finished of a study into a folder of reference records.

    With each record go its steps and evaluations; images of seed 0 at 50 and 500 epochs, or where the run
    ends; weights of seed 0 at 500 epochs only. A run that was stopped beyond `SHORTEST_KEPT` epochs is
    recorded as far as it came; its checkpoint is kept until the run ends. No record that is there is ever
    altered: a file of steps may grow by what a longer training added.

    Parameters
    ----------
    study
        Which runs.
    store
        Where they were trained. What is being trained is left to finish.
    folder
        Where reference records are kept.

    Returns
    -------
    int
        Number of records copied.

    Raises
    ------
    GonError
        If a record or a checkpoint is damaged, or another record stands in its place.
    """
    kept, copied, planned = RunStore(folder), 0, tasks(study)
    farthest = {task.spec: task.epochs for task in sorted(planned, key=lambda task: task.epochs)}
    for task in planned:
        reached = min(task.epochs, _reached(task, store))
        for epochs in store.recorded(task.spec.digest):
            if epochs <= reached:
                with_images = epochs in (50, 500, farthest[task.spec])
                copied += _keep(task, epochs, store, kept, with_images=with_images)
    for spec, end in farthest.items():
        _keep_checkpoint(spec, end, store, kept)
    return copied


def _reached(task: Task, store: RunStore) -> int:
    """How far a task's run is recorded, once it is recorded where it was stopped; 0 while it is trained."""
    # They import torch, which takes seconds.
    from gon.runs.checkpoint import load_tensors
    from gon.runs.train import train

    path, recorded = store.checkpoint_path(task.spec), max(store.recorded(task.spec.digest), default=0)
    if recorded >= task.epochs:
        return recorded
    if store.is_locked(task.spec) or not path.exists():
        return 0
    stopped = len(load_tensors(path)["history"])
    if stopped <= max(task.start, SHORTEST_KEPT):
        return 0
    train(task.spec, stopped, store, evaluations=task.run.evaluations)
    return stopped


def _keep_checkpoint(spec: RunSpec, end: int, store: RunStore, kept: RunStore) -> None:
    """Keep the state that a run goes on from while the longest record that is kept is not its end."""
    source, target = store.checkpoint_path(spec), kept.checkpoint_path(spec)
    longest = max(kept.recorded(spec.digest), default=0)
    if longest >= end:
        target.unlink(missing_ok=True)
    elif longest and source.exists():
        record = kept.load(spec, longest)
        if record.files.get("checkpoint") == sha256_of_file(source):
            write_atomically(target, source.read_bytes())


def _keep(task: Task, epochs: int, store: RunStore, kept: RunStore, *, with_images: bool) -> bool:
    """Copy one record and what belongs to it; whether it is new."""
    spec, record = task.spec, store.load(task.spec, epochs)
    source, path = store.record_path(spec, epochs), kept.record_path(spec, epochs)
    if path.exists() and path.read_bytes() != source.read_bytes():
        print(f"{path}: is of another training than {source}; it stays")
        return False
    beside = [store.evaluation_path(spec, epochs, name) for name in task.run.evaluations]
    if spec.seed == 0 and with_images:
        beside.append(store.images_path(spec, epochs))
    if spec.seed == 0 and epochs == MILESTONES[-1]:
        beside.append(store.weights_path(spec, epochs))
    make_folder(path.parent)
    steps, kept_steps = store.steps_path(record), kept.steps_path(record)
    if not kept_steps.exists() or kept_steps.stat().st_size < steps.stat().st_size:
        write_atomically(kept_steps, steps.read_bytes())
    for file in beside:
        target = path.with_name(file.name)
        if file.exists() and not target.exists():
            shutil.copyfile(file, target)
    new = not path.exists()
    if new:
        write_atomically(path, source.read_bytes())
    kept.load(spec, epochs)
    return new
