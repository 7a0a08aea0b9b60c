"""Validation loss, by the protocol of the report: batch statistics, in batches of the training size."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gon.models import GradientOriginNetwork


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


def validation_loss(model: GradientOriginNetwork, images: Tensor) -> float:
    """Mean summed squared error per image over all images.

    Parameters
    ----------
    model
        The model; it is left as it was.
    images
        uint8 images [n, channels, height, width].

    Returns
    -------
    float
        Summed squared error (SSE) per image, the unit of the report's Table 1.

    Notes
    -----
    The statistics of the batch enter both the latent and its reconstruction, so every batch has the
    size of a training batch. Where the images do not fill the last one, it is filled up with the first
    images, starting over if need be; each image is counted once.
    """
    model.train()  # batch statistics: at z = 0 the running ones would change the inner gradient
    batch_size = model.spec.batch_size
    count = len(images)
    total = torch.zeros((), dtype=torch.float64, device=images.device)
    with kept_statistics(model):
        for start in range(0, count, batch_size):
            index = torch.arange(start, start + batch_size, device=images.device) % count
            x = to_float(images[index])  # [batch, channels, height, width]
            reconstruction = model.reconstruct(x)
            errors = (reconstruction - x).square().sum(dim=(1, 2, 3))  # [batch]
            total += errors[: count - start].sum(dtype=torch.float64)
    return total.item() / count
