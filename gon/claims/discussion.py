"""The discussion: what the runs say beyond the verdicts, each statement bound to what it was measured on."""

import math
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from gon.catalogue import DATASETS
from gon.claims.formats import counted, listed, percent, spelled
from gon.claims.judging import JudgedClaim
from gon.claims.loading import Run
from gon.claims.measuring import measurement, seed_value
from gon.claims.quantities import value_of
from gon.claims.results import Measurement
from gon.claims.words import Sentence
from gon.spec import RunSpec

_DATASETS = ("mnist", "fashion-mnist")
_COMPARED = [(dataset, latent) for dataset in _DATASETS for latent in (64, 256)]
"""The settings in which the models are compared."""
_SOFTPLUS: dict[str, Any] = {"latent_dim": 64, "activation": "softplus"}

Claims = Mapping[str, JudgedClaim]
"""The claims of a report by name; those that failed or are not part of it are missing."""


def discussion(claims: Claims) -> list[list[Sentence]]:
    """Paragraphs of sentences; what was not measured yet is not said.

    Returns
    -------
    list
        On the second step; on the other models; on the published numbers, and what moves them.
    """
    paragraphs = (_second_step(claims), _other_models(claims), _published_numbers(claims))
    return [found for paragraph in paragraphs if (found := list(paragraph))]


def _runs(claim: JudgedClaim, epochs: int | None, settings: Mapping[str, Any]) -> tuple[list[Run], int]:
    """The runs of some settings, all else as by default, that reached a number of epochs, or the most."""
    wanted = RunSpec(**settings)
    runs = [run for run in claim.runs if run.setting == wanted]
    reached = max((run.epochs for run in runs), default=0) if epochs is None else epochs
    return [run for run in runs if run.epochs >= reached], reached


def _measured(
    claims: Claims,
    name: str,
    key: str,
    epochs: int | None = None,
    seeds: Collection[int | None] | None = None,
    /,
    **settings: Any,
) -> Measurement | None:
    """A quantity of the runs of some settings, of all their seeds or of some; None if not measured."""
    if name not in claims:
        return None
    claim = claims[name]
    runs, reached = _runs(claim, epochs, settings)
    runs = [run for run in runs if seeds is None or run.spec.seed in seeds]
    if key.startswith("evaluation:"):
        evaluation = key.removeprefix("evaluation:").partition("/")[0]
        runs = [run for run in runs if run.evaluation(evaluation)]
    values = [value_of(run, key, reached, claim.params.published_value(run.spec)) for run in runs]
    if not runs or any(value is None for value in values):
        return None
    entries = [seed_value(run, value) for run, value in zip(runs, values, strict=True)]
    label = runs[0].spec.settings_label
    return measurement(f"discussion/{key}/{label}", label, entries, epochs=reached, quantity=key)


def _said(*parts: str | Measurement | None) -> list[Sentence]:
    """A sentence, if all that it tells was measured."""
    return [] if None in parts else [[part for part in parts if part is not None]]


def _second_step(claims: Claims) -> Iterator[Sentence]:
    def evaluated(variable: str, **settings: Any) -> Measurement | None:
        return _measured(claims, "two_step", f"evaluation:{variable}", latent_dim=64, **settings)

    yield from _said(
        "Why a second step changes nothing with ELU: the first layer is normalised over the batch, so that "
        "the decoder hardly feels how long a latent is (a tenth of the length gives a validation loss of ",
        evaluated("latent_scale/scale/0.1"),
        " in place of ",
        evaluated("latent_scale/scale/1"),
        "), and so its gradient at the latent is tiny: the second step is ",
        evaluated("inner_step/relative_change"),
        " of the first one’s length.",
    )
    yield from _said(
        "What step would help: one of 3% of that length lowers the loss of the very same networks from ",
        evaluated("inner_step/loss/1"),
        " to ",
        evaluated("inner_step/rescaled/0.03"),
        ", and of networks that were trained with two steps from ",
        evaluated("inner_step/loss/1", inner_steps=2),
        " to ",
        evaluated("inner_step/rescaled/0.03", inner_steps=2),
        ". It is the size of the step that is wrong, not the idea.",
    )

    def of_softplus(variable: str) -> Measurement | None:
        return _measured(claims, "activations", f"evaluation:inner_step/{variable}", **_SOFTPLUS)

    yield from _said(
        "With Softplus, whose curvature never vanishes, the second step is ",
        of_softplus("relative_change"),
        " of the first one, and lowers the loss from ",
        of_softplus("loss/1"),
        " to ",
        of_softplus("loss/2"),
        " as it is.",
    )
    yield from _trained_with_softplus(claims)


def _trained_with_softplus(claims: Claims) -> Iterator[Sentence]:
    if "two_step" not in claims:
        return
    two_steps = _SOFTPLUS | {"inner_steps": 2}
    _, reached = _runs(claims["two_step"], None, two_steps)
    alike = _alike(
        claims,
        reached,
        ("two_step", "validation_loss", two_steps),
        ("two_step", "validation_loss", _SOFTPLUS),
        ("model_comparison", "better_validation_loss", {"latent_dim": 64, "model": "autoencoder"}),
    )
    if alike:
        two, one, autoencoder = alike
        yield [
            "Networks with Softplus that are trained with two steps have a validation loss of ",
            two,
            " in place of ",
            one,
            f" after {counted(reached, 'epoch')}, the autoencoder ",
            autoencoder,
            ".",
        ]
        if (two.value or 0) < 0.95 * (one.value or 0):
            yield ["There the improvement does what the report says of it."]


