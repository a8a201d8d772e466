"""When tensors live, which of them share memory, and the bytes alive at once.

Time 0 is before the first operator; operator k, counted from 1, occupies time k. Intervals are
inclusive: inputs and output of an operator coexist. Weights live in Flash, never in the arena.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from .graph import Graph, MemOp, spatial


class Buffer(NamedTuple):
    """A piece of the arena.

    Args:
        id: Of the tensor that owns it; scratch comes after all tensors.
        size: Bytes, unaligned.
        first: Time from which it is needed.
        last: Time to which it is needed, inclusive.
        shrinks: (time, bytes, stride 2) for each operator after which only so much of it is used.
        role: `tensor` or `scratch`.
    """

    id: int
    size: int
    first: int
    last: int
    shrinks: tuple[tuple[int, int, bool], ...] = ()
    role: str = "tensor"


class Sharing(NamedTuple):
    """Which in-place rules a runtime applies."""

    add: bool = False
    depthwise: bool = False


APART = Sharing()


def lifetimes(graph: Graph, order: Sequence[int] | None = None) -> list[tuple[int, int]]:
    """Return the first and last time of each tensor.

    A graph output lives to the end; an input that no one reads lives at time 0; a tensor that no
    one reads lives while it is written.

    Args:
        graph: The operators.
        order: Positions of the operators as they run; None: as listed.
    """
    times = _times(graph, order)
    end = len(graph.ops)
    outputs = set(graph.outputs)
    spans = []
    for i, readers in enumerate(graph.consumers):
        first = times[graph.producer[i]] if i in graph.producer else 0
        last = max([times[k] for k in readers], default=first)
        spans.append((first, end if i in outputs else last))
    return spans


def shared(
    graph: Graph, sharing: Sharing, order: Sequence[int] | None = None
) -> tuple[list[int], dict[int, int]]:
    """Return the owner of each tensor's memory, and for operators in place the owner they reuse.

    An add overwrites an operand of equal shape that dies there; a depthwise convolution overwrites
    a dying input that is at least as large. Both need the operand's memory to have no other reader
    left and not to be an output of the network.
    """
    owner = list(range(len(graph.tensors)))
    inside: dict[int, int] = {}
    if not (sharing.add or sharing.depthwise):
        return owner, inside
    spans = lifetimes(graph, order)
    last = [s[1] for s in spans]  # by owner: when the memory is needed last
    outputs = {owner[i] for i in graph.outputs}
    times = _times(graph, order)
    for k in order if order is not None else range(len(graph.ops)):
        op = graph.ops[k]
        for i in _candidates(graph, op, sharing):
            root = owner[i]
            if last[root] == times[k] and root not in outputs:
                owner[op.output] = root
                last[root] = spans[op.output][1]
                if op.output in graph.outputs:
                    outputs.add(root)
                inside[k] = root
                break
    return owner, inside


def _candidates(graph: Graph, op: MemOp, sharing: Sharing) -> list[int]:
    """Return the inputs whose memory the output may take."""
    if op.kind == "add" and sharing.add:
        shape = graph.tensors[op.output].shape
        return [i for i in dict.fromkeys(op.inputs) if graph.tensors[i].shape == shape]
    if op.kind == "dw" and sharing.depthwise and graph.size(op.inputs[0]) >= graph.size(op.output):
        return [op.inputs[0]]
    return []


def tensor_buffers(
    graph: Graph, sharing: Sharing = APART, order: Sequence[int] | None = None
) -> list[Buffer]:
    """Return a buffer for each piece of memory that tensors own, in the order of ids."""
    owner, inside = shared(graph, sharing, order)
    times = _times(graph, order)
    spans = lifetimes(graph, order)
    merged: dict[int, tuple[int, int]] = {}
    for i, (first, last) in enumerate(spans):
        old = merged.get(owner[i], (first, last))
        merged[owner[i]] = (min(old[0], first), max(old[1], last))
    shrinks: dict[int, list[tuple[int, int, bool]]] = {}
    for k, root in inside.items():
        op = graph.ops[k]
        if graph.size(op.output) < graph.size(op.inputs[0]):
            halves = op.stride == (2, 2)
            shrinks.setdefault(root, []).append((times[k], graph.size(op.output), halves))
    return [
        Buffer(i, graph.size(i), first, last, tuple(sorted(shrinks.get(i, ()))))
        for i, (first, last) in sorted(merged.items())
    ]


def channel_scratch(
    graph: Graph, sharing: Sharing, order: Sequence[int] | None = None
) -> dict[int, int]:
    """Return, for each depthwise convolution in place, the bytes of one channel that it buffers."""
    _, inside = shared(graph, sharing, order)
    found = {}
    for k in inside:
        op = graph.ops[k]
        if op.kind == "dw":
            rows, columns = spatial(graph.tensors[op.inputs[0]].shape)
            found[k] = rows * columns
    return found


def scratch_buffers(
    graph: Graph, scratch: dict[int, int], order: Sequence[int] | None = None
) -> list[Buffer]:
    """Return buffers that live during their operator; their ids come after all tensors."""
    times = _times(graph, order)
    found = [(k, size) for k, size in sorted(scratch.items()) if size]
    return [
        Buffer(len(graph.tensors) + n, size, times[k], times[k], role="scratch")
        for n, (k, size) in enumerate(found)
    ]


def live_bytes(buffers: Sequence[Buffer], ops: int, *, align: int = 1) -> tuple[int, ...]:
    """Return the bytes alive at each of the `ops + 1` times, each buffer rounded up to `align`."""
    change = [0] * (ops + 2)
    for b in buffers:
        size = -(-b.size // align) * align
        change[b.first] += size
        for time, left, _ in b.shrinks:
            left = -(-left // align) * align
            change[time + 1] -= size - left
            size = left
        change[b.last + 1] -= size
    return tuple(accumulate(change[:-1]))


def _times(graph: Graph, order: Sequence[int] | None) -> list[int]:
    """Return the time at which each operator runs."""
    if order is None:
        return list(range(1, len(graph.ops) + 1))
    times = [0] * len(graph.ops)
    for time, k in enumerate(order, start=1):
        times[k] = time
    return times
