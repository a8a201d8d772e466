"""What can be chosen of the front: axes, scales, colours, what is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import dcc, html

from ...db.records import ExperimentRecord
from ..axes import available_axes, default_axes
from ..choice import AXES, Choice, joined
from ..colours import colour_names
from ..look import SHOWN
from ..source import Source
from .parts import SEARCHED_FROM, dropdown

PLAIN = "none"  # a third axis, or a colour, that is not chosen
IDS = ("x-axis", "y-axis", "z-axis", "colour", "logs", "shown", "by")
PLACES = {"x": "across", "y": "up", "z": "deep"}
WORDS = {"stopped": "stopped early"}


def controls(source: Source, record: ExperimentRecord, choice: Choice) -> Any:
    """Return the rows of boxes above the figure."""
    metrics = [axis.metric for axis in available_axes(record)]
    x, y, z, colour, logs, shown, _ = values(record, choice)
    colours = [
        {"label": "what became of it", "value": PLAIN},
        *({"label": label, "value": name} for name, label in colour_names(source.store, record)),
    ]
    none = {"label": "no third axis", "value": PLAIN}
    depth = [none, *({"label": metric, "value": metric} for metric in metrics)]
    return [
        html.Div(
            [
                html.H2("Front"),
                _box("x-axis", "Across", metrics, x),
                _box("y-axis", "Up", metrics, y),
                _box("z-axis", "Deep", depth, z),
                _box("colour", "Colour", colours, colour),
            ],
            className="controls",
        ),
        html.Div(
            [
                _ticks("logs", "Log", PLACES, logs),
                _ticks("shown", "Shown", {name: WORDS.get(name, name) for name in SHOWN}, shown),
            ],
            className="controls ticks",
        ),
    ]


def values(record: ExperimentRecord, choice: Choice) -> tuple[Any, ...]:
    """Return what each of the boxes holds, in the order of `IDS`."""
    x, y = default_axes(record)
    hidden = choice.hidden
    return (
        choice.x or x,
        choice.y or y,
        choice.z or PLAIN,
        choice.color or PLAIN,
        [letter for letter in AXES if letter in choice.logs],
        [name for name in SHOWN if name not in hidden],
        choice.along,
    )


def part_of(id: str, value: Any) -> dict[str, Any]:
    """Return the fields of a `Choice` that a box sets; none where it was cleared of a wrong name.

    Another axis leaves the region without a meaning: it goes.
    """
    match id:
        case "x-axis" | "y-axis":
            return {id[0]: value, "select": None} if value else {}
        case "z-axis":
            return {"z": None if value in (None, PLAIN) else value}
        case "colour":
            return {"color": None if value in (None, PLAIN) else value}
        case "by":
            return {"by": "time" if value == "time" else None}
        case "logs":
            return {"log": joined(letter for letter in AXES if letter in (value or ()))}
        case _:
            return {"hide": joined(name for name in SHOWN if name not in (value or ()))}


def _box(id: str, label: str, options: Sequence[Any], value: str) -> html.Label:
    many = len(options) >= SEARCHED_FROM
    return dropdown(id, label, options, value, clearable=False, searchable=many)


def _ticks(id: str, label: str, options: dict[str, str], value: list[str]) -> html.Fieldset:
    boxes = [{"label": f" {words}", "value": name} for name, words in options.items()]
    return html.Fieldset(
        [html.Legend(label), dcc.Checklist(id=id, options=boxes, value=value, inline=True)]
    )
