"""Networks made of NAS-Bench-201 cells: the topology space and the size space share them.

With numbers and names they are the stand-alone networks; with `Choice`s of widths or of the
operations of an edge, their super-networks.

Source: arXiv 2001.00326 and 2009.00437; D-X-Y/AutoDL-Projects: xautodl/models/cell_operations.py,
cell_infers/cells.py, cell_searchs/search_cells.py, shape_infers/InferTinyCellNet.py;
changlin31/BossNAS: searching/bossnas/models/operations/nats_ops.py (re-written).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import SpecError
from ..layers import (
    Choice,
    Junction,
    Mutable,
    OneOf,
    Size,
    Zero,
    as_size,
    batch_norm2d,
    conv2d,
    linear,
)
from ..layers.mutable import Context

Operation: TypeAlias = "str | Choice"  # of one edge
Genotype: TypeAlias = Sequence[Sequence[Operation]]  # per node 1, 2, 3: from each earlier node
Width: TypeAlias = "Size | int"


@dataclass(frozen=True)
class Norm:
    """How the layers of a network are normalised.

    Args:
        affine: With scale and shift; without them the convolution before has a bias.
        switchable: Where the width is chosen, a batch norm for each or one for all.
    """

    affine: bool = True
    switchable: bool = False

    def __call__(self, channels: Width) -> nn.Module:
        """Return a batch norm."""
        return batch_norm2d(channels, affine=self.affine, switchable=self.switchable)


PLAIN = Norm()


class Stem(nn.Sequential):
    """3x3 convolution and batch norm."""

    def __init__(self, in_channels: int, out_channels: Width, norm: Norm = PLAIN) -> None:
        super().__init__(conv2d(in_channels, out_channels, 3), norm(out_channels))


class ReluConvBN(nn.Sequential):
    """ReLU, convolution (size kept at stride 1, halved upwards at 2), batch norm."""

    def __init__(
        self,
        in_channels: Width,
        out_channels: Width,
        kernel: int,
        stride: int = 1,
        norm: Norm = PLAIN,
    ) -> None:
        super().__init__(
            nn.ReLU(),
            conv2d(in_channels, out_channels, kernel, stride=stride, bias=not norm.affine),
            norm(out_channels),
        )


class ConvBN(nn.Sequential):
    """1x1 convolution and batch norm: a skip between different widths."""

    def __init__(self, in_channels: Width, out_channels: Width, norm: Norm = PLAIN) -> None:
        super().__init__(
            conv2d(in_channels, out_channels, bias=not norm.affine), norm(out_channels)
        )


class Skip(Mutable):
    """The identity while two chosen widths agree, a 1x1 convolution and batch norm while not.

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output.
        norm: Of the convolution.
    """

    def __init__(self, in_channels: Width, out_channels: Width, norm: Norm) -> None:
        super().__init__()
        self.in_channels, self.out_channels = as_size(in_channels), as_size(out_channels)
        self.projection = ConvBN(in_channels, out_channels, norm)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choices of both widths, each once."""
        return tuple(dict.fromkeys((*self.in_channels.choices, *self.out_channels.choices)))

    @property
    def reads(self) -> Size | None:
        """The width that it passes on, while it is the identity; else its convolution reads it."""
        return None if self.projects else self.in_channels

    @property
    def projects(self) -> bool:
        """Whether the widths differ now."""
        return self.in_channels.value != self.out_channels.value

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H, W)."""
        if self.together:
            return self._together(x)
        y: Tensor = self.projection(x) if self.projects else x
        return y

    def branches(self) -> Iterator[tuple[nn.Module, Context]]:
        """Yield the convolution while it runs."""
        if self.projects:
            yield self.projection, {}

    def cut(self, inherit: bool) -> nn.Module:
        """Return what runs."""
        return self.projection if self.projects else nn.Identity()

    def _together(self, x: Tensor) -> Tensor:
        """Project the samples whose own widths differ."""
        widths = zip(self.in_channels.each(len(x)), self.out_channels.each(len(x)), strict=True)
        equal = torch.tensor([a == b for a, b in widths], device=x.device)
        more = self.out_channels.max - self.in_channels.max
        same = F.pad(x, (0, 0, 0, 0, 0, more))  # equal widths fit both
        return torch.where(equal[:, None, None, None], same, self.projection(x))


class AvgPool(nn.AvgPool2d):
    """3x3 average that does not count the padding; no batch norm behind it."""

    def __init__(self) -> None:
        super().__init__(3, stride=1, padding=1, count_include_pad=False)


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
        norm: Of the two convolutions.
    """

    def __init__(
        self,
        in_channels: Width,
        out_channels: Width,
        odd: bool = False,
        norm: Norm = PLAIN,
    ) -> None:
        super().__init__()
        self.conv_a = ReluConvBN(in_channels, out_channels, 3, 2, norm)
        self.conv_b = ReluConvBN(out_channels, out_channels, 3, norm=norm)
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=odd), conv2d(in_channels, out_channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, ceil(H/2), ceil(W/2))."""
        main: Tensor = self.conv_b(self.conv_a(x))
        shortcut: Tensor = self.shortcut(x)
        return shortcut + main


class Head(nn.Module):
    """Batch norm, ReLU, global average, linear."""

    def __init__(self, in_channels: Width, classes: int, norm: Norm = PLAIN) -> None:
        super().__init__()
        self.activate = nn.Sequential(norm(in_channels), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = linear(in_channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, classes)."""
        pooled = torch.flatten(self.pool(self.activate(x)), 1)
        logits: Tensor = self.classifier(pooled)
        return logits


