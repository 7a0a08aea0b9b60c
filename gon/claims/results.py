"""Claim results: the small checked file in which a notebook leaves what it measured.

One folder per claim: `result.json`, tables and figure data as CSV, figures as SVG and PDF.
"""

import json
from pathlib import Path
from typing import Literal

import pydantic

from gon.claims.rules import Rule, Strict
from gon.errors import GonError
from gon.files import parse_json, read_text, require_seal, sealed, sha256_of_file, write_atomically

Outcome = Literal["reproduced", "partly reproduced", "not reproduced", "inconclusive", "not attempted"]

Finding = Literal[
    "as published",
    "lower, size open",
    "equal within the margin",
    "against the published",
    "too close to tell",
    "too early to tell",
    "not comparable",
]
REFUTING: tuple[Finding, ...] = ("against the published", "equal within the margin")
"""Findings that contradict what is published."""
UNTOLD: tuple[Finding, ...] = ("too close to tell", "too early to tell")
"""Findings of numbers that point somewhere, and decide nothing."""
Tendency = Finding | Literal["mixed"]
Reason = Literal["epochs", "images", "seeds", "left out", "diverged", "no scatter", "overlap"]


class SeedValue(Strict):
    """What one run gave for a measurement."""

    run: str | None
    """Digest of the run; None for a number that follows from the settings alone, without a run."""
    seed: int | None
    """None for what is computed, and is the same from every seed."""
    value: float | None
    note: str | None = None
    """Why there is no value."""


class Measurement(Strict):
    """One measured number: the mean over seeds, and what each run gave."""

    name: str
    """Unique within the claim, such as `mnist/64`; published values are found by it."""
    label: str
    """For people, such as `MNIST, latent 64`."""
    quantity: str
    """Such as `validation loss`."""
    unit: str
    value: float | None
    """Mean over the seeds; None if one of them has no value."""
    interval: tuple[float, float] | None = None
    """95% confidence interval of the mean; None with a single seed, or without scatter."""
    note: str | None = None
    """Why there is no value, such as where a run diverged."""
    epochs: int
    values: list[SeedValue]
    recorded: str | None
    """Key of `gon.claims.quantities.QUANTITIES` if it follows from the records; None if only the notebook
    says how it is computed."""
    settings: dict[str, str | int | float] = {}
    """The settings that the runs share and the label tells."""
    published: float | None = pydantic.Field(default=None, exclude=True)
    """The published value, from the claim's file; never written."""

    @property
    def runs(self) -> list[str]:
        """Digests of the runs; none for a number that needs no run."""
        return [value.run for value in self.values if value.run is not None]

    @property
    def seeds(self) -> int:
        """Number of values behind the mean."""
        return len(self.values)

    @property
    def exact(self) -> bool:
        """Whether it is computed rather than trained, so that seeds do not enter."""
        return all(value.seed is None for value in self.values)


class Cell(Strict):
    """One table cell: a text, a measurement by name, or a published number."""

    text: str | None = None
    measurement: str | None = None
    published: float | None = None


class Table(Strict):
    """A table; the first column heads its rows. The CSV beside it holds unrounded numbers."""

    name: str
    caption: str
    columns: list[str]
    rows: list[list[Cell]]
    csv: str


class FigureFile(Strict):
    """A figure, its panels drawn one by one (SVG), and the data drawn in it (CSV)."""

    name: str
    caption: str
    alt: str
    panels: list[str]
    csv: str
    runs: list[str]
    epochs: list[int]
    """After how many epochs it shows them, but for those of models that are computed."""


class Comparison(Strict):
    """One pair of an ordering or structural rule, or one number of a value rule; see `gon.claims.decisions`.

    For a pair, `first` is published to be the lower one and `second` the higher one. For a value,
    `first` is the measurement and `second` is None.
    """

    first: str
    """Name of a measurement."""
    second: str | None = None
    epochs: int
    """After how many epochs they are compared; 0 for what needs no training."""
    seeds: int
    """Number of pairs or values."""
    relative_difference: float | None
    """first / second - 1, or measured / published - 1, geometric mean over seeds; None if not comparable."""
    interval: tuple[float, float] | None = None
    """Its confidence interval, of the rule's level; None with a single seed, or without scatter."""
    effect_size: float | None = None
    """Cohen's d of the paired log ratios."""
    p_reproduced: float | None = None
    """Of a pair: that the first is not lower by the margin. Of a value: that it is outside the tolerance."""
    p_refuted: float | None = None
    """Of a pair: that it is neither equal within the margin nor the other way round. Of a value: that it is
    within the tolerance. Adjusted for all comparisons of the rule (Holm)."""
    finding: Finding


class Verdict(Strict):
    """What a rule says of the measurements."""

    rule: Rule
    outcome: Outcome
    tendency: Tendency = "not comparable"
    """Where the numbers point, whether or not they decide."""
    reasons: list[Reason]
    """Why the verdict is open; empty if it is not."""
    epochs: int = 0
    """Epochs that the measurements rest on; 0 for what needs no training."""
    seeds: int = 0
    """Seeds that they rest on."""
    comparisons: list[Comparison] = []
    order: list[Comparison] = []
    """Of a value rule: whether the measured values have the order of the published ones."""
    early: list[Comparison] = []
    """Of a value rule: losses at its milestones. One that lies below the published value by more than the
    tolerance is against the published; others say nothing so early, and are not comparable."""


class RecordName(Strict):
    """A record that a claim rests on."""

    run: str
    """Digest of the run's settings."""
    epochs: int
    sha256: str
    """Of the record's file."""


class ClaimResult(Strict):
    """What a notebook leaves: what it measured, in tables and figures, and the records that it rests on.

    Published values, rules and budget stand in `params/`, epochs, seeds and losses in the records.
    """

    format: Literal[6] = 6
    claim: str
    records: list[RecordName]
    measurements: list[Measurement]
    tables: list[Table]
    figures: list[FigureFile]
    sha256: dict[str, str] = {}
    """Of every other file of the result; `write_result` fills it in."""

    def files(self) -> list[str]:
        """Every file that the result names, and the result itself; relative to the folder."""
        named = ["result.json", *(table.csv for table in self.tables)]
        named += [path for figure in self.figures for path in (*figure.panels, figure.csv)]
        return list(dict.fromkeys(named))


def write_result(result: ClaimResult, folder: Path) -> None:
    """Write a result into the folder of its tables and figures, with their digests, and seal it."""
    digests = {file: sha256_of_file(folder / file) for file in result.files() if file != "result.json"}
    content = result.model_copy(update={"sha256": digests}).model_dump(mode="json")
    write_atomically(folder / "result.json", sealed(content, indent=1))


def read_result(folder: Path) -> ClaimResult:
    """Read the result in a claim's folder, and check it against its seal.

    Raises
    ------
    GonError
        If it is missing, cut short, altered or not a claim result; names the file and the key.
    """
    path = folder / "result.json"
    text = read_text(path)
    try:
        content = parse_json(text)
        seal = content.pop("seal", None) if isinstance(content, dict) else None
        result = ClaimResult.model_validate_json(json.dumps(content))
    except ValueError as error:
        if not isinstance(error, pydantic.ValidationError):
            raise GonError(f"{path}: not a claim result ({error})") from error
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise GonError(f"{path}: not a claim result: {key}: {problem['msg']}") from error
    require_seal(path, content, seal, "; execute the notebook again")
    return result
