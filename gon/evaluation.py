"""Validation loss by the protocol of the report, and by others; what explains it; and a model's images.

The protocol of the report: batch statistics, in batches of the training size.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from gon.convolutions import transposed_convolution
from gon.errors import UsageError
from gon.models import GenerativeLatentOptimisation, GradientOriginNetwork, ImplicitGON, Model
from gon.networks import ACTIVATION_DERIVATIVES
from gon.origin import fast_decode, fast_origin_latent, inner_gradient, origin_latent
from gon.runs import EVALUATIONS, MODELS

SHOWN_IMAGES = 10
"""Images per row of a figure."""
SAMPLED_LATENTS = 6_400
"""Training images that the distribution of the implicit GON is fitted to (100 batches, as the authors)."""
FITTED_IMAGES = 640
"""Validation images on which the effect of GLO's fitting steps is shown."""
FITTING_STEPS = (1, 2, 5, 10, 20, 50, 100, 200)
FITTING_LEARNING_RATES = (0.001, 0.003)
"""Step sizes of Adam at which that effect is shown, beside the model's own."""
SECOND_STEPS = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Lengths that a second inner step is rescaled to, as fractions of the latent that it starts from."""
LATENT_SCALES = (0.1, 0.3, 1, 3, 10, 100)
DEAD_SLOPE = 1e-3
"""An activation with a smaller slope passes no gradient worth the name."""


def to_float(images: Tensor) -> Tensor:
    """Turn uint8 images into float32 images with values from 0 to 1, as torchvision's ToTensor does."""
    return images.to(torch.float32).div(255)


@contextmanager
def kept_statistics(model: nn.Module) -> Iterator[None]:
    """Restore the model's buffers and modes afterwards.

    In training mode every pass moves the running statistics of a batch norm. Measuring a model must
    leave it as it was, or a run would depend on how often it is evaluated.
    """
    kept = [buffer.clone() for buffer in model.buffers()]
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(model.buffers(), kept, strict=True):
                buffer.copy_(value)
        for module, training in modes:
            module.training = training


def image_means(
    model: Model,
    images: Tensor,
    measure: Callable[[Tensor], dict[str, Tensor]],
    *,
    batch_size: int | None = None,
) -> dict[str, float]:
    """Means over all images of what is measured batch by batch.

    Parameters
    ----------
    model
        The model, in training mode while it is measured; it is left as it was.
    images
        uint8 images [n, channels, height, width].
    measure
        From a batch [batch, channels, height, width] to values [batch], one per image, by name.
    batch_size
        Images per batch; None for the training batch size, which is the report's protocol.

    Returns
    -------
    dict
        Means by name.

    Notes
    -----
    The statistics of the batch enter both the latent and its reconstruction, so every batch has the
    same size. Where the images do not fill the last one, it is filled up with the first images,
    starting over if need be; each image is counted once.
    """
    size = batch_size or model.spec.batch_size
    count = len(images)
    totals: dict[str, Tensor] = {}
    with kept_statistics(model), torch.no_grad():
        model.train()  # batch statistics: at z = 0 the running ones would change the inner gradient
        for start in range(0, count, size):
            index = torch.arange(start, start + size, device=images.device) % count
            for name, values in measure(to_float(images[index])).items():
                total = values[: count - start].sum(dtype=torch.float64)
                totals[name] = totals[name] + total if name in totals else total
    return {name: total.item() / count for name, total in totals.items()}


def squared_error(reconstruction: Tensor, x: Tensor) -> Tensor:
    """Summed squared error of each image [batch], the unit of the report's Table 1."""
    return (reconstruction - x).square().sum(dim=(1, 2, 3))


def validation_loss(
    model: Model,
    images: Tensor,
    *,
    batch_size: int | None = None,
    reconstruct: Callable[[Tensor], Tensor] | None = None,
) -> float:
    """Mean summed squared error per image over all images.

    Parameters
    ----------
    model, images, batch_size
        See `image_means`.
    reconstruct
        In place of the model's own `reconstruct`, for other protocols.

    Returns
    -------
    float
        Summed squared error (SSE) per image.
    """

    def measure(x: Tensor) -> dict[str, Tensor]:
        return {"loss": squared_error((reconstruct or model.reconstruct)(x), x)}

    return image_means(model, images, measure, batch_size=batch_size)["loss"]


