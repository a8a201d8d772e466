"""What networks cost on devices, with the reasons: verdicts, costliest layers, provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ...errors import HardwareLimit, UnsupportedLayer
from ...estimators.hardware import DeviceChoice, Target, chosen_targets
from ...hw_models import Workload
from ...hw_models.cost import Cost, Excess, HardwareModel, LayerCost
from ...hw_models.dtypes import Dtype
from ...hw_models.resolution import Resolution


def targets_of(
    devices: Sequence[str],
    *,
    batch: int = 1,
    dtype: Dtype | None = None,
    resolution: Resolution | None = None,
) -> dict[str, Target]:
    """Return modelled devices by the name that metrics use.

    Args:
        devices: Names, or paths of device files.
        batch: Images at once.
        dtype: Number format; None: each device's own.
        resolution: Side, or height and width, of the images; None: what networks were built for.

    Raises:
        SpecError: If there is no such device, it is given twice, or does not compute in `dtype`.
    """
    return chosen_targets(
        [DeviceChoice(device=d, batch=batch, dtype=dtype, resolution=resolution) for d in devices]
    )


def explanation(
    workloads: Sequence[Workload], name: str, target: Target, *, top: int | None
) -> dict[str, Any]:
    """Return what networks that share a device cost there as JSON values, and why.

    Args:
        workloads: The network; several where a product of spaces decides several.
        name: What metrics call the device.
        target: The device.
        top: How many of the costliest layers are listed; None: every layer, as it runs.

    Returns:
        `device`, `title`, `family`, `calibrated`, `batch`, `dtype`, `resolution` where it is not
        the networks' own; `fits` and its `reasons`;
        `totals`, the `provenance` of each; `waits_for` (per cent of the latency by bottleneck) and
        the `layers`. A device that cannot run a layer gives no totals.
    """
    device = target.model.device
    found: dict[str, Any] = {
        "device": name,
        "title": device.title,
        "family": device.family,
        "calibrated": device.calibrated,
        **target.asked,
    }
    try:
        cost = target.cost_together(workloads, breakdown=True, enforce=False)
    except HardwareLimit as error:  # there is no cost to speak of
        return {**found, "fits": False, "reasons": [_refusal(error)]}
    totals = {field: getattr(cost, field) for field in target.model.provides}
    listed = cost.layers if top is None else costliest(cost.layers, top)
    return {
        **found,
        "fits": cost.fits,
        "reasons": [_reason(excess, device.name) for excess in cost.excesses],
        "totals": totals,
        "provenance": {field: origin(target.model, field) for field in totals},
        "waits_for": _shares(cost),
        "layers": [_layer(layer, cost) for layer in listed],
    }


def metrics_of(explained: Mapping[str, Any]) -> dict[str, float]:
    """Return the totals of an explanation under the names of metrics; none without a total."""
    totals = explained.get("totals", {})
    known = {field: v for field, v in totals.items() if v is not None}
    return {f"{field}@{explained['device']}": float(v) for field, v in known.items()}


def costliest(layers: Sequence[LayerCost], top: int) -> list[LayerCost]:
    """Return the layers with the largest latency, the first of equals first; free ones never."""
    paid = [layer for layer in layers if layer.latency_ms > 0]
    return sorted(paid, key=lambda layer: -layer.latency_ms)[:top]


def origin(model: HardwareModel, field: str) -> dict[str, Any]:
    """Return where a number comes from, and how wrong it may be."""
    whence = model.provenance(field)
    found: dict[str, Any] = {"source": whence.source, "model": whence.model}
    if whence.derived_from:
        found["derived_from"] = whence.derived_from
    if whence.validation is not None:
        found["error_percent"] = whence.error_percent
        found["validation"] = whence.validation.model_dump(exclude_none=True)
    return found


def _reason(excess: Excess, device: str) -> dict[str, Any]:
    return {**asdict(excess), "violation": excess.violation, "text": str(excess.error(device))}


def _refusal(error: HardwareLimit) -> dict[str, Any]:
    if isinstance(error, UnsupportedLayer):
        return {"resource": "layer", "layer": error.layer, "text": str(error)}
    return {
        "resource": "limit",
        "needed": error.needed,
        "limit": error.limit,
        "unit": error.unit,
        "layer": error.layer,
        "violation": error.violation,
        "text": str(error),
    }


def _shares(cost: Cost) -> dict[str, float]:
    """Return which part of the latency is spent waiting for what, in per cent."""
    total = sum(layer.latency_ms for layer in cost.layers)
    spent: dict[str, float] = {}
    for layer in cost.layers:
        spent[layer.bottleneck] = spent.get(layer.bottleneck, 0.0) + layer.latency_ms
    ordered = sorted(spent.items(), key=lambda item: -item[1])
    return {name: 100 * value / total for name, value in ordered if value > 0}


def _layer(layer: LayerCost, cost: Cost) -> dict[str, Any]:
    given = {key: value for key, value in asdict(layer).items() if value is not None}
    share = 100 * layer.latency_ms / cost.latency_ms if cost.latency_ms > 0 else 0.0
    return {**given, "share_percent": share}
