"""Read the claim results, check that they fit together, and lay them out for the templates."""

import datetime
import math
import re
import shutil
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pydantic

from gon.catalogue import DATASETS
from gon.deviations import Deviation, load_deviations
from gon.errors import GonError
from gon.params import Headline
from gon.reporting.formats import count, counted, listed, slug
from gon.results import (
    BudgetSummary,
    ClaimResult,
    Measurement,
    RunSummary,
    Verdict,
    read_result,
    recorded_value,
    summarise,
)
from gon.runs import RunRecord, RunSpec, read_evaluation, read_record, read_steps, sha256_of_file
from gon.statistics import mean_interval
from gon.verdicts import judge_again

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

    def files(self) -> list[str]:
        """Every file that the result names, and the result itself; relative to the folder."""
        result = self.result
        named = ["result.json"]
        named += [table.csv for table in result.tables]
        named += [path for figure in result.figures for path in (figure.svg, figure.pdf, figure.csv)]
        named += [path for run in result.runs for path in (run.record, run.steps, run.images) if path]
        named += [path for run in result.runs for path in run.evaluations]
        return list(dict.fromkeys(named))


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
        """What deviations name in braces, see `gon.deviations.FACTS`."""
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
        moments = [_moment(run.summary) for run in self.runs]
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


def collect_report(results: Sequence[Path], notebooks: Iterable[Path]) -> Report:
    """Read the claims' folders.

    Parameters
    ----------
    results
        The claims' folders.
    notebooks
        Executed notebooks, named after their claims.

    Raises
    ------
    GonError
        If a result cannot be read, names something that is not there, or contradicts another one.
    """
    if not results:
        raise GonError("there is no claim result to report on")
    executed = {path.stem for path in notebooks}
    claims: dict[str, Claim] = {}
    for folder in results:
        result = read_result(folder)
        _check(result, folder)
        if result.claim in claims:
            raise GonError(f"{folder}: claim {result.claim!r} stands in {claims[result.claim].folder} too")
        claims[result.claim] = Claim(result, folder, result.claim in executed)
    if unknown := sorted(executed - claims.keys()):
        raise GonError(f"notebook {unknown[0]!r} belongs to no claim; there are {', '.join(sorted(claims))}")
    ordered = tuple(sorted(claims.values(), key=lambda c: (c.result.order, c.result.claim)))
    _require_one_budget(ordered)
    return Report(ordered, _runs(ordered), deviations=tuple(load_deviations()))


def copy_data(report: Report, output: Path) -> None:
    """Copy every file that the report links to, one folder per claim."""
    for claim in report.claims:
        for path in claim.files():
            target = output / claim.result.claim / path
            target.parent.mkdir(parents=True, exist_ok=True)
            # Content only: a report is for everyone, whatever the build folder's permissions are.
            shutil.copyfile(claim.folder / path, target)


def _check(result: ClaimResult, folder: Path) -> None:
    """Check that everything that a result refers to is there."""
    path = folder / "result.json"
    if slug(result.claim) != result.claim:
        raise GonError(
            f"{path}: claim: {result.claim!r} is no name; letters, digits, '-' and '_' are allowed"
        )
    measurements = [m.name for m in result.measurements]
    runs = [run.digest for run in result.runs]
    for what, names in (("measurements", measurements), ("runs", runs)):
        for name in names:
            if names.count(name) > 1:
                raise GonError(f"{path}: {what}: {name!r} occurs more than once")
    wanted = [("tables", c.measurement) for t in result.tables for row in t.rows for c in row]
    wanted += [("verdicts", n) for v in result.verdicts for c in v.comparisons for n in (c.first, c.second)]
    for what, wanted_name in wanted:
        if wanted_name is not None and wanted_name not in measurements:
            raise GonError(f"{path}: {what}: {wanted_name!r} is no measurement of this claim")
    digests = [("measurements", d) for m in result.measurements for d in m.runs]
    digests += [("figures", d) for f in result.figures for d in f.runs]
    for what, digest in digests:
        if digest not in runs:
            raise GonError(f"{path}: {what}: run {digest!r} is not among the claim's runs")
    for table in result.tables:
        for row in table.rows:
            if len(row) != len(table.columns):
                raise GonError(
                    f"{path}: table {table.name}: {len(row)} cells under {len(table.columns)} columns"
                )
    for file in Claim(result, folder, False).files():
        inside = (folder / file).resolve().is_relative_to(folder.resolve())
        if not inside or not (folder / file).is_file():
            raise GonError(f"{path}: {file!r} is not a file in the claim's folder")
    _check_numbers(result, {run.digest: _check_run(run, folder, path) for run in result.runs}, path)


def _check_run(run: RunSummary, folder: Path, path: Path) -> RunRecord:
    """Check the copies of a run's files against their digests, and what the result says against them."""
    files = {"steps": folder / run.steps}
    if run.images is not None:
        files["images"] = folder / run.images
    record = read_record(folder / run.record, files)
    for file in run.evaluations:
        read_evaluation(folder / file, record)
    digest = sha256_of_file(folder / run.record)
    recorded = summarise(record, digest, run.record, run.steps, run.images, run.evaluations)
    for key in RunSummary.model_fields:
        if getattr(run, key) != getattr(recorded, key):
            raise GonError(
                f"{path}: runs: {key} of run {run.digest} is {getattr(run, key)!r}, its record "
                f"{folder / run.record} says {getattr(recorded, key)!r}"
            )
    return record


