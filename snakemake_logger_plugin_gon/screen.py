"""What a person sees: lines that stay, and on a terminal a display of what is under way below them."""

import sys
import threading
import time
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gon.runs.progress import Progress
from snakemake_logger_plugin_gon.state import Board, Job
from snakemake_logger_plugin_gon.tails import clean
from snakemake_logger_plugin_gon.wording import NOUNS, duration, noun, rough

PLAIN_SECONDS = 15
"""Without a terminal, a training says how far it is this often; less often once it has taken long."""

_NARROW = 90


class Screen:
    """Prints lines, and shows the board while jobs are under way.

    Parameters
    ----------
    board
        What to show.
    stream
        Where to; if it is not a terminal, nothing but plain lines is written.
    color
        Whether a terminal may be given colours.
    """

    def __init__(self, board: Board, stream: TextIO, color: bool = True) -> None:
        self.board = board
        terminal = stream.isatty()
        # The environment (FORCE_COLOR in a CI job, say) must not bring control characters into a file.
        self._console = Console(
            file=stream,
            force_terminal=terminal,
            force_jupyter=False,
            no_color=None if color else True,
            highlight=False,
            emoji=False,
        )
        self._animated = terminal and not self._console.is_dumb_terminal
        self._live: Live | None = None
        self._ticking: threading.Event | None = None
        self._said: dict[int, float] = {}

    def say(self, text: str, style: str = "") -> None:
        """Print a text that stays; it is not wrapped, so that it can be searched and copied."""
        encoding = self._console.encoding
        if not encoding.startswith("utf"):
            text = text.replace("—", "-").encode(encoding, errors="replace").decode(encoding)
        self._console.print(Text(clean(text), style=style), soft_wrap=True)

    def start(self) -> None:
        """Begin to show what is under way."""
        if self._live is not None or self._ticking is not None:
            return
        if self._animated:
            self._live = Live(
                console=self._console,
                get_renderable=self.render,
                refresh_per_second=2,
                transient=True,
                # Output of the Snakefile itself goes above the display, unless it is piped elsewhere.
                redirect_stdout=sys.stdout.isatty(),
                redirect_stderr=sys.stderr.isatty(),
            )
            self._live.start(refresh=True)
        else:
            self._ticking = threading.Event()
            threading.Thread(target=self._tick, args=(self._ticking,), daemon=True).start()

    def stop(self) -> None:
        """Take the display away; what was printed stays."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._ticking is not None:
            self._ticking.set()
            self._ticking = None

    def render(self) -> RenderableType:
        """Draw the board: a line of counts, then a line for each job under way."""
        now = time.time()
        wide = self._console.width >= _NARROW
        running = self.board.running()
        most = max(self._console.height - 4, 1)
        # Not the full width: the terminal's own "^C" must not begin a line that is unknown here.
        table = Table.grid(padding=(0, 2))
        table.width = max(self._console.width - 4, 1)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for _ in range(4 if wide else 3):
            table.add_column(no_wrap=True, justify="right")
        for job in running[:most]:
            table.add_row(*_row(job, now, wide))
        lines: list[RenderableType] = [Text(), self._summary(now)]
        if running:
            lines.append(table)
        if len(running) > most:
            lines.append(Text(f"  and {len(running) - most} more under way", style="dim"))
        return Group(*lines)

    def _summary(self, now: float) -> Text:
        summary = Text(no_wrap=True, overflow="ellipsis")
        known = [rule for rule in NOUNS if rule in self.board.planned]
        for rule in [*known, *(rule for rule in self.board.planned if rule not in NOUNS)]:
            planned = self.board.planned[rule]
            name = noun(rule, planned)
            summary.append(f"{name[0].upper()}{name[1:]} ", style="bold")
            summary.append(f"{self.board.done(rule)}/{planned}   ")
        if failed := len(self.board.failed()):
            summary.append(f"{failed} failed   ", style="bold red")
        elif (left := self.board.seconds_left(now)) is not None:
            summary.append(f"about {rough(left)} of training left", style="cyan")
        return summary

    def _tick(self, stopped: threading.Event) -> None:
        while not stopped.wait(1):
            now = time.time()
            for job in self.board.running():
                # A long training says so less often: every tenth of its time.
                pause = max(PLAIN_SECONDS, job.seconds(now) / 10)
                if now - max(self._said.get(job.jobid, 0), job.started) < pause:
                    continue
                progress = job.progress()
                if progress is not None and not stopped.is_set():
                    self._said[job.jobid] = now
                    self.say(f"        {job.rule:<8}  {job.title}: {', '.join(_words(progress))}")


def _words(progress: Progress) -> list[str]:
    words = [f"epoch {progress.epoch}/{progress.epochs}"]
    if progress.train_loss is not None:
        words.append(f"train loss {progress.train_loss:.2f}")
    words.append(f"{_percent(progress)} %")
    if (left := progress.seconds_left) is not None:
        words.append(f"{duration(left)} left")
    return words


def _percent(progress: Progress) -> int:
    return 100 * progress.step // max(progress.steps, 1)


def _row(job: Job, now: float, wide: bool) -> list[RenderableType]:
    title = Text(f"  {job.rule} {job.title}")
    title.stylize("dim", 0, len(job.rule) + 2)
    progress = job.progress()
    if progress is None:
        blank = [Text()] * (3 if wide else 2)
        return [title, *blank, Text(duration(job.seconds(now)), style="dim")]
    epoch, *rest = _words(progress)
    loss = Text(rest[0]) if progress.train_loss is not None else Text()
    bar: list[RenderableType] = []
    if wide:
        bar = [ProgressBar(total=max(progress.steps, 1), completed=progress.step, width=16)]
    left = Text(rest[-1] if progress.seconds_left is not None else "", style="cyan")
    return [title, Text(epoch), loss, *bar, left]
