"""Why a job runs: Snakemake's reason in a few words.

Snakemake hands its reason over as one text, `Reason.__str__` in its `jobs.py`; what is not known
here is passed on as it is.
"""

import ast
import os
import re
from collections.abc import Callable

from snakemake_logger_plugin_gon.state import TRAIN, Job
from snakemake_logger_plugin_gon.wording import some

NO_RECORD = "no record yet"

_MISSING = {"data": "not there yet", TRAIN: NO_RECORD, "notebook": "no result yet"}
_OTHER_FILES = "takes other files than the last time"
_PARAMS = re.compile(r"before: (?P<before>.*) now: (?P<now>.*?) *$", re.DOTALL)
_NOTHING = "<nothing exclusive>"
# A value that is shown may hold "; " itself, so that only a known beginning starts a new part.
_NEXT_PART = re.compile(
    "; (?=Forced execution|Incomplete output files|Missing output files|Updated input files"
    "|Input files updated by another job|Set of input files has changed|Code has changed"
    "|Params have changed|Software environment definition has changed)"
)
_LONGEST = 100


def explain(reason: str, rule: str, maker: Callable[[str], Job | None]) -> str:
    """Put Snakemake's reason in a few words.

    Parameters
    ----------
    reason
        Snakemake's text.
    rule
        Name of the job's rule.
    maker
        Finds the job that made a file in this execution.
    """
    parts = _NEXT_PART.split(reason)
    for part in parts:
        # An output that is not there is reason enough; what else has changed explains nothing more.
        if part.startswith("Missing output files: "):
            return _MISSING.get(rule, "not made yet")
    words = [words for part in parts if (words := _part(part, maker))]
    if len(words) > 1 and _OTHER_FILES in words:
        words.remove(_OTHER_FILES)  # The others say which.
    return "; ".join(words)


def _part(part: str, maker: Callable[[str], Job | None]) -> str:
    head, _, rest = part.partition(": ")
    files = rest.split(", ") if rest else []
    match head:
        case "Forced execution":
            return "asked for by hand"
        case "Incomplete output files":
            return "was interrupted the last time"
        case "Updated input files":
            # Snakemake leaves the list empty if another job made them all, and says so in another part.
            return f"changed: {some(sorted(map(_short, files)))}" if files else ""
        case "Input files updated by another job":
            return _news(files, maker)
        case "Set of input files has changed since last execution":
            return _OTHER_FILES
        case "Code has changed since last execution":
            return "its command in the Snakefile changed"
        case "Params have changed since last execution":
            return _parameters(rest)
        case "Software environment definition has changed since last execution":
            return "its software environment changed"
    return part


def _news(files: list[str], maker: Callable[[str], Job | None]) -> str:
    runs: set[int] = set()
    others: list[str] = []
    for file in sorted(files):
        job = maker(file)
        if job is None:
            others.append(_short(file))
        elif job.rule == TRAIN:
            runs.add(job.jobid)
        elif (name := f"{job.rule} {job.title}") not in others:
            others.append(name)
    if runs:
        others.insert(0, f"{len(runs)} run{'s' if len(runs) > 1 else ''}")
    return f"new: {some(others)}"


def _short(path: str) -> str:
    """Write a path as seen from the current folder, if it lies below it."""
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative


def _parameters(rest: str) -> str:
    match = _PARAMS.search(rest)
    if match is None:
        return "settings changed"
    said = [
        f"{name} {' '.join(values)}"
        for name, value in (("before", match["before"].strip()), ("now", match["now"].strip()))
        if value != _NOTHING and (values := _readable(value))
    ]
    change = ", ".join(said)
    return f"settings changed: {change}" if 0 < len(change) <= _LONGEST else "settings changed"


def _readable(listed: str) -> list[str]:
    """The listed values without those that are whole JSON documents."""
    try:
        values = ast.literal_eval(f"[{listed}]")
    except (SyntaxError, ValueError):
        return [listed]
    return [str(value) for value in values if not str(value).startswith("{")]
