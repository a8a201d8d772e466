"""The store as the pages see it: opened for reading only, with what was computed last."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from ..db import Store
from ..db.records import ExperimentRecord
from .compare import BaselineView
from .rows import ExperimentRow, experiment_rows
from .table import TableCache, TrialTable
from .views import HistoryView


@dataclass(frozen=True)
class Snapshot:
    """An experiment at one moment; `state` changes whenever something to show changes."""

    record: ExperimentRecord
    table: TrialTable
    state: str


class Source:
    """One store behind all pages; safe to use from several threads.

    It opens when it is first needed, so that a dashboard may start before the store is there.

    Args:
        url: URL of the store.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock = threading.Lock()
        self._opened: Store | None = None
        self._tables = TableCache()
        self._computed: dict[tuple[str, str], tuple[str, Any]] = {}

    @property
    def store(self) -> Store:
        """The store.

        Raises:
            StoreError: If it cannot be opened.
        """
        with self._lock:
            if self._opened is None:
                self._opened = Store(self.url, read_only=True, create=False)
            return self._opened

    def close(self) -> None:
        """Close the store; it opens again when it is needed."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def revision(self) -> int:
        """Return a number that changes with the store."""
        return self.store.revision()

    def rows(self, *, baselines: bool) -> list[ExperimentRow]:
        """Return every experiment, the newest first."""
        return experiment_rows(self.store, all=baselines)

    def snapshot(self, ref: str) -> Snapshot:
        """Return an experiment and its trials as they are now."""
        record = self.store.experiment(ref)
        return Snapshot(record, self._tables.table(self.store, record), state_of(record))

    def history(self, shot: Snapshot) -> HistoryView:
        """Return the history of a snapshot, computed once per state."""
        found: HistoryView | None = self._known("history", shot)
        if found is None:
            found = HistoryView.from_table(shot.record, shot.table)
            self._keep("history", shot, found)
        return found

    def baseline(self, shot: Snapshot) -> BaselineView | None:
        """Return the comparison with the baseline of an experiment that has ended."""
        if shot.record.status == "running":
            return None
        found: BaselineView | None = self._known("baseline", shot)
        if found is None:
            found = BaselineView.of(self.store, shot.record.id, table=shot.table)
            self._keep("baseline", shot, found)
        return found

    def _known(self, kind: str, shot: Snapshot) -> Any:
        with self._lock:
            state, value = self._computed.get((kind, shot.record.id), ("", None))
            return value if state == shot.state else None

    def _keep(self, kind: str, shot: Snapshot, value: Any) -> None:
        with self._lock:
            if len(self._computed) > 32:
                self._computed.clear()
            self._computed[kind, shot.record.id] = (shot.state, value)


def state_of(record: ExperimentRecord) -> str:
    """Return a text that changes whenever something to show of an experiment changes."""
    counts = ",".join(f"{name}{count}" for name, count in sorted(record.counts.items()))
    return f"{record.status}/{record.finished_at}/{counts}"
