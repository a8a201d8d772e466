"""One trial taken apart."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from dash import Dash, Input, Output, State, ctx, dcc, html
from dash.exceptions import PreventUpdate

from ...db.records import FINISHED
from ...errors import NetloomError
from ..choice import Choice
from ..details import TrialView
from ..figures import curves_figure
from ..source import Source
from ..words import seconds_text
from .parts import chip, graph, notation, rows_table


def hint() -> html.Div:
    """Return what stands here while no trial is chosen."""
    return html.Div(
        [
            html.H2("Network"),
            html.P("Click a point of the front, or a row of the table, to see what it is made of."),
        ],
        className="hint",
    )


def register(app: Dash, source: Source) -> None:
    """Connect the panel."""

    @app.callback(
        Output("details", "children"),
        Output("details", "data-open"),
        Output("close", "style"),
        Input("choice", "data"),
        Input("revision", "data"),
        State("experiment", "data"),
        State("details", "data-open"),
    )
    def show(chosen: Any, _: int | None, id: str, opened: str | None) -> Any:
        number = Choice.load(chosen).trial
        if number is None:
            return hint(), "", {"display": "none"}
        if ctx.triggered_id == "revision" and opened == f"{number} closed":
            raise PreventUpdate  # a finished trial does not change
        try:
            view = TrialView.of(source.store, id, number)
        except NetloomError as error:
            return html.Div([html.H2("Network"), html.P(str(error))], role="alert"), "", {}
        state = "closed" if view.status in FINISHED else "open"
        return panel(view, id), f"{number} {state}", {}


def href(experiment: str, number: int, search: str = "") -> str:
    """Return the URL of the page that takes a trial apart."""
    return f"/exp/{quote(experiment, safe='')}/trial/{number}{search}"


def panel(view: TrialView, experiment: str) -> list[Any]:
    """Return everything that is known of a trial of an experiment, by its id."""
    record = view.trial
    parts: list[Any] = [
        html.H2([f"Trial {record.number} ", chip(view.status)]),
        html.P(notation(record.notation or record.key), className="notation", tabIndex=0),
        facts_line(view, experiment),
        dcc.Link("Take it apart", href=href(experiment, record.number), className="apart"),
    ]
    if view.violated:
        parts.append(html.P(["Breaks ", ", ".join(view.violated)], className="broken"))
    if record.error:
        parts += [html.P(record.error, className="broken"), _traceback(record.traceback)]
    metrics = [
        (
            html.Span([row.name, html.Small(" held out") if row.split == "test" else ""]),
            html.Span(row.text, className="value"),
            html.Small(row.provenance.split(" · ")[0], title=row.provenance),
        )
        for row in view.metrics
        if row.value is not None
    ]
    if metrics:
        parts.append(rows_table(("metric", "value", "source"), metrics, numeric=frozenset({1})))
        parts.append(sources(view))
    if view.curves:
        parts.append(graph("curves", curves_figure(view.curves), "Values by step"))
    parts += [
        html.H3("Decisions"),
        html.Div(rows_table(("decision", "value"), view.decisions), className="decisions"),
        html.P(["key ", html.Code(record.key)], className="about"),
    ]
    return parts


def facts_line(view: TrialView, experiment: str) -> html.P:
    """Return what is known of a trial beside its values, with a link to what it is derived from."""
    parts: list[Any] = [child for fact in facts(view) for child in (" · ", fact)][1:]
    if (parent := view.trial.parent) is not None:
        link = dcc.Link(f"derived from trial {parent}", href=href(experiment, parent))
        parts = [*parts, " · ", link]
    return html.P(parts, className="facts")


def facts(view: TrialView) -> list[str]:
    """Return what is known of a trial beside its values and its parent, in words."""
    record = view.trial
    facts = [f"seed {record.seed}"]
    if record.fixed is not None:
        facts.insert(0, f"published network {record.fixed}")
    if record.duration_s is not None:
        facts.append(seconds_text(record.duration_s))
    if record.budget is not None:
        facts.append(f"budget {record.budget:g}")
    if record.reused_from is not None:
        facts.append("values reused from an earlier trial")
    if record.status == "pruned" and view.curves:
        last = max(int(curve.steps.max()) for curve in view.curves)
        facts.append(f"stopped early, after step {last}")
    if record.attempts > 1:
        facts.append(f"attempt {record.attempts}")
    return facts


def sources(view: TrialView) -> Any:
    """Return where the values come from, each source once."""
    metrics: dict[str, list[str]] = {}
    for row in view.metrics:
        if row.value is not None and row.provenance:
            metrics.setdefault(row.provenance, []).append(row.name)
    lines = [html.Li([html.B(", ".join(names)), ": ", text]) for text, names in metrics.items()]
    return html.Details([html.Summary("Sources in full"), html.Ul(lines)], className="sources")


def _traceback(text: str | None) -> Any:
    if not text:
        return None
    return html.Details([html.Summary("Traceback"), html.Pre(text)])
