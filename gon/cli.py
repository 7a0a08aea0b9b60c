"""The command line, `gon COMMAND`; `gon --help` lists the commands."""

import argparse
import dataclasses
import os
import random
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gon.catalogue import DATASETS, EVALUATIONS, EXPLANATIONS
from gon.errors import GonError, UsageError
from gon.options import Parser, add_machine_options, add_run_options, add_study_options, positive
from gon.processes import (
    Stopped,
    end_with_parent,
    expect_little_garbage,
    own_world,
    plain,
    say_no_more,
    stoppable,
)
from gon.runs.store import RunStore
from gon.spec import RunSpec

if TYPE_CHECKING:
    from gon.claims.study import Study

# The notebook libraries would build grammars for Internet addresses and spans of time with them, which takes
# longer than all else that they import; nothing here checks either, and without them they leave that out.
for _name in ("rfc3987_syntax", "isoduration"):
    sys.modules.setdefault(_name, None)  # type: ignore[arg-type]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    int
        Its exit status: 0, 1 for a failure, 2 for wrong usage, or 128 and the number of the signal that
        stopped it.
    """
    own_world()
    end_with_parent()
    try:
        with stoppable():
            options = build_parser().parse_args(arguments)
            status: int = options.command(options)
            sys.stdout.flush()
    except GonError as error:
        print(f"error: {plain(str(error))}", file=sys.stderr)
        return error.exit_status
    except Stopped as stop:
        said = [
            "stopped; finished work is kept, and the same command goes on from there",
            *getattr(stop, "__notes__", []),
        ]
        try:
            print("\n".join(said), file=sys.stderr, flush=True)
        except OSError:  # the terminal is closed
            say_no_more()
        return 128 + stop.number
    except BrokenPipeError:  # `| head`, which has seen enough
        say_no_more()
        return 128 + signal.SIGPIPE
    except OSError as error:  # of the system, such as a full disk or a name that is too long
        say_no_more(sys.stdout)
        print(f"error: {error.filename or 'output'}: {error.strerror or error}", file=sys.stderr)
        return 1
    return status


def build_parser() -> argparse.ArgumentParser:
    """All commands with their options; `docs/commands.md` is made from it."""
    parser = Parser(prog="gon", description="Gradient Origin Networks: an executable reproducibility report.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, call: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help)
        command.set_defaults(command=call)
        return command

    command = add("run", _run, "run everything that is missing, and write the report")
    add_study_options(command)
    add_machine_options(command)
    command.add_argument("--no-check", action="store_true", help="train nothing to compare with the records")
    command.add_argument(
        "--from-scratch",
        action="store_true",
        help="use no reference records: train all that is asked for",
    )
    command.add_argument(
        "--profile", metavar="NAME", help="train on a cluster: slurm, or another of workflow/profiles"
    )
    command.add_argument("snakemake", nargs="*", metavar="-- OPTION", help="further options for Snakemake")

    command = add("plan", _plan, "show the runs that a budget asks for, in their order; train them")
    add_study_options(command)
    what = command.add_mutually_exclusive_group()
    what.add_argument("--runs", action="store_true", help="list every run with the command that trains it")
    what.add_argument(
        "--train",
        action="store_true",
        help="train what is missing, in this order, at the lowest priority; may be stopped at any moment",
    )
    what.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="copy finished runs, as reference records, to a folder"
    )
    add_machine_options(command)

    command = add("status", _status, "show how far the runs are: done, under way, stopped, failed")
    add_study_options(command)
    command.add_argument("--json", action="store_true", help="as a list of runs, for programs")

    command = add("data", _data, "get and prepare the data sets")
    command.add_argument(
        "datasets",
        nargs="*",
        metavar="DATASET",
        help=f"of {', '.join(DATASETS)} (default: those that are required)",
    )

    command = add("train", _train, "train one run, or continue it")
    add_run_options(command)
    command.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    command.add_argument(
        "--origin-pass", default="fast", help="fast (default), or reference: the plain form of the method"
    )
    command.add_argument(
        "--evaluation",
        dest="evaluations",
        action="append",
        default=[],
        choices=EVALUATIONS,
        metavar="NAME",
        help=f"made with every record; one of {', '.join(EVALUATIONS)}; may be given several times",
    )

    command = add("evaluate", _evaluate, "evaluate a recorded run in a further way")
    add_run_options(command)
    command.add_argument(
        "--evaluation",
        required=True,
        choices=EVALUATIONS,
        metavar="NAME",
        help=f"one of {', '.join(EVALUATIONS)}",
    )

    command = add("verify", _verify, "check records, and train some again; or a report, from its archive")
    command.add_argument(
        "what",
        nargs="*",
        metavar="WHAT",
        help="a report's folder or archive; a signed file; or runs: the beginning of a run's name, a claim, "
        "or `deciding`, the first seed of what the report's first lines rest on (default: the budget's runs)",
    )
    add_study_options(command)
    command.add_argument(
        "--store", type=Path, help="folder of runs to choose from, in place of the budget's runs"
    )
    command.add_argument(
        "--runs", type=positive, help="how many to train again (default: 3, or all that are named)"
    )
    command.add_argument(
        "--from-checkpoint",
        action="store_true",
        help="train on from a checkpoint before a record's end, where there is one, in place of the start",
    )
    command.add_argument(
        "--trained",
        type=Path,
        metavar="STORE",
        help="compare the runs of a store, and train none again",
    )
    command.add_argument("--output", type=Path, metavar="FILE", help="what was compared so, for a report")
    extent = command.add_mutually_exclusive_group()
    extent.add_argument("--epochs", type=positive, default=1, help="first epochs to train (default: 1)")
    extent.add_argument("--steps", type=positive, help="train so many steps only")
    command.add_argument(
        "--signers", type=Path, metavar="FILE", help="who may sign, in OpenSSH's format allowed_signers"
    )
    command.add_argument("--seed", type=int, help="decides which runs; drawn and printed if not given")

    command = add("notebook", _notebook, "execute the notebook of one claim, or an explanation")
    add_study_options(command)
    command.add_argument("claim", help=f"name of the claim, or one of {', '.join(EXPLANATIONS)}")
    command.add_argument("--result", type=Path, help="folder for the claim's result")
    command.add_argument("--executed", type=Path, required=True, help="where to write the executed notebook")

    command = add("report", _report, "render claim results as page and PDF")
    add_study_options(command)
    command.add_argument("results", type=Path, nargs="*", help="folders of claim results")
    command.add_argument("--notebooks", type=Path, nargs="*", default=[], help="executed notebooks")
    command.add_argument("--workflow", type=Path, help="the graph of rules, from snakemake --rulegraph")
    command.add_argument("--checked", type=Path, help="what `gon verify --trained` wrote")
    command.add_argument("--published", action="store_true", help="for the repository: docs/report")
    command.add_argument("--again", type=Path, metavar="REPORT", help="make a report from its own folder")
    command.add_argument("--output", type=Path, required=True, help="folder for the report")

    command = add("records", _records, "take records that others trained, each checked, into records/")
    command.add_argument("action", choices=["add"], help="add")
    command.add_argument("source", type=Path, help="a report's folder or archive, a checkout, or runs")

    command = add("rules", _rules, "show every rule with its version and date; lock those that are new")
    command.add_argument(
        "--lock", action="store_true", help="add to params/ledger.yaml the rules that it does not hold yet"
    )

    command = add(
        "diff", _diff, "what differs between two reports or budgets; status 0 if nothing does, 1 if something"
    )
    for side in ("first", "second"):
        command.add_argument(side, help="folder of a report, or name of a budget")
    return parser


def _chosen_spec(options: argparse.Namespace) -> RunSpec:
    return RunSpec(**{field.name: getattr(options, field.name) for field in dataclasses.fields(RunSpec)})


# The commands import what they need when they run: `gon train` works where only torch and numpy
# are installed, and nothing else waits for torch to load.


def _study(options: argparse.Namespace) -> "Study":
    from gon.claims.study import load_study

    return load_study(options.budget, options.overrides)


def _run(options: argparse.Namespace) -> int:
    expect_little_garbage()
    from gon.workflow import run

    if options.from_scratch:
        os.environ["GON_RECORDS_DIR"] = os.devnull  # of what is started from here too
    check = not options.no_check
    return run(
        _study(options),
        options.cores,
        options.device,
        options.snakemake,
        check=check,
        profile=options.profile,
    )


def _plan(options: argparse.Namespace) -> int:
    from gon.claims.notebooks import check_parameters
    from gon.plan import keep_records, print_plan, train_plan
    from gon.verify.signing import write_sums

    study = _study(options)
    for claim in study.claims:
        check_parameters(claim)
    store = study.budget.run_store
    if options.train:
        return train_plan(study, store, options.cores, options.device)
    if options.keep is not None:
        print(f"{keep_records(study, store, options.keep)} records copied to {options.keep}")
        write_sums(options.keep)
    elif options.runs:
        for planned in study.plan():
            state = "present" if store.has(planned.spec, planned.epochs) else "to do"
            print(f"{planned.spec.digest}  {state:8}{planned.spec.label}  [{', '.join(planned.claims)}]")
            arguments = shlex.join([*planned.spec.arguments(), "--epochs", str(planned.epochs)])
            print(f"    gon train {arguments} --store {shlex.quote(str(store.root))}")
    else:
        print_plan(study, store)
    return 0


def _status(options: argparse.Namespace) -> int:
    from gon.status import print_status

    print_status(_study(options), as_json=options.json)
    return 0


def _data(options: argparse.Namespace) -> int:
    from gon.data.acquire import ensure

    for name in options.datasets or [name for name, dataset in DATASETS.items() if dataset.required]:
        ensure(name, report=print)
    return 0


def _train(options: argparse.Namespace) -> int:
    spec = _chosen_spec(options)
    from gon.runs.train import train

    record = train(
        spec,
        options.epochs,
        RunStore(options.store),
        device=options.device,
        origin_pass=options.origin_pass,
        evaluations=options.evaluations,
    )
    found = record.divergence
    if found is None:
        last = record.last
        validation = "" if last.validation_loss is None else f", validation loss {last.validation_loss:.4g}"
        found = f"after epoch {last.epoch} training loss {last.train_loss:.4g}{validation} (SSE per image)"
    print(f"{spec.label}: {found}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    spec = _chosen_spec(options)
    from gon.runs.train import evaluate_run

    store = RunStore(options.store)
    evaluate_run(spec, options.epochs, store, options.evaluation)
    print(f"{spec.label}, {EVALUATIONS[options.evaluation]}:")
    for name, value in store.load_evaluation(spec, options.epochs, options.evaluation).items():
        print(f"{options.evaluation} {name}: {value:.6g}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from gon.claims.params import REFERENCE
    from gon.verify.command import compare, named_runs, verify, verify_file, verify_report
    from gon.verify.rebuilding import is_report

    if options.output is not None and options.trained is None:
        raise UsageError("--output: only with --trained, whose comparison it takes")
    paths = [Path(name) for name in options.what]
    if paths and is_report(paths[0]):
        if len(paths) > 1:
            raise UsageError(f"{paths[1]}: only one report is verified at a time")
        return verify_report(paths[0], options.signers)
    if paths and paths[0].is_file():
        return verify_file(paths[0], options.signers)
    study = _study(options)
    planned = list(dict.fromkeys(planned.spec.digest for planned in study.plan()))
    stores = [study.budget.run_store, *([RunStore(REFERENCE)] if study.budget.recorded else [])]
    if options.store is not None:
        stores, planned = [RunStore(options.store)], [path.name for path in options.store.glob("*/")]
    digests = named_runs(options.what, study, planned)
    if options.trained is not None:
        return compare(stores[-1], RunStore(options.trained), digests or planned, options.output)
    runs = options.runs or (None if options.what else 3)
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    return verify(
        stores,
        digests=digests or planned,
        runs=runs,
        epochs=options.epochs,
        steps=options.steps,
        seed=seed,
        from_checkpoint=options.from_checkpoint,
        signers=options.signers,
    )


def _notebook(options: argparse.Namespace) -> int:
    from gon.claims.execution import execute, execute_notebook
    from gon.claims.notebooks import notebook_path

    if options.claim in EXPLANATIONS:
        execute_notebook(notebook_path(options.claim), options.executed, {})
        return 0
    if options.result is None:
        raise UsageError("--result: a claim's notebook leaves its result in a folder; name it")
    execute(_study(options), options.claim, options.result, options.executed)
    return 0


def _records(options: argparse.Namespace) -> int:
    from gon.claims.params import REFERENCE
    from gon.verify.adding import add_records

    return add_records(options.source, REFERENCE)


def _rules(options: argparse.Namespace) -> int:
    from gon.claims.ledger import told
    from gon.claims.study import load_study
    from gon.files import PROJECT

    print("\n".join(told(load_study().claims, PROJECT / "params", adding=options.lock)))
    return 0


def _report(options: argparse.Namespace) -> int:
    expect_little_garbage()
    from gon.claims.ledger import check_ledger
    from gon.claims.study import load_study
    from gon.files import PROJECT
    from gon.reporting.build import build_report
    from gon.reporting.read import ReportParts, parts_of_report, study_of_report

    check_ledger(load_study().claims, PROJECT / "params")
    if options.again is None:
        study = _study(options)
        parts = ReportParts(options.results, options.notebooks, options.workflow, options.checked)
    else:
        study, parts = study_of_report(options.again), parts_of_report(options.again)
    build_report(study, parts, options.output, options.again, published=options.published)
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
