"""Training: from a spec to a trajectory, continued from its checkpoint where there is one."""

import copy
import ctypes
import dataclasses
import datetime
import functools
import io
import os
import pickle
import platform
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from gon import data, provenance
from gon.errors import GonError, UsageError
from gon.evaluation import (
    evaluate,
    kept_statistics,
    make_images,
    running_validation_loss,
    to_float,
    validation_loss,
)
from gon.models import ORIGIN_PASSES, PCA, build_model
from gon.progress import Progress, write_progress
from gon.runs import (
    ENCODER_MODELS,
    MILESTONE_MODELS,
    MILESTONES,
    Divergence,
    Epoch,
    Losses,
    RunRecord,
    RunSpec,
    RunStore,
    Session,
    same_kind,
    sha256_of_file,
    trajectory_chain,
    write_atomically,
)

CHECKPOINT_FORMATS = (5, 6)
"""Those that can be continued; the last is written. In 5, epochs and sessions have the fields of record
format 4."""
COMPILE_AFTER_EPOCHS = 5
"""Epochs that run uncompiled. Compiling pays for itself after about as many (docs/performance.md).
The number is fixed, and not the budget's length, so that a continued run equals an uninterrupted one."""
_PROGRESS_SECONDS = 1.0


class Trajectory:
    """A run under way: model, optimiser and random state, and what they have given so far.

    Parameters
    ----------
    spec
        What is run.
    images, validation_images
        uint8 images [n, channels, 32, 32] of the two splits, already cut to what the spec asks for.
    device
        "cpu" or "cuda".
    origin_pass
        One of `gon.models.ORIGIN_PASSES`.
    digests
        Digests of the data, for the record.
    dtype
        Type of weights and images. Runs are of float32; float64 is for comparing implementations.

    Notes
    -----
    Initial weights and the order of the batches come from two random streams with the same seed, so
    that runs which differ in their model still see the same batches.
    """

    def __init__(
        self,
        spec: RunSpec,
        images: Tensor,
        validation_images: Tensor,
        *,
        device: str = "cpu",
        origin_pass: str = "fast",
        digests: dict[str, str] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.spec = spec
        self.data = digests or {}
        self.device = torch.device(device)
        self.dtype = dtype
        self.images = images.to(self.device)
        self.validation_images = validation_images.to(self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed)  # drawn on the CPU, so that they are the same on every device
            self.model = build_model(spec, origin_pass).to(self.device)
        if dtype != torch.float32:  # PCA has a type of its own
            self.model.to(dtype)
        self.optimizers = self.model.optimizers()
        self.compiled = "no"
        self.compiler: str | None = None
        # An epoch under way, all of it on the device, so that no step waits for the host.
        self._order = torch.zeros(spec.steps_per_epoch, spec.batch_size, dtype=torch.long, device=device)
        self._losses = torch.zeros(spec.steps_per_epoch, dtype=dtype, device=device)
        self._next = torch.zeros(1, dtype=torch.long, device=device)
        self._captured: Callable[[], None] | None = None
        self.batch_order = torch.Generator().manual_seed(spec.seed)
        self.history: list[Epoch] = []
        self.step_losses: list[Tensor] = []  # per epoch: [steps], float32, SSE per image
        self.sessions: list[Session] = []
        self.diverged: Divergence | None = None

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def step(self, batch: Tensor) -> Tensor:
        """Take one optimiser step on the images of a batch, given by their indices [batch_size].

        Returns
        -------
        Tensor
            The loss [] that was minimised, as SSE per image. It stays on the device: nothing waits.
        """
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        x = to_float(self.images[batch]).to(self.dtype)
        objective, loss = self.model.losses(x, batch)
        if self.optimizers:
            objective.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        return loss.detach() * self.spec.pixels

    def begin_epoch(self) -> None:
        """Draw the order of the next epoch's batches."""
        order = torch.randperm(len(self.images), generator=self.batch_order)
        self._order.copy_(order[: self._order.numel()].view_as(self._order))
        self.rewind()
        self.model.train()
        if isinstance(self.model, PCA):
            self.model.fit(self.images)

    def rewind(self) -> None:
        """Let the next step be the epoch's first."""
        self._next.zero_()

    def next_step(self) -> None:
        """Take the next step of the epoch, and keep its loss. Which one it is stands on the device."""
        loss = self.step(self._order.index_select(0, self._next).flatten())
        at = torch.arange(len(self._losses), device=self.device) == self._next
        self._losses.copy_(torch.where(at, loss, self._losses))
        self._next.add_(1)

    def _prepare_step(self, epoch: int) -> Callable[[], None]:
        """`next_step` in the form that pays at this point of a run."""
        if self.device.type == "cuda" and self.model.capturable:
            if self._captured is None:
                self._captured = captured_step(self)
            return self._captured
        if self.device.type == "cpu" and epoch > COMPILE_AFTER_EPOCHS and self.compiled == "no":
            self.compile(epoch)
        return self.next_step

    def compile(self, epoch: int) -> None:
        """Compile the loss and its gradient from an epoch on; without a compiler, stay as before."""
        if not self.model.compilable:
            return
        compiler = provenance.compiler()
        if compiler is None:
            self.compiled = "no: no C++ compiler"
            return
        eager, noise = self.model.training_loss, self.model.get_extra_state()
        self.model.training_loss = torch.compile(
            eager,
            dynamic=False,
            options={"cpp_wrapper": True, "deterministic": True},  # the former: no Python per kernel
        )
        batch = torch.arange(self.spec.batch_size)
        try:
            with kept_statistics(self.model):
                objective, _ = self.model.losses(to_float(self.images[batch]), batch)
                torch.autograd.grad(objective, list(self.model.parameters()), allow_unused=True)
        except Exception as error:  # whatever a compiler may raise: the run does not depend on it
            self.model.training_loss = eager
            self.compiled = f"no: {type(error).__name__}"
        else:
            self.compiled, self.compiler = f"from epoch {epoch}", compiler
        self.model.set_extra_state(noise)  # as if the step that warmed up had drawn nothing

    def train_epoch(self, progress: "StepObserver | None" = None) -> None:
        """Train one epoch and validate, or note where the loss stopped being finite."""
        spec, epoch = self.spec, len(self.history) + 1
        started, cpu_started = time.perf_counter(), time.process_time()
        gpu = _GpuTimer() if self.device.type == "cuda" else None
        losses = self.train_steps(spec.steps_per_epoch, progress)
        gpu_seconds = gpu.seconds() if gpu else None
        trained, cpu_trained = time.perf_counter(), time.process_time()
        finite = torch.isfinite(losses)
        self.step_losses.append(losses)
        if not finite.all():
            self.diverged = Divergence(epoch, int((~finite).nonzero()[0]) + 1)
            return
        # What is validated depends on the epoch alone, never on the budget: a continued run equals another.
        validation = running = None
        if spec.model not in MILESTONE_MODELS or epoch in MILESTONES:
            validation = validation_loss(self.model, self.validation_images)
        if spec.model in ENCODER_MODELS:
            running = running_validation_loss(self.model, self.validation_images)
        if not all(np.isfinite(loss) for loss in (validation, running) if loss is not None):
            self.diverged = Divergence(epoch, spec.steps_per_epoch)
            return
        self.history.append(
            Epoch(
                epoch=epoch,
                train_loss=losses.mean(dtype=torch.float64).item(),
                validation_loss=validation,
                train_seconds=round(trained - started, 3),
                validation_seconds=round(time.perf_counter() - trained, 3),
                validation_loss_running=running,
                train_cpu_seconds=round(cpu_trained - cpu_started, 3),
                validation_cpu_seconds=round(time.process_time() - cpu_trained, 3),
                train_gpu_seconds=gpu_seconds,
            )
        )

    def train_steps(self, steps: int, progress: "StepObserver | None" = None) -> Tensor:
        """Take the first steps of the epoch at hand.

        Parameters
        ----------
        steps
            How many, up to those of an epoch.
        progress
            Is told of every step.

        Returns
        -------
        Tensor
            Their losses [steps] on the CPU, SSE per image.
        """
        done = len(self.history) * self.spec.steps_per_epoch
        self.begin_epoch()
        step = self._prepare_step(len(self.history) + 1)
        for i in range(steps):
            step()
            if progress is not None:
                progress.update(done + i + 1, self._losses[: i + 1])
        return self._losses[:steps].to("cpu", torch.float32, copy=True)

    def losses(self, epochs: int) -> Losses:
        """The loss of every step of the first epochs, float32 [steps], SSE per image."""
        kept = self.step_losses[:epochs]
        return np.concatenate([losses.numpy() for losses in kept]) if kept else np.empty(0, np.float32)

    def record(self, epochs: int) -> RunRecord:
        """The record of the first `epochs` epochs."""
        diverged = self.diverged if self.diverged and self.diverged.epoch <= epochs else None
        return RunRecord(
            spec=self.spec,
            epochs=epochs,
            parameters=self.parameters,
            data=self.data,
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
            "format": CHECKPOINT_FORMATS[-1],
            "digest": self.spec.digest,
            "data": self.data,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "batch_order": self.batch_order.get_state(),
            "step_losses": self.step_losses,
            "history": [dataclasses.asdict(epoch) for epoch in self.history],
            "sessions": [dataclasses.asdict(session) for session in self.sessions],
            "diverged": dataclasses.asdict(self.diverged) if self.diverged else None,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up a run where `state` was taken."""
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.batch_order.set_state(state["batch_order"])
        self.step_losses = state["step_losses"]
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self.sessions = [Session(**session) for session in state["sessions"]]
        self.diverged = Divergence(**state["diverged"]) if state["diverged"] else None


class _GpuTimer:
    """Time on a GPU's own clock since this was made."""

    def __init__(self) -> None:
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        self._events[0].record()

    def seconds(self) -> float:
        """Wait for what was asked of the GPU so far, and give the time until its end."""
        first, last = self._events
        last.record()
        last.synchronize()
        milliseconds: float = first.elapsed_time(last)
        return round(milliseconds / 1e3, 3)


def captured_step(run: Trajectory) -> Callable[[], None]:
    """Record `Trajectory.next_step` as a CUDA graph: replaying it costs the host one launch.

    Parameters
    ----------
    run
        A run on a CUDA device, at the beginning of an epoch. It is left as it was: the steps that
        warm up are undone.

    Returns
    -------
    Callable
        Takes the next step.
    """
    (adam,) = run.optimizers
    model, moments = copy.deepcopy(run.model.state_dict()), copy.deepcopy(adam.state_dict())
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run.next_step()
            run.rewind()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run.next_step()
    # Put back in place: the graph works on these very tensors.
    run.model.load_state_dict(model)
    adam.load_state_dict(moments)
    return graph.replay


class StepObserver(Protocol):
    """Is told of every step of a training."""

    def update(self, step: int, epoch_losses: Tensor) -> None:
        """Note that `step` steps are done, with the losses of this epoch's so far."""


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


def require_device(device: str) -> None:
    """Check that a device can be used; `UsageError` says which can."""
    allowed = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    if device not in allowed:
        raise UsageError(f"device: {device!r} is not here; allowed are {', '.join(allowed)}")


def prepare_process(threads: int) -> None:
    """Set up this process for training: threads, determinism, float32 that is float32, memory."""
    torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic with it only
    torch.backends.cudnn.allow_tf32 = False
    # As torch.use_deterministic_algorithms, which imports torch's compiler besides: a second a process.
    torch.set_deterministic_debug_mode("error")
    # That would also fill every new tensor with NaN; nothing here reads what it has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Let the C library keep what is freed for the next step, in place of returning it to the system.

    Every step allocates the same few MiB. Handing them back and forth costs thousands of page faults
    a step. Does nothing where the library has no such setting (it is glibc's).
    """
    trim_threshold, mmap_threshold, never = -1, -3, 2**30
    try:
        library = ctypes.CDLL(None)
        library.mallopt(mmap_threshold, never)
        library.mallopt(trim_threshold, never)
    except (AttributeError, OSError):
        return


def train(
    spec: RunSpec,
    epochs: int,
    store: RunStore,
    *,
    threads: int = 1,
    device: str = "cpu",
    origin_pass: str = "fast",
    evaluations: Sequence[str] = (),
) -> RunRecord:
    """Train a run up to a number of epochs, and record it.

    What the store holds is used: a record is returned as it is, and a checkpoint is continued, bit for
    bit as if the run had never stopped. After every epoch a checkpoint is written, and at each of
    `gon.runs.MILESTONES` a record. A shorter run than the checkpoint's is trained anew beside it.

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
    device
        "cpu" or "cuda".
    origin_pass
        One of `gon.models.ORIGIN_PASSES`; equal up to rounding. Models without a latent by gradient
        have one form only.
    evaluations
        Keys of `gon.runs.EVALUATIONS` that are made with every record.

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
    if origin_pass not in ORIGIN_PASSES:
        raise UsageError(f"origin_pass: {origin_pass!r} is not known; allowed are {', '.join(ORIGIN_PASSES)}")
    if epochs != spec.epochs_at(epochs):
        raise UsageError(
            f"epochs: {epochs} is not allowed for the model {spec.model!r}, which is computed in one pass; "
            f"{spec.epochs_at(epochs)} is"
        )
    with store.lock(spec):
        if not store.has(spec, epochs):
            _train(spec, epochs, store, threads, device, origin_pass, evaluations)
        for recorded in store.recorded(spec.digest):
            if recorded <= epochs:
                _evaluate(store.load(spec, recorded), store, evaluations)
        return store.load(spec, epochs)


def _train(
    spec: RunSpec,
    epochs: int,
    store: RunStore,
    threads: int,
    device: str,
    origin_pass: str,
    evaluations: Sequence[str],
) -> None:
    prepare_process(threads)
    train_images, validation_images, digests = load_split(spec)
    new_run = functools.partial(
        Trajectory,
        spec,
        train_images,
        validation_images,
        device=device,
        origin_pass=origin_pass,
        digests=digests,
    )
    run, keep_state = new_run(), True
    checkpoint = store.checkpoint_path(spec)
    if checkpoint.exists():
        _load_checkpoint(run, checkpoint, store)
        if len(run.history) > epochs or (run.diverged and run.diverged.epoch > epochs):
            # What the model was then is gone: train the shorter run again, and keep the longer one.
            run, keep_state = new_run(), False
    try:
        _continue(run, epochs, store, keep_state, evaluations)
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


def _save_record(run: Trajectory, epochs: int, store: RunStore, keep_state: bool) -> RunRecord:
    """Write the record of a run that has come so far, with its weights and images beside it."""
    spec, record, images = run.spec, run.record(epochs), {}
    if keep_state:
        checkpoint = sha256_of_file(store.checkpoint_path(spec))
        record = dataclasses.replace(record, files={"checkpoint": checkpoint})
    if not run.diverged:  # one that diverged shows no images
        images = make_images(run.model, run.images, run.validation_images)
        _save_tensors(run.model.state_dict(), store.weights_path(spec, epochs))
    store.save_images(spec, epochs, {kind: tensor.tolist() for kind, tensor in images.items()})
    return store.save(record, run.losses(record.diverged.epoch if record.diverged else epochs))


def load_split(spec: RunSpec) -> tuple[Tensor, Tensor, dict[str, str]]:
    """The images of a spec's split.

    Returns
    -------
    tuple
        uint8 images [n, channels, 32, 32] to train and to validate on, and the digests of the data.
        Mapped, not read: the runs of one machine share the pages.
    """
    prepared = data.load(spec.dataset)
    train_images, validation_images = prepared.train, prepared.validation
    if spec.split == "held_out":
        available, _ = spec.available_images
        train_images, validation_images = train_images[:available], train_images[available:]
    return (
        torch.from_numpy(train_images[: spec.train_images]),
        torch.from_numpy(validation_images[: spec.validation_images]),
        prepared.digests,
    )


def evaluate_run(spec: RunSpec, epochs: int, store: RunStore, evaluation: str, *, threads: int = 1) -> None:
    """Evaluate a recorded run in a further way, and keep the result beside its record.

    Parameters
    ----------
    spec, epochs
        The run, trained and recorded.
    store
        Where it lies.
    evaluation
        One of `gon.runs.EVALUATIONS`.
    threads
        Threads of the process.

    Raises
    ------
    GonError
        If the run has no record or no weights at that number of epochs.
    """
    with store.lock(spec):
        prepare_process(threads)
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
        model.load_state_dict(_load_tensors(store.weights_path(spec, epochs)))
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
        run.train_epoch(progress)
        session = dataclasses.replace(
            session,
            last_epoch=run.diverged.epoch if run.diverged else len(run.history),
            peak_memory_mib=provenance.peak_memory_mib(),
            compiled=run.compiled,
            compiler=run.compiler,
        )
        run.sessions = [*earlier, session]
        if keep_state:
            _save_tensors(run.state(), store.checkpoint_path(spec))
    if not store.has(spec, epochs):
        _save_record(run, epochs, store, keep_state)


def session_of(run: Trajectory) -> Session:
    """A session that begins with the next epoch: what this process runs on."""
    first_epoch = len(run.history) + 1
    machine = {**provenance.machine(), "torch_instruction_set": torch.backends.cpu.get_cpu_capability()}
    if run.device.type == "cuda":
        machine["gpu"] = torch.cuda.get_device_name()
    return Session(
        first_epoch=first_epoch,
        last_epoch=first_epoch,
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        peak_memory_mib=0.0,
        machine=machine,
        versions={
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
        device=run.device.type,
        dtype="float64" if isinstance(run.model, PCA) else "float32",
        threads=torch.get_num_threads(),
        origin_pass=run.model.origin_pass,
        compiled=run.compiled,
        compiler=run.compiler,
        commit=provenance.commit(),
        code=provenance.code(),
    )


def _save_tensors(state: dict[str, Any], path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(path, buffer.getvalue())


_HINT = "The file was left as it is; move it away to train the run from its start"


def _load_tensors(path: Path) -> dict[str, Any]:
    """Read what `_save_tensors` wrote; a file that is damaged is named and left as it is."""
    try:
        # It is a zip file: its checksums show a damage that the loader would take as weights.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise GonError(f"{path}: the file is damaged (checksum of {damaged}). {_HINT}")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise GonError(f"{path}: not there; move the run's record away to train the run anew") from error
    except (zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise GonError(f"{path}: the file is cut short or damaged ({error}). {_HINT}") from error
    return state


def _load_checkpoint(run: Trajectory, path: Path, store: RunStore) -> None:
    """Continue from a checkpoint that agrees with the data and with every record of the run."""
    state = _load_tensors(path)
    found = (state.get("format"), state.get("digest"))
    if found[0] not in CHECKPOINT_FORMATS or found[1] != run.spec.digest:
        raise GonError(
            f"{path}: a checkpoint of format {found[0]!r} and run {found[1]!r}; expected format "
            f"{' or '.join(map(str, CHECKPOINT_FORMATS))} and run {run.spec.digest!r}. {_HINT}"
        )
    if state["data"] != run.data:
        changed = next(
            key for key in {**state["data"], **run.data} if state["data"].get(key) != run.data.get(key)
        )
        raise GonError(
            f"{path}: was trained on other data: its digest of {changed} is {state['data'].get(changed)}, "
            f"that of the data in place {run.data.get(changed)}. {_HINT}"
        )
    run.load_state(state)
    losses = run.losses(len(run.step_losses))
    for epochs in store.recorded(run.spec.digest):
        known, record = store.load(run.spec, epochs), store.record_path(run.spec, epochs)
        chain = trajectory_chain(run.spec, run.data, run.history, losses, format=known.format)
        shared = min(len(chain), len(known.chain))
        if known.chain[:shared] != chain[:shared] and same_kind(known.sessions, run.sessions, shared):
            raise GonError(f"{path}: its losses differ from those recorded in {record}. {_HINT}")
        expected, sha256 = known.files.get("checkpoint"), sha256_of_file(path)
        if known.chain == chain and expected not in (None, sha256):
            raise GonError(
                f"{path}: altered after it was written: its SHA-256 is {sha256}, {record} says {expected}. "
                f"{_HINT}"
            )


def check_checkpoint(spec: RunSpec, store: RunStore) -> None:
    """Read the checkpoint of a run, if it has one, as a longer training would; nothing is changed.

    Raises
    ------
    GonError
        If it is damaged, or disagrees with the data or a record.
    """
    path = store.checkpoint_path(spec)
    if path.exists():
        train_images, validation_images, digests = load_split(spec)
        run = Trajectory(
            spec, train_images, validation_images, device="cpu", origin_pass="fast", digests=digests
        )
        _load_checkpoint(run, path, store)
