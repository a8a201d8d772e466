"""What the blocks of Hiera are, in numbers; loads no torch.

Source: arXiv 2306.00989; facebookresearch/hiera: hiera/hiera.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

STAGES = 4
Pair: TypeAlias = tuple[int, int]  # height and width, in tokens


class Pooling(NamedTuple):
    """How queries are pooled, and how large the first windows are.

    Args:
        times: So many stages begin with a pooling, from the second on.
        stride: Of a pooling.
        unit: A window (mask unit) before any pooling; each pooling makes windows smaller too.
    """

    times: int
    stride: Pair = (2, 2)
    unit: Pair = (8, 8)

    @classmethod
    def of(cls, option: int | str) -> Pooling:
        """Return what an option says: how many times, or a text that `option` returned.

        Raises:
            ValueError: If a text is none.
        """
        if isinstance(option, int):
            return cls(option)
        found = re.fullmatch(r"(\d+) of (\d+)x(\d+) in (\d+)x(\d+)", option)
        if found is None:
            raise ValueError(f"not written as 3 of 2x2 in 8x8: {option!r}")
        times, *sides = map(int, found.groups())
        return cls(times, (sides[0], sides[1]), (sides[2], sides[3]))

    @property
    def option(self) -> int | str:
        """How many times; where stride or unit are not the usual ones, a text with all three."""
        if self == Pooling(self.times):
            return self.times
        sides = ("x".join(map(str, pair)) for pair in (self.stride, self.unit))
        return f"{self.times} of {' in '.join(sides)}"

    def problem(self, tokens: int, local: Iterable[int] = ()) -> str:
        """Return why a map cannot be pooled and divided so; "" if it can.

        Args:
            tokens: Along a side of the first map.
            local: The stages, from 0, with a block that attends inside windows.
        """
        if not 0 <= self.times < STAGES:
            return f"{STAGES} stages have 0 to {STAGES - 1} poolings (q_pool), not {self.times}"
        if min(*self.stride, *self.unit) < 1:
            return "sides of poolings (q_stride) and windows (mask_unit_size) are at least 1"
        for stride, unit in zip(self.stride, self.unit, strict=True):
            if tokens % stride**self.times:
                return (
                    f"{self.times} poolings (q_pool) of {stride} (q_stride) must divide the "
                    f"{tokens} tokens along a side (options resolution / stem_stride)"
                )
            for stage in local:
                if tokens % unit or unit % stride ** min(stage, self.times):
                    return (
                        f"stage {stage + 1} attends inside windows (mask_unit_attn): those of "
                        f"{unit} tokens (mask_unit_size) must divide the {tokens} along a side "
                        f"(options resolution / stem_stride), and poolings of {stride} (q_stride) "
                        "must divide the windows"
                    )
        return ""


def local_stages(local: Sequence[bool], depths: Sequence[int]) -> list[int]:
    """Return the stages with a block that attends inside windows, from 0.

    Args:
        local: The flag of each stage; the first block of a stage has that of the stage before.
        depths: Of the stages.
    """
    flags = [{local[max(0, i - 1)], *[local[i]] * (depths[i] > 1)} for i in range(STAGES)]
    return [i for i, found in enumerate(flags) if True in found]


def pool_at(stage: int, option: int | str) -> Pair | None:
    """Return the stride with which the first block of a stage pools its queries, if it does.

    Args:
        stage: From 0.
        option: Of the pooling.
    """
    pooling = Pooling.of(option)
    return pooling.stride if 0 < stage <= pooling.times else None


def window_at(stage: int, tokens: int, local: bool, option: int | str) -> Pair | None:
    """Return the windows of the queries in a stage, behind its pooling; None: the whole map.

    Args:
        stage: From 0.
        tokens: Along a side of the first map; one window that fills it is the whole map.
        local: Whether attention stays in windows.
        option: Of the pooling.
    """
    pooling = Pooling.of(option)
    if not local or pooling.unit == (tokens, tokens):
        return None
    done = min(stage, pooling.times)
    height, width = (u // s**done for u, s in zip(pooling.unit, pooling.stride, strict=True))
    return height, width


def heads_of(width: int, head_size: int) -> int:
    """Return the number of heads: width / head size, or the next smaller one that divides it.

    >>> [heads_of(width, 32) for width in (32, 48, 80, 96)]
    [1, 1, 2, 3]
    """
    return _dividing(width, width // head_size)


def heads_at(stage: int, width: int, option: int | str) -> int:
    """Return the number of heads in a stage.

    Args:
        stage: From 0.
        width: Of the stage.
        option: A head size, or a text with the heads of each stage: where a width is none of
            theirs any more, the next smaller number.
    """
    if isinstance(option, int):
        return heads_of(width, option)
    return _dividing(width, int(option.split()[stage]))


def head_option(
    widths: tuple[int, ...], heads: tuple[int, ...], listed: tuple[int, ...]
) -> int | str:
    """Return the option that gives these heads: a listed size, any other, or a text.

    Args:
        widths: Of the stages.
        heads: Of the stages; each divides its width.
        listed: Head sizes that come first.
    """
    narrowest = min(w // h for w, h in zip(widths, heads, strict=True))
    for size in (*listed, narrowest):
        if tuple(heads_of(width, size) for width in widths) == heads:
            return size
    return " ".join(map(str, heads))


def hidden_of(width: int, ratio: float) -> int:
    """Return the width inside the MLP."""
    return int(width * ratio)


def _dividing(width: int, most: int) -> int:
    """Return the largest number up to `most`, at least 1, that divides the width."""
    return next((n for n in range(most, 0, -1) if width % n == 0), 1)
