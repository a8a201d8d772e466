"""The parts of `networks.cells.CellNetwork`, for the two spaces that build it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from ..graph import Module, PartGraph, known_module
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
) -> Sequence[Part]:
    """Return the parts of the network that `CellNetwork` builds from the same arguments."""
    width, side = widths[0], resolution
    operations = tuple(map(tuple, genotype))
    graph = PartGraph((1, in_channels, side, side))
    module = known_module(f"{_CELLS}:Stem", in_channels, width)
    x = graph.add("stem", module, NETWORK_INPUT, shape=(1, width, side, side))
    for i, (new_width, reduction) in enumerate(zip(widths, reductions, strict=True)):
        if reduction:
            module = known_module(f"{_CELLS}:Reduction", width, new_width, side % 2 == 1)
            side = (side + 1) // 2
            x = graph.add(f"layer{i}", module, x, shape=(1, new_width, side, side))
        else:
            x = graph.extend(f"layer{i}", _cell(operations, width, new_width, side), x)
        width = new_width
    module = known_module(f"{_CELLS}:Head", width, classes)
    graph.add("head", module, x, shape=(1, classes))
    return graph.parts


@lru_cache(maxsize=1 << 8)
def _cell(genotype: tuple[tuple[str, ...], ...], in_width: int, width: int, side: int) -> PartGraph:
    """Return the operations and sums of a cell, the last of which is its output."""
    graph, shape = PartGraph((1, in_width, side, side)), (1, width, side, side)
    values = [NETWORK_INPUT]
    for node, names in enumerate(genotype, start=1):
        edges = []
        for source, name in enumerate(names):
            widths = (in_width if source == 0 else width, width)
            value = values[source]
            if (module := _operation(name, *widths)) is not None:
                value = graph.add(f".node{node}.from{source}", module, value, shape=shape)
            edges.append(value)
        if len(edges) > 1:
            edges = [graph.add(f".node{node}", _SUM, *edges, shape=shape)]
        values.append(edges[0])
    return graph


@lru_cache
def _operation(name: str, in_width: int, out_width: int) -> Module | None:
    """Return the module of an edge; None for an identity, which is no layer."""
    if name.startswith("nor_conv_"):
        return Module(f"{_CELLS}:ReluConvBN", (in_width, out_width, int(name[-1])))
    if name == "skip_connect":
        return Module(f"{_CELLS}:ConvBN", (in_width, out_width)) if in_width != out_width else None
    return Module(f"{_CELLS}:{'Zero' if name == 'none' else 'AvgPool'}")
