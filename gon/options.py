"""How options are read: what is wrong with one is said as everything else is."""

import argparse
from typing import NoReturn

from gon.errors import UsageError
from gon.runs.provenance import available_cores


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
