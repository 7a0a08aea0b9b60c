"""Claim results to render: the real classes, the project's own parameters, and made-up losses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nbformat
import pandas as pd

from gon import figures, verdicts
from gon.catalogue import DATASETS
from gon.params import PROJECT, Budget, ClaimParams, load_study
from gon.results import (
    BudgetSummary,
    Cell,
    ClaimResult,
    FigureFile,
    LeftOut,
    Measurement,
    RunSummary,
    Table,
)
from gon.runs import MODELS, RunSpec

Loss = Callable[[RunSpec], float | None]
"""Validation loss of a run, or None if it is to diverge."""

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def plausible_loss(spec: RunSpec) -> float:
    """A loss that orders the settings as published."""
    loss = {64: 41.23, 128: 33.91, 256: 29.07}.get(spec.latent_dim, 45.0)
    loss *= {"elu": 1.0, "relu": 1.13, "tanh": 1.31, "leaky_relu": 1.11, "softplus": 1.62}[spec.activation]
    loss *= 0.84 if spec.inner_steps == 2 else 1.0
    loss *= {"gon": 1.0, "pca": 1.4}.get(spec.model, 1.2)
    return loss * (1.37 if spec.dataset == "fashion-mnist" else 1.0)


def make_claim(folder: Path, name: str, *, budget: str = "quick", loss: Loss = plausible_loss) -> ClaimResult:
    """Write the result of one of the project's claims, as its notebook would."""
    study = load_study(budget)
    claim = study.claim(name)
    specs = claim.specs(study.budget)
    if name == "latent_size":
        return make_result(
            folder, claim, study.budget, specs, loss, *_latent_size(claim, specs, loss, study.budget)
        )
    if name == "activations":
        return make_result(
            folder, claim, study.budget, specs, loss, *_activations(claim, specs, loss, study.budget)
        )
    make = _model_comparison if name == "model_comparison" else _two_step
    return make_result(folder, claim, study.budget, specs, loss, *make(claim, specs, loss, study.budget))


