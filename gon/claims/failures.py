"""Claims that could not be finished: which of a study, why, and how the report comes to know it."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pydantic

from gon.catalogue import EXPLANATIONS
from gon.claims.params import ClaimParams
from gon.claims.rules import Name, Strict
from gon.claims.study import Study
from gon.data import prepared as data
from gon.errors import GonError
from gon.files import PROJECT, read_bytes, write_atomically

FAILURE = "failure.json"
"""In a claim's folder, in place of a result."""

_CHARACTERS, _LINES, _LINE = 64 * 1024, 8, 300
"""So much of a log's end is read, and so many lines of it are kept, each up to so many characters."""


class Failure(Strict):
    """Why a claim could not be finished."""

    claim: Name
    error: str
    """In one sentence."""
    lines: list[str]
    """The end of the log."""
    again: str
    """The command that tries it again."""


def failures_of(study: Study, since: float) -> list[Failure]:
    """The claims of a study that failed.

    Parameters
    ----------
    study
        Budget and claims.
    since
        Unix time: a log counts that was written later.
    """
    again = shlex.join(["./run_all.sh", "--budget", study.budget.name, *_changes(study)])
    found = []
    for claim in study.claims:
        if _is_finished(study, claim):
            continue
        for what, log in _logs(study, claim):
            if log.exists() and log.stat().st_mtime >= since:
                error, lines = end_of_log(log)
                found.append(Failure(claim=claim.name, error=f"{what}: {error}", lines=lines, again=again))
                break
    return found


def is_partial(study: Study) -> bool:
    """Whether a study's report shows a failure, or lacks what it is to be made of.

    The engine compares the files that are there: what is missing would not make it do anything.
    """
    report, build = PROJECT / study.budget.report, study.budget.build
    if not (report / "index.html").exists():
        return False
    names = [*EXPLANATIONS, *(claim.name for claim in study.claims)]
    parts = [build / "notebooks" / f"{name}.ipynb" for name in names]
    parts += [result_folder(study, claim.name) / "result.json" for claim in study.claims]
    return any(report.glob(f"data/*/{FAILURE}")) or not all(part.exists() for part in parts)


def _changes(study: Study) -> list[str]:
    return [word for text in study.budget.overrides for word in ("--set", text)]


def _is_finished(study: Study, claim: ClaimParams) -> bool:
    """Whether a claim has a result, and all the records that it asks for; a failing job leaves none."""
    return result_folder(study, claim.name).joinpath("result.json").exists() and not _missing(study, claim)


def _missing(study: Study, claim: ClaimParams) -> list[tuple[str, str, Path]]:
    """The runs of a claim that have no record: label, data set and log of the training."""
    store, logs = study.budget.run_store, study.budget.build / "logs"
    return [
        (r.spec.label, r.spec.dataset, logs / f"train-{r.spec.digest}-{r.epochs}.log")
        for r in claim.available(study.budget)
        if r.left_out is None and not (r.store or store).has(r.spec, r.epochs)
    ]


def _logs(study: Study, claim: ClaimParams) -> Iterator[tuple[str, Path]]:
    """What may have failed of a claim, and its log, in the order in which it is made."""
    logs, missing = study.budget.build / "logs", _missing(study, claim)
    for dataset in dict.fromkeys(dataset for _, dataset, _ in missing):
        if data.absence(dataset) is not None:
            yield f"the data set {dataset} cannot be had", logs / f"data-{dataset}.log"
    for label, _, log in missing:
        yield f"the training of {label} failed", log
    yield "the notebook failed", logs / f"notebook-{claim.name}.log"


def end_of_log(log: Path) -> tuple[str, list[str]]:
    """What went wrong in one line, and the last lines of a log; without paths of this machine."""
    from rich.text import Text  # as wherever else a log is shown

    text = log.read_text(encoding="utf-8", errors="replace")[-_CHARACTERS:].replace(f"{PROJECT}/", "")
    lines = [line.rstrip() for line in Text.from_ansi(text).plain.splitlines() if line.strip(" -")]
    lines = [line for line in lines if not line.endswith("Traceback (most recent call last)")]
    said = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    if said:  # what a command says of its error, and what it says further
        error, lines = lines[said[-1]].removeprefix("error: "), lines[said[-1] + 1 :]
    else:
        error = lines[-1] if lines else "it was killed, and printed nothing"
    return error[:_LINE].rstrip(".:"), [line[:_LINE] for line in lines[-_LINES:]]


def is_failure(log: Path) -> bool:
    """Whether a log is that of a command that failed, and was not stopped or killed."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return re.search(r"^(error: |Traceback \(most recent call last\))", text, re.MULTILINE) is not None


def result_folder(study: Study, claim: str) -> Path:
    """Where the result of a claim lies."""
    return study.budget.build / "claims" / claim


def keep_failure(study: Study, failure: Failure) -> Path:
    """Write a failure where a report can be made of it; gives the folder."""
    folder = study.budget.build / "failed" / failure.claim
    write_atomically(folder / FAILURE, failure.model_dump_json(indent=1) + "\n")
    return folder


def read_failure(folder: Path) -> Failure | None:
    """The failure that stands in a claim's folder in place of a result; None if there is none.

    Raises
    ------
    GonError
        If it cannot be read; names the file and the key.
    """
    path = folder / FAILURE
    if not path.exists():
        return None
    content = read_bytes(path)
    try:
        return Failure.model_validate_json(content)
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise GonError(f"{path}: not the failure of a claim: {key}: {problem['msg']}") from error
