"""Totals of a network from tables of its parts: the same numbers as the whole graph's, faster.

A part is lowered once; what a network adds is how parts follow one another: how long the results
of parts live, and which of them are read by a layer that disappears into the operator before it.
Networks in which parts meet in other ways are lowered whole.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import count
from math import fsum
from typing import NamedTuple

from ..memory.graph import Graph, MemOp
from ..memory.placement import aligned
from ..memory.scratch import op_scratch, tail_counts
from ..workload import Layer, Workload
from .chain import Link, chain_memory, link
from .flash import network_flash
from .head import greedy_head, live_sums
from .lower import FUSED, Lowerer
from .policy import Policy

MAX_KNOWN = 20_000  # ways in which parts follow one another that are remembered


class PieceTable(NamedTuple):
    """What a part adds to a network. Operators count from 1 within the part.

    Args:
        sizes: Of the result of each operator, in bytes.
        lasts: The last operator that reads each result.
        port_lasts: The last operator that reads each input; 0 for none.
        out: The operator whose result the part returns; 0 where it returns an input.
        out_port: That input.
        scratch: (operator, bytes) of kernel scratch.
        heads: For each input, what its only reader is: 2 a norm, 1 a clamp, 0 neither.
        tail: What the result of the part can take in, likewise.
        counts: Arguments of `tail_bytes`, its own inputs left out of the tensors.
        flash: Elements, channels, wide kernels.
        times_ms: Summands of the latency that are not 0.
        names: Of the operators.
        link: What it needs where it is a link of a chain; None where it cannot be one.
        bytes: A number for all its sizes, equal for equal ones.
        joint: A number for how it may meet other parts, equal for equal ways.
        timing: A number for when its tensors live, likewise.
        plain: Whether parts of this kind meet others only through their inputs and results.
    """

    sizes: tuple[int, ...]
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
    link: Link | None
    bytes: int
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
    wanted = tuple([(k + 1, size) for k, size in sorted(scratch.items())])
    lone = ports == 1 and out > 0 and used[0] > 0
    image = graph.tensors[0].size_bytes
    plain = result >= 0 and _plain(piece, graph, policy, given)
    return PieceTable(
        sizes=tuple(sizes),
        lasts=own,
        port_lasts=used,
        out=out,
        out_port=out_port,
        scratch=wanted,
        heads=heads,
        tail=tail,
        counts=(
            counts["channels"],
            counts["tensors"] - ports,
            counts["ops"],
            counts["convolutions"],
        ),
        flash=network_flash(graph),
        times_ms=tuple([ms for op in graph.ops for ms in timer(graph, op) if ms]),
        names=tuple([op.name for op in graph.ops]),
        joint=_number(out > 0, out_port, [bool(u) for u in used], heads, tail, plain, bool(own)),
        link=link(image, sizes, own, used[0], out, wanted) if lone else None,
        bytes=_number(sizes, wanted),
        timing=_number(own, used, out),
        plain=plain,
    )


_COUNTER = count()
_NUMBERS: dict[str, int] = {}


def _number(*facts: object) -> int:
    """Return the same number for equal facts, and different ones for different facts."""
    return _NUMBERS.setdefault(repr(facts), next(_COUNTER))


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
        changed: Of these, position among them and what its inputs can take in, where that is
            something.
        roots: For each of these and its inputs, the one of them whose result it is; -1: the
            network's input. One more entry is the result of the network.
        chain: Whether each of these reads the result of the one before it and nothing else.
    """

    parts: tuple[int, ...]
    changed: tuple[tuple[int, tuple[int, ...]], ...]
    roots: tuple[tuple[int, ...], ...]
    chain: bool


Sources = tuple[tuple[int, ...], ...]
_JOINTS: dict[tuple[Sources, tuple[int, ...]], Joints | None] = {}
_UNKNOWN = Joints((), (), (), False)  # an object that no lookup finds


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
    chain = all(read == (i - 1,) for i, read in enumerate(places))
    changed = tuple([(n, states) for n, states in enumerate(given) if any(states)])
    return Joints(tuple(parts), changed, tuple(places), chain)


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
        number: Of this record.
    """

    firsts: tuple[int, ...]
    lasts: tuple[int, ...]
    offsets: tuple[int, ...]
    ops: int
    number: int


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
    return Timing(tuple(firsts), tuple(lasts), tuple(offsets), ops, next(_COUNTER))


class Totals(NamedTuple):
    """What the tables of a network add up to.

    Args:
        arena_bytes: Under greedy placement.
        peak: Part, among those that count, and its operator at which the most bytes are alive.
        counts: Arguments of `tail_bytes`, summed.
        flash: Elements, channels, whether a kernel is wide.
        latency_ms: Sum of all times.
    """

    arena_bytes: int
    peak: tuple[int, int]
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
    channels, tensors, ops, convolutions = map(sum, zip(*[t.counts for t in tables], strict=True))
    elements, outputs, wide = zip(*[t.flash for t in tables], strict=True)
    head, peak = _memory(tables, joined, input_bytes)
    return Totals(
        arena_bytes=head,
        peak=peak,
        counts=(channels, tensors + 1, ops, convolutions),
        flash=(sum(elements), sum(outputs), max(wide)),
        latency_ms=fsum([ms for table in tables for ms in table.times_ms]),
    )


Memory = tuple[int, tuple[int, int]]  # the arena, and where the most bytes are alive
_MEMORIES: dict[tuple[int, int, tuple[int, ...]], Memory] = {}


def _memory(tables: Sequence[PieceTable], joined: Joints, input_bytes: int) -> Memory:
    if joined.chain:
        links = [t.link for t in tables if t.link is not None]
        if len(links) == len(tables) and (found := chain_memory(links, input_bytes)):
            return found
    when = timing(joined.roots, tables)
    key = (when.number, input_bytes, tuple([t.bytes for t in tables]))
    known = _MEMORIES.get(key)
    if known is None:
        if len(_MEMORIES) >= MAX_KNOWN:
            _MEMORIES.clear()
        known = _MEMORIES[key] = _whole_memory(tables, when, input_bytes)
    return known


def _whole_memory(tables: Sequence[PieceTable], when: Timing, input_bytes: int) -> Memory:
    """Return the memory from all buffers."""
    times, scratch = [], []
    for table, offset in zip(tables, when.offsets, strict=True):
        for k, size in table.scratch:
            times.append(offset + k)
            scratch.append(size)
    firsts, lasts = [*when.firsts, *times], [*when.lasts, *times]
    sizes = [input_bytes, *[size for table in tables for size in table.sizes], *scratch]
    live = live_sums(sizes, firsts, lasts, when.ops)
    head = greedy_head([aligned(size) for size in sizes], firsts, lasts, when.ops)
    position = max(live.index(max(live)) - 1, 0)
    part = bisect_right(when.offsets, position) - 1
    return head, (part, position - when.offsets[part])


def op_name(table: PieceTable, position: int, label: str) -> str:
    """Return what the whole graph calls an operator of a part."""
    name = table.names[position]
    return f"{label}.{name}" if label and name and name[0] != "." else f"{label}{name}"
