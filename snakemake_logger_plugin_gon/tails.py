"""The end of a failed job's log, where its error stands."""

import re
from pathlib import Path

_BYTES = 64 * 1024
_LINES = 12
_NOTEBOOK_LINES = 30
_WIDTH = 300
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_NOTEBOOK_ERROR = "Exception encountered at"  # Written by papermill, ahead of the cell's traceback.


def clean(text: str) -> str:
    """Take the control characters out of a text, all but tabs and the ends of lines."""
    lines = _ESCAPE.sub("", text).replace("\r\n", "\n").split("\n")
    # A progress bar goes back to the start of its line; what it wrote last is what one would see.
    return "\n".join(_CONTROL.sub("", line.rstrip("\r").rpartition("\r")[2]) for line in lines)


def tail(path: Path) -> list[str]:
    """Read the last lines of a log; a notebook's from its exception on. Empty if there is nothing."""
    try:
        with path.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(stream.tell() - _BYTES, 0))
            text = stream.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    lines = [line.rstrip()[:_WIDTH] for line in clean(text).strip().split("\n")]
    for number in range(len(lines) - 1, -1, -1):
        if lines[number].startswith(_NOTEBOOK_ERROR):
            error = [line for line in lines[number:] if line.strip("-")]
            # Cell and exception: the first line and the end.
            return error if len(error) <= _NOTEBOOK_LINES else [error[0], *error[1 - _NOTEBOOK_LINES :]]
    return [line for line in lines[-_LINES:] if line] if lines != [""] else []
