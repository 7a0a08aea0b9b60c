r"""The method of `gon.science.method` in a faster form: the same latents and images, up to rounding.

Read `gon.science.method` first. What is changed here, and why it is the same mathematically:

- *One forward pass stands for the batch at the origin.* At z_0 = 0 all images have the same input, hence the
  same activations, and statistics over copies of one image are those of that image. So F(z_0) and all that
  depends on it alone are computed once.
- *The inner gradient is a linear pull-back.* The derivative of L(x, F(z_0)) with respect to F(z_0) is
  proportional to the residual F(z_0) - x, which alone differs from image to image; from there to z leads the
  transpose of the Jacobian of F at z_0. It is written as ordinary differentiable operations, layer by
  layer, so that training needs one ordinary backward in place of a double one.
- *Biases in front of a batch norm are dropped.* The batch norm subtracts the mean of the batch, and the bias
  with it; its gradient is exactly zero. Without it the values at the origin are exact zeros after
  normalising, not zeros but for rounding, see docs/method.md on the kink. The running means do see it.

Only training mode is covered, that is statistics of the batch. Further inner steps start from points that
differ from image to image: they take the same pull-back over the whole batch.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gon.science.convolutions import transpose, transposed_convolution
from gon.science.networks import ACTIVATION_DERIVATIVES


def fast_origin_latent(
    decoder: nn.Sequential, x: Tensor, latent_dim: int, *, batch_size: int, inner_steps: int = 1
) -> Tensor:
    """Find the latents of a batch as `origin_latent` does, at a fraction of the cost.

    Parameters
    ----------
    decoder
        What `gon.science.networks.decoder` builds, in training mode.
    x
        Images [batch, channels, height, width].
    latent_dim, batch_size, inner_steps
        As in `origin_latent`. Only the first step starts at the origin; the others need a whole batch.

    Returns
    -------
    Tensor
        Latents z [batch, latent_dim, 1, 1]. Their graph is kept wherever autograd is enabled.
    """
    z = x.new_zeros(1, latent_dim, 1, 1)
    for _ in range(inner_steps):
        z = z - inner_gradient(decoder, z, x, batch_size=batch_size)
    return z


def inner_gradient(decoder: nn.Sequential, z: Tensor, x: Tensor, *, batch_size: int) -> Tensor:
    """Gradient of `reconstruction_loss` with respect to latents: the step that is taken from them.

    Parameters
    ----------
    decoder, x, batch_size
        As in `fast_origin_latent`.
    z
        As in `linearise`.

    Returns
    -------
    Tensor
        Gradient [batch, latent_dim, 1, 1].
    """
    residual_scale = 2 / (batch_size * x.shape[-2] * x.shape[-1])
    reconstruction, pull_back = linearise(decoder, z, len(x))
    return pull_back((reconstruction - x) * residual_scale)


def linearise(decoder: nn.Sequential, z: Tensor, batch: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Decode, and keep what it takes to pull a gradient back from the images to the latents.

    Parameters
    ----------
    decoder
        What `gon.science.networks.decoder` builds.
    z
        Latents [batch, latent_dim, 1, 1], or [1, latent_dim, 1, 1] for a batch of equal ones.
    batch
        Images in the batch.

    Returns
    -------
    reconstruction
        F(z), with the leading dimension of `z`.
    pull_back
        The transpose of the Jacobian of F at z: from [batch, channels, height, width] to
        [batch, latent_dim, 1, 1]. It couples the images, as batch statistics do.
    """
    *hidden, last = _blocks(decoder)
    h, kept = z, []
    for convolution, norm, activation in hidden:
        x_hat, scale = _normalised(transposed_convolution(h, convolution), convolution, norm, batch)
        n = torch.addcmul(_per_channel(norm.bias), _per_channel(norm.weight), x_hat)
        h = activation(n)
        kept.append((convolution, x_hat, scale, ACTIVATION_DERIVATIVES[type(activation)](n, h)))
    y = _image(last[0], h)

    def pull_back(v: Tensor) -> Tensor:
        v = transpose(v * (y - y * y), last[0])
        for convolution, x_hat, scale, slope in reversed(kept):
            v = _PullBack.apply(v, x_hat, scale, slope)  # type: ignore[no-untyped-call]
            v = transpose(v, convolution)
        return v

    return y, pull_back


def fast_decode(decoder: nn.Sequential, z: Tensor) -> Tensor:
    """Decode latents [batch, latent_dim, 1, 1] as `decoder(z)` does, but faster.

    In training mode the biases of the hidden layers, which the batch norms take away again, are left
    out: their gradient is exactly zero, and the origin is not moved off zero by rounding. The running
    statistics, which count in evaluation mode, contain them.
    """
    *hidden, last = _blocks(decoder)
    h = z
    for convolution, norm, activation in hidden:
        h = transposed_convolution(h, convolution)
        if norm.training:
            _shift_running_mean(norm, convolution)
        else:
            h = _with_bias(h, convolution)
        h = activation(norm(h))
    return _image(last[0], h)


def _blocks(decoder: nn.Sequential) -> list[tuple[nn.ConvTranspose2d, nn.BatchNorm2d, nn.Module]]:
    """The decoder's layers in threes: convolution, batch norm, activation. Of the last, the first counts."""
    layers = list(decoder)
    return [tuple(layers[i : i + 3]) for i in range(0, len(layers), 3)]  # type: ignore[misc]


