"""The method: latents, losses, traps, and trajectories, on real images."""

import copy
import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gon.catalogue import ACTIVATIONS, MODELS
from gon.data import prepared as data
from gon.data.acquire import ensure
from gon.errors import GonError, UsageError
from gon.runs.checkpoint import restore, state_of
from gon.runs.store import RunStore
from gon.runs.train import train
from gon.runs.trajectory import Trajectory
from gon.science.convolutions import transpose, transposed_convolution
from gon.science.fast import fast_decode, fast_origin_latent
from gon.science.gon import ORIGIN_PASSES, GradientOriginNetwork
from gon.science.measure import to_float, validation_loss
from gon.science.method import origin_latent, reconstruction_loss
from gon.science.networks import ACTIVATION_MODULES, decoder
from gon.science.optimizer import Adam
from gon.spec import RunSpec

SMOKE = RunSpec(train_images=640, validation_images=200)

# Losses of the first steps (SSE per image), one list per model.
GOLDEN_ONE = [201.8188, 199.5206, 197.0135, 191.9892, 187.8904]
GOLDEN_TWO = [167.2466, 162.66, 158.1211, 158.5939, 157.0438]


@pytest.fixture(scope="session")
def mnist() -> data.PreparedImages:
    ensure("mnist")
    return data.load("mnist")


@pytest.fixture()
def images(mnist: data.PreparedImages) -> Tensor:
    return torch.from_numpy(np.array(mnist.train[:8]))


def build(spec: RunSpec, origin_pass: str = "fast") -> GradientOriginNetwork:
    torch.manual_seed(0)
    return GradientOriginNetwork(spec, origin_pass)


@pytest.mark.parametrize(
    ("latent_dim", "count"), [(32, 74_321), (64, 107_089), (128, 172_625), (256, 303_697)]
)
def test_parameter_counts_are_those_of_the_authors_code(latent_dim: int, count: int) -> None:
    model = build(RunSpec(latent_dim=latent_dim))
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_every_activation_on_offer_has_a_module() -> None:
    assert set(ACTIVATION_MODULES) == set(ACTIVATIONS)


# ReLU and LeakyReLU have a kink at 0, where the batch norm puts the origin: no finite difference there.
@pytest.mark.parametrize("activation", ["elu", "tanh", "softplus"])
def test_the_latent_is_the_negative_gradient_at_the_origin(activation: str, images: Tensor) -> None:
    """Compare with central finite differences of the loss in float64."""
    torch.manual_seed(0)
    decode = decoder(6, 4, 1, activation).double()
    x = to_float(images[:4]).double()

    def loss(z: Tensor) -> float:
        return reconstruction_loss(decode(z), x, 4).item()

    z = origin_latent(decode, x, 6, batch_size=4).detach()
    # Three batch norms magnify a latent near the origin by 1 / sqrt(eps) each: the step must be tiny.
    step = 1e-9
    for i, j in [(0, 0), (1, 3), (3, 5)]:
        offset = torch.zeros_like(z)
        offset[i, j] = step
        slope = (loss(offset) - loss(-offset)) / (2 * step)
        # A loss of about 0.25 is rounded to 1e-16 or so: 1e-7 of the slope is noise.
        assert -z[i, j].item() == pytest.approx(slope, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("inner_steps", [1, 2, 3])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_the_training_gradient_goes_through_the_latent(
    activation: str, inner_steps: int, images: Tensor
) -> None:
    """Compare with a double backward written out with functional calls, in float64."""
    spec = RunSpec(latent_dim=5, width=2, activation=activation, inner_steps=inner_steps, batch_size=8)
    model = build(spec, "reference").double()
    x = to_float(images).double()
    loss = model.training_loss(x)
    gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)

    names = [name for name, _ in model.decoder.named_parameters()]
    buffers = dict(model.decoder.named_buffers())

    def direct(*values: Tensor) -> Tensor:
        weights = dict(zip(names, values, strict=True))

        def inner(z: Tensor) -> Tensor:
            image: Tensor = torch.func.functional_call(model.decoder, {**weights, **buffers}, (z,))
            return ((image - x) ** 2).sum(dim=1).mean()

        z = torch.zeros(8, 5, 1, 1, dtype=torch.float64, requires_grad=True)
        for _ in range(inner_steps):
            z = z - torch.autograd.grad(inner(z), z, create_graph=True)[0]
        return inner(z)

    values = [parameter.detach().clone().requires_grad_() for parameter in model.decoder.parameters()]
    expected_loss = direct(*values)
    expected = torch.autograd.grad(expected_loss, values, allow_unused=True)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-12, atol=0)
    for found, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("inner_steps", [1, 2, 3])
