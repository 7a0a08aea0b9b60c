"""Claim results: the small checked file in which a notebook leaves what the report shows.

One folder per claim: `result.json`, tables and figure data as CSV, figures as SVG and PDF, and a
copy of every run record that it rests on. The templates read these and nothing else.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pydantic

from gon.claims.params import Headline, Part, Published
from gon.claims.rules import Rule, Strict
from gon.errors import GonError
from gon.runs.record import RunRecord

Outcome = Literal["reproduced", "partly reproduced", "not reproduced", "inconclusive", "not attempted"]

Finding = Literal[
    "as published",
    "lower, size open",
    "equal within the margin",
    "against the published",
    "too close to tell",
    "not comparable",
]
Tendency = Finding | Literal["mixed"]
Reason = Literal["epochs", "images", "seeds", "left out", "diverged", "no scatter", "overlap"]


class RunSummary(Strict):
    """One run behind a claim, as the report's run cards show it."""

    digest: str
    label: str
    spec: dict[str, str | int | float]
    epochs: int
    """Epochs asked for."""
    parameters: int
    train_loss: float | None
    """Summed squared error per image, see `gon.runs.record.RunRecord.loss`; None if the run diverged."""
    validation_loss: float | None
    validation_loss_running: float | None
    """With the running statistics of the batch norms, of models with an encoder."""
    diverged: str | None
    """Where it diverged, in words, or None."""
    train_seconds: float
    """Wall time of all training steps."""
    compute_seconds: float
    """Time of all training steps on the device: CPU time, or the GPU's."""
    step_milliseconds: float | None
    """Mean of it per training step; None without a single full epoch."""
    total_seconds: float
    peak_memory_mib: float
    machine: dict[str, str | int]
    versions: dict[str, str]
    device: str
    dtype: str
    threads: int
    origin_pass: str
    compiled: str
    compiler: str | None
    code: str | None
    """SHA-256 of the source files that computed."""
    commit: str | None
    started: str
    data: dict[str, str]
    record_digest: str
    """SHA-256 of the record's file."""
    record: str
    """Path of the run record, relative to the claim's folder."""
    steps: str
    """Path of the training loss of every step, likewise; see `gon.runs.chain.read_steps`."""
    images: str | None
    """Path of the images that the model made (JSON), likewise; None if they were not kept."""
    evaluations: list[str] = []
    """Paths of further evaluations (JSON), likewise."""


@dataclass(frozen=True)
class Quantity:
    """A number that every run has: its name for people, and its unit."""

    title: str
    unit: str


QUANTITIES = {
    "validation_loss": Quantity("validation loss", "SSE per image"),
    "validation_loss_running": Quantity("validation loss with running statistics", "SSE per image"),
    "train_loss": Quantity("training loss", "SSE per image"),
    "step_milliseconds": Quantity("time per training step", "ms"),
    "parameters": Quantity("parameters", ""),
}
"""What a record says of a run; losses are those of `RunRecord.loss`, times those of the device."""


def recorded_value(record: RunRecord, quantity: str, epochs: int) -> float | None:
    """What a record says of one of `QUANTITIES` after a number of epochs; None if it has no such number."""
    if quantity == "parameters":
        return record.parameters
    if quantity == "step_milliseconds":
        return record.step_milliseconds
    return record.loss(quantity, epochs)


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
    """Key of `QUANTITIES` if the records say it; None if the notebook computed it."""
    published: float | None = None

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
    """A figure, for page (SVG) and print (PDF), and the data drawn in it (CSV)."""

    name: str
    caption: str
    alt: str
    svg: str
    pdf: str
    csv: str
    runs: list[str]


class Comparison(Strict):
    """One pair of an ordering or structural rule, or one number of a value rule; see `gon.claims.verdicts`.

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
    tendency: Tendency
    """Where the numbers point, whether or not they decide."""
    reasons: list[Reason]
    """Why the verdict is open; empty if it is not."""
    epochs: int
    """Epochs that the measurements rest on."""
    seeds: int
    """Seeds that they rest on."""
    complete: bool = True
    """Whether everything that the rule speaks of was run."""
    comparisons: list[Comparison]
    order: list[Comparison] = []
    """Of a value rule: whether the measured values have the order of the published ones."""
    early: list[Comparison] = []
    """Of a value rule: losses at its milestones. One that lies below the published value by more than the
    tolerance is against the published; others say nothing so early, and are not comparable."""


class LeftOut(Strict):
    """A run that the claim would rest on, and why it was not run."""

    digest: str
    dataset: str
    """As printed."""
    model: str
    """As printed, with its inner steps if more than one."""
    reason: str


class BudgetSummary(Strict):
    """The budget that a claim was judged at."""

    name: str
    description: str
    epochs: int
    seeds: int
    overrides: list[str]
    uses_all_images: bool


class ClaimResult(Strict):
    """Everything that the report says of a claim."""

    format: Literal[4] = 4
    claim: str
    title: str
    order: int
    part: Part
    headline: Headline | None
    primary: str | None
    """Name of the rule that the claim stands or falls with; the others are secondary."""
    withdrawn: str | None
    """What is not judged although it was claimed, and why."""
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

    def files(self) -> list[str]:
        """Every file that the result names, and the result itself; relative to the folder."""
        named = ["result.json"]
        named += [table.csv for table in self.tables]
        named += [path for figure in self.figures for path in (figure.svg, figure.pdf, figure.csv)]
        named += [path for run in self.runs for path in (run.record, run.steps, run.images) if path]
        named += [path for run in self.runs for path in run.evaluations]
        return list(dict.fromkeys(named))


def summarise(
    record: RunRecord,
    record_digest: str,
    record_path: str,
    steps: str,
    images: str | None,
    evaluations: Sequence[str],
) -> RunSummary:
    """What the report says of a run, from its record alone.

    Parameters
    ----------
    record
        The record.
    record_digest
        SHA-256 of its file.
    record_path, steps, images, evaluations
        Paths relative to the claim's folder; None for images that were not kept.
    """
    session = record.sessions[-1]
    return RunSummary(
        digest=record.spec.digest,
        label=record.spec.label,
        spec=dataclasses.asdict(record.spec),
        epochs=record.epochs,
        parameters=record.parameters,
        train_loss=record.loss("train_loss", record.epochs),
        validation_loss=record.loss("validation_loss", record.epochs),
        validation_loss_running=record.loss("validation_loss_running", record.epochs),
        diverged=record.divergence,
        train_seconds=record.train_seconds,
        compute_seconds=record.compute_seconds,
        step_milliseconds=record.step_milliseconds,
        total_seconds=record.train_seconds + sum(epoch.validation_seconds for epoch in record.history),
        peak_memory_mib=max(s.peak_memory_mib for s in record.sessions),
        machine=session.machine,
        versions=session.versions,
        device=session.device,
        dtype=session.dtype,
        threads=session.threads,
        origin_pass=session.origin_pass,
        compiled=session.compiled,
        compiler=session.compiler,
        code=session.code,
        commit=session.commit,
        started=session.started,
        data=record.data,
        record_digest=record_digest,
        record=record_path,
        steps=steps,
        images=images,
        evaluations=list(evaluations),
    )


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
