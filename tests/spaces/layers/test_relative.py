"""Relative positions: tables, products pair by pair and line by line; layers with groups."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from netloom.errors import SpecError
from netloom.spaces.layers import (
    Choice,
    ElasticGroupedLinear,
    ElasticRelativeAttention,
    LowRankLinear,
    RelativeAttention,
    RelativePositions,
    cut,
    grouped_linear,
    low_rank,
    relative_attention,
)


def test_rows_are_distances_and_the_first_is_for_the_class_token() -> None:
    """A loop over all pairs of a 3 x 3 square, distances beyond 1 clipped."""
    tables = RelativePositions(3, farthest=1)
    found = tables(3)
    assert tables.vertical.shape == (4, 3)
    assert found.shape == (10, 10, 3)
    for i in range(10):
        for j in range(10):
            row = column = 0
            if i and j:
                (a, b), (c, d) = divmod(i - 1, 3), divmod(j - 1, 3)
                row, column = (max(-1, min(1, t)) + 2 for t in (c - a, d - b))
            assert torch.equal(found[i, j], tables.vertical[row] + tables.horizontal[column])


def test_attention_pair_by_pair() -> None:
    """One head: softmax((q k + q a_ij) / sqrt(d)) (v + b_ij), written as loops."""
    torch.manual_seed(0)
    tables = [RelativePositions(4), RelativePositions(4)]
    layer = RelativeAttention(nn.Linear(6, 12), nn.Linear(4, 6), 1, *tables)
    x = torch.randn(1, 5, 6)
    with torch.no_grad():
        q, k, v = layer.qkv(x)[0].chunk(3, -1)
        keys, values = (table(2) for table in tables)
        rows = []
        for i in range(5):
            scores = [(q[i] @ k[j] + q[i] @ keys[i, j]) / 2 for j in range(5)]
            weights = torch.stack(scores).softmax(0)
            rows.append(sum(w * (v[j] + values[i, j]) for j, w in enumerate(weights)))
        torch.testing.assert_close(layer(x)[0], layer.proj(torch.stack(rows)))


@pytest.mark.parametrize("side", [1, 2, 5])
@pytest.mark.parametrize("farthest", [1, 14])
def test_line_by_line_is_pair_by_pair(side: int, farthest: int) -> None:
    """Outputs and all gradients, for both numbers of heads."""
    torch.manual_seed(0)
    heads = Choice("heads", (2, 3))
    qkv = grouped_linear(10, heads * 24, groups=3)
    layer = relative_attention(
        qkv, low_rank(heads * 8, 10, 5, factors=1), heads, 8, farthest, shared=True
    )
    assert isinstance(layer, ElasticRelativeAttention)
    layer.double()
    for option in (2, 3):
        heads.activate(option)
        plain = cut(deepcopy(layer), inherit=True)
        assert isinstance(plain, RelativeAttention)
        x = torch.randn(2, 1 + side**2, 10, dtype=torch.float64)
        outputs = []
        for module in (layer, plain):
            y = module(x)
            tables = [p for n, p in module.named_parameters() if "al" in n.rpartition(".")[2]]
            outputs.append((y, *torch.autograd.grad(y.square().sum(), tables)))
        assert len(outputs[0]) == 5
        for ours, theirs in zip(*outputs, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_groups_take_turns_in_the_shared_weight() -> None:
    width = Choice("w", (6, 9))
    layer = grouped_linear(4, width, groups=3)
    assert isinstance(layer, ElasticGroupedLinear)
    width.activate(6)
    rows = [0, 3, 1, 4, 2, 5]  # first and second row of each group
    plain = cut(deepcopy(layer), inherit=True)
    assert torch.equal(plain.weight, layer.weight[[0, 3, 1, 4, 2, 5]])
    assert torch.equal(plain.bias, layer.bias[rows])
    x = torch.randn(5, 4)
    assert torch.equal(plain(x), layer(x))
    layer(x).sum().backward()
    assert layer.weight.grad is not None
    assert not layer.weight.grad[6:].any()


def test_low_rank_layers_of_one_to_three_factors() -> None:
    assert type(low_rank(4, 6, 2, factors=1)) is nn.Linear
    assert [len(low_rank(4, 6, 2, factors=n)) for n in (2, 3)] == [2, 3]  # type: ignore[arg-type]
    width = Choice("w", (6, 9))
    for factors in (2, 3):
        layer = low_rank(4, width, 2, factors=factors, groups=3)
        assert isinstance(layer, LowRankLinear)
        kinds = [type(factor).__name__ for factor in layer]
        assert kinds == ["Linear"] * (factors - 1) + ["ElasticGroupedLinear"]
    with pytest.raises(SpecError, match="2 or 3 factors, got 4"):
        low_rank(4, 6, 2, factors=4)
