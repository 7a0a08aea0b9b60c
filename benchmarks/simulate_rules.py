"""How often the rules err, and what they find: `python benchmarks/simulate_rules.py`.

Studies are made up by the thousand and decided by the functions that judge the real ones. What scatters is
the log ratio of a pair, what is left after pairing by seed: its standard deviation is the scatter. Half of
its variance is a seed's effect on all pairs, so that these are correlated. Writes `docs/statistics.md`.
"""

import argparse
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.special import stdtr

from gon.claims.decisions import (
    Texts,
    decide_early,
    decide_order,
    decide_pairs,
    decide_values,
    ordering_outcome,
    value_outcome,
)
from gon.claims.statistics import SKEWED, Array, differences

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "statistics.md"
KINDS = {
    "gaussian": "Gaussian",
    "gamma": "gamma, skewness 1",
    "outliers": "Gaussian, 5% outliers of five times the spread",
}
SIDES = ("both", "first", "second")
MARGIN = 0.05
AT_MARGIN = math.log1p(-MARGIN)
FAR = math.log(0.5)


def scatter(random: np.random.Generator, kind: str, shape: tuple[int, int, int]) -> Array:
    """Scatter of log losses with the standard deviation 1 (without outliers), [studies, pairs, seeds].

    Any two pairs are correlated by 1/2: through what their losses of a seed share.
    """
    studies, _, seeds = shape
    if kind == "gamma":  # a sum of two with the shape 2 has the shape 4, hence the skewness 1
        shared, own = (random.standard_gamma(2.0, s) for s in ((studies, 1, seeds), shape))
        return (shared + own - 4.0) / 2.0
    shared, own = (random.standard_normal(s) for s in ((studies, 1, seeds), shape))
    both = (shared + own) / math.sqrt(2.0)
    return both * np.where(random.random(shape) < 0.05, 5.0, 1.0) if kind == "outliers" else both


def noise(random: np.random.Generator, kind: str, sides: str, shape: tuple[int, int, int]) -> Array:
    """Scatter of log ratios with the standard deviation 1: of both sides, or of one only."""
    if sides == "both":
        return (scatter(random, kind, shape) - scatter(random, kind, shape)) / math.sqrt(2.0)
    return scatter(random, kind, shape) * (1.0 if sides == "first" else -1.0)


def outcomes(ratios: Array, spread: float, noise: Array, alpha: float) -> Texts:
    """Outcomes of an ordering rule for studies whose pairs have these true log ratios, [studies]."""
    decision = decide_pairs(differences(ratios[:, np.newaxis] + spread * noise), MARGIN, alpha)
    return ordering_outcome(decision.findings)


def rate(found: Texts, *wanted: str) -> float:
    """Share of the studies that have one of these outcomes."""
    return float(np.isin(found, wanted).mean())


def one_of(ratio: float, pairs: int) -> Array:
    """True log ratios: one pair decides, the others are far below the margin."""
    return np.asarray([ratio] + [FAR] * (pairs - 1))


def errors(noise: Array, spread: float, alpha: float) -> dict[str, float]:
    """Rates of false verdicts of an ordering rule at the boundaries where they are most frequent."""
    pairs = noise.shape[1]
    at_margin = outcomes(one_of(AT_MARGIN, pairs), spread, noise, alpha)
    equal = outcomes(one_of(0.0, pairs), spread, noise, alpha)
    all_at_margin = outcomes(np.full(pairs, AT_MARGIN), spread, noise, alpha)
    return {
        "reproduced": rate(at_margin, "reproduced"),
        "reproduced or partly": rate(equal, "reproduced", "partly reproduced"),
        "not reproduced": rate(all_at_margin, "not reproduced"),
    }


def power(noise: Array, spread: float, alpha: float) -> dict[str, float]:
    """Rates of true verdicts: equal losses refuted, and lower ones reproduced."""
    pairs = noise.shape[1]
    found = {
        f"{share:.0%} lower": rate(
            outcomes(np.full(pairs, math.log1p(-share)), spread, noise, alpha), "reproduced"
        )
        for share in (0.05, 0.1, 0.2)
    }
    equal = outcomes(np.zeros(pairs), spread, noise, alpha)
    return {"equal": rate(equal, "not reproduced"), **found}


def value_errors(
    random: np.random.Generator, kind: str, sign: int, seeds: int, alpha: float
) -> dict[str, float]:
    """Rates of false verdicts of a value rule: six values, tolerance 10%, factor 2, scatter 2%.

    The sign says to which side the losses are skewed.
    """
    made = sign * 0.02 * scatter(random, kind, (8_000, 6, seeds))
    order = decide_pairs(differences(made[:, :1] + FAR), 0.0, alpha)
    none = np.zeros(len(made), dtype=bool)
    found = []
    for edge in (math.log1p(-0.1), math.log1p(0.1)):
        alone = decide_values(differences(made + one_at(edge)), 0.1, alpha)
        every_one = decide_values(differences(made + edge), 0.1, alpha)
        rates = {
            "reproduced": rate(value_outcome(alone.findings, none), "reproduced"),
            "not reproduced": rate(value_outcome(every_one.findings, none), "not reproduced"),
        }
        for edge_of_factor in (-math.log(2.0), math.log(2.0)):
            partly = decide_order(differences(made + one_at(edge_of_factor)), order, 2.0, alpha)
            found.append({**rates, "partly": float(partly.mean())})
    # Six values at three milestones each, all of them as far below the published ones as is still allowed.
    looks = differences(sign * 0.02 * scatter(random, kind, (8_000, 18, seeds)) + math.log1p(-0.1))
    early = float((decide_early(looks, 0.1) < alpha).any(axis=-1).mean())
    return {**each(max, found), "early": early}


