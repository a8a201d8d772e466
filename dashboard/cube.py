"""The front in the space of three metrics: points, the surface that they attain, constraints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from .axes import Axis, column, front_of, pick_axis
from .figures import GREEN, GREY, ORANGE, style
from .look import (
    HOVER_TEXTS,
    Look,
    colour_axis,
    hover_template,
    hover_texts,
    markers,
    shades_of,
)
from .plane import NAMES, class_legend
from .table import Bools, Floats
from .thinning import evenly
from .views import KINDS, PUBLISHED, PUBLISHED_OUT, ParetoView

CAMERA = {"eye": {"x": 1.45, "y": 1.45, "z": 0.75}, "center": {"x": 0, "y": 0, "z": -0.15}}
STEPS = 60  # places along each side of the surface
_SYMBOLS = {  # space has fewer shapes than the plane, and they are letters of the system's fonts
    "infeasible": "square-open",
    "unfinished": "circle-open",
    "failed": "cross",
    "stopped early": "cross",
    "feasible": "circle",
    PUBLISHED_OUT: "diamond-open",
    PUBLISHED: "square",
    "front": "diamond",
}


@dataclass(frozen=True)
class SpaceView:
    """A view with a third axis.

    Args:
        view: The plane of the first two.
        z: Third axis.
        zs: Its values, (n,), NaN where a trial has none.
        front: On the front of the three shown metrics, (n,); none where one has no direction.
    """

    view: ParetoView
    z: Axis
    zs: Floats = field(repr=False)
    front: Bools = field(repr=False)

    @classmethod
    def of(cls, view: ParetoView, z: str) -> SpaceView:
        """Add axis `z` to a view.

        Raises:
            UnknownName: If it is no metric of the experiment.
        """
        axis = pick_axis(view.axes, z)
        zs = column(view.table, axis)
        axes, values = (view.x, view.y, axis), (view.xs, view.ys, zs)
        front = np.zeros(len(zs), dtype=bool)
        if all(each.direction for each in axes):
            losses = np.stack([a.sign * v for a, v in zip(axes, values, strict=True)], axis=1)
            counts = view.feasible & np.isfinite(losses).all(axis=1)
            front = front_of(np.where(counts[:, None], losses, np.nan))
        return cls(view, axis, zs, front)

    @property
    def axes(self) -> Mapping[str, Axis]:
        """The three axes by letter."""
        return {"x": self.view.x, "y": self.view.y, "z": self.z}

    def columns(self, rows: Any) -> dict[str, Floats]:
        """Return the values of some trials by letter."""
        return {"x": self.view.xs[rows], "y": self.view.ys[rows], "z": self.zs[rows]}

    def drawn(self, look: Look) -> Bools:
        """Return which trials have a place and are not left out, (n,).

        A selection in the plane of the first two axes leaves out what is outside.
        """
        placed = np.isfinite(self.zs) & look.placed("z", self.zs)
        if look.region is not None:
            placed &= look.region.inside(self.view.xs, self.view.ys)
        return np.asarray(look.drawn(self.view) & placed)


def attained(space: SpaceView) -> tuple[Floats, Floats, Floats] | None:
    """Return the surface of what the front attains: the best `z` for `x` and `y` no worse.

    Where a point of the front has an `x` and a `y` at least as good, its `z` can be had; the
    surface is the best of those, with steps as the line of a plane has. Of a front with many
    points it is read at 60 places along each side, and exact there.

    Returns:
        x (k,), y (m,), z (m, k) with NaN where nothing was attained; None without a front.
    """
    rows = np.flatnonzero(space.front)
    if not len(rows):
        return None
    signs = {letter: axis.sign for letter, axis in space.axes.items()}
    losses = {letter: signs[letter] * v for letter, v in space.columns(rows).items()}
    xs, ys = (_corners(evenly(np.unique(losses[letter]), STEPS)) for letter in ("x", "y"))
    depth = np.full((len(ys), len(xs)), np.inf)
    for x, y, z in zip(losses["x"], losses["y"], losses["z"], strict=True):
        reached = (ys[:, 1] >= y)[:, None] & (xs[:, 1] >= x)[None, :]
        depth = np.where(reached, np.minimum(depth, z), depth)
    depth[np.isinf(depth)] = np.nan
    return signs["x"] * xs[:, 0], signs["y"] * ys[:, 0], signs["z"] * depth


def _corners(places: Floats) -> Floats:
    """Return (place to draw at, place to look up): each step ends where the next one begins."""
    ends = np.append(places[1:], places[-1])
    drawn = np.stack([places, ends], axis=1).reshape(-1)
    return np.stack([drawn, places.repeat(2)], axis=1)


def space_figure(
    space: SpaceView,
    *,
    selected: int | None = None,
    look: Look | None = None,
    kept: Bools | None = None,
) -> go.Figure:
    """Draw trials in the space of three metrics; each carries its number as `customdata`.

    Args:
        space: What to draw.
        selected: Number of the trial with a mark around it.
        look: What the viewer chose.
        kept: Which of the trials to draw, (n,) (default: all); legends count all of them.
    """
    look, view, figure = look or Look(), space.view, go.Figure()
    drawn = space.drawn(look)
    _add_surface(figure, space, look)
    for kind in KINDS:
        _add_points(figure, space, kind, look, drawn, kept)
    _add_names(figure, space, drawn)
    if selected is not None:
        chosen = np.flatnonzero((view.table.number == selected) & drawn)
        ring = {"size": 13, "symbol": "circle-open", "color": GREEN, "line": {"width": 4}}
        figure.add_scatter3d(
            **space.columns(chosen), mode="markers", marker=ring, showlegend=False, hoverinfo="skip"
        )
    _add_bounds(figure, space, look, drawn)
    _add_classes(figure, look)
    _add_best(figure, space, drawn)
    style(figure, 620)
    line = {"gridcolor": GREY, "linecolor": GREY, "zeroline": False, "showbackground": False}
    scene = {
        f"{letter}axis": {
            **line,
            "title": {"text": _title(axis), "font": {"color": GREY}},
            "tickfont": {"color": GREY},
            "type": look.scale(letter),
        }
        for letter, axis in space.axes.items()
    }
    names = "/".join(axis.metric for axis in space.axes.values())
    figure.update_layout(
        scene={**scene, "dragmode": "orbit", "camera": CAMERA, "aspectmode": "cube"},
        margin={"l": 0, "r": 0, "t": 56, "b": 40},
        showlegend=True,
        uirevision=f"{view.experiment.id}/{names}/{','.join(look.log)}",
        **colour_axis(look.colours),
    )
    return figure


def _title(axis: Axis) -> str:
    way = {"maximize": ", more is better", "minimize": ", less is better"}
    return escape(axis.label) + way.get(axis.direction or "", "")


def _add_points(
    figure: go.Figure,
    space: SpaceView,
    kind: str,
    look: Look,
    drawn: Bools,
    kept: Bools | None,
) -> None:
    view = space.view
    mask = drawn & (view.kinds == kind)
    count = int(mask.sum())
    mask = mask if kept is None else mask & kept
    rich, title = int(mask.sum()) <= HOVER_TEXTS, f"{kind} ({count:,})"
    size = 6 if kind in ("front", PUBLISHED, PUBLISHED_OUT) else 3.5
    for part, marker in markers(look, kind, mask):
        if not part.any():
            continue
        figure.add_scatter3d(
            **space.columns(part),
            mode="markers",
            name=title,
            legendgroup=kind,
            showlegend=look.colours is None,
            customdata=view.table.number[part].tolist(),
            text=hover_texts(view, part) if rich else None,
            hovertemplate=hover_template(space.axes, rich=rich),
            marker={**marker, "size": size, "symbol": _SYMBOLS[kind], "opacity": 0.85},
        )
    if count and look.colours is not None:  # a legend shows colours by value in black
        figure.add_scatter3d(
            x=[None],
            y=[None],
            z=[None],
            mode="markers",
            name=title,
            legendgroup=kind,
            marker={"size": size, "symbol": _SYMBOLS[kind], "color": GREY},
        )


def _add_surface(figure: go.Figure, space: SpaceView, look: Look) -> None:
    surface = attained(space)
    if surface is None:
        return
    xs, ys, zs = surface
    if "z" in look.log:
        zs = np.where(zs > 0, zs, np.nan)
    figure.add_surface(
        x=xs,
        y=ys,
        z=zs,
        name="attained",
        surfacecolor=np.zeros_like(zs),
        colorscale=[[0, ORANGE], [1, ORANGE]],
        showscale=False,
        opacity=0.3,
        hoverinfo="skip",
        showlegend=True,
        contours={letter: {"highlight": False} for letter in "xyz"},
    )


def _add_names(figure: go.Figure, space: SpaceView, drawn: Bools) -> None:
    kinds, rows = space.view.kinds, space.view.table.rows
    found = np.flatnonzero(drawn & np.isin(kinds, (PUBLISHED, PUBLISHED_OUT)))
    if 0 < len(found) <= NAMES:
        figure.add_scatter3d(
            **space.columns(found),
            mode="text",
            text=[escape(rows[row].fixed or "") for row in found.tolist()],
            textfont={"color": GREY, "size": 11},
            showlegend=False,
            hoverinfo="skip",
        )


def _add_bounds(figure: go.Figure, space: SpaceView, look: Look, drawn: Bools) -> None:
    """Draw each constraint on one of the three metrics as a plane."""
    values = space.columns(drawn)
    if not drawn.any():
        return
    ends = {letter: (float(v.min()), float(v.max())) for letter, v in values.items()}
    for item in space.view.constraints:
        for letter, axis in space.axes.items():
            bound = item.get("max", item.get("min"))
            if axis.metric != item["metric"] or bound is None:
                continue
            if letter in look.log and bound <= 0:
                continue
            first, second = (other for other in "xyz" if other != letter)
            corners = {
                letter: [bound] * 4,
                first: [ends[first][i] for i in (0, 1, 1, 0)],
                second: [ends[second][i] for i in (0, 0, 1, 1)],
            }
            sign = "≤" if "max" in item else "≥"
            figure.add_mesh3d(
                **corners,
                i=[0, 0],
                j=[1, 2],
                k=[2, 3],
                color=GREY,
                opacity=0.25,
                name=escape(f"{axis.metric} {sign} {bound:.4g}"),
                showlegend=True,
                hoverinfo="skip",
            )


def _add_classes(figure: go.Figure, look: Look) -> None:
    colours = look.colours
    if colours is None or not colours.classes:
        return
    for name, shade in zip(colours.classes, shades_of(colours), strict=True):
        figure.add_scatter3d(
            x=[None],
            y=[None],
            z=[None],
            mode="markers",
            name=escape(name),
            legend="legend2",
            hoverinfo="skip",
            marker={"size": 8, "symbol": "square", "color": shade},
        )
    figure.update_layout(legend2=class_legend(escape(colours.label)))


def _add_best(figure: go.Figure, space: SpaceView, drawn: Bools) -> None:
    """Mark the better corner: the best that was seen of each metric, had together by nobody."""
    rows = drawn & space.view.feasible
    if not rows.any() or not all(axis.direction for axis in space.axes.values()):
        return
    values = space.columns(rows)
    best = {
        letter: [float((values[letter].max if axis.sign < 0 else values[letter].min)())]
        for letter, axis in space.axes.items()
    }
    figure.add_scatter3d(
        **best,
        mode="markers",
        marker={"symbol": "cross", "size": 5, "color": GREEN},
        name="better corner",  # said in the legend: there it covers nothing
        hoverinfo="skip",
    )
