"""What changed since the last report of a folder, beyond what seeds scatter."""

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic

from gon.claims import words
from gon.claims.formats import counted, number, spread
from gon.claims.results import Verdict
from gon.claims.rules import Rule, Strict
from gon.errors import GonError
from gon.files import canonical, read_json, sha256_of
from gon.reporting.report import Change, Report
from gon.reporting.section import Section

SUMMARY, EARLIER, LOOKS = "summary.json", "earlier.json", "looks.json"
"""What this report says in short, what the last other one said, and every verdict so far."""

Summary = dict[str, dict[str, dict[str, Any]]]
"""`numbers` and `verdicts`, each by its claim and name."""


def summary_of(report: Report) -> Summary:
    """The numbers and verdicts of a report."""
    numbers, verdicts = {}, {}
    for section in report.sections:
        for m in section.measurements:
            if m.value is not None:
                numbers[f"{section.name}/{m.name}"] = {
                    "label": f"{m.label}, {m.quantity}{_after(m.epochs)}",
                    "value": m.value,
                    "interval": list(m.interval) if m.interval else None,
                    "epochs": m.epochs,
                }
        for verdict in section.verdicts:
            verdicts[f"{section.name}/{verdict.rule.name}"] = {
                "label": verdict.rule.statement,
                "outcome": verdict.outcome,
                "version": _version(verdict.rule),
            }
    return {"numbers": numbers, "verdicts": verdicts}


def _after(epochs: int) -> str:
    return f" after {counted(epochs, 'epoch')}" if epochs else ""


def _version(rule: Rule) -> str:
    return f"version {rule.version} of {rule.date}"


class _Number(Strict):
    label: str
    value: float
    interval: tuple[float, float] | None
    epochs: int


class _Verdict(Strict):
    label: str
    outcome: str
    version: str


class _Summary(Strict):
    numbers: dict[str, _Number]
    verdicts: dict[str, _Verdict]


class _Look(Strict):
    outcome: str
    budget: str
    moment: str
    records: str


_SUMMARY, _LOOKS = pydantic.TypeAdapter(_Summary), pydantic.TypeAdapter(dict[str, list[_Look]])


def _checked(kind: pydantic.TypeAdapter[Any], path: Path, what: str) -> Any:
    """What an earlier report left, as it was written."""
    content = read_json(path, what)
    try:
        kind.validate_json(json.dumps(content))
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"])) or "the file"
        raise GonError(f"{path}: cannot be read as {what} ({key}: {problem['msg']})") from error
    return content


def read_summary(path: Path) -> Summary | None:
    """A summary that a report left; None if there is none.

    Raises
    ------
    GonError
        If it cannot be read; names the file.
    """
    if not path.exists():
        return None
    content: Summary = _checked(_SUMMARY, path, "the summary of a report")
    return content


def earlier_than(now: Summary, folder: Path) -> Summary | None:
    """The last summary that said something else than now, of a report's folder; None if there is none."""
    last = read_summary(folder / "data" / SUMMARY)
    return read_summary(folder / "data" / EARLIER) if last in (None, now) else last


def changes(before: Summary, now: Summary) -> list[Change]:
    """What differs: verdicts and their rules' versions, and numbers by more than seeds scatter.

    Numbers that one of the two does not have are counted only.
    """
    found = []
    for _, entry, other in _both(before, now, "verdicts"):
        old, new = (tuple(e[k] for k in ("outcome", "version")) if e else ("–", "") for e in (entry, other))
        if old != new:
            versions = [f" ({v})" if old[1] != new[1] and v else "" for v in (old[1], new[1])]
            found.append(Change((other or entry)["label"], old[0] + versions[0], new[0] + versions[1]))
    numbers = _both(before, now, "numbers")
    for key, entry, other in numbers:
        if entry and other and _apart(entry, other):
            found.append(Change(f"{key.partition('/')[0]}: {other['label']}", _number(entry), _number(other)))
    added, gone = (sum(entry[i] is None for entry in numbers) for i in (1, 2))
    if added:
        found.append(Change("Numbers that were not measured before", "–", str(added)))
    if gone:
        found.append(Change("Numbers that are not measured any more", str(gone), "–"))
    return found


def _both(before: Summary, now: Summary, kind: str) -> list[tuple[str, Any, Any]]:
    keys = dict.fromkeys([*now[kind], *before[kind]])
    return [(key, before[kind].get(key), now[kind].get(key)) for key in keys]


def _apart(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether two numbers differ by more than their intervals, or, without any, as they are printed."""
    spans = [e["interval"] or [e["value"], e["value"]] for e in (before, now)]
    if before["interval"] or now["interval"]:
        return bool(spans[0][1] < spans[1][0] or spans[1][1] < spans[0][0])
    return _number(before) != _number(now)


def _number(entry: Mapping[str, Any]) -> str:
    text = number(entry["value"])
    return f"{text} {spread(tuple(entry['interval']))}" if entry["interval"] else text


Looks = dict[str, list[dict[str, str]]]
"""By claim, rule and version: each verdict that rested on other records than the one before it."""


def looks_of(report: Report, folder: Path) -> Looks:
    """The verdicts of a report behind those of the reports before it.

    Each look at data is a chance of a false verdict; how many there were is part of a verdict.

    Parameters
    ----------
    report
        The report.
    folder
        Of the report before it.

    Raises
    ------
    GonError
        If what that one left cannot be read.
    """
    path = folder / "data" / LOOKS
    looks: Looks = _checked(_LOOKS, path, "the verdicts of earlier reports") if path.exists() else {}
    for section, verdict in report.verdicts:
        entries = looks.setdefault(look_key(section.name, verdict.rule), [])
        names = [run.record_name().sha256 for run in section.runs]
        now = {
            "outcome": verdict.outcome,
            "budget": report.budget.name,
            "moment": report.moment.isoformat(),
            "records": sha256_of(canonical(names)),
        }
        if verdict.outcome != "not attempted" and now not in entries[-1:]:
            entries.append(now)
    return looks


def standing(report: Report, section: Section, verdict: Verdict) -> str:
    """How old a rule is beside its runs, whether it is locked, and what was seen of it before."""
    rule, measurements = verdict.rule, {m.name: m for m in section.measurements}
    names = {name for pair in verdict.comparisons for name in (pair.first, pair.second) if name}
    digests = {digest for name in names & measurements.keys() for digest in measurements[name].runs}
    started = [run.record.sessions[0].started for run in section.runs if run.spec.digest in digests]
    earlier = report.looks.get(look_key(section.name, rule), [])[:-1]
    return words.standing(
        rule,
        datetime.datetime.fromisoformat(min(started)).date() if started else None,
        locked=(section.name, rule.name, rule.version) in report.locked,
        looks=[f"{look['outcome']} ({look['budget']}, {look['moment'][:10]})" for look in earlier],
    )


def look_key(claim: str, rule: Rule) -> str:
    """What looks are kept under."""
    return f"{claim}/{rule.name}/{rule.version}"
