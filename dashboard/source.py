"""The store as the pages see it: opened for reading only, with what was computed last."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from ..db import Store
from ..db.records import FINISHED, ExperimentRecord
from ..db.url import parse_url
from .colours import Colours, colours_of
from .compare import BaselineView, Rivals
from .contest import Contest
from .contest_cache import ContestCache
from .decision_view import DecisionView
from .generations import GenerationsView
from .kept import Kept, Made
from .neighbours import front_rows
from .progress import By
from .results import Result, Results
from .rows import ExperimentRow, experiment_rows, open_record
from .table import Row, TableCache, TrialTable
from .views import HistoryView

_File: TypeAlias = tuple[int, int, int, int]  # device, inode, time of the last change (ns), bytes
KEPT = 32  # computed values; tables are kept by their own cache


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
        self._file: _File | None = None
        self._forget()

    def _forget(self) -> None:
        """Begin with nothing read: another file may hold other trials under the same ids."""
        self._tables = TableCache()
        self.contests = ContestCache(
            lambda record: self._tables.table(self.store, record), state_of
        )
        self._results = Results()
        self._kept = Kept(KEPT)

    @property
    def store(self) -> Store:
        """The store.

        A file that was deleted would still be read, and one that was copied over in parts: what
        stands there now is opened instead.

        Raises:
            StoreError: If it cannot be opened.
        """
        if self._opened is not None and (found := _file_of(self.url)) != self._file:
            self.close(forget=_inode(found) != _inode(self._file))
        with self._lock:
            if self._opened is None:
                self._file = _file_of(self.url)
                self._opened = Store(self.url, read_only=True, create=False)
            return self._opened

    def close(self, *, forget: bool = True) -> None:
        """Close the store; it opens again when it is needed.

        Args:
            forget: Whether what was read is read again, too.
        """
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None
                if forget:
                    self._forget()

    def revision(self) -> str:
        """Return a text that changes with the store, and with the processes that write to it.

        Raises:
            StoreError: If there is no store.
        """
        store = self.store
        return " ".join([str(_inode(self._file)), str(store.revision()), *sorted(store.running())])

    def rows(self, *, baselines: bool, archived: bool = True) -> list[ExperimentRow]:
        """Return every experiment, the newest first."""
        return experiment_rows(self.store, all=baselines, archived=archived)

    def results(self, rows: Sequence[ExperimentRow]) -> dict[str, Result]:
        """Return what experiments have found, by id."""
        return self._results.of(self.store, rows)

    def snapshot(self, ref: str) -> Snapshot:
        """Return an experiment and its trials as they are now."""
        record = open_record(self.store, ref)
        return Snapshot(record, self._tables.table(self.store, record), state_of(record))

    def history(self, shot: Snapshot, by: By = "trials") -> HistoryView:
        """Return the history of a snapshot; one that has ended is measured as its baseline is."""

        def read() -> HistoryView:
            rivals = self.rivals(shot)
            shared = rivals.named_reference if rivals else {}
            reference = shared or None
            return HistoryView.from_table(shot.record, shot.table, reference=reference, by=by)

        return self._once(f"history {by}", shot, read)

    def beside(self, shot: Snapshot, by: By = "trials") -> dict[str, HistoryView]:
        """Return the history of the random baseline by its name in a legend, if there is one."""

        def read() -> dict[str, HistoryView]:
            rivals = self.rivals(shot)
            if rivals is None or rivals.reference is None:
                return {}
            return {"random search": rivals.baseline_history(by)}

        return self._once(f"beside {by}", shot, read)

    def baseline(self, shot: Snapshot) -> BaselineView | None:
        """Return the comparison with the baseline of an experiment that has ended."""

        def read() -> BaselineView | None:
            rivals = self.rivals(shot)
            return BaselineView.from_rivals(rivals) if rivals else None

        return self._once("baseline", shot, read)

    def rivals(self, shot: Snapshot) -> Rivals | None:
        """Return an experiment that has ended beside its baseline."""

        def read() -> Rivals | None:
            return Rivals.of(self.store, shot.record, shot.table)

        return None if shot.record.status == "running" else self._once("rivals", shot, read)

    def decisions(self, shot: Snapshot, metric: str | None) -> DecisionView:
        """Return the decisions beside a metric: as they are, or while it runs some trials ago.

        Raises:
            UnknownName: If the experiment has no such metric.
        """

        def read() -> DecisionView:
            return DecisionView.of(self.store, shot.record, shot.table, metric)

        return self._once(f"decisions {metric}", replace(shot, state=epoch_of(shot)), read)

    def generations(self, shot: Snapshot) -> GenerationsView | None:
        """Return the generations of a search: as they are, or while it runs some trials ago."""

        def read() -> GenerationsView | None:
            return GenerationsView.of(self.store, shot.record, shot.table)

        return self._once("generations", replace(shot, state=epoch_of(shot)), read)

    def members(self, shot: Snapshot) -> tuple[Row, ...]:
        """Return the members of the front."""
        return self._once("members", shot, lambda: front_rows(shot.record, shot.table))

    def colours(self, shot: Snapshot, name: str) -> Colours:
        """Return what colours the trials of a snapshot.

        Raises:
            UnknownName: If the experiment has nothing of that name.
        """

        def read() -> Colours:
            return colours_of(self.store, shot.record, shot.table, name)

        return self._once(f"colours {name}", shot, read)

    def contest(
        self, refs: Sequence[str], groups: Sequence[str], *, apart: bool
    ) -> tuple[Contest, str]:
        """Return experiments as competitors, and a text that changes whenever they do."""
        return self.contests.contest(self.store, refs, groups, apart=apart)

    def _once(self, kind: str, shot: Snapshot, read: Callable[[], Made]) -> Made:
        """Return what `read` gives, asked once per state of the experiment."""
        return self._kept.value((kind, shot.record.id), read, shot.state)


def _file_of(url: str) -> _File | None:
    """Return which file a URL means, and as of when; None for a server, and while there is none."""
    path = parse_url(url)
    if path.get_backend_name() != "sqlite":
        return None
    try:
        found = Path(str(path.database)).stat()
    except OSError:
        return None  # who opens it says why
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _inode(file: _File | None) -> tuple[int, int] | None:
    return None if file is None else file[:2]


def state_of(record: ExperimentRecord) -> str:
    """Return a text that changes whenever something to show of an experiment changes."""
    counts = ",".join(f"{name}{count}" for name, count in sorted(record.counts.items()))
    return f"{record.status}/{record.finished_at}/{counts}"


def epoch_of(shot: Snapshot) -> str:
    """Return a state for what costs a second: while trials come it changes with a tenth more."""
    if shot.record.status != "running":
        return shot.state
    finished = sum(shot.record.counts.get(status, 0) for status in FINISHED)
    return f"running/{math.floor(math.log(finished + 1, 1.1))}"
