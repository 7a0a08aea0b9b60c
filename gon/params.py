"""What `params/` says: budgets, claims, their rules and published numbers; and the plan of runs.

Every file is checked when it is read. An error names the file, the key, the value and what is allowed.
"""

import dataclasses
import datetime
import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import pydantic
import yaml

from gon import data
from gon.catalogue import DATASETS
from gon.errors import UsageError
from gon.runs import EVALUATIONS, EXACT_MODELS, RunSpec, RunStore

M = TypeVar("M", bound="Model")

PROJECT = Path(__file__).resolve().parent.parent
"""The project's root: notebooks, parameters, templates and results are found from here."""

RECORDS = PROJECT / "records"
"""The reference records that the project tracks."""

NOT_YET = "not trained yet"
"""Why a run of a budget that is trained over days is left out of its report."""

Part = Literal["results", "improvement", "beyond"]
"""Parts of the report: the original's results, its improvement, and what goes beyond both."""


class Model(pydantic.BaseModel):
    """Base of everything that is read from or written to a parameter or result file."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)


def runs_dir() -> Path:
    """Folder of all run stores: `GON_RUNS_DIR`, or `runs/` in the project."""
    given = os.environ.get("GON_RUNS_DIR")
    return Path(given).expanduser() if given else PROJECT / "runs"


class Budget(Model):
    """How much training a report rests on."""

    name: str
    description: str
    epochs: Annotated[int, pydantic.Field(ge=1)]
    seeds: Annotated[int, pydantic.Field(ge=1)]
    """Every setting is trained from the seeds 0, 1 ... up to this many."""
    train_images: Annotated[int, pydantic.Field(ge=1)] | None = None
    validation_images: Annotated[int, pydantic.Field(ge=1)] | None = None
    store: str
    """Folder of the runs, below `runs/` of the project or `GON_RUNS_DIR`."""
    report: str
    """Folder of the report, below the project's root."""
    recorded: bool = False
    """Whether the report takes runs as far as they are recorded, in the store or in `records/`, and trains
    none: those take days."""
    overrides: tuple[str, ...] = ()
    """What the person changed for this execution, as KEY=VALUE."""

    @property
    def build(self) -> Path:
        """Where the claim results of this budget lie."""
        return PROJECT / "build" / self.name

    @property
    def run_store(self) -> RunStore:
        """The runs of this budget."""
        return RunStore(runs_dir() / self.store)

    def found(self, spec: RunSpec, epochs: int) -> tuple[RunStore, int] | None:
        """Where a run is recorded farthest, up to a number of epochs, and how far; the store counts first."""
        found = [
            (store, max(reached))
            for store in (self.run_store, RunStore(RECORDS))
            if (reached := [n for n in store.recorded(spec.digest) if n <= epochs])
        ]
        return max(found, key=lambda entry: entry[1], default=None)

    def overrides_any(self, key: str) -> bool:
        """Whether the person set `epochs` or `seeds` for this execution."""
        return any(text.startswith(f"{key}=") for text in self.overrides)


class Source(Model):
    """Where a published statement or number stands."""

    key: str
    """Key of the work in `templates/references.bib`."""
    where: str
    """Section, table or figure in it."""


class Published(Model):
    """A claim as its authors published it."""

    statement: str
    source: Source
    epochs: int | None = None
    """Epochs of training behind it; None where the source does not say."""
    values: dict[str, float] = {}
    """Published numbers by the name of the measurement that they are compared with."""


Settings = dict[str, Any]
"""Settings of a run (see `gon.runs.RunSpec`), each a value, a list of values, or `$name` of a parameter."""


