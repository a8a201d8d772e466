"""Single values of many trials: one column is read, not every trial in full."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, func, select

from .rows import chunks
from .tables import ARCHITECTURES, EXPERIMENTS, METRICS, SOURCES, TRIALS


def decision_values(connection: Connection, experiment_id: int, decision: str) -> dict[int, Any]:
    """Return the option of a decision by trial number, where an architecture has it."""
    rows = connection.execute(
        select(TRIALS.c.number, ARCHITECTURES.c.decisions)
        .join(ARCHITECTURES, ARCHITECTURES.c.id == TRIALS.c.architecture_id)
        .where(TRIALS.c.experiment_id == experiment_id)
    )
    return {number: found[decision] for number, found in rows if decision in found}


def tag_values(connection: Connection, experiment_id: int) -> dict[int, dict[str, Any]]:
    """Return what a strategy noted of its trials by number, where it noted anything."""
    rows = connection.execute(
        select(TRIALS.c.number, TRIALS.c.tags).where(TRIALS.c.experiment_id == experiment_id)
    )
    return {number: tags for number, tags in rows if tags}


def feasible_values(
    connection: Connection, experiment_id: int, metrics: Iterable[str], *, first: int = 0
) -> dict[str, dict[int, float]]:
    """Return metrics of the feasible trials from number `first` on: metric -> number -> value."""
    found: dict[str, dict[int, float]] = {name: {} for name in metrics}
    rows = connection.execute(
        select(SOURCES.c.name, TRIALS.c.number, METRICS.c.value)
        .join(METRICS, METRICS.c.source_id == SOURCES.c.id)
        .join(TRIALS, TRIALS.c.id == METRICS.c.trial_id)
        .where(
            SOURCES.c.experiment_id == experiment_id,
            SOURCES.c.name.in_(list(found)),
            *_feasible(first),
        )
    )
    for name, number, value in rows:
        found[name][number] = value
    return found


def extremes(
    connection: Connection, uids: Iterable[str], metrics: Iterable[str], *, first: int = 0
) -> dict[str, dict[str, tuple[float, float]]]:
    """Return the least and the largest value of metrics over feasible trials, by experiment."""
    found: dict[str, dict[str, tuple[float, float]]] = {}
    names = sorted(set(metrics))
    for part in chunks(uids):
        rows = connection.execute(
            select(
                EXPERIMENTS.c.uid,
                SOURCES.c.name,
                func.min(METRICS.c.value).label("least"),
                func.max(METRICS.c.value).label("largest"),
            )
            .join(SOURCES, SOURCES.c.experiment_id == EXPERIMENTS.c.id)
            .join(METRICS, METRICS.c.source_id == SOURCES.c.id)
            .join(TRIALS, TRIALS.c.id == METRICS.c.trial_id)
            .where(EXPERIMENTS.c.uid.in_(part), SOURCES.c.name.in_(names), *_feasible(first))
            .group_by(EXPERIMENTS.c.uid, SOURCES.c.name)
        )
        for row in rows:
            found.setdefault(row.uid, {})[row.name] = (row.least, row.largest)
    return found


def _feasible(first: int) -> tuple[Any, ...]:
    return (TRIALS.c.status == "done", TRIALS.c.violation == 0.0, TRIALS.c.number >= first)
