"""The report as a package: data dictionary, research object, manifest, archive, citation, workflow graph."""

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import requests
import rocrate
import yaml
from report_support import build, make_claim
from requests.structures import CaseInsensitiveDict
from requests_cache import CachedSession
from requests_cache.models.request import CachedRequest
from requests_cache.models.response import CachedResponse
from rocrate_validator import models, services

from gon.claims.results import read_result
from gon.errors import GonError
from gon.files import PROJECT
from gon.reporting.dictionary import TABLES, columns_of
from gon.reporting.package import ARCHIVE, CODECHECK, CRATE
from gon.reporting.rulegraph import read_graph
from gon.runs.record import RunRecord
from gon.spec import RunSpec

CLAIMS = ("latent_size", "two_step")
CONTEXT = "https://w3id.org/ro/crate/1.1/context"


def rule_graph(path: Path, *targets: str, snakefile: Path = PROJECT / "workflow/Snakefile") -> Path:
    """What Snakemake says of the rules, in a file."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--directory", str(PROJECT)]
    command += ["--nolock", "--rulegraph", "dot", "--config", "budget=smoke", "drawn=true"]
    command += ["--", *targets]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    path.write_text(done.stdout)
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with claims, and the report of them on two seeds. Tests only read it."""
    folder = tmp_path_factory.mktemp("package")
    for name in CLAIMS:
        make_claim(folder / "claims" / name, name, overrides=("seeds=2",))
    graph = rule_graph(folder / "workflow.dot")
    build([folder / "claims" / name for name in CLAIMS], folder / "report", [], graph)
    return folder


@pytest.fixture(scope="module")
def report(built: Path) -> Path:
    return built / "report"


