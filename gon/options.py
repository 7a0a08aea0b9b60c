"""Options that commands share, and how they are read: what is wrong is said as everything else is."""

import argparse
import dataclasses
from pathlib import Path
from typing import NoReturn

from gon.catalogue import DEFAULT_BUDGET
from gon.errors import UsageError
from gon.runs.provenance import available_cores
from gon.spec import RunSpec


class Parser(argparse.ArgumentParser):
    """A parser that leaves its errors to `main`, which prints them as all others."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong, in place of printing it and leaving."""
        raise UsageError(message.removeprefix("argument "))


def positive(text: str) -> int:
    """A whole number from 1 up."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not allowed; a whole number from 1 up is")
    return int(text)


def cores(text: str) -> int:
    """A number of cores, or all that this process may use."""
    if text == "all":
        return available_cores()
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; a whole number from 1 up, or all, is")
    return positive(text)


def add_study_options(command: argparse.ArgumentParser) -> None:
    """Options that name a budget, and what is changed in it."""
    command.add_argument(
        "--budget", default=DEFAULT_BUDGET, help="reference (default), quick, standard, paper or smoke"
    )
    command.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="epochs=3, or CLAIM.PARAMETER=VALUE; may be given several times",
    )


def add_machine_options(command: argparse.ArgumentParser) -> None:
    """Options that say what trains."""
    command.add_argument(
        "--cores", type=cores, default="all", metavar="N", help="trainings side by side (default: all)"
    )
    command.add_argument("--device", default="cpu", help="train on the cpu (default) or on cuda")


def add_run_options(command: argparse.ArgumentParser) -> None:
    """Options that name a run: its settings, its epochs, and where it lies."""
    command.add_argument(
        "--epochs", type=positive, required=True, help="epochs in all, those already trained included"
    )
    command.add_argument("--store", type=Path, required=True, help="folder of the runs")
    for field in dataclasses.fields(RunSpec):
        kind = int if field.default is None else type(field.default)
        unset = "the model's present version" if field.name == "numerics" else "all"
        command.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=kind,
            default=field.default,
            metavar=kind.__name__.upper(),
            help=f"(default: {unset if field.default is None else field.default})",
        )
