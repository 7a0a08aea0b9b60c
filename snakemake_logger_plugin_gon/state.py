"""The jobs of a Snakemake execution and how far they are; nothing here prints or talks to Snakemake."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gon.runs.progress import Progress, read_progress

TRAIN = "train"
"""Name of the rule that trains one run."""

TARGET = "all"
"""Name of the rule that only gathers the others; it does nothing and is not shown."""


@dataclass
class Job:
    """One job that Snakemake has started.

    Attributes
    ----------
    jobid
        Snakemake's number of the job; kept when the job is tried again.
    rule
        Name of its rule.
    title
        What it makes, for people.
    reason
        Why it runs, for people.
    outputs, logs
        Its files.
    command
        Its shell command, if it has one.
    started, ended
        Unix times; `ended` is None while it runs.
    outcome
        How it ended, or None while it runs.
    """

    jobid: int
    rule: str
    title: str
    reason: str
    outputs: tuple[Path, ...]
    logs: tuple[Path, ...]
    command: str | None
    started: float
    ended: float | None = None
    outcome: Literal["done", "failed"] | None = None

    def seconds(self, now: float) -> float:
        """Time that the job took, or has taken so far."""
        return (now if self.ended is None else self.ended) - self.started

    def progress(self) -> Progress | None:
        """How far a training is; None before it says so, and for any other job."""
        if self.rule != TRAIN or not self.outputs:
            return None
        progress = read_progress(self.outputs[0].parent / "progress.json")
        # The file of an earlier, interrupted training may still lie there.
        if progress is None or progress.started < self.started:
            return None
        return progress


class Board:
    """What is to do, what is under way and what is done.

    Snakemake's events change it from one thread while the screen reads it from another, so readers
    work on copies.
    """

    def __init__(self) -> None:
        self.planned: dict[str, int] = {}
        self.cores: int | None = None
        self._jobs: dict[int, Job] = {}
        self._lanes = 1

    def plan(self, counts: Mapping[str, int]) -> None:
        """Take note of how many jobs of each rule are to do."""
        self.planned = {rule: n for rule, n in counts.items() if rule not in ("total", TARGET)}

    def start(self, job: Job) -> None:
        """Take note of a job that starts, or starts once more."""
        self._jobs[job.jobid] = job
        self._lanes = max(self._lanes, len(self._of(TRAIN, None)))

    def end(self, jobid: int, outcome: Literal["done", "failed"], at: float) -> Job | None:
        """Take note of how a job ended; None if it is not known or has ended before."""
        job = self._jobs.get(jobid)
        if job is None or job.outcome is not None:
            return None
        job.ended, job.outcome = at, outcome
        return job

    def running(self) -> list[Job]:
        """Jobs under way, in the order in which they started."""
        return [job for job in list(self._jobs.values()) if job.outcome is None]

    def failed(self) -> list[Job]:
        """Jobs that failed."""
        return [job for job in list(self._jobs.values()) if job.outcome == "failed"]

    def done(self, rule: str) -> int:
        """Count the jobs of a rule that are done."""
        return len(self._of(rule, "done"))

    def counts_done(self) -> dict[str, int]:
        """Count the jobs done for every rule that has any, in the order of the plan."""
        return {rule: self.done(rule) for rule in self.planned if self.done(rule)}

    def seconds_left(self, now: float) -> float | None:
        """Estimate the time until all trainings are done; None before there is anything to go by.

        Trainings that have not started are expected to take as long as the others do on average,
        as many at a time as have run side by side so far.
        """
        done, running = self._of(TRAIN, "done"), self._of(TRAIN, None)
        waiting = self.planned.get(TRAIN, 0) - len(done) - len(running) - len(self._of(TRAIN, "failed"))
        left: list[float | None] = []
        lengths = [job.seconds(now) for job in done]
        for job in running:
            progress = job.progress()
            seconds = None if progress is None else progress.seconds_left
            left.append(seconds)
            if seconds is not None:
                lengths.append(job.seconds(now) + seconds)
        if not lengths or not (running or waiting > 0):
            return None
        usual = sum(lengths) / len(lengths)
        known = [
            max(usual - job.seconds(now), 0.0) if seconds is None else seconds
            for job, seconds in zip(running, left, strict=True)
        ]
        return max([(sum(known) + max(waiting, 0) * usual) / self._lanes, *known])

    def _of(self, rule: str, outcome: str | None) -> list[Job]:
        return [job for job in list(self._jobs.values()) if job.rule == rule and job.outcome == outcome]


def final_loss(record: Path) -> str | None:
    """Tell how a run ended, from its record, for people; None if that cannot be read.

    The record is not checked here: whoever uses its numbers does that.
    """
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        if content.get("diverged"):
            return f"diverged in epoch {content['diverged']['epoch']}"
        last = content["history"][-1]
        return f"validation loss {last['validation_loss']:.2f} after epoch {last['epoch']}"
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError):
        return None


def recorded_epochs(record: Path, below: int) -> int:
    """Find up to where a run has been recorded before, in fewer epochs than so many; 0 for nowhere."""
    stems = (path.stem.removeprefix("epochs-") for path in record.parent.glob("epochs-*.json"))
    return max((int(stem) for stem in stems if stem.isdecimal() and int(stem) < below), default=0)
