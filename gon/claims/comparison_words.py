"""What is said of the comparisons of a verdict; `gon.claims.words` says what the verdict is."""

from collections.abc import Mapping

from gon.claims.formats import bounds, change, count, counted, number, published
from gon.claims.judging import JudgedClaim
from gon.claims.pairing import by_distance, decisive, pairs
from gon.claims.results import Finding, Measurement, Verdict
from gon.claims.rules import StructuralRule, ValueRule
from gon.claims.words import Sentence, findings, found_words, limit, outcome_words, share, shares

EARLY: Mapping[Finding, str] = {
    "against the published": "already below the published",
    "not comparable": "says nothing so early",
}
"""What is said of a loss at a milestone; of other comparisons, their finding is said as it is."""

_VALUES: Mapping[str, str] = {
    "as published": "as published",
    "against the published": "of another size",
    "too close to tell": "too close to tell",
}


def summed_up(claim: JudgedClaim, verdict: Verdict) -> list[Sentence]:
    """What the comparisons of a verdict give together."""
    if isinstance(verdict.rule, ValueRule):
        return _values(claim, verdict, verdict.rule)
    if len(verdict.comparisons) == 1 or not any(c.interval for c in verdict.comparisons):
        return []
    return [[shares("pair", findings(verdict))]]


def _values(claim: JudgedClaim, verdict: Verdict, rule: ValueRule) -> list[Sentence]:
    found: list[Sentence] = []
    counts = {_VALUES[f]: n for f, n in findings(verdict).items() if f in _VALUES}
    if counts:
        said = shares("value", counts)
        found.append([f"Tolerance {limit(rule)}: {said[0].lower()}{said[1:]}"])
        for pair in pairs(claim, by_distance(verdict.comparisons)[-1:]):
            found[0] += [" The largest difference, ", pair.comparison, f", is that of {pair.first.label}: "]
            found[0] += [pair.first, f" here, {published(pair.first.published)} as published."]
    else:
        ours = f"ours stand after {counted(verdict.epochs, 'epoch')}, the published ones after "
        why = "and a falling loss means the same only after the same training"
        text = f"Our values are not compared with the published ones: {ours}{count(rule.epochs[-1])}, {why}."
        found.append([text])
    for pair in pairs(claim, [look for look in verdict.early if look.finding == "against the published"]):
        first = f"{pair.first.label}, after {counted(pair.comparison.epochs, 'epoch')} already: "
        last = f"), below the published {published(pair.first.published)} of a longer training."
        found.append([first, pair.first, " (", pair.comparison, last])
    if verdict.order:
        ordered = sum(comparison.finding == "as published" for comparison in verdict.order)
        where = share(ordered, len(verdict.order), "pair") if ordered else "no pair"
        found.append([f"The published order holds here, by a test, in {where}."])
    for pair in pairs(claim, verdict.comparisons):
        if pair.first.value is None:
            found.append([f"{pair.first.label} has no value: {pair.first.note}."])
    return found


def told(claim: JudgedClaim, verdict: Verdict) -> str:
    """A verdict as plain text, in the words of the page, for notebook and terminal."""
    lines = [f"{outcome_words(verdict).capitalize()}: {verdict.rule.statement}"]
    if verdict.outcome != "not attempted":
        lines.append(found_words(verdict))
    early = [look for look in verdict.early if look.finding != "not comparable"]
    for pair in pairs(claim, [*verdict.comparisons, *early]):
        comparison = pair.comparison
        text = f"{pair.first_name} {_plain(pair.first)}"
        if pair.second is not None:
            text += f", {pair.names[1]} {_plain(pair.second)}"
        elif pair.first.published is not None:
            text += f", published {published(pair.first.published)}"
        if comparison.epochs:
            text += f" after {counted(comparison.epochs, 'epoch')}"
        if comparison.relative_difference is not None:
            text += f" ({change(comparison.relative_difference)}"
            text += f", {bounds(comparison.interval)})" if comparison.interval else ")"
        lines.append(f"- {text}: {EARLY[comparison.finding] if comparison in early else comparison.finding}")
    return "\n".join(lines)


def _plain(measurement: Measurement) -> str:
    return number(measurement.value) if measurement.value is not None else measurement.note or "–"


def decisive_words(claim: JudgedClaim, verdict: Verdict) -> Sentence:
    """The comparison that speaks most against a claim, with its interval; empty if there is none."""
    found = decisive(verdict)
    if found is None:
        return []
    (pair,) = pairs(claim, [found])
    rule = verdict.rule
    several = not isinstance(rule, StructuralRule) and len(rule.epochs) > 1
    after = f"After {counted(found.epochs, 'epoch')}, " if several else ""
    sentence: Sentence = [f"{after}{pair.first_name}{' ' if pair.second else ': '}", pair.first]
    if pair.second is not None:
        sentence += [f", {pair.names[1]} ", pair.second]
    elif pair.first.published is not None:
        sentence += [f" here, {published(pair.first.published)} published"]
    if found.relative_difference is not None:
        sentence += [", ", found]
    if found.interval is not None:
        sentence += [f" ({bounds(found.interval)})"]
    return sentence


def beside_words(claim: JudgedClaim, first: Verdict, answer: Verdict) -> Sentence:
    """What seeds that reached the length of a claim's first rule say, where another rule answers.

    Empty if that rule answers itself, or no seed reached its length.
    """
    rule = first.rule
    if first.rule == answer.rule or isinstance(rule, StructuralRule):
        return []
    there = [c for c in first.comparisons if c.epochs == rule.epochs[-1]]
    said = decisive_words(claim, first.model_copy(update={"comparisons": there, "early": []}))
    if not said:
        return []
    seeds = f"{count(min(c.seeds for c in there))} of {counted(rule.seeds, 'seed')}"
    return [f"After {counted(rule.epochs[-1], 'epoch')}, with {seeds}: ", *said]
