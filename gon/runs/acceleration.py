"""Faster forms of a training step: compiled on a CPU, captured as one graph on a GPU."""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gon.runs import provenance
from gon.science.measure import kept_statistics
from gon.science.model import Model

if TYPE_CHECKING:
    from gon.runs.trajectory import Trajectory


def compile_loss(model: Model, x: Tensor) -> tuple[str | None, str | None]:
    """Compile the training loss of a model and its gradient; where that fails, it stays as it was.

    Parameters
    ----------
    model
        A model that is `compilable`.
    x
        The first training images [batch, channels, 32, 32], on which the compiled form is tried.

    Returns
    -------
    tuple
        Why it was not compiled, or None; and the compiler, or None.
    """
    compiler = provenance.compiler()
    if compiler is None:
        return "no: no C++ compiler", None
    eager, noise = model.training_loss, model.get_extra_state()
    model.training_loss = torch.compile(
        eager,
        dynamic=False,
        options={"cpp_wrapper": True, "deterministic": True},  # the former: no Python per kernel
    )
    failed = None
    try:
        with kept_statistics(model):
            objective, _ = model.losses(x, torch.arange(len(x)))
            torch.autograd.grad(objective, list(model.parameters()), allow_unused=True)
    except Exception as error:  # whatever a compiler may raise: the run does not depend on it
        model.training_loss = eager
        failed = f"no: {type(error).__name__}"
    model.set_extra_state(noise)  # as if the step that warmed up had drawn nothing
    return failed, None if failed else compiler


class GpuTimer:
    """Time on a GPU's own clock since this was made."""

    def __init__(self) -> None:
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        self._events[0].record()

    def seconds(self) -> float:
        """Wait for what was asked of the GPU so far, and give the time until its end."""
        first, last = self._events
        last.record()
        last.synchronize()
        milliseconds: float = first.elapsed_time(last)
        return round(milliseconds / 1e3, 3)


def captured_step(run: "Trajectory") -> Callable[[], None]:
    """Record `Trajectory.next_step` as a CUDA graph: replaying it costs the host one launch.

    Parameters
    ----------
    run
        A run on a CUDA device, at the beginning of an epoch. It is left as it was: the steps that
        warm up are undone.

    Returns
    -------
    Callable
        Takes the next step.
    """
    (adam,) = run.optimizers
    model, moments = copy.deepcopy(run.model.state_dict()), copy.deepcopy(adam.state_dict())
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run.next_step()
            run.rewind()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run.next_step()
    # Put back in place: the graph works on these very tensors.
    run.model.load_state_dict(model)
    adam.load_state_dict(moments)
    return graph.replay
