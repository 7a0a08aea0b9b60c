"""Verdicts: what a rule that was fixed before any run says of the measurements.

What is compared are logarithms of losses, paired by seed, over the seeds that the rule names and no others.
Every interval has the rule's level 1 - alpha: each of its ends errs in at most a share alpha of studies, for
Gaussian scatter as for scatter of skewness 1 (`gon.claims.statistics.SKEWED`). P-values are one-sided, allow
for skewness likewise, and are compared with alpha.

An *ordering* compares pairs, the first published to be the lower one. Two losses are equal within the margin
if their log ratio lies between log(1 - margin) and -log(1 - margin): as far on both sides, so that it does
not matter which is named first. Of a pair holds the first of these:

- *as published*: its interval lies wholly below the margin;
- *equal within the margin*: wholly inside the margin, on both sides;
- *against the published*: wholly above zero;
- *lower, size open*: wholly below zero;
- *too close to tell*.

The second and the third refute the rule, and one pair is enough. So both need a p-value, the smaller one of
the two ways, that is below alpha after adjustment for all pairs of the rule (Holm); a pair whose interval
alone would do is read on in the list: *lower, size open* if it lies below zero, otherwise *too close to
tell*. That the rule is reproduced takes all pairs, which makes it an intersection-union test: each pair has
the level alpha, nothing is adjusted, and the whole errs no more often than alpha.

The verdict is *not reproduced* if a pair refutes it, *reproduced* if all are as published, *partly
reproduced* if all are as published or lower with the size open, and *inconclusive* otherwise. It is also
inconclusive, whatever the pairs say, with fewer epochs, images or seeds than the rule's; and, unless another
pair refutes it, if something was left out, a run diverged, or nothing scatters. Nothing is ever reproduced
without a test.

A *value* rule compares measurements with published values, after the epochs that these stand for:

- *as published*: the interval lies wholly within the tolerance, a share of the published value;
- *against the published*: wholly outside (Holm over all values of the rule);
- *too close to tell*.

It is *reproduced* if all values are as published, and *partly reproduced* if they are not, but have the
published order (the interval of every pair wholly below zero) and lie within `factor` of the published ones
(every interval wholly). Else it is *not reproduced* if a value is against the published.

*Early refutation.* A loss that lies below the published value by more than the tolerance at a milestone
already, earlier than that value was published for, contradicts it as the value of that training, and the
verdict is *not reproduced* (one-sided, Holm over all looks: values and milestones). This assumes that both
are losses in the same unit, and that the loss falls with training. Where the same runs were measured again
later, that must bear it out: still lower by more than the tolerance, and at the rule's epochs found against
the published; otherwise the look does not count. A loss above the published one says nothing before its time.

A *structural* rule compares numbers that follow from the settings, without error: *reproduced* if every ratio
is at most the rule's, *not reproduced* if one is above.
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
    Comparison,
    Finding,
    Measurement,
    Outcome,
    Reason,
    Tendency,
    Verdict,
)
from gon.claims.rules import OrderingRule, Rule, StructuralRule, ValueRule
from gon.claims.statistics import Differences
from gon.errors import UsageError

Pair = tuple[Measurement, Measurement]
"""Published to be the lower and the higher one, both after the same epochs."""


def tendency(comparisons: Sequence[Comparison], margin: float) -> Tendency:
    """Where the numbers point: the one answer for headline, tables and text.

    What is decided points where it was found to be. What is too close to tell points where its mean lies:
    beyond the margin or within it; for a value, within the tolerance or not. A single seed has a mean too.
    Pairs that are not comparable do not point. Where all pairs are lower, some beyond the margin and some
    with the size open, it is *lower, size open*; otherwise several answers are *mixed*.

    Parameters
    ----------
    comparisons
        Those of a rule, or some of them.
    margin
        The rule's margin or tolerance.
    """
    found = {_points(comparison, margin) for comparison in comparisons} - {"not comparable"}
    if not found:
        return "not comparable"
    if found == {"as published", "lower, size open"}:
        return "lower, size open"
    return found.pop() if len(found) == 1 else "mixed"


def _points(comparison: Comparison, margin: float) -> Finding:
    if comparison.finding != "too close to tell":
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


def judge_ordering(rule: Rule, pairs: Sequence[Pair], *, complete: bool, uses_all_images: bool) -> Verdict:
    """Judge whether the first of each pair is lower than the second.

    Parameters
    ----------
    rule
        The rule; must be an ordering.
    pairs
        Every pair once for each of the rule's epochs that it reached, or for the last one before.
    complete
        Whether the pairs are all that the rule speaks of. If some were not run, it cannot be
        reproduced, but still be refuted.
    uses_all_images
        Whether the runs used the whole data set.

    Returns
    -------
    Verdict
        See the module's description; not attempted if nothing was run.

    Raises
    ------
    UsageError
        If the rule is of another kind, there is nothing to compare though nothing was left out, or
        measurements do not fit together.
    """
    if not isinstance(rule, OrderingRule):
        raise _wrong_kind(rule, "pairs of losses", "ordering")
    if not pairs:
        return _not_attempted(rule, complete)
    rows = [pair_row(rule, *pair) for pair in pairs]
    ratios = log_ratios(rule, rows)
    decision = decide_pairs(ratios, rule.margin, rule.alpha)
    comparisons = _comparisons(rows, ratios, decision, rule.alpha)
    outcome = _text(ordering_outcome(decision.findings))
    points = tendency(comparisons, rule.margin)
    return _verdict(rule, rows, comparisons, outcome, points, complete, uses_all_images)


def judge_values(
    rule: Rule,
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
        As in `judge_ordering`; the rule must be of the kind value.
    measurements
        Those with a published value are compared with it: after the rule's epochs, or after the last
        ones before, where they are not comparable.
    order
        Measurements whose published values are in this order, lower and higher.
    early
        Measurements of the same losses at the rule's milestones. They are known to be of the same
        training by their runs.
    """
    if not isinstance(rule, ValueRule):
        raise _wrong_kind(rule, "values", "value")
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
    refuted_early = any(look.finding == "against the published" for look in looks)
    outcome = "not reproduced" if refuted_early else _text(value_outcome(decision.findings, in_part))
    points = tendency([*comparisons, *looks], rule.tolerance)
    verdict = _verdict(
        rule, rows, comparisons, outcome, points, complete, uses_all_images, refuted_early=refuted_early
    )
    return verdict.model_copy(
        update={"order": _comparisons(order_rows, order_ratios, ordered, rule.alpha), "early": looks}
    )


