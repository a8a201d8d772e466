"""Plotly figures, drawn from views and nothing else.

Colours are from the palette of Okabe and Ito, told apart with every common colour vision, and each
kind of point also has its own shape. Backgrounds are transparent: the page's style sheet colours
text and grid (light and dark). Every text from the store is escaped, because plotly reads a few
HTML tags in texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from textwrap import wrap

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from .axes import Axis, better_corner
from .details import Curve
from .progress import clock
from .table import Floats
from .views import HistoryView

BLUE, ORANGE, GREEN, PURPLE, GREY = "#2a7ab9", "#d55e00", "#009e73", "#b0568c", "#8a94a3"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, "#e69f00", "#56b4e9")
LABEL = 22  # characters of a name beside or below an axis
PANEL = 18  # characters beside one of several panels
WEBGL_FROM = 2000  # points; below, vector graphics are sharper
CONFIG = {  # of every figure: nothing is offered that would send it anywhere
    "responsive": True,
    "displaylogo": False,
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "sendChartToCloud"],
}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def hypervolume_figure(
    history: HistoryView, others: Mapping[str, HistoryView] | None = None
) -> go.Figure:
    """Draw the hypervolume along trials or time; `others` share its reference point."""
    figure = go.Figure()
    named = {"this search": history, **(others or {})}
    scale, label, hover = along(history, others)
    for index, (name, each) in enumerate(named.items()):
        xs, ys = _steps(each.places(scale), each.hypervolume)
        figure.add_scatter(
            x=xs,
            y=ys,
            mode="lines",
            name=escape(name),
            line={"shape": "hv", "color": SERIES[index % len(SERIES)], "width": 2},
            hovertemplate=f"{hover}: %{{y:.5g}}",
        )
    style(figure, stack_height(len(history.objectives)))
    figure.update_layout(showlegend=len(named) > 1, hovermode="x unified", uirevision=history.by)
    figure.update_xaxes(title_text=label)
    figure.update_yaxes(title_text="hypervolume")
    if history.by == "trials":
        whole_steps(figure, history.evaluations)
    return figure


def best_figure(history: HistoryView, others: Mapping[str, HistoryView] | None = None) -> go.Figure:
    """Draw the best feasible value of each objective, one panel per objective."""
    axes, named = history.objectives, {"this search": history, **(others or {})}
    scale, label, hover = along(history, others)
    figure = make_subplots(rows=len(axes), cols=1, shared_xaxes=True, vertical_spacing=0.08)
    for row, axis in enumerate(axes, start=1):
        for index, (name, each) in enumerate(named.items()):
            xs, ys = _steps(each.places(scale), each.best[axis.metric])
            figure.add_scatter(
                x=xs,
                y=ys,
                mode="lines",
                name=escape(name),
                legendgroup=name,
                showlegend=len(named) > 1 and row == 1,
                line={"shape": "hv", "color": SERIES[index % len(SERIES)], "width": 2},
                hovertemplate=f"{hover}: %{{y:.5g}}<extra>{escape(name)}</extra>",
                row=row,
                col=1,
            )
        title_panel(figure, row, axis.label)
    style(figure, stack_height(len(axes)))
    figure.update_xaxes(title_text=label, row=len(axes), col=1)
    figure.update_layout(uirevision=history.by)
    if history.by == "trials":
        whole_steps(figure, history.evaluations)
    return figure


def curves_figure(curves: Sequence[Curve]) -> go.Figure:
    """Draw what an evaluation reported by step, one panel per quantity."""
    figure = make_subplots(rows=len(curves), cols=1, shared_xaxes=True, vertical_spacing=0.08)
    for row, curve in enumerate(curves, start=1):
        figure.add_scatter(
            x=curve.steps,
            y=curve.values,
            mode="lines+markers",
            name=escape(curve.name),
            line={"color": BLUE, "width": 2},
            marker={"size": 5},
            hovertemplate="step %{x}: %{y:.5g}<extra></extra>",
            row=row,
            col=1,
        )
        title_panel(figure, row, curve.label)
    style(figure, 100 + 130 * len(curves))
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title_text="step", row=len(curves), col=1)
    whole_steps(figure, np.concatenate([curve.steps for curve in curves]))
    return figure


def empty_figure(text: str) -> go.Figure:
    """Draw nothing but a sentence that says why."""
    figure = go.Figure()
    figure.add_annotation(
        text=wrapped(text, 60),
        showarrow=False,
        xref="paper",
        yref="paper",
        x=0.5,
        y=0.5,
        font={"size": 15},
    )
    style(figure, 300)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure


def wrapped(text: str, width: int, most: int | None = None) -> str:
    """Return a text as lines of a figure, at most so many of them."""
    if len(text) <= width and text.isprintable():
        return escape(text)  # thousands of points have one each
    return "<br>".join(escape(part) for part in wrap(text, width)[:most])


def short(name: str, most: int = LABEL) -> str:
    """Return a name that fits: of a long one the end, which tells it apart."""
    return name if len(name) <= most else f"…{name[1 - most :]}"


def plain(text: str) -> str:
    """Return a text that a hover template cannot read as one of its own fields."""
    return escape(text).replace("%{", "% {")


def pale(colour: str) -> str:
    """Return a colour as the ground of a band."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.16)"


