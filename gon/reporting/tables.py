"""The data behind the report as tables, with a data dictionary (Frictionless Data Package)."""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gon.reporting.changes import EARLIER, LOOKS, SUMMARY
from gon.reporting.checked import CHECKED
from gon.reporting.dictionary import FIGURE_COLUMNS, TABLES, Column
from gon.reporting.package import MEDIA_TYPES
from gon.reporting.report import Report

RECORDED = ("epochs", "parameters", "train_seconds", "compute_seconds", "step_milliseconds")
LOSSES = ("train_loss", "validation_loss", "validation_loss_running")


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
    epochs = [
        {"run": card.spec.digest, **dataclasses.asdict(epoch)}
        for card in report.cards
        for epoch in card.run.record.history
    ]
    curves = pa.Table.from_pylist(epochs, _schema("curves.parquet"))
    pq.write_table(curves, folder / "curves.parquet", compression="zstd")
    package = {
        "$schema": "https://datapackage.org/profiles/2.0/datapackage.json",
        "name": "gon-report-data",
        "title": "Data behind the executable report on Gradient Origin Networks",
        "created": report.moment.isoformat(),
        "licenses": [{"name": "MIT"}],
        "resources": [_resource(*entry) for entry in _contents(report)],
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
                **{key: getattr(record, key) for key in RECORDED},
                **{key: card.loss(key) for key in LOSSES},
                "diverged": record.divergence,
                "total_seconds": card.seconds,
                "peak_memory_mib": card.peak_memory_mib,
                "machine": _listed(s.machine for s in record.sessions),
                "versions": _listed(s.versions for s in record.sessions),
                "record_digest": card.record_digest,
                "claims": "; ".join(section.name for section in card.sections),
            }
        )
    return rows


def _listed(facts: Iterable[Mapping[str, str | int]]) -> str:
    """Facts of the sessions of a run in their order, each once."""
    return ", then ".join(dict.fromkeys("; ".join(f"{k} {v}" for k, v in one.items()) for one in facts))


def _measurements(report: Report) -> list[dict[str, Any]]:
    return [
        {
            **measurement.model_dump(include={"label", "quantity", "unit", "epochs", "published"}),
            "claim": section.name,
            "measurement": measurement.name,
            **entry.model_dump(),
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
    types = {"string": pa.string(), "integer": pa.int64(), "number": pa.float64()}
    fields = []
    for key, column in TABLES[name][1].items():
        metadata = {"description": column.description, "unit": column.unit}
        fields.append(pa.field(key, types[column.type], metadata=metadata))
    return pa.schema(fields)


def _contents(report: Report) -> Iterator[tuple[str, str, Mapping[str, Column] | None]]:
    """Every file of the data: path, description, and columns if it is a table."""
    for name, (description, columns) in TABLES.items():
        yield name, description, columns
    if report.workflow is not None:
        yield "workflow.svg", "Drawing of the workflow", None
        yield "workflow.dot", "The graph that is drawn", None
    for drawing, alt in report.pictures:
        yield drawing.name, f"Drawing: {alt}", None
    yield "study.json", "The budget, and what was changed by hand", None
    if not any(section.failure for section in report.sections):
        yield SUMMARY, "The numbers and verdicts of this report in short", None
    if report.changes:
        yield EARLIER, "Those of the last report that said something else", None
    if report.looks:
        yield LOOKS, "Every verdict of this report and of those before it", None
    if report.checked is not None:
        yield CHECKED, "What was trained on this machine and compared with the records", None
    for section in report.sections:
        left = "Why it could not be finished" if section.failure else "What the notebook measured"
        yield f"{section.name}/{section.own_files[0]}", f"{left}: {section.title}", None
        for table in section.tables:
            columns = _columns_of(section.folder / table.csv, {})
            yield f"{section.name}/{table.csv}", table.caption, columns
        for figure in section.figures:
            columns = _columns_of(section.folder / figure.csv, FIGURE_COLUMNS)
            yield f"{section.name}/{figure.csv}", f"Data of the figure: {figure.caption}", columns
            for path in figure.panels:
                yield f"{section.name}/{path}", f"Figure: {figure.caption}", None
    what = {"record": "Record of", "steps": "Loss of every step of", "images": "Images made by"}
    for card in report.cards:
        for name, link in card.links.items():
            kind, _, after = name.partition(" ")
            described = (
                f"{what.get(kind, 'Further evaluation of')} the run {card.spec.label} {after}".rstrip()
            )
            yield link.removeprefix("data/"), described, None


def _resource(path: str, description: str, columns: Mapping[str, Column] | None) -> dict[str, Any]:
    """An entry of the dictionary."""
    stem, _, suffix = path.rpartition(".")
    resource: dict[str, Any] = {
        "name": stem.replace("/", "-").lower() + f"-{suffix}",
        "path": path,
        "description": description,
        "format": suffix,
        "mediatype": MEDIA_TYPES[f".{suffix}"],
    }
    if columns is None:
        return resource
    fields = []
    for name, column in columns.items():
        declared = {"name": name, **dataclasses.asdict(column)}
        fields.append({key: value for key, value in declared.items() if key != "unit" or value})
    return resource | {"type": "table", "schema": {"fields": fields}}


def _columns_of(path: Path, known: Mapping[str, Column]) -> dict[str, Column]:
    """The columns of a claim's own table; its headings are its notebook's."""
    columns = {}
    types = {"i": "integer", "f": "number"}
    for name, dtype in pd.read_csv(path).dtypes.items():
        base, _, part = str(name).rpartition(", ")
        parts = {
            "95% low": f"Lower end of the 95% confidence interval of the mean under “{base}”",
            "95% high": f"Upper end of the 95% confidence interval of the mean under “{base}”",
            "n": f"Number of seeds behind the mean under “{base}”",
        }
        described = known.get(str(name), Column("", parts.get(part, f"“{name}” as in the table's heading")))
        columns[str(name)] = dataclasses.replace(described, type=types.get(dtype.kind, "string"))
    return columns
