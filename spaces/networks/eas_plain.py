"""Plain networks: convolutions and pools, then linear layers.

Source: arXiv 1707.04873; han-cai/EAS: code/models/convnet.py, layers.py (re-written).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .eas_plan import CONV, POOL, Entry, Placed, placed


class ConvLayer(nn.Module):
    """Convolution that keeps the side, batch norm, ReLU, dropout.

    Args:
        inputs: Channels that it reads.
        filters: Channels that it makes.
        kernel: Odd.
        dropout: Probability with which training drops an output.
    """

    def __init__(self, inputs: int, filters: int, kernel: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.layer = nn.Conv2d(inputs, filters, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(filters)
        self.act = nn.ReLU()
        self.drop = nn.Dropout(dropout) if dropout else None
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, filters, H, W)."""
        y: Tensor = self.act(self.norm(self.layer(x)))
        return y if self.drop is None else self.drop(y)


class FullLayer(nn.Module):
    """Linear layer on all features, batch norm, ReLU, dropout.

    Args:
        inputs: Features that it reads: channels times pixels, where a map comes in.
        units: Features that it makes.
        dropout: Probability with which training drops an output.
    """

    def __init__(self, inputs: int, units: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, units, bias=False)
        self.norm = nn.BatchNorm1d(units)
        self.act = nn.ReLU()
        self.drop = nn.Dropout(dropout) if dropout else None
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> (N, units)."""
        y: Tensor = self.act(self.norm(self.layer(torch.flatten(x, 1))))
        return y if self.drop is None else self.drop(y)


class MaxPool(nn.MaxPool2d):
    """The maximum of 2x2 pixels; an odd row or column is dropped."""

    def __init__(self) -> None:
        super().__init__(2)


class GlobalPool(nn.AdaptiveAvgPool2d):
    """The average of the whole map."""

    def __init__(self) -> None:
        super().__init__(1)


class Classifier(nn.Module):
    """Linear layer with a bias on all features; no entry of the text of a network."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> (N, classes)."""
        logits: Tensor = self.layer(torch.flatten(x, 1))
        return logits


def initialise(module: nn.Module) -> None:
    """Draw convolutions by He's rule (fan-in), linear layers by Glorot's; biases are 0."""
    if any(p.is_meta for p in module.parameters()):
        return  # the weights come from elsewhere, and drawing none of them takes torch long
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class PlainNetwork(nn.Module):
    """The network of a text: a layer for each of its entries, and a classifier.

    Args:
        entries: Blocks of convolutions, each ended by a pool; then linear layers.
        in_channels: Channels of the image.
        side: Of the image.
        classes: Number of outputs.
        last_pool: `global` (the average of the whole map) or `max` (as the others).
        dropout: Of all layers but the first.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        in_channels: int,
        side: int,
        classes: int,
        last_pool: str = "global",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.plan = tuple(entries)
        self.rest = (in_channels, side, classes, last_pool, dropout)
        self.placed, features = placed(entries, in_channels, side, last_pool)
        self.layers = nn.Sequential(*(_layer(each, last_pool, dropout) for each in self.placed))
        self.classifier = Classifier(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, classes)."""
        logits: Tensor = self.classifier(self.layers(x))
        return logits


def _layer(place: Placed, last_pool: str, dropout: float) -> nn.Module:
    entry, drop = place.entry, dropout if place.drop else 0.0
    if entry.kind == POOL:
        return GlobalPool() if place.last and last_pool == "global" else MaxPool()
    if entry.kind == CONV:
        return ConvLayer(place.inputs, entry.width, entry.kernel, drop)
    return FullLayer(place.inputs, entry.width, drop)
