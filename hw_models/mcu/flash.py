"""What a network occupies in non-volatile memory, in its parts, on the chip and outside."""

from __future__ import annotations

from typing import NamedTuple

from ..memory.graph import Graph
from .policy import Policy

KIB = 1024
# a bias is an int32; a scale a float32, or a multiplier of a code generator
BIAS_BYTES, SCALE_BYTES = 4, 4
# a .tflite file keeps scale (float32) and zero point (int64) of each channel, for weights and bias
TFLITE_SCALE_BYTES = 24
# what is left of TinyEngine's README (December 2022) without weights: kernels of 3, 5 and 7, or of
# 3 only; 62.6 to 65.5 KiB for six networks with the former
CODEGEN_KIB, CODEGEN_SMALL_KIB = 63, 30
# TensorFlow Lite Micro with reference kernels on top of the file, 137 to 149 KiB for five networks
TFLM_KIB, CMSIS_KIB = 140, 18


class Flash(NamedTuple):
    """Bytes of Flash.

    Args:
        weights: A byte per element.
        bias: Of output channels.
        scales: Of output channels.
        code: The runtime; of what else the firmware does nothing is known.
        on_chip: What of it lies in the chip's own Flash.
        external: What of it lies in another chip.
    """

    weights: int
    bias: int
    scales: int
    code: int
    on_chip: int
    external: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.bias + self.scales + self.code


def network_flash(graph: Graph) -> tuple[int, int, int]:
    """Return the elements of weights, the output channels, and 1 if a window is beyond 3 (else 0).

    The first two are sums over operators and the last a maximum.
    """
    return (
        sum([op.weights for op in graph.ops]),
        sum([op.channels for op in graph.ops]),
        max([int(op.parametric and max(op.kernel) > 3) for op in graph.ops], default=0),
    )


def code_bytes(policy: Policy, wide: int) -> int:
    """Return the size of the runtime; `wide` says whether kernels beyond 3 are needed."""
    if policy.overhead == "codegen":
        return (CODEGEN_KIB if wide else CODEGEN_SMALL_KIB) * KIB
    if policy.overhead == "tflm":
        return (TFLM_KIB + (0 if policy.kernels == "tflm_ref" else CMSIS_KIB)) * KIB
    return 0


def flash(
    elements: int, channels: int, wide: int, policy: Policy, on_chip: int, external: int
) -> Flash:
    """Return what a network occupies where.

    All lies on the chip if it fits; else weights, and where the chip has no Flash everything, lie
    outside.

    Args:
        elements: Of all weights.
        channels: Output channels of all operators with weights.
        wide: 1 if a kernel is beyond 3.
        policy: Decides code and scales.
        on_chip: Bytes that the chip has.
        external: Bytes that lie outside.
    """
    per_scale = TFLITE_SCALE_BYTES if policy.overhead == "tflm" else SCALE_BYTES
    bias, scales = BIAS_BYTES * channels, per_scale * channels
    code = code_bytes(policy, wide)
    total = elements + bias + scales + code
    outside = 0
    if external and total > on_chip:
        outside = elements if on_chip else total
    return Flash(elements, bias, scales, code, total - outside, outside)
