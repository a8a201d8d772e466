"""Growing: outputs stay, weights go where the definition puts them, what is refused."""

from __future__ import annotations

import json
from collections import Counter
from copy import deepcopy
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from netloom.errors import InvalidArchitecture, SpecError
from netloom.spaces import Architecture
from netloom.spaces.networks.eas_actions import (
    Action,
    Deeper,
    Growth,
    Noise,
    Transitions,
    Wider,
    from_json,
    to_json,
)
from netloom.spaces.networks.eas_growth import logit_change, shares
from netloom.spaces.zoo.eas import EasDense, EasPlain

SMALL = "conv-4-3_pool_conv-4-3_pool_conv-4-3_pool_conv-4-3_pool_fc-8"
SPACES = {  # small, with room for nine actions
    "plain": EasPlain(
        filters=[2, 3, 5, 7, 9],
        units=[3, 4, 6, 9],
        pools=[1, 2, 3],
        block_layers=9,
        max_layers=24,
        resolution=9,
    ),
    "flattened": EasPlain(
        filters=[2, 3, 5, 7, 9],
        units=[3, 4, 6, 9],
        pools=[1, 2],
        block_layers=9,
        max_layers=22,
        resolution=9,
        last_pool="max",
    ),
    "dense": EasDense(growths=[1, 2, 3, 5, 7], blocks=[1, 2, 3], max_layers=24, resolution=8),
}


def randomised(network: nn.Module, seed: int) -> nn.Module:
    """Give scales, shifts and statistics of the norms values that cannot be overlooked."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for norm in network.modules():
            if isinstance(norm, nn.BatchNorm2d | nn.BatchNorm1d):
                n = norm.num_features
                norm.weight.copy_(0.5 + torch.rand(n, generator=generator))
                norm.bias.copy_(torch.randn(n, generator=generator) / 2)
                norm.running_mean.copy_(torch.randn(n, generator=generator) / 2)  # type: ignore[union-attr]
                norm.running_var.copy_(0.5 + torch.rand(n, generator=generator))  # type: ignore[union-attr]
    return network


def images(space: EasPlain | EasDense, n: int = 4, seed: int = 0) -> Tensor:
    side = space.options["resolution"]
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, side, side, generator=generator, dtype=torch.float64)


def start(
    space: EasPlain | EasDense, rng: Random, dtype: torch.dtype = torch.float64
) -> tuple[nn.Module, Architecture]:
    """Return a random network that has room to grow."""
    while len(space.actions(a := space.sample(rng, "decisions"))) < 4 or entries(space, a) > 14:
        continue
    return randomised(space.build(a), rng.randrange(10**6)).to(dtype).eval(), a


def entries(space: EasPlain | EasDense, a: Architecture) -> int:
    return len(space.format(a).split("_"))


def grown(
    space: EasPlain | EasDense, network: nn.Module, a: Architecture, action: Action, **more: Any
) -> Growth:
    more = {"rng": Random(1), "images": images(space), **more}
    return space.grow(network, a, action, **more)


def trajectory(space: EasPlain | EasDense, seed: int, dtype: torch.dtype) -> float:
    """Grow a random network nine times in random order; return how far its outputs moved."""
    rng = Random(seed)
    network, a = start(space, rng, dtype)
    x = images(space, seed=seed).to(dtype)
    parent, taken = network, 0
    while taken < 9:
        actions = space.actions(a)
        if isinstance(space, EasDense):
            actions.append(Transitions())
        action = actions[rng.randrange(len(actions))]
        growth = space.grow(network, a, action, rng=rng, images=x)
        assert growth.architecture == space.after(a, action)
        network, a, taken = growth.network, growth.architecture, taken + 1
    return logit_change(parent, network, x)


# ---------------------------------------------------------------- the function stays
@pytest.mark.parametrize("name", SPACES)
def test_outputs_stay(name: str) -> None:
    """Nine actions in random order, in doubles."""
    for seed in range(6):
        assert trajectory(SPACES[name], seed, torch.float64) < 1e-9, seed


@pytest.mark.full
@pytest.mark.parametrize("name", SPACES)
def test_outputs_of_200_networks_stay(name: str) -> None:
    for seed in range(200):
        assert trajectory(SPACES[name], seed, torch.float64) < 1e-9, seed


@pytest.mark.parametrize("name", SPACES)
def test_outputs_stay_in_single_precision(name: str) -> None:
    for seed in range(4):
        assert trajectory(SPACES[name], seed, torch.float32) < 1e-4, seed


def test_the_test_sees_norms() -> None:
    """Where a norm is not gathered but begins anew, outputs move by far more."""
    space = EasPlain(preset="small")
    network = randomised(space.build(a := space.parse(SMALL)), 3).double()
    growth = grown(space, network, a, Wider(0))
    growth.network.layers[0].norm.reset_running_stats()  # type: ignore[union-attr, index, operator]
    assert logit_change(network, growth.network, images(space)) > 1e-3


def test_outputs_move_in_train_mode() -> None:
    """There, the identity's norm takes the statistics of the batch, not those that it undoes."""
    space = EasPlain()
    a = space.parse(SMALL)
    network = randomised(space.build(a), 0).double()
    growth = grown(space, network, a, Deeper(0, 0, 3))
    assert growth.network.training
    x = 3 * images(space, seed=5) + 1
    parent = deepcopy(network).train()
    with torch.no_grad():
        assert (parent(x) - deepcopy(growth.network)(x)).abs().max() > 1e-3
    assert logit_change(network, growth.network, x) < 1e-9


