"""Which trials a viewer has selected in the plane of two metrics."""

from __future__ import annotations

from .choice import Choice
from .source import Snapshot
from .table import Bools
from .views import ParetoView


def within(shot: Snapshot, choice: Choice) -> Bools | None:
    """Return which trials the chosen region of the plane holds, (n,); None without one.

    Raises:
        UnknownName: If an axis is no metric of the experiment.
    """
    if choice.region is None:
        return None
    view = ParetoView.from_table(shot.record, shot.table, choice.x, choice.y)
    return choice.region.inside(view.xs, view.ys)
