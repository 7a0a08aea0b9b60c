"""A few images that a model makes, kept with its record."""

import torch
from torch import Tensor

from gon.science.measure import full_batches, kept_statistics, to_float
from gon.science.model import Model

SHOWN_IMAGES = 10
"""Images per row of a figure."""

SAMPLED_LATENTS = 6_400
"""Training images that the distribution of the implicit GON is fitted to (100 batches, as the authors)."""


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
        batch = next(full_batches(validation_images, size))
        z = model.encode(batch)
        found = {"originals": batch, "reconstructions": model.decode(z)}
        generator = torch.Generator().manual_seed(model.spec.seed)
        samples = model.sample(size, to_float(train_images[:SAMPLED_LATENTS]), generator)
        if samples is not None:
            found["samples"] = samples[: 2 * SHOWN_IMAGES]
        if model.interpolates:
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
