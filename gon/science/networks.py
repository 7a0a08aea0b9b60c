"""Decoders, from a latent vector to an image, and encoders, from an image to a latent vector."""

import math
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

ACTIVATION_MODULES: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "leaky_relu": nn.LeakyReLU,
    "softplus": nn.Softplus,
}
"""Modules behind the names in `gon.catalogue.ACTIVATIONS`, with PyTorch's default settings."""


def _step(n: Tensor) -> Tensor:
    """1 above zero, 0 below, and 1/2 at zero itself."""
    return (n.detach().sign() + 1) / 2


ACTIVATION_DERIVATIVES: dict[type[nn.Module], Callable[[Tensor, Tensor], Tensor]] = {
    nn.ELU: lambda n, h: h.clamp(max=0) + 1,
    nn.ReLU: lambda n, h: _step(n),
    nn.Tanh: lambda n, h: 1 - h * h,
    nn.LeakyReLU: lambda n, h: 0.99 * _step(n) + 0.01,
    nn.Softplus: lambda n, h: torch.sigmoid(n),
}
"""Derivative of each activation from its input n and its output h, as operations that autograd can
differentiate again.

PyTorch's initial biases put the origin on the kink of ReLU, where the true inputs are exactly zero. In the
plain form of the method, rounding throws about half of the channels to either side, and only that lets a
network with ReLU start to learn. Exact zeros would leave it dead, so the mean of both sides stands here."""


def decoder(latent_dim: int, width: int, channels: int, activation: str) -> nn.Sequential:
    """Build the convolutional decoder F of a Gradient Origin Network.

    Parameters
    ----------
    latent_dim
        Size n of the latent vector.
    width
        Channels w of the last hidden layer.
    channels
        Channels c of the image.
    activation
        A key of `ACTIVATION_MODULES`.

    Returns
    -------
    torch.nn.Sequential
        Maps latents [batch, n, 1, 1] to images [batch, c, 32, 32] with values in (0, 1).

    Notes
    -----
    The layers, biases and initialisation are those of the authors' code (github.com/cwkx/GON,
    commit 8362226); the report describes them in section 3.1. A bias in front of a batch norm has
    no effect in training mode; it is kept, so that the parameter counts are the published ones.
    """
    act = ACTIVATION_MODULES[activation]
    layers: list[tuple[str, nn.Module]] = [
        ("deconv1", nn.ConvTranspose2d(latent_dim, 4 * width, 4, 1, 0)),  # [4w, 4, 4]
        ("norm1", nn.BatchNorm2d(4 * width)),
        ("act1", act()),
        ("deconv2", nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1)),  # [2w, 8, 8]
        ("norm2", nn.BatchNorm2d(2 * width)),
        ("act2", act()),
        ("deconv3", nn.ConvTranspose2d(2 * width, width, 4, 2, 1)),  # [w, 16, 16]
        ("norm3", nn.BatchNorm2d(width)),
        ("act3", act()),
        ("deconv4", nn.ConvTranspose2d(width, channels, 4, 2, 1)),  # [c, 32, 32]
        ("out", nn.Sigmoid()),
    ]
    return nn.Sequential(OrderedDict(layers))


def encoder_trunk(width: int, channels: int, activation: str) -> nn.Sequential:
    """Build the hidden layers of an encoder: those of the decoder, mirrored.

    Parameters
    ----------
    width, channels, activation
        As in `decoder`.

    Returns
    -------
    torch.nn.Sequential
        Maps images [batch, c, 32, 32] to [batch, 4w, 4, 4].
    """
    act = ACTIVATION_MODULES[activation]
    layers: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(channels, width, 4, 2, 1)),  # [w, 16, 16]
        ("norm1", nn.BatchNorm2d(width)),
        ("act1", act()),
        ("conv2", nn.Conv2d(width, 2 * width, 4, 2, 1)),  # [2w, 8, 8]
        ("norm2", nn.BatchNorm2d(2 * width)),
        ("act2", act()),
        ("conv3", nn.Conv2d(2 * width, 4 * width, 4, 2, 1)),  # [4w, 4, 4]
        ("norm3", nn.BatchNorm2d(4 * width)),
        ("act3", act()),
    ]
    return nn.Sequential(OrderedDict(layers))


def encoder_head(latent_dim: int, width: int) -> nn.Conv2d:
    """The last layer of an encoder: from [batch, 4w, 4, 4] to [batch, latent_dim, 1, 1]."""
    return nn.Conv2d(4 * width, latent_dim, 4, 1, 0)


class Siren(nn.Module):
    """A network of sines from a point and a latent vector to a colour (Sitzmann et al., NeurIPS 2020).

    Parameters
    ----------
    latent_dim
        Size n of the latent vector.
    width
        Units of each of the four hidden layers (authors' code: 256).
    channels
        Channels c of the image.

    Notes
    -----
    Layers 2 + n -> width, three times width -> width, width -> c, with sin(30 a) between them, and the
    initialisation of section 3.2 there.
    """

    FREQUENCY = 30.0

    def __init__(self, latent_dim: int, width: int, channels: int) -> None:
        super().__init__()
        sizes = [2 + latent_dim, width, width, width, width, channels]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Linear)
            fan_in = layer.in_features
            bound = 1 / fan_in if i == 0 else math.sqrt(6 / fan_in) / self.FREQUENCY
            nn.init.uniform_(layer.weight, -bound, bound)

    def forward(self, points: Tensor, z: Tensor) -> Tensor:
        """Colours [.., c] at points [.., 2] with latents [.., n]; the leading dimensions broadcast."""
        first, *middle, last = self.layers
        # What the first layer makes of the points is the same for every image.
        a = nn.functional.linear(points, first.weight[:, :2], first.bias)  # type: ignore[arg-type,index]
        h = torch.sin(self.FREQUENCY * (a + nn.functional.linear(z, first.weight[:, 2:])))  # type: ignore[index]
        for layer in middle:
            h = torch.sin(self.FREQUENCY * layer(h))
        colours: Tensor = last(h)
        return colours
