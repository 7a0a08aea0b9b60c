"""Every plot: one style, safe for colour-blind readers and readable in grey; each drawn from a tidy frame."""

import io
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from gon.claims.statistics import mean_interval
from gon.files import write_atomically
from gon.runs.store import Image

TEXT_WIDTH = 6.5
"""Width of the text in print, in inches; figures are drawn at the size at which they are read."""

_COLOURS = [*sns.color_palette("colorblind", 10), (0.0, 0.0, 0.0), (0.45, 0.45, 0.45)]
_FEW_POINTS = 12
_LEAST_RATIO = 1.2

Kind = Literal["lines", "dots"]


def style() -> AbstractContextManager[None]:
    """The style of every figure, as a context."""
    settings: dict[str, Any] = {
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.labelsize": 9,
        "legend.fontsize": 8,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "lines.linewidth": 1.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.linewidth": 0.4,
        "grid.color": "0.88",
        "axes.prop_cycle": cycler(color=_COLOURS),
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
        "figure.facecolor": "none",  # so that the page's own ground shows, light or dark
        "axes.facecolor": "none",
        "svg.hashsalt": "gon",  # the same figure gives the same bytes
        "svg.fonttype": "none",  # text stays text: it can be read out, found and scaled
        "pdf.fonttype": 42,
    }
    context: AbstractContextManager[None] = mpl.rc_context(settings)  # type: ignore[arg-type]
    return context


