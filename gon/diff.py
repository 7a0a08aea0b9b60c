"""Two reports side by side: what differs in their settings, numbers, verdicts and environments."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    """One of the two.

    Attributes
    ----------
    name
        As it was given.
    study
        Its budget and claims.
    claims
        What its claims found, by name.
    """

    name: str
    study: Study
    claims: dict[str, JudgedClaim]

    @property
    def runs(self) -> dict[str, Run]:
        """Its runs by their digests."""
        return {run.spec.digest: run for claim in self.claims.values() for run in claim.runs}


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
    return {
        "Settings": _settings(first, second),
        "Numbers": _per_claim(first, second, _numbers),
        "Verdicts": _per_claim(first, second, _verdicts),
        "Environment": _environment(first, second),
        "Runs": _runs(first, second),
    }


def _differing(values: Sequence[tuple[object, ...]]) -> list[Row]:
    """Rows for those of (what, first, second) whose sides differ."""

    def shown(value: object) -> str:
        return ABSENT if value is None or value == "" else str(value)

    return [Row(str(what), shown(a), shown(b)) for what, a, b in values if a != b]


def _settings(first: Side, second: Side) -> list[Row]:
    sides = first, second
    budgets = [side.study.budget for side in sides]
    rows = _differing(
        [
            ("budget", *(budget.name for budget in budgets)),
            ("epochs", *(budget.epochs for budget in budgets)),
            ("seeds", *(budget.seeds for budget in budgets)),
            ("all images", *("yes" if _uses_all_images(side) else "no" for side in sides)),
            ("changed by hand", *("; ".join(budget.overrides) for budget in budgets)),
        ]
    )
    for name in dict.fromkeys([*first.claims, *second.claims]):
        if name not in first.claims or name not in second.claims:
            rows.append(
                Row(f"claim {name}", *("present" if name in side.claims else ABSENT for side in sides))
            )
            continue
        a, b = (side.claims[name].params for side in sides)
        keys = dict.fromkeys([*a.parameters, *b.parameters])
        rows += _differing([(f"{name}.{key}", a.parameters.get(key), b.parameters.get(key)) for key in keys])
        for rule in dict.fromkeys(rule.name for params in (a, b) for rule in params.rules):
            versions = [
                next((words.terms(r) for r in params.rules if r.name == rule), None) for params in (a, b)
            ]
            rows += _differing([(f"{name}: rule {rule}", *versions)])
    return rows


def _uses_all_images(side: Side) -> bool:
    return all(run.spec.uses_all_images for run in side.runs.values())


def _per_claim(
    first: Side, second: Side, compare_claim: Callable[[JudgedClaim, JudgedClaim], list[Row]]
) -> list[Row]:
    shared = [name for name in first.claims if name in second.claims]
    return [
        dataclasses.replace(row, what=f"{name}: {row.what}")
        for name in shared
        for row in compare_claim(first.claims[name], second.claims[name])
    ]


def _numbers(first: JudgedClaim, second: JudgedClaim) -> list[Row]:
    ours = {m.name: m for m in first.measurements}
    theirs = {m.name: m for m in second.measurements}
    rows = []
    for name in dict.fromkeys([*ours, *theirs]):
        a, b = ours.get(name), theirs.get(name)
        if a is not None and b is not None and (a.value, a.interval, a.note) == (b.value, b.interval, b.note):
            continue
        known = a or b
        assert known is not None
        note = ""
        if a is not None and b is not None and a.value and b.value is not None:
            note = change(b.value / a.value - 1)
        rows.append(Row(f"{known.label}, {known.quantity}", _number(a), _number(b), note))
    return rows


def _number(measurement: Measurement | None) -> str:
    if measurement is None:
        return ABSENT
    if measurement.value is None:
        return measurement.note or ABSENT
    text = number(measurement.value)
    if measurement.interval is not None:
        low, high = measurement.interval
        text += f" [{number(low)}, {number(high)}]"
    return f"{text}, n = {measurement.seeds}" if measurement.seeds > 1 else text


def _verdicts(first: JudgedClaim, second: JudgedClaim) -> list[Row]:
    ours, theirs = ({v.rule.name: v for v in result.verdicts} for result in (first, second))
    rows = []
    for name in dict.fromkeys([*ours, *theirs]):
        shown = [words.in_short(side[name]) if name in side else None for side in (ours, theirs)]
        known = ours.get(name) or theirs[name]
        rows += _differing([(known.rule.statement, *shown)])
    return rows


def _environment(first: Side, second: Side) -> list[Row]:
    shared = {run.spec.dataset for run in first.runs.values()} & {
        run.spec.dataset for run in second.runs.values()
    }

    def facts(run: Run) -> dict[str, object]:
        session = run.record.sessions[-1]
        # Data that only one side uses show in the claims and runs that only one side has.
        data = run.record.data if run.spec.dataset in shared else {}
        return {
            **session.machine,
            **session.versions,
            "device": session.device,
            "threads": session.threads,
            "commit": session.commit,
            # The beginning is enough to tell two digests apart.
            **{f"{run.spec.dataset}: {name}": digest[:12] for name, digest in data.items()},
        }

    def every(side: Side) -> dict[str, str]:
        found: dict[str, set[str]] = {}
        for run in side.runs.values():
            for key, value in facts(run).items():
                found.setdefault(key, set()).add(str(value))
        return {key: ", ".join(sorted(values)) for key, values in found.items()}

    ours, theirs = every(first), every(second)
    keys = dict.fromkeys([*ours, *theirs])
    return _differing([(key, ours.get(key), theirs.get(key)) for key in keys])


def _runs(first: Side, second: Side) -> list[Row]:
    ours, theirs = first.runs, second.runs
    rows = [
        Row(
            run.spec.label,
            "present" if digest in ours else ABSENT,
            "present" if digest in theirs else ABSENT,
        )
        for digest, run in (ours | theirs).items()
        if (digest in ours) != (digest in theirs)
    ]
    for digest in ours.keys() & theirs.keys():
        # What a run gave, whenever and however fast it was trained.
        if ours[digest].record.trajectory != theirs[digest].record.trajectory:
            rows.append(Row(ours[digest].spec.label, _run(ours[digest]), _run(theirs[digest])))
    return sorted(rows, key=lambda row: row.what)


def _run(run: Run) -> str:
    outcome = run.diverged or f"validation loss {number(run.value('validation_loss'))}"
    return f"{counted(run.record.epochs, 'epoch')}, {outcome}"


def print_comparison(first: Side, second: Side) -> bool:
    """Print what differs, in tables; returns whether anything does."""
    console, found = Console(), compare(first, second)
    # Not in the heads of the columns, which are too narrow for the path of a folder.
    print(f"A: {first.name}\nB: {second.name}")
    for heading, rows in found.items():
        if not rows:
            continue
        table = Table("", "A", "B", title=heading, title_justify="left")
        if any(row.note for row in rows):
            table.add_column("change", justify="right")
        for row in rows:
            cells = [row.what, row.first, row.second, *([row.note] if len(table.columns) > 3 else [])]
            table.add_row(*cells)
        console.print(table, markup=False)
    unchanged = [heading.lower() for heading, rows in found.items() if not rows]
    differing = {heading: len(rows) for heading, rows in found.items() if rows}
    counts = "; ".join(f"{heading.lower()}: {counted(n, 'difference')}" for heading, n in differing.items())
    print(counts or "A and B do not differ")
    if counts and unchanged:
        print(f"no difference in {', '.join(unchanged)}")
    return bool(counts)
