"""Class token, positions, dropped branches, removable blocks, norms over part of the channels."""

from __future__ import annotations

from random import Random

import pytest
import torch
from torch import Tensor, nn

from netloom.errors import SpecError
from netloom.spaces import ModuleSpace
from netloom.spaces.layers import (
    Choice,
    ClassToken,
    DropPath,
    ElasticClassToken,
    ElasticLayerNorm,
    ElasticPositions,
    Positions,
    Removable,
    class_token,
    linear,
    positions,
    removable,
    resized,
)

WIDTHS = (3, 8, 5, 8)


def spread(layer: ElasticLayerNorm | ElasticClassToken | ElasticPositions, width: Choice) -> Tensor:
    """Let each of four samples have a width of its own; return which channels it has."""
    layer.together, width.spread = True, WIDTHS
    return width.mask(len(WIDTHS), torch.device("cpu"))[:, None, :]


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_a_masked_norm_is_the_norm_of_what_is_kept(offset: float) -> None:
    """Far from zero too, where E[x^2] - E[x]^2 has no digit left in float32."""
    torch.manual_seed(0)
    width = Choice("width", (3, 5, 8))
    norm = ElasticLayerNorm(width, eps=1e-6)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(8))
        norm.bias.copy_(torch.randn(8))
    mask = spread(norm, width)
    whole = (offset + 0.1 * torch.randn(4, 6, 8)).requires_grad_()
    y = norm(whole * mask)
    y.square().sum().backward()
    assert not (y * ~mask).any()
    assert not (whole.grad * ~mask).any()
    for i, n in enumerate(WIDTHS):
        x = whole[i, :, :n].detach().double().requires_grad_()
        weight, bias = norm.weight[:n].double(), norm.bias[:n].double()
        alone = nn.functional.layer_norm(x, (n,), weight, bias, 1e-6)
        alone.square().sum().backward()
        torch.testing.assert_close(y[i, :, :n].double(), alone, rtol=5e-3, atol=5e-3)
        if not offset:
            torch.testing.assert_close(whole.grad[i, :, :n].double(), x.grad, rtol=1e-4, atol=1e-3)


