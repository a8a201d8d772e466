"""Figures of one network: its costs layer by layer, and its memory while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .explained import BOTTLENECKS, Bars, Timeline
from .figures import BLUE, GREEN, GREY, ORANGE, PURPLE, short, style, wrapped
from .words import value_text

WAITS = {"compute": BLUE, "memory": ORANGE, "overhead": PURPLE, "none": GREY}
_WORDS = {
    "compute": "waits for arithmetic",
    "memory": "waits for memory",
    "overhead": "overhead of each layer",
    "none": "costs nothing",
}
_BORDERLESS = {"width": 0, "color": GREY}
_NAMED = 16  # layers whose names fit below the bars
_KB = 1024


def layers_figure(networks: Mapping[str, Bars]) -> go.Figure:
    """Draw the cost of each layer, a panel for each network, all to one scale.

    Args:
        networks: What a panel is called, and its layers; all of one unit.
    """
    rows = len(networks)
    figure = make_subplots(rows=rows, cols=1, vertical_spacing=0.3 / rows)
    seen: set[str] = set()
    for row, (name, bars) in enumerate(networks.items(), start=1):
        places = np.arange(1, len(bars.names) + 1)
        texts = _hover(bars)
        for kind in BOTTLENECKS if bars.bottlenecks else ("",):
            mask = np.array([each == kind for each in bars.bottlenecks or [""] * len(places)])
            if not mask.any():
                continue
            figure.add_bar(
                x=places[mask],
                y=bars.values[mask],
                name=_WORDS.get(kind, bars.unit),
                legendgroup=kind,
                showlegend=bool(kind) and kind not in seen,
                marker={"color": WAITS.get(kind, BLUE), "line": {"width": 0}},
                text=[texts[i] for i in np.flatnonzero(mask)],
                textposition="none",
                hovertemplate="%{text}<extra></extra>",
                row=row,
                col=1,
            )
            seen.add(kind)
        _name_layers(figure, bars, row)
        title = bars.unit if rows == 1 else f"{escape(name)}<br>{bars.unit}"
        figure.update_yaxes(title_text=title, rangemode="tozero", matches="y", row=row, col=1)
    style(figure, 120 + 250 * rows)
    figure.update_layout(bargap=0.12, hovermode="closest", showlegend=bool(seen - {""}))
    figure.update_xaxes(title_text="layers as they run", row=rows, col=1)
    return figure


def memory_figure(networks: Mapping[str, Timeline]) -> go.Figure:
    """Draw the bytes alive at each operator below the budget, a panel for each network."""
    rows = len(networks)
    figure = make_subplots(rows=rows, cols=1, vertical_spacing=0.3 / rows)
    for row, (name, line) in enumerate(networks.items(), start=1):
        _add_memory(figure, line, row)
        title = "KB" if rows == 1 else f"{escape(name)}<br>KB"
        top = 1.12 * max(line.budget_bytes, line.peak_bytes) / _KB
        figure.update_yaxes(title_text=title, range=[0, top], row=row, col=1)
    style(figure, 110 + 240 * rows)
    figure.update_layout(hovermode="closest", showlegend=True)
    figure.update_xaxes(title_text="operators as they run", row=rows, col=1)
    return figure


def _add_memory(figure: go.Figure, line: Timeline, row: int) -> None:
    count = len(line.operators)
    edges = np.arange(count + 1) + 0.5
    beside, alive = line.beside_bytes / _KB, line.live_bytes / _KB
    ends = np.append(alive, alive[-1:])
    border = {"shape": "hv", "color": BLUE, "width": 1.5}
    for name, group, top, drawn, fill in (
        ("the runtime's own", "beside", np.full(count + 1, beside), _BORDERLESS, "tozeroy"),
        ("tensors alive", "alive", beside + ends, border, "tonexty"),
    ):
        figure.add_scatter(
            x=edges,
            y=top,
            mode="lines",
            line=drawn,
            fill=fill,
            name=name,
            legendgroup=group,
            showlegend=row == 1,
            hoverinfo="skip",
            row=row,
            col=1,
        )
    texts = [
        f"<b>{_line(name)}</b><br>{value_text(float(size), 'bytes')} alive"
        for name, size in zip(line.operators, line.live_bytes, strict=True)
    ]
    figure.add_scatter(  # what a pointer meets: the middle of each step
        x=np.arange(1, count + 1),
        y=beside + alive,
        mode="markers",
        marker={"size": 9, "color": BLUE, "opacity": 0},
        text=texts,
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
        name="operators",
        row=row,
        col=1,
    )
    for value, word, colour, place in (
        (line.budget_bytes, "budget", ORANGE, "top left"),
        (line.peak_bytes, "needed, as placed", GREEN, "top right"),
    ):
        figure.add_hline(
            value / _KB,
            line={"color": colour, "width": 1.8, "dash": "dash"},
            annotation_text=f"{word} {value_text(float(value), 'bytes')}",
            annotation_position=place,
            row=row,
            col=1,
        )


def _name_layers(figure: go.Figure, bars: Bars, row: int) -> None:
    """Write the names below few bars; of many only every so manieth could be read."""
    if len(bars.names) > _NAMED:
        return
    figure.update_xaxes(
        tickmode="array",
        tickvals=list(range(1, len(bars.names) + 1)),
        ticktext=[escape(short(name)) for name in bars.names],
        row=row,
        col=1,
    )


def _hover(bars: Bars) -> list[str]:
    total = bars.total
    return [
        f"<b>{_line(name)}</b> {escape(kind)}<br>{value_text(float(value), bars.unit)}"
        f"{f', {100 * value / total:.3g} %' if total > 0 else ''}<br>{_line(text)}"
        for name, kind, value, text in zip(
            bars.names, bars.kinds, bars.values, bars.texts, strict=True
        )
    ]


def _line(text: str) -> str:
    return wrapped(text, 70, 3)
