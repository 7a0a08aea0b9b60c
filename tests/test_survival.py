"""What the whole command survives: signals, kills of any of its processes, a second start."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from project import Project

from gon.data.prepared import data_dir
from gon.files import PROJECT

sys.path.append(str(PROJECT / "benchmarks"))
import soak  # noqa: E402

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks processes up as Linux does"),
]

SMOKE = ("run", "--budget", "smoke", "--cores", "2")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("project"), claims=("two_step",))


def wait_until(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until a command has come somewhere; it must not end before."""
    while not reached():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)


def wait_for_training(project: Project, process: subprocess.Popen[str]) -> None:
    """Wait until a training is under way."""
    wait_until(lambda: any((project.root / "runs" / "smoke").glob("*/progress.json")), process)


def wait_for_silence(project: Project) -> None:
    """Wait until no process of the copy is left; the test's own limit says when that is too long."""
    until = time.monotonic() + 30
    while left := project.processes():
        assert time.monotonic() < until, left
        time.sleep(0.1)


@pytest.fixture(autouse=True)
def nothing_left(project: Project) -> Iterator[None]:
    yield
    for process in project.processes():
        os.kill(process, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_stops_everything_and_leaves_nothing(project: Project, number: signal.Signals) -> None:
    process = project.start(*SMOKE)
    wait_for_training(project, process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, output
    assert project.processes() == {}
    assert "the same command goes on from there" in output
    assert "Traceback" not in output
    logs = [path.read_text() for path in (project.root / "build" / "smoke" / "logs").glob("train-*.log")]
    assert any(
        re.search(r"stopped in epoch \d of 5; (goes on from the end|starts again)", log) for log in logs
    )
    assert not list((project.root / "runs").rglob("progress.json"))


def test_a_signal_while_a_kernel_starts_leaves_nothing(project: Project) -> None:
    """It leads a session of its own, and is nobody's yet when what starts it ends."""
    process = project.start(*SMOKE)
    wait_until(lambda: any("ipykernel" in command for command in project.processes().values()), process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, output
    assert project.processes() == {}


@pytest.mark.parametrize("victim", ["gon.cli run", "-m gon.engine"])
def test_what_a_killed_process_started_ends_too_and_the_next_start_goes_on(
    project: Project, victim: str
) -> None:
    process = project.start(*SMOKE)
    wait_for_training(project, process)
    (number,) = [pid for pid, command in project.processes().items() if victim in command]
    os.kill(number, signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    wait_for_silence(project)
    assert process.returncode == (-signal.SIGKILL if number == process.pid else 1), output


def test_a_second_start_says_who_is_at_work_and_harms_nothing(project: Project) -> None:
    first = project.start(*SMOKE)
    wait_for_training(project, first)
    second = project.gon(*SMOKE, status=1)
    assert re.fullmatch(
        rf"error: .* is at work already: process {first.pid} on .*, since \d{{4}}-.*kill {first.pid}\n",
        second,
    )
    output, _ = first.communicate()
    assert first.returncode == 0, output
    assert output.splitlines()[-2].startswith("page: ")
    wait_for_silence(project)


@pytest.mark.parametrize("errand", ["-n", "--dry-run", "--unlock", "--list-rules", "--until=notebook"])
def test_what_builds_no_report_names_none(project: Project, errand: str) -> None:
    assert "page: " not in project.gon(*SMOKE, "--", errand)


def test_a_lock_and_unfinished_files_of_killed_processes_do_no_harm(project: Project) -> None:
    """What an older Snakemake, a training and a report leave behind when they are killed."""
    project.gon(*SMOKE)
    locks = project.root / ".snakemake" / "locks"
    locks.mkdir(exist_ok=True)
    (locks / "0.output.lock").write_text("report-smoke/index.html\n")
    run = next((project.root / "runs" / "smoke").glob("*/epochs-5.json")).parent
    left = [
        run / ".checkpoint.pt.abc.unfinished",
        project.root / ".report-smoke-abc",
        project.root / "build" / "tmp" / "abc",
    ]
    left[0].write_text("half")
    left[1].mkdir()
    left[2].write_text("half")
    (run / "epochs-5.json").unlink()
    shutil.rmtree(project.root / "build" / "smoke")
    shutil.rmtree(project.root / "report-smoke")
    output = project.gon(*SMOKE)
    assert output.splitlines()[-2].startswith("page: ")
    assert [path for path in left if path.exists()] == []


@pytest.mark.long
def test_a_data_set_that_cannot_be_had_fails_its_claims_only(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", claims=("two_step", "latent_size"))
    data = tmp_path / "data"
    data.mkdir()
    (data / "mnist").symlink_to(data_dir() / "mnist")
    nowhere = {f"{name}_proxy": "http://127.0.0.1:9" for name in ("http", "https", "HTTP", "HTTPS")}
    process = project.start(*SMOKE, env={**project.environment, **nowhere, "GON_DATA_DIR": str(data)})
    output, _ = process.communicate()
    assert process.returncode == 1
    assert output.splitlines()[-1].endswith("report-smoke/index.html, where latent_size failed"), output
    page = project.page()
    assert "the data set fashion-mnist cannot be had: Fashion-MNIST cannot be had" in page
    assert 'id="claim-two_step-figure-figure_2"' in page
    # Its runs on the data set that is there are trained.
    labels = [path.read_text() for path in (project.root / "build" / "smoke" / "logs").glob("train-*.log")]
    assert any("MNIST, latent 256" in label for label in labels)


def at_work(number: int, command: str) -> bool:
    """Whether a process is a kernel that executes a cell: one that ends before that is started again."""
    try:
        return "ipykernel" in command and "libtorch" in Path(f"/proc/{number}/maps").read_text()
    except OSError:  # it has ended
        return False


def test_a_kernel_that_is_killed_is_named_and_the_next_start_goes_on(project: Project) -> None:
    for name in ("build", "report-smoke"):
        shutil.rmtree(project.root / name, ignore_errors=True)
    process = project.start(*SMOKE)
    while not (kernels := [n for n, command in project.processes().items() if at_work(n, command)]):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    for kernel in kernels:
        os.kill(kernel, signal.SIGKILL)
    output, _ = process.communicate()
    assert process.returncode == 1
    assert "its kernel was killed" in output and "Traceback" not in output
    assert re.search(r"report-smoke/index\.html, where (two_step|method)( and method)? failed$", output)
    # Of a page that is newer than all that is there, and shows a failure, the engine would make nothing.
    output = project.gon(*SMOKE)
    assert "done    report" in output and project.result("two_step")["claim"] == "two_step"
    assert "Failed." not in project.page() and 'href="notebooks/method.html"' in project.page()
    assert "Nothing to be done" in project.gon(*SMOKE)


# Each wait in it has a limit of its own.
@pytest.mark.timeout(8 * 3600)
@pytest.mark.parametrize("kills", [1, pytest.param(200, marks=pytest.mark.long)])
def test_what_is_killed_at_random_ends_like_what_is_not(tmp_path: Path, kills: int) -> None:
    assert soak.soak(tmp_path, kills, seed=time.time_ns()) == []
