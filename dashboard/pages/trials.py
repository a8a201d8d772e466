"""The trial table: the browser asks for the rows that it shows, this side sorts and filters."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import dash_ag_grid as dag
from dash import ClientsideFunction, Dash, Input, Output, State, html
from dash.exceptions import PreventUpdate

from ...db.records import ExperimentRecord
from ...errors import NetloomError
from ..axes import TRIAL_AXIS, Axis, available_axes, feasible_losses, front_of
from ..choice import Choice
from ..paging import PAGE, page_of
from ..selection import within
from ..source import Source
from .parts import FILE, NUMBER, SECONDS, THEME

_NUMBERS = {
    "filter": "agNumberColumnFilter",
    "type": "rightAligned",
    "valueFormatter": NUMBER,
}


def metric_names(record: ExperimentRecord) -> list[str]:
    """Return the metric of each metric column, objectives first."""
    return [axis.metric for axis in _metric_axes(record)]


def _metric_axes(record: ExperimentRecord) -> list[Axis]:
    return [axis for axis in available_axes(record) if axis.metric != TRIAL_AXIS]


def _width(label: str) -> int:
    """Return the pixels of a column whose head is not broken: its text, filter and sort marks."""
    return max(120, 80 + 8 * len(label))


def _published(record: ExperimentRecord) -> list[dict[str, Any]]:
    """Return the column of the names of published networks, where there are such trials."""
    column = {"field": "fixed", "headerName": "Published", "filter": "agTextColumnFilter"}
    return [{**column, "width": 200}] if record.fixed else []


def columns_of(record: ExperimentRecord) -> list[dict[str, Any]]:
    """Return the columns of an experiment's grid."""
    metrics = [
        {"field": f"m{index}", "headerName": label, "width": _width(label), **_NUMBERS}
        for index, label in enumerate(axis.label for axis in _metric_axes(record))
    ]
    return [
        {"field": "number", "headerName": "Trial", "width": 95, "pinned": "left", **_NUMBERS},
        {"field": "status", "headerName": "Status", "width": 115, "filter": "agTextColumnFilter"},
        {"field": "front", "headerName": "Front", "width": 90, "filter": False},
        *_published(record),
        *metrics,
        {"field": "violation", "headerName": "Violation", "width": 115, **_NUMBERS},
        {
            "field": "duration_s",
            "headerName": "Took",
            "width": 120,
            **_NUMBERS,
            "valueFormatter": SECONDS,
        },
        {
            "field": "notation",
            "headerName": "Architecture",
            "flex": 1,
            "minWidth": 320,
            "filter": "agTextColumnFilter",
            "cellClass": "mono",
        },
    ]


def grid(record: ExperimentRecord, choice: Choice) -> Any:
    """Return the grid of an experiment, without rows, sorted and filtered as the URL says."""
    columns = columns_of(record)
    for order in choice.order:
        for column in columns:
            if column["field"] == order["colId"]:
                column["sort"] = order["sort"]
    return dag.AgGrid(
        id="trials",
        rowModelType="infinite",
        columnDefs=columns,
        filterModel=choice.rules,
        getRowId="params.data.id",
        defaultColDef={
            "sortable": True,
            "resizable": True,
            "wrapHeaderText": True,
            "autoHeaderHeight": True,
        },
        dashGridOptions={
            "theme": THEME,
            "cacheBlockSize": PAGE,
            "maxBlocksInCache": 20,
            "rowBuffer": 0,
            "animateRows": False,
            "infiniteInitialRowCount": 1,
        },
        style={"height": 460},
        className="grid",
    )


def head(record: ExperimentRecord, choice: Choice) -> html.Div:
    """Return the heading of the table, with a link to all of its rows."""
    return html.Div(
        [
            html.H2("Trials"),
            html.A("CSV", id="trials-csv", href=csv_path(record.id, choice), **FILE),
        ],
        className="controls",
    )


def csv_path(id: str, choice: Choice) -> str:
    """Return the address of the table as a file: what is filtered and selected, in its order."""
    return f"/download/{quote(id, safe='')}/trials.csv{choice.search}"


def register(app: Dash, source: Source) -> None:
    """Connect the table."""

    @app.callback(
        Output("trials-csv", "href"), Input("choice", "data"), State("experiment", "data")
    )
    def link(chosen: Any, id: str) -> str:
        return csv_path(id, Choice.load(chosen))

    @app.callback(
        Output("trials", "getRowsResponse"),
        Input("trials", "getRowsRequest"),
        State("choice", "data"),
        State("experiment", "data"),
    )
    def rows(request: dict[str, Any] | None, chosen: Any, id: str) -> Any:
        if request is None:
            raise PreventUpdate
        try:
            shot = source.snapshot(id)
            front = front_of(feasible_losses(shot.table, shot.record))
            names = metric_names(shot.record)
            inside = within(shot, Choice.load(chosen))
            page, count = page_of(shot.table, request, front, names, inside)
        except NetloomError:
            return {"rowData": [], "rowCount": 0}  # the page says why, above the table
        return {"rowData": page, "rowCount": count}

    app.clientside_callback(
        ClientsideFunction("netloom", "showDetails"),
        Output("details-part", "className"),
        Input("trials", "cellClicked"),
        prevent_initial_call=True,
    )

    app.clientside_callback(
        ClientsideFunction("netloom", "reloadRows"),
        Output("trials", "className"),
        Input("drawn", "data"),
        Input("region-words", "children"),  # another selection: other rows
    )
