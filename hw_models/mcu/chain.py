"""The arena of networks that narrow to one tensor again and again, from what lies between.

A *link* is some operators that read one tensor from outside and hand one on: a part, or several
that branch and meet again. While it runs nothing else is alive, so that its buffers are placed
around its input and its result alone; and the offset of a tensor between two links depends on those
two alone. Greedy placement therefore falls into links, each of which remembers what it came to for
given offsets: a network of known links is a walk along them, and repeated links are placed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TypeVar

from ..memory.placement import lowest
from .head import falling, live_sums

Taken = tuple[tuple[int, int], ...]  # (start, end) of bytes

UNPLACED = -1  # instead of an offset: a buffer that comes later
MAX_OFFSETS = 256  # for which a link remembers what it came to


class Link:
    """Operators between two tensors. Times count them from 1; at 0 the input lies there.

    Args:
        sizes: Bytes of its buffers in the order of their ids: the input, the result of each
            operator, scratch.
        rounded: The same, aligned.
        firsts: Their first times.
        lasts: Their last times; of the result the last of all.
        ops: How many operators there are.
        result: Which of the buffers it hands on; not the input.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        rounded: Sequence[int],
        firsts: Sequence[int],
        lasts: Sequence[int],
        ops: int,
        result: int,
    ) -> None:
        order = falling(rounded)
        self._sizes = [rounded[i] for i in order]  # by rank: who is placed earlier ranks higher
        self._beside = _beside(order, firsts, lasts, ops)
        self._input, self._result = order.index(0), order.index(result)
        self._live = (sizes, firsts, lasts, ops)
        self.input_bytes, self.result_bytes = rounded[0], rounded[result]
        #: all others together
        self.inner_bytes = sum(rounded) - self.input_bytes - self.result_bytes
        self._known: dict[int, list[int]] = {}  # `_between` by its argument
        #: `around_input` by its argument
        self.inputs: dict[int, Taken] = {}
        #: `around_result` by its argument
        self.results: dict[int, Taken] = {}
        #: `head` by its arguments
        self.heads: dict[tuple[int, int], int] = {}

    @cached_property
    def peak(self) -> tuple[int, int]:
        """The most bytes alive at once, not aligned, and the first operator that is, from 0."""
        live = live_sums(*self._live)[1:]
        return max(live), live.index(max(live))

    def around_input(self, result: int) -> Taken:
        """Return what is taken beside the input when it is placed.

        Args:
            result: Where the result starts; `UNPLACED` where it ranks lower than the input.
        """
        starts = self._before if result == UNPLACED else self._between(result)
        return _remember(self.inputs, result, self._taken(self._input, starts))

    def around_result(self, image: int) -> Taken:
        """Return what is taken beside the result when it is placed.

        Args:
            image: Where the input starts; `UNPLACED` where it ranks lower than the result.
        """
        starts = self._before if image == UNPLACED else self._between(image)
        return _remember(self.results, image, self._taken(self._result, starts))

    def head(self, image: int, result: int) -> int:
        """Return where the highest buffer ends, given where input and result start."""
        first, second = (image, result) if self._input < self._result else (result, image)
        starts = self._continued([*self._between(first), second], len(self._sizes))
        ends = [start + size for start, size in zip(starts, self._sizes, strict=True)]
        return _remember(self.heads, (image, result), max(ends))

    @cached_property
    def _before(self) -> list[int]:
        """Where the buffers start that rank above input and result."""
        return self._continued([], min(self._input, self._result))

    def _between(self, first: int) -> list[int]:
        """Return where the buffers start that rank above the lower of input and result.

        Args:
            first: Where the higher of the two starts.
        """
        known = self._known.get(first)
        if known is None:
            starts = self._continued([*self._before, first], max(self._input, self._result))
            known = _remember(self._known, first, starts)
        return known

    def _continued(self, starts: list[int], count: int) -> list[int]:
        """Return `starts` with those of the next ranks, up to `count` in all."""
        starts = starts.copy()
        for rank in range(len(starts), count):
            starts.append(lowest(self._taken(rank, starts), self._sizes[rank]))
        return starts

    def _taken(self, rank: int, starts: Sequence[int]) -> Taken:
        """Return the bytes of the buffers beside one that are placed before it."""
        sizes = self._sizes
        return tuple([(starts[r], starts[r] + sizes[r]) for r in self._beside[rank]])


def _beside(
    order: Sequence[int], firsts: Sequence[int], lasts: Sequence[int], ops: int
) -> list[tuple[int, ...]]:
    """Return for each rank the higher ranks that are alive at one of its times."""
    at: list[list[int]] = [[] for _ in range(ops + 1)]
    found = []
    for rank, i in enumerate(order):
        times = at[firsts[i] : lasts[i] + 1]
        found.append(tuple(times[0] if len(times) == 1 else set().union(*times)))
        for ranks in times:
            ranks.append(rank)
    return found


def chain_head(links: Sequence[Link]) -> int:
    """Return where the highest buffer of a network ends.

    Args:
        links: In order; each reads the result of the one before it.
    """
    count = len(links)
    sizes = [links[0].input_bytes, *[link.result_bytes for link in links]]
    starts = [UNPLACED] * (count + 1)
    head = 0
    for j in falling(sizes):
        taken: Taken = ()
        if j:
            link, before = links[j - 1], starts[j - 1]
            found = link.results.get(before)
            taken = link.around_result(before) if found is None else found
        if j < count:
            link, after = links[j], starts[j + 1]
            found = link.inputs.get(after)
            taken += link.around_input(after) if found is None else found
        start = starts[j] = lowest(taken, sizes[j]) if taken else 0
        head = max(head, start + sizes[j])
    for j, link in enumerate(links):
        image, result = starts[j], starts[j + 1]
        known = link.heads.get((image, result))
        if known is None:
            edge = max(image + sizes[j], result + sizes[j + 1])
            if edge + link.inner_bytes <= head:  # even with all of them on top of each other
                continue
            known = link.head(image, result)
        if known > head:
            head = known
    return head


_K = TypeVar("_K")
_V = TypeVar("_V")


def _remember(known: dict[_K, _V], key: _K, value: _V) -> _V:
    if len(known) >= MAX_OFFSETS:
        known.clear()
    known[key] = value
    return value
