"""Trainings as jobs of a real Slurm: what they ask for, and that lost jobs and nodes change nothing."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
import yaml
from project import Project
from slurm import Slurm, missing, missing_accounting, running_slurm, until

from gon import cluster
from gon.claims.study import Study, load_study
from gon.errors import UsageError
from gon.files import PROJECT
from gon.runs.progress import read_progress

sys.path.append(str(PROJECT / "benchmarks"))
from soak import differences, is_of_a_job  # noqa: E402

CLAIMS = ("two_step",)
EPOCHS = 80
"""So that a run takes minutes, and is under way when it is disturbed."""
LONGER = ("--set", f"epochs={EPOCHS}")
SMOKE = ("run", "--budget", "smoke", *LONGER, "--profile")


def jobs_of(study: Study) -> cluster.Jobs:
    return cluster.Jobs(study.plan())


def test_short_runs_share_a_job_and_long_ones_are_split_at_the_wall_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    smoke, paper = load_study("smoke"), load_study("paper")
    jobs = jobs_of(smoke)
    assert {jobs.group(run.spec.digest) for run in smoke.plan()} == {"short"}
    assert all(jobs.minutes(run.spec.digest) <= cluster.SHORT_MINUTES for run in smoke.plan())
    assert jobs.continuations == 2
    jobs, longest = jobs_of(paper), max(paper.plan(), key=lambda run: run.epochs * run.spec.inner_steps)
    needed = jobs.minutes(longest.spec.digest)
    assert jobs.group(longest.spec.digest) is None and 60 < needed < 1440
    monkeypatch.setenv("GON_WALL_MINUTES", "60")
    jobs = jobs_of(paper)
    assert jobs.minutes(longest.spec.digest) == 60
    assert jobs.continuations > needed / 60
    monkeypatch.setenv("GON_WALL_MINUTES", "10")
    assert {jobs_of(smoke).group(run.spec.digest) for run in smoke.plan()} == {None}  # twenty take longer


@pytest.mark.parametrize("value", ["", "4", "60.5", "a day", "-60"])
def test_a_wall_time_that_is_none_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GON_WALL_MINUTES", value)
    with pytest.raises(
        UsageError, match=f"GON_WALL_MINUTES: {value!r} is not allowed; a whole number from 5 is"
    ):
        cluster.wall_minutes()


def test_a_profile_that_is_not_there_and_a_machine_without_slurm_are_named(tmp_path: Path) -> None:
    project = Project(tmp_path, CLAIMS)
    output = project.gon("run", "--budget", "smoke", "--profile", "pbs", status=2)
    assert "--profile: 'pbs' is not allowed; one of " in output and "slurm" in output
    environment = {**project.environment, "PATH": str(tmp_path)}
    process = project.start(*SMOKE, "slurm", env=environment)
    output, _ = process.communicate()
    assert process.returncode == 2 and "no 'squeue' on the path" in output, output


@pytest.mark.parametrize(
    "path", sorted(cluster.PROFILES.glob("*/config.yaml")), ids=lambda path: path.parent.name
)
def test_every_profile_is_one_of_the_engine(path: Path) -> None:
    settings = yaml.safe_load(path.read_text())
    dry = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(PROJECT / "workflow" / "Snakefile"),
        "--dry-run",
    ]
    words = ["--profile", str(path.parent), "--config", "budget=smoke", f"profile={path.parent.name}"]
    done = subprocess.run([*dry, *words], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert settings["executor"] and settings["jobs"] > 1


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """What this machine makes without a cluster."""
    project = Project(tmp_path_factory.mktemp("undisturbed"), CLAIMS)
    project.gon("run", "--budget", "smoke", *LONGER)
    return project


@pytest.fixture(scope="module", params=[False, True], ids=["unaccounted", "accounted"])
def running(request: pytest.FixtureRequest) -> Iterator[Slurm]:
    if why := missing() or (request.param and missing_accounting()):
        pytest.skip(why)
    with running_slurm(request.param) as slurm:
        yield slurm


@pytest.fixture
def slurm(running: Slurm) -> Iterator[Slurm]:
    """The cluster, which each test finds empty."""
    yield running
    running.clear()


class Command:
    """`gon run --profile` under way, and what it has printed."""

    def __init__(self, project: Project, profile: str = "slurm", **environment: str) -> None:
        self.lines: list[str] = []
        self.process = project.start(*SMOKE, profile, env={**project.environment, **environment})
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(self.process.stdout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *of_error: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            print(self.end()[1])

    def end(self) -> tuple[int, str]:
        status = self.process.wait()
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status, "".join(self.lines)


def trained(project: Project) -> int:
    """Steps that the trainings under way have done."""
    files = (project.root / "runs" / "smoke").glob("*/progress.json")
    return sum(progress.step for path in files if (progress := read_progress(path)) is not None)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_lost_job_and_a_lost_node_change_nothing(
    slurm: Slurm, undisturbed: Project, tmp_path: Path
) -> None:
    """Each run in a job of its own, so that both nodes are at work."""
    project = Project(tmp_path / "project", CLAIMS)
    with Command(project, GON_WALL_MINUTES="30") as command:
        until(lambda: len(slurm.at_work()) == 2 and trained(project) > 0, 300)
        job = next(iter(slurm.at_work()))
        slurm.ask("scancel", "--full", "--signal", "KILL", job)
        until(lambda: job not in slurm.at_work() and len(slurm.at_work()) == 2, 300)
        lost = next(job for job, node in slurm.at_work().items() if node == "n2")
        slurm.kill_node("n2")
        until(lambda: slurm.at_work().get(lost) != "n2", 120)
        slurm.start_node("n2")
        status, output = command.end()
    assert status == 0, output
    assert re.search(r"^ended +train .*: its job did, and another one goes on", output, re.MULTILINE), output
    assert "FAILED" not in output and "Failed:" not in output and "Traceback" not in output, output
    assert differences(project, undisturbed, tmp_path / "again", CLAIMS, LONGER) == []


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_job_whose_time_ends_saves_and_another_goes_on(
    slurm: Slurm, undisturbed: Project, tmp_path: Path
) -> None:
    project = Project(tmp_path / "project", CLAIMS)
    with Command(project, GON_WALL_MINUTES="30") as command:
        until(lambda: trained(project) > 20, 300)
        slurm.ask("scontrol", "update", f"JobId={min(slurm.at_work())}", "TimeLimit=1")
        status, output = command.end()
    assert status == 0, output
    (where,) = re.findall(r"^ended +train .*, and another one goes on \((.+)\)$", output, re.MULTILINE)
    assert re.search(r"epoch \d+", where), output
    assert "FAILED" not in output and re.search(r"^Done in .* 2 trainings", output, re.MULTILINE), output
    assert differences(project, undisturbed, tmp_path / "again", CLAIMS, LONGER) == []


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_killed_engine_leaves_jobs_that_the_next_one_replaces(
    slurm: Slurm, undisturbed: Project, tmp_path: Path
) -> None:
    project = Project(tmp_path / "project", CLAIMS)
    with Command(project) as command:
        until(lambda: slurm.at_work() and trained(project) > 0, 300)
        left = set(slurm.jobs())
        assert len(left) == 1, "two short runs share a job"
        for process in (command.process.pid, *project.processes()):
            if not is_of_a_job(process):
                os.kill(process, signal.SIGKILL)
        command.end()
    assert set(slurm.jobs()) == left
    with Command(project) as command:
        status, output = command.end()
    assert status == 0 and f"cancelled what a killed engine had submitted: job {left.pop()}" in output, output
    assert differences(project, undisturbed, tmp_path / "again", CLAIMS, LONGER) == []


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_commands_of_a_scheduler_do_as_well(slurm: Slurm, undisturbed: Project, tmp_path: Path) -> None:
    """The generic profile, and a job that is lost there."""
    project = Project(tmp_path / "project", CLAIMS)
    with Command(project, "generic", GON_WALL_MINUTES="30") as command:
        until(lambda: slurm.at_work() and trained(project) > 0, 300)
        slurm.ask("scancel", min(slurm.at_work()))
        status, output = command.end()
    assert status == 0 and "FAILED" not in output and "another one goes on" in output, output
    assert differences(project, undisturbed, tmp_path / "again", CLAIMS, LONGER) == []


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_cancels_its_jobs(slurm: Slurm, tmp_path: Path, number: signal.Signals) -> None:
    project = Project(tmp_path / "project", CLAIMS)
    with Command(project) as command:
        until(lambda: slurm.at_work() and trained(project) > 0, 300)
        command.process.send_signal(number)
        status, output = command.end()
    assert status == 128 + number, output
    until(lambda: not slurm.jobs(), 30)
    assert "Traceback" not in output, output
