"""Memory of networks without branches between their parts, from what each part needs alone.

While a part of such a network runs, nothing lives but its input, its own tensors and its result.
What is smaller than input and result is placed after them and all larger tensors, next to no one
outside the part: such tensors are left out wherever the bytes of all of them, on top of all others
of the part, stay below the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..memory.placement import aligned
from .head import bounded_head, live_sums

Times = tuple[tuple[int, ...], tuple[int, ...]]


class Held(NamedTuple):
    """Some buffers of a part. Operators count from 1 within the part.

    Args:
        rounded: Aligned sizes of tensors, by id.
        firsts: Their first times.
        lasts: Their last times; of the result the last operator of the part.
        result: The position of the result among them.
        scratch: (operator, aligned bytes) of scratch.
        left: Aligned bytes of what is left out.
        placed: What `times` returned.
    """

    rounded: tuple[int, ...]
    firsts: tuple[int, ...]
    lasts: tuple[int, ...]
    result: int
    scratch: tuple[tuple[int, int], ...]
    left: int
    placed: dict[tuple[int, int], Times]

    def times(self, offset: int, beyond: int) -> Times:
        """Return first and last times in a network.

        Args:
            offset: Operators that run before the part.
            beyond: The last operator after the part that reads its result.
        """
        known = self.placed.get((offset, beyond))
        if known is None:
            lasts = [offset + last for last in self.lasts]
            lasts[self.result] += beyond
            known = tuple([offset + first for first in self.firsts]), tuple(lasts)
            self.placed[offset, beyond] = known
        return known


class Link(NamedTuple):
    """Memory of a part that alone is alive while it runs.

    Args:
        ops: Its operators.
        port_last: The last of them that reads the input.
        top: The most bytes alive at once, aligned, input and result included.
        ceiling: Where buffers end at most, if each lies on top of all larger ones beside it, and
            those of the smaller ones that are left out, in a heap, on top of all.
        raw_top: The most bytes alive at once, unaligned.
        raw_at: The first operator at which that is, from 0.
        large: What is no smaller than both input and result.
        whole: All buffers.
    """

    ops: int
    port_last: int
    top: int
    ceiling: int
    raw_top: int
    raw_at: int
    large: Held
    whole: Held


def link(
    image: int,
    sizes: Sequence[int],
    lasts: Sequence[int],
    port_last: int,
    out: int,
    scratch: Sequence[tuple[int, int]],
) -> Link:
    """Return what a part with one input needs alone.

    Args:
        image: Bytes of its input.
        sizes: Bytes of the result of each of its operators.
        lasts: The last operator that reads each.
        port_last: The last operator that reads the input.
        out: The operator whose result the part returns.
        scratch: (operator, bytes) of kernel scratch.
    """
    ops = len(sizes)
    ends = list(lasts)
    ends[out - 1] = ops
    at = [k for k, _ in scratch]
    firsts, all_lasts = [0, *range(1, ops + 1), *at], [port_last, *ends, *at]
    raw = [image, *sizes, *[size for _, size in scratch]]
    rounded = [aligned(size) for size in raw]
    live = live_sums(raw, firsts, all_lasts, ops)[1:]
    top = max(live_sums(rounded, firsts, all_lasts, ops))
    results = rounded[1 : ops + 1]
    least = min(rounded[0], results[out - 1])
    kept = [k for k in range(ops) if results[k] >= least]
    named = [(k, aligned(size)) for k, size in scratch]
    large = _held(results, ends, out, kept, [n for n in named if n[1] >= least])
    left = sum(rounded[1:]) - _bytes(large)
    return Link(
        ops=ops,
        port_last=port_last,
        top=top,
        ceiling=_ceiling(rounded[0], port_last, large, ops) + left,
        raw_top=max(live),
        raw_at=live.index(max(live)),
        large=large._replace(left=left),
        whole=_held(results, ends, out, range(ops), named),
    )


def _held(
    sizes: Sequence[int],
    lasts: Sequence[int],
    out: int,
    kept: Sequence[int],
    scratch: Sequence[tuple[int, int]],
) -> Held:
    return Held(
        rounded=tuple([sizes[k] for k in kept]),
        firsts=tuple([k + 1 for k in kept]),
        lasts=tuple([lasts[k] for k in kept]),
        result=list(kept).index(out - 1),
        scratch=tuple(scratch),
        left=0,
        placed={},
    )


def _bytes(held: Held) -> int:
    return sum(held.rounded) + sum([size for _, size in held.scratch])


def _ceiling(image: int, port_last: int, held: Held, ops: int) -> int:
    at = [k for k, _ in held.scratch]
    sizes = [image, *held.rounded, *[size for _, size in held.scratch]]
    firsts, lasts = [0, *held.firsts, *at], [port_last, *held.lasts, *at]
    return max(bounded_head(sizes, firsts, lasts, ops, sum(sizes))[1])


def chain_memory(links: Sequence[Link], image: int) -> tuple[int, tuple[int, int]] | None:
    """Return the arena of a network, and part and operator at which the most bytes are alive.

    None if a buffer that was left out might decide.

    Args:
        links: Of its parts in order; each reads what the one before it returns.
        image: Bytes of the network's input.
    """
    bound = max([x.top for x in links])
    sizes, firsts, lasts = [aligned(image)], [0], [links[0].port_last]
    scratch: list[int] = []
    times: list[int] = []
    unsure: list[tuple[int, int, int]] = []  # first and last operator, bytes left out
    offset = 0
    beyond = [x.port_last for x in links[1:]]
    beyond.append(0)
    for part, last in zip(links, beyond, strict=True):
        held = part.whole if part.ceiling > bound else part.large
        sizes += held.rounded
        first, end = held.times(offset, last)
        firsts += first
        lasts += end
        for k, size in held.scratch:
            times.append(offset + k)
            scratch.append(size)
        if held.left:
            unsure.append((offset + 1, offset + part.ops + 1, held.left))
        offset += part.ops
    head, top = bounded_head(sizes + scratch, firsts + times, lasts + times, offset, bound)
    for start, stop, left in unsure:
        if max(top[start:stop]) + left > head:
            return None
    peaks = [x.raw_top for x in links]
    part_at = peaks.index(max(peaks))
    return head, (part_at, links[part_at].raw_at)
