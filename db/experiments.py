"""Experiments: names, rows, deletion."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from ..errors import StoreError
from .claims import refuse_if_held
from .records import RETRAINED, NewExperiment
from .revisions import close_scopes, open_scope
from .rows import check_seed, space_row
from .tables import EXPERIMENTS, SOURCES

_NAME_LENGTH = 200


def insert_experiment(connection: Connection, new: NewExperiment, uid: str) -> None:
    """Insert an experiment with its space and metric sources.

    Raises:
        StoreError: If the name cannot be one, or the parent does not exist.
    """
    check_name(new.name)
    check_seed(new.seed)
    row = {
        "uid": uid,
        "name": _free_name(connection, new.name),
        "kind": new.kind,
        "parent_id": _parent(connection, new.parent),
        "group_name": new.group,
        "tags": list(new.tags),
        "status": "running",
        "space_id": space_row(connection, new.space, new.space_fingerprint),
        "strategy": new.strategy,
        "objectives": [dict(objective) for objective in new.objectives],
        "constraints": [dict(constraint) for constraint in new.constraints],
        "seed": new.seed,
        "spec": dict(new.spec),
        "versions": dict(new.versions),
        "info": dict(new.info),
        "summary": {},
        "created_at": datetime.now(UTC),
        "elapsed_s": 0.0,
    }
    id = connection.execute(insert(EXPERIMENTS).returning(EXPERIMENTS.c.id), row).scalar_one()
    open_scope(connection, id)
    if sources := _sources(new, id):
        connection.execute(insert(SOURCES), sources)


def check_name(name: str) -> None:
    """Refuse names that could not be shown, typed or looked up.

    Raises:
        StoreError: If the name is empty, too long, or holds characters that do not print.
    """
    if not name.strip() or name != name.strip() or len(name) > _NAME_LENGTH:
        rule = f"1 to {_NAME_LENGTH} characters without spaces around them"
    elif not all(character.isprintable() for character in name):
        rule = "printable characters"
    else:
        return
    raise StoreError(f"an experiment's name is {rule}, got {name[:60]!r}; choose another name")


def _free_name(connection: Connection, wished: str) -> str:
    if connection.dialect.name == "postgresql":  # SQLite's write lock is held already
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(wished))))
    start = EXPERIMENTS.c.name.startswith(f"{wished}-", autoescape=True)
    taken = set(
        connection.execute(
            select(EXPERIMENTS.c.name).where((EXPERIMENTS.c.name == wished) | start)
        ).scalars()
    )
    name, copy = wished, 2
    while name in taken:
        name, copy = f"{wished}-{copy}", copy + 1
    return name


def _parent(connection: Connection, uid: str | None) -> int | None:
    if uid is None:
        return None
    found = connection.execute(select(EXPERIMENTS.c.id).where(EXPERIMENTS.c.uid == uid)).scalar()
    if found is None:
        raise StoreError(f"a parent is the id of an experiment of the same store, got {uid!r}")
    return int(found)


def _sources(new: NewExperiment, experiment_id: int) -> list[dict[str, Any]]:
    return [
        {
            "experiment_id": experiment_id,
            "name": metric.name,
            "unit": metric.unit,
            "direction": metric.direction,
            "split": metric.split,
            "estimator": metric.estimator,
            "fingerprint": metric.fingerprint,
            "deterministic": metric.deterministic,
            "provenance": dict(metric.provenance),
        }
        for metric in new.metrics
    ]


def delete_experiment(connection: Connection, id: int) -> None:
    """Delete an experiment and those that belong to it; the tables below them follow.

    Experiments that trained its networks again are results of their own: they stay, without it.

    Raises:
        StoreError: If one of them is being run.
    """
    again = (EXPERIMENTS.c.parent_id == id) & (EXPERIMENTS.c.kind == RETRAINED)
    connection.execute(update(EXPERIMENTS).where(again).values(parent_id=None))
    family = connection.execute(
        select(EXPERIMENTS.c.id, EXPERIMENTS.c.name).where(
            (EXPERIMENTS.c.id == id) | (EXPERIMENTS.c.parent_id == id)
        )
    ).all()
    for row in family:
        refuse_if_held(connection, row.id, row.name)
    connection.execute(delete(EXPERIMENTS).where(EXPERIMENTS.c.id == id))
    close_scopes(connection, [row.id for row in family])
