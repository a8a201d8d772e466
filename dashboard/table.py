"""The trials of an experiment as columns, kept up to date without reading them all again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..db.columns import TrialColumns
from ..db.records import FINISHED, ExperimentRecord, TrialRecord
from ..db.rescored import RESCORED
from .table_metrics import Metrics, joined, objects, settled, taken

if TYPE_CHECKING:
    from ..db import Store

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
SPENT = ("done", "pruned", "failed")  # what the trial budget counts


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


def status_of(trial: TrialRecord, experiment: ExperimentRecord) -> str:
    """Return the status of a trial: one that was cut short waits, whatever was noted last."""
    cut = trial.status == "running" and experiment.status != "running"
    return "queued" if cut else trial.status


class TrialTable:
    """All trials of one experiment, by number; each property is one column.

    Metrics are read one by one when somebody asks for them: of a hundred thousand trials a view
    needs two.

    Args:
        rows: One row per trial, sorted by number.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        names = dict.fromkeys(name for row in rows for name in row.metrics)
        known = {
            name: np.array([row.metrics.get(name, np.nan) for row in rows], dtype=np.float64)
            for name in names
        }

        def nothing(_: str, some: NDArray[np.int64] | None) -> Floats:
            return np.full(len(rows) if some is None else len(some), np.nan)

        columns = TrialColumns(
            id=np.arange(len(rows)),
            number=np.array([row.number for row in rows], dtype=np.int64),
            status=np.array([row.status for row in rows], dtype="<U10"),
            violation=np.array([row.violation for row in rows], dtype=np.float64),
            duration_s=np.array([row.duration_s for row in rows], dtype=np.float64),
            finished_at=np.array([row.finished_s for row in rows], dtype=np.float64),
            parent=objects([row.parent for row in rows]),
            reused_from=objects([0 if row.reused else None for row in rows]),
            error=objects([row.error for row in rows]),
            key=objects([row.key for row in rows]),
            notation=objects([row.notation for row in rows]),
            fixed=objects([row.fixed for row in rows]),
        )
        self._put(columns, Metrics(nothing, tuple(names), known), 0.0)

    def _put(self, columns: TrialColumns, metrics: Metrics, start: float) -> None:
        self.columns, self.metrics, self._start = columns, metrics, start
        self.number, self.status = columns.number, columns.status
        self.violation, self.duration_s = columns.violation, columns.duration_s
        self.key, self.notation, self.error = columns.key, columns.notation, columns.error

    @classmethod
    def of(cls, columns: TrialColumns, metrics: Metrics, start: float) -> TrialTable:
        """Return the table of columns that are there already.

        Args:
            columns: The trials.
            metrics: Their metrics.
            start: Seconds since 1970 from which times count.
        """
        table = cls.__new__(cls)
        table._put(columns, metrics, start)
        return table

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def rows(self) -> Sequence[Row]:
        """The trials one by one, each made when it is asked for."""
        return _Rows(self)

    def where(self, rows: Bools | NDArray[np.int64]) -> TrialTable:
        """Return the table of some of the rows."""
        metrics = self.metrics.taken(rows)
        return type(self).of(taken(self.columns, rows), metrics, self._start)

    @cached_property
    def finished_s(self) -> Floats:
        """Seconds from the start of the experiment to the result, (n,), NaN while it is open."""
        return self.columns.finished_at - self._start

    @cached_property
    def feasible(self) -> Bools:
        """Evaluated in full and breaking no constraint, (n,)."""
        return np.asarray((self.status == "done") & (self.violation == 0.0), dtype=bool)

    @cached_property
    def fixed(self) -> Bools:
        """Published networks beside the search, (n,)."""
        return np.asarray(self.columns.fixed != None, dtype=bool)  # noqa: E711 (of each element)

    @cached_property
    def searched(self) -> TrialTable:
        """The trials of the search itself: without the published networks beside it."""
        return self.where(~self.fixed) if self.fixed.any() else self

    @cached_property
    def spent(self) -> Bools:
        """Counted by the trial budget, (n,): infeasible ones and fixed points are not."""
        return np.isin(self.status, SPENT) & ~self.fixed

    def metric(self, name: str) -> Floats:
        """Values of one metric, (n,), NaN where a trial has none."""
        return self.metrics.column(name)

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
        """Read every trial of `experiment`, but their metrics."""
        columns = store.columns(experiment.id)
        return cls.of(
            settled(columns, experiment),
            Metrics.of(store, experiment, columns),
            experiment.created_at.timestamp(),
        )

    def refreshed(self, store: Store, experiment: ExperimentRecord) -> TrialTable:
        """Return the table of now, reading only the trials that were not finished before."""
        closed = np.isin(self.status, FINISHED)
        last = int(self.number[-1]) if len(self) else -1
        fresh = store.columns(experiment.id, numbers=self.number[~closed].tolist(), above=last)
        columns = joined(taken(self.columns, closed), settled(fresh, experiment))
        if len(columns) != sum(experiment.counts.values()) + sum(experiment.fixed.values()):
            return self.read(store, experiment)  # a number in between came: not worth cleverness
        metrics = Metrics.of(store, experiment, columns)
        found = store.metrics(experiment.id, fresh.id.tolist())
        metrics.grow(self.metrics.taken(closed), columns.id, fresh.id, found)
        return type(self).of(columns, metrics, self._start)


class _Rows(Sequence[Row]):
    """Rows of a table, made when they are asked for."""

    def __init__(self, table: TrialTable) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        table, columns = self._table, self._table.columns
        row = range(len(table))[index]
        return Row(
            int(columns.number[row]),
            columns.key[row],
            columns.notation[row],
            str(columns.status[row]),
            float(columns.violation[row]),
            columns.parent[row],
            columns.reused_from[row] is not None,
            float(columns.duration_s[row]),
            float(table.finished_s[row]),
            table.metrics.of_row(row),
            columns.error[row],
            columns.fixed[row],
        )


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
