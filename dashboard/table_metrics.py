"""The metrics of a table of trials, read one by one; and tables put together from parts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..db.columns import TrialColumns
from ..db.records import ExperimentRecord

if TYPE_CHECKING:
    from ..db import Store

_Floats = NDArray[np.float64]
_Rows = NDArray[np.bool_] | NDArray[np.int64]
_Read = Callable[[str, NDArray[np.int64] | None], _Floats]
FEW = 500  # rows; a metric of more is read as a whole column


class Metrics:
    """Columns of (n,) values, NaN where a trial has none.

    Args:
        read: Gives a column by its name, or those rows of it.
        names: Of every metric that there may be.
        known: Columns that are there already.
        added: Names of those that rescoring may have changed.
    """

    def __init__(
        self,
        read: _Read,
        names: tuple[str, ...],
        known: dict[str, _Floats],
        added: Collection[str] = (),
    ) -> None:
        self._read, self.names, self._known, self._added = read, names, known, added
        self._lock = threading.Lock()  # requests come at once: the second waits for the column

    @classmethod
    def of(cls, store: Store, experiment: ExperimentRecord, columns: TrialColumns) -> Metrics:
        """Return the metrics of the trials of `columns`, and those that rescoring added."""
        costs = store.rescored(experiment)
        added = dict.fromkeys(name for each in costs.values() for name in each)
        names = dict.fromkeys([*(metric.name for metric in experiment.metrics), *added])

        def read(name: str, rows: NDArray[np.int64] | None) -> _Floats:
            wanted = columns.id if rows is None else columns.id[rows]
            few = None if rows is None else wanted.tolist()
            ids, values = store.metric_column(experiment.id, name, ids=few)
            found, order = np.full(len(wanted), np.nan), np.argsort(wanted)
            known = np.isin(ids, wanted)  # others came since
            found[order[np.searchsorted(wanted, ids[known], sorter=order)]] = values[known]
            if name in added:
                keys = columns.key if rows is None else columns.key[rows]
                extra = np.array([costs.get(key, {}).get(name, np.nan) for key in keys])
                found = np.where(np.isnan(extra), found, extra)
            return found

        return cls(read, tuple(names), {}, added)

    def column(self, name: str) -> _Floats:
        """Return one column; a metric that nobody has is NaN."""
        with self._lock:
            if name not in self._known:
                self._known[name] = self._read(name, None)
            return self._known[name]

    def of_row(self, row: int) -> Mapping[str, float]:
        """Return the metrics that one trial has."""
        return _RowMetrics(self, row)

    def taken(self, rows: _Rows) -> Metrics:
        """Return the metrics of some of the rows: of a few, nothing else is read."""
        known = {name: values[rows] for name, values in list(self._known.items())}
        places = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows.astype(np.int64)

        def read(name: str, part: NDArray[np.int64] | None) -> _Floats:
            chosen = places if part is None else places[part]
            if len(chosen) <= FEW and name not in self._known:
                return self._read(name, chosen)
            return self.column(name)[chosen]

        return Metrics(read, self.names, known)

    def grow(
        self,
        before: Metrics,
        ids: NDArray[np.int64],
        fresh: NDArray[np.int64],
        found: Mapping[int, Mapping[str, float]],
    ) -> None:
        """Take over the columns of an earlier table; the fresh trials' values are given.

        Args:
            before: The metrics of the trials that are not fresh.
            ids: Row ids of all trials, (n,).
            fresh: Row ids of the fresh ones.
            found: Their metrics by row id.
        """
        new = np.isin(ids, fresh)
        for name, values in list(before._known.items()):
            if name in self._added:  # read again, with what rescoring says of the fresh ones
                continue
            column = np.empty(len(ids))
            column[~new] = values
            column[new] = [found.get(id, {}).get(name, np.nan) for id in ids[new].tolist()]
            self._known[name] = column


class _RowMetrics(Mapping[str, float]):
    """The metrics of one row of a table: columns are read when they are asked for."""

    def __init__(self, metrics: Metrics, row: int) -> None:
        self._metrics, self._row = metrics, row

    def __getitem__(self, name: str) -> float:
        if name in self._metrics.names:
            value = float(self._metrics.column(name)[self._row])
            if not np.isnan(value):
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._metrics.names if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None


def objects(values: Iterable[Any]) -> NDArray[np.object_]:
    """Return an array of objects, (n,)."""
    listed = list(values)
    array = np.empty(len(listed), dtype=object)
    array[:] = listed
    return array


def settled(columns: TrialColumns, experiment: ExperimentRecord) -> TrialColumns:
    """Return the columns as they are to be read: what was cut short waits, see `status_of`."""
    if experiment.status == "running":
        return columns
    status = np.where(columns.status == "running", "queued", columns.status)
    return replace(columns, status=status.astype("<U10"))


def taken(columns: TrialColumns, rows: _Rows) -> TrialColumns:
    """Return some of the rows."""
    return TrialColumns(
        **{each.name: getattr(columns, each.name)[rows] for each in fields(columns)}
    )


def joined(first: TrialColumns, second: TrialColumns) -> TrialColumns:
    """Return the rows of both, by number."""
    both = {
        each.name: np.concatenate([getattr(first, each.name), getattr(second, each.name)])
        for each in fields(first)
    }
    order = np.argsort(both["number"], kind="stable")
    return TrialColumns(**{name: values[order] for name, values in both.items()})
