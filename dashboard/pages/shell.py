"""What surrounds every page: the bar, the URL, and the watch over the store."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update

from ...errors import NetloomError
from ..source import Source
from . import architecture, compare, decisions, experiment, experiments
from .parts import trouble

REFRESH_MS = 2000
INDEX = """<!doctype html>
<html lang="en">
<head>
{%metas%}
<title>{%title%}</title>
<script src="/assets/theme.js"></script>
{%favicon%}
{%css%}
</head>
<body>
{%app_entry%}
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>"""  # the theme is chosen before anything is drawn: nothing flashes


def layout(store_url: str) -> html.Div:
    """Return the frame; pages go into `page`."""
    return html.Div(
        [
            dcc.Location(id="url", refresh=False),
            dcc.Interval(id="tick", interval=REFRESH_MS),
            dcc.Store(id="revision"),
            html.Header(
                [
                    dcc.Link("netloom", href="/", className="brand"),
                    html.Span(_short(store_url), className="store", title=_short(store_url)),
                    html.Span(id="live", className="live", role="status"),
                    html.Button(id="theme", className="theme", title="Light or dark"),
                ],
                className="bar",
            ),
            html.Main(id="page"),
        ]
    )


def register(app: Dash, source: Source) -> None:
    """Connect the frame."""

    @app.callback(Output("page", "children"), Input("url", "pathname"), State("url", "search"))
    def page(path: str | None, search: str | None) -> Any:
        try:
            return _page(source, path or "/", search or "")
        except NetloomError as error:
            return trouble(error)

    app.clientside_callback(
        ClientsideFunction("netloom", "title"),
        Output("page", "className"),
        Input("page", "children"),
    )

    app.clientside_callback(
        ClientsideFunction("netloom", "back"),
        Output("live", "title"),
        Input("live", "className"),
        prevent_initial_call=True,
    )

    @app.callback(
        Output("revision", "data"),
        Output("live", "children"),
        Output("live", "className"),
        Input("tick", "n_intervals"),
        State("revision", "data"),
        State("live", "className"),
    )
    def watch(_: int | None, known: str | None, shown: str) -> Any:
        try:
            revision = source.revision()
        except NetloomError as error:
            source.close()  # the file may come back as another one
            return no_update, f"The store cannot be read: {error}", "live lost"
        fresh = no_update if revision == known else revision
        if shown == "live on":
            return fresh, no_update, no_update
        return fresh, "live", "live on"


def _page(source: Source, path: str, search: str) -> Any:
    match [unquote(part) for part in path.strip("/").split("/")]:
        case [""]:
            return experiments.layout(source, search)
        case ["compare"]:
            return compare.layout(source, search)
        case ["exp", ref]:
            return experiment.layout(source, ref, search)
        case ["exp", ref, decisions.PATH]:
            return decisions.layout(source, ref, search)
        case ["exp", ref, "trial", number]:
            return architecture.layout(source, ref, number, search)
        case _:
            return html.Section(
                [html.H2("No such page"), html.P(dcc.Link("All experiments", href="/"))],
                className="note wide",
            )


def _short(url: str) -> str:
    """Return a store URL without a password, and of a file only its name."""
    scheme, _, rest = url.partition("://")
    if scheme.startswith("sqlite"):
        return rest.split("?")[0].rsplit("/", 1)[-1]
    return f"{scheme.split('+')[0]}://{rest.rsplit('@', 1)[-1].split('?')[0]}"
