"""One trial taken apart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..db.records import ExperimentRecord, TrialRecord
from ..db.rescored import RESCORED
from .axes import Axis
from .rows import open_record
from .table import Floats, status_of
from .words import constraint_text, value_text

if TYPE_CHECKING:
    from ..db import Store


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A value with everything that says what it means."""

    name: str
    value: float | None
    unit: str
    direction: str
    split: str
    estimator: str
    fingerprint: str
    provenance: str
    objective: bool

    @property
    def text(self) -> str:
        """The value as people read it."""
        return value_text(self.value, self.unit)


@dataclass(frozen=True)
class Curve:
    """Values of one quantity by step."""

    name: str
    steps: NDArray[np.int64] = field(repr=False)
    values: Floats = field(repr=False)
    unit: str = ""

    @property
    def label(self) -> str:
        """Name with its unit."""
        return Axis(self.name, self.unit).label


@dataclass(frozen=True)
class TrialView:
    """Everything that is known of one trial.

    Args:
        trial: The stored record.
        status: Its status; `queued` where its evaluation was cut short.
        decisions: Decision name and value, in the stored order.
        metrics: Every metric of the experiment; the value is None where the trial has none.
        violated: The constraints that it breaks, in words.
        curves: What its evaluation reported by step.
    """

    trial: TrialRecord
    status: str
    decisions: tuple[tuple[str, str], ...]
    metrics: tuple[MetricRow, ...]
    violated: tuple[str, ...]
    curves: tuple[Curve, ...]

    @classmethod
    def of(cls, store: Store, ref: str, number: int) -> TrialView:
        """Read trial `number` of experiment `ref`.

        Raises:
            StoreError: If there is no such experiment or trial.
        """
        record = open_record(store, ref)
        trial = store.trial(record.id, number)
        return cls(
            trial=trial,
            status=status_of(trial, record),
            decisions=tuple((str(k), option_text(v)) for k, v in trial.architecture.items()),
            metrics=metric_rows(record, {**_added(store, record, trial), **trial.metrics}),
            violated=tuple(_violated(record, trial.metrics)),
            curves=read_curves(store, record, number),
        )


def _added(store: Store, record: ExperimentRecord, trial: TrialRecord) -> dict[str, float]:
    """Return the costs of a trial that rescoring added."""
    space = record.space_fingerprint if trial.space is None else trial.space.fingerprint
    found: dict[str, float] = {}
    for target, entry in record.info.get(RESCORED, {}).items():
        costs = store.costs(space, keys=[trial.key], device=target)
        now = costs[costs["model_version"] == entry["model_version"]]
        values = {f"{m}@{target}": v for m, v in zip(now["metric"], now["value"], strict=True)}
        names = [metric["name"] for metric in entry["metrics"]]
        found |= {name: float(values[name]) for name in names if name in values}
    return found


def metric_rows(
    record: ExperimentRecord, values: Mapping[str, float] | None = None
) -> tuple[MetricRow, ...]:
    """Return the experiment's metrics, objectives first, with the values of one trial."""
    goals = {item["metric"]: str(item["direction"]) for item in record.objectives}
    ordered = sorted(record.metrics, key=lambda metric: metric.name not in goals)
    return tuple(
        MetricRow(
            name=metric.name,
            value=(values or {}).get(metric.name),
            unit=metric.unit,
            direction=goals.get(metric.name, metric.direction),
            split=metric.split,
            estimator=metric.estimator,
            fingerprint=metric.fingerprint,
            provenance=provenance_text(metric.provenance),
            objective=metric.name in goals,
        )
        for metric in ordered
    )


def provenance_text(provenance: Mapping[str, Any]) -> str:
    """Return a provenance in one line: kind, source, version, then whatever else it holds."""
    first = [str(provenance[key]) for key in ("kind", "source", "version") if provenance.get(key)]
    rest = [
        f"{key}: {option_text(value)}"
        for key, value in provenance.items()
        if key not in ("kind", "source", "version") and value is not None
    ]
    return " · ".join([*first, *rest])


def option_text(value: Any) -> str:
    """Return a stored JSON value as text; strings stay bare."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def read_curves(store: Store, record: ExperimentRecord, number: int | None) -> tuple[Curve, ...]:
    """Return the curves of a trial, or of the strategy (`number` None), by name."""
    frame = store.curves(record.id, number=number, strategy=number is None)
    units = units_of(record)
    return tuple(
        Curve(
            str(name),
            rows["step"].to_numpy(dtype=np.int64),
            rows["value"].to_numpy(dtype=np.float64),
            units.get(str(name), ""),
        )
        for name, rows in frame.groupby("name", sort=True)
    )


def holds(constraint: Mapping[str, Any], values: Floats) -> NDArray[np.bool_]:
    """Say which values satisfy a stored constraint."""
    if constraint.get("max") is not None:
        return values <= float(constraint["max"])
    return values >= float(constraint["min"])


def units_of(record: ExperimentRecord) -> dict[str, str]:
    """Return the unit of each metric."""
    return {metric.name: metric.unit for metric in record.metrics}


def _violated(record: ExperimentRecord, values: Mapping[str, float]) -> list[str]:
    units = units_of(record)
    return [
        constraint_text(item, units.get(item["metric"], ""))
        for item in record.constraints
        if item["metric"] in values and not holds(item, np.array([values[item["metric"]]]))[0]
    ]