def test_a_child_has_its_parents_accuracy() -> None:
    space = EasPlain(preset="small", resolution=16)
    network = randomised(space.build(a := space.parse(SMALL)), 1).double().eval()
    x, labels = images(space, 64), torch.arange(64) % 10
    before = (network(x).argmax(1) == labels).double().mean()
    for action in (Wider(2), Deeper(3, 0, 3), Wider(9), Deeper(4, 0), Wider(0)):
        growth = grown(space, network, a, action)
        network, a = growth.network, growth.architecture
    assert (network(x).argmax(1) == labels).double().mean() == before


# ---------------------------------------------------------------- sizes
@pytest.mark.parametrize(
    ("action", "params"),
    [
        (Wider(0), 970),
        (Wider(2), 1006),
        (Wider(4), 1006),
        (Wider(6), 894),
        (Wider(8), 838),
        (Deeper(0, 0, 3), 862),
        (Deeper(1, 0, 1), 734),
        (Deeper(3, 0, 5), 1118),
        (Deeper(4, 0, 3), 790),
        (Deeper(4, 0), 790),
    ],
)
def test_the_start_network_grows_to_its_sizes(action: Action, params: int) -> None:
    space = EasPlain(preset="small")
    network = space.build(a := space.parse(SMALL))
    growth = grown(space, network, a, action)
    assert sum(p.numel() for p in growth.network.parameters()) == params
    assert sum(p.numel() for p in network.parameters()) == 710
    alone = space.build(growth.architecture)
    alone.load_state_dict(growth.network.state_dict())
    x = images(space).float()
    assert torch.equal(alone.eval()(x), growth.network.eval()(x))
    assert logit_change(network, growth.network, x) < 1e-5


# ---------------------------------------------------------------- wider
def test_copies_share_what_reads_them() -> None:
    assert shares([0, 1, 2, 0]) == [0.5, 1, 1, 0.5]
    space = EasPlain()
    a = space.parse("conv-3-3_pool_conv-2-3_pool_fc-2")
    network = randomised(space.build(a), 0)
    maps = {"block1.layer1": [0, 1, 2, 0]}
    growth = grown(space, network, a, Wider(0, 4), maps=maps)
    old, new = network.state_dict(), growth.network.state_dict()
    for each in ("layer.weight", "norm.weight", "norm.bias", "norm.running_var"):
        assert torch.equal(new[f"layers.0.{each}"], old[f"layers.0.{each}"][[0, 1, 2, 0]])
    scale = torch.tensor([0.5, 1, 1, 0.5]).view(1, 4, 1, 1)
    before = old["layers.2.layer.weight"]
    assert torch.equal(new["layers.2.layer.weight"], before[:, [0, 1, 2, 0]] * scale)


