"""Training: from a spec to a trajectory, continued from its checkpoint where there is one."""

import dataclasses
import sys
from collections.abc import Sequence

import torch

from gon.catalogue import MILESTONES
from gon.errors import GonError, UsageError
from gon.files import sha256_of_file
from gon.runs import provenance
from gon.runs.checkpoint import DamagedError, load_checkpoint, load_weights, save_tensors, state_of
from gon.runs.process import prepare_process, require_device, session_of
from gon.runs.progress import ProgressWriter
from gon.runs.record import RunRecord
from gon.runs.store import RunStore
from gon.runs.trajectory import Trajectory, load_split, new_run
from gon.science.evaluation import evaluate
from gon.science.images import make_images
from gon.science.models import build_model
from gon.spec import RunSpec


def train(
    spec: RunSpec,
    epochs: int,
    store: RunStore,
    *,
    device: str = "cpu",
    origin_pass: str = "fast",
    evaluations: Sequence[str] = (),
) -> RunRecord:
    """Train a run up to a number of epochs, and record it.

    What the store holds is used: a record is returned as it is, and a checkpoint is continued, bit for
    bit as if the run had never stopped. After every epoch a checkpoint is written, and at each of
    `gon.catalogue.MILESTONES` a record. A shorter run than the checkpoint's is trained anew beside it.

    Parameters
    ----------
    spec
        What to run.
    epochs
        Epochs in all, those already trained included; at least 1.
    store
        Where runs lie.
    device
        "cpu" or "cuda".
    origin_pass
        One of `gon.science.gon.ORIGIN_PASSES`; equal up to rounding. Models without a latent by gradient
        have one form only.
    evaluations
        Keys of `gon.catalogue.EVALUATIONS` that are made with every record.

    Returns
    -------
    RunRecord
        The record, also written to the store. A run whose loss stops being finite is recorded as
        diverged.

    Raises
    ------
    UsageError
        If the device is not there, there is no such origin pass, or epochs are asked of a model that
        is computed in one pass.
    GonError
        If the data, a record or the checkpoint is damaged, the store cannot be written to, or the
        memory of the device does not suffice.
    """
    require_device(device)
    if epochs != spec.epochs_at(epochs):
        raise UsageError(
            f"epochs: {epochs} is not allowed for the model {spec.model!r}, which is computed in one pass; "
            f"{spec.epochs_at(epochs)} is"
        )
    with store.lock(spec):
        if not store.has(spec, epochs):
            _train(spec, epochs, store, device, origin_pass, evaluations)
        for recorded in store.recorded(spec.digest):
            if recorded <= epochs:
                _evaluate(store.load(spec, recorded), store, evaluations)
        return store.load(spec, epochs)


def _train(
    spec: RunSpec, epochs: int, store: RunStore, device: str, origin_pass: str, evaluations: Sequence[str]
) -> None:
    prepare_process()
    run, keep_state = new_run(spec, device, origin_pass), True
    if _resume(run, store):
        if len(run.history) > epochs or (run.diverged and run.diverged.epoch > epochs):
            # What the model was then is gone: train the shorter run again, and keep the longer one.
            run, keep_state = new_run(spec, device, origin_pass), False
    try:
        _continue(run, epochs, store, keep_state, evaluations)
    except KeyboardInterrupt as stop:
        done = f"goes on from the end of epoch {len(run.history)}" if run.history else "starts again"
        stop.add_note(f"{spec.label}: stopped in epoch {len(run.history) + 1} of {epochs}; {done}")
        raise
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        # On a CPU torch has no exception of its own for it.
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise GonError(
            f"batch_size: a step on {spec.batch_size} images does not fit into the memory of the "
            f"{device} ({str(error).splitlines()[0]})"
        ) from error
    finally:
        store.progress_path(spec).unlink(missing_ok=True)


