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
import json
import math
import os
import tempfile
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from gon.catalogue import ACTIVATIONS, DATASETS, IMAGE_SIZE
from gon.errors import GonError, UsageError

NUMERICS_VERSION = 2
"""Raised by hand whenever a change moves the numbers of a run (tests/test_golden.py notices).

It is part of every run's digest: raising it makes every run train anew, and a change of code that
leaves the arithmetic alone, a comment say, retrains nothing.
"""

RECORD_FORMAT = 2
MODELS = ("gon",)

# The largest values that make sense; they turn a slip of the keyboard into an error at once
# instead of an allocation failure an hour later.
_LARGEST = {"latent_dim": 65_536, "width": 4_096, "inner_steps": 1_000, "seed": 2**31 - 1}


@dataclass(frozen=True)
class RunSpec:
    """Everything that determines the numbers of a run, and nothing else.

    Attributes
    ----------
    dataset
        Name of the data set, a key of ``gon.catalogue.DATASETS``.
    model
        Name of the model.
    latent_dim
        Size of the latent vector z.
    width
        Channels of the decoder's last hidden layer, w (authors' code: 16).
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
    train_images, validation_images
        The first so many images of each split are used; None stands for all of them.
    numerics
        Version of the arithmetic, see ``NUMERICS_VERSION``.

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
    train_images: int | None = None
    validation_images: int | None = None
    numerics: int = NUMERICS_VERSION

    def __post_init__(self) -> None:
        """Check every value, and write a split that is used whole as its size."""
        _require_choice("dataset", self.dataset, DATASETS)
        _require_choice("model", self.model, MODELS)
        _require_choice("activation", self.activation, ACTIVATIONS)
        dataset = DATASETS[self.dataset]
        for split in ("train_images", "validation_images"):
            if getattr(self, split) is None:
                object.__setattr__(self, split, getattr(dataset, split))
        _require_integer("train_images", self.train_images, 1, dataset.train_images)
        _require_integer("validation_images", self.validation_images, 1, dataset.validation_images)
        for key in ("latent_dim", "width", "inner_steps"):
            _require_integer(key, getattr(self, key), 1, _LARGEST[key])
        _require_integer("seed", self.seed, 0, _LARGEST["seed"])
        # A batch norm over a single image, or no full batch at all, would leave nothing to train.
        _require_integer("batch_size", self.batch_size, 2, typing.cast(int, self.train_images))
        _require_integer("numerics", self.numerics, 1, NUMERICS_VERSION)
        rate = self.learning_rate
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate <= 1:
            raise UsageError(f"learning_rate: {rate!r} is not allowed; a number above 0 and up to 1 is")
        object.__setattr__(self, "learning_rate", float(rate))

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
        """First 16 hexadecimal digits of the SHA-256 of the spec as canonical JSON."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """A short description for people: what differs from the defaults, after data set and size."""
        parts = [DATASETS[self.dataset].title, f"latent {self.latent_dim}", ACTIVATIONS[self.activation]]
        if self.inner_steps != 1:
            parts.append(f"{self.inner_steps} inner steps")
        for key in ("width", "learning_rate", "batch_size"):
            if getattr(self, key) != getattr(RunSpec, key):
                parts.append(f"{key.replace('_', ' ')} {getattr(self, key):g}")
        return ", ".join([*parts, f"seed {self.seed}"])

    def arguments(self) -> list[str]:
        """The spec as options of `gon train`; what has its default value is left out."""
        arguments = []
        for spec_field in dataclasses.fields(self):
            value = getattr(self, spec_field.name)
            if value != getattr(RunSpec(dataset=self.dataset), spec_field.name):
                arguments += [f"--{spec_field.name.replace('_', '-')}", str(value)]
        return ["--dataset", self.dataset, *arguments]

    @property
    def uses_all_images(self) -> bool:
        """Whether both splits are used whole."""
        dataset = DATASETS[self.dataset]
        return (self.train_images, self.validation_images) == (
            dataset.train_images,
            dataset.validation_images,
        )

    @property
    def pixels(self) -> int:
        """Pixels per image; the loss is a sum over them."""
        return IMAGE_SIZE * IMAGE_SIZE

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
        Mean over all validation images after the epoch.
    train_seconds, validation_seconds
        Wall time of the steps and of the validation.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    train_seconds: float
    validation_seconds: float


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
        Processor, operating system, cores.
    versions
        Versions of Python and of the libraries that compute.
    device, dtype, threads, origin_pass
        What ran: "cpu" or "cuda", "float32", threads per process, and which implementation of the
        latent.
    compiled
        Whether the step was compiled, and if so from which epoch on, or why not.
    commit
        Git commit of the project, with "+changes" where the work tree differed; None outside git.
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
    """

    spec: RunSpec
    epochs: int
    parameters: int
    data: dict[str, str]
    history: list[Epoch]
    sessions: list[Session]
    diverged: Divergence | None = None
    format: int = field(default=RECORD_FORMAT)

    @property
    def last(self) -> Epoch:
        """The last epoch of a run that did not diverge; `GonError` for one that did."""
        if self.diverged is not None or not self.history:
            raise GonError(f"run {self.spec.digest} ({self.spec.label}) diverged; it has no final loss")
        return self.history[-1]

    def to_json(self) -> str:
        """The record as indented JSON, the digest of its spec first."""
        return json.dumps({"digest": self.spec.digest, **dataclasses.asdict(self)}, indent=1) + "\n"

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
            If the text is cut short, lacks a key, or contradicts itself; names file, key and value.
        """

        def refuse(what: str) -> GonError:
            return GonError(f"{source}: {what}. The file was left as it is; move it away to make it anew")

        try:
            raw = json.loads(text)
        except ValueError as error:
            raise refuse(f"not a whole run record, not readable as JSON ({error})") from error
        if not isinstance(raw, dict):
            raise refuse("not a run record: expected a JSON object")
        digest = raw.pop("digest", None)
        try:
            if raw.get("format") != RECORD_FORMAT:
                raise refuse(f"format: {raw.get('format')!r} is not known; allowed is {RECORD_FORMAT}")
            record = cls(
                **{
                    **raw,
                    "spec": RunSpec.from_mapping(raw["spec"]),
                    "history": [Epoch(**entry) for entry in raw["history"]],
                    "sessions": [Session(**entry) for entry in raw["sessions"]],
                    "diverged": Divergence(**raw["diverged"]) if raw["diverged"] else None,
                }
            )
        except KeyError as error:
            raise refuse(f"the key {error} is missing") from error
        except (TypeError, UsageError) as error:
            raise refuse(f"not a run record ({error})") from error
        if digest != record.spec.digest:
            raise refuse(f"digest: {digest!r} is not that of its spec, {record.spec.digest!r}")
        for number, epoch in enumerate(record.history, start=1):
            if epoch.epoch != number:
                raise refuse(f"history: entry {number} is epoch {epoch.epoch!r}; epochs count up from 1")
            for key in ("train_loss", "validation_loss"):
                value = getattr(epoch, key)
                if not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
                    raise refuse(
                        f"history: {key} of epoch {number} is {value!r}; a finite number from 0 up is allowed"
                    )
        if record.diverged is None and len(record.history) != record.epochs:
            raise refuse(f"history: {len(record.history)} epochs, but epochs is {record.epochs!r}")
        return record


class RunStore:
    """A folder of runs: one folder per spec digest, in it one record per number of epochs.

    Beside the records lie the training loss of every step (CSV), and the checkpoint from which a
    larger budget continues. A record is never changed once written: a larger budget adds one.

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

    def steps_path(self, spec: RunSpec, epochs: int) -> Path:
        """The training loss of every step of a run's first `epochs` epochs."""
        return self.folder(spec) / f"epochs-{epochs}.steps.csv"

    def checkpoint_path(self, spec: RunSpec) -> Path:
        """The state from which the run continues."""
        return self.folder(spec) / "checkpoint.pt"

    def progress_path(self, spec: RunSpec) -> Path:
        """Where a run under way says how far it is."""
        return self.folder(spec) / "progress.json"

    def has(self, spec: RunSpec, epochs: int) -> bool:
        """Whether a run has been recorded up to a number of epochs."""
        return self.record_path(spec, epochs).exists() and self.steps_path(spec, epochs).exists()

    def load(self, spec: RunSpec, epochs: int) -> RunRecord:
        """Read and check a record.

        Raises
        ------
        GonError
            If it is missing, cut short, or not the record of this spec and number of epochs.
        """
        path = self.record_path(spec, epochs)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise GonError(f"{path}: cannot read the run record ({error})") from error
        record = RunRecord.from_json(text, path)
        if record.spec != spec or record.epochs != epochs:
            raise GonError(
                f"{path}: holds run {record.spec.digest} with {record.epochs} epochs; expected run "
                f"{spec.digest} with {epochs}. The file was left as it is; move it away to make it anew"
            )
        return record

    def load_steps(self, spec: RunSpec, epochs: int) -> list[float]:
        """Read the training loss of every step, a summed squared error per image of the batch."""
        path = self.steps_path(spec, epochs)
        try:
            with path.open(newline="", encoding="utf-8") as stream:
                losses = [float(row["train_loss"]) for row in csv.DictReader(stream)]
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise GonError(f"{path}: cannot read the training loss of every step ({error!r})") from error
        expected = spec.steps_per_epoch * epochs
        if len(losses) != expected and self.load(spec, epochs).diverged is None:
            raise GonError(
                f"{path}: {len(losses)} steps, expected {expected}. The file was left as it is; "
                "move it away to make it anew"
            )
        return losses

    def save(self, record: RunRecord, step_losses: list[float]) -> None:
        """Write a record and its steps, whole or not at all."""
        lines = ["step,train_loss", *(f"{i},{loss:.9g}" for i, loss in enumerate(step_losses, start=1))]
        write_atomically(self.steps_path(record.spec, record.epochs), "\n".join(lines) + "\n")
        write_atomically(self.record_path(record.spec, record.epochs), record.to_json())

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
