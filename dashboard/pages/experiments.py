"""All experiments of the store."""

from __future__ import annotations

from typing import Any

import dash_ag_grid as dag
from dash import ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate

from ...errors import NetloomError
from ..choice import joined, order_text, parted
from ..contest_choice import compare_link
from ..list_choice import STATUSES, TICKS, ListChoice, tags_of
from ..list_page import experiments_page
from ..paging import PAGE
from ..rows import ExperimentRow
from ..source import Source
from ..words import MISSING, plural
from .parts import FILE, NUMBER, SECONDS, SHORT, THEME, dropdown

ROW_HEIGHT = 48  # pixels: three lines
VOLUMES = (
    "Each hypervolume has its own reference point: compare experiments on the page that opens when "
    "they are ticked, not between lines."
)


def layout(source: Source, search: str = "") -> Any:
    """Return the list as the URL says, or what to do when there is nothing to list."""
    choice = ListChoice.parse(search)
    every, rows = _shown(source, choice)
    return [
        dcc.Location(id="list-place", refresh=False),
        dcc.Store(id="list-choice", data=choice.data),
        html.H1("Experiments", className="wide"),
        html.Section(
            [
                html.Div(
                    [
                        *_boxes(choice, tags_of(every)),
                        html.Span("Tick experiments to compare them.", id="compare-chosen"),
                        html.Span(_count(rows), id="experiment-count", className="soft"),
                        html.A("CSV", id="list-csv", href=_csv_path(choice), **FILE),
                    ],
                    className="controls",
                ),
                *_empty(every, rows),
                _grid(rows, choice),
                html.P(VOLUMES, className="about"),
            ],
            className="wide",
        ),
    ]


def _empty(every: list[ExperimentRow], rows: list[ExperimentRow]) -> list[Any]:
    """Return what stands there while nothing is listed: one of two, or none."""
    return [
        html.Div(
            [
                html.P("This store holds no experiment yet. Start one, and it appears here:"),
                html.Pre("netloom search examples/quickstart.yaml"),
            ],
            id="nothing",
            hidden=bool(every),
        ),
        html.P(
            "No experiment fits: clear the search, the tags or the statuses above, or show what "
            "is archived.",
            id="no-match",
            hidden=bool(rows) or not every,
        ),
    ]


def _boxes(choice: ListChoice, tags: list[str]) -> list[Any]:
    ticks = {"archived": " archived too", "baselines": " random baselines too"}
    return [
        html.Label(
            [
                html.Span("Search", className="unseen"),
                dcc.Input(
                    id="search-box",
                    type="search",
                    value=choice.q or "",
                    debounce=0.3,
                    placeholder="Search by name, space, strategy, group, tag",
                ),
            ],
            className="search",
        ),
        _several("tag-box", "Tags", tags, choice.tag),
        _several("status-box", "Status", list(STATUSES), choice.status),
        dcc.Checklist(
            id="list-ticks",
            options=[{"label": words, "value": name} for name, words in ticks.items()],
            value=[name for name in TICKS if getattr(choice, name)],
            inline=True,
        ),
    ]


def _several(id: str, label: str, options: list[str], chosen: str | None) -> html.Label:
    values = list(parted(chosen))
    known = [*options, *(value for value in values if value not in options)]
    return dropdown(id, label, known, values, multi=True, placeholder="any")


