"""Family `cpu`: a roofline with a cost per operation.

    t(kernel) = overhead + max(2 MACs / (share x peak FLOP/s), bytes moved / (share x bandwidth))

Kernels run one after another, on as many cores as the file says; each reads its inputs and weights
from memory and writes its outputs back, nothing stays in a cache. Arithmetic beside multiply-adds
(norms, activations, pooling) is taken as hidden behind its memory traffic. Views cost nothing.

Source: Williams et al., "Roofline: an insightful visual performance model", CACM 52(4), 2009; the
term per operation is the launch cost of eager frameworks. Unless the device file says
`calibrated: true`, the numbers order networks at best; they are no prediction in milliseconds.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from ..errors import SpecError
from .cost import Bottleneck
from .device import Device, Number, Numbers, measures
from .dtypes import Dtype
from .roofline import KernelTime, RooflineModel, RooflineNumbers, share
from .work import Work


class CpuNumbers(RooflineNumbers):
    """What a file of the family holds.

    Args:
        clock: Sustained frequency of a core under vector load.
        flops_per_cycle: Floating-point operations of one core per cycle in float32, a multiply-add
            being two.
        memory_bandwidth: What the cores get from main memory together.
        layer_overhead: Fixed cost of one operation.
        memory: Memory that weights and activations share.
        cores: How many work on one operation; 1 if left out.
        flops_per_cycle_float16: As `flops_per_cycle`, where float16 has arithmetic of its own.
        flops_per_cycle_bfloat16: Likewise, bfloat16.
        flops_per_cycle_int8: Likewise, int8.
        compute_share: Part of the peak that kernels reach; 1 if left out.
        memory_share: Part of the bandwidth that they reach; 1 if left out.
    """

    clock: Annotated[Number, measures("frequency")]
    flops_per_cycle: Annotated[Number, measures("FLOP per cycle")]
    memory_bandwidth: Annotated[Number, measures("bytes per second")]
    layer_overhead: Annotated[Number, measures("time", positive=False)]
    memory: Annotated[Number, measures("memory")]
    cores: Annotated[Number, measures("cores")] | None = None
    flops_per_cycle_float16: Annotated[Number, measures("FLOP per cycle")] | None = None
    flops_per_cycle_bfloat16: Annotated[Number, measures("FLOP per cycle")] | None = None
    flops_per_cycle_int8: Annotated[Number, measures("FLOP per cycle")] | None = None
    compute_share: Annotated[Number, measures("share")] | None = None
    memory_share: Annotated[Number, measures("share")] | None = None


class CpuModel(RooflineModel):
    """The roofline of some cores; see the module's text for its assumptions."""

    version = "2"  # the MACs of a device's other number formats have peaks of their own
    Numbers: ClassVar[type[Numbers]] = CpuNumbers

    def __init__(self, device: Device) -> None:
        numbers = device.numbers
        if not isinstance(numbers, CpuNumbers):
            raise SpecError(
                f"the cpu model needs a device of family cpu, got {device.name!r} of family "
                f"{device.family!r}; use model_for(device)"
            )
        super().__init__(device)
        cores = 1.0 if numbers.cores is None else numbers.cores.si
        per_cycle: dict[Dtype, Number | None] = {
            "float32": numbers.flops_per_cycle,
            "float16": numbers.flops_per_cycle_float16,
            "bfloat16": numbers.flops_per_cycle_bfloat16,
            "int8": numbers.flops_per_cycle_int8,
        }
        self.peaks = {
            dtype: numbers.clock.si * cores * found.si
            for dtype, found in per_cycle.items()
            if found is not None
        }
        self.peak_flops = self.peaks["float32"]
        self.compute_share = share(numbers.compute_share)
        self.bandwidth = numbers.memory_bandwidth.si * share(numbers.memory_share)
        self.overhead_ms = numbers.layer_overhead.si * 1e3
        self.memory_bytes = int(numbers.memory.si)

    def kernel_time(self, work: Work, batch: int, dtype: Dtype) -> KernelTime:
        """Return the roofline time of one kernel."""
        compute_ms = 2e3 * work.macs * batch / (self.peaks[dtype] * self.compute_share)
        memory_ms = 1e3 * (work.moved * batch + work.weights) / self.bandwidth
        work_ms = max(compute_ms, memory_ms)
        bottleneck: Bottleneck = "compute" if compute_ms >= memory_ms else "memory"
        if self.overhead_ms > work_ms:
            bottleneck = "overhead"
        return KernelTime(self.overhead_ms + work_ms, bottleneck)
