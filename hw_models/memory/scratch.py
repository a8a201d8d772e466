"""What a runtime needs beside tensors: kernel scratch and persistent structures.

Sources: ARM-software/CMSIS-NN `*_get_buffer_sizes_s8.c`; mit-han-lab/tinyengine `operators/*`;
tensorflow/tflite-micro, `micro_allocation_info.cc` and docs/memory_management.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from .graph import CONVOLUTIONS, Graph, MemOp, spatial


def _depth(graph: Graph, op: MemOp) -> int:
    """Return the elements that one output element of a convolution multiplies."""
    return math.prod(op.kernel) * graph.tensors[op.inputs[0]].shape[1] // op.groups


def _plain(op: MemOp) -> bool:
    """Whether it is a kernel of 1 that reads every element."""
    return op.kernel == (1, 1) and op.stride == (1, 1)


def cmsis_dsp(graph: Graph, op: MemOp) -> int:
    """Return the scratch of CMSIS-NN on Armv7E-M with DSP instructions, in bytes."""
    if op.kind == "dw":
        source, result = (graph.tensors[i].shape for i in (op.inputs[0], op.output))
        if source[0] != 1 or op.dilation != (1, 1) or source[1] != result[1]:
            return 0  # the generic kernel, without a buffer
        if op.kernel == (3, 3) and max(op.padding) <= 1:
            return 0
        return 2 * math.prod(op.kernel) * source[1]
    if op.kind in ("conv", "pw") and not _plain(op):
        return 4 * (-(-_depth(graph, op) // 4) * 4)
    return 0


def cmsis_mve(graph: Graph, op: MemOp) -> int:
    """Return the scratch of CMSIS-NN with Helium, in bytes; of depthwise kernels as with DSP."""
    if op.kind == "fc":
        return 4 * op.channels
    if op.kind in ("conv", "pw"):
        return 64 * -(-_depth(graph, op) // 16)
    return cmsis_dsp(graph, op)


def cmsis_v6m(graph: Graph, op: MemOp) -> int:
    """Return the scratch of CMSIS-NN on Armv6-M, in bytes: none for depthwise kernels."""
    return 0 if op.kind == "dw" else cmsis_dsp(graph, op)


PER_OP: dict[str, Callable[[Graph, MemOp], int]] = {
    "cmsis": cmsis_dsp,
    "cmsis_mve": cmsis_mve,
    "cmsis_v6m": cmsis_v6m,
}


def op_scratch(graph: Graph, kind: str) -> dict[int, int]:
    """Return the scratch of each operator under one of the names of `PER_OP`, in bytes."""
    rule = PER_OP[kind]
    return {k: size for k, op in enumerate(graph.ops) if (size := rule(graph, op))}


def im2col_bytes(graph: Graph, op: MemOp) -> int:
    """Return what TinyEngine's buffer for unrolled inputs must hold for one operator."""
    if op.kind == "dw":
        rows, columns = spatial(graph.tensors[op.inputs[0]].shape)
        top, bottom, left, right = op.padding
        return 2 * (rows + 2 * max(top, bottom)) * (columns + 2 * max(left, right))
    return 4 * _depth(graph, op) if op.kind in CONVOLUTIONS else 0


def kernel_bytes(op: MemOp) -> int:
    """Return what TinyEngine's buffer for 16-bit kernels must hold for one operator."""
    return 2 * op.weights if op.kind == "conv" and op.kernel[0] > 1 else 0


def tinyengine_buffers(graph: Graph) -> tuple[int, int]:
    """Return the bytes of TinyEngine's im2col and kernel buffers, each shared by all operators."""
    return (
        max([im2col_bytes(graph, op) for op in graph.ops], default=0),
        max([kernel_bytes(op) for op in graph.ops], default=0),
    )


# bytes of the structures that TensorFlow Lite Micro keeps at the tail of its arena, on x86-64;
# fitted to 24 networks with a tail above 2.5 kB, within -7 to +3 per cent
TAIL_PER_CHANNEL, TAIL_PER_TENSOR, TAIL_PER_OP, TAIL_PER_CONV, TAIL_FIXED = 8, 24, 64, 88, 1000


def tail_bytes(*, channels: int, tensors: int, ops: int, convolutions: int) -> int:
    """Return the persistent part of TensorFlow Lite Micro's arena, in bytes.

    Args:
        channels: Output channels of convolutions and fully connected operators.
        tensors: Of the flatbuffer: activations, weights, biases, constants.
        ops: Operators.
        convolutions: Of these, convolutions.
    """
    return (
        TAIL_PER_CHANNEL * channels
        + TAIL_PER_TENSOR * tensors
        + TAIL_PER_OP * ops
        + TAIL_PER_CONV * convolutions
        + TAIL_FIXED
    )


def tail_counts(graph: Graph) -> dict[str, int]:
    """Return the arguments of `tail_bytes`; both are sums, so parts of a network may be added."""
    constants = sum([2 if op.parametric else op.kind in ("pad", "resize") for op in graph.ops])
    return {
        "channels": sum([op.channels for op in graph.ops]),
        "tensors": len(graph.tensors) + constants,
        "ops": len(graph.ops),
        "convolutions": sum([op.kind in CONVOLUTIONS for op in graph.ops]),
    }
