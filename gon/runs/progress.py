"""How far a run under way is: a small file in the run's folder, written by the training process."""

import dataclasses
import json
import time
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gon.errors import GonError
from gon.files import read_json, write_atomically
from gon.runs.record import conforms
from gon.spec import RunSpec

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Progress:
    """Where a run stands."""

    digest: str
    label: str
    epochs: int
    """Epochs asked for."""
    first_step: int
    """Steps that the run had done before this process took it up."""
    step: int
    """Steps done."""
    steps: int
    """Steps in all epochs asked for."""
    steps_per_epoch: int
    train_loss: float | None
    """Mean loss since the epoch began (SSE per image); None before the first step."""
    started: float
    """Unix time at which this process began to train."""
    updated: float
    """Unix time at which it wrote this."""

    @property
    def epoch(self) -> int:
        """The epoch under way, from 1."""
        return min(self.step // self.steps_per_epoch + 1, self.epochs)


def write_progress(path: Path, progress: Progress) -> None:
    """Write a progress file; readers never see a part of it."""
    write_atomically(path, json.dumps(dataclasses.asdict(progress)))


def read_progress(path: Path) -> Progress | None:
    """Read a progress file; None if there is none, or it is of another version."""
    try:
        progress = Progress(**read_json(path))
    except (GonError, TypeError):
        return None
    whole = all(conforms(getattr(progress, name), hint) for name, hint in _HINTS.items())
    return progress if whole and progress.steps_per_epoch and progress.epochs else None


_HINTS = typing.get_type_hints(Progress)


_PROGRESS_SECONDS = 1.0


class ProgressWriter:
    """Writes a run's progress file about once a second.

    Parameters
    ----------
    path
        The progress file.
    spec, epochs
        What is run, and how far.
    first_step
        Steps done before.
    """

    def __init__(self, path: Path, spec: RunSpec, epochs: int, first_step: int) -> None:
        self.path = path
        now = time.time()
        self.progress = Progress(
            digest=spec.digest,
            label=spec.label,
            epochs=epochs,
            first_step=first_step,
            step=first_step,
            steps=epochs * spec.steps_per_epoch,
            steps_per_epoch=spec.steps_per_epoch,
            train_loss=None,
            started=now,
            updated=now,
        )
        write_progress(path, self.progress)

    def update(self, step: int, epoch_losses: "Tensor") -> None:
        """Note that `step` steps are done, with the losses of this epoch's so far."""
        now = time.time()
        if now - self.progress.updated < _PROGRESS_SECONDS:
            return
        self.progress = dataclasses.replace(
            self.progress, step=step, updated=now, train_loss=epoch_losses.mean().item()
        )
        write_progress(self.path, self.progress)
