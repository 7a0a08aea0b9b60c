"""From the published files to arrays of 32 x 32 pixels, once."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gon.catalogue import DATASETS, IMAGE_SIZE, Dataset
from gon.data.prepared import SPLITS, array_path, data_dir, sha256, sidecar_path
from gon.data.published import NotTheFile, Say, accept_present, naming, raw_dir
from gon.errors import GonError
from gon.files import whole_file, write_atomically

NORB_MAGIC = 0x1E3D4C55
"""First number of a small NORB file that holds bytes; its other types are not used for images."""

NORB_CAMERAS = 2
"""Images in each of small NORB's pairs."""

NORB_SIZE = 96
"""Pixels of a side of small NORB's images."""

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
    # Right before they are read: what torchvision unpickles can execute code.
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
    train = split == "train"
    count = dataset.train_images if train else dataset.validation_images
    if dataset.name == "small-norb":
        file = list(dataset.md5)[0 if train else 1]
        return read_norb(raw_dir(dataset.name) / file, count)[:, :1]
    datasets = torchvision_module().datasets
    reader = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "cifar-10": "CIFAR10"}[dataset.name]
    images = getattr(datasets, reader)(data_dir(), train=train, download=False).data
    array: npt.NDArray[np.uint8]
    if dataset.name == "cifar-10":
        array = images.transpose(0, 3, 1, 2)  # torchvision gives the channels last
    else:
        array = images.numpy()[:, None]
    return array


def read_norb(path: Path, count: int) -> npt.NDArray[np.uint8]:
    """Map a file of small NORB's images into memory.

    Parameters
    ----------
    path
        A file `...-dat.mat`, uncompressed.
    count
        Pairs of images that it holds.

    Returns
    -------
        uint8 images [count, cameras, height, width], read-only.

    Raises
    ------
    GonError
        If the file is not what its header says, or its header not what is expected.

    Notes
    -----
    The format: numbers of four bytes, the lowest first, that give the type of the elements, the
    number of dimensions, and the dimensions (three at least); then the elements, the last index
    fastest.
    """
    shape = (count, NORB_CAMERAS, NORB_SIZE, NORB_SIZE)
    header = struct.Struct(f"<Ii{len(shape)}i")
    with naming(path):
        size = path.stat().st_size
        with path.open("rb") as stream:
            start = stream.read(header.size)
        if len(start) < header.size:
            raise NotTheFile(f"{len(start)} bytes, expected a header of {header.size}")
        magic, dimensions, *found = header.unpack(start)
        if magic != NORB_MAGIC:
            raise NotTheFile(f"starts with 0x{magic:08X}, expected 0x{NORB_MAGIC:08X} (bytes)")
        if dimensions != len(shape):
            raise NotTheFile(f"has {dimensions} dimensions, expected {len(shape)}")
        if tuple(found) != shape:
            raise NotTheFile(f"has dimensions {tuple(found)}, expected {shape}")
        expected = header.size + int(np.prod(shape))
        if size != expected:
            raise NotTheFile(f"has {size} bytes, expected {expected}")
        return np.memmap(path, dtype=np.uint8, mode="r", offset=header.size, shape=shape)


def _resize_all(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Resize all images, a part of them at a time, because the largest data sets are mapped from disk."""
    import torch

    resized = np.empty((*images.shape[:2], IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)
    for start in range(0, len(images), IMAGES_AT_ONCE):
        # A copy, because torch wants an array that may be written to.
        part = np.array(images[start : start + IMAGES_AT_ONCE], order="C")
        resized[start : start + IMAGES_AT_ONCE] = resize(torch.from_numpy(part)).numpy()
    return resized


def resize(images: Any) -> Any:
    """Resize uint8 images [n, channels, height, width] to 32 x 32, exactly as PIL does one by one."""
    functional = torchvision_module().transforms.v2.functional
    return functional.resize(images, [IMAGE_SIZE, IMAGE_SIZE], antialias=True)


def torchvision_module() -> Any:
    """Import torchvision, also where its compiled operators do not fit a CPU build of torch.

    Data sets and transforms need none of them, but importing torchvision registers fakes for two,
    which fails if nothing has declared them.
    """
    import torch

    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        global _declared
        _declared = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            _declared.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision
    import torchvision.transforms.v2.functional

    return torchvision


_declared: Any = None
"""Keeps the operator declarations alive; they go when the library object does."""
