"""Measure the training step against the authors' algorithm: `python benchmarks/run.py`.

Every measurement is a process of its own, so that none runs in the memory or the settings of another.
The variants take turns, round after round, and are compared within a round: what else the machine does
then meets all of them. Writes `build/benchmarks/results.json`, `table.md` and `cost.svg`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

FOLDER = Path(__file__).resolve().parent
PROJECT = FOLDER.parent
SETTINGS = [
    {"latent_dim": latent_dim, "inner_steps": inner_steps}
    for inner_steps in (1, 2)
    for latent_dim in (64, 128, 256)
]
VARIANTS = ("authors", "reference", "fast", "compiled")
START_UP = ["import_seconds", "data_seconds", "build_seconds", "first_step_seconds"]
SWEEPS = {
    "latent_dim": (16, 32, 64, 128, 256, 512),
    "width": (4, 8, 16, 32),
    "batch_size": (16, 32, 64, 128, 256),
    "inner_steps": (1, 2, 3, 4),
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


def against_authors(rows: pd.DataFrame) -> pd.Series:
    """How many times as many images per second as the authors' algorithm, in the same round and setting."""
    authors = rows[rows["variant"] == "authors"]
    both = rows.merge(authors, on=["round", *SETTINGS[0]], suffixes=("", "_authors"))
    return both["images_per_second"] / both["images_per_second_authors"]


def medians(rows: pd.DataFrame) -> pd.DataFrame:
    """Medians over rounds, a row per variant and setting."""
    keys = ["variant", *SETTINGS[0]]
    return rows.groupby(keys, sort=False).median(numeric_only=True).drop(columns="round").reset_index()


def one_core(rounds: int, steps: int) -> pd.DataFrame:
    """All variants and settings on one core."""
    found = []
    for number in range(rounds):
        peak = 2 * 2048**3 / 1e6 / measure("peak")["ms"]
        for settings in SETTINGS:
            for variant in VARIANTS:
                row = measure(variant, **settings, steps=steps)
                found.append({"round": number, "variant": variant, **settings, "peak_gflops": peak, **row})
                print(f"round {number + 1}: {variant} {settings} {row['ms']:.1f} ms", flush=True)
    rows = pd.DataFrame(found)
    rows["images_per_second"] = 64e3 / rows["ms"]
    rows["against_authors"] = against_authors(rows)
    needed = [flops(row["latent_dim"], 16, 64, row["inner_steps"]) for row in found]
    rows["of_peak"] = needed / (1e6 * rows["ms"] * rows["peak_gflops"].median())
    rows["start_up_seconds"] = rows[START_UP].sum(axis=1, skipna=False)
    # The first round compiles, the others find the result in the cache.
    compiling = rows["compile_seconds"].where(rows["variant"] == "compiled")
    rows["first_compile_seconds"] = compiling.where(rows["round"] == 0)
    rows["cached_compile_seconds"] = compiling.where(rows["round"] > 0)
    return medians(rows)


def all_cores(rounds: int, steps: int) -> pd.DataFrame:
    """Images per second with all cores: one authors' process of many threads, or many runs of ours."""
    cores = len(os.sched_getaffinity(0))
    found = []
    for number in range(rounds):
        for settings in SETTINGS:
            for variant in VARIANTS:
                if variant == "authors":
                    running = [start(variant, **settings, threads=cores, steps=steps)]
                else:  # longer, so that little of it runs alone at either end
                    running = [start(variant, **settings, steps=3 * steps) for _ in range(cores)]
                rate = sum(64e3 / result(process)["ms_mean"] for process in running)
                found.append({"round": number, "variant": variant, **settings, "images_per_second": rate})
                print(
                    f"round {number + 1}, {cores} cores: {variant} {settings} {rate:.0f} images/s", flush=True
                )
    rows = pd.DataFrame(found)
    rows["cores"] = cores
    rows["against_authors"] = against_authors(rows)
    return medians(rows)


def cost(steps: int) -> pd.DataFrame:
    """Cost of a fast step against latent size, width, batch size and inner steps."""
    rows = []
    for key, values in SWEEPS.items():
        for value in values:
            rows.append(
                {"varied": key, "value": value, "ms": measure("fast", steps=steps, **{key: value})["ms"]}
            )
            print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def agreement() -> pd.DataFrame:
    """How far the losses of 200 steps are from the authors', by settings and start."""
    rows = []
    for latent_dim, inner_steps in ((64, 1), (256, 1), (64, 2)):
        found = measure("agreement", latent_dim=latent_dim, inner_steps=inner_steps, steps=200)
        for name in ("default", "after_its_first_step", "off_the_kink"):
            rows.append({"latent_dim": latent_dim, "inner_steps": inner_steps, "start": name, **found[name]})
    return pd.DataFrame(rows)


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Draw the cost of a step, one panel per setting."""
    from gon.claims import figures

    with figures.style():
        figure, axes = figures.panels(len(SWEEPS), height=2.2)
        for axis, (key, points) in zip(axes, rows.groupby("varied", sort=False), strict=True):
            axis.plot(points["value"], points["ms"], marker="o", markersize=3)
            axis.set_xlabel(str(key).replace("_", " "))
            axis.set_ylim(bottom=0)
        axes[0].set_ylabel("ms per step")
        figure.savefig(path, metadata={"Date": None})


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
        tables = {
            "one_core": one_core(options.rounds, options.steps),
            "all_cores": all_cores(options.rounds, options.steps),
            "cost": cost(options.steps),
            "agreement": agreement(),
        }
    found = {
        "machine": provenance.machine(),
        "commit": provenance.commit(),
        "rounds": options.rounds,
        "steps": options.steps,
        # By way of pandas, which writes what was not measured as null.
        **{name: json.loads(rows.to_json(orient="records")) for name, rows in tables.items()},
    }
    (options.output / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    text = "\n\n".join(rows.to_markdown(index=False, floatfmt=".4g") for rows in tables.values()) + "\n"
    (options.output / "table.md").write_text(text)
    draw(tables["cost"], options.output / "cost.svg")
    print(f"\n{text}\nwritten to {options.output}")


if __name__ == "__main__":
    main()
