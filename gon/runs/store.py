"""Where runs lie: records, and the files beside them, checked whenever they are read."""

import contextlib
import dataclasses
import fcntl
import math
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gon.catalogue import DATASETS, IMAGE_SIZE
from gon.errors import GonError
from gon.files import (
    canonical,
    clear_unfinished,
    make_folder,
    parse_json,
    read_text,
    sealed,
    sha256_of,
    sha256_of_file,
    write_atomically,
)
from gon.runs.chain import Losses, packed_steps, read_steps, trajectory_chain
from gon.runs.record import LEFT_AS_IT_WAS, RunRecord, conforms
from gon.spec import RunSpec

Image = list[list[list[int]]]
"""Pixels from 0 to 255 as [channels][height][width]."""


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
    record = RunRecord.from_json(read_text(path), path)
    _check_files(record, path, files)
    return record


def _check_files(record: RunRecord, path: Path, files: Mapping[str, Path]) -> Losses:
    """Check what lies beside a record, see `read_record`; returns its steps' losses, if they are among it."""
    for kind, file in files.items():
        if kind == "steps" and record.format > 4:
            continue  # it grows with the training: the chain says what belongs to this record
        found = sha256_of_file(file)
        if found != record.files.get(kind):
            raise GonError(
                f"{file}: altered after it was written, or of another run: its SHA-256 is {found}, "
                f"{path} says {record.files.get(kind)}. {LEFT_AS_IT_WAS}"
            )
    return _checked_steps(record, path, files["steps"]) if "steps" in files else np.empty(0, "<f4")


def _checked_steps(record: RunRecord, path: Path, steps_path: Path) -> Losses:
    """Check a record's chain, and that its training losses are the means of its steps; returns these."""
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
            mean = steps.sum(dtype=np.float64) / max(1, len(steps)), record.history[number - 1].train_loss
        # The losses of format 4 are written with the nine digits that tell any two float32 apart.
        if found != written or (mean is not None and not math.isclose(*mean, rel_tol=1e-7)):
            raise GonError(
                f"{path}: chain: epoch {number} does not follow from its losses and those in "
                f"{steps_path.name}. {LEFT_AS_IT_WAS}"
            )
    if len(losses) != expected:
        raise GonError(f"{steps_path}: {len(losses)} steps, expected {expected}. {LEFT_AS_IT_WAS}")
    if len(record.chain) != len(chain):
        raise GonError(f"{path}: chain: {len(record.chain)} links, expected {len(chain)}. {LEFT_AS_IT_WAS}")
    return losses


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
    text = read_text(path)
    try:
        content = parse_json(text)
    except ValueError as error:
        raise GonError(f"{path}: cannot be read as JSON ({error}). {LEFT_AS_IT_WAS}") from error
    if not isinstance(content, dict) or not isinstance(content.get(key), dict):
        raise GonError(f"{path}: the key {key!r} is missing. {LEFT_AS_IT_WAS}")
    seal = content.pop("seal", None)
    if sealed(content) != text:
        raise GonError(
            f"{path}: altered after it was written: its digest is {sha256_of(canonical(content))}, written "
            f"was {seal}. {LEFT_AS_IT_WAS}"
        )
    found = content.get("digest"), content.get("epochs"), content.get("trajectory")
    if found != (spec.digest, epochs, trajectory):
        raise GonError(
            f"{path}: is of run {found[0]!r} with {found[1]!r} epochs, trajectory {found[2]!r}; expected "
            f"run {spec.digest!r} with {epochs}, trajectory {trajectory!r}. {LEFT_AS_IT_WAS}"
        )
    values: dict[str, Any] = content[key]
    return values


def _require_pixels(what: str, images: object, spec: RunSpec) -> None:
    """Check that images are whole numbers from 0 to 255 as [n][channels][height][width]."""
    shape = (DATASETS[spec.dataset].channels, IMAGE_SIZE, IMAGE_SIZE)
    try:
        pixels = np.array(images)
    except (ValueError, OverflowError) as error:
        raise GonError(f"{what}: are no images ({error})") from error
    whole = pixels.dtype == np.int64 and pixels.shape[1:] == shape
    if not whole or pixels.min(initial=0) < 0 or pixels.max(initial=0) > 255:
        raise GonError(
            f"{what}: holds {pixels.dtype} {pixels.shape}; whole numbers from 0 to 255 as (n, *{shape}) are "
            f"allowed. {LEFT_AS_IT_WAS}"
        )


def read_evaluation(path: Path, record: RunRecord) -> dict[str, float]:
    """Read the losses of a further evaluation, by name; see `read_derived`."""
    losses = read_derived(path, record.spec, record.epochs, "losses", record.trajectory)
    for name, value in losses.items():
        if not conforms(value, float):
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

    def older_checkpoint_path(self, spec: RunSpec) -> Path:
        """The state before that one, for when that one is damaged."""
        return self.folder(spec) / "checkpoint.older.pt"

    def progress_path(self, spec: RunSpec) -> Path:
        """Where a run under way says how far it is."""
        return self.folder(spec) / "progress.json"

    def has(self, spec: RunSpec, epochs: int) -> bool:
        """Whether a run has been recorded up to a number of epochs."""
        return self.record_path(spec, epochs).exists()

    def load(self, spec: RunSpec, epochs: int) -> RunRecord:
        """Read a record, see `load_with_steps`."""
        return self.load_with_steps(spec, epochs)[0]

    def load_with_steps(self, spec: RunSpec, epochs: int) -> tuple[RunRecord, Losses]:
        """Read a record and the training loss of every step, and check them and the files beside them.

        Returns
        -------
        tuple
            The record, and float32 [steps], a summed squared error per image of the batch.

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
                f"{spec.digest} with {epochs}. {LEFT_AS_IT_WAS}"
            )
        beside = {"images": self.images_path(spec, epochs), "weights": self.weights_path(spec, epochs)}
        there = {kind: file for kind, file in beside.items() if file.exists()}
        return record, _check_files(record, path, {"steps": self.steps_path(record), **there})

    def recorded(self, folder: str) -> list[int]:
        """Numbers of epochs up to which the run of a folder is recorded, ascending."""
        names = [path.name for path in (self.root / folder).glob("epochs-*.json")]
        return sorted(int(found[1]) for name in names if (found := re.fullmatch(r"epochs-(\d+)\.json", name)))

    def load_steps(self, spec: RunSpec, epochs: int) -> Losses:
        """Read the training loss of every step, see `load_with_steps`."""
        return self.load_with_steps(spec, epochs)[1]

    def steps_of(self, record: RunRecord) -> Losses:
        """The same of a record that was loaded, and so checked, before."""
        reached = record.diverged.epoch if record.diverged else record.epochs
        return read_steps(self.steps_path(record))[: reached * record.spec.steps_per_epoch]

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
        for kind, made in images.items():
            _require_pixels(f"{path}: images: {kind}", made, spec)
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
        write_atomically(path, sealed({"digest": spec.digest, "epochs": epochs, **derived}))

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
            raise GonError(
                f"{steps_path}: holds other losses than the training that goes on. {LEFT_AS_IT_WAS}"
            )
        if len(losses) > len(known):
            write_atomically(steps_path, packed_steps(losses))
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
            clear_unfinished(folder)
            yield

    def is_locked(self, spec: RunSpec) -> bool:
        """Whether a process holds a run, as far as its lock can be seen from this machine."""
        try:
            with (self.folder(spec) / "lock").open("rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False
