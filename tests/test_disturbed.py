"""What is edited, broken or forged in a project that has run, by whole commands in a copy of it.

The copy has two claims: what is tested is the same with all of them (test_pipeline.py), and takes longer.
"""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import time
from typing import Any

import pytest
from bs4 import BeautifulSoup
from narrow import there
from project import Project

from gon.claims.executed import seal_notebook
from gon.claims.measuring import frame_of
from gon.claims.results import read_result, write_result
from gon.files import PROJECT, sealed
from gon.runs.store import RunStore
from gon.spec import RunSpec

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The copy, run at smoke. Both claims rest on one run, but not after the same epochs."""
    project = Project(tmp_path_factory.mktemp("project"), claims=("protocol", "two_step"))
    params = project.root / "params" / "claims" / "protocol.yaml"
    shorter = params.read_text().replace("at: {reference: {stages: 2}}", "at: {smoke: {epochs: 1}}")
    assert shorter != params.read_text()
    params.write_text(shorter)
    project.gon("run", "--budget", "smoke")
    return project


def test_a_template_edit_renders_only(project: Project) -> None:
    template = project.root / "templates" / "report.md"
    template.write_text(template.read_text() + "\nA sentence at the end.\n")
    output = project.gon("run", "--budget", "smoke")
    assert "A sentence at the end." in project.page()
    assert not re.search(r"^start\s+(train|notebook)", output, re.MULTILINE)


def test_a_report_that_is_stopped_in_the_making_is_made_by_the_next_start(project: Project) -> None:
    """The engine puts back the page of before, which must not pass for the new one."""
    template, page = project.root / "templates" / "report.md", project.page()
    template.write_text(template.read_text() + "\nA sentence that was late.\n")
    command = project.start("run", "--budget", "smoke")
    reports: list[int] = []
    while not reports and command.poll() is None:
        time.sleep(0.05)
        reports = [process for process, name in project.processes().items() if "gon.cli report" in name]
    for process in reports:
        os.kill(process, signal.SIGTERM)
    output, _ = command.communicate()
    assert command.returncode == 1, output
    assert project.page() == page
    project.gon("run", "--budget", "smoke")
    assert "A sentence that was late." in project.page()


def two_steps(project: Project) -> RunSpec:
    """The one run with two inner steps."""
    records = (project.root / "report-smoke" / "data" / "runs").glob("*/epochs-5.json")
    specs = [RunSpec.from_mapping(json.loads(path.read_text())["spec"]) for path in records]
    (spec,) = [spec for spec in specs if spec.inner_steps == 2]
    return spec


def failed_claims(project: Project) -> dict[str, str]:
    """The claims that the page shows as failed, with their errors."""
    soup = BeautifulSoup(project.page(), "html.parser")
    failed = {}
    for link in soup.select("#summary .warning a"):
        error = there(link.find_next_sibling(class_="given")).get_text()
        claim = str(link["href"]).removeprefix("#claim-")
        section = there(soup.find(id=f"claim-{claim}"))
        assert error in there(section.select_one(".warning")).get_text()
        assert "./run_all.sh --budget smoke" in section.get_text()
        failed[claim] = error
    return failed


def test_a_record_altered_by_hand_is_refused_and_never_used(project: Project) -> None:
    """The loss of a run with two inner steps is made much lower, with an editor."""
    spec = two_steps(project)
    path = project.root / "runs" / "smoke" / spec.digest / "epochs-5.json"
    original, page = path.read_text(), project.page()
    record = json.loads(original)
    record["history"][-1]["train_loss"] = 1.2345
    path.write_text(json.dumps(record, indent=1) + "\n")
    output = project.gon("run", "--budget", "smoke", status=1)
    assert f"{spec.digest}/epochs-5.json: altered after it was written" in output
    assert "1.2345" not in project.page()
    assert failed_claims(project)["two_step"].startswith("the notebook failed: notebooks/two_step.ipynb")
    verified = project.gon("verify", "--budget", "smoke", "--runs", "1", "--steps", "2", status=1)
    assert f"{spec.digest}/epochs-5.json" in verified and "damaged" in verified
    path.write_text(original)
    project.gon("run", "--budget", "smoke")
    assert project.page() == page


@pytest.mark.long
def test_a_record_that_is_another_changes_table_sentence_and_verdict(project: Project) -> None:
    """A lower loss in record, steps and digests alike: only training again can tell (test_integrity.py)."""
    before = project.verdicts("two_step")
    store, spec = RunStore(project.root / "runs" / "smoke"), two_steps(project)
    record, steps = store.load(spec, 5), store.load_steps(spec, 5)
    original = {path: path.read_bytes() for path in store.folder(spec).iterdir()}
    page, size = project.page(), spec.steps_per_epoch
    last = dataclasses.replace(record.history[-1], train_loss=1.2345)
    store.steps_path(record).unlink()
    store.evaluation_path(
        spec, 5, "inner_step"
    ).unlink()  # it names the trajectory; made anew from the weights
    store.save(
        dataclasses.replace(record, history=[*record.history[:-1], last]),
        [*steps[:-size], *([1.2345] * size)],
    )
    output = project.gon("run", "--budget", "smoke")
    assert not re.search(r"^start\s+train", output, re.MULTILINE)
    assert project.verdicts("two_step") != before
    table = project.root / "build" / "smoke" / "claims" / "two_step" / "tables" / "cost.csv"
    assert "1.2345" in table.read_text()
    assert project.page() != page
    assert "1.23" in project.page()
    for path, content in original.items():
        path.write_bytes(content)
    project.gon("run", "--budget", "smoke")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r["measurements"][0].update(value=0.1), "value is 0.1, the mean of its values"),
        (lambda r: r["measurements"][0]["values"][0].update(value=0.1), "value is .*, the mean of"),
        (
            lambda r: [m.update(value=m["value"] * 2) for m in r["measurements"]],
            "value is .*, the mean of its values",
        ),
        (lambda r: r["records"][0].update(sha256="0" * 64), "records: run .* SHA-256 .*, is in .* only"),
        (lambda r: r["records"].pop(), "records: run .*, is in this report only"),
        (lambda r: r.update(budget="paper"), "budget: Extra inputs are not permitted"),
    ],
)
def test_a_result_altered_by_hand_is_refused(project: Project, change: Any, words: str) -> None:
    """What a notebook left is held against the records and the rules before it is rendered."""
    path = project.root / "build" / "smoke" / "claims" / "two_step" / "result.json"
    original, page = path.read_text(), project.page()
    result = json.loads(original)
    change(result)
    result.pop("seal")
    path.write_text(sealed(result))  # a digest that agrees is no excuse
    output = project.gon(
        *("report", str(path.parent), "--budget", "smoke"),
        *("--output", str(project.root / "report-smoke")),
        status=1,
    )
    path.write_text(original)
    assert re.search(f"two_step/result.json: .*{words}", output), output
    assert project.page() == page


def test_a_report_is_verified_and_a_page_that_was_edited_is_named(project: Project) -> None:
    report = project.root / "report-smoke"
    shared = dataclasses.replace(two_steps(project), inner_steps=1).digest
    lengths = {path.name for path in (report / "data" / "runs" / shared).glob("*.json")}
    assert lengths >= {"epochs-1.json", "epochs-1.protocols.json", "epochs-5.json"}
    key = project.root / "build" / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    sign = ["ssh-keygen", "-q", "-Y", "sign", "-n", "file", "-f", str(key), str(report / "report.zip")]
    subprocess.run(sign, check=True)
    output = project.gon("verify", "report-smoke")
    (report / "report.zip.sig").unlink()
    assert "differs" not in output and "signature" in output and "valid" in output
    assert re.search(r"all \d+ of the page follow from the records", re.sub(r"[│\s]+", " ", output)), output
    page = (report / "index.html").read_text()
    (report / "index.html").write_text(page.replace("SSE per image", "SSE per pixel", 1))
    output = project.gon("verify", "report-smoke", status=1)
    assert re.search(r"folder .* differs .*index\.html", " ".join(output.split())), output
    (report / "index.html").write_text(page)


@pytest.mark.long
def test_a_forged_number_that_only_its_notebook_computes_is_found_from_the_archive(project: Project) -> None:
    """With every digest made to agree: `gon report` takes it."""
    build = project.root / "build" / "smoke"
    folder, notebook = build / "claims" / "protocol", build / "notebooks" / "protocol.ipynb"
    original = {path: path.read_bytes() for path in [notebook, *folder.rglob("*.*")]}
    result = read_result(folder)
    forged = next(m for m in result.measurements if m.recorded is None)
    values = [entry.model_copy(update={"value": 0.5}) for entry in forged.values]
    altered = forged.model_copy(update={"value": 0.5, "values": values})
    measurements = [altered if m is forged else m for m in result.measurements]
    result = result.model_copy(update={"measurements": measurements})
    for table in result.tables:
        numbers = frame_of(table.columns, table.rows, {m.name: m for m in result.measurements})
        (folder / table.csv).write_text(numbers.to_csv(index=False))
    write_result(result, folder)
    seal_notebook(notebook, PROJECT / "notebooks" / "protocol.ipynb", folder / "result.json")
    project.gon("run", "--budget", "smoke")
    output = " ".join(project.gon("verify", "report-smoke/report.zip", status=1).split())
    assert re.search(r"protocol .* differs .*data/protocol/result\.json", output), output
    assert re.search(r"numbers .* differs .*0\.5", output), output
    for path, content in original.items():
        path.write_bytes(content)
    project.gon("run", "--budget", "smoke")


def test_a_changed_parameter_runs_only_what_depends_on_it(project: Project) -> None:
    output = project.gon("run", "--budget", "smoke", "--set", "two_step.inner_steps=[1,2,3]")
    assert len(re.findall(r"^start\s+train", output, re.MULTILINE)) == 1
    assert len(re.findall(r"^start\s+notebook", output, re.MULTILINE)) == 1
    assert "two_step.inner_steps=[1,2,3]" in project.page()
    project.gon("run", "--budget", "smoke")
    assert "two_step.inner_steps=[1,2,3]" not in project.page()


@pytest.mark.long
def test_a_fourth_claim_needs_a_notebook_and_a_parameter_file_only(project: Project) -> None:
    params = (project.root / "params" / "claims" / "two_step.yaml").read_text()
    params = params.replace("order: 3", "order: 4")
    title = "A fourth <script>alert(1)</script> #claim $x$ `rm`"
    params = re.sub(r"^title: .*$", f"title: {json.dumps(title)}", params, flags=re.MULTILINE)
    (project.root / "params" / "claims" / "fourth.yaml").write_text(params)
    notebook = (project.root / "notebooks" / "two_step.ipynb").read_text()
    (project.root / "notebooks" / "fourth.ipynb").write_text(notebook.replace("two_step", "fourth"))
    output = project.gon("run", "--budget", "smoke")
    assert "report-smoke" in output
    assert "<script>alert(1)" not in project.page()
    assert "A fourth &lt;script&gt;alert(1)&lt;/script&gt; #claim $x$ `rm`" in project.page()
    (project.root / "params" / "claims" / "fourth.yaml").unlink()
    (project.root / "notebooks" / "fourth.ipynb").unlink()
    project.gon("run", "--budget", "smoke")
    assert "A fourth" not in project.page()


def test_a_notebook_that_fails_is_shown_as_failed_beside_the_others(project: Project) -> None:
    notebook = project.root / "notebooks" / "two_step.ipynb"
    original, page = notebook.read_text(), project.page()
    notebook.write_text(original.replace("claim.save()", "1 / 0"))
    output = project.gon("run", "--budget", "smoke", status=1)
    assert "ZeroDivisionError" in output
    assert output.splitlines()[-1].endswith("report-smoke/index.html, where two_step failed")
    assert list(failed_claims(project)) == ["two_step"]
    assert failed_claims(project)["two_step"].endswith("ZeroDivisionError: division by zero")
    assert "Traceback" not in project.page() and str(project.root) not in project.page()
    assert (project.root / "report-smoke" / "report.pdf").exists()
    # The report is whole: it can be made again from its own folder.
    again = project.root / "again"
    project.gon("report", "--again", str(project.root / "report-smoke"), "--output", str(again))
    assert (again / "index.html").read_text() == project.page()
    shutil.rmtree(again)
    notebook.write_text(original)
    project.gon("run", "--budget", "smoke")
    assert project.page() == page


@pytest.mark.long
def test_a_training_that_fails_fails_its_claims_only(project: Project) -> None:
    """No setting that is allowed fails: the code of the copy is broken for one run instead."""
    path, page = project.root / "gon" / "runs" / "train.py", project.page()
    original = path.read_text()
    broken = original.replace(
        "    prepare_process()\n", "    prepare_process()\n    assert spec.inner_steps < 4\n", 1
    )
    path.write_text(broken)
    output = project.gon("run", "--budget", "smoke", "--set", "two_step.inner_steps=[1,2,4]", status=1)
    path.write_text(original)
    assert "AssertionError" in output
    assert list(failed_claims(project)) == ["two_step"]
    project.gon("run", "--budget", "smoke")
    assert project.page() == page


@pytest.mark.long
def test_a_run_that_diverges_is_recorded_and_shown_as_diverged(project: Project) -> None:
    """No setting that is allowed overflows a sigmoid's loss: the arithmetic of the copy is broken instead."""
    path = project.root / "gon" / "runs" / "trajectory.py"
    original = path.read_text()
    path.write_text(original.replace("loss.detach()", "loss.detach().log().sqrt()"))
    project.gon("run", "--budget", "smoke", "--set", "two_step.latent_dim=63")
    path.write_text(original)
    measurements: Any = project.result("two_step")["measurements"]
    assert all(m["value"] is None and "diverged" in m["note"] for m in measurements if m["recorded"])
    section = BeautifulSoup(project.page(), "html.parser").find(id="claim-two_step")
    assert section is not None and "diverged in epoch 1, step " in section.get_text()
    assert "nan" not in section.get_text().lower().split()
    project.gon("run", "--budget", "smoke")
    assert "diverged in epoch" not in project.page()


