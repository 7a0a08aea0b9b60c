"""The discussion says what the reference records say, and nothing that was not measured."""

import json
import math
import statistics
from pathlib import Path

import pytest

from gon.claims.discussion import discussion
from gon.claims.judging import JudgedClaim, judge
from gon.claims.loading import RunLoader
from gon.claims.params import REFERENCE
from gon.claims.results import Measurement
from gon.claims.study import load_study
from gon.spec import RunSpec


@pytest.fixture(scope="module")
def claims(tmp_path_factory: pytest.TempPathFactory) -> dict[str, JudgedClaim]:
    """The claims as the reference records decide them; nothing that was trained here enters."""
    study = load_study("reference")
    budget = study.budget.model_copy(update={"store": str(tmp_path_factory.mktemp("none"))})
    loader, found = RunLoader(budget), {}
    for claim in study.claims:
        requests = claim.available(budget)
        found[claim.name] = judge(claim, budget, loader.runs(requests), [r for r in requests if r.left_out])
    return found


def told(claims: dict[str, JudgedClaim]) -> list[tuple[str, list[Measurement]]]:
    """Each sentence with a sign for each number, and its numbers."""
    return [
        (
            "".join("#" if isinstance(part, Measurement) else str(part) for part in sentence),
            [part for part in sentence if isinstance(part, Measurement)],
        )
        for paragraph in discussion(claims)
        for sentence in paragraph
    ]


def recorded(spec: RunSpec, epochs: int, *suffix: str) -> dict[str, object]:
    """A file of the reference records, read without this project's code."""
    name = ".".join([f"epochs-{epochs}", *suffix, "json"])
    return dict(json.loads((REFERENCE / spec.digest / name).read_text()))


def history(spec: RunSpec) -> list[dict[str, float]]:
    """The first 50 epochs of a run, from the longest of its trainings, as the report takes them."""
    epochs = next(n for n in (500, 200, 50) if (REFERENCE / spec.digest / f"epochs-{n}.json").exists())
    return list(recorded(spec, epochs)["history"][:50])  # type: ignore[index]


def test_numbers_of_the_second_step_are_those_of_the_evaluations(claims: dict[str, JudgedClaim]) -> None:
    (numbers,) = [numbers for text, numbers in told(claims) if text.startswith("What step would help")]
    for place, inner_steps in ((0, 1), (2, 2)):
        specs = [RunSpec(latent_dim=64, inner_steps=inner_steps, seed=seed) for seed in range(3)]
        losses = [recorded(spec, 50, "inner_step")["losses"] for spec in specs]
        for offset, key in enumerate(("loss/1", "rescaled/0.03")):
            values = [float(entry[key]) for entry in losses]  # type: ignore[index]
            assert numbers[place + offset].value == pytest.approx(statistics.fmean(values), rel=1e-12)


def test_numbers_of_pca_are_those_of_its_records_beside_the_published_ones(
    claims: dict[str, JudgedClaim],
) -> None:
    (found,) = [(text, numbers) for text, numbers in told(claims) if text.startswith("PCA")]
    settings = [("mnist", 256), ("fashion-mnist", 256), ("mnist", 64), ("fashion-mnist", 64)]
    for number, (dataset, latent) in zip(found[1], settings, strict=True):
        record = recorded(RunSpec(model="pca", dataset=dataset, latent_dim=latent), 1)
        assert number.value == record["history"][-1]["validation_loss"]  # type: ignore[index]
    assert "where 0.40 and 1.10 are published" in found[0] and "where 0.59 and 2.40 are" in found[0]


def test_what_pairing_by_seed_gains_is_what_the_records_say(claims: dict[str, JudgedClaim]) -> None:
    (text,) = [text for text, _ in told(claims) if text.startswith("Comparing within a seed")]
    paired, unpaired = [], []
    for dataset in ("mnist", "fashion-mnist"):
        for latent in (64, 256):
            ratios = []
            for seed in range(5):
                spec = RunSpec(dataset=dataset, latent_dim=latent, seed=seed)
                rival = RunSpec(dataset=dataset, latent_dim=latent, seed=seed, model="autoencoder")
                if all((REFERENCE / s.digest / "epochs-50.json").exists() for s in (spec, rival)):
                    first, second = (history(s)[0] for s in (spec, rival))
                    best = min(second["validation_loss"], second["validation_loss_running"])
                    ratios.append((math.log(first["validation_loss"]), math.log(best)))
            if len(ratios) > 1:
                paired.append(statistics.variance([a - b for a, b in ratios]))
                unpaired.append(sum(statistics.variance(side) for side in zip(*ratios, strict=True)))
    shown = [f"{100 * statistics.fmean(found) ** 0.5:.1f}" for found in (paired, unpaired)]
    assert f"scatters by {shown[0]}% in place of {float(shown[1]):.0f}% after 1 epoch" in text


