"""Dominance, fronts, hypervolume and crowding over moocore.

All functions take losses (lower is better; `search.objectives.losses` turns the signs) as an array
of shape (n points, m objectives). Infinities are allowed (a trial without a value is worst), NaN
is not: nothing can be said of it.

Source: NSGA-II, Deb et al. 2002 (ranks, crowding); moocore for the sorting and the hypervolume.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import moocore
import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Losses: TypeAlias = Floats | Sequence[Sequence[float]]


def front_mask(losses: Losses) -> NDArray[np.bool_]:
    """Return which points no other point dominates, shape (n,); equal points are kept together.

    >>> front_mask([[1, 2], [2, 1], [2, 2]]).tolist()
    [True, True, False]

    Raises:
        ValueError: If a value is NaN or the shape is not (n, m).
    """
    points = _points(losses)
    if len(points) == 0:
        return np.zeros(0, dtype=bool)
    return np.asarray(moocore.is_nondominated(points, keep_weakly=True), dtype=bool)


def ranks(losses: Losses) -> NDArray[np.int64]:
    """Return the front number of each point, shape (n,): 0 is the front, 1 the front without it.

    Raises:
        ValueError: If a value is NaN or the shape is not (n, m).
    """
    points = _points(losses)
    if len(points) == 0:
        return np.zeros(0, dtype=np.int64)
    return np.asarray(moocore.pareto_rank(points), dtype=np.int64)


def hypervolume(losses: Losses, reference: Sequence[float] | Floats) -> float:
    """Return the volume that the points dominate and that dominates `reference`.

    Points that are not better than the reference everywhere add nothing.

    Args:
        losses: Shape (n, m).
        reference: Shape (m,): the worst corner.

    Raises:
        ValueError: If a value is NaN or the shapes do not fit.
    """
    points, corner = _points(losses), np.asarray(reference, dtype=np.float64)
    if corner.ndim != 1 or np.isnan(corner).any():
        raise ValueError(f"a reference point must be m numbers, got {reference!r}")
    if len(points) == 0:
        return 0.0
    if points.shape[1] != len(corner):
        raise ValueError(
            f"the reference point must have one value per objective: {points.shape[1]} "
            f"objectives, got {len(corner)} values"
        )
    inside = points[(points < corner).all(axis=1)]
    return float(moocore.hypervolume(inside, ref=corner)) if len(inside) else 0.0


def reference_point(losses: Losses) -> Floats:
    """Return the worst value of each objective among the points plus 10 % of its range, shape (m,).

    An objective without range gets 10 % of its magnitude (0.1 at zero) instead, so that the extreme
    points of a front always dominate some volume. Rows with an infinity are left out.

    Raises:
        ValueError: If a value is NaN or no finite row is left.
    """
    points = _points(losses)
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) == 0:
        raise ValueError("a reference point needs at least one point with finite values, got none")
    worst, best = points.max(axis=0), points.min(axis=0)
    span = worst - best
    scale = np.where(np.abs(worst) > 0, np.abs(worst), 1.0)
    return np.asarray(worst + 0.1 * np.where(span > 0, span, scale), dtype=np.float64)


def crowding(losses: Losses) -> Floats:
    """Return the crowding distance of each point among the given ones, shape (n,).

    The extreme points of each objective get infinity; an objective without range adds nothing to
    the inner ones. Mean over the objectives, as pymoo has it (the order is that of the sum).

    Raises:
        ValueError: If a value is NaN or infinite, or the shape is not (n, m).
    """
    points = _points(losses)
    if not np.isfinite(points).all():
        raise ValueError("crowding needs finite losses; leave out the trials without a value")
    n, m = points.shape
    if n == 0:
        return np.zeros(0)
    order = np.argsort(points, axis=0, kind="stable")
    values = np.take_along_axis(points, order, axis=0)
    span = values[-1] - values[0]
    gaps = np.zeros((n + 1, m))
    gaps[1:-1] = (values[1:] - values[:-1]) / np.where(span > 0, span, 1.0)
    gaps[0] = gaps[-1] = np.where(span > 0, np.inf, 0.0)
    distance = np.zeros((n, m))
    np.put_along_axis(distance, order, gaps[:-1] + gaps[1:], axis=0)
    return np.asarray(distance.sum(axis=1) / m, dtype=np.float64)


def _points(losses: Losses) -> Floats:
    points = np.asarray(losses, dtype=np.float64)
    if points.size == 0:
        return points.reshape(0, points.shape[1] if points.ndim == 2 else 0)
    if points.ndim != 2:
        raise ValueError(f"losses must have the shape (points, objectives), got {points.shape}")
    if np.isnan(points).any():
        row = int(np.isnan(points).any(axis=1).argmax())
        raise ValueError(f"losses must not be NaN, got {points[row].tolist()} in row {row}")
    return points
