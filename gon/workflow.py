"""One command for everything: hand a study to Snakemake, and say where the report is."""

import contextlib
import datetime
import fcntl
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from gon import cluster
from gon.catalogue import DATASETS, EXPLANATIONS
from gon.claims.failures import failures_of, is_partial, keep_failure, result_folder
from gon.claims.notebooks import check_parameters
from gon.claims.params import Request
from gon.claims.study import Study
from gon.data import prepared as data
from gon.data.acquire import ensure
from gon.errors import GonError, UsageError
from gon.files import PROJECT, make_folder, write_atomically
from gon.processes import own_temporary_folder, run_tree
from gon.reporting.checked import CHECKED, Checked, checked_words, read_checked


def run(
    study: Study,
    cores: int,
    device: str,
    snakemake_options: Sequence[str],
    *,
    check: bool = True,
    profile: str | None = None,
) -> int:
    """Run what is missing of a study, and write its report.

    Parameters
    ----------
    study
        Budget and claims.
    cores
        Number of single-thread trainings side by side.
    device
        What the trainings run on, "cpu" or "cuda"; on "cuda", `cores` of them share one GPU.
    snakemake_options
        Handed on to Snakemake as they are, but for those that delete what was made.
    check
        Whether to compare what is trained here with the reference records; where a budget's runs come from
        these, the first epoch of those that decide is trained for it.
    profile
        Which of `workflow/profiles/` says where trainings run; None for this machine.

    Returns
    -------
    int
        Exit status: 0, or 1 if a job failed.

    Raises
    ------
    UsageError
        If a value is not allowed; before anything is run.
    GonError
        If another command is at work in the project.
    """
    if deleting := [option for option in snakemake_options if option.startswith("--del")]:
        raise UsageError(
            f"{deleting[0]}: not handed to Snakemake: it would delete recorded runs, which take hours. "
            f"Remove by hand what is to be made anew, from {PROJECT / 'build'}"
        )
    with _alone() as lock:
        own_temporary_folder()
        if profile is not None and (jobs := cluster.cancel_left_over(profile)):
            print(f"cancelled what a killed engine had submitted: job {', '.join(jobs)}", flush=True)
        if profile is None and device != "cpu":  # torch is only loaded to ask for what is not always there
            from gon.runs.process import require_device

            require_device(device)
        return _run(study, _command(study, cores, device, check, profile), snakemake_options, lock)


def _run(study: Study, command: Sequence[str], snakemake_options: Sequence[str], lock: int) -> int:
    plan, store, budget = study.plan(), study.budget.run_store, study.budget
    for claim in study.claims:
        check_parameters(claim)
    for folder in (store.root, budget.build, PROJECT / budget.report):
        _require_writable(folder)
    if optional := study.optional_datasets():
        for name in optional:
            _try_to_get(name)
        plan = study.plan()  # with those that are there now
    changes = f", with {', '.join(budget.overrides)}" if budget.overrides else ""
    print(f"budget {budget.name}{changes}: {budget.description}")
    if budget.recorded:
        there = sum(budget.found(planned.spec, planned.epochs) is not None for planned in plan)
        runs = f"{there} runs as far as they are recorded; `gon plan --budget {budget.name}` shows the rest"
    else:
        present = sum(budget.holder(planned.spec, planned.epochs) is not None for planned in plan)
        runs = f"{len(plan)} runs of {budget.epochs} epoch(s), {present} of them present"
    print(runs, flush=True)
    page = PROJECT / budget.report / "index.html"
    before, started = _version(page), time.time()
    # Commands go into the log; of thousands of jobs they take seconds, and a dry run has no use for them.
    printing = [] if set(snakemake_options) & _DRY else ["--printshellcmds"]
    status = run_tree([*command, *printing, *snakemake_options], lock)
    if status == 1 and not {option.partition("=")[0] for option in snakemake_options} & _IN_PART:
        _report_the_rest(study, started, lock)
    # What goes to Snakemake may ask for other things than a report.
    if status == 0 and (not snakemake_options or _version(page) != before):
        print(f"page:  {page}\nPDF:   {page.with_name('report.pdf')}")
        if (checked := page.parent / "data" / CHECKED).exists():
            behind = [planned for planned in plan if budget.found(planned.spec, planned.epochs)]
            return _tell_check(read_checked(checked), behind)
    return 1 if status else 0


def _tell_check(checked: Checked, runs: Sequence[Request]) -> int:
    """Say what was compared with the records; returns the exit status, 1 if this machine disagrees."""
    if checked.runs:
        print(checked_words(checked, {run.spec.digest: run.spec.label for run in runs}))
    return 1 if checked.disagreeing else 0


