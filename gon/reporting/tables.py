"""The data behind the report as tables, with a data dictionary (Frictionless Data Package)."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gon.reporting.report import Claim, Report, Run
from gon.runs.chain import read_steps
from gon.runs.record import RunRecord
from gon.runs.store import read_record
from gon.spec import RunSpec

SSE = "summed squared error per image"


@dataclass(frozen=True)
class Column:
    """What a column holds: its type in the terms of Frictionless Table Schema, meaning, and unit."""

    type: str
    description: str
    unit: str = ""


RUN = Column("string", "Digest of the run's settings; `#run-<digest>` is its card on the page")
SEED = Column("integer", "Random seed; empty for a model that is computed")
TRAIN = Column("number", "Training loss", SSE)
VALIDATION = Column("number", "Validation loss", SSE)

SETTINGS = {
    "dataset": Column("string", "Data set"),
    "model": Column("string", "Model"),
    "latent_dim": Column("integer", "Size of the latent vector"),
    "width": Column("integer", "Channels of the decoder's last hidden layer, or units of a hidden layer"),
    "activation": Column("string", "Activation function of the decoder"),
    "inner_steps": Column("integer", "Gradient steps from the origin to the latent"),
    "learning_rate": Column("number", "Step size of Adam"),
    "batch_size": Column("integer", "Images per step"),
    "seed": Column("integer", "Random seed of initial weights and batches"),
    "split": Column("string", "What is trained and validated on"),
    "train_images": Column("integer", "Training images used"),
    "validation_images": Column("integer", "Validation images used"),
    "numerics": Column("integer", "Version of the arithmetic"),
}

TABLES: dict[str, tuple[str, dict[str, Column]]] = {
    "runs.csv": (
        "Every run of the report, one row each.",
        {
            "run": RUN,
            "label": Column("string", "The run in words"),
            **SETTINGS,
            "epochs": Column("integer", "Epochs asked for"),
            "parameters": Column("integer", "Trained parameters"),
            "train_loss": dataclasses.replace(
                TRAIN, description="Training loss of the last epoch; from 50 epochs on, mean of the last five"
            ),
            "validation_loss": dataclasses.replace(VALIDATION, description="Validation loss, likewise"),
            "validation_loss_running": dataclasses.replace(
                VALIDATION, description="The same with the running statistics of the batch norms"
            ),
            "diverged": Column("string", "Where the loss stopped being finite; empty if it did not"),
            "train_seconds": Column("number", "Wall time of all training steps", "s"),
            "total_seconds": Column("number", "Wall time of training and validation", "s"),
            "compute_seconds": Column("number", "CPU time of all training steps, or the GPU's", "s"),
            "step_milliseconds": Column("number", "Mean of it per training step", "ms"),
            "peak_memory_mib": Column("number", "Largest resident memory of the process", "MiB"),
            "device": Column("string", "What it ran on"),
            "dtype": Column("string", "Floating-point type"),
            "threads": Column("integer", "Threads of the process"),
            "origin_pass": Column("string", "Implementation of the latent"),
            "compiled": Column("string", "Whether the step was compiled, and from which epoch on"),
            "compiler": Column("string", "The compiler that did it"),
            "code": Column("string", "SHA-256 of the source files that computed"),
            "machine": Column("string", "Processor, cores, memory and system"),
            "versions": Column("string", "Versions of Python and of the libraries that compute"),
            "commit": Column("string", "Commit of the project"),
            "started": Column("datetime", "Start of the last stretch of training, UTC"),
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
            "epoch": Column("integer", "Number of the epoch, from 1"),
            "train_loss": dataclasses.replace(TRAIN, description="Mean over the steps of the epoch"),
            "validation_loss": dataclasses.replace(VALIDATION, description="After the epoch"),
            "train_seconds": Column("number", "Wall time of the steps", "s"),
            "validation_seconds": Column("number", "Wall time of the validation", "s"),
            "validation_loss_running": dataclasses.replace(
                VALIDATION, description="After the epoch, with the running statistics of the batch norms"
            ),
            "train_cpu_seconds": Column("number", "CPU time of the steps", "s"),
            "validation_cpu_seconds": Column("number", "CPU time of the validation", "s"),
            "train_gpu_seconds": Column("number", "Time of the steps on a GPU's clock", "s"),
        },
    ),
    "steps.parquet": (
        "Training loss of every step of every run.",
        {"run": RUN, "step": Column("integer", "Number of the step, from 1"), "train_loss": TRAIN},
    ),
}
"""Tables over the whole report: description and columns by file name."""

FIGURE_COLUMNS = {
    "epoch": Column("number", "Position on the axis, in epochs"),
    "seconds": Column("number", "Position on the axis, in seconds of training", "s"),
    "train_loss": dataclasses.replace(TRAIN, description="Training loss, averaged over blocks of steps"),
    "validation_loss": VALIDATION,
    "low": Column("number", "Lower end of the 95% confidence interval of the loss", SSE),
    "high": Column("number", "Upper end of the 95% confidence interval of the loss", SSE),
    "n": Column("integer", "Seeds behind the mean"),
    "panel": Column("string", "Panel of the figure"),
    "curve": Column("string", "Line of the figure"),
    "model": Column("string", "Model"),
    "image": Column("integer", "Number of the image, from 0"),
    "row": Column("integer", "Row of the figure, from 1"),
    "mean_pixel": Column("number", "Mean of the image's pixels, from 0 to 255"),
    "squared_error_of_shown_pixels": Column(
        "number", "Summed squared error of the image as shown, pixels from 0 to 1"
    ),
}
"""Columns of the data behind figures."""

_ARROW = {"string": pa.string(), "integer": pa.int64(), "number": pa.float64()}


def write_tables(report: Report, folder: Path) -> None:
    """Write the tables over the whole report, and the dictionary of every file below a folder.

    Parameters
    ----------
    report
        What is reported.
    folder
        Where the claims' files lie already; the tables go beside them.
    """
    for name, rows in (
        ("runs.csv", _runs(report)),
        ("measurements.csv", _measurements(report)),
        ("verdicts.csv", _verdicts(report)),
        ("deviations.csv", _deviations(report)),
    ):
        columns = TABLES[name][1]
        whole = {key: "Int64" for key, column in columns.items() if column.type == "integer"}
        frame = pd.DataFrame(rows, columns=list(columns)).astype(whole)
        frame.to_csv(folder / name, index=False)
    _write_curves(report, folder / "curves.parquet")
    _write_steps(report, folder / "steps.parquet")
    resources = [_resource(name, description, columns) for name, (description, columns) in TABLES.items()]
    if report.workflow is not None:
        resources += [_resource(f"workflow.{kind}", "Drawing of the workflow") for kind in ("svg", "pdf")]
    for claim in report.claims:
        resources += _claim_resources(claim)
    package = {
        "$schema": "https://datapackage.org/profiles/2.0/datapackage.json",
        "name": "gon-report-data",
        "title": "Data behind the executable report on Gradient Origin Networks",
        "created": report.moment.isoformat(),
        "licenses": [{"name": "MIT"}],
        "resources": resources,
    }
    (folder / "datapackage.json").write_text(json.dumps(package, indent=1) + "\n", encoding="utf-8")


def _runs(report: Report) -> list[dict[str, Any]]:
    rows = []
    for run in report.runs:
        summary = run.summary
        rows.append(
            {
                **summary.model_dump(),
                **summary.spec,
                "run": summary.digest,
                "machine": "; ".join(f"{key} {value}" for key, value in summary.machine.items()),
                "versions": "; ".join(f"{key} {value}" for key, value in summary.versions.items()),
                "claims": "; ".join(claim.result.claim for claim in run.claims),
            }
        )
    return rows


def _measurements(report: Report) -> list[dict[str, Any]]:
    return [
        {
            **measurement.model_dump(include={"label", "quantity", "unit", "epochs", "published"}),
            "claim": claim.result.claim,
            "measurement": measurement.name,
            "run": entry.run,
            "seed": entry.seed,
            "value": entry.value,
            "note": entry.note,
            "mean": measurement.value,
            "low": measurement.interval[0] if measurement.interval else None,
            "high": measurement.interval[1] if measurement.interval else None,
            "n": measurement.seeds,
        }
        for claim in report.claims
        for measurement in claim.result.measurements
        for entry in measurement.values
    ]


def _verdicts(report: Report) -> list[dict[str, Any]]:
    rows = []
    for claim, verdict in report.verdicts:
        rule = verdict.rule
        common = {
            "claim": claim.result.claim,
            "rule": rule.name,
            "kind": rule.kind,
            "primary": rule.name == claim.result.primary,
            "level": getattr(rule, "alpha", None),
            "version": rule.version,
            "date": rule.date.isoformat(),
            "outcome": verdict.outcome,
            "tendency": verdict.tendency,
            "reasons": "; ".join(verdict.reasons),
        }
        rows += [
            {
                **common,
                **comparison.model_dump(exclude={"seeds", "interval"}),
                "n": comparison.seeds,
                "low": comparison.interval[0] if comparison.interval else None,
                "high": comparison.interval[1] if comparison.interval else None,
            }
            for comparison in [*verdict.comparisons, *verdict.early]
        ] or [common]
    return rows


def _deviations(report: Report) -> list[dict[str, Any]]:
    return [
        {
            **deviation.model_dump(include={"name", "what", "published", "code", "effect"}),
            "source": f"{deviation.source.key}, {deviation.source.where}",
            "here": report.here(deviation),
            "measured": "; ".join(f"{m.name}: {m.value}" for m in report.effects(deviation)) or None,
            "claims": "; ".join(deviation.claims),
        }
        for deviation in report.deviations
    ]


def record_of(run: Run) -> RunRecord:
    """The record of a run, which `collect_report` has checked."""
    path = run.claims[0].folder / run.summary.record
    return read_record(path, {})


def _schema(name: str) -> pa.Schema:
    """Types and meaning of a table's columns, as they stand in a Parquet file."""
    return pa.schema(
        [
            pa.field(
                key,
                pa.float32() if name == "steps.parquet" and column.type == "number" else _ARROW[column.type],
                metadata={"description": column.description, "unit": column.unit},
            )
            for key, column in TABLES[name][1].items()
        ]
    )


