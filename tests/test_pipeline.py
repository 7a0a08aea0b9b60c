"""The whole pipeline through Snakemake and papermill, in a copy of the project.

By every run: the report that the repository holds, from `records/`. In the long form also all trainings, at
smoke; test_disturbed.py has those of two claims.
"""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pypdf
import pytest
from browser import check_page, check_size, chromium, homeless_numbers, open_browser
from bs4 import BeautifulSoup
from narrow import there
from project import Project
from recompute import Report

from gon.claims.deviations import load_deviations
from gon.claims.formats import change, number
from gon.claims.study import load_study
from gon.data.prepared import data_dir
from gon.files import PROJECT

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A checkout in which the report that the repository holds was made once more."""
    project = Project(tmp_path_factory.mktemp("project"))
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for words in (["init", "--quiet"], ["add", "."], [*who, "commit", "--quiet", "--message", "copy"]):
        subprocess.run(["git", *words], cwd=project.root, check=True)
    done = subprocess.run(
        [sys.executable, "tools/publish_report.py"],
        cwd=project.root,
        env=project.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    # An exception in a rule's function does not stop the engine where another rule makes the same file.
    assert "Exception" not in output and "Traceback" not in output, output
    assert re.search(r"^start\s+notebook", output, re.MULTILINE), output
    assert not re.search(r"^start\s+(train|repeat|check)", output, re.MULTILINE), output
    return project


def test_the_records_give_the_report_in_the_repository_bit_for_bit(project: Project) -> None:
    made, held = (
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (project.root / "docs" / "report", PROJECT / "docs" / "report")
    )
    again = "the records, the parameters or the code have changed: python tools/publish_report.py"
    assert made.keys() == held.keys(), again
    assert [name for name in made if made[name] != held[name]] == [], again


def test_the_reference_runs_decide_without_any_training(project: Project) -> None:
    """From `records/` alone: the claim on two steps is refuted, since the two do not differ."""
    verdicts = project.verdicts("two_step", "report")
    assert len(verdicts) == 4
    assert {verdict[1:] for verdict in verdicts} == {("not reproduced", "equal within the margin")}
    assert "not reproduced" in (project.root / "report" / "index.html").read_text()


@pytest.mark.long
def test_the_archive_alone_gives_the_report_again(project: Project, tmp_path: Path) -> None:
    """By the code in it, elsewhere: not a file is taken from the project that made it."""
    with zipfile.ZipFile(project.root / "report" / "report.zip") as archive:
        archive.extractall(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "gon.cli", "verify", str(project.root / "report" / "report.zip")],
        cwd=tmp_path / "source",
        env={**project.environment, "PYTHONPATH": str(tmp_path / "source")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    output = " ".join(re.sub(r"[│\s]+", " ", done.stdout).split())
    assert done.returncode == 0 and "differs" not in output, output
    assert "files of code, parameters and notebooks are those in place" in output, output
    assert "of the page follow from the records" in output, output


def test_nothing_changed_does_nothing(project: Project) -> None:
    page = (project.root / "report" / "index.html").stat().st_mtime_ns
    output = project.gon("run", "--no-check")
    assert "Nothing to be done" in output
    assert (project.root / "report" / "index.html").stat().st_mtime_ns == page


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


def test_ten_of_its_numbers_are_computed_by_a_script_that_shares_no_code(project: Project) -> None:
    """A page of which one is altered does not pass."""
    report, altered = project.root / "report", project.root / "altered"
    script = [sys.executable, str(PROJECT / "tests" / "recompute.py")]
    done = subprocess.run([*script, report, data_dir()], capture_output=True, text=True)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 10), done.stdout + done.stderr
    altered.mkdir()
    (altered / "data").symlink_to(report / "data")
    cell = Report(report).cell("latent 64", 0).select_one("data")
    assert cell is not None
    page = (report / "index.html").read_text()
    (altered / "index.html").write_text(page.replace(str(cell), str(cell).replace('value="', 'value="1')))
    done = subprocess.run([*script, altered, data_dir()], capture_output=True, text=True)
    shutil.rmtree(altered)
    assert (done.returncode, done.stdout.count("DIFFERS")) == (1, 1), done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.skipif(chromium() is None, reason="no Chromium; set CHROMIUM to one")
def test_its_page_is_quiet_alone_accessible_and_fits_a_phone(project: Project) -> None:
    with open_browser() as browser:
        check_page(browser, project.root / "docs" / "report" / "index.html")


@pytest.mark.skipif(chromium() is None, reason="no Chromium; set CHROMIUM to one")
def test_its_page_is_light_short_and_numbered_as_the_original(project: Project) -> None:
    path = project.root / "docs" / "report" / "index.html"
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


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy with everything run at smoke."""
    project = Project(tmp_path_factory.mktemp("project"))
    output = project.gon("run", "--budget", "smoke")
    assert "report-smoke/index.html" in output.splitlines()[-2]
    # An exception in a rule's function does not stop the engine where another rule makes the same file.
    assert "Exception" not in output and "Traceback" not in output, output
    return project


