"""Verdicts: what a rule that was fixed before any run says of the measurements.

An *ordering* compares pairs, the first published to be the lower one, seed by seed: a two-sided paired t test
on the logarithms, at the level alpha, adjusted for all pairs of the rule (Holm). A pair is

- *as published* if the first is lower at that level, *against the published* if it is higher;
- *smaller than the margin* if it is lower, but the 95% interval of the difference lies within the margin;
- *too close to tell* otherwise.

A *value* rule compares measurements with published values. One is

- *as published* if two one-sided t tests, each at the level alpha / 2, put it within the tolerance;
- *against the published* if a one-sided t test, at the level alpha / 2 and adjusted for all values of the
  rule (Holm), puts it outside;
- *too close to tell* otherwise.

The verdict is *reproduced* if everything is as published, *not reproduced* if something is against it, and
*inconclusive* otherwise: for want of epochs, images or seeds, since something was left out, or since
intervals overlap. It is *partly reproduced* - same direction, different size - if every pair is lower but
some differ by less than the margin; or if values differ from the published ones but have their order in
every pair.

A run that diverged has no value. If all runs of one side of a pair diverged and none of the other, it counts
as the higher one.
"""

from collections.abc import Sequence

from gon.errors import UsageError
from gon.params import OrderingRule, Rule, ValueRule
from gon.results import ClaimResult, Comparison, Finding, Measurement, Outcome, Reason, Tendency, Verdict
from gon.statistics import adjusted, equivalence, paired_difference

Pair = tuple[Measurement, Measurement]


def judge_ordering(
    rule: Rule, pairs: Sequence[Pair], *, uses_all_images: bool, complete: bool = True
) -> Verdict:
    """Judge whether the first of each pair is lower than the second.

    Parameters
    ----------
    rule
        The rule; must be an ordering.
    pairs
        Measurements published to be the lower and the higher one.
    uses_all_images
        Whether the runs used the whole data set.
    complete
        Whether the pairs are all that the rule speaks of. If some were not run, it cannot be
        reproduced, but still be contradicted.

    Returns
    -------
    Verdict
        See the module's description; not attempted if nothing was run.

    Raises
    ------
    UsageError
        If the rule is of another kind, or there is nothing to compare though nothing was left out.
    """
    if not isinstance(rule, OrderingRule):
        raise UsageError(f"rule {rule.name}: kind {rule.kind!r} does not judge pairs; 'ordering' does")
    if not pairs and complete:
        raise UsageError(f"rule {rule.name}: nothing to compare")
    if not pairs:
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
    comparisons = compare_pairs(pairs, rule.margin, rule.alpha)
    return _verdict(rule, comparisons, [m for pair in pairs for m in pair], uses_all_images, complete)


def judge_values(
    rule: Rule, measurements: Sequence[Measurement], pairs: Sequence[Pair], *, uses_all_images: bool
) -> Verdict:
    """Judge whether each measurement has its published value; see `judge_ordering`.

    Parameters
    ----------
    rule, uses_all_images
        As in `judge_ordering`; the rule must be of the kind value.
    measurements
        Those with a published value are compared with it.
    pairs
        Measurements whose published values are in this order, lower and higher: the direction that is
        left where the values differ.

    Raises
    ------
    UsageError
        If the rule is of another kind, or no measurement has a published value.
    """
    if not isinstance(rule, ValueRule):
        raise UsageError(f"rule {rule.name}: kind {rule.kind!r} does not judge values; 'value' does")
    measurements = [m for m in measurements if m.published is not None]
    if not measurements:
        raise UsageError(f"rule {rule.name}: no measurement has a published value to compare with")
    if min(m.epochs for m in measurements) < rule.needs_epochs:
        # Two values of a falling loss mean the same only after the same training.
        comparisons = [
            Comparison(first=m.name, seeds=m.seeds, relative_difference=None, finding="not comparable")
            for m in measurements
        ]
        return _verdict(rule, comparisons, measurements, uses_all_images)
    comparisons = _compare_values(measurements, rule.tolerance, rule.alpha)
    order = compare_pairs(pairs, 0.0, rule.alpha)
    return _verdict(rule, comparisons, measurements, uses_all_images, order=order)