def test_models_are_compared_over_the_seeds_that_both_have(claims: dict[str, JudgedClaim]) -> None:
    (text, numbers), *_ = [entry for entry in told(claims) if entry[0].startswith("With as many parameters")]
    assert "# against # on MNIST and # against # on Fashion-MNIST, after 50 epochs" in text
    for place, dataset in enumerate(("mnist", "fashion-mnist")):
        gon, autoencoder = [], []
        for seed in range(3):
            wide = history(RunSpec(dataset=dataset, latent_dim=256, width=29, seed=seed))
            rival = RunSpec(dataset=dataset, latent_dim=256, seed=seed, model="autoencoder")
            last = history(rival)[-5:]
            gon.append(statistics.fmean(e["validation_loss"] for e in wide[-5:]))
            modes = ("validation_loss", "validation_loss_running")
            autoencoder.append(min(statistics.fmean(entry[mode] for entry in last) for mode in modes))
        found = [number.value for number in numbers[2 * place : 2 * place + 2]]
        assert found == pytest.approx([statistics.fmean(gon), statistics.fmean(autoencoder)], rel=1e-12)


def test_training_with_two_steps_of_softplus_is_compared_seed_by_seed(claims: dict[str, JudgedClaim]) -> None:
    ((_, (two, one, autoencoder)),) = [
        entry for entry in told(claims) if entry[0].startswith("Networks with Softplus")
    ]
    trained = {
        seed: RunSpec(latent_dim=64, activation="softplus", inner_steps=2, seed=seed) for seed in range(3)
    }
    kept = [s for s, spec in trained.items() if (REFERENCE / spec.digest / "epochs-50.json").exists()]
    assert kept
    for number, settings in (
        (two, {"activation": "softplus", "inner_steps": 2}),
        (one, {"activation": "softplus"}),
        (autoencoder, {"model": "autoencoder"}),
    ):
        assert [value.seed for value in number.values] == kept
        mode = "validation_loss_running" if number is autoencoder else "validation_loss"
        losses = [
            statistics.fmean(
                entry[mode] for entry in history(RunSpec(latent_dim=64, seed=seed, **settings))[-5:]
            )
            for seed in kept
        ]
        assert number.value == pytest.approx(statistics.fmean(losses), rel=1e-12)


def test_glo_is_said_to_gain_from_more_steps_that_fit_its_latents(claims: dict[str, JudgedClaim]) -> None:
    ((_, numbers),) = [entry for entry in told(claims) if entry[0].startswith("GLO’s loss is an upper bound")]
    specs = [RunSpec(model="glo", latent_dim=64, seed=number) for number in range(3)]
    kept = [spec for spec in specs if (REFERENCE / spec.digest / "epochs-50.fitting.json").exists()]
    for number, steps in zip(numbers, (100, 200), strict=True):
        losses = [recorded(spec, 50, "fitting")["losses"][f"0.001/{steps}"] for spec in kept]  # type: ignore[index]
        assert number.value == pytest.approx(statistics.fmean(losses), rel=1e-12)


def test_what_was_not_measured_is_not_said(claims: dict[str, JudgedClaim], tmp_path: Path) -> None:
    assert discussion({}) == []
    without = {name: claim for name, claim in claims.items() if name != "two_step"}
    assert not any("What step would help" in text for text, _ in told(without))
    study = load_study("quick")
    empty = judge(study.claim("latent_size"), study.budget, [], [])
    assert told({"latent_size": empty}) == []


def test_every_number_leads_to_its_runs(claims: dict[str, JudgedClaim]) -> None:
    numbers = [number for _, numbers in told(claims) for number in numbers]
    assert len(numbers) > 15
    there = {run.spec.digest for claim in claims.values() for run in claim.runs}
    assert all(number.runs and set(number.runs) <= there for number in numbers)
