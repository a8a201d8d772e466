"""What the browser's grid asks for, checked: it may have been written by anybody."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..errors import SpecError

MAX_KEYS = 32  # columns that are sorted or filtered at once
MAX_CONDITIONS = 8
MAX_TEXT = 1000


def checked_request(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request whose parts have the types and sizes that AG Grid sends.

    Columns and kinds of filters are checked by who knows the table.

    Raises:
        SpecError: If a part has another type, or is larger than a grid makes it.
    """
    if not isinstance(request, Mapping):
        raise _wrong("a request", request)
    sort, filters = request.get("sortModel") or [], request.get("filterModel") or {}
    if not isinstance(sort, list) or len(sort) > MAX_KEYS:
        raise _wrong("what is sorted", sort)
    if not isinstance(filters, Mapping) or len(filters) > MAX_KEYS:
        raise _wrong("what is filtered", filters)
    return {
        "startRow": _row(request.get("startRow")),
        "endRow": _row(request.get("endRow")),
        "sortModel": [_sort(each) for each in sort],
        "filterModel": {str(name): _rule(rule) for name, rule in filters.items()},
    }


def _row(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise _wrong("a row", value)
    return value


def _sort(item: Any) -> dict[str, str]:
    if not isinstance(item, Mapping) or not isinstance(item.get("colId"), str):
        raise _wrong("a sort key", item)
    if item.get("sort") not in ("asc", "desc"):
        raise _wrong("a sort order", item.get("sort"))
    return {"colId": item["colId"], "sort": item["sort"]}


def _rule(rule: Any, *, inner: bool = False) -> dict[str, Any]:
    """Return a filter; one level of conditions, as the grid makes them."""
    if not isinstance(rule, Mapping):
        raise _wrong("a filter", rule)
    conditions = rule.get("conditions")
    if conditions is not None:
        if inner or not isinstance(conditions, list) or not 0 < len(conditions) <= MAX_CONDITIONS:
            raise _wrong("the conditions of a filter", conditions)
        found = [_rule(each, inner=True) for each in conditions]
        return {"conditions": found, "operator": rule.get("operator")}
    if rule.get("filterType") == "text":
        return {"filterType": "text", "type": rule.get("type"), "filter": _text(rule.get("filter"))}
    limits = {name: _number(rule.get(name)) for name in ("filter", "filterTo")}
    return {"type": rule.get("type"), **limits}


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise _wrong("the text of a filter", value)
    return value


def _number(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1.7e308:
        raise _wrong("the number of a filter", value)
    return None if math.isnan(value) else float(value)


def _wrong(what: str, value: Any) -> SpecError:
    return SpecError(
        f"{what} must be what the table of this page asks for, got {str(value)[:60]!r}; "
        "reload the page"
    )