def test_a_masked_norm_does_not_trust_what_it_does_not_keep() -> None:
    width = Choice("width", (3, 5, 8))
    norm = ElasticLayerNorm(width)
    mask, x = spread(norm, width), torch.randn(4, 2, 8)
    torch.testing.assert_close(norm(x), norm(x * mask))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_masked_norm_counts_in_float32(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    width = Choice("width", (3, 5, 8))
    norm, reference = ElasticLayerNorm(width), ElasticLayerNorm(width)
    mask = spread(norm, width)
    spread(reference, width)
    x = ((300 + torch.randn(4, 6, 8)) * mask).to(dtype)  # 300^2 is beyond float16
    y = norm(x)
    assert y.dtype == dtype
    assert torch.equal(y, reference(x.float()).to(dtype))


def test_tokens_and_positions_stay_within_the_width_of_a_sample() -> None:
    width = Choice("width", (3, 5, 8))
    for layer in (ElasticClassToken(width), ElasticPositions(6, width)):
        mask = spread(layer, width)
        y = layer(torch.randn(4, 6, 8) * mask)
        assert not (y * ~mask).any()
        assert bool(y[1, :, 5:].any())
        layer.together = False


def test_tokens_and_positions_of_one_width_are_plain() -> None:
    token, table = class_token(4), positions(5, 4)
    assert (type(token), type(table)) == (ClassToken, Positions)
    x = torch.randn(2, 4, 4)
    y = table(token(x))
    torch.testing.assert_close(y[:, 0], (token.weight + table.weight[0]).expand(2, 4))
    torch.testing.assert_close(y[:, 1:], x + table.weight[1:])
    assert (token.weight.dim(), table.weight.dim()) == (1, 2)  # what weight decay goes by
    width = Choice("width", (2, 4))
    assert isinstance(class_token(width), ElasticClassToken)
    assert isinstance(positions(5, width), ElasticPositions)


# ---------------------------------------------------------------- resizing
def test_a_table_is_resized_as_an_image() -> None:
    row, column = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    table = torch.stack((row.flatten(), column.flatten(), torch.ones(64)), 1)
    table = torch.cat((torch.tensor([[7.0, 8.0, 9.0]]), table))
    assert resized(table, 65, first=1) is table
    big = resized(table, 1 + 16 * 16, first=1)
    assert torch.equal(big[0], table[0])
    grid = big[1:].view(16, 16, 3)
    torch.testing.assert_close(grid[..., 2], torch.ones(16, 16))
    assert torch.equal(grid[:, 0, 0], grid[:, 9, 0])  # rows stay rows
    centres = (torch.arange(16.0) + 0.5) / 2 - 0.5
    for ramp in (grid[4:12, 0, 0], grid[0, 4:12, 1]):  # a ramp nearly stays one
        torch.testing.assert_close(ramp, centres[4:12], rtol=0, atol=0.06)


def test_only_squares_are_resized() -> None:
    with pytest.raises(SpecError, match="patches fill a square"):
        resized(torch.zeros(65, 2), 64, first=1)
    with pytest.raises(SpecError, match="patches fill a square"):
        resized(torch.zeros(65, 2), 64)


# ---------------------------------------------------------------- dropped branches
def test_a_dropped_branch_is_dropped_by_the_sample() -> None:
    torch.manual_seed(0)
    drop, x = DropPath(0.25), torch.ones(4000, 2, 3)
    y = drop(x)
    kept = y[:, 0, 0] > 0
    assert torch.equal(y, torch.where(kept[:, None, None], x / 0.75, torch.zeros_like(x)))
    assert abs(kept.float().mean() - 0.75) < 0.04
    assert drop.eval()(x) is x
    assert DropPath(0.0)(x) is x


# ---------------------------------------------------------------- removable blocks
class Blocks(nn.Module):
    """Four blocks: the second may go, the third too but not without the fourth."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (Choice(name, (0, 1)) for name in "abc")
        hidden = Choice("hidden", (2, 4))
        second = nn.Sequential(linear(3, hidden), linear(hidden, 3))
        needs = [(), (self.a,), (self.b, self.c), (self.b,)]
        blocks = [linear(3, 3), second, nn.Linear(3, 3), nn.Linear(3, 3)]
        self.blocks = removable(blocks, needs)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x)


def test_removed_blocks_are_gone() -> None:
    space = ModuleSpace(Blocks, torch.zeros(1, 3))
    supernet, x = space.supernet(), torch.randn(2, 3)
    blocks = supernet.module.blocks
    decisions = {d.name: d for d in space.decisions}
    assert decisions["hidden"].when == {"a": (1,)}
    for a, b, c in ((0, 0, 0), (1, 0, 1), (0, 1, 0), (1, 1, 1)):
        chosen = {"a": a, "b": b, "c": c} | ({"hidden": 4} if a else {})
        runs = [True, bool(a), bool(b and c), bool(b)]
        y = x
        for block in (block for block, run in zip(blocks.blocks, runs, strict=True) if run):
            y = block(y)
        supernet.activate(chosen)
        assert torch.equal(supernet(x), y)
        network = supernet.extract(chosen)
        assert type(network.blocks) is nn.Sequential
        assert len(network.blocks) == sum(runs)
        assert torch.equal(network(x), y)
        read = [p for p, run in zip(blocks.blocks, runs, strict=True) if run]
        assert {id(p) for p in supernet.parameters_of(chosen)} == {
            id(p) for block in read for p in block.parameters()
        }


def test_removed_blocks_run_together_with_others() -> None:
    torch.manual_seed(0)
    space = ModuleSpace(Blocks, torch.zeros(1, 3))
    supernet, rng = space.supernet().double(), Random(0)
    wanted = [space.sample(rng) for _ in range(12)]
    wanted[0] = space.architecture({"a": 0, "b": 0, "c": 1})
    x, target = torch.randn(12, 3).double(), torch.randn(12, 3).double()
    with supernet.together(wanted):
        outputs = supernet(x)
        (outputs * target).sum().backward()
    gradients = {n: p.grad.clone() for n, p in supernet.named_parameters()}
    supernet.zero_grad()
    for i, a in enumerate(wanted):
        supernet.activate(a)
        y = supernet(x[i : i + 1])
        torch.testing.assert_close(outputs[i : i + 1], y)
        (y * target[i]).sum().backward()
    for name, parameter in supernet.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, msg=name)
    with supernet.together([space.architecture({"a": 0, "b": 0, "c": 1})] * 2):  # nobody has them
        torch.testing.assert_close(supernet(x[:2]), supernet.module.blocks.blocks[0](x[:2]))


def test_what_decides_about_a_block_is_1_or_0() -> None:
    blocks = [nn.Identity(), nn.Identity()]
    assert type(removable(blocks, None)) is nn.Sequential
    with pytest.raises(SpecError, match="2 blocks, but choices for 1"):
        Removable(blocks, [()])
    with pytest.raises(SpecError, match=r"keep: .*got the option 2"):
        Removable(blocks, [(), (Choice("keep", (1, 2)),)])
