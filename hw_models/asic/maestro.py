"""Family `maestro`: one or several accelerators on a chip, in the dataflows of MAESTRO.

Each has a dataflow (`dla`, `shi`, `rs`), processing elements and a share of the bandwidth of the
network on chip. A layer runs where it is fastest (of equals, where it takes less energy, then the
first); layers of one network follow one another. Energy and area are those of MAESTRO's cost
tables; buffers that the file does not size are as large as the network needs.

Source: `maestro_flows.py`, `maestro_costs.py`; several accelerators: NASAIC, arXiv 2002.04116.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import fsum, inf
from typing import Annotated, Any, ClassVar, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from pydantic import BaseModel, ConfigDict, Field

from ...errors import SpecError
from ..cost import Cost, Excess, LayerCost, PieceMemo
from ..device import Device, Number, measures
from ..dtypes import Dtype
from ..workload import Layer, Workload
from .layers import Job
from .maestro_costs import L2_ACCESS, TABLES, Table, area_um2, energy_nj
from .maestro_flows import Dataflow, Flow, flow_of
from .model import WHOLE, ArrayCost, ArrayModel, ArrayNumbers, numbers_of
from .schedule import Step, schedule


class Accelerator(BaseModel):
    """One accelerator of a chip.

    Args:
        dataflow: `dla`, `shi` or `rs`.
        pes: Processing elements.
        bandwidth: Its share of the network on chip.
        lanes: Multipliers per element; left out: what the cost table says.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    dataflow: Dataflow
    pes: Annotated[Number, measures("processing elements"), WHOLE]
    bandwidth: Annotated[Number, measures("elements per cycle")]
    lanes: Annotated[Number, measures("lanes"), WHOLE] | None = None


class MaestroNumbers(ArrayNumbers):
    """What a file of the family holds.

    Args:
        costs: The cost table: `2019-20` or `2021`.
        accelerators: At least one.
        l1: Buffer of each processing element; left out: as large as the network needs.
        l2: Shared buffer of each accelerator; likewise.
    """

    costs: Table
    accelerators: Annotated[tuple[Accelerator, ...], Field(min_length=1)]
    l1: Annotated[Number, measures("memory")] | None = None
    l2: Annotated[Number, measures("memory")] | None = None


class Unit(NamedTuple):
    """An accelerator as numbers."""

    dataflow: Dataflow
    pes: int
    bandwidth: float
    lanes: int


class Needs(NamedTuple):
    """What a piece of a network needs: bytes of L1 (per element) and of L2 of each accelerator.

    `excess` is the layer that fits none of them least, if there is one.
    """

    l1: tuple[int, ...]
    l2: tuple[int, ...]
    excess: Excess | None


class Options(NamedTuple):
    """A layer on each of the accelerators: its costs, and the times for a schedule in ms."""

    costs: tuple[LayerCost, ...]
    times: tuple[float, ...]


Paid: TypeAlias = tuple[tuple[int, Options], ...]  # positions of layers, and what they cost


