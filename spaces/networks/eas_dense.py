"""DenseNet-BC with a growth rate for each mini-block.

Source: arXiv 1608.06993, 1707.04873; han-cai/EAS: code/models/dense_net.py (re-written).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .eas_plain import initialise
from .eas_plan import DensePlan


class Stem(nn.Module):
    """The first 3x3 convolution; the norms of what follows see its outputs as they are."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, width, H, W)."""
        y: Tensor = self.conv(x)
        return y


class MiniBlock(nn.Module):
    """Norm, ReLU, 1x1 convolution, norm, ReLU, 3x3 convolution; joined to what it reads.

    Args:
        inputs: Channels that it reads.
        growth: Channels that it adds.
        bottleneck: Width of the 1x1 convolution, as a multiple of `growth`.
        dropout: Probability with which training drops an output of either convolution.
    """

    def __init__(self, inputs: int, growth: int, bottleneck: int, dropout: float = 0.0) -> None:
        super().__init__()
        hidden = bottleneck * growth
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, hidden, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(hidden)
        self.conv2 = nn.Conv2d(hidden, growth, 3, padding=1, bias=False)
        self.act = nn.ReLU()
        self.drop = nn.Dropout(dropout) if dropout else None
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, inputs + growth, H, W)."""
        y: Tensor = self.conv1(self.act(self.norm1(x)))
        y = y if self.drop is None else self.drop(y)
        y = self.conv2(self.act(self.norm2(y)))
        return torch.cat([x, y if self.drop is None else self.drop(y)], 1)


class Transition(nn.Module):
    """Norm, ReLU, 1x1 convolution, average of 2x2 pixels; an odd row or column is dropped."""

    def __init__(self, inputs: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.act = nn.ReLU()
        self.conv = nn.Conv2d(inputs, width, 1, bias=False)
        self.drop = nn.Dropout(dropout) if dropout else None
        self.pool = nn.AvgPool2d(2)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, width, H // 2, W // 2)."""
        y: Tensor = self.conv(self.act(self.norm(x)))
        return self.pool(y if self.drop is None else self.drop(y))  # type: ignore[no-any-return]


class Head(nn.Module):
    """Norm, ReLU, average of the whole map, linear layer."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.act = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(inputs, classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, classes)."""
        logits: Tensor = self.linear(torch.flatten(self.pool(self.act(self.norm(x))), 1))
        return logits


class DenseNetwork(nn.Module):
    """Stem, dense blocks with transitions between them, head.

    Args:
        plan: Its widths.
        in_channels: Channels of the image.
        classes: Number of outputs.
        bottleneck: Of the mini-blocks.
        dropout: Of the convolutions but the first.
    """

    def __init__(
        self,
        plan: DensePlan,
        in_channels: int,
        classes: int,
        bottleneck: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.plan = plan
        self.rest = (in_channels, classes, bottleneck, dropout)
        self.stem = Stem(in_channels, plan.stem)
        inputs = [plan.inputs(block) for block in range(len(plan.blocks))]
        self.blocks = nn.ModuleList(
            nn.Sequential(
                *(
                    MiniBlock(n, growth, bottleneck, dropout)
                    for n, growth in zip(reads[:-1], block, strict=True)
                )
            )
            for reads, block in zip(inputs, plan.blocks, strict=True)
        )
        self.transitions = nn.ModuleList(
            Transition(reads[-1], width, dropout)
            for reads, width in zip(inputs[:-1], plan.transitions, strict=True)
        )
        self.head = Head(inputs[-1][-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, classes)."""
        x = self.stem(x)
        for number, block in enumerate(self.blocks):
            x = block(self.transitions[number - 1](x) if number else x)
        logits: Tensor = self.head(x)
        return logits
