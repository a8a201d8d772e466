"""What the tests of the spaces of Once-for-All share."""

from __future__ import annotations

from typing import Any

from netloom.spaces import Architecture
from netloom.spaces.zoo.ofa.base import OfaSpace
from netloom.spaces.zoo.ofa.mbv3 import OfaMbv3
from netloom.spaces.zoo.ofa.proxyless import OfaProxyless
from netloom.spaces.zoo.ofa.resnet50 import OfaResNet50

FAMILIES: list[type[OfaSpace]] = [OfaMbv3, OfaProxyless, OfaResNet50]


def tiny(cls: type[OfaSpace], **options: Any) -> Any:
    """Return a space whose networks take milliseconds."""
    return cls(**{"preset": "tiny", "classes": 3, "resolutions": [8, 12, 16], **options})


def uniform(space: OfaSpace, r: int = 224, **values: float) -> Architecture:
    """Return the network with one value in every entry of each list of the notation."""
    return space.parse({**{k: [v] * space.lengths[k] for k, v in values.items()}, "r": r})
