"""Layers whose sizes are chosen: whole weights, of which the leading part is used.

Smaller widths are the leading channels of the largest. A cut layer is the plain torch layer on
these slices, and gives the same bits.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import SpecError
from .depthwise import depthwise_conv2d
from .mutable import Choice, Context, Mutable, Size, as_size
from .reorder import Remembered, reorder

Layout: TypeAlias = dict[str, tuple[Size | None, ...]]


class Elastic(Mutable):
    """A mutable layer made of tensors whose leading parts are used.

    `layout` names, for every parameter and buffer that is cut, the size of each of its
    dimensions (None: always whole). The first dimension of a weight belongs to what the layer
    writes, the second to what it reads.
    """

    copies = True
    layout: Layout

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choices of its sizes, each once."""
        found = [c for sizes in self.layout.values() for s in sizes if s for c in s.choices]
        return tuple(dict.fromkeys(found))

    @property
    def reads(self) -> Size | None:
        """The size of what it reads, if a dimension of its weight belongs to that."""
        sizes = self.layout.get("weight", ())
        return sizes[1] if len(sizes) > 1 else None

    def sliced(self, name: str) -> Tensor | None:
        """Return the active part of a tensor, a view; None where the layer has none."""
        tensor = cast("Tensor | None", getattr(self, name))
        if tensor is None:
            return None
        for dim, size in enumerate(self.layout[name]):
            if size is not None:
                tensor = leading(tensor, size.value, dim)
        return tensor

    def permute(self, size: Size, order: Tensor, state: Remembered | None = None) -> None:
        """Put the channels of `size` into another order.

        Args:
            size: One of the layer's sizes, the same object.
            order: (size.max,), int64: the present place of the channel that goes to each place.
            state: Of the optimizer that trains the layer; its moments move too.
        """
        for name, sizes in self.layout.items():
            tensor = cast("Tensor | None", getattr(self, name))
            for dim, own in enumerate(sizes if tensor is not None else ()):
                if own is size and tensor is not None:
                    reorder(tensor, dim, order, state=state)

    def importance(self, size: Size) -> Tensor:
        """Return how much the layer makes of each channel that it reads, the sum of |weights|.

        Args:
            size: What it reads, the same object.

        Returns:
            (size.max,), float.

        Raises:
            SpecError: If the layer reads no such size.
        """
        if self.reads is not size:
            raise SpecError(f"{type(self).__name__}({self.extra_repr()}) does not read {size!r}")
        weight = cast(Tensor, self.weight).detach().abs()
        return weight.sum(dim=[d for d in range(weight.dim()) if d != 1])

    @abstractmethod
    def plain(self, *, largest: bool = False) -> nn.Module:
        """Return a plain layer of the active (or the largest) sizes with weights of its own."""

    def cut(self, inherit: bool) -> nn.Module:
        """Return the plain layer of the active sizes."""
        like = next(self.parameters(), None)
        if not inherit:
            return inherited(self.plain(), {}, like)
        return inherited(self._empty(like), {n: self.sliced(n) for n in self.layout}, like)

    def _empty(self, like: Tensor | None) -> nn.Module:
        """Return `plain()`, without the cost of drawing weights if all will be inherited."""
        own = {**self._parameters, **self._buffers}
        if like is None or not own.keys() <= self.layout.keys():
            return self.plain()
        with torch.device("meta"):
            plain = self.plain()
        if not plain.state_dict().keys() <= self.layout.keys():
            return self.plain()
        return plain.to_empty(device=like.device)

    def reset_parameters(self) -> None:
        """Draw new weights by torch's rule for the largest sizes."""
        fresh = self.plain(largest=True).state_dict()
        with torch.no_grad():
            for name in self.layout:
                tensor = getattr(self, name)
                if tensor is not None:
                    tensor.copy_(fresh[name])


