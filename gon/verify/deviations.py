"""How far two trainings of one run are apart, and how far they may be."""

import math
from collections.abc import Sequence

import numpy as np

from gon.runs.chain import Losses
from gon.runs.record import Epoch
from gon.spec import RunSpec

_KINK = ("relu", "leaky_relu")
_TWICE_DIFFERENTIATED = ("gon", "variational_gon", "implicit_gon")

BLOCK = 50
"""Steps whose losses are averaged before they are compared with a tolerance; single ones scatter more."""


def largest_deviation(
    losses: Losses, history: Sequence[Epoch], recorded_losses: Losses, recorded: Sequence[Epoch]
) -> float:
    """Largest relative deviation of two trainings of equal length: of blocks of steps, and of epochs' losses.

    Parameters
    ----------
    losses, recorded_losses
        Training loss of every step [steps], SSE per image.
    history, recorded
        The epochs.
    """
    if len(losses) != len(recorded_losses):
        return math.inf
    found = [*block_deviations(losses, recorded_losses), *epoch_deviations(history, recorded)]
    return max((math.inf if math.isnan(d) else d for d in found), default=0.0)


def tolerance(spec: RunSpec, epochs: int) -> float:
    """Largest relative deviation that another kind of machine explains.

    Rounding differs there, and training amplifies it: most of all where the activation's slope jumps, and
    where a second derivative that jumps, as ELU's does, takes part in training. Each is at least half as much
    again as the largest deviation that was measured, in the first epoch and over five (docs/evidence.md).

    Parameters
    ----------
    spec
        The run.
    epochs
        How many epochs were trained from a state that both have.
    """
    if spec.activation in _KINK:
        within, longer = 0.12, 0.50
    elif spec.activation == "elu" and spec.model in _TWICE_DIFFERENTIATED:
        within, longer = 0.005, 0.15
    else:
        within, longer = 0.001, 0.01
    return longer if epochs > 1 else within


def block_deviations(losses: Losses, recorded: Losses) -> list[float]:
    """Relative deviations of the mean training loss of blocks of steps; arrays [steps] of one length."""
    starts = range(0, len(losses), BLOCK)
    means = ([float(x[i : i + BLOCK].mean(dtype=np.float64)) for i in starts] for x in (losses, recorded))
    return [relative(a, b) for a, b in zip(*means, strict=True)]


def epoch_deviations(history: Sequence[Epoch], recorded: Sequence[Epoch]) -> list[float]:
    """Relative deviations of the losses that epochs have in common."""
    return [
        relative(value, written)
        for ours, theirs in zip(history, recorded, strict=False)
        for key in ("validation_loss", "validation_loss_running", "train_loss")
        if (value := getattr(ours, key)) is not None and (written := getattr(theirs, key)) is not None
    ]


def relative(value: float, written: float, floor: float = 1e-12) -> float:
    """How far a value is from the one that was written, as a share of that one."""
    return abs(value - written) / max(abs(written), floor)
