"""Snakemake's events, translated into lines on the screen."""

import logging
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from gon.claims.failures import is_failure
from gon.runs.store import RunStore
from snakemake_logger_plugin_gon.screen import TRAININGS, Job, Screen, duration, plain

TARGET = "all"
"""Name of the rule that only gathers the others; it does nothing and is not shown."""

LONGEST_REASON = 160
"""Snakemake's reason is shown up to here: it may list hundreds of files, or whole parameters."""

LOG_LINES = 12
"""So many of a failed job's last lines are shown, where its error stands."""

# What Snakemake says while it runs and a person wants to know; all of it is in its log file.
_NEWS = ("Nothing to be done", "This was a dry-run")
_STOPPING = ("Terminating processes on user request", "Will exit after finishing currently running jobs")
_CHATTER = ("Assuming unrestricted shared filesystem usage", "Building DAG of jobs", "Using profile")
# Slurm's default account is what is wanted where none is given.
_NO_TROUBLE = (
    "No SLURM account given",
    "No account was given",
    "Unable to guess SLURM",
    "Guessed SLURM account",
    "MinJobAge",
)
# Errors that sum up what was said before, and a job's command that failed: its own event follows.
_SUMMARY_ERRORS = ("Exiting because a job execution failed", "WorkflowError:\nAt least one job did not")
_COMMAND_ERROR = "RuleException:\nCalledProcessError in "
_KILLED = re.compile(r"died with <Signals\.SIGINT|exit status 130\b")
_OUTPUT_ERROR = re.compile(r"^Job (\d+) completed successfully, but some output files", re.MULTILINE)
_KEPT = "What is finished is kept; the same command continues from there."