class ElasticConv2d(Elastic):
    """A convolution whose widths and kernel may be choices; by default padded to keep the size.

    A smaller kernel is the centre of the next larger one. With `transform` the centre of each
    step goes through a learned square matrix, shared by the channels and initially the identity
    (arXiv 1908.09791, section 3.2): 3x3 = M3 centre(M5 centre(7x7)).

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output.
        kernel: Side, odd where it is a choice; or height and width.
        stride: Of both directions, or of each.
        padding: On each side; None keeps the size, whatever the kernel.
        dilation: Distance between the taps of the kernel.
        depthwise: One filter per channel; the widths must then be one and the same.
        bias: Whether it adds one.
        transform: Whether smaller kernels are learned transforms of larger ones.

    Raises:
        SpecError: If a kernel is even, or a depthwise one has two widths.
    """

    def __init__(
        self,
        in_channels: Size | int,
        out_channels: Size | int,
        kernel: Size | int | tuple[int, int] = 1,
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | None = None,
        dilation: int | tuple[int, int] = 1,
        depthwise: bool = False,
        bias: bool = False,
        transform: bool = False,
    ) -> None:
        super().__init__()
        if depthwise and in_channels is not out_channels and in_channels != out_channels:
            raise SpecError(
                f"a depthwise convolution has one width, got {in_channels!r} and {out_channels!r}"
            )
        self.in_channels, self.out_channels = as_size(in_channels), as_size(out_channels)
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.depthwise = depthwise
        self._shape = kernel if isinstance(kernel, tuple) else None
        self.kernel = as_size(max(kernel) if isinstance(kernel, tuple) else kernel)
        self._sides = _odd_sides(self.kernel) if padding is None or self.kernel.choices else []
        self._usual = depthwise and padding is None and self._shape is None
        self._usual &= isinstance(stride, int) and isinstance(dilation, int)
        self._has_bias = bias
        reads = None if depthwise else self.in_channels
        self.layout = {"weight": (self.out_channels, reads, None, None)}
        if bias:
            self.layout["bias"] = (self.out_channels,)
        widest = self.plain(largest=True)
        self.weight, self.bias = widest.weight, widest.bias
        steps = self._sides[1:] if transform else []
        self.transforms = nn.ParameterDict({str(k): nn.Parameter(torch.eye(k * k)) for k in steps})

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choices of the widths and of the kernel, each once."""
        return tuple(dict.fromkeys((*super().choices, *self.kernel.choices)))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, ceil(H/stride), ceil(W/stride))."""
        if self.together:
            return self._together(x)
        return self._run(x, self.sliced("weight"), self.sliced("bias"), self.kernel.value)

    def sliced(self, name: str) -> Tensor | None:
        """Return the active part of a tensor; the weight with the active kernel."""
        tensor = super().sliced(name) if name in self.layout else None
        if name == "weight" and tensor is not None and self.kernel.choices:
            return self._kernel(tensor, self.kernel.value)
        return tensor

    def plain(self, *, largest: bool = False) -> nn.Conv2d:
        """Return an `nn.Conv2d` of the active (or the largest) sizes."""
        n_in, n_out, side = (
            size.max if largest else size.value
            for size in (self.in_channels, self.out_channels, self.kernel)
        )
        return nn.Conv2d(
            n_in,
            n_out,
            self._shape or side,
            self.stride,
            self._padding(side),
            self.dilation,
            groups=n_out if self.depthwise else 1,
            bias=self._has_bias,
        )

    def reset_parameters(self) -> None:
        """Draw new weights by torch's rule for the largest sizes; transforms become identities."""
        super().reset_parameters()
        with torch.no_grad():
            for side, matrix in self.transforms.items():
                matrix.copy_(torch.eye(int(side) ** 2))

    def branches(self) -> Iterator[tuple[nn.Module, Context]]:
        """Yield nothing: the transforms are parameters of this layer."""
        yield from ()

    def read_parameters(self) -> Iterator[nn.Parameter]:
        """Yield weight and bias, and the transforms that lead to the active kernel."""
        yield from self.parameters(recurse=False)
        for side, matrix in self.transforms.items():
            if int(side) >= self.kernel.value:
                yield matrix

    def extra_repr(self) -> str:
        """Return the sizes for printing."""
        sizes = f"{self.in_channels}, {self.out_channels}, kernel={self.kernel}"
        more = ", transform=True" if self.transforms else ""
        return f"{sizes}, stride={self.stride}, depthwise={self.depthwise}{more}"

    def _kernel(self, weight: Tensor, side: int) -> Tensor:
        """Return the weight (out, in, K, K) with kernel `side`, step by step."""
        for step in self._sides[1:]:
            if step < side:
                break
            if self.transforms or step == side:
                weight = _centre(weight, step)
            if self.transforms:
                flat = weight.flatten(2)
                weight = F.linear(flat, self.transforms[str(step)]).view_as(weight)
        return weight

    def _run(self, x: Tensor, weight: Tensor | None, bias: Tensor | None, side: int) -> Tensor:
        assert weight is not None
        if self._usual and bias is None:
            return depthwise_conv2d(x, weight, cast(int, self.stride), cast(int, self.dilation))
        groups = weight.shape[0] if self.depthwise else 1
        padding = self._padding(side)
        return F.conv2d(x, weight, bias, self.stride, padding, self.dilation, groups)

    def _padding(self, side: int) -> int | tuple[int, int]:
        """Return the padding, by default what keeps the size."""
        if self.padding is not None:
            return self.padding
        height, width = self._shape or (side, side)
        vertical, horizontal = _pair(self.dilation)
        return height // 2 * vertical, width // 2 * horizontal

    def _together(self, x: Tensor) -> Tensor:
        sides = torch.tensor(self.kernel.each(len(x)), device=x.device)
        mask = self.out_channels.mask(len(x), x.device)[:, :, None, None]
        total: Tensor | None = None
        for side in self._sides or [self.kernel.max]:
            if (mine := sides == side).any():
                y = self._run(x, self._kernel(self.weight, side), self.bias, side)
                y = y * (mask & mine[:, None, None, None])
                total = y if total is None else total + y
        assert total is not None
        return total


