"""The statistics against scipy."""

import math

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests

import gon.claims.statistics
from gon.claims.statistics import SKEWED, differences, holm, mean_interval

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
    found = differences(np.log(np.divide(values, 0.5)))
    assert math.exp(found.mean) == pytest.approx(0.8)
    for result in (found.below(1.0), found.above(-1.0), *found.interval(0.05)):
        assert np.isnan(result)


def test_scatter_by_rounding_only_is_none() -> None:
    """Ratios of 4/5 that differ in the last bit, where a t test would be certain of anything."""
    values = np.asarray([0.1, 0.7, 1.3, 3.1])
    logs = np.log(0.8 * values) - np.log(values)
    assert np.ptp(logs) > 0
    assert np.isnan(differences(logs).below(0.0))


@pytest.mark.parametrize(("first", "second"), SAMPLES)
@pytest.mark.parametrize("bound", [-0.1, 0.0, 0.2])
def test_differences_are_tested_as_scipy_does_before_skewness_is_allowed_for(
    first: list[float], second: list[float], bound: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gon.claims.statistics, "SKEWED", {2: (1.0, 1.0), 3: (1.0, 1.0)})
    logs = np.log(first) - np.log(second)
    found = differences(logs)
    assert found.seeds == len(first)
    assert np.expm1(found.mean) == pytest.approx(scipy.stats.gmean(np.divide(first, second)) - 1)
    below = scipy.stats.ttest_1samp(logs, bound, alternative="less").pvalue
    above = scipy.stats.ttest_1samp(logs, bound, alternative="greater").pvalue
    assert (found.below(bound), found.above(bound)) == pytest.approx((below, above))
    test = scipy.stats.ttest_rel(np.log(first), np.log(second))
    assert found.interval(0.05) == pytest.approx(tuple(test.confidence_interval(0.9)))


def test_a_missing_seed_does_not_enter() -> None:
    found = differences(np.asarray([[0.1, 0.3, np.nan], [0.1, 0.3, 0.2], [np.nan, np.nan, np.nan]]))
    alone = differences(np.asarray([0.1, 0.3]))
    assert found.seeds.tolist() == [2, 3, 0]
    assert (found.mean[0], found.below(0.0)[0]) == (
        pytest.approx(alone.mean),
        pytest.approx(alone.below(0.0)),
    )
    assert np.isnan(found.mean[2]) and np.isnan(found.below(0.0)[2])


@pytest.mark.parametrize("seeds", [2, 3, 5, 7, 10, 40])
@pytest.mark.parametrize("alpha", [0.001, 0.025, 0.05, 0.2])
def test_an_interval_ends_where_its_p_value_is_alpha(seeds: int, alpha: float) -> None:
    found = differences(np.random.default_rng(seeds).normal(size=seeds))
    low, high = found.interval(alpha)
    assert low < found.mean < high
    assert (found.above(float(low)), found.below(float(high))) == pytest.approx((alpha, alpha))


@pytest.mark.parametrize("seeds", [*SKEWED, 7, 20])
def test_skewness_is_allowed_for(seeds: int) -> None:
    """Under scatter of skewness 1 a p-value is below a level no more often than it says."""
    studies = 400_000
    sample = np.random.default_rng(seeds).standard_gamma(4.0, (studies, seeds)) - 4.0
    p_values = differences(sample).below(0.0)
    for level in (0.05, 0.025, 0.01, 0.003):
        assert np.mean(p_values < level) <= level + 3 * math.sqrt(level / studies)
    assert np.mean(p_values < 0.05) > 0.04  # nor is more allowed for than is needed


def test_adjustment_is_that_of_holm() -> None:
    """The example of Holm (1979) as in every textbook, and statsmodels."""
    assert holm(np.asarray([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    p_values = np.random.default_rng(0).random((3, 7)) ** 3
    for row, adjusted in zip(p_values, holm(p_values), strict=True):
        assert adjusted == pytest.approx(multipletests(row, method="holm")[1])
    assert holm(np.empty((2, 0))).shape == (2, 0)


def test_what_cannot_be_tested_counts_as_a_comparison() -> None:
    found = holm(np.asarray([np.nan, 0.01, np.nan, 0.03]))
    assert found == pytest.approx([np.nan, 0.04, np.nan, 0.09], nan_ok=True)
