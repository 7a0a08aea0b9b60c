"""Claim results: the small checked file in which a notebook leaves what the report shows.

One folder per claim: `result.json`, tables and figure data as CSV, figures as SVG and PDF, and a
copy of every run record that it rests on. The templates read these and nothing else.
"""

from pathlib import Path
from typing import Any, Literal

import pydantic

from gon.errors import GonError
from gon.params import Headline, Model, Part, Published, Rule

Outcome = Literal["reproduced", "not reproduced", "inconclusive", "not attempted"]
Tendency = Literal["as published", "against the published", "mixed", "too close to tell", "not comparable"]
Reason = Literal["epochs", "images", "left out", "one seed"]
Finding = Literal["as published", "against the published", "too close to tell", "not comparable"]


class RunSummary(Model):
    """One run behind a claim, as the report's run cards show it."""

    digest: str
    label: str
    spec: dict[str, str | int | float]
    epochs: int
    """Epochs asked for."""
    parameters: int
    train_loss: float | None
    """Of the last epoch, summed squared error per image; None if the run diverged."""
    validation_loss: float | None
    diverged: str | None
    """Where it diverged, in words, or None."""
    train_seconds: float
    """Wall time of all training steps."""
    step_milliseconds: float | None
    """Mean wall time of a training step; None without a single full epoch."""
    total_seconds: float
    peak_memory_mib: float
    machine: dict[str, str | int]
    versions: dict[str, str]
    device: str
    dtype: str
    threads: int
    origin_pass: str
    compiled: str
    commit: str | None
    started: str
    data: dict[str, str]
    record: str
    """Path of the run record, relative to the claim's folder."""
    steps: str
    """Path of the training loss of every step (CSV), likewise."""
    images: str
    """Path of the images that the model made (JSON), likewise."""
    evaluations: list[str] = []
    """Paths of further evaluations (JSON), likewise."""


class Measurement(Model):
    """One measured number, and the runs that it comes from."""

    name: str
    """Unique within the claim, such as `mnist/64`; published values are found by it."""
    label: str
    """For people, such as `MNIST, latent 64`."""
    quantity: str
    """Such as `validation loss`."""
    unit: str
    value: float | None
    """None if a run behind it diverged."""
    note: str | None = None
    """Said beside the number, such as where the run diverged."""
    epochs: int
    runs: list[str]
    """Digests of the runs."""
    published: float | None = None


class Cell(Model):
    """One table cell: a text, a measurement by name, or a published number."""

    text: str | None = None
    measurement: str | None = None
    published: float | None = None


class Table(Model):
    """A table; the first column heads its rows. The CSV beside it holds unrounded numbers."""

    name: str
    caption: str
    columns: list[str]
    rows: list[list[Cell]]
    csv: str


class FigureFile(Model):
    """A figure, for page (SVG) and print (PDF), and the data drawn in it (CSV)."""

    name: str
    caption: str
    alt: str
    svg: str
    pdf: str
    csv: str
    runs: list[str]


class Comparison(Model):
    """One pair of an ordering rule, or one number of a value rule.

    For an ordering, `first` is published to be the lower one and `second` the higher one. For a
    value, `first` is the measurement and `second` is None.
    """

    first: str
    """Name of a measurement."""
    second: str | None = None
    relative_difference: float | None
    """(first - second) / second, or (measured - published) / published; None if not comparable."""
    finding: Finding


class Verdict(Model):
    """What a rule says of the measurements."""

    rule: Rule
    outcome: Outcome
    tendency: Tendency
    """Where the numbers point, whether or not they decide."""
    reasons: list[Reason]
    """Why the verdict is open; empty if it is not."""
    epochs: int
    """Epochs that the measurements rest on."""
    comparisons: list[Comparison]


class LeftOut(Model):
    """A run that the claim would rest on, and why it was not run."""

    digest: str
    dataset: str
    """As printed."""
    model: str
    """As printed, with its inner steps if more than one."""
    reason: str


class BudgetSummary(Model):
    """The budget that a claim was judged at."""

    name: str
    description: str
    epochs: int
    overrides: list[str]
    uses_all_images: bool


class ClaimResult(Model):
    """Everything that the report says of a claim."""

    format: Literal[2] = 2
    claim: str
    title: str
    order: int
    part: Part
    headline: Headline | None
    method: str
    published: Published
    parameters: dict[str, Any]
    budget: BudgetSummary
    measurements: list[Measurement]
    tables: list[Table]
    figures: list[FigureFile]
    verdicts: list[Verdict]
    runs: list[RunSummary]
    left_out: list[LeftOut]

    def measurement(self, name: str) -> Measurement:
        """The measurement of that name."""
        return next(m for m in self.measurements if m.name == name)


def read_result(folder: Path) -> ClaimResult:
    """Read and check the result in a claim's folder.

    Raises
    ------
    GonError
        If it is missing, cut short or not a claim result; names the file and the key.
    """
    path = folder / "result.json"
    try:
        return ClaimResult.model_validate_json(path.read_bytes())
    except OSError as error:
        raise GonError(f"{path}: cannot read the claim result ({error.strerror})") from error
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise GonError(f"{path}: not a claim result: {key}: {problem['msg']}") from error
