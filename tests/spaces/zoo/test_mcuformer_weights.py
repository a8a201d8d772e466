"""MCUFormer: low-rank layers from whole ones, two factors from three; training at toy size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from netloom.errors import SpecError
from netloom.hw_models.tracer import build_on_meta
from netloom.spaces.layers import LowRankLinear
from netloom.spaces.networks import mcuformer_plan as plan
from netloom.spaces.networks.mcuformer_weights import folded, take_over
from netloom.spaces.zoo.mcuformer import McuFormer

from .conftest import images, randomize

TINY: dict[str, Any] = {"preset": "tiny", "in_channels": 1, "classes": 3, "patches": [8]}
LAYERS = ("attention.qkv", "attention.proj", "mlp.fc1", "mlp.fc2")


def pair(**options: Any) -> tuple[McuFormer, nn.Module, nn.Module]:
    """Return a low-rank space, its super-network, and that of whole layers with other weights."""
    torch.manual_seed(0)
    space = McuFormer(**TINY, **options)
    whole = McuFormer(**TINY, factors=1).supernet()
    randomize(whole)
    return space, space.supernet(), whole


def product(layer: nn.Module, width: int) -> torch.Tensor:
    """Return the matrix that a layer applies, from its outputs on the unit vectors."""
    return (layer(torch.eye(width)) - layer(torch.zeros(1, width))).T


@pytest.mark.parametrize("factors", [2, 3])
def test_full_ranks_give_the_whole_layers(factors: int) -> None:
    """Queries, keys, values, output and MLP to 1e-5.

    With three factors attention has one rank in all networks, so that smaller ones have its whole
    layers too; elsewhere smaller layers have smaller ranks.
    """
    space, supernet, whole = pair(factors=factors, rank_ratios=[1.0], super_dim=64)
    assert take_over(supernet, whole) == []
    smaller = LAYERS[:2] if factors == 3 else ()
    for a, names in ((space.at(space.size - 1), LAYERS), (space.at(0), smaller)):
        supernet.activate(a)
        whole.activate({**a, "rank_attn": 100})
        for i in range(a["depth"]):
            for name in names:
                path = f"module.blocks.blocks.{i}.{name}"
                ours, theirs = supernet.get_submodule(path), whole.get_submodule(path)
                x = torch.randn(5, theirs.in_features.value)
                with torch.no_grad():
                    y = theirs(x)
                    assert (ours(x) - y).abs().max() <= 1e-5 * y.abs().max(), path


@pytest.mark.parametrize("factors", [2, 3])
def test_smaller_ranks_are_the_best_approximation(factors: int) -> None:
    """Of rank R the error is what the smaller singular values leave."""
    space, supernet, whole = pair(factors=factors, rank_ratios=[0.5])
    take_over(supernet, whole)
    largest = space.at(space.size - 1)
    supernet.activate(largest)
    whole.activate({**largest, "rank_attn": 100})
    [block, *_] = space.blocks(largest)
    for name in LAYERS:
        if factors == 2 and name == "attention.proj":
            continue
        path = f"module.blocks.blocks.1.{name}"
        with torch.no_grad():
            width = whole.get_submodule(path).in_features.value
            ours, theirs = (product(m.get_submodule(path), width) for m in (supernet, whole))
            rank = block.rank_attn if name.startswith("attention") else block.rank_mlp
            values = torch.linalg.svdvals(theirs.double())
            optimal = values[rank:].square().sum().sqrt()
            error = torch.linalg.norm((ours - theirs).double())
        assert optimal > 0
        assert error == pytest.approx(float(optimal), rel=1e-4), path


def test_stand_alone_networks_start_from_each_other() -> None:
    space = McuFormer(**TINY, rank_ratios=[1.0], super_dim=48)
    whole = McuFormer(**TINY, factors=1)
    a = space.architecture({**space.at(0), "embed_dim": 48, "block1.heads": 3, "block2.heads": 3})
    network, other = space.build(a), whole.build(whole.architecture({**a, "rank_attn": 100}))
    randomize(other)
    assert take_over(network, other) == []
    x = images(space, a)
    with torch.no_grad():
        torch.testing.assert_close(network(x), other(x), rtol=1e-3, atol=1e-4)


def test_what_has_another_size_keeps_its_values() -> None:
    _, supernet, _ = pair()
    other = McuFormer(**{**TINY, "patches": [4], "classes": 5}, factors=1).supernet()
    before = {n: p.clone() for n, p in supernet.named_parameters()}
    kept = take_over(supernet, other)
    assert kept == [
        "module.embedding.candidates.0.patches.weight",
        "module.embedding.candidates.0.positions.weight",
        "module.head.classifier.weight",
        "module.head.classifier.bias",
    ]
    named = dict(supernet.named_parameters())
    assert all(torch.equal(named[name], before[name]) for name in kept)
    table = "module.blocks.blocks.0.attention.keys.vertical"
    assert torch.equal(named[table], dict(other.named_parameters())[table])


def test_networks_of_other_sizes_are_refused() -> None:
    _, supernet, _ = pair()
    for options in ({"mlp_ratios": [2, 4]}, {"depths": [2]}):
        other = McuFormer(**TINY, **options, factors=1).supernet()
        with pytest.raises(SpecError, match=r"must be one layer of .* with factors: 1"):
            take_over(supernet, other)


def test_the_middle_factor_folds_away() -> None:
    """Same outputs, fewer parameters: R^2 for each of the four layers of a block."""
    space = McuFormer(**TINY)
    a = space.at(space.size - 1)
    network = space.build(a).eval()
    randomize(network)
    smaller = folded(network)
    x = images(space, a)
    with torch.no_grad():
        torch.testing.assert_close(smaller(x), network(x), rtol=1e-4, atol=1e-4)
    sizes = [sum(p.numel() for p in m.parameters()) for m in (network, smaller)]
    saved = sum(2 * b.rank_attn**2 + 2 * b.rank_mlp**2 for b in space.blocks(a))
    assert sizes[0] - sizes[1] == saved
    assert all(len(m) == 2 for m in smaller.modules() if isinstance(m, LowRankLinear))
    assert plan.weights(48, 144, 21, 3) - plan.weights(48, 144, 21, 2) == 21**2


def test_gelu_by_a_sigmoid() -> None:
    """What integer kernels compute: x sigmoid(1.702 x) is off by at most 0.0203, at 2.27."""
    x = torch.linspace(-6, 6, 240_001, dtype=torch.float64)
    error = (x * torch.sigmoid(1.702 * x) - F.gelu(x)).abs()
    assert error.max().item() == pytest.approx(0.0203, abs=5e-5)
    assert abs(x[error.argmax()].item()) == pytest.approx(2.27, abs=0.01)


def test_full_size_super_networks_build_without_memory() -> None:
    for preset in ("T", "S", "B"):
        space = McuFormer(preset=preset)
        supernet = build_on_meta(space.supernet)
        largest = space.at(space.size - 1)
        own = sum(
            p.numel() for p in build_on_meta(lambda s=space, a=largest: s.build(a)).parameters()
        )
        total = sum(p.numel() for p in supernet.parameters())
        others = [
            3 * p * p * largest["embed_dim"] + largest["embed_dim"] * (plan.side(240, p) ** 2 + 3)
            for p in (16, 20, 24, 28)
        ]
        assert total == own + sum(others)


def test_a_super_network_learns() -> None:
    """Two classes of 32 pixels; the loss falls, and a seed decides all of it."""

    def run(steps: int) -> list[float]:
        torch.manual_seed(0)
        space = McuFormer(preset="tiny", classes=2, patches=[8], rank_ratios=[0.9])
        supernet = space.supernet()
        x, y = torch.randn(32, 3, 32, 32), torch.arange(32) % 2
        x = x + (2 * y - 1)[:, None, None, None] * 0.5
        optimizer = torch.optim.AdamW(supernet.parameters(), lr=1e-3)
        losses = []
        for step in range(steps):
            supernet.activate(supernet.sample(step))
            loss = F.cross_entropy(supernet(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    losses = run(30)
    assert losses[:8] == run(8)
    assert sum(losses[-5:]) / 5 < 0.3 < 0.6 < losses[0]