def make_result(
    folder: Path,
    claim: ClaimParams,
    budget: Budget,
    specs: list[RunSpec],
    loss: Loss,
    measurements: list[Measurement],
    tables: list[tuple[str, str, list[str], list[list[Cell]]]],
    judged: list[Any],
) -> ClaimResult:
    """Write a claim's folder with result, tables, a figure and run records."""
    for kind in ("tables", "figures", "runs"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    made_tables = []
    for table, caption, columns, rows in tables:
        frame = pd.DataFrame(
            [[c.measurement or c.published or c.text for c in row] for row in rows], columns=columns
        )
        frame.to_csv(folder / f"tables/{table}.csv", index=False)
        made_tables.append(
            Table(name=table, caption=caption, columns=columns, rows=rows, csv=f"tables/{table}.csv")
        )
    with figures.style():
        figure, axes = plt.subplots(1, 2, figsize=(figures.TEXT_WIDTH, 2.7))
        for spec in specs:
            final = loss(spec) or 90.0
            for panel in axes:
                panel.plot(
                    [0.1, 0.4, 0.7, 1.0], [final * 3, final * 1.6, final * 1.2, final], label=spec.label[:24]
                )
        for panel in axes:
            panel.set_xlabel("epoch")
            panel.set_ylabel("training loss")
        axes[0].legend()
        figures.save_figure(figure, folder / "figures/curves")
        plt.close(figure)
    (folder / "figures/curves.csv").write_text("epoch,loss\n1,2\n", encoding="utf-8")
    curves = FigureFile(
        name="curves",
        caption="Training loss of every run, averaged over blocks of steps.",
        alt="Line chart of the training loss of every run; all curves fall.",
        svg="figures/curves.svg",
        pdf="figures/curves.pdf",
        csv="figures/curves.csv",
        runs=[spec.digest for spec in specs],
    )
    result = ClaimResult(
        claim=claim.name,
        title=claim.title,
        order=claim.order,
        part=claim.part,
        headline=claim.headline,
        method=claim.method,
        published=claim.published,
        parameters=claim.parameters,
        budget=BudgetSummary(
            name=budget.name,
            description=budget.description,
            epochs=budget.epochs,
            overrides=list(budget.overrides),
            uses_all_images=budget.train_images is None,
        ),
        measurements=measurements,
        tables=made_tables,
        figures=[curves],
        verdicts=judged,
        runs=[_summary(folder, spec, budget, loss(spec)) for spec in specs],
        left_out=[
            LeftOut(
                digest=request.spec.digest,
                dataset=DATASETS[request.spec.dataset].title,
                model=request.spec.model_label,
                reason=request.left_out,
            )
            for request in claim.requests(budget)
            if request.left_out is not None
        ],
    )
    (folder / "result.json").write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return result


def measure(
    name: str,
    label: str,
    spec: RunSpec,
    budget: Budget,
    value: float | None,
    *,
    quantity: str = "validation loss",
    published: float | None = None,
) -> Measurement:
    """A measurement of one run."""
    return Measurement(
        name=name,
        label=label,
        quantity=quantity,
        unit="SSE per image",
        value=value,
        note="diverged in epoch 1, step 7" if value is None else None,
        epochs=budget.epochs,
        runs=[spec.digest],
        published=published,
    )


def make_notebook(path: Path) -> Path:
    """Write an executed notebook with everything that papermill and Jupyter leave in one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    code = nbformat.v4.new_code_cell(
        "import gon  # a comment\n\ndef f(x: int) -> str:\n    return f'{x + 1}'", execution_count=1
    )
    code.outputs = [
        nbformat.v4.new_output("stream", name="stdout", text="plain \x1b[31mred\x1b[0m <b>not bold</b>\n"),
        nbformat.v4.new_output("stream", name="stderr", text="12%|## | 3/24 [00:01<00:09]\r"),
        nbformat.v4.new_output(
            "display_data", data={"image/png": PIXEL}, metadata={"image/png": {"alt": "A pixel"}}
        ),
        nbformat.v4.new_output(
            "display_data",
            data={
                "text/html": "<table border='1'><thead><tr><th></th><th>a</th></tr></thead>"
                "<tbody><tr><th>0</th><td>1</td></tr></tbody></table>"
            },
        ),
        nbformat.v4.new_output("display_data", data={"image/png": PIXEL}),
        nbformat.v4.new_output(
            "display_data", data={"text/html": "<script>alert(1)</script><p onclick='x()'>safe</p>"}
        ),
    ]
    parameters = nbformat.v4.new_code_cell(
        f'# Parameters\nbudget = "quick"\noutput = "{PROJECT}/build"', execution_count=2
    )
    parameters.metadata["tags"] = ["injected-parameters"]
    parameters.metadata["papermill"] = {"start_time": "2026-01-01T00:00:00"}
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# The claim\n\nText with *emphasis*.\n\n### Deep\n\n## Less deep"),
            parameters,
            code,
        ]
    )
    notebook.metadata["papermill"] = {"duration": 3.2}
    nbformat.write(notebook, path)
    return path


def _summary(folder: Path, spec: RunSpec, budget: Budget, loss: float | None) -> RunSummary:
    record, steps = f"runs/{spec.digest}.json", f"runs/{spec.digest}.steps.csv"
    images = f"runs/{spec.digest}.images.json"
    (folder / images).write_text(json.dumps({"digest": spec.digest}), encoding="utf-8")
    (folder / record).write_text(json.dumps({"digest": spec.digest}), encoding="utf-8")
    (folder / steps).write_text("step,train_loss\n1,90\n", encoding="utf-8")
    milliseconds = 21.0 + spec.latent_dim / 40 + 14 * (spec.inner_steps - 1)
    seconds = milliseconds * spec.steps_per_epoch * budget.epochs / 1e3
    return RunSummary(
        digest=spec.digest,
        label=spec.label,
        spec={key: value for key, value in vars(spec).items() if value is not None},
        epochs=budget.epochs,
        parameters={64: 107_089, 128: 172_625, 256: 303_697}.get(spec.latent_dim, 74_321),
        train_loss=None if loss is None else loss * 0.98,
        validation_loss=loss,
        diverged="diverged in epoch 1, step 7" if loss is None else None,
        train_seconds=seconds,
        step_milliseconds=milliseconds,
        total_seconds=seconds * 1.1,
        peak_memory_mib=612.4,
        machine={"processor": "Some Processor 3000", "cores": 2, "memory_gib": 16, "system": "Linux x86_64"},
        versions={"python": "3.12.3", "torch": "2.13.0", "numpy": "2.3.1"},
        device="cpu",
        dtype="float32",
        threads=1,
        origin_pass="fast",
        compiled="no",
        commit="0123456789ab",
        started=f"2026-11-2{spec.inner_steps}T10:00:00+00:00",
        data={"train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb"},
        record=record,
        steps=steps,
        images=images,
    )


def _latent_size(
    claim: ClaimParams, specs: list[RunSpec], loss: Loss, budget: Budget
) -> tuple[Any, Any, Any]:
    found = {}
    for spec in specs:
        name = f"{spec.dataset}/{spec.latent_dim}"
        label = f"{'MNIST' if spec.dataset == 'mnist' else 'Fashion-MNIST'}, latent {spec.latent_dim}"
        found[name] = measure(name, label, spec, budget, loss(spec), published=claim.published.values[name])
    sizes, sets = claim.parameters["latent_dims"], claim.parameters["datasets"]
    rows = [
        [
            Cell(text=str(size)),
            *(
                cell
                for dataset in sets
                for cell in (
                    Cell(measurement=f"{dataset}/{size}"),
                    Cell(published=claim.published.values[f"{dataset}/{size}"]),
                )
            ),
        ]
        for size in sizes
    ]
    ours, theirs = f"ours, {budget.epochs} epoch(s)", "published, 500 epochs"
    columns = [
        "latent dimensions",
        f"MNIST, {ours}",
        f"MNIST, {theirs}",
        f"Fashion-MNIST, {ours}",
        f"Fashion-MNIST, {theirs}",
    ]
    pairs = [
        (found[f"{d}/{b}"], found[f"{d}/{a}"]) for d in sets for a, b in zip(sizes, sizes[1:], strict=False)
    ]
    whole = budget.train_images is None
    judged = [
        verdicts.judge_ordering(claim.rule("larger_is_better"), pairs, uses_all_images=whole),
        verdicts.judge_values(claim.rule("same_values"), list(found.values()), uses_all_images=whole),
    ]
    caption = "Validation loss, SSE per image, by latent size."
    return list(found.values()), [("loss", caption, columns, rows)], judged


def _activations(
    claim: ClaimParams, specs: list[RunSpec], loss: Loss, budget: Budget
) -> tuple[Any, Any, Any]:
    titles = {"elu": "ELU", "relu": "ReLU", "tanh": "tanh", "leaky_relu": "LeakyReLU", "softplus": "Softplus"}
    found = {
        spec.activation: measure(
            spec.activation, titles[spec.activation], spec, budget, loss(spec), quantity="training loss"
        )
        for spec in specs
        if spec.latent_dim == claim.parameters["latent_dim"]
    }
    pairs = [(found["elu"], other) for name, other in found.items() if name != "elu"]
    rows = [[Cell(text=m.label), Cell(measurement=m.name)] for m in found.values()]
    judged = [
        verdicts.judge_ordering(
            claim.rule("elu_is_lowest"), pairs, uses_all_images=budget.train_images is None
        )
    ]
    table = (
        "losses",
        "Training loss in the last epoch, SSE per image.",
        ["activation", "training loss"],
        rows,
    )
    return list(found.values()), [table], judged


def _two_step(claim: ClaimParams, specs: list[RunSpec], loss: Loss, budget: Budget) -> tuple[Any, Any, Any]:
    found = [
        measure(f"{kind}/{spec.inner_steps}", label, spec, budget, loss(spec), quantity=quantity)
        for kind, quantity in (("train", "training loss"), ("validation", "validation loss"))
        for spec, label in zip(specs, ("one inner step", "two inner steps"), strict=True)
    ]
    whole = budget.train_images is None
    judged = [
        verdicts.judge_ordering(
            claim.rule("lower_training_loss"), [(found[1], found[0])], uses_all_images=whole
        ),
        verdicts.judge_ordering(
            claim.rule("lower_validation_loss"), [(found[3], found[2])], uses_all_images=whole
        ),
    ]
    rows = [[Cell(text=m.label), Cell(text=m.quantity), Cell(measurement=m.name)] for m in found]
    table = (
        "cost",
        "Losses with one and two inner steps, SSE per image.",
        ["inner steps", "quantity", "loss"],
        rows,
    )
    return found, [table], judged


def _model_comparison(
    claim: ClaimParams, specs: list[RunSpec], loss: Loss, budget: Budget
) -> tuple[Any, Any, Any]:
    found = {}
    for spec in specs:
        where = f"{DATASETS[spec.dataset].title}, latent {spec.latent_dim}"
        name = f"{spec.model}/{spec.dataset}/{spec.latent_dim}"
        found[name] = measure(name, f"{MODELS[spec.model]}, {where}", spec, budget, loss(spec))
    whole = budget.train_images is None

    def judge(rule: str, others: tuple[str, ...], dataset: str = "") -> Any:
        pairs = [
            (
                found[f"gon/{spec.dataset}/{spec.latent_dim}"],
                found[f"{spec.model}/{spec.dataset}/{spec.latent_dim}"],
            )
            for spec in specs
            if spec.model in others and spec.dataset.startswith(dataset)
        ]
        return verdicts.judge_ordering(claim.rule(rule), pairs, uses_all_images=whole, complete=False)

    judged = [judge("better_than_autoencoder", ("autoencoder",))]
    judged += [judge(f"lowest_{name}", ("autoencoder", "pca"), name) for name in DATASETS]
    judged += [judge("lowest", ("autoencoder", "pca"))]
    rows = [[Cell(text=m.label), Cell(measurement=m.name)] for m in found.values()]
    rows += [[Cell(text="GON, CIFAR-10, latent 64"), Cell(text="not run")]]
    return list(found.values()), [("losses", "Validation loss.", ["model", "loss"], rows)], judged
