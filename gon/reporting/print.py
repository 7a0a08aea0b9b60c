"""Make the PDF: Typst source from the same prose, compiled as PDF/UA-1 with its fonts inside."""

import re
from pathlib import Path

import matplotlib
import typst

from gon.errors import GonError
from gon.reporting.prose import Trusted, convert_prose, environment
from gon.reporting.report import Report

# The compiler's own fonts cover these; PDF/UA forbids text without a glyph.
_COVERED = (
    "\n\t\x20-\x7e\xa0-\u017f\u0391-\u03a1\u03a3-\u03c9\u0400-\u045f\u2010-\u2015\u2018-\u201e\u2020-\u2022\u2026"
    "\u202f\u2030\u2032\u2033\u2039\u203a\u2070\u2074-\u2079\u207b\u2080-\u2089\u20ac\u2190-\u2193\u2200-\u22ff"
)


def render_print(report: Report, prose: str) -> str:
    """The report as Typst source, from its prose; figures are read from the folder `data` beside it."""
    _, text = convert_prose(prose, "print")
    source = environment("typst").get_template("print.typ").render(report=report, body=Trusted(text))
    return re.sub(f"[^{_COVERED}]", _by_number, source)


def compile_pdf(source: Path, output: Path, report: Report) -> None:
    """Compile Typst source to a tagged PDF.

    Parameters
    ----------
    source
        The Typst file; figures are found from its folder.
    output
        The PDF file.
    report
        Gives the PDF its date, so that the same runs give the same file.

    Raises
    ------
    GonError
        If Typst refuses the source; with its message.
    """
    try:
        typst.compile(
            source,
            output=output,
            root=source.parent,
            # Those of figures, whose text is kept as text.
            font_paths=[Path(matplotlib.get_data_path()) / "fonts" / "ttf"],
            # Only the fonts that come with the pinned packages: the same PDF on every machine.
            ignore_system_fonts=True,
            pdf_standards=["ua-1"],
            timestamp=int(report.moment.timestamp()),
        )
    except typst.TypstError as error:
        raise GonError(f"the PDF cannot be made: {error.diagnostic or error.message}") from error


def _by_number(match: re.Match[str]) -> str:
    return f"(U+{ord(match[0]):04X})"
