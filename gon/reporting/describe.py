"""What can be said about a verdict: rankings, counts, and what would change it. No words yet."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from gon.params import OrderingRule
from gon.results import ClaimResult, Comparison, Finding, Measurement, Reason, Tendency, Verdict

FINDINGS: dict[Finding, str] = {
    "as published": "as published",
    "smaller than the margin": "as published, but by less than the margin",
    "against the published": "the other way round",
    "too close to tell": "too close to tell",
    "not comparable": "not comparable",
}
"""What is said of one comparison."""

TENDENCIES: dict[Tendency, str] = {
    "as published": "point the published way",
    "smaller than the margin": "point the published way, but by less than the margin",
    "against the published": "point against what is published",
    "mixed": "point in different directions",
    "too close to tell": "are too close to tell",
    "not comparable": "cannot be compared with the published ones at this budget",
}
"""What is said of where the numbers point."""

REASONS: dict[Reason, str] = {
    "epochs": "training",
    "images": "images",
    "seeds": "seeds",
    "left out": "runs that were left out",
    "overlap": "differences larger than their uncertainty",
}
"""What a verdict that stays open is open for want of."""


@dataclass(frozen=True)
class Ranking:
    """Measurements of one quantity that a rule compares with each other.

    Attributes
    ----------
    quantity
        What is measured.
    ranked
        The measurements that have a value, the lowest first.
    diverged
        Those without.
    expected
        Those published to be lowest: never the higher one of a pair.
    """

    quantity: str
    ranked: list[Measurement]
    diverged: list[Measurement]
    expected: list[Measurement]

    @property
    def size(self) -> int:
        """How many are compared."""
        return len(self.ranked) + len(self.diverged)

    @property
    def as_expected(self) -> bool:
        """Whether the lowest one is published to be so."""
        return bool(self.ranked) and self.ranked[0] in self.expected

    @property
    def lead(self) -> float | None:
        """By what share the lowest one lies below the next; None without a next one."""
        if len(self.ranked) < 2:
            return None
        lowest, following = self.ranked[0].value, self.ranked[1].value
        assert lowest is not None and following is not None
        return (following - lowest) / following if following else 0.0


def rankings(result: ClaimResult, verdict: Verdict) -> list[Ranking]:
    """Rank the measurements that an ordering compares, directly or through others.

    MNIST is compared with MNIST only, say, so each data set gives a ranking of its own.
    """
    groups: list[list[str]] = []
    for comparison in verdict.comparisons:
        names = [name for name in (comparison.first, comparison.second) if name is not None]
        touched = [group for group in groups if set(group) & set(names)]
        groups = [group for group in groups if group not in touched]
        groups.append(list(dict.fromkeys([name for group in touched for name in group] + names)))
    higher = {comparison.second for comparison in verdict.comparisons}
    found = []
    for group in groups:
        measurements = [result.measurement(name) for name in group]
        found.append(
            Ranking(
                quantity=measurements[0].quantity,
                ranked=sorted((m for m in measurements if m.value is not None), key=_value),
                diverged=[m for m in measurements if m.value is None],
                expected=[m for m in measurements if m.name not in higher],
            )
        )
    return found


def findings(verdict: Verdict) -> dict[str, int]:
    """How many comparisons have each finding, in a fixed order, without those that do not occur."""
    counts = Counter(comparison.finding for comparison in verdict.comparisons)
    return {finding: counts[finding] for finding in get_args(Finding) if counts[finding]}


def within_margin(verdict: Verdict) -> bool:
    """Whether the pairs of an ordering that are too close to tell differ by less than the margin."""
    rule = verdict.rule
    return isinstance(rule, OrderingRule) and all(
        c.interval is not None and -rule.margin < c.interval[0] and c.interval[1] < rule.margin
        for c in verdict.comparisons
        if c.finding == "too close to tell"
    )


def closest(verdict: Verdict) -> Comparison | None:
    """The comparison with the smallest relative difference; None if nothing is comparable."""
    return min(_comparable(verdict.comparisons), key=_difference, default=None)


def farthest(verdict: Verdict, finding: Finding | None = None) -> Comparison | None:
    """The comparison that differs most, of one finding or of all; None if there is none."""
    chosen = [c for c in verdict.comparisons if finding is None or c.finding == finding]
    return max(_comparable(chosen), key=_difference, default=None)


def outcome_words(verdict: Verdict) -> str:
    """The outcome as it is printed, with what an open one is open for."""
    if verdict.outcome != "inconclusive":
        return verdict.outcome
    if verdict.reasons == ["seeds"]:
        return "inconclusive with so few seeds"
    return "inconclusive" if verdict.reasons == ["overlap"] else "inconclusive at this budget"


def missing_words(measurement: Measurement) -> str:
    """Why a measurement has no value."""
    return measurement.note or "no value"


def _comparable(comparisons: Sequence[Comparison]) -> list[Comparison]:
    return [comparison for comparison in comparisons if comparison.relative_difference is not None]


def _difference(comparison: Comparison) -> float:
    return abs(comparison.relative_difference or 0.0)


def _value(measurement: Measurement) -> float:
    assert measurement.value is not None
    return measurement.value


def left_out(result: ClaimResult) -> dict[str, dict[str, list[str]]]:
    """What a claim would rest on and was not run: reason to data set to models."""
    found: dict[str, dict[str, list[str]]] = {}
    for entry in result.left_out:
        models = found.setdefault(entry.reason, {}).setdefault(entry.dataset, [])
        if entry.model not in models:
            models.append(entry.model)
    return found


def workflow(edges: Sequence[tuple[str, str]]) -> str:
    """What the drawing of the workflow shows, for somebody who does not see it."""
    return "Boxes and arrows: " + "; ".join(f"{first} leads to {second}" for first, second in edges)
