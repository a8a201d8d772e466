"""The decisions of an experiment: every trial as a line, what matters, and how values spread."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import sklearn.ensemble  # noqa: F401 - a second that the first page shall not wait for
from dash import Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate

from ...errors import NetloomError, UnknownName
from ..axes import default_axes
from ..choice import query, search_of
from ..decision_figures import importance_figure, marginal_figure, parallel_figure, parallel_width
from ..decision_parts import HEAD, importance_rows
from ..decision_view import DecisionView, metric_axes
from ..figures import empty_figure
from ..importance import Study
from ..rows import open_record
from ..source import Snapshot, Source, epoch_of
from ..summary import Note
from ..words import plural
from .parts import SEARCHED_FROM, chip, dropdown, graph, note, rows_table, trouble, views

PATH = "decisions"
DRAG = "Drag along an axis to keep some lines, drag a name to move its axis."
OBSERVED = (
    "Observed, not causal: trials with one option differ in other decisions too, and a search "
    "tries good ones more often. Below each option stands how many trials took it."
)
PREDICTED = (
    " Diamonds are what the random forest predicts when only this decision changes (partial "
    "dependence)."
)
MEANING = (
    "Permutation importance: a random forest learns the metric from the decisions of four fifths "
    "of the trials; on the fifth that is left the values of one decision are shuffled, and what R² "
    "loses is its importance. Lines are 95 % intervals over the fifths. It says what matters among "
    "the trials of this search; decisions that go together share their importance."
)


@dataclass(frozen=True, slots=True)
class DecisionChoice:
    """What the page shows; None where the default is meant."""

    metric: str | None = None
    decision: str | None = None

    @classmethod
    def parse(cls, search: str | None) -> DecisionChoice:
        """Read the part of a URL behind `?`."""
        found = query(search)
        return cls(found.get("metric"), found.get("decision"))

    @property
    def search(self) -> str:
        """The part of a URL from `?` on; empty when everything is default."""
        return search_of({name: value for name, value in asdict(self).items() if value is not None})


def layout(source: Source, ref: str, search: str) -> Any:
    """Return the page of experiment `ref`; callbacks fill it.

    Raises:
        StoreError: If there is no such experiment.
    """
    record = open_record(source.store, ref)  # its trials are read when the page is there
    choice = DecisionChoice.parse(search)
    metrics = [axis.metric for axis in metric_axes(record)]
    waiting = empty_figure("Loading …")
    decisions = [choice.decision] if choice.decision else []
    return [
        dcc.Location(id="decisions-place", refresh=False),
        dcc.Store(id="decisions-experiment", data=record.id),
        dcc.Store(id="decisions-choice", data=asdict(choice)),
        dcc.Store(id="decisions-drawn"),
        html.Div(
            [
                html.H1([record.name, " ", chip(record.status)]),
                views(record.id, PATH),
            ],
            className="wide",
        ),
        html.Section(
            [
                html.Div(
                    [
                        html.H2("Decisions and metrics"),
                        _metric_box(metrics, _metric(record, choice)),
                    ],
                    className="controls",
                ),
                html.Div(
                    html.Div(
                        graph("parallel-graph", waiting, "Trials as lines through their decisions"),
                        id="parallel-place",
                    ),
                    className="scroll",
                    tabIndex=0,
                ),
                html.P(id="parallel-words", className="about"),
            ],
            className="wide",
        ),
        html.Section(
            [
                html.H2("What matters"),
                html.Div(id="importance-quality"),
                graph("importance-graph", waiting, "Importance of each decision"),
                html.Div(id="importance-table"),
                html.P(id="importance-words", className="about"),
            ],
            className="half",
        ),
        html.Section(
            [
                html.Div(
                    [
                        html.H2("Option by option"),
                        _decision_box(decisions, choice.decision),
                    ],
                    className="controls",
                ),
                graph("marginal-graph", waiting, "Distribution of the metric for each option"),
                html.P(id="marginal-words", className="about"),
            ],
            className="half",
        ),
    ]


def register(app: Dash, source: Source) -> None:
    """Connect the page."""
    _register_navigation(app)

    @app.callback(
        Output("parallel-place", "style"),
        Output("parallel-words", "children"),
        Output("importance-quality", "children"),
        Output("importance-graph", "figure"),
        Output("importance-table", "children"),
        Output("importance-words", "children"),
        Output("importance-graph-files", "hidden"),
        Output("decisions-decision", "options"),
        Output("marginal-graph", "figure"),
        Output("marginal-words", "children"),
        Output("marginal-graph-files", "hidden"),
        Output("decisions-drawn", "data"),
        Input("decisions-choice", "data"),
        Input("revision", "data"),
        State("decisions-experiment", "data"),
        State("decisions-drawn", "data"),
    )
    def draw(chosen: dict[str, Any], _: int | None, id: str, drawn: str | None) -> Any:
        choice = DecisionChoice(**chosen)
        try:
            shot = source.snapshot(id)
            state = f"{choice.metric} {epoch_of(shot)}"
            if drawn == state and ctx.triggered_id != "decisions-choice":
                raise PreventUpdate
            view = source.decisions(shot, choice.metric)
        except NetloomError as error:
            return _nothing(error)
        marginal = _marginal(view, choice)
        if drawn == state:  # another decision, the same trials
            return (*[no_update] * 8, *marginal, no_update)
        return *_whole(shot, view, choice), *marginal, state

    @app.callback(
        Output("parallel-graph", "figure"),
        Output("parallel-graph-files", "hidden"),
        Input("decisions-drawn", "data"),  # last: without a GPU a browser draws them for seconds
        State("decisions-choice", "data"),
        State("decisions-experiment", "data"),
    )
    def lines(_: str | None, chosen: dict[str, Any], id: str) -> Any:
        try:
            shot = source.snapshot(id)
            view = source.decisions(shot, DecisionChoice(**chosen).metric)
        except NetloomError as error:
            return empty_figure(str(error)), True
        if not view.total:
            return empty_figure(_wait(shot, view)), True
        return parallel_figure(view), False


def _register_navigation(app: Dash) -> None:
    @app.callback(
        Output("decisions-place", "search"),
        Output("decisions-metric", "value"),
        Output("decisions-decision", "value"),
        Output("decisions-choice", "data"),
        Input("decisions-place", "search"),
        Input("decisions-metric", "value"),
        Input("decisions-decision", "value"),
        Input("importance-graph", "clickData"),
        State("decisions-choice", "data"),
        prevent_initial_call=True,
    )
    def navigate(
        search: str, metric: str | None, decision: str | None, click: Any, known: dict[str, Any]
    ) -> Any:
        old, by = DecisionChoice(**known), ctx.triggered_id
        if by == "decisions-place":
            new = DecisionChoice.parse(search)
        elif by == "decisions-metric":  # None: the box was cleared of a name that is no metric
            new = replace(old, metric=metric or old.metric)
        elif by == "decisions-decision":
            new = replace(old, decision=decision)
        else:
            new = replace(old, decision=_clicked(click) or old.decision)
        if new == old:
            raise PreventUpdate
        shown = no_update if by == "decisions-metric" else new.metric or no_update
        place = no_update if by == "decisions-place" else new.search
        return place, shown, new.decision, asdict(new)


def _clicked(click: Any) -> str | None:
    """Return the decision of a clicked bar."""
    points = (click or {}).get("points") or [{}]
    data = points[0].get("customdata")
    return data[0] if isinstance(data, list) else None


def _nothing(error: NetloomError) -> tuple[Any, ...]:
    """Return the page when it cannot be drawn: why, nothing to save, nothing explained."""
    none = empty_figure("")
    first: tuple[Any, ...] = ({}, "", trouble(error), none, None, "", True, no_update)
    return *first, none, "", True, str(error)


def _wait(shot: Snapshot, view: DecisionView) -> str:
    """Return what is to be read instead of figures."""
    wait = " This page fills while the search runs." if shot.record.status == "running" else ""
    return f"{view.sentence}{wait}"


def _whole(shot: Snapshot, view: DecisionView, choice: DecisionChoice) -> list[Any]:
    """Return what changes with the trials and the metric only, but the lines."""
    place, words = dict[str, Any](), ""
    importances = empty_figure(_wait(shot, view))
    if view.total:
        place = {"minWidth": parallel_width(view)}  # before the lines: another width, drawn anew
        importances = _importances(view.study)
        words = f"{view.sentence} {DRAG}"
        if len(view.drawn) < len(view.number):
            words = f"{view.sentence} {len(view.drawn):,} of them are drawn as lines. {DRAG}"
        if shot.record.status == "running":
            words += " While the search runs, this page is drawn anew with every tenth more trials."
    known = [column.name for column in view.ranked]
    extra = [choice.decision] if choice.decision and choice.decision not in known else []
    meaning = MEANING if importances.data else ""
    said = (_quality(view), importances, _table(view), meaning)
    return [place, words, *said, not importances.data, [*known, *extra]]


def _importances(study: Study) -> Any:
    return empty_figure(study.problem) if study.problem else importance_figure(study)


def _quality(view: DecisionView) -> Any:
    study = view.study
    if study.problem is not None:
        return None  # the figure says it
    if study.poor:
        return note(Note("These importances mean little", study.sentence, "behind"))
    return html.P(study.sentence)


def _table(view: DecisionView) -> Any:
    """Return every importance, and the decisions that were taken one way only."""
    parts: list[Any] = []
    if view.study.importances:
        rows = importance_rows(view.study)
        table = rows_table(HEAD, rows, numeric=frozenset({1, 2, 3}))
        parts.append(html.Details([html.Summary(plural(len(rows), "decision")), table]))
    if view.fixed and view.total:
        said = "Taken one way only, so that nothing can be said of"
        parts.append(html.P(f"{said}: {', '.join(view.fixed)}.", className="about"))
    return parts


def _marginal(view: DecisionView, choice: DecisionChoice) -> tuple[Any, str, bool]:
    """Return the distribution, what is to know of it, and whether there is nothing to save."""
    try:
        marginal = view.marginal(choice.decision)
    except UnknownName as error:
        return empty_figure(f"{error}. Choose a decision above."), "", True
    if marginal is None:
        said = "Every decision was taken one way only." if view.total else view.sentence
        return empty_figure(said), "", True
    predicted = any(np.isfinite(group.predicted) for group in marginal.groups)
    return marginal_figure(marginal), OBSERVED + (PREDICTED if predicted else ""), False


def _metric(record: Any, choice: DecisionChoice) -> str:
    return choice.metric or default_axes(record)[1]


def _metric_box(options: list[str], value: str) -> html.Label:
    return dropdown(
        "decisions-metric",
        "Metric",
        options,
        value,
        clearable=False,
        searchable=len(options) >= SEARCHED_FROM,
        placeholder=f"unknown: {value}",  # shown where the value is no option
    )


def _decision_box(options: list[str], value: str | None) -> html.Label:
    return dropdown(
        "decisions-decision", "Decision", options, value, placeholder="the most important"
    )
