"""Turn an executed notebook into a page in the report's style."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
import pypandoc
from bs4 import BeautifulSoup, Tag
from markupsafe import Markup
from nbconvert.exporters import HTMLExporter

from gon.catalogue import EXPLANATIONS
from gon.errors import GonError
from gon.files import PROJECT
from gon.reporting.prose import environment
from gon.reporting.report import Report, Section

_WIDGET = "application/vnd.jupyter.widget-view+json"
_NO_ALT = "A figure of the notebook; the report describes it."


def render_notebook(path: Path, section: Section | None, report: Report) -> str:
    """An executed notebook as an HTML document.

    Parameters
    ----------
    path
        The executed notebook.
    section
        The claim that it belongs to; None for one of `gon.catalogue.EXPLANATIONS`.
    report
        The report that it is linked from.

    Raises
    ------
    GonError
        If the file is not a notebook.
    """
    try:
        notebook = nbformat.read(path, as_version=4)
    except (OSError, ValueError, AttributeError, KeyError, nbformat.ValidationError) as error:
        raise GonError(f"{path}: cannot read the notebook ({error})") from error
    exporter = HTMLExporter(template_name="basic")
    exporter.embed_images = True
    title = section.title if section else EXPLANATIONS[path.stem]
    alts = [figure.alt for figure in section.figures] if section else []
    converted, _ = exporter.from_notebook_node(_without_traces(notebook))
    return (
        environment("html")
        .get_template("notebook.html")
        .render(report=report, section=section, title=title, body=Markup(_for_reading(converted, alts)))
    )


def _without_traces(notebook: Any) -> Any:
    """Drop what differs between two executions that gave the same: ids, times, progress bars."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata.pop("widgets", None)
    for number, cell in enumerate(notebook.cells, start=1):
        cell["id"] = f"cell-{number}"
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            if "$" in cell.source:
                cell.source = _with_formulas(cell.source)
            continue
        kept = []
        for output in cell.outputs:
            # Progress goes to standard error or into a widget; both show times.
            if output.get("name") == "stderr" or _WIDGET in output.get("data", {}):
                continue
            alt = _alt(output)
            if alt and "image/svg+xml" in output.get("data", {}):
                output.metadata["alt"] = alt
            for kind in ("image/png", "image/jpeg"):
                if alt and kind in output.get("data", {}):
                    output.metadata.setdefault(kind, {})["alt"] = alt
            kept.append(output)
        cell.outputs = kept
    return notebook


def _with_formulas(markdown: str) -> str:
    """Markdown with formulas as HTML with MathML, since a page has no script to set them."""
    try:
        html = pypandoc.convert_text(markdown, "html5", format="markdown", extra_args=["--mathml"])
    except RuntimeError as error:
        raise GonError(f"a notebook's text could not be converted ({error})") from error
    return str(html)


def _alt(output: Any) -> str | None:
    """The text alternative that an output's metadata carries, for the output or one of its forms."""
    metadata = output.get("metadata", {})
    for place in (metadata, *(value for value in metadata.values() if isinstance(value, dict))):
        if isinstance(place.get("alt"), str):
            return str(place["alt"])
    return None


def _for_reading(html: str, alts: Sequence[str]) -> str:
    """Make nbconvert's markup stand alone: no script, reachable scrolling, headings below the page's."""
    # Papermill writes where the result goes into the notebook; the place on this machine says nothing.
    soup = BeautifulSoup(html.replace(f"{PROJECT}/", ""), features="html.parser")
    for element in soup.find_all(["script", "style", "link", "iframe", "object", "embed", "base", "meta"]):
        element.decompose()
    taken: set[str] = set()
    for element in soup.find_all(True):
        for name in [name for name in element.attrs if name.lower().startswith("on")]:
            del element[name]
        # Headings of Markdown cells get ids from their text, which may occur twice.
        if identifier := element.attrs.get("id"):
            if identifier in taken:
                del element["id"]
            taken.add(str(identifier))
    for anchor in soup.select("a.anchor-link"):
        anchor.decompose()
    _nest_headings(soup)
    _describe_images(soup, alts)
    for table in soup.find_all("table"):
        del table["border"]
        for row in table.find_all("tr"):
            del row["style"]
        for cell in table.find_all("th"):
            # Pandas leaves the corner above the row numbers empty, and an empty cell heads nothing.
            if not cell.get_text(strip=True):
                cell.name = "td"
    for number, element in enumerate(soup.select("div.input_area, div.output_area"), start=1):
        what = "Code" if "input_area" in element["class"] else "Output"
        element.attrs.update(tabindex="0", role="group")
        element["aria-label"] = f"{what} {number}"
    for prompt in soup.select("div.prompt"):
        prompt.decompose()
    return re.sub(r"\n{3,}", "\n\n", str(soup))


def _describe_images(soup: BeautifulSoup, alts: Sequence[str]) -> None:
    """Give images that have no text alternative those of the claim's figures, if they are as many."""
    bare = [
        image
        for image in soup.find_all("img")
        if str(image.get("alt", "")).startswith("No description has been provided")
    ]
    for image, alt in zip(bare, alts if len(alts) == len(bare) else [_NO_ALT] * len(bare), strict=True):
        image["alt"] = alt


def _nest_headings(soup: BeautifulSoup) -> None:
    """Put the notebook's headings below the page's own, without a gap in their levels."""
    previous = 1
    for heading in soup.find_all(re.compile("^h[1-6]$")):
        assert isinstance(heading, Tag)
        level = min(int(heading.name[1]) + 1, previous + 1, 6)
        heading.name = f"h{level}"
        previous = level
