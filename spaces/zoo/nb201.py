"""NAS-Bench-201: every cell of four nodes and five operations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ...errors import InvalidArchitecture, did_you_mean
from ..arguments import with_preset
from ..decision import Architecture, Decision
from ..part import Part
from ..space import Space
from .cell_skeleton import cell_network_parts
from .checks import LONGEST, at_least

if TYPE_CHECKING:
    from torch import nn

    from ..layers import ModuleSupernet

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))  # (node, earlier node), as strings go
_NAMES = [f"node{node}.from{source}" for node, source in EDGES]


class NB201(Space):
    """The topology space of NAS-Bench-201: 15,625 cells.

    Written `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`. Every string is an architecture of its own and
    every operation counts in parameters and MACs, also one on a zero input or without a way to
    the output. The super-network has every operation on every edge; all cells share the choice
    of an edge.

    Source: arXiv 2001.00326; D-X-Y/AutoDL-Projects: xautodl/models/cell_infers/tiny_network.py,
    cell_searchs/search_cells.py.

    Args:
        preset: `full`, the networks of the benchmark, or `tiny`; sets the options left out.
        channels: Of the first stack; doubled in each of the two reductions.
        cells: Per stack; there are three stacks.
        classes: Number of outputs.
        resolution: Side of the square image.
        in_channels: Channels of the image.
    """

    name = "nb201"
    notation = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
    presets: ClassVar = {
        "full": {"channels": 16, "cells": 5, "resolution": 32},
        "tiny": {"channels": 4, "cells": 1, "resolution": 16},
    }
    mixture = True

    def __init__(
        self,
        *,
        preset: str = "full",
        channels: int | None = None,
        cells: int | None = None,
        classes: int = 10,
        resolution: int | None = None,
        in_channels: int = 3,
    ) -> None:
        own = {"channels": channels, "cells": cells, "resolution": resolution}
        o = with_preset(self.name, {"preset": preset, **own}, self.presets)
        channels, cells, resolution = (o[name] for name in own)
        at_least(
            1,
            channels=channels,
            classes=classes,
            resolution=resolution,
            in_channels=in_channels,
        )
        at_least(1, LONGEST, cells=cells)
        stacks = [[channels * 2**i] * cells for i in range(3)]
        self._widths = [*stacks[0], channels * 2, *stacks[1], channels * 4, *stacks[2]]
        stack = [False] * cells
        self._reductions = [*stack, True, *stack, True, *stack]
        self._image = (in_channels, classes, resolution)
        super().__init__([Decision(name, OPERATIONS) for name in _NAMES])

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network, freshly initialised."""
        from ..networks.cells import CellNetwork

        return CellNetwork(_genotype(architecture), self._widths, self._reductions, *self._image)

    def supernet(self, *, affine: bool = True, partial: int = 1) -> ModuleSupernet:
        """Return a super-network with every operation on every edge of every cell.

        `mix` takes weights for the edges, and for the sums in the nodes (`node1` .. `node3`).

        Args:
            affine: Whether the batch norms of the cells have scale and shift, as those of the
                stand-alone networks. Without, as the benchmark's own search methods have it, the
                convolutions of the cells have a bias instead.
            partial: K of PC-DARTS: the operations work on the first 1/K of the channels.

        Raises:
            SpecError: If K does not divide the widths.
        """
        at_least(1, partial=partial)
        from ..layers import Choice, ModuleSupernet
        from ..networks.cells import CellNetwork, Norm

        edges = {decision.name: Choice.of(decision) for decision in self.decisions}
        skeleton = (self._widths, self._reductions, *self._image)
        network = CellNetwork(_genotype(edges), *skeleton, cell_norm=Norm(affine), partial=partial)
        return ModuleSupernet(self, network)

    def counts(self) -> dict[str, int]:
        """Return the strings, the networks (see `canonical`), and the cells with a way through."""
        networks = {self.canonical(a) for a in self.enumerate()}
        connected = sum(map(_connected, self.enumerate()))
        return {"architectures": self.size, "networks": len(networks), "connected": connected}

    def connected(self, architecture: Architecture) -> bool:
        """Return whether a path without `none` leads from the input to the output of the cell."""
        return _connected(architecture)

    def parts(self, architecture: Architecture) -> Sequence[Part]:
        """Return one part per stem, operation, sum, reduction and head."""
        genotype = _genotype(architecture)
        return cell_network_parts(genotype, self._widths, self._reductions, *self._image)

    def canonical(self, architecture: Architecture) -> str:
        """Return a text shared by a cell and its mirror image.

        Without an operation between nodes 1 and 2 the two may change places: the network has the
        same operations on the same tensors (1,500 such pairs, 14,125 classes). Cells that compute
        the same function with other layers (a dead convolution, a pool of zeros) cost something
        else to run and stay apart.
        """
        own = self.format(architecture)
        if architecture["node2.from1"] != "none":
            return own
        a, b, none, c, d, e = (architecture[name] for name in _NAMES)
        mirrored = dict(zip(_NAMES, (b, a, none, c, e, d), strict=True))
        return min(own, self.format(Architecture(mirrored)))

    def parse_notation(self, value: str | Sequence[Any]) -> Architecture:
        """Read `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`."""
        if not isinstance(value, str) or not value.strip().startswith("|"):
            raise self.unreadable(value)
        nodes = value.strip().split("+")
        if len(nodes) != 3:
            raise self.unreadable(value, f"a cell has 3 nodes, this has {len(nodes)}")
        chosen = {}
        for number, text in enumerate(nodes, start=1):
            for source, operation in enumerate(_edges(text.strip(), number)):
                chosen[f"node{number}.from{source}"] = operation
        return self.architecture(chosen)

    def format(self, architecture: Architecture) -> str:
        """Return `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`."""
        return "+".join(
            f"|{'|'.join(f'{op}~{source}' for source, op in enumerate(node))}|"
            for node in _genotype(architecture)
        )

    def published(self) -> dict[str, Architecture]:
        """Return the cells that the benchmark's paper and its followers name."""
        return {name: self.parse_notation(text) for name, text in _PUBLISHED.items()}


