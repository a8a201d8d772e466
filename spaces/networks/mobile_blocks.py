"""Blocks of the MobileNet families, plain or elastic.

Source: arXiv 1801.04381 (inverted residuals), 1905.02244 (squeeze-and-excitation, hard-swish),
1908.09791; mit-han-lab/once-for-all: ofa/utils/layers.py (re-written).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..layers import (
    ElasticConv2d,
    ElasticLinear,
    Size,
    Sortable,
    SqueezeExcite,
    batch_norm2d,
    conv2d,
    linear,
)
from ..rounding import squeezed

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "h_swish": nn.Hardswish,  # x relu6(x + 3) / 6
}


class ConvNorm(nn.Sequential):
    """Convolution that keeps the side (at stride 1), batch norm, activation.

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output.
        kernel: Side.
        stride: Of both directions.
        activation: One of `ACTIVATIONS`; None: none.
        eps: Of the batch norm.
        depthwise: One filter per channel; both widths are then one object.
        transform: Whether smaller kernels are learned transforms of larger ones.
        bias: Whether the convolution has one, beside that of the norm.
    """

    def __init__(
        self,
        in_channels: Size | int,
        out_channels: Size | int,
        kernel: Size | int = 1,
        stride: int = 1,
        activation: str | None = None,
        eps: float = 1e-5,
        *,
        depthwise: bool = False,
        transform: bool = False,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.conv = conv2d(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            depthwise=depthwise,
            transform=transform,
            bias=bias,
        )
        self.norm = batch_norm2d(out_channels, eps=eps)
        if activation is not None:
            self.activation = ACTIVATIONS[activation]()


class InvertedResidual(Sortable):
    """MBConv: expand, depthwise, squeeze-and-excitation, project; added where shapes agree.

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output.
        kernel: Of the depthwise convolution.
        hidden: Width of the depthwise convolution; None: that of the input, without a convolution
            that expands it.
        stride: Of the depthwise convolution.
        activation: After the first two convolutions; one of `ACTIVATIONS`.
        excite: Whether squeeze-and-excitation follows the depthwise convolution.
        eps: Of the batch norms.
        residual: Whether the input is added where stride and widths allow it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Size | int,
        hidden: Size | int | None,
        stride: int = 1,
        activation: str = "relu6",
        excite: bool = False,
        eps: float = 1e-5,
        residual: bool = True,
    ) -> None:
        super().__init__()
        self.residual = residual and stride == 1 and in_channels == out_channels
        self.expand: nn.Module = nn.Identity()
        width = in_channels if hidden is None else hidden
        if hidden is not None:
            self.expand = ConvNorm(in_channels, width, 1, 1, activation, eps)
        self.depthwise = ConvNorm(
            width, width, kernel, stride, activation, eps, depthwise=True, transform=True
        )
        self.excite: nn.Module = nn.Identity()
        if excite:
            inner = width.map(squeezed) if isinstance(width, Size) else squeezed(width)
            self.excite = SqueezeExcite(width, inner)
        self.project = ConvNorm(width, out_channels, 1, 1, None, eps)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, ceil(H/stride), ceil(W/stride))."""
        y: Tensor = self.project(self.excite(self.depthwise(self.expand(x))))
        return x + y if self.residual else y

    def readers(self) -> list[nn.Module]:
        """Return the last layer, and that of squeeze-and-excitation: they read hidden widths."""
        excite = [self.excite.expand] if isinstance(self.excite, SqueezeExcite) else []
        return [self.project.conv, *excite]


class Classifier(nn.Module):
    """Global average, a mix of the features if wanted, dropout, linear.

    Args:
        in_channels: Width of the input.
        classes: Number of outputs.
        features: Width of a 1x1 convolution without norm behind the average; None: there is none.
        activation: Behind that convolution.
        dropout: Share of the features that training drops.
    """

    def __init__(
        self,
        in_channels: Size | int,
        classes: int,
        features: int | None = None,
        activation: str = "h_swish",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.mix = nn.Sequential()
        if features is not None:
            self.mix = nn.Sequential(conv2d(in_channels, features), ACTIVATIONS[activation]())
        self.dropout = nn.Dropout(dropout)
        self.linear = linear(in_channels if features is None else features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, classes)."""
        y = torch.flatten(self.mix(self.pool(x)), 1)
        logits: Tensor = self.linear(self.dropout(y))
        return logits


@torch.no_grad()
def he_fan_out(network: nn.Module) -> None:
    """Draw the weights as the papers here train from: He by fan-out, linear layers uniform.

    Convolutions: normal, variance 2 / (kernel area x filters), also depthwise ones. Linear layers:
    uniform within 1 / sqrt(inputs). Biases: 0. Norms and kernel transforms stay as made.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | ElasticConv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")
        elif isinstance(layer, nn.Linear | ElasticLinear):
            bound = 1 / math.sqrt(layer.weight.shape[1])
            nn.init.uniform_(layer.weight, -bound, bound)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
