"""Verdicts: what a rule that was fixed before any run says of the measurements.

What is compared are logarithms of losses, paired by seed, over the seeds that the rule names and no others.
Every interval has the rule's level 1 - alpha: each of its ends errs in at most a share alpha of studies, for
Gaussian scatter as for scatter of skewness 1 (`gon.statistics.SKEWED`). P-values are one-sided, allow for
skewness likewise, and are compared with alpha.

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

import dataclasses
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from gon.errors import UsageError
from gon.params import LossRule, OrderingRule, Rule, StructuralRule, ValueRule
from gon.results import ClaimResult, Comparison, Finding, Measurement, Outcome, Reason, Tendency, Verdict
from gon.statistics import ROUNDING, Array, Differences, differences, holm

Pair = tuple[Measurement, Measurement]
"""Published to be the lower and the higher one, both after the same epochs."""

Texts = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Decision:
    """What was found of comparisons, as arrays [..., comparisons].

    Attributes
    ----------
    findings
        `gon.results.Finding` of each.
    p_reproduced, p_refuted
        See `gon.results.Comparison`.
    """

    findings: Texts
    p_reproduced: Array
    p_refuted: Array


def decide_pairs(ratios: Differences, margin: float, alpha: float) -> Decision:
    """Decide the pairs of an ordering, of one study or of many at once; see the module's description.

    Parameters
    ----------
    ratios
        Log ratios of first to second, [..., pairs].
    margin
        Relative difference below which two losses count as equal; 0 judges the direction alone.
    alpha
        The rule's level.
    """
    edge = math.log1p(-margin)
    p_reproduced = ratios.below(edge)
    p_equal = np.maximum(ratios.above(edge), ratios.below(-edge))
    p_refuted = holm(np.minimum(p_equal, ratios.above(0.0)))
    refuted = p_refuted < alpha
    findings = np.select(
        [
            np.isnan(ratios.mean),
            p_reproduced < alpha,
            refuted & (p_equal < alpha),
            refuted,
            ratios.below(0.0) < alpha,
        ],
        [
            "not comparable",
            "as published",
            "equal within the margin",
            "against the published",
            "lower, size open",
        ],
        default="too close to tell",
    )
    return Decision(findings, p_reproduced, p_refuted)


def decide_values(ratios: Differences, tolerance: float, alpha: float) -> Decision:
    """Decide the values of a value rule; `ratios` are log ratios of measured to published, [..., values]."""
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
    """Outcome of an ordering of which nothing is missing, [...], from its findings [..., pairs]."""
    published, lower = findings == "as published", findings == "lower, size open"
    refuted = (findings == "equal within the margin") | (findings == "against the published")
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
    rows = [_pair_row(rule, *pair) for pair in pairs]
    ratios = _ratios(rule, rows)
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
    rows = [_value_row(rule, m) for m in measurements]
    ratios = _ratios(rule, rows)
    decision = decide_values(ratios, rule.tolerance, rule.alpha)
    comparisons = _comparisons(rows, ratios, decision, rule.alpha)
    order_rows = [_pair_row(rule, *pair) for pair in order]
    order_ratios = _ratios(rule, order_rows)
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


def judge_again(verdict: Verdict, result: ClaimResult) -> Verdict:
    """What the rule of a verdict says of the measurements of a result, which should be the verdict."""

    def find(name: str, epochs: int) -> Measurement:
        named = [m for m in result.measurements if m.name == name]
        return next((m for m in named if m.epochs == epochs), named[0])

    def pairs(comparisons: Sequence[Comparison]) -> list[Pair]:
        return [
            (find(c.first, c.epochs), find(c.second, c.epochs)) for c in comparisons if c.second is not None
        ]

    complete, whole = verdict.complete, result.budget.uses_all_images
    compared = pairs(verdict.comparisons)
    if isinstance(verdict.rule, StructuralRule):
        return judge_structural(verdict.rule, compared, complete=complete)
    if isinstance(verdict.rule, OrderingRule):
        return judge_ordering(verdict.rule, compared, complete=complete, uses_all_images=whole)
    return judge_values(
        verdict.rule,
        [find(c.first, c.epochs) for c in verdict.comparisons],
        pairs(verdict.order),
        [find(c.first, c.epochs) for c in verdict.early],
        complete=complete,
        uses_all_images=whole,
    )


@dataclass(frozen=True)
class _Row:
    """One comparison, made ready to be decided.

    Attributes
    ----------
    training
        What tells its training from others: the runs.
    epochs
        After how many it is compared.
    trained
        Whether a side of it is; else seeds and epochs do not enter.
    present
        How many of the rule's seeds were run, with or without a value.
    logs
        Log ratio of every seed of the rule; NaN where there is none.
    reasons
        Why it cannot decide.
    """

    first: str
    second: str | None
    training: tuple[str, ...]
    epochs: int
    trained: bool
    present: int
    usable: int
    logs: list[float]
    reasons: frozenset[Reason]


def _pair_row(rule: LossRule, first: Measurement, second: Measurement) -> _Row:
    trained = [m for m in (first, second) if not m.exact] or [first]
    if len({m.epochs for m in trained}) > 1:
        raise UsageError(
            f"rule {rule.name}: {first.name} has {first.epochs} epochs and {second.name} {second.epochs}"
        )
    return _row(
        rule,
        first.name,
        second.name,
        trained[0].epochs,
        [_by_seed(rule, m) for m in (first, second)],
        (*_training(rule, first), *_training(rule, second)),
    )


def _value_row(rule: ValueRule, measurement: Measurement) -> _Row:
    published: dict[int | None, float | None] = {None: measurement.published}
    sides = [_by_seed(rule, measurement), published]
    row = _row(rule, measurement.name, None, measurement.epochs, sides, _training(rule, measurement))
    if row.trained and row.epochs not in rule.epochs:
        # Two values of a falling loss mean the same only after the same training.
        return dataclasses.replace(row, logs=[math.nan] * rule.seeds)
    return row


def _row(
    rule: LossRule,
    first: str,
    second: str | None,
    epochs: int,
    sides: list[dict[int | None, float | None]],
    training: tuple[str, ...],
) -> _Row:
    trained = [side for side in sides if None not in side]
    # A computed model goes with every seed; two of them are compared once.
    seeds: list[int | None] = list(range(rule.seeds)) if trained else [None]
    present = [seed for seed in seeds if all(seed in side for side in trained)]
    logs = [np.asarray([_log(side.get(seed, side.get(None))) for seed in present]) for side in sides]
    ratios = logs[0] - logs[1]
    usable = int(np.isfinite(ratios).sum())
    reasons: set[Reason] = set()
    if len(present) < rule.seeds and trained:
        reasons.add("seeds")
    if usable < len(present):
        reasons.add("diverged")
        ratios = np.full(len(present), np.nan)  # what is left would be a choice by the outcome
    elif not trained or _without_scatter([ratios, *(logs[i] for i in (0, 1) if sides[i] in trained)]):
        reasons.add("no scatter")
        ratios = np.full(len(present), ratios.mean())
    return _Row(
        first=first,
        second=second,
        training=training,
        epochs=epochs,
        trained=bool(trained),
        present=len(present),
        usable=usable,
        logs=[*ratios.tolist(), *[math.nan] * (rule.seeds - len(present))],
        reasons=frozenset(reasons),
    )


def _without_scatter(samples: Sequence[Array]) -> bool:
    """Whether one has the same number from several seeds: then something does not vary that should."""
    return any(len(sample) > 1 and float(np.std(sample, ddof=1)) <= ROUNDING for sample in samples)


def _training(rule: LossRule, measurement: Measurement) -> tuple[str, ...]:
    """The runs behind a measurement, the same ones after any number of epochs."""
    seeds = (*range(rule.seeds), None)
    return tuple(value.run or "" for value in measurement.values if value.seed in seeds)


def _by_seed(rule: LossRule, measurement: Measurement) -> dict[int | None, float | None]:
    values = {v.seed: v.value for v in measurement.values}
    if len(values) != len(measurement.values) or (None in values and len(values) > 1):
        raise UsageError(f"rule {rule.name}: {measurement.name} has two values of one seed")
    return values


def _log(value: float | None) -> float:
    """The logarithm; NaN where a run has no loss: it diverged, or what it gave cannot be one."""
    return math.log(value) if value is not None and math.isfinite(value) and value > 0 else math.nan


def _ratios(rule: LossRule, rows: Sequence[_Row]) -> Differences:
    logs = np.asarray([row.logs for row in rows], dtype=np.float64)
    return differences(logs.reshape(len(rows), rule.seeds))


def _comparisons(
    rows: Sequence[_Row], ratios: Differences, decision: Decision, alpha: float
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
    last: Sequence[_Row],
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
    rows = [_value_row(rule.model_copy(update={"epochs": rule.milestones}), look) for look in early]
    ratios = _ratios(rule, rows)
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
    rows: Sequence[_Row],
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


REASONS: dict[Reason, str] = {
    "epochs": "{verdict.epochs} epoch(s) were trained, and the rule compares after {epochs}",
    "images": "the runs used a part of the images only",
    "seeds": "{verdict.seeds} seed(s) of the {verdict.rule.seeds} that the rule needs",
    "left out": "some of what the rule compares was not run",
    "diverged": "a run has no loss to compare, for instance since it diverged",
    "no scatter": "something is the same for every seed, so that nothing can be tested",
    "overlap": "some intervals reach across the margin or zero",
}


def rule_words(rule: Rule) -> str:
    """A rule in one line: what it says, and by what it judges."""
    how = f"{rule.kind}, version {rule.version} of {rule.date}"
    if isinstance(rule, StructuralRule):
        how += f", at most {rule.at_most:g} times"
    else:
        if isinstance(rule, OrderingRule):
            how += f", margin {rule.margin:.0%}"
        else:
            how += f", tolerance {rule.tolerance:.0%}, in part within a factor of {rule.factor:g}"
        how += f", level {rule.alpha:g}, seeds 0 to {rule.seeds - 1}"
    return f"{rule.name} ({how}): {rule.statement}"


def describe(verdict: Verdict) -> str:
    """The verdict as plain text, as a notebook prints it."""
    epochs = ", ".join(str(n) for n in getattr(verdict.rule, "epochs", []))
    lines = [verdict.rule.statement, f"Verdict: {verdict.outcome} (the numbers point: {verdict.tendency})"]
    lines += ["- " + REASONS[reason].format(verdict=verdict, epochs=epochs) for reason in verdict.reasons]
    early = [c for c in verdict.early if c.finding != "not comparable"]
    for comparison in [*verdict.comparisons, *verdict.order, *early]:
        names = (
            comparison.first
            if comparison.second is None
            else f"{comparison.first} against {comparison.second}"
        )
        shown = f" after {comparison.epochs} epoch(s)" if comparison.epochs else ""
        shown += ":"
        if comparison.relative_difference is not None:
            shown += f" {comparison.relative_difference:+.1%}"
        if comparison.interval is not None:
            shown += " [{:+.1%}, {:+.1%}]".format(*comparison.interval)
        lines.append(f"  {names}{shown} ({comparison.finding}, n = {comparison.seeds})")
    return "\n".join(lines)
