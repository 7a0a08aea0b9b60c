"""What the templates show: sections, cards of runs, and what holds for all of them."""

import dataclasses
import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import numpy as np

from gon.catalogue import DATASETS, EVALUATIONS
from gon.claims.deviations import Deviation
from gon.claims.formats import count, counted, listed
from gon.claims.judging import JudgedClaim
from gon.claims.loading import Run
from gon.claims.params import Budget, Headline
from gon.claims.results import ClaimResult, FigureFile, Measurement, Table, Verdict
from gon.files import sha256_of_file
from gon.reporting.escape import slug
from gon.runs.record import Session
from gon.spec import RunSpec

# Facts of an environment that depend on the model too.
_PER_MODEL = ("device", "origin pass", "compiled")
_CURVE_POINTS = 60


@dataclass(frozen=True)
class Section(JudgedClaim):
    """One claim as a section of the report, and where its files lie.

    Attributes
    ----------
    result
        What its notebook left.
    folder
        The claim's folder.
    has_notebook
        Whether its executed notebook is part of the report.
    """

    result: ClaimResult
    folder: Path
    has_notebook: bool

    @property
    def title(self) -> str:
        """Its heading."""
        return self.params.title

    @property
    def primary(self) -> str | None:
        """Name of the rule that the claim stands or falls with."""
        return self.params.primary

    @property
    def tables(self) -> list[Table]:
        """Its tables."""
        return self.result.tables

    @property
    def figures(self) -> list[FigureFile]:
        """Its figures."""
        return self.result.figures

    @property
    def anchor(self) -> str:
        """The id of its section."""
        return f"claim-{slug(self.name)}"

    @property
    def notebook(self) -> str:
        """Link to the page of its notebook."""
        return f"notebooks/{quote(self.name)}.html"

    def runs_of(self, figure: FigureFile) -> list[Run]:
        """The runs behind a figure."""
        behind = set(figure.runs)
        return [run for run in self.runs if run.spec.digest in behind]

    def file(self, path: str) -> str:
        """Where a file of the claim's folder lies in the report."""
        return f"data/{self.name}/{path}"

    def data(self, path: str) -> str:
        """Link to a file of the claim's folder."""
        return quote(self.file(path))


@dataclass(frozen=True)
class Card:
    """One run of the report.

    Attributes
    ----------
    run
        The run.
    sections
        The claims that rest on it.
    """

    run: Run
    sections: tuple[Section, ...]

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
        return self.run.value(quantity)

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
        store, of = self.run.store, (self.spec, self.run.record.epochs)
        named = {
            "record": store.record_path(*of),
            "steps": store.steps_path(self.run.record),
            "images": store.images_path(*of),
            **{name: store.evaluation_path(*of, name) for name in EVALUATIONS},
        }
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
        losses = self.run.step_losses()
        starts = np.arange(0, len(losses), max(1, -(-len(losses) // _CURVE_POINTS)))
        sizes = np.diff([*starts, len(losses)])
        means = np.add.reduceat(losses.astype(np.float64), starts) / sizes if len(losses) else starts
        return [float(mean) for mean in means if math.isfinite(mean)]

    @cached_property
    def curve(self) -> str:
        """Its training loss as points of an SVG line, 100 wide, 24 high, logarithmic; empty for one."""
        if len(self.losses) < 2 or min(self.losses) <= 0 or min(self.losses) == max(self.losses):
            return ""
        logs = [math.log(loss) for loss in self.losses]
        low, high = min(logs), max(logs)
        return " ".join(
            f"{100 * i / (len(logs) - 1):.1f},{23 - 22 * (y - low) / (high - low):.1f}"
            for i, y in enumerate(logs)
        )


@dataclass(frozen=True)
class CardGroup:
    """Runs of the same settings from different seeds, in the order of their seeds."""

    cards: tuple[Card, ...]

    @property
    def anchor(self) -> str:
        """The id of what holds their cards: the card itself if there is one only."""
        first = self.cards[0]
        return first.anchor if len(self.cards) == 1 else f"seeds-of-{first.anchor}"

    @property
    def label(self) -> str:
        """The settings in words, without the seed where there are several."""
        spec = self.cards[0].spec
        return spec.label if len(self.cards) == 1 else spec.settings_label


@dataclass(frozen=True)
class Environment:
    """Where runs were trained: what is the same for all of `cards`."""

    facts: dict[str, str]
    cards: tuple[Card, ...]


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
    explanations: tuple[str, ...] = ()
    """Executed notebooks that judge no claim, of `gon.catalogue.EXPLANATIONS`."""

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
        versions: dict[str, set[str]] = {}
        for card in self.cards:
            for name, version in card.session.versions.items():
                versions.setdefault(name, set()).add(version)
        machines = {
            f"{session.machine.get('gpu', session.machine['processor'])}, {session.device}, "
            f"{counted(session.threads, 'thread')} per run"
            for session in (card.session for card in self.cards)
        }
        images = [
            f"{count(train)} training and {count(validation)} validation images"
            for train, validation in self.split_sizes
        ]
        return {
            "epochs": counted(self.budget.epochs, "epoch"),
            "seeds": counted(self.budget.seeds, "seed"),
            "images": " or ".join(images),
            "datasets": listed(self.datasets),
            "versions": "; ".join(f"{name} {' or '.join(sorted(v))}" for name, v in versions.items()),
            "machines": "; ".join(sorted(machines)),
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
    def headlines(self) -> list[tuple[Section, Headline, Verdict]]:
        """The questions that the first lines answer, with the verdict that answers each."""
        return [
            (section, headline, verdict)
            for section in self.sections
            if (headline := section.params.headline) is not None
            for verdict in section.verdicts
            if verdict.rule.name == headline.rule
        ]

    @property
    def datasets(self) -> list[str]:
        """Titles of the data sets used."""
        return [DATASETS[name].title for name in dict.fromkeys(card.spec.dataset for card in self.cards)]

    @property
    def split_sizes(self) -> list[tuple[int, int]]:
        """Training and validation images used, every combination that occurs."""
        sizes = {(card.spec.train_images, card.spec.validation_images) for card in self.cards}
        return sorted((a, b) for a, b in sizes if a is not None and b is not None)

    @property
    def parameters(self) -> list[tuple[int, int]]:
        """Trained parameters of the GON on grey-scale images by latent size."""
        plain = ("gon", 1, RunSpec.width)
        return sorted(
            {
                (card.spec.latent_dim, card.run.record.parameters)
                for card in self.cards
                if (card.spec.model, DATASETS[card.spec.dataset].channels, card.spec.width) == plain
            }
        )

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
        groups: dict[tuple[tuple[str, str], ...], list[Card]] = {}
        for card in self.cards:
            facts = environment_facts(card.session).items()
            groups.setdefault(tuple(fact for fact in facts if fact[0] not in _PER_MODEL), []).append(card)
        return [
            Environment(
                {
                    **dict(facts),
                    **{
                        key: " or ".join(
                            dict.fromkeys(environment_facts(card.session)[key] for card in cards)
                        )
                        for key in _PER_MODEL
                    },
                },
                tuple(cards),
            )
            for facts, cards in groups.items()
        ]


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
        "origin pass": session.origin_pass,
        "compiled": session.compiled,
        "commit": session.commit or "not in a git checkout",
    }
