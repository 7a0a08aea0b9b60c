"""What `params/` says: budgets, claims, their rules and published numbers; and the plan of runs.

Every file is checked when it is read. An error names the file, the key, the value and what is allowed.
"""

import dataclasses
import functools
import itertools
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic

from gon.catalogue import DATASETS, EVALUATIONS, EXACT_MODELS, MILESTONES
from gon.claims.rules import (
    Count,
    LossRule,
    Name,
    Rule,
    Settings,
    Source,
    Strict,
    StructuralRule,
    Text,
    ValueRule,
    require_few,
    require_plain,
    require_same_type,
)
from gon.data import prepared as data
from gon.errors import UsageError
from gon.files import PROJECT
from gon.runs.store import RunStore
from gon.spec import RunSpec

REFERENCE = PROJECT / "records"
"""The reference records that the project tracks."""

NOT_YET = "not trained yet"
"""Why a run of a budget that is trained over days is left out of its report."""

Part = Literal["results", "improvement", "beyond"]
"""Parts of the report: the original's results, its improvement, and what goes beyond both."""


def records_dir() -> Path:
    """Records that a report takes and does not train: `GON_RECORDS_DIR`, or the project's own."""
    return Path(os.environ.get("GON_RECORDS_DIR") or REFERENCE)


def runs_dir() -> Path:
    """Folder of all run stores: `GON_RUNS_DIR`, or `runs/` in the project."""
    given = os.environ.get("GON_RUNS_DIR")
    return Path(given).expanduser() if given else PROJECT / "runs"


class Budget(Strict):
    """How much training a report rests on."""

    name: Name
    description: Text
    epochs: Count
    seeds: Count
    """Every setting is trained from the seeds 0, 1 ... up to this many."""
    train_images: Annotated[int, pydantic.Field(ge=1)] | None = None
    validation_images: Annotated[int, pydantic.Field(ge=1)] | None = None
    store: Name
    """Folder of the runs, below `runs/` of the project or `GON_RUNS_DIR`."""
    report: Annotated[Name, pydantic.Field(pattern="^report[A-Za-z0-9_-]*$")]
    """Folder of the report, below the project's root; what it holds is replaced."""
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
        """Where, and how far, a run is recorded: at its end, or a milestone not short of the budget's end."""
        stops = {epochs, *(n for n in MILESTONES if self.epochs <= n < epochs)}
        found = [
            (store, max(reached))
            for store in (self.run_store, RunStore(records_dir()))
            if (reached := stops.intersection(store.recorded(spec.digest)))
        ]
        return max(found, key=lambda entry: entry[1], default=None)

    def holder(self, spec: RunSpec, epochs: int) -> RunStore | None:
        """What holds a run after exactly so many epochs: the store, the reference records, or neither."""
        stores = (self.run_store, RunStore(records_dir()))
        return next((store for store in stores if store.has(spec, epochs)), None)

    def chosen(self, key: Literal["epochs", "seeds"], own: int | None) -> int:
        """How far a grid goes: as far as the person set it, else its own number, else the budget's."""
        if own is None or any(text.startswith(f"{key}=") for text in self.overrides):
            return self.epochs if key == "epochs" else self.seeds
        return own


class Published(Strict):
    """A claim as its authors published it."""

    statement: Text
    source: Source
    epochs: int | None = None
    """Epochs of training behind it; None where the source does not say."""
    values: dict[str, float] = {}
    """Published numbers by the name of the measurement that they are compared with."""


class Headline(Strict):
    """A question that a reader comes with, answered in the first lines of the report."""

    question: str
    rules: Annotated[list[str], pydantic.Field(min_length=1)]
    """Names of the rules that answer it: the first that is decided, or, while none is, the first."""


class Extent(Strict):
    """How far a grid goes at one budget, where that is not as far as everything else."""

    epochs: Count | None = None
    """Epochs in place of the budget's."""
    seeds: Count | None = None
    """Seeds in place of the budget's."""
    stages: int | list[int] = 9
    """Where its runs stand in the order of a training that takes days, by seed if they differ."""

    def stage(self, seed: int) -> int:
        """The stage of a seed's run; of seeds beyond the list, the last."""
        if isinstance(self.stages, int):
            return self.stages
        return self.stages[min(seed, len(self.stages) - 1)]


