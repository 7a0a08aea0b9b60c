"""Check records: first against their own digests, then by training a few of them again.

A digest shows that a file was altered after it was written. It cannot show that a record with matching
digests was ever trained; only training it again can.
"""

import dataclasses
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from torch import Tensor

from gon.catalogue import EVALUATIONS
from gon.data import prepared as data
from gon.errors import GonError
from gon.runs import provenance
from gon.runs.chain import Losses, trajectory_chain
from gon.runs.checkpoint import load_checkpoint
from gon.runs.process import prepare_process, session_of
from gon.runs.record import RunRecord, differing_kind, same_kind
from gon.runs.store import RunStore, read_record
from gon.runs.trajectory import COMPILE_AFTER_EPOCHS, Trajectory, new_run

TOLERANCE = 0.08
"""Largest relative deviation on another kind of machine. Two correct float32 implementations drift apart at
the kinks of ELU and ReLU, by up to 5% within an epoch (docs/evidence.md)."""

BLOCK = 50
"""Steps whose losses are averaged before they are compared with a tolerance; single ones scatter more."""
Outcome = Literal["bit-equal", "within tolerance", "differs", "damaged"]


@dataclass(frozen=True)
class Check:
    """What was found of one record."""

    name: str
    """The run in words, or its file if it cannot be read."""
    outcome: Outcome
    """Agreement is to be bit-equal, or within tolerance."""
    note: str
    """What was compared, and what was found."""

    @property
    def agrees(self) -> bool:
        """Whether nothing speaks against the record."""
        return self.outcome in ("bit-equal", "within tolerance")


def check_store(store: RunStore, digests: Sequence[str] | None = None) -> tuple[list[RunRecord], list[Check]]:
    """Check every record and checkpoint of a store against the digests; nothing is trained.

    Parameters
    ----------
    store
        Where the runs lie.
    digests
        The runs to look at; all if not given.

    Returns
    -------
    tuple
        The longest record of each run that is whole, and a check for each file that is not.
    """
    longest: list[RunRecord] = []
    damaged: list[Check] = []
    for folder in sorted(path.name for path in store.root.glob("*/")):
        if digests is not None and folder not in digests:
            continue
        records: list[RunRecord] = []
        recorded = store.recorded(folder)
        for epochs in recorded:
            path = store.root / folder / f"epochs-{epochs}.json"
            try:
                record = _load(store, path, epochs)
                if records and _contradicts(records[-1], record):
                    raise GonError(f"{path}: does not go on from the shorter record beside it")
                records.append(record)
            except GonError as error:
                damaged.append(Check(f"{folder}/{path.name}", "damaged", str(error)))
        longest += records[-1:]
        checkpoint = store.root / folder / "checkpoint.pt"
        if records and len(records) == len(recorded) and checkpoint.exists():
            try:  # as a longer training would
                load_checkpoint(new_run(records[-1].spec), checkpoint, store)
            except GonError as error:
                damaged.append(Check(f"{folder}/{checkpoint.name}", "damaged", str(error)))
    return longest, damaged


def _load(store: RunStore, path: Path, epochs: int) -> RunRecord:
    """Read the record of a file with all that lies beside it."""
    record = read_record(path, {})
    if record.spec.digest != path.parent.name:
        raise GonError(f"{path}: is of run {record.spec.digest}, which is not what its folder says")
    record = store.load(record.spec, epochs)
    data.require_prepared(record.spec.dataset, record.data, path)
    store.load_images(record.spec, epochs)
    for evaluation in EVALUATIONS:
        if store.evaluation_path(record.spec, epochs, evaluation).exists():
            store.load_evaluation(record.spec, epochs, evaluation)
    return record


def _contradicts(shorter: RunRecord, longer: RunRecord) -> bool:
    """Whether two records of a run from one kind of machine have different beginnings.

    Chains of different formats cannot be compared link by link, but the losses that they cover can.
    """
    shared = len(shorter.history)
    if not same_kind(shorter.sessions, longer.sessions, max(1, shared)):
        return False
    losses = [
        [(epoch.train_loss, epoch.validation_loss) for epoch in record.history[:shared]]
        for record in (shorter, longer)
    ]
    if shorter.format != longer.format:
        return losses[0] != losses[1]
    return longer.chain[: len(shorter.chain)] != shorter.chain


