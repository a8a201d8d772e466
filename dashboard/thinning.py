"""Fewer of many: as many as a figure, or a computation, can take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Kind = TypeVar("Kind", bound=np.generic)
Rows = NDArray[np.int64]
SIZES = (1, 2, 3, 4, 5, 6, 8, 12, 16, 32, 64, 128, 10_000)  # of a cell, one after the other


def evenly(values: NDArray[Kind], most: int) -> NDArray[Kind]:
    """Return at most `most` of some values, evenly spread; with two or more, both ends are kept.

    Args:
        values: (n,).
        most: At least 1.
    """
    if len(values) <= most:
        return values
    kept: NDArray[Kind] = values[np.linspace(0, len(values) - 1, most).round().astype(int)]
    return kept


def topmost(places: NDArray[np.float64], layers: Rows, cells: Sequence[int], most: int) -> Rows:
    """Return which points a picture of many needs: of those in one cell the last, above the others.

    Cells are as small as given, or as much larger as leaves at most `most` points. The outermost
    points along each axis stay beside them, because they decide where it ends.

    Args:
        places: (n, axes), finite.
        layers: A point hides those of its own layer alone, (n,), from 0 on.
        cells: How many there are along each axis.
        most: At least as many as there are layers.

    Returns:
        Rows of `places`, ascending.
    """
    rows = np.arange(len(places))
    if len(rows) <= most:
        return rows
    low, high = places.min(axis=0), places.max(axis=0)
    unit = (places - low) / np.where(high > low, high - low, 1.0)
    for size in SIZES:
        grid = np.maximum(np.array(cells) // size, 1)
        cell = np.minimum(unit * grid, grid - 1).astype(np.int64)
        codes = np.ravel_multi_index((*cell.T, layers), (*grid, int(layers.max()) + 1))
        last = np.unique(codes[::-1], return_index=True)[1]
        if len(last) <= most:
            break
    kept = len(rows) - 1 - last
    return np.unique(np.concatenate([kept, places.argmin(axis=0), places.argmax(axis=0)]))
