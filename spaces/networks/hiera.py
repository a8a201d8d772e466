"""The networks of Hiera, plain or elastic.

Source: arXiv 2306.00989; facebookresearch/hiera: hiera/hiera.py (re-written).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..layers import (
    Choice,
    ElasticLayerNorm,
    ElasticLinear,
    Size,
    conv2d,
    layer_norm,
    linear,
    positions,
    repeat,
)
from ..layers.elastic import ElasticConv2d
from .hiera_block import EPS, Block

_KERNEL = 7  # of the patches, which overlap
_SPREAD, _BIAS, _HEAD = 0.02, 0.02, 0.001  # of new weights; of new biases; of the classifier


class Stem(nn.Module):
    """Patches as tokens, and a learned table of their positions.

    Args:
        in_channels: Of the image.
        width: Of the tokens.
        stride: Between patches of 7x7.
        tokens: Along a side of the map.
    """

    def __init__(self, in_channels: int, width: Size | int, stride: int, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.conv = conv2d(in_channels, width, _KERNEL, stride=stride, bias=True)
        self.positions = positions(tokens**2, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, side, side) -> (N, tokens, tokens, width)."""
        x = self.positions(self.conv(x).flatten(2).transpose(1, 2))
        return x.view(x.shape[0], self.tokens, self.tokens, -1)


class Head(nn.Module):
    """The mean of the tokens, layer norm, classifier. Its outputs are logits in every mode.

    (The original's are probabilities in eval mode, to which a cross-entropy would apply a softmax
    once more.)

    Args:
        width: Of the tokens.
        classes: Number of outputs.
    """

    def __init__(self, width: Size | int, classes: int) -> None:
        super().__init__()
        self.norm = layer_norm(width, eps=EPS)
        self.classifier = linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, width) -> (N, classes)."""
        logits: Tensor = self.classifier(self.norm(x.mean((1, 2))))
        return logits


class HieraNet(nn.Sequential):
    """Stem, stages of blocks, head.

    Args:
        stem: Arguments of `Stem`.
        stages: Of each stage the depth and the arguments of its blocks; a smaller depth has the
            first ones.
        classes: Number of outputs.
    """

    def __init__(
        self,
        stem: Sequence[Any],
        stages: Sequence[tuple[Choice | int, Sequence[Sequence[Any]]]],
        classes: int,
    ) -> None:
        super().__init__()
        self.stem = Stem(*stem)
        self.stages = nn.Sequential(
            *(repeat(depth, [Block(*args) for args in blocks]) for depth, blocks in stages)
        )
        self.head = Head(stages[-1][1][-1][1], classes)
        _initialise(self)

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the map behind each stage, (N, width, H, W): for heads that see places.

        Args:
            x: (N, in_channels, side, side).
        """
        found = []
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
            found.append(x.permute(0, 3, 1, 2))
        return found


@torch.no_grad()
def _initialise(network: HieraNet) -> None:
    """Draw weights from a truncated normal distribution; biases of linear layers are not 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear | ElasticLinear):
            nn.init.trunc_normal_(layer.weight, std=_SPREAD)
            if layer.bias is not None:
                nn.init.constant_(layer.bias, _BIAS)
        elif isinstance(layer, nn.Conv2d | ElasticConv2d):
            nn.init.trunc_normal_(layer.weight, std=_SPREAD)
        elif isinstance(layer, nn.LayerNorm | ElasticLayerNorm):
            nn.init.ones_(layer.weight)
            nn.init.constant_(layer.bias, _BIAS)
    for parameter in network.head.classifier.parameters():
        parameter.mul_(_HEAD)
