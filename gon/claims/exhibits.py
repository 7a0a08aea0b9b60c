"""What a notebook shows of its runs: tables and figures, each with its data as CSV."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import SVG, display
from matplotlib.figure import Figure

from gon.claims import figures
from gon.claims.formats import counted, listed, number
from gon.claims.frames import Frames
from gon.claims.loading import Run
from gon.claims.measuring import cell_text, frame_of, measurement, seed_value, shown, title
from gon.claims.results import Cell, FigureFile, Measurement, Table
from gon.errors import UsageError
from gon.files import write_atomically
from gon.runs.store import Image

_IMAGES_PER_ROW = 6


class Exhibits(Frames):
    """What is shown of a claim's runs.

    Parameters
    ----------
    folder
        Where tables and figures are written.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._work = folder
        self._measurements: dict[str, Measurement] = {}
        self._tables: list[Table] = []
        self._figures: list[FigureFile] = []

    def add_table(
        self,
        name: str,
        frame: pd.DataFrame,
        *,
        index: Sequence[str],
        values: Sequence[str],
        caption: str,
        columns: Sequence[str] = (),
        missing: str = "–",
    ) -> pd.DataFrame | None:
        """Add a table to the result: means over seeds, with their intervals. Returns it for display.

        Parameters
        ----------
        name
            Unique name, also of its CSV file.
        frame
            One row per observation.
        index, columns
            The columns of the frame whose values head the rows and the columns of the table.
        values
            What is shown: keys of `QUANTITIES`, whose values the report computes once more from the
            records, or other columns that the notebook computed, named as they are to be headed, with a
            unit in parentheses.
        caption
            What it shows.
        missing
            What stands where no run has a value.

        Raises
        ------
        UsageError
            If rows of several settings would be averaged in one cell.
        """
        if frame.empty:
            print(f"{name}: no run at this budget")
            return None
        keys = [*columns, *index]
        frame = frame.dropna(subset=keys)  # what the notebook gives no name is not shown
        frame = frame.assign(**{key: pd.Categorical(frame[key], frame[key].unique()) for key in keys})
        groups = dict(list(frame.groupby(keys, observed=True)))  # in the order of appearance
        rows = [key for key, _ in frame.groupby([*index], observed=True)]
        heads = [key for key, _ in frame.groupby([*columns], observed=True)] if columns else [()]
        headings = [", ".join(map(title, index)), *_headings(columns, heads, values)]
        cells = []
        for row in rows:
            cells.append([Cell(text=", ".join(map(shown, index, row)))])
            for head in heads:
                group = groups.get((*head, *row))
                label = ", ".join(map(shown, keys, (*head, *row)))
                for value in values:
                    unique = "/".join(str(part) for part in (name, *head, *row, value))
                    cells[-1].append(self._cell(unique, label, group, keys, value, missing))
        written = frame_of(headings, cells, self._measurements)
        csv = _stem(self._work / "tables", name).with_suffix(".csv")
        write_atomically(csv, written.to_csv(index=False))
        self._tables.append(
            Table(name=name, caption=caption, columns=headings, rows=cells, csv=f"tables/{csv.name}")
        )
        return _displayed(headings, [[cell_text(cell, self._measurements) for cell in row] for row in cells])

    def _cell(
        self, name: str, label: str, group: pd.DataFrame | None, keys: Sequence[str], value: str, missing: str
    ) -> Cell:
        """One cell: a measurement, a published value, or why there is neither."""
        if group is None:
            return Cell(text=missing)
        if group["run"].isna().all():
            return Cell(published=float(group[value].iloc[0]))
        runs = self.of(group)
        if len({(run.setting, epochs) for run, epochs in zip(runs, group["epochs"], strict=True)}) > 1:
            raise UsageError(
                f"{name}: {'; '.join(run.spec.label for run in runs)} differ in more than their seed, or in "
                "their epochs; choose among them, or name a setting in index or columns"
            )
        found = _of_runs(name, label, group, runs, keys, value, missing)
        if found is None:
            return Cell(text=missing)
        self._measurements[name] = found
        return Cell(measurement=name)

    def add_plot(
        self,
        name: str,
        frame: pd.DataFrame,
        *,
        kind: figures.Kind,
        x: str,
        y: str,
        hue: str,
        caption: str,
        col: str = "",
        scale: figures.Scale = "log",
    ) -> None:
        """Add a plot to the result, with its data as CSV, and show it.

        Parameters
        ----------
        name
            Unique name, also of its files.
        frame
            One row per observation, with its `run` and `epochs`.
        kind, x, y, hue, col, scale
            As in `gon.claims.figures.plot`.
        caption
            What to see in it.
        """
        frame = frame.dropna(subset=[y] if kind == "lines" else [x, y])
        if frame.empty:
            print(f"{name}: no run at this budget")
            return
        data = frame[list(dict.fromkeys(key for key in ("run", "seed", "epochs", col, hue, x, y) if key))]
        named = {key for key in (hue, col, y if kind == "dots" else "") if key}
        drawn = data.assign(**{key: [shown(key, value) for value in data[key]] for key in named})
        labels = [key if key in named else title(key, every_unit=True) for key in (x, y)]
        drawn = drawn.rename(columns=dict(zip((x, y), labels, strict=True)))
        panels = figures.plot(drawn, kind, labels[0], labels[1], hue, col, scale)
        alt = f"{labels[1]} against {labels[0]}; {kind} for {listed(list(drawn[hue].unique()))}."
        if kind == "lines":
            alt += " " + _ends(drawn, labels[0], labels[1], [key for key in (col, hue) if key])
        else:
            keys = list(dict.fromkeys(key for key in (col, labels[1], hue) if key))
            alt += f" Means: {_means(drawn, labels[0], keys)}."
        self._add_figure(name, panels, data, caption, alt)

    def add_images(self, name: str, frame: pd.DataFrame, images: str, *, by: str, caption: str) -> None:
        """Add a grid of images that models made, and show it: of each its first run, at the run's end.

        Where trainings are not of one length, theirs are said. Under a reconstruction stands its error.

        Parameters
        ----------
        images
            Which: a kind of `gon.science.images.make_images`.
        by
            The column whose values head the rows.
        name, frame, caption
            As in `add_plot`.
        """
        rows: list[figures.ImageRow] = []
        data = []
        lengths = {run.record.epochs for run in self.of(frame) if run.spec.seed == 0 and not run.exact}
        for value, group in frame.groupby(by, sort=False):
            found = [(run, made) for run in self.of(group) if images in (made := run.images())]
            if found:
                run, made = found[0]
                after = f", {counted(run.epochs, 'epoch')}" if len(lengths) > 1 and not run.exact else ""
                of_run, values = _image_rows(images, made, shown(by, value) + after, first=not rows)
                rows += of_run
                data.append(pd.DataFrame({"run": run.spec.digest, "epochs": run.epochs, by: value, **values}))
        if not rows:
            print(f"{images}: none at this budget")
            return
        alt = f"A grid of images, {images}; rows: {listed([label for label, _, _ in rows if label])}."
        self._add_figure(name, [figures.draw_images(rows)], pd.concat(data), caption, alt)

    def _add_figure(
        self, name: str, panels: Sequence[Figure], data: pd.DataFrame, caption: str, alt: str
    ) -> None:
        """Add a figure to the result, as SVG with its data as CSV, and show it."""
        stem = _stem(self._work / "figures", name)
        write_atomically(stem.with_suffix(".csv"), data.to_csv(index=False))
        files = [f"{name}-{i}.svg" if len(panels) > 1 else f"{name}.svg" for i in range(1, len(panels) + 1)]
        for panel, file in zip(panels, files, strict=True):
            figures.save_figure(panel, stem.with_name(file))
            drawing = SVG(stem.with_name(file))  # type: ignore[no-untyped-call]
            display(drawing, metadata={"image/svg+xml": {"alt": alt}})  # type: ignore[no-untyped-call]
        trained = [run.spec.digest for run in self.of(data) if not run.exact]
        self._figures.append(
            FigureFile(
                name=name,
                caption=caption,
                alt=alt,
                panels=[f"figures/{file}" for file in files],
                csv=f"figures/{name}.csv",
                runs=list(data["run"].dropna().unique()),
                epochs=sorted(data.loc[data["run"].isin(trained), "epochs"].astype(int).unique().tolist()),
            )
        )


