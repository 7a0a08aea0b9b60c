"""Measure what a report costs as its evidence grows: `python benchmarks/growth.py`.

In a copy of the project it lays stores of runs that were never trained, sealed like real ones: the losses are
made up, digests and chains are not. Then it measures, each in processes of its own, the plan, a dry run, the
notebooks, the report and its archive; the reference plan, as if all of it were recorded, is one more case.
Writes `build/benchmarks/growth.json`, `growth.md` and `growth.svg`.
"""

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from gon.catalogue import EVALUATIONS, MILESTONES  # noqa: E402
from gon.claims import figures  # noqa: E402
from gon.claims.params import REFERENCE, Request  # noqa: E402
from gon.claims.study import load_study  # noqa: E402
from gon.data.prepared import data_dir  # noqa: E402
from gon.files import write_atomically  # noqa: E402
from gon.runs import provenance  # noqa: E402
from gon.runs.chain import Losses, packed_steps  # noqa: E402
from gon.runs.record import Epoch, RunRecord  # noqa: E402
from gon.runs.store import RunStore, read_evaluation, read_record  # noqa: E402
from gon.spec import RunSpec  # noqa: E402

COPIED = ("gon", "snakemake_logger_plugin_gon", "notebooks", "params", "templates", "workflow")
LARGEST = 100_000
"""Runs times epochs up to which everything is measured; beyond it the plan and the dry run are."""
RUNS, EPOCHS = (10, 100, 1000), (1, 50, 500)
PHASES = ("plan", "dry run", "notebooks", "report", "archive")
PACK = """
import datetime, pathlib, sys
import gon.cli
from gon.reporting.package import ARCHIVE, pack
folder = pathlib.Path(sys.argv[1])
(folder / ARCHIVE).unlink()
pack(folder, datetime.datetime.now(datetime.UTC))
"""
MIB = 2**20


class Evidence:
    """What runs are made up of: sessions, data and evaluations of the project's reference records."""

    def __init__(self) -> None:
        self.records: dict[str, RunRecord] = {}
        self.evaluations: dict[str, dict[str, float]] = {"fitting": {"1": 90.0, "200": 40.0}}
        self.images: dict[tuple[str, str], Any] = {}  # by data set and model
        self._losses: dict[int, Losses] = {}
        for path in sorted(REFERENCE.glob("*/epochs-5.json")):
            record = read_record(path, {})
            self.records.setdefault(record.spec.dataset, record)
            for name in EVALUATIONS:
                beside = path.with_suffix(f".{name}.json")
                if beside.exists():
                    self.evaluations.setdefault(name, read_evaluation(beside, record))
            of = record.spec.dataset, record.spec.model
            if of not in self.images and path.with_suffix(".images.json").exists():
                self.images[of] = RunStore(REFERENCE).load_images(record.spec, 5)

    def losses(self, spec: RunSpec, epochs: int) -> Losses:
        """A falling loss [steps] with the noise of batches, one of eight of a length."""
        steps, seed = epochs * spec.steps_per_epoch, int(spec.digest, 16) % 8
        if steps * 8 + seed not in self._losses:
            noise = np.random.default_rng(seed).normal(1 + seed / 100, 0.05, steps)
            losses = (noise * (10 + 200 / np.sqrt(np.arange(1, steps + 1)))).astype("<f4")
            self._losses[steps * 8 + seed] = losses
        return self._losses[steps * 8 + seed]

    def record(self, store: RunStore, planned: Request) -> None:
        """Lay a run as if it had been trained as far as it is planned, with images and evaluations.

        As a training does, it leaves a record at each of `MILESTONES` on the way.
        """
        spec, template = planned.spec, self.records[planned.spec.dataset]
        images = self.images.get((spec.dataset, spec.model), self.images[spec.dataset, "gon"])
        losses = self.losses(spec, planned.epochs).copy()
        losses[0] += int(spec.digest, 16) / 16**16  # no two trainings have the same losses
        history = list(_history(spec, losses.reshape(planned.epochs, -1).mean(axis=1, dtype=np.float64)))
        for epochs in sorted({*(m for m in MILESTONES if m < planned.epochs), planned.epochs}):
            record = RunRecord(
                spec=spec,
                epochs=epochs,
                parameters=template.parameters,
                data=template.data,
                history=history[:epochs],
                sessions=[dataclasses.replace(template.sessions[0], first_epoch=1, last_epoch=epochs)],
            )
            if not store.steps_path(record).exists():
                write_atomically(store.steps_path(record), packed_steps(losses))
            store.save_images(spec, epochs, images)
            record = store.save(record, losses[: epochs * spec.steps_per_epoch])
            for name in planned.evaluations:
                store.save_evaluation(record, name, self.evaluations[name])


