"""Rows from records, checked on the way in."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, Insert, Table, bindparam, func, insert, select, text
from sqlalchemy.dialects import postgresql, sqlite

from ..errors import StoreError
from .catalog import Entry, source_of
from .records import FINISHED, NewTrial, Outcome
from .tables import ARCHITECTURES, METRICS, SPACES, TRIALS

CHUNK = 500  # names per IN (...)
_T = TypeVar("_T")
# Statements that run once per transaction are made once: making one costs more than running it.
_LAST = select(
    *(select(func.max(t.c.id)).scalar_subquery().label(t.name) for t in (ARCHITECTURES, TRIALS))
)
_NEXT = text("SELECT nextval(pg_get_serial_sequence(:table, 'id')) FROM generate_series(1, :n)")
_KNOWN = (
    select(ARCHITECTURES.c.key, ARCHITECTURES.c.id)
    .where(
        ARCHITECTURES.c.space_id == bindparam("space"),
        ARCHITECTURES.c.key.in_(bindparam("keys", expanding=True)),
    )
    .with_for_update(read=True, key_share=True)  # `gc` must not take them away
)
_ADD_ARCHITECTURE = {
    "sqlite": sqlite.insert(ARCHITECTURES).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(ARCHITECTURES).on_conflict_do_nothing(),
}
_ADD_SPACE = {
    "sqlite": sqlite.insert(SPACES).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(SPACES).on_conflict_do_nothing(),
}


def upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; those whose primary key exists replace the other columns."""
    if rows:
        connection.execute(_upsert(connection.dialect.name, table), list(rows))


@cache
def _upsert(dialect: str, table: Table) -> Insert:
    statement: Any = {"sqlite": sqlite, "postgresql": postgresql}[dialect].insert(table)
    keys = [column.name for column in table.primary_key]
    others = {c.name: statement.excluded[c.name] for c in table.columns if c.name not in keys}
    upserting: Insert = statement.on_conflict_do_update(index_elements=keys, set_=others)
    return upserting


def chunks(items: Iterable[_T], size: int = CHUNK) -> Iterable[list[_T]]:
    """Yield lists of up to `size` items."""
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part


class Ids:
    """Hands out fresh row ids (metrics need their trial's before it is inserted).

    Args:
        connection: Of an open transaction; on SQLite it holds the write lock, so nobody else
            counts and each table is asked once.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._last: dict[str, int] = {}

    def take(self, table: Table, count: int) -> list[int]:
        """Return `count` ids, ascending."""
        if self._connection.dialect.name == "postgresql":
            found = self._connection.execute(_NEXT, {"table": table.name, "n": count})
            return sorted(int(value) for value in found.scalars())
        if not self._last:
            row = self._connection.execute(_LAST).one()
            self._last = {name: value or 0 for name, value in row._mapping.items()}
        first = self._last[table.name] + 1
        self._last[table.name] += count
        return list(range(first, first + count))


def space_row(connection: Connection, name: str, fingerprint: str) -> int:
    """Return the row id of a space; a new one is inserted."""
    row = {"fingerprint": fingerprint, "name": name}
    connection.execute(_ADD_SPACE[connection.dialect.name], [row])
    found = select(SPACES.c.id).where(SPACES.c.fingerprint == fingerprint)
    return int(connection.execute(found).scalar_one())


def architecture_ids(
    connection: Connection, ids: Ids, space_id: int, trials: Sequence[NewTrial]
) -> dict[str, int]:
    """Return the row ids of the trials' architectures by key; new ones are inserted."""
    wanted = {trial.key: trial for trial in trials}
    found = existing_architectures(connection, space_id, wanted)
    missing = sorted(wanted.keys() - found.keys())  # sorted: two runs must not deadlock
    if not missing:
        return found
    fresh = ids.take(ARCHITECTURES, len(missing))
    connection.execute(
        _ADD_ARCHITECTURE[connection.dialect.name],
        [
            {
                "id": id,
                "space_id": space_id,
                "key": key,
                "decisions": dict(wanted[key].architecture),
                "notation": printable(wanted[key].notation),
            }
            for id, key in zip(fresh, missing, strict=True)
        ],
    )
    if connection.dialect.name == "sqlite":
        return found | dict(zip(missing, fresh, strict=True))
    return found | existing_architectures(connection, space_id, missing)


