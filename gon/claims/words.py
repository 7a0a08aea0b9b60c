"""What is said about a verdict: one source of words for the headline, the tables, the boxes and the text."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

from gon.catalogue import ACTIVATIONS, EXACT_MODELS, MODELS
from gon.claims.formats import count, counted, date, level, listed, percent, spelled
from gon.claims.params import NOT_YET
from gon.claims.results import (
    QUANTITIES,
    ClaimResult,
    Comparison,
    Finding,
    Measurement,
    Outcome,
    Reason,
    RunSummary,
    Table,
    Tendency,
    Verdict,
)
from gon.claims.rules import OrderingRule, Rule, StructuralRule, ValueRule
from gon.spec import RunSpec

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


FINDINGS: dict[Finding, str] = {
    "as published": "as published",
    "lower, size open": "lower, size open",
    "equal within the margin": "equal within the margin",
    "against the published": "against the published",
    "too close to tell": "too close to tell",
    "not comparable": "not comparable",
}
"""What is said of one comparison."""

EARLY: dict[Finding, str] = {
    "against the published": "already below the published",
    "not comparable": "says nothing so early",
}
"""What is said of a loss at a milestone; it has no other finding."""

_TENDENCIES: dict[Tendency, str] = {
    "as published": "point the published way",
    "lower, size open": "point the published way, by how much is open",
    "equal within the margin": "point to no difference beyond the margin",
    "against the published": "point against what is published",
    "too close to tell": "are too close to tell",
    "not comparable": "allow no comparison yet",
    "mixed": "point in different directions",
}

_ANSWERS: dict[Outcome, str] = {
    "reproduced": "Yes",
    "partly reproduced": "Yes, but by how much is open",
    "not reproduced": "No",
    "inconclusive": "That cannot be answered yet",
    "not attempted": "Not run at this budget",
}


def measured(result: ClaimResult, name: str, epochs: int) -> Measurement:
    """The measurement of that name, after so many epochs if there are several; as the verdicts take it."""
    named = [m for m in result.measurements if m.name == name]
    return next((m for m in named if m.epochs == epochs), named[0])


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


def pairs(result: ClaimResult, comparisons: Sequence[Comparison]) -> list[Pair]:
    """Comparisons with what they compare."""
    found = []
    for comparison in comparisons:
        first = measured(result, comparison.first, comparison.epochs)
        if comparison.second is None:
            found.append(Pair(comparison, first, None, first.label, (first.label, "")))
            continue
        second = measured(result, comparison.second, comparison.epochs)
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


def groups(result: ClaimResult, comparisons: Sequence[Comparison]) -> list[Group]:
    """Pairs that share their first side, to be told in one sentence."""
    found: dict[tuple[str, int, str, str], list[Pair]] = {}
    for pair in pairs(result, comparisons):
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


def answer_rows(results: Sequence[ClaimResult], result: ClaimResult, verdict: Verdict) -> Answer:
    """The numbers behind an answer.

    Parameters
    ----------
    results
        All claims of the report: a published number of the same runs may stand in any of them.
    result, verdict
        The verdict that answers, and its claim.
    """
    compared = pairs(result, verdict.comparisons)
    names = {pair.names for pair in compared}
    several = len({pair.comparison.epochs for pair in compared}) > 1
    rows, line_name, published_epochs = [], "", None
    for pair in compared:
        line, published = _exact_line(result, pair), _published(results, pair.first)
        title = pair.where if len(names) == 1 and pair.where else pair.first.label
        title += f" after {counted(pair.comparison.epochs, 'epoch')}" if several else ""
        line_name = line[0] if line else line_name
        published_epochs = published[1] if published else published_epochs
        rows.append(AnswerRow(title, pair, line[1] if line else None, published[0] if published else None))
    return Answer(names.pop() if len(names) == 1 else ("first", "second"), line_name, published_epochs, rows)


def _exact_line(result: ClaimResult, pair: Pair) -> tuple[str, Measurement] | None:
    """Name and number of a computed model that some rule compares the first side of a pair with."""
    for verdict in result.verdicts:
        for other in pairs(result, verdict.comparisons):
            line = other.second
            if line is None or not line.exact or not line.runs:
                continue
            if line.quantity == pair.first.quantity and set(other.first.runs) & set(pair.first.runs):
                return other.names[1], line
    return None


def _published(results: Sequence[ClaimResult], measurement: Measurement) -> tuple[float, int | None] | None:
    """What was published for the same quantity of the same runs, and after how many epochs."""
    for result in results:
        for other in result.measurements:
            same = other.recorded == measurement.recorded and set(other.runs) & set(measurement.runs)
            if other.published is not None and same:
                return other.published, result.published.epochs
    return None


def findings(verdict: Verdict) -> dict[Finding, int]:
    """How many comparisons have each finding, in a fixed order, without those that do not occur."""
    counts = Counter(comparison.finding for comparison in verdict.comparisons)
    return {finding: counts[finding] for finding in get_args(Finding) if counts[finding]}


def outcomes(verdicts: Sequence[Verdict]) -> dict[Outcome, int]:
    """How many verdicts have each outcome, likewise."""
    counts = Counter(verdict.outcome for verdict in verdicts)
    return {outcome: counts[outcome] for outcome in get_args(Outcome) if counts[outcome]}


def closest(verdict: Verdict) -> Comparison | None:
    """The comparison with the smallest difference; None if nothing is comparable."""
    return min(_comparable(verdict.comparisons), key=_distance, default=None)


def farthest(verdict: Verdict, finding: Finding | None = None) -> Comparison | None:
    """The comparison that differs most, of one finding or of all; None if there is none."""
    chosen = [c for c in verdict.comparisons if finding is None or c.finding == finding]
    return max(_comparable(chosen), key=_distance, default=None)


def _comparable(comparisons: Sequence[Comparison]) -> list[Comparison]:
    return [comparison for comparison in comparisons if comparison.relative_difference is not None]


def _distance(comparison: Comparison) -> float:
    """How far from equal, the same for half and for double."""
    ratio = 1 + (comparison.relative_difference or 0.0)
    return abs(math.log(ratio)) if ratio > 0 else math.inf


def outcome_words(verdict: Verdict) -> str:
    """The outcome as it is printed."""
    return "not run at this budget" if verdict.outcome == "not attempted" else verdict.outcome


def tendency_words(verdict: Verdict) -> str:
    """Where the numbers point, to follow "the numbers"."""
    if isinstance(verdict.rule, ValueRule):
        if verdict.tendency == "as published":
            return "point to the published values"
        if verdict.tendency == "against the published":
            return "point to other values than the published ones"
    return _TENDENCIES[verdict.tendency]


def so_far(verdict: Verdict) -> str:
    """Where the numbers of an open verdict point, as a sentence."""
    seed = (
        ", from a single seed," if verdict.seeds == 1 and not isinstance(verdict.rule, StructuralRule) else ""
    )
    return f"So far{seed} the numbers {tendency_words(verdict)}."


def answer(verdict: Verdict) -> str:
    """The answer to a question whose answer is yes if the rule is reproduced."""
    return _ANSWERS[verdict.outcome]


def refuted_words(verdict: Verdict) -> str:
    """What refutes an ordering, in words."""
    found = findings(verdict)
    total = len(verdict.comparisons)
    margin = f"equal within {percent(verdict.rule.margin)}" if isinstance(verdict.rule, OrderingRule) else ""
    words: dict[Finding, str] = {
        "against the published": "it is the other way round",
        "equal within the margin": f"both sides are {margin}",
    }
    return "; ".join(
        f"in {_of(found[finding], total, 'comparison')} {text}"
        for finding, text in words.items()
        if finding in found
    )


def _of(number: int, total: int, noun: str) -> str:
    if total == 1:
        return f"the only {noun}"
    return (
        f"all {spelled(total)} {noun}s"
        if number == total
        else f"{spelled(number)} of {spelled(total)} {noun}s"
    )


def open_reasons(verdict: Verdict) -> list[str]:
    """Why a verdict is open."""
    rule = verdict.rule
    if isinstance(rule, StructuralRule):
        return ["some of what it compares was not run"]
    limits = "margin or zero" if isinstance(rule, OrderingRule) else "tolerance"
    words = {
        "epochs": f"the runs have {counted(verdict.epochs, 'epoch')}, and the rule compares after "
        f"{listed([count(epochs) for epochs in rule.epochs])}",
        "images": "the runs used a part of the images only",
        "seeds": f"there {'is' if verdict.seeds == 1 else 'are'} {counted(verdict.seeds, 'seed')} of the "
        f"{count(rule.seeds)} that the rule rests on",
        "left out": "some of what it compares was not run",
        "diverged": "a run has no loss to compare",
        "no scatter": "something is the same from every seed, so that nothing can be tested",
        "overlap": f"some intervals reach across the {limits}",
    }
    return [words[reason] for reason in verdict.reasons]


def remedies(verdict: Verdict) -> list[str]:
    """What would close an open verdict; more seeds than the rule names never do."""
    rule = verdict.rule
    epochs, seeds = (0, 0) if isinstance(rule, StructuralRule) else (rule.epochs[-1], rule.seeds)
    words = {
        "epochs": f"{counted(epochs, 'epoch')} of training, by a budget that continues these runs",
        "images": "a budget that uses all images",
        "seeds": f"the rule’s {counted(seeds, 'seed')}",
        "left out": "the runs that were left out",
    }
    found = [words[reason] for reason in verdict.reasons if reason in words]
    return found or [
        "a new version of the rule only: the epochs and seeds of this one are fixed, and more seeds are "
        "shown but not judged"
    ]


WANTS = {
    "epochs": "training",
    "images": "images",
    "seeds": "seeds",
    "left out": "runs that were left out",
    "diverged": "losses of runs that diverged",
    "no scatter": "scatter between seeds",
    "overlap": "differences larger than their uncertainty",
}
"""What verdicts that stay open are open for want of."""


def wanted(verdicts: Sequence[Verdict]) -> str:
    """What several verdicts are open for want of."""
    reasons = {
        reason for verdict in verdicts for reason in verdict.reasons if verdict.outcome == "inconclusive"
    }
    return " or of ".join(text for reason, text in WANTS.items() if reason in reasons)


def terms(rule: Rule) -> str:
    """What a rule fixes, in short."""
    version = f"version {count(rule.version)} of {date(rule.date)}"
    if isinstance(rule, StructuralRule):
        return f"{version}; ratio of {rule.quantity} at most {rule.at_most:g}, exact"
    limit = (
        f"margin {percent(rule.margin)}"
        if isinstance(rule, OrderingRule)
        else (f"tolerance {percent(rule.tolerance)}, in part within a factor of {rule.factor:g}")
    )
    epochs = f"{listed([count(n) for n in rule.epochs])} epoch{'' if rule.epochs == [1] else 's'}"
    early = ""
    if isinstance(rule, ValueRule) and rule.milestones:
        early = f", refuted early after {listed([count(n) for n in rule.milestones])}"
    return (
        f"{version}; {limit}; level {level(1 - rule.alpha)}; {QUANTITIES[rule.quantity].title} after "
        f"{epochs}{early}; it rests on the seeds 0 to {rule.seeds - 1} and no others"
    )


def rests_on(verdict: Verdict) -> str:
    """What a decided verdict rests on."""
    rule = verdict.rule
    if isinstance(rule, StructuralRule):
        return "by count, without training"
    early = sorted({look.epochs for look in verdict.early if look.finding == "against the published"})
    epochs = early or rule.epochs
    noun = "epoch" if epochs == [1] else "epochs"
    shown = f"{listed([count(n) for n in epochs])} {noun}"
    return f"after {shown}, with all images and {counted(verdict.seeds, 'seed')}"


def missing_words(measurement: Measurement) -> str:
    """Why a measurement has no value."""
    return measurement.note or "no value"


def left_out(result: ClaimResult) -> dict[str, dict[str, list[str]]]:
    """What a claim would rest on and was not run: reason to data set to models."""
    found: dict[str, dict[str, list[str]]] = {}
    for entry in result.left_out:
        models = found.setdefault(entry.reason, {}).setdefault(entry.dataset, [])
        if entry.model not in models:
            models.append(entry.model)
    return found


def span(numbers: Iterable[int], noun: str) -> str:
    """Numbers that may differ, with their noun: "50 epochs", "5 to 500 epochs"; empty if there are none."""
    found = sorted(set(numbers))
    if not found:
        return ""
    last = counted(found[-1], noun)
    return last if len(found) == 1 else f"{count(found[0])} to {last}"


def table_epochs(result: ClaimResult, table: Table) -> str:
    """After how many epochs the numbers of a table stand, but for what is computed."""
    names = {cell.measurement for row in table.rows for cell in row}
    measurements = [m for m in result.measurements if m.name in names]
    return span((m.epochs for m in measurements if not m.exact), "epoch")


def run_epochs(runs: Iterable[RunSummary]) -> str:
    """How many epochs runs were trained for, but for those of models that are computed."""
    return span((run.epochs for run in runs if run.spec["model"] not in EXACT_MODELS), "epoch")


def left_out_words(results: Sequence[ClaimResult]) -> str:
    """How many runs were left out of all claims, and why."""
    reasons = {entry.digest: entry.reason for result in results for entry in result.left_out}
    elsewhere = sum(reason.startswith("not part of the budget") for reason in reasons.values())
    later = sum(reason == NOT_YET for reason in reasons.values())
    without_data = len(reasons) - elsewhere - later
    parts = [
        f"{counted(number, 'planned run')} {one if number == 1 else many}"
        for number, one, many in (
            (elsewhere, "needs a larger budget", "need a larger budget"),
            (later, "is not trained yet", "are not trained yet"),
            (without_data, "needs data that could not be had", "need data that could not be had"),
        )
        if number
    ]
    return f"{listed(parts)}."


def workflow(edges: Sequence[tuple[str, str]]) -> str:
    """What the drawing of the workflow shows, for somebody who does not see it."""
    return "Boxes and arrows: " + "; ".join(f"{first} leads to {second}" for first, second in edges)
