"""The notation of Once-for-All: an object with a list per kind of choice, and the side `r`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...space import DecisionSpace


def read_lists(
    space: DecisionSpace, value: Mapping[str, Any], lengths: Mapping[str, int]
) -> tuple[dict[str, list[Any]], Any]:
    """Return the lists of the object by key, and the side `r` (None: not given).

    The side may stand in a list of one and beside a `wid` that is null, as the tutorial of the
    reference writes it, or under the key `image_size`, as its predictors do.

    Args:
        space: For the messages.
        value: What was received.
        lengths: Key -> number of entries.

    Raises:
        InvalidArchitecture: If a key is unknown or missing, or a list has another length.
    """
    given = {k: v for k, v in value.items() if not (k == "wid" and v is None)}
    if "image_size" in given:
        if "r" in given:
            raise space.unreadable(value, "r and image_size are one thing; give one of them")
        given["r"] = given.pop("image_size")
    r = given.pop("r", None)
    if isinstance(r, list | tuple) and len(r) == 1:
        r = r[0]
    if unknown := [key for key in given if key not in lengths]:
        raise space.unreadable(value, f"there is no key {unknown[0]!r}")
    found: dict[str, list[Any]] = {}
    for key, length in lengths.items():
        entries = given.get(key)
        if not isinstance(entries, list | tuple):
            raise space.unreadable(value, f"{key} must be a list of {length} numbers")
        if len(entries) != length:
            raise space.unreadable(
                value,
                f"{key} must list {length} numbers, with those of unused slots; it lists "
                f"{len(entries)}",
            )
        found[key] = list(entries)
    return found, r
