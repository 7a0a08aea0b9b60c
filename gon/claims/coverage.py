"""How much was run, and what was left out, in words."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from gon.catalogue import DATASETS
from gon.claims.formats import count, counted, listed
from gon.claims.judging import JudgedClaim
from gon.claims.loading import Run
from gon.claims.params import NOT_YET
from gon.claims.results import FigureFile, Table
from gon.data.prepared import altered
from gon.spec import RunSpec


def span(numbers: Iterable[int], noun: str) -> str:
    """Numbers that may differ, with their noun: "50 epochs", "5 to 500 epochs"; empty if there are none."""
    found = sorted(set(numbers))
    if not found:
        return ""
    last = counted(found[-1], noun)
    return last if len(found) == 1 else f"{count(found[0])} to {last}"


def stands(claim: JudgedClaim, table: Table) -> str:
    """After how many epochs a table's numbers stand, ours (but for what is computed) and published.

    Beside a mean stands its number of seeds; that nothing is a mean is said here.
    """
    cells = [cell for row in table.rows for cell in row]
    names = {cell.measurement for cell in cells}
    trained = [m for m in claim.measurements if m.name in names and not m.exact]
    ours = span((m.epochs for m in trained), "epoch")
    seeds = ", from one seed" if {m.seeds for m in trained} == {1} else ""
    said = [f"Ours: after {ours}{seeds}."] if ours else []
    if claim.params.published.epochs and any(cell.published is not None for cell in cells):
        said.append(f"Published: after {counted(claim.params.published.epochs, 'epoch')}.")
    return " ".join(said)


def after(figure: FigureFile) -> str:
    """After how many epochs a figure stands."""
    epochs = span(figure.epochs, "epoch")
    return f"After {epochs}." if epochs else ""


def run_epochs(runs: Iterable[Run]) -> str:
    """How many epochs runs were trained for, but for those of models that are computed."""
    return span((run.record.epochs for run in runs if not run.exact), "epoch")


def core_hours(runs: Iterable[Run]) -> float:
    """Time of training and validation on one core (or GPU); wall time where a record has no other."""
    epochs = [epoch for run in runs for epoch in run.record.history]
    validation = (
        epoch.validation_seconds if epoch.validation_cpu_seconds is None else epoch.validation_cpu_seconds
        for epoch in epochs
    )
    return (sum(epoch.compute_seconds for epoch in epochs) + sum(validation)) / 3600


def costs(claims: Sequence[JudgedClaim]) -> str:
    """What the runs cost: in all, for each claim, and for each verdict that is decided."""
    runs = {run.spec.digest: run for claim in claims for run in claim.runs}
    of_claims = [f"“{claim.params.title}” {core_hours(claim.runs):.1f}" for claim in claims if claim.runs]
    verdicts = [verdict.outcome for claim in claims for verdict in claim.verdicts]
    decided = sum(outcome not in ("inconclusive", "not attempted") for outcome in verdicts)
    total = core_hours(runs.values())
    each = f" That is {total / max(1, decided):.1f} for each of {counted(decided, 'decided verdict')}."
    return (
        f"They are {total:.1f} core-hours, with validation: {listed(of_claims)}, where runs that several "
        f"sections share count in each.{each if decided else ''} What they would take on a GPU has not been "
        "measured."
    )


def altered_data(runs: Iterable[Run]) -> list[str]:
    """Titles of the data sets whose images are not those that everybody prepares."""
    saw = {run.spec.dataset: run.record.data for run in runs}
    return [DATASETS[name].title for name, digests in saw.items() if altered(name, digests)]


def parameters(runs: Iterable[Run]) -> list[tuple[int, int]]:
    """Trained parameters of the GON on grey-scale images by latent size."""
    plain = ("gon", 1, RunSpec.width)
    return sorted(
        {
            (run.spec.latent_dim, run.record.parameters)
            for run in runs
            if (run.spec.model, DATASETS[run.spec.dataset].channels, run.spec.width) == plain
        }
    )


def other_code(runs: Sequence[Run], here: str) -> str:
    """How many runs were computed by other code than that in place, and whether it computes the same."""
    code = {run: {session.code for session in run.record.sessions} - {here} for run in runs}
    others = [run for run in runs if code[run]]
    if not others:
        return "Every run was computed by the code in place."
    versions = len(set().union(*code.values()))
    older = sum(run.spec.numerics != run.spec.entry.numerics for run in others)
    arithmetic = (
        f"{counted(older, 'run')} with another version of the arithmetic"
        if older
        else "all with its arithmetic"
    )
    return (
        f"{count(len(others))} of {counted(len(runs), 'run')} were computed by other code than that in place "
        f"({counted(versions, 'version')}), {arithmetic}."
    )


def others(runs: Sequence[Run]) -> str:
    """How many runs were trained elsewhere and added here; empty if none was."""
    origins = Counter(filter(None, (run.origin for run in runs)))
    told = [f"{counted(number, 'run')} from {origin}" for origin, number in origins.items()]
    return f"Not trained here: {listed(told)}." if told else ""


def not_run(claim: JudgedClaim) -> str:
    """What of a claim was not run, in one sentence; empty if all was."""
    if not claim.left_out:
        return ""
    rules = sum(verdict.outcome == "not attempted" for verdict in claim.verdicts)
    judged = f" {counted(rules, 'rule').capitalize()} with nothing to compare." if rules else ""
    return left_out_of_all([claim]) + judged


def commands_for(claim: JudgedClaim, budget: str) -> list[str]:
    """What runs the runs that a claim leaves out."""
    commands: dict[str, None] = {}
    for request in claim.left_out:
        if request.left_out == NOT_YET:
            commands[f"gon plan --budget {budget} --train"] = None
        elif named := re.fullmatch(r"not part of the budget \w+, but of (\w+).*", request.left_out or ""):
            commands[f"./run_all.sh --budget {named[1]}"] = None
    return list(commands)


def left_out_of_all(claims: Sequence[JudgedClaim]) -> str:
    """How many runs were left out of all claims, and why."""
    reasons = {r.spec.digest: r.left_out or "" for claim in claims for r in claim.left_out}.values()
    counts = {
        "of a larger budget": sum(reason.startswith("not part of the budget") for reason in reasons),
        "not trained yet": sum(reason == NOT_YET for reason in reasons),
    }
    counts["whose data could not be had"] = len(reasons) - sum(counts.values())
    return f"Planned runs left out: {listed([f'{count(n)} {why}' for why, n in counts.items() if n])}."
