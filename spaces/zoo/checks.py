"""Checks of the options that many spaces share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import SpecError

LARGEST = 1 << 20  # of a width, a side, a number of classes: no memory holds more
LONGEST = 1000  # of a network, in layers, blocks or stages


def at_least(least: int, most: int = LARGEST, **options: int) -> None:
    """Check that every option is an integer from `least` to `most`.

    Raises:
        SpecError: If one is not, by its name.
    """
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise SpecError(f"{name} must be an integer of at least {least}, got {value!r}")
        if value > most:
            raise SpecError(f"{name} must be at most {most:,}, got {value}")


def true_or_false(**options: bool) -> None:
    """Check that every option is true or false.

    Raises:
        SpecError: If one is not, by its name.
    """
    for name, value in options.items():
        if not isinstance(value, bool):
            raise SpecError(f"{name} must be true or false, got {value!r}")


def probability(**options: float) -> None:
    """Check that every option is a number of at least 0 and below 1.

    Raises:
        SpecError: If one is not, by its name.
    """
    for name, value in options.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value < 1:
            raise SpecError(f"{name} must be at least 0 and below 1, got {value!r}")


def listed(**options: Any) -> None:
    """Check that every option is a list.

    Raises:
        SpecError: If one is not, by its name.
    """
    for name, value in options.items():
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise SpecError(f"{name} must be a list, got {value!r}")


def rising(option: str, values: Any, *, whole: bool = False) -> tuple[Any, ...]:
    """Return positive numbers that rise.

    Raises:
        SpecError: If they are something else.
    """
    found = [] if isinstance(values, str) or not isinstance(values, Sequence) else list(values)
    kinds = int if whole else int | float
    good = [isinstance(v, kinds) and not isinstance(v, bool) and 0 < v <= LARGEST for v in found]
    if not found or not all(good) or found != sorted(set(found)):
        raise SpecError(
            f"{option} must list {'whole ' if whole else ''}numbers above 0 that rise, got "
            f"{values!r}"
        )
    return tuple(found)
