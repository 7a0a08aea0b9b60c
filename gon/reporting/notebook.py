"""Turn an executed notebook into a page in the report's style, with nbconvert and `templates/notebook`."""

import functools
from pathlib import Path

from bs4 import BeautifulSoup
from nbconvert.exporters import HTMLExporter
from nbconvert.filters import Highlight2HTML
from nbformat import NotebookNode
from traitlets.config import Config

from gon.catalogue import EXPLANATIONS
from gon.claims.formats import counted
from gon.reporting.page import maths_font
from gon.reporting.pandoc import TEMPLATES, convert
from gon.reporting.report import Report
from gon.reporting.sanitise import sanitised
from gon.reporting.section import Section


def pictures(notebook: NotebookNode) -> list[tuple[str, str]]:
    """Drawings (SVG) of the cells that are tagged `report`, each with its text alternative."""
    return [
        (output.data[_SVG], output.metadata.get(_SVG, {}).get("alt", ""))
        for cell in notebook.cells
        if "report" in cell.metadata.get("tags", [])
        for output in cell.outputs
        if _SVG in output.get("data", {})
    ]


def render_notebook(notebook: NotebookNode, path: Path, section: Section | None, report: Report) -> str:
    """An executed notebook as an HTML document.

    Parameters
    ----------
    notebook
        The executed notebook.
    path
        Its file.
    section
        The claim that it belongs to; None for one of `gon.catalogue.EXPLANATIONS`.
    report
        The report that it is linked from.
    """
    executed = "As executed for this report"
    page = {
        "source": path.name,
        "title": EXPLANATIONS.get(path.stem),
        "anchor": "model",
        "byline": f"{executed}; it judges no claim.",
        "maths_font": maths_font(),
    }
    if section is not None:
        budget = f"{counted(report.budget.epochs, 'epoch')} (budget “{report.budget.name}”)"
        page |= {"title": section.title, "anchor": section.anchor, "byline": f"{executed}: {budget}."}
    # What papermill injected stands for the cell whose defaults it replaces.
    tags = [cell.metadata.get("tags", []) for cell in notebook.cells]
    if any("injected-parameters" in of_cell for of_cell in tags):
        shown = [cell for cell, own in zip(notebook.cells, tags, strict=True) if "parameters" not in own]
        notebook = NotebookNode({**notebook, "cells": shown})
    html, _ = _exporter().from_notebook_node(_with_html(notebook), resources={"page": page})
    return str(html)


def _with_html(notebook: NotebookNode) -> NotebookNode:
    """A notebook whose Markdown cells are HTML: all in one text, since each call starts pandoc."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    parts = _markdown(f"\n\n{_NEXT_CELL}\n\n".join(texts)).split(f"<p>{_NEXT_CELL}</p>")
    if len(parts) != len(texts):  # one takes the next one into its comment or code
        parts = [_markdown(text) for text in texts]
    html = iter(parts)
    cells = [
        NotebookNode({**cell, "source": next(html)}) if cell.cell_type == "markdown" else cell
        for cell in notebook.cells
    ]
    return NotebookNode({**notebook, "cells": cells})


@functools.cache  # it compiles its templates, which are the same for all notebooks
def _exporter() -> HTMLExporter:
    templates = str(TEMPLATES)
    return HTMLExporter(
        template_name="notebook",
        extra_template_basedirs=[templates],
        extra_template_paths=[templates],
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        filters={
            "markdown2html": _markdown,
            # Python: "ipython3", as notebooks name it, would load all of IPython for the sake of its magics.
            "highlight_code": Highlight2HTML(pygments_lexer="python"),
            "tables": _tables,
            "sanitised": sanitised,
        },
        config=Config(NbConvertBase={"display_data_priority": _SHOWN}),
    )


_SVG = "image/svg+xml"
_SHOWN = [
    "image/svg+xml",
    "image/png",
    "text/html",
    "text/markdown",
    "text/plain",
]
"""Of the forms of an output, the first is shown."""


_NEXT_CELL = "next-cell-of-the-notebook"  # no comment, which would end one that a cell leaves open


def _markdown(text: str) -> str:
    """Markdown as HTML: formulas as MathML, since the page has no script to set them, and no ids."""
    html = convert(text, "markdown-auto_identifiers", "html5", "--mathml", "--shift-heading-level-by=1")
    # On a phone it scrolls, and what scrolls must be reachable by keyboard.
    return html.replace('<math display="block"', '<math display="block" tabindex="0"')


def _tables(html: str) -> str:
    """The tables of an output, and nothing else of it; bare, as the page has a style of its own."""
    soup = BeautifulSoup(html, "html.parser")
    for element in soup.select("table *"):
        element.attrs.pop("style", None)
    for cell in soup.select("th"):
        # Pandas leaves the corner above the row numbers empty, and an empty cell heads nothing.
        if not cell.get_text(strip=True):
            cell.name = "td"
    return "".join(str(table) for table in soup.find_all("table"))
