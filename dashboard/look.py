"""How trials are drawn, in the plane and in space: what is left out, shapes, colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from plotly.colors import sample_colorscale

from .axes import Axis
from .colours import REST, Colours
from .figures import BLUE, GREEN, GREY, ORANGE, PURPLE, plain, wrapped
from .region import Region
from .table import Bools, Floats
from .thinning import topmost
from .views import KINDS, PUBLISHED, PUBLISHED_OUT, ParetoView

MOST = 15_000  # points beside front, published and selected ones
CELLS = {2: (1200, 450), 3: (300, 300, 300)}  # in the plane about a pixel each
HOVER_TEXTS = 5000  # points that carry their notation; a text per point would be megabytes
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999933")
SCALE = "Cividis"
SHOWN: Mapping[str, tuple[str, ...]] = {  # what can be left out, by its name in a URL
    "feasible": ("feasible",),
    "infeasible": ("infeasible",),
    "stopped": ("stopped early",),
    "failed": ("failed",),
    "unfinished": ("unfinished",),
    "published": (PUBLISHED, PUBLISHED_OUT),
}
MARKS: Mapping[str, Mapping[str, Any]] = {  # every kind has its own shape, not only its own colour
    "infeasible": {"color": GREY, "symbol": "x-thin-open"},
    "unfinished": {"color": GREY, "symbol": "circle-open"},
    "failed": {"color": GREY, "symbol": "square-open"},
    "stopped early": {"color": PURPLE, "symbol": "triangle-down-open"},
    "feasible": {"color": BLUE, "symbol": "circle"},
    PUBLISHED_OUT: {"color": GREY, "symbol": "star-open", "size": 12},
    PUBLISHED: {"color": GREEN, "symbol": "star", "size": 13},
    "front": {"color": ORANGE, "symbol": "diamond", "size": 10},
}


@dataclass(frozen=True)
class Look:
    """What a viewer chose.

    Args:
        log: Logarithmic axes, by letter.
        hidden: What is left out, of `SHOWN`.
        colours: What colours the points; None: what became of them.
        region: What is selected of the plane.
    """

    log: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    colours: Colours | None = None
    region: Region | None = None

    def drawn(self, view: ParetoView) -> Bools:
        """Return which trials have a place and are not left out, (n,)."""
        placed = view.shown & self.placed("x", view.xs) & self.placed("y", view.ys)
        hidden = [kind for name in self.hidden for kind in SHOWN.get(name, ())]
        return np.asarray(placed & ~np.isin(view.kinds, hidden))

    def placed(self, letter: str, values: Floats) -> Bools:
        """Return which values an axis can show, (n,): a logarithmic one none below zero."""
        return values > 0 if letter in self.log else np.isfinite(values)

    def scale(self, letter: str) -> str:
        """Return plotly's name of the kind of an axis."""
        return "log" if letter in self.log else "linear"


def thinned(
    drawn: Bools,
    view: ParetoView,
    look: Look,
    columns: Mapping[str, Floats],
    selected: int | None = None,
) -> Bools:
    """Return `drawn` without points that others of their kind lie on, where there are many, (n,).

    The front, published networks and the selected trial stay.

    Args:
        drawn: Trials with a place on every axis, (n,).
        view: Their plane.
        look: What the viewer chose.
        columns: Values along each axis, (n,), by letter.
        selected: Number of the selected trial.
    """
    named = np.isin(view.kinds, ("front", PUBLISHED, PUBLISHED_OUT))
    kept: Bools = drawn & (named | (view.table.number == selected))
    rows = np.flatnonzero(drawn & ~kept)
    values = {letter: column[rows] for letter, column in columns.items()}
    scaled = [np.log10(v) if letter in look.log else v for letter, v in values.items()]
    layers = np.searchsorted(np.sort(KINDS), view.kinds[rows])
    kept[rows[topmost(np.stack(scaled, axis=1), layers, CELLS[len(scaled)], MOST)]] = True
    return kept


def markers(look: Look, kind: str, mask: Bools) -> list[tuple[Bools, dict[str, Any]]]:
    """Return the points of a kind in parts that are coloured alike, with their markers."""
    mark, colours = dict(MARKS[kind]), look.colours
    if colours is None:
        return [(mask, mark)]
    if colours.classes:
        shades = [GREY, *shades_of(colours)]
        steps = np.linspace(0, 1, len(shades) + 1).repeat(2)[1:-1].tolist()
        scale = [[s, c] for s, c in zip(steps, np.repeat(shades, 2).tolist(), strict=True)]
        codes = (colours.codes[mask] + 1).astype(np.int8)
        limits = {"cmin": -0.5, "cmax": len(shades) - 0.5}
        return [(mask, {**mark, "color": codes, "colorscale": scale, **limits})]
    known = np.isfinite(colours.values)
    values = colours.values[mask & known].astype(np.float32)
    return [
        (mask & known, {**mark, "color": values, "coloraxis": "coloraxis"}),
        (mask & ~known, {**mark, "color": GREY}),
    ]


def shades_of(colours: Colours) -> list[str]:
    """Return a colour per class: in order for numbers, apart for words, grey for the rest."""
    if colours.ordered:
        places = np.linspace(0, 1, len(colours.classes)).tolist() if colours.classes else []
        return list(sample_colorscale(SCALE, places))
    return [
        GREY if name == REST else PALETTE[place % len(PALETTE)]
        for place, name in enumerate(colours.classes)
    ]


def colour_axis(colours: Colours | None) -> dict[str, Any]:
    """Return the layout of the bar beside the figure; empty without a scale."""
    if colours is None or colours.classes:
        return {}
    bar = {"title": {"text": escape(colours.label), "side": "right"}, "thickness": 12, "len": 0.9}
    return {"coloraxis": {"colorscale": SCALE, "colorbar": bar}}


def hover_texts(view: ParetoView, mask: Bools) -> list[str]:
    """Return what stands over each point: its published name and its notation."""
    rows = [view.table.rows[index] for index in np.flatnonzero(mask).tolist()]
    texts = [wrapped(row.notation, 56, 4) for row in rows]
    return [
        f"<b>{escape(row.fixed)}</b><br>{text}" if row.fixed else text
        for row, text in zip(rows, texts, strict=True)
    ]


def hover_template(axes: Mapping[str, Axis], *, rich: bool) -> str:
    """Return what stands over a point: trial, text where there is one, a value per axis."""
    values = [f"{plain(axis.label)}: %{{{name}:.5g}}" for name, axis in axes.items()]
    text = ["%{text}"] if rich else []
    return "<br>".join(["<b>trial %{customdata}</b>", *text, *values]) + "<extra></extra>"
