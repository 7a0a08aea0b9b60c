"""Build the whole report beside the old one, and put it in place once it is complete."""

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jinja2
import nbformat

from gon.catalogue import EXPLANATIONS
from gon.claims.executed import read_notebook
from gon.claims.ledger import read_ledger
from gon.claims.study import Study
from gon.errors import GonError
from gon.files import PROJECT, make_folder, scratch_folder, sync_folder
from gon.reporting.changes import (
    EARLIER,
    LOOKS,
    SUMMARY,
    changes,
    earlier_than,
    looks_of,
    read_summary,
    summary_of,
)
from gon.reporting.checked import CHECKED, read_checked
from gon.reporting.notebook import pictures, render_notebook
from gon.reporting.package import ARCHIVE, CODECHECK, CRATE, add_sources, write_package
from gon.reporting.page import render_page
from gon.reporting.print import compile_pdf, render_print
from gon.reporting.prose import CITATION, Numbering, render_markdown
from gon.reporting.read import ReportParts, collect_report, copy_data
from gon.reporting.report import Report
from gon.reporting.rulegraph import draw_workflow, read_graph
from gon.reporting.social import IMAGE, draw_social_image
from gon.reporting.tables import write_tables

CONTENT = (
    *("data", "notebooks", "params", "workflow", "CITATION.cff", "LICENSE", CODECHECK, CRATE, IMAGE),
    *(ARCHIVE, f"{ARCHIVE}.sha256", "report.pdf", "index.html"),
)
"""What a report's folder consists of; the page last, so that it never names what is not there yet."""


def build_report(
    study: Study, parts: ReportParts, output: Path, earlier: Path | None = None, *, published: bool = False
) -> None:
    """Make the report: page, PDF, the notebooks as pages, the data behind it, and an archive of it all.

    The old report stays as it is until the new one is complete.

    Parameters
    ----------
    study
        Budget and claims: the report takes published values, rules and records from them.
    parts
        What it is made of.
    output
        Folder of the report.
    earlier
        Folder of the report that this one is compared with; the one that it replaces if None.
    published
        Whether it is the one for the repository: it names digests in place of a commit and no earlier
        report, and has no archive.

    Raises
    ------
    GonError
        If a result or notebook cannot be read, or the folder cannot be written to; names it.
    """
    report = collect_report(study, parts.results, parts.notebooks)
    now, last = summary_of(report), Path(os.devnull) if published else earlier or output
    before, looks = earlier_than(now, last), looks_of(report, last)
    kept: dict[str, Any] = {SUMMARY: now, EARLIER: before, LOOKS: looks}
    if any(section.failure for section in report.sections):
        # The next whole report is compared with the last whole one.
        kept = {name: read_summary(last / "data" / name) for name in (SUMMARY, EARLIER)}
        kept[LOOKS], before = looks_of(dataclasses.replace(report, sections=()), last), None
    report = dataclasses.replace(
        report,
        changes=tuple(changes(before, now)) if before else (),
        looks=looks,
        published=published,
        locked=_locked(),
        checked=read_checked(parts.checked) if parts.checked else None,
    )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(output.parent, output.name) as temporary:
            new = temporary / "new"
            new.mkdir()
            if parts.workflow is not None:
                drawing = new / "data" / "workflow"
                graph = read_graph(parts.workflow)
                make_folder(drawing.parent)
                shutil.copyfile(parts.workflow, drawing.with_suffix(".dot"))
                draw_workflow(graph, drawing)
                report = dataclasses.replace(
                    report, workflow=drawing.with_suffix(".svg"), edges=tuple(graph.edges)
                )
            make_folder(new / "data")
            if parts.checked is not None:
                shutil.copyfile(parts.checked, new / "data" / CHECKED)
            for name, summary in kept.items():
                if summary:
                    (new / "data" / name).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
            report = dataclasses.replace(report, pictures=tuple(_pictures(parts.notebooks, new / "data")))
            _write(report, new, parts.notebooks)
            output.mkdir(exist_ok=True)
            _put_in_place(new, output, temporary / "old")
    except OSError as error:
        what = error.filename or output
        raise GonError(f"{output}: cannot write the report ({error.strerror}: {what})") from error


def _locked() -> frozenset[tuple[str, str, int]]:
    """Claim, name and version of every rule in the project's ledger."""
    return frozenset((e.claim, e.rule, e.version) for e in read_ledger(PROJECT / "params"))


def _pictures(notebooks: Sequence[Path], folder: Path) -> Iterator[tuple[Path, str]]:
    """Write the drawings of notebooks that judge no claim; each with its text alternative."""
    for path in notebooks:
        if path.stem in EXPLANATIONS:
            for number, (drawing, alt) in enumerate(pictures(read_notebook(path)), start=1):
                target = folder / f"{path.stem}-{number}.svg"
                target.write_text(drawing, encoding="utf-8")
                yield target, alt


def _write(report: Report, folder: Path, notebooks: Sequence[Path]) -> None:
    copy_data(report, folder / "data")
    numbering = Numbering()
    try:
        prose = render_markdown(report, "print", numbering)  # the first, which gives the numbers
        # While one waits for pandoc or the compiler of the PDF, another one goes on.
        with ThreadPoolExecutor() as pool:
            printed = pool.submit(_print, report, folder, prose)
            page = pool.submit(render_page, report, numbering)
            write_tables(report, folder / "data")
            add_sources(folder)
            draw_social_image(report, CITATION["title"], folder / IMAGE)
            pages = dict(_notebook_pages(report, notebooks))
            pages["index.html"] = page.result()
            printed.result()
    except jinja2.TemplateError as error:
        place = ""
        if isinstance(error, jinja2.TemplateSyntaxError):
            place = f"{error.filename or error.name}:{error.lineno}: "
        raise GonError(f"a template of the report fails: {place}{error}") from error
    for name, text in pages.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    write_package(report, folder)


def _notebook_pages(report: Report, notebooks: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Each executed notebook as a page, and as it is."""
    sections = {section.name: section for section in report.sections}  # an explanation has none
    for path in notebooks:
        notebook = read_notebook(path)
        yield f"notebooks/{path.stem}.html", render_notebook(notebook, path, sections.get(path.stem), report)
        yield f"notebooks/{path.name}", nbformat.writes(notebook) + "\n"


def _print(report: Report, folder: Path, prose: str) -> None:
    source = folder / "report.typ"
    source.write_text(render_print(report, prose), encoding="utf-8")
    compile_pdf(source, folder / "report.pdf", report)
    source.unlink()


def _put_in_place(new: Path, output: Path, old: Path) -> None:
    """Exchange what the report consists of; whatever else lies in the folder stays."""
    old.mkdir()
    for name in CONTENT:
        if (output / name).exists():
            os.replace(output / name, old / name)
        if (new / name).exists():
            os.replace(new / name, output / name)
    sync_folder(output)