_DRY = {"--dry-run", "--dryrun", "-n"}
"""Options of Snakemake by which nothing is made."""

_IN_PART = {"--until", "-U", "--omit-from", "-O"}
"""Options of Snakemake by which a report is not asked for."""


def _report_the_rest(study: Study, since: float, lock: int) -> None:
    """Make the report where something failed that it rests on, which the engine leaves undone.

    It shows a claim that failed as failed, and is without an explanation that did.
    """
    failures, budget = failures_of(study, since), study.budget
    failed = [failure.claim for failure in failures]
    folders = [result_folder(study, claim.name) for claim in study.claims if claim.name not in failed]
    executed = [budget.build / "notebooks" / f"{name}.ipynb" for name in EXPLANATIONS]
    without = failed + [path.stem for path in executed if not path.exists()]
    if not without or not all((folder / "result.json").exists() for folder in folders):
        return  # it is the report that failed, or the engine did before the claims
    executed += [budget.build / "notebooks" / f"{folder.name}.ipynb" for folder in folders]
    folders += [keep_failure(study, failure) for failure in failures]
    graph, output = budget.build / "workflow.dot", PROJECT / budget.report
    command = [sys.executable, "-m", "gon.cli", "report", *folders, "--budget", budget.name]
    command += [word for text in budget.overrides for word in ("--set", text)]
    command += ["--output", output, *(["--workflow", graph] if graph.exists() else [])]
    command += ["--notebooks", *(path for path in executed if path.exists())]
    if run_tree([str(word) for word in command], lock) == 0:
        print(f"page:  {output / 'index.html'}, where {' and '.join(without)} failed")


def _version(path: Path) -> int | None:
    """Tells a file from what lay there before; None if there is none."""
    return path.stat().st_mtime_ns if path.exists() else None


def _command(study: Study, cores: int, device: str, check: bool, profile: str | None) -> list[str]:
    """How Snakemake is started."""
    budget = study.budget
    command = [sys.executable, "-m", "gon.engine", "--snakefile", str(PROJECT / "workflow" / "Snakefile")]
    command += ["--directory", str(PROJECT), "--logger", "gon"]
    if profile is None:
        command += ["--cores", str(cores)]
    else:
        command += [*cluster.options(profile), "--local-cores", str(cores)]
    # What does not depend on a job that failed is made all the same.
    command.append("--keep-going")
    if is_partial(study):
        command += ["--forcerun", "report"]
    # The engine's own lock outlives a process that is killed; `_alone` holds one that does not.
    command += ["--rerun-incomplete", "--nolock"]
    # Neither a comment in the Snakefile nor a new environment may train anything again: what
    # determines a run is in its digest, and what a page depends on is among its rule's inputs.
    command += ["--rerun-triggers", "mtime", "input", "params"]
    overrides = json.dumps(budget.overrides)
    command += ["--config", f"budget={budget.name}", f"overrides={overrides}", f"device={device}"]
    command.append(f"check={check}")  # the engine reads True and False; "false" would be a text, and so true
    return command if profile is None else [*command, f"profile={profile}"]


@contextlib.contextmanager
def _alone() -> Iterator[int]:
    """Hold the project, so that one command works in it at a time. The lock goes with the processes.

    Raises
    ------
    GonError
        If another one is at work; says which, and since when.
    """
    path = PROJECT / "build" / ".lock"
    make_folder(path.parent)
    try:
        stream = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise GonError(f"{path}: cannot write the file ({error.strerror})") from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            process, since, host = (stream.read().splitlines() + ["", "", ""])[:3]
            if host != platform.node() or not process.isdecimal() or _lives(int(process)):
                raise GonError(
                    f"{PROJECT} is at work already: process {process} on {host}, since {since}. Let it "
                    f"end, or stop it: kill {process}"
                ) from None
            print(f"process {process} was killed; waiting until what it started has ended", flush=True)
            fcntl.flock(stream, fcntl.LOCK_EX)
        stream.truncate(0)
        stream.write(f"{os.getpid()}\n{datetime.datetime.now():%Y-%m-%d %H:%M:%S}\n{platform.node()}\n")
        stream.flush()
        yield stream.fileno()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another person's
        return True
    return True


def _try_to_get(name: str) -> None:
    """Get a data set that the study can do without; the report names what could not be had."""
    if data.absence(name) is None:
        return
    print(f"{DATASETS[name].title}: not prepared; trying to get it", flush=True)
    try:
        ensure(name)
    except GonError as error:
        print(f"{error}\n{DATASETS[name].title} is left out", flush=True)


def _require_writable(folder: Path) -> None:
    """Find out before the first training, not after the last, that a folder cannot be written to."""
    probe = folder / ".writable"
    write_atomically(probe, "")
    probe.unlink()
