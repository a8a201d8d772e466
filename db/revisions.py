"""A count of changes, for viewers that refresh.

One row per experiment, not one per store: on PostgreSQL two runs must not wait for each other.
Scope 0 counts what belongs to no experiment, deleted ones' counts included: the sum never falls.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, delete, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from .tables import REVISIONS

_COUNT = {
    name: dialect.insert(REVISIONS)
    .values(scope=bindparam("scope"), value=bindparam("by"))
    .on_conflict_do_update(
        index_elements=["scope"], set_={"value": REVISIONS.c.value + bindparam("by")}
    )
    for name, dialect in (("sqlite", sqlite), ("postgresql", postgresql))
}


def count_change(connection: Connection, scopes: Iterable[int], by: int = 1) -> None:
    """Count a change of each scope (row ids of experiments, or 0)."""
    for scope in sorted(scopes):  # sorted: two runs must not deadlock
        connection.execute(_COUNT[connection.dialect.name], {"scope": scope, "by": by})


def open_scope(connection: Connection, scope: int) -> None:
    """Start counting for a new experiment."""
    connection.execute(insert(REVISIONS), {"scope": scope, "value": 1})


def close_scopes(connection: Connection, scopes: list[int]) -> None:
    """Hand the counts of deleted experiments over to scope 0."""
    counted = select(func.sum(REVISIONS.c.value)).where(REVISIONS.c.scope.in_(scopes))
    total = int(connection.execute(counted).scalar() or 0)
    connection.execute(delete(REVISIONS).where(REVISIONS.c.scope.in_(scopes)))
    count_change(connection, [0], by=total + 1)


def revision(connection: Connection) -> int:
    """Return the sum."""
    return int(connection.execute(select(func.sum(REVISIONS.c.value))).scalar() or 0)
