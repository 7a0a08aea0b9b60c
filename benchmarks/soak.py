"""Kill the whole command and its parts at random moments: `python benchmarks/soak.py --kills 200`.

In a copy of the project it starts `./run_all.sh --budget smoke` in a terminal of its own, and, at a random
moment, kills, terminates, hangs up or interrupts it, one of its processes or all of them, or closes the
terminal. Then it starts the same command again, until that comes to its end. What it left must be what an
undisturbed command leaves: the losses of every step, the weights and the chains of all records, and the page,
byte for byte as made from those records without any kill. Nothing may be left running, and no start may need
help. Linux only.
"""

import argparse
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
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]

from project import Project  # noqa: E402

from gon.runs.checkpoint import load_tensors  # noqa: E402
from gon.runs.store import RunStore, read_record  # noqa: E402

STATUS = {"terminate": 143, "hang up": 129, "interrupt": 130}
"""Exit status of a command that is told to stop."""
KINDS = (*STATUS, "close the terminal", "kill", "kill everything", "kill a part", "terminate a part")
LONGEST = 120.0
"""Seconds within which all processes must have ended; far more than they need on a machine that is busy."""


class Command:
    """`./run_all.sh --budget smoke` in a terminal of its own."""

    def __init__(self, project: Project) -> None:
        self.project, self.output = project, ""
        self._master, slave = pty.openpty()
        environment = {
            k: v for k, v in project.environment.items() if k not in ("VIRTUAL_ENV", "CONDA_PREFIX")
        }
        self.process = subprocess.Popen(
            [project.root / "run_all.sh", "--budget", "smoke", "--cores", "2"],
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


def soak(folder: Path, kills: int, seed: int, claims: Sequence[str] = ("two_step",)) -> list[str]:
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
    while True:
        command, kind = Command(project), ""
        if done.total() < kills:
            kinds = kinds or chance.sample(KINDS, len(KINDS))
            try:
                command.process.wait(chance.uniform(0.2, 0.8 * seconds))
            except subprocess.TimeoutExpired:
                kind = kinds.pop()
                said = command.do(kind, chance)
                done[kind] += 1
                print(f"{done.total():4}  {said}", flush=True)
        status = command.end()
        before = len(wrong)
        wrong += _left_running(project, kind)
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


def _left_running(project: Project, kind: str) -> list[str]:
    until = time.monotonic() + LONGEST
    while left := project.processes():
        if time.monotonic() > until:
            for process in left:
                _send(process, signal.SIGKILL)
            return [f"{kind}: left running: {sorted(left.values())}"]
        time.sleep(0.1)
    return []


def differences(project: Project, undisturbed: Project, folder: Path, claims: Sequence[str]) -> list[str]:
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
    again.gon("run", "--budget", "smoke", "--cores", "2")
    if project.page() != again.page():
        found.append("index.html: differs")
    left = [path for path in project.root.rglob("*.unfinished")]
    return found + [f"left behind: {path}" for path in [*left, *project.root.glob(".report-*")]]


def main() -> int:
    """Run the soak; the exit status is 1 if anything went wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200, help="how many times (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="decides what is done when (default: 0)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wrong = soak(Path(folder), options.kills, options.seed)
    print("\n".join(wrong) or f"{options.kills} kills: records, page and processes as without them")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
