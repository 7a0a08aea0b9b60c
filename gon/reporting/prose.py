"""Render the prose, written once as Markdown with Jinja, for the page and for print.

Everything that a template prints is escaped for the language that it stands in, without the
template's doing: Markdown in the prose, HTML in `templates/page`, Typst in `templates/print`. A text
from a parameter file or a result therefore always appears as that text.
"""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jinja2
import pypandoc
import yaml
from markupsafe import Markup

from gon.catalogue import EXPLANATIONS
from gon.claims import formats, pairing, words
from gon.claims.judging import JudgedClaim
from gon.claims.results import Comparison, FigureFile, Measurement
from gon.errors import GonError
from gon.files import PROJECT
from gon.reporting import dictionary, escape
from gon.reporting.report import Report, Section, environment_facts
from gon.reporting.svg import inline_svg
from gon.spec import RunSpec

TEMPLATES = PROJECT / "templates"
CITATION: dict[str, Any] = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))
"""How the project is cited, which says its title, its author, its version and its licence once for all."""
BIBLIOGRAPHY = TEMPLATES / "references.bib"

Target = Literal["page", "print"]
SUFFIX: dict[Target, str] = {"page": "html", "print": "typ"}

_MARKDOWN = "markdown-raw_tex-raw_html-latex_macros-yaml_metadata_block-example_lists-subscript-superscript"
_SEPARATOR = "\n<!-- end of contents -->\n"


class Trusted(str):
    """Text in the language of the template at hand, which is printed as it is."""


class Numbering:
    """Numbers of tables and figures: the written report's are kept, and ours are A1, A2 and so on.

    A table or figure of a claim is the written report's where its name begins as `table_1` or `figure_2` do.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._given: dict[tuple[str, str, str], str] = {}

    def next(self, kind: str) -> str:
        """The next of ours, "Table A1" or "Figure A1", by its kind: "table" or "figure"."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return f"{kind.capitalize()} A{self._counts[kind]}"

    def of(self, kind: str, claim: str, name: str) -> str:
        """The number of an exhibit of a claim, always the same."""
        key = kind, claim, name
        if key not in self._given:
            original = re.fullmatch(rf"{kind}_(\d+)", name)
            self._given[key] = f"{kind.capitalize()} {original[1]}" if original else self.next(kind)
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
    made.filters.update(
        number=formats.number,
        count=formats.count,
        counted=formats.counted,
        spelled=formats.spelled,
        published=formats.published,
        spread=formats.spread,
        p_value=formats.p_value,
        percent=formats.percent,
        change=formats.change,
        bounds=formats.bounds,
        level=formats.level,
        duration=formats.duration,
        date=formats.date,
        listed=formats.listed,
        slug=escape.slug,
        trusted=Trusted,
    )
    made.globals.update(
        title=CITATION["title"],
        author=CITATION["authors"][0]["name"],
        FINDINGS=words.FINDINGS,
        EARLY=words.EARLY,
        tables_of_data=dictionary.TABLES,
        environment_facts=environment_facts,
        explanations=EXPLANATIONS,
        settings_of=settings_of,
        **{
            function.__name__: function
            for function in (
                words.claim_words,
                words.answer,
                pairing.closest,
                pairing.decisive,
                pairing.farthest,
                words.findings,
                words.left_out_words,
                words.commands_for,
                words.decisive_words,
                words.missing_words,
                words.not_run_words,
                words.found_words,
                words.outcome_words,
                words.outcomes,
                pairing.pairs,
                words.remedies,
                words.run_epochs,
                words.span,
                words.table_epochs,
                words.tendency_words,
                words.terms,
                words.wanted,
                words.why,
            )
        },
    )
    return made


@dataclass(frozen=True)
class Fragment:
    """The report's text in the language of a target: HTML with a contents list, or Typst."""

    contents: str
    body: str


