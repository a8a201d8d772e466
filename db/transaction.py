"""Everything that a run writes: all of a transaction, or nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from ..errors import StoreError
from .catalog import Catalog, Entry
from .records import (
    FINISHED,
    CostRecord,
    CurvePoint,
    ExperimentStatus,
    NewTrial,
    Outcome,
)
from .revisions import count_change
from .rows import (
    Ids,
    chunks,
    existing_architectures,
    insert_trials,
    metric_rows,
    outcome_row,
    pack,
    upsert,
)
from .tables import (
    ARTIFACTS,
    CHECKPOINTS,
    COSTS,
    CURVES,
    DETAILS,
    EXPERIMENTS,
    METRICS,
    SPACES,
    STATES,
    TRIALS,
)

CHECKPOINT = "checkpoint"
_FINISH = update(TRIALS).where(TRIALS.c.id == bindparam("row"))
_TRIALS = select(TRIALS.c.number, TRIALS.c.id, TRIALS.c.status, TRIALS.c.attempts).where(
    TRIALS.c.experiment_id == bindparam("experiment"),
    TRIALS.c.number.in_(bindparam("numbers", expanding=True)),
)


class Transaction:
    """An open transaction; made by `Store.transaction()`, good until its `with` block ends."""

    def __init__(self, connection: Connection, catalog: Catalog) -> None:
        self._connection, self._catalog = connection, catalog
        self._ids, self._changed = Ids(connection), set[int]()

    def next_number(self, experiment_id: str) -> int:
        """Return the number after the highest one; it stays free until this transaction ends."""
        entry = self._entry(experiment_id)
        self._connection.execute(
            select(EXPERIMENTS.c.id).where(EXPERIMENTS.c.id == entry.id).with_for_update()
        )
        highest = select(func.max(TRIALS.c.number)).where(TRIALS.c.experiment_id == entry.id)
        last = self._connection.execute(highest).scalar()
        return 0 if last is None else last + 1

    def add_trials(self, experiment_id: str, trials: Sequence[NewTrial]) -> None:
        """Insert trials; finished ones bring their outcome and metrics.

        Raises:
            StoreError: If a number is taken, a metric is not finite or was not declared.
        """
        if trials:
            entry = self._changing(experiment_id)
            insert_trials(self._connection, self._ids, entry, trials, _now())

    def start_trials(self, experiment_id: str, numbers: Iterable[int]) -> None:
        """Mark queued trials as running; one attempt more."""
        rows = self._open_trials(experiment_id, numbers)
        for part in chunks(rows.values()):
            self._connection.execute(
                update(TRIALS)
                .where(TRIALS.c.id.in_([row.id for row in part]))
                .values(status="running", attempts=TRIALS.c.attempts + 1)
            )

    def requeue_trials(self, experiment_id: str, numbers: Iterable[int]) -> None:
        """Mark running trials as queued again: their evaluation was lost."""
        rows = self._open_trials(experiment_id, numbers)
        for part in chunks(rows.values()):
            self._connection.execute(
                update(TRIALS)
                .where(TRIALS.c.id.in_([row.id for row in part]))
                .values(status="queued")
            )

    def finish_trials(self, experiment_id: str, outcomes: Sequence[Outcome]) -> None:
        """Write how queued or running trials ended.

        Raises:
            StoreError: If one has ended already: a result is written once.
        """
        rows = self._open_trials(experiment_id, [outcome.number for outcome in outcomes])
        if not rows:
            return
        entry, now = self._entry(experiment_id), _now()
        updates: list[dict[str, Any]] = []
        metrics: list[dict[str, Any]] = []
        for outcome in outcomes:
            row = rows[outcome.number]
            attempts = max(1, row.attempts)
            updates.append({"row": row.id, "attempts": attempts, **outcome_row(outcome, now)})
            metrics += metric_rows(entry, row.id, outcome.number, outcome.metrics)
        self._connection.execute(_FINISH, updates)
        upsert(self._connection, METRICS, metrics)

    def mark_told(self, experiment_id: str, positions: Mapping[int, int]) -> None:
        """Write the position at which each trial was told to the strategy.

        Args:
            experiment_id: The experiment's id.
            positions: Trial number -> position; each position is given once.

        Raises:
            StoreError: If a position is taken.
        """
        rows = self._trial_rows(experiment_id, positions)
        if rows:
            self._connection.execute(
                _FINISH, [{"row": rows[n].id, "told": p} for n, p in positions.items()]
            )

    def save_state(self, experiment_id: str, state: Mapping[str, Any], told: int) -> None:
        """Replace the strategy's state.

        Args:
            experiment_id: The experiment's id.
            state: JSON values.
            told: How many results had been told when the state was taken.
        """
        entry = self._changing(experiment_id)
        upsert(
            self._connection,
            STATES,
            [{"experiment_id": entry.id, "state": dict(state), "told": told}],
        )

    def set_metrics(self, experiment_id: str, number: int, metrics: Mapping[str, float]) -> None:
        """Add metrics to a trial or replace them (test metrics of the front, at the end)."""
        row = self._trial_rows(experiment_id, [number])[number]
        entry = self._entry(experiment_id)
        upsert(self._connection, METRICS, metric_rows(entry, row.id, number, metrics))

    def add_curves(self, experiment_id: str, points: Sequence[CurvePoint]) -> None:
        """Add points of curves; a step that is there is replaced, a value may be NaN."""
        entry = self._changing(experiment_id)
        numbers = {point.number for point in points if point.number is not None}
        self._trial_rows(experiment_id, numbers)
        rows = {
            (point.number, point.name, point.step): {
                "experiment_id": entry.id,
                "number": -1 if point.number is None else point.number,
                "name": point.name,
                "step": point.step,
                "value": point.value if math.isfinite(point.value) else None,
            }
            for point in points
        }
        upsert(self._connection, CURVES, list(rows.values()))

    def add_costs(self, space_fingerprint: str, costs: Sequence[CostRecord]) -> None:
        """Add costs of stored architectures; equal device, model and metric replace.

        Raises:
            StoreError: If a value is not finite, or the store holds no such architecture.
        """
        find = select(SPACES.c.id).where(SPACES.c.fingerprint == space_fingerprint)
        space_id = self._connection.execute(find).scalar()
        keys = {cost.key for cost in costs}
        ids = {} if space_id is None else existing_architectures(self._connection, space_id, keys)
        if missing := sorted(keys - ids.keys()):
            raise StoreError(
                f"costs belong to stored architectures, got the key {missing[0]!r} "
                f"({len(missing)} unknown in this space); add a trial of it first"
            )
        self._changed.add(0)
        upsert(self._connection, COSTS, [_cost_row(cost, ids[cost.key]) for cost in costs])

    def add_details(
        self, experiment_id: str, number: int, kind: str, payload: Mapping[str, Any]
    ) -> None:
        """Add a breakdown of a trial, or replace the one of that kind."""
        row = self._trial_rows(experiment_id, [number])[number]
        upsert(
            self._connection,
            DETAILS,
            [{"trial_id": row.id, "kind": kind, "payload": pack(payload)}],
        )

    def remove_details(self, experiment_id: str, *, kind: str, numbers: Iterable[int]) -> None:
        """Remove the breakdowns of one kind from these trials (no longer among the best)."""
        rows = self._trial_rows(experiment_id, numbers)
        for part in chunks(rows.values()):
            ids = [row.id for row in part]
            self._connection.execute(
                delete(DETAILS).where(DETAILS.c.kind == kind, DETAILS.c.trial_id.in_(ids))
            )

    def add_artifact(
        self,
        experiment_id: str,
        *,
        kind: str,
        name: str,
        sha256: str,
        size_bytes: int,
        number: int | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        """Name a file that `Store.put_file` has stored.

        The newest artifact of kind `checkpoint` under a name is the valid one (`Store.checkpoint`);
        `Store.gc` takes the earlier ones away.
        """
        entry = self._changing(experiment_id)
        if number is not None:
            self._trial_rows(experiment_id, [number])
        row = {
            "experiment_id": entry.id,
            "kind": kind,
            "name": name,
            "sha256": sha256,
            "size_bytes": size_bytes,
            "number": number,
            "meta": dict(meta or {}),
            "created_at": _now(),
        }
        added = self._connection.execute(insert(ARTIFACTS).returning(ARTIFACTS.c.id), row).scalar()
        if kind == CHECKPOINT:
            pointer = {"experiment_id": entry.id, "name": name, "artifact_id": added}
            upsert(self._connection, CHECKPOINTS, [pointer])

    def remove_artifacts(
        self,
        experiment_id: str,
        *,
        kind: str,
        numbers: Iterable[int] | None = None,
        name: str | None = None,
    ) -> None:
        """Remove artifact rows; `Store.drop_files` and `Store.gc` remove files that no row names.

        Args:
            experiment_id: The experiment's id.
            kind: Which kind.
            numbers: Of these trials only.
            name: Under this name only.
        """
        entry = self._changing(experiment_id)
        gone = delete(ARTIFACTS).where(
            ARTIFACTS.c.experiment_id == entry.id, ARTIFACTS.c.kind == kind
        )
        if name is not None:
            gone = gone.where(ARTIFACTS.c.name == name)
        if numbers is None:
            self._connection.execute(gone)
            return
        for part in chunks(numbers):
            self._connection.execute(gone.where(ARTIFACTS.c.number.in_(part)))

    def update_experiment(
        self,
        experiment_id: str,
        *,
        status: ExperimentStatus | None = None,
        elapsed_s: float | None = None,
        summary: Mapping[str, Any] | None = None,
        spec: Mapping[str, Any] | None = None,
        info: Mapping[str, Any] | None = None,
    ) -> None:
        """Replace what is given; a status other than `running` also sets the time of finishing."""
        entry = self._changing(experiment_id)
        values: dict[str, Any] = {
            name: dict(value) if isinstance(value, Mapping) else value
            for name, value in (
                ("status", status),
                ("elapsed_s", elapsed_s),
                ("summary", summary),
                ("spec", spec),
                ("info", info),
            )
            if value is not None
        }
        if status is not None:
            values["finished_at"] = None if status == "running" else _now()
        if values:
            self._connection.execute(
                update(EXPERIMENTS).where(EXPERIMENTS.c.id == entry.id).values(**values)
            )

    def finish(self) -> None:
        """Count the changes; called once, just before the commit."""
        count_change(self._connection, self._changed)

    def _entry(self, experiment_id: str) -> Entry:
        return self._catalog.entry(self._connection, experiment_id)

    def _changing(self, experiment_id: str) -> Entry:
        entry = self._entry(experiment_id)
        self._changed.add(entry.id)
        return entry

    def _trial_rows(self, experiment_id: str, numbers: Iterable[int]) -> dict[int, Any]:
        entry = self._changing(experiment_id)
        wanted, found = list(numbers), dict[int, Any]()
        for part in chunks(wanted):
            rows = self._connection.execute(_TRIALS, {"experiment": entry.id, "numbers": part})
            found.update({row.number: row for row in rows})
        if missing := sorted(set(wanted) - found.keys()):
            raise StoreError(
                f"a trial must be added before it is changed, got the numbers {missing[:5]} that "
                f"experiment {experiment_id} does not have"
            )
        return found

    def _open_trials(self, experiment_id: str, numbers: Iterable[int]) -> dict[int, Any]:
        rows = self._trial_rows(experiment_id, numbers)
        for number, row in rows.items():
            if row.status in FINISHED:
                raise StoreError(
                    f"a trial ends once, got another change for trial {number}, which is "
                    f"{row.status} already; add a new trial instead"
                )
        return rows


def _cost_row(cost: CostRecord, architecture_id: int) -> dict[str, Any]:
    if not math.isfinite(cost.value):
        raise StoreError(
            f"a cost must be a finite number, got {cost.metric} = {cost.value} on {cost.device}"
        )
    return {
        "architecture_id": architecture_id,
        "device": cost.device,
        "model_version": cost.model_version,
        "metric": cost.metric,
        "value": cost.value,
    }


def _now() -> datetime:
    return datetime.now(UTC)