@pytest.mark.parametrize("last_pool", ["global", "max"])
def test_widening_twice_composes(last_pool: Any) -> None:
    """Counts multiply; the weights of all copies of a channel sum to what its weight was."""
    space = EasPlain(preset="tiny", last_pool=last_pool)
    a = space.parse("conv-3-3_pool_conv-4-3_pool_fc-5")
    network = randomised(space.build(a), 0).double()
    first = grown(space, network, a, Wider(2, 6), rng=Random(5))
    second = grown(space, first.network, first.architecture, Wider(2, 11), rng=Random(6))
    one, two = (g.maps["block2.layer1"] for g in (first, second))
    composed = [one[place] for place in two]
    assert composed[:4] == [0, 1, 2, 3]
    old, new = (n.state_dict()["layers.4.layer.weight"] for n in (network, second.network))
    pixels = old.shape[1] // 4
    for channel in range(4):
        copies = [i for i, origin in enumerate(composed) if origin == channel]
        parts = [new[:, i * pixels : (i + 1) * pixels] for i in copies]
        whole = old[:, channel * pixels : (channel + 1) * pixels]
        torch.testing.assert_close(torch.stack(parts).sum(0), whole, rtol=1e-12, atol=1e-12)
        for i, part in zip(copies, parts, strict=True):
            share = whole / (Counter(one)[channel] * Counter(two)[two[i]])
            torch.testing.assert_close(part, share, rtol=1e-12, atol=1e-12)
    assert logit_change(network, second.network, images(space)) < 1e-12


def test_a_layer_moves_to_the_next_step_of_the_ladder_also_from_between() -> None:
    space = EasPlain()
    for old, new in ((16, 32), (4, 16), (17, 32), (448, 512)):
        a = space.parse(f"conv-{old}-3_pool_fc-64")
        assert space.format(space.after(a, Wider(0))) == f"conv-{new}-3_pool_fc-64"
        assert Wider(0, new) in space.actions(a)
    a = space.parse("conv-512-3_pool_fc-1024")
    assert not any(isinstance(action, Wider) for action in space.actions(a))
    assert space.format(space.after(a, Wider(0, 700))) == "conv-700-3_pool_fc-1024"


# ---------------------------------------------------------------- deeper
def test_a_new_layer_undoes_its_norm() -> None:
    space = EasPlain(preset="tiny")
    a = space.parse("conv-4-3_pool_conv-6-3_pool_fc-8")
    network = randomised(space.build(a), 2).double().train()
    x = images(space, 64)
    growth = grown(space, network, a, Deeper(1, 0, 5), images=x)
    assert network.training
    assert growth.network.training
    with torch.no_grad():
        incoming = deepcopy(network).eval().layers[:3](x)  # type: ignore[index, operator]
    new = growth.network.layers[3]  # type: ignore[index]
    mean, variance = incoming.mean((0, 2, 3)), incoming.var((0, 2, 3), correction=0)
    for value, expected in (
        (new.norm.running_mean, mean),  # type: ignore[union-attr]
        (new.norm.running_var, variance),  # type: ignore[union-attr]
        (new.norm.bias, mean),  # type: ignore[union-attr]
        (new.norm.weight, (variance + 1e-5).sqrt()),  # type: ignore[union-attr]
    ):
        torch.testing.assert_close(value.detach(), expected, rtol=1e-12, atol=1e-12)
    weight = new.layer.weight.detach()  # type: ignore[union-attr]
    assert torch.equal(weight[:, :, 2, 2], torch.eye(6, dtype=torch.float64))
    assert weight.count_nonzero() == 6
    assert new.norm.bias.data_ptr() != new.norm.running_mean.data_ptr()  # type: ignore[union-attr]


def test_a_new_layer_is_ready_at_once() -> None:
    """It may become wider, and be the model of another, before anything is trained."""
    space = EasPlain(preset="tiny")
    network = randomised(space.build(a := space.parse("conv-4-3_pool_conv-4-3_pool_fc-8")), 2)
    parent = network.double()
    for action in (Deeper(0, 0, 3), Wider(1, 7), Deeper(0, 1, 5), Wider(0, 5), Deeper(2, 0)):
        growth = grown(space, network, a, action)
        network, a = growth.network, growth.architecture
    assert space.format(a) == "conv-5-3_conv-7-3_conv-7-5_pool_conv-4-3_pool_fc-8_fc-8"
    assert logit_change(parent, network, images(space)) < 1e-9


