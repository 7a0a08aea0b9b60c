"""Runs: what determines one (spec), what it gave (record), and where it lies (store).

A run is a trajectory: one model trained on one data set with one seed. The number of epochs is not
part of its identity; a budget asks for a prefix of the trajectory, and a larger budget continues it.
Nothing here imports torch, so records can be read, checked and rendered on any machine.
"""

import contextlib
import csv
import dataclasses
import fcntl
import hashlib
import io
import itertools
import json
import math
import os
import re
import tempfile
import types
import typing
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gon.catalogue import ACTIVATIONS, DATASETS, IMAGE_SIZE
from gon.errors import GonError, UsageError

RECORD_FORMAT = 5
"""Of the records that are written. Every format from `OLDEST_FORMAT` on stays readable."""
OLDEST_FORMAT = 4

MILESTONES = (1, 5, 50, 200, 500)
"""Epochs at which a training leaves a record on its way to a larger number."""

MODELS = {
    "gon": "GON",
    "gon_detached": "detached GON",
    "autoencoder": "autoencoder",
    "tied_autoencoder": "tied autoencoder",
    "glo": "GLO",
    "vae": "variational autoencoder",
    "pca": "PCA",
    "variational_gon": "variational GON",
    "implicit_gon": "implicit GON",
}
"""Models: name in parameter files, and name as printed. What they do stands in `gon.models`."""

NUMERICS = {
    "gon": 3,
    "gon_detached": 3,
    "autoencoder": 4,
    "tied_autoencoder": 4,
    "glo": 4,
    "vae": 4,
    "pca": 3,
    "variational_gon": 4,
    "implicit_gon": 4,
}
"""Version of each model's arithmetic, raised by hand whenever a change moves the numbers of its runs
(tests/test_science.py notices).

It is part of a run's digest: raising it makes the runs of that model train anew, and a change of code that
leaves the arithmetic alone, a comment say, retrains nothing. Those of `gon` and `gon_detached` are frozen:
the reference records rest on them.
"""

EXACT_MODELS = ("pca",)
"""Models that are computed in one pass, not trained: the same at every number of epochs, from every seed."""

SPLITS = {
    "test": "all training images, validated on the test images",
    "held_out": "all training images but the last 10,000, validated on those",
}
"""What is trained and validated on; `test` is what the authors' code suggests."""
HELD_OUT_IMAGES = 10_000

ENCODER_MODELS = ("autoencoder", "tied_autoencoder", "vae")
"""Models with an encoder. They can be validated with the running statistics of their batch norms too; for
GON these would change the inner gradient by orders of magnitude."""

MILESTONE_MODELS = ("glo",)
"""Models whose validation costs more than an epoch of training; they are validated at milestones only."""

# Settings that a model does not have; they keep their default, so that no two digests mean the same.
_UNUSED = {
    "autoencoder": ("inner_steps",),
    "tied_autoencoder": ("inner_steps",),
    "glo": ("inner_steps",),
    "vae": ("inner_steps",),
    "pca": ("inner_steps", "width", "activation", "learning_rate", "seed"),
    "variational_gon": ("inner_steps",),
    "implicit_gon": ("inner_steps", "activation"),
}

# The largest values that make sense; they turn a slip of the keyboard into an error at once
# instead of an allocation failure an hour later.
_LARGEST = {"latent_dim": 65_536, "width": 4_096, "inner_steps": 1_000, "seed": 2**31 - 1}


EVALUATIONS = {
    "protocols": "validation loss by other protocols (SSE per image)",
    "fitting": "validation loss by number and size of the steps that fit the latents (SSE per image)",
    "inner_step": "a second inner step: its share of the latent, and validation losses (SSE per image)",
    "latent_scale": "validation loss by a factor that scales the latents (SSE per image)",
    "dead_units": "shares of the decoder's channels that no gradient passes at the origin",
}
"""Further evaluations of a trained model, made by `gon evaluate` where a claim asks for them."""

AVERAGED_EPOCHS = 5
"""Epochs that the measure of a loss is averaged over, from 50 epochs on."""

Image = list[list[list[int]]]
"""Pixels from 0 to 255 as [channels][height][width]."""


