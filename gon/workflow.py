"""One command for everything: hand a study to Snakemake, and say where the report is."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from gon.catalogue import DATASETS
from gon.claims.execution import check_parameters
from gon.claims.study import Study
from gon.data import prepared as data
from gon.data.acquire import ensure
from gon.errors import GonError
from gon.files import PROJECT, write_atomically


def run(study: Study, cores: int, device: str, snakemake_options: Sequence[str]) -> int:
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
        Handed on to Snakemake as they are.

    Returns
    -------
    int
        Exit status: 0, or 1 if a job failed.

    Raises
    ------
    UsageError
        If a value is not allowed; before anything is run.
    """
    if device != "cpu":  # torch is only loaded to ask for what is not always there
        from gon.runs.process import require_device

        require_device(device)
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
        present = sum(store.has(planned.spec, planned.epochs) for planned in plan)
        runs = f"{len(plan)} runs of {budget.epochs} epoch(s), {present} of them present"
    print(runs, flush=True)
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(PROJECT / "workflow" / "Snakefile")]
    command += ["--directory", str(PROJECT), "--cores", str(cores), "--logger", "gon"]
    command += ["--rerun-incomplete", "--printshellcmds"]
    # Neither a comment in the Snakefile nor a new environment may train anything again: what
    # determines a run is in its digest, and what a page depends on is among its rule's inputs.
    command += ["--rerun-triggers", "mtime", "input", "params"]
    overrides = json.dumps(budget.overrides)
    command += ["--config", f"budget={budget.name}", f"overrides={overrides}", f"device={device}"]
    # One thread per process: two such trainings do more than one of two threads.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    process = subprocess.Popen([*command, *snakemake_options], env=environment)
    # A Ctrl-C reaches Snakemake too; wait until its jobs have stopped.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    status = process.wait()
    if status == 0 and not {"-n", "--dry-run", "--dryrun"} & set(snakemake_options):
        report = PROJECT / budget.report
        print(f"page:  {report / 'index.html'}\nPDF:   {report / 'report.pdf'}")
    return 1 if status else 0


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
