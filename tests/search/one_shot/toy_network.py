"""A super-network of three edges whose weights are written down, in double precision."""

from __future__ import annotations

import torch
from torch import nn

from netloom.spaces import ModuleSpace
from netloom.spaces.layers import OneOf, Zero


class Average(nn.Module):
    """The mean of the coordinates, at every coordinate."""

    def forward(self, x):
        return x.mean(-1, keepdim=True).expand_as(x)


def _waves(rows, columns, scale, function, start, rate):
    k = torch.arange(rows * columns, dtype=torch.float64)
    return (scale * function(start + rate * k)).reshape(rows, columns)


def _linear(weight, bias=False):
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias:
            layer.bias.zero_()
    return layer


def _edge(number):
    layers = {}
    for o, activation in ((2, nn.Tanh()), (3, nn.ReLU())):
        weight = _waves(4, 4, 0.5, torch.cos, 2 + 3 * number + o, 0.9)
        layers[o] = nn.Sequential(_linear(weight), activation)
    operations = [Zero(), nn.Identity(), layers[2], layers[3], Average()]
    return OneOf(f"edge{number}", dict(enumerate(operations)))


class Toy(nn.Module):
    """h0 -> h1, h0 -> h2, h1 -> h2; edge 0, 1 and 2."""

    def __init__(self):
        super().__init__()
        self.stem = _linear(_waves(4, 3, 0.6, torch.cos, 1, 1))
        self.edges = nn.ModuleList(map(_edge, range(3)))
        self.head = _linear(_waves(3, 4, 0.6, torch.sin, 2, 1), bias=True)

    def forward(self, x):
        h0 = torch.tanh(self.stem(x))
        h1 = self.edges[0](h0)
        return self.head(self.edges[1](h0) + self.edges[2](h1))


def toy_batch(b):
    """Return inputs (4, 3) and labels (4,)."""
    n, i = torch.arange(4)[:, None], torch.arange(3)[None]
    return torch.cos(0.8 * b + 1.1 * n + 0.5 * i.double()), (torch.arange(4) + b) % 3


def toy_supernet():
    return ModuleSpace(Toy, toy_batch(0)[0]).supernet()
