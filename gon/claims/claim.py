"""Claims: what a notebook works with, from the runs it asks for to the result it leaves.

A notebook reads like this::

    claim = claims.start("latent_size", budget=budget, epochs=epochs, seeds=seeds, output=output, **more)
    claim.load_runs()
    (runs,) = claim.select(dataset="mnist", latent_dim=64)  # one per seed
    small = claim.measure("mnist/64", runs, "validation_loss", label="MNIST, latent 64")
    claim.add_table(...); claim.add_figure(...)
    claim.judge()
    claim.save()

What its rules compare, the claim takes from their file: a notebook can neither choose pairs nor leave one
out.
"""

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from gon.claims import words
from gon.claims.figures import save_figure
from gon.claims.judging import judge
from gon.claims.loading import Replicates, Run, RunLoader, evaluate_run, train_runs
from gon.claims.measuring import frame_of, measurement, recorded_measurement, seed_value
from gon.claims.params import Budget, ClaimParams, Request
from gon.claims.results import (
    QUANTITIES,
    Cell,
    ClaimResult,
    FigureFile,
    Measurement,
    Table,
    Verdict,
)
from gon.claims.study import load_study
from gon.data import prepared as data
from gon.errors import GonError, UsageError
from gon.files import PROJECT, write_atomically
from gon.spec import RunSpec


def start(
    name: str, *, budget: str, epochs: int | None, seeds: int | None, output: str | None, **parameters: Any
) -> "Claim":
    """Take up a claim in its notebook.

    Parameters
    ----------
    name
        The claim: the name of its notebook and of its parameter file.
    budget
        Name of a budget in `params/budgets.yaml`.
    epochs
        Epochs in place of the budget's, or None.
    seeds
        Seeds in place of the budget's, or None.
    output
        Folder for the result; None for `build/explore/<claim>`, which no report reads.
    **parameters
        The claim's parameters, as in its parameter file.

    Raises
    ------
    UsageError
        If the claim, the budget or a parameter is unknown or has a value that is not allowed, or if the
        notebook that runs is that of another claim.
    """
    changes = {"epochs": epochs, "seeds": seeds}
    study = load_study(budget, [f"{key}={value}" for key, value in changes.items() if value is not None])
    declared = study.claim(name)
    # Jupyter tells the path of a notebook, `gon notebook` the name of its claim.
    running = os.environ.get("GON_NOTEBOOK") or Path(os.environ.get("JPY_SESSION_NAME", "")).stem
    if running != name and running in [claim.name for claim in study.claims]:
        raise UsageError(
            f"notebooks/{running}.ipynb: starts the claim {name!r}; allowed is {running!r}, as it is named"
        )
    params = declared.with_parameters(parameters, f"notebooks/{name}.ipynb")
    changed = [
        f"{name}.{key}={json.dumps(value)}"
        for key, value in params.parameters.items()
        if value != declared.parameters[key]
    ]
    chosen = study.budget.model_copy(update={"overrides": (*study.budget.overrides, *changed)})
    params.check_rules(chosen, f"notebooks/{name}.ipynb")
    return Claim(params, chosen, PROJECT / "build" / "explore" / name if output is None else Path(output))


