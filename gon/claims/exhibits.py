"""What a notebook shows of its runs: measured numbers, tables and figures, each with its data as CSV."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from gon.claims.figures import save_figure
from gon.claims.loading import Replicates, Run
from gon.claims.measuring import frame_of, measurement, recorded_measurement, seed_value
from gon.claims.results import (
    QUANTITIES,
    Cell,
    FigureFile,
    Measurement,
    Table,
)
from gon.errors import UsageError
from gon.files import write_atomically
from gon.spec import RunSpec


class Exhibits:
    """What is selected, measured and shown of a claim's runs.

    Parameters
    ----------
    published
        Published values by the name of the measurement that they are set beside.
    folder
        Where tables and figures are written.

    Attributes
    ----------
    runs
        The runs that it all is taken from.
    """

    def __init__(self, published: Mapping[str, float], folder: Path) -> None:
        self._published = published
        self._work = folder
        self.runs: list[Run] = []
        self._measurements: dict[str, Measurement] = {}
        self._tables: list[Table] = []
        self._figures: list[FigureFile] = []

    def select(self, **settings: object) -> list[Replicates]:
        """The loaded runs whose spec has these settings, those together that differ in their seed only.

        Where some seeds were trained farther than others, only those: numbers and curves of one group are of
        one length of training.
        """
        for key in settings:
            if key not in {field.name for field in dataclasses.fields(RunSpec)}:
                raise UsageError(f"select: {key!r} is not a setting of a run")
        groups: dict[RunSpec, list[Run]] = {}
        for run in self.runs:
            if all(getattr(run.spec, key) == value for key, value in settings.items()):
                groups.setdefault(dataclasses.replace(run.spec, seed=RunSpec.seed), []).append(run)
        farthest = [
            [run for run in runs if run.epochs == max(other.epochs for other in runs)]
            for runs in groups.values()
        ]
        return [Replicates(tuple(runs)) for runs in farthest]

    def measure(
        self, name: str, replicates: Replicates, quantity: str, label: str, epochs: int | None = None
    ) -> Measurement:
        """Take a number from runs: its mean over seeds, with what every run gave.

        Parameters
        ----------
        name
            Unique name within the claim; a published value of the same name is set beside it.
        replicates
            The runs.
        quantity
            A key of `QUANTITIES`.
        label
            What a reader is shown as the name of the thing measured, such as "MNIST, latent 64".
        epochs
            After how many epochs; None for as many as all of the runs have.
        """
        if quantity not in QUANTITIES:
            raise UsageError(f"measure: {quantity!r} is not known; allowed are {', '.join(QUANTITIES)}")
        after = replicates.epochs if epochs is None else epochs
        values = [seed_value(run, run.value(quantity, after)) for run in replicates.runs]
        published = self._published.get(name)
        return self._add(
            recorded_measurement(name, label, values, epochs=after, quantity=quantity, published=published)
        )

    def derive(
        self,
        name: str,
        replicates: Replicates,
        value: Callable[[Run], float | None],
        *,
        quantity: str,
        unit: str,
        label: str,
        missing: str = "",
    ) -> Measurement:
        """Take a number that the notebook computes from each run.

        Parameters
        ----------
        name, replicates, label
            As in `measure`.
        value
            Computes the number of a run; not called for one that diverged. None if it has no such number.
        quantity, unit
            What it is, such as "steps to a training loss of 20", and in what unit.
        missing
            What is said in place of the number if a run has none, such as "not reached".
        """
        values = [seed_value(run, None if run.diverged else value(run), missing) for run in replicates.runs]
        published = self._published.get(name)
        return self._add(
            measurement(
                name,
                label,
                values,
                epochs=replicates.epochs,
                quantity=quantity,
                unit=unit,
                published=published,
            )
        )

    def _add(self, measured: Measurement) -> Measurement:
        if measured.name in self._measurements:
            raise UsageError(f"measurement: there is a measurement {measured.name!r} already")
        self._measurements[measured.name] = measured
        return measured

    @property
    def spread(self) -> str:
        """What a figure's caption says of its bands; empty with a single seed, where there are none."""
        if all(len(group.runs) == 1 for group in self.select()):
            return ""
        return "Lines are means over the seeds, bands their 95% confidence intervals."

    def published(self, name: str) -> Cell:
        """The published value of a measurement as a table cell; a dash where there is none."""
        value = self._published.get(name)
        return Cell(text="–") if value is None else Cell(published=value)

    def add_table(
        self,
        name: str,
        caption: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[str | Measurement | Cell]],
    ) -> pd.DataFrame:
        """Add a table to the result; returns it for display, with unrounded numbers.

        Parameters
        ----------
        name
            Unique name, also of its CSV file.
        caption
            What it shows.
        columns
            Headings; the first column heads the rows.
        rows
            Cells: a text, a measurement, or a published value from `published`.
        """
        cells = [[_cell(entry) for entry in row] for row in rows]
        for row in cells:
            if len(row) != len(columns):
                raise UsageError(
                    f"table {name}: a row has {len(row)} cells, the table {len(columns)} columns"
                )
        frame = frame_of(columns, cells, self._measurements)
        csv = f"tables/{_file_name(name)}.csv"
        write_atomically(self._work / csv, frame.to_csv(index=False))
        self._tables.append(Table(name=name, caption=caption, columns=list(columns), rows=cells, csv=csv))
        return frame

    def add_figure(
        self,
        name: str,
        figure: Figure,
        *,
        caption: str,
        alt: str,
        data: pd.DataFrame,
        runs: Sequence[Replicates],
    ) -> Figure:
        """Add a figure to the result, as SVG and PDF with its data as CSV; returns it for display.

        Parameters
        ----------
        name
            Unique name, also of its files.
        figure
            The drawn figure.
        caption
            What it shows.
        alt
            What somebody who cannot see it needs to know.
        data
            The numbers that are drawn.
        runs
            The runs that they come from.
        """
        stem = f"figures/{_file_name(name)}"
        write_atomically(self._work / f"{stem}.csv", data.to_csv(index=False))
        save_figure(figure, self._work / stem)
        self._figures.append(
            FigureFile(
                name=name,
                caption=caption.strip(),
                alt=alt,
                svg=f"{stem}.svg",
                pdf=f"{stem}.pdf",
                csv=f"{stem}.csv",
                runs=list(dict.fromkeys(run.spec.digest for group in runs for run in group.runs)),
            )
        )
        return figure


def _cell(entry: str | Measurement | Cell) -> Cell:
    if isinstance(entry, Cell):
        return entry
    return Cell(measurement=entry.name) if isinstance(entry, Measurement) else Cell(text=entry)


def _file_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise UsageError(f"name: {name!r} is not allowed; lower-case letters, digits and _ are")
    return name
