"""Kill the whole command and its parts at random moments: `python benchmarks/soak.py --kills 200`.

In a copy of the project it starts `./run_all.sh --budget smoke` in a terminal of its own, and, at a random
moment, kills, terminates, hangs up or interrupts it, one of its processes or all of them, or closes the
terminal. Then it starts the same command again, until that comes to its end. What it left must be what an
undisturbed command leaves: the losses of every step, the weights and the chains of all records, and the page,
byte for byte as made from those records without any kill. Nothing may be left running, and no start may need
help. With `--slurm`, trainings are jobs of a real Slurm of two nodes on loopback, and jobs and nodes are lost
as well. Linux only.
"""

import argparse
import contextlib
import fcntl
import os
import pty
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]

from project import Project  # noqa: E402
from slurm import NODES, Slurm, missing, running_slurm  # noqa: E402

from gon.runs.checkpoint import load_tensors  # noqa: E402
from gon.runs.store import RunStore, read_record  # noqa: E402

STATUS = {"terminate": 143, "hang up": 129, "interrupt": 130}
"""Exit status of a command that is told to stop."""
KINDS = (*STATUS, "close the terminal", "kill", "kill everything", "kill a part", "terminate a part")
OF_JOBS = ("kill a job", "cancel a job", "requeue a job", "kill a node")
"""What is done to Slurm, and the command has to bear."""
LONGEST = 120.0
"""Seconds within which all processes must have ended; far more than they need on a machine that is busy."""


