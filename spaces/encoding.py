"""Architectures as vectors of fixed length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from ..errors import InvalidArchitecture
from .decision import Decision, Option


class Encoding:
    """The layout of the vectors; `len` is their length.

    Args:
        decisions: In the order of the space.
    """

    def __init__(self, decisions: Sequence[Decision]) -> None:
        self._fields = [_field(d) for d in decisions]
        self.names = [name for names, *_ in self._fields for name in names]

    def __len__(self) -> int:
        return len(self.names)

    def encode(self, architecture: Mapping[str, Option]) -> list[float]:
        """Return the vector of `architecture`.

        Raises:
            InvalidArchitecture: If a value lies beyond the options of a decision that is not an
                ordered list of numbers.
        """
        vector: list[float] = []
        for _, decision, rows, inactive in self._fields:
            if decision.name not in architecture:
                vector += inactive
                continue
            value = architecture[decision.name]
            position = decision.index(value)
            vector += rows[position] if position is not None else _between(decision, value)
        return vector


def _field(d: Decision) -> tuple[list[str], Decision, list[list[float]], list[float]]:
    """Return the names of the entries, the decision, a row per option and the inactive row."""
    n = len(d.options)
    if not d.ordered:
        names = [f"{d.name}={option}" for option in d.options]
        rows = [[float(i == j) for j in range(n)] for i in range(n)]
        return names, d, rows, [0.0] * n
    flag = [1.0] if d.when else []
    names = [f"{d.name} is active"] if d.when else []
    rows = [[*flag, i / (n - 1) if n > 1 else 0.0] for i in range(n)]
    return [*names, d.name], d, rows, [0.0] * (len(flag) + 1)


def _between(d: Decision, value: Any) -> list[float]:
    """Return the row of an accepted value, on the line through its nearest options."""
    numbers = [o for o in d.options if isinstance(o, int | float) and not isinstance(o, bool)]
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    n = len(d.options)
    rising = all(a < b for a, b in pairwise(numbers))
    if not (d.ordered and rising and numeric and len(numbers) == n and n > 1):
        raise InvalidArchitecture(
            f"{d.name}: only an ordered decision with rising numbers can encode a value beyond "
            f"its options {d.options}; got {value!r}"
        )
    i = max(0, min(sum(o <= value for o in numbers) - 1, n - 2))
    place = (i + (value - numbers[i]) / (numbers[i + 1] - numbers[i])) / (n - 1)
    return [*([1.0] if d.when else []), place]
