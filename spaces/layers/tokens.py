"""What transformers do around their blocks: class token, positions, dropped branches."""

from __future__ import annotations

from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import SpecError
from .elastic import Elastic
from .mutable import Size, as_size, fixed

_SPREAD = 0.02  # standard deviation of new tokens and positions


class ClassToken(nn.Module):
    """Puts a learned token before the others.

    Its weight has one dimension, as have scales and biases: what spares these from weight decay
    spares the token too.

    Args:
        dim: Width of the tokens.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim))
        nn.init.trunc_normal_(self.weight, std=_SPREAD)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, dim) -> (N, 1 + T, dim)."""
        return torch.cat((self.weight.expand(x.shape[0], 1, -1), x), 1)


class ElasticClassToken(Elastic):
    """Puts a learned token, whose width may be a choice, before the others.

    Args:
        dim: Width of the tokens.
    """

    def __init__(self, dim: Size | int) -> None:
        super().__init__()
        self.dim = as_size(dim)
        self.weight = self.plain(largest=True).weight
        self.layout = {"weight": (self.dim,)}

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, dim) -> (N, 1 + T, dim)."""
        token = self.weight[: x.shape[-1]].expand(len(x), 1, -1)
        if self.together:
            token = token * self.dim.mask(len(x), x.device)[:, None, :]
        return torch.cat((token, x), 1)

    def plain(self, *, largest: bool = False) -> ClassToken:
        """Return a `ClassToken` of the active (or the largest) width."""
        return ClassToken(self.dim.max if largest else self.dim.value)

    def extra_repr(self) -> str:
        """Return the width for printing."""
        return repr(self.dim)


class Positions(nn.Module):
    """Adds a learned table, a row for each token.

    Args:
        tokens: Number of tokens.
        dim: Width of the tokens.
    """

    def __init__(self, tokens: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(tokens, dim))
        nn.init.trunc_normal_(self.weight, std=_SPREAD)

    def forward(self, x: Tensor) -> Tensor:
        """(N, tokens, dim) -> the same shape."""
        return x + self.weight


class ElasticPositions(Elastic):
    """Adds a learned table whose width may be a choice, a row for each token.

    Args:
        tokens: Number of tokens.
        dim: Width of the tokens.
    """

    def __init__(self, tokens: int, dim: Size | int) -> None:
        super().__init__()
        self.tokens, self.dim = tokens, as_size(dim)
        self.weight = self.plain(largest=True).weight
        self.layout = {"weight": (None, self.dim)}

    @property
    def reads(self) -> Size | None:
        """None: the table's width is that of what it writes."""
        return None

    def forward(self, x: Tensor) -> Tensor:
        """(N, tokens, dim) -> the same shape."""
        if self.together:
            return (x + self.weight) * self.dim.mask(len(x), x.device)[:, None, :]
        return x + self.weight[:, : self.dim.value]

    def plain(self, *, largest: bool = False) -> Positions:
        """Return `Positions` of the active (or the largest) width."""
        return Positions(self.tokens, self.dim.max if largest else self.dim.value)

    def extra_repr(self) -> str:
        """Return the sizes for printing."""
        return f"{self.tokens}, {self.dim}"


def class_token(dim: Size | int) -> nn.Module:
    """Return a class token, elastic where the width is chosen."""
    return ClassToken(as_size(dim).value) if fixed(dim) else ElasticClassToken(dim)


def positions(tokens: int, dim: Size | int) -> nn.Module:
    """Return a table of positions, elastic where the width is chosen."""
    if fixed(dim):
        return Positions(tokens, as_size(dim).value)
    return ElasticPositions(tokens, dim)


def resized(table: Tensor, tokens: int, first: int = 0) -> Tensor:
    """Return a table of positions for another number of patches, interpolated (bicubic).

    Args:
        table: (first + side^2, dim).
        tokens: Wanted number of rows.
        first: Rows before those of the patches, which stay (of a class token).

    Returns:
        (tokens, dim).

    Raises:
        SpecError: If either number of patches is no square.
    """
    sides = [isqrt(n - first) for n in (len(table), tokens)]
    if any(s * s != n - first for s, n in zip(sides, (len(table), tokens), strict=True)):
        raise SpecError(
            f"a table of {len(table)} positions, {first} of them before the patches, cannot become "
            f"one of {tokens}: patches fill a square"
        )
    if sides[0] == sides[1]:
        return table
    grid = table[first:].T.reshape(1, -1, sides[0], sides[0])
    grid = F.interpolate(grid, size=(sides[1], sides[1]), mode="bicubic", align_corners=False)
    return torch.cat((table[:first], grid[0].flatten(1).T))


class DropPath(nn.Module):
    """Drops a residual branch, of a sample at a time, in train mode; the others are scaled up.

    Args:
        rate: Probability.
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> the same shape."""
        if not self.rate or not self.training:
            return x
        kept = x.new_empty(len(x), *(1,) * (x.dim() - 1)).bernoulli_(1 - self.rate)
        return x * kept.div_(1 - self.rate)

    def extra_repr(self) -> str:
        """Return the probability for printing."""
        return str(self.rate)
