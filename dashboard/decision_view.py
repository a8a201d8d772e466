"""The decisions of an experiment's trials beside one metric: lines, importances, distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..db.records import ExperimentRecord
from ..errors import UnknownName
from .axes import (
    TRIAL_AXIS,
    Axis,
    available_axes,
    column,
    default_axes,
    feasible_losses,
    front_of,
    objective_axes,
    pick_axis,
)
from .columns import ABSENT, Column, Level, columns_of
from .importance import MAX_TRIALS, SEED, Study, study
from .table import Bools, Floats, TrialTable
from .thinning import evenly
from .words import plural

if TYPE_CHECKING:
    from ..db import Store

COUNTED = 2000  # trials; the front is always among them
DRAWN = 500  # of those, as lines: more hide each other, and take a browser without a GPU seconds
WHOLE = ("done", "infeasible")  # a trial that was stopped early has values of another budget


@dataclass(frozen=True, slots=True)
class Group:
    """The trials of one level of a decision.

    Args:
        text: Option, range of options, or `not there`.
        place: Along a numeric axis; None of a level that is no number.
        count: Trials.
        low: Smallest value of the metric.
        q1: First quartile.
        median: Median.
        q3: Third quartile.
        high: Largest value.
        predicted: Mean prediction of the surrogate when every trial that has the decision takes
            this option (partial dependence), NaN where there is none.
    """

    text: str
    place: float | None
    count: int
    low: float
    q1: float
    median: float
    q3: float
    high: float
    predicted: float


@dataclass(frozen=True)
class Marginal:
    """The distribution of a metric for each level of a decision, as it was observed."""

    decision: str
    axis: Axis
    numeric: bool
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class DecisionView:
    """Trials with a value of one metric: what was decided, and what that means for the metric.

    Args:
        axis: The metric.
        number: Trial numbers, (n,), ascending.
        front: On the experiment's front, (n,).
        metrics: Metric -> values, (n,), NaN where a trial has none; objectives, and the chosen one.
        columns: One per decision, each (n,), as the trials' architectures name them.
        total: Trials with a value, of which n are here.
        front_total: Trials of the front with a value.
        study: What a surrogate of the metric says of its decisions.
    """

    axis: Axis
    number: NDArray[np.int64] = field(repr=False)
    front: Bools = field(repr=False)
    metrics: Mapping[str, Floats] = field(repr=False)
    columns: tuple[Column, ...] = field(repr=False)
    total: int
    front_total: int
    study: Study

    @classmethod
    def of(
        cls, store: Store, record: ExperimentRecord, table: TrialTable, metric: str | None = None
    ) -> DecisionView:
        """Read the view of an experiment beside `metric` (default: its first quality).

        Raises:
            UnknownName: If the experiment has no such metric.
        """
        axis = pick_axis(metric_axes(record), metric or default_axes(record)[1])
        values = column(table, axis)
        on_front = front_of(feasible_losses(table, record))
        known = np.isfinite(values) & np.isin(table.status, WHOLE) & _own(store, record, table)
        rows = _sample(table, known, on_front)
        keys = table.key[rows].tolist()
        found = store.architectures(record.id, keys)
        columns = columns_of([found[key] for key in keys])
        shown = {each.metric: column(table, each)[rows] for each in objective_axes(record)}
        return cls(
            axis=axis,
            number=table.number[rows],
            front=on_front[rows],
            metrics={**shown, axis.metric: values[rows]},
            columns=columns,
            total=int(known.sum()),
            front_total=int((known & on_front).sum()),
            study=_study(columns, values[rows]),
        )

    @property
    def values(self) -> Floats:
        """The metric, (n,)."""
        return self.metrics[self.axis.metric]

    @cached_property
    def ranked(self) -> tuple[Column, ...]:
        """The decisions that varied, the most important first; without importances as named."""
        named = {each.name: each for each in self.columns if each.varied}
        first = [named.pop(each.decision) for each in self.study.importances]
        return (*first, *named.values())

    @cached_property
    def drawn(self) -> NDArray[np.int64]:
        """Rows of the trials that are drawn as lines, ascending, at most `DRAWN`.

        Evenly spread over the metric; of front and others as many, where there are.
        """
        front, others = (
            rows[np.argsort(self.values[rows], kind="stable")]
            for rows in (np.flatnonzero(self.front), np.flatnonzero(~self.front))
        )
        members = evenly(front, max(DRAWN // 2, DRAWN - len(others)))
        return np.sort(np.concatenate([members, evenly(others, DRAWN - len(members))]))

    @property
    def fixed(self) -> list[str]:
        """Decisions that were taken one way only."""
        return [each.name for each in self.columns if not each.varied]

    @property
    def sentence(self) -> str:
        """Which trials are here."""
        if not self.total:
            return f"No trial has a value of {self.axis.metric} yet."
        whole = f"with a value of {self.axis.metric}"
        if len(self.number) == self.total:
            return f"{plural(self.total, 'trial')} {whole}."
        kept = int(self.front.sum())
        front = "the whole front" if kept == self.front_total else f"{kept:,} trials of the front"
        return (
            f"{len(self.number):,} of {self.total:,} trials {whole}: {front}, and others drawn at "
            "random, always the same."
        )

    def marginal(self, decision: str | None = None) -> Marginal | None:
        """Return the distribution of the metric over a decision (default: the most important).

        None when no decision varied.

        Raises:
            UnknownName: If no trial has such a decision.
        """
        chosen = next(iter(self.ranked), None)
        if decision is not None:
            chosen = next((each for each in self.columns if each.name == decision), None)
            if chosen is None:
                raise UnknownName("decision", decision, [each.name for each in self.columns])
        if chosen is None:
            return None
        none = np.full(len(chosen.levels), np.nan)
        predicted = self.study.dependence.get(chosen.name, none)
        levels = [
            (level, np.isin(chosen.codes, level.codes), float(guess))
            for level, guess in zip(chosen.levels, predicted, strict=True)
        ]
        absent = chosen.codes == ABSENT
        if absent.any():
            levels.append((Level.absent(), absent, np.nan))
        groups = [_group(level, self.values[mask], guess) for level, mask, guess in levels]
        return Marginal(chosen.name, self.axis, chosen.numeric, tuple(groups))


def metric_axes(record: ExperimentRecord) -> tuple[Axis, ...]:
    """Return the metrics of an experiment, objectives first."""
    return tuple(axis for axis in available_axes(record) if axis.metric != TRIAL_AXIS)


def _own(store: Store, record: ExperimentRecord, table: TrialTable) -> Bools:
    """Return which trials are of the experiment's space, (n,): fixed points may be of others."""
    places = np.flatnonzero(table.fixed)
    known = store.architectures(record.id, table.key[places].tolist()) if places.size else {}
    own = np.ones(len(table), dtype=bool)
    own[places] = [key in known for key in table.key[places].tolist()]
    return own


