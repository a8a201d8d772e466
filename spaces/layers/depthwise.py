"""Depthwise convolution whose gradients are as fast on a CPU as its forward pass.

torch's own CPU kernels compute the gradients of dilated, and of wide, depthwise convolutions some
ten times more slowly than the convolution itself. The same sums are had from its fast kernels:

- the gradient of the input, at stride 1, is the convolution with the kernel turned around;
- that of a dilated kernel is that of a dense one on the image taken apart into its phases;
- a kernel more than three columns wide is columns of at most three, of the image moved sideways;
- stride and dilation of the same step read every so-many-th pixel only, so that both can be 1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_COLUMNS = 3  # the widest kernel with a fast gradient
_SMALL = 4  # the widest image of which the parts cost more than they save
_STRIDED = 5  # the widest kernel of which the parts save something at stride 2


class DepthwiseConv2d(nn.Conv2d):
    """One filter per channel, without bias; padded to keep the size at stride 1.

    The state and the output are those of `nn.Conv2d`.

    Args:
        channels: Of input and output.
        kernel: Side, odd.
        stride: Of both directions.
        dilation: Distance between the pixels that the kernel reads.
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1, dilation: int = 1) -> None:
        padding = dilation * (kernel // 2)
        super().__init__(
            channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, ceil(H/stride), ceil(W/stride))."""
        return depthwise_conv2d(x, self.weight, self.stride[0], self.dilation[0])


def depthwise_conv2d(x: Tensor, weight: Tensor, stride: int = 1, dilation: int = 1) -> Tensor:
    """Convolve each channel with its own filter.

    Args:
        x: (N, C, H, W).
        weight: (C, 1, K, K), K odd.
        stride: Of both directions.
        dilation: Distance between the pixels that the kernel reads.

    Returns:
        (N, C, ceil(H/stride), ceil(W/stride)).
    """
    if not (_torch_is_slow(x, weight, stride, dilation) and records_on_cpu(x)):
        return _convolve(x, weight, stride, dilation)
    if stride == dilation > 1:
        x, stride, dilation = x[..., ::stride, ::stride], 1, 1
    return _Depthwise.apply(x, weight, stride, dilation)  # type: ignore[no-untyped-call, no-any-return]


def _torch_is_slow(x: Tensor, weight: Tensor, stride: int, dilation: int) -> bool:
    """Return whether the gradients here are faster than torch's, as measured on one core."""
    side = weight.shape[-1]
    wide = side > _COLUMNS and x.shape[-1] > _SMALL and (stride == 1 or side <= _STRIDED)
    return dilation > 1 or wide


def records_on_cpu(x: Tensor) -> bool:
    """Return whether gradients are recorded on a CPU, in full precision, outside a compiler."""
    return (
        torch.is_grad_enabled()
        and x.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


class _Depthwise(torch.autograd.Function):
    """The convolution with its own backward pass, which can be differentiated again."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
        return _convolve(x, weight, stride, dilation)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int, int], output: Tensor) -> None:
        x, weight, ctx.stride, ctx.dilation = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        (of_x, of_weight, *_), (x, weight) = tangents, ctx.saved_tensors
        total = (
            torch.zeros(()) if of_x is None else _convolve(of_x, weight, ctx.stride, ctx.dilation)
        )
        if of_weight is None:
            return total
        return total + _convolve(x, of_weight, ctx.stride, ctx.dilation)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (grad,), (x, weight) = grads, ctx.saved_tensors
        of_x = _input_gradient(grad, x, weight, ctx.stride, ctx.dilation)
        of_weight = None
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(grad, x, weight, ctx.stride, ctx.dilation)
        return (of_x if ctx.needs_input_grad[0] else None), of_weight, None, None


def _convolve(x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    padding = dilation * (weight.shape[-1] // 2)
    return F.conv2d(x, weight, None, stride, padding, dilation, groups=len(weight))


def _input_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    if stride == 1:
        return _convolve(grad, weight.flip(2, 3), 1, dilation)
    padding = dilation * (weight.shape[-1] // 2)
    return _backward(grad, x, weight, stride, (padding, padding), dilation, of_input=True)


def _weight_gradient(grad: Tensor, x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    if dilation > 1 and stride == 1:
        x, grad, dilation = phases(x, dilation), phases(grad, dilation), 1
    side = weight.shape[-1]
    if dilation > 1 or side <= _COLUMNS or side // 2 > x.shape[-1]:
        padding = dilation * (side // 2)
        return _backward(grad, x, weight, stride, (padding, padding), dilation)
    found = [torch.empty(0)] * side
    for first in (*range(0, side - _COLUMNS, _COLUMNS), side - _COLUMNS):
        start = first - side // 2  # of the pixels that the first of these columns reads
        moved = F.pad(x, (-start, start + _COLUMNS - 1))
        columns = weight[..., :_COLUMNS].contiguous()
        some = _backward(grad, moved, columns, stride, (side // 2, 0), 1)
        found[first : first + _COLUMNS] = some.unbind(-1)
    return torch.stack(found, dim=-1)


def _backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: int,
    padding: tuple[int, int],
    dilation: int,
    *,
    of_input: bool = False,
) -> Tensor:
    """Return torch's own gradient of the weight, or of the input."""
    of_x, of_weight, _ = torch.ops.aten.convolution_backward(
        grad,
        x,
        weight,
        None,
        [stride, stride],
        list(padding),
        [dilation, dilation],
        False,
        [0, 0],
        len(weight),
        [of_input, not of_input, False],
    )
    found: Tensor = of_x if of_input else of_weight
    return found


def phases(x: Tensor, step: int) -> Tensor:
    """(N, C, H, W) -> (N step^2, C, ceil(H/step), ceil(W/step)): each image's pixels by place.

    A convolution of that dilation is a dense one here. Sides that `step` does not divide are
    filled up with zeros.
    """
    n, channels, height, width = x.shape
    if height % step or width % step:
        x = F.pad(x, (0, -width % step, 0, -height % step))
    rows, columns = x.shape[2] // step, x.shape[3] // step
    apart = x.permute(0, 2, 3, 1).reshape(n, rows, step, columns, step, channels)
    together = apart.permute(0, 2, 4, 1, 3, 5).reshape(n * step * step, rows, columns, channels)
    return together.permute(0, 3, 1, 2)


def unphased(x: Tensor, step: int) -> Tensor:
    """Return the images of which `phases` made `x`, with what it filled up."""
    _, channels, rows, columns = x.shape
    apart = x.permute(0, 2, 3, 1).reshape(-1, step, step, rows, columns, channels)
    together = apart.permute(0, 3, 1, 4, 2, 5).reshape(-1, rows * step, columns * step, channels)
    return together.permute(0, 3, 1, 2)
