"""HyTra's operators and its stand-alone networks (BossNet).

Source: arXiv 2103.12424; changlin31/BossNAS: retraining_hytra/boss_models.py,
retraining_hytra/boss_candidates, searching/bossnas/models/operations/hytra_ops.py (re-written).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import DropPath, SqueezeExcite
from .hytra_plan import ATTENTION, CONVOLUTION, HIGHEST, Layer, heads_of

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU}
_SQUEEZE = 16  # widths of squeeze-and-excitation: C and C / 16


class Attention2d(nn.Module):
    """Self-attention over all positions of a map, without an output projection.

    Positions have no table: what a pixel knows of its place comes from the depthwise convolution
    before.

    Args:
        channels: Of input and output, heads times their width.
        heads: Number of heads.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape.

        Row i of the attention, which sums to 1, weighs the values for position i. (The released
        search multiplies the values by the transposed matrix.)
        """
        n, channels, height, width = x.shape
        tokens = self.to_qkv(x).view(n, 3, self.heads, channels // self.heads, height * width)
        # a copy: CUDA's kernels refuse the strides of a transposed map of one pixel
        q, k, v = tokens.transpose(-1, -2).clone(memory_format=torch.contiguous_format).unbind(1)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return mixed.transpose(-1, -2).reshape(n, channels, height, width)


class Projection(nn.Sequential):
    """1x1 convolution, depthwise 3x3 convolution with bias, batch norm.

    The depthwise one is the positional encoding, and where the side is halved. Nothing passes it
    by.

    Args:
        in_width: Width of the input.
        width: Width of the output.
        stride: Of the depthwise convolution.
    """

    def __init__(self, in_width: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_width, width, 1, bias=False)
        self.position = nn.Conv2d(width, width, 3, stride, 1, groups=width)
        self.norm = nn.BatchNorm2d(width)


class Entry(nn.Module):
    """The two ways into an operator: what its branch reads, and what passes the branch by.

    Args:
        projection: For the branch.
        shortcut: To the width and side of the output.
    """

    def __init__(self, projection: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.projection, self.shortcut = projection, shortcut

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, in, H, W) -> (N, C/4, H', W') and (N, C, H', W')."""
        return self.projection(x), self.shortcut(x)


class Branch(nn.Sequential):
    """What an operator does with its input: act, mix the positions, norm, act, 1x1, norm.

    Positions are mixed by self-attention, or by a dense 3x3 convolution. The scale of the last
    norm is 0 at first.

    Args:
        kind: ATTENTION or CONVOLUTION.
        width: Of the output; a quarter inside.
        heads: Of the attention.
        activation: One of `ACTIVATIONS`.
    """

    def __init__(self, kind: int, width: int, heads: int, activation: str) -> None:
        super().__init__()
        inner = width // 4
        self.act1 = ACTIVATIONS[activation]()
        self.mix = (
            Attention2d(inner, heads)
            if kind == ATTENTION
            else nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        )
        self.norm1 = nn.BatchNorm2d(inner)
        self.act2 = ACTIVATIONS[activation]()
        self.conv = nn.Conv2d(inner, width, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)


class Operator(nn.Module):
    """A ResAtt or ResConv: the output of a branch and a shortcut, added and activated.

    Args:
        entry: Makes the inputs of both.
        branch: Ends in a batch norm.
        activation: One of `ACTIVATIONS`.
        excite: Squeeze-and-excitation behind the branch, if there is one.
        drop: Probability with which training drops the branch of a sample.
    """

    def __init__(
        self,
        entry: nn.Module,
        branch: nn.Module,
        activation: str,
        excite: nn.Module | None = None,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.entry, self.branch = entry, branch
        self.excite = nn.Identity() if excite is None else excite
        self.drop = DropPath(drop)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, C, H', W')."""
        inner, shortcut = self.entry(x)
        y = self.drop(self.excite(self.branch(inner)))
        output: Tensor = self.activation(y + shortcut)
        return output


class Pass(nn.Sequential):
    """The way past a branch where width or side change: average of 2x2, 1x1 convolution, norm.

    An odd side is halved upwards, and averages count what is there.
    """

    def __init__(self, in_width: int, width: int, stride: int) -> None:
        super().__init__()
        if stride == 2:
            self.pool = nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False)
        self.conv = nn.Conv2d(in_width, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)


class Stem(nn.Sequential):
    """7x7 convolution, batch norm, activation, and a maximum of 3x3 of stride 2 if wanted.

    Args:
        in_channels: Of the image.
        channels: Width of the output.
        stride: Of the convolution.
        pool: Whether the maximum follows.
        activation: One of `ACTIVATIONS`.
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int, pool: bool, activation: str
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 7, stride, 3, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.activation = ACTIVATIONS[activation]()
        if pool:
            self.pool = nn.MaxPool2d(3, 2, 1)


