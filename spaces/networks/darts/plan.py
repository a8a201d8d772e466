"""What the networks and their spaces have in common: names, widths, sides. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

KINDS = ("normal", "reduce")  # of cells
SEARCHED = "searched"  # the form of a cell with two inputs for each node


def node_name(kind: str, node: int) -> str:
    """Return the name of a node; nodes are numbered behind the two inputs, from 2 on."""
    return f"{kind}.node{node}"


def edge_name(kind: str, node: int, source: int) -> str:
    """Return the name of the edge from state `source` to a node."""
    return f"{kind}.node{node}.from{source}"


def pairs(node: int) -> tuple[str, ...]:
    """Return the pairs of inputs that a node can have: `0+1`, `0+2`, ..."""
    return tuple(f"{a}+{b}" for a, b in combinations(range(node), 2))


@dataclass(frozen=True)
class CellPlan:
    """One cell of a network.

    Args:
        kind: `normal` or `reduce`.
        before: Width of input 0, the output of the cell before the previous one.
        previous: Width of input 1.
        width: Of the nodes.
        halves: Whether input 0 has twice the side of input 1.
    """

    kind: str
    before: int
    previous: int
    width: int
    halves: bool

    def stride(self, source: int) -> int:
        """Return the stride of the operations on a state: a reduction halves its inputs."""
        return 2 if self.kind == "reduce" and source < 2 else 1


@dataclass(frozen=True)
class Plan:
    """A network around its cells.

    Args:
        skeleton: `cifar` or `imagenet`.
        stem: Width of the stem.
        cells: In their order.
        width: Of the last output.
        in_channels: Channels of the image.
        classes: Number of outputs.
        resolution: Side of the image.
    """

    skeleton: str
    stem: int
    cells: tuple[CellPlan, ...]
    width: int
    in_channels: int
    classes: int
    resolution: int

    @property
    def reductions(self) -> tuple[int, int]:
        """The positions of the two reductions; the auxiliary classifier follows the second."""
        return len(self.cells) // 3, 2 * len(self.cells) // 3

    def sides(self) -> Iterator[tuple[int, int]]:
        """Yield the sides of the maps that each cell reads (input 1) and makes."""
        side = self.resolution
        for _ in range(3 if self.skeleton == "imagenet" else 0):
            side = half(side)
        for cell in self.cells:
            made = half(side) if cell.kind == "reduce" else side
            yield side, made
            side = made


def half(side: int) -> int:
    """Return the side of a map after a stride of 2."""
    return (side + 1) // 2


def plan(
    skeleton: str,
    stem: int,
    channels: int,
    layers: int,
    nodes: Mapping[str, int],
    image: tuple[int, int, int],
) -> Plan:
    """Return the plan of a network; the widths double before each of its two reductions.

    Args:
        skeleton: `cifar` or `imagenet`.
        stem: Width of the stem.
        channels: Width of the first cell.
        layers: Number of cells.
        nodes: How many nodes a cell of each kind puts out.
        image: Channels, classes, side.
    """
    before = previous = stem
    halves = skeleton == "imagenet"
    cells = []
    for i in range(layers):
        kind = "reduce" if i in (layers // 3, 2 * layers // 3) else "normal"
        channels *= 2 if kind == "reduce" else 1
        cells.append(CellPlan(kind, before, previous, channels, halves))
        halves = kind == "reduce"
        before, previous = previous, nodes[kind] * channels
    return Plan(skeleton, stem, tuple(cells), previous, *image)
