"""What is said of verdicts and rules: every sentence once, for page, print, notebook and terminal."""

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import get_args

from gon.claims.formats import (
    count,
    counted,
    date,
    level,
    listed,
    percent,
    spelled,
)
from gon.claims.pairing import by_distance
from gon.claims.quantities import QUANTITIES
from gon.claims.results import (
    REFUTING,
    Comparison,
    Finding,
    Measurement,
    Outcome,
    Reason,
    Tendency,
    Verdict,
)
from gon.claims.rules import OrderingRule, Rule, StructuralRule, ValueRule

Sentence = list[str | Measurement | Comparison]
"""Text with the numbers that stand in it: measured ones, and relative differences."""

_TENDENCIES: Mapping[Tendency, str] = {
    "as published": "point the published way",
    "lower, size open": "point the published way, by how much is open",
    "equal within the margin": "point to no difference beyond the margin",
    "against the published": "point against what is published",
    "too close to tell": "are too close to tell",
    "too early to tell": "are too early to tell",
    "not comparable": "allow no comparison yet",
    "mixed": "point in different directions",
}

_ANSWERS: Mapping[Outcome, str] = {
    "reproduced": "yes",
    "partly reproduced": "in part",
    "not reproduced": "no",
    "inconclusive": "not decided",
    "not attempted": "not run",
}

_SAID: Mapping[Outcome, str] = {
    "reproduced": "is reproduced",
    "partly reproduced": "is reproduced in part",
    "not reproduced": "is not reproduced",
    "inconclusive": "cannot be decided yet",
    "not attempted": "was not run at this budget",
}

WANTS: Mapping[Reason, str] = {
    "epochs": "training",
    "images": "images",
    "seeds": "seeds",
    "left out": "runs that were left out",
    "diverged": "losses of runs that diverged",
    "no scatter": "scatter between seeds",
    "overlap": "differences larger than their uncertainty",
}
"""What verdicts that stay open are open for want of."""


def _are(number: int) -> str:
    return f"{spelled(number)} {'is' if number == 1 else 'are'}"


def share(number: int, total: int, noun: str) -> str:
    """How many of all, such as "two of three pairs", "both pairs" or "the only pair"."""
    if total == 1:
        return f"the only {noun}"
    if number < total:
        return f"{spelled(number)} of {spelled(total)} {noun}s"
    return f"both {noun}s" if total == 2 else f"all {spelled(total)} {noun}s"


def shares(noun: str, counts: Mapping[str, int]) -> str:
    """How many of all are what: "Both pairs are equal", "Of three pairs, one is lower and two are equal"."""
    total = sum(counts.values())
    if len(counts) > 1:
        return f"Of {spelled(total)} {noun}s, {listed([f'{_are(n)} {what}' for what, n in counts.items()])}."
    every = {1: f"The only {noun} is", 2: f"Both {noun}s are"}.get(total, f"All {spelled(total)} {noun}s are")
    return f"{every} {''.join(counts)}."


def findings(verdict: Verdict) -> dict[str, int]:
    """How many comparisons have each finding, in a fixed order, without those that do not occur."""
    counts = Counter(comparison.finding for comparison in verdict.comparisons)
    return {finding: counts[finding] for finding in get_args(Finding) if counts[finding]}


def _epochs(numbers: Sequence[int]) -> str:
    return f"{listed([count(n) for n in numbers])} epoch{'' if list(numbers) == [1] else 's'}"


def terms(rule: Rule) -> str:
    """What a rule fixes, in short."""
    version = f"version {count(rule.version)} of {date(rule.date)}"
    if isinstance(rule, StructuralRule):
        return f"{version}; ratio of {rule.quantity} at most {rule.at_most:g}, exact"
    threshold, early = f"margin {limit(rule)}", ""
    if isinstance(rule, ValueRule):
        threshold = f"tolerance {limit(rule)}, in part within a factor of {rule.factor:g}"
        if rule.milestones:
            early = f", refuted early after {listed([count(n) for n in rule.milestones])}"
    return (
        f"{version}; {threshold}; level {level(1 - rule.alpha)}; {QUANTITIES[rule.quantity].title} after "
        f"{_epochs(rule.epochs)}{early}; seeds 0 to {rule.seeds - 1}"
    )


