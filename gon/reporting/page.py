"""Make the HTML page: one file that needs no network, no script and no other file to be read."""

from markupsafe import Markup

from gon.reporting.prose import environment, render_prose
from gon.reporting.report import Report

_CONTENTS_HERE = "<!-- contents -->"


def render_page(report: Report) -> str:
    """The report as an HTML document."""
    contents, text = render_prose(report, "page")
    summary, _, body = text.partition(_CONTENTS_HERE)
    template = environment("html").get_template("page.html")
    return template.render(
        report=report,
        contents=Markup(contents),
        summary=Markup(summary),
        body=Markup(body),
    )
