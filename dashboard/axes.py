"""The quantities that a view can draw, and what a front is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..db.records import ExperimentRecord, MetricRecord
from ..errors import UnknownName
from ..pareto import front_mask, hypervolume, reference_point
from .table import Bools, Floats, TrialTable

TRIAL_AXIS = "trial"  # the axis of an experiment with one objective
_CORNERS = {
    ("maximize", "minimize"): "↖",
    ("maximize", "maximize"): "↗",
    ("maximize", None): "↑",
    ("minimize", "minimize"): "↙",
    ("minimize", "maximize"): "↘",
    ("minimize", None): "↓",
}


@dataclass(frozen=True, slots=True)
class Axis:
    """A quantity that can be drawn.

    Args:
        metric: Metric name, or `trial` for the trial number.
        unit: Unit in words, may be empty.
        direction: Which way is better; None where that has no meaning.
        split: `test` for what no strategy saw.
        objective: Whether the experiment optimises it.
    """

    metric: str
    unit: str = ""
    direction: str | None = None
    split: str = "valid"
    objective: bool = False

    @property
    def label(self) -> str:
        """Name with its unit, the unit left out where the name ends with it."""
        base = self.metric.split("@")[0]
        shown = not self.unit or base.endswith(f"_{self.unit}") or base == self.unit.lower()
        return self.metric if shown else f"{self.metric} ({self.unit})"

    @property
    def sign(self) -> float:
        """What turns a value into a loss."""
        return -1.0 if self.direction == "maximize" else 1.0


def objective_axes(record: ExperimentRecord) -> tuple[Axis, ...]:
    """Return the experiment's objectives as axes."""
    known = {metric.name: metric for metric in record.metrics}
    return tuple(
        replace(
            _metric_axis(known.get(item["metric"]), item["metric"]),
            direction=item["direction"],
            objective=True,
        )
        for item in record.objectives
    )


def available_axes(record: ExperimentRecord) -> tuple[Axis, ...]:
    """Return the objectives, then the other declared metrics, then `trial`."""
    axes = {axis.metric: axis for axis in objective_axes(record)}
    for metric in record.metrics:
        axes.setdefault(metric.name, _metric_axis(metric, metric.name))
    return (*axes.values(), Axis(TRIAL_AXIS))


def default_axes(record: ExperimentRecord) -> tuple[str, str]:
    """Return the metrics of the first view: quality upwards, cost to the right."""
    axes = objective_axes(record)
    up = next((axis for axis in axes if axis.direction == "maximize"), axes[0])
    others = [axis.metric for axis in axes if axis is not up]
    return (others[0] if others else TRIAL_AXIS, up.metric)


def feasible_losses(table: TrialTable, record: ExperimentRecord) -> Floats:
    """Return (n, objectives) losses; rows that do not count for the front are NaN."""
    losses = table.losses(record.objectives)
    counts = table.feasible & np.all(np.isfinite(losses), axis=1)
    return np.where(counts[:, None], losses, np.nan)


def reference_of(*losses: Floats) -> Floats | None:
    """Return the reference point of all rows that count, None when there is none."""
    rows = np.concatenate([each[~np.isnan(each).any(axis=1)] for each in losses])
    return np.asarray(reference_point(rows), dtype=np.float64) if len(rows) else None


def front_of(losses: Floats) -> Bools:
    """Return which rows are on the front; NaN rows are not."""
    counts = ~np.isnan(losses).any(axis=1)
    mask = np.zeros(len(losses), dtype=bool)
    if counts.any():
        mask[counts] = front_mask(losses[counts])
    return mask


def volume_of(losses: Floats, reference: Floats | None) -> float | None:
    """Return the hypervolume of the rows that count, None when there is none."""
    if reference is None:
        return None
    return float(hypervolume(losses[~np.isnan(losses).any(axis=1)], reference))


def named_reference(record: ExperimentRecord, reference: Floats | None) -> dict[str, float]:
    """Return the objective values of a reference point by metric name."""
    if reference is None:
        return {}
    axes = objective_axes(record)
    return {
        axis.metric: axis.sign * float(value) for axis, value in zip(axes, reference, strict=True)
    }


def pick_axis(axes: Sequence[Axis], name: str) -> Axis:
    """Return the axis called `name`.

    Raises:
        UnknownName: If there is none; lists the closest.
    """
    for axis in axes:
        if axis.metric == name:
            return axis
    raise UnknownName("metric", name, [axis.metric for axis in axes])


def better_corner(x: Axis, y: Axis) -> str:
    """Return an arrow to the good corner of the plane of two axes, empty where there is none."""
    return _CORNERS.get((y.direction or "", x.direction), "")


def column(table: TrialTable, axis: Axis) -> Floats:
    """Return the values of all trials along `axis`, NaN where a trial has none."""
    if axis.metric == TRIAL_AXIS:
        return table.number.astype(np.float64)
    return table.metric(axis.metric)


def _metric_axis(metric: MetricRecord | None, name: str) -> Axis:
    if metric is None:
        return Axis(name)
    return Axis(name, metric.unit, metric.direction, metric.split)
