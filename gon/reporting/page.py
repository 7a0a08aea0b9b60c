"""Make the HTML page: one file that needs no network, no script and no other file to be read."""

import base64
import hashlib

from bs4 import BeautifulSoup
from markupsafe import Markup

from gon.reporting.pandoc import TEMPLATES
from gon.reporting.prose import Numbering, convert_prose, environment, render_markdown
from gon.reporting.report import Report

_CONTENTS_HERE = "<!-- contents -->"


def maths_font() -> str:
    """The font of formulas in base64: the page's own, since most readers have none installed."""
    return base64.b64encode((TEMPLATES / "page" / "maths.woff").read_bytes()).decode()


def render_page(report: Report, numbering: Numbering) -> str:
    """The report as an HTML document, its tables and figures numbered as in print."""
    contents, text = convert_prose(render_markdown(report, "page", numbering), "page")
    summary, _, body = text.partition(_CONTENTS_HERE)
    script = (TEMPLATES / "page" / "script.js").read_text(encoding="utf-8")
    abstract = BeautifulSoup(summary, "html.parser").select_one(".abstract p")
    template = environment("html").get_template("page.html")
    return template.render(
        report=report,
        contents=Markup(contents),
        summary=Markup(summary),
        body=Markup(body),
        description=" ".join(abstract.get_text().split()) if abstract else "",
        script=Markup(script),
        # The one script that may run is this one, letter by letter.
        script_digest=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
        maths_font=maths_font(),
    )