def _history(spec: RunSpec, means: Sequence[float]) -> Iterator[Epoch]:
    for epoch, mean in enumerate(means, start=1):
        validated = not spec.entry.validated_at_milestones or epoch in MILESTONES
        yield Epoch(
            epoch=epoch,
            train_loss=float(mean),
            validation_loss=float(mean) if validated else None,
            train_seconds=15.0,
            validation_seconds=1.0,
            validation_loss_running=float(mean) if spec.entry.has_encoder else None,
            train_cpu_seconds=14.9,
            validation_cpu_seconds=1.0,
        )


def lay(root: Path, *, runs: int | None = None, epochs: int = 1) -> RunStore:
    """Copy the project to a folder, with a budget "growth", and lay its runs there.

    Parameters
    ----------
    root
        The folder.
    runs, epochs
        How many runs of what every budget trains, from as many seeds as that takes, and how long they are;
        without them the budget is that of the reference plan, which has its own.
    """
    for name in COPIED:
        shutil.copytree(PROJECT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("CITATION.cff", "LICENSE"):
        shutil.copyfile(PROJECT / name, root / name)
    file, seeds = root / "params" / "budgets.yaml", 1
    budgets = yaml.safe_load(file.read_text())
    while True:
        growth = {**budgets["reference"], "epochs": epochs, "seeds": seeds}
        file.write_text(yaml.safe_dump({**budgets, "growth": growth}))
        plan = load_study("growth" if runs else "reference", params=root / "params").plan()
        if runs is None or len(plan) >= runs:
            break
        seeds += 1
    evidence, store = Evidence(), RunStore(root / "runs" / growth["store"])
    # Seed by seed, and first what a notebook cannot do without; PCA, of one epoch, last.
    models = ("autoencoder", "variational_gon", "implicit_gon", "gon")
    plan.sort(key=lambda run: (run.spec.seed, [*models, run.spec.model].index(run.spec.model)))
    for planned in plan[:runs]:
        evidence.record(store, planned)
    return store


def measure(root: Path, *command: str) -> dict[str, float]:
    """Run Python with a command in the copy.

    Returns
    -------
    dict
        Seconds by the clock and of the processors, and peak memory in MiB: of the largest process, and of all
        together, pages that they share counted once.
    """
    environment = {key: value for key, value in os.environ.items() if key != "GON_RUNS_DIR"}
    environment |= {"PYTHONPATH": str(root), "GON_DATA_DIR": str(data_dir())}
    together = [0.0]
    with (root / "output.txt").open("w") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *command], cwd=root, env=environment, stdout=output, stderr=output
        )
        threading.Thread(target=_watch, args=(process.pid, together), daemon=True).start()
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command}: failed\n{(root / 'output.txt').read_text()}")
    return {
        "seconds": seconds,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "largest_mib": used.ru_maxrss / 1024,
        "together_mib": max(together[0], used.ru_maxrss / 1024),
    }


def _watch(pid: int, together: list[float]) -> None:
    """Keep the largest sum over a process and all below it, until it ends."""
    while psutil.pid_exists(pid):
        total = 0
        try:
            top = psutil.Process(pid)
            for process in (top, *top.children(recursive=True)):
                total += process.memory_full_info().pss
        except psutil.Error:
            pass  # one of them ended
        together[0] = max(together[0], total / MIB)
        time.sleep(0.2)


def size(folder: Path) -> float:
    """MiB of the files in a folder, or of a file."""
    files = [folder] if folder.is_file() else folder.rglob("*")
    return sum(path.stat().st_size for path in files if path.is_file()) / MIB