def _write_curves(report: Report, path: Path) -> None:
    rows = [
        {"run": run.summary.digest, **dataclasses.asdict(epoch)}
        for run in report.runs
        for epoch in record_of(run).history
    ]
    pq.write_table(pa.Table.from_pylist(rows, _schema(path.name)), path, compression="zstd")


def _write_steps(report: Report, path: Path) -> None:
    schema = _schema(path.name)
    # One row group per run: no more than one run is in memory, and one can be read alone.
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for run in report.runs:
            losses = read_steps(run.claims[0].folder / run.summary.steps)
            losses = losses[: RunSpec.from_mapping(run.summary.spec).steps_per_epoch * run.summary.epochs]
            columns = [[run.summary.digest] * len(losses), np.arange(1, len(losses) + 1), losses]
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _resource(path: str, description: str, columns: Mapping[str, Column] | None = None) -> dict[str, Any]:
    """An entry of the dictionary; with columns if it is a table."""
    stem, _, suffix = path.rpartition(".")
    types = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet", "json": "application/json"}
    types |= {"npz": "application/octet-stream", "svg": "image/svg+xml", "pdf": "application/pdf"}
    resource: dict[str, Any] = {
        "name": stem.replace("/", "-").lower() + f"-{suffix}",
        "path": path,
        "description": description,
        "format": suffix,
        "mediatype": types[suffix],
    }
    if columns is not None:
        fields = [
            {
                "name": name,
                "type": column.type,
                "description": column.description,
                **({"unit": column.unit} if column.unit else {}),
            }
            for name, column in columns.items()
        ]
        resource |= {"type": "table", "schema": {"fields": fields}}
    return resource


