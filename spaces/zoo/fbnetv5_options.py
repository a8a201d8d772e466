"""The options of FBNetV5 that say what its super-network is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...errors import SpecError
from ..networks.fbnetv5_plan import Plan, operator
from ..rounding import make_divisible
from .checks import LONGEST, at_least


def read_plan(o: Mapping[str, Any], width: Any, stages: int, in_channels: int) -> Plan:
    """Return the super-network that the options make.

    Raises:
        SpecError: If they make none, by the name of the option.
    """
    paths = len(_listed("channels_list", o["channels_list"], None))
    at_least(1, **dict(_numbered("channels_list", o["channels_list"])))
    at_least(0, LONGEST, **dict(_numbered("blocks", _listed("blocks", o["blocks"], paths))))
    for option in ("entries", "operators"):
        for code in _listed(option, o[option], paths):
            if operator(code) is None:
                raise SpecError(
                    f"{option}: a block is written as kernel (odd), ratio and perhaps "
                    f"squeeze-and-excitation, k5_e3_se; got {code!r}"
                )
    if isinstance(width, bool) or not isinstance(width, int | float) or not 0 < width <= 100:
        raise SpecError(f"width must be a positive multiplier, got {width!r}")
    stride = o["stem_stride"]
    if isinstance(stride, bool) or stride not in (1, 2):
        raise SpecError(f"stem_stride must be 1 or 2, got {stride!r}")
    if o["resolution"] % (last := stride * 2**paths):
        raise SpecError(
            f"resolution must be a multiple of {last}, the stride of the last of {paths} paths, or "
            f"maps of different paths would not fit each other; got {o['resolution']}"
        )
    return Plan(
        stem=(in_channels, _scaled(o["channels"], width), stride),
        widths=tuple(_scaled(n, width) for n in o["channels_list"]),
        entries=tuple(o["entries"]),
        operators=tuple(o["operators"]),
        blocks=tuple(o["blocks"]),
        stages=stages,
    )


def _scaled(channels: int, width: float) -> int:
    return channels if width == 1 else make_divisible(channels * width, 8, 0.95)


def _listed(option: str, value: Any, length: int | None) -> Sequence[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise SpecError(f"{option} must be a list with an entry for each path, got {value!r}")
    if length is not None and len(value) != length:
        raise SpecError(
            f"{option} must have an entry for each of the {length} paths of channels_list, got "
            f"{list(value)}"
        )
    return value


def _numbered(option: str, values: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    return ((f"{option}[{i}]", value) for i, value in enumerate(values))
