"""The long training: runs in the order of their stages, and the finished ones as reference records.

`gon plan` shows it, `gon plan --train` trains it, and `gon plan --keep FOLDER` copies what has finished.
Each run is trained by `gon train`, which goes on from its checkpoint: the training may be stopped at any
moment, and the same command goes on.
"""

import concurrent.futures
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.table import Table

from gon.catalogue import ACTIVATIONS, DATASETS, MILESTONES
from gon.claims.params import RECORDS
from gon.claims.study import PlannedRun, Study
from gon.files import PROJECT, make_folder, write_atomically
from gon.runs.progress import read_progress
from gon.runs.record import RunRecord
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


@dataclass(frozen=True)
class Task:
    """One run up to a number of epochs, as it is due in the order of the stages.

    Attributes
    ----------
    stage
        Where it stands in the order.
    run
        What is trained, and evaluated with each of its records.
    epochs
        How far.
    start
        Epochs that an earlier task trains.
    """

    stage: int
    run: PlannedRun
    epochs: int
    start: int

    @property
    def spec(self) -> RunSpec:
        """The settings of the run."""
        return self.run.spec

    def settings(self) -> tuple[object, ...]:
        """What a line of the plan is about: stage, epochs and everything but data set and seed."""
        spec = self.spec
        return (
            self.stage,
            spec.model,
            spec.activation,
            spec.inner_steps,
            spec.width,
            spec.learning_rate,
            spec.split,
            self.epochs,
        )


def tasks(study: Study) -> list[Task]:
    """The runs of a study in the order in which they are trained: by stage, then seed by seed."""
    found = []
    for planned in study.plan():
        start = 0
        for epochs in sorted(planned.stages):
            found.append(Task(planned.stages[epochs], planned, epochs, start))
            start = epochs
    return sorted(found, key=lambda task: (task.stage, task.spec.seed, task.epochs))


def is_done(task: Task, store: RunStore) -> bool:
    """Whether a task's record, or that of a longer training of the same run, is in a store, and evaluated."""
    recorded = store.recorded(task.spec.digest)
    return any(epochs >= task.epochs for epochs in recorded) and all(
        store.evaluation_path(task.spec, epochs, name).exists()
        for epochs in recorded
        for name in task.run.evaluations
        if epochs <= task.epochs
    )


