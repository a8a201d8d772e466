"""The trials of an experiment as columns, kept up to date without reading them all again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..db.records import FINISHED, ExperimentRecord, TrialRecord
from ..db.rescored import RESCORED

if TYPE_CHECKING:
    from ..db import Store

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
SPENT = ("done", "pruned", "failed")  # what the trial budget counts
CHUNK = 500  # numbers per query: below the variable limit of every supported database


@dataclass(frozen=True, slots=True)
class Row:
    """What a viewer keeps of one trial; the rest is read when somebody asks for that trial."""

    number: int
    key: str
    notation: str
    status: str
    violation: float
    parent: int | None
    reused: bool
    duration_s: float
    finished_s: float
    metrics: Mapping[str, float]
    error: str | None = None
    fixed: str | None = None  # the name of the published network that it is

    @classmethod
    def of(
        cls,
        trial: TrialRecord,
        experiment: ExperimentRecord,
        costs: Mapping[str, Mapping[str, float]] | None = None,
    ) -> Row:
        """Return the row of `trial`; times count from the creation of the experiment.

        `costs` are metrics by architecture key that were added after the run.

        Of an experiment that is not running no trial runs: one that was cut short waits again.
        """
        finished = trial.finished_at
        age = (finished - experiment.created_at).total_seconds() if finished else np.nan
        duration = np.nan if trial.duration_s is None else trial.duration_s
        return cls(
            trial.number,
            trial.key,
            trial.notation,
            status_of(trial, experiment),
            trial.violation,
            trial.parent,
            trial.reused_from is not None,
            duration,
            age,
            {**trial.metrics, **(costs or {}).get(trial.key, {})},
            trial.error,
            trial.fixed,
        )


def status_of(trial: TrialRecord, experiment: ExperimentRecord) -> str:
    """Return the status of a trial: one that was cut short waits, whatever was noted last."""
    cut = trial.status == "running" and experiment.status != "running"
    return "queued" if cut else trial.status


@dataclass(frozen=True)
class TrialTable:
    """All trials of one experiment, by number; each property is one column.

    Args:
        rows: One row per trial, sorted by number.
    """

    rows: Sequence[Row] = field(repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def number(self) -> NDArray[np.int64]:
        """Trial numbers, (n,)."""
        return np.array([row.number for row in self.rows], dtype=np.int64)

    @cached_property
    def status(self) -> NDArray[np.str_]:
        """Trial statuses, (n,)."""
        return np.array([row.status for row in self.rows], dtype="<U10")

    @cached_property
    def violation(self) -> Floats:
        """Sums of the relative constraint violations, (n,)."""
        return np.array([row.violation for row in self.rows], dtype=np.float64)

    @cached_property
    def duration_s(self) -> Floats:
        """Seconds of evaluation, (n,), NaN where nothing was measured."""
        return np.array([row.duration_s for row in self.rows], dtype=np.float64)

    @cached_property
    def finished_s(self) -> Floats:
        """Seconds from the start of the experiment to the result, (n,), NaN while it is open."""
        return np.array([row.finished_s for row in self.rows], dtype=np.float64)

    @cached_property
    def feasible(self) -> Bools:
        """Evaluated in full and breaking no constraint, (n,)."""
        return np.asarray((self.status == "done") & (self.violation == 0.0), dtype=bool)

    @cached_property
    def fixed(self) -> Bools:
        """Published networks beside the search, (n,)."""
        return np.array([row.fixed is not None for row in self.rows], dtype=bool)

    @cached_property
    def searched(self) -> TrialTable:
        """The trials of the search itself: without the published networks beside it."""
        if not self.fixed.any():
            return self
        return type(self)(tuple(row for row in self.rows if row.fixed is None))

    @cached_property
    def spent(self) -> Bools:
        """Counted by the trial budget, (n,): infeasible ones and fixed points are not."""
        return np.isin(self.status, SPENT) & ~self.fixed

    def metric(self, name: str) -> Floats:
        """Values of one metric, (n,), NaN where a trial has none."""
        columns: dict[str, Floats] = self.__dict__.setdefault("_columns", {})
        if name not in columns:
            values = [row.metrics.get(name, np.nan) for row in self.rows]
            columns[name] = np.array(values, dtype=np.float64)
        return columns[name]

    def losses(self, objectives: Iterable[Mapping[str, Any]]) -> Floats:
        """Objective values with signs turned so that lower is better, (n, objectives)."""
        columns = [
            (-1.0 if objective["direction"] == "maximize" else 1.0)
            * self.metric(objective["metric"])
            for objective in objectives
        ]
        return np.stack(columns, axis=1) if columns else np.empty((len(self), 0))

    @classmethod
    def read(cls, store: Store, experiment: ExperimentRecord) -> TrialTable:
        """Read every trial of `experiment`."""
        records, costs = store.trial_records(experiment.id), store.rescored(experiment)
        return cls(tuple(Row.of(trial, experiment, costs) for trial in records))

    def refreshed(self, store: Store, experiment: ExperimentRecord) -> TrialTable:
        """Return the table of now, reading only the trials that were not finished before."""
        closed = {row.number: row for row in self.rows if row.status in FINISHED}
        total = sum(experiment.counts.values()) + sum(experiment.fixed.values())
        missing = [number for number in range(total) if number not in closed]
        costs = store.rescored(experiment) if missing else {}
        for start in range(0, len(missing), CHUNK):
            numbers = missing[start : start + CHUNK]
            for trial in store.trial_records(experiment.id, numbers=numbers):
                closed[trial.number] = Row.of(trial, experiment, costs)
        if len(closed) != total:  # numbers with gaps: nothing to be clever about
            return self.read(store, experiment)
        return type(self)(tuple(closed[number] for number in sorted(closed)))


class TableCache:
    """The tables that viewers asked for last; safe to use from several threads.

    A finished trial changes only when its experiment ends (test metrics are written then) or is
    rescored, so a running experiment is read once and followed from there.

    Args:
        size: Tables kept.
    """

    def __init__(self, size: int = 4) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._tables: OrderedDict[str, tuple[tuple[Any, ...], TrialTable]] = OrderedDict()

    def table(self, store: Store, experiment: ExperimentRecord) -> TrialTable:
        """Return the trials of `experiment` as they are now."""
        era = (experiment.status, experiment.finished_at, repr(experiment.info.get(RESCORED)))
        counts = (experiment.counts, experiment.fixed)
        state = (era, tuple(tuple(sorted(each.items())) for each in counts))
        with self._lock:
            known = self._tables.pop(experiment.id, None)
            if known is not None and known[0] == state:
                table = known[1]
            elif known is not None and known[0][0] == era:
                table = known[1].refreshed(store, experiment)
            else:
                table = TrialTable.read(store, experiment)
            self._tables[experiment.id] = (state, table)
            while len(self._tables) > self._size:
                self._tables.popitem(last=False)
        return table
