"""Verdicts: what a rule that was fixed before any run says of the measurements."""

from collections.abc import Sequence

from gon.errors import UsageError
from gon.params import OrderingRule, Rule, ValueRule
from gon.results import Comparison, Finding, Measurement, Outcome, Reason, Tendency, Verdict


def judge_ordering(
    rule: Rule,
    pairs: Sequence[tuple[Measurement, Measurement]],
    *,
    uses_all_images: bool,
    complete: bool = True,
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
        Reproduced if every pair decides as published, not reproduced if one decides the other way, not
        attempted if nothing was run.

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
            comparisons=[],
        )
    comparisons = [_compare(lower, higher, rule.margin) for lower, higher in pairs]
    return _verdict(rule, comparisons, [m for pair in pairs for m in pair], uses_all_images, complete)


def judge_values(rule: Rule, measurements: Sequence[Measurement], *, uses_all_images: bool) -> Verdict:
    """Judge whether each measurement has its published value; see `judge_ordering`.

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
    same_budget = min(m.epochs for m in measurements) >= rule.needs_epochs
    comparisons = []
    for measurement in measurements:
        finding: Finding = "not comparable"
        difference = None
        # Two values of a falling loss mean the same only after the same training.
        if same_budget and measurement.value is not None and measurement.published:
            difference = (measurement.value - measurement.published) / measurement.published
            finding = "as published" if abs(difference) <= rule.tolerance else "against the published"
        elif same_budget:
            finding = "against the published"
        comparisons.append(
            Comparison(first=measurement.name, relative_difference=difference, finding=finding)
        )
    return _verdict(rule, comparisons, measurements, uses_all_images)


def _compare(lower: Measurement, higher: Measurement, margin: float) -> Comparison:
    """Compare one pair; a run that diverged counts as higher than any that did not."""
    difference: float | None = None
    finding: Finding
    if lower.value is not None and higher.value is not None:
        # Equal losses differ by nothing, even where both are 0.
        difference = (lower.value - higher.value) / higher.value if higher.value else float(lower.value > 0)
        if abs(difference) <= margin:
            finding = "too close to tell"
        else:
            finding = "as published" if difference < 0 else "against the published"
    elif lower.value is None and higher.value is None:
        finding = "too close to tell"
    else:
        finding = "as published" if higher.value is None else "against the published"
    return Comparison(first=lower.name, second=higher.name, relative_difference=difference, finding=finding)


def _verdict(
    rule: Rule,
    comparisons: list[Comparison],
    measurements: Sequence[Measurement],
    uses_all_images: bool,
    complete: bool = True,
) -> Verdict:
    epochs = min(m.epochs for m in measurements)
    findings = {comparison.finding for comparison in comparisons}
    tendency: Tendency = next(iter(findings)) if len(findings) == 1 else "mixed"
    reasons: list[Reason] = []
    if epochs < rule.needs_epochs:
        reasons.append("epochs")
    if not uses_all_images:
        reasons.append("images")
    outcome: Outcome = "inconclusive"
    if not reasons:
        if "against the published" in findings:
            outcome = "not reproduced"
        elif not complete:
            reasons.append("left out")
        elif findings == {"as published"}:
            outcome = "reproduced"
        else:
            reasons.append("one seed")
    return Verdict(
        rule=rule, outcome=outcome, tendency=tendency, reasons=reasons, epochs=epochs, comparisons=comparisons
    )


def describe(verdict: Verdict) -> str:
    """The verdict as plain text, as a notebook prints it."""
    lines = [verdict.rule.statement, f"Verdict: {verdict.outcome} (the numbers point: {verdict.tendency})"]
    if "epochs" in verdict.reasons:
        lines.append(f"- {verdict.epochs} epoch(s) of the {verdict.rule.needs_epochs} that the rule needs")
    if "images" in verdict.reasons:
        lines.append("- the runs used a part of the images only")
    if "left out" in verdict.reasons:
        lines.append("- some of what the rule compares was not run")
    if "one seed" in verdict.reasons:
        lines.append("- some differences are within the margin, where one seed cannot tell")
    for comparison in verdict.comparisons:
        names = (
            comparison.first
            if comparison.second is None
            else f"{comparison.first} against {comparison.second}"
        )
        difference = comparison.relative_difference
        shown = "" if difference is None else f" {difference:+.1%}"
        lines.append(f"  {names}:{shown} ({comparison.finding})")
    return "\n".join(lines)
