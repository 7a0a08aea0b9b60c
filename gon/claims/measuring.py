"""Measured numbers: means over seeds, with what every run gave."""

import statistics
from collections.abc import Mapping, Sequence

import pandas as pd

from gon.claims.loading import Run
from gon.claims.results import QUANTITIES, Cell, Measurement, SeedValue
from gon.claims.statistics import mean_interval


def seed_value(run: Run, value: float | None, missing: str = "") -> SeedValue:
    """What one run gave; where it gave nothing, why."""
    note = None if value is not None else run.diverged or missing
    return SeedValue(
        run=run.spec.digest, seed=None if run.exact else run.spec.seed, value=value, note=note or None
    )


def measurement(
    name: str,
    label: str,
    values: Sequence[SeedValue],
    *,
    epochs: int,
    quantity: str,
    unit: str,
    recorded: str | None = None,
    published: float | None = None,
) -> Measurement:
    """Summarise what several seeds gave; see the attributes of `Measurement`."""
    numbers = [v.value for v in values if v.value is not None]
    notes: dict[str, list[str]] = {}
    for value in values:
        if value.value is None:
            notes.setdefault(value.note or "no value", []).append(str(value.seed))
    note = "; ".join(
        text if len(values) == 1 else f"{text} ({'seed' if len(seeds) == 1 else 'seeds'} {', '.join(seeds)})"
        for text, seeds in notes.items()
    )
    return Measurement(
        name=name,
        label=label,
        quantity=quantity,
        unit=unit,
        value=None if notes else statistics.fmean(numbers),
        interval=None if notes else mean_interval(numbers),
        note=note or None,
        epochs=epochs,
        values=list(values),
        recorded=recorded,
        published=published,
    )


def recorded_measurement(
    name: str,
    label: str,
    values: Sequence[SeedValue],
    *,
    epochs: int,
    quantity: str,
    published: float | None = None,
) -> Measurement:
    """The same for a key of `QUANTITIES`, which the records say."""
    kind = QUANTITIES[quantity]
    return measurement(
        name,
        label,
        values,
        epochs=epochs,
        quantity=kind.title,
        unit=kind.unit,
        recorded=quantity,
        published=published,
    )


def frame_of(
    columns: Sequence[str], rows: Sequence[Sequence[Cell]], measurements: Mapping[str, Measurement]
) -> pd.DataFrame:
    """A table with unrounded numbers; beside means over several seeds stand interval and n."""
    parts: dict[str, list[str | float | None]] = {}
    for i, column in enumerate(columns):
        cells = [row[i] for row in rows]
        # Two columns may have the same heading.
        heading = column if column not in parts else f"{column} ({i + 1})"
        parts[heading] = [_plain(cell, measurements) for cell in cells]
        measured = [measurements.get(cell.measurement or "") for cell in cells]
        if any(m is not None and m.seeds > 1 for m in measured):
            for j, end in enumerate(("low", "high")):
                parts[f"{heading}, 95% {end}"] = [
                    m.interval[j] if m is not None and m.interval else None for m in measured
                ]
            parts[f"{heading}, n"] = [None if m is None else m.seeds for m in measured]
    return pd.DataFrame(parts)


def _plain(cell: Cell, measurements: Mapping[str, Measurement]) -> str | float | None:
    if cell.measurement is not None:
        found = measurements[cell.measurement]
        return found.note if found.value is None else found.value
    return cell.published if cell.published is not None else cell.text
