"""Runs as the report shows them: cards, those of several seeds together, and where they were trained."""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from gon.catalogue import EVALUATIONS
from gon.claims.formats import count, counted, listed
from gon.claims.loading import Run
from gon.files import sha256_of_file
from gon.reporting.escape import slug
from gon.reporting.section import Section
from gon.runs.origin import ORIGIN
from gon.runs.record import Session
from gon.spec import RunSpec

PER_RUN = ("device", "gradient", "compiled", "commit")
"""Facts that stand with each run, and not with its environment."""
_CURVE_POINTS = 20


@dataclass(frozen=True)
class Card:
    """One run of the report.

    Attributes
    ----------
    run
        The run.
    sections
        The claims that rest on it.
    shorter
        The same run after fewer epochs, where a claim rests on its record there.
    """

    run: Run
    sections: tuple[Section, ...]
    shorter: tuple[Run, ...] = ()

    @property
    def spec(self) -> RunSpec:
        """Its settings."""
        return self.run.spec

    @property
    def anchor(self) -> str:
        """The id of its card."""
        return f"run-{slug(self.spec.digest)}"

    @property
    def session(self) -> Session:
        """The last stretch of its training."""
        return self.run.record.sessions[-1]

    def loss(self, quantity: str) -> float | None:
        """The measure of a loss at its end; None if it diverged, or has none."""
        return self.run.record.loss(quantity)

    @property
    def seconds(self) -> float:
        """Wall time of training and validation."""
        record = self.run.record
        return record.train_seconds + sum(epoch.validation_seconds for epoch in record.history)

    @property
    def peak_memory_mib(self) -> float:
        """Largest memory of any session."""
        return max(session.peak_memory_mib for session in self.run.record.sessions)

    @cached_property
    def files(self) -> dict[str, Path]:
        """What lies beside its record and with it: `record`, `steps`, `images`, and evaluations by name."""
        named = _files(self.run)
        lengths = {f" after {counted(run.epochs, 'epoch')}": _files(run) for run in self.shorter}
        # One file holds the steps of a training, whatever its length.
        named |= {
            name + length: path
            for length, files in lengths.items()
            for name, path in files.items()
            if path.name != named["steps"].name
        }
        named["origin"] = self.run.store.folder(self.spec) / ORIGIN
        return {name: path for name, path in named.items() if path.exists()}

    @property
    def links(self) -> dict[str, str]:
        """Where these files lie in the report: a run's files stand once, whatever claims rest on it."""
        return {name: f"data/runs/{self.spec.digest}/{path.name}" for name, path in self.files.items()}

    @cached_property
    def record_digest(self) -> str:
        """SHA-256 of its record's file."""
        return sha256_of_file(self.files["record"])

    @cached_property
    def losses(self) -> list[float]:
        """Training loss averaged over blocks of steps, as its curve is drawn; those that are finite."""
        losses = self.run.step_losses
        starts = np.arange(0, len(losses), max(1, -(-len(losses) // _CURVE_POINTS)))
        sizes = np.diff([*starts, len(losses)])
        means = np.add.reduceat(losses.astype(np.float64), starts) / sizes if len(losses) else starts
        return [float(mean) for mean in means if math.isfinite(mean)]

    @cached_property
    def curve(self) -> str:
        """Its training loss as points of an SVG line, a unit apart, 50 high, logarithmic; empty for one."""
        if len(self.losses) < 2 or min(self.losses) <= 0 or min(self.losses) == max(self.losses):
            return ""
        logs = [math.log(loss) for loss in self.losses]
        low, high = min(logs), max(logs)
        return " ".join(f"{i},{49 - 48 * (y - low) / (high - low):.0f}" for i, y in enumerate(logs))


def _files(run: Run) -> dict[str, Path]:
    """What a run left after its epochs, whether it is there or not."""
    store, of = run.store, (run.spec, run.record.epochs)
    evaluations = {name: store.evaluation_path(*of, name) for name in EVALUATIONS}
    return {
        "record": store.record_path(*of),
        "steps": store.steps_path(run.record),
        "images": store.images_path(*of),
        **evaluations,
    }


@dataclass(frozen=True)
class CardGroup:
    """Runs of the same settings from different seeds, in the order of their seeds."""

    cards: tuple[Card, ...]

    @property
    def sections(self) -> list[Section]:
        """The claims that rest on one of them."""
        return list({section.name: section for card in self.cards for section in card.sections}.values())

    @property
    def anchor(self) -> str:
        """The id of their card: that of the first run."""
        return self.cards[0].anchor

    @property
    def label(self) -> str:
        """The settings in words, without the seed where there are several."""
        spec = self.cards[0].spec
        return spec.label if len(self.cards) == 1 else spec.settings_label

    @property
    def epochs(self) -> str:
        """How far its runs were trained."""
        return listed([count(n) for n in sorted({card.run.record.epochs for card in self.cards})])

    def mean(self, quantity: str) -> float | None:
        """Mean of a loss at the end of its longest runs; None if one diverged, or has none."""
        last = max(card.run.record.epochs for card in self.cards)
        losses = [card.loss(quantity) for card in self.cards if card.run.record.epochs == last]
        found = [loss for loss in losses if loss is not None]
        return sum(found) / len(found) if len(found) == len(losses) else None

    @property
    def step_milliseconds(self) -> float | None:
        """Median over its runs of the time of a step on the device; None for what takes no steps."""
        times = [ms for card in self.cards if (ms := card.run.record.step_milliseconds) is not None]
        return statistics.median(times) if times else None

    @property
    def seconds(self) -> float:
        """Wall time of all its runs, one after the other."""
        return sum(card.seconds for card in self.cards)

    @property
    def peak_memory_mib(self) -> float:
        """Largest memory of any of its runs."""
        return max(card.peak_memory_mib for card in self.cards)


@dataclass(frozen=True)
class Environment:
    """Where runs were trained: what is the same for all of `cards`."""

    facts: dict[str, str]
    cards: tuple[Card, ...]


def environment_facts(session: Session) -> dict[str, str]:
    """Machine, versions and way of computing of a session, in words."""
    return {
        **{
            key.replace("_gib", " (GiB)").replace("_", " "): str(value)
            for key, value in session.machine.items()
        },
        "versions": ", ".join(f"{name} {version}" for name, version in session.versions.items()),
        "device": f"{session.device}, {session.dtype}",
        "threads per run": str(session.threads),
        "gradient": {"fast": "in closed form", "reference": "by autograd"}.get(session.origin_pass, ""),
        "compiled": session.compiled,
        "commit": session.commit or "not in a git checkout",
    }


def _environment(session: Session) -> tuple[tuple[str, str], ...]:
    return tuple(fact for fact in environment_facts(session).items() if fact[0] not in PER_RUN)


def environments_of(all_cards: Sequence[Card]) -> list[Environment]:
    """Runs by where they were trained; one that went on elsewhere is in several."""
    groups: dict[tuple[tuple[str, str], ...], dict[str, Card]] = {}
    for card in all_cards:
        for session in card.run.record.sessions:
            groups.setdefault(_environment(session), {})[card.spec.digest] = card
    return [Environment(dict(facts), tuple(cards.values())) for facts, cards in groups.items()]


def versions_of(all_cards: Sequence[Card]) -> dict[str, list[str]]:
    """Libraries that computed runs, each with every version that occurs."""
    found: dict[str, set[str]] = {}
    for session in (session for card in all_cards for session in card.run.record.sessions):
        for name, version in session.versions.items():
            found.setdefault(name, set()).add(version)
    return {name: sorted(versions) for name, versions in found.items()}


@dataclass(frozen=True)
class Stretch:
    """Epochs that a run was trained for in one environment."""

    environment: int
    """Its number, from 1."""
    facts: tuple[tuple[str, str], ...]
    """Those that stand with each run, as they were at the end."""
    until: int | None
    """The last epoch, where the run went on elsewhere."""


def ways(group: CardGroup, environments: Sequence[Environment]) -> dict[tuple[Stretch, ...], list[Card]]:
    """How the runs of a group were computed, stretch by stretch."""
    numbers = {tuple(e.facts.items()): number for number, e in enumerate(environments, start=1)}
    found: dict[tuple[Stretch, ...], list[Card]] = {}
    for card in group.cards:
        stretches: list[Stretch] = []
        sessions = card.run.record.sessions
        for place, in_place in itertools.groupby(sessions, key=_environment):
            *_, last = in_place
            facts = environment_facts(last)
            way = tuple((key, facts[key]) for key in PER_RUN if facts[key])
            until = None if last is sessions[-1] else last.last_epoch
            if until is None and card.run.origin is not None:
                way = (*way, ("record", f"from {card.run.origin}"))
            stretches.append(Stretch(numbers[place], way, until))
        found.setdefault(tuple(stretches), []).append(card)
    return found