# ---------------------------------------------------------------- DenseNets
def test_a_wider_mini_block_tells_all_that_follows() -> None:
    space = EasDense(preset="tiny")
    a = space.parse("g4_g4_g6_t_g4_t_g4")
    network = randomised(space.build(a), 0).double()
    growth = grown(space, network, a, Wider(1))
    assert space.format(growth.architecture) == "g4_g6_g6_t_g4_t_g4"
    assert sorted(growth.maps) == ["block1.layer2", "block1.layer2.bottleneck"]
    assert [len(growth.maps[name]) for name in sorted(growth.maps)] == [6, 24]
    before, after = network.plan, growth.network.plan  # type: ignore[union-attr]
    assert after.widths == before.widths  # type: ignore[union-attr]
    assert growth.network.blocks[0][2].norm1.num_features == before.inputs(0)[2] + 2  # type: ignore[union-attr, index, operator]
    assert logit_change(network, growth.network, images(space)) < 1e-12


def test_a_new_mini_block_copies_the_one_before() -> None:
    space = EasDense(preset="tiny")
    a = space.parse("g4_g6_t_g4_t_g4")
    network = randomised(space.build(a), 0).double()
    growth = grown(space, network, a, Deeper(0, 0))
    assert space.format(growth.architecture) == "g4_g4_g6_t_g4_t_g4"
    old, new = network.blocks[0][0], growth.network.blocks[0][1]  # type: ignore[index]
    g = growth.maps["block1.layer2"]
    n = old.conv1.in_channels  # type: ignore[union-attr]
    assert torch.equal(new.conv2.weight, old.conv2.weight[g])  # type: ignore[union-attr, index]
    assert torch.equal(new.conv1.weight[:, :n], old.conv1.weight)  # type: ignore[union-attr, index, arg-type]
    assert not new.conv1.weight[:, n:].any()  # type: ignore[union-attr, index, operator]
    for name, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
        fresh = getattr(new.norm1, name)[n:]  # type: ignore[union-attr]
        assert torch.equal(fresh, torch.full_like(fresh, value))
    reader, before = growth.network.blocks[0][2], network.blocks[0][1]  # type: ignore[index]
    made = list(range(n, n + 4))
    copies = [1 + Counter(g)[i] for i in range(4)]
    torch.testing.assert_close(
        reader.conv1.weight[:, made] * torch.tensor(copies).view(1, 4, 1, 1),  # type: ignore[union-attr, index]
        before.conv1.weight[:, made],  # type: ignore[union-attr, index]
    )
    assert logit_change(network, growth.network, images(space)) < 1e-12


def test_transitions_follow_the_growth_rates_upwards_only() -> None:
    space = EasDense(growths=[4, 8, 16])
    a = space.parse("g4_t_g4_t_g4")
    parent = network = randomised(space.build(a), 0).double()
    for place in (0, 2, 4):
        growth = grown(space, network, a, Wider(place, 16))
        network, a = growth.network, growth.architecture
    assert network.plan.widths == [8, 6, 5]  # type: ignore[union-attr]
    growth = grown(space, network, a, Transitions())
    assert growth.network.plan == space.plan(a)  # type: ignore[union-attr]
    assert sorted(growth.maps) == ["stem", "transition1", "transition2"]
    assert logit_change(parent, growth.network, images(space)) < 1e-9
    space.build(a).double().load_state_dict(growth.network.state_dict())
    # copies of narrow mini-blocks lower the mean: nothing becomes narrower
    a = space.parse("g4_t_g8_g8")
    network = space.build(a).double()
    assert network.plan.stem == 13  # type: ignore[union-attr]
    growth = grown(space, network, a, Deeper(0, 0))
    settled = grown(space, growth.network, growth.architecture, Transitions())
    plan = settled.network.plan
    assert (plan.stem, space.plan(settled.architecture).stem) == (13, 12)  # type: ignore[union-attr]
    again = space.build(settled.architecture, widths=plan.widths)  # type: ignore[union-attr]
    again.double().load_state_dict(settled.network.state_dict())


