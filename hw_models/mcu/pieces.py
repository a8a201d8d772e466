"""Tables of the parts of networks, from which totals come faster than from the whole graph.

A part is lowered once; what a network adds is how parts follow one another (`joints`): how long
the results of parts live, and which of them are read by a layer that disappears into the operator
before it. Networks in which parts meet in other ways are lowered whole.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import NamedTuple

from ..memory.graph import Graph, MemOp
from ..memory.scratch import op_scratch, tail_counts
from ..workload import Layer, Workload
from .flash import network_flash
from .lower import FUSED, Lowerer
from .policy import Policy


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
        amounts: What networks add up: arguments of `tail_bytes`, its own inputs left out of the
            tensors, then elements and output channels of weights.
        wide: Whether a kernel is beyond 3, as 0 or 1.
        times_ms: Summands of the latency that are not 0.
        names: Of the operators.
        ports: Bytes of its inputs.
        memory: A number for its sizes and when they live, equal for equal ones.
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
    amounts: tuple[int, int, int, int, int, int]
    wide: int
    times_ms: tuple[float, ...]
    names: tuple[str, ...]
    ports: tuple[int, ...]
    memory: int
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
    given_bytes = tuple([t.size_bytes for t in graph.tensors[:ports]])
    elements, outputs, wide = network_flash(graph)
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
        amounts=(
            counts["channels"],
            counts["tensors"] - ports,
            counts["ops"],
            counts["convolutions"],
            elements,
            outputs,
        ),
        wide=wide,
        times_ms=tuple([ms for op in graph.ops for ms in timer(graph, op) if ms]),
        names=tuple([op.name for op in graph.ops]),
        joint=number(out > 0, out_port, [bool(u) for u in used], heads, tail, plain, bool(own)),
        ports=given_bytes,
        memory=number(given_bytes, sizes, wanted, own, used, out),
        timing=number(own, used, out),
        plain=plain,
    )


_COUNTER = count()
_NUMBERS: dict[str, int] = {}


def number(*facts: object) -> int:
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
