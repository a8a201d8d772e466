"""Several networks on one device: what a product of spaces decides costs as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import fsum
from typing import Any, TypeVar

from ..errors import SpecError
from .cost import Cost, HardwareModel
from .dtypes import Dtype
from .workload import Workload

_T = TypeVar("_T")


def cost_together(
    model: HardwareModel,
    workloads: Sequence[Workload],
    batch: int = 1,
    *,
    dtype: Dtype | None = None,
    breakdown: bool = True,
    enforce: bool = True,
) -> Cost:
    """Return what networks cost that share a device.

    A model with a `cost_at_once` of its own says it (accelerators that work side by side). On any
    other device one network follows the other, each loaded anew: times and energies add up,
    memory and area are the largest, flash holds them all. Names of layers start with the position
    of their network.

    Args:
        model: The device.
        workloads: The networks; one is costed as by itself.
        batch: Images at once, of each.
        dtype: As in `HardwareModel.cost`.
        breakdown: Likewise.
        enforce: Likewise.

    Raises:
        HardwareLimit: If one of them cannot run there.
        SpecError: If there is none.
    """
    if not workloads:
        raise SpecError("at least one network is needed to say what networks cost, got none")
    how: dict[str, Any] = {"dtype": dtype, "breakdown": breakdown, "enforce": enforce}
    if len(workloads) == 1:
        return model.cost(workloads[0], batch, **how)
    if (at_once := getattr(model, "cost_at_once", None)) is not None:
        cost: Cost = at_once(workloads, batch, **how)
        return cost
    costs = [model.cost(w, batch, **how) for w in workloads]
    return in_turn([_numbered(cost, n) for n, cost in enumerate(costs)])


def _numbered(cost: Cost, network: int) -> Cost:
    """Return the cost with the position of its network before the names of layers."""
    return replace(
        cost,
        layers=tuple([replace(y, name=f"{network}.{y.name}") for y in cost.layers]),
        excesses=tuple(
            [replace(e, layer=f"{network}.{e.layer}" if e.layer else "") for e in cost.excesses]
        ),
    )


def in_turn(costs: Sequence[Cost]) -> Cost:
    """Return the cost of networks that follow one another, from the cost of each."""
    latency = fsum([c.latency_ms for c in costs])
    rates = _given([c.throughput_per_s for c in costs])
    shares = _given([c.utilization for c in costs if c.latency_ms])
    spent = [c.latency_ms for c in costs if c.latency_ms]
    busy = None if shares is None else fsum([u * t for u, t in zip(shares, spent, strict=True)])
    flash = _given([c.flash_bytes for c in costs])
    energies, areas = _given([c.energy_mj for c in costs]), _given([c.area_mm2 for c in costs])
    return Cost(
        latency_ms=latency,
        peak_memory_bytes=max(c.peak_memory_bytes for c in costs),
        energy_mj=None if energies is None else fsum(energies),
        flash_bytes=None if flash is None else sum(flash),
        area_mm2=None if areas is None else max(areas),
        utilization=None if busy is None or not latency else busy / latency,
        throughput_per_s=None if rates is None else 1 / fsum([1 / r for r in rates]),
        layers=tuple([layer for c in costs for layer in c.layers]),
        excesses=tuple([excess for c in costs for excess in c.excesses]),
    )


def _given(values: Sequence[_T | None]) -> list[_T] | None:
    """Return the values, or None where one is missing."""
    found = [v for v in values if v is not None]
    return found if len(found) == len(values) else None