def _per_channel(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)


def _per_channel_sum(v: Tensor) -> Tensor:
    """Sum over batch and space, per channel [1, channels, 1, 1]."""
    return v.sum((0, 2, 3), keepdim=True)


def _values_per_channel(v: Tensor) -> int:
    return v.numel() // v.shape[1]


def _batch_sum(v: Tensor) -> Tensor:
    """Sum over the batch [1, channels, height, width]; many times faster with the channels named last."""
    return v.permute(0, 2, 3, 1).sum(0, keepdim=True).permute(0, 3, 1, 2)


def _image(convolution: nn.ConvTranspose2d, h: Tensor) -> Tensor:
    """The last layer: images [batch, channels, 32, 32]."""
    return torch.sigmoid(_with_bias(transposed_convolution(h, convolution), convolution))


def _with_bias(h: Tensor, convolution: nn.ConvTranspose2d) -> Tensor:
    bias = convolution.bias
    assert bias is not None
    return h + _per_channel(bias)


def _shift_running_mean(norm: nn.BatchNorm2d, convolution: nn.ConvTranspose2d) -> None:
    """Let the running mean see the bias that is left out of the batch that it meets next.

    Done beforehand, since the batch norm keeps the running mean for its backward.
    """
    bias, momentum = convolution.bias, norm.momentum
    if norm.running_mean is not None and bias is not None and momentum is not None:
        norm.running_mean.add_(bias.detach(), alpha=momentum / (1 - momentum))


def _normalised(
    a: Tensor, convolution: nn.ConvTranspose2d, norm: nn.BatchNorm2d, batch: int
) -> tuple[Tensor, Tensor]:
    """Normalise the output of a layer, which leaves out its bias, with the statistics of the batch.

    Returns x_hat [.., channels, height, width] and the factor weight / std [1, channels, 1, 1]. The
    running statistics move as in a batch norm over `batch` images.
    """
    x_hat, scale, mean, inverse_std = _Normalise.apply(a, norm.weight, norm.eps)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        _shift_running_mean(norm, convolution)
        count = batch * a.shape[2] * a.shape[3]
        variance = (inverse_std**-2 - norm.eps) * (count / (count - 1))
        momentum = norm.momentum or 0.0
        for running, value in ((norm.running_mean, mean), (norm.running_var, variance)):
            if running is not None:
                running.lerp_(value, momentum)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
    return x_hat, scale


class _Normalise(torch.autograd.Function):
    """x_hat = (a - mean) / std, and weight / std; beside them mean and 1 / std, which have no gradient."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, ...]:
        x_hat, mean, inverse_std = torch.native_batch_norm(a, None, None, None, None, True, 0.0, eps)
        ctx.save_for_backward(x_hat, weight, inverse_std)
        ctx.mark_non_differentiable(mean, inverse_std)
        return x_hat, _per_channel(weight * inverse_std), mean, inverse_std

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x_hat, weight, inverse_std = ctx.saved_tensors
        g, g_scale = gradients[0], gradients[1].flatten()
        count = _values_per_channel(g)
        # A batch norm's backward; the derivative of 1 / std by a is -x_hat / (count std^2).
        m1 = _per_channel_sum(g) / count
        m2 = (_per_channel_sum(g * x_hat) + _per_channel(g_scale * weight * inverse_std)) / count
        g_a = (g - torch.addcmul(m1, x_hat, m2)) * _per_channel(inverse_std)
        return g_a, g_scale * inverse_std, None


class _PullBack(torch.autograd.Function):
    """The backward of an activation and a batch norm, as an operation that has a backward itself.

    With u = v * slope, and means over batch and space, it is

        P(u) = scale * (u - mean(u) - x_hat * mean(u * x_hat)).

    P is symmetric: back through it leads P again. `x_hat` and `slope` are either those of every image,
    or [1, channels, height, width] for all of them; then all but the first term needs only sums over
    the batch.
    """

    @staticmethod
    def forward(ctx: Any, v: Tensor, x_hat: Tensor, scale: Tensor, slope: Tensor) -> Tensor:
        count = _values_per_channel(v)
        v_sum = v if len(v) == len(x_hat) else _batch_sum(v)
        u = v_sum * slope
        mean_ux = _per_channel_sum(u * x_hat) / count
        means = torch.addcmul(_per_channel_sum(u) / count, x_hat, mean_ux)
        factor = scale * slope
        ctx.save_for_backward(v, v_sum, x_hat, scale, slope, factor, means, mean_ux)
        return torch.addcmul(-scale * means, v, factor)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        (g,) = gradients
        v, v_sum, x_hat, scale, slope, factor, means, mean_ux = ctx.saved_tensors
        count = _values_per_channel(v)
        g_sum, gv_sum = (g, g * v) if len(v) == len(x_hat) else (_batch_sum(g), _batch_sum(g * v))
        mean_gx = _per_channel_sum(g_sum * x_hat) / count
        g_means = torch.addcmul(_per_channel_sum(g_sum) / count, x_hat, mean_gx)
        return (
            torch.addcmul(-factor * g_means, g, factor),
            -scale * (g_sum * mean_ux + v_sum * slope * mean_gx),
            _per_channel_sum(slope * gv_sum - g_sum * means),
            scale * (gv_sum - g_means * v_sum),
        )
