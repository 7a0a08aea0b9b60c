"""Rules at their boundaries and against simulated studies; what notebooks and parameters must agree on."""

import datetime
import gc
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import papermill
import pytest

from gon.errors import UsageError
from gon.execution import STUDY_PARAMETERS, notebook_path
from gon.params import OrderingRule, ValueRule, load_study
from gon.results import Measurement, SeedValue
from gon.statistics import mean_interval
from gon.verdicts import describe, judge_ordering, judge_values

COMMON = {
    "statement": "s",
    "version": 1,
    "date": datetime.date(2026, 1, 1),
    "alpha": 0.05,
    "needs_epochs": 5,
    "needs_seeds": 3,
    "because": "b",
}
ORDERING = OrderingRule(kind="ordering", name="r", margin=0.1, **COMMON)
VALUE = ValueRule(kind="value", name="v", tolerance=0.1, **COMMON)

Values = float | None | Sequence[float | None]


def measured(
    name: str, values: Values, epochs: int = 5, published: float | None = None, exact: bool = False
) -> Measurement:
    """A measurement over seeds; a single number stands for three equal ones."""
    if values is None or isinstance(values, float):
        values = [values] * (1 if exact else 3)
    present = [value for value in values if value is not None]
    whole = len(present) == len(values)
    return Measurement(
        name=name,
        label=name,
        quantity="validation loss",
        unit="SSE per image",
        value=sum(present) / len(present) if whole else None,
        interval=mean_interval(present) if whole else None,
        epochs=epochs,
        values=[
            SeedValue(run=f"{name}-{seed}", seed=None if exact else seed, value=value)
            for seed, value in enumerate(values)
        ],
        recorded=None,
        published=published,
    )


def scattered(center: float, spread: float, n: int = 3) -> list[float]:
    """Values whose logarithms have exactly this standard deviation around the center's."""
    steps = np.linspace(-1, 1, n)
    return [center * math.exp(spread * float(step) / float(np.std(steps, ddof=1))) for step in steps]


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
        ([0.8, 0.8, None], 1.0, "inconclusive", "too close to tell"),
        (0.8, [1.0, None, 1.0], "inconclusive", "too close to tell"),
    ],
)
def test_an_ordering_without_scatter(lower: Values, higher: Values, outcome: str, tendency: str) -> None:
    pair = (measured("a", lower), measured("b", higher))
    verdict = judge_ordering(ORDERING, [pair], uses_all_images=True)
    assert (verdict.outcome, verdict.tendency) == (outcome, tendency)
    assert outcome in describe(verdict)


T_975 = 4.302652729911275
"""The 97.5% point of the t distribution with two degrees of freedom, from a printed table."""


@pytest.mark.parametrize(
    ("log_ratio", "outcome", "tendency"),
    [
        # Three seeds whose log ratios have standard deviation s: the interval's half width is T s / sqrt(3).
        (-1.001, "partly reproduced", "smaller than the margin"),
        (-0.999, "inconclusive", "too close to tell"),
        (0.0, "inconclusive", "too close to tell"),
        (0.999, "inconclusive", "too close to tell"),
        (1.001, "not reproduced", "against the published"),
    ],
)
def test_an_ordering_decides_where_its_interval_leaves_zero(
    log_ratio: float, outcome: str, tendency: str
) -> None:
    half_width = 0.01
    spread = half_width * math.sqrt(3) / T_975
    pair = (
        measured("a", scattered(math.exp(log_ratio * half_width), spread)),
        measured("b", [1.0, 1.0, 1.0]),
    )
    verdict = judge_ordering(ORDERING, [pair], uses_all_images=True)
    assert (verdict.outcome, verdict.tendency) == (outcome, tendency)


@pytest.mark.parametrize(("low_end", "outcome"), [(-0.101, "reproduced"), (-0.099, "partly reproduced")])
def test_an_ordering_holds_in_part_where_its_interval_lies_within_the_margin(
    low_end: float, outcome: str
) -> None:
    half_width = 0.01
    center = math.exp(math.log1p(low_end) + half_width)
    spread = half_width * math.sqrt(3) / T_975
    pair = (measured("a", scattered(center, spread)), measured("b", [1.0, 1.0, 1.0]))
    assert judge_ordering(ORDERING, [pair], uses_all_images=True).outcome == outcome


