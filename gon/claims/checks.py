"""Whether a claim result says what its records and rules say."""

import math
import re
import statistics
from collections.abc import Mapping
from pathlib import Path

import pydantic

from gon.claims.results import ClaimResult, RunSummary, Verdict, recorded_value, summarise
from gon.claims.statistics import mean_interval
from gon.claims.verdicts import judge_again
from gon.errors import GonError
from gon.files import sha256_of_file
from gon.runs.record import RunRecord
from gon.runs.store import read_evaluation, read_record


def check(result: ClaimResult, folder: Path) -> None:
    """Check that everything that a result refers to is there."""
    path = folder / "result.json"
    if not re.fullmatch("[A-Za-z0-9_-]+", result.claim):
        raise GonError(
            f"{path}: claim: {result.claim!r} is no name; letters, digits, '-' and '_' are allowed"
        )
    measurements = [m.name for m in result.measurements]
    runs = [run.digest for run in result.runs]
    for what, names in (("measurements", measurements), ("runs", runs)):
        for name in names:
            if names.count(name) > 1:
                raise GonError(f"{path}: {what}: {name!r} occurs more than once")
    wanted = [("tables", c.measurement) for t in result.tables for row in t.rows for c in row]
    wanted += [("verdicts", n) for v in result.verdicts for c in v.comparisons for n in (c.first, c.second)]
    for what, wanted_name in wanted:
        if wanted_name is not None and wanted_name not in measurements:
            raise GonError(f"{path}: {what}: {wanted_name!r} is no measurement of this claim")
    digests = [("measurements", d) for m in result.measurements for d in m.runs]
    digests += [("figures", d) for f in result.figures for d in f.runs]
    for what, digest in digests:
        if digest not in runs:
            raise GonError(f"{path}: {what}: run {digest!r} is not among the claim's runs")
    for table in result.tables:
        for row in table.rows:
            if len(row) != len(table.columns):
                raise GonError(
                    f"{path}: table {table.name}: {len(row)} cells under {len(table.columns)} columns"
                )
    for file in result.files():
        inside = (folder / file).resolve().is_relative_to(folder.resolve())
        if not inside or not (folder / file).is_file():
            raise GonError(f"{path}: {file!r} is not a file in the claim's folder")
    _check_numbers(result, {run.digest: _check_run(run, folder, path) for run in result.runs}, path)


def _check_run(run: RunSummary, folder: Path, path: Path) -> RunRecord:
    """Check the copies of a run's files against their digests, and what the result says against them."""
    files = {"steps": folder / run.steps}
    if run.images is not None:
        files["images"] = folder / run.images
    record = read_record(folder / run.record, files)
    for file in run.evaluations:
        read_evaluation(folder / file, record)
    digest = sha256_of_file(folder / run.record)
    recorded = summarise(record, digest, run.record, run.steps, run.images, run.evaluations)
    for key in RunSummary.model_fields:
        if getattr(run, key) != getattr(recorded, key):
            raise GonError(
                f"{path}: runs: {key} of run {run.digest} is {getattr(run, key)!r}, its record "
                f"{folder / run.record} says {getattr(recorded, key)!r}"
            )
    return record


def _check_numbers(result: ClaimResult, records: Mapping[str, RunRecord], path: Path) -> None:
    """Check that means are those of their values, values those of their runs, and findings what they give."""
    for measurement in result.measurements:
        what = f"{path}: measurements: {measurement.name}"
        values = [entry.value for entry in measurement.values]
        present = [value for value in values if value is not None]
        mean = statistics.fmean(present) if present and len(present) == len(values) else None
        if not _same(measurement.value, mean):
            raise GonError(f"{what}: value is {measurement.value}, the mean of its values {mean}")
        if not _same(measurement.interval, mean_interval(present) if mean is not None else None):
            raise GonError(f"{what}: interval {measurement.interval} is not that of its values")
        for entry in measurement.values:
            if measurement.recorded is None or entry.run is None:
                continue
            recorded = recorded_value(records[entry.run], measurement.recorded, measurement.epochs)
            if entry.value != recorded:
                raise GonError(
                    f"{what}: value of run {entry.run} is {entry.value}, its record says {recorded}"
                )
    for verdict in result.verdicts:
        again = judge_again(verdict, result)
        for key in Verdict.model_fields:
            if not _same(getattr(verdict, key), getattr(again, key)):
                raise GonError(
                    f"{path}: verdicts: {verdict.rule.name}: {key} is {getattr(verdict, key)!r}, but the "
                    f"measurements give {getattr(again, key)!r}"
                )


def _same(a: object, b: object) -> bool:
    """Whether two results are equal, up to what another version of a library may round elsewhere."""
    if isinstance(a, pydantic.BaseModel) and isinstance(b, pydantic.BaseModel):
        return _same(a.model_dump(), b.model_dump())
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(value, b[key]) for key, value in a.items())
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
    return a == b