def _epochs_done(task: Task, store: RunStore) -> int:
    """Epochs of a run that are trained already: as its last record or its progress file says."""
    done = max(store.recorded(task.spec.digest), default=0)
    progress = read_progress(store.progress_path(task.spec))
    return max(done, progress.step // progress.steps_per_epoch if progress else 0)


class Costs:
    """Core-hours of runs, from those that were measured.

    Parameters
    ----------
    stores
        Where records are looked for.
    """

    def __init__(self, stores: Sequence[RunStore]) -> None:
        self._measured: dict[tuple[object, ...], list[float]] = {}
        for store in stores:
            for folder in sorted(store.root.iterdir()) if store.root.is_dir() else []:
                epochs = max(store.recorded(folder.name), default=0)
                if epochs:
                    path = folder / f"epochs-{epochs}.json"
                    record = read_record(path, {})
                    if record.history:
                        self._measured.setdefault(self._key(record.spec), []).append(_cpu_seconds(record))

    @staticmethod
    def _key(spec: RunSpec) -> tuple[object, ...]:
        return spec.model, spec.latent_dim, spec.width, spec.inner_steps, spec.train_images

    def seconds_per_epoch(self, spec: RunSpec) -> float:
        """Core-seconds of an epoch with its validation."""
        if measured := self._measured.get(self._key(spec)):
            return sorted(measured)[len(measured) // 2]
        share = spec.steps_per_epoch * spec.batch_size / 60_000
        width = (spec.width / 16) ** 1.6 if spec.model in ("gon", "autoencoder") else 1.0
        return _SECONDS_PER_EPOCH[spec.model] * spec.inner_steps * share * width

    def hours(self, task: Task, done: int = 0) -> float:
        """Core-hours of a task, after so many epochs of its run."""
        left = max(0, task.epochs - max(task.start, done))
        return left * self.seconds_per_epoch(task.spec) / 3600


def _cpu_seconds(record: RunRecord) -> float:
    seconds = sum(
        epoch.compute_seconds
        + (epoch.validation_seconds if epoch.validation_cpu_seconds is None else epoch.validation_cpu_seconds)
        for epoch in record.history
    )
    return seconds / len(record.history)


def print_plan(study: Study, store: RunStore) -> None:
    """Print the tasks of a study, those together that differ in data set, latent size and seed only."""
    costs, planned = Costs([store, RunStore(RECORDS)]), tasks(study)
    groups: dict[tuple[object, ...], list[Task]] = {}
    for task in planned:
        groups.setdefault(task.settings(), []).append(task)
    table = Table(title=f"budget {study.budget.name}: {study.budget.description}", title_justify="left")
    for heading in ("stage", "what", "seeds", "epochs"):
        table.add_column(heading)
    for heading in ("finished", "under way", "to do", "core-hours left", "of"):
        table.add_column(heading, justify="right")
    total = left = 0.0
    counts = [0, 0, 0]
    for group in groups.values():
        states = [0, 0, 0]
        hours = hours_left = 0.0
        for task in group:
            done = _epochs_done(task, store)
            state = 0 if is_done(task, store) else 1 if done > task.start else 2
            states[state] += 1
            hours += costs.hours(task)
            hours_left += 0 if state == 0 else costs.hours(task, done)
        total, left = total + hours, left + hours_left
        counts = [a + b for a, b in zip(counts, states, strict=True)]
        first = group[0]
        seeds = sorted({task.spec.seed for task in group})
        table.add_row(
            str(first.stage),
            _settings_in_words(group),
            "–" if first.spec.entry.exact else _range(seeds),
            str(first.epochs),
            *(str(n) if n else "" for n in states),
            f"{hours_left:.1f}" if hours_left else "",
            f"{hours:.1f}",
        )
    table.add_section()
    table.add_row("", "in all", "", "", *map(str, counts), f"{left:.1f}", f"{total:.1f}")
    Console().print(table)
    print(
        f"store: {store.root}\n"
        "core-hours are CPU time of one core, from the records in the store and in records/, else from "
        "docs/performance.md"
    )


def _settings_in_words(group: Sequence[Task]) -> str:
    """What the tasks of a line have in common, and which data sets and latent sizes."""
    spec = group[0].spec
    datasets = dict.fromkeys(DATASETS[task.spec.dataset].title for task in group)
    latents = sorted({task.spec.latent_dim for task in group})
    words = [spec.model_label, " and ".join(datasets), f"latent {', '.join(map(str, latents))}"]
    if spec.activation != RunSpec.activation:
        words.append(ACTIVATIONS[spec.activation])
    for key in ("width", "learning_rate"):
        if getattr(spec, key) != getattr(RunSpec, key):
            words.append(f"{key.replace('_', ' ')} {getattr(spec, key):g}")
    if spec.split != RunSpec.split:
        words.append("held-out split")
    return ", ".join(words)


def _range(seeds: Sequence[int]) -> str:
    whole = list(seeds) == list(range(seeds[0], seeds[-1] + 1)) and len(seeds) > 1
    return f"{seeds[0]} to {seeds[-1]}" if whole else ", ".join(map(str, seeds))


def train_plan(study: Study, store: RunStore, workers: int, device: str) -> int:
    """Train the tasks of a study in their order, each in a process of its own at the lowest priority.

    Parameters
    ----------
    study
        Budget and claims.
    store
        Where the runs lie.
    workers
        Processes of one thread side by side.
    device
        "cpu" or "cuda".

    Returns
    -------
    int
        Exit status: 0, or 1 if a run failed. The others are trained all the same.
    """
    open_tasks = [task for task in tasks(study) if not is_done(task, store)]
    print(f"{len(open_tasks)} trainings to do, {workers} side by side; store: {store.root}", flush=True)
    os.nice(19)  # and so all that are started
    running: dict[Task, subprocess.Popen[bytes]] = {}
    stopping = threading.Event()

    def train(task: Task) -> bool:
        if stopping.is_set():
            return True
        name = f"{task.spec.label}, {task.epochs} epochs"
        log = store.folder(task.spec) / "train.log"
        make_folder(log.parent)
        command = [sys.executable, "-m", "gon.cli", "train", *task.run.arguments]
        command += ["--epochs", str(task.epochs), "--store", str(store.root), "--device", device]
        with log.open("ab") as stream:
            process = subprocess.Popen(
                command,
                cwd=PROJECT,
                stdout=stream,
                stderr=stream,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            running[task] = process
        if stopping.is_set():  # between the question above and its entry in the list that is ended
            process.terminate()
        status = process.wait()
        del running[task]
        if stopping.is_set():
            return True
        print(f"{name}: {'done' if status == 0 else f'failed, see {log}'}", flush=True)
        return status == 0

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()
        for process in list(running.values()):
            process.terminate()

    with _handled(stop), concurrent.futures.ThreadPoolExecutor(workers) as pool:
        results = list(pool.map(train, open_tasks))
    if stopping.is_set():
        print("stopped; the same command goes on from the last epoch of each run", flush=True)
        return 130
    return 0 if all(results) else 1


@contextlib.contextmanager
def _handled(stop: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Let a function answer the signals that end a process."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def keep_records(study: Study, store: RunStore, folder: Path) -> int:
    """Copy what has finished of a study into a folder of reference records.

    With each record go its steps and evaluations; images of seed 0 at 50 and 500 epochs, or where the run
    ends; weights of seed 0 at 500 epochs only; no checkpoints. What is there already is never altered: a file
    of steps may grow by what a longer training added.

    Parameters
    ----------
    study
        Which runs.
    store
        Where they were trained.
    folder
        Where reference records are kept.

    Returns
    -------
    int
        Number of records copied.

    Raises
    ------
    GonError
        If a record is damaged, or another one stands in its place.
    """
    kept, copied, planned = RunStore(folder), 0, tasks(study)
    farthest = {task.spec: task.epochs for task in sorted(planned, key=lambda task: task.epochs)}
    for task in planned:
        recorded = [epochs for epochs in store.recorded(task.spec.digest) if epochs <= task.epochs]
        if task.epochs not in recorded:
            continue
        for epochs in recorded:
            copied += _keep(task, epochs, store, kept, with_images=epochs in (50, 500, farthest[task.spec]))
    return copied


def _keep(task: Task, epochs: int, store: RunStore, kept: RunStore, *, with_images: bool) -> bool:
    spec = task.spec
    record = store.load(spec, epochs)
    path = kept.record_path(spec, epochs)
    beside = [store.evaluation_path(spec, epochs, name) for name in task.run.evaluations]
    if spec.seed == 0 and with_images:
        beside.append(store.images_path(spec, epochs))
    if spec.seed == 0 and epochs == MILESTONES[-1]:
        beside.append(store.weights_path(spec, epochs))
    new = not path.exists()
    source = store.record_path(spec, epochs)
    if not new and path.read_bytes() != source.read_bytes():
        print(f"{path}: is of another training than {source}; it stays")
        return False
    make_folder(path.parent)
    steps, kept_steps = store.steps_path(record), kept.steps_path(record)
    if not kept_steps.exists() or kept_steps.stat().st_size < steps.stat().st_size:
        write_atomically(kept_steps, steps.read_bytes())
    for file in beside:
        target = kept.folder(spec) / file.name
        if file.exists() and not target.exists():
            shutil.copyfile(file, target)
    if new:
        write_atomically(path, source.read_bytes())
    kept.load(spec, epochs)
    return new
