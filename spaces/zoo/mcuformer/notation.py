"""The notation of MCUFormer: an object with the numbers of a network and a list for each block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ....errors import InvalidArchitecture, did_you_mean
from ...decision import Decision
from ...space import DecisionSpace

# key of the notation -> decision; `rank_ratio` stands for both ratios
SINGLE = {
    "patch": "patch",
    "r_attn": "rank_attn",
    "r_mlp": "rank_mlp",
    "depth": "depth",
    "embed_dim": "embed_dim",
}
LISTS = {"mlp_ratio": "mlp_ratio", "num_heads": "heads"}
_RATIOS = ("r_attn", "r_mlp")
_ALIASES = {"layer_num": "depth"}  # of the released code
_CLOSE = 1e-4  # hundredths: what a sum of floats is off by


def read(space: DecisionSpace, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return decision -> value.

    What only one value is possible for may be left out.

    Raises:
        InvalidArchitecture: If a key is unknown or missing, a list has another length than the
            depth, or a ratio is no hundredth.
    """
    given = _named(space, value)
    found: dict[str, Any] = {}
    for key, name in SINGLE.items():
        if key in given:
            entry = given[key]
            found[name] = _hundredths(space, key, entry) if key in _RATIOS else entry
        else:
            found[name] = _only(space, key, name)
    if isinstance(found["embed_dim"], list | tuple):  # the released code writes it for each block
        found["embed_dim"] = _one(space, found["embed_dim"])
    depth = found["depth"] = _resolved(space, "depth", found["depth"])
    for key, name in LISTS.items():
        entries = given.get(key)
        if not isinstance(entries, list | tuple):
            raise space.unreadable(value, f"{key} must be a list of {depth} numbers")
        if len(entries) != depth:
            raise space.unreadable(
                value, f"{key} must list {depth} numbers, as many as depth; it lists {len(entries)}"
            )
        found |= {f"block{i}.{name}": entry for i, entry in enumerate(entries, start=1)}
    return found


def write(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object that `read` reads.

    Args:
        architecture: Decision -> option, the ratio of the MLP written out.
    """
    found = {key: architecture[name] for key, name in SINGLE.items()}
    found |= {key: found[key] / 100 for key in _RATIOS}
    blocks = range(1, architecture["depth"] + 1)
    for key, name in LISTS.items():
        found[key] = [_short(architecture[f"block{i}.{name}"]) for i in blocks]
    return found


def _short(number: Any) -> Any:
    """Return 4 for 4.0: they are one option, whichever an architecture holds."""
    return int(number) if number == int(number) else number


def _named(space: DecisionSpace, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries under the names of the notation."""
    given: dict[str, Any] = {}
    for key, entry in value.items():
        names = _RATIOS if key == "rank_ratio" else (_ALIASES.get(key, key),)
        for name in names:
            if name not in SINGLE and name not in LISTS:
                hint = did_you_mean(str(name), (*SINGLE, *LISTS, "rank_ratio"))
                raise space.unreadable(value, f"there is no key {key!r}{hint}")
            if name in given:
                raise space.unreadable(value, f"{name} is given twice, once as {key}")
            given[name] = entry
    return given


def _only(space: DecisionSpace, key: str, name: str) -> Any:
    """Return the only option of a decision.

    Raises:
        InvalidArchitecture: If there are several.
    """
    decision = _decision(space, name)
    if len(decision.options) > 1:
        raise InvalidArchitecture(
            f"{space.name}: {key} is missing; add it, for example "
            f'"{key}": {decision.options[-1] if key not in _RATIOS else 0.9}'
        )
    return decision.options[0]


def _decision(space: DecisionSpace, name: str) -> Decision:
    return next(d for d in space.decisions if d.name == name)


def _resolved(space: DecisionSpace, name: str, value: Any) -> Any:
    """Return the option that equals a value, or the value where it is accepted."""
    try:
        return _decision(space, name).resolve(value)
    except InvalidArchitecture as error:
        raise InvalidArchitecture(f"{space.name}: {error}") from None


def _hundredths(space: DecisionSpace, key: str, value: Any) -> int:
    """Return a ratio in hundredths, forgiving what a few steps of a float are off by."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    whole = round(value * 100) if number and 0 < value <= 1 + _CLOSE / 100 else 0
    if not whole or abs(value * 100 - whole) > _CLOSE:
        raise InvalidArchitecture(
            f"{space.name}: {key} must be a hundredth from 0.01 to 1, got {value!r}; round it"
        )
    return whole


def _one(space: DecisionSpace, values: Sequence[Any]) -> Any:
    """Return what all entries are.

    Raises:
        InvalidArchitecture: If they differ.
    """
    if not values or any(v != values[0] for v in values):
        raise InvalidArchitecture(
            f"{space.name}: embed_dim is one number for all blocks, got {list(values)}"
        )
    return values[0]
