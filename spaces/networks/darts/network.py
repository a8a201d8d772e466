"""The networks around the cells: stems, reductions, classifier, auxiliary classifier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from ....errors import SpecError
from ...layers import Choice, OneOf
from .cell import Cell, Node, SearchCell, SearchNode
from .operations import FactorizedReduce, ReluConvBN, operation
from .plan import KINDS, SEARCHED, CellPlan, Plan, edge_name, node_name, pairs


class CifarStem(nn.Sequential):
    """3x3 convolution and batch norm."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )


class ImageNetStem0(nn.Sequential):
    """Two 3x3 convolutions of stride 2: to a quarter of the side."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        half = out_channels // 2
        super().__init__(
            nn.Conv2d(in_channels, half, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(),
            nn.Conv2d(half, out_channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )


class ImageNetStem1(nn.Sequential):
    """ReLU and a 3x3 convolution of stride 2: from a quarter to an eighth of the side."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )


class AuxiliaryHead(nn.Module):
    """A second classifier for training, on the maps behind the second reduction.

    Two by two averages of 5x5 pixels, which takes the maps of the usual images (8x8 of CIFAR,
    7x7 of ImageNet); maps of another side are averaged in four parts. As in the original, there
    is no batch norm behind the second convolution for ImageNet.

    Args:
        in_channels: Width of the maps.
        classes: Number of outputs.
        side: Of the maps.
        imagenet: Or CIFAR.
    """

    def __init__(self, in_channels: int, classes: int, side: int, imagenet: bool) -> None:
        super().__init__()
        stride = 2 if imagenet else 3
        fits = side >= 5 and (side - 5) // stride == 1
        self.features = nn.Sequential(
            nn.ReLU(),
            nn.AvgPool2d(5, stride) if fits else nn.AdaptiveAvgPool2d(2),
            nn.Conv2d(in_channels, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.Identity() if imagenet else nn.BatchNorm2d(768),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(768, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, classes)."""
        logits: Tensor = self.classifier(torch.flatten(self.features(x), 1))
        return logits


class Head(nn.Module):
    """Average over the map, linear."""

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(in_channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, classes)."""
        logits: Tensor = self.classifier(torch.flatten(self.pool(x), 1))
        return logits


class Network(nn.Module):
    """Stem, cells, classifier.

    Args:
        plan: Widths.
        cells: Finished ones, or those of a search.
        auxiliary: Whether it has the auxiliary classifier; in train mode, `forward` then returns
            its outputs too.
    """

    auxiliary_weight = 0.4  # of its loss

    def __init__(self, plan: Plan, cells: Iterable[nn.Module], auxiliary: bool = False) -> None:
        super().__init__()
        imagenet = plan.skeleton == "imagenet"
        self.stem0: nn.Module
        self.stem1: nn.Module
        if imagenet:
            self.stem0 = ImageNetStem0(plan.in_channels, plan.stem)
            self.stem1 = ImageNetStem1(plan.stem)
        else:
            self.stem0, self.stem1 = CifarStem(plan.in_channels, plan.stem), nn.Identity()
        self.cells = nn.ModuleList(cells)
        self.head = Head(plan.width, plan.classes)
        self.auxiliary: nn.Module | None = None
        self._branch = plan.reductions[1]
        if auxiliary:
            place = self._branch + 1
            width = plan.cells[place].previous if place < len(plan.cells) else plan.width
            side = list(plan.sides())[self._branch][1]
            self.auxiliary = AuxiliaryHead(width, plan.classes, side, imagenet)

    def set_drop_path(self, probability: float) -> None:
        """Drop the output of each operation, of a sample at a time, in train mode.

        What is left is scaled up; identities are never dropped. Retraining raises the
        probability linearly over the epochs (to 0.2 for DARTS, 0.3 for PC-DARTS).

        Raises:
            SpecError: If it is not from 0 to below 1.
        """
        if not 0 <= probability < 1:
            raise SpecError(f"drop path must be from 0 to below 1, got {probability!r}")
        for node in self.modules():
            if isinstance(node, Node):
                node.drop_path = probability

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """(N, in_channels, H, W) -> (N, classes); twice in train mode with auxiliary classifier."""
        s0 = self.stem0(x)
        s1 = self.stem1(s0)
        second: Tensor | None = None
        for i, cell in enumerate(self.cells):
            s0, s1 = s1, cell(s0, s1)
            if i == self._branch and self.auxiliary is not None and self.training:
                second = self.auxiliary(s1)
        logits: Tensor = self.head(s1)
        return logits if second is None else (logits, second)


def finished_network(
    plan: Plan,
    cells: Mapping[str, tuple[Sequence[Sequence[tuple[str, int]]], Sequence[int]]],
    *,
    auxiliary: bool = False,
    search: bool = False,
) -> Network:
    """Return the network of a genotype.

    Args:
        plan: Widths.
        cells: Kind -> (operation, source) of the edges of each node, and what is put out.
        auxiliary: Whether it has the auxiliary classifier.
        search: With the batch norms of a search network.
    """
    made = []
    for cell in plan.cells:
        nodes, concat = cells[cell.kind]
        made_nodes = [
            Node(
                (j, operation(name, cell.width, cell.stride(j), search=search)) for name, j in node
            )
            for node in nodes
        ]
        made.append(Cell(*_preprocess(cell, not search), made_nodes, concat))
    return Network(plan, made, auxiliary)


def search_network(
    plan: Plan,
    operations: Mapping[str, Sequence[Sequence[Sequence[str]]]],
    concat: Sequence[int],
    partial: int = 1,
) -> Network:
    """Return a network with every operation on every edge; cells of a kind share the choices.

    Args:
        plan: Widths.
        operations: Kind -> for each node, for each earlier state, what there is to choose from.
        concat: The nodes that a cell puts out.
        partial: The operations see 1 / `partial` of the channels.
    """
    choices = {kind: _Choices(kind, operations[kind]) for kind in KINDS}
    cells = []
    for cell in plan.cells:
        own = choices[cell.kind]
        nodes = [
            SearchNode(
                node_name(cell.kind, number),
                [_edge(choice, cell, source, partial) for source, choice in enumerate(edges)],
                inputs,
            )
            for number, (inputs, edges) in enumerate(own.nodes, start=2)
        ]
        cells.append(SearchCell(own.form, *_preprocess(cell, False), nodes, concat))
    return Network(plan, cells)


class _Choices:
    """The choices that all cells of a kind share: the form, and inputs and operations of nodes."""

    def __init__(self, kind: str, operations: Sequence[Sequence[Sequence[str]]]) -> None:
        self.form = Choice(f"{kind}.cell", (SEARCHED,))
        self.nodes: list[tuple[Choice | None, list[Choice]]] = []
        for node, edges in enumerate(operations, start=2):
            options = pairs(node)
            several = len(options) > 1
            inputs = Choice(f"{node_name(kind, node)}.inputs", options) if several else None
            names = [edge_name(kind, node, source) for source in range(node)]
            found = [Choice(n, o, ordered=False) for n, o in zip(names, edges, strict=True)]
            self.nodes.append((inputs, found))


def _edge(choice: Choice, cell: CellPlan, source: int, partial: int) -> OneOf:
    stride, width = cell.stride(source), cell.width // partial
    candidates = {name: operation(str(name), width, stride, search=True) for name in choice.options}
    return OneOf(choice, candidates, partial=partial, stride=stride)


def _preprocess(cell: CellPlan, affine: bool) -> tuple[nn.Module, nn.Module]:
    first = FactorizedReduce if cell.halves else ReluConvBN
    return first(cell.before, cell.width, affine), ReluConvBN(cell.previous, cell.width, affine)
