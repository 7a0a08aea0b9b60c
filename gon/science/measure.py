"""The loss by the protocol of the report: batch statistics, in batches of the training size."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gon.science.model import Model


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


def full_batches(images: Tensor, size: int) -> Iterator[Tensor]:
    """Float images in batches [size, channels, height, width], none of which is smaller than the others.

    Where the images do not fill the last one, it is filled up with the first images, starting over if
    need be.
    """
    for start in range(0, len(images), size):
        index = torch.arange(start, start + size, device=images.device) % len(images)
        yield to_float(images[index])


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
    same size, see `full_batches`; each image is counted once.
    """
    size = batch_size or model.spec.batch_size
    count = len(images)
    totals: dict[str, Tensor] = {}
    with kept_statistics(model), torch.no_grad():
        model.train()  # batch statistics: at z = 0 the running ones would change the inner gradient
        for number, batch in enumerate(full_batches(images, size)):
            for name, values in measure(batch).items():
                total = values[: count - number * size].sum(dtype=torch.float64)
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