def register(app: Dash, source: Source) -> None:
    """Connect the list."""

    @app.callback(
        Output("list-place", "search"),
        Output("search-box", "value"),
        Output("tag-box", "value"),
        Output("status-box", "value"),
        Output("list-ticks", "value"),
        Output("list-choice", "data"),
        Input("list-place", "search"),
        Input("search-box", "value"),
        Input("tag-box", "value"),
        Input("status-box", "value"),
        Input("list-ticks", "value"),
        Input("experiments", "columnState"),
        State("list-choice", "data"),
        prevent_initial_call=True,
    )
    def navigate(
        search: str, q: Any, tags: Any, statuses: Any, ticks: Any, columns: Any, known: Any
    ) -> Any:
        old = ListChoice(**known)
        if ctx.triggered_id == "list-place":
            new = ListChoice.parse(search)
            if new == old:
                raise PreventUpdate
            shown = [name for name in TICKS if getattr(new, name)]
            tag, status = (list(parted(each)) for each in (new.tag, new.status))
            return no_update, new.q or "", tag, status, shown, new.data
        order = [column for column in columns or () if column.get("sort")]
        new = ListChoice(
            q=q or None,
            tag=joined(tags or ()),
            status=joined(statuses or ()),
            sort=order_text(order) if columns else old.sort,
            **{name: "1" if name in (ticks or ()) else None for name in TICKS},
        )
        if new == old:
            raise PreventUpdate
        return new.search, no_update, no_update, no_update, no_update, new.data

    @app.callback(
        Output("experiments", "style"),
        Output("nothing", "hidden"),
        Output("no-match", "hidden"),
        Output("experiment-count", "children"),
        Output("tag-box", "options"),
        Output("list-csv", "href"),
        Input("revision", "data"),
        Input("list-choice", "data"),
        State("tag-box", "value"),
        prevent_initial_call=True,
    )
    def refresh(_: int | None, chosen: Any, tags: list[str] | None) -> Any:
        choice = ListChoice(**chosen)
        try:
            every, rows = _shown(source, choice)
        except NetloomError:
            return (no_update,) * 6  # the bar says it
        known = sorted({*tags_of(every), *(tags or ())})
        fits = bool(rows) or not every
        return _style(rows), bool(every), fits, _count(rows), known, _csv_path(choice)

    @app.callback(
        Output("experiments", "getRowsResponse"),
        Input("experiments", "getRowsRequest"),
        State("list-choice", "data"),
    )
    def page(request: dict[str, Any] | None, chosen: Any) -> Any:
        if request is None:
            raise PreventUpdate
        try:
            _, rows = _shown(source, ListChoice(**chosen))
            cells = experiments_page(rows, request, source.results)
        except NetloomError:
            return {"rowData": [], "rowCount": 0}  # the bar says it
        return {"rowData": cells, "rowCount": len(rows)}

    app.clientside_callback(
        ClientsideFunction("netloom", "reloadList"),
        Output("experiments", "className"),
        Input("revision", "data"),
        Input("list-choice", "data"),
        prevent_initial_call=True,
    )

    @app.callback(
        Output("compare-chosen", "children"),
        Input("experiments", "selectedRows"),
        prevent_initial_call=True,
    )
    def compare(rows: list[dict[str, Any]] | None) -> Any:
        if not rows:
            return "Tick experiments to compare them."
        chosen = [str(row["id"]) for row in rows]
        return dcc.Link(f"Compare {plural(len(rows), 'experiment')}", href=compare_link(chosen))


def _shown(source: Source, choice: ListChoice) -> tuple[list[ExperimentRow], list[ExperimentRow]]:
    """Return every experiment that may be listed, and those that fit."""
    every = source.rows(baselines=bool(choice.baselines), archived=bool(choice.archived))
    return every, [row for row in every if choice.fits(row)]


def _csv_path(choice: ListChoice) -> str:
    return f"/download/experiments.csv{choice.search}"


def _grid(rows: list[ExperimentRow], choice: ListChoice) -> Any:
    right = {"type": "rightAligned"}
    apart = {"function": f"(params.value || '{MISSING}').replaceAll(', ', ',\\n')"}
    lines = {"cellClass": "lines", "valueFormatter": apart}  # a line for each objective
    plain: list[tuple[str, str, dict[str, Any]]] = [
        ("status", "Status", {"width": 105}),
        ("progress", "Evaluated", {"width": 150, **right}),
        ("goal", "Objectives", {"flex": 1, "minWidth": 220, "tooltipField": "goal", **lines}),
        ("best", "Best values", {"width": 120, "tooltipField": "best", **lines}),
        ("hypervolume", "Hypervolume", {"width": 140, "valueFormatter": SHORT, **right}),
        ("elapsed", "Duration", {"width": 105, "valueFormatter": SECONDS, **right}),
        ("notes", "Group, tags", {"width": 120, "tooltipField": "notes"}),
        ("front", "Front", {"width": 85, "valueFormatter": NUMBER, **right}),
        ("started", "Started (UTC)", {"width": 165}),
        ("strategy", "Strategy", {"width": 150}),
        ("space", "Space", {"width": 130, "tooltipField": "space"}),
    ]
    columns = [
        {
            "field": "name",
            "headerName": "Name",
            "cellRenderer": "ExperimentLink",
            "width": 180,
            "pinned": "left",
        },
        *({"field": field, "headerName": title, **more} for field, title, more in plain),
    ]
    for order in choice.order:
        for column in columns:
            if column["field"] == order["colId"]:
                column["sort"] = order["sort"]
    return dag.AgGrid(
        id="experiments",
        columnDefs=columns,
        rowModelType="infinite",
        getRowId="params.data.id",
        defaultColDef={"sortable": True, "resizable": True},
        dashGridOptions={
            "theme": THEME,
            "rowHeight": ROW_HEIGHT,
            "cacheBlockSize": PAGE,
            "maxBlocksInCache": 20,
            "infiniteInitialRowCount": 1,
            "animateRows": False,
            "rowSelection": {
                "mode": "multiRow",
                "headerCheckbox": False,
                "enableClickSelection": False,
            },
        },
        style=_style(rows),
        className="grid",
    )


def _style(rows: list[ExperimentRow]) -> dict[str, str]:
    """Return a height that shows a few rows without a gap below them, and scrolls many."""
    return {"height": f"min(72vh, {70 + ROW_HEIGHT * max(len(rows), 2)}px)"}


def _count(rows: list[ExperimentRow]) -> str:
    return plural(len(rows), "experiment")
