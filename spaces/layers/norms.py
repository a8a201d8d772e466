"""Norms whose width is chosen: parameters and statistics of the leading channels."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import SpecError
from .elastic import Elastic, leading, spread_over
from .mutable import Size, as_size


class ElasticBatchNorm2d(Elastic):
    """Batch norm over the leading channels; all widths share parameters and statistics.

    The shared statistics are those of no single network: recalibrate them before a network is
    judged with inherited weights (arXiv 1908.09791).

    Args:
        channels: Width.
        eps: Added to the variance.
        momentum: Weight of a batch in the running statistics; None averages over batches.
        affine: Whether it has a scale and a shift.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        channels: Size | int,
        *,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
    ) -> None:
        super().__init__()
        self.channels, self.eps, self.momentum = as_size(channels), eps, momentum
        self._affine = affine
        widest = self.plain(largest=True)
        self.weight, self.bias = widest.weight, widest.bias
        for name, buffer in widest.named_buffers():
            self.register_buffer(name, buffer)
        names = ("weight", "bias") * affine + ("running_mean", "running_var")
        self.layout = dict.fromkeys(names, (self.channels,))

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> the same shape.

        Raises:
            SpecError: In train mode when each sample runs a network of its own: their statistics
                would mix.
        """
        if self.together:
            return self._together(x)
        n, momentum = self.channels.value, self.momentum
        if self.training:
            self.num_batches_tracked.add_(1)
            if momentum is None:  # the plain average over batches, as recalibration uses it
                momentum = 1.0 / int(self.num_batches_tracked)
        return F.batch_norm(
            x,
            leading(self.running_mean, n),
            leading(self.running_var, n),
            leading(self.weight, n) if self._affine else None,
            leading(self.bias, n) if self._affine else None,
            self.training,
            momentum or 0.0,
            self.eps,
        )

    def plain(self, *, largest: bool = False) -> nn.BatchNorm2d:
        """Return an `nn.BatchNorm2d` of the active (or the largest) width."""
        n = self.channels.max if largest else self.channels.value
        return nn.BatchNorm2d(n, self.eps, self.momentum, self._affine)

    def cut(self, inherit: bool) -> nn.Module:
        """Return an `nn.BatchNorm2d` of the active width."""
        plain = cast("nn.BatchNorm2d", super().cut(inherit))
        if inherit:
            cast(Tensor, plain.num_batches_tracked).copy_(self.num_batches_tracked)
        return plain.to(self.running_mean.device)

    def reset_parameters(self) -> None:
        """Forget scale, shift and statistics."""
        super().reset_parameters()
        self.num_batches_tracked.zero_()

    def extra_repr(self) -> str:
        """Return the width for printing."""
        return f"{self.channels}, eps={self.eps}, momentum={self.momentum}, affine={self._affine}"

    def _together(self, x: Tensor) -> Tensor:
        if self.training:
            raise SpecError(
                "batch norm mixes the samples of a batch, so that networks cannot be trained "
                "together in one batch; use layer norm, or activate one architecture at a time"
            )
        mask = self.channels.mask(len(x), x.device)[:, :, None, None]
        y = F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )
        return y * mask


class ElasticLayerNorm(Elastic):
    """Layer norm over the last dimension, whose width may be a choice.

    Args:
        features: Width.
        eps: Added to the variance.
    """

    def __init__(self, features: Size | int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.features, self.eps = as_size(features), eps
        widest = self.plain(largest=True)
        self.weight, self.bias = widest.weight, widest.bias
        self.layout = {"weight": (self.features,), "bias": (self.features,)}

    def forward(self, x: Tensor) -> Tensor:
        """(..., features) -> the same shape."""
        if self.together:
            return self._together(x)
        n = self.features.value
        return F.layer_norm(x, (n,), self.weight[:n], self.bias[:n], self.eps)

    def plain(self, *, largest: bool = False) -> nn.LayerNorm:
        """Return an `nn.LayerNorm` of the active (or the largest) width."""
        return nn.LayerNorm(self.features.max if largest else self.features.value, self.eps)

    def extra_repr(self) -> str:
        """Return the width for printing."""
        return f"{self.features}, eps={self.eps}"

    def _together(self, x: Tensor) -> Tensor:
        """Normalise each sample over its own channels; the others stay zero.

        Mean and variance are taken one after the other and at least in float32: the difference
        of two averages would lose the digits of a small variance, half precision most of all.
        """
        mask = spread_over(self.features.mask(len(x), x.device), x)
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        count = mask.sum(-1, keepdim=True)
        centred = (wide - (wide * mask).sum(-1, keepdim=True) / count) * mask
        variance = centred.square().sum(-1, keepdim=True) / count
        y = (centred * torch.rsqrt(variance + self.eps) * self.weight + self.bias) * mask
        return y.to(x.dtype)
