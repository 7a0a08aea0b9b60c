"""Two reports side by side: what differs in their settings, numbers, verdicts and environments."""

from collections.abc import Set
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gon.claims import words
from gon.claims.formats import change, counted, number
from gon.claims.judging import JudgedClaim
from gon.claims.loading import Run
from gon.claims.results import Measurement
from gon.claims.study import Study, load_study
from gon.errors import GonError, UsageError
from gon.reporting.read import collect_report, study_of_report

ABSENT = "–"


@dataclass(frozen=True)
class Side:
    """One of the two."""

    name: str
    """As it was given."""
    study: Study
    claims: dict[str, JudgedClaim]
    """What its claims found, by name."""

    @property
    def runs(self) -> dict[str, Run]:
        """Its runs by their digests."""
        return {run.spec.digest: run for claim in self.claims.values() for run in claim.runs}


@dataclass(frozen=True)
class Fact:
    """One thing as it is on one side: what it is, and how it is shown."""

    what: str = field(compare=False)
    shown: str
    exact: object = None
    """What is compared beside what is shown, where that is rounded or shortened."""
    value: float | None = None
    """The number itself, where a relative change means something."""


@dataclass(frozen=True)
class Row:
    """One thing as it is on both sides."""

    what: str
    first: str
    second: str
    note: str = ""


def read_side(name: str) -> Side:
    """Read a report's folder, or what a budget has left.

    Parameters
    ----------
    name
        Folder of a report, or name of a budget.

    Raises
    ------
    UsageError
        If it is neither.
    GonError
        If there is no result in it, or one cannot be read; names the file.
    """
    folder = Path(name) / "data"
    if folder.is_dir():
        study = study_of_report(Path(name))
    else:
        try:
            study = load_study(name)
        except UsageError as error:
            raise UsageError(f"{name}: neither a report's folder nor a budget ({error})") from error
        folder = study.budget.build / "claims"
    results = [path.parent for path in sorted(folder.glob("*/result.json"))]
    if not results:
        raise GonError(f"{folder}: holds no claim result; run the budget first")
    report = collect_report(study, results, [])
    return Side(name, study, {section.name: section for section in report.sections})


def compare(first: Side, second: Side) -> dict[str, list[Row]]:
    """What differs between two sides: a list of rows under each heading; empty lists if nothing does."""
    # What only one has is said once, by its name, and not again by all that belongs to it.
    claims = first.claims.keys() & second.claims.keys()
    datasets = {run.spec.dataset for run in first.runs.values()}
    datasets &= {run.spec.dataset for run in second.runs.values()}
    found = {}
    for heading, facts in (
        ("Settings", lambda side: _settings(side, claims)),
        ("Numbers", lambda side: _numbers(side, claims)),
        ("Verdicts", lambda side: _verdicts(side, claims)),
        ("Environment", lambda side: _environment(side, datasets)),
        ("Runs", _runs),
    ):
        ours, theirs = facts(first), facts(second)
        found[heading] = [
            _row(ours.get(key), theirs.get(key))
            for key in dict.fromkeys([*ours, *theirs])
            if ours.get(key) != theirs.get(key)
        ]
    return found


def _row(a: Fact | None, b: Fact | None) -> Row:
    known = a or b
    assert known is not None
    first, second = (fact.shown if fact and fact.shown else ABSENT for fact in (a, b))
    if a is None or b is None or not a.value or b.value is None:
        return Row(known.what, first, second)
    return Row(known.what, first, second, change(b.value / a.value - 1))


def _settings(side: Side, claims: Set[str]) -> dict[str, Fact]:
    budget = side.study.budget
    facts = {
        "budget": budget.name,
        "epochs": budget.epochs,
        "seeds": budget.seeds,
        "all images": "yes" if all(run.spec.uses_all_images for run in side.runs.values()) else "no",
        "changed by hand": "; ".join(budget.overrides),
    }
    for name, claim in side.claims.items():
        if name in claims:
            facts |= {f"{name}.{key}": value for key, value in claim.params.parameters.items()}
            facts |= {f"{name}: rule {rule.name}": words.terms(rule) for rule in claim.params.rules}
        else:
            facts[f"claim {name}"] = "present"
    return {what: Fact(what, str(value)) for what, value in facts.items()}


def _numbers(side: Side, claims: Set[str]) -> dict[str, Fact]:
    return {
        f"{name}/{m.name}": Fact(
            f"{name}: {m.label}, {m.quantity}", _number(m), (m.value, m.interval, m.note), m.value
        )
        for name, claim in side.claims.items()
        if name in claims
        for m in claim.measurements
    }


def _number(measurement: Measurement) -> str:
    if measurement.value is None:
        return measurement.note or ABSENT
    text = number(measurement.value)
    if measurement.interval is not None:
        low, high = measurement.interval
        text += f" [{number(low)}, {number(high)}]"
    return f"{text}, n = {measurement.seeds}" if measurement.seeds > 1 else text


def _verdicts(side: Side, claims: Set[str]) -> dict[str, Fact]:
    facts = {}
    for name, claim in side.claims.items():
        for verdict in claim.verdicts if name in claims else ():
            shown = words.in_short(verdict)
            facts[f"{name}/{verdict.rule.name}"] = Fact(f"{name}: {verdict.rule.statement}", shown)
    return facts


def _environment(side: Side, datasets: Set[str]) -> dict[str, Fact]:
    found: dict[str, set[str]] = {}
    for run in side.runs.values():
        session, dataset = run.record.sessions[-1], run.spec.dataset
        # The beginning is enough to tell two digests apart.
        digests = {f"{dataset}: {name}": digest[:12] for name, digest in run.record.data.items()}
        facts = {
            **session.machine,
            **session.versions,
            "device": session.device,
            "threads": session.threads,
            "commit": session.commit,
            **(digests if dataset in datasets else {}),
        }
        for key, value in facts.items():
            found.setdefault(key, set()).add(str(value))
    return {key: Fact(key, ", ".join(sorted(values))) for key, values in found.items()}


def _runs(side: Side) -> dict[str, Fact]:
    """What each run gave, whenever and however fast it was trained."""
    facts = {}
    for digest, run in sorted(side.runs.items(), key=lambda entry: entry[1].spec.label):
        outcome = run.diverged or f"validation loss {number(run.record.loss('validation_loss'))}"
        shown = f"{counted(run.record.epochs, 'epoch')}, {outcome}"
        facts[digest] = Fact(run.spec.label, shown, run.record.trajectory)
    return facts


def print_comparison(first: Side, second: Side) -> bool:
    """Print what differs, in tables; returns whether anything does."""
    console, found = Console(), compare(first, second)
    # Not in the heads of the columns, which are too narrow for the path of a folder.
    print(f"A: {first.name}\nB: {second.name}")
    differing = {heading: rows for heading, rows in found.items() if rows}
    for heading, rows in differing.items():
        table = Table("", "A", "B", title=heading, title_justify="left")
        noted = any(row.note for row in rows)
        if noted:
            table.add_column("change", justify="right")
        for row in rows:
            table.add_row(row.what, row.first, row.second, *([row.note] if noted else []))
        console.print(table, markup=False)
    counts = [f"{heading.lower()}: {counted(len(rows), 'difference')}" for heading, rows in differing.items()]
    print("; ".join(counts) or "A and B do not differ")
    unchanged = [heading.lower() for heading in found if heading not in differing]
    if differing and unchanged:
        print(f"no difference in {', '.join(unchanged)}")
    return bool(differing)
