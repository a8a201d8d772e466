"""Multi-head self-attention and the layers around it, plain and elastic."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import SpecError
from .elastic import Elastic, ElasticLinear, inherited
from .make import linear
from .mutable import Choice, Mutable, Size, as_size, fixed
from .reorder import Remembered, reorder
from .sorting import Sortable, importance_order


class Attention(nn.Module):
    """Multi-head self-attention over the tokens, without a dropout.

    Args:
        dim: Width of the tokens.
        heads: Number of heads.
        head_dim: Width of queries, keys and values of a head.
        bias: Whether the projection to queries, keys and values adds one; the output's does.
    """

    def __init__(self, dim: int, heads: int, head_dim: int, *, bias: bool = True) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        self.qkv = nn.Linear(dim, 3 * heads * head_dim, bias=bias)
        self.proj = nn.Linear(heads * head_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, dim) -> (N, T, dim)."""
        n, tokens, _ = x.shape
        qkv = self.qkv(x).view(n, tokens, 3, self.heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, scale=self.head_dim**-0.5)
        output: Tensor = self.proj(mixed.transpose(1, 2).reshape(n, tokens, -1))
        return output


class ElasticAttention(Mutable, Sortable):
    """Self-attention whose width, number of heads and width of a head may be choices.

    A smaller number takes the first heads, and of each head the first queries, keys and values.

    Args:
        dim: Width of the tokens.
        heads: Number of heads.
        head_dim: Width of queries, keys and values of a head; their products are scaled by the
            root of the active one.
        bias: Whether the projection to queries, keys and values adds one; the output's does.
    """

    copies = True

    def __init__(
        self, dim: Size | int, heads: Size | int, head_dim: Size | int, *, bias: bool = True
    ) -> None:
        super().__init__()
        self.dim, self.heads, self.head_dim = as_size(dim), as_size(heads), as_size(head_dim)
        self._has_bias = bias
        widest = self._plain(largest=True)
        self.qkv, self.proj = widest.qkv, widest.proj

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choices of the three sizes, each once."""
        sizes = (self.dim, self.heads, self.head_dim)
        return tuple(dict.fromkeys(c for size in sizes for c in size.choices))

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, dim) -> (N, T, dim)."""
        if self.together:
            return self._together(x)
        n, tokens, _ = x.shape
        heads, width = self.heads.value, self.head_dim.value
        weight, bias, proj, proj_bias = self._slices()
        qkv = F.linear(x, weight, bias).view(n, tokens, 3, heads, width)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, scale=width**-0.5)
        return F.linear(mixed.transpose(1, 2).reshape(n, tokens, -1), proj, proj_bias)

    def cut(self, inherit: bool) -> nn.Module:
        """Return an `Attention` of the active sizes."""
        like = self.proj.weight
        if not inherit:
            return self._plain().to(like)
        with torch.device("meta"):  # no weights are drawn where all are inherited
            plain = self._plain()
        plain.to_empty(device=like.device)
        weight, bias, proj, proj_bias = self._slices()
        inherited(plain.qkv, {"weight": weight, "bias": bias}, like)
        inherited(plain.proj, {"weight": proj, "bias": proj_bias}, like)
        return plain

    def head_importance(self) -> Tensor:
        """Return what each head is worth: the sum of its |weights| and |biases| in q, k, v, output.

        Returns:
            (heads.max,), float.
        """
        shape = (3, self.heads.max, self.head_dim.max)
        worth = self.qkv.weight.detach().abs().sum(1).view(shape)
        if self.qkv.bias is not None:
            worth = worth + self.qkv.bias.detach().abs().view(shape)
        return worth.sum((0, 2)) + self.proj.weight.detach().abs().sum(0).view(shape[1:]).sum(1)

    def sort_hidden(self, *, whole: bool = False, state: Remembered | None = None) -> int:
        """Put the heads that are worth most first; see the function `sort_hidden`."""
        if not self.heads.choices:
            return 0
        within = None if whole else self.heads.least
        order = importance_order(self.head_importance(), within)
        heads = self.heads.max
        reorder(self.qkv.weight, 1, order, shape=(3, heads, -1), state=state)
        if self.qkv.bias is not None:
            reorder(self.qkv.bias, 1, order, shape=(3, heads, -1), state=state)
        columns = (self.dim.max, heads, self.head_dim.max)
        reorder(self.proj.weight, 1, order, shape=columns, state=state)
        return 1

    def extra_repr(self) -> str:
        """Return the sizes for printing."""
        return f"{self.dim}, heads={self.heads}, head_dim={self.head_dim}"

    def _plain(self, *, largest: bool = False) -> Attention:
        sizes = (self.dim, self.heads, self.head_dim)
        return Attention(*(s.max if largest else s.value for s in sizes), bias=self._has_bias)

    def _slices(self) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
        """Return weight and bias of q, k, v and of the output for the active sizes."""
        dim, heads, width = self.dim.value, self.heads.value, self.head_dim.value
        shape = (3, self.heads.max, self.head_dim.max)
        weight = self.qkv.weight.view(*shape, -1)[:, :heads, :width, :dim].reshape(-1, dim)
        bias = None if self.qkv.bias is None else self.qkv.bias.view(shape)[:, :heads, :width]
        proj = self.proj.weight.view(-1, *shape[1:])[:dim, :heads, :width].reshape(dim, -1)
        return weight, None if bias is None else bias.reshape(-1), proj, self.proj.bias[:dim]

    def _together(self, x: Tensor) -> Tensor:
        """Run all heads; of each sample, keep those of its own architecture."""
        n, tokens, _ = x.shape
        shape = (3, self.heads.max, self.head_dim.max)
        parts = self.head_dim.mask(n, x.device)[:, None, None, :]
        heads = self.heads.mask(n, x.device)[:, :, None, None]
        scale = torch.tensor(self.head_dim.each(n), device=x.device, dtype=x.dtype) ** -0.5
        q, k, v = self.qkv(x).view(n, tokens, *shape).permute(2, 0, 3, 1, 4) * parts
        q = q * scale[:, None, None, None]
        mixed = F.scaled_dot_product_attention(q, k, v, scale=1.0) * heads
        y: Tensor = self.proj(mixed.transpose(1, 2).reshape(n, tokens, -1))
        return y * self.dim.mask(n, x.device)[:, None, :]


