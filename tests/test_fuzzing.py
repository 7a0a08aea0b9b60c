"""No file, and no word on the command line, ends in a traceback, a hang, or memory without end.

The short form reads a few hundred inputs; `./run_tests.sh --long` reads 10,000 and measures the memory.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import numpy as np
import pytest
from fuzzing import HOSTILE, YAML_TEXTS, Reader, ending, inputs, odd_things
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from gon.catalogue import DATASETS
from gon.claims.deviations import load_deviations
from gon.claims.executed import read_notebook, seal_notebook
from gon.claims.failures import FAILURE, Failure, read_failure
from gon.claims.ledger import check_ledger
from gon.claims.notebooks import check_parameters
from gon.claims.results import read_result
from gon.claims.study import load_study
from gon.cli import _chosen_spec, build_parser
from gon.data import prepared
from gon.errors import GonError
from gon.files import PROJECT, sealed
from gon.reporting.changes import changes, looks_of, read_summary
from gon.reporting.checked import CHECKED, checked_words, read_checked
from gon.reporting.notebook import render_notebook
from gon.reporting.read import study_of_report
from gon.reporting.report import Report
from gon.reporting.rulegraph import read_graph
from gon.reporting.svg import inline_svg
from gon.runs import provenance
from gon.runs.checkpoint import load_checkpoint, load_weights
from gon.runs.origin import read_origin, write_origin
from gon.runs.progress import ProgressWriter, read_progress
from gon.runs.store import RunStore, read_record
from gon.runs.train import train
from gon.runs.trajectory import new_run
from gon.science.models import build_model
from gon.spec import RunSpec
from gon.verify.rebuilding import unpacked
from gon.verify.signing import SUMS, check_sums, write_sums

SPEC = RunSpec(latent_dim=2, width=1, batch_size=32, train_images=64, validation_images=32)
EXAMPLES = int(os.environ.get("GON_FUZZED_INPUTS", 0))
"""Inputs in all; 0 for the short form, which is the same each time."""
SHORT = 15

Make = Callable[[Path], Reader]


def params(folder: Path) -> Path:
    """Parameters of one claim, which are soon read."""
    (folder / "claims").mkdir(parents=True)
    for name in ("budgets.yaml", "ledger.yaml", "claims/two_step.yaml"):
        shutil.copyfile(PROJECT / "params" / name, folder / name)
    return folder


def of_params(name: str) -> Make:
    def make(folder: Path) -> Reader:
        root = params(folder / "params")

        def read() -> None:
            study = load_study("smoke", params=root)
            check_ledger(study.claims, root)
            study.plan()
            assert study.budget.build.parent == PROJECT / "build"
            assert study.budget.run_store.root.parent == PROJECT / "runs"

        return Reader(root / name, read, "yaml", named=False)

    return make


def deviations(folder: Path) -> Reader:
    path = folder / "deviations.yaml"
    shutil.copyfile(PROJECT / "params" / "deviations.yaml", path)
    return Reader(path, lambda: load_deviations(path), "yaml")


def of_run(kind: str) -> Make:
    """A run of today's format, and one of its files."""

    def make(folder: Path) -> Reader:
        store = RunStore(folder / "store")
        train(SPEC, 2, store, evaluations=["protocols"])
        record, inner = store.load(SPEC, 2), ""

        def load() -> None:
            read_record(store.record_path(SPEC, 2), {})
            store.load_steps(SPEC, 2)
            store.load_images(SPEC, 2)
            store.load_evaluation(SPEC, 2, "protocols")

        read: Callable[[], object] = load
        path = store.record_path(SPEC, 2)
        if kind in ("record", "images", "evaluation"):
            inner = "sealed"
        if kind == "images":
            path = store.images_path(SPEC, 2)
        elif kind == "evaluation":
            path = store.evaluation_path(SPEC, 2, "protocols")
        elif kind == "steps":
            path, inner = store.steps_path(record), "zip"
        elif kind == "weights":
            path, inner, model = store.weights_path(SPEC, 2), "zip", build_model(SPEC)
            read = lambda: load_weights(model, path)  # noqa: E731
        elif kind == "checkpoint":
            path, inner, run = store.checkpoint_path(SPEC), "zip", new_run(SPEC)
            read = lambda: load_checkpoint(run, path, store)  # noqa: E731
        # A message may name the record for what lies beside it, and the other way round.
        return Reader(path, read, inner, named=kind in ("weights", "checkpoint"))

    return make


