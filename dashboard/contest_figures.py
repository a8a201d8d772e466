"""Plotly figures of a contest: fronts in one plane, histories with bands, attainment surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .axes import Axis, front_of
from .contest import Contest, Run
from .figures import (
    SERIES,
    WEBGL_FROM,
    empty_figure,
    mark_better,
    pale,
    plain,
    stack_height,
    style,
    title_panel,
    wrapped,
)
from .growth import MIN_BAND, Growth, Line, Surface, surfaces
from .table import Floats
from .thinning import evenly

SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "star")  # not colour alone
DASHES = {25: "dot", 50: "solid", 75: "dash"}
ALONE = "One common objective has no front: the best values are compared below."
MOST_POINTS = 4000  # of one run's front; a text per point would be megabytes


def fronts_figure(contest: Contest, x: Axis, y: Axis) -> go.Figure:
    """Draw the front of every run in the plane of two common objectives, a colour a competitor.

    Every point carries the id of its experiment and its trial number as `customdata`. With one
    objective there is nothing but a sentence.
    """
    if not contest.plane:
        return empty_figure(ALONE)
    figure = go.Figure()
    columns = [contest.axes.index(x), contest.axes.index(y)]
    medians = {s.label: s for s in surfaces(contest, x, y) if s.percent == 50}
    points = sum(len(run.front) for run in contest.runs)
    trace = go.Scattergl if points > WEBGL_FROM else go.Scatter
    for number, each in enumerate(contest.competitors):
        look = {"color": SERIES[number], "width": 1.5}
        lines = [medians[each.label]] if each.label in medians else []
        paths = [(line.xs, line.ys) for line in lines]
        if len(each.runs) < MIN_BAND:
            paths = [_line(run, columns, (x, y)) for run in each.runs]
        for xs, ys in paths:
            path = staircase(xs, ys, x, y)
            figure.add_trace(
                trace(
                    x=path[0],
                    y=path[1],
                    mode="lines",
                    line=look,
                    name=f"{escape(each.label)}, line",
                    legendgroup=str(number),
                    hoverinfo="skip",
                    showlegend=False,
                )
            )
        for first, run in enumerate(each.runs):
            figure.add_trace(_points(trace, run, columns, number, each.label, not first, (x, y)))
    _plane(figure, x, y)
    figure.update_layout(hovermode="closest", uirevision=f"{x.metric}/{y.metric}")
    return figure


def attainment_figure(contest: Contest, x: Axis, y: Axis) -> go.Figure | None:
    """Draw the 25, 50 and 75 % attainment surfaces; None where no competitor has three runs."""
    found = surfaces(contest, x, y)
    if not found:
        return None
    figure, corner = go.Figure(), _edge(found, x, y)
    for number, each in enumerate(contest.competitors):
        own = {
            surface.percent: staircase(surface.xs, surface.ys, x, y, corner)
            for surface in found
            if surface.label == each.label
        }
        if {25, 75} <= set(own):
            _fill(figure, own[25], own[75], number)
        for percent, path in own.items():
            _add_surface(figure, path, number, each.label, percent)
    _plane(figure, x, y)
    figure.update_layout(hovermode="closest", uirevision=f"{x.metric}/{y.metric}")
    return figure


def volumes_figure(contest: Contest, growth: Growth) -> go.Figure:
    """Draw the hypervolume of every competitor along trials or time."""
    figure = go.Figure()
    for line in growth.volume:
        _add_line(figure, contest, line, first=_first(growth.volume, line))
    style(figure, stack_height(len(contest.axes)))
    figure.update_layout(showlegend=True, hovermode="closest", uirevision=growth.by)
    figure.update_xaxes(title_text=growth.label)
    figure.update_yaxes(title_text="hypervolume")
    return figure


def bests_figure(contest: Contest, growth: Growth) -> go.Figure:
    """Draw the best feasible value of each common objective, one panel per objective."""
    axes = contest.axes
    figure = make_subplots(rows=len(axes), cols=1, shared_xaxes=True, vertical_spacing=0.08)
    for row, axis in enumerate(axes, start=1):
        lines = growth.best[axis.metric]
        for line in lines:
            first = row == 1 and _first(lines, line)
            _add_line(figure, contest, line, first=first, row=row, col=1)
        title_panel(figure, row, axis.label)
    style(figure, stack_height(len(axes)))
    figure.update_layout(showlegend=True, hovermode="closest", uirevision=growth.by)
    figure.update_xaxes(title_text=growth.label, row=len(axes), col=1)
    return figure


def staircase(
    xs: Floats, ys: Floats, x: Axis, y: Axis, corner: tuple[float, float] | None = None
) -> tuple[list[float], list[float]]:
    """Return the border of what points attain, corner by corner.

    Args:
        xs: Objective values of mutually non-dominated points, (k,).
        ys: (k,).
        x: Horizontal axis; its direction turns the stairs.
        y: Vertical axis.
        corner: How far the border is drawn beyond the outermost points, in objective values.
    """
    order = np.argsort(x.sign * xs, kind="stable")
    xs, ys = xs[order], ys[order]
    path = [] if corner is None or not len(xs) else [(float(xs[0]), corner[1])]
    for index, (across, up) in enumerate(zip(xs.tolist(), ys.tolist(), strict=True)):
        if index:
            path.append((across, float(ys[index - 1])))
        path.append((across, up))
    if corner is not None and len(xs):
        path.append((corner[0], float(ys[-1])))
    return [each[0] for each in path], [each[1] for each in path]


def _line(run: Run, columns: list[int], axes: tuple[Axis, Axis]) -> tuple[Floats, Floats]:
    """Return the front of a run in the two shown objectives alone."""
    losses = run.losses[run.front][:, columns]
    shown = losses[front_of(losses)]
    return axes[0].sign * shown[:, 0], axes[1].sign * shown[:, 1]


def _points(
    trace: Any,
    run: Run,
    columns: list[int],
    number: int,
    label: str,
    first: bool,
    axes: tuple[Axis, Axis],
) -> Any:
    rows = evenly(run.front, MOST_POINTS)
    across, up = (axis.sign * run.losses[rows][:, c] for axis, c in zip(axes, columns, strict=True))
    values = [f"{plain(axis.label)}: %{{{v}:.5g}}" for axis, v in zip(axes, "xy", strict=True)]
    head = f"<b>{plain(run.record.name)}, trial %{{customdata[1]}}</b>"
    return trace(
        x=across,
        y=up,
        mode="markers",
        name=escape(label),
        legendgroup=str(number),
        showlegend=first,
        customdata=[[run.record.id, int(run.number[row])] for row in rows.tolist()],
        text=[wrapped(run.notation[row], 56, 4) for row in rows.tolist()],
        hovertemplate="<br>".join([head, "%{text}", *values]) + "<extra></extra>",
        marker={
            "color": SERIES[number],
            "symbol": SYMBOLS[number],
            "size": 9,
            "opacity": 0.85,
            "line": {"color": "rgba(255,255,255,0.7)", "width": 0.8},
        },
    )


def _add_line(
    figure: go.Figure, contest: Contest, line: Line, *, first: bool, **place: int
) -> None:
    number = [each.label for each in contest.competitors].index(line.label)
    if line.low is not None and line.high is not None:
        _add_band(figure, line, number, place)
    said = line.name if line.low is None else f"{line.label}, median"
    figure.add_scatter(
        x=line.x,
        y=line.y,
        mode="lines",
        name=escape(line.label),
        legendgroup=str(number),
        showlegend=first,
        line={"shape": "hv", "color": SERIES[number], "width": 2},
        hovertemplate=f"%{{x:.5g}}: %{{y:.5g}}<extra>{plain(said)}</extra>",
        **place,
    )


def _add_band(figure: go.Figure, line: Line, number: int, place: dict[str, int]) -> None:
    for edge, fill in ((line.low, None), (line.high, "tonexty")):
        figure.add_scatter(
            x=line.x,
            y=edge,
            mode="lines",
            name=f"{escape(line.label)}, quartiles",
            legendgroup=str(number),
            showlegend=False,
            hoverinfo="skip",
            line={"shape": "hv", "width": 0, "color": SERIES[number]},
            fill=fill,
            fillcolor=pale(SERIES[number]),
            **place,
        )


def _add_surface(
    figure: go.Figure, path: tuple[list[float], list[float]], number: int, label: str, percent: int
) -> None:
    figure.add_scatter(
        x=path[0],
        y=path[1],
        mode="lines",
        name=escape(label),
        legendgroup=str(number),
        showlegend=percent == 50,
        line={
            "color": SERIES[number],
            "dash": DASHES[percent],
            "width": 2.5 if percent == 50 else 1.3,
        },
        hovertemplate=f"%{{x:.5g}}, %{{y:.5g}}<extra>{plain(label)}, {percent} %</extra>",
    )


def _fill(
    figure: go.Figure,
    inner: tuple[list[float], list[float]],
    outer: tuple[list[float], list[float]],
    number: int,
) -> None:
    figure.add_scatter(
        x=[*inner[0], *reversed(outer[0])],
        y=[*inner[1], *reversed(outer[1])],
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=pale(SERIES[number]),
        legendgroup=str(number),
        name="between",
        hoverinfo="skip",
        showlegend=False,
    )


def _edge(found: Sequence[Surface], x: Axis, y: Axis) -> tuple[float, float]:
    """Return where the surfaces end: a little beyond the worst of them in both objectives."""
    ends = []
    for axis, values in ((x, [s.xs for s in found]), (y, [s.ys for s in found])):
        losses = axis.sign * np.concatenate(values)
        span = float(losses.max() - losses.min()) or abs(float(losses.max())) or 1.0
        ends.append(axis.sign * (float(losses.max()) + 0.06 * span))
    return ends[0], ends[1]


def _plane(figure: go.Figure, x: Axis, y: Axis) -> None:
    style(figure, 540)
    figure.update_xaxes(title_text=escape(x.label))
    figure.update_yaxes(title_text=escape(y.label))
    figure.update_layout(showlegend=True)
    mark_better(figure, x, y)


def _first(lines: Sequence[Line], line: Line) -> bool:
    return next(each for each in lines if each.label == line.label) is line
