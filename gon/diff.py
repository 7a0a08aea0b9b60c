"""Two reports side by side: what differs in their settings, numbers, verdicts and environments."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gon.claims.formats import change, counted, number
from gon.claims.results import ClaimResult, Measurement, RunSummary, Verdict, read_result
from gon.claims.study import load_study
from gon.errors import GonError, UsageError

ABSENT = "–"


@dataclass(frozen=True)
class Side:
    """One of the two.

    Attributes
    ----------
    name
        As it was given.
    claims
        Its results by claim.
    """

    name: str
    claims: dict[str, ClaimResult]

    @property
    def runs(self) -> dict[str, RunSummary]:
        """Its runs by their digests."""
        return {run.digest: run for result in self.claims.values() for run in result.runs}


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
    if not folder.is_dir():
        try:
            folder = load_study(name).budget.build / "claims"
        except UsageError as error:
            raise UsageError(f"{name}: neither a report's folder nor a budget ({error})") from error
    results = [read_result(path.parent) for path in sorted(folder.glob("*/result.json"))]
    if not results:
        raise GonError(f"{folder}: holds no claim result; run the budget first")
    return Side(name, {result.claim: result for result in results})


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
    budgets = [next(iter(side.claims.values())).budget for side in (first, second)]
    rows = _differing(
        [
            ("budget", *(budget.name for budget in budgets)),
            ("epochs", *(budget.epochs for budget in budgets)),
            ("seeds", *(budget.seeds for budget in budgets)),
            ("all images", *("yes" if budget.uses_all_images else "no" for budget in budgets)),
            ("changed by hand", *("; ".join(budget.overrides) for budget in budgets)),
        ]
    )
    for name in dict.fromkeys([*first.claims, *second.claims]):
        a, b = first.claims.get(name), second.claims.get(name)
        if a is None or b is None:
            rows.append(Row(f"claim {name}", "present" if a else ABSENT, "present" if b else ABSENT))
            continue
        keys = dict.fromkeys([*a.parameters, *b.parameters])
        rows += _differing([(f"{name}.{key}", a.parameters.get(key), b.parameters.get(key)) for key in keys])
        rules = {rule.name: rule for result in (a, b) for rule in (v.rule for v in result.verdicts)}
        for rule in rules:
            versions = [
                next((_rule(v) for v in result.verdicts if v.rule.name == rule), None) for result in (a, b)
            ]
            rows += _differing([(f"{name}: rule {rule}", *versions)])
    return rows


def _rule(verdict: Verdict) -> str:
    rule = verdict.rule
    if rule.kind == "structural":
        return f"version {rule.version}, at most {rule.at_most:g}"
    threshold = rule.margin if rule.kind == "ordering" else rule.tolerance
    *earlier, last = rule.epochs
    epochs = ", ".join([*map(str, earlier), counted(last, "epoch")])
    needed = f"{epochs}, {counted(rule.seeds, 'seed')}"
    return f"version {rule.version}, {100 * threshold:g}%, level {rule.alpha:g}, {needed}"


def _per_claim(
    first: Side, second: Side, compare_claim: Callable[[ClaimResult, ClaimResult], list[Row]]
) -> list[Row]:
    shared = [name for name in first.claims if name in second.claims]
    return [
        dataclasses.replace(row, what=f"{name}: {row.what}")
        for name in shared
        for row in compare_claim(first.claims[name], second.claims[name])
    ]


def _numbers(first: ClaimResult, second: ClaimResult) -> list[Row]:
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


def _verdicts(first: ClaimResult, second: ClaimResult) -> list[Row]:
    ours, theirs = ({v.rule.name: v for v in result.verdicts} for result in (first, second))
    rows = []
    for name in dict.fromkeys([*ours, *theirs]):
        shown = [_verdict(side.get(name)) for side in (ours, theirs)]
        known = ours.get(name) or theirs[name]
        rows += _differing([(known.rule.statement, *shown)])
    return rows


def _verdict(verdict: Verdict | None) -> str:
    if verdict is None:
        return ABSENT
    reasons = f" ({', '.join(verdict.reasons)})" if verdict.reasons else ""
    return f"{verdict.outcome}{reasons}; points: {verdict.tendency}"


def _environment(first: Side, second: Side) -> list[Row]:
    shared = {run.spec["dataset"] for run in first.runs.values()} & {
        run.spec["dataset"] for run in second.runs.values()
    }

    def every(side: Side, of: Callable[[RunSummary], dict[str, object]]) -> dict[str, str]:
        found: dict[str, set[str]] = {}
        for run in side.runs.values():
            for key, value in of(run).items():
                found.setdefault(key, set()).add(str(value))
        return {key: ", ".join(sorted(values)) for key, values in found.items()}

    def facts(run: RunSummary) -> dict[str, object]:
        # Data that only one side uses show in the claims and runs that only one side has.
        data = run.data if run.spec["dataset"] in shared else {}
        return {
            **run.machine,
            **run.versions,
            "device": run.device,
            "threads": run.threads,
            "commit": run.commit,
            # The beginning is enough to tell two digests apart.
            **{f"{run.spec['dataset']}: {name}": digest[:12] for name, digest in data.items()},
        }

    ours, theirs = every(first, facts), every(second, facts)
    keys = dict.fromkeys([*ours, *theirs])
    return _differing([(key, ours.get(key), theirs.get(key)) for key in keys])


def _runs(first: Side, second: Side) -> list[Row]:
    ours, theirs = first.runs, second.runs
    rows = [
        Row(run.label, "present" if digest in ours else ABSENT, "present" if digest in theirs else ABSENT)
        for digest, run in (ours | theirs).items()
        if (digest in ours) != (digest in theirs)
    ]
    for digest in ours.keys() & theirs.keys():
        # What a run gave, whenever and however fast it was trained.
        same = (ours[digest].epochs, ours[digest].train_loss, ours[digest].validation_loss)
        if same != (theirs[digest].epochs, theirs[digest].train_loss, theirs[digest].validation_loss):
            rows.append(Row(ours[digest].label, _run(ours[digest]), _run(theirs[digest])))
    return sorted(rows, key=lambda row: row.what)


def _run(run: RunSummary) -> str:
    outcome = run.diverged or f"validation loss {number(run.validation_loss)}"
    return f"{counted(run.epochs, 'epoch')}, {outcome}"


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
