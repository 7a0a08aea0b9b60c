"""Statistics over seeds, by scipy's t distribution: intervals, one-sided tests of log ratios.

Losses are compared on the logarithmic scale, where a relative difference is a difference: a mean is then
a geometric mean of ratios, and intervals for ratios stay above zero. With three to five seeds, all of it
rests on the t distribution; resampling so few values would promise more than they hold. What a rule decides
by allows for skewed scatter, which so few values neither show nor average out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

Array = npt.NDArray[np.float64]

Interval = tuple[float, float]
"""Lower and upper end."""

CONFIDENCE = 0.95
"""Of the interval of a mean; those of a rule have the rule's own level."""


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
    numbers = np.asarray(values, dtype=np.float64)
    error = numbers.std(ddof=1) / np.sqrt(len(numbers))
    half_width = stdtrit(len(numbers) - 1, (1 + CONFIDENCE) / 2) * error
    return float(numbers.mean() - half_width), float(numbers.mean() + half_width)


@dataclass(frozen=True)
class Differences:
    """Means over seeds of any number of log ratios at once, for t tests and intervals.

    Where there is a single seed, or no scatter, or nothing at all, every p-value is NaN: no comparison with
    a level holds then, so that nothing is decided.
    """

    seeds: Array
    """Numbers behind each mean."""
    mean: Array
    """Mean of the log ratios; NaN if there is none."""
    spread: Array
    """Their standard deviation; NaN where it is not known, or zero up to rounding."""

    def below(self, bound: float) -> Array:
        """One-sided p-values that the means are not below a bound, skewness allowed for (see `SKEWED`)."""
        return _with_skewness(stdtr(self._freedom, self._statistic(bound)), self.seeds)

    def above(self, bound: float) -> Array:
        """One-sided p-values that the means are not above a bound."""
        return _with_skewness(stdtr(self._freedom, -self._statistic(bound)), self.seeds)

    def interval(self, alpha: float) -> tuple[Array, Array]:
        """Ends of the intervals of level 1 - alpha: a bound beyond an end has a p-value below alpha.

        They are t intervals a little wider than usual, so that skewed scatter too makes either end err no
        more often than alpha; under Gaussian scatter both ends together do.
        """
        half_width = (
            stdtrit(self._freedom, 1 - _nominal(alpha, self.seeds)) * self.spread / np.sqrt(self.seeds)
        )
        return self.mean - half_width, self.mean + half_width

    @property
    def _freedom(self) -> Array:
        return np.where(self.seeds > 1, self.seeds - 1.0, np.nan)

    def _statistic(self, bound: float) -> Array:
        return (self.mean - bound) / (self.spread / np.sqrt(self.seeds))


ROUNDING = 1e-12
"""Log ratios whose standard deviation is smaller scatter by rounding only."""


def differences(logs: Array) -> Differences:
    """Summarise log ratios.

    Parameters
    ----------
    logs
        [..., seeds]; NaN where a seed has no number.
    """
    known = ~np.isnan(logs)
    seeds = known.sum(axis=-1).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0 is the NaN that is meant
        mean = np.where(known, logs, 0.0).sum(axis=-1) / seeds
        deviations = np.where(known, logs - mean[..., np.newaxis], 0.0)
        spread = np.sqrt((deviations**2).sum(axis=-1) / (seeds - 1))
    return Differences(seeds, mean, np.where(spread > ROUNDING, spread, np.nan))


SKEWED: dict[int, tuple[float, float]] = {
    3: (1.92, 0.963),
    4: (1.68, 0.896),
    5: (1.38, 0.836),
    6: (1.18, 0.795),
    8: (0.875, 0.733),
    10: (0.74, 0.705),
}
"""Seeds to (factor, power): where the scatter is a gamma distribution of skewness 1, a one-sided t test with
the p-value p errs in up to factor * p ** power of studies, in its worse direction. Found by simulation (6
million studies a row, p from 0.05 to 0.0002; `benchmarks/simulate_rules.py` checks it); rows between are
interpolated, and the last one holds for more seeds."""


def holm(p_values: Array, missing: int = 0) -> Array:
    """Adjust p-values, several comparisons along the last axis, so that one error among all stays as rare.

    The method is Holm's. One that is not known (NaN) counts as a comparison, and stays so; so do `missing`
    more that are not among them. (statsmodels has it too, but collects garbage at every call, and takes one
    family at a time.)
    """
    order = np.argsort(p_values, axis=-1)  # NaN comes last
    left = np.arange(p_values.shape[-1], 0, -1) + missing
    stepped = np.maximum.accumulate(np.take_along_axis(p_values, order, axis=-1) * left, axis=-1)
    adjusted = np.empty_like(p_values)
    np.put_along_axis(adjusted, order, np.minimum(stepped, 1.0), axis=-1)
    return adjusted


def _law(seeds: Array) -> tuple[Array, Array]:
    """Factor and power of `SKEWED` for each number of seeds."""
    rows = np.asarray(list(SKEWED.values()))
    known = list(SKEWED)
    return np.exp(np.interp(seeds, known, np.log(rows[:, 0]))), np.interp(seeds, known, rows[:, 1])


def _with_skewness(p_values: Array, seeds: Array) -> Array:
    """P-values that hold for skewed scatter too."""
    factor, power = _law(seeds)
    return np.minimum(np.maximum(p_values, factor * p_values**power), 1.0)


def _nominal(p_value: float, seeds: Array) -> Array:
    """The p-value of the t test that skewness brings up to this one."""
    factor, power = _law(seeds)
    return np.minimum(p_value, (p_value / factor) ** (1 / power))
