"""Totals of a network from tables of its parts: the same numbers as the whole graph's, faster.

A part is lowered once; what a network adds is how parts follow one another: how long the results
of parts live, and which of them are read by a layer that disappears into the operator before it.
Networks in which parts meet in other ways are lowered whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

from ..memory.graph import Graph, MemOp
from ..memory.placement import ALIGNMENT
from ..memory.scratch import op_scratch, tail_counts
from ..workload import Layer, Workload
from .flash import network_flash
from .lower import FUSED, Lowerer
from .policy import Policy

SHIFT = 24  # bits of the position in a key that sorts by size


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
        times_ms: Summands of the latency.
        names: Of the operators.
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
    plain: bool


class Memory(NamedTuple):
    """Buffers of a network: bytes, first and last time, by id, scratch last."""

    sizes: list[int]
    firsts: list[int]
    lasts: list[int]
    ops: int

    def live(self) -> list[int]:
        """Return the bytes alive at each time."""
        return _live(self.sizes, self.firsts, self.lasts, self.ops)


class Totals(NamedTuple):
    """What the tables of a network add up to.

    Args:
        arena_bytes: Under greedy placement.
        memory: The buffers.
        counts: Arguments of `tail_bytes`, summed.
        flash: Elements, channels, whether a kernel is wide.
        times_ms: Summands of the latency.
    """

    arena_bytes: int
    memory: Memory
    counts: tuple[int, int, int, int]
    flash: tuple[int, int, int]
    times_ms: list[tuple[float, ...]]


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
    return PieceTable(
        sizes=tuple([t.size_bytes for t in graph.tensors[ports:]]),
        lasts=tuple([max(k, last) for k, last in enumerate(lasts[ports:], start=1)]),
        port_lasts=tuple(lasts[:ports]),
        out=result - ports + 1 if result >= ports else 0,
        out_port=max(result, 0) if result < ports else 0,
        scratch=tuple([(k + 1, size) for k, size in sorted(scratch.items())]),
        heads=_heads(piece, lowerer, given),
        tail=_tail(piece, lowerer, result),
        counts=(
            counts["channels"],
            counts["tensors"] - ports,
            counts["ops"],
            counts["convolutions"],
        ),
        flash=network_flash(graph),
        times_ms=tuple([ms for op in graph.ops for ms in timer(graph, op)]),
        names=tuple([op.name for op in graph.ops]),
        plain=result >= 0 and _plain(piece, graph, policy, given),
    )


def _tail(piece: Workload, lowerer: Lowerer, result: int) -> int:
    """Return what the result can take in of a reader outside: nothing where it is read inside."""
    return lowerer.open.get(result, 0) if lowerer.readers[piece.outputs[0]] == 1 else 0


def _heads(piece: Workload, lowerer: Lowerer, given: tuple[int, ...]) -> tuple[int, ...]:
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


class Network(NamedTuple):
    """How the tables of a network follow one another.

    Args:
        tables: Of the parts that reach the output, in execution order.
        parts: Their positions in the workload.
        given: For each of these and its inputs, the part whose result it is; -1: the network's.
            One more entry is the result of the network.
    """

    tables: list[PieceTable]
    parts: list[int]
    given: list[tuple[int, ...]]


def assemble(
    sources: Sequence[tuple[int, ...]],
    table_of: Callable[[int], PieceTable],
    variant_of: Callable[[int, tuple[int, ...]], PieceTable],
) -> Network | None:
    """Return the network's parts that reach its output; None if they meet in other ways.

    Args:
        sources: For each part, the parts whose results it reads; -1: the network's input.
        table_of: Table of a part.
        variant_of: Table of a part given what its inputs can take in.
    """
    count = len(sources)
    tables = [table_of(i) for i in range(count)]
    alive = [False] * count
    alive[-1] = True
    roots = list(range(count))
    readers = [0] * (count + 1)  # of memory; the last is the network's input
    for i in range(count):
        table = tables[i]
        if not table.out:
            source = sources[i][table.out_port]
            roots[i] = roots[source] if source >= 0 else count
    for i in range(count - 1, -1, -1):
        if not alive[i]:
            continue
        table = tables[i]
        if not table.plain:
            return None
        for port, source in enumerate(sources[i]):
            used = table.port_lasts[port]
            if used or (not table.out and table.out_port == port):
                if source >= 0:
                    alive[source] = True
                if used:
                    readers[roots[source] if source >= 0 else count] += 1
    readers[roots[-1]] += 1
    for i in range(count):
        table = tables[i]
        if alive[i] and any(table.heads):
            states = tuple(
                [
                    _state(tables, roots, readers, source, head)
                    for source, head in zip(sources[i], table.heads, strict=True)
                ]
            )
            if any(states):
                tables[i] = table = variant_of(i, states)
                if not table.plain:
                    return None
    return _compact(sources, tables, alive, roots)


def _state(
    tables: Sequence[PieceTable],
    roots: Sequence[int],
    readers: Sequence[int],
    source: int,
    head: int,
) -> int:
    """Return what the result of a part can take of its only reader; 0 for nothing."""
    if not head or source < 0:
        return 0
    root = roots[source]
    if root == len(tables) or readers[root] != 1:
        return 0
    tail = tables[root].tail
    return tail if tail >= head else 0


def _compact(
    sources: Sequence[tuple[int, ...]],
    tables: Sequence[PieceTable],
    alive: Sequence[bool],
    roots: Sequence[int],
) -> Network:
    """Return the parts that are alive, with the memory that each input names."""
    position: dict[int, int] = {len(tables): -1}
    kept, parts, given = [], [], []
    for i, table in enumerate(tables):
        if alive[i] and table.sizes:
            position[i] = len(kept)
            kept.append(table)
            parts.append(i)
            given.append(tuple([position[roots[s]] if s >= 0 else -1 for s in sources[i]]))
    result = roots[len(tables) - 1]
    given.append((position[result],))
    return Network(kept, parts, given)


def totals(network: Network, input_bytes: int) -> Totals:
    """Return what the tables of a network add up to, its memory placed greedily."""
    tables = network.tables
    sizes, firsts, lasts = [input_bytes], [0], [0]
    place = []  # of the result of each part among the buffers
    offset = 0
    for table, given in zip(tables, network.given, strict=False):
        for last, source in zip(table.port_lasts, given, strict=True):
            if last:
                buffer = place[source] if source >= 0 else 0
                if lasts[buffer] < offset + last:
                    lasts[buffer] = offset + last
        place.append(len(sizes) + table.out - 1)
        sizes += table.sizes
        firsts += range(offset + 1, offset + len(table.sizes) + 1)
        lasts += [offset + last for last in table.lasts]
        offset += len(table.sizes)
    (result,) = network.given[-1]
    lasts[place[result] if result >= 0 else 0] = offset
    offset = 0
    for table in tables:
        for k, size in table.scratch:
            sizes.append(size)
            firsts.append(offset + k)
            lasts.append(offset + k)
        offset += len(table.sizes)
    counts = [sum(column) for column in zip(*[t.counts for t in tables], strict=True)]
    counts[1] += 1  # the network's input
    elements, channels, wide = zip(*[t.flash for t in tables], strict=True)
    return Totals(
        arena_bytes=greedy_head(
            [-(-s // ALIGNMENT) * ALIGNMENT for s in sizes], firsts, lasts, offset
        ),
        memory=Memory(sizes, firsts, lasts, offset),
        counts=(counts[0], counts[1], counts[2], counts[3]),
        flash=(sum(elements), sum(channels), max(wide)),
        times_ms=[t.times_ms for t in tables],
    )


def peak_name(network: Network, memory: Memory, labels: Sequence[str]) -> str:
    """Return the operator at which the most bytes are alive, as the whole graph calls it.

    Args:
        network: The tables.
        memory: Their buffers.
        labels: Of all parts of the workload.
    """
    live = memory.live()
    position = max(live.index(max(live)) - 1, 0)
    for table, part in zip(network.tables, network.parts, strict=True):
        if position < len(table.names):
            name, label = table.names[position], labels[part]
            return f"{label}.{name}" if label and name and name[0] != "." else f"{label}{name}"
        position -= len(table.names)
    return ""


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

    Most buffers end below the bytes that are alive at once, whatever the placement does: one that
    is put on top of all larger ones that live with it shows that. Only the others are placed.
    """
    head = max(_live(sizes, firsts, lasts, ops))
    keys = [size << SHIFT | i for i, size in enumerate(sizes)]
    keys.sort(reverse=True)
    mask = (1 << SHIFT) - 1
    order = [key & mask for key in keys]
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
    if high:
        place = _Placer(sizes, firsts, lasts, order)
        for rank in high:
            head = max(head, place.end(rank))
    return head