def read_table(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


KINDS = {"integer": "iu", "number": "fiu", "string": "OUT", "datetime": "OUTM", "date": "OUTM"}
KINDS["boolean"] = "b"


def test_the_dictionary_describes_every_file_and_every_column_and_no_other(report: Path) -> None:
    package = json.loads((report / "data/datapackage.json").read_text())
    files = {p.relative_to(report / "data").as_posix() for p in (report / "data").rglob("*") if p.is_file()}
    described = [resource["path"] for resource in package["resources"]]
    assert sorted(described) == sorted(files - {"datapackage.json"})
    assert len({resource["name"] for resource in package["resources"]}) == len(described)
    for resource in package["resources"]:
        assert resource["description"]
        path = report / "data" / resource["path"]
        if path.suffix not in (".csv", ".parquet"):
            assert "schema" not in resource
            continue
        frame = read_table(path)
        fields = resource["schema"]["fields"]
        assert [field["name"] for field in fields] == list(frame.columns), path
        for field in fields:
            assert field["description"], f"{path}: {field['name']}"
            column = frame[field["name"]].dropna()
            # A whole column of nothing says nothing of its type; one with gaps is read as floats.
            if field["type"] == "integer" and column.dtype.kind == "f":
                assert (column % 1 == 0).all(), f"{path}: {field}"
            else:
                assert column.empty or column.dtype.kind in KINDS[field["type"]], f"{path}: {field}"


def test_losses_times_and_memory_have_units(report: Path) -> None:
    for _, columns in TABLES.values():
        for name, column in columns.items():
            if name.endswith(("_loss", "_seconds", "_milliseconds", "_mib")):
                assert column.unit, name


def test_every_setting_of_a_run_is_in_the_table_of_runs() -> None:
    assert list(columns_of(RunSpec)) == [field.name for field in dataclasses.fields(RunSpec)]


def test_tables_hold_what_the_records_say(built: Path) -> None:
    data = built / "report/data"
    curves = pd.read_parquet(data / "curves.parquet")
    runs = pd.read_csv(data / "runs.csv").set_index("run")
    measurements = pd.read_csv(data / "measurements.csv")
    seen = set()
    for name in CLAIMS:
        result = read_result(built / "claims" / name)
        for named in result.records:
            path = data / "runs" / named.run / f"epochs-{named.epochs}.json"
            record = RunRecord.from_json(path.read_text(), path)
            own = curves[curves["run"] == named.run]
            assert own["validation_loss"].tolist() == [epoch.validation_loss for epoch in record.history]
            with np.load(path.parent / record.steps_name) as steps:  # as docs/packaging.md says
                losses = steps["planes"].T.copy().view("<f4")[:, 0]
            assert losses.reshape(record.epochs, -1).mean(axis=1, dtype=np.float64).tolist() == pytest.approx(
                own["train_loss"].tolist(), rel=1e-7
            )
            row = runs.loc[named.run]
            assert row["validation_loss"] == record.last.validation_loss
            assert row["record_digest"] == named.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
            seen.add(named.run)
        for measurement in result.measurements:
            rows = measurements[
                (measurements["claim"] == name) & (measurements["measurement"] == measurement.name)
            ]
            assert rows["value"].tolist() == [entry.value for entry in measurement.values]
            n = 2 if measurement.runs else 1
            assert set(rows["mean"]) == {measurement.value} and set(rows["n"]) == {n}
    assert set(runs.index) == seen == set(curves["run"])
    field = pq.read_schema(data / "curves.parquet").field("validation_loss_running")
    assert field.metadata[b"unit"] == b"summed squared error per image"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one page of the web that the validator asks for, as its cache keeps it."""
    cache = tmp_path_factory.mktemp("web") / "cache"
    # The library carries the vocabulary, in a version in which some terms have moved.
    content = (Path(rocrate.__file__).parent / "data/ro-crate.jsonld").read_bytes()
    request = requests.Request("GET", CONTEXT).prepare()
    response = CachedResponse(
        status_code=200,
        url=CONTEXT,
        headers=CaseInsensitiveDict({"Content-Type": "application/ld+json"}),
        request=CachedRequest.from_request(request),
    )
    response._content = content.replace(b"https://bioschemas.org/terms/", b"https://bioschemas.org/")
    with CachedSession(cache_name=str(cache), backend="sqlite", expire_after=-1) as session:
        session.cache.save_response(response, cache_key=session.cache.create_key(request))
    return cache


def validate(crate: Path, web: Path) -> list[str]:
    """What the validator of the Workflow Run RO-Crate profile requires and does not find."""
    settings = services.ValidationSettings(
        rocrate_uri=str(crate),
        profile_identifier="workflow-run-crate",
        requirement_severity=models.Severity.REQUIRED,
        skip_availability_check=True,
        offline=True,
        cache_path=str(web),
    )
    return [str(issue.message) for issue in services.validate(settings).get_issues()]


@pytest.mark.filterwarnings("default")  # of the validator about parts of rdflib
def test_the_folder_is_a_valid_workflow_run_crate(report: Path, web: Path) -> None:
    assert validate(report, web) == []
    graph = {e["@id"]: e for e in json.loads((report / CRATE).read_text())["@graph"]}
    run = graph["#run"]
    assert run["instrument"] == {"@id": "workflow/Snakefile"}
    assert {"@id": "index.html"} in run["result"] and {"@id": "params/budgets.yaml"} in run["object"]
    assert "6bbc9ace898e44ae57da46a324031adb" in graph["#data-mnist"]["description"]
    starts = [s["started"] for path in report.glob("data/runs/*/epochs-*.json") for s in _sessions(path)]
    assert run["startTime"] == min(starts)


def _sessions(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text()).get("sessions", [])
    return found


def without_workflow(graph: list[dict[str, Any]]) -> None:
    next(e for e in graph if e["@id"] == "./").pop("mainEntity")


def without_instrument(graph: list[dict[str, Any]]) -> None:
    next(e for e in graph if e["@id"] == "#run").pop("instrument")


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("damage", "words"),
    [(without_workflow, "mainEntity"), (without_instrument, "instrument")],
)
def test_a_broken_crate_is_not_valid(
    report: Path, web: Path, tmp_path: Path, damage: Any, words: str
) -> None:
    shutil.copytree(report, tmp_path / "broken")
    metadata = json.loads((tmp_path / "broken" / CRATE).read_text())
    damage(metadata["@graph"])
    (tmp_path / "broken" / CRATE).write_text(json.dumps(metadata))
    assert words in " ".join(validate(tmp_path / "broken", web))


def test_the_manifest_lists_what_is_there(report: Path) -> None:
    manifest = yaml.safe_load((report / CODECHECK).read_text(encoding="utf-8"))
    assert manifest["version"] == "https://codecheck.org.uk/spec/config/1.0/"
    listed = [entry["file"] for entry in manifest["manifest"]]
    assert {"index.html", "report.pdf", "data/two_step/tables/cost.csv"} <= set(listed)
    assert all((report / name).is_file() for name in listed) and len(set(listed)) == len(listed)
    assert "certificate" not in manifest and "codechecker" not in manifest  # nobody has checked it


def test_the_archive_holds_the_folder(report: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(report / ARCHIVE) as archive:
        archive.extractall(tmp_path)
    files = {p.relative_to(report): p for p in report.rglob("*") if p.is_file() and ARCHIVE not in p.name}
    folder = tmp_path / "report"
    unpacked = {p.relative_to(folder): p for p in folder.rglob("*") if p.is_file()}
    assert files.keys() == unpacked.keys()
    assert all(files[name].read_bytes() == unpacked[name].read_bytes() for name in files)
    digest = hashlib.sha256((report / ARCHIVE).read_bytes()).hexdigest()
    assert (report / f"{ARCHIVE}.sha256").read_text() == f"{digest}  {ARCHIVE}\n"


def test_the_citation_is_valid(tmp_path: Path) -> None:
    """By the reference validator, in an environment of its own: it needs other libraries than Jupyter."""
    tool = [str(Path(sys.executable).parent / "uv"), "tool", "run", "--from", "cffconvert==2.0.0"]
    tool += ["--with", "setuptools<81", "cffconvert", "--validate", "-i"]
    done = subprocess.run([*tool, "CITATION.cff"], cwd=PROJECT, capture_output=True, text=True, check=False)
    if "Failed to fetch" in done.stderr or "error sending request" in done.stderr:
        pytest.skip("the validator could not be fetched")
    assert done.returncode == 0, done.stderr
    broken = (PROJECT / "CITATION.cff").read_text().replace("date-released: ", "date-released: about ")
    (tmp_path / "CITATION.cff").write_text(broken)
    done = subprocess.run([*tool, "CITATION.cff"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0


def test_the_deposit_says_what_the_citation_says() -> None:
    deposit = json.loads((PROJECT / ".zenodo.json").read_text(encoding="utf-8"))
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))
    assert [deposit[key] for key in ("title", "version", "license", "keywords")] == [
        citation[key] for key in ("title", "version", "license", "keywords")
    ]
    assert deposit["creators"] == citation["authors"]
    assert deposit["description"] == f"<p>{citation['abstract'].strip()}</p>"
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["version"] == citation["version"]


def test_the_graph_is_that_of_the_snakefile(built: Path, tmp_path: Path) -> None:
    graph = read_graph(built / "workflow.dot")
    assert set(graph) == {"all", "data", "train", "check", "notebook", "explanation", "graph", "report"}
    assert {("data", "train"), ("train", "notebook"), ("notebook", "report")} <= set(graph.edges)
    svg = (built / "report/data/workflow.svg").read_text()
    page = (built / "report/index.html").read_text(encoding="utf-8")
    assert "data leads to train" in page and "<svg" in svg

    drawings = set()
    for seed in ("1", "2", "3"):  # of Python's sets
        code = "import sys; from pathlib import Path; from gon.reporting.rulegraph import *; "
        code += "draw_workflow(read_graph(Path(sys.argv[1])), Path(sys.argv[2]))"
        command = [sys.executable, "-c", code, str(built / "workflow.dot"), str(tmp_path / "drawn")]
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, cwd=PROJECT, check=True)
        drawings.add((tmp_path / "drawn.svg").read_bytes())
    assert drawings == {(built / "report/data/workflow.svg").read_bytes()}

    snakefile = tmp_path / "Snakefile"
    added = (
        '\n\nrule added_here:\n    input:\n        rules.report.output.page\n    output:\n        "none"\n'
    )
    snakefile.write_text((PROJECT / "workflow/Snakefile").read_text() + added)
    wider = rule_graph(tmp_path / "wider.dot", "all", "added_here", snakefile=snakefile)
    assert ("report", "added_here") in read_graph(wider).edges
    claim = built / "claims/two_step"
    build([claim], tmp_path / "report", [], wider)
    assert "report leads to added_here" in (tmp_path / "report/index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "words"), [("", "not a graph"), ("hello", "not a graph"), (None, "cannot be read")]
)
def test_a_graph_that_is_none_is_named(tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / "w.dot").write_text(text)
    with pytest.raises(GonError, match=f"w.dot: {words}"):
        read_graph(tmp_path / "w.dot")