class Compare(Model):
    """Which pairs of settings a rule compares: lower against higher, or each of a falling row with the next.

    What is not named has its default. A pair whose two sides are the same settings is left out.
    """

    lower: Settings = {}
    """Settings that are published to give the lower number; every combination of the lists."""
    higher: Settings = {}
    """Settings that are published to give the higher one."""
    falling: Settings = {}
    """One setting with a list of values, each published to give a lower number than the one before."""
    within: Settings = {}
    """Settings that both sides share; there are pairs for every combination of the lists."""

    @pydantic.model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.falling and not self.lower and not self.higher:
            ((_, values),) = self.falling.items() if len(self.falling) == 1 else ((None, None),)
            if not isinstance(values, list):
                raise ValueError("falling: one setting with a list of values is allowed")
        elif self.falling or not self.lower or not self.higher:
            raise ValueError("either falling, or both lower and higher are allowed")
        return self


def _ascending(numbers: list[int]) -> list[int]:
    if any(b <= a for a, b in itertools.pairwise([0, *numbers])):
        raise ValueError("whole numbers from 1 up, each larger than the one before, are allowed")
    return numbers


EpochNumbers = Annotated[list[int], pydantic.AfterValidator(_ascending)]
"""Numbers of epochs, ascending."""

LossName = Literal["validation_loss", "train_loss"]


class BaseRule(Model):
    """What the rules have in common. How they decide is written out in `gon.verdicts`."""

    name: str
    statement: str
    version: Annotated[int, pydantic.Field(ge=1)]
    """Raised with every change of the rule; the older versions are in the history of the file."""
    date: datetime.date
    """When this version was set."""
    because: str
    """Why the margin, the epochs and the seeds are what they are."""


class LossRule(BaseRule):
    """A rule on losses, which scatter over seeds and fall with training."""

    alpha: Annotated[float, pydantic.Field(gt=0, lt=0.5)]
    """Level: intervals have the confidence 1 - alpha, and the rule errs no more often than this."""
    quantity: LossName = "validation_loss"
    """The loss that it compares."""
    epochs: Annotated[EpochNumbers, pydantic.Field(min_length=1)]
    """The epochs after which it compares, all of them; with fewer, or with a part of the images, the
    verdict stays open."""
    seeds: Annotated[int, pydantic.Field(ge=3)]
    """It rests on the seeds from 0 to this number less one: all of them, and no others."""


class OrderingRule(LossRule):
    """Judges which of two measurements is lower, pair by pair, seed by seed."""

    kind: Literal["ordering"]
    margin: Annotated[float, pydantic.Field(gt=0, lt=1)]
    """Relative difference below which two losses count as equal."""
    compare: Compare
    """The pairs."""


class ValueRule(LossRule):
    """Judges whether measurements have their published values."""

    kind: Literal["value"]
    tolerance: Annotated[float, pydantic.Field(gt=0, lt=1)]
    """Largest relative difference from the published value that counts as the same."""
    factor: Annotated[float, pydantic.Field(gt=1)]
    """Within this factor of the published values, and in their order, they are reproduced in part."""
    milestones: EpochNumbers = []
    """Earlier epochs at which a loss that already lies below the published one contradicts it."""
    compare: Compare
    """The order of the published values; its settings are those that have one."""
    published: str
    """Name of a setting's published value, with keys of its settings in braces."""


class StructuralRule(BaseRule):
    """Judges a number that follows from the settings alone, without training."""

    kind: Literal["structural"]
    quantity: Literal["parameters"]
    at_most: Annotated[float, pydantic.Field(gt=0)]
    """Largest ratio of the lower number to the higher one."""
    compare: Compare
    """The pairs."""


Rule = Annotated[OrderingRule | ValueRule | StructuralRule, pydantic.Field(discriminator="kind")]


class Headline(Model):
    """A question that a reader comes with, answered by the comparisons of an ordering rule."""

    question: str
    rule: str
    """Name of the rule whose pairs answer it."""


