"""Verdicts: what a rule that was fixed before any run says of the measurements.

What is compared are logarithms of losses, paired by seed, over the seeds that the rule names and no others.
Every interval has the rule's level 1 - alpha: each of its ends errs in at most a share alpha of studies, for
Gaussian scatter as for scatter of skewness 1 (`gon.claims.statistics.SKEWED`). P-values are one-sided, allow
for skewness likewise, and are compared with alpha. What each finding takes stands with the functions of
`gon.claims.decisions`; here, findings become a verdict.

A verdict is inconclusive with fewer images than the rule's, whatever the comparisons say; and, unless a
comparison that has all its epochs and seeds refutes the rule, if others have fewer, something was left out, a
run diverged, or nothing scatters. A value rule waits for all its values: it may hold in part.
Nothing is ever reproduced without a test. A *structural* rule compares numbers that follow from the settings,
exactly: *reproduced* if every ratio is at most the rule's, *not reproduced* if one is above.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, get_args

import numpy as np

from gon.claims.comparing import Row, log_ratios, pair_row, value_row
from gon.claims.decisions import (
    Decision,
    decide_early,
    decide_order,
    decide_pairs,
    decide_values,
    ordering_outcome,
    value_outcome,
)
from gon.claims.results import (
    REFUTING,
    UNTOLD,
    Comparison,
    Finding,
    Measurement,
    Reason,
    Tendency,
    Verdict,
)
from gon.claims.rules import OrderingRule, Rule, StructuralRule, ValueRule
from gon.claims.statistics import Differences, Interval
from gon.errors import UsageError

Pair = tuple[Measurement, Measurement]
"""Published to be the lower and the higher one, both after the same epochs."""


def tendency(comparisons: Sequence[Comparison], margin: float) -> Tendency:
    """Where the numbers point: the one answer for headline, tables and text.

    What is decided points where it was found to be. What is too close or too early to tell points where its
    mean lies: beyond the margin or within it; for a value, within the tolerance or not. A single seed has a
    mean too. Pairs that are not comparable do not point. Of several answers, it is *lower, size open* where
    all pairs are lower, found to be or, if it is not told, in the mean; otherwise they are *mixed*.

    Parameters
    ----------
    comparisons
        Those of a rule, or some of them.
    margin
        The rule's margin or tolerance.
    """
    pointing = [c for c in comparisons if _points(c, margin) != "not comparable"]
    found = {_points(comparison, margin) for comparison in pointing}
    if len(found) > 1:
        return "lower, size open" if all(map(_is_lower, pointing)) else "mixed"
    return found.pop() if found else "not comparable"


def _is_lower(comparison: Comparison) -> bool:
    if comparison.finding in UNTOLD and comparison.second is not None:
        return (comparison.relative_difference or 0.0) < 0.0
    return comparison.finding in ("as published", "lower, size open")


def _points(comparison: Comparison, margin: float) -> Finding:
    if comparison.finding not in UNTOLD:
        return comparison.finding
    if comparison.relative_difference is None:
        return "not comparable"
    if comparison.second is None:
        inside = abs(comparison.relative_difference) < margin
        return "as published" if inside else "against the published"
    if comparison.relative_difference <= -margin:
        return "as published"
    edge = 1 / (1 - margin) - 1  # as far from equal as -margin, on the log scale
    return "equal within the margin" if comparison.relative_difference < edge else "against the published"


def judge_ordering(
    rule: OrderingRule, pairs: Sequence[Pair], *, complete: bool, uses_all_images: bool, missing: int = 0
) -> Verdict:
    """Judge whether the first of each pair is lower than the second.

    Parameters
    ----------
    rule
        The rule.
    pairs
        Every pair once for each of the rule's epochs that it reached, or for the last one before.
    complete
        Whether the pairs are all that the rule speaks of. If some were not run, it cannot be
        reproduced, but still be refuted.
    uses_all_images
        Whether the runs used the whole data set.
    missing
        How many more comparisons the rule speaks of that could not be made yet.

    Raises
    ------
    UsageError
        If there is nothing to compare though nothing was left out, or measurements do not fit together.
    """
    if not pairs:
        return _not_attempted(rule, complete)
    rows = [pair_row(rule, *pair) for pair in pairs]
    ratios = log_ratios(rule, rows)
    whole = np.asarray([row.whole for row in rows])
    decision = decide_pairs(ratios, rule.margin, rule.alpha, whole, missing)
    outcome = str(ordering_outcome(decision.findings))
    comparisons = _comparisons(rows, ratios, decision, rule.alpha)
    points = tendency(comparisons, rule.margin)
    return _verdict(rule, rows, comparisons, outcome, points, complete, uses_all_images)


def judge_values(
    rule: ValueRule,
    measurements: Sequence[Measurement],
    order: Sequence[Pair],
    early: Sequence[Measurement],
    *,
    complete: bool,
    uses_all_images: bool,
) -> Verdict:
    """Judge whether each measurement has its published value; see `judge_ordering`.

    Parameters
    ----------
    rule, complete, uses_all_images
        As in `judge_ordering`.
    measurements
        Those with a published value are compared with it: after the rule's epochs, or after the last
        ones before, where they are not comparable.
    order
        Measurements whose published values are in this order, lower and higher.
    early
        Measurements of the same losses at the rule's milestones. They are known to be of the same
        training by their runs.
    """
    measurements = [m for m in measurements if m.published is not None]
    early = [m for m in early if m.published is not None]
    if not measurements and complete:
        raise UsageError(f"rule {rule.name}: no measurement has a published value to compare with")
    if not measurements and not early:
        return _not_attempted(rule, complete)
    rows = [value_row(rule, m) for m in measurements]
    ratios = log_ratios(rule, rows)
    decision = decide_values(ratios, rule.tolerance, rule.alpha)
    comparisons = _comparisons(rows, ratios, decision, rule.alpha)
    order_rows = [pair_row(rule, *pair) for pair in order]
    order_ratios = log_ratios(rule, order_rows)
    ordered = decide_pairs(order_ratios, 0.0, rule.alpha)
    in_part = decide_order(ratios, ordered, rule.factor, rule.alpha)
    looks = _early(rule, rows, comparisons, early, uses_all_images)
    outcome = str(value_outcome(decision.findings, in_part))
    points = tendency([*comparisons, *looks], rule.tolerance)
    verdict = _verdict(rule, rows, comparisons, outcome, points, complete, uses_all_images, looks)
    return verdict.model_copy(
        update={"order": _comparisons(order_rows, order_ratios, ordered, rule.alpha), "early": looks}
    )


def judge_structural(rule: StructuralRule, pairs: Sequence[Pair], *, complete: bool) -> Verdict:
    """Judge whether the first of each pair is at most the rule's share of the second, exactly.

    The values of each measurement are whole numbers, the same from every seed; else `UsageError` is raised.
    """
    if not pairs:
        return _not_attempted(rule, complete)
    limit = Fraction(repr(rule.at_most))  # as it is written: 0.1 is a tenth
    comparisons = []
    for lower, higher in pairs:
        ratio = Fraction(_exact(rule, lower), _exact(rule, higher))
        comparisons.append(
            Comparison(
                first=lower.name,
                second=higher.name,
                epochs=0,
                seeds=min(lower.seeds, higher.seeds),
                relative_difference=float(ratio - 1),
                finding="as published" if ratio <= limit else "against the published",
            )
        )
    refuted = any(c.finding == "against the published" for c in comparisons)
    reasons: list[Reason] = [] if refuted or complete else ["left out"]
    return Verdict(
        rule=rule,
        outcome="not reproduced" if refuted else "inconclusive" if reasons else "reproduced",
        tendency=tendency(comparisons, 0.0),
        reasons=reasons,
        seeds=min(c.seeds for c in comparisons),
        comparisons=comparisons,
    )


def _comparisons(
    rows: Sequence[Row], ratios: Differences, decision: Decision, alpha: float
) -> list[Comparison]:
    with np.errstate(over="ignore"):  # what is too large for a number is not shown
        relative, low, high = (np.expm1(logs) for logs in (ratios.mean, *ratios.interval(alpha)))
    findings: list[Any] = decision.findings.tolist()
    return [
        Comparison(
            first=row.first,
            second=row.second,
            epochs=row.epochs,
            seeds=row.usable,
            relative_difference=_number(relative[i]),
            interval=_interval(low[i], high[i]),
            effect_size=_number(ratios.mean[i] / ratios.spread[i]),
            p_reproduced=_number(decision.p_reproduced[i]),
            p_refuted=_number(decision.p_refuted[i]),
            finding=findings[i],
        )
        for i, row in enumerate(rows)
    ]


def _interval(low: float, high: float) -> Interval | None:
    ends = _number(low), _number(high)
    return None if ends[0] is None or ends[1] is None else (ends[0], ends[1])


def _early(
    rule: ValueRule,
    last: Sequence[Row],
    comparisons: Sequence[Comparison],
    early: Sequence[Measurement],
    uses_all_images: bool,
) -> list[Comparison]:
    """Every look at a milestone; one that does not refute says nothing, and is not comparable.

    A loss that lies below the published value by more than the tolerance, earlier than that value was
    published for, contradicts it as the value of that training. This assumes that both are losses in the
    same unit, and that the loss falls with training. Where the same runs were measured again later, that must
    bear it out: still lower by more than the tolerance, and at the rule's epochs found against the published.
    `last` and its `comparisons` are those of the measurements that the rule itself judges.
    """
    for look in early:
        if look.epochs not in rule.milestones or look.epochs >= rule.epochs[-1]:
            raise UsageError(
                f"rule {rule.name}: {look.name}: {look.epochs} epochs are none of its milestones"
            )
    rows = [value_row(rule.model_copy(update={"epochs": rule.milestones}), look) for look in early]
    ratios = log_ratios(rule, rows)
    p_values = decide_early(ratios, rule.tolerance)
    low = ratios.mean < math.log1p(-rule.tolerance)
    findings: list[Finding] = []
    for row, p_value in zip(rows, p_values, strict=True):
        later = [i for i, r in enumerate(rows) if _continues(r, row) and r.epochs > row.epochs]
        final = [
            # With some seeds of the rule alone there is no test: their mean must bear it out.
            (comparison.relative_difference or 0.0) < (-rule.tolerance if "seeds" in r.reasons else 0.0)
            and ("seeds" in r.reasons or comparison.finding == "against the published")
            for r, comparison in zip(last, comparisons, strict=True)
            if _continues(r, row) and r.epochs in rule.epochs
        ]
        refutes = p_value < rule.alpha and not row.reasons and all(low[later]) and all(final)
        findings.append("against the published" if refutes and uses_all_images else "not comparable")
    decision = Decision(np.asarray(findings, dtype=np.str_), np.full(len(rows), np.nan), p_values)
    return _comparisons(rows, ratios, decision, rule.alpha)


def _continues(later: Row, earlier: Row) -> bool:
    """Whether a row is of the same runs as another one, or of some of them."""
    return set(later.training) <= set(earlier.training)


def _verdict(
    rule: OrderingRule | ValueRule,
    rows: Sequence[Row],
    comparisons: list[Comparison],
    outcome: Any,
    points: Tendency,
    complete: bool,
    uses_all_images: bool,
    early: Sequence[Comparison] = (),
) -> Verdict:
    """The verdict, from the outcome that the comparisons alone would give."""
    refuted = isinstance(rule, OrderingRule) and outcome == "not reproduced" and uses_all_images
    # One pair that has all its epochs and seeds refutes an ordering, whatever the others lack.
    resting = [r for r, c in zip(rows, comparisons, strict=True) if not refuted or c.finding in REFUTING]
    trained = [row for row in resting if row.trained]
    reached: dict[tuple[str, ...], set[int]] = defaultdict(set)
    for row in trained:
        reached[row.training].add(row.epochs)
    found = {reason for row in rows for reason in row.reasons}
    if any(not epochs >= set(rule.epochs) for epochs in reached.values()):
        found.add("epochs")
    if not uses_all_images:
        found.add("images")
    if not complete:
        found.add("left out")
    short = found & {"epochs", "images", "seeds"}
    tested = [c.finding for c in comparisons if c.interval is not None]
    if any(look.finding == "against the published" for look in early):
        found, outcome = set(), "not reproduced"
    elif refuted or (outcome == "not reproduced" and not short):
        found = set()
    else:
        if outcome == "inconclusive" and not short and "too close to tell" in tested:
            found.add("overlap")
        outcome = "inconclusive" if found else outcome
    return Verdict(
        rule=rule,
        outcome=outcome,
        tendency=points,
        reasons=[reason for reason in get_args(Reason) if reason in found],
        epochs=min((max(epochs) for epochs in reached.values()), default=0),
        seeds=min((row.present for row in trained), default=rule.seeds),
        comparisons=comparisons,
    )


def _not_attempted(rule: Rule, complete: bool) -> Verdict:
    if complete:
        raise UsageError(f"rule {rule.name}: nothing to compare")
    return Verdict(rule=rule, outcome="not attempted", reasons=["left out"])


def _exact(rule: StructuralRule, measurement: Measurement) -> int:
    values = {value.value for value in measurement.values}
    value = values.pop() if len(values) == 1 else None
    if value is None or value < 1 or not value.is_integer():
        raise UsageError(f"rule {rule.name}: {measurement.name} is not one whole number for all seeds")
    return int(value)


def _number(value: Any) -> float | None:
    """A number as it is shown, to twelve digits: the last ones differ between kinds of machine.

    Numpy and the system's library take logarithms and exponentials by other instructions there; a report that
    follows from the same records must be the same, bit for bit.
    """
    return float(f"{value:.12g}") if math.isfinite(value) else None
