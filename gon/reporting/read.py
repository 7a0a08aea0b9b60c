"""Read the claim results, check that they fit together, and copy their files."""

import math
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from gon.catalogue import EXPLANATIONS
from gon.claims.checks import check
from gon.claims.deviations import load_deviations
from gon.claims.results import (
    RunSummary,
    read_result,
)
from gon.errors import GonError
from gon.reporting.report import Claim, Report, Run, started
from gon.runs.chain import read_steps
from gon.spec import RunSpec


def collect_report(results: Sequence[Path], notebooks: Iterable[Path]) -> Report:
    """Read the claims' folders.

    Parameters
    ----------
    results
        The claims' folders.
    notebooks
        Executed notebooks, named after their claims, or as in `gon.catalogue.EXPLANATIONS`.

    Raises
    ------
    GonError
        If a result cannot be read, names something that is not there, or contradicts another one.
    """
    if not results:
        raise GonError("there is no claim result to report on")
    executed = {path.stem for path in notebooks}
    claims: dict[str, Claim] = {}
    for folder in results:
        result = read_result(folder)
        check(result, folder)
        if result.claim in claims:
            raise GonError(f"{folder}: claim {result.claim!r} stands in {claims[result.claim].folder} too")
        claims[result.claim] = Claim(result, folder, result.claim in executed)
    if unknown := sorted(executed - claims.keys() - EXPLANATIONS.keys()):
        raise GonError(f"notebook {unknown[0]!r} belongs to no claim; there are {', '.join(sorted(claims))}")
    ordered = tuple(sorted(claims.values(), key=lambda c: (c.result.order, c.result.claim)))
    _require_one_budget(ordered)
    return Report(
        ordered,
        _runs(ordered),
        deviations=tuple(load_deviations()),
        explanations=tuple(name for name in EXPLANATIONS if name in executed),
    )


def copy_data(report: Report, output: Path) -> None:
    """Copy every file that the report links to, one folder per claim."""
    for claim in report.claims:
        for path in claim.result.files():
            target = output / claim.result.claim / path
            target.parent.mkdir(parents=True, exist_ok=True)
            # Content only: a report is for everyone, whatever the build folder's permissions are.
            shutil.copyfile(claim.folder / path, target)


def _curve(path: Path, steps: int, points: int = 60) -> tuple[float, ...]:
    """Losses of every step averaged over at most so many blocks; those that are finite."""
    losses = pd.Series(read_steps(path)[:steps])
    length = max(1, -(-len(losses) // points))
    means = losses.groupby(losses.index // length).mean()
    return tuple(float(mean) for mean in means if math.isfinite(mean))


def _require_one_budget(claims: Sequence[Claim]) -> None:
    """Refuse to mix budgets: the report names one in its first lines."""
    first = claims[0]
    for claim in claims:
        budgets = [
            (b.name, b.epochs, b.seeds, b.uses_all_images) for b in (first.result.budget, claim.result.budget)
        ]
        if budgets[0] != budgets[1]:
            raise GonError(
                f"claim {claim.result.claim} stands at budget {budgets[1][0]} ({budgets[1][1]} epochs, "
                f"{budgets[1][2]} seeds), claim {first.result.claim} at {budgets[0][0]} ({budgets[0][1]} "
                f"epochs, {budgets[0][2]} seeds); "
                "a report has one budget: execute the notebooks again"
            )


def _require_same_data(first: dict[str, RunSummary], summary: RunSummary, claim: Claim) -> None:
    """Refuse runs of one data set that saw different images."""
    other = first.setdefault(str(summary.spec["dataset"]), summary)
    if other.data != summary.data:
        raise GonError(
            f"{claim.folder / summary.record}: run {summary.digest} was trained on other data than run "
            f"{other.digest}, though both name {summary.spec['dataset']}"
        )


def _runs(claims: Sequence[Claim]) -> tuple[Run, ...]:
    """Every run once, in the order of the claims."""
    users: dict[str, list[tuple[Claim, RunSummary]]] = {}
    for claim in claims:
        for summary in claim.result.runs:
            users.setdefault(summary.digest, []).append((claim, summary))
    data_of: dict[str, RunSummary] = {}
    runs = []
    for digest, uses in users.items():
        claim, summary = uses[0]
        _require_same_data(data_of, summary, claim)
        for other, again in uses[1:]:
            same = summary.model_dump(include={"record", "steps", "images", "evaluations"})
            if again.model_copy(update=same) != summary:
                raise GonError(
                    f"run {digest} ({summary.label}) has other numbers in claim {other.result.claim} than in "
                    f"{claim.result.claim}; execute both notebooks again"
                )
        images = None if summary.images is None else claim.data(summary.images)
        files = claim.data(summary.record), claim.data(summary.steps), images
        evaluations = {
            path.removesuffix(".json").rpartition(".")[2]: user.data(path)
            for user, use in uses
            for path in use.evaluations
        }
        started(summary)
        spec = RunSpec.from_mapping(summary.spec)
        losses = _curve(claim.folder / summary.steps, summary.epochs * spec.steps_per_epoch)
        runs.append(Run(summary, *files, evaluations, tuple(user for user, _ in uses), losses))
    return tuple(runs)