def standing(rule: Rule, oldest: datetime.date | None, *, locked: bool, looks: Sequence[str]) -> str:
    """How old a rule is beside its oldest run, whether it is locked, and what earlier reports said of it."""
    said = "in the ledger of rules" if locked else "not in the ledger of rules"
    if oldest is not None:
        order = "before" if rule.date < oldest else "on the day of" if rule.date == oldest else "after"
        said = f"{said}, fixed {order} its oldest run of {date(oldest)}"
    before = f"; earlier reports: {listed(list(looks))}" if looks else ""
    return f"{said}{before}"


def limit(rule: OrderingRule | ValueRule) -> str:
    """The margin or tolerance of a rule."""
    return percent(rule.margin if isinstance(rule, OrderingRule) else rule.tolerance)


def confirmed_if(rule: Rule) -> str:
    """What a rule calls reproduced, to follow "if"."""
    if isinstance(rule, StructuralRule):
        return f"every ratio is at most {rule.at_most:g}, counted exactly"
    if isinstance(rule, OrderingRule):
        what = f"every pair differs this way by more than {limit(rule)}"
    else:
        what = f"every loss lies within {limit(rule)} of its published value"
    return f"{what}, with {level(1 - rule.alpha)} confidence from {counted(rule.seeds, 'seed')}"


def refuted_if(rule: Rule) -> str:
    """What a rule calls not reproduced, to follow "if"."""
    if isinstance(rule, StructuralRule):
        return "a ratio is larger"
    if isinstance(rule, OrderingRule):
        return f"a pair is equal within {limit(rule)}, or the other way round, at that confidence"
    early = ", or below it long before the published number of epochs" if rule.milestones else ""
    return (
        f"a loss lies further from its published value than that{early}; *in part* confirmed if all still "
        f"have the published order, within a factor of {rule.factor:g}"
    )


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
    """Where the numbers point, as a sentence of its own."""
    if verdict.outcome != "inconclusive":
        return f"The numbers {tendency_words(verdict)}."
    single = verdict.seeds == 1 and not isinstance(verdict.rule, StructuralRule)
    return f"So far{', from a single seed,' if single else ''} the numbers {tendency_words(verdict)}."


def answer(verdict: Verdict) -> str:
    """The answer to a question whose answer is yes if the rule is reproduced."""
    return _ANSWERS[verdict.outcome]


def answered(verdict: Verdict) -> str:
    """What an answer rests on, or what it is open with, in short."""
    rule = verdict.rule
    if verdict.outcome == "not attempted":
        return ""
    if verdict.outcome != "inconclusive" or isinstance(rule, StructuralRule):
        return _rests_on(verdict)
    words: Mapping[Reason, str] = {
        "epochs": f"{count(verdict.epochs)} of {counted(rule.epochs[-1], 'epoch')}",
        "images": "a part of the images",
        "seeds": f"{count(verdict.seeds)} of {counted(rule.seeds, 'seed')}",
        "left out": "runs that are missing",
        "diverged": "a run without a loss",
        "no scatter": "nothing to test with",
        "overlap": "too much scatter",
    }
    return (
        f"with {listed([words[reason] for reason in verdict.reasons])} the numbers {tendency_words(verdict)}"
    )


def claim_words(title: str, verdict: Verdict, primary: Verdict) -> str:
    """What became of a claim, as the beginning of a sentence: "That a larger latent ... is reproduced".

    Where another rule answers than the primary one, it is said after how many epochs.
    """
    # A title's first letter is small within a sentence, unless it is that of an acronym.
    within = title if title[1:2].isupper() else title[:1].lower() + title[1:]
    said = _SAID[verdict.outcome]
    if verdict.reasons == ["overlap"]:  # all that the rule asks for is there
        said = f"is neither reproduced nor refuted by {counted(verdict.seeds, 'seed')}"
    return f"That {within} {said}{_instead(verdict, primary)}"