def _check_numbers(result: ClaimResult, records: Mapping[str, RunRecord], path: Path) -> None:
    """Check that means are those of their values, values those of their runs, and findings what they give."""
    for measurement in result.measurements:
        what = f"{path}: measurements: {measurement.name}"
        values = [entry.value for entry in measurement.values]
        present = [value for value in values if value is not None]
        mean = statistics.fmean(present) if present and len(present) == len(values) else None
        if not _same(measurement.value, mean):
            raise GonError(f"{what}: value is {measurement.value}, the mean of its values {mean}")
        if not _same(measurement.interval, mean_interval(present) if mean is not None else None):
            raise GonError(f"{what}: interval {measurement.interval} is not that of its values")
        for entry in measurement.values:
            if measurement.recorded is None or entry.run is None:
                continue
            recorded = recorded_value(records[entry.run], measurement.recorded, measurement.epochs)
            if entry.value != recorded:
                raise GonError(
                    f"{what}: value of run {entry.run} is {entry.value}, its record says {recorded}"
                )
    for verdict in result.verdicts:
        again = judge_again(verdict, result)
        for key in Verdict.model_fields:
            if not _same(getattr(verdict, key), getattr(again, key)):
                raise GonError(
                    f"{path}: verdicts: {verdict.rule.name}: {key} is {getattr(verdict, key)!r}, but the "
                    f"measurements give {getattr(again, key)!r}"
                )


def _same(a: object, b: object) -> bool:
    """Whether two results are equal, up to what another version of a library may round elsewhere."""
    if isinstance(a, pydantic.BaseModel) and isinstance(b, pydantic.BaseModel):
        return _same(a.model_dump(), b.model_dump())
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(value, b[key]) for key, value in a.items())
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
    return a == b


def _curve(path: Path, steps: int, points: int = 60) -> tuple[float, ...]:
    """Losses of every step averaged over at most so many blocks; those that are finite."""
    losses = pd.Series(read_steps(path)[:steps])
    length = max(1, -(-len(losses) // points))
    means = losses.groupby(losses.index // length).mean()
    return tuple(float(mean) for mean in means if math.isfinite(mean))


def _moment(run: RunSummary) -> datetime.datetime:
    try:
        moment = datetime.datetime.fromisoformat(run.started)
    except ValueError as error:
        raise GonError(f"run {run.digest}: started: {run.started!r} is no ISO 8601 time") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def _require_one_budget(claims: Sequence[Claim]) -> None:
    """Refuse to mix budgets: the report names one in its first lines."""
    first = claims[0]
    for claim in claims:
        budgets = [
            (b.name, b.epochs, b.seeds, b.uses_all_images) for b in (first.result.budget, claim.result.budget)
        ]
        if budgets[0] != budgets[1]:
            raise GonError(
                f"claim {claim.result.claim} stands at budget {budgets[1][0]} ({budgets[1][1]} epochs, "
                f"{budgets[1][2]} seeds), claim {first.result.claim} at {budgets[0][0]} ({budgets[0][1]} "
                f"epochs, {budgets[0][2]} seeds); "
                "a report has one budget: execute the notebooks again"
            )


def _require_same_data(first: dict[str, RunSummary], summary: RunSummary, claim: Claim) -> None:
    """Refuse runs of one data set that saw different images."""
    other = first.setdefault(str(summary.spec["dataset"]), summary)
    if other.data != summary.data:
        raise GonError(
            f"{claim.folder / summary.record}: run {summary.digest} was trained on other data than run "
            f"{other.digest}, though both name {summary.spec['dataset']}"
        )


def _runs(claims: Sequence[Claim]) -> tuple[Run, ...]:
    """Every run once, in the order of the claims."""
    users: dict[str, list[tuple[Claim, RunSummary]]] = {}
    for claim in claims:
        for summary in claim.result.runs:
            users.setdefault(summary.digest, []).append((claim, summary))
    data_of: dict[str, RunSummary] = {}
    runs = []
    for digest, uses in users.items():
        claim, summary = uses[0]
        _require_same_data(data_of, summary, claim)
        for other, again in uses[1:]:
            same = summary.model_dump(include={"record", "steps", "images", "evaluations"})
            if again.model_copy(update=same) != summary:
                raise GonError(
                    f"run {digest} ({summary.label}) has other numbers in claim {other.result.claim} than in "
                    f"{claim.result.claim}; execute both notebooks again"
                )
        images = None if summary.images is None else claim.data(summary.images)
        files = claim.data(summary.record), claim.data(summary.steps), images
        evaluations = {
            path.removesuffix(".json").rpartition(".")[2]: user.data(path)
            for user, use in uses
            for path in use.evaluations
        }
        _moment(summary)
        spec = RunSpec.from_mapping(summary.spec)
        losses = _curve(claim.folder / summary.steps, summary.epochs * spec.steps_per_epoch)
        runs.append(Run(summary, *files, evaluations, tuple(user for user, _ in uses), losses))
    return tuple(runs)
