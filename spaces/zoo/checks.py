"""Checks of the options that many spaces share."""

from __future__ import annotations

from ...errors import SpecError


def at_least(least: int, **options: int) -> None:
    """Check that every option is an integer of at least `least`.

    Raises:
        SpecError: If one is not, by its name.
    """
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise SpecError(f"{name} must be an integer of at least {least}, got {value!r}")
