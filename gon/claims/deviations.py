"""Where this reproduction differs from the published set-up: read from `params/deviations.yaml`."""

import string
from pathlib import Path
from typing import Annotated, Any

import pydantic

from gon.claims.rules import Source, Strict
from gon.claims.strict_yaml import read_file
from gon.errors import UsageError
from gon.files import PROJECT

FACTS = ("epochs", "seeds", "images", "datasets", "versions", "machines")
"""What `here` may name in braces; the report fills it in from its budget and records."""


class Measured(Strict):
    """Numbers of a claim that show how much a deviation changes."""

    claim: str
    measurements: Annotated[list[str], pydantic.Field(min_length=1)]


class Deviation(Strict):
    """One way in which this reproduction differs from the published set-up."""

    name: Annotated[str, pydantic.Field(pattern=r"^[a-z0-9_]+$")]
    what: str
    source: Source
    """Where the published set-up stands."""
    published: str
    """What the report says."""
    code: str
    """What the authors' code does."""
    here: str
    """What we do; names of `FACTS` in braces are filled in."""
    effect: str
    """Its expected effect, and why."""
    claims: Annotated[list[str], pydantic.Field(min_length=1)]
    """Claims whose results it touches."""
    measured: Measured | None = None

    @pydantic.field_validator("here")
    @classmethod
    def _known_facts(cls, text: str) -> str:
        for _, fact, _, _ in string.Formatter().parse(text):
            if fact is not None and fact not in FACTS:
                raise ValueError(f"{{{fact}}} is not known; allowed are {', '.join(FACTS)}")
        return text


def load_deviations(path: Path = PROJECT / "params" / "deviations.yaml") -> list[Deviation]:
    """Read and check the list.

    Raises
    ------
    UsageError
        If the file cannot be read, or an entry is wrong; names file, entry, key, value and what is allowed.
    """
    known = sorted(file.stem for file in (PROJECT / "params" / "claims").glob("*.yaml"))
    raw: Any = read_file(path)
    if not isinstance(raw, list):
        raise UsageError(f"{path}: a list of deviations is allowed, found {type(raw).__name__}")
    deviations: dict[str, Deviation] = {}
    for number, entry in enumerate(raw, start=1):
        where = f"{path}: entry {number}"
        try:
            deviation = Deviation.model_validate(entry)
        except pydantic.ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(map(str, problem["loc"])) or "the entry"
            raise UsageError(f"{where}: {key}: {problem['msg']}, found {problem['input']!r:.80}") from error
        named = dict.fromkeys(deviation.claims, "claims")
        if deviation.measured is not None:
            named.setdefault(deviation.measured.claim, "measured.claim")
        for claim in named.keys() - known:
            what = f"{named[claim]}: {claim!r} is not known; allowed are {', '.join(known)}"
            raise UsageError(f"{where} ({deviation.name}): {what}")
        if deviation.name in deviations:
            raise UsageError(f"{where}: name: {deviation.name!r} occurs more than once")
        deviations[deviation.name] = deviation
    return list(deviations.values())
