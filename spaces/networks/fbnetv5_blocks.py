"""The blocks of FBNetV2 and V3: inverted residuals, and the tail that pools before it is wide.

Source: arXiv 2004.05565, 2006.02049; facebookresearch/mobile-vision:
mobile_cv/arch/fbnet_v2/irf_block.py, basic_blocks.py (re-written).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ..layers import SqueezeExcite
from ..rounding import make_divisible
from .mobile_blocks import ACTIVATIONS, ConvNorm


def round8(value: float) -> int:
    """Return the nearest multiple of 8, at least 8 and at least 95 % of `value`; halves go up."""
    return make_divisible(value, 8, 0.95)


class InvertedResidual(nn.Module):
    """Expand, depthwise, squeeze-and-excitation, project; added to the input where shapes agree.

    Maps are padded by half of the kernel, so that strides halve even sides exactly. The first
    convolution is left out where it would not widen. The scale of the last norm is 0 at first in
    a block that is added to its input, which is the identity then.

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output.
        kernel: Of the depthwise convolution.
        expand: The hidden width is this times that of the input, divisible by 8.
        excite: Whether squeeze-and-excitation follows the depthwise convolution.
        stride: Of the depthwise convolution; a negative one enlarges the map before it.
        activation: After the first two convolutions and in squeeze-and-excitation; one of
            `ACTIVATIONS`.
        narrow: Whether squeeze-and-excitation narrows to a quarter of the width before the
            expansion (FBNetV3), else of the hidden width (V2).
        bias: Whether the convolutions have one (V1).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        expand: float,
        excite: bool = False,
        stride: int = 1,
        activation: str = "h_swish",
        narrow: bool = True,
        bias: bool = False,
    ) -> None:
        super().__init__()
        hidden = round8(in_channels * expand)
        self.residual = stride == 1 and in_channels == out_channels
        self.expand: nn.Module = nn.Identity()
        if hidden != in_channels:
            self.expand = ConvNorm(in_channels, hidden, 1, 1, activation, bias=bias)
        self.enlarge: nn.Module = nn.Upsample(scale_factor=-stride) if stride < 0 else nn.Identity()
        self.depthwise = ConvNorm(
            hidden, hidden, kernel, max(stride, 1), activation, depthwise=True, bias=bias
        )
        self.excite: nn.Module = nn.Identity()
        if excite:
            squeezed = round8(int(hidden * (0.25 / expand if narrow else 0.25)))
            self.excite = SqueezeExcite(hidden, squeezed, activation=ACTIVATIONS[activation])
        self.project = ConvNorm(hidden, out_channels, 1, bias=bias)
        if self.residual:
            nn.init.zeros_(cast(Tensor, self.project.norm.weight))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, ceil(H/stride), ceil(W/stride)), or enlarged."""
        y: Tensor = self.depthwise(self.enlarge(self.expand(x)))
        y = self.project(self.excite(y))
        return x + y if self.residual else y


class PoolTail(nn.Module):
    """Widen, average, and mix what is left of the map: 1x1 convolutions around a global average.

    Args:
        in_channels: Width of the input.
        features: Width of the output.
        expand: The width that is averaged is this times that of the input, divisible by 8.
    """

    def __init__(self, in_channels: int, features: int, expand: float = 6) -> None:
        super().__init__()
        hidden = round8(in_channels * expand)
        self.expand = ConvNorm(in_channels, hidden, 1, 1, "h_swish")
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.mix = nn.Conv2d(hidden, features, 1, bias=False)
        self.activation = nn.Hardswish()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, features)."""
        return torch.flatten(self.activation(self.mix(self.pool(self.expand(x)))), 1)