def _claim_resources(claim: Claim) -> list[dict[str, Any]]:
    result, folder = claim.result, claim.result.claim
    resources = [_resource(f"{folder}/result.json", f"All that the report says of the claim: {result.title}")]
    for table in result.tables:
        columns = _columns_of(claim.folder / table.csv, {})
        resources.append(_resource(f"{folder}/{table.csv}", table.caption, columns))
    for figure in result.figures:
        columns = _columns_of(claim.folder / figure.csv, FIGURE_COLUMNS)
        resources.append(
            _resource(f"{folder}/{figure.csv}", f"Data of the figure: {figure.caption}", columns)
        )
        resources.append(_resource(f"{folder}/{figure.svg}", f"Figure: {figure.caption}"))
        resources.append(_resource(f"{folder}/{figure.pdf}", f"Figure: {figure.caption}"))
    for run in result.runs:
        resources.append(_resource(f"{folder}/{run.record}", f"Record of the run {run.label}"))
        resources.append(_resource(f"{folder}/{run.steps}", f"Loss of every step of the run {run.label}"))
        if run.images is not None:
            resources.append(_resource(f"{folder}/{run.images}", f"Images made by the run {run.label}"))
        for path in run.evaluations:
            resources.append(_resource(f"{folder}/{path}", f"Further evaluation of the run {run.label}"))
    return resources


def _columns_of(path: Path, known: Mapping[str, Column]) -> dict[str, Column]:
    """The columns of a claim's own table; its headings are its notebook's."""
    frame = pd.read_csv(path)
    columns = {}
    for name in frame.columns:
        kind = frame[name].dtype.kind
        found = "integer" if kind == "i" else "number" if kind == "f" else "string"
        base, _, part = str(name).rpartition(", ")
        parts = {
            "95% low": f"Lower end of the 95% confidence interval of the mean under “{base}”",
            "95% high": f"Upper end of the 95% confidence interval of the mean under “{base}”",
            "n": f"Number of seeds behind the mean under “{base}”",
        }
        described = known.get(str(name), Column("", parts.get(part, f"“{name}” as in the table's heading")))
        columns[str(name)] = dataclasses.replace(described, type=found)
    return columns
