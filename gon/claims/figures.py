"""Every plot: one style, safe for colour-blind readers and readable in grey."""

import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gon.claims.statistics import mean_curve
from gon.files import write_atomically
from gon.runs.store import Image

TEXT_WIDTH = 6.5
"""Width of the text in print, in inches; figures are drawn at the size at which they are read."""

_DASHES: list[Any] = ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)), (0, (3, 1))]
_DASHES += [(0, (6, 1, 2, 1)), (0, (2, 2)), (0, (10, 1, 1, 1)), (0, (4, 4))]
_COLOURS = [*sns.color_palette("colorblind", 10), (0.0, 0.0, 0.0), (0.45, 0.45, 0.45)]
_LEAST_RATIO = 1.2
_MARKERS = ["o", "s", "^", "D", "v"]


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
        "axes.prop_cycle": cycler(color=_COLOURS) + cycler(linestyle=_DASHES),
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


def block_means(losses: Sequence[float], steps_per_epoch: int, points: int = 80) -> pd.DataFrame:
    """Average a loss per step over blocks of equal length, at most `points` of them.

    Parameters
    ----------
    losses
        Loss of every step.
    steps_per_epoch
        Steps in one epoch.
    points
        Largest number of blocks.

    Returns
    -------
    pandas.DataFrame
        Columns `epoch` (position of the block's middle, in epochs) and `train_loss` (its mean).
    """
    values = np.asarray(losses, dtype=np.float64)
    length = max(1, -(-len(values) // points))
    starts = np.arange(0, len(values), length)
    ends = np.minimum(starts + length, len(values))
    return pd.DataFrame(
        {
            "epoch": (starts + ends) / 2 / steps_per_epoch,
            "train_loss": [values[a:b].mean() for a, b in zip(starts, ends, strict=True)],
        }
    )


def over_seeds(curves: Sequence[pd.DataFrame], y: str) -> pd.DataFrame:
    """One curve from those of several seeds.

    Parameters
    ----------
    curves
        One per seed, with the same columns and positions.
    y
        The column that is averaged.

    Returns
    -------
    pandas.DataFrame
        The curve of a single seed as it is; else the mean, with columns `low` and `high`, its 95%
        confidence interval, and `n`, the number of seeds.
    """
    if len(curves) == 1:
        return curves[0]
    mean, low, high = mean_curve([curve[y].tolist() for curve in curves])
    averaged = curves[0].assign(low=low, high=high, n=len(curves))
    averaged[y] = mean
    return averaged


def draw_curves(
    axes: Axes,
    curves: Mapping[str, pd.DataFrame],
    *,
    y: str,
    y_label: str,
    x: str = "epoch",
    x_label: str = "epoch",
    markers: bool = False,
) -> None:
    """Draw loss curves, on a logarithmic axis, with a legend.

    Parameters
    ----------
    axes
        Where to draw.
    curves
        Name of the curve to its data, with a column `x` and a column `y`. Where there are columns `low`
        and `high`, the band between them is drawn too.
    x, y
        The columns that are drawn.
    x_label, y_label
        Labels of the axes, with their units.
    markers
        Mark every point; for curves of few points.
    """
    bands = []
    for i, (label, data) in enumerate(curves.items()):
        (line,) = axes.plot(
            data[x],
            data[y],
            label=label,
            marker=_MARKERS[i % len(_MARKERS)] if markers else None,
            markersize=4,
        )
        if "low" in data:
            bands.append((line.get_color(), data))
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    for colour, data in bands:  # after the limits are known: a wide band must not flatten the curves
        axes.fill_between(
            data[x], data["low"].clip(lower=low), data["high"], color=colour, alpha=0.15, linewidth=0
        )
    axes.set_ylim(low, high)
    if high < low * _LEAST_RATIO:  # all but equal: such a small difference must not fill the axis
        middle = (low * high) ** 0.5
        axes.set_ylim(middle / _LEAST_RATIO**0.5, middle * _LEAST_RATIO**0.5)
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=markers, min_n_ticks=1))
    axes.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(mpl.ticker.LogFormatter(minor_thresholds=(1, 0.5)))
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.legend()


def panels(count: int, height: float = 2.7) -> tuple[Figure, Sequence[Axes]]:
    """A figure as wide as the text, with `count` panels side by side, outside any notebook backend."""
    figure, axes = plt.subplots(1, count, figsize=(TEXT_WIDTH, height), squeeze=False)
    plt.close(figure)  # shown once, by the cell that returns it
    return figure, list(axes[0])


def draw_images(rows: Sequence[tuple[str, Sequence[Image]]]) -> Figure:
    """A grid of images.

    Parameters
    ----------
    rows
        Label of each row, and its images, pixels from 0 to 255; rows may differ in length.
    """
    heights = [0.46] * len(rows)
    figure, axes = plt.subplots(
        len(rows), 1, figsize=(TEXT_WIDTH, sum(heights) + 0.1), squeeze=False, layout="constrained"
    )
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
