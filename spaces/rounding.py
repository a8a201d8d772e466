"""Channel counts that hardware likes."""

from __future__ import annotations

from functools import lru_cache


def make_divisible(value: float, divisor: int = 8, least: float = 0.9) -> int:
    """Return the nearest multiple of `divisor`, not zero and not below 90 % (`least`) of `value`.

    Halves round up. Source: the rule of MobileNetV2 (arXiv 1801.04381) that its successors share.

    >>> make_divisible(33.6), make_divisible(18)
    (32, 24)
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < least * value else rounded


@lru_cache(maxsize=1 << 12)
def expanded(channels: int, ratio: float) -> int:
    """Return the hidden width of a block: width times ratio, a whole number, divisible by 8."""
    return make_divisible(round(channels * ratio))


def squeezed(channels: int) -> int:
    """Return the width inside a squeeze-and-excitation: a quarter, divisible by 8."""
    return make_divisible(channels // 4)
