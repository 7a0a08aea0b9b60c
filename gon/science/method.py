"""The method: latents from the gradient at the origin."""

from collections.abc import Callable

import torch
from torch import Tensor


def reconstruction_loss(reconstruction: Tensor, x: Tensor, batch_size: int) -> Tensor:
    """Squared error summed over channels, and averaged over pixels and batch.

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
    return (reconstruction - x).square().sum() / (batch_size * x.shape[-2] * x.shape[-1])


def origin_latent(
    decode: Callable[[Tensor], Tensor],
    x: Tensor,
    latent_dim: int,
    *,
    batch_size: int,
    inner_steps: int = 1,
    differentiable: bool = True,
) -> Tensor:
    """Find the latents of a batch by gradient steps from the origin.

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
    z = torch.zeros(x.shape[0], latent_dim, 1, 1, dtype=x.dtype, device=x.device, requires_grad=True)
    for _ in range(inner_steps):
        loss = reconstruction_loss(decode(z), x, batch_size)
        (gradient,) = torch.autograd.grad(loss, z, create_graph=differentiable)
        z = z - gradient
        if not differentiable:
            z = z.detach().requires_grad_()
    return z
