"""Trials as columns, for viewers of many: no decisions, no records, one metric at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Double, Select, Text, case, select, type_coerce

from .catalog import Entry
from .records import FIXED
from .rows import chunks
from .tables import ARCHITECTURES, METRICS, TRIALS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TAGS = type_coerce(TRIALS.c.tags, Text)
_COLUMNS: Select[Any] = select(
    TRIALS.c.id,
    TRIALS.c.number,
    TRIALS.c.status,
    TRIALS.c.violation,
    TRIALS.c.duration_s,
    type_coerce(TRIALS.c.finished_at, Double),
    TRIALS.c.parent,
    TRIALS.c.reused_from,
    TRIALS.c.error,
    ARCHITECTURES.c.key,
    ARCHITECTURES.c.notation,
    case((_TAGS.like(f'%"{FIXED}":%'), _TAGS)),  # few have one: the others' are not sent
).join(ARCHITECTURES, ARCHITECTURES.c.id == TRIALS.c.architecture_id)


@dataclass(frozen=True)
class TrialColumns:
    """Columns of (n,) trials, by number; texts and what may be missing are arrays of objects.

    Args:
        id: Row ids, what metrics are joined by.
        number: Trial numbers.
        status: As stored.
        violation: Sums of relative constraint violations.
        duration_s: Seconds of evaluation, NaN where nothing was measured.
        finished_at: Seconds since 1970, NaN while a trial is open.
        parent: Number of the trial that it derives from, or None.
        reused_from: Row id of the trial whose values it has, or None.
        error: Why it failed, or None.
        key: Architecture keys.
        notation: Architectures as their space writes them.
        fixed: Names of published networks, or None.
    """

    id: NDArray[np.int64] = field(repr=False)
    number: NDArray[np.int64] = field(repr=False)
    status: NDArray[np.str_] = field(repr=False)
    violation: NDArray[np.float64] = field(repr=False)
    duration_s: NDArray[np.float64] = field(repr=False)
    finished_at: NDArray[np.float64] = field(repr=False)
    parent: NDArray[np.object_] = field(repr=False)
    reused_from: NDArray[np.object_] = field(repr=False)
    error: NDArray[np.object_] = field(repr=False)
    key: NDArray[np.object_] = field(repr=False)
    notation: NDArray[np.object_] = field(repr=False)
    fixed: NDArray[np.object_] = field(repr=False)

    def __len__(self) -> int:
        return len(self.id)


def trial_columns(
    connection: Connection,
    entry: Entry,
    *,
    numbers: Iterable[int] | None = None,
    above: int | None = None,
) -> TrialColumns:
    """Return trials by number.

    Args:
        connection: Of an open transaction.
        entry: The experiment.
        numbers: These alone (and those above).
        above: Only those with a higher number.
    """
    chosen = _COLUMNS.where(TRIALS.c.experiment_id == entry.id)
    statements = [chosen.where(TRIALS.c.number.in_(part)) for part in chunks(numbers or ())]
    if above is not None:
        statements.append(chosen.where(TRIALS.c.number > above))
    elif numbers is None:
        statements.append(chosen)
    rows = [row for each in statements for row in connection.execute(each).all()]
    rows.sort(key=lambda row: row[1])
    return _columns(rows)


def _columns(rows: Sequence[Any]) -> TrialColumns:
    import numpy as np

    columns = list(zip(*rows, strict=True)) if rows else [()] * 12
    whole = [np.array(column, dtype=np.int64) for column in columns[:2]]
    floats = [np.array(column, dtype=np.float64) for column in columns[3:6]]  # None becomes NaN
    texts = [np.empty(len(rows), dtype=object) for _ in columns[6:]]
    for array, column in zip(texts, columns[6:], strict=True):
        array[:] = column
    fixed = texts[-1]
    for row in (fixed != None).nonzero()[0].tolist():  # noqa: E711 (of each element)
        fixed[row] = json.loads(fixed[row]).get(FIXED)
    made: list[Any] = [*whole, np.array(columns[2], dtype="<U10"), *floats, *texts]
    return TrialColumns(*made)


def metric_column(
    connection: Connection, entry: Entry, name: str, *, ids: Iterable[int] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the values of one metric: row ids of trials, ascending, and a value for each.

    A metric that the experiment does not have has no values.

    Args:
        connection: Of an open transaction.
        entry: The experiment.
        name: The metric.
        ids: Row ids of the only trials that count.
    """
    import numpy as np

    if (source := entry.sources.get(name)) is None:
        return np.empty(0, dtype=np.int64), np.empty(0)
    chosen = select(METRICS.c.trial_id, METRICS.c.value).where(METRICS.c.source_id == source)
    chosen = chosen.order_by(METRICS.c.trial_id)
    statements = [chosen]
    if ids is not None:
        statements = [chosen.where(METRICS.c.trial_id.in_(part)) for part in chunks(sorted(ids))]
    rows = [row for each in statements for row in connection.execute(each).all()]
    numbers = np.fromiter((row[0] for row in rows), dtype=np.int64, count=len(rows))
    return numbers, np.fromiter((row[1] for row in rows), dtype=np.float64, count=len(rows))