class Down(nn.Sequential):
    """A resolution without a layer: 3x3 convolution, batch norm, activation."""

    def __init__(self, in_width: int, width: int, stride: int, activation: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_width, width, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.activation = ACTIVATIONS[activation]()


class Head(nn.Module):
    """Global average, linear."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, classes)."""
        logits: Tensor = self.classifier(torch.flatten(self.pool(x), 1))
        return logits


class ResAtt(Operator):
    """A layer of self-attention of a stand-alone network.

    Args:
        in_width: Width of the input.
        width: Width of the output.
        stride: 1 or 2.
        heads: Of the attention; they share a quarter of the width.
        activation: One of `ACTIVATIONS`.
    """

    def __init__(self, in_width: int, width: int, stride: int, heads: int, activation: str) -> None:
        branch = Branch(ATTENTION, width, heads, activation)
        super().__init__(_entry(in_width, width, stride), branch, activation)


class ResConv(Operator):
    """A layer of convolutions of a stand-alone network.

    Args:
        in_width: Width of the input.
        width: Width of the output.
        stride: 1 or 2.
        activation: One of `ACTIVATIONS`.
        excite: Whether squeeze-and-excitation follows the branch.
        drop: Probability with which training drops the branch of a sample.
    """

    def __init__(
        self,
        in_width: int,
        width: int,
        stride: int,
        activation: str,
        excite: bool,
        drop: float = 0.0,
    ) -> None:
        entry, branch = _entry(in_width, width, stride), Branch(CONVOLUTION, width, 1, activation)
        excites = SqueezeExcite(width, max(1, width // _SQUEEZE), nn.Sigmoid) if excite else None
        super().__init__(entry, branch, activation, excites, drop)


def _entry(in_width: int, width: int, stride: int) -> Entry:
    same = stride == 1 and in_width == width
    shortcut = nn.Identity() if same else Pass(in_width, width, stride)
    return Entry(Projection(in_width, width // 4, stride), shortcut)


class BossNet(nn.Sequential):
    """A stand-alone network: stem, layers, head.

    Args:
        stem: The arguments of `Stem` but for the activation.
        layers: What follows it.
        classes: Number of outputs.
        activation: One of `ACTIVATIONS`.
        excite: Whether ResConv has squeeze-and-excitation.
        drop: Probability with which training drops the branch of the last layer, if that is a
            ResConv; it rises linearly from 0 at the first.
    """

    def __init__(
        self,
        stem: tuple[int, int, int, bool],
        layers: Sequence[Layer],
        classes: int,
        activation: str = "silu",
        excite: bool = True,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        last = max(1, max(layer.place for layer in layers if layer.kind is not None))
        self.stem = Stem(*stem, activation)
        self.layers = nn.Sequential(
            *(_layer(layer, activation, excite, drop * layer.place / last) for layer in layers)
        )
        self.head = Head(layers[-1].width, classes)
        _initialise(self)


def _layer(layer: Layer, activation: str, excite: bool, drop: float) -> nn.Module:
    shape = (layer.in_width, layer.width, layer.stride)
    if layer.kind is None:
        return Down(*shape, activation)
    if layer.kind == ATTENTION:
        return ResAtt(*shape, heads_of(HIGHEST - layer.level), activation)
    return ResConv(*shape, activation, excite, drop)


def _initialise(network: nn.Module) -> None:
    """Draw the convolutions by He's rule (fan-out); the last scale of each branch is 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    silence(network)


def silence(network: nn.Module) -> None:
    """Set the last scale of each branch to 0, so that operators begin as their shortcuts."""
    for layer in network.modules():
        if isinstance(layer, Branch):
            nn.init.zeros_(layer.norm2.weight)
