"""The statistics against scipy, and crossings."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.stats

from gon.runs import Epoch
from gon.statistics import adjusted, crossing, equivalence, mean_curve, mean_interval, paired_difference

SAMPLES = [
    ([0.41, 0.39, 0.42], [0.44, 0.45, 0.43]),
    ([12.1, 11.8, 12.6, 12.0, 11.9], [12.0, 12.4, 12.2, 12.5, 12.1]),
    ([1.0, 2.0], [1.5, 2.6]),
]


@pytest.mark.parametrize("values", [values for pair in SAMPLES for values in pair])
def test_an_interval_is_that_of_scipy(values: list[float]) -> None:
    expected = scipy.stats.t.interval(
        0.95, len(values) - 1, loc=np.mean(values), scale=scipy.stats.sem(values)
    )
    assert mean_interval(values) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("values", [[0.4], [0.4, 0.4, 0.4]])
def test_without_scatter_no_interval_is_pretended(values: list[float]) -> None:
    assert mean_interval(values) is None
    difference = paired_difference(values, [0.5] * len(values))
    assert (difference.interval, difference.p_value, difference.effect_size) == (None, None, None)
    assert difference.relative == pytest.approx(-0.2)
    result = equivalence(values, 0.5, 0.1)
    assert (result.p_equivalent, result.p_different) == (None, None)


@pytest.mark.parametrize(("first", "second"), SAMPLES)
def test_a_paired_difference_is_that_of_scipy(first: list[float], second: list[float]) -> None:
    logs = np.log(first) - np.log(second)
    test = scipy.stats.ttest_rel(np.log(first), np.log(second))
    low, high = test.confidence_interval(0.95)
    found = paired_difference(first, second)
    assert found.seeds == len(first)
    assert found.relative == pytest.approx(scipy.stats.gmean(np.divide(first, second)) - 1)
    assert found.interval == pytest.approx((math.expm1(low), math.expm1(high)))
    assert found.p_value == pytest.approx(test.pvalue)
    assert found.effect_size == pytest.approx(np.mean(logs) / np.std(logs, ddof=1))


@pytest.mark.parametrize("values", [first for first, _ in SAMPLES])
@pytest.mark.parametrize("margin", [0.05, 0.1, 0.5])
def test_equivalence_is_two_one_sided_tests_of_scipy(values: list[float], margin: float) -> None:
    target = 1.02 * values[0]
    logs = np.log(values) - math.log(target)
    low, high = math.log(1 - margin), math.log(1 + margin)

    def p(bound: float, alternative: str) -> float:
        return float(scipy.stats.ttest_1samp(logs, bound, alternative=alternative).pvalue)

    found = equivalence(values, target, margin)
    assert found.p_equivalent == pytest.approx(max(p(low, "greater"), p(high, "less")))
    assert found.p_different == pytest.approx(min(p(low, "less"), p(high, "greater")))


def test_adjustment_is_that_of_holm() -> None:
    """The example of Holm (1979) as in every textbook: 0.01, 0.04, 0.03, 0.005 of four tests."""
    assert adjusted([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjusted([]) == []


def test_a_curve_has_the_interval_of_each_of_its_points() -> None:
    curves = [[4.0, 2.0], [5.0, 2.5], [4.5, 1.9]]
    mean, low, high = mean_curve(curves)
    assert mean == pytest.approx([4.5, 6.4 / 3])
    for i, point in enumerate(zip(*curves, strict=True)):
        assert (low[i], high[i]) == pytest.approx(mean_interval(point))


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
def test_a_crossing_is_interpolated(losses: Sequence[float], value: float, epoch: float | None) -> None:
    assert crossing(history(*losses), value) == (None if epoch is None else pytest.approx(epoch))
