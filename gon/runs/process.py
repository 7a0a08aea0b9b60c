"""Set up a process for training, and say what it runs on."""

import contextlib
import ctypes
import datetime
import os
import platform

import numpy as np
import torch

from gon.errors import UsageError
from gon.runs import provenance
from gon.runs.record import Session
from gon.runs.trajectory import Trajectory


def require_device(device: str) -> None:
    """Check that a device can be used; `UsageError` says which can."""
    allowed = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    if device not in allowed:
        raise UsageError(f"device: {device!r} is not here; allowed are {', '.join(allowed)}")


def prepare_process(threads: int = 1) -> None:
    """Set up this process for training: threads, determinism, float32 that is float32, memory.

    Two processes of one thread do more than one of two; equal numbers are promised for equal threads only.
    """
    torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic with it only
    torch.backends.cudnn.allow_tf32 = False
    # As torch.use_deterministic_algorithms, which imports torch's compiler besides: a second a process.
    torch.set_deterministic_debug_mode("error")
    # That would also fill every new tensor with NaN; nothing here reads what it has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Let the C library keep what is freed for the next step, in place of returning it to the system.

    Every step allocates the same few MiB. Handing them back and forth costs thousands of page faults
    a step. Does nothing where the library has no such setting (it is glibc's).
    """
    trim_threshold, mmap_threshold, never = -1, -3, 2**30
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(mmap_threshold, never)
        library.mallopt(trim_threshold, never)


def session_of(run: Trajectory) -> Session:
    """A session that begins with the next epoch: what this process runs on."""
    first_epoch = len(run.history) + 1
    machine = {**provenance.machine(), "torch_instruction_set": torch.backends.cpu.get_cpu_capability()}
    if run.device.type == "cuda":
        machine["gpu"] = torch.cuda.get_device_name()
    return Session(
        first_epoch=first_epoch,
        last_epoch=first_epoch,
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        peak_memory_mib=0.0,
        machine=machine,
        versions={
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
        device=run.device.type,
        dtype=run.model.dtype_name,
        threads=torch.get_num_threads(),
        origin_pass=run.model.origin_pass,
        compiled=run.compiled,
        compiler=run.compiler,
        commit=provenance.commit(),
        code=provenance.code(),
    )
