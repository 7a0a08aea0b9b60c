"""Crossings of a falling loss."""

import pytest

from gon.runs import Epoch
from gon.statistics import crossing


def history(*losses: float) -> list[Epoch]:
    return [
        Epoch(epoch=i, train_loss=1.0, validation_loss=loss, train_seconds=1.0, validation_seconds=1.0)
        for i, loss in enumerate(losses, start=1)
    ]


@pytest.mark.parametrize(
    ("losses", "value", "epoch"),
    [
        ((8.0, 4.0, 2.0), 3.0, 2.5),
        ((8.0, 4.0, 2.0), 4.0, 2.0),
        ((8.0, 4.0, 2.0), 2.0, 3.0),
        ((8.0, 4.0, 2.0), 1.9, None),
        ((8.0, 4.0), 9.0, 1.0),
        ((8.0, 3.0, 6.0, 1.0), 4.0, 1.8),  # the first time counts
        ((), 1.0, None),
    ],
)
def test_a_crossing_is_interpolated(losses: tuple[float, ...], value: float, epoch: float | None) -> None:
    assert crossing(history(*losses), value) == (None if epoch is None else pytest.approx(epoch))
