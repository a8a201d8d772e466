"""Totals of a network from tables of its parts: the same numbers as the whole graph's, faster.

A part is lowered once; what a network adds is how parts follow one another: how long the results
of parts live, and which of them are read by a layer that disappears into the operator before it.
Networks in which parts meet in other ways are lowered whole.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import fsum
from typing import NamedTuple

from ..memory.graph import Graph, MemOp
from ..memory.placement import aligned
from ..memory.scratch import op_scratch, tail_counts
from ..workload import Layer, Workload
from .flash import network_flash
from .lower import FUSED, Lowerer
from .policy import Policy

SHIFT = 24  # bits of the position in a key that sorts by size
MASK = (1 << SHIFT) - 1
MAX_KNOWN = 20_000  # ways in which parts follow one another that are remembered


class PieceTable(NamedTuple):
    """What a part adds to a network. Operators count from 1 within the part.

    Args:
        sizes: Of the result of each operator, in bytes.
        rounded: Likewise, aligned.
        lasts: The last operator that reads each result.
        port_lasts: The last operator that reads each input; 0 for none.
        out: The operator whose result the part returns; 0 where it returns an input.
        out_port: That input.
        scratch: (operator, bytes) of kernel scratch.
        heads: For each input, what its only reader is: 2 a norm, 1 a clamp, 0 neither.
        tail: What the result of the part can take in, likewise.
        counts: Arguments of `tail_bytes`, its own inputs left out of the tensors.
        flash: Elements, channels, wide kernels.
        times_ms: Summands of the latency.
        names: Of the operators.
        joint: A number for how it may meet other parts, equal for equal ways.
        timing: A number for when its tensors live, likewise.
        plain: Whether parts of this kind meet others only through their inputs and results.
    """

    sizes: tuple[int, ...]
    rounded: tuple[int, ...]
    lasts: tuple[int, ...]
    port_lasts: tuple[int, ...]
    out: int
    out_port: int
    scratch: tuple[tuple[int, int], ...]
    heads: tuple[int, ...]
    tail: int
    counts: tuple[int, int, int, int]
    flash: tuple[int, int, int]
    times_ms: tuple[float, ...]
    names: tuple[str, ...]
    joint: int
    timing: int
    plain: bool


Timer = Callable[[Graph, MemOp], tuple[float, ...]]


def piece_table(
    piece: Workload, policy: Policy, batch: int, timer: Timer, given: tuple[int, ...]
) -> PieceTable:
    """Return the table of a part.

    Args:
        piece: The part.
        policy: Of the runtime.
        batch: Images at once.
        timer: Returns the summands of an operator's latency.
        given: What each of its inputs can take in.
    """
    lowerer = Lowerer(piece, policy.lowering, batch, given)
    graph = lowerer.graph()
    ports = len(graph.inputs)
    lasts = [max(readers, default=-1) + 1 for readers in graph.consumers]
    (result,) = graph.outputs if len(graph.outputs) == 1 else (-1,)
    counts = tail_counts(graph)
    scratch = {} if policy.scratch == "none" else op_scratch(graph, policy.scratch)
    sizes = [t.size_bytes for t in graph.tensors[ports:]]
    own = tuple([max(k, last) for k, last in enumerate(lasts[ports:], start=1)])
    used = tuple(lasts[:ports])
    out, out_port = (result - ports + 1, 0) if result >= ports else (0, max(result, 0))
    heads, tail = _heads(piece, lowerer), _tail(piece, lowerer, result)
    plain = result >= 0 and _plain(piece, graph, policy, given)
    return PieceTable(
        sizes=tuple(sizes),
        rounded=tuple([aligned(size) for size in sizes]),
        lasts=own,
        port_lasts=used,
        out=out,
        out_port=out_port,
        scratch=tuple([(k + 1, size) for k, size in sorted(scratch.items())]),
        heads=heads,
        tail=tail,
        counts=(
            counts["channels"],
            counts["tensors"] - ports,
            counts["ops"],
            counts["convolutions"],
        ),
        flash=network_flash(graph),
        times_ms=tuple([ms for op in graph.ops for ms in timer(graph, op)]),
        names=tuple([op.name for op in graph.ops]),
        joint=_number(out > 0, out_port, [bool(u) for u in used], heads, tail, plain, bool(own)),
        timing=_number(own, used, out),
        plain=plain,
    )


_NUMBERS: dict[str, int] = {}


def _number(*facts: object) -> int:
    """Return the same number for equal facts, and different ones for different facts."""
    return _NUMBERS.setdefault(repr(facts), len(_NUMBERS))


def _tail(piece: Workload, lowerer: Lowerer, result: int) -> int:
    """Return what the result can take in of a reader outside: nothing where it is read inside."""
    return lowerer.open.get(result, 0) if lowerer.readers[piece.outputs[0]] == 1 else 0


def _heads(piece: Workload, lowerer: Lowerer) -> tuple[int, ...]:
    """Return what the only reader of each input is."""
    found = []
    for index in piece.inputs:
        readers = [x for x in lowerer.layers if index in map(lowerer.root.__getitem__, x.inputs)]
        readers = [x for x in readers if lowerer.root[x.outputs[0]] != index]
        alone = lowerer.readers[index] == 1 and len(readers) == 1 and index not in piece.outputs
        found.append(_head(readers[0]) if alone else 0)
    return tuple(found)


def _head(layer: Layer) -> int:
    if len(layer.inputs) != 1:
        return 0
    if layer.kind == "norm" and "batch_norm" in layer.op:
        return 2
    return 1 if layer.kind == "activation" and layer.op in FUSED else 0


def _plain(piece: Workload, graph: Graph, policy: Policy, given: tuple[int, ...]) -> bool:
    """Whether the table says all about the part.

    Not if it writes over an input, returns a constant, ends with a pad that the next part's
    kernel may take in, or vanishes into the part before it.
    """
    inside = set(piece.inputs)
    for layer in piece.layers:
        if not layer.view and any(piece.tensors[i].storage in inside for i in layer.outputs):
            return False
    if any(given) and graph.outputs[0] in graph.inputs:
        return False
    return not (policy.pad_fused and graph.ops and graph.ops[-1].kind == "pad")


class Joints(NamedTuple):
    """Which parts a network is made of.

    Args:
        parts: Positions of those that reach the output and do something.
        given: For each of these, what its inputs can take in.
        roots: For each of these and its inputs, the one of them whose result it is; -1: the
            network's input. One more entry is the result of the network.
    """

    parts: tuple[int, ...]
    given: tuple[tuple[int, ...], ...]
    roots: tuple[tuple[int, ...], ...]


Sources = tuple[tuple[int, ...], ...]
_JOINTS: dict[tuple[Sources, tuple[int, ...]], Joints | None] = {}


def joints(sources: Sources, tables: Sequence[PieceTable]) -> Joints | None:
    """Return the parts that reach the output; None if they meet in ways that tables do not tell.

    Args:
        sources: For each part, the parts whose results it reads; -1: the network's input.
        tables: Of all parts, as if nothing could be taken in.
    """
    key = (sources, tuple([t.joint for t in tables]))
    if key not in _JOINTS:
        if len(_JOINTS) >= MAX_KNOWN:
            _JOINTS.clear()
        _JOINTS[key] = _joints(sources, tables)
    return _JOINTS[key]


def _joints(sources: Sources, tables: Sequence[PieceTable]) -> Joints | None:
    count = len(tables)
    roots: list[int] = []  # the part in whose memory each result lies; `count`: the input's
    for i, table in enumerate(tables):
        source = i if table.out else sources[i][table.out_port]
        roots.append(i if table.out else roots[source] if source >= 0 else count)
    alive = [False] * count
    alive[-1] = True
    readers = [0] * (count + 1)
    readers[roots[-1]] = 1
    for i in range(count - 1, -1, -1):
        if not alive[i]:
            continue
        table = tables[i]
        if not table.plain:
            return None
        for port, source in enumerate(sources[i]):
            reads = table.port_lasts[port] > 0
            if source >= 0 and (reads or (not table.out and table.out_port == port)):
                alive[source] = True
            readers[roots[source] if source >= 0 else count] += reads
    position = {count: -1}
    parts: list[int] = []
    for i, table in enumerate(tables):
        if alive[i] and table.sizes:
            position[i] = len(parts)
            parts.append(i)
    given, places = [], []
    for i in parts:
        read = [roots[s] if s >= 0 else count for s in sources[i]]
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
    return Joints(tuple(parts), tuple(given), tuple(places))


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


def totals(tables: Sequence[PieceTable], when: Timing, input_bytes: int) -> Totals:
    """Return what the tables of a network add up to, its memory placed greedily."""
    sizes = [aligned(input_bytes)]
    for table in tables:
        sizes += table.rounded
    firsts, lasts, scratch = _with_scratch(tables, when)
    sizes += [aligned(size) for size in scratch]
    channels, tensors, ops, convolutions = map(sum, zip(*[t.counts for t in tables], strict=True))
    elements, outputs, wide = zip(*[t.flash for t in tables], strict=True)
    return Totals(
        arena_bytes=greedy_head(sizes, firsts, lasts, when.ops),
        counts=(channels, tensors + 1, ops, convolutions),
        flash=(sum(elements), sum(outputs), max(wide)),
        latency_ms=fsum([ms for table in tables for ms in table.times_ms]),
    )


def _with_scratch(
    tables: Sequence[PieceTable], when: Timing
) -> tuple[list[int], list[int], list[int]]:
    """Return first and last times of all buffers, and the bytes of those that are scratch."""
    times, scratch = [], []
    for table, offset in zip(tables, when.offsets, strict=True):
        for k, size in table.scratch:
            times.append(offset + k)
            scratch.append(size)
    return [*when.firsts, *times], [*when.lasts, *times], scratch


def peak_name(
    tables: Sequence[PieceTable], when: Timing, input_bytes: int, labels: Sequence[str]
) -> str:
    """Return the operator at which the most bytes are alive, as the whole graph calls it.

    Args:
        tables: Of the parts.
        when: Their times.
        input_bytes: Of the network's input.
        labels: Of the parts.
    """
    firsts, lasts, scratch = _with_scratch(tables, when)
    sizes = [input_bytes, *[size for table in tables for size in table.sizes], *scratch]
    live = _live(sizes, firsts, lasts, when.ops)
    position = max(live.index(max(live)) - 1, 0)
    part = bisect_right(when.offsets, position) - 1
    name, label = tables[part].names[position - when.offsets[part]], labels[part]
    return f"{label}.{name}" if label and name and name[0] != "." else f"{label}{name}"


def _live(sizes: Sequence[int], firsts: Sequence[int], lasts: Sequence[int], ops: int) -> list[int]:
    """Return the bytes alive at each time from 0 to `ops`."""
    change = [0] * (ops + 2)
    for size, first, last in zip(sizes, firsts, lasts, strict=True):
        change[first] += size
        change[last + 1] -= size
    change.pop()
    return list(accumulate(change))


def greedy_head(sizes: Sequence[int], firsts: Sequence[int], lasts: Sequence[int], ops: int) -> int:
    """Return where the highest buffer of `greedy16` ends, from aligned sizes.

    The head is never below the bytes alive at once. A buffer that would end below that even on top
    of all larger ones beside it decides nothing; only the others are placed, with all that they
    depend on.
    """
    head = max(_live(sizes, firsts, lasts, ops))
    keys = [size << SHIFT | i for i, size in enumerate(sizes)]
    keys.sort(reverse=True)
    order = [key & MASK for key in keys]
    top = [0] * (ops + 1)
    high = []
    for rank, i in enumerate(order):
        first, last = firsts[i], lasts[i]
        if last == first + 1:
            a, b = top[first], top[last]
            end = (a if a > b else b) + sizes[i]
            top[first] = top[last] = end
        else:
            end = max(top[first : last + 1]) + sizes[i]
            top[first : last + 1] = [end] * (last + 1 - first)
        if end > head:
            high.append(rank)
    if not high:
        return head
    if 3 * len(high) > high[-1]:  # most of the larger ones are needed: do not ask which
        needed = order[: high[-1] + 1]
    else:
        needed = _needed(high, firsts, lasts, order, ops)
    return max(head, _placed_head(sizes, firsts, lasts, needed, ops))


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