class Command:
    """`./run_all.sh --budget smoke` in a terminal of its own.

    Parameters
    ----------
    project
        The copy that it is of.
    slurm
        Where it trains; None for this machine.
    """

    def __init__(self, project: Project, slurm: Slurm | None = None) -> None:
        self.project, self.output, self.slurm = project, "", slurm
        self._master, slave = pty.openpty()
        environment = {
            k: v for k, v in project.environment.items() if k not in ("VIRTUAL_ENV", "CONDA_PREFIX")
        }
        self.process = subprocess.Popen(
            [project.root / "run_all.sh", "--budget", "smoke", "--cores", "2"]
            + (["--profile", "slurm"] if slurm else []),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while part := os.read(self._master, 65536):
                self.output += part.decode(errors="replace")
        except OSError:  # nobody writes any more, or the terminal is closed
            pass

    def do(self, kind: str, chance: random.Random) -> str:
        """Disturb it; returns what was done in words."""
        parts = self.project.processes()
        if self.slurm and kind in OF_JOBS:
            return f"{kind}: {_disturb(self.slurm, kind, chance)}"
        if kind == "interrupt":
            os.write(self._master, b"\x03")  # as Ctrl-C does
        elif kind == "close the terminal":
            os.close(self._master)
            self._master = -1
        elif kind == "kill everything":
            for process in (self.process.pid, *parts):
                _send(process, signal.SIGKILL)
        elif kind.endswith("a part") and parts:
            process = chance.choice(sorted(parts))
            _send(process, signal.SIGKILL if kind.startswith("kill") else signal.SIGTERM)
            return f"{kind}: {parts[process][:60]}"
        else:
            numbers = {"terminate": signal.SIGTERM, "hang up": signal.SIGHUP}
            _send(self.process.pid, numbers.get(kind, signal.SIGKILL))
        return kind

    def end(self) -> int:
        """Wait for it, and for all that it started."""
        status = self.process.wait()
        if self._master >= 0:
            self._reader.join(5)
            os.close(self._master)
        return status


def _disturb(slurm: Slurm, kind: str, chance: random.Random) -> str:
    """Lose a job or a node; returns which, or that there was none."""
    if kind == "kill a node":
        node = chance.choice(list(NODES))
        slurm.kill_node(node)
        slurm.start_node(node)
        return node
    if not (jobs := sorted(slurm.at_work())):
        return "none is at work"
    job = chance.choice(jobs)
    how = {
        "kill a job": ["scancel", "--full", "--signal", "KILL"],
        "cancel a job": ["scancel"],
        "requeue a job": ["scontrol", "requeue"],
    }[kind]
    try:
        slurm.ask(*how, job)
    except subprocess.CalledProcessError:  # it has ended just now
        return f"{job}, too late"
    return job


def _send(process: int, number: signal.Signals) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        pass


def copy_of_project(folder: Path, claims: Sequence[str]) -> Project:
    """A copy whose `./run_all.sh` finds its environment: the packages of this one."""
    project = Project(folder, tuple(claims))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    (packages,) = (folder / ".venv").glob("lib/python3*/site-packages")
    (packages / "others.pth").write_text("".join(f"{p}\n" for p in sys.path if p.endswith("site-packages")))
    (folder / ".venv" / "share").mkdir(exist_ok=True)
    (folder / ".venv" / "share" / "jupyter").symlink_to(Path(sys.prefix, "share", "jupyter"))  # templates
    stamp = "project=$PWD; . tools/setup_environment.sh; stamp_of requirements.lock"
    with (folder / ".venv" / ".gon-requirements.lock").open("w") as stream:
        subprocess.run(["bash", "-c", stamp], cwd=folder.resolve(), stdout=stream, check=True)
    return project


def soak(
    folder: Path, kills: int, seed: int, claims: Sequence[str] = ("two_step",), slurm: Slurm | None = None
) -> list[str]:
    """Disturb a command until it was done so many times; returns what went wrong.

    Parameters
    ----------
    folder
        For the copies of the project.
    kills
        How many times.
    seed
        Decides what is done when.
    claims
        Those that the copies have.
    slurm
        Where it trains, and what is disturbed too; None for this machine.
    """
    chance = random.Random(seed)
    undisturbed = copy_of_project(folder / "undisturbed", claims)
    started = time.monotonic()
    undisturbed.gon("run", "--budget", "smoke", "--cores", "2")
    seconds = time.monotonic() - started
    project = copy_of_project(folder / "disturbed", claims)
    wrong: list[str] = []
    done: Counter[str] = Counter()
    kinds: list[str] = []
    possible = KINDS + (OF_JOBS if slurm else ())
    while True:
        command, kind = Command(project, slurm), ""
        while done.total() < kills and (not kind or kind in OF_JOBS):
            kinds = kinds or chance.sample(possible, len(possible))
            try:
                command.process.wait(chance.uniform(0.2, 0.8 * seconds))
                break
            except subprocess.TimeoutExpired:
                kind = kinds.pop()
                said = command.do(kind, chance)
                done[kind] += 1
                print(f"{done.total():4}  {said}", flush=True)
        status = command.end()
        before = len(wrong)
        # A command that was killed cannot cancel its jobs; the next one does.
        wrong += _left_running(project, kind, with_jobs=kind in STATUS)
        # Or by the signal itself, before Python hears signals and after: the same number to a shell.
        if kind in STATUS and status not in (STATUS[kind], 128 - STATUS[kind], 0):
            wrong.append(f"{kind}: exit status {status}: {command.output[-2000:]}")
        if not kind and status != 0:
            wrong.append(f"undisturbed: exit status {status}: {command.output[-2000:]}")
        if status == 0:
            wrong += differences(project, undisturbed, folder / "again", claims)
        for text in wrong[before:]:
            print(f"      WRONG  {text}", flush=True)
        if status != 0 and (kind or done.total() < kills):
            continue
        if done.total() >= kills:
            break
        print(f"      finished; {len(wrong)} wrong so far; from the beginning", flush=True)
        for name in ("runs", "build", "report-smoke"):
            shutil.rmtree(project.root / name)
    print(", ".join(f"{n} x {kind}" for kind, n in sorted(done.items())))
    return wrong


def _left_running(project: Project, kind: str, with_jobs: bool) -> list[str]:
    until = time.monotonic() + LONGEST
    while left := {p: name for p, name in project.processes().items() if with_jobs or not is_of_a_job(p)}:
        if time.monotonic() > until:
            for process in left:
                _send(process, signal.SIGKILL)
            return [f"{kind}: left running: {sorted(left.values())}"]
        time.sleep(0.1)
    return []


def is_of_a_job(process: int) -> bool:
    """Whether a process is of a job of Slurm, or has ended."""
    try:
        return b"SLURM_JOB_ID=" in Path(f"/proc/{process}/environ").read_bytes()
    except OSError:
        return True


def differences(
    project: Project, undisturbed: Project, folder: Path, claims: Sequence[str], changes: Sequence[str] = ()
) -> list[str]:
    """What of a project's records and page is not as an undisturbed command leaves it."""
    found = []
    stores = [RunStore(each.root / "runs" / "smoke") for each in (project, undisturbed)]
    names = [
        sorted(path.relative_to(store.root) for path in store.root.glob("*/epochs-*")) for store in stores
    ]
    if names[0] != names[1]:
        return [f"other files: {set(map(str, names[0])) ^ set(map(str, names[1]))}"]
    for name in names[0]:
        paths = [store.root / name for store in stores]
        if name.suffix == ".pt":
            a, b = (load_tensors(path) for path in paths)
            same = a.keys() == b.keys() and all(a[key].equal(b[key]) for key in a)
        elif name.name.count(".") == 1:  # a record
            records = [read_record(path, {}) for path in paths]
            steps = [store.steps_of(record).tobytes() for store, record in zip(stores, records, strict=True)]
            same = records[0].trajectory == records[1].trajectory and steps[0] == steps[1]
        else:  # it names the trajectory that it is of
            same = paths[0].read_bytes() == paths[1].read_bytes()
        if not same:
            found.append(f"{name}: differs")
    # A record, and so the page, says when and how fast it was trained: the page is made from the same ones.
    shutil.rmtree(folder, ignore_errors=True)
    again = Project(folder, tuple(claims))
    shutil.copytree(project.root / "runs", folder / "runs")
    again.gon("run", "--budget", "smoke", "--cores", "2", *changes)
    for ours, theirs in zip_longest(project.page().splitlines(), again.page().splitlines(), fillvalue=""):
        if ours != theirs:
            at = len(os.path.commonprefix([ours, theirs]))
            start = max(0, at - 200)
            found.append(f"index.html: {ours[start : at + 200]!r} in place of {theirs[start : at + 200]!r}")
            break
    left = [path for path in project.root.rglob("*.unfinished")]
    return found + [f"left behind: {path}" for path in [*left, *project.root.glob(".report-*")]]


def main() -> int:
    """Run the soak; the exit status is 1 if anything went wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200, help="how many times (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="decides what is done when (default: 0)")
    parser.add_argument("--slurm", action="store_true", help="train by a Slurm that is started for it")
    options = parser.parse_args()
    if options.slurm and (why := missing()):
        parser.error(f"--slurm: {why}")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        slurm = stack.enter_context(running_slurm(accounting=False)) if options.slurm else None
        wrong = soak(Path(folder), options.kills, options.seed, slurm=slurm)
    print("\n".join(wrong) or f"{options.kills} kills: records, page and processes as without them")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
