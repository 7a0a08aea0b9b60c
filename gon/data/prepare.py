"""From the published files to arrays of 32 x 32 pixels, once."""

import json
import math
import pickle
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gon.catalogue import DATASETS, IMAGE_SIZE, Dataset
from gon.data.prepared import SPLITS, array_path, sha256, sidecar_path
from gon.data.published import NotTheFile, Say, accept_present, naming, raw_dir
from gon.errors import GonError
from gon.files import whole_file, write_atomically

IMAGES_AT_ONCE = 1000
"""Images that are resized at a time."""


def prepare(name: str, report: Say = print) -> None:
    """Bring all images of a data set to 32 x 32 pixels, once, and keep them as uint8.

    Parameters
    ----------
    name
        A key of `gon.catalogue.DATASETS`, whose files have been acquired.
    report
        Takes a line of text on what is being done.

    Raises
    ------
    GonError
        If a published file is missing or not the known one, or does not hold the images expected.

    Notes
    -----
    The antialiased bilinear resize of the uint8 tensor gives the pixels of PIL's `Resize(32)`,
    which the authors' code applies to every image each time that it is loaded. Images that have
    this size already stay as they are.
    """
    dataset = DATASETS[name]
    # Right before they are read: what is unpickled can execute code.
    missing = [file for file in dataset.md5 if not accept_present(dataset, file)]
    if missing:
        raise GonError(f"{raw_dir(name)}: {', '.join(missing)} not there; run `gon data {name}`")
    report(f"{dataset.title}: preparing all images at {IMAGE_SIZE} x {IMAGE_SIZE} pixels, once")
    digests = dict(dataset.md5)
    for split in SPLITS:
        array = _resize_all(_published_images(dataset, split))
        with whole_file(array_path(name, split)) as stream:
            np.save(stream, array)
        digests[split] = sha256(array)
    write_atomically(sidecar_path(name), json.dumps(digests, indent=1) + "\n")


def _published_images(dataset: Dataset, split: str) -> npt.NDArray[np.uint8]:
    """Images of one split as they were published, uint8 [n, channels, height, width]."""
    folder, train = raw_dir(dataset.name), split == "train"
    count = dataset.train_images if train else dataset.validation_images
    if dataset.name == "cifar-10":
        batches = [file for file in dataset.md5 if file.startswith("data_batch" if train else "test_batch")]
        # Pickles of Python 2; accepted by their digest, so that nothing else is executed here.
        contents = [pickle.loads((folder / file).read_bytes(), encoding="latin1") for file in batches]
        rows = np.concatenate([content["data"] for content in contents])
        return rows.reshape(count, 3, IMAGE_SIZE, IMAGE_SIZE)
    file = [file for file in dataset.md5 if "labels" not in file][0 if train else 1]
    if dataset.name == "small-norb":
        pairs = (count, 2, 96, 96)  # of the two cameras, the first is used
        return read_matrix(folder / file, struct.pack("<Ii4i", 0x1E3D4C55, 4, *pairs), pairs)[:, :1]
    header = struct.pack(">4I", 0x803, count, 28, 28)
    return read_matrix(folder / file, header, (count, 1, 28, 28))


def read_matrix(path: Path, header: bytes, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Map a file of images into memory: of MNIST, Fashion-MNIST or small NORB.

    Parameters
    ----------
    path
        The file, uncompressed.
    header
        What it starts with: type of the elements and dimensions; in small NORB also how many these are.
    shape
        Of the elements, bytes that follow, the last index fastest.

    Returns
    -------
        uint8 images of that shape, read-only.

    Raises
    ------
    GonError
        If the file has another header or another size.
    """
    with naming(path):
        size, expected = path.stat().st_size, len(header) + math.prod(shape)
        with path.open("rb") as stream:
            start = stream.read(len(header))
        if (start, size) != (header, expected):
            raise NotTheFile(
                f"starts with {start.hex()} and has {size} bytes, expected {header.hex()} and {expected}"
            )
        return np.memmap(path, dtype=np.uint8, mode="r", offset=len(header), shape=shape)


def _resize_all(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Resize all images, a part of them at a time, because the largest data sets are mapped from disk."""
    import torch
    from torch.nn.functional import interpolate

    resized = np.empty((*images.shape[:2], IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
    for start in range(0, len(images), IMAGES_AT_ONCE):
        # A copy, because torch wants an array that may be written to.
        part = torch.from_numpy(np.array(images[start : start + IMAGES_AT_ONCE], order="C"))
        size = (IMAGE_SIZE, IMAGE_SIZE)
        resized[start : start + IMAGES_AT_ONCE] = interpolate(part, size, mode="bilinear", antialias=True)
    return resized
