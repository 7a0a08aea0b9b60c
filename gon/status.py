"""How far the runs of a study are, for a person who watches from elsewhere, or a program.

Everything is read from the store and the logs, so that it may be asked on any machine that sees these.
"""

import dataclasses
import json
import time
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gon.claims.failures import end_of_log, is_failure
from gon.claims.formats import duration
from gon.claims.params import Request
from gon.claims.study import Study
from gon.processes import plain
from gon.runs.progress import Progress, read_progress
from gon.runs.store import RunStore

State = Literal["done", "under way", "failed", "stopped", "to do"]

FRESH_SECONDS = 20.0
"""A progress file this young is of a training at work, where the store's lock cannot be seen (some network
file systems keep locks to a machine)."""


@dataclass(frozen=True)
class RunStatus:
    """Where one run of a study stands."""

    digest: str
    label: str
    state: State
    epochs: int
    """Epochs asked for."""
    epoch: float
    """Epochs trained, parts of one included."""
    train_loss: float | None = None
    """Mean loss of the epoch under way (SSE per image); None if there is none, or it has no step yet."""
    seconds_left: float | None = None
    """By the pace so far; None where no training is at work, or it has no pace yet."""
    error: str | None = None
    """What a failed training said."""
    log: str | None = None
    """Where a failed training's log is."""


def status_of(study: Study) -> list[RunStatus]:
    """The status of every run of a study, in the order of its plan."""
    return [_status(study, planned) for planned in study.plan()]


def _status(study: Study, planned: Request) -> RunStatus:
    spec, epochs, store = planned.spec, planned.epochs, study.budget.run_store
    status = RunStatus(spec.digest, spec.label, "to do", epochs, 0)
    if study.budget.holder(spec, epochs) is not None:
        return dataclasses.replace(status, state="done", epoch=epochs)
    progress = read_progress(store.progress_path(spec))
    recorded = max(store.recorded(spec.digest), default=0)
    epoch = max(recorded, progress.step / progress.steps_per_epoch if progress else 0)
    status = dataclasses.replace(status, epoch=epoch, state="stopped" if epoch else "to do")
    if _is_at_work(store, planned, progress):
        left = None if progress is None else _seconds_left(progress, epochs)
        loss = None if progress is None else progress.train_loss
        return dataclasses.replace(status, state="under way", train_loss=loss, seconds_left=left)
    logs = [
        study.budget.build / "logs" / f"train-{spec.digest}-{epochs}.log",
        store.folder(spec) / "train.log",
    ]
    for log in logs:
        error = _error_in(log, since=progress.updated if progress else 0)
        if error is not None:
            return dataclasses.replace(status, state="failed", error=error, log=str(log))
    return status


def _is_at_work(store: RunStore, planned: Request, progress: Progress | None) -> bool:
    if store.is_locked(planned.spec):
        return True
    finished = progress is not None and progress.step >= progress.steps
    return progress is not None and not finished and time.time() - progress.updated < FRESH_SECONDS


def _seconds_left(progress: Progress, epochs: int) -> float | None:
    """Up to the epochs that the study asks for, which the process at work may leave to another one."""
    done, seconds = progress.step - progress.first_step, progress.updated - progress.started
    if not done or seconds <= 0:
        return None
    return (epochs * progress.steps_per_epoch - progress.step) * seconds / done


def _error_in(log: Path, since: float) -> str | None:
    """What a training said when it failed; None if it did not, or was taken up again since."""
    if not is_failure(log) or log.stat().st_mtime < since:
        return None
    return end_of_log(log)[0]


def print_status(study: Study, *, as_json: bool) -> None:
    """Print the status of a study's runs: how many, those under way, and those that failed."""
    runs = status_of(study)
    if as_json:
        print(json.dumps([dataclasses.asdict(run) for run in runs], indent=1))
        return
    counts = [f"{sum(run.state == state for run in runs)} {state}" for state in typing.get_args(State)]
    print(f"budget {study.budget.name}, {len(runs)} runs: {', '.join(counts)}")
    for run in runs:
        if run.state in ("under way", "stopped", "failed"):
            print(_line(run))


def _line(run: RunStatus) -> str:
    line = f"{run.state:<9}  {run.label}: {run.epoch:.1f} of {run.epochs} epochs"
    if run.train_loss is not None:
        line += f", training loss {run.train_loss:.4g}"
    if run.seconds_left is not None:
        line += f", {duration(run.seconds_left)} left"
    return line if run.error is None else f"{line}: {plain(run.error)}\n           log: {run.log}"
