"""Whether a claim result says what its records say, and names nothing that is not there."""

import collections
import math
import re
import statistics
from collections.abc import Sequence
from pathlib import Path

from gon.claims.loading import Run
from gon.claims.measuring import frame_of, shown
from gon.claims.params import ClaimParams
from gon.claims.quantities import is_quantity, value_of
from gon.claims.results import ClaimResult, Measurement, SeedValue
from gon.claims.statistics import mean_interval
from gon.errors import GonError
from gon.files import read_text, sha256_of_file


def check_result(result: ClaimResult, folder: Path, params: ClaimParams, runs: Sequence[Run]) -> None:
    """Check a result against the records of its runs.

    Every number that follows from records is computed once more, and so is every table's CSV.

    Parameters
    ----------
    result
        The result.
    folder
        Where its files lie.
    params
        The claim, with its published values.
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
    _check_files(result, folder)
    _check_names(result, path, {run.spec.digest for run in runs})
    by_digest = {run.spec.digest: run for run in runs}
    for measurement in result.measurements:
        _check_numbers(measurement, path)
        for entry in measurement.values:
            if entry.run is not None:
                _check_value(measurement, entry, by_digest[entry.run], params, path)
        _check_settings(measurement, runs, path)
    _check_tables(result, folder)


def _check_files(result: ClaimResult, folder: Path) -> None:
    path = folder / "result.json"
    for file in result.files():
        inside = (folder / file).resolve().is_relative_to(folder.resolve())
        if not inside or not (folder / file).is_file():
            raise GonError(f"{path}: {file!r} is not a file in the claim's folder")
        found = sha256_of_file(folder / file)
        if file != path.name and found != result.sha256.get(file):
            raise GonError(
                f"{folder / file}: altered after it was written: its SHA-256 is {found}, {path} says "
                f"{result.sha256.get(file)}; execute the notebook again"
            )


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


def _check_numbers(measurement: Measurement, path: Path) -> None:
    """Check that a mean is that of its values."""
    what = f"{path}: measurements: {measurement.name}"
    values = [entry.value for entry in measurement.values]
    present = [value for value in values if value is not None]
    mean = statistics.fmean(present) if present and len(present) == len(values) else None
    if not _same([measurement.value], [mean]):
        raise GonError(f"{what}: value is {measurement.value}, the mean of its values {mean}")
    interval = mean_interval(present) if mean is not None else None
    if not _same(measurement.interval or (), interval or ()):
        raise GonError(f"{what}: interval {measurement.interval} is not that of its values")


def _check_settings(measurement: Measurement, runs: Sequence[Run], path: Path) -> None:
    """Check that the runs of a number are what its label says, and of the first seeds that there are."""
    what = f"{path}: measurements: {measurement.name}"
    behind = [run for run in runs if run.spec.digest in measurement.runs]
    if len(behind) != len(measurement.runs):
        raise GonError(f"{what}: a run is named more than once")
    told = measurement.label.split(", ")
    for run in behind:
        for key, value in measurement.settings.items():
            if getattr(run.spec, key, None) != value or shown(key, value) not in told:
                found = getattr(run.spec, key, None)
                raise GonError(
                    f"{what}: run {run.spec.digest} is of {key} {found!r}; the label is {measurement.label!r}"
                )
        if run.setting != behind[0].setting:
            raise GonError(f"{what}: its runs differ in more than their seed")
    if not behind:
        return
    alike = [r for r in runs if r.setting == behind[0].setting and r.epochs >= measurement.epochs]
    seeds = sorted(run.spec.seed for run in alike)[: len(behind)]
    if sorted(run.spec.seed for run in behind) != seeds:
        raise GonError(f"{what}: it rests on chosen seeds; allowed are the first ones, {seeds}")


def _check_value(
    measurement: Measurement, entry: SeedValue, run: Run, params: ClaimParams, path: Path
) -> None:
    """Check that the value of a run follows from its record."""
    what = f"{path}: measurements: {measurement.name}: value of run {run.spec.digest}"
    if entry.seed != (None if run.exact else run.spec.seed):
        raise GonError(f"{what}: is said to be of seed {entry.seed}; the run is of seed {run.spec.seed}")
    if measurement.epochs > run.epochs:
        raise GonError(f"{what}: is said to be after {measurement.epochs} epochs; the run has {run.epochs}")
    if measurement.recorded is None:
        return
    if not is_quantity(measurement.recorded):
        raise GonError(f"{path}: measurements: {measurement.name}: {measurement.recorded!r} is no quantity")
    published = params.published_value(run.spec)
    recorded = value_of(run, measurement.recorded, measurement.epochs, published)
    if not _same([entry.value], [recorded]):
        raise GonError(f"{what} is {entry.value}, its record says {recorded}")


def _check_tables(result: ClaimResult, folder: Path) -> None:
    """Check that a table's cells stand where their labels say, and that its CSV holds their numbers."""
    measurements = {m.name: m for m in result.measurements}
    for table in result.tables:
        for row in table.rows:
            for cell, column in zip(row, table.columns, strict=True):
                measurement = measurements.get(cell.measurement or "")
                if measurement is None:
                    continue
                told = {*(row[0].text or "").split(", "), *column.split(", ")}
                if missing := [part for part in measurement.label.split(", ") if part not in told]:
                    raise GonError(
                        f"{folder / 'result.json'}: table {table.name}: {measurement.name} is of "
                        f"{measurement.label!r}, but stands in row {row[0].text!r}, column {column!r} "
                        f"({missing[0]} is missing)"
                    )
        path = folder / table.csv
        numbers = frame_of(table.columns, table.rows, measurements)
        if read_text(path) != numbers.to_csv(index=False):
            raise GonError(f"{path}: does not hold the numbers of its table; execute the notebook again")


def _same(a: Sequence[float | None], b: Sequence[float | None]) -> bool:
    """Whether numbers are equal, up to what another version of a library may round elsewhere."""
    return len(a) == len(b) and all(
        x == y or (x is not None and y is not None and math.isclose(x, y, rel_tol=1e-9, abs_tol=1e-12))
        for x, y in zip(a, b, strict=True)
    )
