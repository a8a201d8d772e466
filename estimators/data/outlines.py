"""Masks from outlines and run lengths, the two ways in which COCO's files write them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .labels import Array


def filled(outline: Sequence[float], *, width: int, height: int) -> Array:
    """Return the pixels (height, width) whose centre is within an outline (even-odd rule).

    Args:
        outline: x, y, x, y, ... in pixels from the upper left corner, at least three points.
        width: Of the image.
        height: Of the image.

    Raises:
        ValueError: If it is no outline.
    """
    if len(outline) < 6 or len(outline) % 2 or not np.isfinite(outline).all():
        raise ValueError(f"an outline must be at least three pairs x, y, got {len(outline)} values")
    x, y = np.asarray(outline, np.float64).reshape(-1, 2).T
    x2, y2 = np.roll(x, -1), np.roll(y, -1)
    rows = np.arange(height) + 0.5
    row, side = np.nonzero((y[None] <= rows[:, None]) != (y2[None] <= rows[:, None]))
    crossing = x[side] + (rows[row] - y[side]) * (x2 - x)[side] / (y2 - y)[side]
    first = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
    turns = np.zeros((height, width + 1), np.int64)
    np.add.at(turns, (row, first), 1)
    inside: Array = np.cumsum(turns, axis=1)[:, :width] % 2 == 1
    return inside


def from_runs(runs: Sequence[int], *, width: int, height: int) -> Array:
    """Return the mask (height, width) of run lengths, column by column, outside first.

    Raises:
        ValueError: If they do not make a mask of that size.
    """
    lengths = np.asarray(runs, np.int64)
    if (lengths < 0).any() or lengths.sum() != width * height:
        raise ValueError(
            f"run lengths must add up to {width} x {height} pixels, got {lengths.sum()}"
        )
    inside = np.arange(len(lengths)) % 2 == 1
    mask: Array = np.repeat(inside, lengths).reshape(width, height).T
    return mask


def runs_of(text: str) -> list[int]:
    """Return the run lengths that a text of COCO holds.

    Each is written in digits of five bits, the lowest first, as characters from `0` on; a sixth bit
    says that another digit follows, the fifth bit of the last one is the sign. From the fourth
    number on it is the difference to the one two before.

    Raises:
        ValueError: If the text ends within a number, or has other characters.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        digit = ord(character) - 48
        if not 0 <= digit < 64:
            raise ValueError(f"run lengths are written in the characters 0 to o, got {character!r}")
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("run lengths end within a number")
    return runs
