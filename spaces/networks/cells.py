"""Networks made of NAS-Bench-201 cells: the topology space and the size space share them.

Source: arXiv 2001.00326 and 2009.00437; D-X-Y/AutoDL-Projects: xautodl/models/cell_operations.py,
cell_infers/cells.py, shape_infers/InferTinyCellNet.py (re-written).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

Genotype = Sequence[Sequence[str]]  # per node 1, 2, 3: the operation from each earlier node


class Stem(nn.Sequential):
    """3x3 convolution and batch norm."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )


class ReluConvBN(nn.Sequential):
    """ReLU, convolution without bias (size kept at stride 1, halved upwards at 2), batch norm."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(out_channels),
        )


class ConvBN(nn.Sequential):
    """1x1 convolution without bias and batch norm: a skip between different widths."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
        )


class AvgPool(nn.AvgPool2d):
    """3x3 average that does not count the padding; no batch norm behind it."""

    def __init__(self) -> None:
        super().__init__(3, stride=1, padding=1, count_include_pad=False)


class Zero(nn.Module):
    """`none`: multiplies by 0, as the benchmark does.

    It keeps every operation of the cell in the autograd graph, so that each parameter gets a
    gradient (0 for a dead one) and optimizers need no special case.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros of the shape of `x`."""
        return x * 0.0


class Sum(nn.Module):
    """Adds its inputs, from left to right."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the sum of tensors of one shape."""
        total = inputs[0]
        for x in inputs[1:]:
            total = total + x
        return total


class Reduction(nn.Module):
    """Residual block of stride 2: two ReLU-conv3x3-BN beside a 2x2 average and a 1x1 conv.

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output.
        odd: Whether the input side is odd; the average then keeps the last row and column, as
            the convolution does.
    """

    def __init__(self, in_channels: int, out_channels: int, odd: bool = False) -> None:
        super().__init__()
        self.conv_a = ReluConvBN(in_channels, out_channels, 3, 2)
        self.conv_b = ReluConvBN(out_channels, out_channels, 3)
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=odd), nn.Conv2d(in_channels, out_channels, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, ceil(H/2), ceil(W/2))."""
        main: Tensor = self.conv_b(self.conv_a(x))
        shortcut: Tensor = self.shortcut(x)
        return shortcut + main


class Head(nn.Module):
    """Batch norm, ReLU, global average, linear."""

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        self.activate = nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(in_channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, classes)."""
        pooled = torch.flatten(self.pool(self.activate(x)), 1)
        logits: Tensor = self.classifier(pooled)
        return logits


def operation(name: str, in_channels: int, out_channels: int) -> nn.Module:
    """Return the operation `name` of an edge from width `in_channels` to `out_channels`."""
    if name == "nor_conv_1x1":
        return ReluConvBN(in_channels, out_channels, 1)
    if name == "nor_conv_3x3":
        return ReluConvBN(in_channels, out_channels, 3)
    if name == "skip_connect" and in_channels != out_channels:
        return ConvBN(in_channels, out_channels)
    return {"none": Zero, "skip_connect": nn.Identity, "avg_pool_3x3": AvgPool}[name]()


class Cell(nn.Module):
    """Four nodes; node i is the sum of an operation on each earlier node.

    Args:
        genotype: The operations from nodes 0..i-1, for i = 1, 2, 3.
        in_channels: Width of node 0.
        out_channels: Width of the other nodes.
    """

    def __init__(self, genotype: Genotype, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.nodes = nn.ModuleList(
            nn.ModuleList(
                operation(name, out_channels if source else in_channels, out_channels)
                for source, name in enumerate(node)
            )
            for node in genotype
        )
        self.sum = Sum()

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H, W)."""
        values = [x]
        for node in self.nodes:
            operations = cast(nn.ModuleList, node)
            edges = [edge(value) for edge, value in zip(operations, values, strict=True)]
            values.append(self.sum(*edges))
        return values[-1]


class CellNetwork(nn.Module):
    """Stem, three stacks of cells with a reduction between them, head.

    Args:
        genotype: Of every cell.
        widths: Output channels of every layer, cells and reductions; the stem has the first.
        reductions: Whether each layer is a reduction.
        in_channels: Channels of the image.
        classes: Number of outputs.
        resolution: Side of the image.
    """

    def __init__(
        self,
        genotype: Genotype,
        widths: Sequence[int],
        reductions: Sequence[bool],
        in_channels: int,
        classes: int,
        resolution: int,
    ) -> None:
        super().__init__()
        self.stem = Stem(in_channels, widths[0])
        layers: list[nn.Module] = []
        width, side = widths[0], resolution
        for new_width, reduction in zip(widths, reductions, strict=True):
            if reduction:
                layers.append(Reduction(width, new_width, side % 2 == 1))
                side = (side + 1) // 2
            else:
                layers.append(Cell(genotype, width, new_width))
            width = new_width
        self.layers = nn.Sequential(*layers)
        self.head = Head(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, resolution, resolution) -> (N, classes)."""
        logits: Tensor = self.head(self.layers(self.stem(x)))
        return logits