def test_pairs_are_matched_by_seed() -> None:
    """Seeds that scatter much, and alike on both sides, do not hide a difference."""
    higher = [1.0, 4.0, 0.2]
    pair = (measured("a", [0.80, 3.3, 0.163]), measured("b", higher))
    assert judge_ordering(ORDERING, [pair], uses_all_images=True).outcome == "reproduced"
    unpaired = (measured("a", [3.3, 0.163, 0.80]), measured("b", higher))
    assert judge_ordering(ORDERING, [unpaired], uses_all_images=True).outcome == "inconclusive"


def test_a_computed_model_is_compared_with_every_seed() -> None:
    pair = (measured("a", [0.81, 0.80, 0.79]), measured("pca", 1.0, exact=True))
    verdict = judge_ordering(ORDERING, [pair], uses_all_images=True)
    assert (verdict.outcome, verdict.seeds, verdict.comparisons[0].seeds) == ("reproduced", 3, 3)


def test_several_pairs_are_adjusted_for() -> None:
    """One pair that decides by a little alone does not among many."""
    half_width = 0.01
    spread = half_width * math.sqrt(3) / T_975
    pair = (
        measured("a", scattered(math.exp(-1.2 * half_width), spread)),
        measured("b", [1.0, 1.0, 1.0]),
    )
    alone = judge_ordering(ORDERING, [pair], uses_all_images=True)
    among = judge_ordering(ORDERING, [pair] * 5, uses_all_images=True)
    assert (alone.outcome, among.outcome) == ("partly reproduced", "inconclusive")
    assert among.comparisons[0].p_value == pytest.approx(5 * (alone.comparisons[0].p_value or 0))


def test_one_pair_the_other_way_is_enough() -> None:
    good, bad = (measured("a", 0.5), measured("b", 1.0)), (measured("c", 1.0), measured("d", 0.5))
    verdict = judge_ordering(ORDERING, [good, bad], uses_all_images=True)
    assert (verdict.outcome, verdict.tendency) == ("not reproduced", "mixed")


@pytest.mark.parametrize(
    ("epochs", "all_images", "seeds", "reasons"),
    [
        (4, True, 3, ["epochs"]),
        (5, False, 3, ["images"]),
        (5, True, 2, ["seeds"]),
        (5, True, 1, ["seeds"]),
        (4, False, 2, ["epochs", "images", "seeds"]),
    ],
)
def test_a_budget_that_does_not_reach_leaves_the_verdict_open(
    epochs: int, all_images: bool, seeds: int, reasons: list[str]
) -> None:
    pair = (measured("a", [0.1] * seeds, epochs), measured("b", [1.0] * seeds, epochs))
    verdict = judge_ordering(ORDERING, [pair], uses_all_images=all_images)
    assert (verdict.outcome, verdict.reasons) == ("inconclusive", reasons)
    assert verdict.tendency == "as published"


def test_intervals_that_overlap_are_the_reason() -> None:
    pair = (measured("a", [0.9, 1.1, 1.0]), measured("b", [1.0, 0.9, 1.1]))
    verdict = judge_ordering(ORDERING, [pair], uses_all_images=True)
    assert (verdict.outcome, verdict.reasons) == ("inconclusive", ["overlap"])


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
    ("values", "outcome"),
    [
        (1.05, "reproduced"),
        (0.95, "reproduced"),
        (1.2, "not reproduced"),
        (None, "not reproduced"),
        ([1.01, 0.99, 1.0], "reproduced"),
        ([1.31, 1.29, 1.3], "not reproduced"),
        ([1.2, 0.9, 1.0], "inconclusive"),
        ([1.11, 1.09, 1.1], "inconclusive"),  # around the edge of the tolerance
    ],
)
def test_a_value(values: Values, outcome: str) -> None:
    verdict = judge_values(VALUE, [measured("a", values, published=1.0)], [], uses_all_images=True)
    assert verdict.outcome == outcome


@pytest.mark.parametrize(
    ("end", "outcome"),
    [(0.0999, "reproduced"), (0.1001, "inconclusive"), (-0.0999, "reproduced"), (-0.1001, "inconclusive")],
)
def test_a_value_decides_where_its_interval_enters_the_tolerance(end: float, outcome: str) -> None:
    half_width = 0.01
    center = math.exp(math.log1p(end) - math.copysign(half_width, end))
    values = scattered(center, half_width * math.sqrt(3) / T_975)
    verdict = judge_values(VALUE, [measured("a", values, published=1.0)], [], uses_all_images=True)
    assert verdict.outcome == outcome


