"""What a person sees: lines that stay, and on a terminal a bar for every job under way below them."""

import sys
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from gon.runs.progress import Progress, read_progress

TRAININGS = {"train": "training", "repeat": "repetition"}
"""Names of the rules that train one run, and what one of their jobs is called."""

PLAIN_SECONDS = 15
"""Without a terminal, a training says how far it is this often; less often once it has taken long."""

PACE_SECONDS = 3600
"""Times left are estimated from the pace of so long, since a validation between two epochs takes no step."""


@dataclass(eq=False)
class Job:
    """One job under way.

    Attributes
    ----------
    rule
        Name of its rule.
    title
        What it makes, for people.
    outputs, logs
        Its files.
    command
        Its shell command, if it has one.
    started
        Unix time.
    """

    rule: str
    title: str
    outputs: tuple[Path, ...]
    logs: tuple[Path, ...]
    command: str | None
    started: float

    def progress(self) -> Progress | None:
        """How far a training is; None before it says so, and for any other job."""
        if self.rule not in TRAININGS:
            return None
        progress = read_progress(self.outputs[0].parent / "progress.json")
        # The file of an earlier, interrupted training may still lie there.
        return None if progress is None or progress.started < self.started else progress


class Screen:
    """Prints lines, and shows the jobs under way.

    Parameters
    ----------
    stream
        Where to; if it is not a terminal, nothing but plain lines is written.
    color
        Whether a terminal may be given colours.

    Attributes
    ----------
    running
        Jobs under way by Snakemake's number; its events change it, the display reads it.
    trainings, trained
        Trainings to do, and those that have ended.
    """

    def __init__(self, stream: TextIO, color: bool = True) -> None:
        self.running: dict[int, Job] = {}
        self.trainings = self.trained = 0
        # The environment (FORCE_COLOR in a CI job, say) must not bring control characters into a file.
        self._console = Console(
            file=stream,
            force_terminal=stream.isatty(),
            force_jupyter=False,
            no_color=None if color else True,
            highlight=False,
            emoji=False,
        )
        self._bars = Bars(
            # On a narrow terminal a long name goes over two lines.
            TextColumn("{task.description}", markup=False, table_column=Column()),
            TextColumn("{task.fields[state]}"),
            BarColumn(bar_width=16),
            TimeRemainingColumn(),
            console=self._console,
            refresh_per_second=2,
            speed_estimate_period=PACE_SECONDS,
            transient=True,
            # Output of the Snakefile itself goes above the display, unless it is piped elsewhere.
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=sys.stderr.isatty(),
            disable=not stream.isatty() or self._console.is_dumb_terminal,
        )
        self._ended = threading.Event()

    def say(self, text: str, style: str = "") -> None:
        """Print a text that stays; it is not wrapped, so that it can be searched and copied."""
        self._console.print(Text(plain(text), style=style), soft_wrap=True)

    def start(self) -> None:
        """Begin to show what is under way."""
        self._bars.start()
        threading.Thread(target=self._follow, daemon=True).start()

    def stop(self) -> None:
        """Take the display away; what was printed stays."""
        self._ended.set()
        if not self._bars.disable:
            self._bars.stop()

    def _follow(self) -> None:
        """Bring the bars up to date once a second, as often as a training says how far it is."""
        bars: dict[Job, TaskID] = {}
        said: dict[Job, tuple[float, int]] = {}
        every = self._add("trainings", self.trainings) if self.trainings else None
        while not self._ended.wait(1):
            jobs = list(self.running.values())
            for job in bars.keys() - set(jobs):
                self._bars.remove_task(bars.pop(job))
            fractions = 0.0
            for job in jobs:
                if job not in bars:
                    bars[job] = self._add(f"{job.rule} {job.title}")
                if (progress := job.progress()) is None:
                    continue
                state = _state(progress)
                self._bars.update(bars[job], completed=progress.step, total=progress.steps, state=state)
                # What was trained before is no sign of the pace.
                fractions += (progress.step - progress.first_step) / max(
                    progress.steps - progress.first_step, 1
                )
                now = time.time()
                pause = max(PLAIN_SECONDS, (now - job.started) / 10)
                last, step = said.get(job, (job.started, -1))
                # Nothing twice of a training that waits, such as for another node of a cluster.
                if self._bars.disable and now - last >= pause and progress.step != step:
                    said[job] = (now, progress.step)
                    self._say_progress(job, bars[job])
            if every is not None:
                state = f"{self.trained} of {self.trainings} done"
                self._bars.update(every, completed=self.trained + fractions, state=state)

    def _add(self, description: str, total: int | None = None) -> TaskID:
        return self._bars.add_task(description, total=total, state="")

    def _say_progress(self, job: Job, bar: TaskID) -> None:
        task = next(task for task in self._bars.tasks if task.id == bar)
        left = "" if task.time_remaining is None else f", {duration(task.time_remaining)} left"
        self.say(f"        {job.rule:<8}  {job.title}: {task.fields['state']}, {task.percentage:.0f} %{left}")


def _state(progress: Progress) -> str:
    loss = "" if progress.train_loss is None else f", train loss {progress.train_loss:.2f}"
    return f"epoch {progress.epoch}/{progress.epochs}{loss}"


def plain(text: str) -> str:
    """A text as a terminal would show it, without colours and control characters."""
    return Text.from_ansi(text).plain


def duration(seconds: float) -> str:
    """Write a duration as `0:03:20`, like the display's times left."""
    return str(timedelta(seconds=max(round(seconds), 0)))
