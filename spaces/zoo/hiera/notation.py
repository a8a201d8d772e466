"""The notation of Hiera: an object with widths, heads and depths of the stages, and the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ....errors import InvalidArchitecture, did_you_mean
from ...networks.hiera_plan import STAGES, Pair, Pooling
from ..ofa.rules import positive
from . import rules

LOCAL = (True, True, False, False)
RATIO = 4
FORMS = (("embed_dim", "num_heads"), ("widths", "heads"))
KEYS = (
    *FORMS[0],
    *FORMS[1],
    "stages",
    "q_pool",
    "q_stride",
    "mask_unit_size",
    "mask_unit_attn",
    "mlp_ratio",
)
OWN = frozenset(KEYS) - {"mlp_ratio", "q_pool"}  # decisions have these two names as well


class Config(NamedTuple):
    """What an object says."""

    widths: tuple[int, ...]
    heads: tuple[int, ...]
    depths: tuple[int, ...]
    pooling: Pooling
    local: tuple[bool, ...]
    ratio: float

    def written(self) -> dict[str, Any]:
        """Return the object, without what is as usual."""
        value: dict[str, Any] = {
            "widths": list(self.widths),
            "heads": list(self.heads),
            "stages": list(self.depths),
        }
        usual = Pooling(STAGES - 1)
        if self.pooling.times != usual.times:
            value["q_pool"] = self.pooling.times
        if self.pooling.stride != usual.stride:
            value["q_stride"] = list(self.pooling.stride)
        if self.pooling.unit != usual.unit:
            value["mask_unit_size"] = list(self.pooling.unit)
        if self.local != LOCAL:
            value["mask_unit_attn"] = list(self.local)
        if self.ratio != RATIO:
            value["mlp_ratio"] = self.ratio
        return value


def read(space: str, value: Mapping[str, Any]) -> Config:
    """Return what an object says: sizes of all stages, or of the first, doubled from there.

    Raises:
        InvalidArchitecture: If a key is unknown or missing, or a value cannot be built.
    """
    reader = _Reader(space, value)
    for key in value:
        if key not in KEYS:
            raise reader.error(f"there is no key {key!r}{did_you_mean(str(key), KEYS)}")
    given = [form for form in FORMS if value.keys() & set(form)]
    if len(given) != 1 or not set(given[0]) <= value.keys():
        raise reader.error("give embed_dim and num_heads, or widths and heads, both of one pair")
    if given[0] == FORMS[0]:
        first = [reader.whole(key, value[key]) for key in FORMS[0]]
        widths, heads = (tuple(n * 2**stage for stage in range(STAGES)) for n in first)
    else:
        widths, heads = (reader.each(key) for key in FORMS[1])
    for stage, (width, n) in enumerate(zip(widths, heads, strict=True), start=1):
        if width % n:
            raise reader.error(
                f"the heads of stage {stage} must divide its width, {n} do not divide {width}"
            )
    ratio = value.get("mlp_ratio", RATIO)
    if not positive(ratio):
        raise reader.error(f"mlp_ratio must be a number above 0, not {ratio!r}")
    return Config(widths, heads, reader.each("stages"), reader.pooling(), reader.local(), ratio)


class _Reader:
    """Takes the values of an object, and says what is wrong with them."""

    def __init__(self, space: str, value: Mapping[str, Any]) -> None:
        self._space, self._value = space, value

    def error(self, problem: str) -> InvalidArchitecture:
        """Return the error for the object."""
        return InvalidArchitecture(f"{self._space}: {problem}; got {dict(self._value)!r}")

    def whole(self, name: str, number: Any, least: int = 1) -> int:
        """Return a whole number of at least `least`."""
        if not rules.number(number) or number != int(number) or number < least:
            raise self.error(f"{name} must be a whole number of at least {least}, not {number!r}")
        return int(number)

    def each(self, key: str) -> tuple[int, ...]:
        """Return a list with a whole number for each stage."""
        listed = self._list(key, STAGES, "numbers, one for each stage")
        return tuple(self.whole(f"{key}[{i}]", number) for i, number in enumerate(listed))

    def pair(self, key: str, usual: Pair) -> Pair:
        """Return a height and a width."""
        if key not in self._value:
            return usual
        height, width = self._list(key, 2, "numbers, height and width")
        return self.whole(f"{key}[0]", height), self.whole(f"{key}[1]", width)

    def pooling(self) -> Pooling:
        """Return what is said about pooling."""
        usual = Pooling(STAGES - 1)
        times = self.whole("q_pool", self._value.get("q_pool", usual.times), 0)
        stride, unit = self.pair("q_stride", usual.stride), self.pair("mask_unit_size", usual.unit)
        return Pooling(times, stride, unit)

    def local(self) -> tuple[bool, ...]:
        """Return whether attention is local, for each stage."""
        if "mask_unit_attn" not in self._value:
            return LOCAL
        listed = self._list("mask_unit_attn", STAGES, "of true and false, one for each stage")
        for flag in listed:
            if not isinstance(flag, bool):
                raise self.error(f"mask_unit_attn must hold true and false, not {flag!r}")
        return tuple(listed)

    def _list(self, key: str, length: int, what: str) -> Sequence[Any]:
        found = self._value.get(key)
        if not isinstance(found, list | tuple) or len(found) != length:
            raise self.error(f"{key} must be a list of {length} {what}, not {found!r}")
        return found
