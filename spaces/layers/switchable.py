"""Batch norms that widths do not share."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ...errors import SpecError
from .mutable import Choice, Context, Mutable


class SwitchableBatchNorm2d(Mutable):
    """Batch norm with parameters and statistics of its own for each width.

    Networks of different widths have features of different means and variances; apart from that
    they share their weights (slimmable networks, arXiv 1812.08928).

    Args:
        channels: Width; the options of the choice have one norm each.
        eps: Added to the variance.
        momentum: Weight of a batch in the running statistics; None averages over batches.
        affine: Whether they have a scale and a shift.

    Raises:
        SpecError: If the width is no `Choice`, whose options could be told.
    """

    def __init__(
        self,
        channels: Choice,
        *,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
    ) -> None:
        super().__init__()
        if not isinstance(channels, Choice):
            raise SpecError(
                f"a batch norm for each width needs a Choice of widths, got {channels!r}; use "
                "ElasticBatchNorm2d"
            )
        self.channels = channels
        self.norms = nn.ModuleDict(
            {str(n): nn.BatchNorm2d(n, eps, momentum, affine) for n in channels.values}
        )

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choice of the width."""
        return (self.channels,)

    @property
    def active(self) -> nn.Module:
        """The norm of the active width."""
        return self.norms[str(self.channels.value)]

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> the same shape.

        Raises:
            SpecError: In train mode when each sample runs a network of its own: their statistics
                would mix.
        """
        if self.together:
            return self._together(x)
        y: Tensor = self.active(x)
        return y

    def branches(self) -> Iterator[tuple[nn.Module, Context]]:
        """Yield the norm of each width with the option that stands for it."""
        for option, width in zip(self.channels.options, self.channels.values, strict=True):
            yield self.norms[str(width)], {self.channels: (option,)}

    def cut(self, inherit: bool) -> nn.Module:
        """Return the norm of the active width."""
        return self.active

    def _together(self, x: Tensor) -> Tensor:
        """Normalise each sample by the norm of its own width; the other channels are zero."""
        if self.training:
            raise SpecError(
                "batch norm mixes the samples of a batch, so that networks cannot be trained "
                "together in one batch; activate one architecture at a time"
            )
        widths, total = self.channels.each(len(x)), torch.zeros_like(x)
        for width in set(widths):
            mine = torch.tensor([w == width for w in widths], device=x.device)
            y = self.norms[str(width)](x[:, :width]) * mine[:, None, None, None]
            total[:, :width] += y
        return total
