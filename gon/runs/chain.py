"""The loss of every step, and the chain of digests over a trajectory."""

import csv
import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gon.errors import GonError
from gon.files import canonical, sha256_of
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
        raise GonError(
            f"{path}: cannot read the training loss of every step ({error!r}). {LEFT_AS_IT_WAS}"
        ) from error
    return losses


def packed_steps(losses: Sequence[float] | Losses) -> bytes:
    """The content of the file that `read_steps` reads; equal losses give equal bytes."""
    planes = np.ascontiguousarray(np.asarray(losses, dtype="<f4")).view(np.uint8).reshape(-1, 4).T
    buffer = io.BytesIO()
    np.savez_compressed(buffer, planes=planes)
    return buffer.getvalue()
