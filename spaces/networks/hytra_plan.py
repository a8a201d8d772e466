"""What the layers of HyTra are, in numbers; loads no torch.

A resolution is a number: 3 is 1/4 of the image's side, 2 is 1/8, 1 is 1/16, 0 is 1/32. An operator
code says resolution and kind: 5 and 4 are ResConv at 3 and 2; 3 and 2 are ResConv and ResAtt at 1;
1 and 0 the same at 0.

Source: arXiv 2103.12424; changlin31/BossNAS: searching/bossnas/models/utils/hytra_paths.py,
models/supernets/hytra_supernet.py, retraining_hytra/boss_models.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

CODES = (5, 4, 3, 2, 1, 0)  # the larger the code, the larger the map
HIGHEST = 3
ATTENTION, CONVOLUTION = 0, 1  # in the lists of stand-alone networks


def resolution_of(code: int) -> int:
    """Return the resolution at which an operator works."""
    return code // 2 if code < 4 else code - 2


def is_attention(code: int) -> bool:
    """Return whether an operator is a ResAtt; its cost is quadratic, so that 1/4 has none."""
    return code in (0, 2)


def codes_at(resolution: int) -> tuple[int, ...]:
    """Return the operators of a resolution, the larger code first."""
    return tuple(code for code in CODES if resolution_of(code) == resolution)


def codes_up_to(resolution: int) -> tuple[int, ...]:
    """Return the operators of a resolution and of those below."""
    return tuple(code for code in CODES if resolution_of(code) <= resolution)


# a layer keeps the resolution or goes down one step
FOLLOWING = {
    code: tuple(c for c in CODES if resolution_of(code) - resolution_of(c) in (0, 1))
    for code in CODES
}


def block_paths(first: Sequence[int], layers: int) -> Iterator[tuple[int, ...]]:
    """Yield the paths through a block, in the order of their codes.

    Args:
        first: The operators that its first layer may have.
        layers: Of the block.
    """
    for code in first:
        if layers == 1:
            yield (code,)
        else:
            for rest in block_paths(FOLLOWING[code], layers - 1):
                yield (code, *rest)


def path_of(levels: Sequence[Sequence[int]]) -> list[int]:
    """Return the operator codes of the four lists of a stand-alone network."""
    path = []
    for level, kinds in enumerate(levels):
        resolution = HIGHEST - level
        path += [2 * resolution + kind if resolution < 2 else resolution + 2 for kind in kinds]
    return path


def levels_of(path: Sequence[int]) -> list[list[int]]:
    """Return the four lists of a stand-alone network, for 1/4, 1/8, 1/16, 1/32."""
    levels: list[list[int]] = [[], [], [], []]
    for code in path:
        kind = ATTENTION if is_attention(code) else CONVOLUTION
        levels[HIGHEST - resolution_of(code)].append(kind)
    return levels


def width_of(channels: int, resolution: int) -> int:
    """Return the width of the maps of a resolution, four times that inside an operator."""
    return 4 * inner_width(channels, resolution)


def inner_width(channels: int, resolution: int) -> int:
    """Return the width inside an operator: that of the stem at 1/4, doubled with each step."""
    return channels * heads_of(resolution)


def heads_of(resolution: int) -> int:
    """Return the heads of an attention; each is as wide as the stem."""
    return 1 << (HIGHEST - resolution)


class Layer(NamedTuple):
    """One module of a stand-alone network.

    Args:
        kind: ATTENTION, CONVOLUTION, or None where a resolution has no layer and a plain
            convolution leads to the next.
        level: 0 to 3, for 1/4 to 1/32.
        place: Among the layers of the network, from 0; of those with a kind.
        in_width: Width of the input.
        width: Width of the output.
        stride: 1 or 2.
    """

    kind: int | None
    level: int
    place: int
    in_width: int
    width: int
    stride: int


@lru_cache(maxsize=1 << 12)
def plan(path: tuple[int, ...], channels: int, last_stride: int) -> tuple[Layer, ...]:
    """Return the layers of the stand-alone network of a path.

    A resolution without a layer is left by a convolution of stride 2, whatever `last_stride` is; at
    1/4 it is 1. (The released code has 2 there too, so that all maps behind are half as large as
    they should be.)

    Args:
        path: Operator codes.
        channels: Width of the stem.
        last_stride: Of the first layer at 1/32.
    """
    strides = (1, 2, 2, last_stride)
    in_width, place, layers = channels, 0, []
    for level, kinds in enumerate(levels_of(path)):
        width = width_of(channels, HIGHEST - level)
        stride = strides[level] if kinds or not level else 2
        for kind in kinds or (None,):
            layers.append(Layer(kind, level, place, in_width, width, stride))
            in_width, stride = width, 1
            place += kind is not None
    return tuple(layers)
