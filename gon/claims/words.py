"""What is said about a verdict: one source of words for the headline, the tables, the boxes and the text."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import get_args

from gon.catalogue import DATASETS
from gon.claims.formats import (
    bounds,
    change,
    count,
    counted,
    date,
    level,
    listed,
    number,
    percent,
    published,
    spelled,
)
from gon.claims.judging import JudgedClaim
from gon.claims.loading import Run
from gon.claims.pairing import pairs
from gon.claims.params import NOT_YET
from gon.claims.results import (
    QUANTITIES,
    Finding,
    Measurement,
    Outcome,
    Table,
    Tendency,
    Verdict,
)
from gon.claims.rules import OrderingRule, Rule, StructuralRule, ValueRule


def confirmed_if(rule: Rule) -> str:
    """What a rule calls reproduced, to follow "if"."""
    if isinstance(rule, StructuralRule):
        return f"every ratio is at most {rule.at_most:g}, counted exactly"
    if isinstance(rule, OrderingRule):
        what = f"every pair differs this way by more than {percent(rule.margin)}"
    else:
        what = f"every loss lies within {percent(rule.tolerance)} of its published value"
    return f"{what}, with {level(1 - rule.alpha)} confidence from {counted(rule.seeds, 'seed')}"


def refuted_if(rule: Rule) -> str:
    """What a rule calls not reproduced, to follow "if"."""
    if isinstance(rule, StructuralRule):
        return "a ratio is larger"
    if isinstance(rule, OrderingRule):
        return f"a pair is equal within {percent(rule.margin)}, or the other way round, at that confidence"
    early = ", or below it long before the published number of epochs" if rule.milestones else ""
    return (
        f"a loss lies further from its published value than that{early}; *in part* confirmed if all still "
        f"have the published order, within a factor of {rule.factor:g}"
    )


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
    "reproduced": "yes",
    "partly reproduced": "in part",
    "not reproduced": "no",
    "inconclusive": "not decided",
    "not attempted": "not run",
}


def findings(verdict: Verdict) -> dict[Finding, int]:
    """How many comparisons have each finding, in a fixed order, without those that do not occur."""
    counts = Counter(comparison.finding for comparison in verdict.comparisons)
    return {finding: counts[finding] for finding in get_args(Finding) if counts[finding]}


def outcomes(verdicts: Sequence[Verdict]) -> dict[Outcome, int]:
    """How many verdicts have each outcome, likewise."""
    counts = Counter(verdict.outcome for verdict in verdicts)
    return {outcome: counts[outcome] for outcome in get_args(Outcome) if counts[outcome]}


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


def left_out(claim: JudgedClaim) -> dict[str, dict[str, list[str]]]:
    """What a claim would rest on and was not run: reason to data set to models."""
    found: dict[str, dict[str, list[str]]] = {}
    for request in claim.left_out:
        title = DATASETS[request.spec.dataset].title
        models = found.setdefault(request.left_out or "", {}).setdefault(title, [])
        if request.spec.model_label not in models:
            models.append(request.spec.model_label)
    return found


def span(numbers: Iterable[int], noun: str) -> str:
    """Numbers that may differ, with their noun: "50 epochs", "5 to 500 epochs"; empty if there are none."""
    found = sorted(set(numbers))
    if not found:
        return ""
    last = counted(found[-1], noun)
    return last if len(found) == 1 else f"{count(found[0])} to {last}"


def table_epochs(claim: JudgedClaim, table: Table) -> str:
    """After how many epochs the numbers of a table stand, but for what is computed."""
    names = {cell.measurement for row in table.rows for cell in row}
    measurements = [m for m in claim.measurements if m.name in names]
    return span((m.epochs for m in measurements if not m.exact), "epoch")


def run_epochs(runs: Iterable[Run]) -> str:
    """How many epochs runs were trained for, but for those of models that are computed."""
    return span((run.record.epochs for run in runs if not run.exact), "epoch")


def left_out_words(claims: Sequence[JudgedClaim]) -> str:
    """How many runs were left out of all claims, and why."""
    reasons = {r.spec.digest: r.left_out or "" for claim in claims for r in claim.left_out}
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


def found_words(verdict: Verdict) -> str:
    """What a rule found, in one sentence: why the verdict is open, or what it rests on."""
    if verdict.outcome == "inconclusive":
        return f"The verdict stays open: {'; '.join(open_reasons(verdict))}. {so_far(verdict)}"
    ordering, value = isinstance(verdict.rule, OrderingRule), isinstance(verdict.rule, ValueRule)
    if verdict.outcome == "reproduced":
        what = "every comparison is as published"
    elif verdict.outcome == "partly reproduced" and ordering:
        what = "every pair has the published order, but whether by more than the margin is open for some"
    elif verdict.outcome == "partly reproduced":
        what = (
            "the values have the published order and lie within the rule’s factor, but not all within its "
            "tolerance"
        )
    elif ordering:
        what = f"the claim is refuted: {refuted_words(verdict)}"
    elif value:
        what = "at least one loss has another value than the published one"
    else:
        what = "at least one ratio is larger than the rule’s"
    where = rests_on(verdict)
    return f"{where[0].upper()}{where[1:]}, {what}; the numbers {tendency_words(verdict)}."


def told(claim: JudgedClaim, verdict: Verdict) -> str:
    """A verdict as plain text, in the words of the page, for notebook and terminal."""
    lines = [f"{outcome_words(verdict).capitalize()}: {verdict.rule.statement}"]
    if verdict.outcome != "not attempted":
        lines.append(found_words(verdict))
    early = [look for look in verdict.early if look.finding != "not comparable"]
    for pair in pairs(claim, [*verdict.comparisons, *early]):
        comparison = pair.comparison
        text = f"{pair.names[0]} {_plain(pair.first)}"
        if pair.second is not None:
            text += f", {pair.names[1]} {_plain(pair.second)}"
            text = f"{pair.where}: {text}" if pair.where else text
        elif pair.first.published is not None:
            text += f", published {published(pair.first.published)}"
        if comparison.epochs:
            text += f" after {counted(comparison.epochs, 'epoch')}"
        if comparison.relative_difference is not None:
            text += f" ({change(comparison.relative_difference)}"
            text += f", {bounds(comparison.interval)})" if comparison.interval else ")"
        lines.append(f"- {text}: {(EARLY if comparison in early else FINDINGS)[comparison.finding]}")
    return "\n".join(lines)


def _plain(measurement: Measurement) -> str:
    return missing_words(measurement) if measurement.value is None else number(measurement.value)


_SAID: dict[Outcome, str] = {
    "reproduced": "is reproduced",
    "partly reproduced": "is reproduced in part",
    "not reproduced": "is not reproduced",
    "inconclusive": "cannot be decided yet",
    "not attempted": "was not run at this budget",
}


def claim_words(title: str, verdict: Verdict) -> str:
    """What became of a claim, as the beginning of a sentence: "That a larger latent ... is reproduced"."""
    return f"That {lowered(title)} {_SAID[verdict.outcome]}"


def lowered(text: str) -> str:
    """A text as it goes on within a sentence: its first letter small, unless it begins with an acronym."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def decisive_words(verdict: Verdict) -> str:
    """What the comparison that speaks most against a claim is to a verdict, to stand before it."""
    return "The weakest comparison" if "reproduced" in verdict.outcome.split()[0] else "Most against it"


