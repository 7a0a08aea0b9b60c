"""Judge a claim: its rules compare what its runs gave, pair by pair, and nothing that a notebook chose."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from gon.claims import verdicts
from gon.claims.loading import Run
from gon.claims.measuring import measurement, seed_value
from gon.claims.params import Budget, ClaimParams, Request
from gon.claims.results import Measurement, SeedValue, Verdict
from gon.claims.rules import LossRule, OrderingRule, Rule, StructuralRule, ValueRule
from gon.spec import RunSpec


@dataclass(frozen=True)
class JudgedClaim:
    """A claim with the runs that it rests on, and what its rules say of them."""

    params: ClaimParams
    runs: tuple[Run, ...]
    left_out: tuple[Request, ...]
    """What it would rest on besides, and why it does not."""
    measurements: tuple[Measurement, ...]
    """What was measured: by the notebook, and what the rules compare."""
    verdicts: tuple[Verdict, ...]
    """What each rule says, in their order."""

    @property
    def name(self) -> str:
        """The claim's name."""
        return self.params.name

    def measurement(self, name: str, epochs: int | None = None) -> Measurement:
        """The measurement of that name; if there are several, that after so many epochs."""
        named = [m for m in self.measurements if m.name == name]
        return next((m for m in named if m.epochs == epochs), named[0])


def judge(
    params: ClaimParams,
    budget: Budget,
    runs: Sequence[Run],
    left_out: Sequence[Request],
    measured: Sequence[Measurement] = (),
) -> JudgedClaim:
    """Let each rule of a claim judge those of its runs that it speaks of, at a budget.

    No rule looks at `measured`, which is what the notebook measured.
    """
    found = _Judge(params, budget, runs)
    verdicts_found = tuple(found.verdict(rule) for rule in params.rules)
    together = (*measured, *found.measurements.values())
    return JudgedClaim(params, tuple(runs), tuple(left_out), together, verdicts_found)


@dataclass
class _Judge:
    """Applies the rules of a claim to its runs, and keeps what they compared, by name."""

    params: ClaimParams
    budget: Budget
    runs: Sequence[Run]
    measurements: dict[str, Measurement] = dataclasses.field(default_factory=dict)

    def verdict(self, rule: Rule) -> Verdict:
        """What a rule says of the runs."""
        specs = self.params.pairs(rule, self.budget)
        if isinstance(rule, StructuralRule):
            counted = [(self._parameters(low), self._parameters(high)) for low, high in specs]
            return verdicts.judge_structural(rule, counted, complete=True)
        sides = {spec: self._runs_of(rule, spec) for pair in specs for spec in pair}
        complete = all(sides.values())
        pairs = [
            (self._loss(rule, low, sides[low], epochs), self._loss(rule, high, sides[high], epochs))
            for low, high in specs
            if sides[low] and sides[high]
            for epochs in _epochs_of(rule, sides[low], sides[high])
        ]
        whole = all(run.spec.uses_all_images for run in self.runs)
        if isinstance(rule, OrderingRule):
            missing = len(specs) * len(rule.epochs) - len(pairs)
            return verdicts.judge_ordering(
                rule, pairs, complete=complete, uses_all_images=whole, missing=missing
            )
        measured, early = [], []
        for spec, runs in sides.items():
            for epochs in _epochs_of(rule, runs) if runs else ():
                measured.append(self._loss(rule, spec, runs, epochs))
            reached = min((run.epochs for run in runs), default=0)
            early += [self._loss(rule, spec, runs, e) for e in rule.milestones if e <= reached]
        return verdicts.judge_values(rule, measured, pairs, early, complete=complete, uses_all_images=whole)

    def _runs_of(self, rule: LossRule, spec: RunSpec) -> list[Run]:
        """The runs of some settings from the seeds that a rule names."""
        seeds = [0] if spec.entry.exact else range(rule.seeds)
        wanted = {dataclasses.replace(spec, seed=seed) for seed in seeds}
        return [run for run in self.runs if run.spec in wanted]

    def _loss(self, rule: LossRule, spec: RunSpec, runs: Sequence[Run], epochs: int) -> Measurement:
        """What a rule compares: the measure of its loss after so many epochs, of the runs that reached them.

        Of a model with an encoder the better of its batch norms' two modes counts, chosen for these settings
        over all seeds: it has both, where GON has one only.
        """
        runs = _reaching(runs, epochs)
        modes: list[str] = [rule.quantity]
        if rule.quantity == "validation_loss" and spec.entry.has_encoder:
            modes.append("validation_loss_running")
        chosen = {mode: [run.record.loss(mode, epochs) for run in runs] for mode in modes}
        whole = [m for m in modes if all(v is not None and v > 0 for v in chosen[m])] or modes[:1]
        quantity = min(whole, key=lambda m: sum(math.log(v) for v in chosen[m] if v is not None and v > 0))
        label = spec.settings_label
        # Named by the seeds that the rule asks for, so that more of them later are the same number.
        name, published = f"{quantity}/{epochs} epochs/{rule.seeds} seeds/{label}", None
        if isinstance(rule, ValueRule):
            published = self.params.published_value(spec)
            name += "/published"
        if name not in self.measurements:
            values = [seed_value(run, value) for run, value in zip(runs, chosen[quantity], strict=True)]
            self.measurements[name] = measurement(
                name, label, values, epochs=epochs, quantity=quantity, published=published
            )
        return self.measurements[name]

    def _parameters(self, spec: RunSpec) -> Measurement:
        """Number of parameters of some settings, which follows from them alone."""
        name = f"parameters/{spec.settings_label}"
        values = [SeedValue(run=None, seed=None, value=float(spec.parameters))]
        return self.measurements.setdefault(
            name, measurement(name, spec.settings_label, values, epochs=0, quantity="parameters")
        )


def _epochs_of(rule: LossRule, *sides: Sequence[Run]) -> list[int]:
    """The epochs of a rule that a seed reached on every side; what all reached if there are none.

    Seeds are trained to a rule's length one after the other: those that are there are compared after it.
    """

    def together(epochs: int) -> bool:
        there = [{run.spec.seed for run in _reaching(side, epochs)} for side in sides if not side[0].exact]
        return not there or bool(set.intersection(*there))

    reached = min(run.epochs for side in sides for run in side)
    return [epochs for epochs in rule.epochs if together(epochs)] or [reached]


def _reaching(runs: Sequence[Run], epochs: int) -> list[Run]:
    """Those of some runs that are trained so far; one that diverged gives no more at any length."""
    return [run for run in runs if run.exact or run.diverged or run.epochs >= epochs]