def render_prose(report: Report, target: Target) -> Fragment:
    """Render `templates/report.md` and convert it.

    Parameters
    ----------
    report
        What is reported.
    target
        Where it goes; decides how tables, figures and cards are made, not what is said.
    """
    markdown = render_markdown(report, target)
    arguments = [
        "--citeproc",
        f"--bibliography={BIBLIOGRAPHY}",
        "--metadata=link-citations:true",
        "--metadata=lang:en",
        "--number-sections",
        f"--lua-filter={TEMPLATES / 'pandoc' / 'targets.lua'}",
        "--wrap=none",
    ]
    if target == "page":
        arguments += [
            "--mathml",
            "--section-divs",
            "--shift-heading-level-by=1",
            "--toc",
            "--toc-depth=3",
            f"--template={TEMPLATES / 'pandoc' / 'contents-and-body.html'}",
        ]
    try:
        converted = pypandoc.convert_text(
            markdown, "html5" if target == "page" else "typst", format=_MARKDOWN, extra_args=arguments
        )
    except RuntimeError as error:
        raise GonError(f"the report's text could not be converted for the {target} ({error})") from error
    contents, separator, body = converted.replace("\r\n", "\n").partition(_SEPARATOR)
    return Fragment(contents, body) if separator else Fragment("", contents)


def render_markdown(report: Report, target: Target) -> str:
    """Render `templates/report.md`, with tables, figures and cards in the target's own language."""
    target_environment = environment("html" if target == "page" else "typst")
    numbering = Numbering()
    target_environment.globals.update(
        home=report.home,
        report=report,
        numbering=numbering,
        bibtex=bibtex(report),
        workflow_alt=words.workflow(report.edges),
    )
    if target == "page":
        target_environment.globals.update(svg=_inline_svg, workflow_svg=_workflow_svg)

    def show(partial: str, **context: Any) -> Trusted:
        """A partial of the target as a raw block."""
        text = target_environment.get_template(f"{target}/{partial}.{SUFFIX[target]}").render(context)
        # The fence must be longer than any run of backquotes in the text.
        longest = max((len(run) for run in re.findall("`+", text)), default=0)
        fence = "`" * max(3, longest + 1)
        return Trusted(f"\n{fence}{{={'html' if target == 'page' else 'typst'}}}\n{text}\n{fence}\n")

    def inline(partial: str, **context: Any) -> Trusted:
        """A partial of the target within a line."""
        text = target_environment.get_template(f"{target}/{partial}.{SUFFIX[target]}").render(context)
        text = " ".join(text.split("\n")).strip()
        if target == "print":
            text = f"#{{{text}}}"
        longest = max((len(run) for run in re.findall("`+", text)), default=0)
        fence = "`" * (longest + 1)
        return Trusted(f"{fence}{text}{fence}{{={'html' if target == 'page' else 'typst'}}}")

    def value(measurement: Measurement, bare: bool = False) -> Trusted:
        """A measured number, linked to the runs that it comes from; bare of its spread where that stands elsewhere."""
        return inline("value", measurement=measurement, bare=bare)

    def difference(claim: JudgedClaim, comparison: Comparison) -> Trusted:
        """A relative difference, linked to the runs on both sides."""
        return inline("difference", section=claim, comparison=comparison)

    def given(text: str) -> Trusted:
        """A text whose digits come from the parameters, and not from runs."""
        return Trusted(f"[{escape.escape_markdown(text)}]{{.given}}")

    known = set(re.findall(r"^@\w+\{([^,\s]+),", BIBLIOGRAPHY.read_text(encoding="utf-8"), re.MULTILINE))

    def cite(key: str) -> Trusted:
        """A citation in the running text; a work that is not in the bibliography is named by its key."""
        return Trusted(f"@{key}" if key in known else escape.escape_markdown(key))

    prose = environment("markdown")
    prose.globals.update(show=show, value=value, difference=difference, given=given)
    prose.globals.update(cite=cite, report=report, target=target, numbering=numbering)
    return prose.get_template("report.md").render()


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


def _workflow_svg(path: Path, alt: str) -> Markup:
    return Markup(inline_svg(path, "workflow-", alt))


def _inline_svg(section: Section, panel: str) -> Markup:
    prefix = f"{section.anchor}-{escape.slug(Path(panel).stem)}-"
    return Markup(inline_svg(section.folder / panel, prefix))
