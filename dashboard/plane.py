"""The front in the plane of two metrics, drawn from a view and nothing else."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from .axes import Axis
from .figures import GREEN, GREY, ORANGE, WEBGL_FROM, mark_better, style
from .look import (
    HOVER_TEXTS,
    MARKS,
    Look,
    colour_axis,
    hover_template,
    hover_texts,
    markers,
    shades_of,
)
from .region import Region
from .table import Bools, Floats
from .views import KINDS, PUBLISHED, PUBLISHED_OUT, ConstraintLine, ParetoView
from .words import value_text

NAMES = 12  # published networks whose names stand beside their stars
BARS = 200  # points beside the front that have bars too


def front_figure(
    view: ParetoView,
    *,
    selected: int | None = None,
    look: Look | None = None,
    kept: Bools | None = None,
) -> go.Figure:
    """Draw the trials of `view` in the plane, with its front, constraints and better corner.

    Every point carries its trial number as `customdata`.

    Args:
        view: What to draw.
        selected: Number of the trial with a ring around it.
        look: What the viewer chose.
        kept: Which of the trials to draw, (n,) (default: all); legends count all of them.
    """
    figure, look = go.Figure(), look or Look()
    drawn, above = look.drawn(view), (PUBLISHED, KINDS[-1])  # the line
    for kind in KINDS:
        if kind not in above:
            _add_points(figure, view, kind, look, drawn, kept)
    _add_line(figure, view)
    for kind in above:
        _add_points(figure, view, kind, look, drawn, kept)
    _add_names(figure, view, drawn)
    _add_selection(figure, view, selected)
    _add_classes(figure, view, look)
    for constraint in view.lines:
        _add_constraint(figure, constraint, view, look)
    mark_better(figure, view.x, view.y)
    style(figure, 540)
    figure.update_xaxes(title_text=escape(view.x.label), type=look.scale("x"))
    figure.update_yaxes(title_text=escape(view.y.label), type=look.scale("y"))
    figure.update_layout(
        hovermode="closest",
        clickmode="event",
        showlegend=True,
        uirevision=f"{_plane(view)}/{','.join(look.log)}",
        **colour_axis(look.colours),
        **_region(look.region),
    )
    return figure


def spread_of(view: ParetoView, axis: Axis) -> Floats | None:
    """Return the standard deviations over repeats along `axis`, (n,); None where there are none."""
    name = f"{axis.metric}_std"
    return view.table.metric(name) if name in {each.metric for each in view.axes} else None


def _add_points(
    figure: go.Figure,
    view: ParetoView,
    kind: str,
    look: Look,
    drawn: Bools,
    kept: Bools | None,
) -> None:
    mask = drawn & (view.kinds == kind)
    count, many = int(mask.sum()), _trace(view) is go.Scattergl
    mask = mask if kept is None else mask & kept
    rich = int(mask.sum()) <= HOVER_TEXTS
    axes = {"x": view.x, "y": view.y}
    precision = np.float32 if many else np.float64  # half the bytes at each refresh
    title = f"{kind} ({count:,})"
    for part, marker in markers(look, kind, mask):
        if not part.any():
            continue
        figure.add_trace(
            _trace(view)(
                x=view.xs[part].astype(precision),
                y=view.ys[part].astype(precision),
                mode="markers",
                name=title,
                legendgroup=kind,
                showlegend=look.colours is None,
                customdata=view.table.number[part].tolist(),  # typed arrays: lost in WebGL clicks
                text=hover_texts(view, part) if rich else None,
                hovertemplate=hover_template(axes, rich=rich),
                marker={"size": 5 if many else 7, "opacity": 0.85, **_edge(marker), **marker},
                unselected={"marker": {"opacity": 0.15}},
                **_bars(view, part, front=kind in (PUBLISHED, KINDS[-1])),
            )
        )
    if count and look.colours is not None:  # a legend would show one colour of many
        figure.add_trace(
            _trace(view)(
                x=[None],
                y=[None],
                mode="markers",
                name=title,
                legendgroup=kind,
                marker={"size": 7, **MARKS[kind], "color": GREY},
            )
        )


def _edge(marker: dict[str, Any]) -> dict[str, Any]:
    """Return the line around a marker: of an open one it is all there is, in the points' colour."""
    if "open" not in marker["symbol"]:
        return {"line": {"color": "rgba(255,255,255,0.7)", "width": 0.8}}
    shared = ("color", "colorscale", "cmin", "cmax", "coloraxis")
    return {"line": {"width": 1.3, **{key: marker[key] for key in shared if key in marker}}}


def _bars(view: ParetoView, part: Bools, *, front: bool) -> dict[str, Any]:
    """Return bars of one standard deviation where a metric was measured several times."""
    bars: dict[str, Any] = {}
    for letter, axis in (("x", view.x), ("y", view.y)):
        spread = spread_of(view, axis)
        if spread is not None and (front or int(part.sum()) <= BARS):
            kept = {"color": GREY, "thickness": 1.2, "width": 3}
            bars[f"error_{letter}"] = {"type": "data", "array": spread[part], **kept}
    return bars