class Extent(Model):
    """How far a grid goes at one budget, where that is not as far as everything else."""

    epochs: Annotated[int, pydantic.Field(ge=1)] | None = None
    """Epochs in place of the budget's."""
    seeds: Annotated[int, pydantic.Field(ge=1)] | None = None
    """Seeds in place of the budget's."""
    stages: int | list[int] = 9
    """Where its runs stand in the order of a training that takes days, by seed if they differ."""

    def stage(self, seed: int) -> int:
        """The stage of a seed's run; of seeds beyond the list, the last."""
        if isinstance(self.stages, int):
            return self.stages
        return self.stages[min(seed, len(self.stages) - 1)]


class Grid(Model):
    """Runs by their settings: every combination of the lists is one run; `$name` is a parameter.

    Each is trained from as many seeds as the budget says, unless `seed` is among the settings.
    """

    model_config = pydantic.ConfigDict(extra="allow", strict=True, frozen=True)

    budgets: list[str] | None = None
    """Budgets that include these runs; None for all. At others they are listed as left out, unless they
    are of `smoke` only: such runs test the pipeline, and nobody misses them elsewhere."""
    at: dict[str, Extent] = {}
    """Budgets at which these runs go farther, or less far, than the budget says."""
    evaluations: list[str] = []
    """Keys of `gon.runs.EVALUATIONS` that are made of them."""

    @pydantic.field_validator("evaluations")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in EVALUATIONS:
                raise ValueError(f"{name!r} is not known; allowed are {', '.join(EVALUATIONS)}")
        return names

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of a run, each a value, a list of values, or `$name`."""
        return self.model_extra or {}


class ClaimParams(Model):
    """One claim: what was published, which runs test it, and the rules that judge it."""

    name: str
    title: str
    order: int
    """Position in the report."""
    part: Part
    """Which part of the report it stands in."""
    published: Published
    method: str
    """How it is tested here, in plain text."""
    parameters: dict[str, Any]
    """The notebook's parameters."""
    runs: list[Grid]
    """Which runs it rests on."""
    headline: Headline | None = None
    """A question that the first lines of the report answer."""
    rules: list[Rule] = []
    primary: str | None = None
    """Name of the one rule that the claim stands or falls with; the others are secondary."""
    withdrawn: str | None = None
    """What is not judged although it was claimed, and why."""

    @pydantic.model_validator(mode="after")
    def _headline_names_rules(self) -> Self:
        names = [rule.name for rule in self.rules]
        named = [("primary", self.primary)]
        if self.headline:
            named.append(("headline", self.headline.rule))
        for key, name in named:
            if name is not None and name not in names:
                raise ValueError(f"{key}: there is no rule {name!r}; allowed are {', '.join(names)}")
        if self.rules and self.primary is None:
            raise ValueError(f"primary: missing; one of the rules {', '.join(names)} is")
        return self

    @pydantic.field_validator("rules")
    @classmethod
    def _distinct(cls, rules: list[Rule]) -> list[Rule]:
        names = [rule.name for rule in rules]
        if len(set(names)) != len(names):
            raise ValueError(f"two rules have the same name among {names}")
        return rules

    def with_parameters(self, values: dict[str, Any], source: str) -> Self:
        """The claim with some parameters replaced, each by a value of the same type.

        Parameters
        ----------
        values
            Parameter name to value.
        source
            Where the values come from, for messages.
        """
        for key, value in values.items():
            if key not in self.parameters:
                allowed = ", ".join(self.parameters)
                raise UsageError(f"{source}: {self.name} has no parameter {key!r}; allowed are {allowed}")
            _require_same_type(f"{source}: {self.name}.{key}", value, self.parameters[key])
        return self.model_copy(update={"parameters": {**self.parameters, **values}})

    def requests(self, budget: Budget) -> list["Request"]:
        """Every run of the claim, without repetition, with what is asked of it at a budget.

        Raises
        ------
        UsageError
            If a grid names an unknown parameter or setting, or a setting is not allowed.
        """
        requests: dict[RunSpec, Request] = {}
        for grid in self.runs:
            if grid.budgets == ["smoke"] and budget.name != "smoke":
                continue
            extent = grid.at.get(budget.name, Extent())
            epochs, count = (
                own if own is not None and not budget.overrides_any(key) else default
                for key, own, default in (
                    ("epochs", extent.epochs, budget.epochs),
                    ("seeds", extent.seeds, budget.seeds),
                )
            )
            for spec in self._specs({"seed": list(range(count)), **grid.settings}, budget):
                left_out = None
                if grid.budgets is not None and budget.name not in grid.budgets:
                    left_out = f"not part of the budget {budget.name}, but of {', '.join(grid.budgets)}"
                elif not DATASETS[spec.dataset].required:
                    left_out = data.absence(spec.dataset)
                reached = spec.epochs_at(epochs)
                request = Request(
                    spec, reached, tuple(grid.evaluations), left_out, {reached: extent.stage(spec.seed)}
                )
                known = requests.get(spec)
                requests[spec] = request if known is None else known.merged(request)
        return list(requests.values())

    def available(self, budget: Budget) -> list["Request"]:
        """What a notebook works with: all that is asked for, or as far as it is recorded.

        The latter at a budget whose runs the report does not train itself (`Budget.recorded`).
        """
        requests = []
        for request in self.requests(budget):
            if budget.recorded and request.left_out is None:
                found = budget.found(request.spec, request.epochs)
                if found is None:
                    request = dataclasses.replace(request, left_out=NOT_YET)
                else:
                    request = dataclasses.replace(request, store=found[0], epochs=found[1])
            requests.append(request)
        return requests

    def _specs(self, settings: Settings, budget: Budget) -> Iterator[RunSpec]:
        """A spec for every combination of the settings, of as many images as the budget has."""
        values = {key: self._values(value) for key, value in settings.items()}
        for combination in itertools.product(*values.values()):
            chosen = dict(zip(values, combination, strict=True))
            if chosen.get("model") in EXACT_MODELS:
                chosen["seed"] = RunSpec.seed  # every seed would give the same
            images = {"train_images": budget.train_images, "validation_images": budget.validation_images}
            try:
                yield RunSpec.from_mapping(images | chosen)
            except UsageError as error:
                raise UsageError(f"claim {self.name} (params/claims/{self.name}.yaml): {error}") from error

    def pairs(self, rule: Rule, budget: Budget) -> list[tuple[RunSpec, RunSpec]]:
        """The settings that a rule compares: published to be lower and higher, each with the first seed."""
        compare, found = rule.compare, []
        for within in _combinations({key: self._values(value) for key, value in compare.within.items()}):
            if compare.falling:
                ((key, values),) = compare.falling.items()
                sides = [({key: b}, {key: a}) for a, b in itertools.pairwise(self._values(values))]
            else:
                lower, higher = (
                    list(_combinations({key: self._values(value) for key, value in side.items()}))
                    for side in (compare.lower, compare.higher)
                )
                sides = list(itertools.product(lower, higher))
            for low, high in sides:
                ((first,), (second,)) = (list(self._specs(within | side, budget)) for side in (low, high))
                if first != second:
                    found.append((first, second))
        return found

    def check_rules(self, budget: Budget, source: str) -> None:
        """Check that each rule has something to compare, and that no seed is typed that no rule names.

        Parameters
        ----------
        budget
            The budget.
        source
            What the parameters come from, for messages.

        Raises
        ------
        UsageError
            Names the rule or the seed.
        """
        asked = {dataclasses.replace(request.spec, seed=RunSpec.seed) for request in self.requests(budget)}
        for rule in self.rules:
            pairs = self.pairs(rule, budget)
            if isinstance(rule, StructuralRule) or any(a in asked and b in asked for a, b in pairs):
                continue
            compared = sorted({spec.settings_label for pair in pairs for spec in pair})
            raise UsageError(
                f"{source}: the rule {rule.name!r} of {self.name} has nothing to compare with these "
                f"parameters; it compares {'; '.join(compared) or 'nothing'}"
            )
        named = max((rule.seeds for rule in self.rules if isinstance(rule, LossRule)), default=0)
        for grid in self.runs if named else ():
            for seed in self._values(grid.settings.get("seed", [])):
                if not isinstance(seed, int) or seed >= named:
                    allowed = f"0 to {named - 1}"
                    raise UsageError(
                        f"{source}: runs.seed: {seed!r} is named by no rule; allowed are {allowed}"
                    )

    def specs(self, budget: Budget) -> list[RunSpec]:
        """The runs that the claim asks for at a budget."""
        return [request.spec for request in self.requests(budget) if request.left_out is None]

    def _values(self, value: Any) -> list[Any]:
        if isinstance(value, str) and value.startswith("$"):
            if value[1:] not in self.parameters:
                raise UsageError(
                    f"params/claims/{self.name}.yaml: runs: {value!r} names no parameter; "
                    f"allowed are {', '.join('$' + key for key in self.parameters)}"
                )
            value = self.parameters[value[1:]]
        values = value if isinstance(value, list) else [value]
        _require_distinct(f"params/claims/{self.name}.yaml: runs and rules", values)
        return values