def judge_again(verdict: Verdict, result: ClaimResult) -> Verdict:
    """What the rule of a verdict says of the measurements of a result, which should be the verdict."""

    def pairs(comparisons: Sequence[Comparison]) -> list[Pair]:
        return [
            (result.measurement(c.first), result.measurement(c.second))
            for c in comparisons
            if c.second is not None
        ]

    whole = result.budget.uses_all_images
    if isinstance(verdict.rule, OrderingRule):
        compared = pairs(verdict.comparisons)
        return judge_ordering(verdict.rule, compared, uses_all_images=whole, complete=verdict.complete)
    measurements = [result.measurement(c.first) for c in verdict.comparisons]
    return judge_values(verdict.rule, measurements, pairs(verdict.order), uses_all_images=whole)


def compare_pairs(pairs: Sequence[Pair], margin: float, alpha: float) -> list[Comparison]:
    """Compare the first of each pair, published to be lower, with the second, seed by seed.

    With a single seed nothing is tested: the finding says on which side of the margin the difference lies.
    """
    matched = [_matched(*pair) for pair in pairs]
    differences = [paired_difference(*values) if values else None for values in matched]
    tested = [d.p_value for d in differences if d is not None and d.p_value is not None]
    p_values = iter(adjusted(tested))
    comparisons = []
    for (lower, higher), difference in zip(pairs, differences, strict=True):
        p_value = next(p_values) if difference is not None and difference.p_value is not None else None
        finding: Finding
        if difference is None:
            finding = _by_divergence(lower, higher)
        elif difference.interval is None:
            finding = _by_margin(difference.relative, margin)
        elif p_value is None or p_value >= alpha:
            finding = "too close to tell"
        elif difference.relative > 0:
            finding = "against the published"
        else:
            finding = "smaller than the margin" if difference.interval[0] > -margin else "as published"
        comparisons.append(
            Comparison(
                first=lower.name,
                second=higher.name,
                seeds=len(_shared_seeds(lower, higher)),
                relative_difference=difference.relative if difference else None,
                interval=difference.interval if difference else None,
                effect_size=difference.effect_size if difference else None,
                p_value=p_value,
                finding=finding,
            )
        )
    return comparisons


def _compare_values(measurements: Sequence[Measurement], tolerance: float, alpha: float) -> list[Comparison]:
    """Compare each measurement with its published value."""
    tests = [
        equivalence(values, m.published, tolerance) if m.published and (values := _values(m)) else None
        for m in measurements
    ]
    p_values = iter(adjusted([t.p_different for t in tests if t is not None and t.p_different is not None]))
    comparisons = []
    for measurement, test in zip(measurements, tests, strict=True):
        p_different = next(p_values) if test is not None and test.p_different is not None else None
        finding: Finding
        if test is None:
            finding = "against the published"  # it diverged, where the published one did not
        elif test.p_equivalent is None or p_different is None:
            inside = abs(test.difference.relative) <= tolerance
            finding = "as published" if inside else "against the published"
        elif test.p_equivalent < alpha / 2:
            finding = "as published"
        else:
            finding = "against the published" if p_different < alpha / 2 else "too close to tell"
        comparisons.append(
            Comparison(
                first=measurement.name,
                seeds=measurement.seeds,
                relative_difference=test.difference.relative if test else None,
                interval=test.difference.interval if test else None,
                effect_size=test.difference.effect_size if test else None,
                p_value=p_different,
                p_equivalent=test.p_equivalent if test else None,
                finding=finding,
            )
        )
    return comparisons


def _values(measurement: Measurement) -> list[float] | None:
    """The values of all seeds; None if one is missing, or has no logarithm."""
    values = [v.value for v in measurement.values if v.value is not None and v.value > 0]
    return values if len(values) == len(measurement.values) and values else None


def _shared_seeds(lower: Measurement, higher: Measurement) -> list[int | None]:
    """The seeds that both have; None where both are exact, which goes with every seed."""
    trained = [{v.seed for v in m.values} for m in (lower, higher) if not m.exact]
    return sorted(set.intersection(*trained), key=str) if trained else [None]


