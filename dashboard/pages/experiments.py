"""All experiments of the store."""

from __future__ import annotations

from typing import Any

import dash_ag_grid as dag
from dash import Dash, Input, Output, State, dcc, html, no_update

from ...errors import NetloomError
from ..contest_choice import compare_link
from ..rows import ExperimentRow, spent_text
from ..source import Source
from ..words import plural
from .parts import NUMBER, SECONDS, THEME


def layout(source: Source) -> Any:
    """Return the list, or what to do when there is nothing to list."""
    rows = source.rows(baselines=False)
    empty = html.Div(
        [
            html.P("This store holds no experiment yet. Start one, and it appears here:"),
            html.Pre("netloom search examples/quickstart.yaml"),
        ],
        id="nothing",
        hidden=bool(rows),
    )
    return [
        html.H1("Experiments", className="wide"),
        html.Section(
            [
                html.Div(
                    [
                        html.Label(
                            [
                                html.Span("Search", className="unseen"),
                                dcc.Input(
                                    id="search-box",
                                    type="search",
                                    placeholder="Search by name, space, strategy, group, tag",
                                ),
                            ],
                            className="search",
                        ),
                        dcc.Checklist(
                            id="with-baselines",
                            options=[{"label": " random baselines too", "value": "all"}],
                            value=[],
                        ),
                        html.Span("Tick experiments to compare them.", id="compare-chosen"),
                        html.Span(_count(rows), id="experiment-count", className="soft"),
                    ],
                    className="controls",
                ),
                empty,
                _grid(rows),
            ],
            className="wide",
        ),
    ]


def register(app: Dash, source: Source) -> None:
    """Connect the list."""

    @app.callback(
        Output("experiments", "rowData"),
        Output("nothing", "hidden"),
        Output("experiment-count", "children"),
        Input("revision", "data"),
        Input("with-baselines", "value"),
        prevent_initial_call=True,
    )
    def refresh(_: int | None, shown: list[str]) -> Any:
        try:
            rows = source.rows(baselines=bool(shown))
        except NetloomError:
            return no_update, no_update, no_update  # the bar says it
        return [_cells(row) for row in rows], bool(rows), _count(rows)

    @app.callback(
        Output("experiments", "dashGridOptions"),
        Input("search-box", "value"),
        State("experiments", "dashGridOptions"),
        prevent_initial_call=True,
    )
    def search(text: str | None, options: dict[str, Any]) -> dict[str, Any]:
        return {**options, "quickFilterText": text or ""}

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


def _grid(rows: list[ExperimentRow]) -> Any:
    right = {"type": "rightAligned"}
    plain: list[tuple[str, str, dict[str, Any]]] = [
        ("status", "Status", {"width": 115}),
        ("progress", "Evaluated", {"width": 165, **right}),
        ("front", "Front", {"width": 85, "valueFormatter": NUMBER, **right}),
        ("started", "Started (UTC)", {"width": 175}),
        ("elapsed", "Duration", {"width": 120, "valueFormatter": SECONDS, **right}),
        ("strategy", "Strategy", {"width": 185}),
        ("space", "Space", {"width": 140, "tooltipField": "space"}),
        ("goal", "Objectives", {"flex": 1, "minWidth": 260, "tooltipField": "goal"}),
        ("notes", "Group, tags", {"width": 130, "tooltipField": "notes"}),
    ]
    columns = [
        {
            "field": "name",
            "headerName": "Name",
            "cellRenderer": "ExperimentLink",
            "width": 190,
            "pinned": "left",
        },
        *({"field": field, "headerName": title, **more} for field, title, more in plain),
    ]
    return dag.AgGrid(
        id="experiments",
        columnDefs=columns,
        rowData=[_cells(row) for row in rows],
        getRowId="params.data.id",
        defaultColDef={"sortable": True, "resizable": True},
        dashGridOptions={
            "theme": THEME,
            "domLayout": "autoHeight" if len(rows) <= 30 else "normal",
            "animateRows": False,
            "rowSelection": {
                "mode": "multiRow",
                "headerCheckbox": False,
                "enableClickSelection": False,
            },
        },
        style={"height": None if len(rows) <= 30 else "72vh"},
        className="grid",
    )


def _cells(row: ExperimentRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "status": row.status,
        "progress": spent_text(row),
        "space": row.space,
        "strategy": row.strategy,
        "goal": row.goal,
        "front": row.front_size,
        "elapsed": row.elapsed_s,
        "started": f"{row.created_at:%Y-%m-%d %H:%M}",
        "notes": ", ".join([*([row.group] if row.group else []), *row.tags]),
    }


def _count(rows: list[ExperimentRow]) -> str:
    return plural(len(rows), "experiment")
