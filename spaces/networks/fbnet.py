"""The networks of FBNet's space and their super-network.

Source: arXiv 1812.03443; arXiv 2103.10584, GATECH-EIC/HW-NAS-Bench:
hw_nas_bench_api/fbnet_models/model_infer.py (re-written).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..layers import Choice, OneOf
from .codes import block_code


class ConvBNReLU(nn.Sequential):
    """Convolution without bias (size kept at stride 1, halved upwards at 2), batch norm, ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        padding = kernel // 2
        super().__init__(
            nn.Conv2d(
                in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False
            ),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )


class Skip(ConvBNReLU):
    """What `skip` is where width or side change: a 1x1 convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(in_channels, out_channels, 1, stride)


class Block(nn.Module):
    """Inverted residual (MBConv): expand, depthwise, project; added where the shapes agree.

    The first convolution is there at ratio 1 too. With groups both 1x1 convolutions are grouped,
    and the channels are shuffled behind the first, so that the groups meet.

    Args:
        in_channels: Width of the input; the hidden width is this times `expand`.
        out_channels: Width of the output.
        kernel: Of the depthwise convolution.
        expand: Ratio of the hidden width.
        groups: Of the 1x1 convolutions.
        stride: Of the depthwise convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        expand: int,
        groups: int,
        stride: int,
    ) -> None:
        super().__init__()
        hidden = in_channels * expand
        self.residual = stride == 1 and in_channels == out_channels
        self.expand = ConvBNReLU(in_channels, hidden, 1, groups=groups)
        self.shuffle = nn.ChannelShuffle(groups) if groups > 1 else nn.Identity()
        self.depthwise = ConvBNReLU(hidden, hidden, kernel, stride, groups=hidden)
        self.project = nn.Sequential(
            nn.Conv2d(hidden, out_channels, 1, groups=groups, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, ceil(H/stride), ceil(W/stride))."""
        y: Tensor = self.project(self.depthwise(self.shuffle(self.expand(x))))
        return x + y if self.residual else y


class Head(nn.Module):
    """1x1 convolution, batch norm, ReLU, global average, linear."""

    def __init__(self, in_channels: int, features: int, classes: int) -> None:
        super().__init__()
        self.expand = ConvBNReLU(in_channels, features, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, classes)."""
        logits: Tensor = self.classifier(torch.flatten(self.pool(self.expand(x)), 1))
        return logits


def operation(code: str | Choice, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Return the operation of a layer, or one of several where it is chosen."""
    if isinstance(code, Choice):
        shape = (in_channels, out_channels, stride)
        return OneOf(code, {option: operation(str(option), *shape) for option in code.options})
    if code == "skip":
        keeps = stride == 1 and in_channels == out_channels
        return nn.Identity() if keeps else Skip(in_channels, out_channels, stride)
    return Block(in_channels, out_channels, *block_code(code), stride)


class FBNetwork(nn.Sequential):
    """Stem, layers, head.

    Args:
        stem: Channels of the image, width and stride of the first convolution.
        layers: Per layer its operation, the widths that it reads and writes, and its stride.
        head: Arguments of `Head`.
    """

    def __init__(
        self,
        stem: tuple[int, int, int],
        layers: Sequence[tuple[str | Choice, int, int, int]],
        head: tuple[int, int, int],
    ) -> None:
        in_channels, width, stride = stem
        body = [operation(*layer) for layer in layers]
        super().__init__()
        self.stem = ConvBNReLU(in_channels, width, 3, stride)
        self.layers = nn.Sequential(*body)
        self.head = Head(*head)
        _initialise(self)


def _initialise(network: nn.Module) -> None:
    """Draw the weights as HW-NAS-Bench does: convolutions He by fan-out, the classifier small."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.001)
            nn.init.zeros_(layer.bias)
