"""Family `mcu`: int8 networks on microcontrollers, under the memory policy of a runtime.

Peak memory is exact arithmetic on lifetimes and placement; Flash is exact but for the runtime's
code; latency sums calibrated cycles over operators; energy is active power times latency.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum
from typing import Any, ClassVar

from ...errors import SpecError
from ..cost import Bottleneck, Cost, Excess, HardwareModel, LayerCost, Provenance, Source
from ..device import Device, Numbers, with_runtime
from ..dtypes import Dtype
from ..memory.buffers import shared
from ..memory.graph import Graph, MemOp
from ..memory.scratch import tail_bytes
from ..workload import Workload
from .cycles import Cycles, cycles_of, op_cycles
from .flash import Flash, flash, network_flash
from .joints import joints
from .lower import element_bytes, lower
from .numbers import McuNumbers
from .pieces import PieceTable, piece_table
from .plan import MemoryPlan, executed_macs, plan_memory, regions_of
from .policy import Policy, policy
from .regions import Regions, slow_traffic
from .tokens import plan_tokens
from .totals import op_name, peak_at, totals
from .transformer import read_transformer


@dataclass(frozen=True)
class OpCost:
    """What one operator costs.

    Args:
        layer: The layer that it comes from.
        work_ms: Its arithmetic.
        overhead_ms: What it costs in any case.
        slow_ms: Its traffic with slow memory.
        bytes_moved: Bytes read and written, weights included.
    """

    layer: str
    work_ms: float
    overhead_ms: float
    slow_ms: float
    bytes_moved: int

    @property
    def latency_ms(self) -> float:
        """All of it."""
        return self.work_ms + self.overhead_ms + self.slow_ms

    @property
    def bottleneck(self) -> Bottleneck:
        """The largest part."""
        if not self.latency_ms:
            return "none"
        if self.slow_ms > max(self.work_ms, self.overhead_ms):
            return "memory"
        return "compute" if self.work_ms >= self.overhead_ms else "overhead"


@dataclass(frozen=True)
class McuReport:
    """All that is known of a network on a device.

    Args:
        cost: Totals and verdict.
        memory: The plan with its timeline.
        flash: In its parts.
        regions: What lies in which memory.
        operators: What each operator costs, in the order in which they run.
    """

    cost: Cost
    memory: MemoryPlan
    flash: Flash
    regions: Regions
    operators: tuple[OpCost, ...]


class McuModel(HardwareModel):
    """The model of one microcontroller; see the module's text.

    Args:
        device: Of family `mcu`.
        runtime: A policy that replaces the one in the device's file: the name of a preset, a
            mapping, or a record.
    """

    provides: ClassVar[tuple[str, ...]] = (
        "latency_ms",
        "peak_memory_bytes",
        "energy_mj",
        "flash_bytes",
    )
    source: ClassVar[Source] = "fitted"
    version = "2"  # outputs of stems with larger windows, patch stages of TinyEngine
    proportional: ClassVar[Mapping[str, str]] = {"energy_mj": "latency_ms"}
    Numbers: ClassVar[type[Numbers]] = McuNumbers

    def __init__(
        self, device: Device, runtime: str | Mapping[str, Any] | Policy | None = None
    ) -> None:
        if runtime is not None and isinstance(device.numbers, McuNumbers):
            device = with_runtime(device, policy(runtime).model_dump())
        numbers = device.numbers
        if not isinstance(numbers, McuNumbers):
            raise SpecError(
                f"the mcu model needs a device of family mcu, got {device.name!r} of family "
                f"{device.family!r}; use model_for(device)"
            )
        super().__init__(device)
        self.policy, self.numbers = numbers.runtime, numbers
        fitted = numbers.cycles.get(self.policy.kernels)
        core = numbers.core.value
        self.cycles: Cycles = fitted.table() if fitted else cycles_of(self.policy.kernels, core)
        self.sram_bytes = int(numbers.sram_contiguous.si - numbers.sram_reserved.si)
        self.flash_bytes = int(numbers.flash_on_chip.si)
        self.external_bytes = (
            0 if numbers.flash_external is None else int(numbers.flash_external.si)
        )
        self.psram_bytes = 0 if numbers.psram is None else int(numbers.psram.si)
        bandwidth = numbers.psram_bandwidth
        self.slow_ms_per_byte = 0.0 if bandwidth is None else 1e3 / bandwidth.si
        self.ms_per_cycle = 1e3 / numbers.clock.si
        power = numbers.measured_power.get(self.policy.kernels, numbers.active_power)
        self.watts = power.si
        self._key = ("mcu.plan", self.policy.model_dump_json())
        self._slot = f"mcu.table {self.fingerprint}"
        usual = (self.policy.reorder, self.policy.patch, self.policy.weights) == (
            "off",
            None,
            "flash",
        )
        greedy = self.policy.planner == "greedy16" and not any(self.policy.sharing)
        self._composable = usual and greedy and not self.policy.float_input

    @property
    def dtypes(self) -> tuple[Dtype, ...]:
        """Networks run quantised."""
        return ("int8",)

    def graph(self, workload: Workload, batch: int = 1) -> Graph:
        """Return the operators that the runtime executes.

        Raises:
            UnsupportedLayer: If a layer has no operator there.
        """
        return lower(workload, self.policy.lowering, batch)

    def memory_plan(self, workload: Workload, batch: int = 1) -> MemoryPlan:
        """Return where each tensor lies while the network runs, kept with the workload.

        Raises:
            SpecError: If the policy's planner cannot plan this network, or at this batch.
        """
        key = (*self._key, batch)
        known = workload.memo.get(key)
        if known is None:
            known = workload.memo[key] = self._plan(workload, batch)
        found: MemoryPlan = known
        return found

    def _plan(self, workload: Workload, batch: int) -> MemoryPlan:
        graph = self.graph(workload, batch)
        if not self.policy.by_tokens:
            return plan_memory(graph, self.policy)
        if batch != 1:
            raise SpecError(
                f"planner {self.policy.planner} plans one image at a time, got batch {batch}; ask "
                "for batch 1"
            )
        return plan_tokens(read_transformer(workload), len(graph.ops), self.policy)

    def report(self, workload: Workload, batch: int = 1) -> McuReport:
        """Return the cost with the memory plan, the parts of Flash and the operators' costs."""
        self.settled(batch, None)
        graph, plan = self.graph(workload, batch), self.memory_plan(workload, batch)
        regions = self._regions(graph, plan)
        operators = self._operators(graph, plan, regions)
        stored = flash(*network_flash(graph), self.policy, self.flash_bytes, self.external_bytes)
        latency = fsum([part for o in operators for part in (o.work_ms, o.overhead_ms, o.slow_ms)])
        cost = self._total(regions, stored, latency, plan.peak_op)
        cost = replace(cost, layers=self._layers(workload, operators, batch))
        return McuReport(cost, plan, stored, regions, operators)

    def cost_of(self, workload: Workload, batch: int, dtype: Dtype, *, breakdown: bool) -> Cost:
        """Return the totals, and the verdict in `excesses`; see `HardwareModel.cost`."""
        found = None if breakdown else self._composed(workload, batch)
        cost = self.report(workload, batch).cost if found is None else found
        return cost if breakdown or found is not None else replace(cost, layers=())

    def provenance(self, field: str) -> Provenance:
        """Return where a field comes from: memory is arithmetic, time fitted; with its error."""
        found = super().provenance(field)
        if field in ("peak_memory_bytes", "flash_bytes"):
            return replace(found, source="analytic")
        fitted = self.numbers.cycles.get(self.policy.kernels)
        if field == "latency_ms" and fitted and fitted.validation:
            return replace(found, validation=fitted.validation, calibrated=True)
        return found

    # ------------------------------------------------------------ from tables of parts
    def _composed(self, workload: Workload, batch: int) -> Cost | None:
        """Return the totals from tables of the workload's parts; None if they do not tell."""
        sources = workload.sources
        if not self._composable or len(workload.inputs) != 1:
            return None
        pieces = workload.parts
        slot = (self._slot, batch)
        all_tables = [piece.memo.get(slot) or self._table(piece, batch) for piece in pieces]
        joined = joints(sources, all_tables)
        if joined is None or not joined.parts:
            return None
        tables = [all_tables[i] for i in joined.parts]
        for n, given in joined.changed:
            tables[n] = self._table(pieces[joined.parts[n]], batch, given)
            if not tables[n].plain:
                return None
        image = batch * _input_bytes(pieces, sources)
        found = totals(tables, joined, image)
        peak = found.arena_bytes + self._tail(*found.counts)
        if peak > self.sram_bytes and self.psram_bytes:
            return None
        name = ""
        if peak > self.sram_bytes:
            part, position = peak_at(tables, joined, image)
            name = op_name(tables[part], position, workload.pieces[joined.parts[part]][0])
        stored = flash(*found.flash, self.policy, self.flash_bytes, self.external_bytes)
        return self._total(Regions(peak, 0, frozenset()), stored, found.latency_ms, name)

    def _table(
        self, piece: Workload, batch: int, given: tuple[int, ...] | None = None
    ) -> PieceTable:
        """Return the table of a part, kept with the part."""
        slot = (self._slot, batch) if given is None else (self._slot, batch, given)
        table: PieceTable | None = piece.memo.get(slot)
        if table is None:
            given = given or (0,) * len(piece.inputs)
            table = piece_table(piece, self.policy, batch, self._times, given)
            piece.memo[slot] = table
        return table

    def _times(self, graph: Graph, op: MemOp) -> tuple[float, ...]:
        work, overhead = op_cycles(graph, op, self.cycles, op.macs)
        return work * self.ms_per_cycle, overhead * self.ms_per_cycle

    def _tail(self, channels: int, tensors: int, ops: int, convolutions: int) -> int:
        if self.policy.overhead != "tflm":
            return 0
        return tail_bytes(channels=channels, tensors=tensors, ops=ops, convolutions=convolutions)

    # ------------------------------------------------------------ parts
    def _regions(self, graph: Graph, plan: MemoryPlan) -> Regions:
        """Return what lies in SRAM and what, where there is slow RAM, had to leave it."""
        free = self.sram_bytes - plan.scratch_bytes - plan.persistent_bytes
        fixed = plan.patch or self.policy.by_tokens  # what lies where is decided
        if plan.arena_bytes <= free or not self.psram_bytes or fixed or free < 0:
            return Regions(plan.peak_bytes, 0, frozenset())
        found = regions_of(graph, self.policy, plan, free)
        beside = plan.scratch_bytes + plan.persistent_bytes
        return found._replace(fast_bytes=found.fast_bytes + beside)

    def _operators(self, graph: Graph, plan: MemoryPlan, regions: Regions) -> tuple[OpCost, ...]:
        macs = executed_macs(graph, plan, self.policy)
        traffic = [0] * len(graph.ops)
        if regions.slow:
            owner, _ = shared(graph, self.policy.sharing, plan.order)
            traffic = slow_traffic(graph, regions.slow, owner)
        costs = []
        for k in range(len(graph.ops)) if plan.patch else plan.order:
            op = graph.ops[k]
            work, overhead = op_cycles(graph, op, self.cycles, macs[k])
            moved = sum([graph.size(i) for i in (*op.inputs, op.output)])
            costs.append(
                OpCost(
                    layer=op.layer,
                    work_ms=work * self.ms_per_cycle,
                    overhead_ms=overhead * self.ms_per_cycle,
                    slow_ms=traffic[k] * self.slow_ms_per_byte,
                    bytes_moved=moved + op.weights + 8 * op.channels,
                )
            )
        return tuple(costs)

    def _total(self, regions: Regions, stored: Flash, latency_ms: float, peak_op: str) -> Cost:
        energy = self.watts * latency_ms  # W x ms = mJ
        peak = regions.fast_bytes + regions.slow_bytes
        excesses = (
            *self._memory_excess(regions.fast_bytes, regions.slow_bytes, peak_op),
            *self._flash_excess(stored),
            *self._budget_excess(latency_ms, energy),
        )
        return Cost(
            latency_ms=latency_ms,
            peak_memory_bytes=peak,
            energy_mj=energy,
            flash_bytes=stored.total,
            excesses=excesses,
        )

    def _memory_excess(self, fast: int, slow: int, peak_op: str) -> list[Excess]:
        found = []
        if fast > self.sram_bytes:
            remedy = "choose a smaller network or input, or a runtime that plans tighter"
            found.append(Excess("contiguous SRAM", fast, self.sram_bytes, "bytes", peak_op, remedy))
        if slow > self.psram_bytes:
            remedy = "choose a smaller network or input"
            found.append(Excess("external RAM", slow, self.psram_bytes, "bytes", peak_op, remedy))
        return found

    def _flash_excess(self, stored: Flash) -> list[Excess]:
        found = []
        remedy = "choose a narrower network"
        if stored.on_chip > self.flash_bytes:
            found.append(Excess("Flash", stored.on_chip, self.flash_bytes, "bytes", "", remedy))
        if stored.external > self.external_bytes:
            found.append(
                Excess("external Flash", stored.external, self.external_bytes, "bytes", "", remedy)
            )
        return found

    def _budget_excess(self, latency_ms: float, energy_mj: float) -> list[Excess]:
        """Return what breaks the budgets of the device file, in whole microunits."""
        found = []
        remedy = "choose a network with fewer multiply-adds, or another runtime"
        budget = self.numbers.latency_budget
        if budget is not None and latency_ms > budget.si * 1e3:
            needed, limit = round(latency_ms * 1e3), round(budget.si * 1e6)
            found.append(Excess("latency", needed, limit, "us", "", remedy))
        budget = self.numbers.energy_budget
        if budget is not None and energy_mj > budget.si * 1e3:
            needed, limit = round(energy_mj * 1e3), round(budget.si * 1e6)
            found.append(Excess("energy", needed, limit, "uJ", "", remedy))
        return found

    def _layers(
        self, workload: Workload, operators: tuple[OpCost, ...], batch: int
    ) -> tuple[LayerCost, ...]:
        """Return the cost of each layer; what was folded into another costs nothing."""
        of: dict[str, list[OpCost]] = {layer.name: [] for layer in workload.layers}
        for cost in operators:
            of[cost.layer].append(cost)
        return tuple(
            self._layer(layer.name, layer.kind, of[layer.name], layer.macs * batch)
            for layer in workload.layers
        )

    def _layer(self, name: str, kind: str, costs: list[OpCost], macs: int) -> LayerCost:
        latency = fsum([c.latency_ms for c in costs])
        worst = max(costs, key=lambda c: c.latency_ms, default=None)
        moved = sum([c.bytes_moved for c in costs])
        bottleneck: Bottleneck = "none" if worst is None else worst.bottleneck
        return LayerCost(name, kind, latency, self.watts * latency, macs, moved, bottleneck)


def _input_bytes(pieces: Sequence[Workload], sources: Sequence[tuple[int, ...]]) -> int:
    """Return the bytes of the network's input on the device, at batch 1."""
    for piece, read in zip(pieces, sources, strict=True):
        if -1 in read:
            tensor = piece.tensors[piece.inputs[read.index(-1)]]
            return math.prod(tensor.shape) * element_bytes(tensor.dtype)
    raise SpecError("a network must read its input, got one without a part that does")
