"""How comparisons are decided, of one study or of many at once; `gon.claims.verdicts` says by what."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gon.claims.results import REFUTING
from gon.claims.statistics import Array, Differences, holm

Texts = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Decision:
    """What was found of comparisons, as arrays [..., comparisons]; see `gon.claims.results.Comparison`."""

    findings: Texts
    p_reproduced: Array
    p_refuted: Array


def decide_pairs(
    ratios: Differences,
    margin: float,
    alpha: float,
    whole: npt.NDArray[np.bool_] | bool = True,
    missing: int = 0,
) -> Decision:
    """Decide the pairs of an ordering, the first of each published to be the lower one.

    Two losses are equal within the margin if their log ratio lies between log(1 - margin) and
    -log(1 - margin): as far on both sides, so that it does not matter which is named first. Of a pair holds
    the first of these:

    - *too early to tell*: it has not all the epochs and seeds that the rule asks for;
    - *as published*: its interval lies wholly below the margin;
    - *equal within the margin*: wholly inside the margin, on both sides;
    - *against the published*: wholly above zero;
    - *lower, size open*: wholly below zero;
    - *too close to tell*.

    Equal and against refute the rule, and one pair is enough. So both need a p-value, the smaller one
    of the two ways, that is below alpha after adjustment for all pairs of the rule (Holm), also those that
    are not run yet: each is judged once, and what comes later takes no refutation back. A pair whose interval
    alone would do is read on in the list.

    Parameters
    ----------
    ratios
        Log ratios of first to second, [..., pairs].
    margin
        Relative difference below which two losses count as equal; 0 judges the direction alone.
    alpha
        The rule's level.
    whole
        Which pairs have the epochs and seeds that the rule asks for, [pairs].
    missing
        How many more pairs the rule speaks of that were not run.
    """
    edge = math.log1p(-margin)
    p_reproduced = ratios.below(edge)
    p_equal = np.maximum(ratios.above(edge), ratios.below(-edge))
    p_refuted = holm(np.where(whole, np.minimum(p_equal, ratios.above(0.0)), np.nan), missing)
    refuted = p_refuted < alpha
    findings = np.select(
        [
            np.isnan(ratios.mean),
            np.logical_not(whole),
            p_reproduced < alpha,
            refuted & (p_equal < alpha),
            refuted,
            ratios.below(0.0) < alpha,
        ],
        [
            "not comparable",
            "too early to tell",
            "as published",
            "equal within the margin",
            "against the published",
            "lower, size open",
        ],
        default="too close to tell",
    )
    return Decision(findings, p_reproduced, p_refuted)


def decide_values(ratios: Differences, tolerance: float, alpha: float) -> Decision:
    """Decide the values of a value rule; `ratios` are log ratios of measured to published, [..., values].

    A value is *as published* if its interval lies wholly within the tolerance, a share of the published
    value; *against the published* if wholly outside (Holm over all values); or *too close to tell*.
    """
    low, high = math.log1p(-tolerance), math.log1p(tolerance)
    p_reproduced = np.maximum(ratios.above(low), ratios.below(high))
    p_refuted = holm(np.minimum(ratios.below(low), ratios.above(high)))
    findings = np.select(
        [np.isnan(ratios.mean), p_reproduced < alpha, p_refuted < alpha],
        ["not comparable", "as published", "against the published"],
        default="too close to tell",
    )
    return Decision(findings, p_reproduced, p_refuted)


def decide_order(values: Differences, order: Decision, factor: float, alpha: float) -> npt.NDArray[np.bool_]:
    """Whether a value rule holds in part, [...]: every value within the factor, every pair in its order."""
    edge = math.log(factor)
    within = (values.above(-edge) < alpha) & (values.below(edge) < alpha)
    ordered = order.findings == "as published"
    every: npt.NDArray[np.bool_] = within.all(axis=-1) & ordered.all(axis=-1)
    return every if ordered.shape[-1] else np.zeros_like(every)


def decide_early(ratios: Differences, tolerance: float) -> Array:
    """P-values that early losses are not below the published ones by more than the tolerance (Holm)."""
    return holm(ratios.below(math.log1p(-tolerance)))


def ordering_outcome(findings: Texts) -> Texts:
    """Outcome of an ordering, [...], from its findings [..., pairs]; unless refuted, if nothing is missing.

    That it is reproduced takes all pairs, which makes it an intersection-union test: each pair has the level
    alpha, nothing is adjusted, and the whole errs no more often than alpha.
    """
    published, lower = findings == "as published", findings == "lower, size open"
    refuted = np.isin(findings, REFUTING)
    return np.select(
        [refuted.any(axis=-1), published.all(axis=-1), (published | lower).all(axis=-1)],
        ["not reproduced", "reproduced", "partly reproduced"],
        default="inconclusive",
    )


def value_outcome(findings: Texts, in_part: npt.NDArray[np.bool_]) -> Texts:
    """Outcome of a value rule of which nothing is missing, [...], from its findings [..., values]."""
    return np.select(
        [
            (findings == "as published").all(axis=-1),
            in_part,
            (findings == "against the published").any(axis=-1),
        ],
        ["reproduced", "partly reproduced", "not reproduced"],
        default="inconclusive",
    )
