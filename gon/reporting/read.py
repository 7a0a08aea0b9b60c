"""Read the claim results and their records, judge them, and copy their files."""

import dataclasses
import json
import shutil
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from gon.catalogue import EVALUATIONS, EXPLANATIONS
from gon.claims.checks import check_result
from gon.claims.deviations import load_deviations
from gon.claims.executed import check_execution
from gon.claims.failures import FAILURE, read_failure
from gon.claims.judging import judge
from gon.claims.loading import Run, RunLoader
from gon.claims.results import ClaimResult, read_result
from gon.claims.study import Study, load_study
from gon.data.prepared import require_known
from gon.errors import GonError
from gon.files import read_json
from gon.reporting.cards import Card
from gon.reporting.checked import CHECKED
from gon.reporting.report import Report
from gon.reporting.section import Section


def collect_report(study: Study, results: Sequence[Path], notebooks: Iterable[Path]) -> Report:
    """Read the claims' folders and the records of the study, and let the rules judge.

    Parameters
    ----------
    study
        Budget, and claims with their rules and published values.
    results
        The claims' folders.
    notebooks
        Executed notebooks, named after their claims, or as in `gon.catalogue.EXPLANATIONS`.

    Raises
    ------
    GonError
        If a result cannot be read, names something that is not there, or rests on other records than those
        that the study asks for.
    """
    if not results:
        raise GonError("there is no claim result to report on")
    executed = {path.stem: path for path in notebooks}
    loader = RunLoader(study.budget)
    sections: dict[str, Section] = {}
    for folder in results:
        section = _section(study, loader, folder, executed.keys())
        if section.name in sections:
            raise GonError(f"{folder}: claim {section.name!r} stands in {sections[section.name].folder} too")
        sections[section.name] = section
    if unknown := sorted(executed.keys() - sections.keys() - EXPLANATIONS.keys()):
        raise GonError(
            f"notebook {unknown[0]!r} belongs to no claim; there are {', '.join(sorted(sections))}"
        )
    for name, path in executed.items():
        check_execution(path, sections[name].folder / "result.json" if name in sections else None)
    ordered = tuple(sections[claim.name] for claim in study.claims if claim.name in sections)
    return Report(
        study.budget,
        ordered,
        _cards(ordered),
        deviations=tuple(load_deviations()),
        explanations=tuple(name for name in EXPLANATIONS if name in executed),
    )


def _section(study: Study, loader: RunLoader, folder: Path, executed: Collection[str]) -> Section:
    if failure := read_failure(folder):
        params = study.claim(failure.claim)
        nothing = ClaimResult(claim=params.name, records=[], measurements=[], tables=[], figures=[])
        return Section(params, (), (), (), (), nothing, folder, has_notebook=False, failure=failure)
    result = read_result(folder)
    params = study.claim(result.claim)
    requests = params.available(study.budget)
    runs = loader.runs(requests)
    check_result(result, folder, params, runs)
    left_out = [request for request in requests if request.left_out is not None]
    judged = judge(params, study.budget, runs, left_out, result.measurements)
    return Section(**vars(judged), result=result, folder=folder, has_notebook=result.claim in executed)


def _cards(sections: Sequence[Section]) -> tuple[Card, ...]:
    """Every run once, in the order of the claims."""
    lengths: dict[str, dict[int, Run]] = {}
    users: dict[str, list[Section]] = {}
    data_of: dict[str, Run] = {}
    for section in sections:
        for run in section.runs:
            lengths.setdefault(run.spec.digest, {})[run.record.epochs] = run
            users.setdefault(run.spec.digest, []).append(section)
            # Refuse runs of one data set that saw different images.
            other = data_of.setdefault(run.spec.dataset, run)
            require_known(run.spec.dataset, run.record.data, Path(run.spec.digest))
            if other.record.data != run.record.data:
                raise GonError(
                    f"{run.store.record_path(run.spec, run.record.epochs)}: run {run.spec.digest} was "
                    f"trained on other data than run {other.spec.digest}, though both name {run.spec.dataset}"
                )
    cards = []
    for digest, used in users.items():
        *shorter, run = (run for _, run in sorted(lengths[digest].items()))
        cards.append(Card(run, tuple(used), tuple(shorter)))
        for made in (run, *shorter):
            for name in EVALUATIONS:
                made.evaluation(name)  # refused if it was altered, or is of another run
    _refuse_copies([card.run for card in cards])
    return tuple(cards)


def _refuse_copies(runs: Iterable[Run]) -> None:
    """Refuse a run under two names: no two trainings have the same loss at every step of an epoch."""
    seen: dict[bytes, Run] = {}
    for run in runs:
        if run.diverged:
            continue
        losses = run.step_losses[: run.spec.steps_per_epoch].tobytes()
        other = seen.setdefault(losses, run) if losses else run
        if other is not run:
            raise GonError(
                f"{run.store.record_path(run.spec, run.record.epochs)}: has the losses of run "
                f"{other.spec.digest} ({other.spec.label}) at every step of the first epoch, as no other "
                "training has them"
            )


def study_of_report(folder: Path) -> Study:
    """The study of a report, from the parameters and the records in its own folder."""
    path = folder / "data" / "study.json"
    chosen = read_json(path, "the choice of a budget")
    try:
        budget, overrides = chosen["budget"], chosen["overrides"]
    except (KeyError, TypeError) as error:
        raise GonError(f"{path}: cannot be read as the choice of a budget ({error!r})") from error
    if not isinstance(overrides, list) or not all(isinstance(text, str) for text in (budget, *overrides)):
        raise GonError(f"{path}: a text as `budget`, and a list of texts as `overrides`, are allowed")
    study = load_study(budget, overrides, folder / "params")
    update = {"store": str((folder / "data" / "runs").resolve()), "recorded": True}
    return dataclasses.replace(study, budget=study.budget.model_copy(update=update))


class ReportParts(NamedTuple):
    """What a report is made of."""

    results: Sequence[Path]
    """The claims' folders."""
    notebooks: Sequence[Path] = ()
    """Executed notebooks, named after their claims, or as in `gon.catalogue.EXPLANATIONS`."""
    workflow: Path | None = None
    """The graph of the workflow's rules as `snakemake --rulegraph` prints it."""
    checked: Path | None = None
    """What was trained on this machine to be compared, see `gon.reporting.checked`."""


def parts_of_report(folder: Path) -> ReportParts:
    """What a report was made of, in its folder."""
    graph, checked = folder / "data" / "workflow.dot", folder / "data" / CHECKED
    return ReportParts(
        sorted(path.parent for name in ("result.json", FAILURE) for path in folder.glob(f"data/*/{name}")),
        sorted(folder.glob("notebooks/*.ipynb")),
        graph if graph.exists() else None,
        checked if checked.exists() else None,
    )


def copy_data(report: Report, output: Path) -> None:
    """Copy every file that the report links to: one folder per claim, and one store of all runs.

    Content only: a report is for everyone, whatever the permissions of the build folder are.
    """
    for section in report.sections:
        for name in section.own_files:
            target = output / section.name / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(section.folder / name, target)
    for card in report.cards:
        folder = output / "runs" / card.spec.digest
        folder.mkdir(parents=True)
        for path in card.files.values():
            shutil.copyfile(path, folder / path.name)
    chosen: dict[str, object] = {"budget": report.budget.name, "overrides": report.budget.overrides}
    if report.published:
        chosen["published"] = True
    (output / "study.json").write_text(json.dumps(chosen, indent=1) + "\n", encoding="utf-8")
