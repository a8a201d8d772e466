"""Values beyond the listed options that networks of Once-for-All can be built with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..checks import LARGEST


def multiple_of_4(value: Any) -> bool:
    """Return whether `value` is a side that the notation allows: a positive multiple of 4."""
    return _whole(value) and 0 < value <= LARGEST and value % 4 == 0


def odd(value: Any) -> bool:
    """Return whether `value` is a kernel that keeps the side: odd and positive."""
    return _whole(value) and 0 < value <= LARGEST and value % 2 == 1


def positive(value: Any) -> bool:
    """Return whether `value` is a ratio: a positive number."""
    return _number(value) and 0 < value <= LARGEST


@dataclass(frozen=True)
class UpTo:
    """Whole numbers from 1 to `most`, as depths are."""

    most: int

    def __call__(self, value: Any) -> bool:
        """Return whether `value` is one of them."""
        return _whole(value) and 1 <= value <= self.most


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    return _number(value) and value == int(value)
