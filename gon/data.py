"""Data sets as arrays that a training maps into memory. Imports numpy and the standard library only."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gon.catalogue import DATASETS, IMAGE_SIZE
from gon.errors import GonError

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
    return Path(given) if given else Path(__file__).resolve().parent.parent / "data"


def array_path(name: str, split: str) -> Path:
    """File of one prepared split."""
    return data_dir() / name / f"{split}-{IMAGE_SIZE}.npy"


def sidecar_path(name: str) -> Path:
    """File with the digests of a prepared data set; written last, so it marks it as whole."""
    return data_dir() / name / "prepared.json"


def load(name: str) -> PreparedImages:
    """Map a prepared data set into memory and check its digests.

    Raises
    ------
    GonError
        If a file is missing, cut short, or not the one that was prepared; nothing is deleted.
    """
    sidecar = sidecar_path(name)
    try:
        digests = json.loads(sidecar.read_text(encoding="utf-8"))
    except OSError as error:
        raise GonError(f"{sidecar}: not there; run `gon data {name}` to prepare the data") from error
    except ValueError as error:
        raise GonError(f"{sidecar}: not readable as JSON ({error}); {_hint(name)}") from error
    arrays = {split: _load_split(name, split, digests) for split in SPLITS}
    return PreparedImages(arrays["train"], arrays["validation"], digests)


def _load_split(name: str, split: str, digests: dict[str, str]) -> npt.NDArray[np.uint8]:
    dataset, path = DATASETS[name], array_path(name, split)
    count = {"train": dataset.train_images, "validation": dataset.validation_images}[split]
    shape = (count, dataset.channels, IMAGE_SIZE, IMAGE_SIZE)
    try:
        # Copy on write: torch wants a writable array, and the pages stay shared between processes.
        images = np.load(path, mmap_mode="c")
    except (OSError, ValueError) as error:
        raise GonError(f"{path}: missing or cut short ({error}); {_hint(name)}") from error
    if images.shape != shape or images.dtype != np.uint8:
        raise GonError(
            f"{path}: holds {images.dtype} {images.shape}, expected uint8 {shape}; {_hint(name)}"
        )
    found, expected = sha256(images), digests.get(split)
    if found != expected:
        raise GonError(f"{path}: SHA-256 of the images is {found}, expected {expected}; {_hint(name)}")
    checked: npt.NDArray[np.uint8] = images
    return checked


def sha256(images: npt.NDArray[np.uint8]) -> str:
    """SHA-256 of the images' bytes."""
    return hashlib.sha256(images.data).hexdigest()


def _hint(name: str) -> str:
    return f"move the folder {data_dir() / name} away and run `gon data {name}` to prepare it anew"
