"""Validation loss by the protocol of the report, and by others; and the images that a model makes.

The protocol of the report: batch statistics, in batches of the training size.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from gon.models import GenerativeLatentOptimisation, GradientOriginNetwork, ImplicitGON, Model
from gon.origin import fast_decode, fast_origin_latent, origin_latent

SHOWN_IMAGES = 10
"""Images per row of a figure."""
SAMPLED_LATENTS = 6_400
"""Training images that the distribution of the implicit GON is fitted to (100 batches, as the authors)."""
FITTED_IMAGES = 640
"""Validation images on which the effect of GLO's fitting steps is shown."""
FITTING_STEPS = (1, 2, 5, 10, 20, 50, 100)


def to_float(images: Tensor) -> Tensor:
    """Turn uint8 images into float32 images with values from 0 to 1, as torchvision's ToTensor does."""
    return images.to(torch.float32).div(255)


@contextmanager
def kept_statistics(model: nn.Module) -> Iterator[None]:
    """Restore the model's buffers afterwards.

    In training mode every pass moves the running statistics of a batch norm. Measuring a model must
    leave it as it was, or a run would depend on how often it is evaluated.
    """
    kept = [buffer.clone() for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(model.buffers(), kept, strict=True):
                buffer.copy_(value)


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
    model
        The model; it is left as it was.
    images
        uint8 images [n, channels, height, width].
    batch_size
        Images per batch; None for the training batch size, which is the report's protocol.
    reconstruct
        In place of the model's own `reconstruct`, for other protocols.

    Returns
    -------
    float
        Summed squared error (SSE) per image, the unit of the report's Table 1.

    Notes
    -----
    The statistics of the batch enter both the latent and its reconstruction, so every batch has the
    same size. Where the images do not fill the last one, it is filled up with the first images,
    starting over if need be; each image is counted once.
    """
    model.train()  # batch statistics: at z = 0 the running ones would change the inner gradient
    size = batch_size or model.spec.batch_size
    count = len(images)
    total = torch.zeros((), dtype=torch.float64, device=images.device)
    with kept_statistics(model), torch.no_grad():
        for start in range(0, count, size):
            index = torch.arange(start, start + size, device=images.device) % count
            x = to_float(images[index])  # [batch, channels, height, width]
            reconstruction = (reconstruct or model.reconstruct)(x)
            errors = (reconstruction - x).square().sum(dim=(1, 2, 3))  # [batch]
            total += errors[: count - start].sum(dtype=torch.float64)
    return total.item() / count


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


PROTOCOLS = (
    Protocol("batch_statistics"),
    Protocol("running_statistics", statistics="running"),
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
        decoder = getattr(model, "decoder", None)
        # The fast form of the decoder knows batch statistics only.
        decode = decoder if isinstance(decoder, nn.Module) else model.decode
        reconstruction: Tensor = decode(model.encode(x))
        return reconstruction

    of_the_gradient = protocol.divisor == "batch" or protocol.start
    if of_the_gradient and not isinstance(model, GradientOriginNetwork):
        return None
    loss = validation_loss(model, images, batch_size=protocol.batch_size, reconstruct=reconstruct)
    model.train()
    return loss


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


def evaluate(model: Model, images: Tensor, evaluation: str) -> dict[str, float]:
    """Make one of `gon.runs.EVALUATIONS`.

    Parameters
    ----------
    model
        A trained model; it is left as it was.
    images
        uint8 validation images [n, channels, 32, 32].
    evaluation
        `protocols`: the loss by each of `PROTOCOLS`; `fitting`: the loss on the first `FITTED_IMAGES`
        images after so many `FITTING_STEPS` of GLO, by their number.

    Returns
    -------
    dict
        Losses, as summed squared error per image.
    """
    if evaluation == "protocols":
        losses = {p.name: by_protocol(model, images, p) for p in PROTOCOLS}
        return {name: loss for name, loss in losses.items() if loss is not None}
    if not isinstance(model, GenerativeLatentOptimisation):
        raise ValueError(f"{evaluation}: the latents of {model.spec.model} are not fitted")
    found, kept = {}, model.fitting_steps
    for steps in FITTING_STEPS:
        model.fitting_steps = steps
        found[str(steps)] = validation_loss(model, images[:FITTED_IMAGES])
    model.fitting_steps = kept
    return found


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
