"""The parts of `networks.darts.network.Network`, in the order in which it runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...graph import Module, PartGraph
from ...networks.darts.plan import CellPlan, Plan, half
from ...part import NETWORK_INPUT, Part
from .genotype import Cell

_NETWORK = "netloom.spaces.networks.darts.network"
_OPERATIONS = "netloom.spaces.networks.darts.operations"
_SUM = Module("netloom.spaces.networks.cells:Sum")


def network_parts(plan: Plan, cells: Mapping[str, Cell]) -> Sequence[Part]:
    """Return the parts of the final network; the auxiliary classifier is none of them."""
    graph = PartGraph((1, plan.in_channels, plan.resolution, plan.resolution))
    s0, s1 = _stem(graph, plan)
    for i, (cell, (side, made)) in enumerate(zip(plan.cells, plan.sides(), strict=True)):
        s0, s1 = s1, _cell(graph, f"cell{i}", cell, cells[cell.kind], (s0, s1), side, made)
    head = Module(f"{_NETWORK}:Head", (plan.width, plan.classes))
    graph.add("head", head, s1, shape=(1, plan.classes))
    return graph.parts


def _stem(graph: PartGraph, plan: Plan) -> tuple[int, int]:
    """Add the stem; return the two inputs of the first cell."""
    side, width = plan.resolution, plan.stem
    if plan.skeleton == "cifar":
        module = Module(f"{_NETWORK}:CifarStem", (plan.in_channels, width))
        stem = graph.add("stem", module, NETWORK_INPUT, shape=(1, width, side, side))
        return stem, stem
    side = half(half(side))
    module = Module(f"{_NETWORK}:ImageNetStem0", (plan.in_channels, width))
    s0 = graph.add("stem0", module, NETWORK_INPUT, shape=(1, width, side, side))
    side = half(side)
    module = Module(f"{_NETWORK}:ImageNetStem1", (width,))
    return s0, graph.add("stem1", module, s0, shape=(1, width, side, side))


def _cell(
    graph: PartGraph,
    label: str,
    plan: CellPlan,
    cell: Cell,
    inputs: tuple[int, int],
    side: int,
    made: int,
) -> int:
    """Add the layers of a cell; return its output."""
    width = plan.width
    first = "FactorizedReduce" if plan.halves else "ReluConvBN"
    modules = (
        Module(f"{_OPERATIONS}:{first}", (plan.before, width)),
        Module(f"{_OPERATIONS}:ReluConvBN", (plan.previous, width)),
    )
    shape = (1, width, side, side)
    states = [
        graph.add(f"{label}.input{i}", module, source, shape=shape)
        for i, (module, source) in enumerate(zip(modules, inputs, strict=True))
    ]
    shape = (1, width, made, made)
    for number, node in enumerate(cell.nodes, start=2):
        edges = []
        for i, (name, source) in enumerate(node):
            edge = states[source]
            if (module := operation_module(name, width, plan.stride(source))) is not None:
                again = ".again" if i and node[0][1] == source else ""
                where = f"{label}.node{number}.from{source}{again}"
                edge = graph.add(where, module, edge, shape=shape)
            edges.append(edge)
        states.append(graph.add(f"{label}.node{number}", _SUM, *edges, shape=shape))
    outputs = [states[i] for i in cell.concat]
    module = Module(f"{_OPERATIONS}:Concat")
    return graph.add(label, module, *outputs, shape=(1, width * len(outputs), made, made))


def operation_module(name: str, width: int, stride: int) -> Module | None:
    """Return the module of an operation in a final network; None for an identity."""
    kind, _, rest = name.rpartition("_conv_")
    if kind in ("sep", "dil"):
        made = "SepConv" if kind == "sep" else "DilConv"
        return Module(f"{_OPERATIONS}:{made}", (width, int(rest[0]), stride))
    if name == "conv_7x1_1x7":
        return Module(f"{_OPERATIONS}:FactorizedConv", (width, stride))
    if name == "skip_connect":
        return Module(f"{_OPERATIONS}:FactorizedReduce", (width, width)) if stride > 1 else None
    made = {"max_pool_3x3": "MaxPool", "avg_pool_3x3": "AvgPool", "noise": "Noise"}[name]
    return Module(f"{_OPERATIONS}:{made}", (stride,))
