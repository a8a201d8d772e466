"""Values beyond the listed options that Hiera's networks can be built with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...networks.hiera_plan import STAGES, Pooling
from ..checks import LARGEST
from ..ofa.rules import UpTo


def number(value: Any) -> bool:
    """Return whether `value` is a number that a size can be."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= LARGEST


def heads(value: Any) -> bool:
    """Return whether `value` says how many heads there are: a head size, or a number per stage."""
    if not isinstance(value, str):
        return UpTo(LARGEST)(value)
    numbers = value.split()
    return len(numbers) == STAGES and all(n.isdecimal() and int(n) for n in numbers)


@dataclass(frozen=True)
class Poolable:
    """The rule for poolings: how many, or a text as `Pooling.option` gives it.

    Args:
        tokens: Along a side of the first map.
    """

    tokens: int

    def __call__(self, value: Any) -> bool:
        """Return whether `value` can be built."""
        if not isinstance(value, str):
            return number(value) and value == int(value) and not self._problem(int(value))
        return not self._problem(value) and Pooling.of(value).option == value

    def _problem(self, option: int | str) -> str:
        return Pooling.of(option).problem(self.tokens)
