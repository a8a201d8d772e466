"""One trial taken apart, and why an experiment found nothing feasible."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..db.records import ExperimentRecord, TrialRecord
from .table import Floats, TrialTable
from .words import constraint_text, plural, value_text

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


@dataclass(frozen=True)
class TrialView:
    """Everything that is known of one trial.

    Args:
        trial: The stored record.
        decisions: Decision name and value, in the stored order.
        metrics: Every metric of the experiment; the value is None where the trial has none.
        violated: The constraints that it breaks, in words.
        curves: What its evaluation reported by step.
    """

    trial: TrialRecord
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
        record = store.experiment(ref)
        trial = store.trial(record.id, number)
        return cls(
            trial=trial,
            decisions=tuple((str(k), option_text(v)) for k, v in trial.architecture.items()),
            metrics=metric_rows(record, trial.metrics),
            violated=tuple(_violated(record, trial.metrics)),
            curves=read_curves(store, record.id, number),
        )


@dataclass(frozen=True, slots=True)
class ConstraintShare:
    """How a constraint fared: `held` of `known` trials satisfy it, `nearest` is the best value."""

    text: str
    held: int
    known: int
    nearest: float | None
    nearest_text: str


@dataclass(frozen=True)
class Diagnosis:
    """Why nothing feasible was found.

    Args:
        sentence: The finding in words.
        shares: One line per constraint, the one that fewest trials satisfy first.
        nearest: Number of the trial with the smallest violation, None when none was measured.
        violation: Its violation.
    """

    sentence: str
    shares: tuple[ConstraintShare, ...]
    nearest: int | None
    violation: float | None

    @classmethod
    def of(cls, record: ExperimentRecord, table: TrialTable) -> Diagnosis | None:
        """Return the diagnosis, or None when the experiment has a feasible trial."""
        if table.feasible.any():
            return None
        if not len(table):
            return cls("No trial has been proposed yet.", (), None, None)
        shares = sorted(
            (_share(record, table, item) for item in record.constraints),
            key=lambda share: share.held / max(share.known, 1),
        )
        broken = np.flatnonzero((table.violation > 0) & (table.status != "failed"))
        if not len(broken):
            return cls(_unfinished(table), tuple(shares), None, None)
        row = int(broken[np.argmin(table.violation[broken])])
        number, violation = int(table.number[row]), float(table.violation[row])
        return cls(_infeasible(table, shares, number, violation), tuple(shares), number, violation)


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


def read_curves(store: Store, experiment: str, number: int | None) -> tuple[Curve, ...]:
    """Return the curves of a trial, or of the strategy (`number` None), by name."""
    frame = store.curves(experiment, number=number)
    if number is None and len(frame):
        frame = frame[frame["number"].isna()]
    return tuple(
        Curve(
            str(name),
            rows["step"].to_numpy(dtype=np.int64),
            rows["value"].to_numpy(dtype=np.float64),
        )
        for name, rows in frame.groupby("name", sort=True)
    )


def _holds(item: Mapping[str, Any], values: Floats) -> NDArray[np.bool_]:
    if item.get("max") is not None:
        return values <= float(item["max"])
    return values >= float(item["min"])


def _units(record: ExperimentRecord) -> dict[str, str]:
    return {metric.name: metric.unit for metric in record.metrics}


def _violated(record: ExperimentRecord, values: Mapping[str, float]) -> list[str]:
    units = _units(record)
    return [
        constraint_text(item, units.get(item["metric"], ""))
        for item in record.constraints
        if item["metric"] in values and not _holds(item, np.array([values[item["metric"]]]))[0]
    ]


def _share(record: ExperimentRecord, table: TrialTable, item: Mapping[str, Any]) -> ConstraintShare:
    values = table.metric(item["metric"])
    values = values[np.isfinite(values)]
    unit = _units(record).get(item["metric"], "")
    nearest = None
    if len(values):
        nearest = float(values.min() if item.get("max") is not None else values.max())
    return ConstraintShare(
        text=constraint_text(item, unit),
        held=int(_holds(item, values).sum()),
        known=len(values),
        nearest=nearest,
        nearest_text=value_text(nearest, unit),
    )


def _infeasible(
    table: TrialTable, shares: list[ConstraintShare], number: int, violation: float
) -> str:
    text = f"None of {plural(len(table), 'trial')} satisfies every constraint. "
    if shares and shares[0].held < shares[0].known:
        tight = shares[0]
        text += (
            f"The binding one is {tight.text}: {tight.held:,} of {tight.known:,} trials satisfy "
            f"it, the closest value is {tight.nearest_text}. "
        )
    return text + (
        f"Trial {number} comes nearest (violation {violation:.3g}). Relax that bound, or widen "
        "the space towards smaller networks."
    )


def _unfinished(table: TrialTable) -> str:
    failed = int((table.status == "failed").sum())
    if failed == len(table):
        return (
            f"All {plural(failed, 'trial')} failed; open one to read its error, then run it again "
            "in the foreground with `netloom repro`."
        )
    waiting = int(np.isin(table.status, ("queued", "running")).sum())
    return (
        f"No trial is finished and feasible yet: {waiting:,} waiting or running, {failed:,} failed."
    )
