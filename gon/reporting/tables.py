"""The data behind the report as tables, with a data dictionary (Frictionless Data Package)."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gon.reporting.dictionary import FIGURE_COLUMNS, TABLES, Column
from gon.reporting.report import Card, Report, Section

LOSSES = ("train_loss", "validation_loss", "validation_loss_running")
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
    resources = [_resource(name, description, columns) for name, (description, columns) in TABLES.items()]
    if report.workflow is not None:
        resources += [_resource(f"workflow.{kind}", "Drawing of the workflow") for kind in ("svg", "pdf")]
    resources.append(_resource("study.json", "The budget, and what was changed by hand"))
    for section in report.sections:
        resources += _claim_resources(section)
    for card in report.cards:
        resources += _run_resources(card)
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
    for card in report.cards:
        record, session = card.run.record, card.session
        rows.append(
            {
                **dataclasses.asdict(card.spec),
                **dataclasses.asdict(session),
                "run": card.spec.digest,
                "label": card.spec.label,
                "epochs": record.epochs,
                "parameters": record.parameters,
                **{key: card.loss(key) for key in LOSSES},
                "diverged": record.divergence,
                "train_seconds": record.train_seconds,
                "total_seconds": card.seconds,
                "compute_seconds": record.compute_seconds,
                "step_milliseconds": record.step_milliseconds,
                "peak_memory_mib": card.peak_memory_mib,
                "machine": "; ".join(f"{key} {value}" for key, value in session.machine.items()),
                "versions": "; ".join(f"{key} {value}" for key, value in session.versions.items()),
                "record_digest": card.record_digest,
                "claims": "; ".join(section.name for section in card.sections),
            }
        )
    return rows


def _measurements(report: Report) -> list[dict[str, Any]]:
    return [
        {
            **measurement.model_dump(include={"label", "quantity", "unit", "epochs", "published"}),
            "claim": section.name,
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
        for section in report.sections
        for measurement in section.measurements
        for entry in measurement.values
    ]


def _verdicts(report: Report) -> list[dict[str, Any]]:
    rows = []
    for section, verdict in report.verdicts:
        rule = verdict.rule
        common = {
            "claim": section.name,
            "rule": rule.name,
            "kind": rule.kind,
            "primary": rule.name == section.primary,
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


def _schema(name: str) -> pa.Schema:
    """Types and meaning of a table's columns, as they stand in a Parquet file."""
    return pa.schema(
        [
            pa.field(
                key,
                _ARROW[column.type],
                metadata={"description": column.description, "unit": column.unit},
            )
            for key, column in TABLES[name][1].items()
        ]
    )


def _write_curves(report: Report, path: Path) -> None:
    rows = [
        {"run": card.spec.digest, **dataclasses.asdict(epoch)}
        for card in report.cards
        for epoch in card.run.record.history
    ]
    pq.write_table(pa.Table.from_pylist(rows, _schema(path.name)), path, compression="zstd")


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


def _claim_resources(section: Section) -> list[dict[str, Any]]:
    folder = section.name
    resources = [_resource(f"{folder}/result.json", f"What the notebook measured: {section.title}")]
    for table in section.tables:
        columns = _columns_of(section.folder / table.csv, {})
        resources.append(_resource(f"{folder}/{table.csv}", table.caption, columns))
    for figure in section.figures:
        columns = _columns_of(section.folder / figure.csv, FIGURE_COLUMNS)
        resources.append(
            _resource(f"{folder}/{figure.csv}", f"Data of the figure: {figure.caption}", columns)
        )
        resources.append(_resource(f"{folder}/{figure.svg}", f"Figure: {figure.caption}"))
        resources.append(_resource(f"{folder}/{figure.pdf}", f"Figure: {figure.caption}"))
    return resources


def _run_resources(card: Card) -> list[dict[str, Any]]:
    what = {"record": "Record of", "steps": "Loss of every step of", "images": "Images made by"}
    return [
        _resource(
            link.removeprefix("data/"), f"{what.get(name, 'Further evaluation of')} the run {card.spec.label}"
        )
        for name, link in card.links.items()
    ]


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
