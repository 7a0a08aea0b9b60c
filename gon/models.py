"""Models: what each minimises in a training step, and how it reconstructs an image."""

from torch import Tensor, nn

from gon.catalogue import DATASETS
from gon.networks import decoder
from gon.origin import origin_latent, reconstruction_loss
from gon.runs import RunSpec


class GradientOriginNetwork(nn.Module):
    """A decoder whose latents are gradient steps from the origin (ICLR 2021; report, section 3.1).

    Parameters
    ----------
    spec
        Latent size, width, activation, inner steps and batch size are read from it.

    Notes
    -----
    The weights are drawn from torch's global random state by PyTorch's default initialisation.
    """

    origin_pass = "reference"

    def __init__(self, spec: RunSpec) -> None:
        super().__init__()
        self.spec = spec
        self.decoder = decoder(spec.latent_dim, spec.width, DATASETS[spec.dataset].channels, spec.activation)

    def reconstruct(self, x: Tensor, *, differentiable: bool = False) -> Tensor:
        """Find the latents of images [batch, channels, 32, 32] and decode them to images again."""
        z = origin_latent(
            self.decoder,
            x,
            self.spec.latent_dim,
            batch_size=self.spec.batch_size,
            inner_steps=self.spec.inner_steps,
            differentiable=differentiable,
        )
        reconstruction: Tensor = self.decoder(z)
        return reconstruction

    def training_loss(self, x: Tensor) -> Tensor:
        """The loss [] that a step minimises, see `gon.origin.reconstruction_loss`."""
        return reconstruction_loss(self.reconstruct(x, differentiable=True), x, self.spec.batch_size)
