"""The order of operators that needs least memory at once.

Exact for graphs of moderate width: a best-first search over sets of finished operators, whose
number is exponential only in how many branches run side by side. Wide graphs get a beam search,
and the result says so.

Source: Liberis and Lane, arXiv 1910.05110 (the same minimum, which they find by undoing operators
from the outputs).
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import NamedTuple

from .buffers import APART, Sharing
from .graph import Graph, spatial

WIDE = 20  # tensors side by side from which the exact search is not tried
MAX_STATES = 100_000
BEAM = 64


class Order(NamedTuple):
    """An order of operators.

    Args:
        order: Positions of the operators as they should run.
        peak_bytes: The most bytes alive at once in this order, before alignment and placement.
        exact: Whether no order needs less; False for a beam search.
    """

    order: tuple[int, ...]
    peak_bytes: int
    exact: bool


class _State(NamedTuple):
    """What has run: a bit per operator, and the bytes that are still needed."""

    done: int
    live: int


class _Search:
    """The moves from one set of finished operators to the next."""

    def __init__(self, graph: Graph, sharing: Sharing) -> None:
        self.graph, self.sharing = graph, sharing
        self.readers = [sum([1 << k for k in readers]) for readers in graph.consumers]
        self.outputs = frozenset(graph.outputs)
        self.needs = [
            sum({1 << graph.producer[i] for i in op.inputs if i in graph.producer})
            for op in graph.ops
        ]

    def start(self) -> tuple[_State, int]:
        """Return the state before the first operator, and the bytes alive in it."""
        held = sum([self.graph.size(i) for i in self.graph.inputs])
        live = [i for i in self.graph.inputs if self.readers[i] or i in self.outputs]
        return _State(0, sum([self.graph.size(i) for i in live])), held

    def ready(self, done: int) -> list[int]:
        """Return the operators that can run next."""
        return [k for k, need in enumerate(self.needs) if need & done == need and not done >> k & 1]

    def run(self, state: _State, k: int) -> tuple[_State, int]:
        """Return the state after an operator, and the bytes alive while it runs."""
        graph, op = self.graph, self.graph.ops[k]
        done = state.done | 1 << k
        dying = [
            i
            for i in dict.fromkeys(op.inputs)
            if self.readers[i] & ~done == 0 and i not in self.outputs
        ]
        size = graph.size(op.output)
        inside = self._scratch(k, dying)
        during = state.live + (size if inside is None else inside)
        kept = size if self.readers[op.output] or op.output in self.outputs else 0
        return _State(done, state.live + kept - sum([graph.size(i) for i in dying])), during

    def _scratch(self, k: int, dying: list[int]) -> int | None:
        """Return what an operator in place needs beside its input; None if it is not in place."""
        graph, op = self.graph, self.graph.ops[k]
        if op.kind == "add" and self.sharing.add:
            shape = graph.tensors[op.output].shape
            return 0 if any(graph.tensors[i].shape == shape for i in dying) else None
        if op.kind == "dw" and self.sharing.depthwise and op.inputs[0] in dying:
            rows, columns = spatial(graph.tensors[op.inputs[0]].shape)
            larger = graph.size(op.inputs[0]) >= graph.size(op.output)
            return rows * columns if larger else None
        return None

    def peak(self, order: tuple[int, ...]) -> int:
        """Return the most bytes alive at once in an order."""
        state, peak = self.start()
        for k in order:
            state, during = self.run(state, k)
            peak = max(peak, during)
        return peak


def best_order(graph: Graph, sharing: Sharing = APART, *, beam: int = BEAM) -> Order:
    """Return the order that needs least memory; the listed one where none needs less.

    Args:
        graph: The operators.
        sharing: The in-place rules of the runtime.
        beam: How many partial orders a beam search keeps.
    """
    search = _Search(graph, sharing)
    listed = tuple(range(len(graph.ops)))
    peak = search.peak(listed)
    if _is_chain(graph):
        return Order(listed, peak, True)
    found = None if _width(graph) > WIDE else _exact(search, len(listed))
    exact = found is not None
    best = found or _beam(search, len(listed), beam)
    return best if best.peak_bytes < peak else Order(listed, peak, exact)


def _is_chain(graph: Graph) -> bool:
    """Whether only one order is possible: each operator reads what the one before it wrote."""
    return all(graph.ops[k].output in graph.ops[k + 1].inputs for k in range(len(graph.ops) - 1))


def _width(graph: Graph) -> int:
    """Return the most tensors that lie side by side when operators run as listed."""
    left = [len(readers) for readers in graph.consumers]
    live = len(graph.inputs)
    widest = live
    for op in graph.ops:
        live += 1
        widest = max(widest, live)
        for i in dict.fromkeys(op.inputs):
            left[i] -= 1
            live -= left[i] == 0
    return widest


def _exact(search: _Search, ops: int) -> Order | None:
    """Return the best order; None after too many states."""
    state, peak = search.start()
    best = {state.done: peak}
    came: dict[int, tuple[int, int]] = {}
    heap = [(peak, 0, state)]
    while heap:
        peak, done, state = heappop(heap)
        if -done == ops:
            return Order(_path(came, state.done), peak, True)
        if best[state.done] < peak:
            continue
        for k in search.ready(state.done):
            following, during = search.run(state, k)
            highest = max(peak, during)
            if highest < best.get(following.done, highest + 1):
                best[following.done] = highest
                came[following.done] = (state.done, k)
                heappush(heap, (highest, done - 1, following))
        if len(best) > MAX_STATES:
            return None
    return None


def _path(came: dict[int, tuple[int, int]], done: int) -> tuple[int, ...]:
    order = []
    while done:
        done, k = came[done]
        order.append(k)
    return tuple(reversed(order))


def _beam(search: _Search, ops: int, beam: int) -> Order:
    """Return the best order that a search finds which keeps `beam` partial orders."""
    state, peak = search.start()
    kept: list[tuple[int, _State, tuple[int, ...]]] = [(peak, state, ())]
    for _ in range(ops):
        found: dict[int, tuple[int, _State, tuple[int, ...]]] = {}
        for peak, state, order in kept:
            for k in search.ready(state.done):
                following, during = search.run(state, k)
                entry = (max(peak, during), following, (*order, k))
                known = found.get(following.done)
                if known is None or entry[0] < known[0]:
                    found[following.done] = entry
        kept = sorted(found.values(), key=lambda e: (e[0], e[1].live))[:beam]
    peak, _, order = kept[0]
    return Order(order, peak, False)
