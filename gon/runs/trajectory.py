"""A run under way: model, optimisers and random state, epoch by epoch."""

import dataclasses
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gon.catalogue import MILESTONES
from gon.data import prepared as data
from gon.runs.acceleration import GpuTimer, captured_step, compile_loss
from gon.runs.chain import Losses
from gon.runs.record import Divergence, Epoch, RunRecord, Session
from gon.science.measure import to_float, validation_loss
from gon.science.models import build_model
from gon.science.protocols import running_validation_loss
from gon.spec import RunSpec

COMPILE_AFTER_EPOCHS = 5
"""Epochs that run uncompiled. Compiling pays for itself after about as many (docs/performance.md).
The number is fixed, and not the budget's length, so that a continued run equals an uninterrupted one."""

StepObserver = Callable[[int, Tensor], None]
"""Is told that so many steps are done, with the losses of this epoch's so far."""


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
        One of `gon.science.gon.ORIGIN_PASSES`.
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
        self.model.begin_epoch(self.images)

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
        if self.model.compilable:
            failed, self.compiler = compile_loss(self.model, to_float(self.images[: self.spec.batch_size]))
            self.compiled = failed or f"from epoch {epoch}"

    def train_epoch(self, observe: StepObserver | None = None) -> None:
        """Train one epoch and validate, or note where the loss stopped being finite."""
        spec, epoch = self.spec, len(self.history) + 1
        started, cpu_started = time.perf_counter(), time.process_time()
        gpu = GpuTimer() if self.device.type == "cuda" else None
        losses = self.train_steps(spec.steps_per_epoch, observe)
        gpu_seconds = gpu.seconds() if gpu else None
        trained, cpu_trained = time.perf_counter(), time.process_time()
        finite = torch.isfinite(losses)
        self.step_losses.append(losses)
        if not finite.all():
            self.diverged = Divergence(epoch, int((~finite).nonzero()[0]) + 1)
            return
        # What is validated depends on the epoch alone, never on the budget: a continued run equals another.
        validation = running = None
        if not spec.entry.validated_at_milestones or epoch in MILESTONES:
            validation = validation_loss(self.model, self.validation_images)
        if spec.entry.has_encoder:
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

    def train_steps(self, steps: int, observe: StepObserver | None = None) -> Tensor:
        """Take the first steps of the epoch at hand.

        Parameters
        ----------
        steps
            How many, up to those of an epoch.
        observe
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
            if observe is not None:
                observe(done + i + 1, self._losses[: i + 1])
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
            parameters=sum(parameter.numel() for parameter in self.model.parameters()),
            data=self.data,
            history=self.history[:epochs],
            sessions=[
                dataclasses.replace(session, last_epoch=min(session.last_epoch, epochs))
                for session in self.sessions
                if session.first_epoch <= epochs
            ],
            diverged=diverged,
        )


def new_run(spec: RunSpec, device: str = "cpu", origin_pass: str = "fast") -> Trajectory:
    """The trajectory of a spec at its start, on the prepared data; see `Trajectory`."""
    images, validation_images, digests = load_split(spec)
    return Trajectory(
        spec, images, validation_images, device=device, origin_pass=origin_pass, digests=digests
    )


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
