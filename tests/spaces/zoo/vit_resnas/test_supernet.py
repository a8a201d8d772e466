"""The super-network of ViT-ResNAS: slices, many networks in one batch, sorting."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from netloom.errors import InvalidArchitecture
from netloom.spaces import Architecture
from netloom.spaces.networks.vit_resnas import VitResSupernet
from netloom.spaces.zoo.vit_resnas import VitResNas

from ..conftest import (
    assert_extraction_is_exact,
    assert_parameters_are_those_read,
    images,
    randomize,
)
from .conftest import largest, smallest, tiny


def made(**options: Any) -> VitResSupernet:
    torch.manual_seed(0)
    supernet = tiny(**options).supernet()
    randomize(supernet)
    return supernet


def mixture(space: VitResNas, n: int) -> list[Architecture]:
    """Return networks that differ in everything: both ends, and drawn ones."""
    ends = [space.architecture(end(space)) for end in (smallest, largest)]
    rng = Random(2)
    return [*ends, *(space.sample(rng) for _ in range(n - 2))]


# ---------------------------------------------------------------- slices
@pytest.mark.parametrize("stem", ["conv_stem_mid8", "linear_patch2"])
def test_extracted_networks_are_slices(stem: str) -> None:
    assert_extraction_is_exact(made(stem=stem), 3)


def test_extracted_networks_are_slices_with_a_head_for_the_patches() -> None:
    supernet = made(patch_head=True)
    a = supernet.space.sample(Random(0))
    network, x = supernet.extract(a), images(supernet.space, a)
    supernet.activate(a)
    for own, alone in zip(supernet(x), network(x), strict=True):
        assert torch.equal(own, alone)
    supernet.space.build(a).load_state_dict(network.state_dict())


def test_parameters_are_those_read() -> None:
    assert_parameters_are_those_read(made(), 4)


def test_q_k_and_v_are_cut_separately() -> None:
    supernet = made()
    space = supernet.space
    a = space.architecture({**largest(space), "stage2.embed_dim": 48, "stage2.block1.heads": 2})
    whole = supernet.module.stages[1].blocks.blocks[0].attention
    part = supernet.extract(a).stages[1].blocks[0].attention
    for i in range(3):  # 4 heads of 12, of which 2 are left
        rows = slice(48 * i, 48 * i + 24)
        own = slice(24 * i, 24 * i + 24)
        assert torch.equal(part.qkv.weight[own], whole.qkv.weight[rows, :48])
        assert torch.equal(part.qkv.bias[own], whole.qkv.bias[rows])
    assert torch.equal(part.proj.weight, whole.proj.weight[:48, :24])


def test_removed_blocks_are_gone_from_what_is_extracted() -> None:
    supernet = made()
    space = supernet.space
    a = space.architecture({**largest(space), "stage1.block2.keep": 0})
    network = supernet.extract(a)
    assert [len(stage.blocks) for stage in network.stages] == [1, 2, 2]
    assert network.state_dict().keys() == space.build(a).state_dict().keys()


@pytest.mark.parametrize("preset", ["sr_tiny_mh", "sr_small_mh"])
def test_the_published_networks_are_in_the_full_supernet(preset: str) -> None:
    space = VitResNas(preset=preset)
    with torch.device("meta"):
        supernet = space.supernet()
        whole = space.build(space.architecture(largest(space)))
    assert _size(supernet) == _size(whole)  # it is the largest network
    for name, a in space.published().items():
        if name == "ViT-Res-Tiny":  # heads of another width
            with pytest.raises(InvalidArchitecture, match="head_dim must be one of"):
                supernet.extract(a)
            continue
        network = supernet.extract(a)
        with torch.device("meta"):
            alone = space.build(a)
        shapes = [{k: v.shape for k, v in n.state_dict().items()} for n in (network, alone)]
        assert shapes[0] == shapes[1]


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_networks_beyond_the_lists_are_not_in_the_supernet() -> None:
    supernet = made()
    space = supernet.space
    for name, value in {
        "stem": "conv_stem_mid4",
        "stage1.embed_dim": 20,
        "stage1.block1.heads": 4,
        "stage1.block1.head_dim": 4,
        "stage3.block2.mlp": 100,
        "stage2.block1.keep": 0,
    }.items():
        a = space.architecture({**largest(space), name: value})
        with pytest.raises(InvalidArchitecture, match=f"{name} must be one of"):
            supernet.activate(a)


# ---------------------------------------------------------------- many networks in one batch
def loss(output: Any, target: Tensor) -> Tensor:
    if isinstance(output, tuple):
        logits, patches = output
        return (logits * target).sum() + (patches.square() * target[:, None]).sum()
    return (output * target).sum()


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {
        n: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for n, p in module.named_parameters()
    }


@pytest.mark.parametrize(("training", "patch_head"), [(False, False), (True, True)])
def test_a_batch_of_networks_gives_what_each_gives_alone(training: bool, patch_head: bool) -> None:
    """Outputs and gradients; example i belongs to network i mod 6.

    The stem, which no decision changes, normalises over the batch in train mode: networks one by
    one then see the whole batch, and their own examples count.
    """
    supernet = made(patch_head=patch_head).double().train(training)
    space = supernet.space
    wanted = mixture(space, 6)
    assert {a["stage2.block2.keep"] for a in wanted} == {0, 1}
    n = 12
    x = images(space, wanted[0], n).double()
    target = torch.randn(n, 10).double()
    with supernet.together([wanted[i % 6] for i in range(n)]):
        together = supernet(x)
        loss(together, target).backward()
    found = gradients(supernet)
    supernet.zero_grad(set_to_none=True)
    for k, a in enumerate(wanted):
        supernet.activate(a)
        own = torch.arange(n) % 6 == k
        alone = supernet(x)
        loss(alone, target * own[:, None]).backward()
        pairs = (
            zip(together, alone, strict=True) if isinstance(alone, tuple) else [(together, alone)]
        )
        for ours, theirs in pairs:
            torch.testing.assert_close(ours[own], theirs[own])
    for name, gradient in gradients(supernet).items():
        torch.testing.assert_close(found[name], gradient, msg=name)


def test_two_networks_in_a_batch_equal_two_passes() -> None:
    """In eval mode with batches of their own; the mean loss is weighted by the examples."""
    supernet = made().double().eval()
    space = supernet.space
    a, b = (space.sample(Random(i)) for i in (3, 4))
    x = images(space, a, 8).double()
    labels = torch.arange(8) % 10
    batch = [a, a, b, a, a, b, a, a]
    mine = torch.tensor([each is a for each in batch])
    with supernet.together(batch):
        nn.functional.cross_entropy(supernet(x), labels).backward()
    found = gradients(supernet)
    supernet.zero_grad()
    for network, own in ((a, mine), (b, ~mine)):
        supernet.activate(network)
        share = own.sum() / 8
        (share * nn.functional.cross_entropy(supernet(x[own]), labels[own])).backward()
    for name, gradient in gradients(supernet).items():
        torch.testing.assert_close(found[name], gradient, msg=name)


def test_a_batch_of_networks_agrees_in_float32() -> None:
    supernet = made().eval()
    space = supernet.space
    wanted = mixture(space, 8)
    x = images(space, wanted[0], 8)
    with torch.no_grad(), supernet.together(wanted):
        together = supernet(x)
    for i, a in enumerate(wanted):
        with torch.no_grad():
            alone = supernet.extract(a)(x[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-4, atol=1e-5)


def test_a_batch_of_networks_runs_in_half_precision() -> None:
    """As mixed-precision training runs it; the norms still count in float32."""
    supernet = made().eval()
    space = supernet.space
    wanted = mixture(space, 8)
    x = images(space, wanted[0], 8)
    with supernet.together(wanted):
        expected = supernet(x)
        with torch.autocast("cpu", torch.bfloat16):
            found = supernet(x)
        found.float().square().sum().backward()
    scale = float(expected.detach().abs().max())
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.05 * scale)
    assert all(torch.isfinite(p.grad).all() for p in supernet.parameters() if p.grad is not None)


def test_networks_stay_within_their_channels() -> None:
    """After the stem, every reduction and every block, each example has its own width only."""
    supernet = made()
    space = supernet.space
    wanted = mixture(space, 6)
    seen: list[tuple[int, Tensor]] = []

    def keep(number: int) -> Any:
        return lambda _, x, y: seen.append((number, y.detach()))

    supernet.module.stem.register_forward_hook(keep(1))
    for number, stage in enumerate(supernet.module.stages, start=1):
        for layer in [*stage.blocks.blocks, *stage.children()]:
            layer.register_forward_hook(keep(number))
    with supernet.together(wanted):
        supernet(images(space, wanted[0], 6))
    assert len(seen) == 1 + 6 + 5
    for number, y in seen:
        for i, a in enumerate(wanted):
            width = a[f"stage{number}.embed_dim"]
            assert not y[i, :, width:].any()
            assert y[i, :, :width].all()


def test_no_gradient_reaches_what_no_network_of_the_batch_has() -> None:
    supernet = made()
    space = supernet.space
    a = space.architecture(smallest(space))
    with supernet.together([a] * 4):
        supernet(images(space, a)).square().sum().backward()
    block = supernet.module.stages[0].blocks.blocks[0]
    assert not block.mlp[0].weight.grad[32:].any()
    assert not block.mlp[2].weight.grad[:, 32:].any()
    assert not block.attention.qkv.weight.grad.view(3, 3, 8, 32)[:, 1:].any()
    assert not block.attention.qkv.weight.grad[..., 16:].any()
    assert not supernet.module.head.classifier.weight.grad[:, 64:].any()
    removed = supernet.module.stages[0].blocks.blocks[1]
    assert all(p.grad is None or not p.grad.any() for p in removed.parameters())


# ---------------------------------------------------------------- sorting
def importances(block: nn.Module) -> list[Tensor]:
    """Return what the heads and the hidden units of a block are worth, by the formula."""
    qkv, proj = block.attention.qkv, block.attention.proj
    first, _, second = block.mlp
    n = block.attention.heads.max
    heads = qkv.weight.abs().sum(1).view(3, n, -1).sum((0, 2))
    heads = heads + qkv.bias.abs().view(3, n, -1).sum((0, 2))
    heads = heads + proj.weight.abs().sum(0).view(n, -1).sum(1)
    return [heads, second.weight.abs().sum(0) + first.weight.abs().sum(1) + first.bias.abs()]


def test_sorting_keeps_the_largest_network_and_changes_others() -> None:
    supernet = made().double().eval()
    space = supernet.space
    wanted = [space.architecture(end(space)) for end in (largest, smallest)]
    x = images(space, wanted[0]).double()
    kept = {n: p.detach().clone() for n, p in supernet.named_parameters()}

    def outputs() -> list[Tensor]:
        found = []
        for a in wanted:
            supernet.activate(a)
            found.append(supernet(x))
        return found

    before = outputs()
    assert supernet.sort_hidden(whole=True) == 2 * 6
    after = outputs()
    torch.testing.assert_close(after[0], before[0])
    assert not torch.allclose(after[1], before[1])
    for stage in supernet.module.stages:
        for block in stage.blocks.blocks:
            for worth in importances(block):
                assert torch.equal(worth, worth.sort(descending=True).values)
    moved = {n for n, p in supernet.named_parameters() if not torch.equal(p, kept[n])}
    assert all(".attention." in name or ".mlp." in name for name in moved)  # never the embedding
    assert not [name for name in moved if name.endswith(("proj.bias", "mlp.2.bias"))]


def test_sorting_before_smaller_networks_are_trained_keeps_what_was() -> None:
    supernet = made().double().eval()
    space = supernet.space
    masks = {d.name: d.options[-2:] for d in space.decisions}
    supernet.restrict(masks)
    a = supernet.sample(0)
    supernet.activate(a)
    x = images(space, a).double()
    before = supernet(x)
    assert supernet.sort_hidden() == 2 * 6
    torch.testing.assert_close(supernet(x), before)