def _displayed(headings: Sequence[str], texts: Sequence[Sequence[str]]) -> pd.DataFrame:
    """A table as its notebook shows it."""
    columns = pd.Index(headings[1:], name=headings[0])
    return pd.DataFrame([row[1:] for row in texts], index=[row[0] for row in texts], columns=columns)


def _of_runs(
    name: str,
    label: str,
    group: pd.DataFrame,
    runs: Sequence[Run],
    keys: Sequence[str],
    value: str,
    missing: str,
) -> Measurement | None:
    """What runs that differ in their seed only gave of a column; None where none of them has a value."""
    numbers = [None if pd.isna(number) else float(number) for number in group[value]]
    if not any(run.diverged for run in runs) and all(number is None for number in numbers):
        return None
    entries = [seed_value(run, number, missing) for run, number in zip(runs, numbers, strict=True)]
    held = {*group["quantity"]} if value == "value" and "quantity" in group else set[str]()
    return measurement(
        name,
        label,
        entries,
        epochs=int(group["epochs"].iloc[0]),
        quantity=value,
        recorded=next(iter(held)) if len(held) == 1 else None,
        settings={key: own for key in keys if (own := getattr(runs[0].spec, key, None)) is not None},
    )


def _ends(frame: pd.DataFrame, x: str, y: str, keys: list[str]) -> str:
    """Where the lines of a plot end, in words, for somebody who does not see it."""
    last = frame.dropna(subset=[x])
    last = last[last[x] == last.groupby(keys)[x].transform("max")]
    return f"At the right end: {_means(last, y, keys)}." if len(last) else ""