@pytest.mark.long
def test_a_record_cut_short_is_named_and_kept(project: Project) -> None:
    digest = project.result("protocol")["records"][0]["run"]  # type: ignore[index]
    page = project.page()
    folder = project.root / "runs" / "smoke" / digest
    for path in (folder / "epochs-5.json", next(folder.glob("steps-*.npz"))):
        file = path.name
        original = path.read_bytes()
        path.write_bytes(original[: len(original) // 2])
        output = project.gon("run", "--budget", "smoke", status=1)
        assert f"{digest}/{file}" in output
        assert path.read_bytes() == original[: len(original) // 2]
        assert "two_step" in failed_claims(project)
        path.write_bytes(original)
    project.gon("run", "--budget", "smoke")
    assert project.page() == page


def test_a_report_folder_that_cannot_be_written_is_named(project: Project) -> None:
    report, moved = project.root / "report-smoke", project.root / "moved"
    report.rename(moved)
    report.write_text("a file where the folder should be")
    output = project.gon("run", "--budget", "smoke", status=1)
    assert output.startswith("error: ") and "report-smoke" in output and "Traceback" not in output
    report.unlink()
    moved.rename(report)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text + "\n  - [", ("not valid YAML",)),
        (lambda text: text.replace("margin: 0.05", "margin: -1"), ("margin", "-1")),
        (lambda text: text.replace("order: 3", "order: three"), ("order", "'three'")),
        (lambda text: text.replace("order: 3", "order: 3\ncolour: red"), ("colour", "known key")),
        (lambda text: text.replace("  latent_dim: 64", "  latent: 64"), ("$latent_dim",)),
        (
            lambda text: text.replace("  latent_dim: 64", "  latent_dim: 64\n  depth: 3"),
            ("parameters.depth",),
        ),
    ],
)
def test_a_broken_parameter_file_is_named(project: Project, change: object, words: tuple[str, ...]) -> None:
    assert callable(change)
    path = project.root / "params" / "claims" / "two_step.yaml"
    original = path.read_text()
    path.write_text(change(original))
    output = project.gon("run", "--budget", "smoke", status=2)
    path.write_text(original)
    assert "two_step.yaml" in output and "Traceback" not in output
    for word in words:
        assert word in output
