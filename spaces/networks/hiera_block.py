"""The block of Hiera: attention inside windows or over the whole map, with pooled queries.

Maps are (N, height, width, channels), their tokens in rows. The original puts the tokens of a
window in another order once, so that windows are strided slices and pooling is a maximum over
one dimension; the numbers are the same.

Source: arXiv 2306.00989; facebookresearch/hiera: hiera/hiera.py, hiera/hiera_utils.py
(re-written).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeAlias, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import SpecError
from ..layers import Choice, DropPath, Mlp, Mutable, Size, layer_norm, linear
from ..layers.grouped import grouped_linear
from ..layers.mutable import Context, as_size, fixed
from .hiera_plan import Pair

EPS = 1e-6  # of the layer norms
T = TypeVar("T")


class Setting(Generic[T]):
    """A plain value that a function makes of choices and fixed values.

    Args:
        function: Of the options and values.
        inputs: Choices and plain values.
    """

    def __init__(self, function: Callable[..., T], *inputs: Any) -> None:
        self._function, self._inputs = function, inputs

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choices that decide it."""
        return tuple(i for i in self._inputs if isinstance(i, Choice))

    @property
    def value(self) -> T:
        """The value under the active options."""
        return self._function(*(i.active if isinstance(i, Choice) else i for i in self._inputs))

    def each(self, n: int) -> list[T]:
        """Return the value for each of `n` samples, which may run networks of their own."""
        columns = [i.each_option(n) if isinstance(i, Choice) else (i,) * n for i in self._inputs]
        return [self._function(*row) for row in zip(*columns, strict=True)]

    def agreed(self, n: int) -> T:
        """Return the one value of all samples.

        Raises:
            SpecError: If they differ.
        """
        first, *others = self.each(n)
        if any(other != first for other in others):
            names = ", ".join(choice.name for choice in self.choices)
            raise SpecError(
                f"networks of one batch must pool alike, so that their maps have one size; "
                f"got {first} and others: give them the same {names}"
            )
        return first


Heads: TypeAlias = int | Setting[int]
Sides: TypeAlias = Pair | Setting[Pair | None] | None


# ---------------------------------------------------------------------- attention
def pooled(x: Tensor, stride: Pair | None) -> Tensor:
    """Return the maxima of a map over its squares; the map itself without a stride."""
    if stride is None:
        return x
    return F.max_pool2d(x.permute(0, 3, 1, 2), stride).permute(0, 2, 3, 1)


