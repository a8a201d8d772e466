"""The networks of NAS-Bench-Macro and their super-network.

Source: arXiv 2103.11922; xiusu/NAS-Bench-Macro: train/model.py (re-written).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..layers import Choice, OneOf
from .codes import block_code


class Stem(nn.Sequential):
    """3x3 convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )


class Downsample(nn.Sequential):
    """What `identity` is where a stage begins: 1x1 convolution of stride 2 and batch norm."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 1, stride=2, bias=False),
            nn.BatchNorm2d(out_channels),
        )


class InvertedResidual(nn.Module):
    """MBConv: expand, depthwise, project; added to the input where the shapes agree.

    Args:
        in_channels: Width of the input; the hidden width is this times `expand`, not rounded.
        out_channels: Width of the output.
        kernel: Of the depthwise convolution.
        expand: Ratio of the hidden width.
        stride: Of the depthwise convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, expand: int, stride: int
    ) -> None:
        super().__init__()
        hidden = in_channels * expand
        self.residual = stride == 1 and in_channels == out_channels
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, kernel, stride, kernel // 2, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, ceil(H/stride), ceil(W/stride))."""
        y: Tensor = self.body(x)
        return x + y if self.residual else y


class Head(nn.Module):
    """1x1 convolution, batch norm, ReLU, global average, linear."""

    def __init__(self, in_channels: int, features: int, classes: int) -> None:
        super().__init__()
        self.expand = nn.Sequential(
            nn.Conv2d(in_channels, features, 1, bias=False), nn.BatchNorm2d(features), nn.ReLU()
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, classes)."""
        logits: Tensor = self.classifier(torch.flatten(self.pool(self.expand(x)), 1))
        return logits


def operation(name: str | Choice, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Return the operation of a layer, or one of several where it is chosen."""
    if isinstance(name, Choice):
        shape = (in_channels, out_channels, stride)
        return OneOf(name, {option: operation(str(option), *shape) for option in name.options})
    if name == "identity":
        return nn.Identity() if stride == 1 else Downsample(in_channels, out_channels)
    kernel, expand, _ = block_code(name)
    return InvertedResidual(in_channels, out_channels, kernel, expand, stride)


class MacroNetwork(nn.Sequential):
    """Stem, eight layers, head.

    Args:
        stem: Arguments of `Stem`.
        layers: Per layer its operation, the widths that it reads and writes, and its stride.
        head: Arguments of `Head`.
    """

    def __init__(
        self,
        stem: tuple[int, int],
        layers: Sequence[tuple[str | Choice, int, int, int]],
        head: tuple[int, int, int],
    ) -> None:
        body = [operation(*layer) for layer in layers]
        super().__init__()
        self.stem = Stem(*stem)
        self.layers = nn.Sequential(*body)
        self.head = Head(*head)
