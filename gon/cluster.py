"""What a training asks of a cluster: minutes and memory of its job, which jobs it shares or is split into.

Used by the workflow where `gon run --profile` hands trainings to a cluster; `docs/clusters.md` describes it.
"""

import hashlib
import math
import os
import subprocess
import time
from collections.abc import Sequence

import yaml

from gon.claims.params import REFERENCE, Request
from gon.errors import UsageError
from gon.files import PROJECT
from gon.plan import Costs
from gon.runs.store import RunStore

PROFILES = PROJECT / "workflow" / "profiles"
"""Where trainings may run besides this machine: folders in Snakemake's format."""

MEMORY_MB = 1500
"""Of one training, with the engine beside it: GON takes 540 MiB when it compiles (docs/performance.md)."""

START_MINUTES = 10
"""For the start of a long run's job: the engine, compilation, and evaluations."""

SHORT_START_MINUTES = 2
"""For the start of a short run within a job that it shares."""

SHORT_MINUTES = 6
"""A run that needs no more than this shares a job, whose own start takes about a minute, with others."""

SHARING = 20
"""So many short runs are one job, trained one after the other."""

CANCEL_SECONDS = 60.0
"""So long a cancelled job may take to save and end."""

SLOWER = 3.0
"""Cores of a cluster may be so much slower than those on which costs were measured."""

_SHORT = "short"


def wall_minutes() -> int:
    """The longest that a job may take: `GON_WALL_MINUTES`, or a day.

    Raises
    ------
    UsageError
        If it is no whole number, or too short for a job to save what it trained.
    """
    text = os.environ.get("GON_WALL_MINUTES", "1440")
    if not text.isdecimal() or int(text) < 5:
        raise UsageError(
            f"GON_WALL_MINUTES: {text!r} is not allowed; a whole number from 5 is (minutes of a job)"
        )
    return int(text)


class Jobs:
    """The jobs of a plan's trainings.

    They depend on the plan and on what the reference records cost, not on the store: the engine asks again
    inside each job, and has to get the same answer, soon.

    Parameters
    ----------
    plan
        The runs.

    Attributes
    ----------
    continuations
        How often the longest run may have to go on in another job, two lost ones included.
    """

    def __init__(self, plan: Sequence[Request]) -> None:
        limit = wall_minutes()
        costs = Costs([RunStore(REFERENCE)])
        self._minutes: dict[str, int] = {}
        self._short: set[str] = set()
        self.continuations = 2
        for planned in plan:
            trained = math.ceil(SLOWER * planned.epochs * costs.seconds_per_epoch(planned.spec) / 60)
            minutes = SHORT_START_MINUTES + trained
            if minutes <= min(SHORT_MINUTES, limit // SHARING):
                self._short.add(planned.spec.digest)
            else:
                minutes = START_MINUTES + trained
                self.continuations = max(self.continuations, 2 + minutes // limit)
            self._minutes[planned.spec.digest] = min(minutes, limit)

    def minutes(self, digest: str) -> int:
        """Wall time of a run's job; a run that takes longer goes on in another one."""
        return self._minutes[digest]

    def group(self, digest: str) -> str | None:
        """The engine's group of short runs, `SHARING` of which share a job; None for one with its own."""
        return _SHORT if digest in self._short else None


def options(profile: str) -> list[str]:
    """What the engine is told of where trainings run.

    Raises
    ------
    UsageError
        If there is no such profile.
    """
    words = ["--profile", str(PROFILES / profile), "--group-components", f"{_SHORT}={SHARING}"]
    if not _is_of_slurm(profile):
        return words
    return [*words, "--slurm-jobname-prefix", _job_name()]


def cancel_left_over(profile: str) -> list[str]:
    """Cancel jobs that a killed engine of this project left behind: they would train what new ones do.

    The caller holds the project. A job that is cancelled saves what it has.

    Returns
    -------
    list of str
        Slurm's numbers of these jobs; empty for another executor.

    Raises
    ------
    UsageError
        If there is no such profile, or Slurm is not there.
    """
    if not _is_of_slurm(profile):
        return []
    if jobs := _left_over():
        _ask("scancel", *jobs)
    deadline = time.monotonic() + CANCEL_SECONDS
    while jobs and _left_over() and time.monotonic() < deadline:
        time.sleep(1)
    return jobs


def _is_of_slurm(profile: str) -> bool:
    known = sorted(path.name for path in PROFILES.iterdir())
    if profile not in known:
        raise UsageError(f"--profile: {profile!r} is not allowed; one of {', '.join(known)} is")
    settings = yaml.safe_load((PROFILES / profile / "config.yaml").read_text(encoding="utf-8"))
    return bool(settings.get("executor") == "slurm")


def _left_over() -> list[str]:
    listed = _ask("squeue", "--me", "--noheader", "--format", "%i %j").splitlines()
    return [line.split()[0] for line in listed if line.split()[1].startswith(_job_name())]


def _ask(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        raise UsageError(
            f"--profile: no {command[0]!r} on the path: start this where Slurm's jobs are submitted"
        ) from None
    except subprocess.CalledProcessError as error:
        raise UsageError(f"--profile: Slurm does not answer: {error.stderr.strip()}") from error


def _job_name() -> str:
    """What the names of this project's jobs begin with; another clone's begin otherwise."""
    return f"gon-{hashlib.sha256(os.fsencode(PROJECT)).hexdigest()[:8]}"