def attention(
    dim: Size | int, heads: Size | int, head_dim: Size | int, *, bias: bool = True
) -> nn.Module:
    """Return self-attention, elastic where a size is chosen."""
    if fixed(dim, heads, head_dim):
        return Attention(*(as_size(s).value for s in (dim, heads, head_dim)), bias=bias)
    return ElasticAttention(dim, heads, head_dim, bias=bias)


class Mlp(Sortable, nn.Sequential):
    """Linear, activation, linear; elastic where a size is chosen.

    Args:
        dim: Width of the tokens.
        hidden: Width between.
        activation: Class of the activation.
    """

    def __init__(
        self, dim: Size | int, hidden: Size | int, activation: type[nn.Module] = nn.GELU
    ) -> None:
        super().__init__(linear(dim, hidden), activation(), linear(hidden, dim))

    def readers(self) -> list[nn.Module]:
        """Return the second layer."""
        return [self[2]]

    def importance(self, reader: Elastic, size: Size) -> Tensor:
        """Return the sum of a unit's |weights| in both layers, and of its |bias|."""
        first = cast(ElasticLinear, self[0])
        weight = first.weight.detach().abs().sum(1)
        worth = reader.importance(size) + weight
        return worth if first.bias is None else worth + first.bias.detach().abs()


class LowRankLinear(nn.Sequential):
    """A linear layer as a product of two or three; the rank may be a choice.

    Without an activation between them, and a bias in the last only.

    Args:
        in_features: Width of the input.
        out_features: Width of the output.
        rank: Of the product.
        factors: 2: (in x R)(R x out); 3: (in x R)(R x R)(R x out).
        bias: Whether the last one adds one.

    Raises:
        SpecError: If there are not two or three factors.
    """

    def __init__(
        self,
        in_features: Size | int,
        out_features: Size | int,
        rank: Size | int,
        *,
        factors: int = 2,
        bias: bool = True,
    ) -> None:
        if factors not in (2, 3):
            raise SpecError(f"a low-rank layer has 2 or 3 factors, got {factors}")
        middle = [linear(rank, rank, bias=False) for _ in range(factors - 2)]
        first = linear(in_features, rank, bias=False)
        super().__init__(first, *middle, linear(rank, out_features, bias=bias))

    @torch.no_grad()
    def factorize(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """Take over a full matrix: its best approximation of the largest rank.

        The truncated singular value decomposition U S V: the first factor is V, the middle one S
        (with two factors the last one is U S), the last one U. A rank beyond the narrower side has
        nothing to take over there: what leads to it keeps its values, and adds nothing at first.

        Args:
            weight: (out, in), of the largest sizes.
            bias: (out,).
        """
        layers = list(self.children())
        first, *middle, last = (cast(Tensor, layer.weight) for layer in layers)
        u, s, v = torch.linalg.svd(weight.double(), full_matrices=False)
        rank = min(len(first), len(s))
        u, s, v = u[:, :rank], s[:rank], v[:rank]
        first[:rank] = v
        if middle:
            middle[0].zero_()
            middle[0][:rank, :rank] = torch.diag(s)
        else:
            last.zero_()
        last[:, :rank] = u if middle else u * s
        if bias is not None:
            cast(Tensor, layers[-1].bias).copy_(bias)