# ---------------------------------------------------------------- noise, draws, records
def test_noise_falls_on_what_is_new_alone() -> None:
    space = EasPlain()
    a = space.parse("conv-200-3_pool_conv-8-3_pool_fc-8")
    network = randomised(space.build(a), 0).double()
    plain, noisy = (
        grown(space, network, a, Wider(0, 400), rng=Random(4), noise=noise).network.state_dict()
        for noise in (None, Noise())
    )
    changed = {name for name in plain if not torch.equal(plain[name], noisy[name])}
    assert changed == {"layers.0.layer.weight"}
    difference = (noisy["layers.0.layer.weight"] - plain["layers.0.layer.weight"])[200:]
    assert torch.equal(plain["layers.0.layer.weight"][:200], noisy["layers.0.layer.weight"][:200])
    added = plain["layers.0.layer.weight"][200:]
    assert float(difference.std() / added.std()) == pytest.approx(1e-2, rel=0.05)

    plain, noisy = (
        grown(space, network, a, Deeper(0, 0, 3), noise=noise).network.state_dict()
        for noise in (None, Noise())
    )
    changed = {name for name in plain if not torch.equal(plain[name], noisy[name])}
    assert changed == {"layers.1.layer.weight"}
    identity = plain["layers.1.layer.weight"]
    difference = noisy["layers.1.layer.weight"] - identity
    assert float(difference.std() / identity.std()) == pytest.approx(1e-3, rel=0.05)
    assert (difference != 0).all()  # zeros included


def test_noise_moves_outputs_a_little() -> None:
    space = EasPlain(preset="small")
    network = randomised(space.build(a := space.parse(SMALL)), 0).double()
    for action in (Wider(0), Wider(8), Deeper(1, 0, 3), Deeper(4, 0)):
        growth = grown(space, network, a, action, noise=Noise())
        assert 0 < logit_change(network, growth.network, images(space)) < 0.2
    dense = EasDense(preset="tiny")
    network = randomised(dense.build(a := dense.parse("g4_g4_t_g4_t_g4")), 0).double()
    for action in (Wider(0), Deeper(0, 0)):
        growth = grown(dense, network, a, action, noise=Noise())
        assert 0 < logit_change(network, growth.network, images(dense)) < 0.2


@pytest.mark.parametrize("name", SPACES)
def test_a_record_grows_the_same_child(name: str) -> None:
    space, rng = SPACES[name], Random(8)
    network, a = start(space, rng)
    for action in [*space.actions(a)[:2], space.actions(a)[-1]]:
        growth = grown(space, network, a, action, rng=Random(2))
        record = json.loads(json.dumps(growth.record()))
        again = grown(
            space, network, a, from_json(record["action"]), rng=Random(77), maps=record["maps"]
        )
        assert (again.architecture, again.maps) == (growth.architecture, growth.maps)
        state = again.network.state_dict()
        for key, value in growth.network.state_dict().items():
            assert torch.equal(state[key], value), key


def test_the_seed_decides_and_nothing_else_is_drawn_from() -> None:
    space = SPACES["dense"]
    network, a = start(space, Random(0))
    before, outside = deepcopy(network.state_dict()), torch.get_rng_state()
    action = Wider(0, 9)
    first, same, other = (
        grown(space, network, a, action, rng=Random(seed), noise=Noise()).network.state_dict()
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    assert torch.equal(torch.get_rng_state(), outside)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_child_trains_and_shares_nothing() -> None:
    for space, text in ((EasPlain(preset="tiny"), SMALL), (EasDense(preset="tiny"), "g4_t_g4")):
        network = space.build(a := space.parse(text))
        growth = space.grow(network, a, Wider(0), rng=Random(0))
        storages = {value.data_ptr() for value in network.state_dict().values()}
        assert storages.isdisjoint(v.data_ptr() for v in growth.network.state_dict().values())
        optimizer = torch.optim.SGD(growth.network.parameters(), lr=0.1)
        growth.network(torch.randn(4, 3, 16, 16)).square().mean().backward()
        assert all(p.grad is not None for p in growth.network.parameters())
        optimizer.step()


@pytest.mark.parametrize("action", [Wider(3), Wider(0, 8), Deeper(1, 2, 3), Transitions()])
def test_actions_are_json(action: Action) -> None:
    assert from_json(json.loads(json.dumps(to_json(action)))) == action


@pytest.mark.parametrize("value", [{}, {"action": "narrower"}, {"action": "wider", "unit": 3}])
def test_what_is_no_action_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="an action is an object with `action`"):
        from_json(value)


