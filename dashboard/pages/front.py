"""The front of an experiment: its figure, what is chosen of it, and what that leaves elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate

from ...db.records import ExperimentRecord
from ...errors import NetloomError, UnknownName
from ..captions import front_words
from ..choice import Choice, filter_text, order_text
from ..cube import SpaceView, space_figure
from ..figures import CONFIG, empty_figure
from ..look import Look, thinned
from ..plane import front_figure
from ..region import Region
from ..selection import within
from ..source import Snapshot, Source
from ..views import ParetoView
from ..words import plural
from .controls import IDS, controls, part_of, values
from .parts import graph

HEIGHT = 440  # of the plane: it ends where a window of 900 pixels does
KEY = 40  # more with a key of colours below it
BRUSH = {**CONFIG, "modeBarButtonsToRemove": ["sendChartToCloud"]}  # box and lasso stay
_ACTIONS = (
    *(Input(id, "value") for id in IDS),
    Input("region", "data"),
    Input("clear-region", "n_clicks"),
    Input("front-graph", "clickData"),
    Input("trials", "cellClicked"),
    Input("trials", "filterModel"),
    Input("trials", "columnState"),
    Input("close", "n_clicks"),
)


def section(source: Source, record: ExperimentRecord, choice: Choice) -> html.Section:
    """Return the part of the page; callbacks fill it."""
    waiting = empty_figure("Loading …")
    return html.Section(
        [
            *controls(source, record, choice),
            graph("front-graph", waiting, "Trials in the plane of two metrics", config=BRUSH),
            dcc.Store(id="region"),
            html.Div(
                [
                    html.Span(id="region-words", role="status"),
                    html.Button("Select all again", id="clear-region", n_clicks=0),
                ],
                id="region-bar",
                className="region",
                hidden=True,
            ),
            html.P(id="front-words", className="about"),
        ],
        className="front-part",
    )


def register(app: Dash, source: Source) -> None:
    """Connect what is chosen with the URL."""
    app.clientside_callback(
        ClientsideFunction("netloom", "region"),
        Output("region", "data"),
        Input("front-graph", "selectedData"),
        State("front-graph", "figure"),
        prevent_initial_call=True,
    )

    @app.callback(
        Output("place", "search"),
        *(Output(id, "value") for id in IDS),
        Output("trials", "filterModel"),
        Output("choice", "data"),
        Input("place", "search"),
        *_ACTIONS,
        State("choice", "data"),
        State("experiment", "data"),
        prevent_initial_call=True,
    )
    def navigate(search: str, *found: Any) -> Any:
        *_, known, id = found
        old = Choice.load(known)
        if ctx.triggered_id is None:
            raise PreventUpdate
        new = old
        if ctx.triggered_id == "place":
            new = Choice.parse(search)
        for each in ctx.triggered:
            name, _, prop = each["prop_id"].rpartition(".")
            if name != "place":
                new = replace(new, **changed(name, prop, each["value"]))
        if new == old:
            raise PreventUpdate
        if ctx.triggered_id != "place":
            return (new.search, *[no_update] * len(IDS), no_update, new.data)
        try:
            boxes = values(source.snapshot(id).record, new)
        except NetloomError:
            raise PreventUpdate from None  # the figure says it
        return (no_update, *boxes, new.rules, new.data)

    @app.callback(
        Output("region-bar", "hidden"),
        Output("region-words", "children"),
        Input("choice", "data"),
        Input("drawn", "data"),
        State("experiment", "data"),
    )
    def count(chosen: Any, _: str | None, id: str) -> Any:
        choice = Choice.load(chosen)
        if choice.region is None:
            return True, ""
        try:
            shot = source.snapshot(id)
            inside = within(shot, choice)
        except NetloomError:
            return True, ""  # the figure says it
        number = 0 if inside is None else int(inside.sum())
        rest = f"of {plural(len(shot.table), 'trial')} selected: the table shows only these."
        return False, f"{number:,} {rest}"


def changed(name: str, prop: str, value: Any) -> dict[str, Any]:
    """Return the fields of a `Choice` that an action on a part of the page sets."""
    match name, prop:
        case "close", _:
            return {"trial": None}
        case "clear-region", _:
            return {"select": None}
        case "region", _:
            region = Region.parse(value)
            return {"select": None if region is None else region.text}
        case "front-graph", _:
            points = [p for p in (value or {}).get("points", ()) if "customdata" in p]
            return {"trial": int(points[0]["customdata"])} if points else {}
        case "trials", "filterModel":
            return {"filter": filter_text(value)}
        case "trials", "columnState":
            sorted_by = [column for column in value or () if column.get("sort")]
            return {"sort": order_text(sorted_by)}
        case "trials", _:
            number = (value or {}).get("rowId")
            return {} if number is None else {"trial": int(number)}
    return part_of(name, value)


def figure(source: Source, shot: Snapshot, choice: Choice) -> tuple[Any, str]:
    """Return the figure of what is chosen, and what its marks mean."""
    try:
        view = ParetoView.from_table(shot.record, shot.table, choice.x, choice.y)
        space = None if choice.z is None else SpaceView.of(view, choice.z)
        colours = None if choice.color is None else source.colours(shot, choice.color)
    except UnknownName as error:
        return empty_figure(f"{error}. Choose another one above."), ""
    look = Look(choice.logs, choice.hidden, colours, choice.region)
    drawn, columns = look.drawn(view), {"x": view.xs, "y": view.ys}
    if space is not None:
        drawn, columns = space.drawn(look), space.columns(slice(None))
    kept = thinned(drawn, view, look, columns, choice.trial)
    told = front_words(view, look, space, kept)
    words = f"Click a point to take that network apart. {told}".rstrip()
    if not view.shown.any():
        text = "No trial has both of these values yet."
        if shot.record.status == "running":
            text += " The figure fills while the search runs."
        return empty_figure(text), words
    if space is not None:
        return space_figure(space, selected=choice.trial, look=look, kept=kept), words
    plane = front_figure(view, selected=choice.trial, look=look, kept=kept)
    keyed = colours is not None and bool(colours.classes)
    return plane.update_layout(height=HEIGHT + KEY * keyed), words
