"""A study: a budget and the claims, with what a person changed; and the plan of its runs."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import yaml

from gon.catalogue import DATASETS, DEFAULT_BUDGET
from gon.claims.params import Budget, ClaimParams, Request, merged
from gon.claims.rules import Strict, require_few, require_same_type
from gon.claims.strict_yaml import one_line, read_mapping, read_yaml, require_mapping
from gon.errors import UsageError
from gon.files import PROJECT
from gon.spec import LARGEST_EPOCHS

M = TypeVar("M", bound="Strict")


@dataclass(frozen=True)
class Study:
    """Everything that one execution is about."""

    budget: Budget
    """The budget, with what was overridden."""
    claims: tuple[ClaimParams, ...]
    """The claims in the order of the report."""

    def claim(self, name: str) -> ClaimParams:
        """The claim of that name; `UsageError` lists the names there are."""
        for claim in self.claims:
            if claim.name == name:
                return claim
        allowed = ", ".join(claim.name for claim in self.claims)
        raise UsageError(f"claim: {name!r} is not known; allowed are {allowed}")

    def plan(self) -> list[Request]:
        """Every run that the claims ask for, each once."""
        asked = [request for claim in self.claims for request in claim.requests(self.budget)]
        return merged(request for request in asked if request.left_out is None)

    def optional_datasets(self) -> list[str]:
        """Data sets that this budget uses if they can be had."""
        wanted: set[str] = set()
        for claim in self.claims:
            runs = [grid for grid in claim.runs if grid.belongs_to(self.budget)]
            asked = claim.model_copy(update={"runs": runs}).asked(self.budget)
            wanted |= {request.spec.dataset for request in asked}
        return [name for name in DATASETS if name in wanted and not DATASETS[name].required]


def load_study(
    budget: str = DEFAULT_BUDGET, overrides: Sequence[str] = (), params: Path | None = None
) -> Study:
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
    raw = read_mapping(path)
    if budget not in raw:
        raise UsageError(f"budget: {budget!r} is not known; allowed are {', '.join(raw)} (see {path})")
    chosen = _validate(
        Budget, {"name": budget, **require_mapping(raw[budget], f"{path}: {budget}")}, path, budget
    )
    claims: dict[str, ClaimParams] = {}
    for file in sorted((folder / "claims").glob("*.yaml")):
        claim = _validate(ClaimParams, {"name": file.stem, **read_mapping(file)}, file)
        for name in itertools.chain.from_iterable((*(grid.budgets or ()), *grid.at) for grid in claim.runs):
            if name not in raw:
                raise UsageError(f"{file}: runs.budgets: {name!r} is not known; allowed are {', '.join(raw)}")
        claims[file.stem] = claim
    for text in overrides:
        chosen = _override(text, chosen, claims)
    source = ", ".join(f"--set {text}" for text in overrides) or f"{folder}/claims"
    require_few(sum(claim.count(chosen) for claim in claims.values()), source)
    for claim in claims.values():
        try:
            claim.check_rules(chosen, source)
        except UsageError as error:
            if source in str(error) or not overrides:
                raise
            raise UsageError(f"{source}: {error}") from error
    return Study(chosen, tuple(sorted(claims.values(), key=lambda claim: (claim.order, claim.name))))


def _override(text: str, budget: Budget, claims: dict[str, ClaimParams]) -> Budget:
    """Apply one KEY=VALUE: a claim's parameter in place, epochs or seeds in the budget returned."""
    key, equals, value_text = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text}: expected KEY=VALUE, such as epochs=3")
    try:
        value = read_yaml(value_text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {text}: the value cannot be read as YAML ({one_line(error)})") from error
    name, dot, parameter = key.partition(".")
    update: dict[str, Any] = {"overrides": (*budget.overrides, text)}
    if dot and name in claims:
        claims[name] = claims[name].with_parameters({parameter: value}, f"--set {text}")
    elif key in ("epochs", "seeds"):
        require_same_type(f"--set {text}: {key}", value, getattr(budget, key))
        if not 1 <= value <= LARGEST_EPOCHS:
            allowed = f"a whole number from 1 to {LARGEST_EPOCHS}"
            raise UsageError(f"--set {text}: {key}: {value!r} is not allowed; {allowed} is")
        update[key] = value
    else:
        known = ["epochs", "seeds", *(f"{c.name}.{p}" for c in claims.values() for p in c.parameters)]
        raise UsageError(f"--set {text}: {key!r} cannot be set; allowed are {', '.join(known)}")
    return budget.model_copy(update=update)


def _validate(model: type[M], content: dict[str, Any], path: Path, prefix: str = "") -> M:
    try:
        return model.model_validate(content)
    except pydantic.ValidationError as error:
        problems = []
        for problem in error.errors()[:_TOLD]:
            key = ".".join(str(part) for part in ((prefix,) if prefix else ()) + problem["loc"])
            if problem["type"] == "missing":
                problems.append(f"{key}: missing")
            elif problem["type"] == "extra_forbidden":
                allowed = ", ".join(name for name in model.model_fields if name != "name")
                problems.append(f"{key}: not a known key; allowed are {allowed}")
            else:
                problems.append(f"{key}: {problem['input']!r:.80} is not allowed ({problem['msg']})")
        if (more := error.error_count() - _TOLD) > 0:
            problems.append(f"and {more} more")
        raise UsageError(f"{path}: " + "; ".join(problems)) from error


_TOLD = 5
"""So many of a file's problems are told at once."""
