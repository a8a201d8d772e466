"""The operations of an edge: C channels in, C channels out, stride 1 or 2, no bias anywhere.

Odd sides are halved upwards, by every operation alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...layers import Zero
from ...layers.depthwise import DepthwiseConv2d


class ReluConvBN(nn.Sequential):
    """ReLU, 1x1 convolution, batch norm: what brings the inputs of a cell to its width."""

    def __init__(self, in_channels: int, out_channels: int, affine: bool = True) -> None:
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels, affine=affine),
        )


class FactorizedReduce(nn.Module):
    """ReLU, two 1x1 convolutions of stride 2 on pixels one apart, side by side, batch norm.

    The second reads from pixel (1, 1) on; an odd side gets a row, or column, of zeros there.

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output, even.
        affine: Whether the batch norm has scale and shift.
    """

    def __init__(self, in_channels: int, out_channels: int, affine: bool = True) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        half = out_channels // 2
        self.conv_1 = nn.Conv2d(in_channels, half, 1, stride=2, bias=False)
        self.conv_2 = nn.Conv2d(in_channels, half, 1, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, ceil(H/2), ceil(W/2))."""
        x = self.relu(x)
        height, width = x.shape[2:]
        later = x[:, :, 1:, 1:]
        if height % 2 or width % 2:
            later = F.pad(later, (0, width % 2, 0, height % 2))
        y: Tensor = self.bn(torch.cat([self.conv_1(x), self.conv_2(later)], dim=1))
        return y


class DilConv(nn.Sequential):
    """ReLU, depthwise convolution that reads every other pixel, 1x1 convolution, batch norm."""

    def __init__(self, channels: int, kernel: int, stride: int, affine: bool = True) -> None:
        super().__init__(
            nn.ReLU(),
            DepthwiseConv2d(channels, kernel, stride, dilation=2),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels, affine=affine),
        )


class SepConv(nn.Sequential):
    """Twice: ReLU, depthwise convolution, 1x1 convolution, batch norm; the first has the stride."""

    def __init__(self, channels: int, kernel: int, stride: int, affine: bool = True) -> None:
        layers: list[nn.Module] = []
        for step in (stride, 1):
            layers += [
                nn.ReLU(),
                DepthwiseConv2d(channels, kernel, step),
                nn.Conv2d(channels, channels, 1, bias=False),
                nn.BatchNorm2d(channels, affine=affine),
            ]
        super().__init__(*layers)


class FactorizedConv(nn.Sequential):
    """ReLU, dense 1x7 and 7x1 convolutions, batch norm; each takes the stride of its direction."""

    def __init__(self, channels: int, stride: int, affine: bool = True) -> None:
        row, column = ((1, 7), (1, stride), (0, 3)), ((7, 1), (stride, 1), (3, 0))
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(channels, channels, *row, bias=False),
            nn.Conv2d(channels, channels, *column, bias=False),
            nn.BatchNorm2d(channels, affine=affine),
        )


class AvgPool(nn.AvgPool2d):
    """3x3 average that does not count the padding."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__(3, stride, padding=1, count_include_pad=False)


class MaxPool(nn.MaxPool2d):
    """3x3 maximum."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__(3, stride, padding=1)


class Noise(nn.Module):
    """Standard normal noise instead of the input (arXiv 1909.09656, search space S4)."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, ceil(H/stride), ceil(W/stride))."""
        return torch.randn_like(x[..., :: self.stride, :: self.stride])


def added(values: Sequence[Tensor]) -> Tensor:
    """Return the sum of tensors of one shape, added from left to right."""
    total = values[0]
    for y in values[1:]:
        total = total + y
    return total


class Concat(nn.Module):
    """Puts its inputs side by side."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return one tensor with the channels of all."""
        return torch.cat(inputs, dim=1)


def operation(name: str, channels: int, stride: int, *, search: bool = False) -> nn.Module:
    """Return the operation `name`.

    Args:
        name: As genotypes write it; `none` and `noise` too.
        channels: Of input and output.
        stride: 1 or 2.
        search: As in a search network: batch norms without scale and shift, and one behind each
            pool.
    """
    affine = not search
    kind, _, rest = name.rpartition("_conv_")
    if kind in ("sep", "dil"):
        made = SepConv if kind == "sep" else DilConv
        return made(channels, int(rest[0]), stride, affine)
    if name == "conv_7x1_1x7":
        return FactorizedConv(channels, stride, affine)
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, affine)
    if name in ("none", "noise"):
        return Zero(stride) if name == "none" else Noise(stride)
    pool = {"max_pool_3x3": MaxPool, "avg_pool_3x3": AvgPool}[name](stride)
    return nn.Sequential(pool, nn.BatchNorm2d(channels, affine=False)) if search else pool