def format_4(folder: Path) -> Reader:
    shutil.copytree(PROJECT / "tests" / "files" / "format-4", folder / "store")
    (run,) = (folder / "store").iterdir()
    store = RunStore(folder / "store")
    record = read_record(run / "epochs-1.json", {})
    return Reader(run / "epochs-1.steps.csv", lambda: store.load_steps(record.spec, 1))


def origin(folder: Path) -> Reader:
    write_origin(folder, "epochs-1.json", "report.zip")
    return Reader(folder / "origin.json", lambda: read_origin(folder), "sealed")


def progress(folder: Path) -> Reader:
    path = folder / "progress.json"
    ProgressWriter(path, SPEC, 2, 0)
    return Reader(path, lambda: (found := read_progress(path)) and found.epoch, "json")


def of_data(name: str) -> Make:
    def make(folder: Path) -> Reader:
        data = folder / "data" / "mnist"
        data.mkdir(parents=True)
        for split in prepared.SPLITS:
            np.save(data / f"{split}-32.npy", np.zeros((2, 1, 32, 32), np.uint8))
        digests = {"train": "0" * 64, "validation": "0" * 64, **DATASETS["mnist"].md5}
        (data / "prepared.json").write_text(json.dumps(digests | DATASETS["mnist"].sha256))

        def read() -> None:
            # The images are too few, and that is said: what comes before it is tried here.
            try:
                prepared.load("mnist")
            except GonError as error:
                if "expected uint8 (60000, 1, 32, 32)" not in str(error):
                    raise

        patch.setenv("GON_DATA_DIR", str(folder / "data"))
        return Reader(data / name, read, "json" if name.endswith("json") else "", named=False)

    return make


def executed(folder: Path) -> Reader:
    path = folder / "method.ipynb"
    outputs = [
        new_output("stream", name="stdout", text="1\n"),
        new_output(
            "display_data", data={"text/html": "<table><tr><td>1</td></tr></table>", "text/plain": "1"}
        ),
        new_output("execute_result", data={"image/png": "aGk="}, metadata={"image/png": {"alt": "x"}}),
    ]
    cells = [new_code_cell("x = 1", outputs=outputs), new_markdown_cell("A text.")]
    cells[0].metadata["tags"] = ["report"]
    nbformat.write(new_notebook(cells=cells), path)
    seal_notebook(path, PROJECT / "notebooks" / "method.ipynb", None)

    def read() -> None:
        notebook = read_notebook(path)
        if "A text." in str(notebook.cells):  # not every text to pandoc, which is slow to start
            render_notebook(notebook, path, None, None)  # type: ignore[arg-type]

    return Reader(path, read, "json")


def declared(folder: Path) -> Reader:
    path = folder / "notebooks" / "two_step.ipynb"
    path.parent.mkdir()
    shutil.copyfile(PROJECT / "notebooks" / "two_step.ipynb", path)
    claim = load_study("smoke").claim("two_step")

    def read() -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("gon.claims.notebooks.PROJECT", folder)
            check_parameters(claim)

    return Reader(path, read, "json")


def result(folder: Path) -> Reader:
    value = {"run": "0" * 16, "seed": 0, "value": 1.5, "note": None}
    measurement = {
        **{"name": "mnist/64", "label": "MNIST", "quantity": "loss", "unit": "SSE", "value": 1.5},
        **{"interval": [1.0, 2.0], "note": None, "epochs": 1, "values": [value], "recorded": None},
        "settings": {"latent_dim": 64},
    }
    content = {
        **{"format": 6, "claim": "two_step", "records": [{"run": "0" * 16, "epochs": 1, "sha256": "0"}]},
        "measurements": [measurement],
        "tables": [
            {"name": "t", "caption": "c", "columns": ["a"], "rows": [[{"text": "x"}]], "csv": "t.csv"}
        ],
        "figures": [],
        "sha256": {},
    }
    (folder / "result.json").write_text(sealed(content, indent=1))
    return Reader(folder / "result.json", lambda: read_result(folder).files(), "sealed")


