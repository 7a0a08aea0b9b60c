"""Statistics of trajectories."""

from collections.abc import Sequence

from gon.runs import Epoch


def crossing(history: Sequence[Epoch], value: float) -> float | None:
    """When the validation loss first falls to a value.

    Parameters
    ----------
    history
        The epochs of a run.
    value
        Summed squared error per image.

    Returns
    -------
    float or None
        The epoch, interpolated linearly between the two epochs around it; 1 if the first epoch ends at
        or below the value, as nothing is known before; None if no epoch does.
    """
    previous: Epoch | None = None
    for epoch in history:
        if epoch.validation_loss <= value:
            if previous is None:
                return float(epoch.epoch)
            fallen = previous.validation_loss - epoch.validation_loss
            return previous.epoch + (previous.validation_loss - value) / fallen
        previous = epoch
    return None
