"""Hiera's super-network: leading slices, extraction, many networks in one batch."""

from __future__ import annotations

from random import Random

import pytest
import torch

from netloom.errors import InvalidArchitecture, SpecError
from netloom.spaces.zoo.hiera import Hiera

from ..conftest import (
    assert_extraction_is_exact,
    assert_parameters_are_those_read,
    images,
    randomize,
)


@pytest.mark.parametrize("stem_stride", [pytest.param(2, marks=pytest.mark.full), 4])
def test_extracted_networks_are_exact(stem_stride: int) -> None:
    space = Hiera(preset="tiny", stem_stride=stem_stride)
    assert_extraction_is_exact(space.supernet(), members=4)


def test_parameters_are_those_read() -> None:
    """Among them the layer beside attention where the width changes, and only there."""
    space = Hiera(preset="tiny")
    supernet = space.supernet()
    assert_parameters_are_those_read(supernet, members=4)
    a = space.sample(Random(0))
    equal = {"stage1.width": 20, "stage2.width": 48, "stage3.width": 48, "stage4.width": 128}
    change = space.architecture({**a, **equal})
    proj = "module.stages.{}.blocks.0.shortcut.source.widened.proj.weight"
    names = {id(p): name for name, p in supernet.named_parameters()}
    read = {names[id(p)] for p in supernet.parameters_of(change)}
    assert [proj.format(stage) in read for stage in (1, 2, 3)] == [True, False, True]


def test_weights_are_leading_slices_of_queries_keys_and_values_each() -> None:
    space = Hiera(preset="tiny")
    supernet = space.supernet()
    randomize(supernet)
    a = space.parse(
        {"widths": [12, 16, 40, 64], "heads": [3, 4, 10, 16], "stages": [1, 2, 2, 1], "q_pool": 2}
    )
    largest = supernet.extract(space.at(space.size - 1))
    small, whole = supernet.extract(a).stages[1][0], largest.stages[1][0]
    shared = whole.qkv.weight.view(3, 48, 24)
    assert torch.equal(small.qkv.weight.view(3, 16, 12), shared[:, :16, :12])
    assert torch.equal(small.qkv.bias.view(3, 16), whole.qkv.bias.view(3, 48)[:, :16])
    assert torch.equal(small.proj.weight, whole.proj.weight[:16, :16])
    assert torch.equal(small.mlp[0].weight, whole.mlp[0].weight[:64, :16])
    assert torch.equal(small.norm1.weight, whole.norm1.weight[:12])
    source = whole.shortcut.source.proj
    assert torch.equal(small.shortcut.source.proj.weight, source.weight[:16, :12])
    table = largest.stem.positions.weight
    assert torch.equal(supernet.extract(a).stem.positions.weight, table[:, :12])


def test_flags_heads_and_poolings_use_the_same_weights() -> None:
    space, rng = Hiera(preset="tiny"), Random(1)
    supernet = space.supernet()
    randomize(supernet)
    a = space.sample(rng)
    states = [supernet.extract(a).state_dict()]
    for name in ("stage1.local", "stage2.local", "stage3.local", "head_size", "q_pool"):
        options = next(d.options for d in space.decisions if d.name == name)
        other = space.architecture({**a, name: options[options[0] == a[name]]})
        states.append(supernet.extract(other).state_dict())
        with torch.no_grad():
            x = images(space, a)
            assert not torch.allclose(supernet.extract(other)(x), supernet.extract(a)(x))
    for state in states[1:]:
        assert all(torch.equal(state[key], states[0][key]) for key in states[0])


def test_initial_weights_are_those_of_the_networks() -> None:
    torch.manual_seed(0)
    supernet = Hiera(preset="tiny", width=0.5).supernet()
    block = supernet.module.stages[2].blocks[1]
    assert block.qkv.weight.detach().std() == pytest.approx(0.02, rel=0.05)
    for bias in (block.qkv.bias, block.norm1.bias, block.mlp[2].bias):
        assert torch.equal(bias, torch.full_like(bias, 0.02))
    assert supernet.module.head.classifier.weight.detach().std() == pytest.approx(0.02e-3, rel=0.05)


def test_networks_of_a_batch_run_together() -> None:
    """Of any widths, depths, heads, flags, with and without a layer beside attention."""
    space, rng = Hiera(preset="tiny"), Random(2)
    supernet = space.supernet().double()
    randomize(supernet)
    same = {"stage1.width": 20, "stage2.width": 40, "stage3.width": 40, "stage4.width": 96}
    for pools in (2, 3):
        wanted = [space.architecture({**space.sample(rng), "q_pool": pools}) for _ in range(6)]
        wanted[2] = space.architecture({**wanted[2], **same})
        x = images(space, wanted[0], n=6).double()
        with supernet.together(wanted):
            together = supernet(x)
        together.sum().backward()
        gradients = [p.grad for p in supernet.parameters()]
        supernet.zero_grad(set_to_none=True)
        for i, a in enumerate(wanted):
            supernet.activate(a)
            alone = supernet(x[i : i + 1])
            torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-10)
            alone.sum().backward()
        for found, p in zip(gradients, supernet.parameters(), strict=True):
            torch.testing.assert_close(
                torch.zeros_like(p) if found is None else found,
                torch.zeros_like(p) if p.grad is None else p.grad,
                rtol=0,
                atol=1e-8,
            )
        supernet.zero_grad(set_to_none=True)


def test_networks_that_pool_differently_do_not_run_together() -> None:
    space = Hiera(preset="tiny")
    supernet, a = space.supernet(), space.sample(Random(3))
    wanted = [space.architecture({**a, "q_pool": pools}) for pools in (2, 3)]
    with supernet.together(wanted), pytest.raises(SpecError, match=r"must pool alike.*q_pool"):
        supernet(images(space, a, n=2))


def test_what_is_beyond_the_lists_is_no_part_of_it() -> None:
    space = Hiera()
    with torch.device("meta"):
        supernet = space.supernet()
    with pytest.raises(InvalidArchitecture, match=r"stage1\.width must be one of .*; got 144"):
        supernet.activate(space.parse("Hiera-L"))


def test_hidden_channels_can_be_sorted_without_changing_the_largest_network() -> None:
    space = Hiera(preset="tiny")
    supernet = space.supernet()
    randomize(supernet)
    a = space.at(space.size - 1)
    supernet.activate(a)
    x = images(space, a)
    with torch.no_grad():
        before = supernet(x)
        assert supernet.sort_hidden() == 3 + 4 + 12 + 3
        torch.testing.assert_close(supernet(x), before)
