"""Layers whose sizes are chosen: one weight, of which the leading part is used.

Smaller widths are the leading channels of the largest, smaller kernels its centre. A cut layer is
the plain torch layer on these slices.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import SpecError
from .mutable import Choice, Mutable, Size, as_size


class ElasticConv2d(Mutable):
    """A convolution whose widths and kernel may be choices; padded to keep the size.

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output.
        kernel: Side; odd numbers.
        stride: Of both directions.
        depthwise: One filter per channel; the widths must then be one and the same.
        bias: Whether it adds one.

    Raises:
        SpecError: If a kernel is even, or a depthwise one has two widths.
    """

    def __init__(
        self,
        in_channels: Size | int,
        out_channels: Size | int,
        kernel: Size | int = 1,
        *,
        stride: int = 1,
        depthwise: bool = False,
        bias: bool = False,
    ) -> None:
        super().__init__()
        if depthwise and in_channels is not out_channels and in_channels != out_channels:
            raise SpecError(
                f"a depthwise convolution has one width, got {in_channels!r} and {out_channels!r}"
            )
        self.in_channels, self.out_channels = as_size(in_channels), as_size(out_channels)
        self.kernel, self.stride, self.depthwise = as_size(kernel), stride, depthwise
        sides = [k for c in self.kernel.choices for k in c.options] or [self.kernel.max]
        if even := [k for k in sides if not isinstance(k, int) or k % 2 == 0]:
            raise SpecError(f"kernels must be odd to keep the size, got {even[0]!r}")
        widest = self._plain(self.in_channels.max, self.out_channels.max, self.kernel.max, bias)
        self.weight, self.bias = widest.weight, widest.bias

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choices of the widths and of the kernel."""
        return (*self.in_channels.choices, *self.out_channels.choices, *self.kernel.choices)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, ceil(H/stride), ceil(W/stride))."""
        weight, bias = self._slices()
        padding = self.kernel.value // 2
        groups = weight.shape[0] if self.depthwise else 1
        return F.conv2d(x, weight, bias, self.stride, padding, groups=groups)

    def cut(self, inherit: bool) -> nn.Module:
        """Return an `nn.Conv2d` of the active sizes."""
        sizes = self.in_channels.value, self.out_channels.value, self.kernel.value
        plain = self._plain(*sizes, self.bias is not None)
        return _inherit(plain, *self._slices()) if inherit else plain.to(self.weight)

    def reset_parameters(self) -> None:
        """Draw new weights by torch's rule for the largest sizes."""
        sizes = self.in_channels.max, self.out_channels.max, self.kernel.max
        _redraw(self, self._plain(*sizes, self.bias is not None))

    def extra_repr(self) -> str:
        """Return the sizes for printing."""
        sizes = f"{self.in_channels}, {self.out_channels}, kernel={self.kernel}"
        return f"{sizes}, stride={self.stride}, depthwise={self.depthwise}"

    def _slices(self) -> tuple[Tensor, Tensor | None]:
        n_out, kernel = self.out_channels.value, self.kernel.value
        n_in = 1 if self.depthwise else self.in_channels.value
        margin = (self.kernel.max - kernel) // 2
        window = slice(margin, margin + kernel)
        bias = None if self.bias is None else self.bias[:n_out]
        return self.weight[:n_out, :n_in, window, window], bias

    def _plain(self, n_in: int, n_out: int, kernel: int, bias: bool) -> nn.Conv2d:
        groups = n_out if self.depthwise else 1
        padding = kernel // 2
        return nn.Conv2d(n_in, n_out, kernel, self.stride, padding, groups=groups, bias=bias)


class ElasticBatchNorm2d(Mutable):
    """Batch norm over the leading channels; all widths share parameters and statistics.

    The shared statistics are those of no single network: recalibrate them before a network is
    judged with inherited weights (arXiv 1908.09791).

    Args:
        channels: Width.
    """

    def __init__(self, channels: Size | int) -> None:
        super().__init__()
        self.channels = as_size(channels)
        self.norm = nn.BatchNorm2d(self.channels.max)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choices of the width."""
        return self.channels.choices

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> the same shape."""
        n, norm = self.channels.value, self.norm
        mean, variance = _statistics(norm)
        factor = norm.momentum
        if self.training and norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
            if factor is None:  # the plain average over batches, as recalibration uses it
                factor = 1.0 / int(norm.num_batches_tracked)
        return F.batch_norm(
            x,
            mean[:n],
            variance[:n],
            norm.weight[:n],
            norm.bias[:n],
            self.training,
            factor or 0.0,
            norm.eps,
        )

    def cut(self, inherit: bool) -> nn.Module:
        """Return an `nn.BatchNorm2d` of the active width."""
        n = self.channels.value
        plain = nn.BatchNorm2d(n, self.norm.eps, self.norm.momentum).to(self.norm.weight)
        if inherit:
            _inherit(plain, self.norm.weight[:n], self.norm.bias[:n])
            for new, old in zip(_statistics(plain), _statistics(self.norm), strict=True):
                new.copy_(old[:n])
            cast(Tensor, plain.num_batches_tracked).copy_(
                cast(Tensor, self.norm.num_batches_tracked)
            )
        return plain

    def extra_repr(self) -> str:
        """Return the width for printing."""
        return str(self.channels)


class ElasticLinear(Mutable):
    """A linear layer whose widths may be choices.

    Args:
        in_features: Width of the input.
        out_features: Width of the output.
        bias: Whether it adds one.
    """

    def __init__(
        self, in_features: Size | int, out_features: Size | int, *, bias: bool = True
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = as_size(in_features), as_size(out_features)
        widest = nn.Linear(self.in_features.max, self.out_features.max, bias=bias)
        self.weight, self.bias = widest.weight, widest.bias

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choices of the widths."""
        return (*self.in_features.choices, *self.out_features.choices)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return F.linear(x, *self._slices())

    def cut(self, inherit: bool) -> nn.Module:
        """Return an `nn.Linear` of the active sizes."""
        sizes = self.in_features.value, self.out_features.value
        plain = nn.Linear(*sizes, bias=self.bias is not None)
        return _inherit(plain, *self._slices()) if inherit else plain.to(self.weight)

    def reset_parameters(self) -> None:
        """Draw new weights by torch's rule for the largest sizes."""
        sizes = self.in_features.max, self.out_features.max
        _redraw(self, nn.Linear(*sizes, bias=self.bias is not None))

    def extra_repr(self) -> str:
        """Return the sizes for printing."""
        return f"{self.in_features}, {self.out_features}"

    def _slices(self) -> tuple[Tensor, Tensor | None]:
        n_out = self.out_features.value
        bias = None if self.bias is None else self.bias[:n_out]
        return self.weight[:n_out, : self.in_features.value], bias


def _inherit(plain: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
    plain.to(weight)
    with torch.no_grad():
        cast("nn.Parameter", plain.weight).copy_(weight)
        if bias is not None:
            cast("nn.Parameter", plain.bias).copy_(bias)
    return plain


def _redraw(layer: nn.Module, fresh: nn.Module) -> None:
    with torch.no_grad():
        for own, new in zip(layer.parameters(), fresh.parameters(), strict=True):
            own.copy_(new)


def _statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    return cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
