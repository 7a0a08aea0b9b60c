"""Models: what each minimises in a training step, and how it reconstructs an image."""

import torch
from torch import Tensor, nn

from gon.catalogue import DATASETS
from gon.errors import UsageError
from gon.networks import decoder
from gon.origin import fast_decode, fast_origin_latent, origin_latent, reconstruction_loss
from gon.runs import RunSpec

ORIGIN_PASSES = ("fast", "reference")
"""Implementations of the latent: equal up to rounding, see `gon.origin`."""


class GradientOriginNetwork(nn.Module):
    """A decoder whose latents are gradient steps from the origin (ICLR 2021; report, section 3.1).

    Parameters
    ----------
    spec
        Latent size, width, activation, inner steps and batch size are read from it.
    origin_pass
        One of `ORIGIN_PASSES`.

    Notes
    -----
    The weights are drawn from torch's global random state by PyTorch's default initialisation.
    """

    def __init__(self, spec: RunSpec, origin_pass: str = "fast") -> None:
        super().__init__()
        if origin_pass not in ORIGIN_PASSES:
            raise UsageError(
                f"origin_pass: {origin_pass!r} is not known; allowed are {', '.join(ORIGIN_PASSES)}"
            )
        self.spec = spec
        self.origin_pass = origin_pass
        self.decoder = decoder(spec.latent_dim, spec.width, DATASETS[spec.dataset].channels, spec.activation)

    def reconstruct(self, x: Tensor, *, differentiable: bool = False) -> Tensor:
        """Find the latents of images [batch, channels, 32, 32] and decode them to images again.

        Without `differentiable` no graph is kept: what comes back is a plain tensor.
        """
        spec = self.spec
        if self.origin_pass == "fast":
            with torch.set_grad_enabled(differentiable):
                z = fast_origin_latent(
                    self.decoder,
                    x,
                    spec.latent_dim,
                    batch_size=spec.batch_size,
                    inner_steps=spec.inner_steps,
                )
                return fast_decode(self.decoder, z)
        with torch.enable_grad():
            z = origin_latent(
                self.decoder,
                x,
                spec.latent_dim,
                batch_size=spec.batch_size,
                inner_steps=spec.inner_steps,
                differentiable=differentiable,
            )
        with torch.set_grad_enabled(differentiable):
            reconstruction: Tensor = self.decoder(z)
            return reconstruction

    def training_loss(self, x: Tensor) -> Tensor:
        """The loss [] that a step minimises, see `gon.origin.reconstruction_loss`."""
        return reconstruction_loss(self.reconstruct(x, differentiable=True), x, self.spec.batch_size)
