"""What the tables of a network's parts add up to."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import chain
from math import fsum
from typing import NamedTuple

from ..memory.placement import aligned
from ..segments import Segment
from .chain import Link, chain_head
from .head import greedy_head, live_sums
from .joints import Joints, Sources, Timing, timing
from .pieces import PieceTable

MAX_KNOWN = 20_000  # arenas and links that are remembered


class Totals(NamedTuple):
    """What the tables of a network add up to.

    Args:
        arena_bytes: Under greedy placement.
        counts: Arguments of `tail_bytes`, summed.
        flash: Elements, channels, whether a kernel is wide.
        latency_ms: Sum of all times.
    """

    arena_bytes: int
    counts: tuple[int, int, int, int]
    flash: tuple[int, int, int]
    latency_ms: float


def totals(tables: Sequence[PieceTable], joined: Joints, input_bytes: int) -> Totals:
    """Return what the tables of a network add up to, its memory placed greedily.

    Args:
        tables: Of the parts that `joined` names.
        joined: How they follow one another.
        input_bytes: Of the network's input.
    """
    sums = map(sum, zip(*[t.amounts for t in tables], strict=True))
    channels, tensors, ops, convolutions, elements, outputs = sums
    return Totals(
        arena_bytes=_arena(tables, joined, input_bytes),
        counts=(channels, tensors + 1, ops, convolutions),
        flash=(elements, outputs, max([t.wide for t in tables])),
        latency_ms=fsum(chain.from_iterable([t.times_ms for t in tables])),
    )


_ARENAS: dict[tuple[int, int, tuple[int, ...]], int] = {}
_LINKS: dict[int | tuple[int, tuple[int, ...]], Link] = {}


def _arena(tables: Sequence[PieceTable], joined: Joints, input_bytes: int) -> int:
    key = (joined.number, input_bytes, tuple([t.memory for t in tables]))
    known = _ARENAS.get(key)
    if known is None:
        if len(_ARENAS) >= MAX_KNOWN:
            _ARENAS.clear()
        known = _ARENAS[key] = _new_arena(tables, joined, input_bytes)
    return known


def _new_arena(tables: Sequence[PieceTable], joined: Joints, input_bytes: int) -> int:
    if links := _links(tables, joined, input_bytes):
        return chain_head(links)
    when = timing(joined.roots, tables)
    sizes, firsts, lasts = _buffers(tables, when, input_bytes)
    return greedy_head([aligned(size) for size in sizes], firsts, lasts, when.ops)


def _links(tables: Sequence[PieceTable], joined: Joints, input_bytes: int) -> list[Link]:
    """Return the links that a network is made of; none if it is not."""
    numbers = tuple([t.memory for t in tables])
    found = []
    handed = aligned(input_bytes)
    for segment in joined.segments:
        start, stop, _, number = segment
        key = numbers[start] if stop - start == 1 else (number, numbers[start:stop])
        link = _LINKS.get(key)
        if link is None:
            if len(_LINKS) >= MAX_KNOWN:
                _LINKS.clear()
            link = _LINKS[key] = _link(tables[start:stop], segment)
        if link.input_bytes != handed:
            return []
        handed = link.result_bytes
        found.append(link)
    return found


def _link(tables: Sequence[PieceTable], segment: Segment) -> Link:
    when = timing(_with_result(segment), tables)
    ports = [
        zip(reads, t.ports, strict=True) for reads, t in zip(segment.reads, tables, strict=True)
    ]
    image = next(size for reads in ports for root, size in reads if root < 0)
    sizes, firsts, lasts = _buffers(tables, when, image)
    rounded = [aligned(size) for size in sizes]
    return Link(sizes, rounded, firsts, lasts, when.ops, when.offsets[-1] + tables[-1].out)


def _with_result(segment: Segment) -> Sources:
    """Return what the parts read, with one more entry for the result, as in `Joints.roots`."""
    return (*segment.reads, (segment.stop - segment.start - 1,))


def _buffers(
    tables: Sequence[PieceTable], when: Timing, input_bytes: int
) -> tuple[list[int], list[int], list[int]]:
    """Return sizes, first and last times of all buffers, by id."""
    times, scratch = [], []
    for table, offset in zip(tables, when.offsets, strict=True):
        for k, size in table.scratch:
            times.append(offset + k)
            scratch.append(size)
    sizes = [input_bytes, *[size for table in tables for size in table.sizes], *scratch]
    return sizes, [*when.firsts, *times], [*when.lasts, *times]


def peak_at(tables: Sequence[PieceTable], joined: Joints, input_bytes: int) -> tuple[int, int]:
    """Return part, among those that count, and its operator at which the most bytes are alive.

    Args:
        tables: As of `totals`.
        joined: Likewise.
        input_bytes: Likewise.
    """
    if links := _links(tables, joined, input_bytes):
        peaks = [link.peak for link in links]
        worst = max(range(len(peaks)), key=lambda i: (peaks[i][0], -i))
        segment, position = joined.segments[worst], peaks[worst][1]
        tables, start = tables[segment.start : segment.stop], segment.start
        when = timing(_with_result(segment), tables)
    else:
        when, start = timing(joined.roots, tables), 0
        live = live_sums(*_buffers(tables, when, input_bytes), when.ops)
        position = max(live.index(max(live)) - 1, 0)
    part = bisect_right(when.offsets, position) - 1
    return start + part, position - when.offsets[part]


def op_name(table: PieceTable, position: int, label: str) -> str:
    """Return what the whole graph calls an operator of a part."""
    name = table.names[position]
    return f"{label}.{name}" if label and name and name[0] != "." else f"{label}{name}"
