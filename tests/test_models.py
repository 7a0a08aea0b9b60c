"""The models that GON is compared with, and its variants, on real images."""

import copy
import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from narrow import there
from sklearn.decomposition import PCA as ReferencePCA
from torch import Tensor

from gon.catalogue import MODELS
from gon.claims.figures import draw_images
from gon.data import prepared as data
from gon.data.acquire import ensure
from gon.errors import GonError, UsageError
from gon.runs.checkpoint import state_of
from gon.runs.store import RunStore
from gon.runs.train import evaluate_run, train
from gon.runs.trajectory import Trajectory, load_split
from gon.science import evaluation
from gon.science.baselines import PCA, GenerativeLatentOptimisation, TiedAutoencoder, variational_loss
from gon.science.gon import GradientOriginNetwork, ImplicitGON, VariationalGON
from gon.science.images import make_images
from gon.science.measure import kept_statistics, to_float, validation_loss
from gon.science.method import origin_latent, reconstruction_loss
from gon.science.model import Model
from gon.science.models import build_model
from gon.science.protocols import PROTOCOLS
from gon.spec import RunSpec

SMALL = {
    "variational_gon": {"latent_dim": 16, "width": 8},
    "implicit_gon": {"latent_dim": 16, "width": 32},
}


COMPILED = ["autoencoder", "tied_autoencoder", "vae", "variational_gon", "implicit_gon"]
"""Beside GON and the detached GON, see tests/test_science.py."""
IDLE_BIASES = [f"decoder.deconv{i}.bias" for i in (1, 2, 3)]


def spec_of(model: str, **settings: object) -> RunSpec:
    chosen = {"train_images": 640, "validation_images": 200, **SMALL.get(model, {}), **settings}
    return RunSpec.from_mapping({"model": model, **chosen})


@pytest.fixture(scope="session")
def mnist() -> data.PreparedImages:
    ensure("mnist")
    return data.load("mnist")


@pytest.fixture()
def images(mnist: data.PreparedImages) -> Tensor:
    return torch.from_numpy(np.array(mnist.train[:640]))


def start(spec: RunSpec, images: Tensor) -> Trajectory:
    return Trajectory(spec, images, images[:200])


def build(spec: RunSpec) -> Model:
    torch.manual_seed(spec.seed)
    return build_model(spec)


@pytest.mark.parametrize("model", [name for name, entry in MODELS.items() if not entry.exact])
def test_a_step_of_every_model_reduces_its_loss(model: str, images: Tensor) -> None:
    """The objective on one batch, whose random draws are the same each time, and the recorded loss."""
    run = start(spec_of(model, learning_rate=1e-3), images)
    batch = torch.arange(64)

    def objective() -> float:
        if run.model.noise is not None:
            run.model.noise.manual_seed(0)
        return run.model.losses(to_float(images[batch]), batch)[0].item()

    before = objective()
    losses = []
    for _ in range(15):
        if run.model.noise is not None:
            run.model.noise.manual_seed(0)
        losses.append(run.step(batch).item())
    assert objective() < before
    assert losses[-1] < 0.98 * losses[0]


@pytest.mark.parametrize("model", ["gon_detached", "autoencoder", "tied_autoencoder", "glo", "vae"])
def test_models_of_a_seed_share_decoder_and_batches(model: str, images: Tensor) -> None:
    gon, other = start(spec_of("gon", seed=3), images), start(spec_of(model, seed=3), images)
    theirs = dict(other.model.named_parameters())
    for name, parameter in gon.model.named_parameters():
        assert torch.equal(parameter, theirs[name]), name
    seen: dict[int, list[Tensor]] = {0: [], 1: []}
    for i, run in enumerate((gon, other)):
        step = run.step

        def noting(batch: Tensor, i: int = i, step: Callable[[Tensor], Tensor] = step) -> Tensor:
            seen[i].append(batch)
            return step(batch)

        run.step = noting  # type: ignore[method-assign]
        run.train_steps(10)
    assert len(seen[0]) == 10
    assert torch.equal(torch.stack(seen[0]), torch.stack(seen[1]))


def decoder_parameters(n: int, w: int, c: int) -> int:
    layers = [(n, 4 * w), (4 * w, 2 * w), (2 * w, w), (w, c)]
    return sum(16 * a * b + b for a, b in layers) + 2 * (4 * w + 2 * w + w)