def _resume(run: Trajectory, store: RunStore) -> bool:
    """Take up a run where its last checkpoint left it, or the one before; whether there was one."""
    path, older = store.checkpoint_path(run.spec), store.older_checkpoint_path(run.spec)
    try:
        if path.exists():
            load_checkpoint(run, path, store)
            return True
    except DamagedError as error:
        if not older.exists():
            raise
        damaged = path.with_name("checkpoint.damaged.pt")
        load_checkpoint(run, older, store)
        path.replace(damaged)
        print(
            f"{error}\nkept as {damaged.name}; goes on from the checkpoint before, after epoch "
            f"{len(run.history)}",
            file=sys.stderr,
        )
        return True
    if older.exists():  # killed between the two renames of a checkpoint
        load_checkpoint(run, older, store)
        return True
    return False


def _save_record(run: Trajectory, epochs: int, store: RunStore, keep_state: bool) -> RunRecord:
    """Write the record of a run that has come so far, with its weights and images beside it."""
    spec, record, images = run.spec, run.record(epochs), {}
    if keep_state:
        checkpoint = sha256_of_file(store.checkpoint_path(spec))
        record = dataclasses.replace(record, files={"checkpoint": checkpoint})
    if not run.diverged:  # one that diverged shows no images
        images = make_images(run.model, run.images, run.validation_images)
        save_tensors(run.model.state_dict(), store.weights_path(spec, epochs))
    store.save_images(spec, epochs, {kind: tensor.tolist() for kind, tensor in images.items()})
    return store.save(record, run.losses(record.diverged.epoch if record.diverged else epochs))


def evaluate_run(spec: RunSpec, epochs: int, store: RunStore, evaluation: str) -> None:
    """Evaluate a recorded run in a further way, and keep the result beside its record.

    Parameters
    ----------
    spec, epochs
        The run, trained and recorded.
    store
        Where it lies.
    evaluation
        One of `gon.catalogue.EVALUATIONS`.

    Raises
    ------
    GonError
        If the run has no record or no weights at that number of epochs.
    """
    with store.lock(spec):
        prepare_process()
        _evaluate(store.load(spec, epochs), store, [evaluation])


def _evaluate(record: RunRecord, store: RunStore, evaluations: Sequence[str]) -> None:
    """Make the evaluations of a record that are missing, from its weights."""
    spec, epochs = record.spec, record.epochs
    missing = [e for e in evaluations if not store.evaluation_path(spec, epochs, e).exists()]
    if not missing:
        return
    found: dict[str, dict[str, float]] = {evaluation: {} for evaluation in missing}
    if record.diverged is None:
        _, validation_images, _ = load_split(spec)
        model = build_model(spec)
        load_weights(model, store.weights_path(spec, epochs))
        found = {evaluation: evaluate(model, validation_images, evaluation) for evaluation in missing}
    for evaluation, losses in found.items():
        store.save_evaluation(record, evaluation, losses)


def _continue(
    run: Trajectory, epochs: int, store: RunStore, keep_state: bool, evaluations: Sequence[str]
) -> None:
    """Train until a number of epochs is reached or the run diverges, and leave records on the way."""
    spec, earlier = run.spec, list(run.sessions)
    session = session_of(run)
    progress = ProgressWriter(
        store.progress_path(spec), spec, epochs, len(run.history) * spec.steps_per_epoch
    )
    while True:
        done = len(run.history)
        if (done in MILESTONES and not run.diverged) and not store.has(spec, done):
            # Also where an earlier process was stopped between its checkpoint and its record.
            _evaluate(_save_record(run, done, store, keep_state), store, evaluations)
        if done >= epochs or run.diverged:
            break
        run.train_epoch(progress.update)
        session = dataclasses.replace(
            session,
            last_epoch=run.diverged.epoch if run.diverged else len(run.history),
            peak_memory_mib=provenance.peak_memory_mib(),
            compiled=run.compiled,
            compiler=run.compiler,
        )
        run.sessions = [*earlier, session]
        # A recorded epoch is trained again only where its checkpoint is lost, whose digest the record holds.
        if keep_state and (run.diverged or not store.has(spec, len(run.history))):
            save_tensors(state_of(run), store.checkpoint_path(spec), store.older_checkpoint_path(spec))
    if not store.has(spec, epochs):
        _save_record(run, epochs, store, keep_state)
