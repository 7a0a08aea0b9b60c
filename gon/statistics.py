"""Statistics over seeds, from scipy and statsmodels: intervals, paired comparisons, equivalence, crossings.

Losses are compared on the logarithmic scale, where a relative difference is a difference: a mean is then
a geometric mean of ratios, and intervals for ratios stay above zero. With three to five seeds, all of it
rests on the t distribution; resampling so few values would promise more than they hold.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from gon.runs import Epoch

Interval = tuple[float, float]
"""Lower and upper end."""

CONFIDENCE = 0.95
"""Of every interval."""


def mean_interval(values: Sequence[float]) -> Interval | None:
    """Confidence interval of a mean, from the t distribution.

    Parameters
    ----------
    values
        One number per seed.

    Returns
    -------
    tuple of float or None
        None with fewer than two values, or if all are equal: then there is nothing that scatters.
    """
    if len(values) < 2 or min(values) == max(values):
        return None
    low, high = DescrStatsW(np.asarray(values, dtype=np.float64)).tconfint_mean(1 - CONFIDENCE)
    return float(low), float(high)


def mean_curve(curves: Sequence[Sequence[float]]) -> tuple[list[float], list[float], list[float]]:
    """Mean of several curves point by point, with its confidence interval.

    Parameters
    ----------
    curves
        [n, points]: one curve per seed, at least two.

    Returns
    -------
    tuple of list of float
        Mean, and lower and upper end of its 95% interval, each [points].
    """
    sample = DescrStatsW(np.asarray(curves, dtype=np.float64))
    low, high = sample.tconfint_mean(1 - CONFIDENCE)
    return sample.mean.tolist(), low.tolist(), high.tolist()


@dataclass(frozen=True)
class Difference:
    """How far one quantity lies above another, or above a fixed value, over several seeds.

    Attributes
    ----------
    seeds
        Number of pairs or values.
    relative
        Geometric mean of the ratios, minus 1.
    interval
        Its 95% confidence interval; None with a single seed, or without scatter.
    p_value
        Two-sided, that there is no difference (paired t test); None where there is no interval.
    effect_size
        Mean of the log ratios over their standard deviation (Cohen's d for paired samples).
    """

    seeds: int
    relative: float
    interval: Interval | None
    p_value: float | None
    effect_size: float | None


def paired_difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Compare two quantities seed by seed.

    Parameters
    ----------
    first, second
        One positive number per seed, in the same order of seeds.

    Returns
    -------
    Difference
        Of `first` relative to `second`.
    """
    return _difference(np.log(np.asarray(first, dtype=np.float64)) - np.log(np.asarray(second)))


@dataclass(frozen=True)
class Equivalence:
    """Whether a quantity has a given value, up to a margin.

    Attributes
    ----------
    difference
        From the given value.
    p_equivalent
        That the difference is at least the margin: two one-sided t tests (TOST). None with a single seed.
    p_different
        That the difference is at most the margin: the smaller of the two opposite one-sided tests.
    """

    difference: Difference
    p_equivalent: float | None
    p_different: float | None


def equivalence(values: Sequence[float], target: float, margin: float) -> Equivalence:
    """Test whether a quantity is within a margin of a given value, and whether it is outside.

    Parameters
    ----------
    values
        One positive number per seed.
    target
        The given value, positive.
    margin
        Largest relative difference that counts as the same, between 0 and 1.
    """
    logs = np.log(np.asarray(values, dtype=np.float64)) - math.log(target)
    difference = _difference(logs)
    if difference.p_value is None:
        return Equivalence(difference, None, None)
    low, high = math.log1p(-margin), math.log1p(margin)
    sample = DescrStatsW(logs)
    inside, _, _ = sample.ttost_mean(low, high)
    below = sample.ttest_mean(low, alternative="smaller")[1]
    above = sample.ttest_mean(high, alternative="larger")[1]
    return Equivalence(difference, float(inside), float(min(below, above)))


def adjusted(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values of several comparisons, so that one false finding among all stays as rare (Holm)."""
    if not p_values:
        return []
    return [float(p) for p in multipletests(p_values, method="holm")[1]]


def _difference(logs: np.ndarray) -> Difference:
    relative = math.expm1(float(logs.mean()))
    # Without scatter a t test has nothing to go by, however many seeds there are.
    if len(logs) < 2 or np.ptp(logs) == 0:
        return Difference(len(logs), relative, None, None, None)
    sample = DescrStatsW(logs)
    statistic, p_value, _ = sample.ttest_mean(0)
    low, high = sample.tconfint_mean(1 - CONFIDENCE)
    return Difference(
        seeds=len(logs),
        relative=relative,
        interval=(math.expm1(float(low)), math.expm1(float(high))),
        p_value=float(p_value),
        effect_size=float(statistic) / math.sqrt(len(logs)),
    )


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
