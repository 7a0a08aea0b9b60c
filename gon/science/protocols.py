"""Validation losses by other protocols than the report's."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gon.science.fast import fast_decode, fast_origin_latent
from gon.science.gon import GradientOriginNetwork
from gon.science.measure import validation_loss
from gon.science.method import origin_latent
from gon.science.model import Model


@dataclass(frozen=True)
class Protocol:
    """A way to evaluate a trained model."""

    name: str
    statistics: Literal["batch", "running"] = "batch"
    """Batch norms use those of the batch at hand, or the running ones of the training."""
    batch_size: int | None = None
    """Images per batch; None for the training batch size."""
    divisor: Literal["training", "batch"] = "training"
    """The inner loss is a mean over the training batch size, or naively over the batch at hand."""
    start: float = 0.0
    """Standard deviation of the normal noise at which the latent starts, in place of the origin."""


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


def running_validation_loss(model: Model, images: Tensor) -> float:
    """Validation loss with the running statistics of the training, as a model with an encoder is used.

    See `validation_loss`, whose protocol is the only one that a Gradient Origin Network is trained for.
    """
    loss = by_protocol(model, images, RUNNING_STATISTICS)
    assert loss is not None  # this protocol means something for every model
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


def protocol_losses(model: Model, images: Tensor) -> dict[str, float]:
    """Evaluation `protocols`: the validation loss by each of `PROTOCOLS` that means something."""
    losses = {protocol.name: by_protocol(model, images, protocol) for protocol in PROTOCOLS}
    return {name: loss for name, loss in losses.items() if loss is not None}