class MaestroModel(ArrayModel):
    """A chip of accelerators; see the module's text."""

    provides: ClassVar[tuple[str, ...]] = (*ArrayModel.provides, "energy_mj", "area_mm2")
    Numbers: ClassVar[type[ArrayNumbers]] = MaestroNumbers

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        numbers = numbers_of(device, MaestroNumbers)
        if numbers.precision != "int8":
            raise SpecError(
                f"{device.name}: MAESTRO's elements are bytes; precision must be int8, got "
                f"{numbers.precision}"
            )
        self.table = TABLES[numbers.costs]
        self.units = tuple(_unit(a, self.table.lanes) for a in numbers.accelerators)
        self._l1 = int(numbers.l1.si) if numbers.l1 else None
        self._l2 = int(numbers.l2.si) if numbers.l2 else None
        self._flows: dict[Job, tuple[Flow, ...]] = {}
        self._options: dict[tuple[Any, ...], Options] = {}
        self._chains: WeakKeyDictionary[Workload, dict[int, Paid]] = WeakKeyDictionary()
        self._needed: dict[int, PieceMemo[Needs]] = {}  # by batch

    @property
    def macs_per_cycle(self) -> int:
        """Of all accelerators together."""
        return sum(unit.pes * unit.lanes for unit in self.units)

    def flows(self, job: Job) -> tuple[Flow, ...]:
        """Return what a nest of loops takes on each of the accelerators, in their order."""
        known = self._flows.get(job)
        if known is None:
            known = self._flows[job] = tuple([flow_of(u[0], job, *u[1:]) for u in self.units])
        return known

    def array_cost(self, job: Job) -> ArrayCost:
        """Return the cost where it is fastest, among those whose buffers hold it."""
        flows = self.flows(job)
        allowed = [flow for flow in flows if self._holds(flow)] or list(flows)
        return min(
            [self._cost(job, flow) for flow in allowed], key=lambda c: (c.cycles, c.energy_pj)
        )

    def _cost(self, job: Job, flow: Flow) -> ArrayCost:
        l2 = flow.l2_reads + flow.l2_writes
        # a multiply-add reads two operands and a partial sum, and writes one back
        energy = energy_nj(self.table, 4 * job.macs, l2)
        return ArrayCost(flow.cycles, energy * 1e3, l2, flow.bottleneck)

    def _holds(self, flow: Flow) -> bool:
        return (self._l1 is None or flow.l1_bytes <= self._l1) and (
            self._l2 is None or flow.l2_bytes <= self._l2
        )

    def movement_pj(self, read_bytes: int, written_bytes: int) -> float | None:
        """Return the energy of the accesses of L2."""
        return (read_bytes + written_bytes) * L2_ACCESS * self.table.mac_energy_nj * 1e3

    def cost_of(self, workload: Workload, batch: int, dtype: Dtype, *, breakdown: bool) -> Cost:
        """Return the sum over the layers, and the area; see `HardwareModel.cost`."""
        cost = super().cost_of(workload, batch, dtype, breakdown=breakdown)
        return replace(cost, area_mm2=self.area_mm2(workload.cast(dtype), batch))

    def cost_at_once(
        self,
        workloads: Sequence[Workload],
        batch: int = 1,
        *,
        dtype: Dtype | None = None,
        breakdown: bool = True,
        enforce: bool = True,
    ) -> Cost:
        """Return what networks cost that run at the same time; see `steps_at_once`.

        All of them are in memory, and names of layers start with the position of their network.

        Raises:
            HardwareLimit: If one of them cannot run here.
        """
        each = [
            self.cost(w, batch, dtype=dtype, breakdown=False, enforce=enforce) for w in workloads
        ]
        chains = [self._chain(w, batch) for w in workloads]
        steps = schedule([[options.times for _, options in chain] for chain in chains])
        chosen = [chains[s.network][s.layer][1].costs[s.place] for s in steps]
        latency = max((s.end for s in steps), default=0.0)
        return Cost(
            latency_ms=latency,
            peak_memory_bytes=sum(cost.peak_memory_bytes for cost in each),
            energy_mj=fsum([x.energy_mj for x in chosen if x.energy_mj is not None]),
            area_mm2=max(cost.area_mm2 for cost in each if cost.area_mm2 is not None),
            utilization=self.utilization(sum(w.macs for w in workloads) * batch, latency),
            layers=_named(workloads, chains, steps) if breakdown else (),
            excesses=tuple([excess for cost in each for excess in cost.excesses]),
        )

    def steps_at_once(self, workloads: Sequence[Workload], batch: int = 1) -> list[Step]:
        """Return which layer of which network runs where and when (in ms).

        Each goes where it is done first, given what already runs there. Layers that cost nothing
        are left out; `Step.layer` is the position among all of the network.
        """
        chains = [self._chain(w, batch) for w in workloads]
        steps = schedule([[options.times for _, options in chain] for chain in chains])
        return [step._replace(layer=chains[step.network][step.layer][0]) for step in steps]

    def _chain(self, workload: Workload, batch: int) -> list[tuple[int, Options]]:
        """Return the layers of a network that cost something, with their positions."""
        chain, position = [], 0
        for piece in workload.parts:
            known = self._paid(piece, batch)
            chain += [(position + i, options) for i, options in known]
            position += len(piece.layers)
        return chain

    def _paid(self, piece: Workload, batch: int) -> Paid:
        batches = self._chains.setdefault(piece, {})
        known = batches.get(batch)
        if known is None:
            layers = enumerate(piece.cast(self.precision).layers)
            each = [(i, self.layer_options(layer, batch)) for i, layer in layers]
            known = batches[batch] = tuple([(i, o) for i, o in each if any(o.times)])
        return known

    def layer_options(self, layer: Layer, batch: int = 1) -> Options:
        """Return what a layer costs on each of the accelerators, in their order.

        An accelerator whose buffers do not hold it takes forever, if another's do.
        """
        key = (batch, *layer.signature)
        known = self._options.get(key)
        if known is None:
            known = self._options[key] = self._layer_options(layer, batch)
        return known

    def _layer_options(self, layer: Layer, batch: int) -> Options:
        anywhere = self.layer_cost(layer, batch)
        jobs = self.layer_jobs(layer, batch)
        if jobs is None:
            count = len(self.units)
            return Options((anywhere,) * count, (anywhere.latency_ms,) * count)
        flows = [self.flows(job) for job in jobs]
        costs, times = [], []
        for k in range(len(self.units)):
            mine = [self._cost(job, each[k]) for job, each in zip(jobs, flows, strict=True)]
            held = all(self._holds(each[k]) or not any(map(self._holds, each)) for each in flows)
            costs.append(self.joined(layer, mine, batch))
            times.append(costs[-1].latency_ms if held else inf)
        return Options(tuple(costs), tuple(times))

    def area_mm2(self, workload: Workload, batch: int = 1) -> float:
        """Return the silicon of all accelerators, with buffers for this network."""
        needs = self._memo(batch).distinct(workload)
        areas = [
            area_um2(
                self.table,
                unit.pes,
                unit.bandwidth,
                unit.lanes,
                self._l1 or max([n.l1[k] for n in needs]),
                self._l2 or max([n.l2[k] for n in needs]),
            )
            for k, unit in enumerate(self.units)
        ]
        return fsum(areas) * 1e-6

    def memory(self, workload: Workload, batch: int) -> tuple[int, tuple[Excess, ...]]:
        """Return the peak of main memory; also a limit: buffers that hold no step of a layer."""
        needed, excesses = super().memory(workload, batch)
        known = self._memo(batch)
        if not any(piece.excess for piece in known.distinct(workload)):
            return needed, excesses
        pieces = known.of(workload)
        found = [
            replace(excess, layer=f"{label}.{excess.layer}" if label else excess.layer)
            for (label, _), piece in zip(workload.pieces, pieces, strict=True)
            if (excess := piece.excess) is not None
        ]
        worst = max(found, key=lambda e: e.violation, default=None)
        return needed, excesses if worst is None else (*excesses, worst)

    def _memo(self, batch: int) -> PieceMemo[Needs]:
        """Return what pieces need of the buffers."""
        known = self._needed.get(batch)
        if known is None:
            known = self._needed[batch] = PieceMemo(lambda piece: self._collect(piece, batch))
        return known

    def _collect(self, piece: Workload, batch: int) -> Needs:
        """Return what the layers of a piece need of each accelerator's buffers."""
        l1, l2 = [1] * len(self.units), [1] * len(self.units)
        excesses = []
        for layer in piece.layers:
            for job in self.layer_jobs(layer, batch) or ():
                flows = self.flows(job)
                l1 = [max(n, flow.l1_bytes) for n, flow in zip(l1, flows, strict=True)]
                l2 = [max(n, flow.l2_bytes) for n, flow in zip(l2, flows, strict=True)]
                if not any(map(self._holds, flows)):
                    excesses.append(self._excess(layer, flows))
        worst = max(excesses, key=lambda e: e.violation, default=None)
        return Needs(tuple(l1), tuple(l2), worst)

    def _excess(self, layer: Layer, flows: tuple[Flow, ...]) -> Excess:
        """Return what the least demanding accelerator lacks for a layer."""
        remedy = "use smaller kernels, or enlarge the buffer"
        each = []
        for flow in flows:
            sizes = (("l1", flow.l1_bytes, self._l1), ("l2", flow.l2_bytes, self._l2))
            each.append(
                max(
                    (
                        Excess(name, needed, limit, "bytes", layer.name, remedy)
                        for name, needed, limit in sizes
                        if limit is not None
                    ),
                    key=lambda e: e.violation,
                )
            )
        return min(each, key=lambda e: e.violation)


def _named(
    workloads: Sequence[Workload],
    chains: Sequence[Sequence[tuple[int, Options]]],
    steps: Sequence[Step],
) -> tuple[LayerCost, ...]:
    """Return the layers of all networks in the order of the schedule, each under its own name."""
    layers = [w.layers for w in workloads]
    named = []
    for step in steps:
        position, options = chains[step.network][step.layer]
        name = f"{step.network}.{layers[step.network][position].name}"
        named.append(replace(options.costs[step.place], name=name))
    return tuple(named)


def _unit(accelerator: Accelerator, lanes: int) -> Unit:
    own = int(accelerator.lanes.si) if accelerator.lanes else lanes
    return Unit(accelerator.dataflow, int(accelerator.pes.si), accelerator.bandwidth.si, own)
