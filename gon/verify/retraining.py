"""Train recorded runs again, and evaluate their weights again: what no digest can show."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor

from gon.catalogue import EVALUATIONS
from gon.claims.formats import percent
from gon.runs.chain import trajectory_chain
from gon.runs.checkpoint import load_checkpoint, load_weights
from gon.runs.process import prepare_process, session_of
from gon.runs.record import RunRecord, differing_kind
from gon.runs.store import RunStore
from gon.runs.trajectory import COMPILE_AFTER_EPOCHS, Trajectory, load_split, new_run
from gon.science.evaluation import evaluate
from gon.science.measure import validation_loss
from gon.science.models import build_model
from gon.science.protocols import running_validation_loss
from gon.verify.deviations import largest_deviation, relative, tolerance
from gon.verify.findings import Check, Outcome

EVALUATION_TOLERANCE = 1e-3
"""Largest relative deviation, on another kind of machine, of a loss that is computed again from weights."""


def retrain(
    record: RunRecord,
    store: RunStore,
    epochs: int,
    steps: int | None,
    progress: Progress,
    checkpoint: Path | None = None,
) -> Check:
    """Train a part of a recorded run again, and compare. The store is only read.

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
    checkpoint
        Where to go on from, in place of the start.
    """
    spec, then = record.spec, record.sessions[-1 if checkpoint else 0]
    device = then.device if then.device == "cpu" or torch.cuda.is_available() else "cpu"
    prepare_process(then.threads)
    run = new_run(spec, device, "fast" if then.origin_pass == "none" else then.origin_pass)
    if checkpoint is not None:
        load_checkpoint(run, checkpoint, store)
    done = len(run.history)
    epochs = min(done + epochs, record.epochs)
    steps = None if steps is None else min(steps, spec.steps_per_epoch)
    total = epochs * spec.steps_per_epoch if steps is None else done * spec.steps_per_epoch + steps
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
    trained = losses[done * spec.steps_per_epoch :]
    compared = f"{len(trained)} steps"
    if steps is None:
        compared = f"{epochs - done} epoch{'s' * (epochs - done > 1)}, {compared}"
    compared += f" from epoch {done + 1} on" if done else ""
    if equal:
        return Check(spec.label, "bit-equal", compared)
    deviation = largest_deviation(losses, run.history, recorded, record.history)
    found = f"{compared}: differs by up to {percent(deviation)}"
    if other := _other_kind(run, record):
        allowed = tolerance(spec, math.ceil(len(trained) / spec.steps_per_epoch))
        outcome: Outcome = "within tolerance" if deviation <= allowed else "differs"
        return Check(spec.label, outcome, f"{found}, {percent(allowed)} is allowed", other)
    return Check(spec.label, "differs", f"{found}, on the same kind of machine, where not a bit may differ")


def _divergence(record: RunRecord, steps: int) -> list[int]:
    """The step at which its loss stopped being finite, if that is among the first so many."""
    if record.diverged is None:
        return []
    step = (record.diverged.epoch - 1) * record.spec.steps_per_epoch + record.diverged.step
    return [step] if step <= steps else []


def evaluate_again(record: RunRecord, store: RunStore) -> Iterator[Check]:
    """Compute a record's final losses and evaluations again from its weights, where they are there.

    Yields
    ------
    Check
        One for each of them.
    """
    spec, weights = record.spec, store.weights_path(record.spec, record.epochs)
    if record.diverged is not None or not weights.exists():
        return
    then = record.sessions[-1]
    prepare_process(then.threads)
    _, images, _ = load_split(spec)
    model = build_model(spec)
    load_weights(model, weights)
    other = bool(differing_kind(then, session_of(new_run(spec))))
    found = {"validation_loss": validation_loss(model, images)}
    written = {"validation_loss": record.last.validation_loss}
    if spec.entry.has_encoder:
        found["validation_loss_running"] = running_validation_loss(model, images)
        written["validation_loss_running"] = record.last.validation_loss_running
    yield _evaluation(f"{spec.label}, {record.epochs} epochs", "final losses", found, written, other)
    for name in EVALUATIONS:
        if store.evaluation_path(spec, record.epochs, name).exists():
            losses = store.load_evaluation(spec, record.epochs, name)
            again = evaluate(model, images, name)
            yield _evaluation(f"{spec.label}, {record.epochs} epochs", name, again, losses, other)


def _evaluation(
    name: str, what: str, found: Mapping[str, float], written: Mapping[str, float | None], other: bool
) -> Check:
    """Compare numbers that are computed from weights."""
    what = f"{what} from weights, {len(written)} numbers"
    if found == written:
        return Check(name, "bit-equal", what)
    # A share that is rounding, such as that of a second step, has no digits that machines share.
    deviation = max(
        (
            relative(found[key], value, floor=EVALUATION_TOLERANCE)
            for key, value in written.items()
            if key in found and value is not None
        ),
        default=math.inf,
    )
    missing = found.keys() ^ written.keys()
    agrees = other and not missing and deviation <= EVALUATION_TOLERANCE
    outcome: Outcome = "within tolerance" if agrees else "differs"
    return Check(name, outcome, f"{what}: differs by up to {percent(deviation)}")


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
            differing[key] = _then_and_now(key.replace("_", " "), str(a), str(b))
    return "; ".join(differing.values())


def _then_and_now(what: str, then: str, now: str) -> str:
    """What was there and what is; of a list of words, those that only one of them has."""
    if what != "instruction sets" or "unknown" in (then, now):
        return f"{what}: {then} then, {now} now"
    had, has = then.split(), now.split()
    only = {"then": [w for w in had if w not in has], "now": [w for w in has if w not in had]}
    told = [f"{' '.join(words)} only {when}" for when, words in only.items() if words]
    return f"{what}: {', '.join(told)}"
