"""What was trained on this machine and compared with the reference records, for the report's first lines."""

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from gon.claims.formats import counted, percent
from gon.claims.rules import Strict
from gon.errors import GonError
from gon.files import read_json, require_seal

CHECKED = "checked.json"


class CheckedRun(Strict):
    """One run that was trained here as well."""

    run: str
    """Digest of its settings."""
    epochs: int
    """How many epochs were compared."""
    outcome: Literal["bit-equal", "within tolerance", "differs"]
    deviation: float
    """Largest relative deviation, of means over blocks of steps and of the losses of epochs."""
    allowed: float
    """What rounding on this kind of machine explains; zero where not a bit may differ."""


class Checked(Strict):
    """What was compared on a machine."""

    machine: str
    """Its processor."""
    epochs: int
    """The most epochs of any run."""
    runs: list[CheckedRun]

    @property
    def disagreeing(self) -> list[CheckedRun]:
        """Runs whose training here gave other losses than another kind of machine explains."""
        return [run for run in self.runs if run.outcome == "differs"]


def read_checked(path: Path) -> Checked:
    """Read what `gon verify --trained` wrote.

    Raises
    ------
    GonError
        If the file cannot be read, or was altered.
    """
    content = read_json(path, "what was compared on this machine")
    try:
        seal = content.pop("seal", None) if isinstance(content, dict) else None
        checked = Checked.model_validate(content)
    except ValueError as error:
        raise GonError(f"{path}: cannot be read as what was compared on this machine ({error})") from error
    require_seal(path, content, seal)
    return checked


def checked_words(checked: Checked, labels: Mapping[str, str]) -> str:
    """What was compared on this machine, in one sentence.

    Parameters
    ----------
    checked
        What was compared.
    labels
        The runs that the report rests on, by their digests.
    """
    of = len(labels)
    extent = "the first epoch" if checked.epochs == 1 else f"up to {counted(checked.epochs, 'epoch')}"
    start = f"Checked on this machine ({checked.machine}): {extent} of {len(checked.runs)} of {of} runs"
    if checked.disagreeing:
        named = ", ".join(
            f"{labels.get(run.run, run.run)} (by {percent(run.deviation)})" for run in checked.disagreeing
        )
        return f"{start}. It disagrees with the records: {named}."
    others = [run for run in checked.runs if run.outcome != "bit-equal"]
    if not others:
        return f"{start}, all equal bit for bit."
    largest = max(others, key=lambda run: run.deviation)
    median = percent(statistics.median(run.deviation for run in others))
    where = f"{labels.get(largest.run, largest.run)}, where rounding explains {percent(largest.allowed)}"
    equal = len(checked.runs) - len(others)
    rest = f"; {equal} are equal bit for bit" if equal else ""
    return (
        f"{start}, trained on another kind of machine: they differ by {median} in the median, by at most "
        f"{percent(largest.deviation)} ({where}){rest}."
    )
