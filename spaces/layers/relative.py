"""Self-attention over a square of patches that knows how far apart they are."""

from __future__ import annotations

from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .mutable import Choice, Mutable, Size, as_size, fixed

_SPREAD = 0.02  # standard deviation of new tables


class RelativePositions(nn.Module):
    """Vectors for the distance between two tokens of a square, the sum of two tables' rows.

    Row 0 of each table is for pairs with the class token, the others are for distances from
    `-farthest` to `farthest`, beyond which they stay the same.

    Args:
        width: Of the vectors.
        farthest: The largest distance with a row of its own.
    """

    def __init__(self, width: int, farthest: int = 14) -> None:
        super().__init__()
        self.farthest = farthest
        self.vertical = nn.Parameter(torch.empty(2 * farthest + 2, width))
        self.horizontal = nn.Parameter(torch.empty(2 * farthest + 2, width))
        for table in (self.vertical, self.horizontal):
            nn.init.trunc_normal_(table, std=_SPREAD)

    def rows(self, side: int) -> Tensor:
        """Return the row of the tables for each pair of lines of the square: (side, side)."""
        line = torch.arange(side, device=self.vertical.device)
        distance = (line - line[:, None]).clamp(-self.farthest, self.farthest)
        return distance + self.farthest + 1

    def forward(self, side: int) -> Tensor:
        """Return the vectors of all pairs of tokens: (1 + side^2, 1 + side^2, width)."""
        rows = self.rows(side)
        vertical = rows.repeat_interleave(side, 0).repeat_interleave(side, 1)
        horizontal = rows.repeat(side, side)
        around = (1, 0, 1, 0)  # the class token comes first
        return self.vertical[F.pad(vertical, around)] + self.horizontal[F.pad(horizontal, around)]

    def extra_repr(self) -> str:
        """Return the sizes for printing."""
        return f"{self.vertical.shape[1]}, farthest={self.farthest}"