_PUBLISHED = {
    # arXiv 2001.00326, table 5: the cell of ResNet
    "ResNet": "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|",
    # arXiv 2009.00437, section 3.2: the cell whose widths the size space chooses
    "NATS-size": "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    "+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|",
}


def _genotype(a: Mapping[str, Any]) -> list[list[Any]]:
    """Return the operations (or the choices of them) from the earlier nodes to each node."""
    return [[a[f"node{node}.from{source}"] for source in range(node)] for node in (1, 2, 3)]


def _connected(a: Mapping[str, Any]) -> bool:
    """Return whether a path without `none` leads from the input to the output."""
    reached = {0}
    for (node, source), name in zip(EDGES, _NAMES, strict=True):
        if source in reached and a[name] != "none":
            reached.add(node)
    return 3 in reached


def _edges(text: str, node: int) -> list[str]:
    """Return the operations of `|op~0|op~1|`, checked."""
    edges = text[1:-1].split("|")
    if not (text.startswith("|") and text.endswith("|")) or len(edges) != node:
        raise InvalidArchitecture(
            f"nb201: node {node} has {node} operation{'s' * (node > 1)}, each behind a bar and "
            f"followed by ~ and the node it reads; got {text!r}"
        )
    operations = []
    for source, edge in enumerate(edges):
        found = re.fullmatch(r"(\w+)~(\d+)", edge)
        if found is None or found[2] != str(source):
            raise InvalidArchitecture(
                f"nb201: edge {source} of node {node} is written op~{source}; got {edge!r}"
            )
        if found[1] not in OPERATIONS:
            raise InvalidArchitecture(
                f"nb201: node {node}, edge {source}: unknown operation {found[1]!r}"
                f"{did_you_mean(found[1], OPERATIONS)}"
            )
        operations.append(found[1])
    return operations