def _means(frame: pd.DataFrame, value: str, keys: list[str]) -> str:
    """Means over seeds in words."""
    means = frame.groupby(keys, sort=False)[value].mean()
    return "; ".join(f"{', '.join(k) if isinstance(k, tuple) else k} {number(v)}" for k, v in means.items())


def _image_rows(
    images: str, made: Mapping[str, Sequence[Image]], label: str, first: bool
) -> tuple[list[figures.ImageRow], dict[str, object]]:
    """The rows of one model, below the originals if it is the first, and what their CSV says."""
    pixels = np.asarray(made[images]) / 255  # [images, channels, height, width]
    parts = [made[images][i : i + _IMAGES_PER_ROW] for i in range(0, len(pixels), _IMAGES_PER_ROW)]
    if images != "reconstructions":
        rows: list[figures.ImageRow] = [(label if i == 0 else "", part, []) for i, part in enumerate(parts)]
        return rows, {"image": range(len(pixels))}
    errors = np.asarray(made["originals"]) / 255 - pixels
    sums = (errors**2).sum((1, 2, 3))
    texts = [f"{error:.2g}" for error in sums[:_IMAGES_PER_ROW]]
    rows = [("original", made["originals"][:_IMAGES_PER_ROW], [])] if first else []
    rows += [(label, parts[0], []), ("error", errors.mean(1, keepdims=True)[:_IMAGES_PER_ROW], texts)]
    return rows, {"image": range(len(pixels)), "squared_error": sums}


def _headings(
    columns: Sequence[str], heads: Sequence[tuple[object, ...]], values: Sequence[str]
) -> list[str]:
    """What stands over the columns: what they are of, and what is shown where there are several things."""
    headings = []
    for head in heads:
        of = list(map(shown, columns, head))
        headings += [", ".join(of if of and len(values) == 1 else [*of, title(value)]) for value in values]
    return headings


def _stem(folder: Path, name: str) -> Path:
    """The path of a table or figure without its suffix."""
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise UsageError(f"name: {name!r} is not allowed; lower-case letters, digits and _ are")
    if (folder / f"{name}.csv").exists():
        raise UsageError(f"name: there is a {name!r} among the {folder.name} already")
    return folder / name
