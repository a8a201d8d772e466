"""One page of the list of experiments, sorted here instead of in the browser."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import SpecError
from .grid_request import checked_request
from .paging import window
from .results import Result, best_text
from .rows import ExperimentRow, spent_text

Results = Callable[[Sequence[ExperimentRow]], Mapping[str, Result]]
_KEYS: Mapping[str, Callable[[ExperimentRow], Any]] = {
    "name": lambda row: row.name.lower(),
    "status": lambda row: row.status,
    "progress": lambda row: row.spent,
    "goal": lambda row: row.goal,
    "elapsed": lambda row: row.elapsed_s,
    "notes": lambda row: notes_text(row).lower() or None,
    "front": lambda row: row.front_size,
    "started": lambda row: row.created_at,
    "strategy": lambda row: row.strategy.lower(),
    "space": lambda row: row.space.lower(),
}


def experiments_page(
    rows: Sequence[ExperimentRow], request: Mapping[str, Any], results: Results
) -> list[dict[str, Any]]:
    """Return the cells of the rows that a grid asks for.

    Args:
        rows: Those that fit, the newest first.
        request: `startRow`, `endRow` and `sortModel` as AG Grid sends them.
        results: Gives what experiments have found, by id.

    Raises:
        SpecError: If the request sorts by a column that the list has not.
    """
    request = checked_request(request)
    page = ordered(rows, request["sortModel"], results)[window(request)]
    found = results(page)
    return [_cells(row, found[row.id]) for row in page]


def ordered(
    rows: Sequence[ExperimentRow], model: Sequence[Mapping[str, str]], results: Results
) -> list[ExperimentRow]:
    """Return rows in the order of a `sortModel`; those without a value come last.

    Raises:
        SpecError: If it names a column that the list has not.
    """
    found = list(rows)
    for item in reversed(model):  # the last key first: each pass is stable
        key = _key(item["colId"], found, results)
        known = sorted(
            (row for row in found if key(row) is not None),
            key=key,
            reverse=item["sort"] == "desc",
        )
        found = [*known, *(row for row in found if key(row) is None)]
    return found


def _key(
    column: str, rows: Sequence[ExperimentRow], results: Results
) -> Callable[[ExperimentRow], Any]:
    if column in _KEYS:
        return _KEYS[column]
    if column == "best":
        best = results(rows)
        return lambda row: best[row.id].best.get(row.objectives[0].metric)
    if column == "hypervolume":
        volumes = results(rows)
        return lambda row: volumes[row.id].hypervolume
    raise SpecError(f"the list of experiments has no column {column!r}; reload the page")


def notes_text(row: ExperimentRow) -> str:
    """Return the group and the tags of an experiment."""
    return ", ".join([*([row.group] if row.group else []), *row.tags])


def _cells(row: ExperimentRow, result: Result) -> dict[str, Any]:
    return {
        "best": best_text(row, result) if result.best else "",
        "hypervolume": result.hypervolume,
        "id": row.id,
        "name": row.name,
        "status": row.status,
        "progress": spent_text(row),
        "space": row.space,
        "strategy": row.strategy,
        "goal": row.goal,
        "front": row.front_size,
        "elapsed": row.elapsed_s,
        "started": f"{row.created_at:%Y-%m-%d %H:%M}",
        "notes": notes_text(row),
    }