def block_means(losses: npt.ArrayLike, points: int = 80) -> tuple[npt.NDArray[np.float64], list[float]]:
    """Average a loss per step over blocks of equal length.

    Parameters
    ----------
    losses
        Loss of every step.
    points
        Largest number of blocks.

    Returns
    -------
    tuple
        Steps at the middle of the blocks, and their means, both [blocks].
    """
    values = np.asarray(losses, dtype=np.float64)
    length = max(1, -(-len(values) // points))
    starts = np.arange(0, len(values), length)
    ends = np.minimum(starts + length, len(values))
    return (starts + ends) / 2, [float(values[a:b].mean()) for a, b in zip(starts, ends, strict=True)]


def panels(count: int, height: float = 2.7) -> tuple[Figure, Sequence[Axes]]:
    """A figure as wide as the text, with `count` panels side by side, outside any notebook backend."""
    figure, axes = plt.subplots(1, count, figsize=(TEXT_WIDTH, height), squeeze=False)
    plt.close(figure)  # shown once, by the cell that returns it
    return figure, list(axes[0])


def plot(frame: pd.DataFrame, kind: Kind, x: str, y: str, hue: str, col: str) -> Figure:
    """A figure of one panel for every value of a column, each with a logarithmic axis.

    Parameters
    ----------
    frame
        One row per observation.
    kind
        `lines`: means over seeds, with bands or bars of their 95% intervals, and markers where there are few
        points. A single point beside curves is a line across them. `dots`: a dot for every row.
    x, y, hue
        The columns that are drawn, named as the axes are to be labelled.
    col
        The column whose values head the panels; empty for a single panel.
    """
    count = frame[col].nunique() if col else 1
    marked = frame[x].nunique() <= _FEW_POINTS
    if kind == "lines" and not marked:
        points = frame.groupby(hue)[x].transform("nunique")
        ends = [frame[points == 1].assign(**{x: end}) for end in (0, frame[x].max())]
        frame = pd.concat([frame[points > 1], *ends])
    levels = frame[hue].nunique()
    common: dict[str, Any] = {
        "x": x,
        "y": y,
        "hue": hue,
        "col": col or None,
        "palette": (_COLOURS * levels)[:levels],
    }
    common |= {"height": 2.6, "aspect": (TEXT_WIDTH - 1.1) / count / 2.6}
    with style(), mpl.rc_context({"figure.constrained_layout.use": False}):  # seaborn lays out panels itself
        if kind == "lines":
            common |= {"kind": "line", "style": hue, "markers": marked, "errorbar": _interval}
            common |= {"err_style": "bars" if marked else "band"}
            grid = sns.relplot(frame, **common, facet_kws={"sharex": False, "sharey": False})
        else:
            common |= {"kind": "strip", "orient": "h", "jitter": False, "dodge": levels > 1, "alpha": 0.8}
            grid = sns.catplot(frame, **common, sharex=False)
            grid.set_axis_labels(x, "")
        for axes in grid.axes.flat:
            axes.set(**{"yscale" if kind == "lines" else "xscale": "log"})
            _label(axes.yaxis if kind == "lines" else axes.xaxis)
            if kind == "lines":
                drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
                low, high = np.nanmin(drawn), np.nanmax(drawn)
                # Neither may a wide band flatten the curves, nor a small difference fill the axis.
                room = max((high / low) ** 0.05, (_LEAST_RATIO * low / high) ** 0.5)
                axes.set_ylim(low / room, high * room)
        grid.set_titles("{col_name}" if col else "")
        if (legend := grid.legend) is not None:
            legend.set_title("")
    plt.close(grid.figure)
    return grid.figure


def _label(axis: Axis) -> None:
    """Plain numbers on a logarithmic axis, at 1, 2 and 5 of every decade."""
    formatter = FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "125" else "")
    axis.set_major_formatter(formatter)
    axis.set_minor_formatter(formatter)


def _interval(values: Iterable[float]) -> tuple[float, float]:
    return mean_interval(list(values)) or (np.nan, np.nan)


def draw_images(rows: Sequence[tuple[str, Sequence[Image]]]) -> Figure:
    """A grid of images.

    Parameters
    ----------
    rows
        Label of each row, and its images, pixels from 0 to 255; rows may differ in length.
    """
    heights = [0.46] * len(rows)
    with style():
        figure, axes = plt.subplots(len(rows), 1, figsize=(TEXT_WIDTH, sum(heights) + 0.1), squeeze=False)
    plt.close(figure)
    columns = max(len(images) for _, images in rows)
    for axis, (label, images) in zip(axes[:, 0], rows, strict=True):
        pixels = np.asarray(images, dtype=np.uint8)  # [count, channels, height, width]
        strip = np.concatenate(
            list(pixels.transpose(0, 2, 3, 1)), axis=1
        )  # [height, count * width, channels]
        axis.imshow(
            strip.squeeze(-1) if strip.shape[-1] == 1 else strip,
            cmap="gray",
            vmin=0,
            vmax=255,
            aspect="equal",
        )
        axis.set_xlim(-0.5, columns * pixels.shape[3] - 0.5)
        axis.set_axis_off()
        axis.text(-0.01, 0.5, label, transform=axis.transAxes, ha="right", va="center", fontsize=8)
    return figure


def _describe(figure: Figure) -> None:
    """Let the ids of the drawing say its scales and the names of its lines: the page shows values by them."""
    for axes in figure.axes:
        limits = [
            f"{scale}|{low:.6g}|{high:.6g}"
            for scale, (low, high) in (
                (axes.get_xscale(), axes.get_xlim()),
                (axes.get_yscale(), axes.get_ylim()),
            )
        ]
        axes.patch.set_gid(quote(f"axes|{'|'.join(limits)}", safe="|"))
        for line in axes.lines:
            if not str(line.get_label()).startswith("_"):
                line.set_gid(quote(f"line|{line.get_label()}", safe="|"))


def save_figure(figure: Figure, stem: Path) -> None:
    """Write a figure as `<stem>.svg` for the page and `<stem>.pdf` for print, without dates."""
    _describe(figure)
    for suffix, metadata in ((".svg", {"Date": None}), (".pdf", {"CreationDate": None, "ModDate": None})):
        buffer = io.BytesIO()
        with style():
            figure.savefig(buffer, format=suffix[1:], metadata=metadata)
        write_atomically(stem.with_suffix(suffix), buffer.getvalue())
