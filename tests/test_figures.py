"""Figures: nothing is cut off, however low or narrow a panel becomes."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from gon.catalogue import MODELS
from gon.claims.figures import Kind, draw_images, plot, style
from gon.claims.measuring import title

QUANTITIES = ("validation_loss", "train_loss", "loss", "difference (%)", "step_milliseconds")


def check_whole(figure: Figure, texts: Iterable[Text]) -> None:
    """Check that a figure, which has been laid out, cuts off none of its texts."""
    for text in texts:
        box = text.get_window_extent()
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1, text.get_text()
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1, text.get_text()


@pytest.mark.parametrize("column", QUANTITIES)
@pytest.mark.parametrize("hues", [1, 3, len(MODELS)])
@pytest.mark.parametrize("panels", [1, 2])
@pytest.mark.parametrize("kind", ["lines", "dots"])
def test_no_text_is_cut_off(column: str, hues: int, panels: int, kind: Kind) -> None:
    """Legend and rows take from a panel what they need, in half of the width and with all models."""
    loss = title(column, every_unit=True)
    rows = [
        {"data": data, "epoch": epoch, "model": model.title, "run": f"{hue}", loss: 10.0 ** (hue - epoch)}
        for data in range(panels)
        for hue, model in enumerate(list(MODELS.values())[:hues])
        for epoch in range(1, 4)
    ]
    x, y, hue_column = ("epoch", loss, "model") if kind == "lines" else (loss, "model", "epoch")
    with style():
        figures = plot(pd.DataFrame(rows), kind, x, y, hue_column, "data")
        assert len(figures) == panels
        for figure in figures:
            figure.draw_without_rendering()
            (axes,) = figure.axes
            assert axes.bbox.height > figure.dpi * (1.0 if kind == "lines" else 0.2 * hues)
            legends = [text for legend in figure.legends for text in legend.get_texts()]
            names = axes.get_yticklabels() if kind == "dots" else []
            labels = [label for label in (axes.xaxis.label, axes.yaxis.label) if label.get_text()]
            check_whole(figure, [*labels, *names, *legends])


@pytest.mark.parametrize("label", [f"{model.title}, 500 epochs" for model in MODELS.values()] + ["MMM", ""])
@pytest.mark.parametrize("count", [1, 5])
def test_no_label_of_a_row_of_images_is_cut_off(label: str, count: int) -> None:
    image = np.zeros((6, 1, 32, 32), np.uint8)
    figure = draw_images([("", image, [])] * count + [(label, image, ["0.5"] * 6)])
    with style():
        figure.draw_without_rendering()
    check_whole(figure, [text for axes in figure.axes for text in axes.texts])