def _other_models(claims: Claims) -> Iterator[Sentence]:
    name = "model_comparison"
    if name not in claims:
        return
    most = max((run.epochs for run in claims[name].runs if not run.exact), default=0)
    shares: list[str] = []
    example: Sentence = []
    for epochs in sorted({1, 5, 50, most} & set(range(most + 1))):
        pairs = _against(claims, epochs)
        if pairs:
            after = f"after {counted(epochs, 'epoch')}"
            ahead = sum((gon.value or 0) < (other.value or 0) for gon, other in pairs)
            settings = "" if shares else " settings"
            shares.append(f"{spelled(ahead) if ahead else 'none'} of {spelled(len(pairs))}{settings} {after}")
            gon, other = pairs[0]
            example += ["; " if example else f"{gon.label}: ", gon, " against ", other, f" {after}"]
    if shares:
        yield [f"GON has a lower validation loss than the autoencoder in {listed(shares)}."]
        yield [*example, "."]
    overtaken = [f"{epoch} ({label})" for label, epoch in _overtaken(claims[name])]
    if overtaken:
        yield [f"The autoencoder overtakes GON for good in epoch {listed(overtaken)}."]
    _, reached = _runs(claims[name], None, {"latent_dim": 256, "width": 29})
    matched: Sentence = []
    for dataset in _DATASETS:
        pair = _pair(claims, reached, dataset, 256, width=29)
        if pair:
            title = DATASETS[dataset].title
            matched += [" and " if matched else "", pair[0], " against ", pair[1], f" on {title}"]
    if matched:
        yield [
            "With as many parameters as the autoencoder, at latent 256, GON has ",
            *matched,
            f", after {counted(reached, 'epoch')}.",
        ]
    yield from _said(
        "How an encoder’s batch norms are evaluated decides more than it should: at latent 64 the "
        "autoencoder has ",
        _measured(claims, name, "validation_loss", latent_dim=64, model="autoencoder"),
        " with the statistics of the batch and ",
        _measured(claims, name, "validation_loss_running", latent_dim=64, model="autoencoder"),
        " with running ones; for GON the latter are no choice (",
        _measured(claims, "protocol", "evaluation:protocols/running_statistics", latent_dim=64),
        " in place of ",
        _measured(claims, "protocol", "evaluation:protocols/batch_statistics", latent_dim=64),
        "). Each model is judged by its better mode.",
    )

    fitted = [
        _measured(claims, name, f"evaluation:fitting/0.001/{steps}", latent_dim=64, model="glo")
        for steps in (100, 200)
    ]
    fewer, more = (number and number.value for number in fitted)
    if fewer and more and more < fewer:
        yield from _said(
            "GLO’s loss is an upper bound: it still falls with the steps that fit the latent of an image, on "
            "part of MNIST’s validation images at latent 64 from ",
            fitted[0],
            " after 100 steps to ",
            fitted[1],
            " after the 200 that it is given.",
        )


def _alike(claims: Claims, epochs: int, *sides: tuple[str, str, dict[str, Any]]) -> list[Measurement]:
    """Claims, quantities and settings, over the seeds that all have; none if one of them was not measured."""

    def measured(seeds: Collection[int | None] | None) -> list[Measurement]:
        found = (_measured(claims, name, key, epochs, seeds, **settings) for name, key, settings in sides)
        return [number for number in found if number is not None]

    seeds = [{value.seed for value in number.values} for number in measured(None)]
    alike = measured(set.intersection(*seeds)) if seeds else []
    return alike if len(alike) == len(sides) else []


def _pair(claims: Claims, epochs: int, dataset: str, latent: int, **gon: Any) -> list[Measurement]:
    """GON and the autoencoder after so many epochs, the latter in its better mode."""
    name, settings = "model_comparison", {"dataset": dataset, "latent_dim": latent}
    return _alike(
        claims,
        epochs,
        (name, "validation_loss", settings | gon),
        (name, "better_validation_loss", settings | {"model": "autoencoder"}),
    )


def _against(claims: Claims, epochs: int) -> list[list[Measurement]]:
    """GON and the autoencoder by setting."""
    pairs = (_pair(claims, epochs, dataset, latent) for dataset, latent in _COMPARED)
    return [pair for pair in pairs if pair]


