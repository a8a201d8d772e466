"""How the parts of a network follow one another: who reads whom, and when tensors live."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..segments import Segment, number_of, segments
from .pieces import PieceTable

MAX_KNOWN = 20_000  # ways in which parts follow one another that are remembered
MAX_PARTS = 64  # of a segment: more are placed at once, where most need not be placed at all


class Joints(NamedTuple):
    """Which parts a network is made of.

    Args:
        parts: Positions of those that reach the output and do something.
        changed: Of these, position among them and what its inputs can take in, where that is
            something.
        roots: For each of these and its inputs, the one of them whose result it is; -1: the
            network's input. One more entry is the result of the network.
        number: Of the roots; no others have it.
        segments: These, cut wherever a single tensor goes on; empty where that does not help.
    """

    parts: tuple[int, ...]
    changed: tuple[tuple[int, tuple[int, ...]], ...]
    roots: tuple[tuple[int, ...], ...]
    number: int
    segments: tuple[Segment, ...]


Sources = tuple[tuple[int, ...], ...]
_JOINTS: dict[tuple[Sources, tuple[int, ...]], Joints | None] = {}
_UNKNOWN = Joints((), (), (), -1, ())  # an object that no lookup finds


def joints(sources: Sources, tables: Sequence[PieceTable]) -> Joints | None:
    """Return the parts that reach the output; None if they meet in ways that tables do not tell.

    Args:
        sources: For each part, the parts whose results it reads; -1: the network's input.
        tables: Of all parts, as if nothing could be taken in.
    """
    key = (sources, tuple([t.joint for t in tables]))
    known = _JOINTS.get(key, _UNKNOWN)
    if known is _UNKNOWN:
        if len(_JOINTS) >= MAX_KNOWN:
            _JOINTS.clear()
        known = _JOINTS[key] = _joints(sources, tables)
    return known


def _joints(sources: Sources, tables: Sequence[PieceTable]) -> Joints | None:
    total = len(tables)
    roots: list[int] = []  # the part in whose memory each result lies; `total`: the input's
    for i, table in enumerate(tables):
        source = i if table.out else sources[i][table.out_port]
        roots.append(i if table.out else roots[source] if source >= 0 else total)
    alive = [False] * total
    alive[-1] = True
    readers = [0] * (total + 1)
    readers[roots[-1]] = 1
    for i in range(total - 1, -1, -1):
        if not alive[i]:
            continue
        table = tables[i]
        if not table.plain:
            return None
        for port, source in enumerate(sources[i]):
            reads = table.port_lasts[port] > 0
            if source >= 0 and (reads or (not table.out and table.out_port == port)):
                alive[source] = True
            readers[roots[source] if source >= 0 else total] += reads
    position = {total: -1}
    parts: list[int] = []
    for i, table in enumerate(tables):
        if alive[i] and table.sizes:
            position[i] = len(parts)
            parts.append(i)
    given, places = [], []
    for i in parts:
        read = [roots[s] if s >= 0 else total for s in sources[i]]
        places.append(tuple([position.get(root, -1) for root in read]))
        given.append(
            tuple(
                [
                    _state(tables, readers, root, head)
                    for root, head in zip(read, tables[i].heads, strict=True)
                ]
            )
        )
    places.append((position[roots[-1]],))
    changed = tuple([(n, states) for n, states in enumerate(given) if any(states)])
    joined = tuple(places)
    cut = _segments(joined, [tables[i] for i in parts])
    return Joints(tuple(parts), changed, joined, number_of(joined), cut)


def _segments(roots: Sources, tables: Sequence[PieceTable]) -> tuple[Segment, ...]:
    """Return the parts cut wherever nothing but the last result is read later.

    Nothing is returned if a piece is too long, does not use what it reads, or hands on nothing.
    """
    *reads, result = roots
    if result != (len(tables) - 1,):
        return ()
    found = segments(tuple(reads))
    for start, stop, own, _ in found:
        reads_input = any(
            root < 0 and last
            for read, table in zip(own, tables[start:stop], strict=True)
            for root, last in zip(read, table.port_lasts, strict=True)
        )
        if stop - start > MAX_PARTS or not reads_input or not tables[stop - 1].out:
            return ()
    return found


def _state(tables: Sequence[PieceTable], readers: Sequence[int], root: int, head: int) -> int:
    """Return what the result of a part can take of its only reader; 0 for nothing."""
    if not head or root == len(tables) or readers[root] != 1:
        return 0
    tail = tables[root].tail
    return tail if tail >= head else 0


class Timing(NamedTuple):
    """When tensors live.

    Args:
        firsts: First time of each tensor, the network's input before all others.
        lasts: Last time of each tensor.
        offsets: For each part, how many operators run before it.
        ops: How many operators there are.
    """

    firsts: tuple[int, ...]
    lasts: tuple[int, ...]
    offsets: tuple[int, ...]
    ops: int


_TIMINGS: dict[tuple[Sources, tuple[int, ...]], Timing] = {}


def timing(roots: Sources, tables: Sequence[PieceTable]) -> Timing:
    """Return when the tensors of a network live.

    Args:
        roots: As in `Joints`.
        tables: Of the parts that it names.
    """
    key = (roots, tuple([t.timing for t in tables]))
    known = _TIMINGS.get(key)
    if known is None:
        if len(_TIMINGS) >= MAX_KNOWN:
            _TIMINGS.clear()
        known = _TIMINGS[key] = _timing(roots, tables)
    return known


def _timing(roots: Sources, tables: Sequence[PieceTable]) -> Timing:
    firsts, lasts, offsets = [0], [0], []
    place: list[int] = []
    ops = 0
    for table, read in zip(tables, roots, strict=False):
        for last, root in zip(table.port_lasts, read, strict=True):
            if last:
                buffer = place[root] if root >= 0 else 0
                lasts[buffer] = max(lasts[buffer], ops + last)
        place.append(len(lasts) + table.out - 1)
        offsets.append(ops)
        firsts += range(ops + 1, ops + len(table.sizes) + 1)
        lasts += [ops + last for last in table.lasts]
        ops += len(table.sizes)
    (result,) = roots[-1]
    lasts[place[result] if result >= 0 else 0] = ops
    return Timing(tuple(firsts), tuple(lasts), tuple(offsets), ops)
