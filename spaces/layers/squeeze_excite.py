"""Squeeze-and-excitation, plain or elastic."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from .make import conv2d
from .mutable import Size


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate that sees the averages of all (arXiv 1709.01507).

    Average, 1x1 convolution, activation, 1x1 convolution, gate; both convolutions with bias.

    Args:
        channels: Width.
        squeezed: Width between the convolutions.
        gate: From the second convolution's output to the factors.
        activation: Between the convolutions.
    """

    def __init__(
        self,
        channels: Size | int,
        squeezed: Size | int,
        gate: Callable[[], nn.Module] = nn.Hardsigmoid,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.reduce = conv2d(channels, squeezed, bias=True)
        self.activation = activation()
        self.expand = conv2d(squeezed, channels, bias=True)
        self.gate = gate()

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> the same shape."""
        averages = F.adaptive_avg_pool2d(x, 1)
        factors: Tensor = self.gate(self.expand(self.activation(self.reduce(averages))))
        return x * factors