def failure(folder: Path) -> Reader:
    found = Failure(claim="two_step", error="e", lines=["l"], again="a")
    (folder / FAILURE).write_text(found.model_dump_json())
    return Reader(folder / FAILURE, lambda: read_failure(folder), "json")


def archive(folder: Path) -> Reader:
    path = folder / "report.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as content:
        content.writestr("report/data/study.json", json.dumps({"budget": "smoke", "overrides": []}))
        content.writestr("report/index.html", "<p>x</p>" * 50)
        for file in ("budgets.yaml", "claims/two_step.yaml"):
            content.writestr(f"report/params/{file}", (PROJECT / "params" / file).read_bytes())

    def read() -> None:
        with unpacked(path) as inside:
            assert not any(found.is_symlink() for found in inside.rglob("*"))
        assert sorted(found.name for found in folder.iterdir()) == ["report.zip"]

    return Reader(path, read, "zip")


def choice(folder: Path) -> Reader:
    params(folder / "params")
    (folder / "data").mkdir()
    path = folder / "data" / "study.json"
    path.write_text(json.dumps({"budget": "smoke", "overrides": ["epochs=2", "two_step.latent_dim=32"]}))
    return Reader(path, lambda: study_of_report(folder).plan(), "json", named=False)


def summary(folder: Path) -> Reader:
    number = {"label": "l", "value": 1.5, "interval": [1.0, 2.0], "epochs": 1}
    verdict = {"label": "l", "outcome": "reproduced", "version": "version 1"}
    now = {"numbers": {"a/b": {**number, "interval": None}}, "verdicts": {"a/r": {**verdict, "outcome": "x"}}}
    path = folder / "summary.json"
    path.write_text(json.dumps({"numbers": {"a/b": number, "a/c": number}, "verdicts": {"a/r": verdict}}))
    return Reader(path, lambda: (before := read_summary(path)) and changes(before, now), "json")  # type: ignore[arg-type]


def looks(folder: Path) -> Reader:
    (folder / "data").mkdir()
    path = folder / "data" / "looks.json"
    look = {"outcome": "x", "budget": "quick", "moment": "2026-11-25T00:00:00+00:00", "records": "0"}
    path.write_text(json.dumps({"two_step/r/1": [look, look]}))
    report = Report(load_study("smoke").budget, (), ())
    return Reader(path, lambda: looks_of(report, folder), "json")


def checked(folder: Path) -> Reader:
    run = {"run": "0" * 16, "epochs": 1, "outcome": "bit-equal", "deviation": 0.0, "allowed": 0.01}
    (folder / CHECKED).write_text(sealed({"machine": "x", "epochs": 1, "runs": [run]}, indent=1))
    return Reader(folder / CHECKED, lambda: checked_words(read_checked(folder / CHECKED), {}), "sealed")


def sums(folder: Path) -> Reader:
    (folder / "run").mkdir()
    (folder / "run" / "epochs-1.json").write_text("x")
    write_sums(folder)
    return Reader(folder / SUMS, lambda: check_sums(folder))


def source(folder: Path) -> Reader:
    path = folder / provenance.MANIFEST
    told = {"commit": "0123456789ab", "repository": "https://example.org/x", "files": {"x": "0" * 64}}
    path.write_text(json.dumps(told))
    patch.setattr(provenance, "PROJECT", folder)

    def read() -> None:
        assert provenance.commit() is None or len(str(provenance.commit())) < 60
        provenance.repository()
        provenance.source_files()

    return Reader(path, read, "json")


def graph(folder: Path) -> Reader:
    path = folder / "workflow.dot"
    path.write_text(
        'digraph snakemake_dag {\n    graph[bgcolor=white];\n    node[shape=box];\n    0[label = "all", '
        'color = "0.1 0.6 0.85", style="rounded"];\n    1[label = "train"];\n    '
        '2[label = "data"];\n    1 -> 0\n    2 -> 1\n}\n'
    )
    return Reader(path, lambda: read_graph(path))


def figure(folder: Path) -> Reader:
    path = folder / "figure.svg"
    shutil.copyfile(PROJECT / "docs" / "cost.svg", path)
    return Reader(path, lambda: inline_svg(path, "a-"))


