"""The runs that a claim rests on: loaded, and trained or evaluated where they are missing."""

import concurrent.futures
import dataclasses
import functools
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tqdm.auto import tqdm

from gon.claims.params import Budget, Request
from gon.claims.results import RecordName
from gon.errors import GonError
from gon.files import PROJECT, sha256_of_file
from gon.processes import child_environment
from gon.runs.chain import Losses
from gon.runs.origin import read_origin
from gon.runs.progress import read_progress
from gon.runs.provenance import available_cores
from gon.runs.record import RunRecord
from gon.runs.store import Image, RunStore, read_evaluation
from gon.spec import RunSpec


@dataclass(frozen=True, eq=False)
class Run:
    """One run that a claim rests on.

    Each is loaded once, see `RunLoader`, and is equal to itself only: what was averaged over its steps is
    kept by run, and a comparison of two would go through their histories.

    Attributes
    ----------
    spec
        What was run.
    record
        What it gave.
    step_losses
        Training loss of every step, float32 [steps], summed squared error per image of the batch.
    store
        Where it lies.
    budget_epochs
        Epochs that the budget gives a run.
    """

    spec: RunSpec
    record: RunRecord
    step_losses: Losses
    store: RunStore
    budget_epochs: int

    @property
    def epochs(self) -> int:
        """Epochs that a number of it stands for: a model computed exactly is the same at any budget."""
        return max(self.budget_epochs, self.record.epochs) if self.exact else self.record.epochs

    def images(self) -> dict[str, list[Image]]:
        """Images that the model made, by kind; none if it diverged. See `gon.science.images.make_images`."""
        return self.store.load_images(self.spec, self.record.epochs)

    def evaluation(self, name: str) -> dict[str, float]:
        """Losses by name of an evaluation, a key of `gon.catalogue.EVALUATIONS`; none if it was not made."""
        path = self.store.evaluation_path(self.spec, self.record.epochs, name)
        return read_evaluation(path, self.record) if path.exists() else {}

    @property
    def origin(self) -> str | None:
        """Where its record came from, if it was not trained here."""
        record = self.store.record_path(self.spec, self.record.epochs)
        return read_origin(record.parent).get(record.name)

    @functools.cached_property
    def setting(self) -> RunSpec:
        """What it has in common with runs of other seeds."""
        return dataclasses.replace(self.spec, seed=RunSpec.seed)

    def record_name(self) -> RecordName:
        """How a claim result names its record."""
        path = self.store.record_path(self.spec, self.record.epochs)
        return RecordName(run=self.spec.digest, epochs=self.record.epochs, sha256=sha256_of_file(path))

    @property
    def exact(self) -> bool:
        """Whether it is computed, and so the same from every seed."""
        return self.spec.entry.exact

    @property
    def diverged(self) -> str | None:
        """Where the loss stopped being finite, in words; None if it did not."""
        return self.record.divergence


class RunLoader:
    """Loads the runs that claims ask for at a budget, each record once.

    Parameters
    ----------
    budget
        The budget.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._loaded: dict[tuple[RunSpec, int], Run] = {}

    def runs(self, requests: Sequence[Request]) -> list[Run]:
        """The recorded runs of those requests that are not left out.

        Raises
        ------
        GonError
            If a record is missing or damaged.
        """
        return [self._run(request) for request in requests if request.left_out is None]

    def _run(self, request: Request) -> Run:
        spec, epochs = request.spec, request.epochs
        if (spec, epochs) not in self._loaded:
            store = request.store or self.budget.run_store
            self._loaded[spec, epochs] = Run(
                spec, *store.load_with_steps(spec, epochs), store, self.budget.epochs
            )
        return self._loaded[spec, epochs]


def _gon(what: str, *command: str) -> None:
    """Run a command of this project in a process of its own."""
    # From the root, so that the package is found in a kernel that started elsewhere.
    done = subprocess.run(
        [sys.executable, "-m", "gon.cli", *command],
        cwd=PROJECT,
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise GonError(f"{what} failed: {done.stderr.strip() or done.stdout.strip()}")


def evaluate_run(run: Request, evaluation: str, store: RunStore) -> None:
    """Make a further evaluation of a recorded run."""
    options = ["--epochs", str(run.epochs), "--store", str(store.root), "--evaluation", evaluation]
    _gon(f"evaluating {run.spec.label}", "evaluate", *run.spec.arguments(), *options)


def train_runs(runs: Sequence[Request], store: RunStore) -> None:
    """Train missing runs side by side, one process of one thread per core, under one progress bar."""

    def train(run: Request) -> None:
        options = ["--epochs", str(run.epochs), "--store", str(store.root)]
        _gon(f"training {run.spec.label}", "train", *run.spec.arguments(), *options)

    steps_of = {run: run.spec.steps_per_epoch * run.epochs for run in runs}
    workers = min(len(runs), available_cores())
    with (
        concurrent.futures.ThreadPoolExecutor(workers) as pool,
        tqdm(total=sum(steps_of.values()), unit="step", desc=f"training {len(runs)} runs") as bar,
    ):
        futures = {pool.submit(train, run): run for run in runs}
        while True:
            steps, under_way = 0, []
            for future, run in futures.items():
                progress = read_progress(store.progress_path(run.spec))
                if future.done():
                    future.result()
                    steps += steps_of[run]
                elif progress is not None and future.running():
                    steps += progress.step
                    if progress.train_loss is not None:
                        under_way.append(
                            f"{run.spec.label}: epoch {progress.epoch}, loss {progress.train_loss:.3g}"
                        )
            bar.n = steps
            bar.set_postfix_str("; ".join(under_way))
            if all(future.done() for future in futures):
                return
            time.sleep(1)
