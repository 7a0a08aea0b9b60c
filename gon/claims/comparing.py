"""What a rule compares, as log losses seed by seed; `gon.claims.verdicts` decides."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gon.claims.results import (
    Measurement,
    Reason,
)
from gon.claims.rules import LossRule, ValueRule
from gon.claims.statistics import ROUNDING, Array, Differences, differences
from gon.errors import UsageError


@dataclass(frozen=True)
class Row:
    """One comparison, made ready to be decided.

    Attributes
    ----------
    training
        What tells its training from others: the runs.
    epochs
        After how many it is compared.
    trained
        Whether a side of it is; else seeds and epochs do not enter.
    present
        How many of the rule's seeds were run, with or without a value.
    logs
        Log ratio of every seed of the rule; NaN where there is none.
    reasons
        Why it cannot decide.
    whole
        Whether it has the epochs and seeds that the rule asks for.
    """

    first: str
    second: str | None
    training: tuple[str, ...]
    epochs: int
    trained: bool
    present: int
    usable: int
    logs: list[float]
    reasons: frozenset[Reason]
    whole: bool


def pair_row(rule: LossRule, first: Measurement, second: Measurement) -> Row:
    """Two measurements, the first published to be the lower one."""
    trained = [m for m in (first, second) if not m.exact] or [first]
    if len({m.epochs for m in trained}) > 1:
        raise UsageError(
            f"rule {rule.name}: {first.name} has {first.epochs} epochs and {second.name} {second.epochs}"
        )
    return _row(
        rule,
        first.name,
        second.name,
        trained[0].epochs,
        [_by_seed(rule, m) for m in (first, second)],
        (*_training(rule, first), *_training(rule, second)),
    )


def value_row(rule: ValueRule, measurement: Measurement) -> Row:
    """A measurement and its published value."""
    published: dict[int | None, float | None] = {None: measurement.published}
    sides = [_by_seed(rule, measurement), published]
    row = _row(rule, measurement.name, None, measurement.epochs, sides, _training(rule, measurement))
    if row.trained and row.epochs not in rule.epochs:
        # Two values of a falling loss mean the same only after the same training.
        return dataclasses.replace(row, logs=[math.nan] * rule.seeds)
    return row


def _row(
    rule: LossRule,
    first: str,
    second: str | None,
    epochs: int,
    sides: list[dict[int | None, float | None]],
    training: tuple[str, ...],
) -> Row:
    trained = [side for side in sides if None not in side]
    # A computed model goes with every seed; two of them are compared once.
    seeds: list[int | None] = list(range(rule.seeds)) if trained else [None]
    present = [seed for seed in seeds if all(seed in side for side in trained)]
    logs = [np.asarray([_log(side.get(seed, side.get(None))) for seed in present]) for side in sides]
    ratios = logs[0] - logs[1]
    usable = int(np.isfinite(ratios).sum())
    reasons: set[Reason] = set()
    if len(present) < rule.seeds and trained:
        reasons.add("seeds")
    if usable < len(present):
        reasons.add("diverged")
        ratios = np.full(len(present), np.nan)  # what is left would be a choice by the outcome
    elif not trained or _without_scatter([ratios, *(logs[i] for i in (0, 1) if sides[i] in trained)]):
        reasons.add("no scatter")
        ratios = np.full(len(present), ratios.mean())
    return Row(
        first=first,
        second=second,
        training=training,
        epochs=epochs,
        trained=bool(trained),
        present=len(present),
        usable=usable,
        logs=[*ratios.tolist(), *[math.nan] * (rule.seeds - len(present))],
        reasons=frozenset(reasons),
        whole=not trained or (epochs in rule.epochs and "seeds" not in reasons),
    )


def _without_scatter(samples: Sequence[Array]) -> bool:
    """Whether one has the same number from several seeds: then something does not vary that should."""
    return any(len(sample) > 1 and float(np.std(sample, ddof=1)) <= ROUNDING for sample in samples)


def _training(rule: LossRule, measurement: Measurement) -> tuple[str, ...]:
    """The runs behind a measurement, the same ones after any number of epochs."""
    seeds = (*range(rule.seeds), None)
    return tuple(value.run or "" for value in measurement.values if value.seed in seeds)


def _by_seed(rule: LossRule, measurement: Measurement) -> dict[int | None, float | None]:
    values = {v.seed: v.value for v in measurement.values}
    if len(values) != len(measurement.values) or (None in values and len(values) > 1):
        raise UsageError(f"rule {rule.name}: {measurement.name} has two values of one seed")
    return values


def _log(value: float | None) -> float:
    """The logarithm; NaN where a run has no loss: it diverged, or what it gave cannot be one."""
    return math.log(value) if value is not None and math.isfinite(value) and value > 0 else math.nan


def log_ratios(rule: LossRule, rows: Sequence[Row]) -> Differences:
    """Log ratios of all rows [rows, seeds], summarised."""
    logs = np.asarray([row.logs for row in rows], dtype=np.float64)
    return differences(logs.reshape(len(rows), rule.seeds))