def _pairing(claims: Claims) -> Iterator[tuple[int, float, float]]:
    """How much smaller the scatter of GON's ratio to the autoencoder is if both are from the same seed.

    Standard deviations of the logarithm over seeds, and their quadratic mean over the settings.
    """
    for epochs in (1, 5, 50, 500):
        paired, unpaired = [], []
        for gon, other in _against(claims, epochs):
            losses = [{v.seed: math.log(v.value) for v in m.values if v.value} for m in (gon, other)]
            first, second = ([side[seed] for seed in sorted(side, key=str)] for side in losses)
            if len(first) >= 2:
                unpaired.append(statistics.variance(first) + statistics.variance(second))
                differences = [a - b for a, b in zip(first, second, strict=True)]
                paired.append(statistics.variance(differences))
        if paired:
            yield epochs, math.sqrt(statistics.fmean(paired)), math.sqrt(statistics.fmean(unpaired))


def _overtaken(claim: JudgedClaim) -> Iterator[tuple[str, int]]:
    """From which epoch on the autoencoder of the first seed stays below GON, by setting."""
    for gon in claim.runs:
        if gon.spec != RunSpec(dataset=gon.spec.dataset, latent_dim=gon.spec.latent_dim):
            continue
        others = (run for run in claim.runs if run.spec.model == "autoencoder" and run.spec.seed == 0)
        other = next((r for r in others if r.setting == _like(gon.spec)), None)
        if other is None:
            continue
        behind = [
            a.validation_loss > min(b.validation_loss, b.validation_loss_running or math.inf)
            for a, b in zip(gon.record.history, other.record.history, strict=False)
            if a.validation_loss is not None and b.validation_loss is not None
        ]
        ahead = [epoch for epoch, lost in enumerate(behind, start=1) if not lost]
        if behind and behind[-1] and ahead:
            yield gon.spec.settings_label, ahead[-1] + 1


def _like(spec: RunSpec) -> RunSpec:
    return RunSpec(dataset=spec.dataset, latent_dim=spec.latent_dim, model="autoencoder")


def _published_numbers(claims: Claims) -> Iterator[Sentence]:
    if "latent_size" not in claims:
        return
    claim = claims["latent_size"]
    passed: list[str | Measurement] = []
    open_ones = []
    for spec in dict.fromkeys(run.setting for run in claim.runs if run.spec.model == "gon"):
        crossing = _measured(
            claims, "latent_size", "crossing", dataset=spec.dataset, latent_dim=spec.latent_dim
        )
        if crossing is None:
            open_ones.append(spec.settings_label)
        else:
            passed += ["; " if passed else "", crossing, f" ({spec.settings_label})"]
    if passed:
        rest = f"; not yet: {listed(open_ones)}" if open_ones else ""
        yield ["Our validation loss falls below the published one in epoch ", *passed, f"{rest}."]
    components = {
        (dataset, latent): _measured(
            claims, "latent_size", "validation_loss", dataset=dataset, latent_dim=latent, model="pca"
        )
        for dataset, latent in _COMPARED
    }
    values = claim.params.published.values
    yield from _said(
        "PCA, which is exact and needs no training, has ",
        components["mnist", 256],
        " on MNIST and ",
        components["fashion-mnist", 256],
        f" on Fashion-MNIST with 256 components, where {values.get('mnist/256', math.nan):.2f} and "
        f"{values.get('fashion-mnist/256', math.nan):.2f} are published for GON; with 64 it has ",
        components["mnist", 64],
        " and ",
        components["fashion-mnist", 64],
        f", where {values.get('mnist/64', math.nan):.2f} and {values.get('fashion-mnist/64', math.nan):.2f} "
        "are. That does not tell where the published numbers come from; it says that with 256 numbers for "
        "an image a linear map does as well.",
    )
    yield from _said(
        "ReLU’s deficit has a likely cause: a share of ",
        _dead(claims, "relu"),
        " of its first layer’s channels passes no gradient at the origin, of ELU’s ",
        _dead(claims, "elu"),
        ".",
    )
    scatter = [
        f"{percent(spread)} after {counted(epochs, 'epoch')}"
        for epochs, spread in _scatter(claim.runs)
        if spread
    ]
    if scatter:
        yield [
            f"Seeds scatter by {listed(scatter)} (standard deviation of the loss of GON, MNIST, latent 64)."
        ]
    pairing = list(_pairing(claims))
    if len(pairing) > 1:
        epochs, paired, unpaired = pairing[-1]
        lesson = "still pays" if paired < 0.9 * unpaired else "no longer pays"
        told = [
            f"{percent(one)} in place of {percent(other)} after {counted(length, 'epoch')}"
            for length, one, other in pairing
        ]
        yield [
            f"Comparing within a seed {lesson} after {counted(epochs, 'epoch')}: GON’s ratio to the "
            f"autoencoder scatters by {listed(told)}."
        ]


def _dead(claims: Claims, activation: str) -> Measurement | None:
    return _measured(
        claims, "activations", "evaluation:dead_units/dead/1", latent_dim=64, activation=activation
    )


def _scatter(runs: Sequence[Run]) -> Iterator[tuple[int, float]]:
    """How much seeds scatter, as a share of the loss, early and late."""
    chosen = [run for run in runs if run.setting == RunSpec(latent_dim=64)]
    for epochs in (1, 5, 50, 500):
        losses = [run.record.loss("validation_loss", epochs) for run in chosen if run.epochs >= epochs]
        found = [math.log(loss) for loss in losses if loss]
        if len(found) >= 3:
            yield epochs, statistics.stdev(found)
