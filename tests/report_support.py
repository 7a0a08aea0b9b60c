"""Claim results to render: the real classes and rules, the project's own parameters, and made-up losses."""

import dataclasses
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import nbformat
import pandas as pd

from gon.catalogue import DATASETS, EXPLANATIONS, MILESTONES
from gon.claims.claim import Claim
from gon.claims.executed import seal_notebook
from gon.claims.loading import Run
from gon.claims.params import Budget, ClaimParams
from gon.claims.results import ClaimResult, read_result
from gon.claims.rules import Rule, StructuralRule, ValueRule
from gon.claims.study import Study, load_study
from gon.files import PROJECT
from gon.reporting.build import build_report
from gon.reporting.read import ReportParts, collect_report
from gon.reporting.section import Section
from gon.runs.record import Divergence, Epoch, RunRecord, Session
from gon.runs.store import RunStore
from gon.spec import RunSpec

Loss = Callable[[RunSpec], float | None]
"""Validation loss of a run, or None if it is to diverge."""

MACHINE: dict[str, str | int] = {
    "processor": "Some Processor 3000",
    "cores": 2,
    "memory_gib": 16,
    "system": "Linux x86_64",
}

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def plausible_loss(spec: RunSpec) -> float:
    """A loss that orders the settings as published; seeds other than the first scatter by 0.3%."""
    loss = {64: 41.23, 128: 33.91, 256: 29.07}.get(spec.latent_dim, 45.0)
    loss *= {"elu": 1.0, "relu": 1.13, "tanh": 1.31, "leaky_relu": 1.11, "softplus": 1.62}[spec.activation]
    loss *= 0.84 if spec.inner_steps == 2 else 1.0
    loss *= {"gon": 1.0, "pca": 1.4}.get(spec.model, 1.2)
    loss *= 1.0 + (random.Random(spec.digest).gauss(0, 0.003) if spec.seed else 0.0)
    return loss * (1.37 if spec.dataset == "fashion-mnist" else 1.0)


def make_claim(
    folder: Path,
    name: str,
    *,
    budget: str = "quick",
    overrides: Sequence[str] = (),
    rule_epochs: int | None = None,
    loss: Loss = plausible_loss,
) -> ClaimResult:
    """Write the result of one of the project's claims, as its notebook would.

    With `rule_epochs` its rules compare after so many, so that a short run can meet them.
    """
    study = load_study(budget, overrides)
    params = study.claim(name)
    if rule_epochs is not None:
        params = params.model_copy(update={"rules": [_after(rule, rule_epochs) for rule in params.rules]})
    requests = params.requests(study.budget)
    wanted = {request.spec: request.epochs for request in requests if request.left_out is None}
    claim = begin(folder, params, study.budget, wanted, loss)
    claim.left_out = [request for request in requests if request.left_out is not None]
    add_tables(claim)
    claim.judge()
    claim.save()
    STUDIES[folder] = dataclasses.replace(
        study, claims=tuple(params if claim.name == name else claim for claim in study.claims)
    )
    return read_result(folder)


STUDIES: dict[Path, Study] = {}
CLAIM_OF: dict[Path, str] = {}
"""What each claim's folder was made of."""


def judged(folder: Path) -> Section:
    """What the report says of a claim's folder."""
    (section,) = collect_report(study_of([folder]), [folder], []).sections
    return section


def study_of(folders: Sequence[Path]) -> Study:
    """The study whose runs lie where `begin` has put them."""
    studies = [STUDIES[folder] for folder in folders]
    budget = studies[0].budget.model_copy(update={"store": str(runs_of(folders[0]))})
    claims = {claim.name: claim for claim in load_study().claims}
    for folder in folders:
        claims[CLAIM_OF[folder]] = STUDIES[folder].claim(CLAIM_OF[folder])
    return Study(budget, tuple(sorted(claims.values(), key=lambda claim: (claim.order, claim.name))))


def build(
    folders: Sequence[Path], output: Path, notebooks: Sequence[Path] = (), workflow: Path | None = None
) -> None:
    """Make the report of claims' folders; the notebooks are those that they are of."""
    results = {CLAIM_OF[folder]: folder / "result.json" for folder in folders}
    for path in notebooks:
        if path.stem in results or path.stem in EXPLANATIONS:
            seal_notebook(path, PROJECT / "notebooks" / path.name, results.get(path.stem))
    build_report(study_of(folders), ReportParts(folders, notebooks, workflow), output)


def runs_of(folder: Path) -> Path:
    """Where the runs of a claim's folder lie; claims side by side share them, as they do in a project."""
    return folder.parent / ".runs"


def _after(rule: Rule, epochs: int) -> Rule:
    update: dict[str, object] = {} if isinstance(rule, StructuralRule) else {"epochs": [epochs]}
    return rule.model_copy(update=update | ({"milestones": []} if isinstance(rule, ValueRule) else {}))


