"""How processes of this project are started and ended: in a world of their own, and never alone.

A run of everything is a tree: `gon run`, Snakemake, a job for every training and notebook, and below a
notebook its kernel and what it trains. Whatever ends one of them must end what stands below it, and the
environment of the person who started it must not reach the numbers.
"""

import atexit
import contextlib
import gc
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TextIO

import psutil

from gon.files import PROJECT, make_folder

_FOREIGN = ("PYTHON", "MPL", "MATPLOTLIB", "IPYTHON", "JUPYTER_", "SNAKEMAKE_", "GIT_", "LC_", "LANG")
"""Beginnings of variables that change what Python, libraries, the engine or git do; none reaches a child."""

CACHE = PROJECT / "build" / "cache"
"""What libraries keep from one start to the next, in place of the person's own folders of settings."""

TEMPORARY = PROJECT / "build" / "tmp"
"""Temporary files of `gon run` and all below it; emptied by the next one."""

PARENT = "GON_PARENT"
"""Tells a process which one it was started by, and ends with; see `end_with_parent`."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOP_SECONDS = 10.0
"""So long a process may take to end after a signal; then it is killed."""
_WATCH_SECONDS = 0.3


def own_world() -> None:
    """Set this process and all that it starts to the project's world, whatever the person's is.

    Code is taken from the project and the environment of the Python that runs, settings of libraries are
    their defaults, text is UTF-8, and files are readable for all.
    """
    for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
        del os.environ[name]
    os.environ.update(
        PYTHONPATH=str(PROJECT),
        PYTHONSAFEPATH="1",  # neither the current folder's code nor a script's neighbours
        PYTHONNOUSERSITE="1",
        PYTHONUTF8="1",
        LC_ALL="en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8",
        XDG_CACHE_HOME=str(CACHE),  # Snakemake's
        MPLBACKEND="agg",
        MPLCONFIGDIR=str(CACHE / "matplotlib"),
        IPYTHONDIR=str(CACHE / "ipython"),
        JUPYTER_CONFIG_DIR=str(CACHE / "jupyter" / "config"),
        JUPYTER_DATA_DIR=str(CACHE / "jupyter" / "data"),
        JUPYTER_RUNTIME_DIR=str(CACHE / "jupyter" / "runtime"),
    )
    if not _is_plain(tempfile.gettempdir()):
        _use_for_temporary_files(
            next(folder for folder in ("/tmp", "/var/tmp", "/") if os.access(folder, os.W_OK))
        )
    os.umask(0o022)
    for descriptor in range(3):  # a closed one would be given to the next file that is opened
        with contextlib.suppress(OSError):
            os.fstat(descriptor)
            continue
        os.open(os.devnull, os.O_RDWR)
    sys.stdout, sys.stderr = sys.stdout or open(1, "w"), sys.stderr or open(2, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that is not UTF-8 is printed all the same
            stream.reconfigure(errors="backslashreplace")


def expect_little_garbage() -> None:
    """Look for garbage seldom: of what is imported and rendered nearly all stays, and looking takes a tenth.

    Nor at the end, when the interpreter would go through all of it. Not while training, whose steps leave
    tensors to be found.
    """
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)


def own_temporary_folder() -> None:
    """Keep temporary files in the project, and remove those that killed processes left there.

    The caller holds the project.
    """
    shutil.rmtree(TEMPORARY, ignore_errors=True)
    if _is_plain(str(TEMPORARY)):
        make_folder(TEMPORARY)
        _use_for_temporary_files(str(TEMPORARY))


def _is_plain(folder: str) -> bool:
    """Whether a folder's name says the same to every tool: torch cannot compile in one with a blank."""
    return re.fullmatch(r"[\w/.+-]+", folder, re.ASCII) is not None


def _use_for_temporary_files(folder: str) -> None:
    os.environ["TMPDIR"] = tempfile.tempdir = folder


def child_environment() -> dict[str, str]:
    """The environment of a process of this project that ends when this one does."""
    return {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONSAFEPATH": "1", PARENT: str(os.getpid())}


def end_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """End this process when the one ends that started it by `child_environment`, even if that is killed.

    Parameters
    ----------
    number
        The signal by which it ends. One that has not ended by it within `STOP_SECONDS` is killed.
    """
    started_by = os.environ.pop(PARENT, "")  # not for what this process starts
    if not started_by.isdecimal():
        return

    def watch() -> None:
        # The system gives an orphan to another process: that works everywhere, also after a kill -9.
        while os.getppid() == int(started_by):
            time.sleep(_WATCH_SECONDS)
        os.kill(os.getpid(), number)
        time.sleep(STOP_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def run_tree(command: Sequence[str], keep_open: int) -> int:
    """Run a process that starts others, and see that none is left when it, or this one, is stopped.

    Parameters
    ----------
    command
        The process. It leads a group, in which all that it starts is.
    keep_open
        A descriptor that it shares: a lock on it is held until both have ended.

    Returns
    -------
    int
        Its exit status.

    Raises
    ------
    Stopped
        When one of `STOP_SIGNALS` came; after all have ended.
    """
    # Outside the terminal's own group it may write to the terminal only where it hears no objection.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    # A shell lets what it starts in the background ignore Ctrl-C, but the group is to end by that signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        command, env=child_environment(), stdin=subprocess.DEVNULL, process_group=0, pass_fds=[keep_open]
    )
    signal.signal(signal.SIGINT, before)

    def suspend(number: int, frame: FrameType | None) -> None:
        os.killpg(process.pid, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        os.killpg(process.pid, signal.SIGCONT)

    signal.signal(signal.SIGTSTP, suspend)  # Ctrl-Z reaches the terminal's group only
    try:
        return process.wait()
    except Stopped:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        _end_group(process)
        raise


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Interrupt a group, as a terminal does at Ctrl-C; kill what of it, or below it, does not end."""
    below: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        below = psutil.Process(process.pid).children(recursive=True)
    for number, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    # A kernel leads a session of its own, and is nobody's when it was starting as what started it ended.
    for orphan in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            orphan.kill()
    psutil.wait_procs(below, timeout=1.0)  # they end at once, but stay where no process reaps orphans


class Stopped(KeyboardInterrupt):
    """A signal asked this process to stop.

    Attributes
    ----------
    number
        Which.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let each of `STOP_SIGNALS` raise `Stopped`, so that what is under way can be left in order."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    # One that is ignored stays so: nohup does that, and shells for what runs in the background.
    heard = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = [signal.signal(number, stop) for number in heard]
    try:
        yield
    finally:
        for number, handler in zip(heard, before, strict=True):
            signal.signal(number, handler)


def say_no_more(*streams: TextIO) -> None:
    """Let what is still to be printed go nowhere, since nobody is there to read it.

    Parameters
    ----------
    streams
        Where to; standard output and standard error if none is given.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams or (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())


def plain(text: str) -> str:
    """A text without what moves a terminal's cursor or clears it; colours stay."""
    return re.sub(r"\x1b(?!\[[\d;]*m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]", "\ufffd", text)
