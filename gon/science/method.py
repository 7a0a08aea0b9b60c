r"""The method: latents from the gradient at the origin.

Bond-Taylor and Willcocks, "Gradient Origin Networks", ICLR 2021. There is no encoder: the latent of an image
is minus the gradient of the reconstruction loss at the origin. `gon.science.fast` computes the same, faster.

Symbols: decoder $F$ (`decode`), images $x$, latents $z$, loss $L$, latent size n (`latent_dim`).
"""

from collections.abc import Callable

import torch
from torch import Tensor


def reconstruction_loss(reconstruction: Tensor, x: Tensor, batch_size: int) -> Tensor:
    r"""Squared error summed over channels, and averaged over pixels and batch.

    Parameters
    ----------
    reconstruction, x
        Images [batch, channels, height, width].
    batch_size
        What the sum over the batch is divided by. It is the training batch size whatever the batch at
        hand: the latent is the gradient of this loss, so another divisor would scale every latent.

    Returns
    -------
    Tensor
        The loss [], which the authors' script prints. Height x width times it is the summed squared
        error per image, the unit of Table 1.
    """
    # L(x, y) = \frac{1}{B H W} \sum_{b,c,i,j} (y_{bcij} - x_{bcij})^2
    return (reconstruction - x).square().sum() / (batch_size * x.shape[-2] * x.shape[-1])  # []


def origin_latent(
    decode: Callable[[Tensor], Tensor],
    x: Tensor,
    latent_dim: int,
    *,
    batch_size: int,
    inner_steps: int = 1,
    differentiable: bool = True,
) -> Tensor:
    r"""Find the latents of a batch by gradient steps from the origin.

    Parameters
    ----------
    decode
        The decoder F: latents [batch, latent_dim, 1, 1] to images.
    x
        Images [batch, channels, height, width].
    latent_dim
        Size of a latent vector.
    batch_size
        Training batch size, see `reconstruction_loss`.
    inner_steps
        Number of gradient steps; 1 in the paper, 2 in section 4.3 of the report.
    differentiable
        Keep the graph of the inner gradient, which training differentiates again.

    Returns
    -------
    Tensor
        Latents z [batch, latent_dim, 1, 1].
    """
    # z_0 = 0
    z = torch.zeros(x.shape[0], latent_dim, 1, 1, dtype=x.dtype, device=x.device, requires_grad=True)
    for _ in range(inner_steps):
        # z = -\nabla_{z_0} L(x, F(z_0)),  in general  z_{k+1} = z_k - \nabla_{z_k} L(x, F(z_k))
        loss = reconstruction_loss(decode(z), x, batch_size)  # []
        (gradient,) = torch.autograd.grad(loss, z, create_graph=differentiable)  # [batch, n, 1, 1]
        z = z - gradient  # [batch, n, 1, 1]
        if not differentiable:
            z = z.detach().requires_grad_()
    return z


def training_objective(
    encode: Callable[[Tensor], Tensor],
    decode: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    batch_size: int,
    detached: bool = False,
) -> Tensor:
    r"""What the parameters of F minimise: the loss of the reconstruction from the latents.

    Parameters
    ----------
    encode
        From images to latents: `origin_latent`, or its fast form.
    decode, x, batch_size
        As in `origin_latent`.
    detached
        Cut the gradient through z: F then learns to decode, and not to encode.

    Returns
    -------
    Tensor
        The objective [].
    """
    # \min_\theta L(x, F_\theta(z)),  z = -\nabla_{z_0} L(x, F_\theta(z_0)):  \theta acts through z as well.
    if detached:
        with torch.no_grad():
            z = encode(x)  # [batch, n, 1, 1]
    else:
        z = encode(x)  # [batch, n, 1, 1]
    return reconstruction_loss(decode(z), x, batch_size)  # []
