"""What a network costs on a device: the record and the contract of every hardware model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import fsum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias
from weakref import WeakKeyDictionary

from ..errors import HardwareLimit, SpecError
from ..jsonio import digest
from .workload import Layer, Workload

if TYPE_CHECKING:
    from .device import Device

Bottleneck: TypeAlias = Literal["compute", "memory", "overhead", "none"]


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs.

    Args:
        name: As in the workload.
        kind: Likewise.
        latency_ms: Its share of the network's latency.
        energy_mj: Its share of the energy, where the model has one.
        macs: Multiply-adds at the batch asked for.
        bytes_moved: Bytes read and written, weights included.
        bottleneck: What it waits for; `none` for a layer that costs nothing.
    """

    name: str
    kind: str
    latency_ms: float
    energy_mj: float | None
    macs: int
    bytes_moved: int
    bottleneck: Bottleneck


@dataclass(frozen=True)
class Cost:
    """What a network costs on one device; fields that a model does not give are None.

    Args:
        latency_ms: For the whole batch, from input to output.
        peak_memory_bytes: Most bytes of memory in use at once: activations, and weights where
            they live in the same memory.
        energy_mj: For the whole batch.
        flash_bytes: What the network occupies in non-volatile memory.
        area_mm2: Silicon of the accelerator.
        utilization: Share of the device's peak arithmetic that is used, 0 to 1.
        layers: The breakdown, in execution order; empty when it was not asked for.
    """

    latency_ms: float
    peak_memory_bytes: int
    energy_mj: float | None = None
    flash_bytes: int | None = None
    area_mm2: float | None = None
    utilization: float | None = None
    layers: tuple[LayerCost, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON values of what the model gives."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class HardwareModel(ABC):
    """Costs networks on one device.

    Args:
        device: The numbers of the device; its family is the one this class models.
    """

    version: ClassVar[str] = "1"  # raise it when the same workload gives other numbers than before
    provides: ClassVar[tuple[str, ...]] = ("latency_ms", "peak_memory_bytes")  # fields of Cost

    Numbers: ClassVar[type[Any]]  # a subclass of `device.Numbers`: what a device file must hold

    def __init__(self, device: Device) -> None:
        self.device = device

    def __reduce__(self) -> tuple[type[HardwareModel], tuple[Device]]:
        return (type(self), (self.device,))

    @abstractmethod
    def cost(self, workload: Workload, batch: int = 1, *, breakdown: bool = True) -> Cost:
        """Return what `workload`, which was traced at batch 1, costs at `batch`.

        Args:
            workload: The network.
            batch: Images at once, at least 1.
            breakdown: Whether the cost of each layer is wanted.

        Raises:
            HardwareLimit: If the network cannot run on the device at all.
            SpecError: If `batch` is not a positive integer.
        """

    @property
    def fingerprint(self) -> str:
        """A digest of everything that decides the numbers: model, version and device."""
        model = f"{type(self).__module__}:{type(self).__qualname__}"
        return digest([model, self.version, self.device.to_dict()])


class SequentialModel(HardwareModel):
    """A model in which layers run one after another and the costs of layers add up.

    A workload composed of parts is costed part by part, each part once; sums are exact
    (`math.fsum`), so that a composed network costs the same as the traced one to the last digit.
    """

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self._known: WeakKeyDictionary[Workload, dict[int, tuple[LayerCost, ...]]] = (
            WeakKeyDictionary()
        )

    @abstractmethod
    def layer_cost(self, layer: Layer, batch: int) -> LayerCost:
        """Return the cost of one layer; its name may be left to the caller."""

    def check(self, workload: Workload, batch: int) -> int:
        """Return the peak memory in bytes; raise `HardwareLimit` where the device has less."""
        return workload.peak_activation_bytes * batch + workload.weight_bytes

    def utilization(self, macs: int, latency_ms: float) -> float | None:
        """Return the share of the peak that `macs` in this time are; None where there is none."""
        return None

    def cost(self, workload: Workload, batch: int = 1, *, breakdown: bool = True) -> Cost:
        """Return the sum over the layers; see `HardwareModel.cost`."""
        if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
            raise SpecError(f"batch must be an integer of at least 1, got {batch!r}")
        memory = self.check(workload, batch)
        pieces = [self._layers(piece, batch) for _, piece in workload.pieces]
        latency = fsum([c.latency_ms for piece in pieces for c in piece])
        energies = [c.energy_mj for piece in pieces for c in piece if c.energy_mj is not None]
        return Cost(
            latency_ms=latency,
            peak_memory_bytes=memory,
            energy_mj=fsum(energies) if "energy_mj" in self.provides else None,
            utilization=self.utilization(workload.macs * batch, latency),
            layers=self._named(workload, pieces) if breakdown else (),
        )

    def _layers(self, piece: Workload, batch: int) -> tuple[LayerCost, ...]:
        batches = self._known.setdefault(piece, {})
        known = batches.get(batch)
        if known is None:
            known = batches[batch] = tuple([self.layer_cost(x, batch) for x in piece.layers])
        return known

    def _named(
        self, workload: Workload, pieces: Sequence[tuple[LayerCost, ...]]
    ) -> tuple[LayerCost, ...]:
        costs = [cost for piece in pieces for cost in piece]
        return tuple(
            LayerCost(**{**vars(cost), "name": layer.name})
            for cost, layer in zip(costs, workload.layers, strict=True)
        )


def memory_limit(device: str, layer: str, needed_bytes: int, limit_bytes: int) -> HardwareLimit:
    """Return the error of a network that needs more memory than the device has."""
    return HardwareLimit(
        f"{device} has {limit_bytes:,} bytes of memory; the network needs {needed_bytes:,}, most "
        f"at layer {layer!r}: choose a smaller network, input or batch",
        layer=layer,
        needed_bytes=needed_bytes,
        limit_bytes=limit_bytes,
    )
