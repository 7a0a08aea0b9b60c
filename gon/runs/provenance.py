"""Where a run was computed: machine, library versions, and the commit of the project."""

import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gon.errors import GonError
from gon.files import PROJECT, read_json, sha256_of_file


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


def available_cores(system: Path = Path("/")) -> int:
    """Cores that this process may use: those it is bound to, and no more than a container's share of time.

    Parameters
    ----------
    system
        Root of the file system in which Linux says so.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    return min([cores, *(max(1, int(share)) for share in _shares(system))])


def _shares(system: Path) -> Iterator[float]:
    """What the control groups that this process is in may use, in cores."""
    try:
        groups = (system / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return
    mounted = system / "sys/fs/cgroup"
    for group in groups:
        _, controllers, path = group.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = mounted / "cpu" if controllers else mounted
        inner = root / path.lstrip("/")
        for folder in (inner, *inner.parents):
            if folder.is_relative_to(root):
                with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
                    yield _share(folder, version=1 if controllers else 2)


def _share(folder: Path, version: int) -> float:
    """Time per period that a group may use; `ValueError` if there is no limit."""
    if version == 1:
        quota = (folder / "cpu.cfs_quota_us").read_text(encoding="utf-8")
        period = (folder / "cpu.cfs_period_us").read_text(encoding="utf-8")
    else:
        quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
    if int(quota) < 0:
        raise ValueError("no limit")
    return int(quota) / int(period)


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
    """SHA-256 of the source files that compute: those of `science` and `runs` that import torch."""
    package = PROJECT / "gon"
    digest = hashlib.sha256()
    for path in sorted([*package.glob("science/*.py"), *package.glob("runs/*.py")]):
        content = path.read_bytes()
        if re.search(rb"^(import|from) torch\b", content, re.MULTILINE):
            digest.update(path.relative_to(package).as_posix().encode() + b"\0" + content + b"\0")
    return digest.hexdigest()


def peak_memory_mib() -> float:
    """Largest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


MANIFEST = "source.json"
"""In an archive's source, in place of a repository: which files it consists of, and of which commit."""


def _git(*arguments: str) -> str | None:
    """What git says of the project; None where the project is not the root of a repository.

    Raises
    ------
    GonError
        If it is one, and git cannot say it; says why.
    """
    if not (PROJECT / ".git").exists():  # a folder, or a file in a work tree of its own
        return None
    # Without locks that a person's own git would wait for; whoever owns the folder; without programs that its
    # settings name, and without what a person's settings leave out.
    settings = (f"safe.directory={PROJECT}", "core.fsmonitor=false", f"core.excludesFile={os.devnull}")
    command = ["git", "--no-optional-locks", *(word for text in settings for word in ("-c", text))]
    # A repository around the project says nothing of it, even where its own one is damaged.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(PROJECT.parent)}
    try:
        result = subprocess.run(
            [*command, "-C", str(PROJECT), *arguments],
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=True,
            env=environment,
        )
    except OSError as error:
        raise GonError(f"git cannot be started ({error.strerror})") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines() or [f"status {error.returncode}"]
        raise GonError(f"git fails: {said[0].replace('`', chr(39))}") from error
    return result.stdout.strip()


def _manifest() -> dict[str, Any]:
    """What an archive's source says of itself; empty in a checkout."""
    try:
        content = read_json(PROJECT / MANIFEST)
    except GonError:
        return {}
    return content if isinstance(content, dict) else {}


_INPUTS = ("params", "gon", "notebooks", "templates", "workflow", "snakemake_logger_plugin_gon")
"""Folders every file of which enters a report, whether or not git is told to leave it out."""


def commit() -> str | None:
    """Commit of the project, with "+changes" where the work tree differs from it; None if nothing says it.

    What git cannot say stands in its place, with the reason.
    """
    try:
        revision = _git("rev-parse", "--short=12", "HEAD")
        if revision is None:
            told = _manifest().get("commit")
            return (
                told if isinstance(told, str) and re.fullmatch(r"[0-9a-f]{7,40}(\+changes)?", told) else None
            )
        made_by_tools = [f"--exclude={name}/" for name in ("__pycache__", ".ipynb_checkpoints")]
        changed = _git("status", "--porcelain", "--untracked-files=normal")
        changed = changed or _git("ls-files", "--others", *made_by_tools, "--", *_INPUTS)
    except GonError as error:
        return f"unknown, since {error}"
    return f"{revision}+changes" if changed else revision


def repository() -> str | None:
    """Address of the project's origin; None if it has none that others can reach."""
    try:
        url = _git("remote", "get-url", "origin") or _manifest().get("repository")
    except GonError:
        return None
    return url if isinstance(url, str) and re.match(r"https?://[^@\s]+$", url) else None


def source_files() -> list[str]:
    """The files of the project from its root, but for reference records and the report that is made of them.

    Empty where nothing says them.
    """
    try:
        listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    except GonError:
        return []
    told = _manifest().get("files")
    names = list(told if isinstance(told, dict) else {}) if listed is None else listed.split("\0")
    made = ("records/", "docs/report/")
    return sorted(name for name in names if (PROJECT / name).is_file() and not name.startswith(made))


def digest_of(*patterns: str) -> str:
    """SHA-256 over the names and contents of the project's files that patterns name."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in patterns for path in PROJECT.glob(pattern) if path.is_file()}):
        digest.update(f"{path.relative_to(PROJECT).as_posix()} {sha256_of_file(path)}\n".encode())
    return digest.hexdigest()


def manifest(files: Sequence[str]) -> str:
    """What an archive's source says of itself."""
    digests = {name: sha256_of_file(PROJECT / name) for name in files}
    content = {"commit": commit(), "repository": repository(), "files": digests}
    return json.dumps(content, indent=1) + "\n"
