"""What checks find: of a record, a claim, an archive."""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["bit-equal", "within tolerance", "valid", "not compared", "differs", "damaged"]


@dataclass(frozen=True)
class Check:
    """What was found of one thing."""

    name: str
    """What was checked: a run in words, or a file if it cannot be read."""
    outcome: Outcome
    """Agreement is to be bit-equal, or within tolerance."""
    note: str
    """What was compared, and what was found."""
    machine: str = ""
    """In what the machine that made it was of another kind than this one, where that may be the reason."""

    @property
    def agrees(self) -> bool:
        """Whether nothing speaks against it."""
        return self.outcome not in ("differs", "damaged")
