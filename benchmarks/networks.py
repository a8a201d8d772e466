"""Four well-known network sizes in plain torch, for benchmarks: nothing to download or install.

`mobilenet_v2` (arXiv 1801.04381, table 2), `mobilenet_v3_large` (arXiv 1905.02244, table 1),
`resnet50` (arXiv 1512.03385, stride in the 3x3 convolution) and `vit_small` (arXiv 2010.11929;
DeiT-S sizes, arXiv 2012.12877).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv_norm(
    inputs: int,
    outputs: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    act: type[nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Return convolution, batch norm and, unless `act` is None, an activation."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([act()] if act else []))


def divisible(channels: int) -> int:
    """Return the multiple of 8 nearest to `channels`, not more than 10 % below it."""
    rounded = max(8, (channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate computed from the mean of all."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce, self.expand = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` gated."""
        return x * F.hardsigmoid(self.expand(F.relu(self.reduce(self.pool(x)))))


class InvertedResidual(nn.Module):
    """Expand, depthwise, optional squeeze-excite, project."""

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        kernel: int,
        stride: int,
        se: bool,
        act: type[nn.Module],
    ) -> None:
        super().__init__()
        self.residual = stride == 1 and inputs == outputs
        layers: list[nn.Module] = []
        if hidden != inputs:
            layers.append(conv_norm(inputs, hidden, act=act))
        layers.append(conv_norm(hidden, hidden, kernel, stride, hidden, act))
        if se:
            layers.append(SqueezeExcite(hidden, divisible(hidden // 4)))
        self.layers = nn.Sequential(*layers, conv_norm(hidden, outputs, act=None))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        return x + self.layers(x) if self.residual else self.layers(x)


# expansion, out, blocks, stride of the first
_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v2(classes: int = 1000) -> nn.Module:
    """Return MobileNetV2 1.0 (3,504,872 parameters)."""
    channels = 32
    layers: list[nn.Module] = [conv_norm(3, channels, 3, 2, act=nn.ReLU6)]
    for ratio, outputs, blocks, stride in _V2:
        for block in range(blocks):
            step, hidden = 1 if block else stride, ratio * channels
            layers.append(InvertedResidual(channels, hidden, outputs, 3, step, False, nn.ReLU6))
            channels = outputs
    return nn.Sequential(
        *layers,
        conv_norm(channels, 1280, act=nn.ReLU6),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(1280, classes),
    )


# kernel, hidden, out, squeeze-excite, hard-swish, stride
_V3_LARGE = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)


def mobilenet_v3_large(classes: int = 1000) -> nn.Module:
    """Return MobileNetV3-Large 1.0 (5,483,032 parameters)."""
    channels = 16
    layers: list[nn.Module] = [conv_norm(3, channels, 3, 2, act=nn.Hardswish)]
    for kernel, hidden, outputs, se, hs, stride in _V3_LARGE:
        act = nn.Hardswish if hs else nn.ReLU
        layers.append(InvertedResidual(channels, hidden, outputs, kernel, stride, se, act))
        channels = outputs
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(960, 1280), nn.Hardswish()]
    return nn.Sequential(
        *layers,
        conv_norm(channels, 960, act=nn.Hardswish),
        *head,
        nn.Dropout(0.2),
        nn.Linear(1280, classes),
    )


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv_norm(inputs, width),
            conv_norm(width, width, 3, stride),
            conv_norm(width, 4 * width, act=None),
        )
        same = stride == 1 and inputs == 4 * width
        self.shortcut = nn.Identity() if same else conv_norm(inputs, 4 * width, 1, stride, act=None)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        return F.relu(self.layers(x) + self.shortcut(x))


def resnet50(classes: int = 1000) -> nn.Module:
    """Return ResNet-50 (25,557,032 parameters)."""
    layers: list[nn.Module] = [conv_norm(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 << stage
        for block in range(blocks):
            layers.append(Bottleneck(inputs, width, 2 if stage and not block else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


class Attention(nn.Module):
    """Multi-head self-attention with torch's fused product."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.project = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the attended tokens; `x`: (batch, tokens, dim)."""
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        out = F.scaled_dot_product_attention(q, k, v)
        return self.project(out.transpose(1, 2).reshape(batch, tokens, dim))


class TransformerBlock(nn.Module):
    """Pre-norm attention and perceptron."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(dim), Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """Patches of 16, a class token, learned positions."""

    def __init__(self, dim: int, depth: int, heads: int, classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, dim, 16, 16)
        self.token = nn.Parameter(torch.zeros(1, 1, dim))
        self.positions = nn.Parameter(torch.zeros(1, 197, dim))
        self.blocks = nn.Sequential(*(TransformerBlock(dim, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits; `x`: (batch, 3, 224, 224)."""
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.positions
        return self.head(self.norm(self.blocks(x))[:, 0])


def vit_small(classes: int = 1000) -> nn.Module:
    """Return ViT-S/16 at 224x224 (22,050,664 parameters)."""
    return VisionTransformer(384, 12, 6, classes)


NETWORKS = {
    "mobilenet_v2": mobilenet_v2,
    "mobilenet_v3_large": mobilenet_v3_large,
    "resnet50": resnet50,
    "vit_small": vit_small,
}
