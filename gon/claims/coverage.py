"""How much was run, and what was left out, in words."""

from collections.abc import Iterable, Sequence

from gon.catalogue import DATASETS
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


def scatter_words(seeds: int) -> str:
    """What a number of seeds per setting says of the numbers, to follow that number."""
    if seeds == 1:
        return ", so that nothing shows how much the numbers scatter and no rule on losses can decide"
    return ": numbers are means with ± half of their confidence interval"


def table_epochs(claim: JudgedClaim, table: Table) -> str:
    """After how many epochs the numbers of a table stand, but for what is computed."""
    names = {cell.measurement for row in table.rows for cell in row}
    return span((m.epochs for m in claim.measurements if m.name in names and not m.exact), "epoch")


def run_epochs(runs: Iterable[Run]) -> str:
    """How many epochs runs were trained for, but for those of models that are computed."""
    return span((run.record.epochs for run in runs if not run.exact), "epoch")


def left_out(claim: JudgedClaim) -> dict[str, str]:
    """What a claim would rest on and was not run, by the reason: on which data sets which models."""
    found: dict[str, dict[str, dict[str, None]]] = {}
    for request in claim.left_out:
        datasets = found.setdefault(request.left_out or "", {})
        datasets.setdefault(DATASETS[request.spec.dataset].title, {})[request.spec.model_label] = None
    return {
        reason: "; ".join(f"on {dataset} {listed(list(models))}" for dataset, models in datasets.items())
        for reason, datasets in found.items()
    }


def left_out_of_all(claims: Sequence[JudgedClaim]) -> str:
    """How many runs were left out of all claims, and why."""
    reasons = {r.spec.digest: r.left_out or "" for claim in claims for r in claim.left_out}.values()
    counts = {
        "of a larger budget": sum(reason.startswith("not part of the budget") for reason in reasons),
        "not trained yet": sum(reason == NOT_YET for reason in reasons),
    }
    counts["whose data could not be had"] = len(reasons) - sum(counts.values())
    return f"Planned runs left out: {listed([f'{count(n)} {why}' for why, n in counts.items() if n])}."
