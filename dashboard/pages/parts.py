"""Pieces that several pages use. Texts are children of components: React escapes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any
from urllib.parse import quote

import dash_ag_grid as dag
from dash import dcc, html

from ...errors import NetloomError
from ..figures import CONFIG
from ..summary import Card, Note
from ..words import MISSING, pieces

NUMBER = {
    "function": (
        f"params.value == null ? '{MISSING}' : "
        "d3.format(Math.abs(params.value) < 1e5 ? ',.6~r' : ',.0f')(params.value)"
    )
}
SHORT = {"function": f"params.value == null ? '{MISSING}' : d3.format(',.4~r')(params.value)"}
FILE = {"className": "save", "download": ""}  # of links to files that the server makes
SECONDS = {"function": "duration(params.value)"}  # in assets/netloom.js
THEME = {
    "function": (
        "themeQuartz.withParams({backgroundColor: 'var(--card)', foregroundColor: 'var(--text)', "
        "headerBackgroundColor: 'var(--code)', borderColor: 'var(--line)', "
        "accentColor: 'var(--accent)', browserColorScheme: 'inherit', fontFamily: 'inherit'})"
    )
}


LONG = 60  # rows of a table; more are shown in a window
_TABLES = count()  # each window has an id
SEARCHED_FROM = 9  # options of a list; fewer are seen at once
VIEWS = (
    ("Front", ""),
    ("Decisions", "decisions"),
)  # the pages of an experiment: title, and the end of the path


def views(id: str, here: str) -> html.Nav:
    """Return the links between the pages of an experiment; `here` is the end of this one's path."""
    links = [
        dcc.Link(
            title,
            href=f"/exp/{quote(id, safe='')}/{end}".rstrip("/"),
            className="here" if end == here else "",
        )
        for title, end in VIEWS
    ]
    return html.Nav(links, className="views", **{"aria-label": "Pages of this experiment"})


def chip(status: str) -> html.Span:
    """Return a status as a coloured word."""
    return html.Span(status, className=f"status {status}")


def card(shown: Card) -> html.Div:
    """Return one headline number."""
    children: list[Any] = [html.Strong(shown.value), html.Span(shown.label)]
    if shown.note:
        children.append(html.Small(shown.note))
    return html.Div(children, className="card")


def note(shown: Note, *more: Any) -> html.Section:
    """Return something to know before reading on."""
    return html.Section(
        [html.H2(shown.title), html.P(shown.text), *more],
        className=f"note {shown.kind}".rstrip(),
    )


def notation(text: str) -> html.Code:
    """Return an architecture's notation as code that may be broken into lines."""
    return html.Code([child for piece in pieces(text) for child in (piece, html.Wbr())])


def rows_table(
    head: Sequence[str], rows: Iterable[Sequence[Any]], *, numeric: frozenset[int] = frozenset()
) -> html.Div:
    """Return a table that scrolls sideways in itself; a long one of texts scrolls down, too."""
    listed = [list(row) for row in rows]
    long = len(listed) > LONG and all(isinstance(cell, str) for row in listed for cell in row)
    table = _window(head, listed, numeric) if long else _table(head, listed, numeric)
    save = html.Button("CSV", title="Save as CSV", className="save", **{"data-save": "csv"})
    return html.Div(
        [table, html.Div(save, className="files")],  # assets/files.js makes the file
        className="saved",
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]], numeric: frozenset[int]) -> html.Div:
    def kind(index: int) -> str:
        return "number" if index in numeric else ""

    header = html.Tr([html.Th(cell, className=kind(i)) for i, cell in enumerate(head)])
    body = [
        html.Tr([html.Td(cell, className=kind(i)) for i, cell in enumerate(row)]) for row in rows
    ]
    table = html.Table([html.Thead(header), html.Tbody(body)])
    return html.Div(table, className="scroll", tabIndex=0)


def _window(head: Sequence[str], rows: Sequence[Sequence[str]], numeric: frozenset[int]) -> Any:
    """Return a table as one component: as many components as cells would take many seconds."""
    columns = [
        {
            "field": f"c{place}",
            "headerName": name,
            "flex": 1,
            "minWidth": 40 + 8 * max(map(len, [*name.split(), *(row[place] for row in rows)])),
            **({"type": "rightAligned"} if place in numeric else {}),
        }
        for place, name in enumerate(head)
    ]
    return dag.AgGrid(
        id=f"table-{next(_TABLES)}",
        columnDefs=columns,
        rowData=[{f"c{place}": cell for place, cell in enumerate(row)} for row in rows],
        defaultColDef={"sortable": False, "wrapHeaderText": True, "autoHeaderHeight": True},
        dashGridOptions={"theme": THEME, "animateRows": False, "rowHeight": 34},
        style={"height": 440},
        className="grid",
    )


def dropdown(id: str, label: str, options: Sequence[Any], value: Any, **more: Any) -> html.Label:
    """Return a list to choose from, with its label; `more` is the list's own."""
    box = dcc.Dropdown(id=id, options=list(options), value=value, **more)
    named = {"aria-label": label}  # the list itself is named after its value alone
    return html.Label([html.Span(label), box], className="axis", role="group", **named)


def graph(id: str, figure: Any, label: str, *, config: Mapping[str, Any] | None = None) -> html.Div:
    """Return a figure that follows the width of its place, with the files that it can be."""
    saved = [  # assets/files.js makes the files
        html.Button(
            kind.upper(),
            title=f"Save as {kind.upper()}",
            className="save",
            **{"data-save": kind, "data-name": id.removesuffix("-graph"), "data-title": label},
        )
        for kind in ("png", "svg", "html")
    ]
    return html.Div(
        [
            dcc.Graph(id=id, figure=figure, config=dict(config or CONFIG)),
            html.Div(saved, id=f"{id}-files", className="files"),
        ],
        role="figure",
        **{"aria-label": label},
    )


def trouble(error: NetloomError) -> html.Section:
    """Return an error as a page part: what is wrong and the way out."""
    return html.Section(
        [
            html.H2("This cannot be shown"),
            html.P(str(error)),
            html.P(dcc.Link("All experiments", href="/")),
        ],
        className="note wide behind",
        role="alert",
    )