def running_validation_loss(model: Model, images: Tensor) -> float:
    """Mean summed squared error per image over all images, with the running statistics of the training.

    The protocol that a model with an encoder is used by. The report's, see `validation_loss`, is the
    only one that a Gradient Origin Network is trained for.

    Parameters
    ----------
    model
        The model; it is left as it was.
    images
        uint8 images [n, channels, height, width].
    """
    loss = by_protocol(model, images, RUNNING_STATISTICS)
    assert loss is not None  # this protocol means something for every model
    return loss


@dataclass(frozen=True)
class Protocol:
    """A way to evaluate a trained model.

    Attributes
    ----------
    name
        Unique name.
    statistics
        Batch norms use those of the batch at hand, or the running ones of the training.
    batch_size
        Images per batch; None for the training batch size.
    divisor
        The inner loss is a mean over the training batch size, or naively over the batch at hand.
    start
        Standard deviation of the normal noise at which the latent starts, in place of the origin.
    """

    name: str
    statistics: Literal["batch", "running"] = "batch"
    batch_size: int | None = None
    divisor: Literal["training", "batch"] = "training"
    start: float = 0.0


RUNNING_STATISTICS = Protocol("running_statistics", statistics="running")

PROTOCOLS = (
    Protocol("batch_statistics"),
    RUNNING_STATISTICS,
    Protocol("batches_of_16", batch_size=16),
    Protocol("batches_of_256", batch_size=256),
    Protocol("batches_of_16_own_divisor", batch_size=16, divisor="batch"),
    Protocol("batches_of_256_own_divisor", batch_size=256, divisor="batch"),
    Protocol("noise_0.1", start=0.1),
    Protocol("noise_1", start=1.0),
)
"""The first is the report's. Names are read by `notebooks/protocol.ipynb`."""


def by_protocol(model: Model, images: Tensor, protocol: Protocol) -> float | None:
    """Validation loss by a protocol, see `validation_loss`; None where it means nothing for the model."""
    generator = torch.Generator().manual_seed(model.spec.seed)

    def reconstruct(x: Tensor) -> Tensor:
        model.train(protocol.statistics == "batch")
        if isinstance(model, GradientOriginNetwork):
            return _gon_by_protocol(model, x, protocol, generator)
        return model.reconstruct(x)

    of_the_gradient = protocol.divisor == "batch" or protocol.start
    if of_the_gradient and not isinstance(model, GradientOriginNetwork):
        return None
    return validation_loss(model, images, batch_size=protocol.batch_size, reconstruct=reconstruct)


def _gon_by_protocol(
    model: GradientOriginNetwork, x: Tensor, protocol: Protocol, generator: torch.Generator
) -> Tensor:
    spec, decoder = model.spec, model.decoder
    divisor = spec.batch_size if protocol.divisor == "training" else len(x)
    if protocol.statistics == "batch" and not protocol.start:
        z = fast_origin_latent(decoder, x, spec.latent_dim, batch_size=divisor, inner_steps=spec.inner_steps)
        return fast_decode(decoder, z)
    # The fast form knows batch statistics and the origin only.
    start = torch.randn(len(x), spec.latent_dim, 1, 1, generator=generator).to(x.device) * protocol.start
    with torch.enable_grad():
        step = origin_latent(
            lambda z: decoder(start + z),
            x,
            spec.latent_dim,
            batch_size=divisor,
            inner_steps=spec.inner_steps,
            differentiable=False,
        )
    reconstruction: Tensor = decoder(start + step.detach())
    return reconstruction


def protocol_losses(model: Model, images: Tensor) -> dict[str, float]:
    """Evaluation `protocols`: the validation loss by each of `PROTOCOLS` that means something."""
    losses = {protocol.name: by_protocol(model, images, protocol) for protocol in PROTOCOLS}
    return {name: loss for name, loss in losses.items() if loss is not None}


def fitting_losses(model: Model, images: Tensor) -> dict[str, float]:
    """Evaluation `fitting`: the loss on the first `FITTED_IMAGES` images by how GLO's latents are fitted.

    `<steps>` is that after so many `FITTING_STEPS` of the model's own size, `<size>/<steps>` that of
    each of `FITTING_LEARNING_RATES`.
    """
    assert isinstance(model, GenerativeLatentOptimisation)
    own = model.fitting_steps, model.fitting_learning_rate
    by_rate: dict[float, dict[str, float]] = {}
    try:
        for rate in sorted({own[1], *FITTING_LEARNING_RATES}):
            by_rate[rate] = {}
            for steps in FITTING_STEPS:
                model.fitting_steps, model.fitting_learning_rate = steps, rate
                by_rate[rate][str(steps)] = validation_loss(model, images[:FITTED_IMAGES])
    finally:
        model.fitting_steps, model.fitting_learning_rate = own
    rated = {
        f"{rate:g}/{steps}": loss for rate in FITTING_LEARNING_RATES for steps, loss in by_rate[rate].items()
    }
    return by_rate[own[1]] | rated


