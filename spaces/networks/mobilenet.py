"""The networks of ProxylessNAS: one candidate block per place, stand-alone or all candidates.

Source: arXiv 1812.00332; mit-han-lab/proxylessnas: search/models/{normal_nets/proxyless_nets.py,
super_nets/super_proxyless.py} (re-written).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..layers import OneOf, Zero
from .mobile_blocks import Classifier, ConvNorm, InvertedResidual, he_fan_out

EPS = 1e-3
ZERO = "zero"


class Residual(nn.Module):
    """A candidate beside a shortcut, where there is one; `zero` leaves the shortcut alone.

    Args:
        operation: The candidate, or the choice of one.
        shortcut: Whether the input is added.
    """

    def __init__(self, operation: nn.Module, shortcut: bool) -> None:
        super().__init__()
        self.operation, self.shortcut = operation, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, ceil(H/stride), ceil(W/stride))."""
        operation = self.operation
        if isinstance(operation, OneOf) and operation.alone:
            operation = operation.active
        if isinstance(operation, Zero):
            return x
        y: Tensor = operation(x)
        return x + y if self.shortcut else y


class Block(Residual):
    """Inverted residual (MBConv) beside a shortcut, where there is one; `zero` is the shortcut.

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output.
        kernel: Of the depthwise convolution; None: the block is `zero`.
        expand: Ratio of the hidden width.
        stride: Of the depthwise convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int | None, expand: int, stride: int
    ) -> None:
        operation: nn.Module = Zero()
        if kernel is not None:
            hidden = None if expand == 1 else in_channels * expand
            operation = InvertedResidual(
                in_channels, out_channels, kernel, hidden, stride, eps=EPS, residual=False
            )
        super().__init__(operation, stride == 1 and in_channels == out_channels)


def mixed_block(name: str, candidates: dict[str, tuple[Any, ...]]) -> Residual:
    """Return all candidates of a place.

    Args:
        name: Of the decision.
        candidates: Code -> arguments of `Block`.
    """
    blocks = {code: Block(*args) for code, args in candidates.items()}
    operations = {code: block.operation for code, block in blocks.items()}
    return Residual(OneOf(name, operations), next(iter(blocks.values())).shortcut)


class ProxylessNetwork(nn.Module):
    """Stem, a fixed block, the searched blocks, 1x1 convolution, classifier.

    Args:
        stem: Arguments of `ConvNorm`.
        first: Arguments of `InvertedResidual`.
        blocks: Name of the place -> arguments of `Block`, or code -> arguments for all candidates.
        last: Arguments of `ConvNorm`.
        classifier: Arguments of `Classifier`.
    """

    def __init__(
        self,
        stem: Sequence[Any],
        first: Sequence[Any],
        blocks: dict[str, tuple[Any, ...] | dict[str, tuple[Any, ...]]],
        last: Sequence[Any],
        classifier: Sequence[Any],
    ) -> None:
        super().__init__()
        self.stem = ConvNorm(*stem)
        self.first = First(*first)
        self.blocks = nn.Sequential()
        for name, args in blocks.items():
            block = mixed_block(name, args) if isinstance(args, dict) else Block(*args)
            self.blocks.add_module(name.removesuffix(".op").replace(".", "_"), block)
        self.last = ConvNorm(*last)
        self.classifier = Classifier(*classifier)
        he_fan_out(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, classes)."""
        logits: Tensor = self.classifier(self.last(self.blocks(self.first(self.stem(x)))))
        return logits


class First(InvertedResidual):
    """The block before the searched ones: 3x3 depthwise, no expansion, no shortcut.

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, None, 1, eps=EPS, residual=False)
