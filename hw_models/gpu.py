"""Family `gpu`: kernels one after another, each bound by launch, arithmetic or memory.

    t(kernel) = max(launch, 2 MACs / (share x peak FLOP/s), bytes moved / (share x bandwidth))

The host launches kernels ahead of the device, so that a launch hides behind the work before it;
what is too small to hide one costs a launch. In eager execution every layer that is no view is a
kernel, also one that does not matter for the output, and one that multiplies by zero. A kernel
reads its inputs and weights from memory and writes its outputs back; nothing stays in a cache.
Arithmetic beside multiply-adds is taken as hidden behind its memory traffic. MACs run at the peak
of the number format, bytes count in it; a batch multiplies both, but for the weights.

Source: Williams et al., "Roofline: an insightful visual performance model", CACM 52(4), 2009. With
data-sheet numbers and shares of 1 it orders small networks at batch 1, where launches decide; large
batches need the shares of each kind of kernel, which calibration finds (`calibrate`).
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from ..errors import SpecError
from .cost import Bottleneck
from .device import Device, Number, Numbers, measures
from .dtypes import Dtype
from .roofline import KernelTime, RooflineModel, RooflineNumbers, share
from .work import Work


class GpuNumbers(RooflineNumbers):
    """What a file of the family holds.

    Args:
        peak_float32: Floating-point operations per second, a multiply-add being two.
        memory_bandwidth: Of the device's memory.
        launch: Time between the starts of two kernels that do next to nothing.
        memory: Memory that weights and activations share.
        peak_float16: As `peak_float32`, where networks can be run in float16.
        peak_bfloat16: Likewise, bfloat16.
        peak_int8: Likewise, int8.
        compute_share: Part of the peak that kernels reach; 1 if left out.
        memory_share: Part of the bandwidth that they reach; 1 if left out.
    """

    peak_float32: Annotated[Number, measures("FLOP per second")]
    memory_bandwidth: Annotated[Number, measures("bytes per second")]
    launch: Annotated[Number, measures("time", positive=False)]
    memory: Annotated[Number, measures("memory")]
    peak_float16: Annotated[Number, measures("FLOP per second")] | None = None
    peak_bfloat16: Annotated[Number, measures("FLOP per second")] | None = None
    peak_int8: Annotated[Number, measures("FLOP per second")] | None = None
    compute_share: Annotated[Number, measures("share")] | None = None
    memory_share: Annotated[Number, measures("share")] | None = None


class GpuModel(RooflineModel):
    """The roofline of a GPU's kernels; see the module's text for its assumptions."""

    Numbers: ClassVar[type[Numbers]] = GpuNumbers

    def __init__(self, device: Device) -> None:
        numbers = device.numbers
        if not isinstance(numbers, GpuNumbers):
            raise SpecError(
                f"the gpu model needs a device of family gpu, got {device.name!r} of family "
                f"{device.family!r}; use model_for(device)"
            )
        super().__init__(device)
        peaks: dict[Dtype, Number | None] = {
            "float32": numbers.peak_float32,
            "float16": numbers.peak_float16,
            "bfloat16": numbers.peak_bfloat16,
            "int8": numbers.peak_int8,
        }
        self.peaks = {dtype: found.si for dtype, found in peaks.items() if found is not None}
        self.compute_share = share(numbers.compute_share)
        self.bandwidth = numbers.memory_bandwidth.si * share(numbers.memory_share)
        self.launch_ms = numbers.launch.si * 1e3
        self.memory_bytes = int(numbers.memory.si)

    def kernel_time(self, work: Work, batch: int, dtype: Dtype) -> KernelTime:
        """Return the roofline time of one kernel."""
        compute_ms = 2e3 * work.macs * batch / (self.peaks[dtype] * self.compute_share)
        memory_ms = 1e3 * (work.moved * batch + work.weights) / self.bandwidth
        bottleneck: Bottleneck = "compute" if compute_ms >= memory_ms else "memory"
        work_ms = max(compute_ms, memory_ms)
        if self.launch_ms > work_ms:
            return KernelTime(self.launch_ms, "overhead")
        return KernelTime(work_ms, bottleneck)