def inner_step_effect(model: Model, images: Tensor) -> dict[str, float]:
    """Evaluation `inner_step`: what a second inner step changes, whatever the model was trained with.

    With z1 the latent after one step from the origin, and z2 after two: `relative_change` is
    |z2 - z1| / |z1|, `loss/1` and `loss/2` are the losses at z1 and z2, and `rescaled/<fraction>` that
    after a step from z1 in the same direction, but `SECOND_STEPS` times |z1| long. Norms are those of
    each image, whose means over the images stand here.
    """
    assert isinstance(model, GradientOriginNetwork)
    spec, decoder = model.spec, model.decoder

    def measure(x: Tensor) -> dict[str, Tensor]:
        z1 = fast_origin_latent(decoder, x, spec.latent_dim, batch_size=spec.batch_size)
        # The difference z2 - z1 itself: that of the sums would be rounded to multiples of 1e-7 |z1|.
        step = -inner_gradient(decoder, z1, x, batch_size=spec.batch_size)
        change = _quotient(_norms(step), _norms(z1))  # [batch, 1, 1, 1]
        found = {
            "relative_change": change.flatten(),
            "loss/1": squared_error(fast_decode(decoder, z1), x),
            "loss/2": squared_error(fast_decode(decoder, z1 + step), x),
        }
        for fraction in SECOND_STEPS:
            z = z1 + step * _quotient(torch.full_like(change, fraction), change)
            found[f"rescaled/{fraction:g}"] = squared_error(fast_decode(decoder, z), x)
        return found

    return image_means(model, images, measure)


def _norms(z: Tensor) -> Tensor:
    """Length of each latent [batch, 1, 1, 1]."""
    norms: Tensor = torch.linalg.vector_norm(z, dim=(1, 2, 3), keepdim=True)
    return norms


def _quotient(a: Tensor, b: Tensor) -> Tensor:
    """The first by the second, and 0 where that is 0: a network that is dead at the origin takes no step."""
    return torch.where(b > 0, a / b, 0)


def latent_scale_losses(model: Model, images: Tensor) -> dict[str, float]:
    """Evaluation `latent_scale`: the loss with latents multiplied by `LATENT_SCALES`, `scale/<factor>`."""

    def measure(x: Tensor) -> dict[str, Tensor]:
        z = model.encode(x)
        return {f"scale/{factor:g}": squared_error(model.decode(z * factor), x) for factor in LATENT_SCALES}

    return image_means(model, images, measure)


def dead_shares(model: Model, images: Tensor) -> dict[str, float]:
    """Evaluation `dead_units`: which channels of the decoder pass no gradient at the origin z = 0.

    `dead/<layer>` is the share of a hidden layer's channels whose activation has a slope below
    `DEAD_SLOPE` all over the image, and `negative_bias/1` the share of negative biases of the first
    batch norm: at the origin they are the first layer's inputs of the activation, since what that batch
    norm normalises is zero. On the kink of ReLU itself the slope is 1/2, as it is in training.
    """
    layers = list(model.decoder)  # type: ignore[arg-type]
    found = {}
    with kept_statistics(model), torch.no_grad():
        model.train()
        # One image stands for all: at the origin they are equal, and so are the statistics of the batch.
        h = next(model.parameters()).new_zeros(1, model.spec.latent_dim, 1, 1)
        for i in range(3):
            convolution, norm, activation = layers[3 * i : 3 * i + 3]
            n = norm(transposed_convolution(h, convolution))  # the norm would take a bias away again
            h = activation(n)
            slope = ACTIVATION_DERIVATIVES[type(activation)](n, h)
            dead = (slope < DEAD_SLOPE).all(dim=3).all(dim=2)  # [1, channels]
            found[f"dead/{i + 1}"] = dead.double().mean().item()
        found["negative_bias/1"] = (layers[1].bias < 0).double().mean().item()
    return found


