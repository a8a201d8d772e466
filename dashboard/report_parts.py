"""Pieces of a report that several of its parts use."""

from __future__ import annotations

import plotly.graph_objects as go
import plotly.io as pio

from .figures import CONFIG
from .markup import Html, el
from .summary import Note


def section(title: str, *children: Html, wide: bool = False) -> Html:
    """Return a part of the page under a heading."""
    return el("section", el("h2", title), *children, class_="wide" if wide else None)


def figure_part(figure: go.Figure, name: str) -> Html:
    """Return a figure as the element `figure-NAME`, unique in its report."""
    # No width of its own: the page decides, and `responsive` follows it.
    text = pio.to_html(
        figure, include_plotlyjs=False, full_html=False, div_id=f"figure-{name}", config=CONFIG
    )
    saved = [  # assets/files.js makes the files
        el(
            "button",
            kind.upper(),
            title=f"Save as {kind.upper()}",
            class_="save",
            data_save=kind,
            data_name=name,
        )
        for kind in ("png", "svg")
    ]
    return el("div", Html(text), el("div", *saved, class_="files"), role="figure")


def note_part(note: Note, *more: Html | None) -> Html:
    """Return something to know before reading on."""
    return el(
        "section",
        el("h2", note.title),
        el("p", note.text),
        *more,
        class_=f"note wide {note.kind}".rstrip(),
    )
