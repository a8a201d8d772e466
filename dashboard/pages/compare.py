"""Several experiments on one ground: fronts, histories, volumes, coverage, and what is noise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from dash import Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate

from ...db.records import ExperimentRecord
from ...errors import NetloomError, StoreError
from ..axes import Axis
from ..contest import Competitor, Contest, chosen_records, common_objectives
from ..contest_choice import ContestChoice, compare_link
from ..contest_figures import attainment_figure, bests_figure, fronts_figure, volumes_figure
from ..contest_words import captions, pair_note, plane_of
from ..figures import empty_figure
from ..rows import ExperimentRow
from ..source import Source
from ..standings import (
    NUMERIC_PAIRS,
    PAIR_HEAD,
    pair_cells,
    reference_text,
    spread_text,
    standing_cells,
    standing_head,
    standings,
)
from ..summary import Note
from .parts import dropdown, graph, note, rows_table

CONTROLS = ("who", "x", "y", "by", "apart")
FIGURES = ("fronts", "volume", "best")
WAITING = "Choose experiments or a group of seeds above."


def layout(source: Source, search: str) -> Any:
    """Return the page; callbacks fill it.

    Raises:
        StoreError: If the store cannot be read.
        SpecError: If the URL is too long.
    """
    choice = ContestChoice.parse(search)
    options = _plane_options(source, choice)
    waiting = empty_figure("Loading …" if choice.refs or choice.groups else WAITING)
    return [
        dcc.Location(id="contest-place", refresh=False),
        dcc.Store(id="contest-choice", data=choice.data),
        dcc.Store(id="contest-drawn"),
        html.H1("Compare", className="wide"),
        html.Section(_controls(source, choice), className="wide"),
        html.Div(id="contest-notes", className="wide parts"),
        html.Section(
            [
                html.Div(
                    [
                        html.H2("Fronts"),
                        _axis("x", "Across", options, choice.x),
                        _axis("y", "Up", options, choice.y),
                    ],
                    className="controls",
                ),
                graph("contest-fronts", waiting, "Fronts in the plane of two common objectives"),
                html.P(id="contest-clicked", className="about", role="status"),
                html.P(id="contest-fronts-words", className="about"),
            ],
            className="wide",
        ),
        html.Section(
            [html.H2("What each reached"), html.Div(id="contest-table")], className="wide"
        ),
        html.Section([html.H2("In pairs"), html.Div(id="contest-pairs")], className="wide"),
        html.Section(
            [
                html.H2("Hypervolume"),
                graph("contest-volume", waiting, "Hypervolume"),
                html.P(id="contest-growth-words", className="about"),
            ],
            className="half",
        ),
        html.Section(
            [html.H2("Best so far"), graph("contest-best", waiting, "Best values so far")],
            className="half",
        ),
        html.Div(id="contest-attainment", className="wide parts"),
    ]


def compare_links(record: ExperimentRecord) -> Any:
    """Return the ways from an experiment to its comparisons."""
    links = [dcc.Link("Compare with others", href=compare_link([record.id]))]
    if record.group is not None:
        seeds = "Compare the seeds of this group"
        links += [" · ", dcc.Link(seeds, href=compare_link(groups=[record.group]))]
    return html.P(links, className="facts")


def register(app: Dash, source: Source) -> None:
    """Connect the page."""
    _register_navigation(app, source)
    _register_figures(app, source)
    _register_click(app, source)


def _controls(source: Source, choice: ContestChoice) -> list[Any]:
    rows = source.rows(baselines=True)
    return [
        html.Div(
            [
                html.Label(
                    [
                        html.Span("Experiments and groups"),
                        dcc.Dropdown(
                            id="contest-who",
                            options=_options(rows),
                            value=_values(source, choice),
                            multi=True,
                            placeholder="Choose two or more",
                        ),
                    ],
                    className="axis who",
                ),
                dcc.RadioItems(
                    id="contest-by",
                    options=[
                        {"label": " over trials", "value": "trials"},
                        {"label": " over time", "value": "time"},
                    ],
                    value=choice.by,
                    inline=True,
                ),
                dcc.Checklist(
                    id="contest-apart",
                    options=[{"label": " each seed by itself", "value": "apart"}],
                    value=["apart"] if choice.apart else [],
                ),
            ],
            className="controls",
        )
    ]


def _register_navigation(app: Dash, source: Source) -> None:
    @app.callback(
        Output("contest-place", "search"),
        *(Output(f"contest-{name}", "value") for name in CONTROLS),
        Output("contest-choice", "data"),
        Input("contest-place", "search"),
        *(Input(f"contest-{name}", "value") for name in CONTROLS),
        State("contest-choice", "data"),
        prevent_initial_call=True,
    )
    def navigate(search: str, who: Any, x: Any, y: Any, by: Any, apart: Any, known: Any) -> Any:
        old, cause = ContestChoice.load(known), ctx.triggered_id
        if cause == "contest-place":
            try:
                new = ContestChoice.parse(search)
                values = _values(source, new)
            except NetloomError:
                raise PreventUpdate from None  # the page that opens with this URL says it
            if new == old:
                raise PreventUpdate
            shown = ["apart"] if new.apart else []
            plane = (new.x or no_update, new.y or no_update)
            return no_update, values, *plane, new.by, shown, new.data
        new = _chosen(old, cause, who, {"x": x, "y": y}, by, apart)
        if new == old or cause is None:
            raise PreventUpdate
        # others may have other objectives in common: their plane is the default again
        plane = (None, None) if cause == "contest-who" else (no_update, no_update)
        return new.search, no_update, *plane, no_update, no_update, new.data


def _chosen(
    old: ContestChoice, cause: Any, who: Any, plane: dict[str, Any], by: Any, apart: Any
) -> ContestChoice:
    """Return the choice after an action on one of the controls."""
    name = str(cause).removeprefix("contest-")
    if name == "who":
        chosen = [str(value) for value in who or ()]
        refs = tuple(value[2:] for value in chosen if value.startswith("e:"))
        groups = tuple(value[2:] for value in chosen if value.startswith("g:"))
        return replace(old, refs=refs, groups=groups, x=None, y=None)
    if name in plane:
        return replace(old, **{name: plane[name]}) if plane[name] else old
    if name == "by":
        return replace(old, by="time" if by == "time" else "trials")
    return replace(old, apart=bool(apart))


def _register_figures(app: Dash, source: Source) -> None:
    @app.callback(
        Output("contest-notes", "children"),
        *(Output(f"contest-{name}", "figure") for name in FIGURES),
        Output("contest-fronts-words", "children"),
        Output("contest-growth-words", "children"),
        Output("contest-attainment", "children"),
        Output("contest-table", "children"),
        Output("contest-x", "options"),
        Output("contest-y", "options"),
        Output("contest-x", "placeholder"),
        Output("contest-y", "placeholder"),
        Output("contest-drawn", "data"),
        Input("contest-choice", "data"),
        Input("revision", "data"),
        State("contest-drawn", "data"),
    )
    def draw(chosen: Any, _: int | None, drawn: str | None) -> Any:
        choice, options = ContestChoice.load(chosen), list[str]()
        if not choice.refs and not choice.groups:
            return _nothing([], WAITING, options)
        try:
            contest, state = source.contest(choice.refs, choice.groups, apart=choice.apart)
            if drawn == state and ctx.triggered_id != "contest-choice":
                raise PreventUpdate
            options = [axis.metric for axis in contest.axes]
            x, y = plane_of(contest.axes, choice.x, choice.y)
            growth = source.contests.growth(contest, state, choice.by)
        except NetloomError as error:
            return _nothing(_refusal(error), "Nothing to compare.", options)
        fronts = fronts_figure(contest, x, y)
        if contest.reference is None:
            text = "No feasible trial yet: the figures start with the first one."
            fronts = volume = best = empty_figure(text)
        else:
            volume, best = volumes_figure(contest, growth), bests_figure(contest, growth)
        said = captions(contest, growth, x, y)
        return (
            [note(Note("Mind the difference", text, "behind")) for text in contest.warnings],
            *(fronts, volume, best, said.fronts, said.growth),
            _attainment(contest, x, y, said.attainment),
            _table(contest),
            *(options, options, x.metric, y.metric),
            state,
        )

    @app.callback(
        Output("contest-pairs", "children"),
        Input("contest-drawn", "data"),  # after the figures: dividing many trials takes a moment
        State("contest-choice", "data"),
        prevent_initial_call=True,
    )
    def say(drawn: str | None, chosen: Any) -> Any:
        if drawn is None:
            return html.P(WAITING, className="soft")
        choice = ContestChoice.load(chosen)
        try:
            contest, state = source.contest(choice.refs, choice.groups, apart=choice.apart)
        except NetloomError:
            raise PreventUpdate from None  # the notes above say it
        return _pairs(source, contest, state)


def _register_click(app: Dash, source: Source) -> None:
    @app.callback(
        Output("contest-clicked", "children"),
        Input("contest-fronts", "clickData"),
        prevent_initial_call=True,
    )
    def name(click: Any) -> Any:
        points = [point for point in (click or {}).get("points", ()) if "customdata" in point]
        if not points:
            raise PreventUpdate
        id, number = str(points[0]["customdata"][0]), int(points[0]["customdata"][1])
        try:
            record = source.store.experiment(id)
        except StoreError as error:
            return str(error)
        address = f"/exp/{quote(record.id, safe='')}/trial/{number}"
        return ["Take it apart: ", dcc.Link(f"trial {number} of {record.name}", href=address)]


def _nothing(notes: list[Any], text: str, options: list[str]) -> tuple[Any, ...]:
    """Return an empty page with a reason."""
    empty = empty_figure(text)
    words: tuple[Any, ...] = ("", "", None, html.P(text, className="hint"))
    return (notes, *(empty for _ in FIGURES), *words, options, options, "", "", None)


def _refusal(error: NetloomError) -> list[Any]:
    shown = note(Note("This cannot be compared", str(error), "behind"))
    shown.role = "alert"
    return [shown]


def _attainment(contest: Contest, x: Axis, y: Axis, words: str) -> Any:
    """Return the attainment surfaces; None where no competitor has enough seeds."""
    figure = attainment_figure(contest, x, y)
    if figure is None:
        return None
    drawing = graph("contest-surfaces", figure, "Attainment surfaces over seeds")
    return html.Section([html.H2("Attainment"), drawing, html.P(words, className="about")])


def _table(contest: Contest) -> list[Any]:
    rows = [[_who(each.competitor), *standing_cells(contest, each)] for each in standings(contest)]
    numeric = frozenset(range(2, len(standing_head(contest))))
    words = " ".join(filter(None, [spread_text(contest), reference_text(contest)]))
    return [
        rows_table(standing_head(contest), rows, numeric=numeric),
        html.P(words, className="about"),
    ]


def _who(competitor: Competitor) -> Any:
    """Return a competitor with links to its experiments."""
    links: list[Any] = []
    for run in competitor.runs:
        text = run.record.name if len(competitor.runs) > 1 else competitor.label
        links += [" ", dcc.Link(text, href=f"/exp/{quote(run.record.id, safe='')}")]
    if len(competitor.runs) == 1:
        return links[1]
    return html.Details([html.Summary(competitor.label), *links], className="who")


def _pairs(source: Source, contest: Contest, state: str) -> Any:
    found = source.contests.findings(contest, state)
    if not found:
        return html.P(pair_note(contest), className="hint")
    return [
        rows_table(PAIR_HEAD, [pair_cells(each) for each in found], numeric=NUMERIC_PAIRS),
        html.Ul([html.Li(each.sentence) for each in found], className="findings"),
        html.P(pair_note(contest), className="about"),
    ]


def _options(rows: Iterable[ExperimentRow]) -> list[dict[str, str]]:
    """Return what can be chosen: groups first, then experiments, the newest first."""
    rows = list(rows)
    groups: dict[str, int] = {}
    for row in rows:
        if row.group is not None and row.kind != "baseline":
            groups[row.group] = groups.get(row.group, 0) + 1
    found = [
        {"label": f"group {name} ({count})", "value": f"g:{name}"}
        for name, count in groups.items()
        if count > 1
    ]
    return found + [{"label": row.name, "value": f"e:{row.id}"} for row in rows]


def _values(source: Source, choice: ContestChoice) -> list[str]:
    """Return the chosen ones as the control names them; what does not exist is left out."""
    found = []
    for ref in choice.refs:
        try:
            found.append(f"e:{source.store.experiment(ref).id}")
        except StoreError:
            continue  # the page says it when it reads the trials
    return found + [f"g:{group}" for group in choice.groups]


def _plane_options(source: Source, choice: ContestChoice) -> list[str]:
    try:
        records = chosen_records(source.store, choice.refs, choice.groups)
        return [each["metric"] for each in common_objectives(records)]
    except NetloomError:
        return []  # the notes say it when the trials are read


def _axis(name: str, label: str, options: list[str], value: str | None) -> html.Label:
    known = value if value in options else None
    return dropdown(f"contest-{name}", label, options, known, clearable=False)
