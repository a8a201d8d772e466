"""Sorting the hidden channels of blocks, and what of it leaves trained networks as they are."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
import torch
from torch import Tensor, nn

from netloom.errors import SpecError
from netloom.spaces import ModuleSpace
from netloom.spaces.layers import (
    Choice,
    Derived,
    Elastic,
    ElasticAttention,
    Mlp,
    Repeat,
    Sortable,
    SqueezeExcite,
    attention,
    batch_norm2d,
    calibrate,
    conv2d,
    reorder,
    repeat,
    sort_hidden,
)


def test_the_least_size_is_that_of_the_mask() -> None:
    width, ratio = Choice("width", (8, 16)), Choice("ratio", (0.25, 0.5, 1.0))
    hidden = Derived(_product, width, ratio)
    assert (width.least, hidden.least, hidden.map(_half).least) == (8, 2, 1)
    ratio.restrict([1.0, 0.5])
    width.restrict([16])
    assert (width.least, hidden.least, hidden.max) == (16, 8, 16)


def _product(a: float, b: float) -> int:
    return round(a * b)


def _half(a: int) -> int:
    return a // 2


def test_a_number_of_blocks_or_a_choice_of_it() -> None:
    blocks = [nn.Tanh(), nn.Tanh()]
    assert list(repeat(1, blocks)) == blocks[:1]
    assert list(repeat(0, blocks)) == []
    assert isinstance(repeat(Choice("depth", (0, 2)), blocks), Repeat)


class Block(Sortable):
    """Hidden width (4, 8 or 12) with squeeze-and-excitation (2, 4 or 6) inside."""

    def __init__(self) -> None:
        super().__init__()
        hidden = Choice("hidden", (4, 8, 12))
        self.expand = nn.Sequential(conv2d(3, hidden, 3), batch_norm2d(hidden), nn.Hardswish())
        self.gate = SqueezeExcite(hidden, hidden.map(_half))
        self.project = conv2d(hidden, 3)
        self.fixed = conv2d(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fixed(x + self.project(self.gate(self.expand(x)))).mean((2, 3))

    def readers(self) -> Sequence[nn.Module]:
        return [self.project, self.gate.expand, self.fixed]


def make() -> ModuleSpace:
    return ModuleSpace(Block, torch.zeros(1, 3, 6, 6))


def outputs(supernet: nn.Module, x: Tensor) -> dict[int, Tensor]:
    found = {}
    for hidden in (4, 8, 12):
        supernet.activate({"hidden": hidden})
        found[hidden] = supernet(x)
    return found


def test_networks_that_the_masks_admit_do_not_change() -> None:
    torch.manual_seed(0)
    supernet, x = make().supernet().double(), torch.randn(4, 3, 6, 6).double()
    calibrate(supernet, [3 * x + 1])
    supernet.eval()
    block = supernet.module
    previous, trained = outputs(supernet, x), [12]
    for added in (8, 4):
        supernet.restrict({"hidden": trained})
        least = min(trained)
        assert supernet.sort_hidden() == 2  # the fixed layer has nothing to sort
        for reader, width in ((block.project, least), (block.gate.expand, least // 2)):
            assert isinstance(reader, Elastic)
            importance = reader.importance(reader.reads)[:width]
            assert torch.equal(importance, importance.sort(descending=True).values)
        supernet.restrict({})
        now = outputs(supernet, x)
        for hidden in trained:
            torch.testing.assert_close(now[hidden], previous[hidden])
        assert not torch.allclose(now[added], previous[added])
        with torch.no_grad():  # as if it had been trained on
            for p in block.parameters():
                p.add_(0.1 * torch.randn_like(p))
        previous, trained = outputs(supernet, x), [*trained, added]


def test_a_supernet_without_hidden_widths_says_so() -> None:
    space = ModuleSpace(Wide, torch.zeros(1, 3, 6, 6))
    with pytest.raises(SpecError, match="no hidden width to sort"):
        space.supernet().sort_hidden()
    assert sort_hidden(nn.Linear(2, 2)) == 0
    assert space.sample(Random(0))["width"] in (2, 4)


class Wide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        width = Choice("width", (2, 4))
        self.layers = nn.Sequential(conv2d(3, width), conv2d(width, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


# ---------------------------------------------------------------- transformers
class Transformer(nn.Module):
    """A block whose width, heads and hidden width are chosen."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        dim, heads, hidden = Choice("dim", (4, 6)), Choice("heads", (1, 2, 4)), (2, 5, 8)
        self.attention = attention(dim, heads, 3, bias=bias)
        self.mlp = Mlp(dim, Choice("hidden", hidden))

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(self.attention(x))


