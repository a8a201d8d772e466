"""Which layers of a network a runtime that exports it really runs, piece by piece.

Exporters fold constants and drop what nobody reads: a layer runs when a path leads from it to an
output, and no path leads through a product with zero (`op == MUL_ZERO`), whose result needs no
operand. What is computed from zeros still runs: only the product itself is known to be constant.
"""

from __future__ import annotations

from collections.abc import Sequence

from .fusion import Kernel, kernels
from .op_names import MUL_ZERO
from .workload import Workload


def every_kernel(workload: Workload) -> tuple[Kernel, ...]:
    """Return one kernel per layer that moves or computes something, as eager execution has it."""
    return kernels(workload, "eager")


def live_kernels(workload: Workload) -> tuple[Kernel, ...]:
    """Return those of `every_kernel` that an exported network runs."""
    pieces = list(workload.parts)
    wanted = [False] * len(pieces)
    wanted[-1] = True
    found: list[tuple[Kernel, ...]] = []
    for i in range(len(pieces) - 1, -1, -1):
        if not wanted[i]:
            continue
        runs, needed = _live(pieces[i])
        found.append(runs)
        for source, read in zip(workload.sources[i], needed, strict=True):
            if read and source >= 0:
                wanted[source] = True
    return tuple([kernel for piece in reversed(found) for kernel in piece])


def _live(piece: Workload) -> tuple[tuple[Kernel, ...], tuple[bool, ...]]:
    """Return the kernels of a piece that run, and which of its inputs they need."""
    known: tuple[tuple[Kernel, ...], tuple[bool, ...]] | None = piece.memo.get("live")
    if known is None:
        wanted = set(piece.outputs)
        runs = _needed(piece, wanted)
        moving = [run for run, layer in zip(runs, piece.layers, strict=True) if not layer.view]
        every = zip(every_kernel(piece), moving, strict=True)
        known = piece.memo["live"] = (
            tuple([kernel for kernel, run in every if run]),
            tuple([index in wanted for index in piece.inputs]),
        )
    return known


def _needed(piece: Workload, wanted: set[int]) -> Sequence[bool]:
    """Return for each layer whether it runs; add the tensors that these read to `wanted`."""
    memories = {piece.tensors[i].storage for i in wanted}
    runs = [False] * len(piece.layers)
    for number in range(len(piece.layers) - 1, -1, -1):
        layer = piece.layers[number]
        inside = not layer.view and any(piece.tensors[i].storage != i for i in layer.outputs)
        touches = inside and any(piece.tensors[i].storage in memories for i in layer.outputs)
        if touches or not wanted.isdisjoint(layer.outputs):
            runs[number] = True
            if layer.op != MUL_ZERO:
                wanted.update(layer.inputs)
                memories.update([piece.tensors[i].storage for i in layer.inputs])
    return runs
