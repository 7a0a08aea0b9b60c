"""Measure the training step against the authors' algorithm: `python benchmarks/run.py`.

Every measurement is a process of its own, so that none runs in the memory or the settings of another.
The variants take turns, round after round, and are compared within a round: what else the machine does
then meets all of them. Writes `build/benchmarks/results.json`, `table.md` and `cost.svg`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
PROJECT = FOLDER.parent
SETTINGS = [(latent_dim, inner_steps) for inner_steps in (1, 2) for latent_dim in (64, 128, 256)]
VARIANTS = ("authors", "reference", "fast", "compiled")
START_UP = ("import_seconds", "data_seconds", "build_seconds", "first_step_seconds")
COMPILING = ("first_compile_seconds", "cached_compile_seconds")
SWEEPS = {
    "latent_dim": (16, 32, 64, 128, 256, 512),
    "width": (4, 8, 16, 32),
    "batch_size": (16, 32, 64, 128, 256),
    "inner_steps": (1, 2, 3, 4),
}
LABELS = {
    "latent_dim": "latent size",
    "width": "width",
    "batch_size": "batch size",
    "inner_steps": "inner steps",
}


def start(variant: str, **options: Any) -> subprocess.Popen[str]:
    """Start one measurement."""
    command = [sys.executable, str(FOLDER / "measure.py"), variant]
    for key, value in options.items():
        command += [f"--{key.replace('_', '-')}", str(value)]
    threads = str(options.get("threads", 1))
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": threads,
        "PYTHONPATH": os.pathsep.join((str(FOLDER), str(PROJECT))),
    }
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a measurement."""
    output, _ = process.communicate()
    if process.returncode:
        sys.exit(f"a measurement failed: {process.args}")
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def measure(variant: str, **options: Any) -> dict[str, Any]:
    """Make one measurement."""
    return result(start(variant, **options))


def flops(latent_dim: int, width: int, batch_size: int, inner_steps: int) -> float:
    """Necessary FLOPs of a training step.

    A pass through the four layers takes so many multiplications and additions per image. An inner step
    pulls back once, and decoding is one pass; each of them is two more in the backward. Only inner
    steps after the first decode a batch of their own, which the backward needs as well.
    """
    layers = latent_dim * 4 * width + (4 * width * 2 * width) * 16 + (2 * width * width) * 64 + width * 256
    return 6.0 * inner_steps * 2 * 16 * layers * batch_size


def median(rows: Sequence[dict[str, Any]], key: str) -> float:
    """Median of a quantity over rounds."""
    return statistics.median(row[key] for row in rows)


def ratio(rows: Sequence[dict[str, Any]], reference: Sequence[dict[str, Any]], key: str = "ms") -> float:
    """Median over rounds of how many times faster than the reference of the same round."""
    return statistics.median(b[key] / a[key] for a, b in zip(rows, reference, strict=True))


def one_core(rounds: int, steps: int) -> tuple[list[dict[str, Any]], float]:
    """All variants and settings on one core; also the peak in GFLOP/s."""
    found: dict[tuple[str, int, int], list[dict[str, Any]]] = {}
    peaks = []
    for number in range(rounds):
        peaks.append(2 * 2048**3 / 1e6 / measure("peak")["ms"])
        for latent_dim, inner_steps in SETTINGS:
            for variant in VARIANTS:
                row = measure(variant, latent_dim=latent_dim, inner_steps=inner_steps, steps=steps)
                found.setdefault((variant, latent_dim, inner_steps), []).append(row)
                print(
                    f"round {number + 1}: {variant} {latent_dim} {inner_steps} {row['ms']:.1f} ms", flush=True
                )
    peak = statistics.median(peaks)
    rows = []
    for (variant, latent_dim, inner_steps), values in found.items():
        milliseconds = median(values, "ms")
        rows.append(
            {
                "variant": variant,
                "latent_dim": latent_dim,
                "inner_steps": inner_steps,
                "ms": milliseconds,
                "steps_per_second": 1e3 / milliseconds,
                "images_per_second": 64e3 / milliseconds,
                "speed_up": ratio(values, found["authors", latent_dim, inner_steps]),
                "fraction_of_peak": flops(latent_dim, 16, 64, inner_steps) / (1e6 * milliseconds * peak),
                "peak_memory_mib": max(value["peak_memory_mib"] for value in values),
                **{key: median(values, key) for key in START_UP if key in values[0]},
                # The first round compiles, the others find the result in the cache.
                **(
                    {
                        "first_compile_seconds": values[0]["compile_seconds"],
                        "cached_compile_seconds": statistics.median(
                            value["compile_seconds"] for value in values[1:] or values
                        ),
                    }
                    if variant == "compiled"
                    else {}
                ),
            }
        )
    return rows, peak


