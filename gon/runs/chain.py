"""The loss of every step, and the chain of digests over a trajectory."""

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gon.errors import GonError
from gon.files import canonical, read_text, require_file, sha256_of
from gon.runs.record import LEFT_AS_IT_WAS, RECORD_FORMAT, Epoch
from gon.spec import RunSpec

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
    link = sha256_of(canonical([spec.digest, dict(sorted(data.items()))]))
    chain = []
    for epoch in history:
        steps = losses[(epoch.epoch - 1) * spec.steps_per_epoch : epoch.epoch * spec.steps_per_epoch]
        values = [epoch.train_loss, epoch.validation_loss]
        if format == 4:
            text = [f"{float(loss):.9g}" for loss in steps]
            link = sha256_of(canonical([link, epoch.epoch, *values, text]))
        else:
            link = _link(link, [epoch.epoch, *values, epoch.validation_loss_running], steps)
        chain.append(link)
    rest = losses[len(history) * spec.steps_per_epoch :]
    if len(rest) and format > 4:
        chain.append(_link(link, [len(history) + 1], rest))
    return chain


def _link(before: str, values: Sequence[float | None], steps: Losses) -> str:
    return sha256_of(canonical([before, *values]).encode() + steps.tobytes())


_LARGEST_STEPS = 128 * 2**20
"""Bytes of the losses of all steps: 500 epochs have 2 MiB."""


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
    require_file(path, _LARGEST_STEPS)
    try:
        if path.suffix == ".csv":
            rows = csv.DictReader(io.StringIO(read_text(path)))
            return np.asarray([float(row["train_loss"]) for row in rows], dtype="<f4")
        losses: Losses = np.ascontiguousarray(_planes(path).T).view("<f4")[:, 0]
    except GonError:
        raise
    except Exception as error:  # zip, zlib and numpy have many of their own
        raise GonError(
            f"{path}: cannot read the training loss of every step ({error!r}). {LEFT_AS_IT_WAS}"
        ) from error
    return losses


def _planes(path: Path) -> npt.NDArray[np.uint8]:
    """The array of an `.npz` file: uint8 [4, steps]. Nothing is allocated that its header only claims."""
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("planes.npy")
        if entry.file_size > _LARGEST_STEPS:
            raise ValueError(f"holds {entry.file_size} bytes; at most {_LARGEST_STEPS} are allowed")
        stream = io.BytesIO(archive.read(entry))
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("is no array of numpy's format 1.0")
    shape, by_column, dtype = np.lib.format.read_array_header_1_0(stream)
    content = np.frombuffer(stream.getbuffer()[stream.tell() :], np.uint8)
    if dtype != np.uint8 or len(shape) != 2 or shape[0] != 4 or 4 * shape[1] != len(content):
        raise ValueError(f"holds {dtype} {shape} in {len(content)} bytes, expected uint8 (4, steps)")
    return content.reshape(shape, order="F" if by_column else "C")


def packed_steps(losses: Sequence[float] | Losses) -> bytes:
    """The content of the file that `read_steps` reads; equal losses give equal bytes."""
    planes = np.ascontiguousarray(np.asarray(losses, dtype="<f4")).view(np.uint8).reshape(-1, 4).T
    buffer = io.BytesIO()
    np.savez_compressed(buffer, planes=planes)
    return buffer.getvalue()
