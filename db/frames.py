"""Tables for people: pandas frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from .records import FIXED
from .rows import chunks
from .tables import ARCHITECTURES, COSTS, CURVES, METRICS, SOURCES, SPACES, TRIALS

if TYPE_CHECKING:
    import pandas as pd

_FIRST = ("number", "key", "status", "violation")
_NONE: list[tuple[Any, ...]] = [()] * 10
_LAST = ("duration_s", "parent", "notation", FIXED)


def trials_frame(connection: Connection, experiment_id: int) -> pd.DataFrame:
    """Return a row per trial; see `Store.trials`."""
    import pandas as pd

    rows = connection.execute(
        select(
            TRIALS.c.id,
            TRIALS.c.number,
            ARCHITECTURES.c.key,
            TRIALS.c.status,
            TRIALS.c.violation,
            ARCHITECTURES.c.decisions,
            TRIALS.c.duration_s,
            TRIALS.c.parent,
            TRIALS.c.tags,
            ARCHITECTURES.c.notation,
        )
        .join(ARCHITECTURES, ARCHITECTURES.c.id == TRIALS.c.architecture_id)
        .where(TRIALS.c.experiment_id == experiment_id)
        .order_by(TRIALS.c.number)
    ).all()
    ids, *values, decisions, duration_s, parent, tags, notation = (
        zip(*rows, strict=True) if rows else _NONE
    )
    columns: dict[str, Any] = dict(zip(_FIRST, map(list, values), strict=True))
    columns |= _decisions(decisions)
    columns |= _metrics(connection, experiment_id, {id: i for i, id in enumerate(ids)})
    columns["duration_s"] = pd.array(duration_s, dtype="float64")
    columns["parent"] = pd.array(parent, dtype="Int64")
    columns["notation"] = list(notation)
    if any(FIXED in each for each in tags):
        columns[FIXED] = [each.get(FIXED) for each in tags]
    return pd.DataFrame(columns)


def _decisions(architectures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    names = list(dict.fromkeys(name for decisions in architectures for name in decisions))
    return {
        _free(name, "decision"): [decisions.get(name) for decisions in architectures]
        for name in names
    }


def _metrics(connection: Connection, experiment_id: int, places: dict[int, int]) -> dict[str, Any]:
    import numpy as np

    sources = connection.execute(
        select(SOURCES.c.id, SOURCES.c.name)
        .where(SOURCES.c.experiment_id == experiment_id)
        .order_by(SOURCES.c.id)
    )
    columns: dict[str, Any] = {}
    for id, name in sources.all():
        values = np.full(len(places), np.nan)
        found = connection.execute(
            select(METRICS.c.trial_id, METRICS.c.value).where(METRICS.c.source_id == id)
        )
        for trial, value in found.all():
            values[places[trial]] = value
        columns[_free(name, "metric")] = values
    return columns


def _free(name: str, kind: str) -> str:
    return f"{kind}:{name}" if name in (*_FIRST, *_LAST) else name


def curves_frame(connection: Connection, experiment_id: int, number: int | None) -> pd.DataFrame:
    """Return points of curves; see `Store.curves`."""
    import pandas as pd

    chosen = (
        select(CURVES.c.number, CURVES.c.name, CURVES.c.step, CURVES.c.value)
        .where(CURVES.c.experiment_id == experiment_id)
        .order_by(CURVES.c.number, CURVES.c.name, CURVES.c.step)
    )
    if number is not None:
        chosen = chosen.where(CURVES.c.number == number)
    rows = connection.execute(chosen).all()
    numbers = [None if row.number < 0 else row.number for row in rows]
    return pd.DataFrame(
        {
            "number": pd.array(numbers, dtype="Int64"),
            "name": [row.name for row in rows],
            "step": pd.array([row.step for row in rows], dtype="int64"),
            "value": pd.array([row.value for row in rows], dtype="float64"),
        }
    )


def costs_frame(
    connection: Connection,
    space_fingerprint: str,
    keys: Sequence[str] | None,
    device: str | None,
) -> pd.DataFrame:
    """Return costs; see `Store.costs`."""
    import pandas as pd

    names = ("key", "device", "model_version", "metric", "value")
    chosen = (
        select(ARCHITECTURES.c.key, *(COSTS.c[name] for name in names[1:]))
        .join(ARCHITECTURES, ARCHITECTURES.c.id == COSTS.c.architecture_id)
        .join(SPACES, SPACES.c.id == ARCHITECTURES.c.space_id)
        .where(SPACES.c.fingerprint == space_fingerprint)
        .order_by(*(COSTS.c[name] for name in ("architecture_id", *names[1:4])))
    )
    if device is not None:
        chosen = chosen.where(COSTS.c.device == device)
    parts = (
        [chosen]
        if keys is None
        else [chosen.where(ARCHITECTURES.c.key.in_(part)) for part in chunks(keys)]
    )
    rows = [tuple(row) for part in parts for row in connection.execute(part)]
    return pd.DataFrame(rows, columns=list(names))
