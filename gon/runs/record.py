"""What a run gave: epochs, sessions, and the record that holds them. Imports no torch."""

import dataclasses
import json
import math
import re
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from gon.catalogue import DATASETS, MILESTONES
from gon.errors import GonError, UsageError
from gon.files import parse_json, sealed
from gon.spec import LARGEST_EPOCHS, RunSpec, meaning

RECORD_FORMAT = 5
"""Of the records that are written. Every format from `OLDEST_FORMAT` on stays readable."""
OLDEST_FORMAT = 4

AVERAGED_EPOCHS = 5
"""Epochs that the measure of a loss is averaged over, from 50 epochs on."""

_SINCE_5 = {"since": 5}
"""Metadata of a field that records have from format 5 on."""


SSE = "summed squared error per image"
"""The unit of every loss."""


@dataclass(frozen=True)
class Epoch:
    """One epoch of a trajectory."""

    epoch: int = meaning("Number of the epoch, from 1")
    train_loss: float = meaning("Mean over the epoch's steps of the loss that each step minimised", SSE)
    validation_loss: float | None = meaning(
        "Mean over all validation images after the epoch, with the statistics of the batch; none where the "
        "model is validated at milestones only",
        SSE,
    )
    train_seconds: float = meaning("Wall time of the steps", "s")
    validation_seconds: float = meaning("Wall time of the validation", "s")
    validation_loss_running: float | None = meaning(
        "The validation loss with the running statistics of the training, of models with an encoder",
        SSE,
        default=None,
        metadata=_SINCE_5,
    )
    train_cpu_seconds: float | None = meaning(
        "Time of the steps on the processor, which a busy machine does not make longer",
        "s",
        default=None,
        metadata=_SINCE_5,
    )
    validation_cpu_seconds: float | None = meaning(
        "Time of the validation on the processor", "s", default=None, metadata=_SINCE_5
    )
    train_gpu_seconds: float | None = meaning(
        "Time of the steps on a GPU's own clock; none without a GPU", "s", default=None, metadata=_SINCE_5
    )

    @property
    def compute_seconds(self) -> float:
        """Time of the steps on the device that computed: the GPU's or the processor's, else wall time."""
        for seconds in (self.train_gpu_seconds, self.train_cpu_seconds):
            if seconds is not None:
                return seconds
        return self.train_seconds


@dataclass(frozen=True)
class Session:
    """One uninterrupted stretch of training: which epochs, on what, with which versions."""

    first_epoch: int = meaning("The first epoch that it trained")
    last_epoch: int = meaning("The last epoch that it trained")
    started: str = meaning("When it started, ISO 8601 in UTC")
    peak_memory_mib: float = meaning("Largest resident memory of the process", "MiB")
    machine: dict[str, str | int] = meaning(
        "Processor (name, vendor, family, model, stepping), the instruction sets that it has and those that "
        "torch and oneDNN may use, memory, operating system, cores"
    )
    versions: dict[str, str] = meaning("Versions of Python and of the libraries that compute")
    device: str = meaning("What it ran on: cpu or cuda")
    dtype: str = meaning("Floating-point type: float32 or float64")
    threads: int = meaning("Threads of the process")
    origin_pass: str = meaning(
        "Implementation of the latent; none for models whose latent is no gradient at the origin"
    )
    compiled: str = meaning("Whether the step was compiled, and if so from which epoch on, or why not")
    commit: str | None = meaning(
        "Git commit of the project, with +changes where the work tree differed; none outside git"
    )
    compiler: str | None = meaning(
        "The C++ compiler that compiled the step; none where none did", default=None, metadata=_SINCE_5
    )
    code: str | None = meaning(
        "SHA-256 of the source files that compute; none in records of format 4",
        default=None,
        metadata=_SINCE_5,
    )

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
    """What of two sessions is not the same, as far as it is known; where nothing is, not a bit may differ.

    Format 4 has no more of a processor than a name that several kinds share: it is not known to be the same.
    """
    kinds = a.kind, b.kind
    keys = [key for key in kinds[0] | kinds[1] if key in _KIND_OF_MACHINE or all(key in k for k in kinds)]
    found = {key: tuple(kind.get(key, "unknown") for kind in kinds) for key in keys}
    return {key: (one, other) for key, (one, other) in found.items() if one != other}


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
        if self.spec.entry.exact or not steps:
            return None
        return 1e3 * self.compute_seconds / steps

    def loss(self, quantity: str, epochs: int | None = None) -> float | None:
        """The measure of a loss after a number of epochs.

        The mean over the last five epochs from 50 epochs on, that of the last epoch before: single epochs
        of a long training scatter. Of a model that is validated at milestones only, what is there.

        Parameters
        ----------
        quantity
            "train_loss", "validation_loss" or "validation_loss_running".
        epochs
            After how many epochs, all if not given; a model that is computed gives the same after any.

        Returns
        -------
        float or None
            Summed squared error per image; None where the run did not come so far, or has no such loss.
        """
        epochs = self.spec.epochs_at(self.epochs if epochs is None else epochs)
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
        content = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        content["spec"] = dataclasses.asdict(self.spec)
        content["diverged"] = None if self.diverged is None else dataclasses.asdict(self.diverged)
        for name, kind in (("history", Epoch), ("sessions", Session)):
            fields = dataclasses.fields(kind)
            names = [f.name for f in fields if f.metadata.get("since", 0) <= self.format]
            content[name] = [{name: getattr(entry, name) for name in names} for entry in content[name]]
        return sealed({"digest": self.spec.digest, **content}, indent=1)

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
            return GonError(f"{source}: {what}. {LEFT_AS_IT_WAS}")

        try:
            raw = parse_json(text)
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
            require_types("", record)
            for name, entries in (("history", record.history), ("sessions", record.sessions)):
                for number, entry in enumerate(entries, start=1):
                    require_types(f"{name}: entry {number}: ", entry)
            if record.diverged is not None:
                require_types("diverged: ", record.diverged)
            _require_consistent(record, digest, refuse)
        except KeyError as error:
            raise refuse(f"the key {error} is missing") from error
        except (TypeError, ValueError, AttributeError, UsageError) as error:
            raise refuse(f"not a run record ({error})") from error
        if text != record.to_json():
            found = json.loads(record.to_json())["seal"]
            raise refuse(f"altered after it was written: its digest is {found}, written was {seal}")
        return record