LARGEST = {"dim": 6, "heads": 4, "hidden": 8}


@pytest.mark.parametrize("bias", [True, False])
def test_all_heads_and_hidden_units_are_sorted(bias: bool) -> None:
    """The largest network stays as it is, one with fewer heads or units does not."""
    torch.manual_seed(0)
    space = ModuleSpace(Transformer, torch.zeros(1, 5, 6), bias=bias)
    supernet, x = space.supernet().double(), torch.randn(2, 5, 6).double()
    small = {**LARGEST, "heads": 1}, {**LARGEST, "hidden": 5}
    before = []
    for a in (LARGEST, *small):
        supernet.activate(a)
        before.append(supernet(x))
    assert supernet.sort_hidden(whole=True) == 2
    layer, mlp = supernet.module.attention, supernet.module.mlp
    assert isinstance(layer, ElasticAttention)
    q, k, v = layer.qkv.weight.view(3, 4, -1).abs().sum(-1)
    biases = layer.qkv.bias.view(3, 4, -1).abs().sum((0, 2)) if bias else 0
    heads = q + k + v + biases + layer.proj.weight.view(6, 4, 3).abs().sum((0, 2))
    torch.testing.assert_close(layer.head_importance(), heads)
    first, _, second = mlp
    units = second.weight.abs().sum(0) + first.weight.abs().sum(1) + first.bias.abs()
    for worth in (heads, units):
        assert torch.equal(worth, worth.sort(descending=True).values)
    after = []
    for a in (LARGEST, *small):
        supernet.activate(a)
        after.append(supernet(x))
    torch.testing.assert_close(after[0], before[0])
    assert not torch.allclose(after[1], before[1])
    assert not torch.allclose(after[2], before[2])


def test_heads_that_smaller_networks_have_stay_with_them() -> None:
    torch.manual_seed(0)
    supernet = ModuleSpace(Transformer, torch.zeros(1, 5, 6)).supernet().double()
    x = torch.randn(2, 5, 6).double()
    supernet.restrict({"heads": [2, 4], "hidden": [8]})
    for heads in (2, 4):
        a = {**LARGEST, "heads": heads}
        supernet.activate(a)
        before = supernet(x)
        assert supernet.sort_hidden() == 2
        torch.testing.assert_close(supernet(x), before)


def test_moments_move_with_their_weights() -> None:
    """Sorting and a step give what a step and sorting give."""
    torch.manual_seed(0)
    supernet = ModuleSpace(Transformer, torch.zeros(1, 5, 6)).supernet().double()
    x = torch.randn(2, 5, 6).double()
    supernet.activate(LARGEST)
    optimizer = torch.optim.AdamW(supernet.parameters(), lr=0.01, betas=(0.5, 0.9))

    def step() -> None:
        optimizer.zero_grad()
        supernet(x).square().sum().backward()
        optimizer.step()

    step()
    weights = {n: p.detach().clone() for n, p in supernet.named_parameters()}
    moments = {n: dict(optimizer.state[p]) for n, p in supernet.named_parameters()}
    moments = {n: {k: v.clone() for k, v in m.items()} for n, m in moments.items()}
    step()
    expected = supernet(x)
    with torch.no_grad():
        for name, p in supernet.named_parameters():
            p.copy_(weights[name])
            optimizer.state[p].update(moments[name])
    supernet.sort_hidden(whole=True, state=optimizer.state)
    assert not torch.equal(weights["module.mlp.0.weight"], supernet.module.mlp[0].weight)
    step()
    torch.testing.assert_close(supernet(x), expected)


def test_reordering_takes_the_moments_along() -> None:
    weight = nn.Parameter(torch.arange(6.0))
    state = {weight: {"step": torch.tensor(1.0), "exp_avg": 10 * torch.arange(6.0)}}
    reorder(weight, 1, torch.tensor([2, 0, 1]), shape=(2, 3), state=state)
    assert weight.tolist() == [2, 0, 1, 5, 3, 4]
    assert state[weight]["exp_avg"].tolist() == [20, 0, 10, 50, 30, 40]
    assert state[weight]["step"] == 1