def case(*, runs: int | None = None, epochs: int = 1) -> dict[str, Any]:
    """Lay the runs of a case and measure everything on them, or what is cheap where they are many."""
    gon = ("-m", "gon.cli")
    budget = ("--budget", "growth" if runs else "reference")
    with tempfile.TemporaryDirectory(prefix="gon-growth-") as folder:
        root = Path(folder)
        store = lay(root, runs=runs, epochs=epochs)
        trained = [max(store.recorded(folder.name)) for folder in store.root.iterdir()]
        found: dict[str, Any] = {
            "case": f"{runs} × {epochs}" if runs else "reference",
            "runs": len(trained),
            "epochs": sum(trained),
            "store_mib": size(root / "runs"),
            "plan": measure(root, *gon, "plan", *budget),
            "dry run": measure(root, *gon, "run", *budget, "--no-check", "--", "--dry-run"),
        }
        if found["epochs"] <= LARGEST:
            report = root / "report"
            all_notebooks = ("--until", "notebook", "explanation", "graph")
            found["notebooks"] = measure(root, *gon, "run", *budget, "--no-check", "--", *all_notebooks)
            found["report"] = measure(root, *gon, "run", *budget, "--no-check")
            found["archive_mib"] = size(report / "report.zip")
            found["report_mib"] = size(report) - found["archive_mib"]
            found["page_mib"] = size(report / "index.html")
            found["archive"] = measure(root, "-c", PACK, str(report))
    print(json.dumps(found), flush=True)
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The results as Markdown: seconds by the clock, of the processors in brackets."""
    lines = [
        f"| runs × epochs | {' | '.join(PHASES)} | MiB, largest process | MiB, all together | store, MiB "
        "| report, MiB | archive, MiB | page, MiB |",
        "|---" * (len(PHASES) + 7) + "|",
    ]
    for row in rows:
        phases = [row.get(phase) for phase in PHASES]
        cells = [f"{p['seconds']:.1f} ({p['cpu_seconds']:.1f})" if p else "not measured" for p in phases]
        for key in ("largest_mib", "together_mib"):
            cells.append(f"{max(phase[key] for phase in phases if phase):.0f}")
        for key in ("store_mib", "report_mib", "archive_mib", "page_mib"):
            cells.append(f"{row[key]:.1f}" if key in row else "")
        lines.append(f"| {row['case']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw processor seconds, memory and sizes against all epochs of the runs."""
    rows = sorted((row for row in rows if "report" in row), key=lambda row: row["epochs"])
    epochs = [row["epochs"] for row in rows]
    with figures.style():
        figure, axes = figures.panels(3, height=2.2)
        for phase in ("notebooks", "report", "archive"):
            axes[0].plot(epochs, [row[phase]["cpu_seconds"] for row in rows], marker="o", label=phase)
            axes[1].plot(epochs, [row[phase]["largest_mib"] for row in rows], marker="o", label=phase)
        for key, label in (("report_mib", "report"), ("archive_mib", "archive"), ("page_mib", "page")):
            axes[2].plot(epochs, [row[key] for row in rows], marker="o", label=label)
        labels = ("CPU seconds", "largest process (MiB)", "size (MiB)")
        for axis, label in zip(axes, labels, strict=True):
            axis.set(xscale="log", yscale="log", xlabel="epochs of all runs", ylabel=label)
            axis.legend()
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure every case and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="ten runs of one epoch only")
    parser.add_argument("--output", type=Path, default=PROJECT / "build" / "benchmarks")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    cases = [(10, 1)] if options.small else [(runs, epochs) for runs in RUNS for epochs in EPOCHS]
    rows = [] if options.small else [case()]
    found: dict[str, Any] = {
        "machine": provenance.machine(),
        "commit": provenance.commit(),
        "load": os.getloadavg(),
    }
    found["cases"] = rows
    for runs, epochs in cases:
        rows.append(case(runs=runs, epochs=epochs))
        (options.output / "growth.json").write_text(json.dumps(found, indent=1) + "\n")
    (options.output / "growth.md").write_text(table(rows))
    draw(rows, options.output / "growth.svg")
    print(f"\n{table(rows)}\nwritten to {options.output}")


if __name__ == "__main__":
    main()