class ElasticLinear(Elastic):
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
        self._has_bias = bias
        self.layout = {"weight": (self.out_features, self.in_features)}
        if bias:
            self.layout["bias"] = (self.out_features,)
        widest = self.plain(largest=True)
        self.weight, self.bias = widest.weight, widest.bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        n = self.out_features.value
        if self.together:
            y = F.linear(x, self.weight, self.bias)
            return y * spread_over(self.out_features.mask(len(x), x.device), y)
        bias = None if self.bias is None else self.bias[:n]
        return F.linear(x, self.weight[:n, : self.in_features.value], bias)

    def plain(self, *, largest: bool = False) -> nn.Linear:
        """Return an `nn.Linear` of the active (or the largest) sizes."""
        sizes = (self.in_features, self.out_features)
        n_in, n_out = (size.max if largest else size.value for size in sizes)
        return nn.Linear(n_in, n_out, bias=self._has_bias)

    def extra_repr(self) -> str:
        """Return the sizes for printing."""
        return f"{self.in_features}, {self.out_features}, bias={self._has_bias}"


def inherited(
    plain: nn.Module, tensors: dict[str, Tensor | None], like: Tensor | None
) -> nn.Module:
    """Return `plain`, like `like` in device and type, with copies of `tensors` (by name)."""
    if like is not None:
        plain.to(like)
    with torch.no_grad():
        for name, tensor in tensors.items():
            if tensor is not None:
                cast(Tensor, getattr(plain, name)).copy_(tensor)
    return plain


def spread_over(mask: Tensor, x: Tensor) -> Tensor:
    """Return a mask (N, C) shaped to multiply `x` (N, ..., C)."""
    return mask.view(len(mask), *(1,) * (x.dim() - 2), mask.shape[-1])


def _odd_sides(kernel: Size) -> list[int]:
    """Return the kernels from the largest down.

    Raises:
        SpecError: If one is even.
    """
    sides = [k for c in kernel.choices for k in c.options] or [kernel.max]
    if even := [k for k in sides if not isinstance(k, int) or k % 2 == 0]:
        raise SpecError(f"kernels must be odd to keep the size, got {even[0]!r}")
    return sorted({k for k in sides if isinstance(k, int)}, reverse=True)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def leading(tensor: Tensor, n: int, dim: int = 0) -> Tensor:
    """Return the first `n` entries, a view; all of them without a step that autograd records."""
    return tensor if n == tensor.shape[dim] else tensor.narrow(dim, 0, n)


def _centre(weight: Tensor, side: int) -> Tensor:
    margin = (weight.shape[-1] - side) // 2
    window = slice(margin, margin + side)
    return weight[..., window, window]