def why(verdict: Verdict) -> str:
    """Why an answer is open, or what it rests on, in short."""
    if verdict.outcome == "not attempted":
        return ""
    rule = verdict.rule
    if verdict.outcome != "inconclusive" or isinstance(rule, StructuralRule):
        return rests_on(verdict)
    words = {
        "epochs": f"{count(verdict.epochs)} of {counted(rule.epochs[-1], 'epoch')}",
        "images": "a part of the images",
        "seeds": f"{count(verdict.seeds)} of {counted(rule.seeds, 'seed')}",
        "left out": "runs that are missing",
        "diverged": "a run without a loss",
        "no scatter": "nothing to test with",
        "overlap": "too much scatter",
    }
    return f"with {listed([words[reason] for reason in verdict.reasons])} the numbers {tendency_words(verdict)}"


def not_run_words(claim: JudgedClaim) -> str:
    """What of a claim was not run, in one sentence; empty if all was."""
    rules = sum(verdict.outcome == "not attempted" for verdict in claim.verdicts)
    if not claim.left_out:
        return ""
    judged = f", and {counted(rules, 'rule')} with them" if rules else ""
    return f"Not shown{judged}: {left_out_words([claim])}"


def commands_for(claim: JudgedClaim, budget: str) -> list[str]:
    """What runs the runs that a claim leaves out."""
    commands = []
    for reason in dict.fromkeys(request.left_out or "" for request in claim.left_out):
        if reason == NOT_YET:
            commands.append(f"gon plan --budget {budget} --train")
        elif named := re.fullmatch(r"not part of the budget \w+, but of (\w+).*", reason):
            commands.append(f"./run_all.sh --budget {named[1]}")
    return list(dict.fromkeys(commands))
