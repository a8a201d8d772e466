"""ViT-Res: parameters and MACs to the unit, the reduction, what other images ask for."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netloom.errors import InvalidArchitecture, SpecError
from netloom.hw_models import PartCache
from netloom.spaces.layers import Attention
from netloom.spaces.networks.vit_resnas import Block, Reduction, Stem, load_resized
from netloom.spaces.zoo.vit_resnas import VitResNas

from ..conftest import images, randomize, traced
from .conftest import largest, on_meta, smallest, tiny

NETWORKS = {  # preset, parameters without and with patch head, MACs
    "ViT-Res-Tiny": ("sr_tiny_mh", 42_012_736, 42_781_736, 1_794_378_240),
    "ViT-ResNAS-Tiny": ("sr_tiny_mh", 40_793_552, 41_498_552, 1_782_630_272),
    "ViT-ResNAS-Small": ("sr_small_mh", 63_724_108, 64_605_108, 2_845_501_856),
    "ViT-ResNAS-Medium": ("sr_small_mh", 96_442_672, 97_323_672, 4_513_135_936),
    "largest of sr_tiny_mh": ("sr_tiny_mh", 84_814_464, 85_839_464, 3_497_553_920),
    "largest of sr_small_mh": ("sr_small_mh", 155_318_528, 156_599_528, 6_260_342_784),
}


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_and_macs_are_those_of_the_original(name: str) -> None:
    preset, params, with_patches, macs = NETWORKS[name]
    space, patches = VitResNas(preset=preset), VitResNas(preset=preset, patch_head=True)
    text = largest(space) if name.startswith("largest") else name
    a = space.parse(text)
    workload = traced(on_meta(space, a).eval(), space, a)
    assert (workload.params, workload.macs) == (params, macs)
    network = on_meta(patches, a)
    assert parameters(network) == with_patches
    assert traced(network.eval(), patches, a).macs == macs
    deployed = PartCache().compose(patches.parts(a))  # what is counted is without it
    assert (deployed.params, deployed.macs) == (params, macs)


@pytest.mark.parametrize(
    ("side", "params", "macs"),
    [
        (224, 96_442_672, 4_513_135_936),
        (280, 96_508_192, 7_219_069_888),
        (336, 96_588_272, 10_739_099_456),
        (392, 96_682_912, 15_200_890_816),
    ],
)
def test_larger_images_only_need_more_positions(side: int, params: int, macs: int) -> None:
    space = VitResNas(preset="sr_small_mh", resolution=side)
    a = space.published()["ViT-ResNAS-Medium"]
    workload = traced(on_meta(space, "ViT-ResNAS-Medium").eval(), space, a)
    assert (workload.params, workload.macs) == (params, macs)
    n = side // 14
    positions = (1 + n * n) * 240 + (n // 2) ** 2 * 640 + (n // 4) ** 2 * 880
    assert params - positions == 96_442_672 - (257 * 240 + 64 * 640 + 16 * 880)


@pytest.mark.parametrize("side", [224, 336])
def test_macs_are_those_that_hooks_count(side: int) -> None:
    space, rng = VitResNas(resolution=side), Random(side)
    for _ in range(2):
        a = space.sample(rng)
        network, macs = on_meta(space, a).eval(), 0

        def count(layer: nn.Module, inputs: tuple[Tensor], y: Tensor) -> None:
            nonlocal macs
            if isinstance(layer, nn.Conv2d | nn.Linear):
                macs += y.numel() * layer.weight[0].numel()
            if isinstance(layer, Attention):  # queries times keys, and their sums of values
                macs += 2 * layer.heads * layer.head_dim * y.shape[1] ** 2

        for layer in network.modules():
            layer.register_forward_hook(count)
        network(torch.empty(1, 3, side, side, device="meta"))
        assert traced(on_meta(space, a).eval(), space, a).macs == macs


def test_empty_places_cost_nothing() -> None:
    space = VitResNas()
    a = space.parse("ViT-Res-Tiny")
    blocks = [layer for layer in on_meta(space, a).modules() if isinstance(layer, Block)]
    assert len(blocks) == 12
    removed = {**a, "stage3.block2.keep": 0}
    less = [traced(on_meta(space, b).eval(), space, space.parse(b)) for b in (a, removed)]
    assert less[0].params - less[1].params == parameters(blocks[-1])
    tokens = 17 * (768 * 3 * 768 + 768 * 768 + 2 * 768 * 3072) + 2 * 17 * 17 * 768
    assert less[0].macs - less[1].macs == tokens


@pytest.mark.parametrize(
    ("stem", "params"),
    [
        ("conv_stem_mid24", 3 * 9 * 24 + 2 * 9 * 24**2 + 6 * 24 + 49 * 24 * 192 + 192),
        ("conv_stem_mid32", 3 * 9 * 32 + 2 * 9 * 32**2 + 6 * 32 + 49 * 32 * 192 + 192),
        ("linear_patch14", 3 * 14 * 14 * 192 + 192),
    ],
)
def test_stems_make_16_by_16_patches(stem: str, params: int) -> None:
    with torch.device("meta"):
        module = Stem(stem, 3, 192, 14, 16)
        assert module(torch.empty(2, 3, 224, 224)).shape == (2, 257, 192)
    assert parameters(module.embedding) == params
    space = VitResNas()
    a = {**space.parse("ViT-Res-Tiny"), "stem": stem}
    assert parameters(on_meta(space, a).stem.embedding) == params


def test_there_are_257_65_and_17_tokens() -> None:
    space = VitResNas()
    shapes = [i.shape[1] for p in space.parts(space.sample(Random(0)))[1:] for i in p.inputs]
    assert sorted(set(shapes), reverse=True) == [257, 65, 17]
    network = on_meta(space, "ViT-ResNAS-Tiny")
    seen: list[tuple[int, ...]] = []
    for stage in network.stages:
        stage.register_forward_hook(lambda _, x, y: seen.append(tuple(y.shape)))
    network(torch.empty(2, 3, 224, 224, device="meta"))
    assert seen == [(2, 257, 176), (2, 65, 352), (2, 17, 704)]


# ---------------------------------------------------------------- the reduction
def test_a_reduction_without_weights_is_pooling_and_zeros() -> None:
    torch.manual_seed(0)
    reduction, x = Reduction(6, 10, 4), torch.randn(3, 17, 6)
    for layer in (reduction.patches, reduction.token, reduction.positions):
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
    y = reduction(x)
    assert y.shape == (3, 5, 10)
    assert not y[..., 6:].any()
    assert torch.equal(y[:, 0, :6], x[:, 0])
    grid = x[:, 1:].view(3, 2, 2, 2, 2, 6)  # row, row in a window, column, column in a window
    torch.testing.assert_close(y[:, 1:, :6], grid.mean((2, 4)).view(3, 4, 6))


@pytest.mark.parametrize("sizes", [(8, 6, 4), (6, 6, 3)])
def test_a_reduction_never_takes_channels_away(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(SpecError, match="halves an even side and adds channels"):
        Reduction(*sizes)


def test_a_reduction_has_one_norm_for_all_tokens() -> None:
    torch.manual_seed(0)
    reduction, x = Reduction(6, 6, 4), 3 + torch.randn(3, 17, 6)
    with torch.no_grad():
        reduction.norm.weight.mul_(2)
        reduction.norm.bias.add_(1)
        reduction.positions.weight.zero_()
        reduction.patches.weight.zero_()
        reduction.patches.weight[:, :, 1, 1] = torch.eye(6)  # every other patch
        reduction.patches.bias.zero_()
        reduction.token.weight.copy_(torch.eye(6))
        reduction.token.bias.zero_()
    y = reduction(x)
    normed = 2 * F.layer_norm(x, (6,), eps=1e-6) + 1
    torch.testing.assert_close(y[:, 0], x[:, 0] + normed[:, 0])
    picked = normed[:, 1:].view(3, 4, 4, 6)[:, ::2, ::2]
    pooled = x[:, 1:].view(3, 2, 2, 2, 2, 6).mean((2, 4))
    torch.testing.assert_close(y[:, 1:].view(3, 2, 2, 6), pooled + picked)


# ---------------------------------------------------------------- the whole network by hand
def by_hand(w: dict[str, Tensor], x: Tensor, heads: list[list[int]], width: list[int]) -> Tensor:
    """Compute a network in eval mode from its weights, with explicit sums of the attention."""

    def norm(t: Tensor, name: str) -> Tensor:
        centred = t - t.mean(-1, keepdim=True)
        spread = (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return centred / spread * w[f"{name}.weight"] + w[f"{name}.bias"]

    def dense(t: Tensor, name: str) -> Tensor:
        return t @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def conv(t: Tensor, name: str, stride: int) -> Tensor:
        t = F.conv2d(t, w[f"{name}.conv.weight"], stride=stride, padding=1)
        mean, variance = (w[f"{name}.norm.running_{k}"].view(-1, 1, 1) for k in ("mean", "var"))
        scale, shift = (w[f"{name}.norm.{k}"].view(-1, 1, 1) for k in ("weight", "bias"))
        return ((t - mean) / (variance + 1e-5).sqrt() * scale + shift).clamp(min=0)

    stem = "stem.embedding"
    first = conv(x, f"{stem}.first", 2)
    y = first + conv(conv(first, f"{stem}.second", 1), f"{stem}.third", 1)
    weight, bias = w[f"{stem}.patches.weight"], w[f"{stem}.patches.bias"]
    t = F.conv2d(y, weight, bias, stride=weight.shape[-1]).flatten(2).transpose(1, 2)
    t = torch.cat((w["stem.token.weight"].expand(len(x), 1, -1), t), 1) + w["stem.positions.weight"]
    for s, stage in enumerate(heads):
        if s:
            name, side = f"stages.{s}.reduction", round((t.shape[1] - 1) ** 0.5)
            normed = norm(t, f"{name}.norm")
            weight = w[f"{name}.patches.weight"]
            grid = normed[:, 1:].transpose(1, 2).reshape(len(x), -1, side, side)
            small = F.conv2d(grid, weight, w[f"{name}.patches.bias"], stride=2, padding=1)
            small = small.flatten(2).transpose(1, 2) + w[f"{name}.positions.weight"]
            pooled = (
                t[:, 1:].view(len(x), side // 2, 2, side // 2, 2, -1).mean((2, 4)).flatten(1, 2)
            )
            passed = torch.cat((t[:, :1], pooled), 1)
            t = torch.cat((dense(normed[:, :1], f"{name}.token"), small), 1)
            t[..., : passed.shape[-1]] += passed
        for b, n in enumerate(stage):
            name = f"stages.{s}.blocks.{b}"
            qkv = dense(norm(t, f"{name}.norm1"), f"{name}.attention.qkv")
            q, k, v = (z.unflatten(-1, (n, width[s])).transpose(1, 2) for z in qkv.chunk(3, -1))
            mixed = (q @ k.transpose(-1, -2) / width[s] ** 0.5).softmax(-1) @ v
            t = t + dense(mixed.transpose(1, 2).flatten(2), f"{name}.attention.proj")
            hidden = dense(norm(t, f"{name}.norm2"), f"{name}.mlp.0")
            hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
            t = t + dense(hidden, f"{name}.mlp.2")
    return dense(norm(t, "head.norm")[:, 0], "head.classifier")


@pytest.mark.parametrize("seed", range(3))
def test_networks_compute_what_the_sheet_says(seed: int) -> None:
    torch.manual_seed(0)
    space = tiny(in_channels=3)
    a = space.sample(Random(seed))
    network = space.build(a).double().eval()
    randomize(network)
    stages = [
        [a[f"stage{s}.block{b}.heads"] for b in (1, 2) if a[f"stage{s}.block{b}.keep"]]
        for s in (1, 2, 3)
    ]
    x = images(space, a).double()
    expected = by_hand(network.state_dict(), x, stages, [8, 12, 16])
    torch.testing.assert_close(network(x), expected)


# ---------------------------------------------------------------- training
def test_the_patch_head_speaks_in_training_only() -> None:
    space = tiny(patch_head=True, classes=7)
    a = space.architecture(largest(space))
    network, x = space.build(a), images(space, a)
    logits, patches = network(x)
    assert (logits.shape, patches.shape) == ((4, 7), (4, 4, 7))
    assert network.auxiliary_weight == 1
    (logits.sum() + patches.sum()).backward()
    assert all(p.grad is not None for p in network.parameters())
    assert network.eval()(x).shape == (4, 7)
    network.train()
    network.stem.embedding.eval()
    torch.testing.assert_close(network(x)[0], network.eval()(x))


def test_weight_decay_can_spare_what_has_one_dimension() -> None:
    """The class token is spared, tables of positions are not."""
    network = on_meta(VitResNas(), "ViT-ResNAS-Tiny")
    spared = {name for name, p in network.named_parameters() if p.dim() == 1}
    assert "stem.token.weight" in spared
    tables = [name for name, _ in network.named_parameters() if "positions" in name]
    assert len(tables) == 3
    assert spared.isdisjoint(tables)


@pytest.mark.parametrize("emptied", [(), ("stage1.block2", "stage2.block2")])
def test_drop_path_rises_over_the_blocks_that_are_there(emptied: tuple[str, ...]) -> None:
    space = tiny(drop_path=0.3)
    a = space.architecture({**largest(space), **{f"{name}.keep": 0 for name in emptied}})
    for network in (space.build(a), space.supernet().extract(a)):
        rates = [m.drop.rate for m in network.modules() if isinstance(m, Block)]
        n = 6 - len(emptied)
        assert rates == pytest.approx([0.3 * i / (n - 1) for i in range(n)])
        x = images(space, a)
        assert not torch.equal(network(x), network(x))
        network.eval()
        assert torch.equal(network(x), network(x))


def test_new_weights_are_narrow() -> None:
    torch.manual_seed(0)
    space = tiny()
    network = space.build(space.architecture(largest(space)))
    for name, p in network.named_parameters():
        if name.endswith("bias") and ("attention" in name or "mlp" in name or "norm" in name):
            assert not p.any()
    for layer in (network.stages[2].blocks[0].mlp[0], network.stem.positions):
        assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.1)


# ---------------------------------------------------------------- other images, other sizes
def test_a_network_takes_its_weights_to_larger_images() -> None:
    torch.manual_seed(0)
    small, large = tiny(resolution=16), tiny(resolution=24)
    a = small.sample(Random(1))
    first, second = small.build(a), large.build(a)
    load_resized(second, first.state_dict())
    before, after = first.state_dict(), second.state_dict()
    changed = {name for name in before if before[name].shape != after[name].shape}
    tables = {"stages.1.reduction.positions.weight", "stages.2.reduction.positions.weight"}
    assert changed == {"stem.positions.weight", *tables}
    same = before.keys() - changed
    assert all(torch.equal(before[name], after[name]) for name in same)
    assert torch.equal(before["stem.positions.weight"][0], after["stem.positions.weight"][0])
    assert after["stem.positions.weight"].shape[0] == 1 + 12 * 12
    assert second(images(large, a)).shape == (4, 10)
    third = small.build(a)
    load_resized(third, before)
    assert all(torch.equal(before[name], t) for name, t in third.state_dict().items())


@pytest.mark.parametrize("end", [smallest, largest])
@pytest.mark.parametrize(
    "preset", ["sr_tiny_mh", pytest.param("sr_small_mh", marks=pytest.mark.full)]
)
def test_both_ends_of_a_space_run(preset: str, end: Any) -> None:
    space = VitResNas(preset=preset, resolution=56, classes=5)
    a = space.architecture(end(space))
    network = space.build(a).eval()
    with torch.no_grad():
        y = network(images(space, a, 1))
    assert y.shape == (1, 5)
    assert torch.isfinite(y).all()


def test_small_images_have_small_patches() -> None:
    space = VitResNas(resolution=32, patch=2, classes=10)  # CIFAR: 16x16 patches of 2x2
    network = on_meta(space, space.sample(Random(0)))
    assert network(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 10)
    digits = tiny(resolution=8)
    a = digits.sample(Random(0))
    assert digits.build(a)(images(digits, a)).shape == (4, 10)


def test_one_stage_or_four() -> None:
    for stages in (1, 4):
        space = tiny(
            layers=[1] * stages,
            removable=[[]] * stages,
            embed_dims=[[8 * (i + 1)] for i in range(stages)],
            heads=[[1, 2]] * stages,
            head_dims=[4] * stages,
            mlps=[[8, 16]] * stages,
        )
        a = space.sample(Random(0))
        assert space.parse(space.format(a)) == a
        assert space.build(a)(images(space, a)).shape == (4, 10)
        assert len(list(space.parts(a))) == 2 * stages + 1


def test_a_network_without_a_block_in_a_stage_is_one_too() -> None:
    space = tiny()
    a = space.parse({"stem": "conv_stem_mid8", "embed_dims": [16, 32, 64], "blocks": []})
    assert space.build(a)(images(space, a)).shape == (4, 10)
    with pytest.raises(InvalidArchitecture, match="keep must be one of"):
        space.supernet().extract(a)
