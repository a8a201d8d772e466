"""What pages, reports and commands show, as plain data: figures and tests read these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..db.records import ExperimentRecord, TrialRecord
from .axes import (
    TRIAL_AXIS,
    Axis,
    available_axes,
    column,
    default_axes,
    feasible_losses,
    front_of,
    named_reference,
    objective_axes,
    pick_axis,
    reference_of,
    volume_of,
)
from .progress import By, best_so_far, hypervolume_so_far
from .rows import ExperimentRow, experiment_rows, open_record
from .table import Bools, Floats, TrialTable

if TYPE_CHECKING:
    from ..db import Store

Objectives: TypeAlias = Sequence[Mapping[str, Any]]
PUBLISHED, PUBLISHED_OUT = "published", "published, infeasible"
KINDS = (
    "infeasible",
    "unfinished",
    "failed",
    "stopped early",
    "feasible",
    PUBLISHED_OUT,
    PUBLISHED,
    "front",
)
__all__ = [
    "KINDS",
    "ConstraintLine",
    "ExperimentRow",
    "HistoryView",
    "ParetoView",
    "Point",
    "experiment_rows",
    "front",
]


@dataclass(frozen=True, slots=True)
class Point:
    """One trial in the plane of two axes."""

    number: int
    key: str
    notation: str
    x: float
    y: float
    status: str
    feasible: bool
    front: bool
    fixed: str | None = None


@dataclass(frozen=True, slots=True)
class ConstraintLine:
    """A bound that is drawn across the plane; `kind` is `max` or `min`, `along` `x` or `y`."""

    metric: str
    along: str
    kind: str
    bound: float


@dataclass(frozen=True)
class ParetoView:
    """The trials of an experiment in the plane of two metrics.

    The front is that of the experiment's objectives, however many there are, among its feasible
    trials; equal results stay together on it. Published networks that the search evaluated beside
    its own are on it too, where nothing beats them. `pair_front` is what remains non-dominated when
    only the two shown metrics count: the line to draw. With two objectives on the axes they are
    the same.

    Args:
        experiment: The experiment in one line.
        x: Horizontal axis; the trial number when there is one objective.
        y: Vertical axis.
        axes: Every axis that could be chosen.
        table: The trials behind the columns.
        xs: Horizontal values, (n,), NaN where a trial has none.
        ys: Vertical values, (n,).
        front: On the experiment's front, (n,).
        pair_front: On the front of the two shown metrics, (n,).
        lines: Constraints on one of the two axes.
        constraints: All constraints, as they are stored.
        hypervolume: Volume between what the search found and the reference point, in the product of
            the units; None without a feasible trial.
        reference: Objective values that the volume is measured against.
    """

    experiment: ExperimentRow
    x: Axis
    y: Axis
    axes: tuple[Axis, ...]
    table: TrialTable = field(repr=False)
    xs: Floats = field(repr=False)
    ys: Floats = field(repr=False)
    front: Bools = field(repr=False)
    pair_front: Bools = field(repr=False)
    lines: tuple[ConstraintLine, ...]
    constraints: tuple[Mapping[str, Any], ...]
    hypervolume: float | None
    reference: Mapping[str, float]

    @classmethod
    def of(
        cls,
        store: Store,
        ref: str,
        x: str | None = None,
        y: str | None = None,
        *,
        table: TrialTable | None = None,
        objectives: Objectives = (),
    ) -> ParetoView:
        """Read the view of experiment `ref` with metrics `x` and `y` (default: its objectives).

        Args:
            store: Where it is.
            ref: Name, id or unique prefix.
            x: Horizontal axis.
            y: Vertical axis.
            table: Its trials, if they are read already.
            objectives: What the front is made of instead of the experiment's own.

        Raises:
            UnknownName: If an axis is no metric of the experiment.
            StoreError: If there is no such experiment.
        """
        record = with_objectives(open_record(store, ref), objectives)
        table = TrialTable.read(store, record) if table is None else table
        return cls.from_table(record, table, x, y)

    @classmethod
    def from_table(
        cls, record: ExperimentRecord, table: TrialTable, x: str | None, y: str | None
    ) -> ParetoView:
        """Build the view from a table that is already there."""
        axes = available_axes(record)
        default_x, default_y = default_axes(record)
        across, up = pick_axis(axes, x or default_x), pick_axis(axes, y or default_y)
        xs, ys = column(table, across), column(table, up)
        losses, own = feasible_losses(table, record), feasible_losses(table.searched, record)
        reference = reference_of(own)
        return cls(
            experiment=ExperimentRow.of(record),
            x=across,
            y=up,
            axes=axes,
            table=table,
            xs=xs,
            ys=ys,
            front=front_of(losses),
            pair_front=_pair_front(table, (across, up), (xs, ys)),
            lines=tuple(_lines(record, across, up)),
            constraints=record.constraints,
            hypervolume=volume_of(own, reference),
            reference=named_reference(record, reference),
        )

    @property
    def feasible(self) -> Bools:
        """Evaluated in full and breaking no constraint, (n,)."""
        return self.table.feasible

    @cached_property
    def kinds(self) -> NDArray[np.str_]:
        """What each trial is drawn as, (n,): one of `KINDS`."""
        status, fixed = self.table.status, self.table.fixed
        return np.select(
            [
                fixed & self.feasible,
                fixed & (status == "infeasible"),
                fixed & (status == "done"),
                self.front,
                self.feasible,
                status == "pruned",
                status == "failed",
                np.isin(status, ("queued", "running")),
            ],
            [
                PUBLISHED,
                PUBLISHED_OUT,
                PUBLISHED_OUT,
                "front",
                "feasible",
                "stopped early",
                "failed",
                "unfinished",
            ],
            "infeasible",
        )

    @property
    def shown(self) -> Bools:
        """Has a place in the plane, (n,)."""
        return np.isfinite(self.xs) & np.isfinite(self.ys)

    @cached_property
    def front_numbers(self) -> list[int]:
        """Numbers of the front's trials, sorted along the horizontal axis, then by number."""
        rows = np.flatnonzero(self.front)
        order = np.lexsort((self.table.number[rows], self.xs[rows]))
        return [int(number) for number in self.table.number[rows[order]]]

    @cached_property
    def line(self) -> tuple[Floats, Floats]:
        """The line to draw: the front of the two metrics, or the best so far over the trials."""
        if self.y.direction is None or (self.x.direction is None and self.x.metric != TRIAL_AXIS):
            return np.empty(0), np.empty(0)
        if self.x.metric == TRIAL_AXIS:
            losses = np.where(self.feasible, self.y.sign * self.ys, np.nan)[:, None]
            best = self.y.sign * best_so_far(losses)[:, 0]
            known = np.isfinite(best)
            return self.xs[known], best[known]
        rows = np.flatnonzero(self.pair_front)
        rows = rows[np.lexsort((self.ys[rows], self.xs[rows]))]
        return self.xs[rows], self.ys[rows]

    def points(self, mask: Bools | None = None) -> list[Point]:
        """Return the trials of `mask` (default: all that have a place in the plane)."""
        chosen = np.flatnonzero(self.shown if mask is None else mask)
        return [
            Point(
                number=row.number,
                key=row.key,
                notation=row.notation,
                x=float(self.xs[index]),
                y=float(self.ys[index]),
                status=row.status,
                feasible=bool(self.feasible[index]),
                front=bool(self.front[index]),
                fixed=row.fixed,
            )
            for index in chosen.tolist()
            for row in (self.table.rows[index],)
        ]


