"""Make a report anew from the records in its archive, and compare every file of it.

The code is that of this installation: nothing of the archive is executed. Notebooks are executed, and page,
PDF, tables and figures made, in a copy of the project that finds the archive's records and no others.
"""

import contextlib
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from bs4 import BeautifulSoup

from gon.catalogue import EXPLANATIONS
from gon.claims.study import Study, load_study
from gon.data.prepared import data_dir
from gon.errors import GonError
from gon.files import LARGEST_ARCHIVE, PROJECT, read_bytes, read_json, read_text, sha256_of_file
from gon.reporting.changes import EARLIER, LOOKS, SUMMARY, read_summary
from gon.reporting.checked import CHECKED
from gon.reporting.package import ARCHIVE
from gon.reporting.read import study_of_report
from gon.runs import provenance
from gon.runs.store import RunStore
from gon.verify.findings import Check

MOST_FILES = 200_000
"""Files that it may hold: a run has six."""

_MAKES_A_REPORT = (
    *("gon", "snakemake_logger_plugin_gon", "workflow", "params", "notebooks", "templates"),
    *("CITATION.cff", "LICENSE"),
)


def is_report(path: Path) -> bool:
    """Whether something is the folder of a report, or its archive."""
    return (path / "index.html").is_file() or path.suffix == ".zip"


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Unpack the archive of a report: a folder with `report/` and `source/`, which is removed again.

    Parameters
    ----------
    path
        The archive, or the folder of a report, which holds one.

    Raises
    ------
    GonError
        If it is no archive of a report, is damaged or too large, or if its digest is not that beside it.
    """
    archive = path / ARCHIVE if path.is_dir() else path
    if path.is_dir() and not archive.exists() and _published(path):
        with tempfile.TemporaryDirectory(prefix="gon-verify-") as temporary:
            (Path(temporary) / "report").symlink_to(path.resolve(), target_is_directory=True)
            yield Path(temporary)
        return
    sidecar = archive.with_name(f"{archive.name}.sha256")
    found = sha256_of_file(archive)
    if sidecar.exists() and read_bytes(sidecar).decode(errors="replace").split()[:1] != [found]:
        raise GonError(
            f"{archive}: altered after it was written: its SHA-256 is {found}, {sidecar} says another"
        )
    with tempfile.TemporaryDirectory(prefix="gon-verify-") as temporary:
        folder = Path(temporary)
        try:
            with zipfile.ZipFile(archive) as content:
                size = sum(entry.file_size for entry in content.infolist())
                if size > LARGEST_ARCHIVE:
                    raise GonError(f"{archive}: holds {size} bytes; at most {LARGEST_ARCHIVE} are allowed")
                if (files := len(content.infolist())) > MOST_FILES:
                    raise GonError(f"{archive}: holds {files} files; at most {MOST_FILES} are allowed")
                content.extractall(folder)  # which keeps every name inside
        except GonError:
            raise
        except Exception as error:  # zip and its ways of packing have many of their own
            raise GonError(f"{archive}: cannot be unpacked ({error})") from error
        if not (folder / "report" / "data" / "study.json").is_file():
            raise GonError(f"{archive}: is not the archive of a report: report/data/study.json is missing")
        yield folder


def _published(report: Path) -> bool:
    """Whether a report is the one of a repository, which has no archive."""
    try:
        chosen = read_json(report / "data" / "study.json")
    except GonError:
        return False
    return isinstance(chosen, dict) and chosen.get("published") is True


def check_folder(path: Path, archived: Path) -> Check:
    """Compare a report's folder with its archive, file by file."""
    files = _files(archived)
    differing = [
        name
        for name in files
        if not (path / name).is_file() or not filecmp.cmp(path / name, archived / name, shallow=False)
    ]
    if differing:
        return Check("folder", "differs", f"from its archive in {_some(differing)}")
    return Check("folder", "bit-equal", f"{len(files)} files are those of its archive")


def rebuild(folder: Path) -> Iterator[Check]:
    """Make a report anew from its records, and compare.

    Parameters
    ----------
    folder
        As `unpacked` gives it.

    Yields
    ------
    Check
        Of the code, the notebooks, the claims, and the page.

    Raises
    ------
    GonError
        If the report cannot be made, such as where a record is missing.
    """
    given, source = folder / "report", folder / "source"
    study = study_of_report(given)
    chosen = load_study(study.budget.name, study.budget.overrides)
    yield _code(source)
    _require_records(chosen, study.budget.run_store)
    project = folder / "project"
    _copy_project(project, source)
    (folder / "runs").mkdir()
    (folder / "runs" / chosen.budget.store).symlink_to(study.budget.run_store.root, target_is_directory=True)
    made = project / chosen.budget.report
    for name in (SUMMARY, EARLIER, LOOKS):  # what the last report said
        if (given / "data" / name).exists():
            (made / "data").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(given / "data" / name, made / "data" / name)
    _run(project, folder / "runs", study, given)
    trained_here = [name for name in EXPLANATIONS if _differ(given, made, f"notebooks/{name}.ipynb")]
    for name in trained_here:
        yield Check(name, "not compared", "trains a little, and gives other digits on this machine")
        build = project / "build" / chosen.budget.name / "notebooks"
        shutil.copyfile(given / "notebooks" / f"{name}.ipynb", build / f"{name}.ipynb")
    if trained_here:
        _run(project, folder / "runs", study, given)
    yield from _compare(given, made, study)


