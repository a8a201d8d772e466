"""The parts of `networks.cells.CellNetwork`, for the two spaces that build it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from ..graph import Module, PartGraph
from ..part import NETWORK_INPUT, Part

_CELLS = "netloom.spaces.networks.cells"
_SUM = Module(f"{_CELLS}:Sum")


def cell_network_parts(
    genotype: Sequence[Sequence[str]],
    widths: Sequence[int],
    reductions: Sequence[bool],
    in_channels: int,
    classes: int,
    resolution: int,
) -> list[Part]:
    """Return the parts of the network that `CellNetwork` builds from the same arguments."""
    width, side = widths[0], resolution
    graph = PartGraph((1, in_channels, side, side))
    module = Module(f"{_CELLS}:Stem", (in_channels, width))
    x = graph.add("stem", module, NETWORK_INPUT, shape=(1, width, side, side))
    for i, (new_width, reduction) in enumerate(zip(widths, reductions, strict=True)):
        if reduction:
            module = Module(f"{_CELLS}:Reduction", (width, new_width, side % 2 == 1))
            side = (side + 1) // 2
            x = graph.add(f"layer{i}", module, x, shape=(1, new_width, side, side))
        else:
            x = _cell(graph, f"layer{i}", genotype, x, width, (1, new_width, side, side))
        width = new_width
    graph.add("head", Module(f"{_CELLS}:Head", (width, classes)), x, shape=(1, classes))
    return graph.parts


def _cell(
    graph: PartGraph,
    label: str,
    genotype: Sequence[Sequence[str]],
    x: int,
    in_width: int,
    shape: tuple[int, ...],
) -> int:
    """Add the operations and sums of a cell; return the tensor of its last node."""
    values = [x]
    for node, names in enumerate(genotype, start=1):
        edges = []
        for source, name in enumerate(names):
            widths = (in_width if source == 0 else shape[1], shape[1])
            value = values[source]
            if (module := _operation(name, *widths)) is not None:
                name = f"{label}.node{node}.from{source}"
                value = graph.add(name, module, value, shape=shape)
            edges.append(value)
        if len(edges) > 1:
            edges = [graph.add(f"{label}.node{node}", _SUM, *edges, shape=shape)]
        values.append(edges[0])
    return values[-1]


@lru_cache
def _operation(name: str, in_width: int, out_width: int) -> Module | None:
    """Return the module of an edge; None for an identity, which is no layer."""
    if name.startswith("nor_conv_"):
        return Module(f"{_CELLS}:ReluConvBN", (in_width, out_width, int(name[-1])))
    if name == "skip_connect":
        return Module(f"{_CELLS}:ConvBN", (in_width, out_width)) if in_width != out_width else None
    return Module(f"{_CELLS}:{'Zero' if name == 'none' else 'AvgPool'}")