@dataclass(frozen=True)
class HistoryView:
    """How the result grew with the trials, or with the time.

    Args:
        number: Trial numbers, (n,); along time in the order of the clock, without open trials.
        evaluations: Trials that the budget counts, up to and with each one, (n,).
        elapsed_s: Seconds since the start, (n,), NaN for open trials.
        hypervolume: After each trial, (n,); measured against the reference of the whole run.
        reference: Objective values of that reference.
        best: Per objective the best feasible value after each trial, (n,), NaN before the first.
        objectives: The axes of `best`.
        by: What it is to be drawn along.
    """

    number: NDArray[np.int64] = field(repr=False)
    evaluations: NDArray[np.int64] = field(repr=False)
    elapsed_s: Floats = field(repr=False)
    hypervolume: Floats = field(repr=False)
    reference: Mapping[str, float]
    best: Mapping[str, Floats] = field(repr=False)
    objectives: tuple[Axis, ...]
    by: By = "trials"

    @classmethod
    def of(cls, store: Store, ref: str, *, table: TrialTable | None = None) -> HistoryView:
        """Read the history of experiment `ref`."""
        record = open_record(store, ref)
        table = TrialTable.read(store, record) if table is None else table
        return cls.from_table(record, table)

    @classmethod
    def from_table(
        cls,
        record: ExperimentRecord,
        table: TrialTable,
        *,
        reference: Mapping[str, float] | None = None,
        by: By = "trials",
    ) -> HistoryView:
        """Build the history from a table that is already there.

        Args:
            record: The experiment.
            table: Its trials.
            reference: Objective values to measure against (default: the run's own reference), so
                that several runs can share one scale.
            by: Along `time` results count in the order in which they came.
        """
        table = table.searched
        if by == "time":
            known = np.flatnonzero(np.isfinite(table.finished_s))
            table = table.where(known[np.argsort(table.finished_s[known], kind="stable")])
        losses = feasible_losses(table, record)
        corner = _corner(record, reference) if reference else reference_of(losses)
        grown = np.zeros(len(table))
        if corner is not None:
            grown = hypervolume_so_far(losses, corner)
        axes, best = objective_axes(record), best_so_far(losses)
        return cls(
            number=table.number,
            evaluations=np.cumsum(table.spent),
            elapsed_s=table.finished_s,
            hypervolume=grown,
            reference=named_reference(record, corner),
            best={axis.metric: axis.sign * best[:, i] for i, axis in enumerate(axes)},
            objectives=axes,
            by=by,
        )

    @property
    def duration_s(self) -> float:
        """Seconds to the last result, 0 before the first."""
        return float(np.nanmax(self.elapsed_s, initial=0.0))

    def places(self, scale_s: float = 1.0) -> Floats:
        """Return where each trial stands, (n,): evaluations, or the time in units of `scale_s`."""
        if self.by == "time":
            return self.elapsed_s / scale_s
        return self.evaluations.astype(np.float64)


