"""Figures: nothing is cut off, however low a panel becomes."""

import pandas as pd
import pytest

from gon.claims.figures import plot, style
from gon.claims.measuring import title

QUANTITIES = ("validation_loss", "train_loss", "loss", "difference (%)", "step_milliseconds")


@pytest.mark.parametrize("column", QUANTITIES)
@pytest.mark.parametrize("hues", [1, 3, 6])
def test_no_text_is_cut_off(column: str, hues: int) -> None:
    """Each three models more take a line of the legend, and with it height of the panel."""
    y = title(column, every_unit=True)
    rows = [
        {"epoch": epoch, "model": f"a model of kind {hue}", "run": f"{hue}", y: 10.0 ** (hue - epoch)}
        for hue in range(hues)
        for epoch in range(1, 4)
    ]
    with style():
        for figure in plot(pd.DataFrame(rows), "lines", "epoch", y, "model"):
            figure.draw_without_rendering()
            (axes,) = figure.axes
            legends = [text for legend in figure.legends for text in legend.get_texts()]
            for text in (axes.xaxis.label, axes.yaxis.label, *legends):
                box = text.get_window_extent()
                assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1, text.get_text()
                assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1, text.get_text()