@pytest.mark.parametrize("n", [64, 256])
@pytest.mark.parametrize(("dataset", "c"), [("mnist", 1), ("cifar-10", 3)])
def test_parameter_counts(n: int, dataset: str, c: int) -> None:
    w, decoder = 16, decoder_parameters(n, 16, c)
    trunk = sum(16 * a * b + b for a, b in [(c, w), (w, 2 * w), (2 * w, 4 * w)]) + 2 * (w + 2 * w + 4 * w)
    head = 16 * 4 * w * n + n
    expected = {
        "gon": decoder,
        "gon_detached": decoder,
        "autoencoder": decoder + trunk + head,
        "tied_autoencoder": decoder + (w + 2 * w + 4 * w + n) + 2 * (w + 2 * w + 4 * w),
        "glo": decoder + 640 * n,
        "vae": decoder + trunk + 2 * head,
        "pca": (n + 1) * 1024 * c,
        "variational_gon": decoder + 2 * (n * n + n),
    }
    for model, count in expected.items():
        spec = RunSpec(dataset=dataset, model=model, latent_dim=n, train_images=640)
        assert sum(p.numel() for p in build(spec).parameters()) == count, model
    implicit = RunSpec(dataset=dataset, model="implicit_gon", latent_dim=n, width=256)
    sizes = [2 + n, 256, 256, 256, 256, c]
    count = sum(a * b + b for a, b in zip(sizes, sizes[1:], strict=False))
    assert sum(p.numel() for p in build(implicit).parameters()) == count


def test_tied_weights_are_tied(images: Tensor) -> None:
    """The encoder is the transpose of the decoder's own kernels, written out here with library calls."""
    model = build(spec_of("tied_autoencoder")).double()
    assert isinstance(model, TiedAutoencoder)
    own = {name for name, _ in model.named_parameters() if not name.startswith("decoder.")}
    assert all(name.startswith(("biases.", "norms.")) for name in own)
    x = to_float(images[:64]).double()
    kernels = [model.decoder.get_parameter(f"deconv{i}.weight") for i in (4, 3, 2, 1)]
    h = x
    for i, kernel in enumerate(kernels):
        stride, padding = (2, 1) if i < 3 else (1, 0)
        h = F.conv2d(h, kernel, model.biases[i], stride, padding)
        if i < 3:
            h = F.elu(F.batch_norm(h, None, None, training=True))
    torch.testing.assert_close(model.encode(x), h, rtol=1e-10, atol=1e-12)
    # And a gradient reaches the kernels through the encoder too.
    (gradient,) = torch.autograd.grad(model.encode(x).square().sum(), kernels[0])
    assert gradient.abs().max() > 0


def test_glo_fits_validation_latents_and_leaves_the_rest_untouched(images: Tensor) -> None:
    run = start(spec_of("glo"), images)
    run.train_steps(10)
    model = run.model
    assert isinstance(model, GenerativeLatentOptimisation)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generator = torch.random.get_rng_state()
    validation_loss(model, images[:64])
    make_images(model, images, images[:64])
    evaluation.evaluate(model, images[:64], "fitting")
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert torch.equal(torch.random.get_rng_state(), generator)


def test_a_step_of_glo_moves_the_latents_of_its_batch_only(images: Tensor) -> None:
    run = start(spec_of("glo"), images)
    assert isinstance(run.model, GenerativeLatentOptimisation)
    before = run.model.latents.weight.detach().clone()
    assert torch.allclose(before.norm(dim=1), torch.ones(640))
    run.step(torch.arange(64, 128))
    moved = (run.model.latents.weight.detach() != before).any(dim=1)
    assert moved.nonzero().flatten().tolist() == list(range(64, 128))


def test_more_fitting_steps_fit_the_latents_of_glo_better(images: Tensor) -> None:
    run = start(spec_of("glo", learning_rate=1e-3), images)
    for _ in range(8):
        run.train_steps(10)  # no validation, which fits latents too
    losses = evaluation.evaluate(run.model, images[:128], "fitting")
    assert losses["50"] < losses["10"] < losses["1"]


