"""Measured numbers: means over seeds, with what every run gave; and how frames' columns read."""

import statistics
from collections.abc import Mapping, Sequence

import pandas as pd

from gon.catalogue import ACTIVATIONS, DATASETS, MODELS
from gon.claims import formats
from gon.claims.loading import Run
from gon.claims.quantities import QUANTITIES, SSE, is_quantity
from gon.claims.results import Cell, Measurement, SeedValue
from gon.claims.statistics import mean_interval

_TITLES = {"dataset": "data set", "latent_dim": "latent size"}


def quantity_of(column: str) -> tuple[str, str, str | None]:
    """Name and unit of what a column holds, and its key if it follows from the records.

    Any other column that a notebook computed is named for people, with its unit in parentheses.
    """
    if is_quantity(column):
        key, _, argument = column.partition(":")
        return QUANTITIES[key].title.format(argument), QUANTITIES[key].unit, column
    if column == "loss":
        return column, SSE, None
    name, _, unit = column.removesuffix(")").partition(" (")
    return name, unit, None


def title(column: str, every_unit: bool = False) -> str:
    """A column as it is headed, with its unit: of losses, whose unit captions tell, only if asked for."""
    name, unit, recorded = quantity_of(column)
    text = _TITLES.get(column, name if recorded else name.replace("_", " "))
    return f"{text} ({unit})" if unit and (every_unit or unit != SSE) else text


def shown(column: str, value: object) -> str:
    """A value of a column as it is printed: a setting by its title."""
    titles = {
        "dataset": {name: dataset.title for name, dataset in DATASETS.items()},
        "model": {name: model.title for name, model in MODELS.items()},
        "activation": ACTIVATIONS,
    }.get(column, {})
    if noun := {"inner_steps": "inner step", "epochs": "epoch"}.get(column):
        return formats.counted(int(str(value)), noun)
    prefix = {"latent_dim": "latent ", "width": "width ", "learning_rate": "learning rate "}.get(column, "")
    return prefix + titles.get(str(value), str(value))


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
    recorded: str | None = None,
    settings: Mapping[str, str | int | float] | None = None,
    published: float | None = None,
) -> Measurement:
    """Summarise what several seeds gave of a quantity, a column as in `quantity_of`.

    Where the column does not say it, `recorded` is the key of the quantity that it holds.
    """
    called, unit, key = quantity_of(quantity)
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
        quantity=called,
        unit=unit,
        value=None if notes else statistics.fmean(numbers),
        interval=None if notes else mean_interval(numbers),
        note=note or None,
        epochs=epochs,
        values=list(values),
        recorded=key or recorded,
        settings=dict(settings or {}),
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


def cell_text(cell: Cell, measurements: Mapping[str, Measurement]) -> str:
    """A cell as the page shows it."""
    if cell.published is not None:
        return formats.published(cell.published)
    found = measurements.get(cell.measurement or "")
    if found is None or found.value is None:
        return (cell.text if found is None else found.note) or ""
    text = formats.number(found.value)
    return f"{text} {formats.spread(found.interval)}" if found.interval else text