def judge_structural(rule: Rule, pairs: Sequence[Pair], *, complete: bool) -> Verdict:
    """Judge whether the first of each pair is at most the rule's share of the second, exactly.

    Parameters
    ----------
    rule, complete
        As in `judge_ordering`; the rule must be of the kind structural.
    pairs
        Measurements whose values are whole numbers, the same from every seed.
    """
    if not isinstance(rule, StructuralRule):
        raise _wrong_kind(rule, "numbers of parameters", "structural")
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
    outcome: Outcome = "not reproduced" if refuted else "inconclusive" if reasons else "reproduced"
    return Verdict(
        rule=rule,
        outcome=outcome,
        tendency=tendency(comparisons, 0.0),
        reasons=reasons,
        epochs=0,
        seeds=min(c.seeds for c in comparisons),
        complete=complete,
        comparisons=comparisons,
    )


def _comparisons(
    rows: Sequence[Row], ratios: Differences, decision: Decision, alpha: float
) -> list[Comparison]:
    with np.errstate(over="ignore"):  # what is too large for a number is not shown
        relative, low, high = (np.expm1(logs) for logs in (ratios.mean, *ratios.interval(alpha)))
    comparisons = []
    for i, row in enumerate(rows):
        comparisons.append(
            Comparison(
                first=row.first,
                second=row.second,
                epochs=row.epochs,
                seeds=row.usable,
                relative_difference=_number(relative[i]),
                interval=(float(low[i]), float(high[i])) if math.isfinite(high[i] - low[i]) else None,
                effect_size=_number(ratios.mean[i] / ratios.spread[i]),
                p_reproduced=_number(decision.p_reproduced[i]),
                p_refuted=_number(decision.p_refuted[i]),
                finding=_text(decision.findings[i]),
            )
        )
    return comparisons


def _early(
    rule: ValueRule,
    last: Sequence[Row],
    comparisons: Sequence[Comparison],
    early: Sequence[Measurement],
    uses_all_images: bool,
) -> list[Comparison]:
    """Every look at a milestone; one that does not refute says nothing, and is not comparable.

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
        later = [i for i, r in enumerate(rows) if r.training == row.training and r.epochs > row.epochs]
        final = [
            comparison
            for r, comparison in zip(last, comparisons, strict=True)
            if r.training == row.training and r.epochs in rule.epochs
        ]
        refutes = (
            uses_all_images
            and p_value < rule.alpha
            and not row.reasons
            and all(low[i] for i in later)
            and all(
                c.finding == "against the published" and (c.relative_difference or 0.0) < 0 for c in final
            )
        )
        findings.append("against the published" if refutes else "not comparable")
    decision = Decision(np.asarray(findings, dtype=np.str_), np.full(len(rows), np.nan), p_values)
    return _comparisons(rows, ratios, decision, rule.alpha)


def _verdict(
    rule: OrderingRule | ValueRule,
    rows: Sequence[Row],
    comparisons: list[Comparison],
    outcome: Any,
    points: Tendency,
    complete: bool,
    uses_all_images: bool,
    refuted_early: bool = False,
) -> Verdict:
    """The verdict, from the outcome that the comparisons alone would give."""
    trained = [row for row in rows if row.trained]
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
    if outcome == "inconclusive" and not short and "too close to tell" in tested:
        found.add("overlap")
    if refuted_early or (outcome == "not reproduced" and not short):
        found = set()
    elif found:
        outcome = "inconclusive"
    return Verdict(
        rule=rule,
        outcome=outcome,
        tendency=points,
        reasons=[reason for reason in get_args(Reason) if reason in found],
        epochs=min((max(epochs) for epochs in reached.values()), default=0),
        seeds=min((row.present for row in trained), default=rule.seeds),
        complete=complete,
        comparisons=comparisons,
    )


def _not_attempted(rule: Any, complete: bool) -> Verdict:
    if complete:
        raise UsageError(f"rule {rule.name}: nothing to compare")
    return Verdict(
        rule=rule,
        outcome="not attempted",
        tendency="not comparable",
        reasons=["left out"],
        epochs=0,
        seeds=0,
        complete=False,
        comparisons=[],
    )


def _wrong_kind(rule: Rule, what: str, kind: str) -> UsageError:
    return UsageError(f"rule {rule.name}: kind {rule.kind!r} does not judge {what}; {kind!r} does")


def _exact(rule: StructuralRule, measurement: Measurement) -> int:
    values = {value.value for value in measurement.values}
    value = values.pop() if len(values) == 1 else None
    if value is None or value < 1 or not value.is_integer():
        raise UsageError(f"rule {rule.name}: {measurement.name} is not one whole number for all seeds")
    return int(value)


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _text(value: Any) -> Any:
    """A finding or an outcome out of an array of texts."""
    return str(value)