def _combinations(settings: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for combination in itertools.product(*settings.values()):
        yield dict(zip(settings, combination, strict=True))


def _require_distinct(what: str, values: list[Any]) -> None:
    for i, value in enumerate(values):
        if value in values[:i]:
            raise UsageError(f"{what}: {value!r} occurs more than once in {values!r}; each value may once")


def _require_same_type(what: str, value: Any, default: Any) -> None:
    """Check that a value can stand where a default stands; a whole number may stand for a decimal one."""
    allowed: tuple[type, ...] = (int, float) if isinstance(default, float) else (type(default),)
    if not isinstance(value, allowed) or isinstance(value, bool) != isinstance(default, bool):
        raise UsageError(
            f"{what}: {value!r} is not allowed; the type is {type(default).__name__}, as in {default!r}"
        )
    if isinstance(value, list):
        if not value:
            raise UsageError(f"{what}: an empty list is not allowed; the default is {default!r}")
        for item in value:
            _require_same_type(what, item, default[0])
        _require_distinct(what, value)


@dataclass(frozen=True)
class Request:
    """One run that a claim asks for.

    Attributes
    ----------
    spec
        The run.
    epochs
        How far.
    evaluations
        What is to be evaluated beside it, keys of `gon.runs.EVALUATIONS`.
    left_out
        Why it is not run at this budget or on this machine; None if it is.
    stages
        Numbers of epochs on the way to that stage of a long training at which they are due.
    store
        Where it is recorded, if that has been looked up; None stands for the budget's own store.
    """

    spec: RunSpec
    epochs: int
    evaluations: tuple[str, ...]
    left_out: str | None
    stages: Mapping[int, int] = dataclasses.field(default_factory=dict, compare=False)
    store: RunStore | None = dataclasses.field(default=None, compare=False)

    def merged(self, other: Self) -> Self:
        """The same run asked for twice: what either asks for. What one leaves out, the other decides."""
        if self.left_out and not other.left_out:
            return other
        if other.left_out and not self.left_out:
            return self
        return dataclasses.replace(
            self,
            epochs=max(self.epochs, other.epochs),
            evaluations=tuple(dict.fromkeys(self.evaluations + other.evaluations)),
            stages=_earliest(self.stages, other.stages),
        )


def _earliest(a: Mapping[int, int], b: Mapping[int, int]) -> dict[int, int]:
    return {epochs: min(m[epochs] for m in (a, b) if epochs in m) for epochs in sorted({*a, *b})}


@dataclass(frozen=True)
class PlannedRun:
    """One run of the plan: what is trained, for how many epochs, and which claims ask for it."""

    spec: RunSpec
    epochs: int
    evaluations: tuple[str, ...]
    claims: tuple[str, ...]
    stages: Mapping[int, int] = dataclasses.field(default_factory=dict, compare=False)
    """Numbers of epochs on the way to the stage of a long training at which they are due."""

    @property
    def arguments(self) -> list[str]:
        """What is trained, and what is evaluated with every record, as options of `gon train`."""
        return self.spec.arguments() + [word for name in self.evaluations for word in ("--evaluation", name)]


@dataclass(frozen=True)
class Study:
    """Everything that one execution is about: a budget and the claims.

    Attributes
    ----------
    budget
        The budget, with what was overridden.
    claims
        The claims in the order of the report.
    """

    budget: Budget
    claims: tuple[ClaimParams, ...]

    def claim(self, name: str) -> ClaimParams:
        """The claim of that name; `UsageError` lists the names there are."""
        for claim in self.claims:
            if claim.name == name:
                return claim
        allowed = ", ".join(claim.name for claim in self.claims)
        raise UsageError(f"claim: {name!r} is not known; allowed are {allowed}")

    def plan(self) -> list[PlannedRun]:
        """Every run that the claims ask for, each once."""
        wanted: dict[RunSpec, PlannedRun] = {}
        for claim in self.claims:
            for request in claim.requests(self.budget):
                if request.left_out is not None:
                    continue
                spec = request.spec
                planned = wanted.get(spec, PlannedRun(spec, request.epochs, (), ()))
                wanted[spec] = dataclasses.replace(
                    planned,
                    epochs=max(planned.epochs, request.epochs),
                    evaluations=tuple(dict.fromkeys(planned.evaluations + request.evaluations)),
                    claims=(*planned.claims, claim.name),
                    stages=_earliest(planned.stages, request.stages),
                )
        return list(wanted.values())

    def optional_datasets(self) -> list[str]:
        """Data sets that this budget uses if they can be had."""
        wanted: set[str] = set()
        for claim in self.claims:
            for grid in claim.runs:
                if grid.budgets is None or self.budget.name in grid.budgets:
                    one = claim.model_copy(update={"runs": [grid]})
                    wanted |= {request.spec.dataset for request in one.requests(self.budget)}
        return [name for name in DATASETS if name in wanted and not DATASETS[name].required]


def load_study(budget: str = "quick", overrides: Sequence[str] = (), params: Path | None = None) -> Study:
    """Read the parameter files and apply what the person changed.

    Parameters
    ----------
    budget
        Name of a budget in `params/budgets.yaml`.
    overrides
        Changes as ``KEY=VALUE``: ``epochs=3``, ``seeds=3``, or ``CLAIM.PARAMETER=VALUE`` with the value in
        YAML.
    params
        The folder of parameter files; the project's own if not given.

    Raises
    ------
    UsageError
        If a budget, claim or key is unknown, a value has the wrong type or is out of range, or a
        file cannot be read; names file, key, value and what is allowed.
    """
    folder = params or PROJECT / "params"
    path = folder / "budgets.yaml"
    raw = _read_yaml(path)
    if budget not in raw:
        raise UsageError(f"budget: {budget!r} is not known; allowed are {', '.join(raw)} (see {path})")
    chosen = _validate(Budget, {"name": budget, **_mapping(raw[budget], f"{path}: {budget}")}, path, budget)
    claims: dict[str, ClaimParams] = {}
    for file in sorted((folder / "claims").glob("*.yaml")):
        claim = _validate(ClaimParams, {"name": file.stem, **_read_yaml(file)}, file)
        for name in itertools.chain.from_iterable((*(grid.budgets or ()), *grid.at) for grid in claim.runs):
            if name not in raw:
                raise UsageError(f"{file}: runs.budgets: {name!r} is not known; allowed are {', '.join(raw)}")
        claims[file.stem] = claim
    for text in overrides:
        chosen = _override(text, chosen, claims)
    for claim in claims.values():
        claim.check_rules(chosen, ", ".join(f"--set {text}" for text in overrides) or f"{folder}/claims")
    return Study(chosen, tuple(sorted(claims.values(), key=lambda claim: (claim.order, claim.name))))


def _override(text: str, budget: Budget, claims: dict[str, ClaimParams]) -> Budget:
    """Apply one KEY=VALUE: a claim's parameter in place, epochs or seeds in the budget returned."""
    key, equals, value_text = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text}: expected KEY=VALUE, such as epochs=3")
    try:
        value = read_yaml(value_text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {text}: the value cannot be read as YAML ({_one_line(error)})") from error
    name, dot, parameter = key.partition(".")
    update: dict[str, Any] = {"overrides": (*budget.overrides, text)}
    if dot and name in claims:
        claims[name] = claims[name].with_parameters({parameter: value}, f"--set {text}")
    elif key in ("epochs", "seeds"):
        _require_same_type(f"--set {text}: {key}", value, getattr(budget, key))
        if value < 1:
            raise UsageError(f"--set {text}: {key}: {value!r} is not allowed; a whole number from 1 up is")
        update[key] = value
    else:
        allowed = ["epochs", "seeds", *(f"{c.name}.{p}" for c in claims.values() for p in c.parameters)]
        raise UsageError(f"--set {text}: {key!r} cannot be set; allowed are {', '.join(allowed)}")
    return budget.model_copy(update=update)


class _PlainLoader(yaml.SafeLoader):
    """YAML without the surprises of its version 1.1: what another reader would take for another value."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Refuse `010` (8), `1:30` (90), `yes` (true) and their like, and read `1e-4` as the number."""
        if isinstance(node, yaml.ScalarNode) and node.style is None:
            if _SURPRISE.fullmatch(node.value):
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    f"{node.value!r} means different things to different readers of YAML; allowed are true, "
                    "false, plain decimal numbers, and texts in quotes",
                    node.start_mark,
                )
            if re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", node.value):
                return float(node.value)
        return super().construct_object(node, deep)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that stands twice; the last would win."""
        keys = [key.value for key, _ in node.value]
        for i, (key, _) in enumerate(node.value):
            if key.value in keys[:i]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} occurs more than once", key.start_mark
                )
        return super().construct_mapping(node, deep)


_SURPRISE = re.compile(
    r"[-+]?0\d[\d_]*|[-+]?\d[\d_]*_[\d_]*|[-+]?0[xXbBoO].*|[-+]?\d+(:[0-5]?\d)+(\.\d*)?|[-+]?\.(inf|nan)"
    r"|y|n|yes|no|on|off",
    re.IGNORECASE,
)


def read_yaml(text: str) -> Any:
    """Read YAML; what only version 1.1 takes for a number or a truth value raises `yaml.YAMLError`."""
    return yaml.load(text, Loader=_PlainLoader)  # a SafeLoader


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error})") from error
    try:
        content = read_yaml(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: not valid YAML ({_one_line(error)})") from error
    return _mapping(content, str(path))


def _mapping(content: Any, what: str) -> dict[str, Any]:
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UsageError(f"{what}: expected a mapping of names to values, found {type(content).__name__}")
    return content


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _validate(model: type[M], content: dict[str, Any], path: Path, prefix: str = "") -> M:
    try:
        return model.model_validate(content)
    except pydantic.ValidationError as error:
        problems = []
        for problem in error.errors():
            key = ".".join(str(part) for part in ((prefix,) if prefix else ()) + problem["loc"])
            if problem["type"] == "missing":
                problems.append(f"{key}: missing")
            elif problem["type"] == "extra_forbidden":
                allowed = ", ".join(name for name in model.model_fields if name != "name")
                problems.append(f"{key}: not a known key; allowed are {allowed}")
            else:
                problems.append(f"{key}: {problem['input']!r} is not allowed ({problem['msg']})")
        raise UsageError(f"{path}: " + "; ".join(problems)) from error
