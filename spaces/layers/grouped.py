"""Linear layers whose outputs are groups (queries, keys, values), and such layers of low rank."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from .attention import LowRankLinear
from .elastic import ElasticLinear, spread_over
from .make import linear
from .mutable import Size, as_size, fixed


class ElasticGroupedLinear(ElasticLinear):
    """A linear layer whose outputs are groups of one width, one after the other.

    A smaller width takes the first outputs of each group. The shared weight has the first rows of
    all groups, then the second ones, and so on, so that its leading rows are those.

    Source: arXiv 2107.00651; microsoft/Cream, `AutoFormer/model/module/qkv_super.py`.

    Args:
        in_features: Width of the input.
        out_features: Width of the output, of all groups together.
        groups: How many there are.
        bias: Whether it adds one.
    """

    def __init__(
        self,
        in_features: Size | int,
        out_features: Size | int,
        *,
        groups: int,
        bias: bool = True,
    ) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        if self.together:
            y = F.linear(x, self.weight, self.bias)
            y = y * spread_over(self.out_features.mask(len(x), x.device), y)
            return self._in_order(y.movedim(-1, 0)).movedim(0, -1)
        weight = self.sliced("weight")
        assert weight is not None
        return F.linear(x, weight, self.sliced("bias"))

    def sliced(self, name: str) -> Tensor | None:
        """Return the active part of a tensor, group after group."""
        tensor = super().sliced(name)
        return None if tensor is None else self._in_order(tensor)

    def extra_repr(self) -> str:
        """Return the sizes for printing."""
        return f"{super().extra_repr()}, groups={self.groups}"

    def _in_order(self, tensor: Tensor) -> Tensor:
        """Return the rows of each group one after the other, where they took turns."""
        turns = tensor.reshape(-1, self.groups, *tensor.shape[1:])
        return turns.transpose(0, 1).reshape(tensor.shape)


def grouped_linear(
    in_features: Size | int, out_features: Size | int, *, groups: int, bias: bool = True
) -> nn.Module:
    """Return a linear layer whose outputs are groups; see `ElasticGroupedLinear`."""
    if fixed(in_features, out_features):
        return nn.Linear(as_size(in_features).value, as_size(out_features).value, bias=bias)
    return ElasticGroupedLinear(in_features, out_features, groups=groups, bias=bias)


def low_rank(
    in_features: Size | int,
    out_features: Size | int,
    rank: Size | int,
    *,
    factors: int,
    groups: int = 1,
) -> nn.Module:
    """Return a linear layer with a bias, as a product of two or three where `factors` says so.

    Args:
        in_features: Width of the input.
        out_features: Width of the output.
        rank: Of the product; not read where there is none.
        factors: 1: a plain linear layer; 2 or 3 as in `LowRankLinear`.
        groups: Of the outputs, as in `ElasticGroupedLinear`; the other factors have none.

    Raises:
        SpecError: If the number of factors is another.
    """
    if factors == 1:
        if groups == 1:
            return linear(in_features, out_features)
        return grouped_linear(in_features, out_features, groups=groups)
    layer = LowRankLinear(in_features, out_features, rank, factors=factors)
    if groups > 1:
        layer[-1] = grouped_linear(rank, out_features, groups=groups)
    return layer
