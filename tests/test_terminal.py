"""The terminal display: real Snakemake executions of a tiny graph with the project's rules."""

import io
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gon.runs.progress import Progress, write_progress
from snakemake_logger_plugin_gon.handler import LONGEST_REASON, counts, tail
from snakemake_logger_plugin_gon.screen import Job, Screen, duration, plain

PROJECT = Path(__file__).resolve().parent.parent

SNAKEFILE = """
RUNS = open("runs.txt").read().split()
rule all:
    input: "report/index.html"
rule data:
    output: "data/{dataset}.ok"
    log: "logs/{dataset}.log"
    shell: "touch {output}"
rule train:
    input: ancient("data/mnist.ok")
    output: "runs/{digest}/epochs-{epochs}.json"
    log: "logs/{digest}-{epochs}.log"
    params: label=lambda wildcards: f"MNIST, latent 64, ELU, seed {RUNS.index(wildcards.digest)}"
    message: "{params.label}"
    shell: "exec {PYTHON:q} train.py {wildcards.digest} {wildcards.epochs} {params.label:q} > {log} 2>&1"
rule notebook:
    input: run=f"runs/{RUNS[0]}/epochs-2.json", notebook="notebooks/{claim}.ipynb"
    output: "build/quick/claims/{claim}/result.json"
    log: "logs/{claim}.log"
    shell: "{PYTHON:q} notebook.py {input.notebook} {output} > {log} 2>&1"
rule report:
    input: "build/quick/claims/latent_size/result.json", expand("runs/{digest}/epochs-2.json", digest=RUNS)
    output: "report/index.html"
    shell: "cat {input} > {output}"
"""

TRAIN = """
import json, os, sys, time
from pathlib import Path
digest, epochs, label = sys.argv[1], int(sys.argv[2]), sys.argv[3]
folder = Path("runs", digest)
if digest == "broken":
    time.sleep(float(os.environ.get("BEFORE_FAILING", "0")))
    print("loading the data\\nerror: \\x1b[31mdata/mnist\\x1b[0m: the file is cut short", file=sys.stderr)
    sys.exit(1)
started = time.time()
for step in range(1, 10 * epochs + 1):
    time.sleep(float(os.environ.get("PAUSE", "0")))
    progress = dict(digest=digest, label=label, epochs=epochs, first_step=0, step=step, steps=10 * epochs,
                    steps_per_epoch=10, train_loss=100 / step, started=started, updated=time.time())
    (folder / "new").write_text(json.dumps(progress))
    os.replace(folder / "new", folder / "progress.json")
print(f"{label}: diverged in epoch 1, step 7" if digest == "diverging" else f"{label}: validation loss 21.38")
(folder / f"epochs-{epochs}.json").write_text("{}")
"""

NOTEBOOK = """
import sys
if "broken" in open(sys.argv[1]).read():
    print("\\n".join(f"line {number}" for number in range(100)))
    print("error: notebook, cell 3: ValueError: no run fits")
    sys.exit(1)
open(sys.argv[2], "w").write("{}")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny project with two runs."""
    (tmp_path / "Snakefile").write_text(f"PYTHON = {sys.executable!r}\n{SNAKEFILE}")
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "notebook.py").write_text(NOTEBOOK)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "latent_size.ipynb").write_text("one")
    (tmp_path / "runs.txt").write_text("a diverging")
    return tmp_path


def environment(**extra: str) -> dict[str, str]:
    # What a CI system or a person may have set must not matter.
    drop = {"NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES"}
    kept = {key: value for key, value in os.environ.items() if key not in drop}
    return {**kept, "PYTHONPATH": str(PROJECT), "FORCE_COLOR": "1", "TERM": "xterm-256color", **extra}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "snakemake", "--logger", "gon", "--cores", "2", *arguments]


def snakemake(folder: Path, *arguments: str) -> tuple[int, str]:
    """Execute without a terminal; exit status and what was printed."""
    done = subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.stdout), "control characters in plain output"
    return done.returncode, done.stdout


class Terminal:
    """An execution in a pseudo-terminal."""

    def __init__(self, folder: Path, *arguments: str, **extra: str) -> None:
        self.text = ""
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            command(*arguments),
            cwd=folder,
            env=environment(COLUMNS="120", LINES="30", **extra),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self._master, 65536)
            except OSError:  # Linux: the other side is closed.
                chunk = b""
            if not chunk:
                return
            self.text += chunk.decode("utf-8", errors="replace")

    def wait_for(self, pattern: str) -> None:
        until = time.monotonic() + 30
        while not re.search(pattern, plain(self.text)):
            assert time.monotonic() < until, f"no {pattern!r} in:\n{self.text}"
            time.sleep(0.05)

    def end(self) -> int:
        status = self.process.wait(30)
        self._reader.join(10)
        os.close(self._master)
        return status


