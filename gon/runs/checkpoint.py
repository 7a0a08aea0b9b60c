"""Checkpoints and weights: tensors and plain values, which no loading executes."""

import dataclasses
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gon.errors import GonError
from gon.files import LARGEST_ARCHIVE, require_file, sha256_of_file, write_atomically
from gon.runs.chain import trajectory_chain
from gon.runs.record import Divergence, Epoch, Session, require_types, same_kind
from gon.runs.store import RunStore
from gon.runs.trajectory import Trajectory

CHECKPOINT_FORMATS = (5, 6)
"""Those that can be continued; the last is written. In 5, epochs and sessions have the fields of record
format 4."""


def state_of(run: Trajectory) -> dict[str, Any]:
    """Everything from which the run continues bit for bit, as tensors and plain values."""
    return {
        "format": CHECKPOINT_FORMATS[-1],
        "digest": run.spec.digest,
        "data": run.data,
        "model": run.model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in run.optimizers],
        "batch_order": run.batch_order.get_state(),
        "step_losses": run.step_losses,
        "history": [dataclasses.asdict(epoch) for epoch in run.history],
        "sessions": [dataclasses.asdict(session) for session in run.sessions],
        "diverged": dataclasses.asdict(run.diverged) if run.diverged else None,
    }


def restore(run: Trajectory, state: dict[str, Any]) -> None:
    """Take up a run where `state` was taken."""
    run.model.load_state_dict(state["model"])
    for optimizer, saved in zip(run.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    run.batch_order.set_state(state["batch_order"])
    run.step_losses = state["step_losses"]
    run.history = [Epoch(**epoch) for epoch in state["history"]]
    run.sessions = [Session(**session) for session in state["sessions"]]
    run.diverged = Divergence(**state["diverged"]) if state["diverged"] else None


def save_tensors(state: dict[str, Any], path: Path, older: Path | None = None) -> None:
    """Write tensors and plain values, whole or not at all; `older` is where the file before is kept."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(path, buffer.getvalue(), older)


class DamagedError(GonError):
    """A file of tensors cannot be read as what it was written."""


_HINT = "The file was left as it is; move it away to train the run from its start"


def load_tensors(path: Path) -> dict[str, Any]:
    """Read what `save_tensors` wrote; a file that is damaged is named and left as it is."""
    if not path.exists():
        raise GonError(f"{path}: not there; move the run's record away to train the run anew")
    require_file(path, LARGEST_ARCHIVE)
    try:
        # It is a zip file: its checksums show a damage that the loader would take as weights.
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
                raise ValueError("it claims to hold more than it has bytes; tensors are not compressed")
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"checksum of {damaged}")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
            raise ValueError("holds no names with tensors or values")
    except Exception as error:  # zip, zlib, pickle and torch have many of their own
        raise DamagedError(f"{path}: is cut short or damaged ({one_line(error)}). {_HINT}") from error
    return state


def one_line(error: Exception) -> str:
    """What a library says, up to its first line break: torch adds advice and where it was in its own code."""
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__


def load_weights(model: torch.nn.Module, path: Path) -> None:
    """Take a model's weights from a file that `save_tensors` wrote; `GonError` if they are another's."""
    state = load_tensors(path)
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise DamagedError(f"{path}: does not hold the weights of this model ({one_line(error)})") from error


def load_checkpoint(run: Trajectory, path: Path, store: RunStore) -> None:
    """Continue from a checkpoint that agrees with the data and with every record of the run."""
    state = load_tensors(path)
    found = (state.get("format"), state.get("digest"))
    if found[0] not in CHECKPOINT_FORMATS or found[1] != run.spec.digest:
        raise GonError(
            f"{path}: a checkpoint of format {found[0]!r} and run {found[1]!r}; expected format "
            f"{' or '.join(map(str, CHECKPOINT_FORMATS))} and run {run.spec.digest!r}. {_HINT}"
        )
    data = state.get("data")
    if not isinstance(data, dict):
        raise DamagedError(f"{path}: data: the digests of the images are missing. {_HINT}")
    for key in {**data, **run.data}:
        trained, in_place = data.get(key), run.data.get(key)
        if trained != in_place:
            raise GonError(
                f"{path}: was trained on other data: its digest of {key} is {trained}, that of the data in "
                f"place {in_place}. {_HINT}"
            )
    try:
        restore(run, state)
        losses = run.losses(len(run.step_losses))
        for entry in [*run.history, *run.sessions, *filter(None, [run.diverged])]:
            require_types("", entry)
        trained = len(run.history) + (run.diverged is not None)
        if [epoch.epoch for epoch in run.history] != [*range(1, len(run.history) + 1)]:
            raise ValueError("epochs count up from 1")
        if losses.shape != (trained * run.spec.steps_per_epoch,) or losses.dtype != np.float32:
            raise ValueError(f"holds {losses.dtype} {losses.shape} losses of steps for {trained} epochs")
    except Exception as error:  # whatever torch and Python say of values that do not fit
        raise DamagedError(f"{path}: is not the state of a run ({one_line(error)}). {_HINT}") from error
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
