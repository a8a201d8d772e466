"""The MobileNetV3 family of Once-for-All."""

from __future__ import annotations

from typing import ClassVar

from ...decision import Architecture
from .base import RESOLUTION, SIDES
from .encoding import TutorialEncoding
from .mobile import MobilePlan, OfaMobile, StagePlan
from .published import MBV3


class OfaMbv3(OfaMobile):
    """Once-for-All in the MobileNetV3 family: 7371^5 networks, at 25 input sides.

    Written `{"ks": [20], "e": [20], "d": [5], "r": side}`: kernels and expansion ratios by slot,
    four slots for each of five stages, the depths of the stages, the input side. Slots beyond a
    depth are ignored and printed as 0. The literature has widths 1.0 and 1.2.

    `parse` also reads what the lists do not hold: any positive multiple of 4 as side, odd kernels,
    positive ratios (1: without the convolution that expands), depth 1.

    Source: arXiv 1908.09791; mit-han-lab/once-for-all: ofa/imagenet_classification/elastic_nn/
    networks/ofa_mbv3.py.
    """

    name = "ofa_mbv3"
    notation = '{"ks": [20 numbers], "e": [20 numbers], "d": [5 numbers], "r": side}'
    lengths: ClassVar = {"ks": 20, "e": 20, "d": 5}
    usual_strides = (2, 2, 2, 1, 2)
    presets: ClassVar = {
        "full": {"width": 1.0, "classes": 1000, "stem_stride": 2, "resolutions": SIDES},
        "tiny": {"width": 0.25, "classes": 10, "stem_stride": 1, "resolutions": [24, 32]},
    }
    variants: ClassVar = ({"width": 1.2},)
    plan = MobilePlan(
        stem=(16, "h_swish"),
        first=(16, "relu"),
        adds=True,
        stages=(
            StagePlan(24, "relu"),
            StagePlan(40, "relu", excite=True),
            StagePlan(80, "h_swish"),
            StagePlan(112, "h_swish", excite=True),
            StagePlan(160, "h_swish", excite=True),
        ),
        last=960,
        features=1280,
        eps=1e-5,
    )

    def tutorial_encoding(self) -> TutorialEncoding:
        """Return the encoding of the released predictor (width 1.2): 60 + 60 + 8 entries."""
        return TutorialEncoding(*self._entries(), RESOLUTION, self._finish)

    def published(self) -> dict[str, Architecture]:
        """Return the networks that the project released, of those whose width this space has."""
        return self.released(MBV3)