def test_plain_lines_say_what_runs_why_and_how_it_ended(folder: Path) -> None:
    status, text = snakemake(folder)
    assert status == 0, text
    lines = text.splitlines()
    assert lines[0] == "To do: 1 data set, 2 trainings, 1 notebook, 1 report (2 at a time)"
    assert "start   data      mnist — Missing output files" in lines
    assert "start   train     MNIST, latent 64, ELU, seed 0 — Missing output files" in lines
    assert "start   notebook  latent_size — Missing output files" in lines
    assert "start   report    report/index.html — Missing output files" in lines
    done = r"^done    train     MNIST, latent 64, ELU, seed {}: {}, 0:00:\d\d$"
    assert re.search(done.format(0, r"validation loss 21\.38"), text, re.MULTILINE), text
    assert re.search(done.format(1, "diverged in epoch 1, step 7"), text, re.MULTILINE), text
    assert re.match(r"Done in 0:00:\d\d: 1 data set, 2 trainings, 1 notebook, 1 report\.$", lines[-2]), text
    assert len(lines) == 13, text

    log = Path(lines[-1].removeprefix("Full log: "))
    assert log.parent == folder / ".snakemake" / "log"
    assert "Finished jobid: " in log.read_text()

    assert snakemake(folder) == (
        0,
        "Nothing to be done (all requested files are present and up to date).\n",
    )

    (folder / "notebooks" / "latent_size.ipynb").write_text("two")
    (folder / "runs" / "a" / "epochs-2.json").unlink()
    (folder / "runs" / "a" / "epochs-1.json").write_text("{}")
    status, text = snakemake(folder, "--dry-run")
    assert status == 0
    lines = text.splitlines()
    # The engine lists a set of files in any order.
    news = "  report    report/index.html — Input files updated by another job: "
    assert lines[3].startswith(news)
    files = {"build/quick/claims/latent_size/result.json", "runs/a/epochs-2.json"}
    assert set(lines[3].removeprefix(news).split(", ")) == files
    assert [*lines[:3], *lines[4:]] == [
        "Would run 1 training, 1 notebook, 1 report:",
        "  train     MNIST, latent 64, ELU, seed 0 — recorded up to epoch 1 of 2",
        "  notebook  latent_size — Updated input files: notebooks/latent_size.ipynb; "
        "Input files updated by another job: runs/a/epochs-2.json",
        "This was a dry-run (flag -n). The order of jobs does not reflect the order of execution.",
    ]


