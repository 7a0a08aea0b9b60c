"""The command line: `gon data | plan | train | evaluate | notebook | report | run | verify | diff`."""

import argparse
import dataclasses
import random
import shlex
import sys
import typing
from collections.abc import Sequence
from pathlib import Path

from gon.catalogue import DATASETS, EVALUATIONS, EXPLANATIONS
from gon.errors import GonError, UsageError
from gon.runs.provenance import available_cores
from gon.runs.store import RunStore
from gon.spec import RunSpec

# The notebook libraries would build grammars for Internet addresses with it, which takes longer than all else
# that they import (1.3 s); nothing here checks an address, and without it they leave that out.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0, 1 for a failure, 2 for wrong usage."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        status: int = options.command(options)
    except GonError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("stopped; finished work is kept, and the same command goes on from there", file=sys.stderr)
        return 130
    return status


def build_parser() -> argparse.ArgumentParser:
    """All commands with their options; `docs/commands.md` is made from it."""
    parser = argparse.ArgumentParser(
        prog="gon", description="Gradient Origin Networks: an executable reproducibility report."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("run", help="run everything that is missing, and write the report")
    _add_study_options(command)
    command.add_argument(
        "--cores", default="all", metavar="N", help="trainings side by side (default: all cores)"
    )
    command.add_argument("--device", default="cpu", help="train on the cpu (default) or on cuda")
    command.add_argument("snakemake", nargs="*", metavar="-- OPTION", help="further options for Snakemake")
    command.set_defaults(command=_run)

    command = commands.add_parser(
        "plan", help="show the runs that a budget asks for, in their order; train them"
    )
    _add_study_options(command)
    what = command.add_mutually_exclusive_group()
    what.add_argument("--runs", action="store_true", help="list every run with the command that trains it")
    what.add_argument(
        "--train",
        action="store_true",
        help="train what is missing, in this order, at the lowest priority; may be stopped at any moment",
    )
    what.add_argument(
        "--keep",
        type=Path,
        metavar="FOLDER",
        help="copy what has finished, as reference records, to a folder",
    )
    command.add_argument("--cores", default="all", help="trainings side by side (default: all cores)")
    command.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    command.set_defaults(command=_plan)

    command = commands.add_parser("data", help="get and prepare the data sets")
    command.add_argument(
        "datasets",
        nargs="*",
        metavar="DATASET",
        help=f"of {', '.join(DATASETS)} (default: those that are required)",
    )
    command.set_defaults(command=_data)

    command = commands.add_parser("train", help="train one run, or continue it")
    _add_run_options(command)
    command.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    command.add_argument(
        "--origin-pass", default="fast", help="fast (default), or reference: the plain form of the method"
    )
    command.add_argument(
        "--evaluation",
        dest="evaluations",
        action="append",
        default=[],
        help=f"made with every record; one of {', '.join(EVALUATIONS)}; may be given several times",
    )
    command.set_defaults(command=_train)

    command = commands.add_parser("evaluate", help="evaluate a recorded run in a further way")
    _add_run_options(command)
    command.add_argument("--evaluation", required=True, help=f"one of {', '.join(EVALUATIONS)}")
    command.set_defaults(command=_evaluate)

    command = commands.add_parser("verify", help="check the records, and train some of them again")
    _add_study_options(command)
    command.add_argument(
        "--store", type=Path, help="folder of runs to choose from, in place of the budget's runs"
    )
    command.add_argument("--runs", type=int, default=3, help="how many to train again (default: 3)")
    extent = command.add_mutually_exclusive_group()
    extent.add_argument("--epochs", type=int, default=1, help="first epochs to train (default: 1)")
    extent.add_argument("--steps", type=int, help="train so many steps only")
    command.add_argument("--seed", type=int, help="decides which runs; drawn and printed if not given")
    command.set_defaults(command=_verify)

    command = commands.add_parser("notebook", help="execute the notebook of one claim, or an explanation")
    _add_study_options(command)
    command.add_argument("claim", help=f"name of the claim, or one of {', '.join(EXPLANATIONS)}")
    command.add_argument("--result", type=Path, help="folder for the claim's result")
    command.add_argument("--executed", type=Path, required=True, help="where to write the executed notebook")
    command.set_defaults(command=_notebook)

    command = commands.add_parser("report", help="render claim results as page and PDF")
    _add_study_options(command)
    command.add_argument("results", type=Path, nargs="+", help="folders of claim results")
    command.add_argument("--notebooks", type=Path, nargs="*", default=[], help="executed notebooks")
    command.add_argument("--workflow", type=Path, help="the graph of rules, from snakemake --rulegraph")
    command.add_argument("--output", type=Path, required=True, help="folder for the report")
    command.set_defaults(command=_report)

    command = commands.add_parser(
        "diff", help="what differs between two reports or budgets; status 0 if nothing does, 1 if something"
    )
    for side in ("first", "second"):
        command.add_argument(side, help="folder of a report, or name of a budget")
    command.set_defaults(command=_diff)
    return parser


def _add_study_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--budget", default="quick", help="smoke, quick (default), standard, paper or reference"
    )
    command.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="epochs=3, or CLAIM.PARAMETER=VALUE; may be given several times",
    )


def _add_run_options(command: argparse.ArgumentParser) -> None:
    """Options that name a run: its settings, its epochs, and where it lies."""
    command.add_argument(
        "--epochs", type=int, required=True, help="epochs in all, those already trained included"
    )
    command.add_argument("--store", type=Path, required=True, help="folder of the runs")
    command.add_argument("--threads", type=int, default=1, help="threads of the process (default: 1)")
    types = typing.get_type_hints(RunSpec)
    for field in dataclasses.fields(RunSpec):
        kind = next(
            t for t in (typing.get_args(types[field.name]) or (types[field.name],)) if t is not type(None)
        )
        unset = "the model's present version" if field.name == "numerics" else "all"
        command.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=kind,
            default=field.default,
            metavar=kind.__name__.upper(),
            help=f"(default: {unset if field.default is None else field.default})",
        )


