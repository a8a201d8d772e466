"""The notation of FBNetV5: the bits of blocks and edges as nested lists, for all tasks or each.

    {"blocks": [[stage][path][bit...]], "edges": [[stage][i][j]]}

`edges[s][i][j]` is 1 where the map of path i is added to that of path j; only paths next to each
other may be connected. Stages count from 1, the first after stage 0; paths from 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import InvalidArchitecture, did_you_mean
from ..networks.fbnetv5_plan import Plan, block_name, edge_name

KEYS = ("blocks", "edges")


def read_mask(where: str, value: Any, plan: Plan) -> dict[str, int]:
    """Return name -> bit of a topology.

    Args:
        where: The space, and the task, for messages.
        value: An object with the keys `blocks` and `edges`.
        plan: Of the super-network.

    Raises:
        InvalidArchitecture: If it is none, with the rule it breaks and the place.
    """
    if not isinstance(value, Mapping):
        raise InvalidArchitecture(f"{where}: a mask is an object with {KEYS}, got {value!r}")
    for key in value:
        if key not in KEYS:
            hint = did_you_mean(str(key), KEYS)
            raise InvalidArchitecture(f"{where}: a mask has no {key!r}{hint}")
    if missing := [key for key in KEYS if key not in value]:
        raise InvalidArchitecture(f"{where}: a mask needs {missing[0]!r}, got {dict(value)!r}")
    found: dict[str, int] = {}
    paths = len(plan.widths)
    for s, stage in enumerate(_list(where, "blocks", value["blocks"], plan.stages, "stages"), 1):
        for p, bits in enumerate(_list(where, f"blocks, stage {s}", stage, paths, "paths")):
            place = f"blocks, stage {s}, path {p}"
            for b, bit in enumerate(_list(where, place, bits, plan.blocks[p], "blocks")):
                name = block_name(s, p, b)
                found[name] = _bit(where, name, bit)
    for s, stage in enumerate(_list(where, "edges", value["edges"], plan.stages, "stages"), 1):
        for i, row in enumerate(_list(where, f"edges, stage {s}", stage, paths, "paths")):
            for j, bit in enumerate(
                _list(where, f"edges, stage {s}, path {i}", row, paths, "paths")
            ):
                name = edge_name(s, i, j)
                on = _bit(where, name, bit)
                if abs(i - j) == 1:
                    found[name] = on
                elif on and i != j:  # a path's own map is always there
                    raise InvalidArchitecture(
                        f"{where}: {name}: only paths next to each other are connected; set it to 0"
                    )
    return {name: found[name] for name in plan.bits()}


def write_mask(bits: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """Return the object of a topology."""
    paths, stages = range(len(plan.widths)), range(1, plan.stages + 1)
    return {
        "blocks": [
            [[bits[block_name(s, p, b)] for b in range(plan.blocks[p])] for p in paths]
            for s in stages
        ],
        "edges": [
            [[bits.get(edge_name(s, i, j), 0) for j in paths] for i in paths] for s in stages
        ],
    }


def _list(where: str, what: str, value: Any, length: int, of: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise InvalidArchitecture(
            f"{where}: {what}: expected a list of {length} {of}, got {value!r}"
        )
    if len(value) != length:
        raise InvalidArchitecture(
            f"{where}: {what}: there are {length} {of}, this has {len(value)}: {list(value)}"
        )
    return value


def _bit(where: str, name: str, value: Any) -> int:
    if isinstance(value, bool) or value not in (0, 1):
        raise InvalidArchitecture(f"{where}: {name} must be 0 or 1, got {value!r}")
    return int(value)
