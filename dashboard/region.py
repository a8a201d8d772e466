"""A region of the plane of two metrics: a box, or what a lasso went around."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .table import Bools, Floats

MAX_CORNERS = 64


@dataclass(frozen=True, slots=True)
class Region:
    """A box by two opposite corners, or a polygon by three and more, in the units of the axes.

    Args:
        corners: (x, y) of each.
    """

    corners: tuple[tuple[float, float], ...]

    @classmethod
    def parse(cls, text: str | None) -> Region | None:
        """Read `x,y;x,y`; None where that is no region.

        >>> Region.parse("1,2;3,4").text, Region.parse("1,2"), Region.parse("1,a;2,b")
        ('1,2;3,4', None, None)
        """
        try:
            corners = [_corner(part) for part in (text or "").split(";") if part]
        except ValueError:
            return None
        if not 2 <= len(corners) <= MAX_CORNERS:
            return None
        return cls(tuple(corners))

    @property
    def text(self) -> str:
        """What `parse` reads; six digits are less than a pixel."""
        return ";".join(f"{x:.6g},{y:.6g}" for x, y in self.corners)

    def inside(self, xs: Floats, ys: Floats) -> Bools:
        """Return which points are inside, (n,); a point without a place is not.

        Args:
            xs: (n,).
            ys: (n,).
        """
        corners = np.array(self.corners)
        if len(corners) == 2:
            (left, bottom), (right, top) = corners.min(axis=0), corners.max(axis=0)
            return np.asarray((xs >= left) & (xs <= right) & (ys >= bottom) & (ys <= top))
        # A ray to the right crosses the edge of a polygon an odd number of times from inside.
        within = np.zeros(len(xs), dtype=bool)
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            if y0 == y1:
                continue
            across = (ys >= y0) != (ys >= y1)
            within ^= across & (xs < x0 + (ys - y0) * (x1 - x0) / (y1 - y0))
        return np.asarray(within & np.isfinite(xs) & np.isfinite(ys))


def _corner(text: str) -> tuple[float, float]:
    x, y = (float(value) for value in text.split(","))
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError(text)
    return x, y
