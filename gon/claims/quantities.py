"""The numbers that are measured on runs: each computed from its record, wherever it is shown.

A column of a notebook's frame that is named by one of these keys is computed once more by the report, from
the records; see `gon.claims.checks`. A key may have an argument behind a colon, such as `epochs_to:40`.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gon.claims.loading import Run

SSE = "SSE per image"
_BLOCKS = 1000


@dataclass(frozen=True)
class Quantity:
    """A number of a run: its name for people, its unit, and how it follows from the record.

    Attributes
    ----------
    title
        For people; `{}` stands for the argument of the key.
    unit
        Unit, or empty.
    of
        Computes it, from a run, a number of epochs, the argument, and the published value of the run's
        settings, which is None where there is none.
    """

    title: str
    unit: str
    of: Callable[[Run, int, str, float | None], float | None]


def value_of(run: Run, key: str, epochs: int, published: float | None = None) -> float | None:
    """A quantity of a run after a number of epochs; None where the run has no such number.

    Parameters
    ----------
    run
        The run.
    key
        A key of `QUANTITIES`, with its argument behind a colon if it has one.
    epochs
        After how many epochs.
    published
        The published value of its settings, which `crossing` compares with.
    """
    name, _, argument = key.partition(":")
    return QUANTITIES[name].of(run, epochs, argument, published)


def is_quantity(key: str) -> bool:
    """Whether a column's name is the key of a quantity."""
    name, colon, argument = key.partition(":")
    return name in QUANTITIES and bool(colon) == ("{}" in QUANTITIES[name].title) == bool(argument)


def _loss(name: str) -> Callable[[Run, int, str, float | None], float | None]:
    return lambda run, epochs, argument, published: run.record.loss(name, epochs)


def _better_validation_loss(run: Run, epochs: int, argument: str, published: float | None) -> float | None:
    """Of a model with an encoder the better of its batch norms' two modes."""
    losses = [run.record.loss(name, epochs) for name in ("validation_loss", "validation_loss_running")]
    return min((loss for loss in losses if loss is not None), default=None)


def _crossing(run: Run, epochs: int, argument: str, published: float | None) -> float | None:
    """The first epoch whose validation loss is at or below the published value."""
    if published is None:
        return None
    below = (
        epoch.epoch
        for epoch in run.record.history[:epochs]
        if epoch.validation_loss is not None and epoch.validation_loss <= published
    )
    return next(below, None)


@functools.cache  # a claim asks for several thresholds; a block is a number where a step was
def _blocks(run: Run, epochs: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    return block_means(run.step_losses[: epochs * run.spec.steps_per_epoch], _BLOCKS)


def _steps_to(run: Run, epochs: int, argument: str, published: float | None) -> float | None:
    """The middle of the first block of steps whose mean training loss has fallen to a threshold."""
    steps, means = _blocks(run, epochs)
    reached = np.flatnonzero(means <= float(argument))
    return float(steps[reached[0]]) if len(reached) else None


def _epochs_to(run: Run, epochs: int, argument: str, published: float | None) -> float | None:
    steps = _steps_to(run, epochs, argument, published)
    return None if steps is None else steps / run.spec.steps_per_epoch


def _seconds_to(run: Run, epochs: int, argument: str, published: float | None) -> float | None:
    steps, milliseconds = _steps_to(run, epochs, argument, published), run.record.step_milliseconds
    return None if steps is None or milliseconds is None else steps * milliseconds / 1e3


def _evaluation(run: Run, epochs: int, argument: str, published: float | None) -> float | None:
    name, _, variable = argument.partition("/")
    found = run.evaluation(name).get(variable) if epochs == run.epochs else None
    return None if found is None or not math.isfinite(found) else found


QUANTITIES = {
    "validation_loss": Quantity("validation loss", SSE, _loss("validation_loss")),
    "validation_loss_running": Quantity(
        "validation loss with running statistics", SSE, _loss("validation_loss_running")
    ),
    "better_validation_loss": Quantity("validation loss", SSE, _better_validation_loss),
    "train_loss": Quantity("training loss", SSE, _loss("train_loss")),
    "step_milliseconds": Quantity(
        "time per training step", "ms", lambda run, epochs, argument, published: run.record.step_milliseconds
    ),
    "parameters": Quantity("parameters", "", lambda run, epochs, argument, published: run.record.parameters),
    "crossing": Quantity("first epoch", "", _crossing),
    "epochs_to": Quantity("epochs to {}", "", _epochs_to),
    "seconds_to": Quantity("time to {}", "s", _seconds_to),
    "evaluation": Quantity("{}", "", _evaluation),
}
"""Losses are those of `RunRecord.loss`, times those of the device; see each function."""

MEASURED = (
    *("validation_loss", "validation_loss_running", "better_validation_loss"),
    *("train_loss", "step_milliseconds", "parameters"),
)
"""Those that every row of a frame has."""


def block_means(
    losses: npt.ArrayLike, points: int = 80
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Average a loss per step over blocks of equal length.

    Parameters
    ----------
    losses
        Loss of every step.
    points
        Largest number of blocks.

    Returns
    -------
    tuple
        Steps at the middle of the blocks, and their means, both [blocks].
    """
    values = np.asarray(losses, dtype=np.float64)
    length = max(1, -(-len(values) // points))
    starts = np.arange(0, len(values), length)
    ends = np.minimum(starts + length, len(values))
    whole = len(values) // length * length
    means = values[:whole].reshape(-1, length).mean(axis=1)
    if whole < len(values):
        means = np.append(means, values[whole:].mean())
    return (starts + ends) / 2, means
