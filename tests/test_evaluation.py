"""Evaluations from weights, on small trained runs of real images, against the same written out plainly."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gon.catalogue import EVALUATIONS, MODELS
from gon.data import prepared as data
from gon.data.acquire import ensure
from gon.errors import UsageError
from gon.runs.store import RunStore
from gon.runs.train import evaluate_run, train
from gon.runs.trajectory import Trajectory
from gon.science import evaluation
from gon.science.baselines import (
    GLO_FITTING_LEARNING_RATE,
    GLO_FITTING_STEPS,
    Autoencoder,
    GenerativeLatentOptimisation,
    VariationalAutoencoder,
)
from gon.science.evaluation import evaluate
from gon.science.gon import GradientOriginNetwork
from gon.science.measure import to_float, validation_loss
from gon.science.method import origin_latent, reconstruction_loss
from gon.science.model import Model
from gon.science.models import build_model
from gon.science.protocols import running_validation_loss
from gon.spec import RunSpec

BATCH = 32
VALIDATION = 40
"""Images: a batch and a quarter, so that the second is filled up."""
WITH_ENCODER = ["autoencoder", "tied_autoencoder", "vae"]


def spec_of(model: str = "gon", **settings: object) -> RunSpec:
    chosen: dict[str, object] = {
        "latent_dim": 8,
        "width": 4,
        "batch_size": BATCH,
        "learning_rate": 1e-3,
        "train_images": 640,
    }
    if model == "pca":  # knows none of the settings of a training
        chosen = {"latent_dim": 8, "train_images": 640}
    return RunSpec.from_mapping({"model": model, **chosen, "validation_images": VALIDATION, **settings})


@pytest.fixture(scope="module")
def mnist() -> data.PreparedImages:
    ensure("mnist")
    return data.load("mnist")


@pytest.fixture(scope="module")
def images(mnist: data.PreparedImages) -> Tensor:
    return torch.from_numpy(np.array(mnist.validation[:VALIDATION]))


@pytest.fixture(scope="module")
def trained(mnist: data.PreparedImages, images: Tensor) -> Callable[..., Model]:
    """Models after two epochs of twenty steps. They are shared: a test that changes one copies it."""
    known: dict[str, Model] = {}

    def train(model: str = "gon", **settings: object) -> Model:
        spec = spec_of(model, **settings)
        if spec.digest not in known:
            run = Trajectory(spec, torch.from_numpy(np.array(mnist.train[:640])), images)
            for _ in range(1 if model == "pca" else 2):
                run.train_epoch()
            known[spec.digest] = run.model
        return known[spec.digest]

    return train


def batches(images: Tensor) -> Iterator[tuple[Tensor, int]]:
    """Batches in float64, and how many of each count."""
    x = to_float(images).double()
    yield x[:BATCH], BATCH
    yield torch.cat([x[BATCH:], x[: 2 * BATCH - VALIDATION]]), VALIDATION - BATCH


def decoder_of(model: Model) -> nn.Sequential:
    """A copy of the decoder in float64, in training mode."""
    decoder = copy.deepcopy(model.decoder)
    assert isinstance(decoder, nn.Sequential)
    return decoder.double().train()


def errors(decode: Callable[[Tensor], Tensor], z: Tensor, x: Tensor) -> Tensor:
    return (decode(z) - x).detach().square().flatten(1).sum(dim=1)


def kept(model: Model) -> list[object]:
    """Everything about a model that an evaluation must leave alone."""
    tensors = [*model.state_dict().values(), torch.random.get_rng_state()]
    fitting = [getattr(model, name, None) for name in ("fitting_steps", "fitting_learning_rate")]
    modes = [module.training for module in model.modules()]
    gradients = [parameter.grad is None for parameter in model.parameters()]
    return [[t.numpy().tobytes() for t in tensors], fitting, modes, gradients]


@pytest.mark.parametrize("model", ["gon", "gon_detached"])
@pytest.mark.parametrize("activation", ["elu", "relu", "softplus"])
def test_a_second_inner_step_written_out(
    model: str, activation: str, trained: Callable[..., Model], images: Tensor
) -> None:
    gon = trained(model, activation=activation)
    found = evaluate(gon, images, "inner_step")
    decoder = decoder_of(gon)
    totals = dict.fromkeys(found, 0.0)
    for x, counted in batches(images):
        z1, z2 = (origin_latent(decoder, x, 8, batch_size=BATCH, inner_steps=n).detach() for n in (1, 2))
        lengths, changes = z1.flatten(1).norm(dim=1), (z2 - z1).flatten(1).norm(dim=1)
        per_image = {
            "relative_change": changes / lengths,
            "loss/1": errors(decoder, z1, x),
            "loss/2": errors(decoder, z2, x),
        }
        for fraction in (0.01, 0.03, 0.1, 0.3, 1):
            z = z1 + (z2 - z1) * (fraction * lengths / changes)[:, None, None, None]
            per_image[f"rescaled/{fraction}"] = errors(decoder, z, x)
        for name, values in per_image.items():
            totals[name] += values[:counted].sum().item() / VALIDATION
    assert found == {name: pytest.approx(value, rel=2e-4) for name, value in totals.items()}
    assert 0 < found["relative_change"] < 0.5


def test_a_rescaled_second_step_helps_where_its_length_is_right(
    trained: Callable[..., Model], images: Tensor
) -> None:
    found = evaluate(trained(), images, "inner_step")
    assert found["relative_change"] < 1e-3
    assert found["loss/2"] == pytest.approx(found["loss/1"], rel=1e-3)
    assert min(found[f"rescaled/{f}"] for f in (0.01, 0.03, 0.1)) < 0.998 * found["loss/1"]


@pytest.mark.parametrize("inner_steps", [1, 2])
def test_the_losses_after_one_and_two_steps_are_the_validation_losses_of_such_models(
    inner_steps: int, trained: Callable[..., Model], images: Tensor
) -> None:
    """With equal weights, bit for bit, whatever the number of steps that they were trained with."""
    model = trained(inner_steps=inner_steps)
    other = build_model(spec_of(inner_steps=3 - inner_steps))
    other.load_state_dict(model.state_dict())
    found = evaluate(model, images, "inner_step")
    assert found[f"loss/{inner_steps}"] == validation_loss(model, images)
    assert found[f"loss/{3 - inner_steps}"] == validation_loss(other, images)
    assert evaluate(other, images, "inner_step") == found


def with_biases(activation: str, bias: float) -> GradientOriginNetwork:
    """An untrained GON with one bias in all batch norms."""
    torch.manual_seed(0)
    model = build_model(spec_of(activation=activation))
    assert isinstance(model, GradientOriginNetwork)
    with torch.no_grad():
        for norm in model.decoder:
            if isinstance(norm, nn.BatchNorm2d):
                norm.bias.fill_(bias)
    return model


def test_a_decoder_that_is_dead_at_the_origin_takes_no_step(images: Tensor) -> None:
    """Negative biases everywhere: ReLU lets nothing through, and every number is still finite."""
    model = with_biases("relu", -0.1)
    found = evaluate(model, images, "inner_step")
    assert found.pop("relative_change") == 0
    assert all(loss == found["loss/1"] and math.isfinite(loss) for loss in found.values())
    assert evaluate(model, images, "dead_units") == {
        "dead/1": 1,
        "dead/2": 1,
        "dead/3": 1,
        "negative_bias/1": 1,
    }


def test_dead_units_of_known_decoders(images: Tensor) -> None:
    # The first layer is above zero all over; behind it, ReLU cuts parts of an image, never all of it.
    alive = {"dead/1": 0, "dead/2": 0, "dead/3": 0, "negative_bias/1": 0}
    assert evaluate(with_biases("relu", 0.1), images, "dead_units") == alive
    # On the kink itself training takes a slope of 1/2: that is not dead, see `ACTIVATION_DERIVATIVES`.
    assert evaluate(with_biases("relu", 0.0), images, "dead_units")["dead/1"] == 0
    # The same negative biases stop no other activation, unless they are far out: exp(-7) is below 0.001.
    for activation in ("elu", "tanh", "leaky_relu", "softplus"):
        found = evaluate(with_biases(activation, -0.1), images, "dead_units")
        assert (found["dead/1"], found["negative_bias/1"]) == (0, 1), activation
    model = with_biases("elu", 0.0)
    with torch.no_grad():
        bias = dict(model.decoder.named_parameters())["norm1.bias"]
        bias[:4] = -7.0
        bias[4:6] = -6.5
    found = evaluate(model, images, "dead_units")
    assert (found["dead/1"], found["negative_bias/1"]) == (4 / 16, 6 / 16)


@pytest.mark.parametrize("model", ["gon", "glo", "autoencoder"])
def test_dead_units_written_out(model: str, trained: Callable[..., Model], images: Tensor) -> None:
    """Through the plain decoder, with a whole batch at the origin."""
    chosen = trained(model, activation="relu")
    found = evaluate(chosen, images, "dead_units")
    h, layer = torch.zeros(BATCH, 8, 1, 1, dtype=torch.float64), 0
    for module in decoder_of(chosen):
        if isinstance(module, nn.ReLU):
            layer += 1
            alive = (h > 0).any(dim=3).any(dim=2).any(dim=0)
            assert found[f"dead/{layer}"] == pytest.approx(1 - alive.double().mean().item())
        h = module(h)
    bias = dict(decoder_of(chosen).named_parameters())["norm1.bias"]
    assert found["negative_bias/1"] == np.mean(bias.detach().numpy() < 0) == found["dead/1"]
    assert 0 < found["dead/1"] < 1


@pytest.mark.parametrize("model", [name for name, entry in MODELS.items() if not entry.exact])
def test_a_scale_of_one_is_the_validation_loss(
    model: str, trained: Callable[..., Model], images: Tensor
) -> None:
    chosen = trained(model)
    found = evaluate(chosen, images, "latent_scale")
    assert list(found) == [f"scale/{factor}" for factor in ("0.1", "0.3", "1", "3", "10", "100")]
    if chosen.noise is None or model == "vae":
        assert found["scale/1"] == validation_loss(chosen, images)
    assert found["scale/1"] == pytest.approx(validation_loss(chosen, images), rel=1e-6)
    if model == "implicit_gon":  # no batch norm takes the scale away
        assert found["scale/100"] > 1.1 * found["scale/1"]
    if model == "gon":
        assert found["scale/100"] == pytest.approx(found["scale/1"], rel=1e-3)


def test_scaled_latents_written_out(trained: Callable[..., Model], images: Tensor) -> None:
    model = trained("autoencoder")
    assert isinstance(model, Autoencoder)
    found, plain = evaluate(model, images, "latent_scale"), copy.deepcopy(model).double()
    for factor in (0.1, 3, 100):
        total = 0.0
        for x, counted in batches(images):
            z = plain.head(plain.trunk(x)) * factor
            total += errors(plain.decoder, z, x)[:counted].sum().item()
        assert found[f"scale/{factor}"] == pytest.approx(total / VALIDATION, rel=1e-4)


@pytest.mark.parametrize("model", ["vae", "variational_gon"])
def test_distances_from_the_prior_written_out(
    model: str, trained: Callable[..., Model], images: Tensor
) -> None:
    """One distance at a time; what is drawn moves the decoder's images alone."""
    chosen = trained(model)
    before = kept(chosen)
    found = evaluate(chosen, images, "prior")
    assert kept(chosen) == before
    plain, x = copy.deepcopy(chosen).train(), to_float(images)
    first, last = x[:BATCH], torch.cat([x[BATCH:], x[: 2 * BATCH - VALIDATION]])
    with torch.no_grad():
        z = torch.cat([plain.encode(first), plain.encode(last)[: VALIDATION - BATCH]])
    mean = z.double().mean(dim=0)
    assert found["offset"] == pytest.approx(mean.square().sum().sqrt().item(), rel=1e-5)
    assert found["spread"] ** 2 == pytest.approx(
        (z - mean).square().flatten(1).sum(1).mean().item(), rel=1e-5
    )

    def nearest(drawn: Iterable[Tensor]) -> float:
        to_others = [min((y - other).square().sum().item() for other in x[VALIDATION // 2 :]) for y in drawn]
        return float(np.mean(to_others))

    drawn = plain.draw(640, torch.Generator().manual_seed(0)).split(BATCH)
    with torch.no_grad():
        from_prior = torch.cat([plain.decode(batch) for batch in drawn])
        moved = torch.cat([plain.decode(batch + mean.float()) for batch in drawn])
    assert found["nearest/prior"] == pytest.approx(nearest(from_prior), rel=1e-4)
    assert found["nearest/moved"] == pytest.approx(nearest(moved), rel=1e-4)
    assert found["nearest/images"] == pytest.approx(nearest(x[: VALIDATION // 2]), rel=1e-5)
    assert len(found) == 5
    assert "nearest/images" not in evaluate(chosen, images[:1], "prior")


@pytest.mark.parametrize("model", WITH_ENCODER)
def test_running_statistics_written_out(model: str, trained: Callable[..., Model], images: Tensor) -> None:
    """In evaluation mode, all images at once, and the decoder in its plain form; of a VAE the means."""
    chosen = trained(model)
    plain = copy.deepcopy(chosen).double().eval()
    x = to_float(images).double()
    if isinstance(plain, VariationalAutoencoder):
        z = plain.mean(plain.trunk(x))
    else:
        z = plain.encode(x)
    decoder = plain.decoder
    assert isinstance(decoder, nn.Sequential)
    expected = errors(decoder, z, x).mean().item()
    found = running_validation_loss(chosen, images)
    assert found == pytest.approx(expected, rel=1e-5)
    assert found == evaluate(chosen, images, "protocols")["running_statistics"]
    assert found != pytest.approx(validation_loss(chosen, images), rel=1e-3)


def test_glo_fits_with_running_statistics_too(trained: Callable[..., Model], images: Tensor) -> None:
    model = trained("glo")
    decoder = decoder_of(model).eval()
    total = 0.0
    for x, counted in batches(images):
        total += (
            errors(decoder, fitted(decoder, x, steps=GLO_FITTING_STEPS, rate=GLO_FITTING_LEARNING_RATE), x)[
                :counted
            ]
            .sum()
            .item()
        )
    assert running_validation_loss(model, images) == pytest.approx(total / VALIDATION, rel=1e-4)


def fitted(decoder: nn.Sequential, x: Tensor, *, steps: int, rate: float) -> Tensor:
    """Latents of GLO, fitted by PyTorch's own Adam."""
    z = torch.zeros(len(x), 8, 1, 1, dtype=x.dtype, requires_grad=True)
    optimizer = torch.optim.Adam([z], rate)
    for _ in range(steps):
        optimizer.zero_grad()
        reconstruction_loss(decoder(z), x, BATCH).backward(inputs=[z])
        optimizer.step()
    return z


def test_fitting_steps_of_glo_written_out(
    trained: Callable[..., Model], images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "FITTING_STEPS", (2, 20))
    model = trained("glo")
    found = evaluate(model, images, "fitting")
    assert list(found) == ["2", "20", "0.001/2", "0.001/20", "0.003/2", "0.003/20"]
    decoder = decoder_of(model)
    for name, steps, rate in (("20", 20, 0.001), ("0.001/20", 20, 0.001), ("0.003/2", 2, 0.003)):
        total = 0.0
        for x, counted in batches(images):
            total += errors(decoder, fitted(decoder, x, steps=steps, rate=rate), x)[:counted].sum().item()
        assert found[name] == pytest.approx(total / VALIDATION, rel=1e-4), name
    # The names without a size are those of the model's own, whatever it is.
    other = copy.deepcopy(model)
    other.fitting_learning_rate = 0.003  # type: ignore[assignment]
    own = evaluate(other, images, "fitting")
    assert own == {**found, "2": found["0.003/2"], "20": found["0.003/20"]}


def test_200_fitting_steps_are_among_those_shown() -> None:
    assert {50, 200} <= set(evaluation.FITTING_STEPS)


@pytest.mark.parametrize("training_mode", [True, False])
@pytest.mark.parametrize("model", list(MODELS))
def test_every_evaluation_leaves_the_model_as_it_was(
    model: str,
    training_mode: bool,
    trained: Callable[..., Model],
    images: Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or refuses the model; and gives finite numbers from 0 up, the same in either mode of the model."""
    monkeypatch.setattr(evaluation, "FITTING_STEPS", (1, 2))
    original = copy.deepcopy(trained(model))
    if isinstance(original, GenerativeLatentOptimisation):
        original.fitting_steps = 3  # for speed
    chosen = copy.deepcopy(original).train(training_mode)
    before = kept(chosen)
    for name in EVALUATIONS:
        try:
            found = evaluate(chosen, images, name)
        except UsageError as error:
            assert model not in str(error).split("made of")[1].split(", ")
            continue
        assert found and all(math.isfinite(value) and value >= 0 for value in found.values())
        assert kept(chosen) == before, name
        assert found == evaluate(original, images, name)
    assert math.isfinite(running_validation_loss(chosen, images))
    assert kept(chosen) == before


def test_running_statistics_between_epochs_do_not_change_a_training(
    mnist: data.PreparedImages, images: Tensor
) -> None:
    train_images = torch.from_numpy(np.array(mnist.train[:640]))
    runs = [Trajectory(spec_of("vae"), train_images, images) for _ in range(2)]
    for _ in range(2):
        for run in runs:
            run.train_epoch()
        running_validation_loss(runs[1].model, images)
    assert kept(runs[0].model) == kept(runs[1].model)
    assert [e.train_loss for e in runs[0].history] == [e.train_loss for e in runs[1].history]


def test_evaluations_that_mean_nothing_for_a_model_are_refused(
    tmp_path: Path, trained: Callable[..., Model], images: Tensor
) -> None:
    refused = {
        "fitting": ["gon", "autoencoder", "vae", "pca"],
        "inner_step": ["autoencoder", "glo", "variational_gon", "implicit_gon", "pca"],
        "latent_scale": ["pca"],
        "dead_units": ["variational_gon", "implicit_gon", "pca"],
        "prior": ["gon", "autoencoder", "glo", "implicit_gon", "pca"],
    }
    for name, models in refused.items():
        for model in models:
            with pytest.raises(UsageError, match=f"'{name}' is not allowed for the model '{model}'; it is"):
                evaluate(trained(model), images, name)
    with pytest.raises(UsageError, match="'speed' is not known; allowed are protocols, fitting, inner_step"):
        evaluate(trained(), images, "speed")
    # Nothing is left beside the record, and what is allowed can be read again.
    spec, store = spec_of(train_images=64), RunStore(tmp_path)
    train(spec, 1, store)
    with pytest.raises(UsageError, match="'fitting' is not allowed"):
        evaluate_run(spec, 1, store, "fitting")
    assert not store.evaluation_path(spec, 1, "fitting").exists()
    for name in EVALUATIONS:
        if name not in ("fitting", "prior"):
            evaluate_run(spec, 1, store, name)
            assert store.load_evaluation(spec, 1, name)
    assert store.load_evaluation(spec, 1, "latent_scale")["scale/1"] == pytest.approx(
        store.load(spec, 1).last.validation_loss, rel=1e-6
    )


def test_a_decoder_in_either_mode_is_the_plain_one(trained: Callable[..., Model]) -> None:
    """The fast form, in both modes: its outputs, and in training mode its running statistics."""
    z = torch.randn(BATCH, 8, 1, 1, generator=torch.Generator().manual_seed(0))
    for mode in (True, False):
        fast, plain = (copy.deepcopy(trained("autoencoder")).train(mode) for _ in range(2))
        assert isinstance(fast, Autoencoder) and isinstance(plain, Autoencoder)
        for _ in range(3):
            torch.testing.assert_close(fast.decode(z), plain.decoder(z), rtol=1e-4, atol=1e-5)
        for ours, theirs in zip(fast.buffers(), plain.buffers(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
            assert mode or torch.equal(ours, theirs)
