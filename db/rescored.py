"""Costs that were added to an experiment after its run: one device more, nothing evaluated again.

The values are in the table of costs, shared by all experiments of a space. The experiment's `info`
says which of them are its own metrics: device, model version, unit, direction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .records import ExperimentRecord, MetricRecord

RESCORED = "rescored"  # the key of `ExperimentRecord.info`
VIOLATION = "violation"  # the cost that says by how much a network breaks a device's limits


def rescored_info(
    info: Mapping[str, Any],
    target: str,
    *,
    model_version: str,
    metrics: Sequence[MetricRecord],
    hardware: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return `info` that knows the costs of one more target, or newer ones of a known target.

    Args:
        info: The experiment's.
        target: What metrics call the device.
        model_version: Under which its costs are stored.
        metrics: What they are; their names end with `@target`.
        hardware: Options of the estimator that gave them, JSON values; None: they are not known.
    """
    entry: dict[str, Any] = {
        "model_version": model_version,
        "metrics": [
            {
                "name": m.name,
                "unit": m.unit,
                "direction": m.direction,
                "fingerprint": m.fingerprint,
                "provenance": dict(m.provenance),
            }
            for m in metrics
        ],
    }
    if hardware is not None:
        entry["hardware"] = dict(hardware)
    return {**info, RESCORED: {**info.get(RESCORED, {}), target: entry}}


def rescored_metrics(record: ExperimentRecord) -> tuple[MetricRecord, ...]:
    """Return the metrics that were added after the run."""
    return tuple(
        MetricRecord(**metric, estimator="rescore")
        for entry in record.info.get(RESCORED, {}).values()
        for metric in entry["metrics"]
    )
