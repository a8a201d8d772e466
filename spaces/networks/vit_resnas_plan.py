"""What the networks of ViT-ResNAS are, in numbers; loads no torch.

Source: arXiv 2109.00642; yilunliao/vit-search: nets/vit_sr_supernet.py, nets/patch_conv.py.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

CONVOLUTIONS, LINEAR = "convolutions", "linear"


class StemKind(NamedTuple):
    """How an image becomes patches.

    Args:
        kind: CONVOLUTIONS (three of 3x3, then one of half a patch) or LINEAR (one of a patch).
        number: Width of the first three convolutions; or side of a patch.
    """

    kind: str
    number: int


def stem_kind(name: Any) -> StemKind | None:
    """Return what a stem's name says, `conv_stem_mid24` or `linear_patch14`; None: no name.

    >>> stem_kind("conv_stem_mid24")
    StemKind(kind='convolutions', number=24)
    """
    text = name if isinstance(name, str) else ""
    if found := re.fullmatch(r"conv_stem_mid([1-9]\d{0,4})", text):
        return StemKind(CONVOLUTIONS, int(found[1]))
    if found := re.fullmatch(r"linear_patch([1-9]\d{0,4})", text):
        return StemKind(LINEAR, int(found[1]))
    return None


def fits(name: Any, patch: int) -> bool:
    """Return whether a stem of this name makes patches of side `patch`."""
    kind = stem_kind(name)
    if kind is None:
        return False
    return patch % 2 == 0 if kind.kind == CONVOLUTIONS else kind.number == patch


def drop_rates(rate: float, blocks: int) -> list[float]:
    """Return the probabilities with which blocks are dropped: from 0 up to `rate`, evenly."""
    return [rate * i / max(1, blocks - 1) for i in range(blocks)]
