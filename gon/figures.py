"""Every plot: one style, safe for colour-blind readers and readable in grey."""

import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gon.runs import write_atomically

TEXT_WIDTH = 6.5
"""Width of the text in print, in inches; figures are drawn at the size at which they are read."""

_DASHES = ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1))]
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
        "axes.prop_cycle": cycler(color=sns.color_palette("colorblind", 5)) + cycler(linestyle=_DASHES),
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
        "svg.hashsalt": "gon",  # the same figure gives the same bytes
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


def draw_curves(
    axes: Axes, curves: Mapping[str, pd.DataFrame], *, y: str, y_label: str, markers: bool = False
) -> None:
    """Draw loss curves against the epoch, on a logarithmic axis, with a legend.

    Parameters
    ----------
    axes
        Where to draw.
    curves
        Name of the curve to its data, with a column `epoch` and a column `y`.
    y
        The column that is drawn.
    y_label
        Label of the axis, with its unit.
    markers
        Mark every point; for curves of few points.
    """
    for i, (label, data) in enumerate(curves.items()):
        axes.plot(
            data["epoch"],
            data[y],
            label=label,
            marker=_MARKERS[i % len(_MARKERS)] if markers else None,
            markersize=4,
        )
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high < low * _LEAST_RATIO:  # all but equal: such a small difference must not fill the axis
        middle = (low * high) ** 0.5
        axes.set_ylim(middle / _LEAST_RATIO**0.5, middle * _LEAST_RATIO**0.5)
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=markers, min_n_ticks=1))
    axes.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(mpl.ticker.LogFormatter(minor_thresholds=(1, 0.5)))
    axes.set_xlabel("epoch")
    axes.set_ylabel(y_label)
    axes.legend()


def panels(count: int, height: float = 2.7) -> tuple[Figure, Sequence[Axes]]:
    """A figure as wide as the text, with `count` panels side by side, outside any notebook backend."""
    figure, axes = plt.subplots(1, count, figsize=(TEXT_WIDTH, height), squeeze=False)
    plt.close(figure)  # shown once, by the cell that returns it
    return figure, list(axes[0])


def save_figure(figure: Figure, stem: Path) -> None:
    """Write a figure as `<stem>.svg` for the page and `<stem>.pdf` for print, without dates."""
    for suffix, metadata in ((".svg", {"Date": None}), (".pdf", {"CreationDate": None, "ModDate": None})):
        buffer = io.BytesIO()
        with style():
            figure.savefig(buffer, format=suffix[1:], metadata=metadata)
        write_atomically(stem.with_suffix(suffix), buffer.getvalue())