def _matched(lower: Measurement, higher: Measurement) -> tuple[list[float], list[float]] | None:
    """Values of two measurements by the seeds that both have; None if there is nothing to match."""
    if _values(lower) is None or _values(higher) is None:
        return None
    matched = []
    for measurement in (lower, higher):
        by_seed = {v.seed: v.value for v in measurement.values}
        values = [by_seed.get(seed, by_seed.get(None)) for seed in _shared_seeds(lower, higher)]
        matched.append([value for value in values if value is not None])
    return (matched[0], matched[1]) if matched[0] else None


def _by_divergence(lower: Measurement, higher: Measurement) -> Finding:
    """What is left to say of a pair of which some runs have no value."""
    none_lower, none_higher = (all(v.value is None for v in m.values) for m in (lower, higher))
    if none_higher and _values(lower) is not None:
        return "as published"
    if none_lower and _values(higher) is not None:
        return "against the published"
    return "too close to tell"


def _by_margin(difference: float, margin: float) -> Finding:
    if abs(difference) <= margin:
        return "too close to tell"
    return "as published" if difference < 0 else "against the published"


def _verdict(
    rule: Rule,
    comparisons: list[Comparison],
    measurements: Sequence[Measurement],
    uses_all_images: bool,
    complete: bool = True,
    order: Sequence[Comparison] = (),
) -> Verdict:
    epochs = min(m.epochs for m in measurements)
    exact = {m.name for m in measurements if m.exact}
    seeds = min((c.seeds for c in comparisons if not {c.first, c.second} <= exact), default=rule.needs_seeds)
    findings = {comparison.finding for comparison in comparisons}
    tendency: Tendency = next(iter(findings)) if len(findings) == 1 else "mixed"
    reasons: list[Reason] = []
    if epochs < rule.needs_epochs:
        reasons.append("epochs")
    if not uses_all_images:
        reasons.append("images")
    if seeds < rule.needs_seeds:
        reasons.append("seeds")
    outcome: Outcome = "inconclusive"
    if not reasons:
        same_order = bool(order) and {c.finding for c in order} == {"as published"}
        if "against the published" in findings:
            outcome = "partly reproduced" if same_order else "not reproduced"
        elif not complete:
            reasons.append("left out")
        elif findings == {"as published"}:
            outcome = "reproduced"
        elif findings <= {"as published", "smaller than the margin"}:
            outcome = "partly reproduced"
        else:
            reasons.append("overlap")
    return Verdict(
        rule=rule,
        outcome=outcome,
        tendency=tendency,
        reasons=reasons,
        epochs=epochs,
        seeds=seeds,
        complete=complete,
        comparisons=comparisons,
        order=list(order),
    )


REASONS: dict[Reason, str] = {
    "epochs": "{verdict.epochs} epoch(s) of the {verdict.rule.needs_epochs} that the rule needs",
    "images": "the runs used a part of the images only",
    "seeds": "{verdict.seeds} seed(s) of the {verdict.rule.needs_seeds} that the rule needs",
    "left out": "some of what the rule compares was not run",
    "overlap": "some differences are smaller than their uncertainty",
}


def describe(verdict: Verdict) -> str:
    """The verdict as plain text, as a notebook prints it."""
    lines = [verdict.rule.statement, f"Verdict: {verdict.outcome} (the numbers point: {verdict.tendency})"]
    lines += ["- " + REASONS[reason].format(verdict=verdict) for reason in verdict.reasons]
    for comparison in verdict.comparisons:
        names = (
            comparison.first
            if comparison.second is None
            else f"{comparison.first} against {comparison.second}"
        )
        shown = ""
        if comparison.relative_difference is not None:
            shown = f" {comparison.relative_difference:+.1%}"
        if comparison.interval is not None:
            shown += " [{:+.1%}, {:+.1%}]".format(*comparison.interval)
        lines.append(f"  {names}:{shown} ({comparison.finding}, n = {comparison.seeds})")
    return "\n".join(lines)