def _sample(table: TrialTable, known: Bools, front: Bools) -> NDArray[np.int64]:
    """Return at most `COUNTED` rows of different architectures, the front first of all."""
    rng = np.random.default_rng(SEED)
    rows = np.flatnonzero(known)
    first = rng.permutation(rows[front[rows]])
    others = rng.permutation(rows[~front[rows]])
    chosen: dict[str, int] = {}
    for row in (*first.tolist(), *others[:COUNTED].tolist()):
        if len(chosen) == COUNTED:
            break
        chosen.setdefault(table.key[row], row)
    return np.sort(np.array(list(chosen.values()), dtype=np.int64))


def _study(columns: Sequence[Column], values: Floats) -> Study:
    """Return what a surrogate says, learned from at most `MAX_TRIALS` of the trials."""
    if len(values) <= MAX_TRIALS:
        return study(columns, values)
    rows = np.random.default_rng(SEED).choice(len(values), MAX_TRIALS, replace=False)
    return study([each.at(rows) for each in columns], values[rows])


def _group(level: Level, values: Floats, predicted: float) -> Group:
    low, q1, median, q3, high = np.quantile(values, (0, 0.25, 0.5, 0.75, 1)).tolist()
    return Group(level.text, level.place, len(values), low, q1, median, q3, high, predicted)
