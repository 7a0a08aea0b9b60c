"""How much was run, and what was left out, in words."""

import re
from collections.abc import Iterable, Sequence

from gon.claims.formats import count, counted, listed
from gon.claims.judging import JudgedClaim
from gon.claims.loading import Run
from gon.claims.params import NOT_YET
from gon.claims.results import Table


def span(numbers: Iterable[int], noun: str) -> str:
    """Numbers that may differ, with their noun: "50 epochs", "5 to 500 epochs"; empty if there are none."""
    found = sorted(set(numbers))
    if not found:
        return ""
    last = counted(found[-1], noun)
    return last if len(found) == 1 else f"{count(found[0])} to {last}"


def stands(claim: JudgedClaim, table: Table) -> str:
    """After how many epochs the numbers of a table stand, ours (but for what is computed) and published."""
    cells = [cell for row in table.rows for cell in row]
    names = {cell.measurement for cell in cells}
    ours = span((m.epochs for m in claim.measurements if m.name in names and not m.exact), "epoch")
    said = [f"Ours: after {ours}."] if ours else []
    if claim.params.published.epochs and any(cell.published is not None for cell in cells):
        said.append(f"Published: after {counted(claim.params.published.epochs, 'epoch')}.")
    return " ".join(said)


def after(runs: Iterable[Run]) -> str:
    """After how many epochs a figure stands."""
    epochs = run_epochs(runs)
    return f"After {epochs}." if epochs else ""


def run_epochs(runs: Iterable[Run]) -> str:
    """How many epochs runs were trained for, but for those of models that are computed."""
    return span((run.record.epochs for run in runs if not run.exact), "epoch")


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