def test_values_of_another_size_in_the_published_order_are_partly_reproduced() -> None:
    small, large = (
        measured("a", [1.31, 1.29, 1.3], published=1.0),
        measured("b", [2.61, 2.59, 2.6], published=2.0),
    )
    verdict = judge_values(VALUE, [small, large], [(small, large)], uses_all_images=True)
    assert (verdict.outcome, verdict.order[0].finding) == ("partly reproduced", "as published")
    verdict = judge_values(VALUE, [small, large], [(large, small)], uses_all_images=True)
    assert verdict.outcome == "not reproduced"


def test_a_value_is_not_compared_across_budgets() -> None:
    verdict = judge_values(VALUE, [measured("a", 1.0, 4, published=1.0)], [], uses_all_images=True)
    assert (verdict.outcome, verdict.tendency) == ("inconclusive", "not comparable")


def test_a_rule_judges_only_what_it_is_made_for() -> None:
    with pytest.raises(UsageError, match="kind"):
        judge_values(ORDERING, [measured("a", 1.0)], [], uses_all_images=True)
    with pytest.raises(UsageError, match="nothing to compare"):
        judge_ordering(ORDERING, [], uses_all_images=True)


STUDIES = 1000


@pytest.fixture
def _quick_statsmodels(monkeypatch: pytest.MonkeyPatch) -> None:
    """It collects garbage at every adjustment, which takes a hundred times as long as the rest."""
    monkeypatch.setattr(gc, "collect", lambda *_: 0)


def simulate(ratio: float, seeds: int, pairs: int, spread: float = 0.03) -> Counter[str]:
    """Outcomes of studies in which the first of each pair is `ratio` times the second."""
    random = np.random.default_rng([seeds, pairs, round(1000 * ratio)])
    outcomes: Counter[str] = Counter()
    for _ in range(STUDIES):
        made = []
        for i in range(pairs):
            # What a seed shares between both sides, its initial weights, is ten times the rest.
            common = random.normal(0, 10 * spread, seeds)
            first = ratio * np.exp(common + random.normal(0, spread, seeds))
            second = np.exp(common + random.normal(0, spread, seeds))
            made.append((measured(f"a{i}", first.tolist()), measured(f"b{i}", second.tolist())))
        outcomes[judge_ordering(ORDERING, made, uses_all_images=True).outcome] += 1
    return outcomes


@pytest.mark.usefixtures("_quick_statsmodels")
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("pairs", [1, 4])
def test_a_difference_that_is_not_there_is_rarely_found(seeds: int, pairs: int) -> None:
    null = simulate(1.0, seeds, pairs)
    print(f"{seeds} seeds, {pairs} pair(s), equal losses: {dict(sorted(null.items()))}")
    assert null["reproduced"] + null["partly reproduced"] <= 0.05 * STUDIES
    # Nor is a published order contradicted that is neither true nor false.
    assert null["not reproduced"] <= 0.05 * STUDIES
    for ratio in (0.85, 0.75):
        true = simulate(ratio, seeds, pairs)
        print(f"{seeds} seeds, {pairs} pair(s), {ratio} times the loss: {dict(sorted(true.items()))}")
        assert true["not reproduced"] == 0
        assert true["reproduced"] > null["reproduced"]


@pytest.mark.usefixtures("_quick_statsmodels")
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("truth", [0.9, 1.1])
def test_a_value_at_the_edge_of_its_tolerance_is_rarely_called_the_same(seeds: int, truth: float) -> None:
    random = np.random.default_rng(seeds)
    outcomes: Counter[str] = Counter()
    for _ in range(STUDIES):
        values = truth * np.exp(random.normal(0, 0.01, seeds))
        measurement = measured("a", values.tolist(), published=1.0)
        outcomes[judge_values(VALUE, [measurement], [], uses_all_images=True).outcome] += 1
    assert outcomes["reproduced"] <= 0.05 * STUDIES
    assert outcomes["not reproduced"] <= 0.05 * STUDIES


@pytest.mark.parametrize("claim", [claim.name for claim in load_study().claims])
def test_notebook_defaults_are_those_of_the_parameter_file(claim: str) -> None:
    inspected = papermill.inspect_notebook(str(notebook_path(claim)))
    defaults = {name: eval(entry["default"]) for name, entry in inspected.items()}
    study = {name: defaults.pop(name) for name in STUDY_PARAMETERS}
    assert study == {"budget": "quick", "epochs": None, "seeds": None, "output": None}
    assert defaults == load_study().claim(claim).parameters