def retrain(record: RunRecord, store: RunStore, epochs: int, steps: int | None, progress: Progress) -> Check:
    """Train the beginning of a recorded run again, and compare. The store is only read.

    Parameters
    ----------
    record
        The record.
    store
        Where its steps lie.
    epochs
        How many epochs; as many as the run has, if that is fewer.
    steps
        So many steps of the first epoch instead, without validation.
    progress
        Shows how far it is.
    """
    spec, then = record.spec, record.sessions[0]
    device = then.device if then.device == "cpu" or torch.cuda.is_available() else "cpu"
    prepare_process(then.threads)
    run = new_run(spec, device, "fast" if then.origin_pass == "none" else then.origin_pass)
    epochs = min(epochs, record.epochs)
    steps = None if steps is None else min(steps, spec.steps_per_epoch)
    total = epochs * spec.steps_per_epoch if steps is None else steps
    bar = progress.add_task(spec.label, total=total)

    def observe(step: int, epoch_losses: Tensor) -> None:
        progress.update(bar, completed=step)

    if steps is not None:
        run.step_losses.append(run.train_steps(steps, observe))
    else:
        while len(run.history) < epochs and not run.diverged:
            run.train_epoch(observe)
    losses = run.losses(len(run.step_losses))
    recorded = store.load_steps(spec, record.epochs)[: len(losses)]
    links = len(run.history)  # an epoch of which only some steps were trained has none
    chain = trajectory_chain(
        spec, run.data, run.history, losses[: links * spec.steps_per_epoch], format=record.format
    )
    # As bytes: a loss that is no number equals itself.
    equal = (
        losses.tobytes() == recorded.tobytes()
        and chain == record.chain[:links]
        and (np.flatnonzero(~np.isfinite(losses)) + 1)[:1].tolist() == _divergence(record, total)
    )
    compared = f"{len(losses)} steps"
    if steps is None:
        compared = f"{epochs} epoch{'s' * (epochs > 1)}, {compared}"
    if equal:
        return Check(spec.label, "bit-equal", compared)
    deviation = _deviation(run, losses, record, recorded)
    found = f"{compared}: differs by up to {deviation:.2%}"
    if other := _other_kind(run, record):
        outcome: Outcome = "within tolerance" if deviation <= TOLERANCE else "differs"
        return Check(spec.label, outcome, f"{found} ({other}; {TOLERANCE:.0%} is allowed)")
    return Check(spec.label, "differs", f"{found}, on the same kind of machine, where not a bit may differ")


def _divergence(record: RunRecord, steps: int) -> list[int]:
    """The step at which its loss stopped being finite, if that is among the first so many."""
    if record.diverged is None:
        return []
    step = (record.diverged.epoch - 1) * record.spec.steps_per_epoch + record.diverged.step
    return [step] if step <= steps else []


def _deviation(run: Trajectory, losses: Losses, record: RunRecord, recorded: Losses) -> float:
    """Largest relative deviation: of the mean training loss of blocks of steps, and of validation losses."""
    if len(losses) != len(recorded):
        return float("inf")
    blocks = (torch.from_numpy(x).double().split(BLOCK) for x in (losses, recorded))
    pairs = [(a.mean().item(), b.mean().item()) for a, b in zip(*blocks, strict=True)]
    pairs += [
        (value, written)
        for ours, theirs in zip(run.history, record.history, strict=False)
        for key in ("validation_loss", "validation_loss_running", "train_loss")
        if (value := getattr(ours, key)) is not None and (written := getattr(theirs, key)) is not None
    ]
    deviations = [abs(value - written) / max(abs(written), 1e-12) for value, written in pairs]
    return max((float("inf") if math.isnan(d) else d for d in deviations), default=0.0)


def _other_kind(run: Trajectory, record: RunRecord) -> str:
    """What is of another kind here than where the record was made; empty if nothing is.

    A record may come from several kinds of machine: each session that trained what was trained again counts.
    """
    reached = max(1, len(run.history))
    may_be_compiled, now = reached > COMPILE_AFTER_EPOCHS, session_of(run)
    differing: dict[str, str] = {}
    for then in record.sessions:
        if then.first_epoch > reached:
            continue
        if not may_be_compiled:  # what was compiled later makes no difference
            then = dataclasses.replace(then, compiler=None)
        elif then.compiled != run.compiled:
            differing["compiled"] = f"compiled: {then.compiled} then, {run.compiled} now"
        for key, (a, b) in differing_kind(then, now).items():
            differing[key] = f"{key}: {a} then, {b} now"
    return "; ".join(differing.values())


def verify(
    store: RunStore,
    *,
    digests: Sequence[str] | None,
    runs: int,
    epochs: int,
    steps: int | None,
    seed: int,
) -> int:
    """Check all records of a store, train some again, and print a table.

    Parameters
    ----------
    store
        Where the runs lie; it is only read.
    digests
        The runs to look at; all if not given.
    runs
        How many to train again.
    epochs, steps
        See `retrain`.
    seed
        Decides which.

    Returns
    -------
    int
        Exit status: 0 if all agree, 1 if not.

    Raises
    ------
    GonError
        If there is no record at all.
    """
    records, checks = check_store(store, digests)
    if not records and not checks:
        raise GonError(f"{store.root}: holds no record to verify")
    current = [record for record in records if record.spec.numerics == record.spec.entry.numerics]
    chosen = random.Random(seed).sample(current, min(runs, len(current)))
    console = Console()
    print(
        f"{len(records)} run(s) in {store.root}; {len(chosen)} of them, chosen with --seed {seed}, are "
        f"trained again on {provenance.machine()['processor']} with torch {torch.__version__}",
        flush=True,
    )
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        for record in chosen:
            checks.append(retrain(record, store, epochs, steps, progress))
    table = Table("run", "finding", "what was compared")
    for check in checks:
        table.add_row(check.name, check.outcome, check.note, style=None if check.agrees else "bold red")
    console.print(table)
    agreeing = sum(check.agrees for check in checks)
    damaged = sum(check.outcome == "damaged" for check in checks)
    older = len(records) - len(current)
    print(
        f"{agreeing} of {len(chosen)} trained again agree with their record; {damaged} damaged"
        + (f"; {older} of an older arithmetic cannot be trained again" if older else "")
    )
    return 0 if agreeing == len(checks) else 1
