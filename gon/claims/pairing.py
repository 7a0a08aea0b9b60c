"""What a verdict compares, named in short; and the numbers behind an answer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gon.catalogue import ACTIVATIONS, MODELS
from gon.claims.formats import counted
from gon.claims.judging import JudgedClaim
from gon.claims.results import Comparison, Measurement, Verdict
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


def groups(claim: JudgedClaim, comparisons: Sequence[Comparison]) -> list[list[Pair]]:
    """Pairs that share their first side, to be told in one sentence."""
    found: dict[tuple[str, int, str], list[Pair]] = {}
    for pair in pairs(claim, comparisons):
        key = (pair.comparison.first, pair.comparison.epochs, pair.first_name)
        found.setdefault(key, []).append(pair)
    return list(found.values())


def by_distance(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Those that are comparable, from the closest to the farthest apart."""
    return sorted((c for c in comparisons if c.relative_difference is not None), key=_distance)


def _distance(comparison: Comparison) -> float:
    """How far from equal, the same for half and for double."""
    ratio = 1 + (comparison.relative_difference or 0.0)
    return abs(math.log(ratio)) if ratio > 0 else math.inf


AnswerCell = str | float | Measurement | Comparison | None


def answer_table(
    claims: Sequence[JudgedClaim], claim: JudgedClaim, verdict: Verdict
) -> list[tuple[AnswerCell, ...]]:
    """The numbers behind an answer, each row headed by what it compares.

    Parameters
    ----------
    claims
        All claims of the report: a published number of the same runs may stand in any of them.
    claim, verdict
        The verdict that answers, and its claim.

    Returns
    -------
    list of tuple
        A row of headings first. Then both sides of each comparison and their difference; where there are
        any, a computed model to read the first side against, and what was published for it.
    """
    compared = pairs(claim, verdict.comparisons)
    names = {pair.names for pair in compared}
    several = len({pair.comparison.epochs for pair in compared}) > 1
    titles = []
    for pair in compared:
        title = pair.where if len(names) == 1 and pair.where else pair.first.label
        titles.append(title + (f" after {counted(pair.comparison.epochs, 'epoch')}" if several else ""))
    first, second = names.pop() if len(names) == 1 else ("first", "second")
    columns: list[list[AnswerCell]] = [
        ["", *titles],
        [first, *(pair.first for pair in compared)],
        [second, *(pair.second for pair in compared)],
        ["difference", *(pair.comparison for pair in compared)],
    ]
    lines = [_exact_line(claim, pair) for pair in compared]
    if any(lines):
        name = next(line.names[1] for line in lines if line)
        columns.append([name, *(line.second if line else None for line in lines)])
    published = [_published(claims, pair.first) for pair in compared]
    if any(published):
        epochs = next(known[1] for known in published if known)
        heading = f"published ({counted(epochs, 'epoch')})" if epochs else "published"
        columns.append([heading, *(known[0] if known else None for known in published)])
    return list(zip(*columns, strict=True))


def _exact_line(claim: JudgedClaim, pair: Pair) -> Pair | None:
    """A pair of some rule that compares the same first side with a computed model."""
    for verdict in claim.verdicts:
        for other in pairs(claim, verdict.comparisons):
            line = other.second
            if line is None or not line.exact or not line.runs:
                continue
            if line.quantity == pair.first.quantity and set(other.first.runs) & set(pair.first.runs):
                return other
    return None


def _published(claims: Sequence[JudgedClaim], measurement: Measurement) -> tuple[float, int | None] | None:
    """What was published for the same quantity of the same runs, and after how many epochs."""
    for claim in claims:
        for other in claim.measurements:
            same = other.recorded == measurement.recorded and set(other.runs) & set(measurement.runs)
            if other.published is not None and same:
                return other.published, claim.params.published.epochs
    return None
