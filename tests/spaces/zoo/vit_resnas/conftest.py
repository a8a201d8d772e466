"""What the tests of ViT-ResNAS share."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from netloom.spaces.zoo.vit_resnas import VitResNas


def tiny(**options: Any) -> VitResNas:
    return VitResNas(**{"preset": "tiny", "in_channels": 1, **options})


def on_meta(space: VitResNas, text: Any) -> nn.Module:
    """Return a network without memory for its weights."""
    with torch.device("meta"):
        return space.build(space.parse(text))


def largest(space: VitResNas) -> dict[str, Any]:
    """Return the architecture with the last option of every decision."""
    return {d.name: d.options[-1] for d in space.decisions}


def smallest(space: VitResNas) -> dict[str, Any]:
    return {d.name: d.options[0] for d in space.decisions}
