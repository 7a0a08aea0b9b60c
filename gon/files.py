"""Files that are written whole or not at all, digests, and where the project lies."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from gon.errors import GonError

PROJECT = Path(__file__).resolve().parent.parent
"""The project's root: notebooks, parameters, templates and results are found from here."""


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


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file, as sha256sum prints it; `GonError` names a file that cannot be read."""
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


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all, see `whole_file`."""
    with whole_file(path) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to write it: a reader sees the old content or the new, never a part.

    Raises
    ------
    GonError
        If the folder cannot be made or written to; names the file.
    """
    make_folder(path.parent)
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as stream:
            temporary = Path(stream.name)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)  # temporary files are private; a record is for all that may read the folder
        temporary.replace(path)
    except OSError as error:
        raise GonError(f"{path}: cannot write the file ({error.strerror})") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
