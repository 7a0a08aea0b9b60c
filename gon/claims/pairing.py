"""What a verdict compares, named in short, and what speaks most against a claim."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gon.catalogue import ACTIVATIONS, MODELS
from gon.claims.judging import JudgedClaim
from gon.claims.results import REFUTING, Comparison, Measurement, Verdict
from gon.claims.rules import ValueRule
from gon.spec import RunSpec


@dataclass(frozen=True)
class Pair:
    """One comparison with what it compares, named in short."""

    comparison: Comparison
    first: Measurement
    second: Measurement | None
    """None where a value is compared with its published one."""
    where: str
    """What both labels share, such as "MNIST, latent 64"; empty if there is no second."""
    names: tuple[str, str]
    """What is left of each label, such as "GON" and "autoencoder"."""

    @property
    def first_name(self) -> str:
        """The first with what it shares with the second."""
        return f"{self.where}: {self.names[0]}" if self.where else self.names[0]


def pairs(claim: JudgedClaim, comparisons: Sequence[Comparison]) -> list[Pair]:
    """Comparisons with what they compare."""
    found = []
    for comparison in comparisons:
        first, second = claim.measurement(comparison.first, comparison.epochs), None
        where, names = "", (first.label, "")
        if comparison.second is not None:
            second = claim.measurement(comparison.second, comparison.epochs)
            where, names = _apart(first.label, second.label)
        found.append(Pair(comparison, first, second, where, names))
    return found


def _apart(first: str, second: str) -> tuple[str, tuple[str, str]]:
    """What two labels of `RunSpec.label` share, but for the default activation, and what is left of each."""
    sides = first.split(", "), second.split(", ")
    titles = [entry.title for entry in MODELS.values()]
    named = [any(part in titles for part in side) for side in sides]
    stepped = [any(part.endswith("inner steps") for part in side) for side in sides]
    if named[0] != named[1]:
        sides[named.index(False)].insert(0, MODELS[RunSpec.model].title)
    if stepped[0] != stepped[1]:
        sides[stepped.index(False)].append("1 inner step")
    shared = [part for part in sides[0] if part in sides[1]]
    names = [", ".join(part for part in side if part not in shared) for side in sides]
    if not all(names):
        return "", (first, second)
    return ", ".join(part for part in shared if part != ACTIVATIONS[RunSpec.activation]), (names[0], names[1])


def by_distance(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Those that are comparable, from the closest to the farthest apart."""
    return sorted((c for c in comparisons if c.relative_difference is not None), key=_distance)


def _distance(comparison: Comparison) -> float:
    """How far from equal, the same for half and for double."""
    ratio = 1 + (comparison.relative_difference or 0.0)
    return abs(math.log(ratio)) if ratio > 0 else math.inf


def decisive(verdict: Verdict) -> Comparison | None:
    """The comparison that speaks most against what is published; None if there is none.

    Of an ordering, that whose interval reaches highest, the first side above the second; of values, that
    which is farthest from the published one, at a milestone where nothing can be compared at the end. Where
    the verdict is that it is refuted, one of those that refute it.
    """
    compared = by_distance(verdict.comparisons)
    refuting = [comparison for comparison in compared if comparison.finding in REFUTING]
    if verdict.outcome == "not reproduced" and refuting:
        compared = refuting
    if isinstance(verdict.rule, ValueRule):
        early = [look for look in verdict.early if look.finding == "against the published"]
        return next(reversed(compared or by_distance(early)), None)
    return max(compared, key=_reach, default=None)


def _reach(comparison: Comparison) -> float:
    return comparison.interval[1] if comparison.interval else comparison.relative_difference or 0.0
