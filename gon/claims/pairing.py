"""What a verdict compares, named in short; and the numbers behind an answer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gon.catalogue import ACTIVATIONS, MODELS
from gon.claims.formats import (
    counted,
)
from gon.claims.judging import JudgedClaim
from gon.claims.results import (
    Comparison,
    Finding,
    Measurement,
    Verdict,
)
from gon.claims.rules import ValueRule
from gon.spec import RunSpec


@dataclass(frozen=True)
class Pair:
    """One comparison with what it compares, named in short.

    Attributes
    ----------
    comparison
        The comparison.
    first, second
        What it compares; no second where a value is compared with its published one.
    where
        What both labels share, such as "MNIST, latent 64"; the whole label if there is no second.
    names
        What is left of each label, such as "GON" and "autoencoder".
    """

    comparison: Comparison
    first: Measurement
    second: Measurement | None
    where: str
    names: tuple[str, str]


@dataclass(frozen=True)
class Group:
    """Pairs in a row that have the first side in common."""

    where: str
    pairs: list[Pair]


def pairs(claim: JudgedClaim, comparisons: Sequence[Comparison]) -> list[Pair]:
    """Comparisons with what they compare."""
    found = []
    for comparison in comparisons:
        first = claim.measurement(comparison.first, comparison.epochs)
        if comparison.second is None:
            found.append(Pair(comparison, first, None, first.label, (first.label, "")))
            continue
        second = claim.measurement(comparison.second, comparison.epochs)
        found.append(Pair(comparison, first, second, *_apart(first.label, second.label)))
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


def groups(claim: JudgedClaim, comparisons: Sequence[Comparison]) -> list[Group]:
    """Pairs that share their first side, to be told in one sentence."""
    found: dict[tuple[str, int, str, str], list[Pair]] = {}
    for pair in pairs(claim, comparisons):
        key = (pair.comparison.first, pair.comparison.epochs, pair.where, pair.names[0])
        found.setdefault(key, []).append(pair)
    return [Group(key[2], together) for key, together in found.items()]


@dataclass(frozen=True)
class AnswerRow:
    """One row of the numbers behind an answer.

    Attributes
    ----------
    title
        What is compared, such as "MNIST, latent 64".
    pair
        The two sides.
    line
        A computed model that the first side is to be read against.
    published
        What was published for the first side.
    """

    title: str
    pair: Pair
    line: Measurement | None
    published: float | None


@dataclass(frozen=True)
class Answer:
    """The numbers behind an answer, and how their columns are headed."""

    names: tuple[str, str]
    line: str
    published_epochs: int | None
    rows: list[AnswerRow]


def answer_rows(claims: Sequence[JudgedClaim], claim: JudgedClaim, verdict: Verdict) -> Answer:
    """The numbers behind an answer.

    Parameters
    ----------
    claims
        All claims of the report: a published number of the same runs may stand in any of them.
    claim, verdict
        The verdict that answers, and its claim.
    """
    compared = pairs(claim, verdict.comparisons)
    names = {pair.names for pair in compared}
    several = len({pair.comparison.epochs for pair in compared}) > 1
    rows, line_name, published_epochs = [], "", None
    for pair in compared:
        line, known = _exact_line(claim, pair), _published(claims, pair.first)
        title = pair.where if len(names) == 1 and pair.where else pair.first.label
        title += f" after {counted(pair.comparison.epochs, 'epoch')}" if several else ""
        line_name = line[0] if line else line_name
        published_epochs = known[1] if known else published_epochs
        rows.append(AnswerRow(title, pair, line[1] if line else None, known[0] if known else None))
    return Answer(names.pop() if len(names) == 1 else ("first", "second"), line_name, published_epochs, rows)


def _exact_line(claim: JudgedClaim, pair: Pair) -> tuple[str, Measurement] | None:
    """Name and number of a computed model that some rule compares the first side of a pair with."""
    for verdict in claim.verdicts:
        for other in pairs(claim, verdict.comparisons):
            line = other.second
            if line is None or not line.exact or not line.runs:
                continue
            if line.quantity == pair.first.quantity and set(other.first.runs) & set(pair.first.runs):
                return other.names[1], line
    return None


def _published(claims: Sequence[JudgedClaim], measurement: Measurement) -> tuple[float, int | None] | None:
    """What was published for the same quantity of the same runs, and after how many epochs."""
    for claim in claims:
        for other in claim.measurements:
            same = other.recorded == measurement.recorded and set(other.runs) & set(measurement.runs)
            if other.published is not None and same:
                return other.published, claim.params.published.epochs
    return None


def closest(verdict: Verdict) -> Comparison | None:
    """The comparison with the smallest difference; None if nothing is comparable."""
    return min(_comparable(verdict.comparisons), key=_distance, default=None)


def farthest(verdict: Verdict, finding: Finding | None = None) -> Comparison | None:
    """The comparison that differs most, of one finding or of all; None if there is none."""
    chosen = [c for c in verdict.comparisons if finding is None or c.finding == finding]
    return max(_comparable(chosen), key=_distance, default=None)


def decisive(verdict: Verdict) -> Comparison | None:
    """The comparison that speaks most against what is published: it alone could decide; None if there is none.

    Of an ordering, that whose first side lies highest above the second; of values, that which is farthest from
    the published one, at a milestone where nothing can be compared at the end.
    """
    if isinstance(verdict.rule, ValueRule):
        early = [look for look in verdict.early if look.finding == "against the published"]
        return max(_comparable(verdict.comparisons) or _comparable(early), key=_distance, default=None)
    return max(_comparable(verdict.comparisons), key=lambda c: c.relative_difference or 0.0, default=None)


def _comparable(comparisons: Sequence[Comparison]) -> list[Comparison]:
    return [comparison for comparison in comparisons if comparison.relative_difference is not None]


def _distance(comparison: Comparison) -> float:
    """How far from equal, the same for half and for double."""
    ratio = 1 + (comparison.relative_difference or 0.0)
    return abs(math.log(ratio)) if ratio > 0 else math.inf