@pytest.mark.parametrize("latent_dim", [8, 64])
def test_pca_is_that_of_sklearn_and_of_a_singular_value_decomposition(
    latent_dim: int, mnist: data.PreparedImages
) -> None:
    images, other = torch.from_numpy(np.array(mnist.train[:3000])), mnist.validation[:1000]
    model = build(RunSpec(model="pca", latent_dim=latent_dim, train_images=3000))
    assert isinstance(model, PCA)
    model.begin_epoch(images)
    found = validation_loss(model, torch.from_numpy(np.array(other)))

    rows = np.asarray(images.flatten(1), dtype=np.float64) / 255
    held_out = other.reshape(len(other), -1).astype(np.float64) / 255
    reference = ReferencePCA(latent_dim, svd_solver="full").fit(rows)
    restored = reference.inverse_transform(reference.transform(held_out))
    assert found == pytest.approx(((restored - held_out) ** 2).sum(axis=1).mean(), rel=1e-6)

    mean = rows.mean(axis=0)
    _, _, directions = np.linalg.svd(rows - mean, full_matrices=False)
    projected = (held_out - mean) @ directions[:latent_dim].T @ directions[:latent_dim] + mean
    assert found == pytest.approx(((projected - held_out) ** 2).sum(axis=1).mean(), rel=1e-6)


def test_no_trained_linear_autoencoder_of_that_size_beats_pca(images: Tensor) -> None:
    """PCA's loss on its own images is the sum of the variances that it leaves out."""
    model = build(spec_of("pca", latent_dim=20))
    assert isinstance(model, PCA)
    model.begin_epoch(images)
    rows = images.flatten(1).double() / 255
    variances = torch.linalg.eigvalsh(torch.cov(rows.T, correction=0))
    assert validation_loss(model, images) == pytest.approx(variances[:-20].sum().item(), rel=1e-6)


@pytest.mark.parametrize("inner_steps", [1, 2])
def test_detached_differs_from_attached_in_the_missing_gradient_only(
    inner_steps: int, images: Tensor
) -> None:
    """In float64, against the plain form with its latent cut loose."""
    x, index = to_float(images[:64]).double(), torch.arange(64)
    attached, detached = (
        build(spec_of(model, inner_steps=inner_steps)).double() for model in ("gon", "gon_detached")
    )
    assert isinstance(attached, GradientOriginNetwork)
    for name, parameter in attached.named_parameters():
        if "norm" in name:
            with torch.no_grad():
                parameter.add_(0.05)
            detached.get_parameter(name).data.copy_(parameter)
    loss, detached_loss = attached.losses(x, index)[0], detached.losses(x, index)[0]
    assert detached_loss.item() == pytest.approx(loss.item(), rel=1e-12)

    z = origin_latent(attached.decoder, x, 64, batch_size=64, inner_steps=inner_steps).detach()
    expected_loss = reconstruction_loss(attached.decoder(z), x, 64)
    names = [name for name, _ in attached.named_parameters() if "norm" in name or "weight" in name]
    expected = torch.autograd.grad(expected_loss, [attached.get_parameter(name) for name in names])
    found = torch.autograd.grad(detached_loss, [detached.get_parameter(name) for name in names])
    full = torch.autograd.grad(loss, [attached.get_parameter(name) for name in names])
    for name, a, b, c in zip(names, found, expected, full, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-14, msg=name)
        assert not torch.allclose(a, c, rtol=1e-3), name


def test_the_implicit_latent_is_that_of_the_authors_script(images: Tensor) -> None:
    """Latents and gradients against a full batch of repeated latents and a double backward, in float64."""
    model = build(spec_of("implicit_gon")).double()
    assert isinstance(model, ImplicitGON)
    x = to_float(images[:64]).double()
    rows = x.permute(0, 2, 3, 1).reshape(64, -1, 1)
    points = model.points.expand(64, -1, -1)  # type: ignore[operator]
    layers = list(model.network.layers)

    def network(z: Tensor) -> Tensor:
        h = torch.cat([points, z.expand(-1, 1024, -1)], dim=-1)
        for layer in layers[:-1]:
            h = torch.sin(30 * layer(h))
        colours: Tensor = layers[-1](h)
        return colours

    z = torch.zeros(64, 1, 16, dtype=torch.float64, requires_grad=True)
    inner = ((network(z) - rows) ** 2).sum(1).mean()
    z = -torch.autograd.grad(inner, z, create_graph=True)[0]
    torch.testing.assert_close(model.encode(x).flatten(1), z.flatten(1), rtol=1e-9, atol=1e-12)
    outer = ((network(z) - rows) ** 2).sum(1).mean()
    loss, _ = model.losses(x, torch.arange(64))
    assert 1024 * loss.item() == pytest.approx(outer.item(), rel=1e-10)
    parameters = list(model.parameters())
    expected = torch.autograd.grad(outer / 1024, parameters)
    for a, b in zip(torch.autograd.grad(loss, parameters), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-14)


