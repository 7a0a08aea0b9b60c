"""Data sets as arrays that a training maps into memory. Imports numpy and the standard library only."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gon.catalogue import DATASETS, IMAGE_SIZE
from gon.errors import GonError
from gon.files import PROJECT, parse_json, read_text, require_file

SPLITS = ("train", "validation")


@dataclass(frozen=True)
class PreparedImages:
    """One data set, resized once to 32 x 32 pixels.

    Attributes
    ----------
    train, validation
        uint8 images [n, channels, 32, 32], mapped from their files.
    digests
        SHA-256 of the images of each split, and MD5 of the files that they were made from.
    """

    train: npt.NDArray[np.uint8]
    validation: npt.NDArray[np.uint8]
    digests: dict[str, str]


def data_dir() -> Path:
    """Folder of all data: `GON_DATA_DIR`, or `data/` in the project."""
    given = os.environ.get("GON_DATA_DIR")
    return Path(given).expanduser() if given else PROJECT / "data"


def array_path(name: str, split: str) -> Path:
    """File of one prepared split."""
    return data_dir() / name / f"{split}-{IMAGE_SIZE}.npy"


def sidecar_path(name: str) -> Path:
    """File with the digests of a prepared data set; written last, so it marks it as whole."""
    return data_dir() / name / "prepared.json"


def unavailable_path(name: str) -> Path:
    """File that says why the last attempt to get a data set failed; there only after such an attempt."""
    return data_dir() / f"{name}.unavailable.txt"


def absence(name: str) -> str | None:
    """Why a data set cannot be used, in one line that also says how to get it; None where it is prepared.

    Looks only for the file that marks a data set as whole; `load` checks the data.
    """
    if sidecar_path(name).exists():
        return None
    try:
        reason = " ".join(read_text(unavailable_path(name)).split())
    except GonError:
        reason = ""
    return (
        f"{reason}; run `gon data {name}` to try again" if reason else f"not prepared; run `gon data {name}`"
    )


def load(name: str) -> PreparedImages:
    """Map a prepared data set into memory and check its digests.

    Raises
    ------
    GonError
        If a file is missing, cut short, or not the one that was prepared; nothing is deleted.
    """
    digests = _load_digests(name)
    arrays = {split: _load_split(name, split, digests[split]) for split in SPLITS}
    return PreparedImages(arrays["train"], arrays["validation"], digests)


def require_prepared(name: str, digests: Mapping[str, str], source: Path) -> None:
    """Check that a run saw the known images, and those that are in place, where there are any.

    Parameters
    ----------
    name
        The data set.
    digests
        What the run's record says of its data.
    source
        The record, for messages.

    Raises
    ------
    GonError
        If they differ; names both.
    """
    require_known(name, digests, source)
    if not sidecar_path(name).exists():
        return
    for key, digest in _load_digests(name).items():
        if digests.get(key) != digest:
            raise GonError(
                f"{source}: was trained on other data: its digest of {key} is {digests.get(key)}, "
                f"{sidecar_path(name)} says {digest}. Both were left as they are; move away the wrong one"
            )


def altered(name: str, digests: Mapping[str, str]) -> str | None:
    """The split of a data set whose images are not those that everybody prepares; None if there is none."""
    known = DATASETS[name].sha256
    return next((split for split in known if digests.get(split) != known[split]), None)


def require_known(name: str, digests: Mapping[str, str], source: Path) -> None:
    """Refuse altered images, unless the environment's `GON_ALTERED_DATA` names the data set.

    Parameters
    ----------
    name
        The data set.
    digests
        Digests of the images by split.
    source
        What says so, for messages.

    Raises
    ------
    GonError
        Names the split and both digests.
    """
    split = altered(name, digests)
    if split is not None and name not in os.environ.get("GON_ALTERED_DATA", "").split(","):
        raise GonError(
            f"{source}: the {split} images are altered: their SHA-256 is {digests.get(split)}, that of "
            f"{DATASETS[name].title} is {DATASETS[name].sha256[split]}. GON_ALTERED_DATA={name} in the "
            "environment uses them all the same, and the report then says so"
        )


def _load_digests(name: str) -> dict[str, str]:
    sidecar = sidecar_path(name)
    if not sidecar.exists():
        raise GonError(f"{sidecar}: not there; run `gon data {name}` to prepare the data")
    text = read_text(sidecar)
    try:
        digests = parse_json(text)
    except ValueError as error:
        raise GonError(f"{sidecar}: not readable as JSON ({error}); {_hint(name)}") from error
    if not isinstance(digests, dict) or not all(isinstance(digests.get(split), str) for split in SPLITS):
        raise GonError(f"{sidecar}: lacks the digests of {' and '.join(SPLITS)}; {_hint(name)}")
    # Says which published files the arrays were made from: catches the folder of another data set.
    for file, md5 in DATASETS[name].md5.items():
        if digests.get(file) != md5:
            raise GonError(f"{sidecar}: MD5 of {file} is {digests.get(file)}, expected {md5}; {_hint(name)}")
    require_known(name, digests, sidecar)
    return digests


def _load_split(name: str, split: str, digest: str) -> npt.NDArray[np.uint8]:
    dataset, path = DATASETS[name], array_path(name, split)
    count = {"train": dataset.train_images, "validation": dataset.validation_images}[split]
    shape = (count, dataset.channels, IMAGE_SIZE, IMAGE_SIZE)
    if not path.exists():
        raise GonError(f"{path}: not there; {_hint(name)}")
    require_file(path)
    try:
        # Copy on write: torch wants a writable array, and the pages stay shared between processes.
        images = np.lib.format.open_memmap(path, mode="c")
    except Exception as error:  # numpy reads the header as Python, which has many errors of its own
        raise GonError(f"{path}: not readable as an array, or cut short ({error}); {_hint(name)}") from error
    if images.shape != shape or images.dtype != np.uint8:
        raise GonError(f"{path}: holds {images.dtype} {images.shape}, expected uint8 {shape}; {_hint(name)}")
    if (found := sha256(images)) != digest:
        raise GonError(f"{path}: SHA-256 of the images is {found}, expected {digest}; {_hint(name)}")
    checked: npt.NDArray[np.uint8] = images
    return checked


def sha256(images: npt.NDArray[np.uint8]) -> str:
    """SHA-256 of the images' bytes."""
    return hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()


def _hint(name: str) -> str:
    return f"move the folder {data_dir() / name} away and run `gon data {name}` to prepare it anew"
