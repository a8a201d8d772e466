"""What plain networks and DenseNets consist of, in numbers; loads no torch.

Source: arXiv 1707.04873; han-cai/EAS: code/models/convnet.py, dense_net.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

CONV, POOL, FULL = "conv", "pool", "fc"
STEM = 2  # channels of the first convolution of a DenseNet, as a multiple of the mean growth rate


class Entry(NamedTuple):
    """One entry of the text of a plain network: a convolution, a pool or a linear layer.

    Args:
        kind: `conv`, `pool` or `fc`.
        width: Filters or units; 0 for a pool.
        kernel: Of a convolution, else 0.
    """

    kind: str
    width: int = 0
    kernel: int = 0

    def __str__(self) -> str:
        numbers = (n for n in (self.width, self.kernel) if n)
        return "-".join([self.kind, *map(str, numbers)])


class Placed(NamedTuple):
    """An entry and what it reads.

    Args:
        entry: Which.
        inputs: Channels of the map, or features of the vector, that it reads.
        side: Of the map that it reads; 0 for a linear layer.
        out_side: Of the map that it makes; 0 for a linear layer.
        last: Whether it is the last pool.
        drop: Whether training drops some of its outputs: a layer, but not the first.
    """

    entry: Entry
    inputs: int
    side: int
    out_side: int
    last: bool
    drop: bool


def placed(
    entries: Sequence[Entry], in_channels: int, side: int, last_pool: str
) -> tuple[list[Placed], int]:
    """Return the entries with what each reads, and the features that the classifier reads.

    Pools halve the side and drop an odd row and column; the last one averages the whole map where
    `last_pool` is `global`.
    """
    final = max(i for i, entry in enumerate(entries) if entry.kind == POOL)
    found, width = [], in_channels
    for place, entry in enumerate(entries):
        inputs, last, out_side = width, place == final, side
        if entry.kind == POOL:
            out_side = 1 if last and last_pool == "global" else side // 2
        elif entry.kind == FULL:
            inputs, out_side = width * max(1, side) ** 2, 0
        drop = entry.kind != POOL and any(e.kind != POOL for e in entries[:place])
        reads = 0 if entry.kind == FULL else side
        found.append(Placed(entry, inputs, reads, out_side, last, drop))
        width, side = entry.width or width, out_side
    return found, width * max(1, side) ** 2


class DensePlan(NamedTuple):
    """The widths of a DenseNet.

    Args:
        stem: Channels of the first convolution.
        blocks: The growth rates of the mini-blocks of each dense block.
        transitions: Channels behind each dense block but the last.
    """

    stem: int
    blocks: tuple[tuple[int, ...], ...]
    transitions: tuple[int, ...]

    @property
    def widths(self) -> list[int]:
        """The widths that the growth rates do not tell: of stem and transitions."""
        return [self.stem, *self.transitions]

    def inputs(self, block: int) -> list[int]:
        """Return what each mini-block of a dense block reads, and what leaves the block."""
        first = self.stem if block == 0 else self.transitions[block - 1]
        return list(accumulate(self.blocks[block], initial=first))


def dense_plan(blocks: Sequence[Sequence[int]], reduction: float) -> DensePlan:
    """Return the widths that growth rates ask for.

    The first convolution has twice their mean, a transition `reduction` times what it reads, both
    rounded down.
    """
    rates = [rate for block in blocks for rate in block]
    stem = width = STEM * sum(rates) // len(rates)
    transitions = []
    for block in blocks[:-1]:
        width = int((width + sum(block)) * reduction)
        transitions.append(width)
    return DensePlan(stem, tuple(map(tuple, blocks)), tuple(transitions))