@pytest.mark.parametrize("dataset", ["one channel", "three channels"])
@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_the_fast_pass_is_the_reference_in_float64(
    activation: str, dataset: str, inner_steps: int, images: Tensor
) -> None:
    """Loss, latents, running statistics, and the gradient of every parameter, with and without the latent."""
    x = to_float(images).double()
    if dataset == "three channels":
        x = torch.cat([x, x.flip(0), x.flip(3)], dim=1)
    torch.manual_seed(0)
    plain = decoder(5, 4, x.shape[1], activation).double()
    with torch.no_grad():  # batch norms as in the midst of a training
        for name, parameter in plain.named_parameters():
            if "norm" in name:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    fast = copy.deepcopy(plain)
    z = origin_latent(plain, x, 5, batch_size=8, inner_steps=inner_steps)
    fast_z = fast_origin_latent(fast, x, 5, batch_size=8, inner_steps=inner_steps)
    torch.testing.assert_close(fast_z, z, rtol=1e-10, atol=0)
    for through_latent in (True, False):
        given, fast_given = (z, fast_z) if through_latent else (z.detach(), fast_z.detach())
        loss = reconstruction_loss(plain(given), x, 8)
        fast_loss = reconstruction_loss(fast_decode(fast, fast_given), x, 8)
        torch.testing.assert_close(fast_loss, loss, rtol=1e-10, atol=0)
        wanted = torch.autograd.grad(loss, list(plain.parameters()), retain_graph=True)
        found = torch.autograd.grad(fast_loss, list(fast.parameters()), retain_graph=True, allow_unused=True)
        largest = max(gradient.abs().max() for gradient in wanted)
        for (name, _), expected, gradient in zip(plain.named_parameters(), wanted, found, strict=True):
            if name in ("deconv1.bias", "deconv2.bias", "deconv3.bias"):
                # A batch norm follows: no gradient, which the reference has but for rounding.
                assert gradient is None and expected.abs().max() < 1e-12 * largest
            else:
                assert (gradient - expected).norm() <= 1e-10 * expected.norm(), name
    for (name, buffer), (_, other) in zip(plain.named_buffers(), fast.named_buffers(), strict=True):
        torch.testing.assert_close(other, buffer, rtol=1e-10, atol=1e-14, msg=name)


@pytest.mark.parametrize("inner_steps", [1, pytest.param(2, marks=pytest.mark.long)])
@pytest.mark.parametrize(("start", "within"), [("beside the kink", 1e-4), ("after the first step", 1e-3)])
def test_both_passes_train_alike_in_float32(
    mnist: data.PreparedImages, start: str, within: float, inner_steps: int
) -> None:
    """The loss curves over the first 200 steps of real training, from the same weights and batches.

    PyTorch starts batch norms with bias 0, which puts the origin on the kink of ELU's derivative: which
    side the first step takes is rounding, in either pass. So either the biases start beside the kink
    here, or both go on from what the reference made of the first step.
    """
    spec = RunSpec(inner_steps=inner_steps)
    reference, fast = (
        Trajectory(
            spec, torch.from_numpy(mnist.train), torch.from_numpy(mnist.validation), origin_pass=origin_pass
        )
        for origin_pass in ("reference", "fast")
    )
    order = torch.randperm(60_000, generator=torch.Generator().manual_seed(0))
    first, *batches = order[: 200 * 64].view(200, 64)
    if start == "beside the kink":
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, parameter in reference.model.named_parameters():
                if "norm" in name and "bias" in name:
                    parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.01)
    else:
        reference.step(first)
    restore(fast, copy.deepcopy(state_of(reference)))
    curves = [torch.stack([run.step(batch) for batch in batches]) for run in (reference, fast)]
    torch.testing.assert_close(curves[1], curves[0], rtol=within, atol=0)