_FREE: dict[str, type[nn.Module]] = {  # of parameters
    "none": Zero,
    "skip_connect": nn.Identity,
    "avg_pool_3x3": AvgPool,
}


def operation(
    name: Operation,
    in_channels: Width,
    out_channels: Width,
    norm: Norm = PLAIN,
    partial: int = 1,
) -> nn.Module:
    """Return the operation of an edge between two widths, or one of several where it is chosen.

    Those to choose from work on the first of `partial` parts of the channels.

    `none` multiplies by 0, as the benchmark does: it keeps every operation of the cell in the
    autograd graph, so that each parameter gets a gradient (0 for a dead one) and optimizers need
    no special case.
    """
    if isinstance(name, Choice):
        widths = (in_channels, out_channels)
        if partial > 1:
            widths = (_part(in_channels, partial), _part(out_channels, partial))
        candidates = {o: operation(str(o), *widths, norm) for o in name.options}
        return OneOf(name, candidates, partial=partial)
    if name in ("nor_conv_1x1", "nor_conv_3x3"):
        return ReluConvBN(in_channels, out_channels, int(name[-1]), norm=norm)
    if name == "skip_connect" and in_channels != out_channels:
        if isinstance(in_channels, int) and isinstance(out_channels, int):
            return ConvBN(in_channels, out_channels, norm)
        return Skip(in_channels, out_channels, norm)
    return _FREE[name]()


def _part(channels: Width, partial: int) -> int:
    if not isinstance(channels, int) or channels % partial:
        raise SpecError(
            f"the channels must divide by partial={partial}, got {channels}; choose channels that "
            "are a multiple of it, or another partial"
        )
    return channels // partial


class Cell(nn.Module):
    """Four nodes; node i is the sum of an operation on each earlier node.

    Args:
        genotype: The operations from nodes 0..i-1, for i = 1, 2, 3.
        in_channels: Width of node 0.
        out_channels: Width of the other nodes.
        norm: Of the operations.
        partial: Share of the channels that operations to choose from work on is 1 / `partial`.
    """

    def __init__(
        self,
        genotype: Genotype,
        in_channels: Width,
        out_channels: Width,
        norm: Norm = PLAIN,
        partial: int = 1,
    ) -> None:
        super().__init__()
        widths = [in_channels, *[out_channels] * (len(genotype) - 1)]
        self.nodes = nn.ModuleList(
            nn.ModuleList(
                operation(name, width, out_channels, norm, partial)
                for name, width in zip(node, widths, strict=False)
            )
            for node in genotype
        )
        self.sums = nn.ModuleList(
            Junction(f"node{i}", len(node)) for i, node in enumerate(genotype, start=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H, W)."""
        values = [x]
        for node, total in zip(self.nodes, self.sums, strict=True):
            operations = cast(nn.ModuleList, node)
            edges = [edge(value) for edge, value in zip(operations, values, strict=True)]
            values.append(total(*edges))
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
        norm: Of stem, reductions and head.
        cell_norm: Of the cells; None: the same.
        partial: As `Cell` takes it.
    """

    def __init__(
        self,
        genotype: Genotype,
        widths: Sequence[Width],
        reductions: Sequence[bool],
        in_channels: int,
        classes: int,
        resolution: int,
        *,
        norm: Norm = PLAIN,
        cell_norm: Norm | None = None,
        partial: int = 1,
    ) -> None:
        super().__init__()
        self.stem = Stem(in_channels, widths[0], norm)
        layers: list[nn.Module] = []
        width, side = widths[0], resolution
        for new_width, reduction in zip(widths, reductions, strict=True):
            if reduction:
                layers.append(Reduction(width, new_width, side % 2 == 1, norm))
                side = (side + 1) // 2
            else:
                layers.append(Cell(genotype, width, new_width, cell_norm or norm, partial))
            width = new_width
        self.layers = nn.Sequential(*layers)
        self.head = Head(width, classes, norm)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, resolution, resolution) -> (N, classes)."""
        logits: Tensor = self.head(self.layers(self.stem(x)))
        return logits