def _code(source: Path) -> Check:
    """Whether the report was made by the code, parameters and notebooks in place."""
    try:
        files = dict(read_json(source / provenance.MANIFEST)["files"])
    except (GonError, ValueError, KeyError, TypeError):
        return Check("code", "not compared", "the archive does not say which made it")
    differing = sorted(
        name
        for name in {*files, *provenance.source_files()}
        if not (PROJECT / name).is_file() or files.get(name) != sha256_of_file(PROJECT / name)
    )
    if differing:
        return Check("code", "not compared", f"made by other code than this: {_some(differing)}")
    return Check(
        "code", "bit-equal", f"{len(files)} files of code, parameters and notebooks are those in place"
    )


def _require_records(study: Study, store: RunStore) -> None:
    """Check that nothing has to be trained."""
    if study.budget.recorded:
        return
    for planned in study.plan():
        if not store.has(planned.spec, planned.epochs):
            raise GonError(
                f"{store.root}: holds no record of {planned.spec.label} after {planned.epochs} epochs, "
                "which the report's parameters ask for"
            )


def _copy_project(project: Path, source: Path) -> None:
    """Copy what makes a report; it says of itself where it comes from what the archive's source says."""
    project.mkdir()
    for name in _MAKES_A_REPORT:
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(PROJECT / name, project / name)
    if (source / provenance.MANIFEST).exists():
        shutil.copyfile(source / provenance.MANIFEST, project / provenance.MANIFEST)


def _run(project: Path, runs: Path, study: Study, given: Path) -> None:
    """Execute the notebooks and make the report; what was compared where it was made, it takes from there."""
    budget, own = study.budget, load_study(study.budget.name, study.budget.overrides)
    words = ["--budget", budget.name, *(word for text in budget.overrides for word in ("--set", text))]
    build, checked = Path("build") / budget.name, given / "data" / CHECKED
    _gon(project, runs, "run", *words, "--no-check")
    if checked.exists() or _published(given):
        claims = [claim.name for claim in own.claims]
        notebooks = [str(build / "notebooks" / f"{name}.ipynb") for name in (*EXPLANATIONS, *claims)]
        options = ["--notebooks", *notebooks, "--workflow", str(build / "workflow.dot")]
        options += ["--published"] if _published(given) else ["--checked", str(checked)]
        options += ["--output", own.budget.report]
        folders = [str(build / "claims" / name) for name in claims]
        _gon(project, runs, "report", *folders, *words, *options)


def _gon(project: Path, runs: Path, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gon.cli", *words],
        cwd=project,
        env={
            **os.environ,
            "PYTHONPATH": str(project),
            "GON_RUNS_DIR": str(runs),
            "GON_RECORDS_DIR": str(runs / "none"),
            "GON_DATA_DIR": str(data_dir()),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        errors = [line.lstrip("| ") for line in done.stdout.splitlines() if "error: " in line]
        why = "; ".join(errors or [done.stdout[-500:]])
        raise GonError(f"the report cannot be made from its records: {why}")


def _compare(given: Path, made: Path, study: Study) -> Iterator[Check]:
    """Compare claims, notebooks and page of a report with those that its records give."""
    claims = sorted(path.parent.name for path in made.glob("data/*/result.json"))
    for claim in claims:
        names = sorted(
            {
                path.relative_to(folder).as_posix()
                for folder in (given, made)
                for path in [*folder.glob(f"data/{claim}/**/*"), *folder.glob(f"notebooks/{claim}.*")]
                if path.is_file()
            }
        )
        differing = [name for name in names if _differ(given, made, name)]
        if differing:
            yield Check(claim, "differs", f"its records do not give {_some(differing)}")
        else:
            yield Check(
                claim, "bit-equal", f"notebook executed again: {len(names)} files, tables and figures"
            )
    numbers, verdicts = _numbers(given / "index.html"), _verdicts(given)
    for what, ours, theirs in (
        ("numbers", _numbers(made / "index.html"), numbers),
        ("verdicts", _verdicts(made), verdicts),
    ):
        differing = [f"{a} (its records give {b})" for a, b in zip(theirs, ours, strict=False) if a != b]
        if differing or len(ours) != len(theirs):
            yield Check(what, "differs", _some(differing or [f"{len(theirs)} and not {len(ours)}"]))
        else:
            yield Check(what, "bit-equal", f"all {len(ours)} of the page follow from the records")
    rest = [name for name in _files(given) if _differ(given, made, name) and not _of_claims(name, claims)]
    if rest:
        yield Check("other files", "differs", _some(rest))
    else:
        yield Check("other files", "bit-equal", "page, PDF, tables of all runs, parameters")


def _of_claims(name: str, claims: list[str]) -> bool:
    return any(name.startswith((f"data/{claim}/", f"notebooks/{claim}.")) for claim in claims)


def _differ(given: Path, made: Path, name: str) -> bool:
    paths = given / name, made / name
    return not all(path.is_file() for path in paths) or not filecmp.cmp(*paths, shallow=False)


def _numbers(page: Path) -> list[str]:
    soup = BeautifulSoup(read_text(page), "html.parser")
    return [str(number["value"]) for number in soup.select("data[value]")]


def _verdicts(report: Path) -> list[str]:
    summary = read_summary(report / "data" / "summary.json") or {"verdicts": {}}
    return [f"{name}: {entry['outcome']}" for name, entry in sorted(summary["verdicts"].items())]


def _files(folder: Path) -> list[str]:
    """Every file that a report's archive holds of it."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _some(names: list[str]) -> str:
    """The first few names of a list."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
