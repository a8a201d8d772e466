"""The generations of a search as a part of a page or a report."""

from __future__ import annotations

import math
from typing import Any

from .generations import GenerationsView, Spread
from .strategy_figures import generations_figure
from .strategy_view import MAX_ROWS, Part, Rows
from .words import plural, value_text


def generation_parts(view: GenerationsView | None) -> list[Part]:
    """Return what there is to show of the generations of a search: one part, or none."""
    if view is None:
        return []
    return [Part("Generations", _text(view), figure=generations_figure(view), rows=_rows(view))]


def generation_json(view: GenerationsView) -> list[dict[str, Any]]:
    """Return each generation as JSON values; null where nothing was feasible."""
    return [
        {
            "generation": int(view.number[place]),
            "trials": int(view.trials[place]),
            "feasible": int(view.feasible[place]),
            "objectives": {
                spread.axis.metric: {
                    name: _known(float(values[place]))
                    for name, values in (
                        ("best", spread.best),
                        ("q1", spread.low),
                        ("median", spread.median),
                        ("q3", spread.high),
                    )
                }
                for spread in view.spreads
            },
        }
        for place in range(len(view.number))
    ]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _text(view: GenerationsView) -> str:
    said = [
        "The feasible networks that each generation brought: the median, the middle half of the "
        "values and the best one of each objective; below, how many trials it had."
    ]
    if not view.noted:
        said.append(
            "The strategy notes no generations: a network's is the number of its ancestors here."
        )
    if view.without:
        said.append(f"{plural(view.without, 'trial')} of no generation left out (a warm start).")
    if len(view.number) > MAX_ROWS:
        said.append(f"The last {MAX_ROWS} of {len(view.number):,} generations are listed.")
    return " ".join(said)


def _rows(view: GenerationsView) -> Rows:
    names = [spread.axis.metric for spread in view.spreads]
    each = [text for name in names for text in (f"best {name}", f"median (quartiles) of {name}")]
    rows = [
        (
            str(view.number[place]),
            f"{view.trials[place]:,}",
            f"{view.feasible[place]:,}",
            *(text for spread in view.spreads for text in _cells(spread, place)),
        )
        for place in range(len(view.number))[-MAX_ROWS:]
    ]
    head = ("generation", "trials", "feasible", *each)
    return Rows(head, rows, numeric=frozenset(range(len(head))))


def _cells(spread: Spread, place: int) -> tuple[str, str]:
    best, low, median, high = (
        value_text(float(values[place]), spread.axis.unit)
        for values in (spread.best, spread.low, spread.median, spread.high)
    )
    return best, median if low == high else f"{median} ({low} to {high})"
