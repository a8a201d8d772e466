"""Family `cpu`: a roofline with a cost per operation, for eager execution on one core.

    t(layer) = overhead + max(2 MACs / peak FLOP/s, bytes moved / bandwidth)

Layers run one after another; each reads its inputs and weights from memory and writes its outputs
back, nothing stays in a cache and nothing is fused. Arithmetic beside multiply-adds (norms,
activations, pooling) is taken as hidden behind its memory traffic. Views cost nothing.

Source: Williams et al., "Roofline: an insightful visual performance model", CACM 52(4), 2009; the
term per operation is the launch cost of eager frameworks. Unless the device file says
`calibrated: true`, the numbers order networks at best; they are no prediction in milliseconds.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from ..errors import SpecError
from .cost import Bottleneck, Excess, LayerCost, SequentialModel
from .device import Device, Number, Numbers, measures
from .workload import Layer, Workload


class CpuNumbers(Numbers):
    """What a file of the family holds.

    Args:
        clock: Sustained frequency of the core under vector load.
        flops_per_cycle: Floating-point operations per cycle, a multiply-add being two.
        memory_bandwidth: What one core gets from main memory.
        layer_overhead: Fixed cost of one operation.
        memory: Memory that weights and activations share.
    """

    clock: Annotated[Number, measures("frequency")]
    flops_per_cycle: Annotated[Number, measures("FLOP per cycle")]
    memory_bandwidth: Annotated[Number, measures("bytes per second")]
    layer_overhead: Annotated[Number, measures("time", positive=False)]
    memory: Annotated[Number, measures("memory")]


class CpuModel(SequentialModel):
    """The roofline of one core; see the module's text for its assumptions."""

    Numbers: ClassVar[type[Numbers]] = CpuNumbers

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        numbers = device.numbers
        if not isinstance(numbers, CpuNumbers):
            raise SpecError(
                f"the cpu model needs a device of family cpu, got {device.name!r} of family "
                f"{device.family!r}; use model_for(device)"
            )
        self.peak_flops = numbers.clock.si * numbers.flops_per_cycle.si
        self.bandwidth = numbers.memory_bandwidth.si
        self.overhead_ms = numbers.layer_overhead.si * 1e3
        self.memory_bytes = int(numbers.memory.si)

    def layer_cost(self, layer: Layer, batch: int) -> LayerCost:
        """Return the roofline time of one layer."""
        macs = layer.macs * batch
        if layer.view:
            return LayerCost(layer.name, layer.kind, 0.0, None, macs, 0, "none")
        # an embedding reads the rows that it returns, not its whole table
        weights = layer.output_bytes * batch if layer.kind == "embedding" else layer.weight_bytes
        moved = (layer.input_bytes + layer.output_bytes) * batch + weights
        compute_ms = 2e3 * macs / self.peak_flops
        memory_ms = 1e3 * moved / self.bandwidth
        work_ms = max(compute_ms, memory_ms)
        bottleneck: Bottleneck = "compute" if compute_ms >= memory_ms else "memory"
        if self.overhead_ms > work_ms:
            bottleneck = "overhead"
        latency = self.overhead_ms + work_ms
        return LayerCost(layer.name, layer.kind, latency, None, macs, moved, bottleneck)

    def memory(self, workload: Workload, batch: int) -> tuple[int, tuple[Excess, ...]]:
        """Return weights plus the peak of activations, in bytes."""
        needed, _ = super().memory(workload, batch)
        if needed <= self.memory_bytes:
            return needed, ()
        remedy = "choose a smaller network, input or batch"
        layer = workload.peak_layer
        return needed, (Excess("memory", needed, self.memory_bytes, "bytes", layer, remedy),)

    def utilization(self, macs: int, latency_ms: float) -> float | None:
        """Return achieved over peak FLOP/s."""
        return 2e3 * macs / self.peak_flops / latency_ms if latency_ms > 0 else None
