"""The decoder's transposed convolutions and their transposes, in the form that is fastest on a CPU.

Every form is exact and uses the weights of an ordinary `torch.nn.ConvTranspose2d`. Which form serves
which layer was measured, see docs/performance.md:

- a 1 x 1 input (the first layer) is one matrix product;
- few output channels (the last layer) are one matrix product, whose results are shifted and added up
  to the image; the library's own kernel is far slower there;
- everything else is left to the library, with the channels last in memory.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FEW_CHANNELS = 4
_KERNEL = (4, 4)


def transposed_convolution(h: Tensor, layer: nn.ConvTranspose2d) -> Tensor:
    """Apply a layer of the decoder, without its bias.

    Parameters
    ----------
    h
        Input [batch, channels in, height, width].
    layer
        Kernel 4, with stride 1 and no padding on a 1 x 1 input, or stride 2 and padding 1.

    Returns
    -------
    Tensor
        Output [batch, channels out, 4, 4] or [batch, channels out, 2 height, 2 width].
    """
    weight = layer.weight
    if _is_matrix(layer):
        product = h.flatten(1) @ _channels_last_matrix(weight)
        return _to_images(product, *_KERNEL)
    if _has_few_channels(layer):
        scattered: Tensor = _Scattered.apply(h, weight)  # type: ignore[no-untyped-call]
        return scattered
    return F.conv_transpose2d(h, weight, None, layer.stride, layer.padding)  # type: ignore[arg-type]


def transpose(v: Tensor, layer: nn.ConvTranspose2d) -> Tensor:
    """Apply the transpose of a layer: the pull-back of a gradient from its output to its input.

    Parameters
    ----------
    v
        Gradient with respect to the output, of the output's shape.
    layer
        As in `transposed_convolution`.

    Returns
    -------
    Tensor
        Gradient with respect to the input, of the input's shape.
    """
    weight = layer.weight
    if _is_matrix(layer):
        return (v.permute(0, 2, 3, 1).flatten(1) @ _channels_last_matrix(weight).T)[:, :, None, None]
    if _has_few_channels(layer):
        gathered: Tensor = _Gathered.apply(v, weight)  # type: ignore[no-untyped-call]
        return gathered
    return F.conv2d(v, weight, None, layer.stride, layer.padding)


def _is_matrix(layer: nn.ConvTranspose2d) -> bool:
    return layer.padding == (0, 0)


def _has_few_channels(layer: nn.ConvTranspose2d) -> bool:
    return layer.out_channels <= _FEW_CHANNELS and layer.weight.device.type == "cpu"


def _channels_last(weight: Tensor) -> Tensor:
    """The kernel with its channels last in memory, said by its strides even where there is one only.

    The library takes a single channel for channels first otherwise, and runs at a third of the speed.
    """
    return weight.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format).permute(0, 3, 1, 2)


def _channels_last_matrix(weight: Tensor) -> Tensor:
    """A kernel [in, out, 4, 4] as a matrix [in, 4 * 4 * out]."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def _to_images(rows: Tensor, height: int, width: int) -> Tensor:
    """Rows [batch, height * width * channels] as [batch, channels, height, width], channels last."""
    return rows.view(len(rows), height, width, -1).permute(0, 3, 1, 2)


def _scattered(h: Tensor, weight: Tensor) -> Tensor:
    batch, _, height, width = h.shape
    # What every pixel of h adds to the 4 x 4 patch below it: planes [4, 4, c, batch, height, width].
    products = weight.permute(2, 3, 1, 0).flatten(0, 2) @ h.permute(0, 2, 3, 1).flatten(0, 2).T
    planes = products.view(*_KERNEL, -1, batch, height, width)
    # Row k of the patch of row i falls on row 2 i + k - 1. Even rows of the image are made of k = 1 and, from
    # the row before, k = 3; odd ones of k = 2 and, from the row after, k = 0. Padding by 1 and -1 shifts.
    rows = torch.stack(
        [planes[1] + F.pad(planes[3], (0, 0, 1, -1)), planes[2] + F.pad(planes[0], (0, 0, -1, 1))]
    )
    # The same for columns: [2, 2, c, batch, height, width].
    pixels = torch.stack(
        [rows[:, 1] + F.pad(rows[:, 3], (1, -1)), rows[:, 2] + F.pad(rows[:, 0], (-1, 1))], dim=1
    )
    return _to_images(pixels.permute(3, 4, 0, 5, 1, 2).flatten(1), 2 * height, 2 * width)


def _gathered(v: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(v, _channels_last(weight), None, 2, 1)


def _weight_gradient(h: Tensor, v: Tensor, weight: Tensor) -> Tensor:
    """Gradient of sum(v * layer(h)) with respect to the weight, which is that of sum(h * transpose(v))."""
    gradients = torch.ops.aten.convolution_backward(
        h, v, _channels_last(weight), None, [2, 2], [1, 1], [1, 1], False, [0, 0], 1, [False, True, False]
    )
    gradient: Tensor = gradients[1]
    return gradient


class _Scattered(torch.autograd.Function):
    """A transposed convolution (stride 2, padding 1) to few channels."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(h, weight)
        return _scattered(h, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        h, weight = ctx.saved_tensors
        return _gathered(gradients[0], weight), _weight_gradient(h, gradients[0], weight)


class _Gathered(torch.autograd.Function):
    """Its transpose."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(v, weight)
        return _gathered(v, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        v, weight = ctx.saved_tensors
        return _scattered(gradients[0], weight), _weight_gradient(gradients[0], v, weight)