def begin(
    folder: Path, params: ClaimParams, budget: Budget, wanted: Mapping[RunSpec, int], loss: Loss
) -> Claim:
    """A claim whose runs, each of so many epochs, have the losses given, with a figure of them."""
    store = RunStore(runs_of(folder))
    STUDIES[folder], CLAIM_OF[folder] = Study(budget, (params,)), params.name
    claim = Claim(params, budget, folder)
    claim.runs = [
        Run(spec, made := record(store, spec, epochs, loss(spec)), store.steps_of(made), store, budget.epochs)
        for spec, epochs in wanted.items()
    ]
    claim.add_plot(
        "curves",
        claim.history(claim.measured()),
        kind="lines",
        x="epoch",
        y="loss",
        hue="model",
        caption="Validation loss of every run.",
    )
    return claim


def record(store: RunStore, spec: RunSpec, epochs: int, loss: float | None) -> RunRecord:
    """Write a run with all its files, as `gon train` would; one without a loss diverged at step 7."""
    milliseconds = 21.0 + spec.latent_dim / 40 + 14 * (spec.inner_steps - 1)
    seconds = round(milliseconds * spec.steps_per_epoch / 1e3, 3)
    history, steps = [], []
    for epoch in range(1, 0 if loss is None else epochs + 1):
        train = round(loss * epochs / epoch, 6)  # type: ignore[operator]
        middle = (spec.steps_per_epoch - 1) / 2
        fall = 0.2 + int(spec.digest, 16) / 16**18  # no two trainings have the same losses
        steps += [train * (1 + fall - fall * i / middle) for i in range(spec.steps_per_epoch)]
        validation: float = loss * epochs / epoch  # type: ignore[operator]
        running = 1.1 * validation if spec.entry.has_encoder else None
        history.append(
            Epoch(
                epoch,
                train,
                validation if epoch in MILESTONES or not spec.entry.validated_at_milestones else None,
                seconds,
                0.1 * seconds,
                validation_loss_running=running,
                train_cpu_seconds=seconds,
                validation_cpu_seconds=0.1 * seconds,
            )
        )
    if loss is None:
        steps = [90.0] * 6 + [float("nan")] * (spec.steps_per_epoch - 6)
    shutil.rmtree(store.folder(spec), ignore_errors=True)  # another call may have made up another loss
    store.save_images(spec, epochs, {"originals": [[[[0, 255] * 16] * 32] * DATASETS[spec.dataset].channels]})
    session = Session(
        first_epoch=1,
        last_epoch=max(1, len(history)),
        started=f"2026-11-{20 + spec.inner_steps}T10:00:00+00:00",
        peak_memory_mib=612.4,
        machine=dict(MACHINE),
        versions={"python": "3.12.3", "torch": "2.13.0", "numpy": "2.3.1"},
        device="cpu",
        dtype="float32",
        threads=1,
        origin_pass="fast",
        compiled="no",
        commit="0123456789ab",
    )
    made = RunRecord(
        spec=spec,
        epochs=epochs,
        parameters={64: 107_089, 128: 172_625, 256: 303_697}.get(spec.latent_dim, 74_321),
        data=DATASETS[spec.dataset].md5
        | {"train": "0" * 64, "validation": "1" * 64}
        | DATASETS[spec.dataset].sha256,
        history=history,
        sessions=[session],
        diverged=Divergence(1, 7) if loss is None else None,
    )
    return store.save(made, steps)


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
            nbformat.v4.new_markdown_cell("# The claim\n\nText with *emphasis*.\n\n## Deep\n\n### Deeper"),
            parameters,
            code,
        ]
    )
    notebook.metadata["papermill"] = {"duration": 3.2}
    nbformat.write(notebook, path)
    return path


def make_explanation(path: Path) -> Path:
    """Write a notebook that judges no claim, with formulas."""
    text = "# A network\n\nThe latent of $x$ is\n\n$$z = -\\nabla_{z_0} L(x, F(z_0)).$$\n\n## Next\n\n$z_1$"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)]), path)
    return path


def add_tables(claim: Claim) -> None:
    """What the notebook of a claim adds to its result."""
    {
        "latent_size": _latent_size,
        "activations": _activations,
        "two_step": _two_step,
        "model_comparison": _model_comparison,
    }[claim.params.name](claim)


def _latent_size(claim: Claim) -> None:
    gon = claim.measured().query("model == 'gon'")
    claim.add_table(
        "table_1",
        pd.concat([gon, claim.published_values]),
        index=["latent_dim"],
        columns=["dataset", "model"],
        values=["validation_loss"],
        caption="Validation loss, SSE per image, by latent size.",
    )


def _activations(claim: Claim) -> None:
    runs = claim.measured()
    claim.add_table(
        "losses",
        runs[runs.latent_dim == claim.params.parameters["latent_dim"]],
        index=["activation"],
        values=["train_loss"],
        caption="Training loss in the last epoch, SSE per image.",
    )


def _two_step(claim: Claim) -> None:
    claim.add_table(
        "cost",
        claim.measured().query("activation == 'elu'"),
        index=["inner_steps"],
        values=["train_loss", "validation_loss"],
        caption="Losses with one and two inner steps, SSE per image.",
    )


def _model_comparison(claim: Claim) -> None:
    claim.add_table(
        "losses",
        claim.measured().query("inner_steps == 1 and learning_rate == 1e-4 and width == 16"),
        index=["model", "dataset", "latent_dim"],
        values=["validation_loss"],
        caption="Validation loss.",
    )
