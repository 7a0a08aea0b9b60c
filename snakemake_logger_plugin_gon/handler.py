"""Snakemake's events, translated into the board and into lines on the screen."""

import logging
import os
import re
import sys
import time
from collections import Counter
from pathlib import Path
from textwrap import shorten
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_gon.screen import Screen
from snakemake_logger_plugin_gon.state import TARGET, TRAIN, Board, Job, final_loss, recorded_epochs
from snakemake_logger_plugin_gon.tails import tail
from snakemake_logger_plugin_gon.wording import counts, duration

ANNOUNCED = 3
"""So many jobs with one and the same kind of reason are announced one by one, the others all at once."""

LONGEST_REASON = 160
"""Snakemake's reason is shown up to here: it may list hundreds of files, or whole parameters."""

_CHATTER = ("Assuming unrestricted shared filesystem usage", "Building DAG of jobs")
_SUMMARY_ERRORS = (
    "Exiting because a job execution failed",
    "WorkflowError:\nAt least one job did not complete successfully",
)
# A command that ended with an error: the job's own error event follows and says more.
_COMMAND_ERROR = re.compile(r"RuleException:\nCalledProcessError in ")
_KILLED = re.compile(r"died with <Signals\.SIGINT|exit status 130\b")
_OUTPUT_ERROR = re.compile(r"^Job (\d+) completed successfully, but some output files", re.MULTILINE)


