"""Hiera's blocks and networks beside the original's order of tokens; logits, initial weights."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from netloom.spaces.networks.hiera_block import Block
from netloom.spaces.networks.hiera_plan import heads_of, window_at
from netloom.spaces.zoo.hiera import Hiera

from ..conftest import images, randomize
from .unrolled import block, logits, unroll


def test_tokens_are_unrolled_as_the_reference_says() -> None:
    expected = [0, 2, 8, 10, 1, 3, 9, 11, 4, 6, 12, 14, 5, 7, 13, 15]
    assert unroll(4, 4, levels=2).tolist() == expected


@pytest.mark.parametrize(
    ("dim", "dim_out", "pool", "window"),
    [
        (12, 12, None, (8, 8)),  # local
        (12, 12, None, None),  # global
        (12, 20, (2, 2), (4, 4)),  # first of a stage, still local
        (12, 20, (2, 2), None),
        (12, 12, (2, 2), (4, 4)),  # equal width: the original fails
        (12, 12, (2, 2), None),
        (12, 20, None, (8, 8)),  # first of a stage without pooling
        (20, 12, (2, 2), (4, 4)),  # narrower
    ],
)
def test_blocks_equal_those_of_the_original_order(
    dim: int, dim_out: int, pool: Any, window: Any
) -> None:
    side, n = 16, 2
    own = Block(dim, dim_out, 4, 3 * dim_out, pool, window).double()
    randomize(own)
    x = torch.randn(n, side, side, dim, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        found = own(x).flatten(1, 2)
        area = None if window is None else window[0] * window[1]
        unrolled = x.flatten(1, 2)[:, unroll(side, side)]
        expected = block(own.state_dict(), unrolled, 4, 1 if pool is None else 4, area)
    after = side if pool is None else side // 2
    order = unroll(after, after, levels=3 if pool is None else 2)
    assert found.shape == (n, after**2, dim_out)
    torch.testing.assert_close(found[:, order], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("options", [{}, {"stem_stride": 1}, {"stem_stride": 4}])
def test_networks_equal_those_of_the_original_order(options: dict[str, Any]) -> None:
    """Any flags, depths, widths, two poolings or three."""
    space, rng = Hiera(preset="tiny", **options), Random(0)
    for _ in range(3 if options else 8):
        a = space.sample(rng)
        assert_equal_logits(space, a)


@pytest.mark.parametrize(
    "more",
    [
        {"q_pool": 0},
        {"q_pool": 1, "mask_unit_attn": [False, True, True, True]},
        {"q_pool": 2, "mask_unit_size": [4, 4], "mask_unit_attn": [True] * 4},
        {"q_pool": 3, "mask_unit_size": [4, 4]},
        {"q_pool": 3, "q_stride": [2, 1], "mask_unit_size": [8, 1]},
    ],
)
def test_unusual_networks_equal_those_of_the_original_order(more: dict[str, Any]) -> None:
    space = Hiera(preset="tiny")
    widths = {"widths": [8, 12, 12, 30], "heads": [1, 4, 2, 3], "stages": [2, 2, 1, 2]}
    a = space.parse({**widths, **more, "mlp_ratio": 2.5})
    assert json.loads(space.format(a)).items() >= (widths | {"mlp_ratio": 2.5}).items()
    assert_equal_logits(space, a)


def assert_equal_logits(space: Hiera, a: Any) -> None:
    network = space.build(a).double().eval()
    randomize(network)
    x = images(space, a, n=2).double()
    with torch.no_grad():
        found = network(x)
        written = json.loads(space.format(a))
        expected = logits(network.state_dict(), written, x, space.options["stem_stride"])
    assert found.abs().max() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_outputs_are_logits_in_eval_mode_too() -> None:
    """The original's head applies a softmax there; a cross-entropy would apply another."""
    space = Hiera(preset="tiny")
    a = space.sample(Random(1))
    network = space.build(a)
    randomize(network)
    x = images(space, a)
    with torch.no_grad():
        y = network.eval()(x)
        assert torch.equal(y, network.train()(x))
    assert not torch.allclose(y.sum(1), torch.ones(len(y)))
    assert y.min() < 0


