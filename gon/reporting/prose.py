"""Render the prose, written once as Markdown with Jinja, for the page and for print.

Everything that a template prints is escaped for the language that it stands in, without the
template's doing: Markdown in the prose, HTML in `templates/page`, Typst in `templates/print`. A text
from a parameter file or a result therefore always appears as that text.
"""

import dataclasses
import inspect
import itertools
import re
import shlex
from pathlib import Path
from typing import Any, Literal

import jinja2
import yaml
from markupsafe import Markup
from markupsafe import escape as escape_html

from gon.catalogue import EXPLANATIONS
from gon.claims import comparison_words, coverage, formats, pairing, words
from gon.claims.discussion import discussion
from gon.claims.judging import JudgedClaim
from gon.claims.results import Comparison, Measurement
from gon.files import PROJECT, sha256_of
from gon.reporting import dictionary, escape
from gon.reporting.cards import ways
from gon.reporting.changes import standing
from gon.reporting.checked import checked_words
from gon.reporting.pandoc import TEMPLATES, convert
from gon.reporting.report import Report
from gon.reporting.svg import inline_svg
from gon.runs import provenance
from gon.spec import RunSpec

BIBLIOGRAPHY = TEMPLATES / "references.bib"
CITATION: dict[str, Any] = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))
"""How the project is cited, which says its title, its author, its version and its licence once for all."""

Target = Literal["page", "print"]
SUFFIX: dict[Target, str] = {"page": "html", "print": "typ"}

_MARKDOWN = "markdown-raw_tex-raw_html-latex_macros-yaml_metadata_block-example_lists-subscript-superscript"
_SEPARATOR = "\n<!-- end of contents -->\n"


class Trusted(str):
    """Text in the language of the template at hand, which is printed as it is."""


