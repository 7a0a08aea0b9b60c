"""Whether a claim result says what its records say, and names nothing that is not there."""

import collections
import math
import re
import statistics
from collections.abc import Sequence
from pathlib import Path

from gon.claims.loading import Run
from gon.claims.results import ClaimResult, recorded_value
from gon.claims.statistics import mean_interval
from gon.errors import GonError


def check_result(result: ClaimResult, folder: Path, runs: Sequence[Run]) -> None:
    """Check a result against the records of its runs.

    Parameters
    ----------
    result
        The result.
    folder
        Where its files lie.
    runs
        The runs that the claim asks for, whose records have been checked.

    Raises
    ------
    GonError
        Names the result, and what does not fit.
    """
    path = folder / "result.json"
    if not re.fullmatch("[A-Za-z0-9_-]+", result.claim):
        raise GonError(
            f"{path}: claim: {result.claim!r} is no name; letters, digits, '-' and '_' are allowed"
        )
    there = [run.record_name() for run in runs]
    different = {*result.records} ^ {*there}
    for name in (*result.records, *there):
        if name in different:
            where = "this report" if name in there else "the notebook"
            raise GonError(
                f"{path}: records: run {name.run} with {name.epochs} epochs, SHA-256 {name.sha256[:12]}..., "
                f"is in {where} only; execute the notebook again"
            )
    _check_names(result, path, {run.spec.digest for run in runs})
    for file in result.files():
        inside = (folder / file).resolve().is_relative_to(folder.resolve())
        if not inside or not (folder / file).is_file():
            raise GonError(f"{path}: {file!r} is not a file in the claim's folder")
    _check_numbers(result, runs, path)


def _check_names(result: ClaimResult, path: Path, runs: set[str]) -> None:
    measurements = collections.Counter(m.name for m in result.measurements)
    for name, times in measurements.items():
        if times > 1:
            raise GonError(f"{path}: measurements: {name!r} occurs more than once")
    for table in result.tables:
        for row in table.rows:
            if len(row) != len(table.columns):
                raise GonError(
                    f"{path}: table {table.name}: {len(row)} cells under {len(table.columns)} columns"
                )
            for cell in row:
                if cell.measurement is not None and cell.measurement not in measurements:
                    raise GonError(f"{path}: tables: {cell.measurement!r} is no measurement of this claim")
    digests = [("measurements", d) for m in result.measurements for d in m.runs]
    digests += [("figures", d) for f in result.figures for d in f.runs]
    for what, digest in digests:
        if digest not in runs:
            raise GonError(f"{path}: {what}: run {digest!r} is not among the claim's runs")


def _check_numbers(result: ClaimResult, runs: Sequence[Run], path: Path) -> None:
    """Check that means are those of their values, and values those of their records."""
    records = {run.spec.digest: run.record for run in runs}
    for measurement in result.measurements:
        what = f"{path}: measurements: {measurement.name}"
        values = [entry.value for entry in measurement.values]
        present = [value for value in values if value is not None]
        mean = statistics.fmean(present) if present and len(present) == len(values) else None
        if not _same([measurement.value], [mean]):
            raise GonError(f"{what}: value is {measurement.value}, the mean of its values {mean}")
        interval = mean_interval(present) if mean is not None else None
        if not _same(measurement.interval or (), interval or ()):
            raise GonError(f"{what}: interval {measurement.interval} is not that of its values")
        for entry in measurement.values:
            if measurement.recorded is None or entry.run is None:
                continue
            recorded = recorded_value(records[entry.run], measurement.recorded, measurement.epochs)
            if entry.value != recorded:
                raise GonError(
                    f"{what}: value of run {entry.run} is {entry.value}, its record says {recorded}"
                )


def _same(a: Sequence[float | None], b: Sequence[float | None]) -> bool:
    """Whether numbers are equal, up to what another version of a library may round elsewhere."""
    return len(a) == len(b) and all(
        x == y or (x is not None and y is not None and math.isclose(x, y, rel_tol=1e-9, abs_tol=1e-12))
        for x, y in zip(a, b, strict=True)
    )