def title_panel(figure: go.Figure, row: int, label: str) -> None:
    """Name the vertical axis of one of several panels; of a long name the target comes below."""
    name, at, target = label.partition("@")
    lines = [label] if len(label) <= PANEL else [name, at + target]
    title = {"text": "<br>".join(wrapped(x, PANEL) for x in lines if x), "font": {"size": 12}}
    figure.update_yaxes(title=title, row=row, col=1)


def mark_better(figure: go.Figure, x: Axis, y: Axis) -> None:
    """Say which corner of the plane is the good one, at the head of the legend: it makes room."""
    if corner := better_corner(x, y):
        title = {"text": f"better {corner}", "font": {"size": 15, "color": GREEN}}
        figure.update_layout(legend={"title": title})


def whole_steps(figure: go.Figure, steps: NDArray[np.int64]) -> None:
    """Keep the ticks of a short count whole."""
    if len(steps) and int(steps.max()) <= 10:
        figure.update_xaxes(dtick=1)


def along(
    history: HistoryView, others: Mapping[str, HistoryView] | None = None
) -> tuple[float, str, str]:
    """Return the seconds of a unit of time, what stands below the axis, and over a point."""
    if history.by == "trials":
        return 1.0, "trials evaluated", "%{x} evaluated"
    scale, unit = clock(max(each.duration_s for each in (history, *(others or {}).values())))
    return scale, f"time since the start ({unit})", f"%{{x:.4g}} {unit}"


def stack_height(panels: int) -> int:
    """Return the height of a figure with that many panels; histories side by side share it."""
    return 130 + 155 * max(panels, 1)


def _steps(places: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Keep the rows where a value changes, and the last one: all that a step line needs."""
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return places[known], values[known]
    change = np.flatnonzero(np.diff(values[known], prepend=np.nan) != 0)
    rows = known[np.unique(np.append(change, len(known) - 1))]
    return places[rows], values[rows]


def style(figure: go.Figure, height: int) -> None:
    """Give a figure its height, and what all have alike."""
    figure.update_layout(
        height=height,
        margin={"l": 64, "r": 24, "t": 56, "b": 52},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT, "size": 13},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        hoverlabel={"align": "left", "font": {"family": FONT}},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": GREY, "activecolor": BLUE},
        colorway=SERIES,
    )
    grid = {"gridcolor": "rgba(128,140,155,0.22)", "zeroline": False, "automargin": True}
    figure.update_xaxes(**grid, ticks="outside", ticklen=4, tickcolor=GREY)
    figure.update_yaxes(**grid, ticks="outside", ticklen=4, tickcolor=GREY)
