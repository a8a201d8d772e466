"""What the marks of the front's figure mean, with what a viewer chose."""

from __future__ import annotations

import numpy as np

from .cube import SpaceView
from .look import Look
from .plane import spread_of
from .summary import caption
from .table import Bools
from .views import ParetoView
from .words import plural


def front_words(
    view: ParetoView, look: Look, space: SpaceView | None, kept: Bools | None = None
) -> str:
    """Return the caption of a plane, or of a space of three metrics; `kept` of it are drawn."""
    said = [caption(view)]
    axes = [view.x, view.y] if space is None else list(space.axes.values())
    if space is not None:
        marks = ("Open squares", "Squares")
        said = [caption(view, line=False, marks=marks), _space_words(space, look)]
    elif spreads := [a.metric for a in axes if spread_of(view, a) is not None]:
        names = " and ".join(f"{name}_std" for name in spreads)
        said.append(f"Bars are one standard deviation to each side over repeats: {names}.")
    drawn = look.drawn(view) if space is None else space.drawn(look)
    if kept is not None and not np.array_equal(kept, drawn):
        said.append(
            f"Drawn are {int(kept.sum()):,} of {int(drawn.sum()):,} points: where many of a kind "
            "lie on one another, the last stands for them. The table has all."
        )
    if lost := _lost(view, look, space):
        said.append(f"{plural(lost, 'trial')} of zero or less: no place on a logarithmic axis.")
    colours = look.colours
    if colours is not None and np.any((colours.codes < 0) & ~np.isfinite(colours.values)):
        said.append(f"Grey points have no {colours.label}.")
    return " ".join(text for text in said if text)


def _space_words(space: SpaceView, look: Look) -> str:
    said = []
    if space.front.any():
        said.append(
            "The surface is what the front of these three metrics attains: at each place the best "
            "third value that some network has whose first two are no worse."
        )
    if look.region is not None:
        said.append("Only what was selected in the plane of the first two is drawn.")
    return " ".join(said)


def _lost(view: ParetoView, look: Look, space: SpaceView | None) -> int:
    """Return how many trials a logarithmic axis cannot show."""
    placed = {"x": view.xs, "y": view.ys}
    if space is not None:
        placed["z"] = space.zs
    gone = [view.shown & (values <= 0) for letter, values in placed.items() if letter in look.log]
    return int(np.any(gone, axis=0).sum()) if gone else 0
