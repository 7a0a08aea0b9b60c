"""Decoders: from a latent vector to an image."""

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

ACTIVATION_DERIVATIVES: dict[type[nn.Module], Callable[[Tensor, Tensor], Tensor]] = {
    nn.ELU: lambda n, h: h.clamp(max=0) + 1,
    nn.ReLU: lambda n, h: (n > 0).to(n.dtype),
    nn.Tanh: lambda n, h: 1 - h * h,
    nn.LeakyReLU: lambda n, h: (n > 0).to(n.dtype) * 0.99 + 0.01,
    nn.Softplus: lambda n, h: torch.sigmoid(n),
}
"""Derivative of each activation from its input n and its output h, as operations that autograd can
differentiate again."""


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
