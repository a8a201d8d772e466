"""One experiment: its front, its history, its trials, and one trial taken apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dash import Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate

from ...errors import NetloomError, UnknownName
from ..axes import available_axes, default_axes
from ..choice import Choice
from ..compare import BaselineView
from ..details import Diagnosis
from ..figures import best_figure, empty_figure, front_figure, hypervolume_figure
from ..rows import ExperimentRow, spent_text
from ..source import Snapshot, Source
from ..views import HistoryView, ParetoView
from ..words import plural, seconds_text, value_text
from . import trial, trials
from .parts import card, chip, graph, trouble

TITLES = {
    "ahead": "Ahead of random search",
    "behind": "Behind random search",
    "level": "Not told apart from random search",
    "too few": "Too little to compare with random search",
}


def layout(source: Source, ref: str, search: str) -> Any:
    """Return the page of experiment `ref`; callbacks fill it.

    Raises:
        StoreError: If there is no such experiment.
    """
    shot = source.snapshot(ref)
    choice = Choice.parse(search)
    options = [axis.metric for axis in available_axes(shot.record)]
    x, y = default_axes(shot.record)
    waiting = empty_figure("Loading …")
    return [
        dcc.Location(id="place", refresh=False),  # of this page: its axes and trial live in the URL
        dcc.Store(id="experiment", data=shot.record.id),
        dcc.Store(id="choice", data=choice.data),
        dcc.Store(id="drawn"),
        html.Div(_head(shot), id="exp-head", className="wide"),
        html.Div(id="note", className="wide"),
        html.Section(
            [
                html.Div(
                    [
                        html.H2("Front"),
                        _axis("x-axis", "Across", options, choice.x or x),
                        _axis("y-axis", "Up", options, choice.y or y),
                    ],
                    className="controls",
                ),
                graph("front-graph", waiting, "Trials in the plane of two metrics"),
                html.P(id="front-words", className="about"),
            ],
            className="front-part",
        ),
        html.Section(
            [
                html.Button("Close", id="close", className="close", n_clicks=0),
                html.Div(trial.hint(), id="details"),
            ],
            className="details-part",
        ),
        html.Section(
            [html.H2("Hypervolume over trials"), graph("volume-graph", waiting, "Hypervolume")],
            className="half",
        ),
        html.Section(
            [html.H2("Best so far"), graph("best-graph", waiting, "Best values so far")],
            className="half",
        ),
        html.Section(
            [html.H2("Trials"), trials.grid(shot.record)],
            className="wide",
        ),
    ]


def register(app: Dash, source: Source) -> None:
    """Connect the page."""
    _register_navigation(app)
    _register_figures(app, source)
    trial.register(app, source)
    trials.register(app, source)


def _register_navigation(app: Dash) -> None:
    @app.callback(
        Output("place", "search"),
        Output("x-axis", "value"),
        Output("y-axis", "value"),
        Output("choice", "data"),
        Input("place", "search"),
        Input("x-axis", "value"),
        Input("y-axis", "value"),
        Input("front-graph", "clickData"),
        Input("trials", "cellClicked"),
        Input("close", "n_clicks"),
        State("choice", "data"),
        prevent_initial_call=True,
    )
    def navigate(search: str, x: str, y: str, click: Any, cell: Any, _: int, known: Any) -> Any:
        old = Choice.load(known)
        by = ctx.triggered_id
        if by is None:
            raise PreventUpdate
        if by == "place":
            new = Choice.parse(search)
            if new == old:
                raise PreventUpdate
            return no_update, new.x or no_update, new.y or no_update, new.data
        new = _chosen(old, by, {"x-axis": x, "y-axis": y, "front-graph": click, "trials": cell})
        if new == old:
            raise PreventUpdate
        return new.search, no_update, no_update, new.data


def _chosen(old: Choice, by: str, values: dict[str, Any]) -> Choice:
    """Return the choice after an action on the part `by`."""
    value = values.get(by)
    if by == "close":
        return replace(old, trial=None)
    if by in ("x-axis", "y-axis"):  # None: the box was cleared of a name that is no metric
        return replace(old, **{by[0]: value}) if value else old
    if by == "front-graph":
        points = [point for point in (value or {}).get("points", ()) if "customdata" in point]
        return replace(old, trial=int(points[0]["customdata"])) if points else old
    number = (value or {}).get("rowId")
    return old if number is None else replace(old, trial=int(number))


def _register_figures(app: Dash, source: Source) -> None:
    @app.callback(
        Output("exp-head", "children"),
        Output("front-graph", "figure"),
        Output("front-words", "children"),
        Output("volume-graph", "figure"),
        Output("best-graph", "figure"),
        Output("drawn", "data"),
        Input("choice", "data"),
        Input("revision", "data"),
        State("experiment", "data"),
        State("drawn", "data"),
    )
    def draw(chosen: Any, _: int | None, id: str, drawn: str | None) -> Any:
        try:
            shot = source.snapshot(id)
            if drawn == shot.state and ctx.triggered_id != "choice":
                raise PreventUpdate
            choice = Choice.load(chosen)
            front, words = _front(shot, choice)
            if drawn == shot.state:  # another choice, the same trials
                return no_update, front, words, no_update, no_update, no_update
            history = source.history(shot)
        except NetloomError as error:
            nothing = empty_figure(str(error))
            return no_update, nothing, "", nothing, nothing, None
        head = _head(shot, history, ParetoView.from_table(shot.record, shot.table, None, None))
        volume, best = _growth(history)
        return head, front, words, volume, best, shot.state

    @app.callback(
        Output("note", "children"),
        Input("drawn", "data"),  # after the figures: a comparison of many trials takes a moment
        State("experiment", "data"),
        prevent_initial_call=True,
    )
    def note(drawn: str | None, id: str) -> Any:
        if drawn is None:
            raise PreventUpdate
        try:
            shot = source.snapshot(id)
            return _note(shot, source.baseline(shot))
        except NetloomError as error:
            return trouble(error)


def _front(shot: Snapshot, choice: Choice) -> tuple[Any, str]:
    try:
        view = ParetoView.from_table(shot.record, shot.table, choice.x, choice.y)
    except UnknownName as error:
        return empty_figure(f"{error}. Choose the axes above."), ""
    hidden = int((~view.shown).sum())
    words = "Click a point to take that network apart."
    if hidden:
        words += f" {plural(hidden, 'trial')} without these two values: listed below, not drawn."
    if not view.shown.any():
        text = "No trial has both of these values yet."
        if shot.record.status == "running":
            text += " The figure fills while the search runs."
        return empty_figure(text), words
    return front_figure(view, selected=choice.trial), words


def _growth(history: HistoryView) -> tuple[Any, Any]:
    if not history.reference:
        nothing = empty_figure("Starts with the first feasible trial.")
        return nothing, nothing
    return hypervolume_figure(history), best_figure(history)


def _head(
    shot: Snapshot, history: HistoryView | None = None, view: ParetoView | None = None
) -> list[Any]:
    record = shot.record
    facts = [
        f"space {record.space}",
        f"strategy {record.strategy}",
        f"seed {record.seed}",
        f"{record.created_at:%Y-%m-%d %H:%M} UTC",
    ]
    if record.status != "running":
        facts.append(seconds_text(record.elapsed_s))
    head = [
        html.H1([record.name, " ", chip(record.status)]),
        html.P(ExperimentRow.of(record).goal, className="goal"),
        html.P(" · ".join(facts), className="facts"),
    ]
    if history is None or view is None:
        return head
    return [*head, html.Div(_cards(shot, history, view), className="cards")]


def _cards(shot: Snapshot, history: HistoryView, view: ParetoView) -> list[Any]:
    counts, row = shot.record.counts, view.experiment
    rest = ", ".join(
        f"{counts[status]:,} {status}"
        for status in ("infeasible", "pruned", "failed", "running", "queued")
        if counts.get(status)
    )
    cards = [
        card("networks on the front", f"{len(view.front_numbers):,}"),
        card("evaluated", spent_text(row), rest or None),
    ]
    for axis in history.objectives:
        best = history.best[axis.metric]
        value = float(best[-1]) if len(best) else None
        cards.append(card(f"best {axis.metric}", value_text(value, axis.unit)))
    if len(history.objectives) > 1 and view.hypervolume is not None:
        cards.append(card("hypervolume", value_text(view.hypervolume)))
    return cards


def _note(shot: Snapshot, baseline: BaselineView | None) -> Any:
    found = Diagnosis.of(shot.record, shot.table) if len(shot.table) else None
    if found is not None and shot.record.status != "running":
        return html.Section(
            [html.H2("Nothing feasible"), html.P(found.sentence)], className="note behind"
        )
    if baseline is not None:
        kind = baseline.verdict.replace(" ", "-")
        return html.Section(
            [html.H2(TITLES[baseline.verdict]), html.P(baseline.sentence)],
            className=f"note {kind}",
        )
    if not len(shot.table):
        return html.Section(
            html.P(
                "No trial yet. A running search fills this page by itself; one that was "
                f"interrupted goes on with: netloom resume {shot.record.name}"
            ),
            className="note",
        )
    return None


def _axis(id: str, label: str, options: list[str], value: str) -> html.Label:
    return html.Label(
        [
            html.Span(label),
            dcc.Dropdown(
                id=id, options=options, value=value, clearable=False, searchable=len(options) > 8
            ),
        ],
        className="axis",
    )