@dataclass(frozen=True)
class Evaluation:
    """How one of `gon.runs.EVALUATIONS` is made, and of which models."""

    make: Callable[[Model, Tensor], dict[str, float]]
    models: tuple[str, ...]


_OF_ORIGIN = ("gon", "gon_detached")
# Those whose decoder takes z itself: the variational GON puts a linear map in between.
_OF_DECODER = (*_OF_ORIGIN, "autoencoder", "tied_autoencoder", "glo", "vae")

_EVALUATIONS = {
    "protocols": Evaluation(protocol_losses, tuple(MODELS)),
    "fitting": Evaluation(fitting_losses, ("glo",)),
    "inner_step": Evaluation(inner_step_effect, _OF_ORIGIN),
    # Of a linear model nothing is learnt: the loss is a parabola of the factor, with its lowest point at 1.
    "latent_scale": Evaluation(latent_scale_losses, tuple(name for name in MODELS if name != "pca")),
    "dead_units": Evaluation(dead_shares, _OF_DECODER),
}


def evaluate(model: Model, images: Tensor, evaluation: str) -> dict[str, float]:
    """Make one of `gon.runs.EVALUATIONS`.

    Parameters
    ----------
    model
        A trained model; it is left as it was.
    images
        uint8 validation images [n, channels, 32, 32].
    evaluation
        Which: `protocols`, see `protocol_losses`; `fitting`, see `fitting_losses`; `inner_step`, see
        `inner_step_effect`; `latent_scale`, see `latent_scale_losses`; `dead_units`, see `dead_shares`.

    Returns
    -------
    dict
        Numbers by name, from 0 up: losses as summed squared error per image, and shares.

    Raises
    ------
    UsageError
        If there is no such evaluation, or it means nothing for the model.
    """
    if evaluation not in _EVALUATIONS:
        raise UsageError(f"evaluation: {evaluation!r} is not known; allowed are {', '.join(EVALUATIONS)}")
    chosen, name = _EVALUATIONS[evaluation], model.spec.model
    if name not in chosen.models:
        raise UsageError(
            f"evaluation: {evaluation!r} is not allowed for the model {name!r}; "
            f"it is made of {', '.join(chosen.models)}"
        )
    return chosen.make(model, images)


def make_images(model: Model, train_images: Tensor, validation_images: Tensor) -> dict[str, Tensor]:
    """Images that show what a trained model does.

    Parameters
    ----------
    model
        A trained model; it is left as it was.
    train_images, validation_images
        uint8 images [n, channels, 32, 32].

    Returns
    -------
    dict
        uint8 images [count, channels, 32, 32] by kind: `originals` and `reconstructions` (the first
        validation images, in a batch of the training size), `samples` of a generative model, and
        `interpolations` of an implicit one (rows from one validation image to another).
    """
    model.train()
    size = model.spec.batch_size
    with kept_statistics(model), torch.no_grad():
        index = torch.arange(size, device=validation_images.device) % len(validation_images)
        batch = validation_images[index]
        z = model.encode(to_float(batch))
        found = {"originals": to_float(batch), "reconstructions": model.decode(z)}
        generator = torch.Generator().manual_seed(model.spec.seed)
        samples = model.sample(size, to_float(train_images[:SAMPLED_LATENTS]), generator)
        if samples is not None:
            found["samples"] = samples[: 2 * SHOWN_IMAGES]
        if isinstance(model, ImplicitGON):
            rows = [_slerp(z[i], z[i + 1], SHOWN_IMAGES) for i in range(0, min(6, size - 1), 2)]
            found["interpolations"] = model.decode(torch.cat(rows))
    for kind in ("originals", "reconstructions"):
        found[kind] = found[kind][: min(SHOWN_IMAGES, len(validation_images))]
    return {kind: (255 * y.clamp(0, 1)).round().to(torch.uint8).cpu() for kind, y in found.items()}


def _slerp(a: Tensor, b: Tensor, count: int) -> Tensor:
    """Spherical interpolation [count, n, 1, 1] between two latents [n, 1, 1] (Shoemake, SIGGRAPH 1985)."""
    cosine = (a * b).sum() / (a.norm() * b.norm())
    angle = torch.acos(cosine.clamp(-1, 1)).clamp(min=1e-6)
    t = torch.linspace(0, 1, count, device=a.device).view(-1, 1, 1, 1)
    return (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)
