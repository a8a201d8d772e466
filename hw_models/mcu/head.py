"""Where the highest buffer of greedy placement ends, without placing most of them.

Works on aligned sizes with first and last times, by id: the hot path of a search. The result is
that of `memory.placement.greedy16`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

SHIFT = 24  # bits of the position in a key that sorts by size
MASK = (1 << SHIFT) - 1


def live_sums(
    sizes: Sequence[int], firsts: Sequence[int], lasts: Sequence[int], ops: int
) -> list[int]:
    """Return the bytes alive at each time from 0 to `ops`."""
    change = [0] * (ops + 2)
    for size, first, last in zip(sizes, firsts, lasts, strict=True):
        change[first] += size
        change[last + 1] -= size
    change.pop()
    return list(accumulate(change))


def falling(sizes: Sequence[int]) -> list[int]:
    """Return buffers by falling size, among equals the higher id first."""
    keys = [size << SHIFT | i for i, size in enumerate(sizes)]
    keys.sort(reverse=True)
    return [key & MASK for key in keys]


def greedy_head(sizes: Sequence[int], firsts: Sequence[int], lasts: Sequence[int], ops: int) -> int:
    """Return where the highest buffer ends.

    A buffer that would end below the bytes alive at once even on top of all larger ones beside it
    decides nothing; the others are placed, with all that they depend on.

    Args:
        sizes: Aligned.
        firsts: First times.
        lasts: Last times, inclusive.
        ops: The last time.
    """
    bound = max(live_sums(sizes, firsts, lasts, ops))
    order = falling(sizes)
    top = [0] * (ops + 1)
    high = []
    for rank, i in enumerate(order):
        first, last = firsts[i], lasts[i]
        end = max(top[first : last + 1]) + sizes[i]
        top[first : last + 1] = [end] * (last + 1 - first)
        if end > bound:
            high.append(rank)
    if not high:
        return bound
    if 3 * len(high) > high[-1]:  # most of the larger ones are needed: do not ask which
        needed = order[: high[-1] + 1]
    else:
        needed = _needed(high, firsts, lasts, order, ops)
    return max(bound, _placed_head(sizes, firsts, lasts, needed, ops))


def _needed(
    high: Sequence[int],
    firsts: Sequence[int],
    lasts: Sequence[int],
    order: Sequence[int],
    ops: int,
) -> list[int]:
    """Return the buffers of these ranks and the larger ones beside them, theirs, and so on."""
    beside: list[list[int]] = [[] for _ in range(ops + 1)]  # ranks at a time, ascending
    for rank, i in enumerate(order[: high[-1]]):
        for time in range(firsts[i], lasts[i] + 1):
            beside[time].append(rank)
    found, stack = set(high), list(high)
    while stack:
        rank = stack.pop()
        i = order[rank]
        for time in range(firsts[i], lasts[i] + 1):
            for other in beside[time]:
                if other >= rank:
                    break
                if other not in found:
                    found.add(other)
                    stack.append(other)
    return [order[rank] for rank in sorted(found)]


def _placed_head(
    sizes: Sequence[int],
    firsts: Sequence[int],
    lasts: Sequence[int],
    order: Sequence[int],
    ops: int,
) -> int:
    """Return where the highest of these buffers ends, placed in this order."""
    beside: list[list[tuple[int, int]]] = [[] for _ in range(ops + 1)]  # (offset, end) at a time
    head = 0
    for i in order:
        first, last, size = firsts[i], lasts[i], sizes[i]
        taken = beside[first].copy()
        for time in range(first + 1, last + 1):
            taken += beside[time]
        taken.sort()
        low = 0
        for offset, end in taken:
            if offset - low >= size:
                break
            if end > low:
                low = end
        here = (low, low + size)
        head = max(head, low + size)
        for time in range(first, last + 1):
            beside[time].append(here)
    return head
