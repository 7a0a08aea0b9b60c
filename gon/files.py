"""Files that are written whole or not at all and read up to a size, digests, and where the project lies."""

import contextlib
import fcntl
import hashlib
import json
import math
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from gon.errors import GonError

PROJECT = Path(__file__).resolve().parent.parent
"""The project's root: notebooks, parameters, templates and results are found from here."""


LARGEST_FILE = 16 * 2**20
"""Bytes of what is read into memory as a whole: records, results, notebooks, parameters. The record of 500
epochs has 0.2 MiB, a notebook with its figures less than 2."""
LARGEST_ARCHIVE = 4 * 2**30
"""Bytes of what is read part by part: archives, weights, prepared images."""
_DEEPEST = 50
"""Levels to which JSON may be nested."""


def require_file(path: Path, largest: int | None = None) -> None:
    """Check that something can be read to its end, before it is opened: a FIFO or a device has none.

    Parameters
    ----------
    path
        What is to be read.
    largest
        Bytes that it may have; None for any number.

    Raises
    ------
    GonError
        If it is missing, no file, or too large; names it, and what is allowed.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:  # the latter for a name that no file can have
        raise GonError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if not stat.S_ISREG(found.st_mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
        kind = kinds.get(stat.S_IFMT(found.st_mode), "a device")
        raise GonError(f"{path}: cannot be read (it is {kind}; a file is allowed)")
    if largest is not None and found.st_size > largest:
        raise GonError(
            f"{path}: cannot be read (it has {found.st_size} bytes; at most {largest} are allowed)"
        )


def read_bytes(path: Path, largest: int = LARGEST_FILE) -> bytes:
    """The content of a file of at most `largest` bytes; `GonError` names one that cannot be read."""
    require_file(path, largest)
    try:
        return path.read_bytes()
    except OSError as error:
        raise GonError(f"{path}: cannot be read ({error.strerror})") from error


def read_text(path: Path, largest: int = LARGEST_FILE) -> str:
    """The same as text, in UTF-8."""
    try:
        return read_bytes(path, largest).decode()
    except UnicodeDecodeError as error:
        raise GonError(f"{path}: cannot be read (not UTF-8: {error})") from error


def parse_json(text: str) -> Any:
    """What JSON says; `ValueError` says what is wrong, also of what JSON has not, such as NaN."""

    def number(literal: str) -> float:
        if not math.isfinite(value := float(literal)):
            raise ValueError(f"{literal} is no number of JSON")
        return value

    try:
        content = json.loads(text, parse_constant=number, parse_float=number)
    except RecursionError as error:
        raise ValueError(f"nested more than {_DEEPEST} levels deep") from error
    level = list(_containers([content]))
    for _ in range(_DEEPEST):
        inner = [value.values() if isinstance(value, dict) else value for value in level]
        level = [v for values in inner for v in _containers(values)]
    if level:
        raise ValueError(f"nested more than {_DEEPEST} levels deep")
    if re.search(r"\\u[dD][89a-fA-F]", text):  # half a character, which no file or terminal takes
        json.dumps(content, ensure_ascii=False).encode()
    return content


def _containers(values: Any) -> Iterator[Any]:
    return (value for value in values if isinstance(value, (dict, list)))


def read_json(path: Path, what: str = "JSON") -> Any:
    """Read a file of JSON.

    Parameters
    ----------
    path
        The file.
    what
        What it should be, for messages.

    Raises
    ------
    GonError
        If it cannot be read; names the file and what is wrong.
    """
    try:
        return parse_json(read_text(path))
    except ValueError as error:
        raise GonError(f"{path}: cannot be read as {what} ({error})") from error


def canonical(content: object) -> str:
    """The one way in which a value is written as JSON before its digest is taken."""
    return json.dumps(content, separators=(",", ":"))


def sha256_of(content: str | bytes) -> str:
    """SHA-256 of a text or of bytes, in hexadecimal."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def sealed(content: Mapping[str, Any], indent: int | None = None) -> str:
    """A mapping as JSON whose last key is the digest of the rest."""
    separators = (",", ":") if indent is None else None
    sealed = {**content, "seal": sha256_of(canonical(content))}
    return json.dumps(sealed, indent=indent, separators=separators) + "\n"


def require_seal(path: Path, content: Mapping[str, Any], seal: object, hint: str = "") -> None:
    """Check what `sealed` wrote, read without its seal, against that; `GonError` if it differs."""
    if seal != (found := sha256_of(canonical(content))):
        raise GonError(
            f"{path}: altered after it was written: its digest is {found}, written was {seal}{hint}"
        )


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file, as sha256sum prints it; `GonError` names a file that cannot be read."""
    require_file(path, LARGEST_ARCHIVE)
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise GonError(f"{path}: cannot be read ({error.strerror})") from error


def make_folder(folder: Path) -> None:
    """Make a folder and its parents; `GonError` names it where that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GonError(f"{folder}: cannot make the folder ({error.strerror})") from error


def sync_folder(folder: Path) -> None:
    """Let what was renamed in a folder last, also if the power fails now."""
    # Some file systems cannot do it for folders; what was written there is no less whole.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def clear_unfinished(folder: Path, name: str = "*") -> None:
    """Remove what `whole_file` left behind in processes that were killed.

    Parameters
    ----------
    folder
        Where; the caller holds a lock under which nobody else writes these files.
    name
        Of which files, as a pattern.
    """
    for path in folder.glob(f".{name}{_UNFINISHED}"):
        path.unlink(missing_ok=True)


_UNFINISHED = ".unfinished"


@contextlib.contextmanager
def scratch_folder(parent: Path, name: str) -> Iterator[Path]:
    """A folder to work in, beside what it is for; those of processes that were killed are removed.

    Parameters
    ----------
    parent
        Where it is made; on the file system of what is to be moved out of it.
    name
        The beginning of its name, after a dot.

    Raises
    ------
    GonError
        If it cannot be made.
    """
    make_folder(parent)
    for left in parent.glob(f".{name}-*"):
        with contextlib.suppress(OSError), _held(left):  # a living process holds its own
            shutil.rmtree(left, ignore_errors=True)
    try:
        scratch = tempfile.TemporaryDirectory(dir=parent, prefix=f".{name}-")
    except OSError as error:
        raise GonError(f"{parent}: cannot make a folder in it ({error.strerror})") from error
    with scratch as folder, _held(Path(folder)):
        yield Path(folder)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a lock of the kernel on a folder, which goes with the process; `OSError` if another has it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: str | bytes, older: Path | None = None) -> None:
    """Write a file whole or not at all, see `whole_file`."""
    with whole_file(path, older) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def whole_file(path: Path, older: Path | None = None) -> Iterator[IO[bytes]]:
    """Open a file to write it: a reader sees the old content or the new, never a part.

    Parameters
    ----------
    path
        The file.
    older
        Where the old content is kept, in place of what is there; removed if not given.

    Raises
    ------
    GonError
        If the folder cannot be made or written to; names the file.
    """
    make_folder(path.parent)
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", suffix=_UNFINISHED, delete=False
        ) as stream:
            temporary = Path(stream.name)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)  # temporary files are private; a record is for all that may read the folder
        if older is not None and path.exists():
            path.replace(older)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise GonError(f"{path}: cannot write the file ({error.strerror})") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