class LogHandler(LogHandlerBase):
    """Shows a Snakemake execution to a person; the complete log is left to Snakemake's log file."""

    def __post_init__(self) -> None:
        """Set up the board and the screen."""
        settings = self.common_settings
        self.board = Board()
        stream = sys.stdout if settings.stdout else sys.stderr
        self.screen = Screen(self.board, stream, color=not settings.nocolor)
        # With any of these, Snakemake leaves out events that the board lives on.
        self._quiet = bool({kind.name for kind in settings.quiet or ()} & {"ALL", "PROGRESS", "RULES"})
        self._verbose = bool(settings.verbose or settings.debug_dag)
        self._began = time.time()
        self._running = False
        self._interrupted = False
        self._command_error = ""
        self._reasons: Counter[tuple[str, str]] = Counter()

    @property
    def writes_to_stream(self) -> bool:
        """It replaces Snakemake's own output on the terminal."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """Snakemake's log file is written all the same."""
        return False

    @property
    def has_filter(self) -> bool:
        """All events are wanted here, whatever is shown of them."""
        return True

    @property
    def has_formatter(self) -> bool:
        """Snakemake's formatter is used with --verbose."""
        return False

    @property
    def needs_rulegraph(self) -> bool:
        """The graph is not shown."""
        return False

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
                self.board.cores = fields.get("cores") or self.board.cores
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
                if self._verbose and (text := self.format(record)):
                    self.screen.say(text, "dim")
                if event is None:
                    self._message(record.getMessage())

    def _say(self, text: str, style: str = "") -> None:
        if not self._quiet:
            self.screen.say(text, style)

    def _plan(self, stats: dict[str, int]) -> None:
        if self.board.planned:
            return  # A dry run says this a second time at its end.
        self.board.plan(stats)
        if not self.board.planned:
            return
        if self.common_settings.dryrun:
            self.screen.say(f"Would run {counts(self.board.planned)}:", "bold")
            return
        cores = f" ({self.board.cores} at a time)" if (self.board.cores or 1) > 1 else ""
        self._say(f"To do: {counts(self.board.planned)}{cores}", "bold")
        if not self._quiet:
            self.screen.start()

    def _start(self, fields: dict[str, Any]) -> None:
        rule = fields["rule_name"]
        if rule == TARGET:
            return
        outputs = tuple(Path(path) for path in fields["output"])
        job = Job(
            jobid=fields["jobid"],
            rule=rule,
            title=_title(fields),
            reason=_reason(fields["reason"]),
            outputs=outputs,
            logs=tuple(Path(path) for path in fields["log"]),
            command=fields.get("shellcmd"),
            started=fields["created"],
        )
        wanted = str(fields["wildcards"].get("epochs", ""))
        if rule == TRAIN and wanted.isdecimal() and not outputs[0].exists():
            if earlier := recorded_epochs(outputs[0], int(wanted)):
                job.reason = f"recorded up to epoch {earlier} of {wanted}"
        self.board.start(job)
        self._announce(job)

    def _announce(self, job: Job) -> None:
        if self.common_settings.dryrun:
            self._say(f"  {job.rule:<8}  {job.title} — {job.reason}")
            return
        kind = job.reason.partition(":")[0]
        self._reasons[job.rule, kind] += 1
        number = self._reasons[job.rule, kind]
        if number <= ANNOUNCED or self.board.planned.get(job.rule, 0) == number:
            self._say(f"start   {job.rule:<8}  {job.title} — {kind}")
        elif number == ANNOUNCED + 1:
            self._say(f"start   {job.rule:<8}  more with the same reason: {kind}")

    def _finish(self, jobid: int, at: float) -> None:
        job = self.board.end(jobid, "done", at)
        if job is None:
            return
        result = final_loss(job.outputs[0]) if job.rule == TRAIN and job.outputs else None
        style = "yellow" if result is not None and result.startswith("diverged") else "green"
        after = duration(job.seconds(at))
        self._say(f"done    {job.rule:<8}  {job.title}: {after}{f', {result}' if result else ''}", style)

    def _fail(self, jobid: int, at: float) -> None:
        job = self.board.end(jobid, "failed", at)
        reported, self._command_error = self._command_error, ""
        # Ctrl-C ends the jobs as well; that they end is no news.
        if job is None or self._interrupted or _KILLED.search(reported):
            return
        self.screen.say(f"FAILED  {job.rule:<8}  {job.title}, after {duration(job.seconds(at))}:", "bold red")
        logs = [(log, tail(log)) for log in job.logs]
        if not any(lines for _, lines in logs):
            # Nothing in the log: the command and its exit status are all there is to say.
            lines = reported.split("\n")[2:] if reported else [job.command or "it printed nothing"]
            logs.insert(0, (Path(), lines))
        for log, lines in logs:
            for line in lines:
                self.screen.say(f"        | {line}")
            if log != Path() and log.exists():
                self.screen.say(f"        log: {os.path.abspath(log)}", "bold")
        if others := [other for other in self.board.running() if other.jobid != jobid]:
            under_way = counts(Counter(other.rule for other in others))
            self._say(f"        Still under way: {under_way}")

    def _trouble(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if _COMMAND_ERROR.match(message):
            self._command_error = message
            return
        if message.startswith(_SUMMARY_ERRORS):
            return
        if missing := _OUTPUT_ERROR.search(message):
            self.board.end(int(missing[1]), "failed", record.created)
        self.screen.say(message, "red" if record.levelno >= logging.ERROR else "yellow")

    def _message(self, message: str) -> None:
        if message.startswith("Nothing to be done"):
            self._say("Nothing to do: everything is up to date.")
        elif message.startswith("This was a dry-run"):
            self._say("This was a dry run: nothing has been started or changed.")
        elif message.startswith("Terminating processes on user request"):
            self._interrupted = True
            self.screen.stop()
            self.screen.say("Interrupted; ending what is under way ...", "yellow")
        elif message.startswith("Will exit after finishing currently running jobs") and not self._interrupted:
            self._interrupted = True
            self.screen.say("Asked to end; finishing what is under way, starting nothing new ...", "yellow")
        elif message.startswith("Complete log(s): "):
            self._conclude(message.removeprefix("Complete log(s): "))
        elif message.startswith("Trying to restart job"):
            self._say(message, "yellow")
        elif not (self._running or self._verbose or message.startswith(_CHATTER)):
            # Not an execution but an errand, such as --unlock: its answer is what the person wants.
            self._say(message)

    def _conclude(self, log: str) -> None:
        self.screen.stop()
        took = duration(time.time() - self._began)
        done = counts(self.board.counts_done())
        failed = self.board.failed()
        if self._interrupted:
            self.screen.say(
                "Stopped on request. What is finished is kept; the same command continues from there.",
                "yellow",
            )
        elif failed:
            self.screen.say(
                f"Failed: {counts(Counter(job.rule for job in failed))}{f' (done: {done})' if done else ''}. "
                "What is finished is kept; the same command tries the rest again.",
                "bold red",
            )
        else:
            self._say(f"Done in {took}: {done}.", "bold green")
        if not self._quiet or failed:
            self.screen.say(f"Full log: {log}")


def _reason(text: str) -> str:
    """Snakemake's own words, with paths as seen from the current folder."""
    return shorten(text.replace(f"{os.getcwd()}/", ""), LONGEST_REASON, placeholder=" ...")


def _title(fields: dict[str, Any]) -> str:
    """Say what a job makes: the rule's message, else what sets it apart from others of its rule."""
    if fields["rule_msg"]:
        return str(fields["rule_msg"])
    values = [str(value) for value in fields["wildcards"].values()]
    return ", ".join(values) if values else str(next(iter(fields["output"]), ""))