def _chosen_spec(options: argparse.Namespace) -> RunSpec:
    settings = {field.name: getattr(options, field.name) for field in dataclasses.fields(RunSpec)}
    spec = RunSpec.from_mapping(settings)
    for key in ("epochs", "threads"):
        if getattr(options, key) < 1:
            raise UsageError(f"{key}: {getattr(options, key)} is not allowed; a whole number from 1 up is")
    return spec


# The commands import what they need when they run: `gon train` works where only torch and numpy
# are installed, and nothing else waits for torch to load.


def _run(options: argparse.Namespace) -> int:
    from gon.claims.study import load_study
    from gon.workflow import run

    return run(
        load_study(options.budget, options.overrides),
        _cores(options.cores),
        options.device,
        options.snakemake,
    )


def _plan(options: argparse.Namespace) -> int:
    from gon.claims.study import load_study
    from gon.plan import keep_records, print_plan, train_plan

    study = load_study(options.budget, options.overrides)
    store = study.budget.run_store
    if options.train:
        return train_plan(study, store, _cores(options.cores), options.device)
    if options.keep is not None:
        print(f"{keep_records(study, store, options.keep)} records copied to {options.keep}")
    elif options.runs:
        for planned in study.plan():
            state = "present" if store.has(planned.spec, planned.epochs) else "to do"
            print(f"{planned.spec.digest}  {state:8}{planned.spec.label}  [{', '.join(planned.claims)}]")
            arguments = shlex.join([*planned.spec.arguments(), "--epochs", str(planned.epochs)])
            print(f"    gon train {arguments} --store {shlex.quote(str(store.root))}")
    else:
        print_plan(study, store)
    return 0


def _cores(text: str) -> int:
    """A number of cores, or all that this process may use."""
    if text == "all":
        return available_cores()
    if not text.isdigit() or int(text) < 1:
        raise UsageError(f"--cores: {text!r} is not allowed; a whole number from 1 up, or all, is")
    return int(text)


def _data(options: argparse.Namespace) -> int:
    from gon.data.acquire import ensure

    for name in options.datasets or [name for name, dataset in DATASETS.items() if dataset.required]:
        ensure(RunSpec(dataset=name).dataset, report=print)
    return 0


def _train(options: argparse.Namespace) -> int:
    spec = _chosen_spec(options)
    from gon.runs.train import train

    record = train(
        spec,
        options.epochs,
        RunStore(options.store),
        threads=options.threads,
        device=options.device,
        origin_pass=options.origin_pass,
        evaluations=[_known_evaluation(name) for name in options.evaluations],
    )
    if record.diverged:
        print(f"{spec.label}: diverged in epoch {record.diverged.epoch}, step {record.diverged.step}")
    else:
        last = record.last
        validation = "" if last.validation_loss is None else f", validation loss {last.validation_loss:.4g}"
        print(
            f"{spec.label}: after epoch {last.epoch} training loss {last.train_loss:.4g}{validation} "
            "(SSE per image)"
        )
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    spec = _chosen_spec(options)
    _known_evaluation(options.evaluation)
    from gon.runs.train import evaluate_run

    store = RunStore(options.store)
    evaluate_run(spec, options.epochs, store, options.evaluation, threads=options.threads)
    print(f"{spec.label}, {EVALUATIONS[options.evaluation]}:")
    for name, value in store.load_evaluation(spec, options.epochs, options.evaluation).items():
        print(f"{options.evaluation} {name}: {value:.6g}")
    return 0


def _known_evaluation(name: str) -> str:
    if name not in EVALUATIONS:
        raise UsageError(f"evaluation: {name!r} is not known; allowed are {', '.join(EVALUATIONS)}")
    return name


def _verify(options: argparse.Namespace) -> int:
    from gon.claims.study import load_study
    from gon.verify import verify

    if options.store is None:
        study = load_study(options.budget, options.overrides)
        store, digests = study.budget.run_store, [planned.spec.digest for planned in study.plan()]
    else:
        store, digests = RunStore(options.store), None
    return verify(
        store,
        digests=digests,
        runs=options.runs,
        epochs=options.epochs,
        steps=options.steps,
        seed=random.randrange(1_000_000) if options.seed is None else options.seed,
    )


def _notebook(options: argparse.Namespace) -> int:
    from gon.claims.execution import execute, execute_notebook, notebook_path
    from gon.claims.study import load_study

    if options.claim in EXPLANATIONS:
        execute_notebook(notebook_path(options.claim), options.executed, {})
        return 0
    if options.result is None:
        raise UsageError("--result: a claim's notebook leaves its result in a folder; name it")
    study = load_study(options.budget, options.overrides)
    execute(study, options.claim, options.result, options.executed)
    return 0


def _report(options: argparse.Namespace) -> int:
    from gon.claims.study import load_study
    from gon.reporting import build_report

    study = load_study(options.budget, options.overrides)
    build_report(study, options.results, options.output, options.notebooks, options.workflow)
    return 0


def _diff(options: argparse.Namespace) -> int:
    from gon.diff import print_comparison, read_side

    try:
        first, second = read_side(options.first), read_side(options.second)
    except GonError as error:
        # As diff does: 1 says that the two differ, and 2 that it could not be found out.
        raise UsageError(str(error)) from error
    return 1 if print_comparison(first, second) else 0


if __name__ == "__main__":
    sys.exit(main())
