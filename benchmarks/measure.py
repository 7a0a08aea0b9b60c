"""Measure one variant in a process of its own, and print the result as JSON. Called by run.py."""

import time

STARTED = time.perf_counter()

import argparse  # noqa: E402
import copy  # noqa: E402
import json  # noqa: E402
import statistics  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import torch  # noqa: E402

IMPORTED = time.perf_counter()

from authors import AuthorsTraining, loader  # noqa: E402

from gon.data import prepared as data  # noqa: E402
from gon.runs import provenance  # noqa: E402
from gon.runs.acceleration import captured_step  # noqa: E402
from gon.runs.process import prepare_process  # noqa: E402
from gon.runs.trajectory import Trajectory  # noqa: E402
from gon.science.measure import to_float  # noqa: E402
from gon.spec import RunSpec  # noqa: E402

WARM_UP = 5


def step_times(step: Callable[[], object], steps: int) -> list[float]:
    """Wall time of each of some steps in ms, after a few that do not count."""
    for _ in range(WARM_UP):
        step()
    times = []
    for _ in range(steps):
        started = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - started))
    return times


def authors(spec: RunSpec, options: argparse.Namespace) -> dict[str, Any]:
    """The authors' algorithm with its loader; torch and the C library as they come."""
    run, batches = AuthorsTraining(spec.latent_dim, spec.inner_steps), loader()
    return {"ms": step_times(lambda: run.step(next(batches)), options.steps)}


def ours(spec: RunSpec, options: argparse.Namespace) -> dict[str, Any]:
    """Our training loop, as `gon train` sets it up."""
    before = time.perf_counter()
    prepare_process(options.threads)
    images = data.load("mnist")
    mapped = time.perf_counter()
    run = Trajectory(
        spec,
        torch.from_numpy(images.train),
        torch.from_numpy(images.validation),
        origin_pass="reference" if options.variant == "reference" else "fast",
        device=options.device,
    )
    built = time.perf_counter()
    if options.variant == "compiled":
        run.compile(1)
        assert run.compiled == "from epoch 1", run.compiled
    compiled = time.perf_counter()
    run.begin_epoch()
    began = time.perf_counter()
    if options.device == "cpu":
        run.next_step()
    stepped = time.perf_counter()
    take_step = captured_step(run) if options.device == "cuda" else run.next_step

    def next_step() -> None:
        take_step()
        if options.device == "cuda":
            torch.cuda.synchronize()

    return {
        "ms": step_times(next_step, options.steps),
        "import_seconds": IMPORTED - STARTED,
        "data_seconds": mapped - before,
        "build_seconds": built - mapped,
        "compile_seconds": compiled - built,
        "first_step_seconds": stepped - began,
    }


def agreement(spec: RunSpec, options: argparse.Namespace) -> dict[str, Any]:
    """Largest relative deviation of the training loss from the authors' algorithm, step by step.

    Same weights at the start, same batches. The authors' algorithm in float64 is the control: it deviates
    from itself by what rounding does. PyTorch's initial norm biases of 0 put the origin right on the
    point where ELU's second derivative jumps, so that rounding alone decides which side it takes; the
    first step moves them off it for good. So there are three starts: as initialised (`default`), with the
    state that the authors' algorithm in float32 has after its first step (`after_its_first_step`), and
    with biases moved aside by 0.01 (`off_the_kink`).
    """
    prepare_process(options.threads)
    images = torch.from_numpy(data.load("mnist").train)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))
    found: dict[str, Any] = {"ms": [0.0]}
    for start in ("default", "after_its_first_step", "off_the_kink"):
        single, double = (AuthorsTraining(spec.latent_dim, spec.inner_steps) for _ in range(2))
        double.network.double()
        fast = Trajectory(spec, images, images)
        if start == "off_the_kink":
            for layer in single.network.modules():
                if isinstance(layer, torch.nn.BatchNorm2d):
                    torch.nn.init.constant_(layer.bias, 0.01)
        batches = list(order[: options.steps * spec.batch_size].split(spec.batch_size))
        if start == "after_its_first_step":
            single.step(to_float(images[batches.pop(0)]))
            moments = copy.deepcopy(single.optimizer.state_dict())
            double.optimizer.load_state_dict(moments)
            fast.optimizers[0].load_state_dict({"state": list(moments["state"].values())})
        for network in (double.network, fast.model.decoder):
            network.load_state_dict(single.network.state_dict())
        worst = {"fast": 0.0, "authors_in_float64": 0.0}
        for batch in batches:
            x = to_float(images[batch])
            reference = single.step(x) * spec.pixels
            for name, loss in (
                ("fast", fast.step(batch).item()),
                ("authors_in_float64", double.step(x.double()) * spec.pixels),
            ):
                worst[name] = max(worst[name], abs(loss / reference - 1))
        found[start] = worst
    return found


def peak(options: argparse.Namespace) -> dict[str, Any]:
    """Rate of a float32 matrix product of 2048 x 2048, in GFLOP/s."""
    a, b = torch.rand(2, 2048, 2048, device=options.device)

    def product() -> None:
        torch.mm(a, b)
        if options.device == "cuda":
            torch.cuda.synchronize()

    return {"ms": step_times(product, 10)}


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("variant", choices=("authors", "reference", "fast", "compiled", "peak", "agreement"))
    parser.add_argument("--latent-dim", type=int, default=64)
    parser.add_argument("--inner-steps", type=int, default=1)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    spec = RunSpec(
        latent_dim=options.latent_dim,
        inner_steps=options.inner_steps,
        width=options.width,
        batch_size=options.batch_size,
    )
    if options.variant == "peak":
        result = peak(options)
    else:
        result = {"authors": authors, "agreement": agreement}.get(options.variant, ours)(spec, options)
    times = result.pop("ms")
    print(
        json.dumps(
            {
                **result,
                "ms": statistics.median(times),
                "ms_mean": statistics.mean(times),
                "peak_memory_mib": provenance.peak_memory_mib(),
            }
        )
    )


if __name__ == "__main__":
    main()
