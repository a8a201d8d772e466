"""What each experiment of a list has found: best values and hypervolume, asked once per state."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .axes import Axis, front_of, reference_of, volume_of
from .rows import ExperimentRow
from .table import Floats
from .words import value_text

if TYPE_CHECKING:
    from ..db import Store


@dataclass(frozen=True)
class Result:
    """What an experiment has found.

    Args:
        best: Best feasible value of each objective that has one, by metric.
        hypervolume: Against the experiment's own reference; None with one objective, and without
            a feasible trial.
    """

    best: Mapping[str, float] = field(default_factory=dict)
    hypervolume: float | None = None


class Results:
    """The results of experiments, kept until their trials change; safe to use from threads.

    What a run wrote down at its end is believed; best values are asked of the database for all
    experiments at once, and only of one that has not ended are the values of the objectives read.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[str, Result]] = {}

    def of(self, store: Store, rows: Sequence[ExperimentRow]) -> dict[str, Result]:
        """Return the result of each row by experiment id."""
        states = {row.id: _state(row) for row in rows}
        with self._lock:
            known = {id: r for id, (state, r) in self._known.items() if states.get(id) == state}
        missing = [row for row in rows if row.id not in known]
        ended = [row for row in missing if row.hypervolume is not None or len(row.objectives) < 2]
        known |= _ended(store, ended)
        asked = {row.id for row in ended}
        known |= {row.id: _open(store, row) for row in missing if row.id not in asked}
        with self._lock:
            self._known.update({id: (states[id], known[id]) for id in states})
        return known


def best_text(row: ExperimentRow, result: Result) -> str:
    """Return the best value of each objective in words, in the order of the objectives."""
    return ", ".join(value_text(result.best.get(a.metric), a.unit) for a in row.objectives)


def _state(row: ExperimentRow) -> str:
    return f"{row.status}/{row.hypervolume}/{sorted(row.counts.items())}"


def _ended(store: Store, rows: Sequence[ExperimentRow]) -> dict[str, Result]:
    """Return the results of experiments whose volume is known, or means nothing."""
    alike: dict[int, list[ExperimentRow]] = defaultdict(list)
    for row in rows:
        alike[row.fixed].append(row)
    found: dict[str, Result] = {}
    for first, some in alike.items():
        names = {axis.metric for row in some for axis in row.objectives}
        ends = store.extremes([row.id for row in some], names, first=first)
        for row in some:
            limits = ends.get(row.id, {})
            best = {
                axis.metric: limits[axis.metric][axis.sign < 0]
                for axis in row.objectives
                if axis.metric in limits
            }
            volume = row.hypervolume if len(row.objectives) > 1 and best else None
            found[row.id] = Result(best, volume)
    return found


def _open(store: Store, row: ExperimentRow) -> Result:
    """Return the result of an experiment of several objectives that has not ended."""
    names = [axis.metric for axis in row.objectives]
    columns = store.feasible_values(row.id, names, first=row.fixed)
    numbers = set.intersection(*(set(column) for column in columns.values()))
    if not numbers:
        return Result()
    ordered = sorted(numbers)
    values = {name: np.array([columns[name][n] for n in ordered]) for name in names}
    best = {a.metric: float(_best(a, values[a.metric])) for a in row.objectives}
    losses = np.stack([a.sign * values[a.metric] for a in row.objectives], axis=1)
    return Result(best, volume_of(losses[front_of(losses)], reference_of(losses)))


def _best(axis: Axis, values: Floats) -> float:
    return float(values.max() if axis.sign < 0 else values.min())