@pytest.mark.long
def test_everything_is_there_and_nothing_is_real(smoke: Project) -> None:
    report = smoke.root / "report-smoke"
    notebooks = (f"notebooks/{name}.html" for name in ("method", "latent_size", "two_step"))
    for name in ("index.html", "report.pdf", *notebooks):
        assert (report / name).stat().st_size > 0
    assert not (smoke.root / "report").exists() or not any((smoke.root / "report").iterdir())
    assert not (smoke.root / "runs" / "full").exists()


@pytest.mark.long
@pytest.mark.skipif(chromium() is None, reason="no Chromium; set CHROMIUM to one")
def test_every_page_is_quiet_alone_accessible_and_fits_a_phone(smoke: Project) -> None:
    report = smoke.root / "report-smoke"
    with open_browser() as browser:
        for path in (report / "index.html", *sorted((report / "notebooks").glob("*.html"))):
            check_page(browser, path)


@pytest.mark.long
def test_every_measured_number_is_that_of_the_record_it_leads_to(smoke: Project) -> None:
    """From the page to `runs/`, past every step between: the way a doubting reader goes."""
    soup = BeautifulSoup(smoke.page(), "html.parser")
    printed = "".join(
        page.extract_text() for page in pypdf.PdfReader(smoke.root / "report-smoke/report.pdf").pages
    )
    followed = set()
    for link in soup.select('main a[href^="#run-"]:has(data)'):
        digest = str(link["href"]).removeprefix("#run-")
        shown = float(str(there(link.select_one("data"))["value"]))
        other = link.find_next_sibling()
        if other is not None and other.name == "sup":  # a relative difference, and the run that it is to
            first, second = numbers_of(smoke, digest), numbers_of(smoke, str(there(other.a)["href"])[5:])
            expected = {first[key] / second[key] - 1 for key in first.keys() & second.keys()}
            assert link.get_text().strip() == change(shown)
        elif link.get_text().strip() == change(shown):  # relative to a published value
            published = load_study("smoke").claim("latent_size").published.values.values()
            expected = {n / value - 1 for n in numbers_of(smoke, digest).values() for value in published}
        else:
            expected = set(numbers_of(smoke, digest).values())
            assert link.get_text().strip() == number(shown)
            assert number(shown) in printed
        assert any(shown == pytest.approx(value, rel=1e-9) for value in expected), link
        followed.add(digest)
    assert len(followed) == 21  # every run of the budget that shows a number
    led, homeless = homeless_numbers(smoke.root / "report-smoke/index.html")
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


@pytest.mark.long
def test_measured_effects_of_deviations_are_numbers_of_their_claim(smoke: Project) -> None:
    soup = BeautifulSoup(smoke.page(), "html.parser")
    for deviation in load_deviations():
        if deviation.measured is None:
            continue
        measurements = smoke.result(deviation.measured.claim)["measurements"]
        values = {m["name"]: m["value"] for m in measurements}  # type: ignore[attr-defined]
        names = [name for name in deviation.measured.measurements if "50,000" not in name]
        assert set(names) <= set(values), deviation.name
        row = there(soup.find(id=f"deviation-{deviation.name}"))
        shown = [float(str(data["value"])) for data in row.select('a[href^="#run-"] data')]
        assert shown == [values[name] for name in names]  # that of the split is not measured at smoke
