"""One experiment: its front, its history, its trials, and one trial taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dash import Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate

from ...db.records import ExperimentRecord
from ...errors import NetloomError, UnknownName
from ..axes import objective_axes
from ..brushed import mark_selected
from ..choice import Choice
from ..compare import BaselineView
from ..diagnosis import Diagnosis
from ..figures import along, best_figure, empty_figure, hypervolume_figure
from ..rows import ExperimentRow, open_record
from ..selection import within
from ..source import Snapshot, Source
from ..summary import VERDICTS, Card, Note, alone_note, bounds, cards, facts, progress_note
from ..views import ParetoView
from . import front, strategy, trial, trials
from .compare import compare_links
from .parts import card, chip, graph, notation, note, trouble, views


def layout(source: Source, ref: str, search: str) -> Any:
    """Return the page of experiment `ref`; callbacks fill it.

    Raises:
        StoreError: If there is no such experiment.
    """
    record = open_record(source.store, ref)  # not its trials: the front's figure reads those
    choice = Choice.parse(search)
    several = len(objective_axes(record)) > 1
    waiting = empty_figure("Loading …")
    return [
        dcc.Location(id="place", refresh=False),  # of this page: its axes and trial live in the URL
        dcc.Store(id="experiment", data=record.id),
        dcc.Store(id="choice", data=choice.data),
        dcc.Store(id="plotted"),
        dcc.Store(id="drawn"),
        html.Div(_head_ahead(source, record), id="exp-head", className="wide"),
        front.section(source, record, choice),
        html.Section(
            [
                html.Button("Close", id="close", className="close", n_clicks=0),
                html.Div(trial.hint(), id="details"),
            ],
            id="details-part",
            className="details-part",
        ),
        html.Section(
            [trials.head(record, choice), trials.grid(record, choice)],
            className="wide",
        ),
        html.Div(id="note", className="wide"),  # comes later: nothing above it may move then
        html.Section(
            [
                _history_head("Hypervolume", choice if several else None),
                graph("volume-graph", waiting, "Hypervolume"),
            ],
            className="half",
            hidden=not several,  # of one objective it is its best value again
        ),
        html.Section(
            [
                _history_head("Best so far", None if several else choice),
                graph("best-graph", waiting, "Best values so far"),
            ],
            className="half" if several else "wide",
        ),
        html.Div(id="strategy", className="wide parts"),
    ]


def _history_head(title: str, choice: Choice | None) -> Any:
    """Return a heading; with a choice of what both histories are drawn along."""
    if choice is None:
        return html.H2(title)
    options = [
        {"label": " over trials", "value": "trials"},
        {"label": " over time", "value": "time"},
    ]
    ways = dcc.RadioItems(id="by", options=options, value=choice.along, inline=True)
    return html.Div([html.H2(title), ways], className="controls")


def register(app: Dash, source: Source) -> None:
    """Connect the page."""
    front.register(app, source)
    _register_figures(app, source)
    strategy.register(app, source)
    trial.register(app, source)
    trials.register(app, source)


def _register_figures(app: Dash, source: Source) -> None:
    @app.callback(
        Output("front-graph", "figure"),
        Output("front-words", "children"),
        Output("plotted", "data"),
        Input("choice", "data"),
        Input("revision", "data"),
        State("experiment", "data"),
        State("plotted", "data"),
    )
    def draw(chosen: Any, _: int | None, id: str, plotted: str | None) -> Any:
        try:
            shot = source.snapshot(id)
            if plotted == shot.state and ctx.triggered_id != "choice":
                raise PreventUpdate
            shown, words = front.figure(source, shot, Choice.load(chosen))
        except NetloomError as error:
            return empty_figure(str(error)), "", str(error)
        return shown, words, shot.state

    @app.callback(
        Output("exp-head", "children"),
        Output("volume-graph", "figure"),
        Output("best-graph", "figure"),
        Output("drawn", "data"),
        Input("plotted", "data"),  # after the front: a baseline of many trials takes a moment
        Input("choice", "data"),
        State("experiment", "data"),
        State("drawn", "data"),
    )
    def grow(_: str | None, chosen: Any, id: str, drawn: str | None) -> Any:
        try:
            shot = source.snapshot(id)
            if drawn == shot.state and "choice" not in ctx.triggered_prop_ids.values():
                raise PreventUpdate
            choice = Choice.load(chosen)
            volume, best = _growth(source, shot, choice)
            if drawn == shot.state:  # another choice, the same trials
                return no_update, volume, best, no_update
            history = source.history(shot)
        except NetloomError as error:
            nothing = empty_figure(str(error))
            return no_update, nothing, nothing, None
        view = ParetoView.from_table(shot.record, shot.table, None, None)
        numbers = cards(shot.record, view, history)
        return _head(shot.record, numbers, _state_notes(shot)), volume, best, shot.state

    @app.callback(
        Output("note", "children"),
        Input("drawn", "data"),  # after the figures: a comparison of many trials takes a moment
        State("experiment", "data"),
        prevent_initial_call=True,
    )
    def say(drawn: str | None, id: str) -> Any:
        if drawn is None:
            raise PreventUpdate
        try:
            shot = source.snapshot(id)
            return _comparison(shot, source.baseline(shot))
        except NetloomError as error:
            return trouble(error)


def _growth(source: Source, shot: Snapshot, choice: Choice) -> tuple[Any, Any]:
    """Return the figures of hypervolume and best values."""
    history, beside = source.history(shot, choice.along), source.beside(shot, choice.along)
    if not history.reference:
        nothing = empty_figure("Starts with the first feasible trial.")
        return nothing, nothing
    best = best_figure(history, beside)
    try:
        selected = within(shot, choice)
    except UnknownName:
        selected = None  # the front's figure says which axis there is none of
    if selected is not None:
        scale, *_ = along(history, beside)
        mark_selected(best, history, shot.table, selected, scale)
    return hypervolume_figure(history, beside), best


def _head(
    record: ExperimentRecord, numbers: Sequence[Card] = (), notes: Sequence[Any] = ()
) -> list[Any]:
    limits = bounds(record)
    return [
        html.H1([record.name, " ", chip(record.status)]),
        html.Div([views(record.id, ""), compare_links(record)], className="pages"),
        html.P(ExperimentRow.of(record).goal, className="goal"),
        *([html.P(limits, className="goal bounds")] if limits else []),
        html.P(" · ".join(facts(record)), className="facts"),
        *([html.Div([card(each) for each in numbers], className="cards")] if numbers else []),
        *notes,
    ]


def _head_ahead(source: Source, record: ExperimentRecord) -> list[Any]:
    """Return the heading as high as it will be: what is drawn below it is not to move."""
    told = record.status == "running" or record.counts.get("done")
    notes = _progress(record) if told else _state_notes(source.snapshot(record.id))
    return _head(record, cards(record), notes)


def _progress(record: ExperimentRecord) -> list[Any]:
    """Return how a search goes on that has not come to its end, without a look at its trials."""
    if record.status == "running":
        begun = Note("No trial yet", "The search has just begun: this page fills by itself.")
        known = sum(record.counts.values()) + sum(record.fixed.values())
        return [] if known else [note(begun)]
    return [note(said)] if (said := progress_note(record)) else []


def _state_notes(shot: Snapshot) -> list[Any]:
    """Return what is wrong with a search, or not finished."""
    found = _progress(shot.record)
    if shot.record.status == "running":
        return found
    if (diagnosis := Diagnosis.of(shot.record, shot.table)) is not None:
        kind = "behind" if diagnosis.broken else ""
        nearest = html.P(notation(diagnosis.notation)) if diagnosis.notation else None
        found.append(note(Note(diagnosis.title, diagnosis.sentence, kind), nearest))
    return found


def _comparison(shot: Snapshot, baseline: BaselineView | None) -> Any:
    """Return whether the result is ahead of random search, where there is a result."""
    if shot.record.status == "running" or not shot.table.feasible.any():
        return None
    if baseline is not None:
        kind = baseline.verdict.replace(" ", "-")
        return note(Note(VERDICTS[baseline.verdict], baseline.sentence, kind))
    view = ParetoView.from_table(shot.record, shot.table, None, None)
    alone = alone_note(shot.record, view)
    return None if alone is None else note(alone)