@pytest.mark.parametrize("activation", ["elu", "relu", "leaky_relu"])
def test_an_activation_with_a_kink_learns_from_pytorchs_initial_weights(
    mnist: data.PreparedImages, activation: str
) -> None:
    """There the origin lies on the kinks: rounding moves the plain form, which the fast one must follow."""
    curves = []
    for origin_pass in ORIGIN_PASSES:
        run = Trajectory(
            RunSpec(activation=activation),
            torch.from_numpy(mnist.train),
            torch.from_numpy(mnist.validation),
            origin_pass=origin_pass,
        )
        order = torch.randperm(60_000, generator=torch.Generator().manual_seed(0))
        curves.append([run.step(order[i * 64 : (i + 1) * 64]).item() for i in range(60)])
    first, last = (np.array([np.mean(curve[i : i + 10]) for curve in curves]) for i in (0, 50))
    assert (last < 0.8 * first).all()
    assert last[0] == pytest.approx(last[1], rel=0.05)


@pytest.mark.filterwarnings("default")  # of torch's compiler about parts of torch
def test_a_compiled_step_is_the_same_and_continues_bit_for_bit(
    mnist: data.PreparedImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is compiled from its second epoch on."""
    monkeypatch.setattr("gon.runs.trajectory.COMPILE_AFTER_EPOCHS", 1)
    spec = dataclasses.replace(SMOKE, activation="softplus")
    whole, parts = RunStore(tmp_path / "whole"), RunStore(tmp_path / "parts")
    train(spec, 2, whole)
    train(spec, 1, parts)
    train(spec, 2, parts)
    assert without_timings(whole.record_path(spec, 2)) == without_timings(parts.record_path(spec, 2))
    (session,) = whole.load(spec, 2).sessions
    if shutil.which("c++") or shutil.which("g++") or shutil.which("clang++"):
        assert session.compiled == "from epoch 2"
        monkeypatch.setattr("gon.runs.trajectory.COMPILE_AFTER_EPOCHS", 9)
        eager = RunStore(tmp_path / "eager")
        train(spec, 2, eager)
        assert whole.load_steps(spec, 2) == pytest.approx(eager.load_steps(spec, 2), rel=1e-4)
        assert not np.array_equal(whole.load_steps(spec, 2), eager.load_steps(spec, 2))
    else:
        assert session.compiled == "no: no C++ compiler"


def test_without_a_compiler_a_run_goes_on_and_says_so(
    mnist: data.PreparedImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gon.runs.trajectory.COMPILE_AFTER_EPOCHS", 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    record = train(SMOKE, 1, RunStore(tmp_path))
    assert record.sessions[0].compiled == "no: no C++ compiler"
    assert record.last.epoch == 1


def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    allowed = "cpu, cuda" if torch.cuda.is_available() else "cpu"
    with pytest.raises(UsageError, match=f"device: 'tpu' is not here; allowed are {allowed}$"):
        train(SMOKE, 1, RunStore(tmp_path), device="tpu")
    with pytest.raises(UsageError, match="origin_pass: 'quick' is not known; allowed are fast, reference"):
        GradientOriginNetwork(SMOKE, "quick")


def test_a_batch_that_does_not_fit_into_memory_is_named(
    mnist: data.PreparedImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step really asks for more than there is."""

    def greedy(self: Trajectory, batch: Tensor) -> Tensor:
        return torch.empty(1 << 60)

    monkeypatch.setattr(Trajectory, "step", greedy)
    with pytest.raises(GonError, match="batch_size: a step on 64 images does not fit into the memory"):
        train(SMOKE, 1, RunStore(tmp_path))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize("inner_steps", [1, 2])
def test_cuda_trains_as_the_cpu_does(mnist: data.PreparedImages, inner_steps: int) -> None:
    """An epoch of captured steps in float64, against steps on the CPU."""
    spec = dataclasses.replace(SMOKE, inner_steps=inner_steps)
    cpu, cuda = (
        Trajectory(
            spec,
            torch.from_numpy(mnist.train[:640]),
            torch.from_numpy(mnist.validation[:64]),
            device=device,
            dtype=torch.float64,
        )
        for device in ("cpu", "cuda")
    )
    wanted, found = cpu.train_steps(10), cuda.train_steps(10)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0)  # losses are kept in float32
    for (name, a), (_, b) in zip(cpu.model.named_parameters(), cuda.model.named_parameters(), strict=True):
        torch.testing.assert_close(b.cpu(), a, rtol=1e-6, atol=1e-9, msg=name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_epoch_takes_the_batches_of_its_order(mnist: data.PreparedImages, dtype: torch.dtype) -> None:
    """The steps find their batch on the device; here they are told."""
    runs = [
        Trajectory(
            SMOKE, torch.from_numpy(mnist.train[:640]), torch.from_numpy(mnist.validation[:64]), dtype=dtype
        )
        for _ in range(2)
    ]
    for _ in range(2):
        order = torch.randperm(640, generator=runs[1].batch_order).view(10, 64)
        told = torch.stack([runs[1].step(batch) for batch in order])
        assert told.dtype == dtype
        assert torch.equal(runs[0].train_steps(10), told.float())


def test_adam_is_pytorchs_bit_for_bit(mnist: data.PreparedImages) -> None:
    """Over real steps, stopped and continued; parameters without a gradient stay as they were."""
    run = Trajectory(SMOKE, torch.from_numpy(mnist.train[:640]), torch.from_numpy(mnist.validation[:64]))
    twin = copy.deepcopy(run.model)
    theirs = torch.optim.Adam(twin.parameters(), lr=SMOKE.learning_rate, fused=True)
    (ours,) = run.optimizers
    assert isinstance(ours, Adam)
    for i in range(6):
        if i == 3:
            state = copy.deepcopy(ours.state_dict())
            ours = Adam(run.model.parameters(), SMOKE.learning_rate)
            ours.load_state_dict(state)
        x = to_float(run.images[i * 64 : (i + 1) * 64])
        for model, optimizer in ((run.model, ours), (twin, theirs)):
            optimizer.zero_grad()
            model.losses(x, torch.arange(64))[0].backward()
            optimizer.step()
    for a, b in zip(run.model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


def test_an_uncompiled_training_does_not_load_torchs_compiler() -> None:
    """That would cost every process a second, and 70 MiB."""
    script = """
import sys, torch
from gon.data import prepared as data
from gon.runs.trajectory import Trajectory
from gon.runs.train import train
from gon.runs.process import prepare_process
from gon.spec import RunSpec
prepare_process(1)
images = torch.from_numpy(data.load("mnist").train[:64])
run = Trajectory(RunSpec(train_images=64, validation_images=64), images, images)
run.train_epoch()
assert torch.are_deterministic_algorithms_enabled()
print("torch._dynamo" in sys.modules or "torch._inductor" in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(16, 16), (5, 8)])
def test_a_layer_with_few_channels_is_the_librarys(channels: int, size: tuple[int, int]) -> None:
    """Both directions and their gradients, in float64."""
    torch.manual_seed(0)
    layer = torch.nn.ConvTranspose2d(6, channels, 4, 2, 1, bias=False).double()
    h = torch.randn(3, 6, *size, dtype=torch.float64, requires_grad=True)
    v = torch.randn(3, channels, 2 * size[0], 2 * size[1], dtype=torch.float64, requires_grad=True)
    for found, wanted in (
        (transposed_convolution(h, layer), layer(h)),
        (transpose(v, layer), torch.nn.functional.conv2d(v, layer.weight, None, 2, 1)),
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
        of = [h, v, layer.weight]
        direction = torch.randn_like(wanted)
        gradients = [torch.autograd.grad(y, of, direction, allow_unused=True) for y in (found, wanted)]
        for a, b in zip(*gradients, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_the_reported_loss_is_1024_times_the_pixel_mean(images: Tensor) -> None:
    spec = RunSpec(batch_size=8, train_images=8, validation_images=8)
    model = build(spec)
    mean = torch.nn.functional.mse_loss(model.reconstruct(to_float(images)), to_float(images)).item()
    assert validation_loss(model, images) == pytest.approx(1024 * mean, rel=1e-5)
    run = Trajectory(spec, images, images)
    assert run.step(torch.arange(8)).item() == pytest.approx(
        1024 * Trajectory(spec, images, images).model.training_loss(to_float(images)).item()
    )


def test_the_latent_does_not_depend_on_how_many_images_share_the_loss(images: Tensor) -> None:
    """With the normaliser of training, identical copies have the latent they have in a full batch."""
    torch.manual_seed(0)
    decode = decoder(6, 4, 1, "elu")
    x = to_float(images[:1])
    full = origin_latent(decode, x.expand(8, -1, -1, -1), 6, batch_size=8)
    half = origin_latent(decode, x.expand(4, -1, -1, -1), 6, batch_size=8)
    torch.testing.assert_close(half, full[:4], rtol=1e-4, atol=1e-7)
    wrong = origin_latent(decode, x.expand(4, -1, -1, -1), 6, batch_size=4)
    assert not torch.allclose(wrong, full[:4], rtol=0.5)


def test_the_last_batch_is_filled_and_every_image_counts_once(mnist: data.PreparedImages) -> None:
    validation = torch.from_numpy(np.array(mnist.validation[:20]))
    model = build(RunSpec(batch_size=8))
    batches = [validation[:8], validation[8:16], torch.cat([validation[16:20], validation[:4]])]
    total = 0.0
    for batch, counted in zip(batches, (8, 8, 4), strict=True):
        x = to_float(batch)
        errors = (model.reconstruct(x) - x).detach().square().sum(dim=(1, 2, 3))
        total += errors[:counted].sum().item()
    assert validation_loss(model, validation) == pytest.approx(total / 20, rel=1e-5)


def test_measuring_leaves_the_model_as_it_was(images: Tensor) -> None:
    model = build(RunSpec(batch_size=8))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    validation_loss(model, images)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def without_timings(path: Path) -> dict[str, object]:
    record = json.loads(path.read_text())
    for epoch in record["history"]:
        for key in [key for key in epoch if key.endswith("_seconds")]:
            del epoch[key]
    del record["sessions"], record["seal"]
    record["files"].pop("checkpoint", None)  # holds them too; a shorter run trained later has none
    return dict(record)


def test_a_continued_run_equals_an_uninterrupted_one_bit_for_bit(
    mnist: data.PreparedImages, tmp_path: Path
) -> None:
    whole, parts = RunStore(tmp_path / "whole"), RunStore(tmp_path / "parts")
    spec = dataclasses.replace(SMOKE, inner_steps=2)
    train(spec, 2, whole)
    train(spec, 1, parts)
    train(spec, 2, parts)
    assert without_timings(whole.record_path(spec, 2)) == without_timings(parts.record_path(spec, 2))
    assert whole.load_steps(spec, 2).tobytes() == parts.load_steps(spec, 2).tobytes()
    # One file for all records of a trajectory, and equal losses give equal bytes.
    (steps,), (other,) = (sorted(store.folder(spec).glob("steps-*.npz")) for store in (whole, parts))
    assert steps.read_bytes() == other.read_bytes()
    # A smaller budget asked for afterwards is a prefix, and trains nothing.
    train(spec, 1, whole)
    assert without_timings(whole.record_path(spec, 1)) == without_timings(parts.record_path(spec, 1))


@pytest.mark.parametrize("damage", ["cut", "flip", "swap"])
def test_a_damaged_checkpoint_is_named_and_kept(
    mnist: data.PreparedImages, tmp_path: Path, damage: str
) -> None:
    store = RunStore(tmp_path)
    train(SMOKE, 1, store)
    path = store.checkpoint_path(SMOKE)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flip":
        content[len(content) // 2] ^= 1
    else:
        other = dataclasses.replace(SMOKE, latent_dim=8)
        train(other, 1, store)
        content = bytearray(store.checkpoint_path(other).read_bytes())
    path.write_bytes(content)
    with pytest.raises(GonError, match=r"checkpoint\.pt.*move it away"):
        train(SMOKE, 2, store)
    assert path.read_bytes() == content


@pytest.mark.parametrize("damage", ["cut", "flip", "missing"])
def test_the_checkpoint_before_is_used_where_the_last_one_is_damaged(
    mnist: data.PreparedImages, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    """The newest is of a recorded epoch, whose checkpoint's digest the record holds."""
    through, store = RunStore(tmp_path / "through"), RunStore(tmp_path / "store")
    train(SMOKE, 7, through)
    train(SMOKE, 5, store)
    record, path = store.record_path(SMOKE, 5).read_bytes(), store.checkpoint_path(SMOKE)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "missing":  # killed between two renames
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    train(SMOKE, 6, store)
    said = capsys.readouterr().err
    assert ("goes on from the checkpoint before, after epoch 4" in said) == (damage != "missing")
    assert store.record_path(SMOKE, 5).read_bytes() == record
    train(SMOKE, 7, store)
    assert store.load(SMOKE, 7).trajectory == through.load(SMOKE, 7).trajectory
    assert store.load_steps(SMOKE, 7).tobytes() == through.load_steps(SMOKE, 7).tobytes()


def test_a_run_whose_loss_is_not_finite_is_recorded_as_diverged(
    mnist: data.PreparedImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights are made infinite after some steps, as an overflow would."""
    step, count = Trajectory.step, 0

    def failing(self: Trajectory, batch: Tensor) -> Tensor:
        nonlocal count
        count += 1
        if count == 13:
            with torch.no_grad():
                list(self.model.parameters())[0].fill_(float("nan"))
        return step(self, batch)

    monkeypatch.setattr(Trajectory, "step", failing)
    store = RunStore(tmp_path)
    record = train(SMOKE, 3, store)
    assert record.diverged is not None
    assert (record.diverged.epoch, record.diverged.step) == (2, 3)
    assert len(record.history) == 1
    assert store.load(SMOKE, 3) == record


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "not a whole run record"),
        (lambda text: text.replace('"latent_dim": 64', '"latent_dim": 65'), "digest"),
        (lambda text: text.replace('"latent_dim": 64', '"latent_dim": "64"'), "latent_dim"),
        (lambda text: text.replace('"epochs": 1', '"epochs": 2'), "epochs"),
        (lambda text: text.replace('"train_loss": ', '"train_loss": -'), "train_loss"),
    ],
)
def test_a_damaged_record_is_named_and_kept(
    mnist: data.PreparedImages, tmp_path: Path, change: object, message: str
) -> None:
    assert callable(change)
    store = RunStore(tmp_path)
    train(SMOKE, 1, store)
    path = store.record_path(SMOKE, 1)
    damaged = change(path.read_text())
    path.write_text(damaged)
    with pytest.raises(GonError, match=message):
        store.load(SMOKE, 1)
    assert path.read_text() == damaged


def test_smoke_results_have_a_store_of_their_own() -> None:
    from gon.claims.study import load_study

    smoke, quick = load_study("smoke").budget, load_study("quick").budget
    assert smoke.build != quick.build
    assert smoke.store != quick.store and smoke.report != quick.report


@pytest.mark.parametrize(
    ("changes", "golden"),
    [
        ({}, GOLDEN_ONE),
        ({"inner_steps": 2, "activation": "softplus"}, GOLDEN_TWO),
    ],
)
def test_the_first_steps_are_those_of_this_numerics_version(
    mnist: data.PreparedImages, changes: dict[str, Any], golden: list[float]
) -> None:
    """If this fails, the arithmetic changed: raise the model's numerics, and take the new values over."""
    assert MODELS["gon"].numerics == MODELS["gon_detached"].numerics == 3, (
        "frozen: reference records rest on them"
    )
    spec = dataclasses.replace(SMOKE, **changes)
    images = torch.from_numpy(np.array(mnist.train[:640]))
    run = Trajectory(spec, images, images[:64])
    order = torch.randperm(640, generator=run.batch_order)
    losses = [run.step(order[i * 64 : (i + 1) * 64]).item() for i in range(5)]
    assert losses == pytest.approx(golden, rel=1e-5)