def all_cores(rounds: int, steps: int) -> list[dict[str, Any]]:
    """Images per second with all cores: one authors' process of many threads, or many runs of ours."""
    cores = len(os.sched_getaffinity(0))
    rates: dict[tuple[str, int, int], list[float]] = {}
    for number in range(rounds):
        for latent_dim, inner_steps in SETTINGS:
            settings = {"latent_dim": latent_dim, "inner_steps": inner_steps}
            for variant in VARIANTS:
                if variant == "authors":
                    running = [start(variant, **settings, threads=cores, steps=steps)]
                else:  # longer, so that little of it runs alone at either end
                    running = [start(variant, **settings, steps=3 * steps) for _ in range(cores)]
                rate = sum(64e3 / result(process)["ms_mean"] for process in running)
                rates.setdefault((variant, latent_dim, inner_steps), []).append(rate)
                print(
                    f"round {number + 1}, {cores} cores: {variant} {latent_dim} {inner_steps} "
                    f"{rate:.0f} images/s",
                    flush=True,
                )
    return [
        {
            "variant": variant,
            "latent_dim": latent_dim,
            "inner_steps": inner_steps,
            "cores": cores,
            "images_per_second": statistics.median(values),
            "speed_up": statistics.median(
                a / b for a, b in zip(values, rates["authors", latent_dim, inner_steps], strict=True)
            ),
        }
        for (variant, latent_dim, inner_steps), values in rates.items()
    ]


def cost(rounds: int, steps: int) -> list[dict[str, Any]]:
    """Cost of a fast step against latent size, width, batch size and inner steps."""
    defaults = {"latent_dim": 64, "width": 16, "batch_size": 64, "inner_steps": 1}
    rows = []
    for key, values in SWEEPS.items():
        for value in values:
            settings = {**defaults, key: value}
            found = [measure("fast", steps=steps, **settings) for _ in range(rounds)]
            rows.append({"varied": key, **settings, "ms": median(found, "ms")})
            print(rows[-1], flush=True)
    return rows


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the cost of a step, one panel per setting."""
    sys.path.insert(0, str(PROJECT))
    from gon.claims import figures

    with figures.style():
        figure, axes = figures.panels(len(SWEEPS), height=2.2)
        for axis, key in zip(axes, SWEEPS, strict=True):
            points = [(row[key], row["ms"]) for row in rows if row["varied"] == key]
            axis.plot(*zip(*points, strict=True), marker="o", markersize=3)
            axis.set_xlabel(LABELS[key])
            axis.set_ylim(bottom=0)
        axes[0].set_ylabel("ms per step")
        figure.savefig(path, metadata={"Date": None})


def table(found: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        f"Peak of a float32 matrix product on one core: {found['peak_gflops']:.0f} GFLOP/s.",
        "",
        "| one core | latent | inner steps | ms per step | images/s | against authors' | of peak | MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in found["one_core"]:
        lines.append(
            f"| {row['variant']} | {row['latent_dim']} | {row['inner_steps']} | {row['ms']:.1f} "
            f"| {row['images_per_second']:.0f} | {row['speed_up']:.2f} | {row['fraction_of_peak']:.0%} "
            f"| {row['peak_memory_mib']:.0f} |"
        )
    lines += ["", "| all cores | latent | inner steps | cores | images/s | against authors' |"]
    lines += ["|---|---|---|---|---|---|"]
    for row in found["all_cores"]:
        lines.append(
            f"| {row['variant']} | {row['latent_dim']} | {row['inner_steps']} | {row['cores']} "
            f"| {row['images_per_second']:.0f} "
            f"| {row['speed_up']:.2f} |"
        )
    lines += ["", "| start-up, one core | latent | inner steps | seconds | compiling, first | from cache |"]
    lines += ["|---|---|---|---|---|---|"]
    for row in found["one_core"]:
        if "import_seconds" in row:
            compiling = [f"{row[key]:.1f}" if key in row else "" for key in COMPILING]
            lines.append(
                f"| {row['variant']} | {row['latent_dim']} | {row['inner_steps']} "
                f"| {sum(row[key] for key in START_UP):.2f} | {' | '.join(compiling)} |"
            )
    lines += [
        "",
        "| latent / inner steps | from | fast against authors' | authors' in float64 against float32 |",
        "|---|---|---|---|",
    ]
    for settings, starts in found["agreement"].items():
        for start_name, worst in starts.items():
            lines.append(
                f"| {settings} | {start_name.replace('_', ' ')} | {worst['fast']:.1e} "
                f"| {worst['authors_in_float64']:.1e} |"
            )
    return "\n".join(lines) + "\n"


def agreement() -> dict[str, Any]:
    """How far the losses of 200 steps are from the authors', by settings and start."""
    found = {}
    for latent_dim, inner_steps in ((64, 1), (256, 1), (64, 2)):
        row = measure("agreement", latent_dim=latent_dim, inner_steps=inner_steps, steps=200)
        starts = ("default", "after_its_first_step", "off_the_kink")
        found[f"{latent_dim}/{inner_steps}"] = {start: row[start] for start in starts}
    return found


def main() -> None:
    """Measure everything and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--steps", type=int, default=40, help="steps per measurement (default: 40)")
    parser.add_argument("--output", type=Path, default=PROJECT / "build" / "benchmarks")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(PROJECT))
    from gon.runs import provenance

    # Empty, so that the first round compiles.
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        rows, peak = one_core(options.rounds, options.steps)
        found = {
            "machine": provenance.machine(),
            "commit": provenance.commit(),
            "rounds": options.rounds,
            "steps": options.steps,
            "peak_gflops": peak,
            "one_core": rows,
            "all_cores": all_cores(options.rounds, options.steps),
            "cost": cost(1, options.steps),
            "agreement": agreement(),
        }
    (options.output / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    (options.output / "table.md").write_text(table(found))
    draw(found["cost"], options.output / "cost.svg")
    print(f"\n{table(found)}\nwritten to {options.output}")


if __name__ == "__main__":
    main()
