"""Every plot: one style, safe for colour-blind readers and readable in grey; each drawn from a tidy frame."""

import base64
import contextlib
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
import PIL.Image
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from gon.claims.statistics import mean_interval
from gon.files import write_atomically
from gon.runs.store import Image

TEXT_WIDTH = 6.3
"""Width of the text in print, in inches; figures are drawn at the size at which they are read."""

# Seaborn's colour-blind palette; to import it takes 0.8 s of every process that draws.
_COLOURS = ["#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#fbafe4", "#949494", "#ece133"]
_COLOURS += ["#56b4e9", "#000000", "#737373"]
_DASHES: list[Any] = ["-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (3, 1))]
_MARKERS = ["o", "s", "^", "v", "P", "X"]
_FEW_POINTS = 12
_MOST_POINTS, _MOST_SEED_POINTS = 120, 50
"""Points of a mean and of a seed, as drawn: every second or tenth where there are more; the CSV has all."""
_LEAST_RATIO = 1.2
_LEAST_DIFFERENCE = 0.001
_IMAGE, _TEXT = 0.48, 0.12
"""Heights of a row of images and of the text below it, in inches."""
_LETTER = 0.06
"""Width of a letter of a row's label, in inches."""
_GAP = 4
"""Pixels between two images."""
_PALETTE = 256
"""Colours that an image with a palette may have."""

_SEED = "_seed"
_UNNAMED = ["_passed", "_interval"]
"""Labels of what has no name in a legend: a single seed; a mark and an interval."""

Kind = Literal["lines", "dots"]
Scale = Literal["log", "linear"]
Look = tuple[Any, Any, str]
"""Colour, dashes and marker."""
ImageRow = tuple[str, Sequence[Image] | npt.NDArray[Any], Sequence[str]]


@contextlib.contextmanager
def style() -> Iterator[None]:
    """The style of every figure, as a context: ours on matplotlib's own, whatever a person's settings are."""
    settings: dict[str, Any] = {
        "font.size": 9,
        "font.sans-serif": ["DejaVu Sans"],  # matplotlib's own: the only one that is there wherever it draws
        "axes.titlesize": 10,
        "axes.labelsize": 9,
        "legend.fontsize": 8,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "lines.linewidth": 1.6,
        "lines.solid_capstyle": "butt",  # as SVG has it where nothing is said: a fifth less of every line
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
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(settings)  # type: ignore[arg-type]
        yield


def panels(count: int, height: float = 2.7, width: float = TEXT_WIDTH) -> tuple[Figure, Sequence[Axes]]:
    """A figure with `count` panels side by side, height and width in inches, outside any notebook backend."""
    figure, axes = plt.subplots(1, count, figsize=(width, height), squeeze=False)
    plt.close(figure)  # shown once, by the cell that returns it
    for one in axes[0]:
        one.grid(clip_on=False)  # a line of it ends with the axes, and needs no path to say so
    return figure, list(axes[0])


def plot(
    frame: pd.DataFrame, kind: Kind, x: str, y: str, hue: str, col: str = "", scale: Scale = "log"
) -> list[Figure]:
    """A figure for every value of a column: the panels of one exhibit, which stand side by side or stacked.

    Parameters
    ----------
    frame
        One row per observation.
    kind
        `lines`: means over seeds, beside the seeds themselves, thin, or as dots where there are few points. A
        row without `x` is a level: a dashed line across, in the colour of its hue; where a line of the same
        hue falls to it, a ring marks the place. `dots`: rows by `y`, with a dot for every run and a mark with
        its 95% interval for the mean over seeds; a diamond is a published value.
    x, y, hue
        The columns that are drawn, named as the axes are to be labelled.
    col
        The column whose values head the panels; empty for a single panel.
    scale
        Of the losses' axis.
    """
    parts = list(frame.groupby(col, sort=False)) if col else [("", frame)]
    looks = {
        value: (_COLOURS[i % len(_COLOURS)], _DASHES[i % len(_DASHES)], _MARKERS[i % len(_MARKERS)])
        for i, value in enumerate(frame[hue].unique())
    }
    drawn = []
    width = TEXT_WIDTH / (2 if len(parts) > 1 else 1.4)  # not wider: it must be legible on a phone
    for heading, part in parts:
        with style():
            height = 2.4 if kind == "lines" else 1.2 + 0.2 * part[y].nunique()
            figure, (axes,) = panels(1, height, width)
            if kind == "lines":
                _draw_lines(axes, part, x, y, hue, looks)
                axes.set_yscale(scale)
                _limit(axes, scale)
            else:
                _draw_dots(axes, part, x, y, hue, looks)
                axes.set_xscale(scale)
            if scale == "log":
                _label(axes.yaxis if kind == "lines" else axes.xaxis)
            # The unit on a line of its own: in one, the label is longer than a low or narrow panel.
            axes.set_xlabel(x.replace(" (", "\n("))
            axes.set_ylabel(y.replace(" (", "\n(") if kind == "lines" else "")
            axes.set_title(str(heading))
            if part[hue].nunique() > 1:
                _add_legend(figure)
        drawn.append(figure)
    return drawn


def _add_legend(figure: Figure) -> None:
    """A legend below, where it hides no curve, in as many columns as the figure is wide enough for."""
    for columns in (3, 2, 1):
        legend = figure.legend(loc="outside lower center", ncols=columns)
        if legend.get_window_extent().width <= figure.bbox.width:
            break
        legend.remove()
    lines = -(-len(legend.get_texts()) // columns)
    figure.set_figheight(figure.get_figheight() + 0.16 * max(lines - 2, 0))


def _draw_lines(axes: Axes, frame: pd.DataFrame, x: str, y: str, hue: str, looks: dict[Any, Look]) -> None:
    for value, group in frame.groupby(hue, sort=False):
        (colour, dashes, marker), curve = looks[value], group.dropna(subset=[x])
        places = np.sort(curve[x].unique())
        few = len(places) <= _FEW_POINTS
        several = curve["run"].nunique() > 1
        seeds = curve[curve[x].isin(_some(places, _MOST_SEED_POINTS))].groupby("run") if several else ()
        for _, one in seeds:
            look: dict[str, Any] = {"marker": ".", "linestyle": ""} if few else {"linewidth": 0.5}
            axes.plot(one[x], one[y], color=colour, alpha=0.5, label=_SEED, **look)
        means = curve.groupby(x)[y].mean()
        if len(means):
            look = {"marker": marker, "markersize": 4} if few else {}
            line = means[means.index.isin(_some(places, _MOST_POINTS))]
            axes.plot(line.index, line, color=colour, linestyle=dashes, label=str(value), **look)
        for level in group[group[x].isna()][y]:
            label = f"_{value}, level" if len(means) else str(value)  # once in the legend
            axes.axhline(level, color=colour, linestyle=(0, (2, 2)), linewidth=1, label=label)
            if (below := means[means <= level]).size and below.index[0] != means.index[0]:
                axes.plot(below.index[:1], below[:1], "o", color=colour, fillstyle="none", label=_UNNAMED[0])


def _some(places: npt.NDArray[Any], most: int) -> npt.NDArray[Any]:
    """Evenly spaced ones of a curve's places, the last one among them."""
    return places[::-1][:: -(-len(places) // most) or 1]


def _draw_dots(axes: Axes, frame: pd.DataFrame, x: str, y: str, hue: str, looks: dict[Any, Look]) -> None:
    rows = list(frame[y].unique())
    for value, group in frame.groupby(hue, sort=False):
        colour, _, marker = looks[value]
        published = group["run"].isna().all()
        label = str(value)
        for row, of in group.groupby(y, sort=False):
            place = rows.index(row)
            if of["run"].nunique() > 1:
                axes.plot(of[x], [place] * len(of), ".", color=colour, alpha=0.5, label=_SEED)
                if (interval := mean_interval(list(of[x]))) is not None and min(interval) > 0:
                    axes.plot(interval, [place] * 2, color=colour, linewidth=1, label=_UNNAMED[1])
            look: dict[str, Any] = {"marker": "D", "fillstyle": "none"} if published else {"marker": marker}
            axes.plot([of[x].mean()], [place], color=colour, linestyle="", markersize=5, label=label, **look)
            label = f"_{value}"  # once in the legend
    axes.set_yticks(range(len(rows)), [str(row) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)


def _limit(axes: Axes, scale: Scale) -> None:
    """Limits by the lines and levels, which end within them: a small difference must not fill the axis."""
    for line in axes.lines:
        line.set_clip_on(False)
    drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
    low, high = np.nanmin(drawn), np.nanmax(drawn)
    if scale == "log":
        room = max((high / low) ** 0.05, (_LEAST_RATIO * low / high) ** 0.5)
        axes.set_ylim(low / room, high * room)
    else:
        room = max(0.05 * (high - low), _LEAST_DIFFERENCE)
        axes.set_ylim(low - room, high + room)


def _label(axis: Axis) -> None:
    """Plain numbers on a logarithmic axis, at 1, 2 and 5 of every decade."""
    formatter = FuncFormatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "125" else "")
    axis.set_major_formatter(formatter)
    axis.set_minor_formatter(formatter)


def draw_images(rows: Sequence[ImageRow]) -> Figure:
    """A grid of images, by rows.

    Parameters
    ----------
    rows
        Label of each row, its images, and a text below each, or none; rows may differ in length. Images with
        pixels from 0 to 255 are grey or coloured; those with pixels from -1 to 1 are signed: blue is above
        zero, red below.
    """
    heights = [_IMAGE + (_TEXT if texts else 0) for _, _, texts in rows]
    columns = max(len(images) for _, images, _ in rows)
    width = 0.3 + _LETTER * max(len(label) for label, _, _ in rows) + (_IMAGE + 0.06) * columns
    with style():
        size = (width, sum(heights) + 0.09 * len(rows))  # between rows some air
        figure, axes = plt.subplots(len(rows), 1, figsize=size, squeeze=False, height_ratios=heights)
    plt.close(figure)
    for axis, (label, images, texts) in zip(axes[:, 0], rows, strict=True):
        pixels = np.asarray(images)  # [images, channels, height, width]
        signed = pixels.dtype.kind == "f"
        pixels = pixels.transpose(0, 2, 3, 1)  # [images, height, width, channels]
        gap = np.full((pixels.shape[1], _GAP, pixels.shape[3]), 0 if signed else 255, pixels.dtype)
        strip = np.concatenate([part for image in pixels for part in (image, gap)][:-1], axis=1)
        look = {"cmap": "RdBu", "vmin": -1, "vmax": 1} if signed else {"cmap": "gray", "vmin": 0, "vmax": 255}
        # As they are: the page enlarges them.
        axis.imshow(strip[..., 0] if strip.shape[2] == 1 else strip, interpolation="none", **look)
        side = pixels.shape[2] + _GAP
        below = strip.shape[0] * (_TEXT / _IMAGE if texts else 0)  # so that all rows have one scale
        axis.set(xlim=(-0.5, columns * side - 0.5), ylim=(strip.shape[0] + below - 0.5, -0.5))
        axis.set_anchor("E")  # what is left of the width goes to the labels
        axis.set_axis_off()
        axis.text(-side / 8, strip.shape[0] / 2, label, ha="right", va="center", fontsize=8)
        for i, text in enumerate(texts):
            axis.text((i + 0.5) * side, strip.shape[0] + 1, text, ha="center", va="top", fontsize=7)
    return figure


def _describe(figure: Figure) -> None:
    """Let the ids of the drawing say its scales and the names of its lines: the page shows values by them."""
    for axes in figure.axes:
        named = isinstance(axes.yaxis.get_major_locator(), FixedLocator)
        limits = [
            f"{scale}|{low:.6g}|{high:.6g}"
            for scale, (low, high) in (
                (axes.get_xscale(), axes.get_xlim()),
                ("rows" if named else axes.get_yscale(), axes.get_ylim()),
            )
        ]
        axes.patch.set_gid(quote(f"axes|{'|'.join(limits)}|{axes.get_title()}", safe="|"))
        for i, line in enumerate(axes.lines):
            label = str(line.get_label())
            if label == _SEED:
                line.set_gid(f"seed|{i}")
            elif label not in _UNNAMED:
                line.set_gid(quote(f"line|{i}|{label.removeprefix('_')}", safe="|"))


def svg_of(figure: Figure) -> str:
    """A figure as SVG, without a date."""
    _describe(figure)
    text = io.StringIO()
    with style():
        figure.savefig(text, format="svg", metadata={"Date": None})
    return re.sub(r"data:image/png;base64,([^\"]+)", _packed, text.getvalue())


def _packed(found: re.Match[str]) -> str:
    """An image of the drawing as grey values or with a palette where that loses nothing: half its bytes."""
    image = PIL.Image.open(io.BytesIO(base64.b64decode(found[1]))).convert("RGB")
    grey = image.convert("L")
    if grey.convert("RGB") == image:
        image = grey
    elif image.getcolors(maxcolors=_PALETTE):
        image = image.quantize(_PALETTE, dither=PIL.Image.Dither.NONE)
    packed = io.BytesIO()
    image.save(packed, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(packed.getvalue()).decode()}"


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as SVG."""
    write_atomically(path, svg_of(figure))
