"""Reading the four lists of a stand-alone network, of 0 (ResAtt) and 1 (ResConv)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....errors import InvalidArchitecture
from ...networks.hytra_plan import path_of

RULE = "the resolution stays or falls by one step"


def read_levels(space: str, value: Sequence[Any], maps: Sequence[str]) -> list[int]:
    """Return the operator codes of four lists.

    Args:
        space: Its name.
        value: The lists.
        maps: The names of their resolutions.

    Raises:
        InvalidArchitecture: If they are not four, hold something else, or skip a resolution.
    """
    if len(value) != len(maps):
        raise InvalidArchitecture(
            f"{space}: there must be four lists, for {', '.join(maps)}, this has {len(value)}; "
            f"got {value!r}"
        )
    levels = [_level(space, maps, i, level) for i, level in enumerate(value)]
    used = [i for i, kinds in enumerate(levels) if kinds]
    for i in range(min(used, default=0), max(used, default=0)):
        if i not in used:
            raise InvalidArchitecture(
                f"{space}: {maps[i]} has no layer, although there are some before and behind it; "
                f"{RULE}, give it one; got {levels}"
            )
    return path_of(levels)


def _level(space: str, maps: Sequence[str], number: int, level: Any) -> list[int]:
    """Return the kinds of the layers of one resolution."""
    name, attention = maps[number], number >= 2
    if not isinstance(level, list | tuple):
        raise InvalidArchitecture(f"{space}: {name} must be a list of 0 and 1, got {level!r}")
    kinds = []
    for place, written in enumerate(level, start=1):
        kind = whole(written)
        if isinstance(kind, bool) or kind not in ((0, 1) if attention else (1,)):
            allowed = "1 (ResConv) or 0 (ResAtt)" if attention else "1 (ResConv)"
            why = "" if attention else f"; attention exists at {' and '.join(maps[2:])} only"
            raise InvalidArchitecture(
                f"{space}: {name}, layer {place}: must be {allowed}, got {written!r}{why}"
            )
        kinds.append(kind)
    return kinds


def whole(value: Any) -> Any:
    """Return a digit written as text, or as 4.0, as a whole number; all else as it is."""
    if isinstance(value, str) and value.isdecimal() and len(value) == 1:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