def _instead(verdict: Verdict, primary: Verdict) -> str:
    rule, published = verdict.rule, primary.rule
    if rule == published or isinstance(rule, StructuralRule) or isinstance(published, StructuralRule):
        return ""
    after = _epochs(_refuted_after(verdict) or rule.epochs)
    return f" after {after}, and open after {_epochs(published.epochs)}"


def still_open(verdict: Verdict, primary: Verdict) -> str:
    """Which rule answers in place of a claim's primary one, and why that is open; empty if it answers."""
    if verdict.rule == primary.rule:
        return ""
    return (
        f"This is by the secondary rule “{verdict.rule.statement.removesuffix('.')}”; by the primary one "
        f"the verdict stays open: {'; '.join(open_reasons(primary))}."
    )


def found_words(verdict: Verdict) -> str:
    """What a rule found, in one sentence: why the verdict is open, or what it rests on."""
    if verdict.outcome == "inconclusive":
        return f"The verdict stays open: {'; '.join(open_reasons(verdict))}. {so_far(verdict)}"
    where, what = _rests_on(verdict), _decided(verdict)
    if verdict.outcome == "not reproduced" and isinstance(verdict.rule, OrderingRule):
        what = f"the claim is refuted: {what}"
    return f"{where[0].upper()}{where[1:]}, {what}; the numbers {tendency_words(verdict)}."


def _decided(verdict: Verdict) -> str:
    """What decided a verdict."""
    rule = verdict.rule
    if verdict.outcome == "reproduced":
        return "every comparison is as published"
    if verdict.outcome == "partly reproduced":
        if isinstance(rule, OrderingRule):
            return "every pair has the published order, but whether by more than the margin is open for some"
        return (
            "the values have the published order and lie within the rule’s factor, but not all within its "
            "tolerance"
        )
    if isinstance(rule, ValueRule):
        return "at least one loss has another value than the published one"
    if isinstance(rule, StructuralRule):
        return "at least one ratio is larger than the rule’s"
    found, total = findings(verdict), len(verdict.comparisons)
    refutes: dict[Finding, str] = {
        "against the published": "it is the other way round",
        "equal within the margin": f"both sides are equal within {limit(rule)}",
    }
    return "; ".join(
        f"in {share(found[finding], total, 'comparison')} {text}"
        for finding, text in refutes.items()
        if finding in found
    )


def _rests_on(verdict: Verdict) -> str:
    """What a decided verdict rests on."""
    rule = verdict.rule
    if isinstance(rule, StructuralRule):
        return "by count, without training"
    after = _epochs(_refuted_after(verdict) or rule.epochs)
    return f"after {after}, with all images and {counted(verdict.seeds, 'seed')}"


def _refuted_after(verdict: Verdict) -> list[int]:
    """The epochs after which a claim is refuted; empty if it is not."""
    compared = [*verdict.comparisons, *verdict.early] if verdict.outcome == "not reproduced" else []
    return sorted({comparison.epochs for comparison in compared if comparison.finding in REFUTING})


def _open(verdict: Verdict) -> dict[Reason, tuple[str, str]]:
    """Of every reason that leaves a verdict open: what it is, and what would close it, if anything."""
    rule = verdict.rule
    left_out = ("some of what it compares was not run", "the runs that were left out")
    if isinstance(rule, StructuralRule):
        return {"left out": left_out}
    limits = "margin or zero" if isinstance(rule, OrderingRule) else "tolerance"
    return {
        "epochs": (
            f"the runs have {counted(verdict.epochs, 'epoch')}, and the rule compares after "
            f"{listed([count(epochs) for epochs in rule.epochs])}",
            f"{counted(rule.epochs[-1], 'epoch')} of training, by a budget that continues these runs",
        ),
        "images": ("the runs used a part of the images only", "a budget that uses all images"),
        "seeds": (
            f"there {'is' if verdict.seeds == 1 else 'are'} {counted(verdict.seeds, 'seed')} of the "
            f"{count(rule.seeds)} that the rule rests on",
            f"the rule’s {counted(rule.seeds, 'seed')}",
        ),
        "left out": left_out,
        "diverged": ("a run has no loss to compare", ""),
        "no scatter": ("something is the same from every seed, so that nothing can be tested", ""),
        "overlap": (f"some intervals reach across the {limits}", ""),
    }