def test_maps_of_all_stages_are_in_rows() -> None:
    space = Hiera(preset="tiny")
    a = space.parse({"widths": [8, 12, 16, 24], "heads": [1, 1, 1, 1], "stages": [1, 1, 1, 1]})
    network = space.build(a).eval()
    with torch.no_grad():
        maps = network.maps(x := images(space, a, n=2))
        expected = network.head(maps[-1].permute(0, 2, 3, 1))
        assert torch.equal(network(x), expected)
        stem = network.stem(x).permute(0, 3, 1, 2)
        patches = F.conv2d(x, network.stem.conv.weight, network.stem.conv.bias, 2, 3)
        table = network.stem.positions.weight.T.view(8, 16, 16)
        torch.testing.assert_close(stem, patches + table)
    assert [tuple(m.shape) for m in maps] == [
        (2, 8, 16, 16),
        (2, 12, 8, 8),
        (2, 16, 4, 4),
        (2, 24, 2, 2),
    ]


def test_windows_shrink_with_the_map_and_one_of_all_is_none() -> None:
    assert [window_at(i, 56, True, 3) for i in range(4)] == [(8, 8), (4, 4), (2, 2), (1, 1)]
    assert [window_at(i, 56, True, 2) for i in range(4)] == [(8, 8), (4, 4), (2, 2), (2, 2)]
    assert [window_at(i, 56, False, 3) for i in range(4)] == [None] * 4
    assert [window_at(i, 8, True, 3) for i in range(4)] == [None] * 4


def test_a_width_is_divided_into_heads_of_at_least_the_head_size() -> None:
    assert [heads_of(w, 16) for w in (32, 48, 80, 768)] == [2, 3, 5, 48]
    assert [heads_of(w, 32) for w in (32, 48, 80, 112, 768)] == [1, 1, 2, 2, 24]
    assert heads_of(8, 16) == 1


def test_the_first_block_of_a_stage_attends_as_the_stage_before() -> None:
    """Its queries are pooled already; what follows it takes the stage's own flag."""
    space = Hiera()
    network = space.build(space.parse("Hiera-T"))
    found = [[b.attend.window for b in stage] for stage in network.stages]
    assert found == [[(8, 8)], [(4, 4)] * 2, [(2, 2)] + [None] * 6, [None] * 2]
    pools = [[b.attend.pool for b in stage] for stage in network.stages]
    assert pools == [[None], [(2, 2), None], [(2, 2)] + [None] * 6, [(2, 2), None]]


def test_initial_weights_are_those_of_the_original() -> None:
    """Biases of linear layers and layer norms are 0.02; the classifier is a thousandth of that."""
    torch.manual_seed(0)
    network = Hiera(preset="tiny", width=1.0).build(Hiera().parse("Hiera-T"))
    block = network.stages[2][0]
    for layer in (block.qkv, block.proj, block.mlp[0], block.shortcut.source.proj):
        assert layer.weight.detach().std() == pytest.approx(0.02, rel=0.05)
        assert layer.weight.abs().max() <= 2
        assert torch.equal(layer.bias, torch.full_like(layer.bias, 0.02))
    for norm in (block.norm1, block.norm2, network.head.norm):
        assert isinstance(norm, nn.LayerNorm)
        assert norm.eps == 1e-6
        assert torch.equal(norm.weight, torch.ones_like(norm.weight))
        assert torch.equal(norm.bias, torch.full_like(norm.bias, 0.02))
    classifier = network.head.classifier
    assert classifier.weight.detach().std() == pytest.approx(0.02e-3, rel=0.05)
    torch.testing.assert_close(classifier.bias, torch.full_like(classifier.bias, 0.02e-3))
    assert network.stem.positions.weight.detach().std() == pytest.approx(0.02, rel=0.05)
    assert network.stem.conv.weight.detach().std() == pytest.approx(0.02, rel=0.05)


def test_branches_are_dropped_from_the_first_block_to_the_last() -> None:
    space = Hiera(preset="tiny", drop_path=0.3)
    a = space.parse({"widths": [8, 12, 16, 24], "heads": [1, 1, 1, 1], "stages": [1, 1, 3, 2]})
    network = space.build(a)
    rates = [b.drop.rate for stage in network.stages for b in stage]
    assert rates == pytest.approx([0.3 * i / 6 for i in range(7)])