class Claim:
    """One claim under test: its runs, what is measured on them, and what the rules say.

    Parameters
    ----------
    params
        What the parameter file says.
    budget
        How much training it rests on.
    output
        Folder that `save` writes; what it held before is replaced.
    """

    def __init__(self, params: ClaimParams, budget: Budget, output: Path) -> None:
        self.params = params
        self.budget = budget
        self.output = output
        self._work = output.with_name(f".{output.name}.part")
        shutil.rmtree(self._work, ignore_errors=True)
        self.runs: list[Run] = []
        self.left_out: list[Request] = []
        self._measurements: dict[str, Measurement] = {}
        self._tables: list[Table] = []
        self._figures: list[FigureFile] = []
        self._judged = False

    def _repr_markdown_(self) -> str:
        """What a notebook shows: the published claim, the budget, and the rules that will judge it."""
        published = self.params.published
        lines = [
            f"**Published** ({published.source.where}): {_markdown_text(published.statement)}",
            f"**Budget** {self.budget.name}: {self.budget.epochs} epoch(s), {self.budget.seeds} seed(s), "
            f"{self.budget.description}.",
        ]
        lines += [f"**Rule** {_markdown_text(words.rule_words(rule))}" for rule in self.params.rules]
        return "\n\n".join(lines)

    def load_runs(self) -> list[Replicates]:
        """Load the runs that the claim asks for; those that are missing are trained first.

        What the budget leaves out, or what needs a data set that cannot be had, is in `left_out`.
        """
        requests = self.params.available(self.budget)
        if not self.budget.recorded:
            self._make([request for request in requests if request.left_out is None])
        self.left_out = [request for request in requests if request.left_out is not None]
        self.runs = RunLoader(self.budget).runs(requests)
        for run in self.runs:
            path = run.store.record_path(run.spec, run.record.epochs)
            data.require_prepared(run.spec.dataset, run.record.data, path)
        return self.select()

    def _make(self, wanted: Sequence[Request]) -> None:
        """Train and evaluate what is missing."""
        store = self.budget.run_store
        missing = [request for request in wanted if not store.has(request.spec, request.epochs)]
        if missing:
            train_runs(missing, store)
        for request in wanted:
            for evaluation in request.evaluations:
                if not store.evaluation_path(request.spec, request.epochs, evaluation).exists():
                    evaluate_run(request, evaluation, store)

    def select(self, **settings: object) -> list[Replicates]:
        """The loaded runs whose spec has these settings, those together that differ in their seed only.

        Where some seeds were trained farther than others, only those: numbers and curves of one group are of
        one length of training.
        """
        for key in settings:
            if key not in {field.name for field in dataclasses.fields(RunSpec)}:
                raise UsageError(f"select: {key!r} is not a setting of a run")
        groups: dict[RunSpec, list[Run]] = {}
        for run in self.runs:
            if all(getattr(run.spec, key) == value for key, value in settings.items()):
                groups.setdefault(dataclasses.replace(run.spec, seed=RunSpec.seed), []).append(run)
        farthest = [
            [run for run in runs if run.epochs == max(other.epochs for other in runs)]
            for runs in groups.values()
        ]
        return [Replicates(tuple(runs)) for runs in farthest]

    def measure(
        self, name: str, replicates: Replicates, quantity: str, label: str, epochs: int | None = None
    ) -> Measurement:
        """Take a number from runs: its mean over seeds, with what every run gave.

        Parameters
        ----------
        name
            Unique name within the claim; a published value of the same name is set beside it.
        replicates
            The runs.
        quantity
            A key of `QUANTITIES`.
        label
            What a reader is shown as the name of the thing measured, such as "MNIST, latent 64".
        epochs
            After how many epochs; None for as many as all of the runs have.
        """
        if quantity not in QUANTITIES:
            raise UsageError(f"measure: {quantity!r} is not known; allowed are {', '.join(QUANTITIES)}")
        after = replicates.epochs if epochs is None else epochs
        values = [seed_value(run, run.value(quantity, after)) for run in replicates.runs]
        published = self.params.published.values.get(name)
        return self._add(
            recorded_measurement(name, label, values, epochs=after, quantity=quantity, published=published)
        )

    def derive(
        self,
        name: str,
        replicates: Replicates,
        value: Callable[[Run], float | None],
        *,
        quantity: str,
        unit: str,
        label: str,
        missing: str = "",
    ) -> Measurement:
        """Take a number that the notebook computes from each run.

        Parameters
        ----------
        name, replicates, label
            As in `measure`.
        value
            Computes the number of a run; not called for one that diverged. None if it has no such number.
        quantity, unit
            What it is, such as "steps to a training loss of 20", and in what unit.
        missing
            What is said in place of the number if a run has none, such as "not reached".
        """
        values = [seed_value(run, None if run.diverged else value(run), missing) for run in replicates.runs]
        published = self.params.published.values.get(name)
        return self._add(
            measurement(
                name,
                label,
                values,
                epochs=replicates.epochs,
                quantity=quantity,
                unit=unit,
                published=published,
            )
        )

    def _add(self, measured: Measurement) -> Measurement:
        if measured.name in self._measurements:
            raise UsageError(f"measurement: there is a measurement {measured.name!r} already")
        self._measurements[measured.name] = measured
        return measured

    @property
    def spread(self) -> str:
        """What a figure's caption says of its bands; empty with a single seed, where there are none."""
        if all(len(group.runs) == 1 for group in self.select()):
            return ""
        return "Lines are means over the seeds, bands their 95% confidence intervals."

    def published(self, name: str) -> Cell:
        """The published value of a measurement as a table cell; a dash where there is none."""
        value = self.params.published.values.get(name)
        return Cell(text="–") if value is None else Cell(published=value)

    def add_table(
        self,
        name: str,
        caption: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[str | Measurement | Cell]],
    ) -> pd.DataFrame:
        """Add a table to the result; returns it for display, with unrounded numbers.

        Parameters
        ----------
        name
            Unique name, also of its CSV file.
        caption
            What it shows.
        columns
            Headings; the first column heads the rows.
        rows
            Cells: a text, a measurement, or a published value from `published`.
        """
        cells = [[_cell(entry) for entry in row] for row in rows]
        for row in cells:
            if len(row) != len(columns):
                raise UsageError(
                    f"table {name}: a row has {len(row)} cells, the table {len(columns)} columns"
                )
        frame = frame_of(columns, cells, self._measurements)
        csv = f"tables/{_file_name(name)}.csv"
        write_atomically(self._work / csv, frame.to_csv(index=False))
        self._tables.append(Table(name=name, caption=caption, columns=list(columns), rows=cells, csv=csv))
        return frame

    def add_figure(
        self,
        name: str,
        figure: Figure,
        *,
        caption: str,
        alt: str,
        data: pd.DataFrame,
        runs: Sequence[Replicates],
    ) -> Figure:
        """Add a figure to the result, as SVG and PDF with its data as CSV; returns it for display.

        Parameters
        ----------
        name
            Unique name, also of its files.
        figure
            The drawn figure.
        caption
            What it shows.
        alt
            What somebody who cannot see it needs to know.
        data
            The numbers that are drawn.
        runs
            The runs that they come from.
        """
        stem = f"figures/{_file_name(name)}"
        write_atomically(self._work / f"{stem}.csv", data.to_csv(index=False))
        save_figure(figure, self._work / stem)
        self._figures.append(
            FigureFile(
                name=name,
                caption=caption.strip(),
                alt=alt,
                svg=f"{stem}.svg",
                pdf=f"{stem}.pdf",
                csv=f"{stem}.csv",
                runs=list(dict.fromkeys(run.spec.digest for group in runs for run in group.runs)),
            )
        )
        return figure

    def judge(self) -> tuple[Verdict, ...]:
        """Let each rule of the claim judge the runs that it speaks of, and print what it says.

        Returns
        -------
        tuple of Verdict
            In the order of the rules.
        """
        judged = judge(self.params, self.budget, self.runs, self.left_out)
        self._judged = True
        print("\n\n".join(words.told(judged, verdict) for verdict in judged.verdicts))
        return judged.verdicts

    def save(self) -> ClaimResult:
        """Write the result; what the folder held before is replaced at once, or not at all.

        Raises
        ------
        GonError
            If the rules of the claim were not applied, or the folder cannot be written to.
        """
        if self.params.rules and not self._judged:
            raise GonError(f"claim {self.params.name}: the notebook never calls claim.judge()")
        result = ClaimResult(
            claim=self.params.name,
            records=[run.record_name() for run in self.runs],
            measurements=list(self._measurements.values()),
            tables=self._tables,
            figures=self._figures,
        )
        write_atomically(self._work / "result.json", result.model_dump_json(indent=1) + "\n")
        try:
            if self.output.exists():
                shutil.rmtree(self.output)
            self._work.rename(self.output)
        except OSError as error:
            raise GonError(f"{self.output}: cannot write the claim result ({error})") from error
        return result


def _cell(entry: str | Measurement | Cell) -> Cell:
    if isinstance(entry, Cell):
        return entry
    return Cell(measurement=entry.name) if isinstance(entry, Measurement) else Cell(text=entry)


def _file_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise UsageError(f"name: {name!r} is not allowed; lower-case letters, digits and _ are")
    return name


def _markdown_text(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]()#+.!|<>$~-])", r"\\\1", text)