class Grid(Strict):
    """Runs by their settings: every combination of the lists is one run; `$name` is a parameter.

    Each is trained from as many seeds as the budget says, unless `seed` is among the settings.
    """

    model_config = pydantic.ConfigDict(extra="allow")

    budgets: list[str] | None = None
    """Budgets that include these runs; None for all. At others they are listed as left out, unless they
    are of `smoke` only: such runs test the pipeline, and nobody misses them elsewhere."""
    at: dict[str, Extent] = {}
    """Budgets at which these runs go farther, or less far, than the budget says."""
    evaluations: list[str] = []
    """Keys of `gon.catalogue.EVALUATIONS` that are made of them."""

    @pydantic.field_validator("evaluations")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in EVALUATIONS:
                raise ValueError(f"{name!r} is not known; allowed are {', '.join(EVALUATIONS)}")
        return names

    @pydantic.model_validator(mode="after")
    def _plain(self) -> Self:
        require_plain(self.settings)
        return self

    def belongs_to(self, budget: Budget) -> bool:
        """Whether its runs are part of a budget."""
        return self.budgets is None or budget.name in self.budgets

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of a run, each a value, a list of values, or `$name`."""
        return self.model_extra or {}


class ClaimParams(Strict):
    """One claim: what was published, which runs test it, and the rules that judge it."""

    name: Name
    title: Text
    order: int
    """Position in the report."""
    part: Part
    """Which part of the report it stands in."""
    published: Published
    method: str
    """How it is tested here, in plain text."""
    parameters: Settings
    """The notebook's parameters."""
    runs: list[Grid]
    """Which runs it rests on."""
    headlines: list[Headline] = []
    """Questions that the first lines of the report answer."""
    front: list[str] = []
    """Names of its tables and figures that stand in the first lines of the report."""
    rules: list[Rule] = []
    primary: str | None = None
    """Name of the one rule that the claim stands or falls with; the others are secondary."""
    withdrawn: str | None = None
    """What is not judged although it was claimed, and why."""

    @pydantic.model_validator(mode="after")
    def _rules_are_named(self) -> Self:
        names = [rule.name for rule in self.rules]
        if len(set(names)) != len(names):
            raise ValueError(f"two rules have the same name among {names}")
        named = [("primary", self.primary)]
        named += [("headlines", rule) for headline in self.headlines for rule in headline.rules]
        for key, name in named:
            if name is not None and name not in names:
                raise ValueError(f"{key}: there is no rule {name!r}; allowed are {', '.join(names)}")
        if names and self.primary is None:
            raise ValueError(f"primary: missing; one of the rules {', '.join(names)} is")
        return self

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
            require_same_type(f"{source}: {self.name}.{key}", value, self.parameters[key])
        return self.model_copy(update={"parameters": {**self.parameters, **values}})

    def requests(self, budget: Budget) -> list["Request"]:
        """Every run of the claim, without repetition, with what is asked of it at a budget.

        Raises
        ------
        UsageError
            If a grid names an unknown parameter or setting, or a setting is not allowed.
        """
        return merged(self.asked(budget))

    def asked(self, budget: Budget) -> Iterator["Request"]:
        """The same grid by grid: a run may be asked for by several."""
        absence = functools.cache(data.absence)
        for grid in self.runs:
            if grid.budgets == ["smoke"] and budget.name != "smoke":
                continue
            extent = grid.at.get(budget.name, Extent())
            epochs = budget.chosen("epochs", extent.epochs)
            seeds = list(range(budget.chosen("seeds", extent.seeds)))
            for settings in self._combinations({"seed": seeds, **grid.settings}):
                spec, left_out = self._spec(settings, budget), None
                if not grid.belongs_to(budget):
                    left_out = f"not part of the budget {budget.name}, but of {', '.join(grid.budgets or ())}"
                elif not DATASETS[spec.dataset].required:
                    left_out = absence(spec.dataset)
                reached = spec.epochs_at(epochs)
                stages = {reached: extent.stage(spec.seed)}
                yield Request(spec, reached, tuple(grid.evaluations), left_out, (self.name,), stages)

    def available(self, budget: Budget) -> list["Request"]:
        """What a notebook works with, and where it is recorded, in the store or among the reference records.

        At a budget whose runs the report does not train itself (`Budget.recorded`), as far as it is recorded.
        """
        requests = []
        for request in self.requests(budget):
            if request.left_out is None and budget.recorded:
                found = budget.found(request.spec, request.epochs)
                if found is None:
                    request = dataclasses.replace(request, left_out=NOT_YET)
                else:
                    request = dataclasses.replace(request, store=found[0], epochs=found[1])
            elif request.left_out is None:
                request = dataclasses.replace(request, store=budget.holder(request.spec, request.epochs))
            requests.append(request)
        return requests

    def _spec(self, settings: Settings, budget: Budget) -> RunSpec:
        """The spec of settings that are values, of as many images as the budget has."""
        images = {"train_images": budget.train_images, "validation_images": budget.validation_images}
        if settings.get("model") in EXACT_MODELS:
            settings = settings | {"seed": RunSpec.seed}  # every seed would give the same
        try:
            return RunSpec.from_mapping(images | settings)
        except UsageError as error:
            raise UsageError(f"claim {self.name} (params/claims/{self.name}.yaml): {error}") from error

    def pairs(self, rule: Rule, budget: Budget) -> list[tuple[RunSpec, RunSpec]]:
        """The settings that a rule compares: published to be lower and higher, each with the first seed."""
        compare, found = rule.compare, []
        for within in self._combinations(compare.within):
            sides: Iterable[tuple[Settings, Settings]]
            if compare.falling:
                row = self._combinations(compare.falling)
                sides = zip(row[1:], row, strict=False)
            else:
                lower, higher = self._combinations(compare.lower), self._combinations(compare.higher)
                require_few(len(lower) * len(higher), f"params/claims/{self.name}.yaml: rule {rule.name}")
                sides = itertools.product(lower, higher)
            for low, high in sides:
                pair = self._spec(within | low, budget), self._spec(within | high, budget)
                if pair[0] != pair[1]:
                    found.append(pair)
        return found

    def published_value(self, spec: RunSpec) -> float | None:
        """The published loss of some settings, by the claim's value rule; None where there is none."""
        rule = next((rule for rule in self.rules if isinstance(rule, ValueRule)), None)
        if rule is None:
            return None
        return self.published.values.get(rule.published.format(**dataclasses.asdict(spec)))

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
        # Settings are compared, which are the same from each seed.
        one_seed = budget.model_copy(update={"seeds": 1})
        asked = {dataclasses.replace(request.spec, seed=RunSpec.seed) for request in self.asked(one_seed)}
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
                    raise UsageError(
                        f"{source}: runs.seed: {seed!r} is named by no rule; allowed are 0 to {named - 1}"
                    )

    def _values(self, value: Any) -> list[Any]:
        if isinstance(value, str) and value.startswith("$"):
            if value[1:] not in self.parameters:
                raise UsageError(
                    f"params/claims/{self.name}.yaml: runs: {value!r} names no parameter; "
                    f"allowed are {', '.join('$' + key for key in self.parameters)}"
                )
            value = self.parameters[value[1:]]
        return value if isinstance(value, list) else [value]

    def count(self, budget: Budget) -> int:
        """How many runs `asked` gives at most, without making them."""
        return sum(
            math.prod(len(self._values(value)) for value in grid.settings.values())
            * (
                1
                if "seed" in grid.settings
                else budget.chosen("seeds", grid.at.get(budget.name, Extent()).seeds)
            )
            for grid in self.runs
        )

    def _combinations(self, settings: Settings) -> list[dict[str, Any]]:
        values = [self._values(value) for value in settings.values()]
        require_few(math.prod(map(len, values)), f"params/claims/{self.name}.yaml: runs and rules")
        return [dict(zip(settings, chosen, strict=True)) for chosen in itertools.product(*values)]


