"""Training: from a spec to a trajectory, continued from its checkpoint where there is one."""

import dataclasses
import datetime
import io
import pickle
import platform
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gon import data, provenance
from gon.errors import GonError
from gon.evaluation import to_float, validation_loss
from gon.models import GradientOriginNetwork
from gon.progress import Progress, write_progress
from gon.runs import Divergence, Epoch, RunRecord, RunSpec, RunStore, Session, write_atomically

CHECKPOINT_FORMAT = 1
_PROGRESS_SECONDS = 1.0


class Trajectory:
    """A run under way: model, optimiser and random state, and what they have given so far.

    Parameters
    ----------
    spec
        What is run.
    images, validation_images
        uint8 images [n, channels, 32, 32] of the two splits, already cut to what the spec asks for.

    Notes
    -----
    Initial weights and the order of the batches come from two random streams with the same seed, so
    that runs which differ in their model still see the same batches.
    """

    def __init__(self, spec: RunSpec, images: Tensor, validation_images: Tensor) -> None:
        self.spec = spec
        self.images = images
        self.validation_images = validation_images
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed)
            self.model = GradientOriginNetwork(spec)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=spec.learning_rate)
        self.batch_order = torch.Generator().manual_seed(spec.seed)
        self.history: list[Epoch] = []
        self.step_losses: list[Tensor] = []  # per epoch: [steps], float32, SSE per image
        self.sessions: list[Session] = []
        self.diverged: Divergence | None = None

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def step(self, x: Tensor) -> Tensor:
        """Take one optimiser step on images [batch, c, 32, 32]; returns its loss [] as SSE per image."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.model.training_loss(x)
        loss.backward()
        self.optimizer.step()
        return loss.detach() * self.spec.pixels

    def train_epoch(self, progress: "ProgressWriter | None" = None) -> None:
        """Train one epoch and validate, or note where the loss stopped being finite."""
        spec, epoch = self.spec, len(self.history) + 1
        started = time.perf_counter()
        order = torch.randperm(len(self.images), generator=self.batch_order)
        losses = torch.empty(spec.steps_per_epoch)
        self.model.train()
        for i in range(spec.steps_per_epoch):
            batch = order[i * spec.batch_size : (i + 1) * spec.batch_size]
            losses[i] = self.step(to_float(self.images[batch]))
            if progress is not None:
                progress.update((epoch - 1) * spec.steps_per_epoch + i + 1, losses[: i + 1])
        trained = time.perf_counter()
        finite = torch.isfinite(losses)
        self.step_losses.append(losses)
        if not finite.all():
            self.diverged = Divergence(epoch, int((~finite).nonzero()[0]) + 1)
            return
        validation = validation_loss(self.model, self.validation_images)
        if not np.isfinite(validation):
            self.diverged = Divergence(epoch, spec.steps_per_epoch)
            return
        self.history.append(
            Epoch(
                epoch=epoch,
                train_loss=losses.mean(dtype=torch.float64).item(),
                validation_loss=validation,
                train_seconds=round(trained - started, 3),
                validation_seconds=round(time.perf_counter() - trained, 3),
            )
        )

    def record(self, epochs: int, digests: dict[str, str]) -> RunRecord:
        """The record of the first `epochs` epochs."""
        diverged = self.diverged if self.diverged and self.diverged.epoch <= epochs else None
        return RunRecord(
            spec=self.spec,
            epochs=epochs,
            parameters=self.parameters,
            data=digests,
            history=self.history[:epochs],
            sessions=[
                dataclasses.replace(session, last_epoch=min(session.last_epoch, epochs))
                for session in self.sessions
                if session.first_epoch <= epochs
            ],
            diverged=diverged,
        )

    def state(self) -> dict[str, Any]:
        """Everything from which the run continues bit for bit, as tensors and plain values."""
        return {
            "format": CHECKPOINT_FORMAT,
            "digest": self.spec.digest,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "batch_order": self.batch_order.get_state(),
            "step_losses": self.step_losses,
            "history": [dataclasses.asdict(epoch) for epoch in self.history],
            "sessions": [dataclasses.asdict(session) for session in self.sessions],
            "diverged": dataclasses.asdict(self.diverged) if self.diverged else None,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up a run where `state` was taken."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.batch_order.set_state(state["batch_order"])
        self.step_losses = state["step_losses"]
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self.sessions = [Session(**session) for session in state["sessions"]]
        self.diverged = Divergence(**state["diverged"]) if state["diverged"] else None


class ProgressWriter:
    """Writes a run's progress file about once a second.

    Parameters
    ----------
    path
        The progress file.
    spec, epochs
        What is run, and how far.
    first_step
        Steps done before.
    """

    def __init__(self, path: Path, spec: RunSpec, epochs: int, first_step: int) -> None:
        self.path = path
        now = time.time()
        self.progress = Progress(
            digest=spec.digest,
            label=spec.label,
            epochs=epochs,
            first_step=first_step,
            step=first_step,
            steps=epochs * spec.steps_per_epoch,
            steps_per_epoch=spec.steps_per_epoch,
            train_loss=None,
            started=now,
            updated=now,
        )
        write_progress(path, self.progress)

    def update(self, step: int, epoch_losses: Tensor) -> None:
        """Note that `step` steps are done, with the losses of this epoch's so far."""
        now = time.time()
        if now - self.progress.updated < _PROGRESS_SECONDS:
            return
        self.progress = dataclasses.replace(
            self.progress, step=step, updated=now, train_loss=epoch_losses.mean().item()
        )
        write_progress(self.path, self.progress)


