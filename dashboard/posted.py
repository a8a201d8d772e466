"""What a browser sends to the callbacks, checked: it may have been written by anybody.

A page tells what became of its parts. Each has a type that its component gives it, and `_KINDS`
names it; whether a name exists in the store is checked by who reads the store.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeAlias

from ..errors import SpecError
from .choice import MAX_NUMBER, Choice, number_of
from .contest_choice import ContestChoice
from .list_choice import ListChoice

PATH = "/_dash-update-component"
MAX_ITEMS = 10_000  # of one list

Check: TypeAlias = Callable[[Any], bool]


def check_posted(text: bytes, callbacks: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a request that none of the pages sends.

    Args:
        text: The body, JSON.
        callbacks: Of the application, by their outputs.

    Raises:
        SpecError: If it is no JSON, asks for no callback, or gives a part another type.
    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong("a request", text[:60]) from error
    output = body.get("output") if isinstance(body, dict) else None
    if not isinstance(output, str) or output not in callbacks:
        raise _wrong("an output", output)
    callback = callbacks[output]
    outputs = [
        {"id": each.component_id, "property": each.component_property}
        for each in _listed(callback["output"])
    ]
    if _listed(body.get("outputs")) != outputs:
        raise _wrong("the outputs", body.get("outputs"))
    for kind in ("inputs", "state"):
        _check_parts(body.get(kind, []), callback[kind])
    causes = body.get("changedPropIds")
    if not _several(_text)(causes) or not {_name(each) for each in body["inputs"]}.issuperset(
        causes
    ):
        raise _wrong("what changed", causes)


def _check_parts(given: Any, expected: list[dict[str, str]]) -> None:
    if not isinstance(given, list) or len(given) != len(expected):
        raise _wrong("the parts of a page", given)
    for part, known in zip(given, expected, strict=True):
        if not isinstance(part, dict) or any(part.get(key) != known[key] for key in known):
            raise _wrong("a part of a page", part)
        if not kind_of(_name(known))(part.get("value")):
            raise _wrong(f"{_name(known)}", part.get("value"))


def kind_of(name: str) -> Check:
    """Return the check of a property of a part: its own, or that of all properties of its name."""
    return _KINDS[name] if name in _KINDS else _KINDS[name.rpartition(".")[2]]


# ---------------------------------------------------------------- types
def _text(value: Any) -> bool:
    """Whether it is a text that can be written (no half of a surrogate pair)."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _number(value: Any) -> bool:
    return type(value) is int and 0 <= value < MAX_NUMBER


def _trial(value: Any) -> bool:
    """Whether it is the number of a trial, or one as a text: so the table names its rows."""
    return _number(value) or (isinstance(value, str) and number_of(value) is not None)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _maybe(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _several(check: Check) -> Check:
    return lambda value: (
        isinstance(value, list) and len(value) <= MAX_ITEMS and all(map(check, value))
    )


def _one_of(*values: Any) -> Check:
    return lambda value: isinstance(value, str) and value in values


def _row_of(*checks: Check) -> Check:
    """A list whose items have a check each."""
    return lambda value: (
        isinstance(value, list)
        and len(value) == len(checks)
        and all(check(each) for check, each in zip(checks, value, strict=True))
    )


def _with(**checks: Check) -> Check:
    """An object that has these keys, and maybe others."""
    return lambda value: (
        isinstance(value, dict) and all(check(value.get(key)) for key, check in checks.items())
    )


def _only(**checks: Check) -> Check:
    """An object that has some of these keys, and no others."""
    return lambda value: (
        isinstance(value, dict)
        and value.keys() <= checks.keys()
        and all(checks[key](each) for key, each in value.items())
    )


def _stored(choice: type[Any], **other: Check) -> Check:
    """The fields of a choice, all or some: texts, or of another type."""
    return _only(**({each.name: _maybe(_text) for each in fields(choice)} | other))


def _clicked(data: Check) -> Check:
    """A click on points of a figure, some of which carry data."""

    def point(value: Any) -> bool:
        return isinstance(value, dict) and ("customdata" not in value or data(value["customdata"]))

    return _maybe(_with(points=_several(point)))


_SORTED = _with(colId=_text, sort=_maybe(_one_of("asc", "desc")))
_KINDS: Mapping[str, Check] = {
    "className": _maybe(_text),
    "columnState": _maybe(_several(_SORTED)),
    "data": _maybe(_text),
    "data-open": _maybe(_text),
    "data-state": _maybe(_text),
    "n_clicks": _maybe(_number),
    "n_intervals": _maybe(_number),
    "pathname": _maybe(_text),
    "search": _maybe(_text),
    "value": _maybe(_text),
    "arch-beside.value": _maybe(_number),
    "arch-of.data": _with(id=_text, number=_number),
    "choice.data": _maybe(_stored(Choice, trial=_maybe(_number))),
    "contest-apart.value": _maybe(_several(_text)),
    "contest-choice.data": _maybe(
        _stored(
            ContestChoice,
            refs=_several(_text),
            groups=_several(_text),
            by=_one_of("trials", "time"),
            apart=_flag,
        )
    ),
    "contest-fronts.clickData": _clicked(_row_of(_text, _number)),
    "contest-who.value": _maybe(_several(_text)),
    "decisions-choice.data": _only(metric=_maybe(_text), decision=_maybe(_text)),
    "decisions-experiment.data": _text,
    "experiment.data": _text,
    "experiments.getRowsRequest": _maybe(_mapping),
    "experiments.selectedRows": _maybe(_several(_with(id=_text))),
    "front-graph.clickData": _clicked(_number),
    "importance-graph.clickData": _clicked(_row_of(_text, _text)),
    "list-choice.data": _stored(ListChoice),
    "list-ticks.value": _maybe(_several(_text)),
    "logs.value": _maybe(_several(_text)),
    "shown.value": _maybe(_several(_text)),
    "status-box.value": _maybe(_several(_text)),
    "tag-box.value": _maybe(_several(_text)),
    "trials.cellClicked": _maybe(_with(rowId=_maybe(_trial))),
    "trials.filterModel": _maybe(_mapping),
    "trials.getRowsRequest": _maybe(_mapping),
}


def _name(part: Mapping[str, str]) -> str:
    return f"{part['id']}.{part['property']}"


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _wrong(what: str, value: Any) -> SpecError:
    return SpecError(
        f"{what} must be what the pages send, got {str(value)[:60]!r}; reload the page"
    )