class RelativeAttention(nn.Module):
    """Self-attention over a class token and a square of patches, with relative positions.

    The vector of a pair's distance is added to its key, and another one to its value: beside the
    two products of attention there are two with these vectors.

    Source: arXiv 2107.00651; microsoft/Cream, `AutoFormer/model/module/multihead_super.py`.

    Args:
        qkv: Makes queries, keys and values of the tokens, one after the other.
        proj: Makes tokens of what the heads give.
        heads: Number of heads.
        keys: Added to the keys.
        values: Added to the values.
    """

    def __init__(
        self,
        qkv: nn.Module,
        proj: nn.Module,
        heads: int,
        keys: RelativePositions,
        values: RelativePositions,
    ) -> None:
        super().__init__()
        self.qkv, self.proj, self.heads = qkv, proj, heads
        self.keys, self.values = keys, values

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1 + side^2, dim) -> the same shape."""
        n, tokens, _ = x.shape
        side = isqrt(tokens - 1)
        q, k, v = self.qkv(x).view(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q = q * q.shape[-1] ** -0.5
        scores = q @ k.transpose(2, 3) + _by_token(q, self.keys(side).transpose(1, 2))
        weights = scores.softmax(-1)
        mixed = weights @ v + _by_token(weights, self.values(side))
        output: Tensor = self.proj(mixed.transpose(1, 2).reshape(n, tokens, -1))
        return output


class ElasticRelativeAttention(Mutable):
    """Self-attention with relative positions, of which a smaller network takes the first heads.

    Gives what `RelativeAttention` gives without a vector for every pair of tokens: a square has
    few lines, so that what a query has to do with each line of each direction is worked out once
    and put behind the query, and keys say behind themselves which lines they are in. One attention
    over such wider vectors gives both products with keys, and how much weight falls on each line.

    Args:
        qkv: As of `RelativeAttention`; a smaller number of heads takes the first of its queries,
            keys and values.
        proj: Likewise.
        heads: Number of heads.
        head_dim: Width of a head.
        farthest: As of `RelativePositions`.
    """

    def __init__(
        self, qkv: nn.Module, proj: nn.Module, heads: Size | int, head_dim: int, farthest: int = 14
    ) -> None:
        super().__init__()
        self.qkv, self.proj = qkv, proj
        self.heads, self.head_dim = as_size(heads), head_dim
        self.keys = RelativePositions(head_dim, farthest)
        self.values = RelativePositions(head_dim, farthest)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choices of the number of heads."""
        return self.heads.choices

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1 + side^2, dim) -> the same shape."""
        n, tokens, _ = x.shape
        side = isqrt(tokens - 1)
        q, k, v = self.qkv(x).view(n, tokens, 3, -1, self.head_dim).permute(2, 0, 3, 1, 4)
        lines = _lines(side, q)[:, None].expand(n, q.shape[1], -1, -1)
        q = torch.cat((q, *self._towards(q, side)), -1)
        k, v = torch.cat((k, lines), -1), torch.cat((v, lines), -1)
        found = F.scaled_dot_product_attention(q, k, v, scale=self.head_dim**-0.5)
        mixed = found[..., : self.head_dim] + self._from_lines(found[..., self.head_dim :], side)
        if self.together:
            mixed = mixed * self.heads.mask(n, x.device)[:, :, None, None]
        output: Tensor = self.proj(mixed.transpose(1, 2).reshape(n, tokens, -1))
        return output

    def _towards(self, q: Tensor, side: int) -> tuple[Tensor, ...]:
        """Return the products of queries with the vectors of each row, column, the class token.

        Args:
            q: (N, heads, tokens, width).
            side: Of the square.

        Returns:
            (N, heads, tokens, side) twice, (N, heads, tokens, 1).
        """
        first, patches = q[:, :, :1], _squared(q[:, :, 1:], side)
        rows = self.keys.rows(side)
        found = []
        for dim, table in ((2, self.keys.vertical), (3, self.keys.horizontal)):
            lines = patches.transpose(2, dim) @ table[rows].transpose(1, 2)
            alike = (first @ table[0, :, None]).expand(-1, -1, -1, side)
            found.append(torch.cat((alike, lines.transpose(2, dim).flatten(2, 3)), 2))
        return *found, q @ (self.keys.vertical[0] + self.keys.horizontal[0])[:, None]

    def _from_lines(self, weights: Tensor, side: int) -> Tensor:
        """Return the sum of the vectors of each row, column and the class token by their weights.

        Args:
            weights: (N, heads, tokens, 2 side + 1): what fell on each.
            side: Of the square.

        Returns:
            (N, heads, tokens, width).
        """
        rows = self.values.rows(side)
        ends = self.values.vertical[0] + self.values.horizontal[0]
        patches = _squared(weights[:, :, 1:], side)
        vertical = patches[..., :side] @ self.values.vertical[rows]
        horizontal = patches[..., side : 2 * side].transpose(2, 3) @ self.values.horizontal[rows]
        mixed = vertical + horizontal.transpose(2, 3) + patches[..., 2 * side :] * ends
        alone = ends.expand(*mixed.shape[:2], 1, -1)  # all weights of the class token, together 1
        return torch.cat((alone, mixed.flatten(2, 3)), 2)

    def cut(self, inherit: bool) -> nn.Module:
        """Return a `RelativeAttention` of the active number of heads."""
        return RelativeAttention(self.qkv, self.proj, self.heads.value, self.keys, self.values)

    def extra_repr(self) -> str:
        """Return the sizes for printing."""
        return f"heads={self.heads}, head_dim={self.head_dim}"


def relative_attention(
    qkv: nn.Module,
    proj: nn.Module,
    heads: Size | int,
    head_dim: int,
    farthest: int = 14,
    *,
    shared: bool,
) -> nn.Module:
    """Return self-attention with relative positions.

    Args:
        qkv: As of `RelativeAttention`.
        proj: Likewise.
        heads: Number of heads.
        head_dim: Width of a head.
        farthest: As of `RelativePositions`.
        shared: Whether it belongs to a super-network; see `ElasticRelativeAttention`.
    """
    if shared or not fixed(heads):
        return ElasticRelativeAttention(qkv, proj, heads, head_dim, farthest)
    tables = [RelativePositions(head_dim, farthest) for _ in range(2)]
    return RelativeAttention(qkv, proj, as_size(heads).value, *tables)


def _squared(x: Tensor, side: int) -> Tensor:
    """(N, heads, side^2, width) -> (N, heads, side, side, width)."""
    return x.reshape(*x.shape[:2], side, side, x.shape[-1])


def _by_token(x: Tensor, vectors: Tensor) -> Tensor:
    """Return, for each token, its rows of `x` times its own matrix.

    Args:
        x: (N, heads, tokens, a).
        vectors: (tokens, a, b).

    Returns:
        (N, heads, tokens, b).
    """
    n, heads, tokens, _ = x.shape
    rows = x.permute(2, 0, 1, 3).reshape(tokens, n * heads, -1)
    return (rows @ vectors).view(tokens, n, heads, -1).permute(1, 2, 0, 3)


def _lines(side: int, like: Tensor) -> Tensor:
    """Return in which row and column each token is, and which is the class token, as 0 and 1.

    Returns:
        (1, 1 + side^2, 2 side + 1).
    """
    one = torch.eye(side, dtype=like.dtype, device=like.device)
    patches = torch.cat((one.repeat_interleave(side, 0), one.repeat(side, 1)), 1)
    lines = F.pad(patches, (0, 1, 1, 0))
    lines[0, -1] = 1
    return lines[None]
