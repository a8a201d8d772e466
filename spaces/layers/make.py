"""Layers that are plain torch ones where their sizes are numbers, elastic where some are chosen.

A network written with these functions is both: the stand-alone network, made with numbers, and
the super-network, made with choices. Cutting the second down gives the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import nn

from .elastic import ElasticConv2d, ElasticLinear
from .mutable import Choice, Size, as_size, fixed
from .norms import ElasticBatchNorm2d, ElasticLayerNorm
from .repeat import Repeat
from .switchable import SwitchableBatchNorm2d


def conv2d(
    in_channels: Size | int,
    out_channels: Size | int,
    kernel: Size | int = 1,
    *,
    stride: int = 1,
    padding: int | None = None,
    depthwise: bool = False,
    bias: bool = False,
    transform: bool = False,
) -> nn.Module:
    """Return a convolution; by default it keeps the size (at stride 1); see `ElasticConv2d`."""
    if not fixed(in_channels, out_channels, kernel):
        return ElasticConv2d(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=padding,
            depthwise=depthwise,
            bias=bias,
            transform=transform,
        )
    n_in, n_out, side = (as_size(size).value for size in (in_channels, out_channels, kernel))
    groups = n_out if depthwise else 1
    around = side // 2 if padding is None else padding
    return nn.Conv2d(n_in, n_out, side, stride, around, groups=groups, bias=bias)


def batch_norm2d(
    channels: Size | int,
    *,
    eps: float = 1e-5,
    momentum: float | None = 0.1,
    affine: bool = True,
    switchable: bool = False,
) -> nn.Module:
    """Return a batch norm; see `ElasticBatchNorm2d`, and `SwitchableBatchNorm2d` (switchable)."""
    if fixed(channels):
        return nn.BatchNorm2d(as_size(channels).value, eps, momentum, affine)
    if switchable:
        choice = cast(Choice, channels)  # or else it says so
        return SwitchableBatchNorm2d(choice, eps=eps, momentum=momentum, affine=affine)
    return ElasticBatchNorm2d(channels, eps=eps, momentum=momentum, affine=affine)


def linear(in_features: Size | int, out_features: Size | int, *, bias: bool = True) -> nn.Module:
    """Return a linear layer; see `ElasticLinear`."""
    if fixed(in_features, out_features):
        return nn.Linear(as_size(in_features).value, as_size(out_features).value, bias=bias)
    return ElasticLinear(in_features, out_features, bias=bias)


def layer_norm(features: Size | int, *, eps: float = 1e-5) -> nn.Module:
    """Return a layer norm over the last dimension; see `ElasticLayerNorm`."""
    if fixed(features):
        return nn.LayerNorm(as_size(features).value, eps)
    return ElasticLayerNorm(features, eps=eps)


def repeat(depth: Choice | int, blocks: Sequence[nn.Module]) -> nn.Module:
    """Return the first `depth` blocks, one after the other; see `Repeat`."""
    if isinstance(depth, Choice):
        return Repeat(depth, blocks)
    return nn.Sequential(*blocks[:depth])
