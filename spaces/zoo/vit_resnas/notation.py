"""The notations of ViT-ResNAS: an object of stem, widths and blocks; the tuple of its code."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ....errors import InvalidArchitecture, did_you_mean
from ...decision import Architecture
from ...space import DecisionSpace

KEYS = ("stem", "embed_dims", "blocks")
SIZES = ("heads", "head_dim", "mlp")
# the first number of each entry of the code's tuple
_LINEAR, _BLOCK, _HEAD, _REDUCTION, _CONVOLUTIONS, _FLEXIBLE = range(6)
_STEMS = {_LINEAR: (0, 0), _CONVOLUTIONS: (0, 0), _FLEXIBLE: (0, 0, 0)}  # lengths of inner lists
_OTHERS = {_BLOCK: (0, 3, 2, 0), _REDUCTION: (0, 0, 0), _HEAD: (0, 0, 0)}
_WRITTEN = (
    "(0, E), (4, E) or (5, E, mid)",
    "(1, (E, heads, d), (E, mlp), keep), (3, in, out) or (2, E, classes)",
)
_MIDDLE = 24  # width of the convolutions of a stem that does not say it


class Network(NamedTuple):
    """What a notation writes; values are checked later.

    Args:
        stem: Name.
        dims: Width of each stage.
        blocks: For each stage, the sizes of a block by name, or None where one is left out.
    """

    stem: Any
    dims: list[Any]
    blocks: list[list[dict[str, Any] | None]]


def read_object(space: DecisionSpace, value: Mapping[str, Any], stages: int) -> Network:
    """Return what the object of the notation writes.

    Raises:
        InvalidArchitecture: If a key is unknown or missing, a list has another length, or the
            blocks do not follow the order of the stages.
    """
    if unknown := [key for key in value if key not in KEYS]:
        hint = did_you_mean(str(unknown[0]), KEYS)
        raise space.unreadable(value, f"there is no key {unknown[0]!r}{hint}")
    if missing := [key for key in KEYS if key not in value]:
        raise space.unreadable(value, f"the key {missing[0]!r} is missing")
    dims, listed = value["embed_dims"], value["blocks"]
    if not isinstance(dims, list | tuple) or len(dims) != stages:
        raise space.unreadable(value, f"embed_dims must list the widths of {stages} stages")
    if not isinstance(listed, list | tuple):
        raise space.unreadable(value, "blocks must be a list")
    blocks: list[list[dict[str, Any] | None]] = [[] for _ in range(stages)]
    last = 1
    for number, block in enumerate(listed, start=1):
        stage, sizes = _block(space, block, f"block {number}", stages)
        if stage < last:
            raise InvalidArchitecture(
                f"{space.name}: blocks are listed stage by stage; block {number} is of stage "
                f"{stage}, after one of stage {last}"
            )
        last = stage
        blocks[stage - 1].append(sizes)
    return Network(value["stem"], list(dims), blocks)


def _block(
    space: DecisionSpace, block: Any, where: str, stages: int
) -> tuple[int, dict[str, Any] | None]:
    """Return stage and sizes of an entry of the list."""
    keys = ("stage", *SIZES, "keep")
    if not isinstance(block, Mapping):
        raise InvalidArchitecture(f"{space.name}: {where} must be an object, got {block!r}")
    if unknown := [key for key in block if key not in keys]:
        hint = did_you_mean(str(unknown[0]), keys)
        raise InvalidArchitecture(f"{space.name}: {where} has no key {unknown[0]!r}{hint}")
    stage: Any = block.get("stage")
    keep = block.get("keep", 1)
    if isinstance(stage, bool) or stage not in range(1, stages + 1):
        raise InvalidArchitecture(
            f"{space.name}: {where}: stage must be a number from 1 to {stages}, got {stage!r}"
        )
    if keep not in (0, 1):
        raise InvalidArchitecture(f"{space.name}: {where}: keep must be 1 or 0, got {keep!r}")
    if not keep:
        return int(stage), None
    if missing := [key for key in SIZES if key not in block]:
        raise InvalidArchitecture(f"{space.name}: {where}: {missing[0]!r} is missing")
    return int(stage), {key: block[key] for key in SIZES}


def read_text(space: DecisionSpace, text: str) -> Sequence[Any]:
    """Return the tuple that the text of a Python tuple writes.

    Raises:
        InvalidArchitecture: If it is none.
    """
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise space.unreadable(text) from None
    if not isinstance(value, list | tuple):
        raise space.unreadable(text)
    return value


def read_definition(
    space: DecisionSpace, value: Sequence[Any], stages: int, patch: int, classes: int
) -> Network:
    """Return what the `network_def` of the original code writes.

    A tuple of tuples: (4, E) or (5, E, mid) or (0, E) the stem; (1, (E, heads, d), (E, mlp), keep)
    a block; (3, in, out) a reduction; (2, E, classes) the head.

    Raises:
        InvalidArchitecture: If an entry is none of these, or widths do not follow each other.
    """
    entries = [_entry(space, entry, number) for number, entry in enumerate(value)]
    if not entries or entries[0][0] not in (_LINEAR, _CONVOLUTIONS, _FLEXIBLE):
        raise space.unreadable(value, "it begins with a stem, (4, width)")
    kind, width, *middle = entries[0]
    stem = f"linear_patch{patch}" if kind == _LINEAR else f"conv_stem_mid{[*middle, _MIDDLE][0]}"
    network = Network(stem, [width], [[]])
    for number, (kind, *rest) in enumerate(entries[1:], start=1):
        inner = rest[0][0] if kind == _BLOCK else rest[0]
        if inner != network.dims[-1] or (kind == _BLOCK and rest[1][0] != inner):
            raise InvalidArchitecture(
                f"{space.name}: entry {number}, {tuple(value[number])}, must have the width of the "
                f"tokens before it, {network.dims[-1]}"
            )
        _append(network, kind, rest)
    if len(network.dims) != stages:
        raise space.unreadable(value, f"there are {stages} stages, this has {len(network.dims)}")
    if entries[-1][0] != _HEAD or [entry[0] for entry in entries].count(_HEAD) != 1:
        raise space.unreadable(value, "it ends with the head, (2, width, classes)")
    if entries[-1][2] != classes:
        raise InvalidArchitecture(
            f"{space.name}: the head has {entries[-1][2]} outputs; the option classes says "
            f"{classes}"
        )
    return network


def _append(network: Network, kind: int, rest: Sequence[Any]) -> None:
    if kind == _BLOCK:
        (_, heads, head_dim), (_, mlp), keep = rest
        sizes = {"heads": heads, "head_dim": head_dim, "mlp": mlp} if keep else None
        network.blocks[-1].append(sizes)
    elif kind == _REDUCTION:
        network.dims.append(rest[1])
        network.blocks.append([])


def _entry(space: DecisionSpace, entry: Any, number: int) -> Sequence[Any]:
    """Return an entry, if its shape is one of those that there are."""
    shapes = _OTHERS if number else _STEMS
    listed = isinstance(entry, list | tuple)
    kind = entry[0] if listed and entry and type(entry[0]) is int else None
    if kind is None or shapes.get(kind) != _shape(entry):
        raise InvalidArchitecture(
            f"{space.name}: entry {number} must be {_WRITTEN[number > 0]}; got {entry!r}"
        )
    return tuple(entry)


def _shape(entry: Sequence[Any]) -> tuple[int, ...]:
    """Return the lengths of the lists in an entry, 0 for what is none."""
    return tuple(len(part) if isinstance(part, list | tuple) else 0 for part in entry)


def written(space_stages: Sequence[Sequence[str]], a: Architecture) -> dict[str, Any]:
    """Return the object of an architecture, with 0 in the sizes of blocks that are left out.

    Args:
        space_stages: For each stage, the names of its blocks.
        a: The architecture.
    """
    blocks = []
    for stage, names in enumerate(space_stages, start=1):
        for name in names:
            sizes = {key: a.get(f"{name}.{key}", 0) for key in SIZES}
            blocks.append({"stage": stage, **sizes, "keep": a.get(f"{name}.keep", 0)})
    dims = [a[f"stage{stage}.embed_dim"] for stage in range(1, len(space_stages) + 1)]
    return {"stem": a["stem"], "embed_dims": dims, "blocks": blocks}
