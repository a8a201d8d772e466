"""Fewer of many: as many as a figure, or a computation, can take."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Kind = TypeVar("Kind", bound=np.generic)


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
