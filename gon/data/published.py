"""The published files of a data set, used only if their MD5 digest is the known one."""

import contextlib
import gzip
import hashlib
import tarfile
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from gon.catalogue import DATASETS, Dataset
from gon.data.prepared import data_dir
from gon.errors import GonError
from gon.files import require_file, whole_file

Say = Callable[[str], None]
"""Takes one line of text about what is being done."""

Content = IO[bytes] | gzip.GzipFile
"""A file's uncompressed content, open to be read."""

PART = 2**20
"""Bytes that are read or written at a time."""


class NotTheFile(GonError):
    """What is there, or was sent, is not the published file."""


_NOT_USED = "it is not used. Move it away, and it will be fetched; or put the right one there"

# What reading a file raises that is cut short, damaged, or something else.
READ_ERRORS = (OSError, EOFError, zlib.error, tarfile.TarError)


def raw_dir(name: str) -> Path:
    """Folder of the published files."""
    return data_dir() / DATASETS[name].folder


def accept_present(dataset: Dataset, file: str) -> bool:
    """Whether a file is there and is the known one; a gzipped one is unpacked beside itself."""
    path = raw_dir(dataset.name) / file
    packed = path.with_name(f"{file}.gz")
    where = path if path.exists() else packed
    if not where.exists():
        return False
    require_file(where, dataset.largest_file)
    with naming(where):
        if where == packed:
            with gzip.open(packed) as stream:
                keep(stream, dataset, file)
        else:
            require_md5(path, dataset.md5[file])
    return True


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name a file that is there and cannot be used."""
    try:
        yield
    except NotTheFile as error:
        raise GonError(f"{path}: {error}; {_NOT_USED}") from error
    except READ_ERRORS as error:
        raise GonError(f"{path}: cannot be read ({describe(error)}); {_NOT_USED}") from error


def require_md5(path: Path, md5: str) -> None:
    """Check the digest of a file."""
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, _md5).hexdigest()
    _require_same(path.name, found, md5)


def _require_same(file: str, found: str, md5: str) -> None:
    if found != md5:
        raise NotTheFile(f"MD5 of {file} is {found}, expected {md5}")


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)


def keep(stream: Content, dataset: Dataset, file: str) -> None:
    """Put a published file into its place, whole or not at all, if it is the known one."""
    digest, size = _md5(), 0
    with whole_file(raw_dir(dataset.name) / file) as target:
        while True:
            try:
                part = stream.read(PART)
            except READ_ERRORS as error:
                raise NotTheFile(f"{file} cannot be read ({describe(error)})") from error
            if not part:
                break
            size += len(part)
            if size > dataset.largest_file:
                raise NotTheFile(f"{file} has more than {dataset.largest_file} bytes")
            digest.update(part)
            target.write(part)
        _require_same(file, digest.hexdigest(), dataset.md5[file])


def describe(error: Exception) -> str:
    """What went wrong, in the system's words, without the code that Python puts around them."""
    reason = error
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        reason = error.reason
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__


def members(archive: Path, folder: str, files: Sequence[str]) -> Iterator[tuple[str, Content]]:
    """Open the files asked for in a gzipped tar archive. Whatever else it holds is left alone."""
    with tarfile.open(archive, "r:gz") as members:
        for file in files:
            try:
                stream = members.extractfile(f"{folder}/{file}")
            except KeyError:
                stream = None
            if stream is None:
                raise NotTheFile(f"{archive.name} holds no file {folder}/{file}")
            yield file, stream