def attend(qkv: Tensor, heads: int, pool: Pair | None, window: Pair | None) -> Tensor:
    """Return what attention makes of queries, keys and values, before the output layer.

    Args:
        qkv: (N, H, W, 3 C): queries, keys, values.
        heads: They divide C.
        pool: Stride of the maxima that replace the queries; keys and values stay.
        window: Of the pooled queries, which see the keys and values of the same place; None: the
            whole map.

    Returns:
        (N, H', W', C), as pooled.
    """
    q, k, v = qkv.chunk(3, -1)
    q = pooled(q, pool)
    n, height, width, channels = q.shape
    rows, columns = (1, 1) if window is None else (height // window[0], width // window[1])
    q, k, v = (_windows(x, rows, columns, heads) for x in (q, k, v))
    mixed = F.scaled_dot_product_attention(q, k, v)
    sides = (height // rows, width // columns)
    mixed = mixed.reshape(n, rows, columns, heads, *sides, channels // heads)
    return mixed.permute(0, 1, 4, 2, 5, 3, 6).reshape(n, height, width, channels)


def _windows(x: Tensor, rows: int, columns: int, heads: int) -> Tensor:
    """Return (N, H, W, C) as (N rows columns, heads, tokens of a window, C / heads)."""
    n, height, width, channels = x.shape
    sides = (height // rows, width // columns)
    x = x.reshape(n, rows, sides[0], columns, sides[1], heads, channels // heads)
    x = x.permute(0, 1, 3, 5, 2, 4, 6)
    return x.reshape(n * rows * columns, heads, sides[0] * sides[1], channels // heads)


class Attend(nn.Module):
    """Attention without the layers around it; see `attend`."""

    def __init__(self, heads: int, pool: Pair | None, window: Pair | None) -> None:
        super().__init__()
        self.heads, self.pool, self.window = heads, pool, window

    def forward(self, qkv: Tensor) -> Tensor:
        """(N, H, W, 3 C) -> (N, H', W', C)."""
        return attend(qkv, self.heads, self.pool, self.window)

    def extra_repr(self) -> str:
        """Return the settings for printing."""
        return f"heads={self.heads}, pool={self.pool}, window={self.window}"


class ElasticAttend(Mutable):
    """Attention whose width, heads, pooling and windows may be chosen.

    Args:
        width: C, of queries, keys and values.
        heads: As of `attend`.
        pool: Likewise.
        window: Likewise.
    """

    def __init__(self, width: Size | int, heads: Heads, pool: Sides, window: Sides) -> None:
        super().__init__()
        self.width, self.settings = as_size(width), (heads, pool, window)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choices of width and settings, each once."""
        found = [c for s in self.settings if isinstance(s, Setting) for c in s.choices]
        return tuple(dict.fromkeys((*self.width.choices, *found)))

    def forward(self, qkv: Tensor) -> Tensor:
        """(N, H, W, 3 C) -> (N, H', W', C)."""
        return self._together(qkv) if self.together else attend(qkv, *self._active())

    def cut(self, inherit: bool) -> nn.Module:
        """Return an `Attend` of the active settings."""
        return Attend(*self._active())

    def extra_repr(self) -> str:
        """Return the width for printing."""
        return repr(self.width)

    def _active(self) -> Any:
        return [s.value if isinstance(s, Setting) else s for s in self.settings]

    def _together(self, qkv: Tensor) -> Tensor:
        """Run samples of one width and equal settings at once; the others' channels are zero."""
        n = len(qkv)
        columns = [s.each(n) if isinstance(s, Setting) else [s] * n for s in self.settings]
        if isinstance(pool := self.settings[1], Setting):
            pool.agreed(n)
        alike: dict[Any, list[int]] = {}
        for i, key in enumerate(zip(self.width.each(n), *columns, strict=True)):
            alike.setdefault(key, []).append(i)
        found = []
        for (width, *settings), places in alike.items():
            own = torch.cat([x[places, ..., :width] for x in qkv.chunk(3, -1)], -1)
            found.append(F.pad(attend(own, *settings), (0, self.width.max - width)))
        order = torch.tensor([i for places in alike.values() for i in places])
        return torch.cat(found)[order.argsort().to(qkv.device)]


class Pool(nn.Module):
    """The maxima of a map over its squares."""

    def __init__(self, stride: Pair) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, H', W', C)."""
        return pooled(x, self.stride)

    def extra_repr(self) -> str:
        """Return the stride for printing."""
        return str(self.stride)


class ElasticPool(Mutable):
    """The maxima of a map over its squares, or the map itself."""

    def __init__(self, stride: Setting[Pair | None]) -> None:
        super().__init__()
        self.stride = stride

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choices of the stride."""
        return self.stride.choices

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, H', W', C)."""
        return pooled(x, self.stride.agreed(len(x)) if self.together else self.stride.value)

    def cut(self, inherit: bool) -> nn.Module:
        """Return a `Pool`, or nothing to be done."""
        return _pool(self.stride.value)


# ---------------------------------------------------------------------- what passes by
class Same(nn.Module):
    """The input of the block."""

    def forward(self, x: Tensor, normed: Tensor) -> Tensor:
        """Return `x`."""
        return x


class Widened(nn.Module):
    """The normed input of the block, at another width."""

    def __init__(self, dim: Size | int, dim_out: Size | int) -> None:
        super().__init__()
        self.proj = linear(dim, dim_out)

    def forward(self, x: Tensor, normed: Tensor) -> Tensor:
        """(..., dim) -> (..., dim_out)."""
        y: Tensor = self.proj(normed)
        return y


class ElasticPass(Mutable):
    """`Same` where the widths are equal, else `Widened`.

    Args:
        dim: Width of the input.
        dim_out: Width of the output.
    """

    def __init__(self, dim: Choice, dim_out: Choice) -> None:
        super().__init__()
        self.dim, self.dim_out = dim, dim_out
        self.widened = Widened(dim, dim_out)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Both widths."""
        return (self.dim, self.dim_out)

    def forward(self, x: Tensor, normed: Tensor) -> Tensor:
        """(..., dim) -> (..., dim_out)."""
        if self.together:
            return self._together(x, normed)
        if self.dim.value == self.dim_out.value:
            return x
        y: Tensor = self.widened(x, normed)
        return y

    def branches(self) -> Iterator[tuple[nn.Module, Context]]:
        """Yield the layer with the widths of the output that need it."""
        others = tuple(o for o in self.dim_out.options if o != self.dim.active)
        yield self.widened, {self.dim_out: others}

    def cut(self, inherit: bool) -> nn.Module:
        """Return the one that runs."""
        return Same() if self.dim.value == self.dim_out.value else self.widened

    def _together(self, x: Tensor, normed: Tensor) -> Tensor:
        n, most = len(x), self.dim_out.max
        pairs = zip(self.dim.each(n), self.dim_out.each(n), strict=True)
        same = torch.tensor([a == b for a, b in pairs], device=x.device).view(n, 1, 1, 1)
        fitting = F.pad(x, (0, most - x.shape[-1]))  # cut off where it is wider
        y: Tensor = self.widened(x, normed)
        return torch.where(same, fitting, y)


class Shortcut(nn.Module):
    """What passes attention by: the input where the width stays, pooled with the queries.

    The original pools where the width changes only, and fails where it does not.

    Args:
        dim: Width of the input.
        dim_out: Width of the output.
        pool: Stride of the maxima.
    """

    def __init__(self, dim: Size | int, dim_out: Size | int, pool: Sides) -> None:
        super().__init__()
        if fixed(dim, dim_out) or dim is dim_out:
            same = as_size(dim).value == as_size(dim_out).value
            self.source: nn.Module = Same() if same else Widened(dim, dim_out)
        else:
            self.source = ElasticPass(cast(Choice, dim), cast(Choice, dim_out))
        self.pool = ElasticPool(pool) if isinstance(pool, Setting) else _pool(pool)

    def forward(self, x: Tensor, normed: Tensor) -> Tensor:
        """(N, H, W, dim) -> (N, H', W', dim_out)."""
        y: Tensor = self.pool(self.source(x, normed))
        return y


class Block(nn.Module):
    """Transformer block: attention and MLP, each behind a layer norm and beside a shortcut.

    Elastic where chosen.

    Args:
        dim: Width of the input.
        dim_out: Width of the output.
        heads: Of the attention.
        hidden: Width inside the MLP.
        pool: Stride with which queries are pooled, if they are.
        window: Of the pooled queries, inside which attention stays; None: the whole map.
        drop: Probability with which training drops a branch of a sample.
    """

    def __init__(
        self,
        dim: Size | int,
        dim_out: Size | int,
        heads: Heads,
        hidden: Size | int,
        pool: Sides = None,
        window: Sides = None,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = layer_norm(dim, eps=EPS)
        self.qkv = grouped_linear(dim, _thrice(dim_out), groups=3)
        self.attend = _attend(dim_out, heads, pool, window)
        self.proj = linear(dim_out, dim_out)
        self.shortcut = Shortcut(dim, dim_out, pool)
        self.norm2 = layer_norm(dim_out, eps=EPS)
        self.mlp = Mlp(dim_out, hidden)
        self.drop = DropPath(drop)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, dim) -> (N, H', W', dim_out)."""
        normed = self.norm1(x)
        x = self.shortcut(x, normed) + self.drop(self.proj(self.attend(self.qkv(normed))))
        y: Tensor = x + self.drop(self.mlp(self.norm2(x)))
        return y


def _thrice(size: Size | int) -> Size | int:
    return 3 * size


def _pool(stride: Pair | None) -> nn.Module:
    return nn.Identity() if stride is None else Pool(stride)


def _attend(width: Size | int, heads: Heads, pool: Sides, window: Sides) -> nn.Module:
    settings = (heads, pool, window)
    if fixed(width) and not any(isinstance(s, Setting) for s in settings):
        return Attend(*cast(Any, settings))
    return ElasticAttend(width, *settings)
