"""Durations and counts in words."""

from collections.abc import Mapping

NOUNS = {
    "data": ("data set", "data sets"),
    "train": ("training", "trainings"),
    "notebook": ("notebook", "notebooks"),
    "explanation": ("explanation", "explanations"),
    "report": ("report", "reports"),
}
"""What the jobs of a rule are called, singular and plural, in the order in which they are named."""


def noun(rule: str, number: int) -> str:
    """Name so many jobs of a rule."""
    singular, plural = NOUNS.get(rule, (f"{rule} job", f"{rule} jobs"))
    return singular if number == 1 else plural


def duration(seconds: float) -> str:
    """Write a duration with at most two units: `8 s`, `3 min 20 s`, `2 h 5 min`."""
    total = max(round(seconds), 0)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60} s"
    return f"{total // 3600} h {total % 3600 // 60} min"


def rough(seconds: float) -> str:
    """Write a duration as exactly as an estimate deserves."""
    if seconds < 90:
        # A countdown in steps of five seconds; never zero while there is something to wait for.
        return f"{max(round(seconds / 5), 1) * 5} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{round(seconds / 3600, 1):g} h"


def counts(numbers: Mapping[str, int]) -> str:
    """Write numbers of jobs: `11 trainings, 3 notebooks, 1 report`."""
    order = list(NOUNS)
    rules = sorted(numbers, key=lambda rule: order.index(rule) if rule in order else len(order))
    return ", ".join(f"{numbers[rule]} {noun(rule, numbers[rule])}" for rule in rules)
