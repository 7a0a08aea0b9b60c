"""Claims: what a notebook works with, from the runs it asks for to the result it leaves.

A notebook reads like this::

    published("latent_size")
    rules("latent_size")
    claim = start("latent_size", vars())
    runs = claim.load_runs()  # one row per run
    claim.add_plot("losses", runs, kind="lines", x="latent_dim", y="validation_loss", hue="model", ...)
    claim.add_table("table_1", runs, index=["latent_dim"], columns=["model"], values=["validation_loss"], ...)
    claim.judge()
    claim.save()

What its rules compare, the claim takes from their file: a notebook can neither choose pairs nor leave one
out.
"""

import itertools
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import Markdown

from gon.claims import comparison_words, coverage, words
from gon.claims.exhibits import Exhibits
from gon.claims.formats import counted, date
from gon.claims.judging import JudgedClaim, judge
from gon.claims.loading import RunLoader, evaluate_run, train_runs
from gon.claims.params import Budget, ClaimParams, Request
from gon.claims.results import ClaimResult, write_result
from gon.claims.rules import ValueRule
from gon.claims.study import load_study
from gon.data import prepared as data
from gon.errors import GonError, UsageError
from gon.files import PROJECT, sync_folder


def published(name: str) -> Markdown:
    """What was published of a claim, word for word, and where."""
    of = load_study().claim(name).published
    works = (PROJECT / "templates" / "references.bib").read_text(encoding="utf-8")
    work = re.search(rf"{of.source.key},.*?title\s*=\s*{{(.*?)}},.*?year\s*=\s*{{(.*?)}}", works, re.DOTALL)
    of_work = "*{}* ({})".format(*work.groups()) if work else of.source.key
    after = f"; after {counted(of.epochs, 'epoch')}" if of.epochs else ""
    return Markdown(  # type: ignore[no-untyped-call]
        f"> {of.statement}\n>\n> — {of_work}, {of.source.where}{after}"
    )


def rules(name: str) -> Markdown:
    """What would confirm a claim and what would refute it, the primary rule first."""
    params = load_study().claim(name)
    alike: dict[tuple[bool, str, str], list[str]] = {}
    for rule in params.rules:
        how = rule.name != params.primary, words.confirmed_if(rule), words.refuted_if(rule)
        alike.setdefault(how, []).append(f"{rule.statement} (Version {rule.version}, {date(rule.date)}.)")
    lines = []
    for (secondary, confirmed, refuted), statements in sorted(alike.items(), key=lambda item: item[0][0]):
        lines.append("**Secondary**" if secondary else "**Primary**")
        lines.append("\n".join(f"- {statement}" for statement in statements))
        lines.append(f"*Confirmed* if {confirmed}. *Refuted* if {refuted}.")
    return Markdown("\n\n".join(lines))  # type: ignore[no-untyped-call]


def start(name: str, values: Mapping[str, Any]) -> "Claim":
    """Take up a claim in its notebook.

    Parameters
    ----------
    name
        The claim: the name of its notebook and of its parameter file.
    values
        The notebook's variables, `vars()`. Of these count `budget`, the name of a budget; `epochs` and
        `seeds`, in place of the budget's, or None; `output`, the folder for the result, from the project's
        root, or None for `build/explore/<claim>`, which no report reads; and the claim's parameters, as in
        its file.

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
    return Claim(params, chosen, PROJECT / "build" / "explore" / name if output is None else PROJECT / output)


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
        super().__init__(output.with_name(f".{output.name}.part"))
        shutil.rmtree(self._work, ignore_errors=True)
        self.params = params
        self.budget = budget
        self.output = output
        self.left_out: list[Request] = []
        self._judged = False

    @property
    def published_values(self) -> pd.DataFrame:
        """The published values that a rule compares, as rows of a frame; `model` is "published"."""
        published = self.params.published
        rows = []
        for rule in self.params.rules:
            if isinstance(rule, ValueRule):
                pairs = itertools.chain(*self.params.pairs(rule, self.budget))
                settings = {rule.published.format(**vars(spec)): vars(spec) for spec in pairs}
                rows += [
                    {**settings[name], "model": "published", "epochs": published.epochs, rule.quantity: value}
                    for name, value in published.values.items()
                    if name in settings
                ]
        return pd.DataFrame(rows).drop(columns="seed")

    def load_runs(self) -> pd.DataFrame:
        """Load the runs that the claim asks for; those that are missing are trained first.

        Says what the budget leaves out, or what needs a data set that cannot be had.

        Returns
        -------
        pandas.DataFrame
            One row per run, see `measured`.
        """
        requests = self.params.available(self.budget)
        if not self.budget.recorded:
            self._make([request for request in requests if request.left_out is None])
        self.left_out = [request for request in requests if request.left_out is not None]
        self.runs = RunLoader(self.budget).runs(requests)
        for run in self.runs:
            path = run.store.record_path(run.spec, run.record.epochs)
            data.require_prepared(run.spec.dataset, run.record.data, path)
        so_far = JudgedClaim(self.params, tuple(self.runs), tuple(self.left_out), (), ())
        left_out = f". {coverage.left_out_of_all([so_far])}" if self.left_out else "."
        print(f"Budget {self.budget.name}: {counted(len(self.runs), 'run')} loaded{left_out}")
        pd.set_option("display.float_format", "{:.4g}".format)  # no more digits than seeds leave certain
        return self.measured()

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

    def judge(self) -> None:
        """Let each rule of the claim judge the runs that it speaks of, and print what it says."""
        judged = judge(self.params, self.budget, self.runs, self.left_out)
        self._judged = True
        print("\n\n".join(comparison_words.told(judged, verdict) for verdict in judged.verdicts))

    def save(self) -> None:
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
        write_result(result, self._work)
        old = self._work.with_suffix(".old")
        shutil.rmtree(old, ignore_errors=True)
        try:
            if self.output.exists():
                self.output.rename(old)
            self._work.rename(self.output)
            sync_folder(self.output.parent)
            shutil.rmtree(old, ignore_errors=True)
        except OSError as error:
            raise GonError(f"{self.output}: cannot write the claim result ({error})") from error
