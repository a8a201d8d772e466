"""The table of a contest: what each competitor reached, one run or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .contest import Competitor, Contest
from .findings import Finding
from .growth import MIN_BAND
from .words import MISSING, value_text

NUMERIC_PAIRS = frozenset({2, 3, 4, 5, 6})
PAIR_HEAD = (
    "first",
    "second",
    "evaluations",
    "hypervolume of first",
    "of second",
    "first covers of second",
    "second covers of first",
)


@dataclass(frozen=True)
class Standing:
    """One competitor; lists have one value for each of its runs.

    Args:
        competitor: Who.
        evaluations: Of each run.
        front: Networks on the front of each run.
        volume: Hypervolume of all evaluations of each run; empty while there is no reference.
        best: Best feasible value by objective, of the runs that have one.
    """

    competitor: Competitor
    evaluations: tuple[int, ...]
    front: tuple[int, ...]
    volume: tuple[float, ...]
    best: dict[str, tuple[float, ...]]


def standings(contest: Contest) -> list[Standing]:
    """Return what each competitor reached with all its evaluations."""
    reference = contest.reference
    return [
        Standing(
            competitor=each,
            evaluations=tuple(run.evaluations for run in each.runs),
            front=tuple(len(run.front) for run in each.runs),
            volume=() if reference is None else tuple(run.volume(reference) for run in each.runs),
            best={
                axis.metric: tuple(
                    float(axis.sign * run.extremes[0, column])
                    for run in each.runs
                    if len(run.extremes)
                )
                for column, axis in enumerate(contest.axes)
            },
        )
        for each in contest.competitors
    ]


def standing_head(contest: Contest) -> list[str]:
    """Return the heads of the table."""
    arrows = {"maximize": "↑", "minimize": "↓"}
    best = [f"best {axis.metric} {arrows[axis.direction or '']}" for axis in contest.axes]
    return ["competitor", "seeds", "evaluations", "networks on the front", "hypervolume ↑", *best]


def standing_cells(contest: Contest, standing: Standing) -> list[str]:
    """Return a row of the table behind the competitor's name."""
    seeds = ", ".join(str(run.record.seed) for run in standing.competitor.runs)
    return [
        seeds,
        spread(standing.evaluations),
        spread(standing.front),
        spread(standing.volume),
        *(spread(standing.best[axis.metric], axis.unit) for axis in contest.axes),
    ]


def spread(values: Sequence[float], unit: str = "") -> str:
    """Return a value, two values, or the median of more with its quartiles.

    >>> spread([3]), spread([3, 4], "ms"), spread([1, 2, 9]), spread([5, 5, 5])
    ('3', '3 ms, 4 ms', '2 (1.5 to 5.5)', '5')
    """
    if not values:
        return MISSING
    if len(values) < MIN_BAND:
        return ", ".join(value_text(value, unit) for value in values)
    low, middle, high = (float(value) for value in np.quantile(values, [0.25, 0.5, 0.75]))
    if low == high:
        return value_text(middle, unit)
    return f"{value_text(middle, unit)} ({value_text(low, unit)} to {value_text(high, unit)})"


def pair_cells(found: Finding) -> list[str]:
    """Return a row of the table of pairs."""
    return [
        found.first,
        found.second,
        f"{found.evaluations:,}",
        *(value_text(score) for score in found.scores),
        *(MISSING if share is None else value_text(100 * share, "%") for share in found.coverage),
    ]


def reference_text(contest: Contest) -> str:
    """Return what the volumes of a contest are measured against; empty without a feasible trial."""
    units = {axis.metric: axis.unit for axis in contest.axes}
    corner = ", ".join(
        f"{name} {value_text(value, units[name])}"
        for name, value in contest.named_reference.items()
    )
    if not corner:
        return ""
    said = (
        f"One reference point for all hypervolumes here: {corner}: the worst feasible value of "
        "each common objective over all these runs and 10 % of its range beyond. Another choice "
        "of experiments has another one, and other volumes."
    )
    alone = " With one objective the hypervolume is the distance of the best value from it."
    return said if contest.plane else said + alone


def spread_text(contest: Contest) -> str:
    """Return what a cell of several numbers means; empty where there is none."""
    many = any(len(each.runs) >= MIN_BAND for each in contest.competitors)
    return "Of three seeds and more: the median (and the quartiles)." if many else ""
