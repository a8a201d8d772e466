"""What a kernel does, in the few numbers that its time depends on."""

from __future__ import annotations

from typing import NamedTuple
from weakref import WeakKeyDictionary

from ..jsonio import digest
from .fusion import Kernel
from .workload import Layer


class Work(NamedTuple):
    """The work of one kernel at batch 1.

    Args:
        kind: That of its heaviest layer, or of its first.
        size: Window of that layer (`3x3`), where it has one.
        macs: Multiply-adds.
        moved: Bytes of activations read and written.
        weights: Bytes of weights read.
    """

    kind: str
    size: str
    macs: int
    moved: int
    weights: int


_KNOWN: WeakKeyDictionary[Kernel, Work] = WeakKeyDictionary()


def work_of(kernel: Kernel) -> Work:
    """Return the work of a kernel.

    An embedding reads the rows that it returns, not its whole table.
    """
    known = _KNOWN.get(kernel)
    if known is None:
        main = main_layer(kernel)
        moved = kernel.read_bytes + kernel.write_bytes
        weights = kernel.weight_bytes
        for layer in kernel.layers:
            if layer.kind == "embedding":
                moved += layer.output_bytes
                weights -= layer.weight_bytes
        size = "x".join(map(str, main.kernel)) if main.macs else ""
        known = _KNOWN[kernel] = Work(main.kind, size, kernel.macs, moved, weights)
    return known


def main_layer(kernel: Kernel) -> Layer:
    """Return the layer that a kernel is named after: the one with most MACs, else the first."""
    return max(kernel.layers, key=lambda layer: layer.macs)


def label_of(kernel: Kernel) -> str:
    """Return a text for a kernel, equal exactly for kernels of equal signature."""
    main = main_layer(kernel)
    shapes = ["x".join(map(str, s)) for s in (*main.input_shapes[:1], *main.output_shapes[:1])]
    window = "x".join(map(str, main.kernel))
    stride = "x".join(map(str, main.stride))
    facts = [main.kind, " > ".join(shapes)]
    facts += [f"window {window} stride {stride}"] if window else []
    facts += [f"groups {main.groups}"] if main.groups > 1 else []
    return f"{', '.join(facts)} [{digest(list(kernel.signature))[:10]}]"
