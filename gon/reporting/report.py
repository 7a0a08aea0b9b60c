"""Read the claim results, check that they fit together, and lay them out for the templates."""

import datetime
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from gon.catalogue import DATASETS
from gon.claims.deviations import Deviation
from gon.claims.formats import count, counted, listed
from gon.claims.params import Headline
from gon.claims.results import BudgetSummary, ClaimResult, Measurement, RunSummary, Verdict
from gon.errors import GonError
from gon.reporting.escape import slug
from gon.spec import RunSpec

# Facts of an environment that depend on the model too.
_PER_MODEL = ("device", "origin pass", "compiled")


@dataclass(frozen=True)
class Claim:
    """One claim result, and where its files lie.

    Attributes
    ----------
    result
        The checked result.
    folder
        The claim's folder.
    has_notebook
        Whether its executed notebook is part of the report.
    """

    result: ClaimResult
    folder: Path
    has_notebook: bool

    @property
    def anchor(self) -> str:
        """The id of its section."""
        return f"claim-{slug(self.result.claim)}"

    @property
    def notebook(self) -> str:
        """Link to the page of its notebook."""
        return f"notebooks/{quote(self.result.claim)}.html"

    def file(self, path: str) -> str:
        """Where a file of the claim's folder lies in the report."""
        return f"data/{self.result.claim}/{path}"

    def data(self, path: str) -> str:
        """Link to a file of the claim's folder."""
        return quote(self.file(path))


@dataclass(frozen=True)
class Run:
    """One run of the report, with links to its files.

    Attributes
    ----------
    summary
        The run as the claims describe it.
    record, steps, images
        Links to its record, to its training loss of every step, and to the images that it made.
    evaluations
        Links to its further evaluations, by file name.
    claims
        The claims that rest on it.
    losses
        Training loss averaged over blocks of steps, as its curve is drawn.
    """

    summary: RunSummary
    record: str
    steps: str
    images: str | None
    evaluations: dict[str, str]
    claims: tuple[Claim, ...]
    losses: tuple[float, ...]

    @property
    def anchor(self) -> str:
        """The id of its card."""
        return f"run-{slug(self.summary.digest)}"

    @property
    def first_loss(self) -> float:
        """Where its curve starts."""
        return self.losses[0]

    @property
    def last_loss(self) -> float:
        """Where its curve ends."""
        return self.losses[-1]

    @property
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
class Replicates:
    """Runs of the same settings from different seeds.

    Attributes
    ----------
    runs
        The runs, in the order of their seeds.
    """

    runs: tuple[Run, ...]

    @property
    def anchor(self) -> str:
        """The id of what holds their cards: the card itself if there is one only."""
        first = self.runs[0]
        return first.anchor if len(self.runs) == 1 else f"seeds-of-{first.anchor}"

    @property
    def label(self) -> str:
        """The settings in words, without the seed where there are several."""
        label = self.runs[0].summary.label
        return label if len(self.runs) == 1 else re.sub(r", seed \d+$", "", label)