READERS: dict[str, Make] = {
    "budgets": of_params("budgets.yaml"),
    "claim": of_params("claims/two_step.yaml"),
    "ledger": of_params("ledger.yaml"),
    "deviations": deviations,
    **{kind: of_run(kind) for kind in ("record", "images", "evaluation", "steps", "weights", "checkpoint")},
    "format 4": format_4,
    "origin": origin,
    "progress": progress,
    "prepared.json": of_data("prepared.json"),
    "prepared array": of_data("train-32.npy"),
    "executed notebook": executed,
    "notebook": declared,
    "result": result,
    "failure": failure,
    "archive": archive,
    "study.json": choice,
    "summary": summary,
    "looks": looks,
    "checked.json": checked,
    "SHA256SUMS": sums,
    "source.json": source,
    "workflow": graph,
    "figure": figure,
}

patch: pytest.MonkeyPatch


@pytest.fixture(params=READERS, scope="module")
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    global patch
    with pytest.MonkeyPatch.context() as patch:
        yield READERS[request.param](tmp_path_factory.mktemp("reader"))


def many(short: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """How many inputs: a share of all, or in the short form a few that are the same each time."""
    return settings(
        max_examples=-(-EXAMPLES // (len(READERS) + 2)) or short,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


# The warnings of libraries about what they are given are not what is asked about here.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(3600 if EXAMPLES else 300)]


@many(SHORT)
@given(data=st.data())
def test_whatever_stands_in_a_file_is_read_or_refused(reader: Reader, data: st.DataObject) -> None:
    reader.check(data.draw(inputs(reader)))


def test_what_is_no_file_is_refused_at_once(reader: Reader) -> None:
    for what in odd_things(reader.path):
        refused = reader.refuses()
        # Some may be missing, and how far a run is may be unknown.
        assert refused or what in _MISSING or reader.path.name in _OPTIONAL, what


_MISSING = ("missing", "a link to nowhere", "a link to itself")
_OPTIONAL = ("progress.json", provenance.MANIFEST)
WORDS = [
    *("run", "plan", "train", "verify", "report", "records", "diff", "evaluate", "add", "--budget", "--set"),
    *("--epochs", "--seed", "--store", "--cores", "--learning-rate", "--latent-dim", "--model", "--", "-"),
    *(
        "all",
        "1",
        "0",
        "-1",
        "1e400",
        "nan",
        "inf",
        "9" * 5000,
        "²",
        "1_0",
        "0x10",
        "gon",
        "--output",
        "--help",
    ),
    *("", "=", "epochs=1", "a b", "\udcff", "\x1b[2J", "{x}", "%s", "../..", "--budget=", "--e", "--set=a=b"),
]


@many(60)
@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=8), max_size=8))
def test_whatever_stands_on_the_command_line_is_understood_or_refused(words: list[str]) -> None:
    try:
        with ending():
            options = build_parser().parse_args(words)
            if hasattr(options, "latent_dim"):
                _chosen_spec(options)
    except GonError as error:
        assert str(error)
    except SystemExit as end:  # --help
        assert end.code == 0


@many(60)
@given(
    st.sampled_from(
        ["epochs", "seeds", "two_step.latent_dim", "two_step.inner_steps", "two_step.dataset", "x", ""]
    ),
    st.sampled_from([*YAML_TEXTS, *map(str, HOSTILE)]) | st.text(max_size=20),
)
def test_whatever_is_set_is_planned_or_refused(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "set"
    if not folder.exists():
        params(folder)
    try:
        with ending():
            load_study("smoke", [f"{key}={value}"], params=folder).plan()
    except GonError as error:
        assert "--set" in str(error)


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
@pytest.mark.skipif(bool(EXAMPLES), reason="is what runs now")
def test_ten_thousand_inputs_in_less_than_a_gibibyte() -> None:
    seed = random.randrange(2**32)
    print(f"--hypothesis-seed={seed}")
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", __file__, "-q", "-m", "not long", f"--hypothesis-seed={seed}"],
        env={**os.environ, "GON_FUZZED_INPUTS": "10000"},
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"{peak / 2**20:.0f} MiB")
    assert process.returncode == 0
    assert peak < 2**30
