"""The ProxylessNAS family of Once-for-All."""

from __future__ import annotations

from typing import ClassVar

from ...decision import Architecture
from .base import SIDES
from .mobile import MobilePlan, OfaMobile, StagePlan
from .published import PROXYLESS


class OfaProxyless(OfaMobile):
    """Once-for-All in the ProxylessNAS family: 7371^5 x 9 networks, at 25 input sides.

    Written `{"ks": [21], "e": [21], "d": [6], "r": side}`: kernels and expansion ratios by slot,
    four slots for each of five stages and one for the sixth, the depths of the stages (the sixth
    has one block whatever is written, and 1 is printed), the input side. Slots beyond a depth are
    ignored and printed as 0. The literature has width 1.3; 1.0 is valid too.

    `parse` also reads what the lists do not hold: any positive multiple of 4 as side, odd kernels,
    positive ratios (1: without the convolution that expands), depth 1.

    Source: arXiv 1908.09791, 1812.00332; mit-han-lab/once-for-all: ofa/imagenet_classification/
    elastic_nn/networks/ofa_proxyless.py.
    """

    name = "ofa_proxyless"
    notation = '{"ks": [21 numbers], "e": [21 numbers], "d": [6 numbers], "r": side}'
    lengths: ClassVar = {"ks": 21, "e": 21, "d": 6}
    usual_strides = (2, 2, 2, 1, 2, 1)
    presets: ClassVar = {
        "full": {"width": 1.0, "classes": 1000, "stem_stride": 2, "resolutions": SIDES},
        "tiny": {"width": 0.25, "classes": 10, "stem_stride": 1, "resolutions": [24, 32]},
    }
    variants: ClassVar = ({"width": 1.3},)
    plan = MobilePlan(
        stem=(32, "relu6"),
        first=(16, "relu6"),
        adds=False,
        stages=(
            StagePlan(24, "relu6"),
            StagePlan(40, "relu6"),
            StagePlan(80, "relu6"),
            StagePlan(96, "relu6"),
            StagePlan(192, "relu6"),
            StagePlan(320, "relu6", blocks=1),
        ),
        last=1280,
        features=None,
        eps=1e-3,
    )

    def published(self) -> dict[str, Architecture]:
        """Return the networks that the project released, of those whose width this space has."""
        return self.released(PROXYLESS)
