"""One page of a long trial table, sorted and filtered here instead of in the browser."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SpecError
from .grid_request import checked_request
from .table import Bools, Row, TrialTable

PAGE = 100
MAX_PAGE = 500


def page_of(
    table: TrialTable,
    request: Mapping[str, Any],
    front: Bools,
    metrics: Sequence[str],
    within: Bools | None = None,
) -> tuple[list[dict[str, Any]], int]:
    """Return the rows that a grid asks for, and how many there are in all.

    Args:
        table: The trials.
        request: `startRow`, `endRow`, `sortModel` and `filterModel` as AG Grid sends them.
        front: On the front, (n,): shown as a column.
        metrics: Metric of each metric column; column `m0` is the first of them.
        within: The only rows that count, (n,): what is selected elsewhere on the page.

    Raises:
        SpecError: If the request names a column or a filter that the table has not.
    """
    request = checked_request(request)
    rows = chosen_rows(table, request, front, metrics, within)
    chosen = rows[window(request)]
    shown = zip(table.where(chosen).rows, front[chosen].tolist(), strict=True)
    return [row_cells(row, member, metrics) for row, member in shown], len(rows)


def window(request: Mapping[str, Any]) -> slice:
    """Return which rows a checked request asks for: a page, and never more than `MAX_PAGE`."""
    start = request["startRow"] or 0
    return slice(start, min(request["endRow"] or start + PAGE, start + MAX_PAGE))


def chosen_rows(
    table: TrialTable,
    request: Mapping[str, Any],
    front: Bools,
    metrics: Sequence[str],
    within: Bools | None = None,
) -> NDArray[np.int64]:
    """Return the rows that a request's filters leave, in its order; arguments as in `page_of`.

    Raises:
        SpecError: If the request names a column or a filter that the table has not.
    """
    request = checked_request(request)
    columns: dict[str, Callable[[], NDArray[Any]]] = {"front": lambda: front}
    columns |= {f"m{i}": partial(table.metric, name) for i, name in enumerate(metrics)}
    rows = np.arange(len(table)) if within is None else np.flatnonzero(within)
    for column, rule in request["filterModel"].items():
        rows = rows[_fits(_values(table, column, columns)[rows], column, rule)]
    return _sorted(table, rows, request["sortModel"], columns)


def row_cells(row: Row, front: bool, metrics: Sequence[str]) -> dict[str, Any]:
    """Return the cells of a row, by column."""
    return {
        "id": str(row.number),
        "number": row.number,
        "status": row.status,
        "front": "front" if front else "",
        "violation": row.violation,
        "duration_s": _finite(row.duration_s),
        "notation": row.notation,
        "fixed": row.fixed or "",
        "key": row.key,
        **{f"m{i}": _finite(row.metrics.get(name)) for i, name in enumerate(metrics)},
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _values(
    table: TrialTable, column: str, columns: Mapping[str, Callable[[], NDArray[Any]]]
) -> NDArray[Any]:
    if column in columns:
        return columns[column]()
    if column in ("notation", "key", "fixed"):
        texts = getattr(table.columns, column)
        return np.where(texts == None, "", texts)  # noqa: E711 (of each element)
    if column in ("number", "status", "violation", "duration_s"):
        return np.asarray(getattr(table, column))
    raise SpecError(f"a trial table has no column {column!r}; reload the page")


def _sorted(
    table: TrialTable,
    rows: NDArray[np.int64],
    model: Sequence[Mapping[str, Any]],
    columns: Mapping[str, Callable[[], NDArray[Any]]],
) -> NDArray[np.int64]:
    """Sort by the last key first: each pass is stable; missing values stay at the end."""
    for item in reversed(model):
        values = _values(table, str(item.get("colId")), columns)[rows]
        falling = item.get("sort") == "desc"
        if values.dtype == np.float64:
            order = np.argsort(-values if falling else values, kind="stable")
        else:
            _, codes = np.unique(values, return_inverse=True)
            order = np.argsort(-codes if falling else codes, kind="stable")
        rows = rows[order]
    return rows


def _fits(values: NDArray[Any], column: str, rule: Mapping[str, Any]) -> Bools:
    if conditions := rule.get("conditions"):
        masks = [_fits(values, column, each) for each in conditions]
        merge = np.logical_or if rule.get("operator") == "OR" else np.logical_and
        return np.asarray(merge.reduce(masks), dtype=bool)
    kind, wanted = str(rule.get("type")), rule.get("filter")
    if rule.get("filterType") == "text":
        text, low = [str(value).lower() for value in values.tolist()], str(wanted).lower()
        if test := _TEXT_RULES.get(kind):
            return np.array([test(each, low) for each in text], dtype=bool)
    elif kind in _NUMBER_RULES and values.dtype.kind in "bif":
        limit = float("nan") if wanted is None else float(wanted)
        other = float("nan") if rule.get("filterTo") is None else float(rule["filterTo"])
        return np.asarray(_NUMBER_RULES[kind](values.astype(np.float64), limit, other), dtype=bool)
    raise SpecError(f"a trial table has no filter {kind!r} for {column!r}; reload the page")


_TEXT_RULES: dict[str, Any] = {
    "contains": lambda text, wanted: wanted in text,
    "notContains": lambda text, wanted: wanted not in text,
    "equals": lambda text, wanted: text == wanted,
    "notEqual": lambda text, wanted: text != wanted,
    "startsWith": lambda text, wanted: text.startswith(wanted),
    "endsWith": lambda text, wanted: text.endswith(wanted),
}
_NUMBER_RULES: dict[str, Any] = {
    "equals": lambda values, limit, other: values == limit,
    "notEqual": lambda values, limit, other: values != limit,
    "lessThan": lambda values, limit, other: values < limit,
    "lessThanOrEqual": lambda values, limit, other: values <= limit,
    "greaterThan": lambda values, limit, other: values > limit,
    "greaterThanOrEqual": lambda values, limit, other: values >= limit,
    "inRange": lambda values, limit, other: (values >= limit) & (values <= other),
    "blank": lambda values, limit, other: np.isnan(values),
    "notBlank": lambda values, limit, other: ~np.isnan(values),
}
