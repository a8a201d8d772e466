"""The front drawn with characters, for a terminal."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingDependency, SpecError
from .axes import TRIAL_AXIS, Axis, better_corner
from .table import Bools, Floats
from .views import PUBLISHED, PUBLISHED_OUT, ParetoView
from .words import value_text

MIN_WIDTH, MIN_HEIGHT = 30, 12  # columns and rows that axes and labels leave something of
_MARKS = {  # later ones are drawn over earlier ones
    "infeasible": ("×", "gray"),  # noqa: RUF001 (a cross, as in the figures)
    "failed": ("□", "gray"),
    "stopped early": ("▽", "magenta"),
    "feasible": ("·", "blue"),
    PUBLISHED_OUT: ("☆", "gray"),
    PUBLISHED: ("★", "green"),
    "front": ("◆", "orange"),
}


def front_text(view: ParetoView, *, width: int, height: int, colour: bool = False) -> str:
    """Return the trials of `view` in its plane, drawn in `width` columns and `height` rows.

    Of several trials of a kind that fall on one character one is drawn.

    Args:
        view: The plane.
        width: Columns of the drawing, at least 30.
        height: Rows of the drawing, at least 12; two or three lines of words come on top.
        colour: Whether the text may hold colour codes.

    Raises:
        MissingDependency: If the extra `plot` is not installed.
        SpecError: If the place is too small.
    """
    figure = _figure(width, height)
    for kind, (mark, paint) in _MARKS.items():
        rows = _apart(view, view.shown & (view.kinds == kind), width, height)
        if len(rows):
            marker = _painted(mark, paint) if colour else mark
            figure.draw(
                figure.signal(view.xs[rows].tolist(), view.ys[rows].tolist(), marker=marker)
            )
    figure.label(view.x.label, "x")
    _ticks(figure, "x", view.x, view.xs[view.shown], max(2, min(7, width // 16)))
    _ticks(figure, "y", view.y, view.ys[view.shown], max(2, min(5, height // 4)))
    drawn = figure.build().string(colorless=not colour)
    lines = [line.rstrip() for line in drawn.rstrip("\n").split("\n")]
    corner = better_corner(view.x, view.y)
    head = f"{view.y.label}{f'   better {corner}' if corner else ''}"
    return "\n".join([head, *lines, _key(view), *_left_out(view)])


def _figure(width: int, height: int) -> Any:
    if width < MIN_WIDTH or height < MIN_HEIGHT:
        raise SpecError(
            f"a drawing needs {MIN_WIDTH} columns and {MIN_HEIGHT} rows, got {width} and {height}; "
            "widen the terminal, or leave --plot out"
        )
    try:
        import plotext
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "a front in the terminal needs the package plotext, which is not installed; "
            "run: pip install 'netloom[plot]'"
        ) from error
    plotext.terminal.limit(False, False)  # the caller knows the place better than the library
    figure = plotext.figure.clear()
    figure.plot_size(width, height)
    figure.theme("colorless")
    return figure


def _ticks(figure: Any, side: str, axis: Axis, values: Floats, count: int) -> None:
    """Write values with their units, as tables do; numbers of trials stay as they are."""
    if axis.metric == TRIAL_AXIS or not len(values) or values.min() == values.max():
        return
    places = np.linspace(values.min(), values.max(), count).tolist()
    figure.ruler(side).ticks(places, [value_text(place, axis.unit) for place in places])


def _painted(mark: str, paint: str) -> Any:
    import plotext

    return plotext.colorize(mark, paint)


def _apart(view: ParetoView, mask: Bools, width: int, height: int) -> NDArray[np.int64]:
    """Return the first row of each character's place, (k,)."""
    rows = np.flatnonzero(mask)
    places = np.stack(
        [
            _place(view.xs[view.shown], view.xs[rows], width),
            _place(view.ys[view.shown], view.ys[rows], height),
        ]
    )
    return rows[np.sort(np.unique(places, axis=1, return_index=True)[1])]


def _place(every: Floats, values: Floats, count: int) -> NDArray[np.int64]:
    low, high = (every.min(), every.max()) if len(every) else (0.0, 1.0)
    return np.floor((values - low) / ((high - low) or 1.0) * count).astype(np.int64)


def _key(view: ParetoView) -> str:
    """Return what each mark means, with its count."""
    counts = {kind: int((view.shown & (view.kinds == kind)).sum()) for kind in _MARKS}
    return "  ".join(
        f"{mark} {kind} ({counts[kind]:,})"
        for kind, (mark, _) in reversed(_MARKS.items())
        if counts[kind]
    )


def _left_out(view: ParetoView) -> list[str]:
    """Return a line on the objectives that a plane has no room for."""
    shown = (view.y.metric, view.x.metric)
    goals = [axis.metric for axis in view.experiment.objectives]
    rest = [goal for goal in goals if goal not in shown]
    if not rest:
        return []
    return [f"drawn: {' and '.join(shown)}, not {' and '.join(rest)}, which the front is of, too"]