@pytest.mark.parametrize("first", ["train", "notebook"])
def test_failures_show_the_error_and_where_the_logs_are(
    folder: Path, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEFORE_FAILING", "0" if first == "train" else "12")
    (folder / "runs.txt").write_text("a broken")
    (folder / "notebooks" / "latent_size.ipynb").write_text("broken")
    status, text = snakemake(folder, "--keep-going")
    assert status == 1
    assert re.search(
        r"^FAILED  train     MNIST, latent 64, ELU, seed 1, after 0:00:\d\d:$", text, re.MULTILINE
    )
    assert "        | loading the data\n        | error: data/mnist: the file is cut short\n" in text
    assert f"        log: {folder}/logs/broken-2.log\n" in text
    assert "CalledProcessError" not in text and "WorkflowError" not in text and "set -euo" not in text
    assert "        | line 99\n        | error: notebook, cell 3: ValueError: no run fits\n" in text
    assert "        | line 88\n" not in text
    assert re.findall("^FAILED  (train|notebook) ", text, re.MULTILINE)[0] == first
    assert "FAILED  notebook  latent_size, after" in text
    assert "Failed: 1 training, 1 notebook (done: 1 data set, 1 training). What is finished is kept" in text
    assert re.search(rf"^Full log: {folder}/\.snakemake/log/.*\.snakemake\.log$", text, re.MULTILINE)


def test_snakemakes_own_errors_stay_visible(folder: Path) -> None:
    shutil.rmtree(folder / "notebooks")
    status, text = snakemake(folder)
    assert status == 1
    assert "Missing input files for rule notebook" in text and "notebooks/latent_size.ipynb" in text

    (folder / "Snakefile").write_text("rule all\n    input: 'x'\n")
    status, text = snakemake(folder)
    assert status == 1
    assert "SyntaxError" in text


def test_terminal_shows_the_trainings_under_way(folder: Path) -> None:
    terminal = Terminal(folder, PAUSE="0.12")
    status = terminal.end()
    text = plain(terminal.text)
    assert status == 0, text
    assert "\x1b[" in terminal.text
    row = r"train MNIST, latent 64, ELU, seed 0 +epoch [12]/2, train loss \d+\.\d\d .*0:00:\d\d"
    assert re.search(row, text), text
    assert re.search(r"trainings +0 of 2 done .*0:00:\d\d", text), text
    assert "done    train     MNIST, latent 64, ELU, seed 0: " in text
    # The display is gone at the end: the cursor is back, and the last lines are the summary.
    assert terminal.text.rstrip().endswith(".snakemake.log")
    assert terminal.text.rindex("\x1b[?25h") > terminal.text.rindex("\x1b[?25l")


def test_interrupt_ends_cleanly_and_the_same_command_continues(folder: Path) -> None:
    terminal = Terminal(folder, PAUSE="0.5")
    terminal.wait_for(r"epoch 1/2")
    os.killpg(terminal.process.pid, signal.SIGINT)  # What a terminal does at Ctrl-C.
    assert terminal.end() == 1
    text = plain(terminal.text)
    assert "What is finished is kept; the same command continues from there." in text
    assert "FAILED" not in text and "Traceback" not in text and "WorkflowError" not in text
    assert terminal.text.rindex("\x1b[?25h") > terminal.text.rindex("\x1b[?25l")

    # The progress that the interrupted training left behind is not taken for the next one's.
    left = Job("train", "", (folder / "runs/a/epochs-2.json",), (), None, started=time.time())
    assert (folder / "runs" / "a" / "progress.json").exists() and left.progress() is None

    status, text = snakemake(folder, "--dry-run")
    assert status == 0, text
    assert text.startswith("Would run 2 trainings, 1 notebook, 1 report")


def test_long_trainings_report_now_and_then_without_a_terminal(tmp_path: Path) -> None:
    stream, started = io.StringIO(), time.time() - 20
    screen = Screen(stream)
    screen.running[1] = Job("train", "run 1", (tmp_path / "epochs-2.json",), (), None, started)
    screen.start()
    until = time.monotonic() + 10
    step = 70
    while not stream.getvalue() and time.monotonic() < until:
        step += 1
        now = time.time()
        progress = Progress("1", "", 2, 0, step, 100, 50, 30.0, started, now)
        write_progress(tmp_path / "progress.json", progress)
        time.sleep(0.1)
    screen.stop()
    line = r"        train     run 1: epoch 2/2, train loss 30\.00, \d\d %(, 0:00:\d\d left)?\n"
    assert re.fullmatch(line, stream.getvalue()), stream.getvalue()


def test_reasons_are_the_engines_words_cut_where_they_get_long(folder: Path) -> None:
    runs = [f"{'a' * 40}{number}" for number in range(5)]
    (folder / "runs.txt").write_text(" ".join(runs))
    status, text = snakemake(folder, "--dry-run")
    assert status == 0
    reason = f"Missing output files: runs/{runs[3]}/epochs-2.json"
    assert f"  train     MNIST, latent 64, ELU, seed 3 — {reason}" in text
    reason = text.splitlines()[-2].removeprefix("  report    report/index.html — ")
    assert reason.startswith("Missing output files: report/index.html; Input files updated by another job: ")
    assert reason.endswith(" ...") and 100 < len(reason) <= LONGEST_REASON
    assert str(folder) not in text


def test_tails_are_short_and_plain(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("\n".join(f"line {number}" for number in range(100)) + "\n\n")
    assert tail(log)[0] == "line 88" and tail(log)[-1] == "line 99"
    assert tail(tmp_path / "none") == []
    assert plain("a\x1b[31mb\x1b]0;title\x1b\\c\nd\te\r\nf\x08") == "abc\nd\te\nf"


def test_words() -> None:
    assert [duration(seconds) for seconds in (-1, 8.4, 200, 7500)] == [
        "0:00:00",
        "0:00:08",
        "0:03:20",
        "2:05:00",
    ]
    assert counts({"data": 1, "train": 2, "graph": 1}) == "1 data set, 2 trainings, 1 graph"
