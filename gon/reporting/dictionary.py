"""What every column of the report's tables holds; what a record says is declared where the record is."""

import dataclasses
import typing
from collections.abc import Sequence
from dataclasses import dataclass

from gon.runs.record import SSE, Epoch, Session
from gon.spec import RunSpec


@dataclass(frozen=True)
class Column:
    """What a column holds: its type in the terms of Frictionless Table Schema, meaning, and unit."""

    type: str
    description: str
    unit: str = ""


def columns_of(kind: type, leave_out: Sequence[str] = ()) -> dict[str, Column]:
    """The columns that a dataclass declares with `gon.spec.meaning`; a mapping is written as a text."""
    types = typing.get_type_hints(kind)
    names = {str: "string", int: "integer", float: "number"}
    columns = {}
    for field in dataclasses.fields(kind):
        hint = (typing.get_args(types[field.name]) or (types[field.name],))[0]
        if field.name not in leave_out:
            meaning, unit = field.metadata["meaning"], field.metadata["unit"]
            columns[field.name] = Column(names.get(hint, "string"), meaning, unit)
    return columns


RUN = Column("string", "Digest of the run's settings; `#run-<digest>` is its card on the page")
SEED = Column("integer", "Random seed; empty for a model that is computed")
VALIDATION = Column("number", "Validation loss", SSE)

TABLES: dict[str, tuple[str, dict[str, Column]]] = {
    "runs.csv": (
        "Every run of the report, one row each.",
        {
            "run": RUN,
            "label": Column("string", "The run in words"),
            **columns_of(RunSpec),
            "epochs": Column("integer", "Epochs asked for"),
            "parameters": Column("integer", "Trained parameters"),
            "train_loss": Column(
                "number", "Training loss of the last epoch; from 50 epochs on, mean of the last five", SSE
            ),
            "validation_loss": Column("number", "Validation loss, likewise", SSE),
            "validation_loss_running": Column(
                "number", "The same with the running statistics of the batch norms", SSE
            ),
            "diverged": Column("string", "Where the loss stopped being finite; empty if it did not"),
            "train_seconds": Column("number", "Wall time of all training steps", "s"),
            "total_seconds": Column("number", "Wall time of training and validation", "s"),
            "compute_seconds": Column("number", "CPU time of all training steps, or the GPU's", "s"),
            "step_milliseconds": Column("number", "Mean of it per training step", "ms"),
            **columns_of(Session, leave_out=("first_epoch", "last_epoch")),
            "record_digest": Column("string", "SHA-256 of the record's file"),
            "claims": Column("string", "Claims that rest on it"),
        },
    ),
    "measurements.csv": (
        "Every measured number, one row for each run behind it.",
        {
            "claim": Column("string", "The claim"),
            "measurement": Column("string", "Name of the number, unique within the claim"),
            "label": Column("string", "What was measured on"),
            "quantity": Column("string", "What was measured"),
            "unit": Column("string", "Its unit"),
            "epochs": Column("integer", "Epochs of training that it stands for"),
            "run": RUN,
            "seed": SEED,
            "value": Column("number", "What this run gave, in the unit of the row"),
            "mean": Column("number", "Mean over the seeds, in the unit of the row"),
            "low": Column("number", "Lower end of its 95% confidence interval, in the unit of the row"),
            "high": Column("number", "Upper end of its 95% confidence interval, in the unit of the row"),
            "n": Column("integer", "Number of runs behind the mean"),
            "note": Column("string", "Why there is no value"),
            "published": Column("number", "The published value, in the unit of the row"),
        },
    ),
    "verdicts.csv": (
        "Every verdict, one row for each comparison that its rule makes.",
        {
            "claim": Column("string", "The claim"),
            "rule": Column("string", "The rule"),
            "kind": Column(
                "string",
                "ordering: pairs are compared; value: with published values; structural: exact counts",
            ),
            "primary": Column("boolean", "Whether the claim stands or falls with this rule"),
            "level": Column("number", "Level of the rule; its intervals have the confidence 1 less this"),
            "version": Column("integer", "Version of the rule"),
            "date": Column("date", "When that version was declared"),
            "outcome": Column("string", "The verdict"),
            "tendency": Column("string", "Where the numbers point"),
            "reasons": Column("string", "Why the verdict is open"),
            "first": Column("string", "Measurement published to be lower, or compared with its value"),
            "second": Column("string", "Measurement published to be higher"),
            "epochs": Column("integer", "After how many epochs; 0 for what needs no training"),
            "n": Column("integer", "Pairs or values compared"),
            "relative_difference": Column("number", "Geometric mean of the ratios, minus 1"),
            "low": Column("number", "Lower end of its confidence interval, of the rule's level"),
            "high": Column("number", "Upper end of its confidence interval, of the rule's level"),
            "effect_size": Column("number", "Cohen's d of the paired log ratios"),
            "p_reproduced": Column(
                "number", "That the first is not lower by the margin, or the value outside the tolerance"
            ),
            "p_refuted": Column(
                "number",
                "That the pair is neither equal within the margin nor the other way round, or the value "
                "within the tolerance (adjusted for all comparisons of the rule)",
            ),
            "finding": Column("string", "What the comparison says"),
        },
    ),
    "deviations.csv": (
        "Every way in which the set-up differs from the published one.",
        {
            "name": Column("string", "Its name; `#deviation-<name>` is its row on the page"),
            "what": Column("string", "What differs"),
            "published": Column("string", "What the report says"),
            "source": Column("string", "Where the published set-up stands"),
            "code": Column("string", "What the authors' code does"),
            "here": Column("string", "What we do"),
            "effect": Column("string", "Its expected effect, and why"),
            "measured": Column("string", "Measured numbers that show the effect: name and mean"),
            "claims": Column("string", "Claims whose results it touches"),
        },
    ),
    "curves.parquet": (
        "Losses and times of every epoch of every run.",
        {
            "run": RUN,
            **columns_of(Epoch),
        },
    ),
}
"""Tables over the whole report: description and columns by file name."""

FIGURE_COLUMNS = {
    **columns_of(RunSpec),
    "run": RUN,
    "epoch": Column("number", "Position on the axis, in epochs"),
    "seconds": Column("number", "Position on the axis, in seconds of training", "s"),
    "loss": Column("number", "Loss: of training, averaged over blocks of steps, or of validation", SSE),
    "validation_loss": VALIDATION,
    "panel": Column("string", "Panel of the figure"),
    "curve": Column("string", "Line of the figure"),
    "image": Column("integer", "Number of the image, from 0"),
    "squared_error": Column("number", "Summed squared error of the image, pixels from 0 to 1"),
}
"""Columns of the data behind figures."""
