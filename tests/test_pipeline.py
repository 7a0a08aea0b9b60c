"""The whole pipeline at smoke, through Snakemake and papermill, in a copy of the project."""

import dataclasses
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pypdf
import pytest
from browser import check_page, check_size, chromium, homeless_numbers, open_browser
from bs4 import BeautifulSoup
from narrow import there
from project import Project

from gon.claims.deviations import load_deviations
from gon.claims.executed import seal_notebook
from gon.claims.formats import change, number
from gon.claims.measuring import frame_of
from gon.claims.results import read_result, write_result
from gon.claims.study import load_study
from gon.files import PROJECT, sealed
from gon.runs.store import RunStore
from gon.spec import RunSpec

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The copy, with everything run at smoke."""
    project = Project(tmp_path_factory.mktemp("project"))
    output = project.gon("run", "--budget", "smoke")
    assert "report-smoke/index.html" in output.splitlines()[-2]
    # An exception in a rule's function does not stop the engine where another rule makes the same file.
    assert "Exception" not in output and "Traceback" not in output, output
    return project


def test_everything_is_there_and_nothing_is_real(project: Project) -> None:
    report = project.root / "report-smoke"
    notebooks = (f"notebooks/{name}.html" for name in ("method", "latent_size", "two_step"))
    for name in ("index.html", "report.pdf", *notebooks):
        assert (report / name).stat().st_size > 0
    assert not (project.root / "report").exists() or not any((project.root / "report").iterdir())
    assert not (project.root / "runs" / "full").exists()


@pytest.mark.skipif(chromium() is None, reason="no Chromium; set CHROMIUM to one")
def test_every_page_is_quiet_alone_accessible_and_fits_a_phone(project: Project) -> None:
    report = project.root / "report-smoke"
    with open_browser() as browser:
        for path in (report / "index.html", *sorted((report / "notebooks").glob("*.html"))):
            check_page(browser, path)


def test_every_measured_number_is_that_of_the_record_it_leads_to(project: Project) -> None:
    """From the page to `runs/`, past every step between: the way a doubting reader goes."""
    soup = BeautifulSoup(project.page(), "html.parser")
    printed = "".join(
        page.extract_text() for page in pypdf.PdfReader(project.root / "report-smoke/report.pdf").pages
    )
    followed = set()
    for link in soup.select('main a[href^="#run-"]:has(data)'):
        digest = str(link["href"]).removeprefix("#run-")
        shown = float(str(there(link.select_one("data"))["value"]))
        other = link.find_next_sibling()
        if other is not None and other.name == "sup":  # a relative difference, and the run that it is to
            first, second = numbers_of(project, digest), numbers_of(project, str(there(other.a)["href"])[5:])
            expected = {first[key] / second[key] - 1 for key in first.keys() & second.keys()}
            assert link.get_text().strip() == change(shown)
        elif link.get_text().strip() == change(shown):  # relative to a published value
            published = load_study("smoke").claim("latent_size").published.values.values()
            expected = {n / value - 1 for n in numbers_of(project, digest).values() for value in published}
        else:
            expected = set(numbers_of(project, digest).values())
            assert link.get_text().strip() == number(shown)
            assert number(shown) in printed
        assert any(shown == pytest.approx(value, rel=1e-9) for value in expected), link
        followed.add(digest)
    assert len(followed) == 21  # every run of the budget that shows a number
    led, homeless = homeless_numbers(project.root / "report-smoke/index.html")
    assert (led >= len(followed), homeless) == (True, [])


def numbers_of(project: Project, digest: str) -> dict[str, float]:
    """Every number that the report may take from a run, computed here from its files alone."""
    folder = project.root / "runs" / "smoke" / digest
    path = max(folder.glob("epochs-[15].json"))  # the last one; a model that is computed has one only
    record = json.loads(path.read_text())
    last = record["history"][-1]
    numbers = {key: last[key] for key in ("train_loss", "validation_loss", "validation_loss_running")}
    numbers["parameters"] = record["parameters"]
    numbers["gap"] = last["validation_loss"] - last["train_loss"]
    if record["spec"]["model"] != "pca":
        seconds = sum(epoch["train_cpu_seconds"] for epoch in record["history"])
        numbers["milliseconds"] = 1e3 * seconds / (5 * 640 // 64)
        numbers["first epoch"] = record["history"][0]["validation_loss"]
        numbers["first epoch, training"] = record["history"][0]["train_loss"]
        numbers["first epoch, running"] = record["history"][0]["validation_loss_running"]
    for name in ("protocols", "fitting", "inner_step"):
        evaluation = path.with_suffix(f".{name}.json")
        if evaluation.exists():
            losses = json.loads(evaluation.read_text())["losses"]
            for key, loss in losses.items():
                numbers[f"{name} {key}"] = loss
                numbers[f"{name} {key}, ratio"] = loss / losses.get("batch_statistics", 1)
    return {key: value for key, value in numbers.items() if value is not None}


def test_measured_effects_of_deviations_are_numbers_of_their_claim(project: Project) -> None:
    soup = BeautifulSoup(project.page(), "html.parser")
    for deviation in load_deviations():
        if deviation.measured is None:
            continue
        measurements = project.result(deviation.measured.claim)["measurements"]
        values = {m["name"]: m["value"] for m in measurements}  # type: ignore[attr-defined]
        names = [name for name in deviation.measured.measurements if "50,000" not in name]
        assert set(names) <= set(values), deviation.name
        row = there(soup.find(id=f"deviation-{deviation.name}"))
        shown = [float(str(data["value"])) for data in row.select('a[href^="#run-"] data')]
        assert shown == [values[name] for name in names]  # that of the split is not measured at smoke


def test_nothing_changed_does_nothing(project: Project) -> None:
    page = (project.root / "report-smoke" / "index.html").stat().st_mtime_ns
    output = project.gon("run", "--budget", "smoke")
    assert "Nothing to be done" in output
    assert (project.root / "report-smoke" / "index.html").stat().st_mtime_ns == page


def test_a_template_edit_renders_only(project: Project) -> None:
    template = project.root / "templates" / "report.md"
    template.write_text(template.read_text() + "\nA sentence at the end.\n")
    output = project.gon("run", "--budget", "smoke")
    assert "A sentence at the end." in project.page()
    assert not re.search(r"^start\s+(train|notebook)", output, re.MULTILINE)


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


def verdicts_of(report: Path, claim: str) -> list[tuple[str, str, str]]:
    """Rule, outcome and tendency of each verdict of a claim."""
    table = pd.read_csv(report / "data" / "verdicts.csv")
    own = table[table["claim"] == claim].drop_duplicates("rule")
    return list(own[["rule", "outcome", "tendency"]].itertuples(index=False, name=None))


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


def test_a_record_that_is_another_changes_table_sentence_and_verdict(project: Project) -> None:
    """A lower loss in record, steps and digests alike: only training again can tell (test_integrity.py)."""
    before = verdicts_of(project.root / "report-smoke", "two_step")
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
    assert verdicts_of(project.root / "report-smoke", "two_step") != before
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


def test_a_report_is_verified_from_its_archive_and_what_does_not_follow_from_its_records_is_named(
    project: Project,
) -> None:
    report = project.root / "report-smoke"
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

    # A number that only its notebook computes, with every digest made to agree: `gon report` takes it.
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


def test_a_record_cut_short_is_named_and_kept(project: Project) -> None:
    digest = project.result("latent_size")["records"][0]["run"]  # type: ignore[index]
    page = project.page()
    folder = project.root / "runs" / "smoke" / digest
    for path in (folder / "epochs-5.json", next(folder.glob("steps-*.npz"))):
        file = path.name
        original = path.read_bytes()
        path.write_bytes(original[: len(original) // 2])
        output = project.gon("run", "--budget", "smoke", status=1)
        assert f"{digest}/{file}" in output
        assert path.read_bytes() == original[: len(original) // 2]
        assert "latent_size" in failed_claims(project)
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
    ("arguments", "words"),
    [
        (("--budget", "huge"), ("budget", "'huge'", "quick")),
        (("--set", "latent_size.latent_dims=[0]"), ("latent_dim", "0", "latent_size")),
        (("--set", "latent_size.colour=1"), ("colour", "latent_size", "latent_dims")),
        (("--set", "epochs=-1"), ("epochs", "-1")),
        (("--set", "activations.activations=[swish]"), ("activation", "'swish'", "relu")),
        (("--set", "activations.dataset=svhn"), ("dataset", "'svhn'", "mnist")),
        (("--set", "epochs=[1"), ("epochs=[1", "YAML")),
        (("--cores", "none"), ("--cores", "'none'")),
    ],
)
def test_wrong_usage_is_one_clear_error(
    project: Project, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    output = project.gon("run", "--budget", "smoke", *arguments, status=2)
    assert output.startswith("error: ") and "Traceback" not in output
    for word in words:
        assert word in output


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


def test_the_reference_runs_decide_without_any_training(project: Project) -> None:
    """From `records/` alone: the claim on two steps is refuted, since the two do not differ."""
    output = project.gon("run", "--budget", "reference", "--no-check")
    assert not re.search(r"^start\s+(train|repeat|check)", output, re.MULTILINE), output
    verdicts = verdicts_of(project.root / "report", "two_step")
    assert len(verdicts) == 4
    assert {verdict[1:] for verdict in verdicts} == {("not reproduced", "equal within the margin")}
    page = (project.root / "report" / "index.html").read_text()
    assert "not reproduced" in page and "not trained yet" in page


@pytest.mark.skipif(chromium() is None, reason="no Chromium; set CHROMIUM to one")
def test_the_page_of_the_reference_runs_is_light_short_and_numbered_as_the_original(project: Project) -> None:
    """As `records/` and the notebooks make it, after the test above."""
    path = project.root / "report" / "index.html"
    with open_browser() as browser:
        check_size(browser, path)
    soup = BeautifulSoup(path.read_text(), "html.parser")
    numbered = {
        there(figure.select_one("caption > b, figcaption > b")).get_text(): str(figure.get("id"))
        for figure in soup.select("figure:has(caption > b, figcaption > b)")
    }
    assert {name: place for name, place in numbered.items() if not re.search(r" A\d+\.$", name)} == {
        "Table 1.": "claim-latent_size-table-table_1",
        "Figure 1.": "claim-activations-figure-figure_1",
        "Figure 2.": "claim-two_step-figure-figure_2",
    }
    assert there(soup.select_one("#summary #claim-latent_size-table-table_1")).select("td.published data")
