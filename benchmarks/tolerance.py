"""Measure how far trainings drift apart between kinds of machine: `python benchmarks/tolerance.py`.

Trains a run of every model under other instruction sets on one machine, and compares losses with those under
its own, after one epoch and after five: what `gon verify` may allow where bits may differ. Trainings are kept
in `build/benchmarks/tolerance`, and those that are there, or in `records/` from this kind of machine, are
used. Writes `build/benchmarks/tolerance.json` and `tolerance.md`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from gon.claims.params import REFERENCE  # noqa: E402
from gon.files import write_atomically  # noqa: E402
from gon.runs import provenance  # noqa: E402
from gon.runs.record import RunRecord  # noqa: E402
from gon.runs.store import RunStore  # noqa: E402
from gon.spec import RunSpec  # noqa: E402
from gon.verify.deviations import block_deviations, epoch_deviations  # noqa: E402

INSTRUCTION_SETS = {
    "own": {},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "SSE4.1": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
}
"""Which vector instructions torch and oneDNN may use."""

FEWER = {"SSE4.1": 1}
"""Epochs where no more are trained: without wide vectors an epoch takes several times as long."""

SPECS = [
    (RunSpec(latent_dim=64), 5),
    (RunSpec(latent_dim=256), 5),
    (RunSpec(latent_dim=64, dataset="fashion-mnist"), 5),
    (RunSpec(latent_dim=64, inner_steps=2), 5),
    (RunSpec(latent_dim=64, activation="relu"), 5),
    (RunSpec(latent_dim=64, activation="softplus"), 5),
    (RunSpec(latent_dim=64, model="gon_detached"), 5),
    (RunSpec(latent_dim=64, model="autoencoder"), 5),
    (RunSpec(latent_dim=256, model="autoencoder"), 5),
    (RunSpec(latent_dim=64, model="tied_autoencoder"), 5),
    (RunSpec(latent_dim=64, model="vae"), 5),
    (RunSpec(latent_dim=64, model="glo"), 5),
    (RunSpec(latent_dim=64, model="pca"), 1),
    (RunSpec(latent_dim=48, width=32, model="variational_gon"), 1),
    (RunSpec(latent_dim=32, width=64, model="implicit_gon"), 1),
]
"""What is trained, and for how many epochs."""


def trained(spec: RunSpec, epochs: int, instruction_set: str, folder: Path) -> tuple[RunRecord, RunStore]:
    """The record of a run under some vector instructions; trained if it is not there."""
    store = RunStore(folder / instruction_set)
    if instruction_set == "own" and not store.has(spec, epochs) and RunStore(REFERENCE).has(spec, epochs):
        record = RunStore(REFERENCE).load(spec, epochs)
        then, now = record.sessions[0].machine, provenance.machine()
        if all(then.get(key) == now.get(key) for key in ("processor", "family", "model", "stepping")):
            shutil.copytree(REFERENCE / spec.digest, store.folder(spec))
    subprocess.run(
        [
            *(sys.executable, "-m", "gon.cli", "train", *spec.arguments()),
            *("--epochs", str(epochs), "--store", str(store.root)),
        ],
        cwd=PROJECT,
        env={**os.environ, **INSTRUCTION_SETS[instruction_set]},
        check=True,
    )
    return store.load(spec, epochs), store


def measure(spec: RunSpec, most: int, folder: Path) -> list[dict[str, str | int | float]]:
    """Largest deviations of a run under other instruction sets, after one epoch and after all."""
    rows: list[dict[str, str | int | float]] = []
    own, own_store = trained(spec, most, "own", folder)
    for name in list(INSTRUCTION_SETS)[1:]:
        reached = min(most, FEWER.get(name, most))
        other, other_store = trained(spec, reached, name, folder)
        for epochs in sorted({1, reached}):
            steps = epochs * spec.steps_per_epoch
            losses = (other_store.steps_of(other)[:steps], own_store.steps_of(own)[:steps])
            rows.append(
                {
                    "run": spec.label,
                    "model": spec.model,
                    "instructions": name,
                    "epochs": epochs,
                    "steps": max(block_deviations(*losses), default=0.0),
                    "validation": max(
                        epoch_deviations(other.history[:epochs], own.history[:epochs]), default=0.0
                    ),
                }
            )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, default=PROJECT / "build" / "benchmarks")
    folder = parser.parse_args(arguments).output
    rows = [row for spec, epochs in SPECS for row in measure(spec, epochs, folder / "tolerance")]
    machine = provenance.machine()
    content = {"machine": machine, "rows": rows}
    write_atomically(folder / "tolerance.json", json.dumps(content, indent=1) + "\n")
    lines = [
        f"{machine['processor']}, family {machine.get('family')}, model {machine.get('model')}",
        "",
        "| run | instructions | epochs | means of 50 steps | validation loss |",
        "|---|---|---|---|---|",
        *(
            f"| {r['run']} | {r['instructions']} | {r['epochs']} | {r['steps']:.4%} | {r['validation']:.4%} |"
            for r in rows
        ),
    ]
    write_atomically(folder / "tolerance.md", "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
