"""How a front grows: hypervolume and best values after every trial, in one pass."""

from __future__ import annotations

from bisect import bisect_left
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..pareto import hypervolume
from .thinning import evenly

Floats = NDArray[np.float64]
By: TypeAlias = Literal["trials", "time"]  # what a history is drawn along
CHUNK = 1024  # rows that are compared with the front at a time
MAX_EVALUATIONS = 200  # hypervolumes computed for three and more objectives
TIMES = ((600.0, 1.0, "s"), (3 * 3600.0, 60.0, "min"), (np.inf, 3600.0, "h"))


def clock(longest_s: float) -> tuple[float, str]:
    """Return the seconds of a unit that suits a time axis of that length, and its name.

    >>> clock(90.0), clock(7200.0)
    ((1.0, 's'), (60.0, 'min'))
    """
    return next((scale, unit) for limit, scale, unit in TIMES if longest_s <= limit)


def best_so_far(losses: Floats) -> Floats:
    """Return the running minimum of each column, NaN before the first finite value.

    Args:
        losses: (n, m), NaN where a trial does not count.
    """
    filled = np.where(np.isnan(losses), np.inf, losses)
    best = np.minimum.accumulate(filled, axis=0)
    return np.where(np.isinf(best), np.nan, best)


def hypervolume_so_far(losses: Floats, reference: Floats) -> Floats:
    """Return the hypervolume after each trial, (n,); 0 before the first one that counts.

    One and two objectives are exact after every trial. From three on, it is computed after at most
    200 of the trials that entered the front (evenly spread, the last one included) and held in
    between.

    Args:
        losses: (n, m), lower is better, rows with a NaN do not count.
        reference: (m,), what the volume is measured against.
    """
    inside = np.all(losses < reference, axis=1)  # NaN compares false
    gains = np.zeros(len(losses))
    rows = np.flatnonzero(inside)
    if losses.shape[1] == 1:
        height = np.where(inside, reference[0] - losses[:, 0], 0.0)
        return np.maximum.accumulate(height) if len(height) else height
    if losses.shape[1] == 2:
        area = _Staircase(float(reference[0]), float(reference[1]))
        pairs = losses[rows].tolist()
        gains[rows] = [area.add(first, second) for first, second in pairs]
        return np.cumsum(gains)
    return _held(losses, reference, entering(losses, rows))


def entering(losses: Floats, rows: NDArray[np.int64]) -> list[int]:
    """Return those of `rows` that no earlier one dominates or equals, in order."""
    front = np.empty((0, losses.shape[1]))
    entered: list[int] = []
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        values = losses[chunk]
        if len(front):
            chunk = chunk[~covered(values, front)]
        for row in chunk.tolist():
            point = losses[row]
            if len(front) and np.any(np.all(front <= point, axis=1)):
                continue
            front = np.vstack([front[~np.all(point <= front, axis=1)], point])
            entered.append(row)
    return entered


def covered(values: Floats, front: Floats) -> NDArray[np.bool_]:
    """Say which rows of `values` some row of `front` equals or betters in every column."""
    if not len(front):
        return np.zeros(len(values), dtype=bool)
    if values.shape[1] == 2:
        return _covered_in_the_plane(values, front)
    uncovered = np.arange(len(values))
    columns = values.T
    for point in front:
        kept = np.zeros(len(uncovered), dtype=bool)
        for value, column in zip(point.tolist(), columns, strict=True):
            kept |= ~(value <= column)  # a NaN is covered by nothing
        if not kept.all():  # what is covered is not looked at again
            uncovered, columns = uncovered[kept], columns[:, kept]
    mask = np.ones(len(values), dtype=bool)
    mask[uncovered] = False
    return mask


def _covered_in_the_plane(values: Floats, front: Floats) -> NDArray[np.bool_]:
    """Say the same of two columns: the lowest point up to there, by one look at a sorted front."""
    front = front[np.argsort(front[:, 0], kind="stable")]
    lowest = np.concatenate([[np.inf], np.minimum.accumulate(front[:, 1])])
    place = np.searchsorted(front[:, 0], values[:, 0], side="right")
    return np.asarray((place > 0) & (lowest[place] <= values[:, 1]))


def _held(losses: Floats, reference: Floats, entered: list[int]) -> Floats:
    volume = np.zeros(len(losses))
    if not entered:
        return volume
    for pick in evenly(np.arange(len(entered)), MAX_EVALUATIONS).tolist():
        volume[entered[pick]] = hypervolume(losses[entered[: pick + 1]], reference)
    return np.maximum.accumulate(volume)


class _Staircase:
    """The front of two losses, sorted by the first; knows what a new point adds to the area."""

    def __init__(self, right: float, top: float) -> None:
        self._right, self._top = right, top
        self._x: list[float] = []
        self._y: list[float] = []

    def add(self, x: float, y: float) -> float:
        """Insert a point and return the area that it adds (0 when it is covered)."""
        xs, ys = self._x, self._y
        first = bisect_left(xs, x)
        above = ys[first - 1] if first else self._top
        if above <= y or (first < len(xs) and xs[first] == x and ys[first] <= y):
            return 0.0
        gain, left, last = 0.0, x, first
        while last < len(xs) and ys[last] >= y:
            gain += (xs[last] - left) * (above - y)
            left, above = xs[last], ys[last]
            last += 1
        gain += ((xs[last] if last < len(xs) else self._right) - left) * (above - y)
        xs[first:last], ys[first:last] = [x], [y]
        return gain