class _Placer:
    """Places single buffers, and the larger ones that they depend on."""

    def __init__(
        self,
        sizes: Sequence[int],
        firsts: Sequence[int],
        lasts: Sequence[int],
        order: Sequence[int],
    ) -> None:
        self.rows = [(firsts[i], lasts[i], sizes[i]) for i in order]
        self.ends: list[int | None] = [None] * len(self.rows)

    def end(self, rank: int) -> int:
        """Return where a buffer ends, by its rank among falling sizes."""
        for needed in sorted(self._needed(rank)):
            if self.ends[needed] is None:
                self.ends[needed] = self._place(needed)
        found = self.ends[rank]
        assert found is not None
        return found

    def _needed(self, rank: int) -> set[int]:
        """Return the ranks that must be placed before and with this one."""
        found, stack = {rank}, [rank]
        while stack:
            for other in self._beside(stack.pop()):
                if other not in found and self.ends[other] is None:
                    found.add(other)
                    stack.append(other)
        return found

    def _beside(self, rank: int) -> list[int]:
        """Return the ranks of larger buffers that live at the same time."""
        first, last, _ = self.rows[rank]
        return [r for r, (f, t, _) in enumerate(self.rows[:rank]) if f <= last and t >= first]

    def _place(self, rank: int) -> int:
        size = self.rows[rank][2]
        low = 0
        taken = []
        for other in self._beside(rank):
            end = self.ends[other]
            assert end is not None
            taken.append((end - self.rows[other][2], end))
        taken.sort()
        for offset, end in taken:
            if offset - low >= size:
                break
            low = max(low, end)
        return low + size
