"""A real Slurm on this machine for tests: controller and two nodes of one core each, on loopback only."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ETC = Path("/etc/slurm")
"""Jobs look for Slurm's settings nowhere else: variables of Slurm do not reach what they start."""

_MARK = "# Written by a test, which removes it.\n"
_PROGRAMS = ("slurmctld", "slurmd", "munged", "scontrol", "squeue", "scancel")
NODES = {"n1": 17101, "n2": 17102}


def missing() -> str | None:
    """Why no Slurm can be started here; None if it can be."""
    if os.name != "posix" or os.geteuid() != 0:
        return "nodes of Slurm are started by root only"
    if absent := [name for name in _PROGRAMS if shutil.which(name) is None]:
        return f"{absent[0]} is not installed: apt-get install slurm-wlm munge"
    config = ETC / "slurm.conf"
    if config.exists() and not config.read_text().startswith(_MARK):
        return f"{config}: this machine belongs to a cluster already"
    return None


def missing_accounting() -> str | None:
    """Why jobs cannot be accounted here; None if they can be."""
    absent = [name for name in ("slurmdbd", "mariadbd", "mariadb-install-db") if shutil.which(name) is None]
    return f"{absent[0]} is not installed: apt-get install slurmdbd mariadb-server" if absent else None


class Slurm:
    """The running cluster.

    Parameters
    ----------
    folder
        For its files.
    accounting
        Whether it keeps its jobs in a database.
    """

    def __init__(self, folder: Path, accounting: bool) -> None:
        self.folder = folder
        self._accounting = accounting
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        self.folder.chmod(0o755)
        for name in ("state", "run", "key"):
            (self.folder / name).mkdir(exist_ok=True)
        key = self.folder / "key" / "munge"
        key.write_bytes(os.urandom(1024))
        for path, mode in ((key, 0o400), (key.parent, 0o700), (self.folder / "run", 0o755)):
            path.chmod(mode)
        files = {"key-file": key, "socket": self._socket, "pid-file": self.folder / "run" / "munged.pid"}
        files |= {"log-file": key.with_name("log"), "seed-file": key.with_name("seed")}
        self._start("munged", "munged", "--foreground", *(f"--{name}={path}" for name, path in files.items()))
        until(self._socket.exists)
        if self._accounting:
            self._start_accounting()
        self._write("slurm.conf", self._settings())
        self._start("slurmctld", "slurmctld", "-D", "-c")
        for node in NODES:
            self.start_node(node)
        until(lambda: self.ask("sinfo", "-h", "-o", "%t %D").split() == ["idle", "2"])

    def start_node(self, node: str) -> None:
        self._start(node, "slurmd", "-D", "-N", node)

    def kill_node(self, node: str) -> None:
        """As if its power were cut: the daemon, and all that it runs."""
        daemon = self._daemons.pop(node)
        daemon.kill()
        daemon.wait()
        for process in _processes_of(node):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")

    def stop(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError, AssertionError):  # it did not start
            self.clear()
        for daemon in reversed(self._daemons.values()):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for name in ("slurm.conf", "slurmdbd.conf"):
            (ETC / name).unlink(missing_ok=True)

    def clear(self) -> None:
        """Cancel whatever there is."""
        self.ask("scancel", "--user", "root")
        until(lambda: not self.jobs())

    def jobs(self) -> dict[str, tuple[str, str]]:
        """State and node of the jobs that are not over, by number."""
        listed = [line.split("|") for line in self.ask("squeue", "-h", "-o", "%i|%T|%N").splitlines()]
        return {job: (state, node) for job, state, node in listed}

    def at_work(self) -> dict[str, str]:
        """Nodes of the jobs at work."""
        return {job: node for job, (state, node) in self.jobs().items() if state == "RUNNING"}

    def ask(self, *command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    @property
    def _socket(self) -> Path:
        return self.folder / "run" / "munge.socket"

    def _start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _write(self, name: str, text: str) -> None:
        ETC.mkdir(exist_ok=True)
        (ETC / name).write_text(_MARK + text)
        (ETC / name).chmod(0o644 if name == "slurm.conf" else 0o600)

    def _settings(self) -> str:
        host, own = socket.gethostname().partition(".")[0], self.folder
        accounting = "accounting_storage/none"
        if self._accounting:
            accounting = "accounting_storage/slurmdbd\nAccountingStorageHost=127.0.0.1"
            accounting += f"\nAccountingStoragePort=17103\nAccountingStoragePass={self._socket}"
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=4000"
            for name, port in NODES.items()
        )
        return f"""ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=17100
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={self._socket}
StateSaveLocation={own}/state
SlurmctldPidFile={own}/run/slurmctld.pid
SlurmdPidFile={own}/run/slurmd-%n.pid
SlurmdSpoolDir={own}/spool-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
ReturnToService=2
SlurmdTimeout=10
SlurmdParameters=config_overrides
KillWait=10
JobAcctGatherType=jobacct_gather/none
AccountingStorageType={accounting}
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""

    def _start_accounting(self) -> None:
        data, port = self.folder / "mariadb", 17104
        install = [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={data}",
            "--user=root",
            "--skip-test-db",
        ]
        subprocess.run(install, check=True, capture_output=True)
        options = [f"--datadir={data}", "--user=root", "--bind-address=127.0.0.1", f"--port={port}"]
        database = data / "socket"
        self._start("mariadbd", "mariadbd", "--no-defaults", *options, f"--socket={database}")
        until(database.exists)
        words = "create user slurm@'127.0.0.1' identified by 'slurm'; grant all on *.* to slurm@'127.0.0.1'"
        self.ask("mariadb", "--no-defaults", f"--socket={database}", "-e", words)
        self._write(
            "slurmdbd.conf",
            f"""DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=17103
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={self._socket}
PidFile={self.folder}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={port}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
""",
        )
        self._start("slurmdbd", "slurmdbd", "-D")
        until(lambda: _listens(17103))


def _processes_of(node: str) -> set[int]:
    """What runs in a node's jobs, which have its name in their environment, and what watches over them."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if f"SLURMD_NODENAME={node}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                found.add(int(folder.name))
                if "slurmstepd" in Path(f"/proc/{parent}/cmdline").read_text():
                    found.add(parent)
    return found


def _listens(port: int) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(holds: Callable[[], object], seconds: float = 60) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, holds
        time.sleep(0.2)


@contextlib.contextmanager
def running_slurm(accounting: bool) -> Iterator[Slurm]:
    """A cluster, stopped at the end."""
    # Not in a test's own folder: the way to a socket of munge has to be open for all.
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        slurm = Slurm(Path(folder), accounting)
        try:
            slurm.start()
            yield slurm
        finally:
            slurm.stop()
