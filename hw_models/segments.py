"""Where a network narrows to one tensor: what lies between can be looked at by itself."""

from __future__ import annotations

from itertools import count, pairwise
from typing import NamedTuple, TypeAlias

Reads: TypeAlias = tuple[tuple[int, ...], ...]  # for each step, the steps whose results it reads

MAX_KNOWN = 20_000  # graphs that are remembered


class Segment(NamedTuple):
    """Steps of a network that read one tensor from outside and hand one on.

    Args:
        start: Position of the first.
        stop: Position after the last, whose result is handed on.
        reads: For each of them, the steps that it reads, counted from `start`; -1: the tensor from
            outside.
        number: Of what they read; no others have it.
    """

    start: int
    stop: int
    reads: Reads
    number: int


_KNOWN: dict[Reads, tuple[Segment, ...]] = {}


def segments(reads: Reads) -> tuple[Segment, ...]:
    """Return the steps of a network, cut wherever nothing but the last result is read later.

    Args:
        reads: For each step, the positions of those that it reads; -1: the network's input. The
            last step makes the result.
    """
    known = _KNOWN.get(reads)
    if known is None:
        if len(_KNOWN) >= MAX_KNOWN:
            _KNOWN.clear()
        known = _KNOWN[reads] = _segments(reads)
    return known


def _segments(reads: Reads) -> tuple[Segment, ...]:
    stops: list[int] = []
    least = len(reads)  # the first step whose result is read behind a place
    for i in range(len(reads) - 1, -1, -1):
        if least >= i:
            stops.append(i + 1)
        least = min((least, *reads[i]))
    found = []
    for start, stop in pairwise([0, *reversed(stops)]):
        own = tuple([tuple([max(r - start, -1) for r in read]) for read in reads[start:stop]])
        found.append(Segment(start, stop, own, number_of(own)))
    return tuple(found)


_COUNTER = count()
_NUMBERS: dict[Reads, int] = {}


def number_of(reads: Reads) -> int:
    """Return the same number for equal graphs, as long as it is remembered, and for no others."""
    if len(_NUMBERS) >= MAX_KNOWN:
        _NUMBERS.clear()
    return _NUMBERS.setdefault(reads, next(_COUNTER))
