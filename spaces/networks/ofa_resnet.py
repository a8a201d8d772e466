"""The ResNet50D networks of Once-for-All, plain or elastic.

Source: arXiv 1908.09791, 1812.01187 (ResNet-D); mit-han-lab/once-for-all:
ofa/imagenet_classification/elastic_nn/networks/ofa_resnets.py (re-written).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..layers import Choice, Size, Sortable, repeat
from .mobile_blocks import Classifier, ConvNorm, he_fan_out


class ResidualConvNorm(nn.Module):
    """3x3 convolution, batch norm and ReLU, added to the input.

    Args:
        channels: Width.
    """

    def __init__(self, channels: Size | int) -> None:
        super().__init__()
        self.body = ConvNorm(channels, channels, 3, 1, "relu")

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> the same shape."""
        y: Tensor = self.body(x)
        return x + y


class Bottleneck(Sortable):
    """1x1, 3x3 with the stride, 1x1 convolution beside a shortcut; ReLU behind the sum.

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output.
        hidden: Widths behind the first and behind the second convolution.
        stride: Of the second convolution.
        projects: Whether the shortcut is an average (over the stride, upwards on odd sides), a
            1x1 convolution and a batch norm; else it is the input.
    """

    def __init__(
        self,
        in_channels: Size | int,
        out_channels: Size | int,
        hidden: tuple[Size | int, Size | int],
        stride: int = 1,
        projects: bool = False,
    ) -> None:
        super().__init__()
        first, second = hidden
        self.conv1 = ConvNorm(in_channels, first, 1, 1, "relu")
        self.conv2 = ConvNorm(first, second, 3, stride, "relu")
        self.conv3 = ConvNorm(second, out_channels)
        self.shortcut = nn.Sequential()
        if projects and stride > 1:
            self.shortcut.append(nn.AvgPool2d(stride, stride, ceil_mode=True))
        if projects:
            self.shortcut.append(ConvNorm(in_channels, out_channels))
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, ceil(H/stride), ceil(W/stride))."""
        y: Tensor = self.activation(self.conv3(self.conv2(self.conv1(x))) + self.shortcut(x))
        return y

    def readers(self) -> list[nn.Module]:
        """Return the second and the third convolution."""
        return [self.conv2.conv, self.conv3.conv]


class OfaResNet(nn.Sequential):
    """Stem of two or three convolutions, max-pool, four stages of bottlenecks, classifier.

    Args:
        stem: Image channels, the two widths of the stem, its stride, whether it has the residual
            convolution (0 or 1), and whether a max-pool follows.
        stages: Of each stage the depth and the arguments of its bottlenecks; a smaller depth has
            the first ones.
        classifier: Arguments of `Classifier`.
    """

    def __init__(
        self,
        stem: tuple[int, Size | int, Size | int, int, Choice | int, bool],
        stages: Sequence[tuple[Choice | int, Sequence[Sequence[Any]]]],
        classifier: Sequence[Any],
    ) -> None:
        super().__init__()
        in_channels, middle, out, stride, residual, pool = stem
        self.stem = nn.Sequential()
        self.stem.add_module("first", ConvNorm(in_channels, middle, 3, stride, "relu"))
        self.stem.add_module("residual", repeat(residual, [ResidualConvNorm(middle)]))
        self.stem.add_module("last", ConvNorm(middle, out, 3, 1, "relu"))
        if pool:
            self.stem.add_module("pool", nn.MaxPool2d(3, 2, 1))
        self.stages = nn.Sequential(
            *(repeat(depth, [Bottleneck(*args) for args in blocks]) for depth, blocks in stages)
        )
        self.classifier = Classifier(*classifier)
        he_fan_out(self)
