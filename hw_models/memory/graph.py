"""The graph record that planners read: int8 tensors between operators that a runtime executes.

Plain data without torch. `netloom.hw_models.mcu.lower` writes it from a `Workload`; it can also be
written by hand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

from ...errors import SpecError

OpKind: TypeAlias = Literal[
    "conv",  # kernel beyond 1, grouped ones included
    "pw",  # kernel 1
    "dw",
    "fc",
    "matmul",  # two activations
    "add",
    "mul",
    "pool",  # windows and means
    "pad",
    "concat",
    "copy",  # moves bytes: transposes, slices
    "resize",
    "softmax",
    "lut",  # a function of each element
    "layernorm",
    "quantize",
]
CONVOLUTIONS = frozenset({"conv", "pw", "dw"})
# windows whose output elements depend on a region of the input: what tiles can be cut through
LOCAL = frozenset({"conv", "pw", "dw", "pool", "pad"})
ELEMENTWISE = frozenset({"add", "mul", "lut", "quantize"})


class MemTensor(NamedTuple):
    """A tensor in the arena; its index is its id.

    Args:
        name: Of the layer that writes it, or of the input.
        shape: Batch first, then channels, then the spatial sizes.
        size_bytes: What it occupies, unaligned.
        dtype: `int8`, or what an input holds before it is quantised.
    """

    name: str
    shape: tuple[int, ...]
    size_bytes: int
    dtype: str = "int8"


class MemOp(NamedTuple):
    """An operator of the runtime.

    Args:
        name: Unique in the graph.
        kind: Fixes which of the fields below mean something.
        inputs: Ids of the tensors read, weights left out.
        output: Id of the tensor written.
        macs: Multiply-adds, of the whole batch.
        kernel: Rows and columns of the window.
        stride: Likewise.
        padding: Rows before, rows after, columns before, columns after.
        dilation: Rows and columns between the elements of the window, 1 for none left out.
        groups: Of convolutions.
        weights: Elements of the weights, a byte each.
        channels: Output channels with a bias and a scale of their own; 0 for operators without.
        layer: The layer that it comes from, where that is not its name.
    """

    name: str
    kind: OpKind
    inputs: tuple[int, ...]
    output: int
    macs: int = 0
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    weights: int = 0
    channels: int = 0
    layer: str = ""

    @property
    def parametric(self) -> bool:
        """Whether it reads weights and bias."""
        return self.channels > 0


class Graph:
    """Operators in execution order with their tensors.

    Args:
        tensors: Their position is their id; allocators break ties by it.
        ops: In execution order.
        inputs: Ids of what the caller fills.
        outputs: Ids of what the caller reads.

    Raises:
        SpecError: If an operator reads a tensor before it is written, or a tensor is empty or
            written twice.
    """

    def __init__(
        self,
        tensors: Iterable[MemTensor],
        ops: Iterable[MemOp],
        *,
        inputs: Sequence[int],
        outputs: Sequence[int],
    ) -> None:
        self.tensors, self.ops = tuple(tensors), tuple(ops)
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        for tensor in self.tensors:
            if tensor.size_bytes < 1:
                raise SpecError(
                    f"a tensor must hold at least one element, got {tensor.name!r} of shape "
                    f"{tensor.shape}; use a larger input or fewer strides"
                )
        known = set(self.inputs)
        for op in self.ops:
            if unknown := [i for i in op.inputs if i not in known]:
                raise SpecError(
                    f"{op.name!r} must read tensors that were written before it, got {unknown}"
                )
            if op.output in known:
                raise SpecError(
                    f"tensor {op.output} must be written once; {op.name!r} writes again"
                )
            known.add(op.output)

    @cached_property
    def producer(self) -> dict[int, int]:
        """Tensor id -> position of the operator that writes it; inputs have none."""
        return {op.output: k for k, op in enumerate(self.ops)}

    @cached_property
    def consumers(self) -> tuple[tuple[int, ...], ...]:
        """For each tensor, the positions of the operators that read it."""
        readers: list[list[int]] = [[] for _ in self.tensors]
        for k, op in enumerate(self.ops):
            for i in dict.fromkeys(op.inputs):
                readers[i].append(k)
        return tuple(map(tuple, readers))

    @cached_property
    def macs(self) -> int:
        """Multiply-adds of all operators."""
        return sum([op.macs for op in self.ops])

    def size(self, tensor: int) -> int:
        """Return the bytes of a tensor."""
        return self.tensors[tensor].size_bytes

    def __repr__(self) -> str:
        return f"Graph({len(self.ops)} operators, {len(self.tensors)} tensors, {self.macs} MACs)"


def spatial(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the rows and columns of a shape (batch, channels, ...); 1 where it has none."""
    rest = shape[2:]
    if len(rest) == 1:
        return 1, rest[0]
    return (rest[0], math.prod(rest[1:])) if rest else (1, 1)
