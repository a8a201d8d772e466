"""What all accelerators share: which layers the array computes, and what the others cost.

Layers run one after another. What the array computes is up to the family; activations and batch
norms are applied to results on their way out and are free; the rest (pooling, additions, softmax,
norms with statistics of the data, copies) is free or runs on a vector unit, as the device file
says. A layer is costed once per shape.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from math import ceil
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, TypeVar

from pydantic import AfterValidator, model_validator

from ...errors import SpecError, UnsupportedLayer
from ..cost import Bottleneck, Excess, LayerCost, SequentialModel
from ..device import Device, Number, Numbers, measures
from ..dtypes import DTYPE_BYTES, Dtype
from ..workload import Layer, Workload
from .layers import (
    PASSES,
    Job,
    attention_scores,
    jobs_of,
    remedy_of,
    rule_of,
    vector_operations,
)

_N = TypeVar("_N", bound="ArrayNumbers")


def _whole(number: Number) -> Number:
    if not number.si.is_integer():
        raise ValueError(f"value must be a whole number, got {number.value:g}")
    return number


WHOLE = AfterValidator(_whole)


class ArrayNumbers(Numbers):
    """What every accelerator's file holds.

    Args:
        clock: Of the array.
        precision: Number format of weights and activations.
        other_layers: What layers cost that the array does not compute: `free`, or `vector`, which
            needs `vector_lanes`.
        vector_lanes: Elements that the vector unit takes per cycle.
        memory: Main memory that weights and activations share; left out: no limit.
    """

    clock: Annotated[Number, measures("frequency")]
    precision: Dtype
    other_layers: Literal["free", "vector"]
    vector_lanes: Annotated[Number, measures("elements per cycle")] | None = None
    memory: Annotated[Number, measures("memory")] | None = None

    @model_validator(mode="after")
    def _lanes(self) -> Self:
        if (self.other_layers == "vector") != (self.vector_lanes is not None):
            raise ValueError("vector_lanes must be given with other_layers: vector, and only then")
        return self


class ArrayCost(NamedTuple):
    """What one nest of loops costs.

    Args:
        cycles: From the first operand to the last result.
        energy_pj: None where the family has no energies.
        bytes_moved: To and from the memory that limits it.
        bottleneck: What it waits for.
    """

    cycles: int
    energy_pj: float | None
    bytes_moved: int
    bottleneck: Bottleneck


class ArrayModel(SequentialModel):
    """An accelerator; a family says what a nest of loops costs on its array."""

    provides: ClassVar[tuple[str, ...]] = ("latency_ms", "peak_memory_bytes", "utilization")
    Numbers: ClassVar[type[ArrayNumbers]]

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        numbers = numbers_of(device, self.Numbers)
        self.cycle_ms = 1e3 / numbers.clock.si
        self.precision = numbers.precision
        self.word_bytes = DTYPE_BYTES[numbers.precision]
        self._vector = numbers.vector_lanes.si if numbers.vector_lanes else 0.0
        self._memory_bytes = int(numbers.memory.si) if numbers.memory else None
        self._known_layers: dict[tuple[Any, ...], LayerCost] = {}

    @property
    @abstractmethod
    def macs_per_cycle(self) -> int:
        """Multiply-adds per cycle when every multiplier works."""

    @abstractmethod
    def array_cost(self, job: Job) -> ArrayCost:
        """Return what the array takes for a nest of loops.

        Raises:
            ValueError: If the array cannot compute it at all, with rule, value and remedy.
        """

    def movement_pj(self, read_bytes: int, written_bytes: int) -> float | None:
        """Return the energy of a vector unit's operands; None where the family has no energies."""
        return None

    def layer_jobs(self, layer: Layer, batch: int) -> tuple[Job, ...] | None:
        """Return what the array computes of a layer; None for one that it does not compute."""
        return jobs_of(layer, batch) if rule_of(layer) == "array" else None

    @property
    def dtypes(self) -> tuple[Dtype, ...]:
        """The one number format of the array."""
        return (self.precision,)

    def layer_cost(self, layer: Layer, batch: int) -> LayerCost:
        """Return the cost of one layer, computed once per shape; the name is another's."""
        key = (batch, *layer.signature)
        known = self._known_layers.get(key)
        if known is None:
            known = self._known_layers[key] = self._layer_cost(layer, batch)
        return known

    def _layer_cost(self, layer: Layer, batch: int) -> LayerCost:
        rule = rule_of(layer)
        if rule == "unsupported":
            raise UnsupportedLayer(
                f"{self.device.name} cannot compute the layer {layer.name!r} ({layer.op}); "
                f"{remedy_of(layer)}",
                layer=layer.name,
            )
        jobs = self.layer_jobs(layer, batch)
        if jobs is not None:
            return self._on_array(layer, jobs, batch)
        if rule == "fused" or not self._vector:
            energy = 0.0 if "energy_mj" in self.provides else None
            return LayerCost(layer.name, layer.kind, 0.0, energy, layer.macs * batch, 0, "none")
        return self._on_vector_unit(layer, batch)

    def _on_array(self, layer: Layer, jobs: tuple[Job, ...], batch: int) -> LayerCost:
        try:
            costs = [self.array_cost(job) for job in jobs]
        except ValueError as error:
            text = f"{self.device.name} cannot compute the layer {layer.name!r}: {error}"
            raise UnsupportedLayer(text, layer=layer.name) from error
        return self.joined(layer, costs, batch)

    def joined(self, layer: Layer, costs: Sequence[ArrayCost], batch: int) -> LayerCost:
        """Return the cost of a layer from those of its nests of loops.

        Between the two products of attention, the vector unit takes the softmax.
        """
        if layer.kind == "attention" and self._vector:
            costs = [*costs, self._softmax(attention_scores(layer) * batch)]
        energies = [c.energy_pj for c in costs if c.energy_pj is not None]
        return LayerCost(
            name=layer.name,
            kind=layer.kind,
            latency_ms=sum([c.cycles for c in costs]) * self.cycle_ms,
            energy_mj=sum(energies) * 1e-9 if energies else None,
            macs=layer.macs * batch,
            bytes_moved=sum([c.bytes_moved for c in costs]),
            bottleneck=max(costs, key=lambda c: c.cycles).bottleneck,
        )

    def _softmax(self, scores: int) -> ArrayCost:
        moved = scores * self.word_bytes
        cycles = ceil(PASSES["softmax"] * scores / self._vector)
        return ArrayCost(cycles, self.movement_pj(moved, moved), 2 * moved, "compute")

    def _on_vector_unit(self, layer: Layer, batch: int) -> LayerCost:
        cycles = ceil(batch * vector_operations(layer) / self._vector)
        read, written = layer.input_bytes * batch, layer.output_bytes * batch
        energy = self.movement_pj(read, written)
        return LayerCost(
            name=layer.name,
            kind=layer.kind,
            latency_ms=cycles * self.cycle_ms,
            energy_mj=None if energy is None else energy * 1e-9,
            macs=0,
            bytes_moved=read + written,
            bottleneck="compute",
        )

    def memory(self, workload: Workload, batch: int) -> tuple[int, tuple[Excess, ...]]:
        """Return weights plus the peak of activations, in bytes, all in main memory."""
        needed, excesses = super().memory(workload, batch)
        if self._memory_bytes is None or needed <= self._memory_bytes:
            return needed, excesses
        remedy = "choose a smaller network, input or batch"
        limit, layer = self._memory_bytes, workload.peak_layer
        return needed, (*excesses, Excess("memory", needed, limit, "bytes", layer, remedy))

    def utilization(self, macs: int, latency_ms: float) -> float | None:
        """Return the share of the multipliers' time that is spent on multiply-adds."""
        if latency_ms <= 0:
            return None
        return macs / (self.macs_per_cycle * latency_ms / self.cycle_ms)


def numbers_of(device: Device, kind: type[_N]) -> _N:
    """Return the numbers of a device.

    Raises:
        SpecError: If they are another family's.
    """
    if not isinstance(device.numbers, kind):
        raise SpecError(
            f"{kind.__name__} are needed, got the device {device.name!r} of family "
            f"{device.family!r}; use model_for(device)"
        )
    return device.numbers