class Numbering:
    """Numbers of tables and figures: the written report's are kept, and ours are A1, A2 and so on.

    A table or figure of a claim is the written report's where its name begins as `table_1` or `figure_2` do.
    Page and print have the same, in the order of the print: it folds nothing away between two that are seen.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._given: dict[tuple[str, str, str], str] = {}

    def of(self, kind: str, claim: str, name: str) -> str:
        """The number of an exhibit, "Table A1", always the same; one of no claim ("") is of the report."""
        key = kind, claim, name
        if key not in self._given:
            if original := re.fullmatch(rf"{kind}_(\d+)", name):
                self._given[key] = f"{kind.capitalize()} {original[1]}"
            else:
                self._counts[kind] = self._counts.get(kind, 0) + 1
                self._given[key] = f"{kind.capitalize()} A{self._counts[kind]}"
        return self._given[key]


def settings_of(spec: RunSpec) -> dict[str, object]:
    """The settings of a run that its model has."""
    return {key: value for key, value in dataclasses.asdict(spec).items() if key not in spec.entry.unused}


def environment(language: Literal["markdown", "html", "typst"]) -> jinja2.Environment:
    """A Jinja environment that escapes what templates print for a language, and has our filters."""
    escapes = {"markdown": escape.escape_markdown, "typst": escape.escape_typst}

    def finalize(value: Any) -> Any:
        # Numbers mean the same in every language; an undefined name raises when it is printed.
        if language == "html" or isinstance(value, (Trusted, int, float, jinja2.Undefined)):
            return escape.printable(value) if type(value) is str else value
        return escapes[language](str(value))

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=language == "html",
        finalize=finalize,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # Every format is a filter under its own name; the words of verdicts are named with their module.
    made.filters.update(inspect.getmembers(formats, inspect.isfunction))
    made.filters.update(slug=escape.slug, trusted=Trusted)
    made.globals.update(
        title=CITATION["title"],
        author=CITATION["authors"][0]["name"],
        words=words,
        comparison_words=comparison_words,
        coverage=coverage,
        pairing=pairing,
        tables_of_data=dictionary.TABLES,
        explanations=EXPLANATIONS,
        settings_of=settings_of,
        standing=standing,
        ways=ways,
    )
    return made


def convert_prose(markdown: str, target: Target) -> tuple[str, str]:
    """Convert what `render_markdown` gives: a list of contents, empty in print, and the text."""
    arguments = [
        "--citeproc",
        f"--bibliography={BIBLIOGRAPHY.relative_to(TEMPLATES)}",
        "--metadata=link-citations:true",
        "--metadata=lang:en",
        "--number-sections",
        "--lua-filter=pandoc/targets.lua",
        "--wrap=none",
    ]
    if target == "page":
        arguments += [
            "--mathml",
            "--section-divs",
            "--shift-heading-level-by=1",
            "--toc",
            "--toc-depth=3",
            "--template=pandoc/contents-and-body.html",
        ]
    converted = convert(markdown, _MARKDOWN, "html5" if target == "page" else "typst", *arguments)
    contents, separator, body = converted.partition(_SEPARATOR)
    return (contents, body) if separator else ("", contents)


def render_markdown(report: Report, target: Target, numbering: Numbering) -> str:
    """Render `templates/report.md`, with tables, figures and cards in the target's own language.

    Parameters
    ----------
    report
        What is reported.
    target
        Where it goes; decides how tables, figures and cards are made, not what is said.
    numbering
        The numbers that tables and figures have; those without one are numbered as they come.
    """
    language: Literal["html", "typst"] = "html" if target == "page" else "typst"
    partials = environment(language)
    drawings = itertools.count(1)

    def svg(path: Path, alt: str = "") -> Markup:
        """A drawing inside the page; its ids begin with its number, since there are many of them."""
        return Markup(inline_svg(path, f"d{next(drawings)}-", escape.printable(alt)))

    partials.globals.update(
        home=report.home,
        report=report,
        numbering=numbering,
        bibtex=bibtex(report),
        workflow_alt="; ".join(f"{first} leads to {second}" for first, second in report.edges),
        svg=svg,
    )

    partials.globals["captions"] = partials.get_template("captions.jinja").module

    def raw(partial: str, fewest: int, **context: Any) -> tuple[str, str, str]:
        """A partial of the target; the fence that pandoc passes it on in, and the mark behind a fence."""
        text = partials.get_template(f"{target}/{partial}.{SUFFIX[target]}").render(context)
        # The fence must be longer than any run of backquotes in the text.
        longest = max((len(run) for run in re.findall("`+", text)), default=0)
        return text, "`" * max(fewest, longest + 1), f"{{={language}}}"

    def show(partial: str, **context: Any) -> Trusted:
        """A partial of the target as a raw block."""
        text, fence, mark = raw(partial, 3, **context)
        return Trusted(f"\n{fence}{mark}\n{text}\n{fence}\n")

    def inline(partial: str, **context: Any) -> Trusted:
        """A partial of the target within a line."""
        text, fence, mark = raw(partial, 1, **context)
        text = " ".join(text.split("\n")).strip()
        return Trusted(f"{fence}{f'#{{{text}}}' if target == 'print' else text}{fence}{mark}")

    def said(claim: JudgedClaim, sentence: words.Sentence) -> Trusted | Markup:
        """A sentence within a partial."""
        parts = []
        for part in sentence:
            if isinstance(part, Measurement):
                parts.append(raw("value", 1, measurement=part, bare=True)[0].strip())
            elif isinstance(part, Comparison):
                parts.append(raw("difference", 1, section=claim, comparison=part)[0].strip())
            elif part:
                html = f'<span class="given">{escape.printable(str(escape_html(part)))}</span>'
                parts.append(html if target == "page" else f"[#{escape.escape_typst(part)};]")
        return Markup("".join(parts)) if target == "page" else Trusted(" + ".join(parts))

    partials.globals["said"] = said

    def given(text: str) -> Trusted:
        """A text whose digits come from the parameters, and not from runs."""
        # Pandoc drops spaces at the ends of a span, so they stand outside.
        before, after = " " * text.startswith(" "), " " * text.endswith(" ")
        return Trusted(f"{before}[{escape.escape_markdown(text)}]{{.given}}{after}")

    def say(claim: JudgedClaim, sentence: words.Sentence) -> Trusted:
        """A sentence with its numbers linked to the runs that they come from."""
        said = []
        for part in sentence:
            if isinstance(part, Measurement):
                said.append(inline("value", measurement=part, bare=True))
            elif isinstance(part, Comparison):
                said.append(inline("difference", section=claim, comparison=part))
            elif part:
                said.append(given(part))
        return Trusted("".join(said))

    known = set(re.findall(r"^@\w+\{([^,\s]+),", BIBLIOGRAPHY.read_text(encoding="utf-8"), re.MULTILINE))

    def cite(key: str) -> Trusted:
        """A citation in the running text; a work that is not in the bibliography is named by its key."""
        return Trusted(f"@{key}" if key in known else escape.escape_markdown(key))

    prose = environment("markdown")
    prose.globals.update(show=show, say=say, given=given, cite=cite, report=report, target=target)
    prose.globals.update(numbering=numbering, command=command(report))
    claims = {section.name: section for section in report.sections if not section.failure}
    prose.globals.update(discussed=discussion(claims))
    prose.globals.update(digests=digests(report) if report.published else {})
    labels, checked = {card.spec.digest: card.spec.label for card in report.cards}, report.checked
    said_of_check = checked_words(checked, labels) if checked is not None and checked.runs else ""
    prose.globals.update(checked_words=said_of_check)
    prose.globals.update(
        commit=provenance.commit(), repository=provenance.repository(), code=provenance.code()
    )
    return prose.get_template("report.md").render()


def digests(report: Report) -> dict[str, str]:
    """SHA-256 of what a published report follows from: code, parameters and records."""
    runs = [run for card in report.cards for run in (card.run, *card.shorter)]
    records = "".join(f"{run.spec.digest} {run.record_name().sha256}\n" for run in runs)
    code = ("gon/**/*.py", "templates/**/*", "workflow/*", "notebooks/*.ipynb")
    return {
        "code": provenance.digest_of(*code),
        "parameters": provenance.digest_of("params/**/*.yaml"),
        "records": sha256_of(records),
    }


def command(report: Report) -> str:
    """What makes a report."""
    changes = [word for text in report.budget.overrides for word in ("--set", text)]
    return shlex.join(["./run_all.sh", "--budget", report.budget.name, *changes])


def bibtex(report: Report) -> str:
    """How this report is cited, for BibTeX."""
    fields = {
        "author": "{" + CITATION["authors"][0]["name"] + "}",
        "title": CITATION["title"],
        "year": str(report.moment.year),
        "note": f"Version {CITATION['version']}, budget {report.budget.name}",
    }
    lines = "".join(f",\n  {key:6} = {{{value}}}" for key, value in fields.items())
    return f"@misc{{gonreport{report.moment.year}{lines}\n}}"