@dataclass(frozen=True)
class Environment:
    """Where runs were trained: what is the same for all of `runs`."""

    facts: dict[str, str]
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Report:
    """Everything that the templates show."""

    claims: tuple[Claim, ...]
    runs: tuple[Run, ...]
    workflow: Path | None = None
    """The drawing of the workflow (SVG)."""
    edges: tuple[tuple[str, str], ...] = ()
    """What it shows: rules, and those that need what they make."""
    deviations: tuple[Deviation, ...] = ()
    """Where the set-up differs from the published one."""
    explanations: tuple[str, ...] = ()
    """Executed notebooks that judge no claim, of `gon.catalogue.EXPLANATIONS`."""

    @property
    def budget(self) -> BudgetSummary:
        """The budget, which all claims share."""
        return self.claims[0].result.budget

    @property
    def overrides(self) -> list[str]:
        """What was changed by hand for any of the claims."""
        return list(dict.fromkeys(text for c in self.claims for text in c.result.budget.overrides))

    @property
    def published_epochs(self) -> int | None:
        """Epochs of the longest published training that a claim compares with."""
        return max((e for c in self.claims if (e := c.result.published.epochs)), default=None)

    @property
    def verdicts(self) -> list[tuple[Claim, Verdict]]:
        """Every verdict with its claim."""
        return [(claim, verdict) for claim in self.claims for verdict in claim.result.verdicts]

    @cached_property
    def facts(self) -> dict[str, str]:
        """What deviations name in braces, see `gon.claims.deviations.FACTS`."""
        versions: dict[str, set[str]] = {}
        for run in self.runs:
            for name, version in run.summary.versions.items():
                versions.setdefault(name, set()).add(version)
        machines = {
            f"{run.summary.machine.get('gpu', run.summary.machine['processor'])}, {run.summary.device}, "
            f"{counted(run.summary.threads, 'thread')} per run"
            for run in self.runs
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

    def deviations_of(self, claim: Claim) -> list[Deviation]:
        """The deviations that touch a claim."""
        return [deviation for deviation in self.deviations if claim.result.claim in deviation.claims]

    def effects(self, deviation: Deviation) -> list[Measurement]:
        """The measured numbers that show its effect; empty if they were not measured."""
        if deviation.measured is None:
            return []
        return [
            measurement
            for claim in self.claims
            if claim.result.claim == deviation.measured.claim
            for measurement in claim.result.measurements
            if measurement.name in deviation.measured.measurements
        ]

    def part(self, name: str) -> list[Claim]:
        """The claims of one part of the report."""
        return [claim for claim in self.claims if claim.result.part == name]

    @cached_property
    def shared(self) -> dict[str, str | int | float]:
        """The settings that are the same in every run."""
        specs = [run.summary.spec for run in self.runs]
        return {
            key: value
            for key, value in (specs[0] if specs else {}).items()
            if all(spec.get(key) == value for spec in specs)
        }

    @cached_property
    def replicates(self) -> list[Replicates]:
        """The runs, those together that differ in their seed only."""
        groups: dict[tuple[tuple[str, str | int | float], ...], list[Run]] = {}
        for run in self.runs:
            settings = tuple(item for item in run.summary.spec.items() if item[0] != "seed")
            groups.setdefault(settings, []).append(run)
        return [
            Replicates(tuple(sorted(runs, key=lambda run: run.summary.spec["seed"])))
            for runs in groups.values()
        ]

    def groups(self, digests: Sequence[str]) -> list[Replicates]:
        """The groups that hold these runs."""
        wanted = set(digests)
        return [group for group in self.replicates if wanted & {run.summary.digest for run in group.runs}]

    def replicates_of(self, measurement: Measurement) -> Replicates:
        """The runs behind a measured number that has any."""
        return self.groups(measurement.runs)[0]

    @property
    def left_out(self) -> int:
        """How many runs the claims would rest on that were not run."""
        return len({entry.digest for claim in self.claims for entry in claim.result.left_out})

    @property
    def headlines(self) -> list[tuple[Claim, Headline, Verdict]]:
        """The questions that the first lines answer, with the verdict that answers each."""
        return [
            (claim, headline, verdict)
            for claim in self.claims
            if (headline := claim.result.headline) is not None
            for verdict in claim.result.verdicts
            if verdict.rule.name == headline.rule
        ]

    @property
    def datasets(self) -> list[str]:
        """Titles of the data sets used."""
        names = dict.fromkeys(str(run.summary.spec.get("dataset", "")) for run in self.runs)
        return [DATASETS[name].title if name in DATASETS else name for name in names]

    @property
    def split_sizes(self) -> list[tuple[int, int]]:
        """Training and validation images used, every combination that occurs."""
        sizes = [
            (run.summary.spec.get("train_images"), run.summary.spec.get("validation_images"))
            for run in self.runs
        ]
        return sorted({(a, b) for a, b in sizes if isinstance(a, int) and isinstance(b, int)})

    @property
    def parameters(self) -> list[tuple[int, int]]:
        """Trained parameters of the GON on grey-scale images by latent size."""
        plain = ("gon", 1, RunSpec.width)
        pairs = {
            (run.summary.spec.get("latent_dim"), run.summary.parameters)
            for run in self.runs
            if (run.summary.spec.get("model"), _channels(run.summary), run.summary.spec.get("width")) == plain
        }
        return sorted((latent, count) for latent, count in pairs if isinstance(latent, int))

    @property
    def total_seconds(self) -> float:
        """Wall time of all runs, one after the other."""
        return sum(run.summary.total_seconds for run in self.runs)

    @property
    def peak_memory_mib(self) -> float:
        """Largest memory of any run."""
        return max((run.summary.peak_memory_mib for run in self.runs), default=0.0)

    @property
    def step_milliseconds(self) -> list[float]:
        """Mean wall time of a step, one number per run that has one, in ascending order."""
        return sorted(ms for run in self.runs if (ms := run.summary.step_milliseconds) is not None)

    @property
    def moment(self) -> datetime.datetime:
        """When the last run started: the report's date, so that the same runs give the same bytes."""
        moments = [started(run.summary) for run in self.runs]
        return max(moments, default=datetime.datetime.fromtimestamp(0, datetime.UTC))

    @cached_property
    def environments(self) -> list[Environment]:
        """The runs by where they were trained."""
        groups: dict[tuple[tuple[str, str], ...], list[Run]] = {}
        for run in self.runs:
            facts = environment_facts(run.summary).items()
            groups.setdefault(tuple(fact for fact in facts if fact[0] not in _PER_MODEL), []).append(run)
        return [
            Environment(
                {
                    **dict(facts),
                    **{
                        key: " or ".join(dict.fromkeys(environment_facts(run.summary)[key] for run in runs))
                        for key in _PER_MODEL
                    },
                },
                tuple(runs),
            )
            for facts, runs in groups.items()
        ]


def _channels(summary: RunSummary) -> int | None:
    dataset = DATASETS.get(str(summary.spec.get("dataset")))
    return dataset.channels if dataset else None


def environment_facts(summary: RunSummary) -> dict[str, str]:
    """Machine, versions and way of computing of a run, in words."""
    return {
        **{
            key.replace("_gib", " (GiB)").replace("_", " "): str(value)
            for key, value in summary.machine.items()
        },
        "versions": ", ".join(f"{name} {version}" for name, version in summary.versions.items()),
        "device": f"{summary.device}, {summary.dtype}",
        "threads per run": str(summary.threads),
        "origin pass": summary.origin_pass,
        "compiled": summary.compiled,
        "commit": summary.commit or "not in a git checkout",
    }


def started(run: RunSummary) -> datetime.datetime:
    """When a run started."""
    try:
        moment = datetime.datetime.fromisoformat(run.started)
    except ValueError as error:
        raise GonError(f"run {run.digest}: started: {run.started!r} is no ISO 8601 time") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
