"""What a network costs on a device: the record and the contract of every hardware model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from math import fsum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, NamedTuple, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from ..errors import HardwareLimit, SpecError
from ..jsonio import digest
from .dtypes import DTYPES, Dtype
from .resolution import Resolution, sides
from .workload import Layer, Workload

if TYPE_CHECKING:
    from .device import Device, Validation

Bottleneck: TypeAlias = Literal["compute", "memory", "overhead", "none"]


Source: TypeAlias = Literal["analytic", "table", "fitted"]


@dataclass(frozen=True)
class Excess:
    """A limit of a device that a network breaks: one reason of its verdict.

    Args:
        resource: `sram`, `flash`, `memory`, `dsp`, `bram`, ...
        needed: What the network needs of it.
        limit: What the device has.
        unit: Of both.
        layer: The layer that needs most; empty where the whole network counts.
        remedy: What would make it fit.
    """

    resource: str
    needed: int
    limit: int
    unit: str
    layer: str
    remedy: str

    @property
    def violation(self) -> float:
        """Excess relative to the limit."""
        return (self.needed - self.limit) / self.limit if self.limit else float(self.needed)

    def error(self, device: str) -> HardwareLimit:
        """Return the error that says it."""
        where = f", most at layer {self.layer!r}" if self.layer else ""
        return HardwareLimit(
            f"{device} has {self.limit:,} {self.unit} of {self.resource}; the network needs "
            f"{self.needed:,}{where}: {self.remedy}",
            layer=self.layer,
            needed=self.needed,
            limit=self.limit,
            unit=self.unit,
        )


@dataclass(frozen=True)
class Provenance:
    """Where a number of a model comes from, and how wrong it may be.

    Args:
        source: `analytic` (arithmetic on the device's numbers), `table` (sums of measured parts) or
            `fitted` (coefficients fitted to measured networks).
        model: Module and class, with its version.
        device: The device's name.
        calibrated: Whether the device's numbers were fitted to measurements.
        validation: How the model did on measurements it had not seen; None: never compared.
        derived_from: The field of `Cost` that the number is a constant multiple of; empty for a
            number of its own.
    """

    source: Source
    model: str
    device: str
    calibrated: bool
    validation: Validation | None = None
    derived_from: str = ""

    @property
    def error_percent(self) -> float | None:
        """The error bar: mean absolute error in per cent of the measured value; None: unknown."""
        return None if self.validation is None else self.validation.mape_percent


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
        throughput_per_s: Inputs per second when one follows the other without a pause, for
            devices that work on several at a time.
        layers: The breakdown, in execution order; empty when it was not asked for.
        excesses: The limits that the network breaks; only with `enforce=False`.
    """

    latency_ms: float
    peak_memory_bytes: int
    energy_mj: float | None = None
    flash_bytes: int | None = None
    area_mm2: float | None = None
    utilization: float | None = None
    throughput_per_s: float | None = None
    layers: tuple[LayerCost, ...] = ()
    excesses: tuple[Excess, ...] = ()

    @property
    def fits(self) -> bool:
        """The verdict: whether the device can run the network."""
        return not self.excesses

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON values of what the model gives."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        if self.fits:
            del given["excesses"]
        return given


class HardwareModel(ABC):
    """Costs networks on one device.

    Args:
        device: The numbers of the device; its family is the one this class models.
    """

    version: ClassVar[str] = "1"  # raise it when the same workload gives other numbers than before
    provides: ClassVar[tuple[str, ...]] = ("latency_ms", "peak_memory_bytes")  # fields of Cost
    source: ClassVar[Source] = "analytic"
    # field of Cost -> the field it is a constant multiple of: no objective beside that one
    proportional: ClassVar[Mapping[str, str]] = {}

    Numbers: ClassVar[type[Any]]  # a subclass of `device.Numbers`: what a device file must hold

    def __init__(self, device: Device) -> None:
        self.device = device

    def __reduce__(self) -> tuple[type[HardwareModel], tuple[Device]]:
        return (type(self), (self.device,))

    @property
    def dtypes(self) -> tuple[Dtype, ...]:
        """The number formats that the device computes in; the first is what it takes unasked."""
        return ("float32",)

    @abstractmethod
    def cost_of(self, workload: Workload, batch: int, dtype: Dtype, *, breakdown: bool) -> Cost:
        """Return the cost of a network, with the limits that it breaks in `excesses`.

        What a family implements; `cost`, which calls it, has checked batch and number format and
        brought the network to its resolution. Whoever needs the bytes of `dtype` casts.

        Args:
            workload: The network, as traced at batch 1.
            batch: Images at once.
            dtype: Number format of weights and activations, one of `dtypes`.
            breakdown: Whether the cost of each layer is wanted.

        Raises:
            UnsupportedLayer: If it has a layer of a kind that the device cannot run.
            HardwareLimit: If there is no cost to speak of.
        """

    def cost(
        self,
        workload: Workload,
        batch: int = 1,
        *,
        dtype: Dtype | None = None,
        resolution: Resolution | None = None,
        breakdown: bool = True,
        enforce: bool = True,
    ) -> Cost:
        """Return what `workload`, which was traced at batch 1, costs at `batch`.

        Args:
            workload: The network.
            batch: Images at once, at least 1.
            dtype: Number format of weights and activations; None: the first of `dtypes`.
            resolution: Side, or height and width, of the images; None: as the network was traced.
            breakdown: Whether the cost of each layer is wanted.
            enforce: Whether a network that does not fit is an error; otherwise the cost says so in
                `excesses`.

        Raises:
            HardwareLimit: If the network cannot run on the device at all.
            UnsupportedLayer: If it has a layer of a kind that the device cannot run, enforced or
                not.
            SpecError: If `workload` is none, `batch` is not a positive integer, the device does not
                compute in `dtype`, or the shapes of the network do not tell what it is at
                `resolution`.
        """
        if not isinstance(workload, Workload):
            raise SpecError(
                f"cost takes a Workload, got {type(workload).__name__}; trace(module, "
                "example_input) makes one of a module, read_network(path) of a file"
            )
        chosen = self.settled(batch, dtype)
        if resolution is not None:
            workload = workload.at_resolution(*sides(resolution))
        cost = self.cost_of(workload, batch, chosen, breakdown=breakdown)
        return self.enforced(cost) if enforce else cost

    def provenance(self, field: str) -> Provenance:
        """Return where a field of `Cost` comes from, with its error bar."""
        kind = type(self)
        return Provenance(
            source=self.source,
            model=f"{kind.__module__}:{kind.__qualname__} {self.version}",
            device=self.device.name,
            calibrated=self.device.calibrated,
            validation=self.device.validation.get(field),
            derived_from=self.proportional.get(field, ""),
        )

    def settled(self, batch: int, dtype: Dtype | None) -> Dtype:
        """Return the number format to compute in; check both arguments of `cost`.

        Raises:
            SpecError: As `cost`.
        """
        if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
            raise SpecError(f"batch must be an integer of at least 1, got {batch!r}")
        known = self.dtypes
        if dtype is None:
            return known[0]
        if dtype not in known:
            what = "computes in" if dtype in DTYPES else "takes a dtype of"
            raise SpecError(
                f"{self.device.name} {what} {', '.join(known)}, got {dtype!r}; choose one of these"
            )
        return dtype

    def enforced(self, cost: Cost) -> Cost:
        """Return `cost`, which breaks no limit.

        Raises:
            HardwareLimit: The worst of its excesses.
        """
        if cost.excesses:
            raise max(cost.excesses, key=lambda e: e.violation).error(self.device.name)
        return cost

    @property
    def fingerprint(self) -> str:
        """A digest of everything that decides the numbers: model, version and device."""
        model = f"{type(self).__module__}:{type(self).__qualname__}"
        return digest([model, self.version, self.device.to_dict()])


_T = TypeVar("_T")


class PieceMemo(Generic[_T]):
    """What a model works out about the pieces of workloads, once for each.

    Parts that networks share are remembered as long as the model lives; a network that was traced
    whole, as long as somebody holds it.

    Args:
        compute: Works it out.
    """

    def __init__(self, compute: Callable[[Workload], _T]) -> None:
        self._compute = compute
        self._parts: dict[Workload, _T] = {}
        self._wholes: WeakKeyDictionary[Workload, _T] = WeakKeyDictionary()

    def of(self, workload: Workload) -> list[_T]:
        """Return what is known of each piece, in order."""
        return self._of(workload.parts)

    def distinct(self, workload: Workload) -> list[_T]:
        """Return what is known of each piece that differs from the others."""
        return self._of(workload.distinct)

    def _of(self, parts: Sequence[Workload]) -> list[_T]:
        known = self._parts
        if len(parts) == 1:
            return [self._of_whole(parts[0])]
        try:
            return [known[part] for part in parts]
        except KeyError:
            for part in parts:
                if part not in known:
                    known[part] = self._compute(part)
            return [known[part] for part in parts]

    def _of_whole(self, workload: Workload) -> _T:
        found = self._wholes.get(workload)
        if found is None:
            found = self._wholes[workload] = self._compute(workload)
        return found


class SequentialModel(HardwareModel):
    """A model in which layers run one after another and the costs of layers add up.

    A workload composed of parts is costed part by part, each part once; sums are exact
    (`math.fsum`), so that a composed network costs the same as the traced one to the last digit.
    """

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self._known: dict[int, PieceMemo[_Sums]] = {}  # by batch

    @abstractmethod
    def layer_cost(self, layer: Layer, batch: int) -> LayerCost:
        """Return the cost of one layer; its name may be left to the caller."""

    def memory(self, workload: Workload, batch: int) -> tuple[int, tuple[Excess, ...]]:
        """Return the peak memory in bytes, and the limits that it breaks."""
        return workload.peak_activation_bytes * batch + workload.weight_bytes, ()

    def utilization(self, macs: int, latency_ms: float) -> float | None:
        """Return the share of the peak that `macs` in this time are; None where there is none."""
        return None

    def cost_of(self, workload: Workload, batch: int, dtype: Dtype, *, breakdown: bool) -> Cost:
        """Return the sum over the layers; see `HardwareModel.cost`."""
        workload = workload.cast(dtype)
        memory, excesses = self.memory(workload, batch)
        known = self._known.get(batch)
        if known is None:
            known = self._known[batch] = PieceMemo(lambda piece: self._sums(piece, batch))
        pieces = known.of(workload)
        latency = fsum(chain.from_iterable([piece.latencies for piece in pieces]))
        energies = chain.from_iterable([piece.energies for piece in pieces])
        return Cost(
            latency_ms=latency,
            peak_memory_bytes=memory,
            energy_mj=fsum(energies) if "energy_mj" in self.provides else None,
            utilization=self.utilization(workload.macs * batch, latency),
            layers=self._named(workload, pieces) if breakdown else (),
            excesses=excesses,
        )

    def _sums(self, piece: Workload, batch: int) -> _Sums:
        layers = tuple([self.layer_cost(layer, batch) for layer in piece.layers])
        return _Sums(
            layers,
            tuple([c.latency_ms for c in layers if c.latency_ms]),
            tuple([c.energy_mj for c in layers if c.energy_mj]),
        )

    def _named(self, workload: Workload, pieces: Sequence[_Sums]) -> tuple[LayerCost, ...]:
        costs = [cost for piece in pieces for cost in piece.layers]
        return tuple(
            LayerCost(**{**vars(cost), "name": layer.name})
            for cost, layer in zip(costs, workload.layers, strict=True)
        )


class _Sums(NamedTuple):
    """The costs of a piece's layers, and those that are not zero."""

    layers: tuple[LayerCost, ...]
    latencies: tuple[float, ...]
    energies: tuple[float, ...]