def front(
    store: Store, ref: str, *, table: TrialTable | None = None, objectives: Objectives = ()
) -> list[TrialRecord]:
    """Return the trials of the Pareto front of experiment `ref`, sorted along its cost axis.

    Their metrics include what was added by rescoring.

    Args:
        store: Where it is.
        ref: Name, id or unique prefix.
        table: Its trials, if they are read already.
        objectives: What the front is made of instead of the experiment's own.
    """
    view = ParetoView.of(store, ref, table=table, objectives=objectives)
    if not view.front_numbers:
        return []
    records = store.trial_records(view.experiment.id, numbers=view.front_numbers)
    metrics = {row.number: dict(row.metrics) for row in view.table.where(view.front).rows}
    by_number = {r.number: replace(r, metrics=metrics[r.number]) for r in records}
    return [by_number[number] for number in view.front_numbers]


def with_objectives(record: ExperimentRecord, objectives: Objectives) -> ExperimentRecord:
    """Return the record with other objectives; none given: as it is.

    Raises:
        UnknownName: If one is no metric of the experiment; its own and those added by rescoring
            are known.
    """
    axes = available_axes(record)
    for objective in objectives:
        pick_axis(axes, str(objective["metric"]))
    return replace(record, objectives=tuple(objectives)) if objectives else record


def _pair_front(table: TrialTable, axes: tuple[Axis, Axis], values: tuple[Floats, Floats]) -> Bools:
    """Return the front of two shown metrics; one that has no direction decides nothing."""
    directed = [a.sign * v for a, v in zip(axes, values, strict=True) if a.direction]
    if not directed:
        return np.zeros(len(table), dtype=bool)
    losses = np.stack(directed, axis=1)
    counts = table.feasible & np.all(np.isfinite(losses), axis=1)
    return front_of(np.where(counts[:, None], losses, np.nan))


def _lines(record: ExperimentRecord, x: Axis, y: Axis) -> list[ConstraintLine]:
    return [
        ConstraintLine(item["metric"], along, kind, float(item[kind]))
        for item in record.constraints
        for along, axis in (("x", x), ("y", y))
        for kind in ("max", "min")
        if axis.metric == item["metric"] and item.get(kind) is not None
    ]


def _corner(record: ExperimentRecord, reference: Mapping[str, float]) -> Floats:
    return np.array([axis.sign * reference[axis.metric] for axis in objective_axes(record)])