# ---------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("text", "action", "message"),
    [
        (SMALL, Wider(1), "pools do not; got .* they are at 0, 2, 4, 6, 8"),
        (SMALL, Wider(9), "they are at 0, 2, 4, 6, 8"),
        (SMALL, Wider(-1), "they are at 0, 2"),
        (SMALL, Wider(0, 4), "conv-4-3 must become wider than it is"),
        ("conv-512-3_pool_fc-64", Wider(0), "its ladder ends at 512"),
        (SMALL, Deeper(5, 0, 3), "the blocks are 0 to 4, the last one of linear layers"),
        (SMALL, Deeper(0, 1, 3), "block 0 has the layers 0 to 0"),
        (SMALL, Deeper(0, 0), "a new convolution needs a kernel"),
        (SMALL, Deeper(0, 0, 2), "kernels are odd"),
        (SMALL, Deeper(3, 0, 9), "on 4x4 pixels, 7 is the largest"),
        ("conv-4-3_pool", Deeper(1, 0), "block 1 has no layer that a new one could stand behind"),
        ("conv-4-3_pool_pool_fc-8", Deeper(1, 0, 1), "block 1 has no layer"),
        (SMALL, Transitions(), "plain networks have no transitions"),
        ("_".join(["conv-4-3"] * 10) + "_pool", Deeper(0, 3, 1), "block1.depth must be at most 10"),
    ],
)
def test_impossible_actions_of_plain_networks(text: str, action: Action, message: str) -> None:
    space = EasPlain()
    a = space.parse(text)
    for attempt in (
        lambda: space.after(a, action),
        lambda: grown(space, space.build(a), a, action),
    ):
        with pytest.raises(InvalidArchitecture, match=message):
            attempt()
    assert action not in space.actions(a)


@pytest.mark.parametrize(
    ("text", "action", "message"),
    [
        ("g4_t_g4", Wider(1), "only mini-blocks become wider by themselves; .* they are at 0, 2"),
        ("g4_t_g4", Wider(3), "they are at 0, 2"),
        ("g4_t_g4", Wider(0, 3), "g4 must become wider than it is"),
        ("g64_t_g4", Wider(0), "the ladder ends at 64"),
        ("g4_t_g4", Deeper(2, 0), "the dense blocks have 1, 1"),
        ("g4_t_g4", Deeper(0, 1), "the dense blocks have 1, 1"),
        ("_".join(["g4"] * 20), Deeper(0, 3), r"block1.depth must be at most 20"),
    ],
)
def test_impossible_actions_of_densenets(text: str, action: Action, message: str) -> None:
    space = EasDense()
    with pytest.raises(InvalidArchitecture, match=message):
        space.after(a := space.parse(text), action)
    assert action not in space.actions(a)


def test_the_limit_holds_for_growth() -> None:
    space = EasPlain(max_layers=9)
    a = space.parse(SMALL)
    with pytest.raises(InvalidArchitecture, match="at most 9 entries"):
        space.after(a, Deeper(0, 0, 3))
    assert all(isinstance(action, Wider) for action in space.actions(a))


@pytest.mark.parametrize("name", SPACES)
def test_every_action_listed_is_possible(name: str) -> None:
    space, rng = SPACES[name], Random(3)
    for _ in range(20):
        a = space.sample(rng, "decisions")
        for action in space.actions(a):
            child = space.after(a, action)
            assert space.architecture(child) == child != a


def test_networks_and_images_must_fit() -> None:
    plain, dense = EasPlain(), EasDense()
    a, b = plain.parse(SMALL), dense.parse("g4_t_g4")
    with pytest.raises(SpecError, match="grow needs the network of conv-4-3_pool"):
        plain.grow(plain.build(plain.parse("conv-4-3_pool")), a, Wider(0), rng=Random(0))
    with pytest.raises(SpecError, match="grow needs the network of g4_t_g4"):
        dense.grow(plain.build(a), b, Wider(0), rng=Random(0))
    with pytest.raises(SpecError, match="give images=, a batch of training images"):
        plain.grow(plain.build(a), a, Deeper(0, 0, 3), rng=Random(0))
    for maps in ({}, {"block1.layer1": [0, 1]}, {"block1.layer1": [0, 1, 2, 4] * 4}):
        with pytest.raises(SpecError, match=r"must have 16 places below 4 for block1\.layer1"):
            plain.grow(plain.build(a), a, Wider(0), rng=Random(0), maps=maps)