@dataclass(frozen=True)
class RunSpec:
    """Everything that determines the numbers of a run, and nothing else.

    Attributes
    ----------
    dataset
        Name of the data set, a key of ``gon.catalogue.DATASETS``.
    model
        Name of the model, a key of ``MODELS``.
    latent_dim
        Size of the latent vector z.
    width
        Channels of the decoder's last hidden layer, w (authors' code: 16); of an implicit network,
        the units of a hidden layer.
    activation
        Non-linearity of the decoder, a key of ``gon.catalogue.ACTIVATIONS``.
    inner_steps
        Gradient steps that lead from the origin to the latent (report, section 4.3).
    learning_rate
        Step size of Adam (authors' code: 1e-4).
    batch_size
        Images per step. The inner loss is a mean over the batch, so this is part of the model.
    seed
        Seeds the initial weights and the order of the batches.
    split
        What is trained and validated on, a key of ``SPLITS``.
    train_images, validation_images
        The first so many images of each split are used; None stands for all of them.
    numerics
        Version of the model's arithmetic; None stands for today's, see ``NUMERICS``.

    Raises
    ------
    UsageError
        If a value has the wrong type or is out of range; names key, value and what is allowed.
    """

    dataset: str = "mnist"
    model: str = "gon"
    latent_dim: int = 64
    width: int = 16
    activation: str = "elu"
    inner_steps: int = 1
    learning_rate: float = 1e-4
    batch_size: int = 64
    seed: int = 0
    split: str = "test"
    train_images: int | None = None
    validation_images: int | None = None
    numerics: int | None = None

    def __post_init__(self) -> None:
        """Check every value, and write a split that is used whole as its size."""
        _require_choice("dataset", self.dataset, DATASETS)
        _require_choice("model", self.model, MODELS)
        _require_choice("activation", self.activation, ACTIVATIONS)
        _require_choice("split", self.split, SPLITS)
        for key, available in zip(("train_images", "validation_images"), self.available_images, strict=True):
            if getattr(self, key) is None:
                object.__setattr__(self, key, available)
            _require_integer(key, getattr(self, key), 1, available)
        for key in ("latent_dim", "width", "inner_steps"):
            _require_integer(key, getattr(self, key), 1, _LARGEST[key])
        _require_integer("seed", self.seed, 0, _LARGEST["seed"])
        # A batch norm over a single image, or no full batch at all, would leave nothing to train.
        _require_integer("batch_size", self.batch_size, 2, typing.cast(int, self.train_images))
        if self.numerics is None:
            object.__setattr__(self, "numerics", NUMERICS[self.model])
        _require_integer("numerics", self.numerics, 1, NUMERICS[self.model])
        rate = self.learning_rate
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate <= 1:
            raise UsageError(f"learning_rate: {rate!r} is not allowed; a number above 0 and up to 1 is")
        object.__setattr__(self, "learning_rate", float(rate))
        for key in _UNUSED.get(self.model, ()):
            value, default = getattr(self, key), getattr(RunSpec, key)
            if value != default:
                raise UsageError(
                    f"{key}: {value!r} has no effect on the model {self.model!r}; allowed is {default!r}"
                )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Make a spec from a mapping; an unknown key raises `UsageError`."""
        known = {f.name for f in dataclasses.fields(cls)}
        for key in values:
            if key not in known:
                raise UsageError(f"{key}: not a setting of a run; allowed are {', '.join(sorted(known))}")
        return cls(**values)

    @property
    def digest(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the spec as canonical JSON.

        A field that was added later, which its metadata say (`later`), enters only where it differs from
        its default: the digests of all specs that there were before stay as they are.
        """
        content = {
            f.name: value
            for f in dataclasses.fields(self)
            if (value := getattr(self, f.name)) != f.default or not f.metadata.get("later")
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def model_label(self) -> str:
        """The model for people, with its inner steps if more than one."""
        steps = f" with {self.inner_steps} inner steps" if self.inner_steps != 1 else ""
        return MODELS[self.model] + steps

    @property
    def label(self) -> str:
        """A short description for people: what differs from the defaults, after data set and size."""
        return (
            self.settings_label if self.model in EXACT_MODELS else f"{self.settings_label}, seed {self.seed}"
        )

    @property
    def settings_label(self) -> str:
        """The same without the seed: what all seeds share."""
        parts = [DATASETS[self.dataset].title]
        if self.model != "gon":
            parts.append(MODELS[self.model])
        parts.append(f"latent {self.latent_dim}")
        if "activation" not in _UNUSED.get(self.model, ()):
            parts.append(ACTIVATIONS[self.activation])
        if self.inner_steps != 1:
            parts.append(f"{self.inner_steps} inner steps")
        for key in ("width", "learning_rate", "batch_size"):
            if getattr(self, key) != getattr(RunSpec, key):
                parts.append(f"{key.replace('_', ' ')} {getattr(self, key):g}")
        if self.split != "test":
            parts.append("held-out split")
        return ", ".join(parts)

    def arguments(self) -> list[str]:
        """The spec as options of `gon train`; what has its default value is left out."""
        arguments, plain = [], RunSpec(dataset=self.dataset, model=self.model)
        for spec_field in dataclasses.fields(self):
            value = getattr(self, spec_field.name)
            default = RunSpec.model if spec_field.name == "model" else getattr(plain, spec_field.name)
            if value != default:
                arguments += [f"--{spec_field.name.replace('_', '-')}", str(value)]
        return ["--dataset", self.dataset, *arguments]

    @property
    def available_images(self) -> tuple[int, int]:
        """Images that there are to train and to validate on."""
        dataset = DATASETS[self.dataset]
        if self.split == "held_out":
            return dataset.train_images - HELD_OUT_IMAGES, HELD_OUT_IMAGES
        return dataset.train_images, dataset.validation_images

    @property
    def uses_all_images(self) -> bool:
        """Whether all images are used that there are."""
        return (self.train_images, self.validation_images) == self.available_images

    def epochs_at(self, epochs: int) -> int:
        """Epochs of this run at a budget; one for a model that is computed, whatever the budget."""
        return 1 if self.model in EXACT_MODELS else epochs

    @property
    def pixels(self) -> int:
        """Pixels per image; the loss is a sum over them."""
        return IMAGE_SIZE * IMAGE_SIZE

    @property
    def parameters(self) -> int:
        """Number of trained parameters, where it follows from the settings by a formula.

        Raises
        ------
        UsageError
            If the model is another than GON and the autoencoder.
        """
        hidden = (4 * self.width, 2 * self.width, self.width)
        channels = (self.latent_dim, *hidden, DATASETS[self.dataset].channels)
        kernels = 16 * sum(a * b for a, b in itertools.pairwise(channels))
        norms = 2 * sum(hidden)  # weight and bias of each
        decoder = kernels + sum(channels[1:]) + norms
        if self.model in ("gon", "gon_detached"):
            return decoder
        if self.model == "autoencoder":
            return decoder + kernels + sum(channels[:-1]) + norms
        raise UsageError(f"model: the number of parameters of {self.model!r} is not given by a formula")

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps per epoch; the last partial batch is dropped, as the authors do."""
        return typing.cast(int, self.train_images) // self.batch_size


def _require_choice(key: str, value: object, allowed: Mapping[str, Any] | tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in allowed:
        raise UsageError(f"{key}: {value!r} is not known; allowed are {', '.join(allowed)}")


def _require_integer(key: str, value: object, smallest: int, largest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not smallest <= value <= largest:
        raise UsageError(f"{key}: {value!r} is not allowed; a whole number from {smallest} to {largest} is")


_SINCE_5 = {"since": 5}
"""Metadata of a field that records have from format 5 on."""


@dataclass(frozen=True)
class Epoch:
    """One epoch of a trajectory. Losses are summed squared errors per image.

    Attributes
    ----------
    epoch
        Number of the epoch, from 1.
    train_loss
        Mean over the epoch's steps of the loss that each step minimised.
    validation_loss
        Mean over all validation images after the epoch, with the statistics of the batch; None where the
        model is validated at milestones only.
    train_seconds, validation_seconds
        Wall time of the steps and of the validation.
    validation_loss_running
        The same with the running statistics of the training, for models with an encoder; None for others.
    train_cpu_seconds, validation_cpu_seconds
        Time that the process had a processor for; None in records of format 4. A busy machine does not
        make it longer.
    train_gpu_seconds
        Time between the first and the last step on a GPU's own clock; None without a GPU.
    """

    epoch: int
    train_loss: float
    validation_loss: float | None
    train_seconds: float
    validation_seconds: float
    validation_loss_running: float | None = field(default=None, metadata=_SINCE_5)
    train_cpu_seconds: float | None = field(default=None, metadata=_SINCE_5)
    validation_cpu_seconds: float | None = field(default=None, metadata=_SINCE_5)
    train_gpu_seconds: float | None = field(default=None, metadata=_SINCE_5)

    @property
    def compute_seconds(self) -> float:
        """Time of the steps on the device that computed: the GPU's or the processor's, else wall time."""
        for seconds in (self.train_gpu_seconds, self.train_cpu_seconds):
            if seconds is not None:
                return seconds
        return self.train_seconds


@dataclass(frozen=True)
class Session:
    """One uninterrupted stretch of training: which epochs, on what, with which versions.

    Attributes
    ----------
    first_epoch, last_epoch
        The epochs that it trained, both included.
    started
        When it started, ISO 8601 in UTC.
    peak_memory_mib
        Largest resident memory of the process, in MiB.
    machine
        Processor (name, vendor, family, model, stepping), the instruction sets that it has and those that
        torch and oneDNN may use, memory, operating system, cores.
    versions
        Versions of Python and of the libraries that compute.
    device, dtype, threads, origin_pass
        What ran: "cpu" or "cuda", "float32" or "float64", threads per process, and which implementation
        of the latent ("none" for models whose latent is no gradient).
    compiled
        Whether the step was compiled, and if so from which epoch on, or why not.
    commit
        Git commit of the project, with "+changes" where the work tree differed; None outside git.
    compiler
        The C++ compiler that compiled the step; None where none did.
    code
        SHA-256 of the source files that compute; None in records of format 4.
    """

    first_epoch: int
    last_epoch: int
    started: str
    peak_memory_mib: float
    machine: dict[str, str | int]
    versions: dict[str, str]
    device: str
    dtype: str
    threads: int
    origin_pass: str
    compiled: str
    commit: str | None
    compiler: str | None = field(default=None, metadata=_SINCE_5)
    code: str | None = field(default=None, metadata=_SINCE_5)

    @property
    def kind(self) -> dict[str, str | int]:
        """What decides the bits of a training, as far as it is known: the kind of machine and software."""
        facts: dict[str, str | int | None] = {
            **{key: value for key, value in self.machine.items() if key in _KIND_OF_MACHINE},
            "torch": self.versions.get("torch"),
            "device": self.device,
            "dtype": self.dtype,
            "threads": self.threads,
            "origin pass": self.origin_pass,
            "compiler": self.compiler,
        }
        return {key: value for key, value in facts.items() if value is not None}


_KIND_OF_MACHINE = (
    "processor",
    "vendor",
    "family",
    "model",
    "stepping",
    "instruction_sets",
    "torch_instruction_set",
    "onednn_instruction_set",
    "gpu",
)


def differing_kind(a: Session, b: Session) -> dict[str, tuple[str | int, str | int]]:
    """What is known of two sessions and not the same; where nothing is, not a bit may differ."""
    return {
        key: (value, b.kind[key]) for key, value in a.kind.items() if key in b.kind and b.kind[key] != value
    }


def same_kind(a: Sequence[Session], b: Sequence[Session], epochs: int) -> bool:
    """Whether, as far as is known, the first epochs of two trainings were trained on one kind of machine."""
    first = [s for sessions in (a, b) for s in sessions if s.first_epoch <= epochs]
    return not any(differing_kind(first[0], other) for other in first)


@dataclass(frozen=True)
class Divergence:
    """Where the loss stopped being a finite number: epoch and step, both from 1."""

    epoch: int
    step: int


@dataclass(frozen=True)
class RunRecord:
    """What a run gave up to a number of epochs.

    Attributes
    ----------
    spec
        What was run.
    epochs
        The number of epochs asked for. The history is shorter only if the run diverged.
    parameters
        Number of trained parameters.
    data
        Digests of the data: file or array name to hexadecimal digest.
    history
        One entry per epoch.
    sessions
        The stretches of training that led here.
    diverged
        Where the loss stopped being finite, or None.
    chain
        A digest per epoch, see `trajectory_chain`; `RunStore.save` fills it in.
    files
        SHA-256 of the files that were left beside the record, likewise: "images" and "weights", either of
        which may have been removed, and "checkpoint" as it was at the record's end: a longer training
        replaces it. In format 4 that of the "steps" too, which the chain covers since.
    """

    spec: RunSpec
    epochs: int
    parameters: int
    data: dict[str, str]
    history: list[Epoch]
    sessions: list[Session]
    diverged: Divergence | None = None
    chain: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    format: int = field(default=RECORD_FORMAT)

    @property
    def last(self) -> Epoch:
        """The last epoch of a run that did not diverge; `GonError` for one that did."""
        if self.diverged is not None or not self.history:
            raise GonError(f"run {self.spec.digest} ({self.spec.label}) diverged; it has no final loss")
        return self.history[-1]

    @property
    def trajectory(self) -> str:
        """The last link of the chain: what the run gave, whenever and however long it took."""
        return self.chain[-1] if self.chain else ""

    @property
    def divergence(self) -> str | None:
        """Where the loss stopped being finite, in words; None if it did not."""
        if self.diverged is None:
            return None
        return f"diverged in epoch {self.diverged.epoch}, step {self.diverged.step}"

    @property
    def train_seconds(self) -> float:
        """Wall time of all training steps."""
        return sum(epoch.train_seconds for epoch in self.history)

    @property
    def compute_seconds(self) -> float:
        """Time of all training steps on the device, see `Epoch.compute_seconds`."""
        return sum(epoch.compute_seconds for epoch in self.history)

    @property
    def step_milliseconds(self) -> float | None:
        """Mean time of a training step on the device.

        None without a full epoch, or where nothing is trained.
        """
        steps = len(self.history) * self.spec.steps_per_epoch
        if self.spec.model in EXACT_MODELS or not steps:
            return None
        return 1e3 * self.compute_seconds / steps

    def loss(self, quantity: str, epochs: int) -> float | None:
        """The measure of a loss after a number of epochs.

        The mean over the last five epochs from 50 epochs on, that of the last epoch before: single epochs
        of a long training scatter. Of a model that is validated at milestones only, what is there.

        Parameters
        ----------
        quantity
            "train_loss", "validation_loss" or "validation_loss_running".
        epochs
            After how many epochs; a model that is computed gives the same after any.

        Returns
        -------
        float or None
            Summed squared error per image; None where the run did not come so far, or has no such loss.
        """
        epochs = self.spec.epochs_at(epochs)
        if not 1 <= epochs <= len(self.history):
            return None
        window = self.history[max(0, epochs - (AVERAGED_EPOCHS if epochs >= 50 else 1)) : epochs]
        values: list[float | None] = [getattr(epoch, quantity) for epoch in window]
        known = [value for value in values if value is not None]
        return math.fsum(known) / len(known) if values[-1] is not None else None

    @property
    def steps_name(self) -> str:
        """Name of the file with the loss of every step, which all milestones of a trajectory share.

        A training that starts again, on another machine say, is another trajectory: the file carries the
        time at which the first session started.
        """
        if self.format == 4:
            return f"epochs-{self.epochs}.steps.csv"
        return f"steps-{re.sub('[^0-9]', '', self.sessions[0].started[:19])}.npz"

    def to_json(self) -> str:
        """The record as indented JSON, the digest of its spec first, and that of all the rest last."""
        content = dataclasses.asdict(self)
        for name, kind in (("history", Epoch), ("sessions", Session)):
            later = [f.name for f in dataclasses.fields(kind) if f.metadata.get("since", 0) > self.format]
            content[name] = [{k: v for k, v in entry.items() if k not in later} for entry in content[name]]
        return _sealed({"digest": self.spec.digest, **content}, indent=1)

    @classmethod
    def from_json(cls, text: str, source: Path) -> Self:
        """Read a record and check that it is whole and says what its folder says.

        Parameters
        ----------
        text
            The file's content.
        source
            Its path, for messages.

        Raises
        ------
        GonError
            If the text is cut short, lacks a key, contradicts itself, was altered after it was written, or
            is of other data than the published files; names file, key and value.
        """

        def refuse(what: str) -> GonError:
            return GonError(f"{source}: {what}. {_HINT}")

        try:
            raw = json.loads(text)
        except ValueError as error:
            raise refuse(f"not a whole run record, not readable as JSON ({error})") from error
        if not isinstance(raw, dict):
            raise refuse("not a run record: expected a JSON object")
        digest, seal = raw.pop("digest", None), raw.pop("seal", None)
        try:
            if raw.get("format") not in range(OLDEST_FORMAT, RECORD_FORMAT + 1):
                raise refuse(
                    f"format: {raw.get('format')!r} is not known; allowed are {OLDEST_FORMAT} to "
                    f"{RECORD_FORMAT}"
                )
            record = cls(
                **{
                    **raw,
                    "spec": RunSpec.from_mapping(raw["spec"]),
                    "history": [Epoch(**entry) for entry in raw["history"]],
                    "sessions": [Session(**entry) for entry in raw["sessions"]],
                    "diverged": Divergence(**raw["diverged"]) if raw["diverged"] else None,
                }
            )
            _require_types("", record)
            for name, entries in (("history", record.history), ("sessions", record.sessions)):
                for number, entry in enumerate(entries, start=1):
                    _require_types(f"{name}: entry {number}: ", entry)
            if record.diverged is not None:
                _require_types("diverged: ", record.diverged)
            if digest != record.spec.digest:
                raise refuse(f"digest: {digest!r} is not that of its spec, {record.spec.digest!r}")
            for number, epoch in enumerate(record.history, start=1):
                if epoch.epoch != number:
                    raise refuse(f"history: entry {number} is epoch {epoch.epoch!r}; epochs count up from 1")
            for epoch in record.history:
                for key, expected in (
                    ("validation_loss", _is_validated(record.spec, epoch.epoch)),
                    ("validation_loss_running", record.spec.model in ENCODER_MODELS and record.format > 4),
                ):
                    if (getattr(epoch, key) is not None) != expected:
                        raise refuse(f"history: {key} of epoch {epoch.epoch} is {getattr(epoch, key)!r}")
            if record.diverged is None and len(record.history) != record.epochs:
                raise refuse(f"history: {len(record.history)} epochs, but epochs is {record.epochs!r}")
            reached = 0
            for session in record.sessions:
                if session.first_epoch != reached + 1:
                    raise refuse(
                        f"sessions: one starts at epoch {session.first_epoch}, expected {reached + 1}"
                    )
                reached = session.last_epoch
                datetime.fromisoformat(session.started)
            if reached != len(record.history) + (record.diverged is not None):
                raise refuse(
                    f"sessions: they end with epoch {reached}, the history with {len(record.history)}"
                )
            for file, md5 in DATASETS[record.spec.dataset].md5.items():
                if record.data.get(file) != md5:
                    raise refuse(f"data: MD5 of {file} is {record.data.get(file)}, published is {md5}")
        except KeyError as error:
            raise refuse(f"the key {error} is missing") from error
        except (TypeError, ValueError, AttributeError, UsageError) as error:
            raise refuse(f"not a run record ({error})") from error
        if text != record.to_json():
            found = json.loads(record.to_json())["seal"]
            raise refuse(f"altered after it was written: its digest is {found}, written was {seal}")
        return record


def _is_validated(spec: RunSpec, epoch: int) -> bool:
    # Records of earlier numerics, when every epoch was validated, cannot be told by the format.
    return spec.model not in MILESTONE_MODELS or epoch in MILESTONES or spec.numerics != NUMERICS[spec.model]


def _require_types(where: str, entry: object) -> None:
    """Check the values of a dataclass read from JSON against its annotations; `UsageError` names one."""
    words = {int: "a whole number from 0 up", float: "a finite number from 0 up", str: "a text"}
    for key, hint in typing.get_type_hints(type(entry)).items():
        if not _conforms(getattr(entry, key), hint):
            raise UsageError(
                f"{where}{key}: {getattr(entry, key)!r} is not allowed; {words.get(hint, hint)} is"
            )


def _conforms(value: object, hint: Any) -> bool:
    arguments = typing.get_args(hint)
    if isinstance(hint, types.UnionType):
        return any(_conforms(value, one) for one in arguments)
    if typing.get_origin(hint) is list:
        return isinstance(value, list) and all(_conforms(one, arguments[0]) for one in value)
    if typing.get_origin(hint) is dict:
        return isinstance(value, dict) and all(_conforms(one, arguments[1]) for one in value.values())
    if hint in (int, float):  # counts, losses, times: JSON's true is no number, and none is negative
        if isinstance(value, bool) or not isinstance(value, int if hint is int else (int, float)):
            return False
        return math.isfinite(value) and value >= 0
    return isinstance(value, hint)


Losses = npt.NDArray[np.float32]
"""Training losses [steps], one per step, SSE per image of the batch."""


def trajectory_chain(
    spec: RunSpec,
    data: Mapping[str, str],
    history: Sequence[Epoch],
    step_losses: Sequence[float] | Losses,
    *,
    format: int = RECORD_FORMAT,
) -> list[str]:
    """Chain the epochs of a trajectory: a digest for each, over its losses and the digest before it.

    Equal trainings have equal chains, whatever time they took, and a longer training goes on with the chain
    of a shorter one. A loss that was altered breaks every link from there on.

    Parameters
    ----------
    spec, data
        What was run, and the digests of the data: where the chain starts.
    history
        The epochs.
    step_losses
        Training loss of every step, SSE per image.
    format
        That of the record. In format 4 an epoch in which the run diverged has no link.

    Returns
    -------
    list of str
        SHA-256 in hexadecimal: one per epoch of the history, and one for an epoch that has steps but no
        entry, in which the run diverged.
    """
    losses = np.asarray(step_losses, dtype="<f4")
    link = _sha256(_canonical([spec.digest, dict(sorted(data.items()))]))
    chain = []
    for epoch in history:
        steps = losses[(epoch.epoch - 1) * spec.steps_per_epoch : epoch.epoch * spec.steps_per_epoch]
        values = [epoch.train_loss, epoch.validation_loss]
        if format == 4:
            text = [f"{float(loss):.9g}" for loss in steps]
            link = _sha256(_canonical([link, epoch.epoch, *values, text]))
        else:
            link = _link(link, [epoch.epoch, *values, epoch.validation_loss_running], steps)
        chain.append(link)
    rest = losses[len(history) * spec.steps_per_epoch :]
    if len(rest) and format > 4:
        chain.append(_link(link, [len(history) + 1], rest))
    return chain


def _link(before: str, values: Sequence[float | None], steps: Losses) -> str:
    return _sha256(_canonical([before, *values]).encode() + steps.tobytes())


def _canonical(content: object) -> str:
    return json.dumps(content, separators=(",", ":"))


def _sha256(content: str | bytes) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def _sealed(content: Mapping[str, Any], indent: int | None = None) -> str:
    """A mapping as JSON whose last key is the digest of the rest."""
    separators = (",", ":") if indent is None else None
    sealed = {**content, "seal": _sha256(_canonical(content))}
    return json.dumps(sealed, indent=indent, separators=separators) + "\n"


_HINT = "The file was left as it is; move it away to make it anew"


def read_record(path: Path, files: Mapping[str, Path]) -> RunRecord:
    """Read a record, and check it and the files beside it against their digests.

    Parameters
    ----------
    path
        The record.
    files
        "steps", "images" or "weights" to the file that holds them; those that are to be checked.

    Raises
    ------
    GonError
        If one cannot be read, was altered after it was written, or belongs to another record.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GonError(f"{path}: cannot read the run record ({error})") from error
    record = RunRecord.from_json(text, path)
    _check_files(record, path, files)
    return record


def _check_files(record: RunRecord, path: Path, files: Mapping[str, Path]) -> None:
    """Check what lies beside a record, see `read_record`."""
    for kind, file in files.items():
        if kind == "steps" and record.format > 4:
            continue  # it grows with the training: the chain says what belongs to this record
        found = sha256_of_file(file)
        if found != record.files.get(kind):
            raise GonError(
                f"{file}: altered after it was written, or of another run: its SHA-256 is {found}, "
                f"{path} says {record.files.get(kind)}. {_HINT}"
            )
    if "steps" in files:
        _check_trajectory(record, path, files["steps"])


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file, as sha256sum prints it; `GonError` names a file that cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise GonError(f"{path}: cannot be read ({error.strerror})") from error


def _check_trajectory(record: RunRecord, path: Path, steps_path: Path) -> None:
    """Check a record's chain, and that its training losses are the means of its steps."""
    spec = record.spec
    expected = spec.steps_per_epoch * (record.diverged.epoch if record.diverged else record.epochs)
    losses = read_steps(steps_path)
    if record.format > 4 and len(losses) > expected:
        losses = losses[:expected]  # of a longer training
    chain = trajectory_chain(spec, record.data, record.history, losses, format=record.format)
    for number, (found, written) in enumerate(zip(chain, record.chain, strict=False), start=1):
        mean = None
        if number <= len(record.history):
            steps = losses[(number - 1) * spec.steps_per_epoch : number * spec.steps_per_epoch]
            mean = math.fsum(steps) / max(1, len(steps)), record.history[number - 1].train_loss
        # The losses of format 4 are written with the nine digits that tell any two float32 apart.
        if found != written or (mean is not None and not math.isclose(*mean, rel_tol=1e-7)):
            raise GonError(
                f"{path}: chain: epoch {number} does not follow from its losses and those in "
                f"{steps_path.name}. {_HINT}"
            )
    if len(losses) != expected:
        raise GonError(f"{steps_path}: {len(losses)} steps, expected {expected}. {_HINT}")
    if len(record.chain) != len(chain):
        raise GonError(f"{path}: chain: {len(record.chain)} links, expected {len(chain)}. {_HINT}")


def read_steps(path: Path) -> Losses:
    """Read the training loss of every step.

    Parameters
    ----------
    path
        An `.npz` file of format 5, or a `.csv` of format 4.

    Returns
    -------
    numpy.ndarray
        float32 [steps], SSE per image of the batch.

    Raises
    ------
    GonError
        If it cannot be read.

    Notes
    -----
    In an `.npz` file stand the bytes of the losses in planes, all first bytes, then all second ones, and so
    on, which deflates better: ``numpy.load(path)["planes"].T.copy().view("<f4")[:, 0]`` reads it.
    """
    try:
        if path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as stream:
                return np.asarray([float(row["train_loss"]) for row in csv.DictReader(stream)], dtype="<f4")
        with np.load(path, allow_pickle=False) as archive:
            planes = archive["planes"]
        if planes.dtype != np.uint8 or planes.ndim != 2 or len(planes) != 4:
            raise ValueError(f"holds {planes.dtype} {planes.shape}, expected uint8 (4, steps)")
        losses: Losses = np.ascontiguousarray(planes.T).view("<f4")[:, 0]
    except (OSError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise GonError(f"{path}: cannot read the training loss of every step ({error!r}). {_HINT}") from error
    return losses


def _packed_steps(losses: Sequence[float] | Losses) -> bytes:
    """The content of the file that `read_steps` reads; equal losses give equal bytes."""
    planes = np.ascontiguousarray(np.asarray(losses, dtype="<f4")).view(np.uint8).reshape(-1, 4).T
    buffer = io.BytesIO()
    np.savez_compressed(buffer, planes=planes)
    return buffer.getvalue()


def read_derived(path: Path, spec: RunSpec, epochs: int, key: str, trajectory: str = "") -> dict[str, Any]:
    """Read what was derived from a run: `images` or `losses` by name.

    Parameters
    ----------
    path
        The file.
    spec, epochs
        The run that it must be of.
    key
        "images" or "losses".
    trajectory
        The trajectory that it must have been derived from, see `RunRecord.trajectory`.

    Raises
    ------
    GonError
        If the file is missing, cut short, altered after it was written, or of another run.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
    except (OSError, ValueError) as error:
        raise GonError(f"{path}: cannot be read as JSON ({error}). {_HINT}") from error
    if not isinstance(content, dict) or not isinstance(content.get(key), dict):
        raise GonError(f"{path}: the key {key!r} is missing. {_HINT}")
    seal = content.pop("seal", None)
    if _sealed(content) != text:
        raise GonError(
            f"{path}: altered after it was written: its digest is {_sha256(_canonical(content))}, written "
            f"was {seal}. {_HINT}"
        )
    found = content.get("digest"), content.get("epochs"), content.get("trajectory")
    if found != (spec.digest, epochs, trajectory):
        raise GonError(
            f"{path}: is of run {found[0]!r} with {found[1]!r} epochs, trajectory {found[2]!r}; expected "
            f"run {spec.digest!r} with {epochs}, trajectory {trajectory!r}. {_HINT}"
        )
    values: dict[str, Any] = content[key]
    return values


def read_evaluation(path: Path, record: RunRecord) -> dict[str, float]:
    """Read the losses of a further evaluation, by name; see `read_derived`."""
    losses = read_derived(path, record.spec, record.epochs, "losses", record.trajectory)
    for name, value in losses.items():
        if not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
            raise GonError(f"{path}: losses: {name!r} is {value!r}; a finite number from 0 up is allowed")
    return typing.cast(dict[str, float], losses)


class RunStore:
    """A folder of runs: one folder per spec digest, in it one record per number of epochs.

    Beside the records lie the training loss of every step, one file for all records of a trajectory, and
    the checkpoint from which a larger budget continues. A record is never changed once written: a larger
    budget adds one, and what its file of steps had before stays its beginning.

    Parameters
    ----------
    root
        The folder; made when first written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def folder(self, spec: RunSpec) -> Path:
        """The folder of a run."""
        return self.root / spec.digest

    def record_path(self, spec: RunSpec, epochs: int) -> Path:
        """The record of a run's first `epochs` epochs."""
        return self.folder(spec) / f"epochs-{epochs}.json"

    def steps_path(self, record: RunRecord) -> Path:
        """The training loss of every step of the trajectory that a record is of."""
        return self.folder(record.spec) / record.steps_name

    def images_path(self, spec: RunSpec, epochs: int) -> Path:
        """Images that the model made after a number of epochs, see `load_images`."""
        return self.folder(spec) / f"epochs-{epochs}.images.json"

    def weights_path(self, spec: RunSpec, epochs: int) -> Path:
        """The model after a number of epochs, from which it is evaluated in further ways."""
        return self.folder(spec) / f"epochs-{epochs}.weights.pt"

    def evaluation_path(self, spec: RunSpec, epochs: int, evaluation: str) -> Path:
        """What one of `EVALUATIONS` gave after a number of epochs."""
        return self.folder(spec) / f"epochs-{epochs}.{evaluation}.json"

    def checkpoint_path(self, spec: RunSpec) -> Path:
        """The state from which the run continues."""
        return self.folder(spec) / "checkpoint.pt"

    def progress_path(self, spec: RunSpec) -> Path:
        """Where a run under way says how far it is."""
        return self.folder(spec) / "progress.json"

    def has(self, spec: RunSpec, epochs: int) -> bool:
        """Whether a run has been recorded up to a number of epochs."""
        return self.record_path(spec, epochs).exists()

    def load(self, spec: RunSpec, epochs: int) -> RunRecord:
        """Read a record, and check it and the files beside it.

        Raises
        ------
        GonError
            If it is missing, cut short, altered, or not the record of this spec and number of epochs.
        """
        path = self.record_path(spec, epochs)
        record = read_record(path, {})
        if record.spec != spec or record.epochs != epochs:
            raise GonError(
                f"{path}: holds run {record.spec.digest} with {record.epochs} epochs; expected run "
                f"{spec.digest} with {epochs}. {_HINT}"
            )
        beside = {"images": self.images_path(spec, epochs), "weights": self.weights_path(spec, epochs)}
        there = {kind: file for kind, file in beside.items() if file.exists()}
        _check_files(record, path, {"steps": self.steps_path(record), **there})
        return record

    def recorded(self, folder: str) -> list[int]:
        """Numbers of epochs up to which the run of a folder is recorded, ascending."""
        names = [path.name for path in (self.root / folder).glob("epochs-*.json")]
        return sorted(int(found[1]) for name in names if (found := re.fullmatch(r"epochs-(\d+)\.json", name)))

    def load_steps(self, spec: RunSpec, epochs: int) -> Losses:
        """Read the training loss of every step, a summed squared error per image of the batch."""
        record = self.load(spec, epochs)
        reached = record.diverged.epoch if record.diverged else epochs
        return read_steps(self.steps_path(record))[: reached * spec.steps_per_epoch]

    def load_images(self, spec: RunSpec, epochs: int) -> dict[str, list[Image]]:
        """Read the images that a model made: kind, such as `reconstructions`, to its images.

        They may have been removed; then there are none.

        Raises
        ------
        GonError
            If the file is missing, cut short, altered, or of another run.
        """
        self.load(spec, epochs)
        path = self.images_path(spec, epochs)
        if not path.exists():
            return {}
        images: dict[str, list[Image]] = read_derived(path, spec, epochs, "images")
        return images

    def load_evaluation(self, spec: RunSpec, epochs: int, evaluation: str) -> dict[str, float]:
        """Read the losses that one of `EVALUATIONS` gave, by name.

        Raises
        ------
        GonError
            If the file is missing, cut short, altered, or of another run.
        """
        return read_evaluation(self.evaluation_path(spec, epochs, evaluation), self.load(spec, epochs))

    def save_images(self, spec: RunSpec, epochs: int, images: Mapping[str, list[Image]]) -> None:
        """Write the images that a model made, before its record, which keeps their digest."""
        self._save_derived(self.images_path(spec, epochs), spec, epochs, {"trajectory": "", "images": images})

    def save_evaluation(self, record: RunRecord, evaluation: str, losses: Mapping[str, float]) -> None:
        """Write the losses that one of `EVALUATIONS` gave, by name."""
        path = self.evaluation_path(record.spec, record.epochs, evaluation)
        derived = {"trajectory": record.trajectory, "losses": losses}
        self._save_derived(path, record.spec, record.epochs, derived)

    def _save_derived(self, path: Path, spec: RunSpec, epochs: int, derived: Mapping[str, Any]) -> None:
        write_atomically(path, _sealed({"digest": spec.digest, "epochs": epochs, **derived}))

    def save(self, record: RunRecord, step_losses: Sequence[float] | Losses) -> RunRecord:
        """Write a record and its steps, whole or not at all; images and weights must be there before.

        Parameters
        ----------
        record
            The record.
        step_losses
            Training loss of every step up to its end. A file of steps that is longer already is kept.

        Returns
        -------
        RunRecord
            The record as it was written, with its chain and the digests of the files beside it.

        Raises
        ------
        GonError
            If a file of steps is there that this record does not go on from, or nothing can be written.
        """
        of, steps_path = (record.spec, record.epochs), self.steps_path(record)
        losses = np.asarray(step_losses, dtype="<f4")
        known = read_steps(steps_path) if steps_path.exists() else losses[:0]
        shared = min(len(known), len(losses))
        if known[:shared].tobytes() != losses[:shared].tobytes():
            raise GonError(f"{steps_path}: holds other losses than the training that goes on. {_HINT}")
        if len(losses) > len(known):
            write_atomically(steps_path, _packed_steps(losses))
        paths = {"images": self.images_path(*of), "weights": self.weights_path(*of)}
        sealed = dataclasses.replace(
            record,
            chain=trajectory_chain(record.spec, record.data, record.history, losses, format=record.format),
            files=record.files
            | {kind: sha256_of_file(path) for kind, path in paths.items() if path.exists()},
        )
        write_atomically(self.record_path(*of), sealed.to_json())
        return sealed

    @contextlib.contextmanager
    def lock(self, spec: RunSpec) -> Iterator[None]:
        """Hold a run, so that two processes never train it at the same time; waits for the other."""
        folder = self.folder(spec)
        make_folder(folder)
        with (folder / "lock").open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def make_folder(folder: Path) -> None:
    """Make a folder and its parents; `GonError` names it where that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GonError(f"{folder}: cannot make the folder ({error.strerror})") from error


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all: a reader sees the old content or the new, never a part.

    Raises
    ------
    GonError
        If the folder cannot be made or written to; names the file.
    """
    make_folder(path.parent)
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary: str | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as stream:
            temporary = stream.name
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        # NamedTemporaryFile makes private files; a record is for everyone that may read the folder.
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise GonError(f"{path}: cannot write the file ({error.strerror})") from error
