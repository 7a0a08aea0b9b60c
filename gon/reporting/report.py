"""What the templates show: sections, cards of runs, and what holds for all of them."""

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gon.catalogue import DATASETS
from gon.claims.coverage import run_epochs, span
from gon.claims.deviations import Deviation
from gon.claims.formats import count, counted, listed
from gon.claims.params import Budget, Headline
from gon.claims.results import Measurement, Verdict
from gon.reporting.cards import Card, CardGroup, Environment, environments_of, versions_of
from gon.reporting.checked import Checked
from gon.reporting.section import Section
from gon.spec import RunSpec


@dataclass(frozen=True)
class Change:
    """One number or verdict as it was and as it is."""

    what: str
    before: str
    now: str


@dataclass(frozen=True)
class Report:
    """Everything that the templates show."""

    budget: Budget
    sections: tuple[Section, ...]
    cards: tuple[Card, ...]
    workflow: Path | None = None
    """The drawing of the workflow (SVG)."""
    edges: tuple[tuple[str, str], ...] = ()
    """What it shows: rules, and those that need what they make."""
    deviations: tuple[Deviation, ...] = ()
    """Where the set-up differs from the published one."""
    pictures: tuple[tuple[Path, str], ...] = ()
    """Drawings (SVG) of the explanations, each with its text alternative."""
    changes: tuple[Change, ...] = ()
    """What changed since the last report."""
    looks: Mapping[str, Sequence[Mapping[str, str]]] = dataclasses.field(default_factory=dict)
    """Every verdict of this report and those before it, see `gon.reporting.changes.looks_of`."""
    locked: frozenset[tuple[str, str, int]] = frozenset()
    """Claim, name and version of the rules that the ledger holds."""
    published: bool = False
    """Whether it is the one that the repository holds, which names digests in place of a commit."""
    checked: Checked | None = None
    """What was trained on this machine and compared with the records."""
    explanations: tuple[str, ...] = ()
    """Executed notebooks that judge no claim, of `gon.catalogue.EXPLANATIONS`."""
    usual_width = RunSpec.width
    """Width of the decoder where a run names no other."""

    @property
    def uses_all_images(self) -> bool:
        """Whether every run saw all images."""
        return all(card.spec.uses_all_images for card in self.cards)

    @property
    def published_epochs(self) -> int | None:
        """Epochs of the longest published training that a claim compares with."""
        return max((e for s in self.sections if (e := s.params.published.epochs)), default=None)

    @property
    def verdicts(self) -> list[tuple[Section, Verdict]]:
        """Every verdict with its claim."""
        return [(section, verdict) for section in self.sections for verdict in section.verdicts]

    @cached_property
    def facts(self) -> dict[str, str]:
        """What deviations name in braces, see `gon.claims.deviations.FACTS`."""
        machines: dict[str, set[str]] = {}
        for session in (session for card in self.cards for session in card.run.record.sessions):
            way = f"{session.device.upper()}, {counted(session.threads, 'thread')} per run"
            machines.setdefault(way, set()).add(str(session.machine.get("gpu", session.machine["processor"])))
        images = [
            f"{count(train)} training and {count(validation)} validation images"
            for train, validation in self.split_sizes
        ]
        return {
            "epochs": run_epochs(card.run for card in self.cards) or counted(self.budget.epochs, "epoch"),
            "seeds": span(self.seed_counts, "seed") or counted(self.budget.seeds, "seed"),
            "images": " or ".join(images),
            "datasets": listed(self.datasets),
            "versions": "; ".join(f"{name} {' or '.join(v)}" for name, v in versions_of(self.cards).items()),
            "machines": "; ".join(f"{listed(sorted(names))} ({way})" for way, names in machines.items()),
        }

    def here(self, deviation: Deviation) -> str:
        """What we do, with the facts of this report."""
        return deviation.here.format(**self.facts)

    def deviations_of(self, section: Section) -> list[Deviation]:
        """The deviations that touch a claim."""
        return [deviation for deviation in self.deviations if section.name in deviation.claims]

    def effects(self, deviation: Deviation) -> list[Measurement]:
        """The measured numbers that show its effect; empty if they were not measured."""
        if deviation.measured is None:
            return []
        return [
            measurement
            for section in self.sections
            if section.name == deviation.measured.claim
            for measurement in section.measurements
            if measurement.name in deviation.measured.measurements
        ]

    def part(self, name: str) -> list[Section]:
        """The claims of one part of the report."""
        return [section for section in self.sections if section.params.part == name]

    @cached_property
    def shared(self) -> dict[str, str | int | float]:
        """The settings that are the same in every run."""
        specs = [dataclasses.asdict(card.spec) for card in self.cards]
        return {
            key: value
            for key, value in (specs[0] if specs else {}).items()
            if all(spec[key] == value for spec in specs)
        }

    @cached_property
    def groups(self) -> list[CardGroup]:
        """The runs, those together that differ in their seed only."""
        found: dict[RunSpec, list[Card]] = {}
        for card in self.cards:
            found.setdefault(dataclasses.replace(card.spec, seed=RunSpec.seed), []).append(card)
        return [CardGroup(tuple(sorted(cards, key=lambda card: card.spec.seed))) for cards in found.values()]

    @property
    def seed_counts(self) -> list[int]:
        """How many seeds each setting was trained from, but for models that are computed."""
        return [len(group.cards) for group in self.groups if not group.cards[0].run.exact]

    def groups_of(self, digests: Sequence[str]) -> list[CardGroup]:
        """The groups that hold these runs."""
        places = {self._places[digest] for digest in digests if digest in self._places}
        return [self.groups[place] for place in sorted(places)]

    @cached_property
    def _places(self) -> dict[str, int]:
        """Which of the groups holds a run."""
        return {card.spec.digest: i for i, group in enumerate(self.groups) for card in group.cards}

    def home(self, measurement: Measurement) -> str:
        """Anchor of the runs behind a measured number, which must have some."""
        return self.groups_of(measurement.runs)[0].anchor

    @property
    def left_out(self) -> int:
        """How many runs the claims would rest on that were not run."""
        return len({request.spec.digest for section in self.sections for request in section.left_out})

    @property
    def answers(self) -> list[tuple[Section, Headline, Verdict, Verdict]]:
        """The questions of the first lines, each with the first verdict of its rules that is decided.

        Behind it that of its first rule, which is the same where no other one answers.
        """
        return [
            (section, headline, *section.answer(headline))
            for section in self.sections
            if not section.failure
            for headline in section.params.headlines
        ]

    @property
    def datasets(self) -> list[str]:
        """Titles of the data sets used."""
        return [DATASETS[name].title for name in dict.fromkeys(card.spec.dataset for card in self.cards)]

    @property
    def uses_more_data(self) -> bool:
        """Whether a data set is used that the written report does not use."""
        return any(not DATASETS[card.spec.dataset].required for card in self.cards)

    @property
    def split_sizes(self) -> list[tuple[int, int]]:
        """Training and validation images used of the published splits, every combination that occurs."""
        sizes = {
            (card.spec.train_images, card.spec.validation_images)
            for card in self.cards
            if card.spec.split == "test"
        }
        return sorted((a, b) for a, b in sizes if a is not None and b is not None)

    @property
    def total_seconds(self) -> float:
        """Wall time of all runs, one after the other."""
        return sum(card.seconds for card in self.cards)

    @property
    def peak_memory_mib(self) -> float:
        """Largest memory of any run."""
        return max((card.peak_memory_mib for card in self.cards), default=0.0)

    @property
    def step_milliseconds(self) -> list[float]:
        """Mean time of a step on the device, one number per run that has one, in ascending order."""
        return sorted(ms for card in self.cards if (ms := card.run.record.step_milliseconds) is not None)

    @property
    def moment(self) -> datetime.datetime:
        """When the last run started: the report's date, so that the same runs give the same bytes."""
        moments = [datetime.datetime.fromisoformat(card.session.started) for card in self.cards]
        return max(moments, default=datetime.datetime.fromtimestamp(0, datetime.UTC))

    @cached_property
    def environments(self) -> list[Environment]:
        """The runs by where they were trained."""
        return environments_of(self.cards)

    @cached_property
    def data(self) -> dict[str, dict[str, str]]:
        """Digests of the data, by the titles of the data sets: runs of one data set saw the same."""
        return {DATASETS[card.spec.dataset].title: card.run.record.data for card in self.cards}