def one_at(edge: float) -> Array:
    """Deviations of six values, of which the first stands at an edge, [6, 1]."""
    return np.asarray([[edge], *[[0.0]] * 5])


def each(pick: Callable[[Iterable[float]], float], found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each rate the largest, or the smallest."""
    return {key: pick(rates[key] for rates in found) for key in found[0]}


def inflation(random: np.random.Generator, seeds: int, levels: Sequence[float], studies: int) -> list[float]:
    """How often a one-sided t test errs at each level, in its worse direction, under skewness 1."""
    counts = np.zeros(len(levels))
    for _ in range(studies // 100_000):
        sample = random.standard_gamma(4.0, (100_000, seeds)) - 4.0
        statistic = sample.mean(axis=1) / sample.std(axis=1, ddof=1) * math.sqrt(seeds)
        p_values = np.sort(stdtr(seeds - 1, statistic))
        counts += np.searchsorted(p_values, levels)
    return [float(rate) for rate in counts / (studies // 100_000 * 100_000)]


def percent(value: float) -> str:
    """Write a rate as a percentage, without its sign."""
    return f"{100 * value:.1f}" if value < 0.0995 else f"{100 * value:.0f}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def side_by_side(found: Sequence[Mapping[str, float]]) -> list[str]:
    """A cell for each rate, with its percentages one after the other."""
    return [" / ".join(percent(rates[key]) for rates in found) for key in found[0]]


def ordering_table(alpha: float, studies: int, spreads: Sequence[float]) -> str:
    """How often an ordering rule errs, and how often it finds what is true."""
    rows = []
    for kind, pairs, seeds in itertools.product(KINDS, (1, 4, 12), (3, 5, 10)):
        for name, sides in (("both", ("both",)), ("one", ("first", "second"))):
            found = []
            for spread in spreads:
                # Of the two that may be the exact one, the worse: more errors, less power.
                random = np.random.default_rng([list(KINDS).index(kind), pairs, seeds, round(1e4 * spread)])
                made = [noise(random, kind, side, (studies, pairs, seeds)) for side in sides]
                wrong, right = ([f(one, spread, alpha) for one in made] for f in (errors, power))
                found.append({**each(max, wrong), **each(min, right)})
            scattered = KINDS[kind].split(",")[0] if kind != "outliers" else kind
            rows.append([scattered, name, str(pairs), str(seeds), *side_by_side(found)])
    columns = [
        "scatter", "sides", "pairs", "seeds", "false: reproduced", "false: reproduced or partly",
        "false: not reproduced", "equal: not reproduced", "5% lower: reproduced", "10% lower", "20% lower",
    ]  # fmt: skip
    return table(columns, rows)


PRIMARY_ALPHA = 0.025
"""Level of each primary rule, which keeps the four together at 10%."""
PRIMARIES = {
    "latent_size": (4, (3, 5)),
    "activations": (4, (5,)),
    "two_step": (1, (3, 5)),
    "model_comparison": (4, (3, 5)),
}
"""Claim to the pairs of its primary rule, and the numbers of seeds that are considered."""


def primary_errors(pairs: int, seeds: int, alpha: float, studies: int) -> float:
    """The largest rate of false verdicts of a rule, over kinds of scatter, sides and boundaries."""
    worst = 0.0
    for kind, sides in itertools.product(("gaussian", "gamma"), SIDES):
        random = np.random.default_rng([pairs, seeds, len(kind), SIDES.index(sides)])
        made = noise(random, kind, sides, (studies, pairs, seeds))
        worst = max(worst, *(max(errors(made, spread, alpha).values()) for spread in (0.005, 0.02)))
    return worst


def primaries_table(alphas: Sequence[float], studies: int) -> str:
    """How often the primary rules err, each and together."""
    rows = []
    for alpha in alphas:
        for fewest in (True, False):
            found = {
                claim: (chosen := seeds[0 if fewest else -1], primary_errors(pairs, chosen, alpha, studies))
                for claim, (pairs, seeds) in PRIMARIES.items()
            }
            family = 1 - math.prod(1 - error for _, error in found.values())
            cells = [f"{percent(error)} ({seeds})" for seeds, error in found.values()]
            rows.append([f"{alpha}", *cells, f"**{percent(family)}**"])
    return table(["alpha", *PRIMARIES, "at least one of four"], rows)


def primary_power_table(alphas: Sequence[float], studies: int, spreads: Sequence[float]) -> str:
    """How often a rule finds what is true, by scatter."""
    rows = []
    for alpha, pairs, seeds in itertools.product(alphas, (1, 4), (3, 5)):
        found = []
        for spread in spreads:
            random = np.random.default_rng([pairs, seeds, round(1e4 * spread)])
            made = noise(random, "gaussian", "both", (studies, pairs, seeds))
            found.append(power(made, spread, alpha))
        rows.append([f"{alpha}", str(pairs), str(seeds), *side_by_side(found)])
    columns = ["equal: not reproduced", "5% lower: reproduced", "10% lower", "20% lower"]
    return table(["alpha", "pairs", "seeds", *columns], rows)


def value_table(alpha: float) -> str:
    """How often the rule on published values errs."""
    rows = []
    for kind, seeds in itertools.product(KINDS, (3, 5, 10)):
        randoms = {
            sign: np.random.default_rng([list(KINDS).index(kind), seeds, sign + 1]) for sign in (1, -1)
        }
        found = each(
            max, [value_errors(random, kind, sign, seeds, alpha) for sign, random in randoms.items()]
        )
        order = ("reproduced", "partly", "not reproduced", "early")
        rows.append([KINDS[kind], str(seeds), *(percent(found[key]) for key in order)])
    columns = ["scatter", "seeds", "reproduced", "partly reproduced", "not reproduced", "refuted early"]
    return table(columns, rows)


def calibration_table(studies: int) -> str:
    """How often a t test errs under skewness, and what the rules allow for it."""
    levels = (0.05, 0.025, 0.0125, 0.005, 0.002, 0.0005)
    rows = []
    for seeds in (3, 4, 5, 6, 7, 8, 10, 20):
        factor, power = SKEWED.get(seeds, SKEWED[10])
        found = inflation(np.random.default_rng(seeds), seeds, levels, studies)
        allowed = [factor * p**power if seeds in SKEWED or seeds > 10 else math.nan for p in levels]
        cells = [
            f"{100 * error:.2f}" + ("" if math.isnan(most) else f" (≤ {100 * most:.2f})")
            for error, most in zip(found, allowed, strict=True)
        ]
        rows.append([str(seeds), *cells])
    return table(["seeds", *(f"t test at {100 * p:g}%" for p in levels)], rows)


def document(studies: int) -> str:
    """Write `docs/statistics.md`."""
    spreads = (0.01, 0.02, 0.03, 0.05)
    return f"""# How often the rules err

Written by `python benchmarks/simulate_rules.py`: {studies:,} made-up studies a cell, decided by the very
functions of `gon/claims/verdicts.py` that judge the real ones. All rates are percentages; one of 5% has a
standard error of {100 * math.sqrt(0.05 * 0.95 / studies):.1f} points. Gaussian and skewed scatter are held
to alpha, and tests assert it; outliers are outside of what the rules promise, and shown.

- **Scatter** is the standard deviation of a pair's log ratio, after pairing by seed; where a cell has four
  numbers, it is 1 / 2 / 3 / 5%. Half of its variance is a seed's effect on all pairs.
- **Sides**: the scatter comes from both sides, or from one, the other being exact; of the two it can come
  from, the worse one is shown.

## Ordering rules: margin 5%, alpha 5%

*False: reproduced*: one pair exactly at the margin, of the others the first is half as high as the second.
*False: reproduced or partly*: one pair equal, the others as before. *False: not reproduced*: all pairs
exactly at the margin. The next column is the power to refute, all pairs being equal; the last three the power
to reproduce, all pairs being that much lower. (At 5%, the margin itself, it can but be small.)

{ordering_table(0.05, studies, spreads)}

## Primary rules: one a claim, at most 10% for at least one false verdict in a report

The rate of false verdicts of each rule at the worst of the boundaries above, for Gaussian and skewed scatter
alike, with the seeds in brackets (20,000 studies); and of at least one among four rules that all stand at
their worst boundary, independently.

So each primary rule has the level {PRIMARY_ALPHA}, and all others have 0.05.

{primaries_table((0.05, 0.03, 0.0275, 0.025), 20_000)}

Their power (Gaussian scatter on both sides, 1 / 2 / 3 / 5%):

{primary_power_table((0.05, 0.025), studies, spreads)}

## Value rules: six values, tolerance 10%, factor 2, scatter 2%, alpha 5%

False verdicts where they are most frequent: one value exactly at an edge of the tolerance (*reproduced*) or
of the factor (*partly reproduced*), all at an edge of the tolerance (*not reproduced*), all at its lower edge
at each of three milestones (*refuted early*). 8,000 studies a cell; losses skewed to either side, the worse
one.

{value_table(0.05)}

## Skewness

How often a one-sided t test errs, in its worse direction, if the scatter is a gamma distribution of skewness
1 (a million studies a row), and in brackets what `gon.claims.statistics.SKEWED` allows for: p-values are
raised to it.

{calibration_table(1_000_000)}
"""


def main() -> None:
    """Simulate, and write the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000, help="studies a cell (default: 2000)")
    DOCUMENT.write_text(document(parser.parse_args().studies), encoding="utf-8")


if __name__ == "__main__":
    main()