def existing_architectures(
    connection: Connection, space_id: int, keys: Iterable[str]
) -> dict[str, int]:
    """Return the row ids of the keys that the space has; they stay until the transaction ends."""
    found: dict[str, int] = {}
    for part in chunks(keys):
        rows = connection.execute(_KNOWN, {"space": space_id, "keys": part})
        found.update((row.key, row.id) for row in rows)
    return found


def trial_row(
    trial: NewTrial, ids: Mapping[str, int], entry: Entry, now: datetime
) -> dict[str, Any]:
    """Return the columns of a new trial, but for its id."""
    finished = trial.status in FINISHED
    return {
        "experiment_id": entry.id,
        "number": trial.number,
        "architecture_id": ids[trial.key],
        "status": trial.status,
        "seed": check_seed(trial.seed),
        "parent": trial.parent,
        "budget": trial.budget,
        "tags": dict(trial.tags),
        "attempts": 0 if trial.status == "queued" else 1,
        "created_at": now,
        **_ending(trial, now if finished else None),
    }


def outcome_row(outcome: Outcome, now: datetime) -> dict[str, Any]:
    """Return the columns that an outcome sets.

    Raises:
        StoreError: If its status is not a final one.
    """
    if outcome.status not in FINISHED:
        raise StoreError(
            f"a trial ends as one of {', '.join(FINISHED)}, got {outcome.status!r} for trial "
            f"{outcome.number}"
        )
    return {"status": outcome.status, **_ending(outcome, now)}


def _ending(trial: NewTrial | Outcome, finished_at: datetime | None) -> dict[str, Any]:
    if not math.isfinite(trial.violation):
        raise StoreError(
            f"a violation must be a finite number, got {trial.violation} for trial {trial.number}"
        )
    return {
        "violation": trial.violation,
        "error": printable(trial.error),
        "traceback": printable(trial.traceback),
        "reused_from": trial.reused_from,
        "duration_s": trial.duration_s,
        "told": trial.told,
        "finished_at": finished_at,
    }


def metric_rows(
    entry: Entry, trial_id: int, number: int, metrics: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Return a row per metric.

    Raises:
        StoreError: If a value is not finite, or a metric was not declared.
    """
    rows = []
    for name, value in metrics.items():
        number_of_metric = float(value)
        if not math.isfinite(number_of_metric):
            raise StoreError(
                f"a metric must be a finite number, got {name} = {value} for trial {number}; "
                "record the trial as failed"
            )
        rows.append(
            {
                "trial_id": trial_id,
                "source_id": source_of(entry, name),
                "value": number_of_metric,
            }
        )
    return rows


def insert_trials(
    connection: Connection, ids: Ids, entry: Entry, trials: Sequence[NewTrial], now: datetime
) -> None:
    """Insert trials with architectures and metrics, in as many statements for one as for many."""
    own = [trial for trial in trials if trial.space is None]
    architectures = architecture_ids(connection, ids, entry.space_id, own)
    for space in dict.fromkeys(trial.space for trial in trials if trial.space is not None):
        space_id = space_row(connection, space.name, space.fingerprint)
        beside = [trial for trial in trials if trial.space == space]
        architectures |= architecture_ids(connection, ids, space_id, beside)
    rows = [trial_row(trial, architectures, entry, now) for trial in trials]
    metrics: list[dict[str, Any]] = []
    for id, row, trial in zip(ids.take(TRIALS, len(rows)), rows, trials, strict=True):
        row["id"] = id
        metrics += metric_rows(entry, id, trial.number, trial.metrics)
    connection.execute(_ADD_TRIAL, rows)
    if metrics:
        connection.execute(_ADD_METRIC, metrics)


_ADD_TRIAL, _ADD_METRIC = insert(TRIALS), insert(METRICS)


def check_seed(seed: int) -> int:
    """Return the seed.

    Raises:
        StoreError: If it does not fit the column.
    """
    if not -(2**63) <= seed < 2**63:
        raise StoreError(f"a seed has at most 63 bits, got {seed}; choose a smaller one")
    return seed


def printable(value: str | None) -> str | None:
    """Return text that both databases store: NUL and lone surrogates become escapes."""
    if value is None:
        return None
    return value.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def pack(payload: Mapping[str, Any]) -> bytes:
    """Return compressed JSON."""
    return zlib.compress(json.dumps(payload, separators=(",", ":")).encode(), 6)


def unpack(blob: bytes) -> dict[str, Any]:
    """Return what `pack` was given."""
    value: dict[str, Any] = json.loads(zlib.decompress(blob))
    return value
