"""What a strategy trained before it proposed: curves and notes, filled while it trains."""

from __future__ import annotations

from typing import Any

from dash import Dash, Input, Output, State, html
from dash.exceptions import PreventUpdate

from ...errors import NetloomError
from ..generation_parts import generation_parts
from ..source import Source, epoch_of
from ..strategy_view import Notation, Part, Rows, StrategyView
from ..words import plural
from .parts import graph, notation, rows_table


def register(app: Dash, source: Source) -> None:
    """Connect the part."""

    @app.callback(
        Output("strategy", "children"),
        Output("strategy", "data-state"),
        Input("drawn", "data"),  # after what stands above it
        Input("revision", "data"),
        State("experiment", "data"),
        State("strategy", "data-state"),
    )
    def show(_: str | None, __: int | None, id: str, shown: str | None) -> Any:
        try:
            shot = source.snapshot(id)
            view = StrategyView.of(source.store, shot.record)
            state = f"{view.state} {epoch_of(shot)}"
            if state == shown:
                raise PreventUpdate
            parts = [*view.parts, *generation_parts(source.generations(shot))]
        except NetloomError:
            raise PreventUpdate from None  # the bar says it
        return [section(part, number) for number, part in enumerate(parts)], state


def section(part: Part, number: int) -> html.Section:
    """Return one part of the page."""
    children: list[Any] = [html.H2(part.title)]
    if part.text:
        children.append(html.P(part.text, className="about"))
    if part.figure is not None:
        drawing = graph(f"strategy-{number}", part.figure, part.title)
        children.append(html.Div(drawing, className="scroll drawing", tabIndex=0))
    if part.rows is not None:
        table = _table(part.rows)
        count = len(part.rows.rows)
        children.append(
            html.Details([html.Summary(plural(count, "row")), table]) if part.folded else table
        )
    if part.code is not None:
        children.append(html.Pre(part.code, tabIndex=0))
    return html.Section(children, className="wide")


def _table(shown: Rows) -> html.Div:
    rows = [[notation(c) if isinstance(c, Notation) else c for c in row] for row in shown.rows]
    return rows_table(shown.head, rows, numeric=shown.numeric)
