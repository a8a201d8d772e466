"""The networks of Once-for-All in the MobileNetV3 and ProxylessNAS families, plain or elastic.

Source: arXiv 1908.09791; mit-han-lab/once-for-all: ofa/imagenet_classification/elastic_nn/
networks/{ofa_mbv3,ofa_proxyless}.py (re-written).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from ..layers import Choice, repeat
from .mobile_blocks import Classifier, ConvNorm, InvertedResidual, he_fan_out


class OfaMobileNet(nn.Sequential):
    """Stem, a fixed block, stages of inverted residuals, 1x1 convolution, classifier.

    Args:
        stem: Arguments of `ConvNorm`.
        first: Arguments of `InvertedResidual`.
        stages: Of each stage the depth and the arguments of its blocks; a smaller depth has the
            first ones.
        last: Arguments of `ConvNorm`.
        classifier: Arguments of `Classifier`.
    """

    def __init__(
        self,
        stem: Sequence[Any],
        first: Sequence[Any],
        stages: Sequence[tuple[Choice | int, Sequence[Sequence[Any]]]],
        last: Sequence[Any],
        classifier: Sequence[Any],
    ) -> None:
        super().__init__()
        self.stem = ConvNorm(*stem)
        self.first = InvertedResidual(*first)
        self.stages = nn.Sequential(
            *(
                repeat(depth, [InvertedResidual(*args) for args in blocks])
                for depth, blocks in stages
            )
        )
        self.last = ConvNorm(*last)
        self.classifier = Classifier(*classifier)
        he_fan_out(self)
