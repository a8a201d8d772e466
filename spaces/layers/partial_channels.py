"""Layers that work on part of the channels, and sums with weights of their own (PC-DARTS).

Source: arXiv 1907.05737, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import SpecError


class PartialChannels(nn.Module):
    """Splits off the first 1/K of the channels, and joins and shuffles them again.

    Args:
        parts: K; the channels must divide by it.
        stride: Of the layer between; the other channels are then max-pooled, upwards on odd
            sides as strided convolutions do.

    Raises:
        SpecError: If `parts` is less than 2.
    """

    def __init__(self, parts: int, stride: int = 1) -> None:
        super().__init__()
        if parts < 2:
            raise SpecError(f"partial must be 2 or more parts of the channels, got {parts}")
        self.parts, self.stride = parts, stride

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) -> (N, C/K, H, W) and (N, C - C/K, H/stride, W/stride).

        Raises:
            SpecError: If K does not divide the channels.
        """
        channels = x.shape[1]
        if channels % self.parts:
            raise SpecError(
                f"the channels must divide by partial={self.parts}, got {channels}; choose a "
                "width that is a multiple of it, or another partial"
            )
        part, rest = x[:, : channels // self.parts], x[:, channels // self.parts :]
        if self.stride > 1:
            rest = F.max_pool2d(rest, self.stride, self.stride, ceil_mode=True)
        return part, rest

    def join(self, part: Tensor, rest: Tensor) -> Tensor:
        """Concatenate and interleave the K groups, so that the next layer sees other channels."""
        joined = torch.cat([part, rest], dim=1)
        n, channels, height, width = joined.shape
        groups = joined.view(n, self.parts, channels // self.parts, height, width)
        return groups.transpose(1, 2).reshape(n, channels, height, width)

    def around(self, layer: nn.Module) -> nn.Module:
        """Return `layer` on the first part of the channels as one module."""
        return Around(layer, self.parts, self.stride)

    def extra_repr(self) -> str:
        """Return K for printing."""
        return f"parts={self.parts}, stride={self.stride}"


class Around(nn.Module):
    """A layer on the first 1/K of the channels; the others pass it by; shuffled.

    Args:
        layer: Works on C/K channels.
        parts: K.
        stride: Of the layer.
    """

    def __init__(self, layer: nn.Module, parts: int, stride: int = 1) -> None:
        super().__init__()
        self.channels, self.layer = PartialChannels(parts, stride), layer

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, ceil(H/stride), ceil(W/stride))."""
        part, rest = self.channels.split(x)
        return self.channels.join(self.layer(part), rest)


class Junction(nn.Module):
    """The sum of several inputs, with a weight for each where a search sets some.

    The weights are those of edge normalisation: a softmax over the edges into a node.

    Args:
        name: By which a super-network's `mix` sets the weights; shared by junctions that agree.
        inputs: How many there are, for those who make weights.
    """

    def __init__(self, name: str = "", inputs: int = 0) -> None:
        super().__init__()
        self.name, self.inputs = name, inputs
        self.weights: Tensor | None = None

    def mix(self, weights: Tensor | None) -> None:
        """Weigh the inputs from now on; None adds them plainly.

        Args:
            weights: (number of inputs,); gradients flow into it.
        """
        object.__setattr__(self, "weights", weights)  # of the search, not of the network

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the (weighted) sum of tensors of one shape, from left to right.

        Raises:
            SpecError: If there are more or fewer weights than inputs.
        """
        weights = self.weights
        if weights is not None and len(weights) != len(inputs):
            raise SpecError(f"{len(inputs)} inputs need as many weights, got {len(weights)}")
        total = inputs[0] if weights is None else inputs[0] * weights[0]
        for i, x in enumerate(inputs[1:], start=1):
            total = total + (x if weights is None else x * weights[i])
        return total

    def __getstate__(self) -> dict[str, object]:
        """Leave the weights behind: a copy adds plainly."""
        return {**self.__dict__, "weights": None}
