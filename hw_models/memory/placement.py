"""Where buffers go in the arena: the allocators of two runtimes.

Both take buffers by falling size and give each the lowest gap that is free during its life; they
differ in alignment, in ties and in what a stride 2 in place leaves free. Liveness is a lower bound
of either, which placement can exceed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .buffers import Buffer

ALIGNMENT = 16


class Placement(NamedTuple):
    """Offsets by the id of the buffer, and where the highest ends.

    Args:
        offsets: Bytes from the start of the arena.
        head: Bytes that all buffers need.
    """

    offsets: dict[int, int]
    head: int


def aligned(size: int) -> int:
    """Return a size rounded up to the alignment of TensorFlow Lite Micro."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def greedy16(buffers: Sequence[Buffer]) -> Placement:
    """Place buffers as TensorFlow Lite Micro's greedy planner does.

    Buffers go by falling aligned size, among equals the higher id first; each takes the first gap
    between buffers that live at the same time, else the place above the highest of them.

    Source: tensorflow/tflite-micro, `greedy_memory_planner.cc`.
    """
    order = sorted(buffers, key=lambda b: (-aligned(b.size), -b.id))
    offsets: dict[int, int] = {}
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first, last
    head = 0
    for b in order:
        size = aligned(b.size)
        low = lowest([(o, e) for o, e, f, t in placed if f <= b.last and t >= b.first], size)
        offsets[b.id] = low
        placed.append((low, low + size, b.first, b.last))
        head = max(head, low + size)
    return Placement(offsets, head)


def firstfit(buffers: Sequence[Buffer]) -> Placement:
    """Place buffers as TinyEngine's first-fit allocator does.

    Buffers go by falling size, among equals in the order given; each takes the lowest free slot
    over the half-open interval of its life. Of a buffer that a depthwise convolution of stride 2
    overwrites in place, only a quarter counts for buffers that start after it.

    Source: mit-han-lab/tinyengine, `allocator/firstFit.py`.
    """
    offsets: dict[int, int] = {}
    placed: list[tuple[int, Buffer]] = []
    head = 0
    for b in sorted(buffers, key=lambda b: -b.size):
        taken = [
            (low, low + _counted(other, b.first))
            for low, other in placed
            if other.first <= b.last and other.last >= b.first
        ]
        low = offsets[b.id] = lowest(taken, b.size)
        placed.append((low, b))
        head = max(head, low + b.size)
    return Placement(offsets, head)


def _counted(buffer: Buffer, start: int) -> int:
    """Return how much of a placed buffer a newcomer that starts at `start` must avoid."""
    quartered = any(halves and start > time for time, _, halves in buffer.shrinks)
    return -(-buffer.size // 4) if quartered else buffer.size


def lowest(taken: Iterable[tuple[int, int]], size: int) -> int:
    """Return the lowest offset at which `size` bytes are free, given the (offset, end) taken."""
    low = 0
    for offset, end in sorted(taken):
        if offset - low >= size:
            break
        if end > low:  # faster than max
            low = end
    return low