def open_reasons(verdict: Verdict) -> list[str]:
    """Why a verdict is open."""
    known = _open(verdict)
    return [known[reason][0] for reason in verdict.reasons if reason in known]


def would_change(verdict: Verdict) -> Sentence:
    """What would change a verdict; more seeds than the rule names never do."""
    rule, compared = verdict.rule, by_distance(verdict.comparisons)
    if verdict.outcome == "inconclusive":
        known = _open(verdict)
        remedies = [known[reason][1] for reason in verdict.reasons if reason in known and known[reason][1]]
        return [f"{' and '.join(remedies) or _NOTHING}."]
    if isinstance(rule, StructuralRule):
        return ["nothing but another architecture, since the numbers follow from the settings."]
    edge = limit(rule)
    against = [c for c in compared if c.finding == "against the published"]
    equal = [c for c in compared if c.finding == "equal within the margin"]
    if isinstance(rule, ValueRule):
        if any(look.finding == "against the published" for look in verdict.early):
            return ["published values in another unit than ours, or a loss that rises with longer training."]
        if against:
            reach = f"; the interval of each would have to reach within {edge}."
            return ["the values outside the tolerance are off by up to ", against[-1], reach]
        return ["the largest difference is ", compared[-1], f"; the tolerance is {edge}."]
    if against:
        others = f", and those of the equal pairs beyond the margin of {edge}" if equal else ""
        reach = f"; its interval would have to reach below zero{others}."
        return ["the pair that contradicts it most differs by ", against[-1], reach]
    if equal:
        reach = f"; its interval would have to reach beyond the margin of {edge}."
        return ["of the pairs that are equal, the farthest apart differs by ", equal[-1], reach]
    if verdict.outcome == "reproduced":
        reach = f"; with an interval that reaches within {edge}, its size would be open."
    else:
        reach = f"; with every interval beyond {edge}, the rule would be met in full."
    return ["the closest pair differs by ", compared[0], reach]


_NOTHING = (
    "a new version of the rule only: the epochs and seeds of this one are fixed, and more seeds are shown "
    "but not judged"
)


def _for_want(verdicts: Sequence[Verdict]) -> str:
    """The outcome of verdicts that have the same one, and what they are open for want of."""
    reasons = {reason for verdict in verdicts for reason in verdict.reasons}
    why = " or of ".join(text for reason, text in WANTS.items() if reason in reasons)
    outcome = outcome_words(verdicts[0])
    return f"{outcome} (for want of {why})" if outcome == "inconclusive" else outcome


def in_short(verdict: Verdict) -> str:
    """A verdict in one line."""
    return f"{_for_want([verdict])}; the numbers {tendency_words(verdict)}"


def tally(verdicts: Sequence[Verdict]) -> str:
    """How many verdicts have which outcome, and what the open ones are open for want of."""
    ran = [verdict for verdict in verdicts if verdict.outcome != "not attempted"]
    if not verdicts:
        return "There is no verdict: the claims have no rules."
    if not ran:
        return "No rule has anything to compare at this budget."
    alike = {outcome: [v for v in ran if v.outcome == outcome] for outcome in get_args(Outcome)}
    text = shares("verdict", {_for_want(found): len(found) for found in alike.values() if found})
    if untried := len(verdicts) - len(ran):
        rules = "rule has" if untried == 1 else "rules have"
        text += f" {spelled(untried).capitalize()} further {rules} nothing to compare at this budget."
    return text