def test_the_variational_latent_is_the_negative_gradient_at_the_origin(images: Tensor) -> None:
    """Against central finite differences of the variational loss, in float64."""
    model = build(spec_of("variational_gon", activation="tanh")).double()
    assert isinstance(model, VariationalGON)
    x = to_float(images[:64]).double()

    def loss(z: Tensor) -> float:
        mean, log_variance = model.mean(z), model.log_variance(z)
        y = model.decoder(mean[:, :, None, None])
        return variational_loss(y, x, mean, log_variance).item()

    point = model._point(x, torch.zeros(64, 16, dtype=torch.float64))
    for i, j in [(0, 0), (5, 3), (63, 15)]:
        offset = torch.zeros(64, 16, dtype=torch.float64)
        offset[i, j] = 1e-7
        slope = (loss(offset) - loss(-offset)) / 2e-7
        assert -point[i, j].item() == pytest.approx(slope, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("activation", ["elu", "tanh"])
def test_the_fast_variational_latent_is_the_plain_one(activation: str, images: Tensor) -> None:
    """Latents and what training differentiates, against a double backward, in float64 with draws."""
    model = build(spec_of("variational_gon", activation=activation)).double()
    assert isinstance(model, VariationalGON)
    x = to_float(images[:64]).double()
    at_origin, at_latent = torch.randn(2, 64, 16, dtype=torch.float64).unbind()
    z = torch.zeros(64, 16, dtype=torch.float64, requires_grad=True)

    def loss(z: Tensor, noise: Tensor) -> Tensor:
        mean, log_variance = model.mean(z), model.log_variance(z)
        y = model.decoder((mean + (log_variance / 2).exp() * noise)[:, :, None, None])
        return variational_loss(y, x, mean, log_variance)

    point = -torch.autograd.grad(loss(z, at_origin), z, create_graph=True)[0]
    expected = loss(point, at_latent)
    # The biases in front of batch norms are left out: their gradient is zero.
    names = [name for name, _ in model.named_parameters() if name not in IDLE_BIASES]
    parameters = [model.get_parameter(name) for name in names]
    gradients = torch.autograd.grad(expected, parameters)  # before a batch norm moves its statistics

    torch.testing.assert_close(model._point(x, at_origin), point.detach(), rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(model._fast_point(x, at_origin), point, rtol=1e-8, atol=1e-12)
    found, _ = model.training_loss(x, at_origin, at_latent)
    assert found.item() == pytest.approx(expected.item(), rel=1e-10)
    for name, a, b in zip(names, torch.autograd.grad(found, parameters), gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-10, msg=name)


def test_the_variational_gon_is_evaluated_at_origins_like_those_of_training(
    images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They differ from image to image, are the same at every evaluation, and take no draw of training."""
    model = build(spec_of("variational_gon"))
    assert isinstance(model, VariationalGON) and model.noise is not None
    seen: list[Tensor] = []
    decode = model.decode

    def decode_seen(z: Tensor) -> Tensor:
        seen.append(z.detach())
        return decode(z)

    monkeypatch.setattr(model, "decode", decode_seen)
    before = model.noise.get_state()
    x = to_float(images[:64])
    first, second = model.reconstruct(x), model.reconstruct(x)
    assert (seen[0].std(dim=0) > 0.5).all()  # untrained log-variances are about zero
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert torch.equal(model.noise.get_state(), before)


def test_the_variational_loss_is_cross_entropy_and_divergence() -> None:
    """Against torch's own distributions."""
    torch.manual_seed(0)
    y, x = torch.rand(3, 1, 4, 4), torch.rand(3, 1, 4, 4)
    mean, log_variance = torch.randn(3, 5), torch.randn(3, 5)
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    prior = torch.distributions.Normal(torch.zeros(3, 5), torch.ones(3, 5))
    divergence = torch.distributions.kl_divergence(posterior, prior).sum(1).mean()
    cross_entropy = -(x * y.log() + (1 - x) * (1 - y).log()).sum((1, 2, 3)).mean()
    torch.testing.assert_close(variational_loss(y, x, mean, log_variance), cross_entropy + divergence)


@pytest.mark.parametrize("model", ["vae", "glo", "variational_gon", "implicit_gon", "tied_autoencoder"])
def test_a_continued_run_of_every_model_equals_an_uninterrupted_one(model: str, tmp_path: Path) -> None:
    """Random draws and sparse moments included; so does a shorter run than the one that is there."""
    spec = spec_of(model, train_images=256, validation_images=64)
    whole, parts = RunStore(tmp_path / "whole"), RunStore(tmp_path / "parts")
    train(spec, 3, whole)
    first = train(spec, 1, parts)
    train(spec, 3, parts)
    assert losses_of(whole, spec, 3) == losses_of(parts, spec, 3)
    assert whole.load_steps(spec, 3).tobytes() == parts.load_steps(spec, 3).tobytes()
    assert whole.load_images(spec, 3) == parts.load_images(spec, 3)
    checkpoint = whole.checkpoint_path(spec).read_bytes()
    shorter = train(spec, 1, whole)  # after the longer one
    assert [e.validation_loss for e in shorter.history] == [e.validation_loss for e in first.history]
    assert whole.load_images(spec, 1) == parts.load_images(spec, 1)
    assert whole.checkpoint_path(spec).read_bytes() == checkpoint


@pytest.mark.filterwarnings("default")  # of torch's compiler about parts of torch
@pytest.mark.parametrize(
    "model", [COMPILED[0], *(pytest.param(model, marks=pytest.mark.long) for model in COMPILED[1:])]
)
def test_a_compiled_step_of_every_model_is_the_same_and_continues_bit_for_bit(
    model: str, images: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiled from the second epoch on, with one stop before compiling and one after it."""
    monkeypatch.setattr("gon.runs.trajectory.COMPILE_AFTER_EPOCHS", 1)
    spec = spec_of(model, train_images=256, validation_images=64)
    whole, parts = RunStore(tmp_path / "whole"), RunStore(tmp_path / "parts")
    train(spec, 3, whole)
    for epochs in (1, 2, 3):
        train(spec, epochs, parts)
    assert losses_of(whole, spec, 3) == losses_of(parts, spec, 3)
    assert whole.load_steps(spec, 3).tobytes() == parts.load_steps(spec, 3).tobytes()
    assert whole.load_images(spec, 3) == parts.load_images(spec, 3)
    (session,) = whole.load(spec, 3).sessions
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        assert session.compiled == "no: no C++ compiler"
        return
    assert session.compiled == "from epoch 2"
    monkeypatch.setattr("gon.runs.trajectory.COMPILE_AFTER_EPOCHS", 9)
    eager = RunStore(tmp_path / "eager")
    train(spec, 3, eager)
    assert whole.load_steps(spec, 3) == pytest.approx(eager.load_steps(spec, 3), rel=1e-4)
    assert whole.load_steps(spec, 3).tobytes() != eager.load_steps(spec, 3).tobytes()


def test_compiling_leaves_a_run_as_it_was(images: Tensor) -> None:
    """Weights, buffers, random stream and moments, also where the compiler fails."""
    for model in COMPILED:
        run = start(spec_of(model), images)
        run.step(torch.arange(64))
        for optimizer in run.optimizers:
            optimizer.zero_grad()
        before = copy.deepcopy(state_of(run))
        for failing in (True, False):
            with pytest.MonkeyPatch.context() as patch:
                if failing:
                    patch.setattr(torch, "compile", lambda *_, **__: failed)
                else:  # the step itself, so that this takes no compiler
                    patch.setattr(torch, "compile", lambda loss, **_: loss)
                eager = run.model.training_loss
                run.compile(1)
                assert run.model.training_loss == eager
            assert run.compiled == ("no: ZeroDivisionError" if failing else "from epoch 1")
            assert all(parameter.grad is None for parameter in run.model.parameters())
            after = state_of(run)
            for part in ("model", "optimizers", "batch_order"):
                torch.testing.assert_close(after[part], before[part], rtol=0, atol=0)


def failed(*_: Tensor) -> Tensor:
    raise ZeroDivisionError


@pytest.mark.parametrize("model", ["glo", "pca"])
def test_where_compiling_does_not_pay_a_run_stays_as_it_is(model: str, images: Tensor) -> None:
    run = start(spec_of(model), images)
    run.compile(1)
    assert run.compiled == "no"


def losses_of(store: RunStore, spec: RunSpec, epochs: int) -> list[tuple[float, float | None]]:
    return [(epoch.train_loss, epoch.validation_loss) for epoch in store.load(spec, epochs).history]


@pytest.mark.parametrize("model", list(MODELS))
def test_images_show_the_model_and_leave_the_run_as_it_was(model: str, images: Tensor) -> None:
    run = start(spec_of(model), images)
    run.train_epoch()
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    made = make_images(run.model, images, images[:200])
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert torch.equal(made["originals"], images[:10])
    assert made["reconstructions"].shape == (10, 1, 32, 32)
    assert ("samples" in made) == (model in ("vae", "variational_gon", "implicit_gon"))
    assert ("interpolations" in made) == (model == "implicit_gon")
    # What is shown is what the loss measures.
    run.model.train()
    with torch.no_grad():
        y = run.model.reconstruct(to_float(images[:64]))
    assert (made["reconstructions"] - 255 * y[:10].clamp(0, 1)).abs().max() <= 0.51


@pytest.mark.parametrize("model", list(MODELS))
def test_every_model_takes_colours(model: str) -> None:
    """Three channels, as of CIFAR-10, whose files a machine may lack: random images in their place."""
    images = torch.randint(0, 256, (128, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    images = images.to(torch.uint8)
    spec = spec_of(model, dataset="cifar-10", train_images=128, validation_images=128)
    run = Trajectory(spec, images, images)
    run.train_epoch()
    made = make_images(run.model, images, images)
    assert made["reconstructions"].shape == (10, 3, 32, 32)
    assert there(run.history[0].validation_loss) > 0
    # The loss is a sum over the channels.
    with torch.no_grad(), kept_statistics(run.model):
        x = to_float(images[:64])
        loss = run.model.reconstruction_loss(run.model.reconstruct(x), x)
        errors = (run.model.reconstruct(x) - x).square().sum((1, 2, 3)).mean()
    assert 1024 * loss.item() == pytest.approx(errors.item(), rel=1e-5)
    figure = draw_images([(model, made["reconstructions"].tolist(), [])])
    assert len(figure.axes) == 1


def test_interpolations_begin_and_end_at_the_reconstructions(images: Tensor) -> None:
    run = start(spec_of("implicit_gon"), images)
    made = make_images(run.model, images, images[:200])
    rows = made["interpolations"].view(3, 10, 1, 32, 32).int()
    ends = made["reconstructions"].int()
    for i in range(3):
        assert (rows[i, 0] - ends[2 * i]).abs().max() <= 1
        assert (rows[i, -1] - ends[2 * i + 1]).abs().max() <= 1


def test_the_held_out_split_holds_out_the_last_training_images(mnist: data.PreparedImages) -> None:
    train_images, validation_images, _ = load_split(RunSpec(split="held_out"))
    assert (len(train_images), len(validation_images)) == (50_000, 10_000)
    assert torch.equal(train_images, torch.from_numpy(np.array(mnist.train[:50_000])))
    assert torch.equal(validation_images, torch.from_numpy(np.array(mnist.train[50_000:])))


def test_protocols_differ_where_they_should(mnist: data.PreparedImages, images: Tensor) -> None:
    run = start(spec_of("gon"), images)
    for _ in range(3):
        run.train_epoch()
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    found = evaluation.evaluate(run.model, images, "protocols")
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert run.model.training
    assert list(found) == [protocol.name for protocol in PROTOCOLS]
    assert found["batch_statistics"] == pytest.approx(validation_loss(run.model, images), rel=1e-6)

    # Each other one, written out with the plain form of the latent.
    def by_hand(size: int, divisor: int, training_mode: bool) -> float:
        model = run.model
        assert isinstance(model, GradientOriginNetwork)
        total = 0.0
        with kept_statistics(model):
            model.train(training_mode)
            for x in to_float(images).split(size):
                z = origin_latent(model.decoder, x, 64, batch_size=divisor).detach()
                total += (model.decoder(z) - x).square().sum().item()
        model.train()
        return total / len(images)

    assert found["running_statistics"] == pytest.approx(by_hand(64, 64, False), rel=1e-5)
    assert found["batches_of_16"] == pytest.approx(by_hand(16, 64, True), rel=1e-5)
    assert found["batches_of_16_own_divisor"] == pytest.approx(by_hand(16, 16, True), rel=1e-5)
    assert found["running_statistics"] > 1.05 * found["batch_statistics"]
    assert found["noise_1"] > 1.05 * found["batch_statistics"]

    autoencoder = start(spec_of("autoencoder"), images)
    autoencoder.train_epoch()
    found = evaluation.evaluate(autoencoder.model, images, "protocols")
    assert set(found) == {"batch_statistics", "running_statistics", "batches_of_16", "batches_of_256"}
    assert found["batch_statistics"] == pytest.approx(validation_loss(autoencoder.model, images), rel=1e-6)


def test_an_evaluation_belongs_to_its_run(tmp_path: Path) -> None:
    store, spec = RunStore(tmp_path), spec_of("gon", train_images=128, validation_images=64)
    with pytest.raises(GonError, match=r"epochs-1\.json: cannot be read \(No such file or directory\)"):
        evaluate_run(spec, 1, store, "protocols")
    record = train(spec, 1, store)
    evaluate_run(spec, 1, store, "protocols")
    losses = store.load_evaluation(spec, 1, "protocols")
    assert losses["batch_statistics"] == pytest.approx(record.last.validation_loss, rel=1e-6)

    path = store.evaluation_path(spec, 1, "protocols")
    good = path.read_text()
    for bad, complaint in (
        (good[:40], "cannot be read as JSON"),
        (good.replace(spec.digest, "0" * 16), "altered after it was written"),
        (good.replace('"losses"', '"other"'), "the key 'losses' is missing"),
        (good.replace('"batch_statistics":', '"batch_statistics":-'), "altered after it was written"),
    ):
        assert bad != good
        path.write_text(bad)
        with pytest.raises(GonError, match=complaint):
            store.load_evaluation(spec, 1, "protocols")
        assert path.read_text() == bad

    path.unlink()
    store.weights_path(spec, 1).unlink()
    with pytest.raises(GonError, match=r"weights\.pt: not there"):
        evaluate_run(spec, 1, store, "protocols")


def test_pca_is_one_pass_whatever_the_budget(tmp_path: Path) -> None:
    spec = spec_of("pca")
    assert spec.epochs_at(500) == 1
    with pytest.raises(UsageError, match=r"epochs: 2 is not allowed for the model 'pca'.*; 1 is"):
        train(spec, 2, RunStore(tmp_path))
    record = train(spec, 1, RunStore(tmp_path))
    assert (record.epochs, record.sessions[0].dtype) == (1, "float64")
    with pytest.raises(UsageError, match=r"latent_dim: 2000 is not allowed for PCA of 1024 values"):
        build(spec_of("pca", latent_dim=2000))


@pytest.mark.parametrize(
    ("model", "setting"),
    [
        ("autoencoder", {"inner_steps": 2}),
        ("pca", {"learning_rate": 1e-3}),
        ("pca", {"width": 8}),
        ("implicit_gon", {"activation": "relu"}),
        ("glo", {"inner_steps": 5}),
    ],
)
def test_a_setting_without_effect_is_refused(model: str, setting: dict[str, object]) -> None:
    ((key, value),) = setting.items()
    with pytest.raises(
        UsageError, match=rf"{key}: {value!r} has no effect on the model '{model}'; allowed is"
    ):
        RunSpec.from_mapping({"model": model, **setting})


def test_labels_tell_models_apart() -> None:
    specs = [spec_of(model) for model in MODELS]
    specs += [spec_of("gon", inner_steps=2), dataclasses.replace(spec_of("gon"), split="held_out")]
    assert len({spec.label for spec in specs}) == len(specs) == len({spec.digest for spec in specs})
