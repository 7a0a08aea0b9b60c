"""Where a run was computed: machine, library versions, and the commit of the project."""

import functools
import hashlib
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

from gon.files import PROJECT


def machine() -> dict[str, str | int]:
    """Describe the machine: processor, cores that this process may use, memory and system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        **_processor(),
        "onednn_instruction_set": os.environ.get("ONEDNN_MAX_CPU_ISA", "all"),
        "cores": available_cores(),
        "memory_gib": round(memory / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
    }


def available_cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


_CPUINFO = {
    "model name": "processor",
    "vendor_id": "vendor",
    "cpu family": "family",
    "model": "model",
    "stepping": "stepping",
}
_VECTOR = re.compile(r"avx|amx|fma|f16c|sse4")


def _processor() -> dict[str, str | int]:
    """Name, generation and vector instructions of the processor; Linux does not tell them through `platform`.

    The name alone does not tell two generations apart: several call themselves "AMD EPYC".
    """
    found: dict[str, str | int] = {}
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []:
        key, _, value = (part.strip() for part in line.partition(":"))
        if key in _CPUINFO:
            found[_CPUINFO[key]] = int(value) if value.isdigit() else value
        elif key == "flags":
            found["instruction_sets"] = " ".join(sorted(f for f in value.split() if _VECTOR.match(f)))
        elif not key and found:  # the next core
            break
    return {"processor": platform.processor() or platform.machine(), **found}


def compiler() -> str | None:
    """The C++ compiler that torch calls, as it names itself; None if there is none."""
    names = filter(None, (os.environ.get("CXX"), "c++", "g++", "clang++"))
    for path in filter(None, map(shutil.which, names)):
        try:
            shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            continue
        return shown.partition("\n")[0].strip()
    return None


@functools.cache
def code() -> str:
    """SHA-256 of the source files that compute: those of this package that import torch."""
    package = PROJECT / "gon"
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes()
        if re.search(rb"^(import|from) torch\b", content, re.MULTILINE):
            digest.update(path.relative_to(package).as_posix().encode() + b"\0" + content + b"\0")
    return digest.hexdigest()


def peak_memory_mib() -> float:
    """Largest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def commit() -> str | None:
    """Commit of the project, with "+changes" where the work tree differs from it; None outside git."""
    command = ["git", "-C", str(PROJECT), "describe", "--always", "--exclude=*", "--abbrev=12"]
    try:
        done = subprocess.run([*command, "--dirty=+changes"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
