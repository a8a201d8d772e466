"""What the spaces of growing networks share: ladders of widths, and errors about actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from ....errors import InvalidArchitecture, SpecError
from ...decision import Architecture
from ...networks.eas_actions import Action
from ...space import DecisionSpace


def ladder(option: str, values: Any) -> tuple[int, ...]:
    """Return the values of an option that is a rising list of numbers.

    Raises:
        SpecError: If it is none.
    """
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise SpecError(f"{option} must be a list of integers, got {values!r}")
    if any(isinstance(v, bool) or not isinstance(v, int) or v < 1 for v in values):
        raise SpecError(f"{option} must hold integers of at least 1, got {list(values)}")
    if any(a >= b for a, b in pairwise(values)):
        raise SpecError(f"{option} must rise from value to value, got {list(values)}")
    return tuple(values)


def ladder_above(steps: Sequence[int], width: int) -> int | None:
    """Return the smallest step above a width, which need be none itself; None: there is none."""
    return next((step for step in steps if step > width), None)


def error_of(space: DecisionSpace, action: Action, rule: str, remedy: str) -> InvalidArchitecture:
    """Return the error for an action that is not possible."""
    return InvalidArchitecture(
        f"{space.name}: {rule}; got {action}" + (f"; {remedy}" if remedy else "")
    )


def readable(space: DecisionSpace, texts: Mapping[str, str]) -> dict[str, Architecture]:
    """Return the named networks that the options of a space allow."""
    found = {}
    for name, text in texts.items():
        try:
            found[name] = space.parse_notation(text)
        except InvalidArchitecture:
            continue  # too deep, or with more pools than the image has room for
    return found