def train(spec: RunSpec, epochs: int, store: RunStore, *, threads: int = 1) -> RunRecord:
    """Train a run up to a number of epochs, and record it.

    What the store holds is used: a record is returned as it is, and a checkpoint is continued, bit for
    bit as if the run had never stopped. After every epoch a checkpoint is written.

    Parameters
    ----------
    spec
        What to run.
    epochs
        Epochs in all, those already trained included; at least 1.
    store
        Where runs lie.
    threads
        Threads of the process. Equal numbers are only promised for equal thread counts.

    Returns
    -------
    RunRecord
        The record, also written to the store. A run whose loss stops being finite is recorded as
        diverged.

    Raises
    ------
    GonError
        If the data, a record or the checkpoint is damaged, or the store cannot be written to.
    """
    with store.lock(spec):
        if store.has(spec, epochs):
            return store.load(spec, epochs)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True)
        prepared = data.load(spec.dataset)
        run = Trajectory(
            spec,
            torch.from_numpy(np.array(prepared.train[: spec.train_images])),
            torch.from_numpy(np.array(prepared.validation[: spec.validation_images])),
        )
        checkpoint = store.checkpoint_path(spec)
        if checkpoint.exists():
            _load_checkpoint(run, checkpoint)
        try:
            _continue(run, epochs, store)
        finally:
            store.progress_path(spec).unlink(missing_ok=True)
        record = run.record(epochs, prepared.digests)
        kept_epochs = record.diverged.epoch if record.diverged else epochs
        store.save(record, torch.cat(run.step_losses[:kept_epochs]).tolist())
        return record


def _continue(run: Trajectory, epochs: int, store: RunStore) -> None:
    """Train until a number of epochs is reached or the run diverges."""
    if len(run.history) >= epochs or run.diverged:
        return
    earlier = list(run.sessions)
    session = _new_session(len(run.history) + 1)
    progress = ProgressWriter(
        store.progress_path(run.spec), run.spec, epochs, len(run.history) * run.spec.steps_per_epoch
    )
    while len(run.history) < epochs and not run.diverged:
        run.train_epoch(progress)
        session = dataclasses.replace(
            session,
            last_epoch=run.diverged.epoch if run.diverged else len(run.history),
            peak_memory_mib=provenance.peak_memory_mib(),
        )
        run.sessions = [*earlier, session]
        _save_checkpoint(run, store.checkpoint_path(run.spec))


def _new_session(first_epoch: int) -> Session:
    return Session(
        first_epoch=first_epoch,
        last_epoch=first_epoch,
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        peak_memory_mib=0.0,
        machine=provenance.machine(),
        versions={
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
        device="cpu",
        dtype="float32",
        threads=torch.get_num_threads(),
        origin_pass=GradientOriginNetwork.origin_pass,
        commit=provenance.commit(),
    )


def _save_checkpoint(run: Trajectory, path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(run.state(), buffer)
    write_atomically(path, buffer.getvalue())


def _load_checkpoint(run: Trajectory, path: Path) -> None:
    """Continue from a checkpoint; one that is damaged is named and left as it is."""
    hint = "The file was left as it is; move it away to train the run from its start"
    try:
        # The checkpoint is a zip file: its checksums show a damage that the loader would take as weights.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise GonError(f"{path}: the checkpoint is damaged (checksum of {damaged}). {hint}")
        state = torch.load(path, weights_only=True)
    except (zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise GonError(f"{path}: the checkpoint is cut short or damaged ({error}). {hint}") from error
    found = (state.get("format"), state.get("digest"))
    if found != (CHECKPOINT_FORMAT, run.spec.digest):
        raise GonError(
            f"{path}: a checkpoint of format {found[0]!r} and run {found[1]!r}; expected format "
            f"{CHECKPOINT_FORMAT} and run {run.spec.digest!r}. {hint}"
        )
    run.load_state(state)
