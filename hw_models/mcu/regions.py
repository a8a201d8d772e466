"""Two memories: what does not fit into fast SRAM goes to slow RAM, the largest tensors first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..memory.buffers import Buffer
from ..memory.graph import Graph

Placer = Callable[[Sequence[Buffer]], int]


class Regions(NamedTuple):
    """Which buffers lie where.

    Args:
        fast_bytes: The arena in SRAM.
        slow_bytes: The arena in external RAM.
        slow: Ids of the tensors there.
    """

    fast_bytes: int
    slow_bytes: int
    slow: frozenset[int]


def split(buffers: Sequence[Buffer], limit: int, place: Placer) -> Regions:
    """Move the largest tensors to slow memory until the others fit into `limit` bytes.

    Scratch stays: kernels use it all the time. Each memory is placed by itself.

    Args:
        buffers: All of them.
        limit: Bytes of fast memory.
        place: Returns what some buffers need, by the policy's planner.
    """
    fast = sorted(buffers, key=lambda b: (b.role == "tensor", b.size, b.id))
    slow: list[Buffer] = []
    while place(fast) > limit and fast and fast[-1].role == "tensor":
        slow.append(fast.pop())
    return Regions(place(fast), place(slow) if slow else 0, frozenset(b.id for b in slow))


def slow_traffic(graph: Graph, slow: frozenset[int], owner: Sequence[int]) -> list[int]:
    """Return the bytes that each operator reads from and writes to slow memory.

    Args:
        graph: The operators.
        slow: Ids of the buffers there.
        owner: For each tensor, the id of the buffer that holds it.
    """
    return [
        sum([graph.size(i) for i in (*op.inputs, op.output) if owner[i] in slow])
        for op in graph.ops
    ]
