"""Download a file from a mirror; one that does not answer, or too slowly, is given up."""

import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from gon.data.published import PART
from gon.errors import GonError

SOURCE_SECONDS = 5
"""A source that sends nothing for so long is given up."""

SLOWEST_SOURCE = 100_000
"""Bytes per second: a mirror that is slower is given up ..."""

PATIENCE_SECONDS = 30
"""... but not before it has sent for so long."""


def download(url: str, path: Path, largest: int) -> None:
    """Fetch a file; `GonError` if it is larger than expected, or the mirror is dead or too slow."""
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
