"""The networks of the measured spaces compute what their benchmarks say, not only with its sizes.

Each reference below is written from the description of the benchmark, in functions alone; it takes
the convolutions and norms of the built network in the order of their definition.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netloom.spaces import Space
from netloom.spaces.zoo.nas_bench_macro import NasBenchMacro
from netloom.spaces.zoo.nats_sss import NatsSSS
from netloom.spaces.zoo.nb201 import NB201

from .conftest import images, randomize


class Weights:
    """Hands out the convolutions and norms of a network one by one."""

    def __init__(self, network: nn.Module) -> None:
        layers = list(network.modules())
        self._convolutions = iter([m for m in layers if isinstance(m, nn.Conv2d)])
        self._norms = iter([m for m in layers if isinstance(m, nn.BatchNorm2d)])
        (self.linear,) = [m for m in layers if isinstance(m, nn.Linear)]

    def conv(self, x: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
        layer = next(self._convolutions)
        assert layer.bias is None
        padding = layer.weight.shape[-1] // 2
        return F.conv2d(x, layer.weight, None, stride, padding, groups=groups)

    def norm(self, x: Tensor) -> Tensor:
        n = next(self._norms)
        return F.batch_norm(x, n.running_mean, n.running_var, n.weight, n.bias, False, 0.0, n.eps)

    def classify(self, x: Tensor) -> Tensor:
        return F.linear(x.mean((2, 3)), self.linear.weight, self.linear.bias)

    def used_up(self) -> bool:
        return next(self._convolutions, None) is next(self._norms, None) is None


def cell(w: Weights, nodes: list[list[str]], x: Tensor, width: int) -> Tensor:
    """Nodes are sums of operations on earlier nodes; the last one is the output."""
    values = [x]
    for node in nodes:
        total = torch.zeros(x.shape[0], width, *x.shape[2:])
        for source, name in zip(values, node, strict=True):
            if name.startswith("nor_conv"):
                total = total + w.norm(w.conv(F.relu(source)))
            elif name == "avg_pool_3x3":
                total = total + F.avg_pool2d(source, 3, 1, 1, count_include_pad=False)
            elif name == "skip_connect" and source.shape[1] != width:
                total = total + w.norm(w.conv(source))
            elif name == "skip_connect":
                total = total + source
            else:
                assert name == "none"
        values.append(total)
    return values[-1]


def reduction(w: Weights, x: Tensor) -> Tensor:
    """Two ReLU-conv3x3-norm, the first of stride 2, beside an average of 2x2 and a 1x1."""
    main = w.norm(w.conv(F.relu(x), stride=2))
    main = w.norm(w.conv(F.relu(main)))
    return main + w.conv(F.avg_pool2d(x, 2))


def of_cells(nodes: list[list[str]], widths: list[int], reductions: set[int]) -> Callable:
    def forward(w: Weights, x: Tensor) -> Tensor:
        x = w.norm(w.conv(x))
        for i, width in enumerate(widths):
            x = reduction(w, x) if i in reductions else cell(w, nodes, x, width)
        return w.classify(F.relu(w.norm(x)))

    return forward


def nb201(space: Space, text: str) -> Callable:
    """Three stacks of two cells of width 4, 8, 16."""
    nodes = [[op.split("~")[0] for op in n.strip("|").split("|")] for n in text.split("+")]
    return of_cells(nodes, [4, 4, 8, 8, 8, 16, 16, 16], {2, 5})


def nats_sss(space: Space, text: str) -> Callable:
    """Cell, reduction, cell, reduction, cell of the widths; one genotype."""
    conv = "nor_conv_3x3"
    nodes = [[conv], [conv, conv], ["skip_connect", conv, conv]]
    return of_cells(nodes, [int(width) for width in text.split(":")], {1, 3})


def macro(space: Space, text: str) -> Callable:
    """Eight layers in stages of 2, 3, 3; kernels 3 and 5, ratios 3 and 6."""

    def forward(w: Weights, x: Tensor) -> Tensor:
        x = F.relu(w.norm(w.conv(x)))
        for place, digit in enumerate(text):
            stride = 2 if place in (0, 2, 5) else 1
            if digit != "0":
                hidden = x.shape[1] * (3 if digit == "1" else 6)
                y = F.relu(w.norm(w.conv(x)))
                y = F.relu(w.norm(w.conv(y, stride, groups=hidden)))
                y = w.norm(w.conv(y))
                x = x + y if stride == 1 else y
            elif stride == 2:
                x = w.norm(w.conv(x, 2))
        return w.classify(F.relu(w.norm(w.conv(x))))

    return forward


@pytest.mark.parametrize(
    ("space", "reference"),
    [
        (NB201(channels=4, cells=2, resolution=8), nb201),
        (NatsSSS(widths=[3, 4, 6], resolution=8), nats_sss),
        (NasBenchMacro(channels=4, features=24, resolution=16), macro),
    ],
    ids=["nb201", "nats_sss", "nas_bench_macro"],
)
def test_outputs_are_those_of_the_benchmarks_network(
    space: Space, reference: Callable[[Space, str], Callable[[Weights, Tensor], Tensor]]
) -> None:
    rng = Random(2)
    for _ in range(12):
        a = space.sample(rng)
        network, x = space.build(a).eval(), images(space, a)
        randomize(network)
        weights = Weights(network)
        with torch.no_grad():
            expected = reference(space, space.format(a))(weights, x)
            torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-4)
        assert weights.used_up()