def _require_consistent(record: RunRecord, digest: object, refuse: Callable[[str], GonError]) -> None:
    """Check that a record does not contradict itself, and is of the published data."""
    if not 1 <= record.epochs <= LARGEST_EPOCHS:
        raise refuse(
            f"epochs: {record.epochs!r} is not allowed; a whole number from 1 to {LARGEST_EPOCHS} is"
        )
    if digest != record.spec.digest:
        raise refuse(f"digest: {digest!r} is not that of its spec, {record.spec.digest!r}")
    for number, epoch in enumerate(record.history, start=1):
        if epoch.epoch != number:
            raise refuse(f"history: entry {number} is epoch {epoch.epoch!r}; epochs count up from 1")
    for epoch in record.history:
        for key, expected in (
            ("validation_loss", _is_validated(record.spec, epoch.epoch)),
            ("validation_loss_running", record.spec.entry.has_encoder and record.format > 4),
        ):
            if (getattr(epoch, key) is not None) != expected:
                raise refuse(f"history: {key} of epoch {epoch.epoch} is {getattr(epoch, key)!r}")
    end, steps = record.diverged, max(1, record.spec.steps_per_epoch)
    if end is None and len(record.history) != record.epochs:
        raise refuse(f"history: {len(record.history)} epochs, but epochs is {record.epochs!r}")
    if end is not None and not (
        end.epoch == len(record.history) + 1 <= record.epochs and 1 <= end.step <= steps
    ):
        raise refuse(f"diverged: {end} does not follow a history of {len(record.history)} epochs")
    reached = 0
    for session in record.sessions:
        if session.first_epoch != reached + 1:
            raise refuse(f"sessions: one starts at epoch {session.first_epoch}, expected {reached + 1}")
        reached = session.last_epoch
        if datetime.fromisoformat(session.started).tzinfo is None:
            raise refuse(f"sessions: started: {session.started!r} has no time zone; UTC is allowed")
        if "processor" not in session.machine:
            raise refuse("sessions: machine: processor is missing")
    if reached != len(record.history) + (record.diverged is not None):
        raise refuse(f"sessions: they end with epoch {reached}, the history with {len(record.history)}")
    for file, md5 in DATASETS[record.spec.dataset].md5.items():
        if record.data.get(file) != md5:
            raise refuse(f"data: MD5 of {file} is {record.data.get(file)}, published is {md5}")


def _is_validated(spec: RunSpec, epoch: int) -> bool:
    # Records of earlier numerics, when every epoch was validated, cannot be told by the format.
    entry = spec.entry
    return not entry.validated_at_milestones or epoch in MILESTONES or spec.numerics != entry.numerics


def require_types(where: str, entry: object) -> None:
    """Check the values of a dataclass read from JSON against its annotations; `UsageError` names one."""
    words = {int: "a whole number from 0 up", float: "a finite number from 0 up", str: "a text"}
    for key, hint in _HINTS[type(entry)].items():
        if not conforms(getattr(entry, key), hint):
            raise UsageError(
                f"{where}{key}: {getattr(entry, key)!r} is not allowed; {words.get(hint, hint)} is"
            )


_HINTS: dict[type, dict[str, Any]] = {
    kind: typing.get_type_hints(kind) for kind in (RunRecord, Epoch, Session, Divergence)
}


_TOO_LARGE = 2.0**1000
"""From here on sums of such numbers, or whole ones in decimal places, overflow."""


def conforms(value: object, hint: Any) -> bool:
    """Whether a value read from JSON is of an annotated type; numbers count if finite and from 0 up."""
    if hint in (int, float):  # counts, losses, times: JSON's true is no number, and none is negative
        if isinstance(value, bool) or not isinstance(value, int if hint is int else (int, float)):
            return False
        return 0 <= value < _TOO_LARGE
    if isinstance(hint, type):
        return isinstance(value, hint)
    arguments = typing.get_args(hint)
    if isinstance(hint, types.UnionType):
        return any(conforms(value, one) for one in arguments)
    if typing.get_origin(hint) is list:
        return isinstance(value, list) and all(conforms(one, arguments[0]) for one in value)
    return isinstance(value, dict) and all(conforms(one, arguments[1]) for one in value.values())


LEFT_AS_IT_WAS = "The file was left as it is; move it away to make it anew"