def _add_line(figure: go.Figure, view: ParetoView) -> None:
    xs, ys = view.line
    if len(xs) > 1:
        shape = "vh" if view.x.direction == "maximize" else "hv"
        line = {"color": ORANGE, "width": 1.5, "shape": shape}
        figure.add_trace(
            _trace(view)(
                x=xs, y=ys, mode="lines", line=line, name="line", hoverinfo="skip", showlegend=False
            )
        )


def _add_names(figure: go.Figure, view: ParetoView, drawn: Bools) -> None:
    """Write the names of the published networks beside their stars, while there are few."""
    rows = np.flatnonzero(drawn & np.isin(view.kinds, (PUBLISHED, PUBLISHED_OUT)))
    if not 0 < len(rows) <= NAMES:
        return
    figure.add_trace(
        _trace(view)(
            x=view.xs[rows],
            y=view.ys[rows],
            mode="text",
            name="names",
            text=[escape(view.table.rows[row].fixed or "") for row in rows.tolist()],
            textposition="bottom center",
            textfont={"size": 11, "color": GREY},
            hoverinfo="skip",
            showlegend=False,
        )
    )


def _trace(view: ParetoView) -> Any:
    """Return the kind of trace: all of one figure alike, since WebGL lies above vector graphics."""
    return go.Scattergl if int(view.shown.sum()) > WEBGL_FROM else go.Scatter


def _add_selection(figure: go.Figure, view: ParetoView, selected: int | None) -> None:
    if selected is None:
        return
    rows = np.flatnonzero((view.table.number == selected) & view.shown)
    ring = {"size": 20, "symbol": "circle-open", "color": GREEN}
    figure.add_trace(
        _trace(view)(
            x=view.xs[rows],
            y=view.ys[rows],
            mode="markers",
            name=f"trial {selected}",
            hoverinfo="skip",
            showlegend=False,
            marker={**ring, "line": {"width": 3, "color": GREEN}},
        )
    )


def _add_classes(figure: go.Figure, view: ParetoView, look: Look) -> None:
    """Name the colours in a legend of their own, below the figure."""
    colours = look.colours
    if colours is None or not colours.classes:
        return
    for name, shade in zip(colours.classes, shades_of(colours), strict=True):
        figure.add_trace(
            _trace(view)(
                x=[None],
                y=[None],
                mode="markers",
                name=escape(name),
                legend="legend2",
                hoverinfo="skip",
                marker={"size": 11, "symbol": "square", "color": shade},
            )
        )
    figure.update_layout(legend2=class_legend(escape(colours.label)))


def class_legend(title: str) -> dict[str, Any]:
    """Return the layout of a legend below the figure."""
    place = {"orientation": "h", "x": 0, "yref": "container", "y": 0, "yanchor": "bottom"}
    return {**place, "title": {"text": f"{title}: "}, "itemclick": False, "itemdoubleclick": False}


def _add_constraint(figure: go.Figure, line: ConstraintLine, view: ParetoView, look: Look) -> None:
    axis = view.x if line.along == "x" else view.y
    log = line.along in look.log
    if log and line.bound <= 0:
        return
    along, other = line.along, "y" if line.along == "x" else "x"
    ends = {f"{along}0": line.bound, f"{along}1": line.bound, f"{other}0": 0, f"{other}1": 1}
    dashed = {"color": GREY, "width": 1.5, "dash": "dash"}
    figure.add_shape(type="line", line=dashed, **{f"{other}ref": f"{other} domain"}, **ends)
    sign = "≤" if line.kind == "max" else "≥"
    left = along == "y" or line.kind == "max"
    place = {along: float(np.log10(line.bound)) if log else line.bound, other: 1}
    figure.add_annotation(
        text=escape(f"{sign} {value_text(line.bound, axis.unit)}"),
        showarrow=False,
        xanchor="right" if left else "left",
        yanchor="top" if along == "x" else "bottom",
        **{f"{other}ref": f"{other} domain"},
        **place,
    )


def _region(region: Region | None) -> dict[str, Any]:
    """Return the layout of what is selected: plotly dims the points outside."""
    line = {"color": GREEN, "width": 2, "dash": "dot"}
    if region is None:
        return {"selections": [], "selectionrevision": ""}
    (x0, y0), (x1, y1) = region.corners[0], region.corners[1]
    shape: dict[str, Any] = {"type": "rect", "x0": x0, "y0": y0, "x1": x1, "y1": y1}
    if len(region.corners) > 2:
        path = "L".join(f"{x:.6g},{y:.6g}" for x, y in region.corners)
        shape = {"type": "path", "path": f"M{path}Z"}
    return {"selections": [{**shape, "line": line}], "selectionrevision": region.text}


def _plane(view: ParetoView) -> str:
    """Name the plane: zoom and hidden traces survive a refresh, not a change of axes."""
    return f"{view.experiment.id}/{view.x.metric}/{view.y.metric}"
