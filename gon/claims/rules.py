"""What a rule says: which pairs it compares, by what margin, after which epochs, from which seeds."""

import collections
import datetime
import itertools
import keyword
from typing import Annotated, Any, Literal, Self

import pydantic

from gon.errors import UsageError
from gon.spec import LARGEST_EPOCHS


class Strict(pydantic.BaseModel):
    """Base of everything that is read from or written to a parameter or result file."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)


class Source(Strict):
    """Where a published statement or number stands."""

    key: str
    """Key of the work in `templates/references.bib`."""
    where: str
    """Section, table or figure in it."""


Name = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]*$", max_length=100)]
"""Letters, digits, `_` and `-`: what becomes part of a file's name, a command or an anchor."""
Text = Annotated[str, pydantic.Field(max_length=10_000)]
Count = Annotated[int, pydantic.Field(ge=1, le=LARGEST_EPOCHS)]
"""Of epochs or seeds."""

MOST_RUNS = 300_000
"""Runs that a study may ask for; the published experiments have 15."""


def require_plain(values: dict[str, Any]) -> dict[str, Any]:
    """Check that settings are names with values, or lists of values; `ValueError` names one that is not."""
    for key, value in values.items():
        if not key.isidentifier() or keyword.iskeyword(key):
            raise ValueError(f"{key!r} is no name; letters, digits and _ are allowed")
        items = value if isinstance(value, list) else [value]
        for item in items:
            if not isinstance(item, (str, int, float)) or len(str(item)) > 200:
                raise ValueError(f"{key}: {item!r:.80} is not allowed; a short text, a number, or a list is")
        if not items:
            raise ValueError(f"{key}: an empty list is not allowed")
        twice = [item for item, times in collections.Counter(items).items() if times > 1]
        if twice:
            raise ValueError(f"{key}: {twice[0]!r} occurs more than once; each value may once")
    return values


def require_few(count: int, what: str) -> None:
    """Refuse, before they are made, more runs than any study needs."""
    if count > MOST_RUNS:
        raise UsageError(f"{what}: {count} runs or pairs; at most {MOST_RUNS} are allowed")


def require_same_type(what: str, value: Any, default: Any) -> None:
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
            require_same_type(what, item, default[0])
        if twice := [item for item, times in collections.Counter(value).items() if times > 1]:
            raise UsageError(f"{what}: {twice[0]!r} occurs more than once; each value may once")


Settings = Annotated[dict[str, Any], pydantic.AfterValidator(require_plain)]
"""Settings of a run (see `gon.spec.RunSpec`), each a value, a list of values, or `$name` of a parameter."""


class Compare(Strict):
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
    if any(b <= a for a, b in itertools.pairwise([0, *numbers, LARGEST_EPOCHS + 1])):
        raise ValueError(
            f"whole numbers from 1 to {LARGEST_EPOCHS}, each larger than the one before, are allowed"
        )
    return numbers


EpochNumbers = Annotated[list[int], pydantic.AfterValidator(_ascending)]
"""Numbers of epochs, ascending."""
LossName = Literal["validation_loss", "train_loss"]


class BaseRule(Strict):
    """What the rules have in common. `gon.claims.decisions` says how they decide."""

    name: Name
    statement: Text
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
    """The epochs after which it compares, all of them; with fewer, it can but be refuted, and with a part of
    the images, the verdict stays open."""
    seeds: Annotated[int, pydantic.Field(ge=3, le=LARGEST_EPOCHS)]
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
