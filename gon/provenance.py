"""Where a run was computed: machine, library versions, and the commit of the project."""

import os
import platform
import resource
import subprocess
import sys
from pathlib import Path


def machine() -> dict[str, str | int]:
    """Describe the machine: processor, cores that this process may use, memory and system."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": cores,
        "memory_gib": round(memory / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    """Name of the processor; Linux does not tell it through `platform`."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def peak_memory_mib() -> float:
    """Largest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def commit() -> str | None:
    """Commit of the project, with "+changes" where the work tree differs from it; None outside git."""
    root = str(Path(__file__).resolve().parent.parent)

    def git(*arguments: str) -> str:
        result = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=True)
        return result.stdout.strip()

    try:
        revision = git("rev-parse", "--short=12", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{revision}+changes" if changed else revision
