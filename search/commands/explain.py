"""The text of `netloom estimate --explain`: verdict, totals, the costliest layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .common import emit, emit_facts, emit_table

_LEAST = 0.5  # per cent of the time that are worth a word


def emit_explanations(devices: Sequence[Mapping[str, Any]]) -> None:
    """Print what a network costs on each device, and why."""
    for explained in devices:
        emit("")
        if explained["family"] == "measured":
            emit(f"{explained['device']}: {explained['title']}")
            continue
        size = explained.get("resolution")
        images = f", images of {size[0]} x {size[1]}" if size else ""
        calibrated = "calibrated" if explained["calibrated"] else "not calibrated"
        emit(
            f"{explained['device']}: {explained['title']} (family {explained['family']}, "
            f"{calibrated}, batch {explained['batch']}, {explained['dtype']}{images})"
        )
        emit_facts({"verdict": "fits" if explained["fits"] else "does not fit"})
        for reason in explained["reasons"]:
            emit(f"  {reason['text']}")
        if "totals" in explained:
            emit_facts(_totals(explained))
            _emit_layers(explained)


def _totals(explained: Mapping[str, Any]) -> dict[str, str]:
    from ...dashboard.words import origin_text, value_text
    from ...estimators.hardware import FIELDS

    facts = {
        field: f"{value_text(value, FIELDS[field][0])}  {origin_text(provenance)}"
        for (field, value), provenance in zip(
            explained["totals"].items(), explained["provenance"].values(), strict=True
        )
    }
    waits = explained["waits_for"].items()
    shares = [f"{name} {share:.0f} %" for name, share in waits if share >= _LEAST]
    return {**facts, "waits for": ", ".join(shares) or "-"}


def _emit_layers(explained: Mapping[str, Any]) -> None:
    if not explained["layers"]:
        return
    energy = any("energy_mj" in layer for layer in explained["layers"])
    head = ["costliest layers", "kind", "ms", "share", "MACs", "bytes", "waits for"]
    rows = [
        [
            layer["name"],
            layer["kind"],
            f"{layer['latency_ms']:.4g}",
            f"{layer['share_percent']:.1f} %",
            f"{layer['macs']:,}",
            f"{layer['bytes_moved']:,}",
            layer["bottleneck"],
            *([f"{layer.get('energy_mj', 0.0):.4g}"] if energy else []),
        ]
        for layer in explained["layers"]
    ]
    emit_table([*head, *(["mJ"] if energy else [])], rows)
