"""The codes in which the mobile spaces write their blocks; loads no torch."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple


class BlockCode(NamedTuple):
    """What an inverted residual is made of.

    Args:
        kernel: Side of the depthwise convolution.
        expand: Ratio of the hidden width.
        groups: Of the 1x1 convolutions.
    """

    kernel: int
    expand: int
    groups: int


@lru_cache
def block_code(code: str) -> BlockCode:
    """Read `k5_e6` or `k3_e1_g2`.

    Raises:
        ValueError: If it is no such code.
    """
    found = re.fullmatch(r"k(\d+)_e(\d+)(?:_g(\d+))?", code)
    if found is None:
        raise ValueError(f"a block is written k<kernel>_e<ratio> or with _g<groups>, got {code!r}")
    return BlockCode(*map(int, found.groups(default="1")))