class LogHandler(LogHandlerBase):
    """Shows a Snakemake execution to a person; the complete log is left to Snakemake's log file."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True  # All events are wanted here, whatever is shown of them.
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        """Set up the screen."""
        settings = self.common_settings
        self.screen = Screen(sys.stdout if settings.stdout else sys.stderr, color=not settings.nocolor)
        self._planned: Counter[str] = Counter()
        self._done: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._cores = 1
        self._began = time.time()
        self._running = False
        self._interrupted = False
        self._command_error = ""
        self._on_cluster = False
        self._failed_jobs: set[int] = set()  # as long as the engine does not start them again

    def emit(self, record: logging.LogRecord) -> None:
        """Take in one record; it runs in a thread of Snakemake's, one record at a time."""
        try:
            self._take(record)
        except Exception:
            # Whatever is wrong with the display must not end the thread and hide all that follows.
            self.handleError(record)

    def close(self) -> None:
        """Take the display away; Snakemake calls this twice."""
        self.screen.stop()
        super().close()

    def _take(self, record: logging.LogRecord) -> None:
        fields = record.__dict__
        match fields.get("event"):
            case LogEvent.WORKFLOW_STARTED:
                self._running = True
            case LogEvent.RESOURCES_INFO:
                self._cores = fields.get("cores") or fields.get("nodes") or self._cores
                self._on_cluster |= fields.get("nodes") is not None
            case LogEvent.RUN_INFO:
                self._plan(fields["stats"])
            case LogEvent.JOB_INFO:
                self._start(fields)
            case LogEvent.JOB_FINISHED:
                self._finish(fields["job_id"], record.created)
            case LogEvent.JOB_ERROR:
                self._fail(fields["jobid"], record.created)
            case LogEvent.ERROR | None if record.levelno >= logging.WARNING:
                self._trouble(record)
            case event:
                if self.common_settings.verbose and (text := self.format(record)):
                    self.screen.say(text, "dim")
                if event is None:
                    self._message(record.getMessage())

    def _say(self, text: str, style: str = "") -> None:
        if not self.common_settings.quiet:
            self.screen.say(text, style)

    def _plan(self, stats: Mapping[str, int]) -> None:
        if self._planned:
            return  # A dry run says this a second time at its end.
        self._planned.update({rule: n for rule, n in stats.items() if rule not in ("total", TARGET)})
        if self.common_settings.dryrun:
            self.screen.say(f"Would run {counts(self._planned)}:", "bold")
        elif self._planned:
            self._say(f"To do: {counts(self._planned)} ({self._cores} at a time)", "bold")
            self.screen.trainings = sum(self._planned[rule] for rule in TRAININGS)
            if not self.common_settings.quiet:
                self.screen.start()

    def _start(self, fields: Mapping[str, Any]) -> None:
        rule = fields["rule_name"]
        if rule == TARGET:
            return
        outputs = tuple(Path(path) for path in fields["output"])
        # The rule's message, else what sets the job apart from others of its rule.
        values = ", ".join(str(value) for value in fields["wildcards"].values())
        title = fields["rule_msg"] or values or str(outputs[0])
        # With paths as seen from the current folder.
        reason = shorten(fields["reason"].replace(f"{os.getcwd()}/", ""), LONGEST_REASON, placeholder=" ...")
        if rule in TRAININGS:
            folder, epochs = outputs[0].parent, int(fields["wildcards"]["epochs"])
            earlier = [n for n in RunStore(folder.parent).recorded(folder.name) if n < epochs]
            if earlier and not outputs[0].exists():
                reason = f"recorded up to epoch {max(earlier)} of {epochs}"
        if self.common_settings.dryrun:
            self._say(f"  {rule:<8}  {title} — {reason}")
            return
        if fields["jobid"] in self._failed_jobs:  # it is tried again, and has not failed
            self._failed_jobs.remove(fields["jobid"])
            self._failed -= Counter([rule])
            self.screen.trained -= rule in TRAININGS
        logs = tuple(Path(path) for path in fields["log"])
        self.screen.running[fields["jobid"]] = Job(
            rule, title, outputs, logs, fields.get("shellcmd"), fields["created"]
        )
        self._say(f"start   {rule:<8}  {title} — {reason.partition(':')[0]}")

    def _end(self, jobid: int, outcome: Counter[str]) -> Job | None:
        """Count a job as done or failed; None if it is not known or has ended before."""
        job = self.screen.running.pop(jobid, None)
        if job is not None:
            outcome[job.rule] += 1
            self.screen.trained += job.rule in TRAININGS
        return job

    def _finish(self, jobid: int, at: float) -> None:
        if (job := self._end(jobid, self._done)) is None:
            return
        # A training's last words are its name and how it ended.
        last = next((line for log in job.logs for line in tail(log)[-1:]), "")
        text = last if last.startswith(f"{job.title}: ") else job.title
        style = "yellow" if ": diverged" in text else "green"
        self._say(f"done    {job.rule:<8}  {text}, {duration(at - job.started)}", style)

    def _fail(self, jobid: int, at: float) -> None:
        job = self._end(jobid, self._failed)
        reported, self._command_error = self._command_error, ""
        # Ctrl-C ends the jobs as well; that they end is no news.
        if job is None or self._interrupted or _KILLED.search(reported):
            return
        self._failed_jobs.add(jobid)
        if self._on_cluster and not any(is_failure(log) for log in job.logs):
            self._say_ended(job, at)
            return
        self.screen.say(
            f"FAILED  {job.rule:<8}  {job.title}, after {duration(at - job.started)}:", "bold red"
        )
        # With nothing in the log, the command and its exit status are all there is to say.
        lines = [line for log in job.logs for line in tail(log)] or reported.split("\n")[2:]
        for line in lines or [job.command or "it printed nothing"]:
            self.screen.say(f"        | {line}")
        for log in job.logs:
            self.screen.say(f"        log: {log.absolute()}", "bold")
        if self.screen.running:
            under_way = counts(Counter(other.rule for other in self.screen.running.values()))
            self._say(f"        Still under way: {under_way}")

    def _say_ended(self, job: Job, at: float) -> None:
        """Say that a cluster's job is over and its training is not: its time ended, or its node was lost."""
        if job.outputs[0].exists():
            return  # of a group: it is done, others are not
        lines = [line for log in job.logs for line in tail(log)]
        warned = any(line.startswith("stopped; ") for line in lines[:-1])  # and says last where it is
        where = f" ({lines[-1].removeprefix(f'{job.title}: ')})" if warned else ""
        after = duration(at - job.started)
        text = f"{job.title}, after {after}: its job did, and another one goes on{where}"
        self._say(f"ended   {job.rule:<8}  {text}", "yellow")

    def _trouble(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message.startswith(_COMMAND_ERROR):
            self._command_error = message
        elif self._interrupted and self._on_cluster and "Unable to cancel" not in message:
            pass  # what the engine stumbles over while it stops, its jobs being cancelled
        elif not message.startswith((*_SUMMARY_ERRORS, *_NO_TROUBLE)):
            if missing := _OUTPUT_ERROR.search(message):
                self._end(int(missing[1]), self._failed)
            self.screen.say(message, "red" if record.levelno >= logging.ERROR else "yellow")

    def _message(self, message: str) -> None:
        if message.startswith(_STOPPING):
            if not self._interrupted:
                self.screen.stop()
                self.screen.say(message, "yellow")
            self._interrupted = True
        elif message.startswith("Complete log(s): "):
            self._conclude(message.removeprefix("Complete log(s): "))
        # Not an execution but an errand, such as --unlock: its answer is what the person wants.
        elif message.startswith(_NEWS) or not (self._running or message.startswith(_CHATTER)):
            self._say(message)

    def _counted(self, outcome: Counter[str]) -> str:
        """Numbers of jobs in the order of the plan, and not in that in which they happened to end."""
        return counts({rule: outcome[rule] for rule in self._planned if outcome[rule]})

    def _conclude(self, log: str) -> None:
        self.screen.stop()
        if self._interrupted:
            self.screen.say(f"Stopped on request. {_KEPT}", "yellow")
        elif self._failed:
            done = f" (done: {self._counted(self._done)})" if self._done else ""
            self.screen.say(f"Failed: {self._counted(self._failed)}{done}. {_KEPT}", "bold red")
        else:
            took = duration(time.time() - self._began)
            self._say(f"Done in {took}: {self._counted(self._done)}.", "bold green")
        self.screen.say(f"Full log: {log}")


def counts(numbers: Mapping[str, int]) -> str:
    """Write numbers of jobs: `11 trainings, 3 notebooks, 1 report`."""
    names = {"data": "data set", **TRAININGS}
    return ", ".join(f"{n} {names.get(rule, rule)}{'s' if n > 1 else ''}" for rule, n in numbers.items())


def tail(path: Path) -> list[str]:
    """Read the last lines of a log; empty if there is nothing."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in plain(text[-64 * 1024 :]).splitlines() if line.strip()][-LOG_LINES:]
