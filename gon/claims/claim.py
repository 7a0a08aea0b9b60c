"""Claims: what a notebook works with, from the runs it asks for to the result it leaves.

A notebook reads like this::

    claim = start("latent_size", vars())
    claim.load_runs()
    (runs,) = claim.select(dataset="mnist", latent_dim=64)  # one per seed
    small = claim.measure("mnist/64", runs, "validation_loss", label="MNIST, latent 64")
    claim.add_table(...); claim.add_figure(...)
    claim.judge()
    claim.save()

What its rules compare, the claim takes from their file: a notebook can neither choose pairs nor leave one
out.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gon.claims import comparison_words, words
from gon.claims.exhibits import Exhibits
from gon.claims.judging import judge
from gon.claims.loading import Replicates, RunLoader, evaluate_run, train_runs
from gon.claims.params import Budget, ClaimParams, Request
from gon.claims.results import (
    ClaimResult,
    Verdict,
)
from gon.claims.study import load_study
from gon.data import prepared as data
from gon.errors import GonError, UsageError
from gon.files import PROJECT, write_atomically


def start(name: str, values: Mapping[str, Any]) -> "Claim":
    """Take up a claim in its notebook.

    Parameters
    ----------
    name
        The claim: the name of its notebook and of its parameter file.
    values
        The notebook's variables, `vars()`. Of these count `budget`, the name of a budget; `epochs` and
        `seeds`, in place of the budget's, or None; `output`, the folder for the result, or None for
        `build/explore/<claim>`, which no report reads; and the claim's parameters, as in its file.

    Raises
    ------
    UsageError
        If the claim, the budget or a parameter is unknown or has a value that is not allowed, or if the
        notebook that runs is that of another claim.
    """
    source = f"notebooks/{name}.ipynb"

    def value(key: str) -> Any:
        if key not in values:
            raise UsageError(f"{source}: {key} is not set; the cell tagged `parameters` sets it")
        return values[key]

    changes = {"epochs": value("epochs"), "seeds": value("seeds")}
    study = load_study(value("budget"), [f"{key}={n}" for key, n in changes.items() if n is not None])
    declared = study.claim(name)
    # Jupyter tells the path of a notebook, `gon notebook` the name of its claim.
    running = os.environ.get("GON_NOTEBOOK") or Path(os.environ.get("JPY_SESSION_NAME", "")).stem
    if running != name and running in [claim.name for claim in study.claims]:
        raise UsageError(
            f"notebooks/{running}.ipynb: starts the claim {name!r}; allowed is {running!r}, as it is named"
        )
    params = declared.with_parameters({key: value(key) for key in declared.parameters}, source)
    changed = [
        f"{name}.{key}={json.dumps(chosen_value)}"
        for key, chosen_value in params.parameters.items()
        if chosen_value != declared.parameters[key]
    ]
    chosen = study.budget.model_copy(update={"overrides": (*study.budget.overrides, *changed)})
    params.check_rules(chosen, source)
    output = value("output")
    return Claim(params, chosen, PROJECT / "build" / "explore" / name if output is None else Path(output))


class Claim(Exhibits):
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
        super().__init__(params.published.values, output.with_name(f".{output.name}.part"))
        shutil.rmtree(self._work, ignore_errors=True)
        self.params = params
        self.budget = budget
        self.output = output
        self.left_out: list[Request] = []
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

    def judge(self) -> tuple[Verdict, ...]:
        """Let each rule of the claim judge the runs that it speaks of, and print what it says.

        Returns
        -------
        tuple of Verdict
            In the order of the rules.
        """
        judged = judge(self.params, self.budget, self.runs, self.left_out)
        self._judged = True
        print("\n\n".join(comparison_words.told(judged, verdict) for verdict in judged.verdicts))
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


def _markdown_text(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]()#+.!|<>$~-])", r"\\\1", text)
