"""How far a run under way is: a small file in the run's folder, written by the training process."""

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path

from gon.runs import write_atomically


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes
    ----------
    digest, label
        Which run.
    epochs
        Epochs asked for.
    first_step
        Steps that the run had done before this process took it up.
    step, steps
        Steps done, and steps in all epochs asked for.
    steps_per_epoch
        Steps in one epoch.
    train_loss
        Mean loss since the epoch began (SSE per image); None before the first step.
    started, updated
        Unix time at which this process began to train, and at which it wrote this.
    """

    digest: str
    label: str
    epochs: int
    first_step: int
    step: int
    steps: int
    steps_per_epoch: int
    train_loss: float | None
    started: float
    updated: float

    @property
    def epoch(self) -> int:
        """The epoch under way, from 1."""
        return min(self.step // self.steps_per_epoch + 1, self.epochs)

    @property
    def seconds_left(self) -> float | None:
        """Time left at the pace so far; None before there is a pace."""
        done = self.step - self.first_step
        if done <= 0:
            return None
        return (self.updated - self.started) / done * (self.steps - self.step)


def write_progress(path: Path, progress: Progress) -> None:
    """Write a progress file; readers never see a part of it."""
    write_atomically(path, json.dumps(dataclasses.asdict(progress)))


def read_progress(path: Path) -> Progress | None:
    """Read a progress file; None if there is none, or it is of another version."""
    try:
        return Progress(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def now() -> float:
    """The time that progress is measured in."""
    return time.time()
