"""Where records came from that were not trained here: a file beside them says it."""

from pathlib import Path

from gon.errors import GonError
from gon.files import parse_json, read_text, require_seal, sealed, write_atomically

ORIGIN = "origin.json"


def read_origin(folder: Path) -> dict[str, str]:
    """Record file to where it came from, of a run's folder; empty if all was trained here.

    Raises
    ------
    GonError
        If the file cannot be read, or was altered after it was written.
    """
    path = folder / ORIGIN
    if not path.exists():
        return {}
    try:
        content = parse_json(read_text(path))
        seal = content.pop("seal", None)
        records = content["records"]
        if not all(isinstance(part, str) for entry in records.items() for part in entry):
            raise ValueError("texts by file are allowed")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GonError(f"{path}: cannot be read as the origin of records ({error})") from error
    require_seal(path, content, seal)
    return dict(records)


def write_origin(folder: Path, name: str, origin: str) -> None:
    """Say of one more record where it came from."""
    records = {**read_origin(folder), name: origin}
    write_atomically(folder / ORIGIN, sealed({"records": dict(sorted(records.items()))}))