@dataclass(frozen=True)
class Request:
    """One run that claims ask for."""

    spec: RunSpec
    epochs: int
    evaluations: tuple[str, ...]
    """What is to be evaluated beside it, keys of `gon.catalogue.EVALUATIONS`."""
    left_out: str | None
    """Why it is not run at this budget or on this machine; None if it is."""
    claims: tuple[str, ...]
    """Names of those that ask for it."""
    stages: Mapping[int, int] = dataclasses.field(compare=False)
    """Numbers of epochs on the way to the stage of a long training at which they are due."""
    store: RunStore | None = dataclasses.field(default=None, compare=False)
    """Where it is recorded, if that has been looked up; None stands for the budget's own store."""

    @property
    def arguments(self) -> list[str]:
        """What is trained, and what is evaluated with every record, as options of `gon train`."""
        return self.spec.arguments() + [word for name in self.evaluations for word in ("--evaluation", name)]


def merged(requests: Iterable[Request]) -> list[Request]:
    """Each run once, with all that is asked of it. What one request leaves out, another decides."""
    found: dict[RunSpec, Request] = {}
    for b in requests:
        a = found.get(b.spec)
        if a is None or (a.left_out and not b.left_out):
            found[b.spec] = b
        elif a.left_out or not b.left_out:
            stages = [*a.stages.items(), *b.stages.items()]
            found[b.spec] = dataclasses.replace(
                a,
                epochs=max(a.epochs, b.epochs),
                evaluations=tuple(dict.fromkeys(a.evaluations + b.evaluations)),
                claims=tuple(dict.fromkeys(a.claims + b.claims)),
                # The earliest of each number of epochs.
                stages=dict(sorted(stages, key=lambda stage: stage[1], reverse=True)),
            )
    return list(found.values())
