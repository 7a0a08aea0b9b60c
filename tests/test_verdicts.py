"""Rules at their boundaries, and what the notebooks' parameters must agree with."""

import papermill
import pytest

from gon.errors import UsageError
from gon.execution import STUDY_PARAMETERS, notebook_path
from gon.params import OrderingRule, ValueRule, load_study
from gon.results import Measurement
from gon.verdicts import describe, judge_ordering, judge_values

ORDERING = OrderingRule(kind="ordering", name="r", statement="s", margin=0.1, needs_epochs=5, because="b")
VALUE = ValueRule(kind="value", name="v", statement="s", tolerance=0.1, needs_epochs=5, because="b")


def measured(name: str, value: float | None, epochs: int = 5, published: float | None = None) -> Measurement:
    return Measurement(
        name=name,
        label=name,
        quantity="validation loss",
        unit="SSE per image",
        value=value,
        epochs=epochs,
        runs=["0" * 16],
        published=published,
    )


@pytest.mark.parametrize(
    ("lower", "higher", "outcome", "tendency"),
    [
        (0.8, 1.0, "reproduced", "as published"),
        (0.9, 1.0, "inconclusive", "too close to tell"),
        (1.0, 1.0, "inconclusive", "too close to tell"),
        (1.2, 1.0, "not reproduced", "against the published"),
        (0.8, None, "reproduced", "as published"),
        (None, 0.8, "not reproduced", "against the published"),
        (None, None, "inconclusive", "too close to tell"),
    ],
)
def test_an_ordering(lower: float | None, higher: float | None, outcome: str, tendency: str) -> None:
    pair = (measured("a", lower), measured("b", higher))
    verdict = judge_ordering(ORDERING, [pair], uses_all_images=True)
    assert (verdict.outcome, verdict.tendency) == (outcome, tendency)
    assert outcome in describe(verdict)


def test_one_pair_the_other_way_is_enough() -> None:
    good, bad = (measured("a", 0.5), measured("b", 1.0)), (measured("c", 1.0), measured("d", 0.5))
    verdict = judge_ordering(ORDERING, [good, bad], uses_all_images=True)
    assert (verdict.outcome, verdict.tendency) == ("not reproduced", "mixed")


@pytest.mark.parametrize(("epochs", "all_images", "reason"), [(4, True, "epochs"), (5, False, "images")])
def test_a_budget_that_does_not_reach_leaves_the_verdict_open(
    epochs: int, all_images: bool, reason: str
) -> None:
    pair = (measured("a", 0.1, epochs), measured("b", 1.0, epochs))
    verdict = judge_ordering(ORDERING, [pair], uses_all_images=all_images)
    assert (verdict.outcome, verdict.reasons) == ("inconclusive", [reason])
    assert verdict.tendency == "as published"


def test_a_rule_whose_runs_were_left_out() -> None:
    """It cannot be reproduced, but contradicted; with nothing to compare it was not attempted."""
    good, bad = (measured("a", 0.5), measured("b", 1.0)), (measured("c", 1.0), measured("d", 0.5))
    verdict = judge_ordering(ORDERING, [good], uses_all_images=True, complete=False)
    assert (verdict.outcome, verdict.reasons) == ("inconclusive", ["left out"])
    assert "not run" in describe(verdict)
    verdict = judge_ordering(ORDERING, [good, bad], uses_all_images=True, complete=False)
    assert verdict.outcome == "not reproduced"
    verdict = judge_ordering(ORDERING, [], uses_all_images=True, complete=False)
    assert (verdict.outcome, verdict.reasons, verdict.comparisons) == ("not attempted", ["left out"], [])


@pytest.mark.parametrize(
    ("value", "outcome"),
    [(1.05, "reproduced"), (0.95, "reproduced"), (1.2, "not reproduced"), (None, "not reproduced")],
)
def test_a_value(value: float | None, outcome: str) -> None:
    verdict = judge_values(VALUE, [measured("a", value, published=1.0)], uses_all_images=True)
    assert verdict.outcome == outcome


def test_a_value_is_not_compared_across_budgets() -> None:
    verdict = judge_values(VALUE, [measured("a", 1.0, 4, published=1.0)], uses_all_images=True)
    assert (verdict.outcome, verdict.tendency) == ("inconclusive", "not comparable")


def test_a_rule_judges_only_what_it_is_made_for() -> None:
    with pytest.raises(UsageError, match="kind"):
        judge_values(ORDERING, [measured("a", 1.0)], uses_all_images=True)
    with pytest.raises(UsageError, match="nothing to compare"):
        judge_ordering(ORDERING, [], uses_all_images=True)


@pytest.mark.parametrize("claim", [claim.name for claim in load_study().claims])
def test_notebook_defaults_are_those_of_the_parameter_file(claim: str) -> None:
    inspected = papermill.inspect_notebook(str(notebook_path(claim)))
    defaults = {name: eval(entry["default"]) for name, entry in inspected.items()}
    study = {name: defaults.pop(name) for name in STUDY_PARAMETERS}
    assert study == {"budget": "quick", "epochs": None, "output": None}
    assert defaults == load_study().claim(claim).parameters
