"""DenseNets that grow: sizes, notation, how many there are, what is refused."""

from __future__ import annotations

from itertools import product
from random import Random
from typing import Any

import pytest
import torch

from netloom.errors import InvalidArchitecture, SpecError
from netloom.hw_models import trace
from netloom.spaces import DecisionSpace
from netloom.spaces.restricted import RestrictedSpace
from netloom.spaces.testing import SpaceContract
from netloom.spaces.zoo.eas import EasDense


class TestEasDense(SpaceContract):
    def make(self) -> DecisionSpace:
        return EasDense(preset="tiny", resolution=8, in_channels=1)

    def reduced(self) -> DecisionSpace:
        return EasDense(preset="tiny", blocks=[1, 2], growths=[4, 8], max_layers=6)

    def other_options(self) -> DecisionSpace:
        return EasDense(preset="tiny", resolution=8, in_channels=1, bottleneck=2)


class TestPartOfEasDense(SpaceContract):
    def make(self) -> DecisionSpace:
        masks = {"block1.depth": [1, 3], "block2.depth": [2], "block1.layer1.growth": [4, 8]}
        return RestrictedSpace(EasDense(preset="tiny", blocks=[2, 3], resolution=8), masks)


def equal(depth: int, growth: int) -> str:
    block = "_".join([f"g{growth}"] * ((depth - 4) // 6))
    return f"{block}_t_{block}_t_{block}"


# ---------------------------------------------------------------- sizes
@pytest.mark.parametrize(("depth", "growth", "params"), [(40, 16, 309_962), (10, 4, 2_666)])
def test_densenet_bc_has_its_size(depth: int, growth: int, params: int) -> None:
    space = EasDense()
    a = space.published()[f"DenseNet-BC-{depth}-{growth}"]
    assert a == space.parse(equal(depth, growth))
    with torch.device("meta"):
        assert trace(space.build(a), space.example_input(a)).params == params


def by_hand(text: str, ratio: int, reduction: float, side: int) -> tuple[int, int]:
    """Parameters and MACs from the definition, mini-block by mini-block."""
    blocks = [[int(g[1:]) for g in b.split("_")] for b in text.split("_t_")]
    rates = [g for block in blocks for g in block]
    width = int(2 * sum(rates) / len(rates))
    params, macs = 27 * width, 27 * width * side**2
    for number, block in enumerate(blocks):
        for g in block:
            convs = width * ratio * g + 9 * ratio * g * g
            params += 2 * width + 2 * ratio * g + convs
            macs += convs * side**2
            width += g
        if number < len(blocks) - 1:
            out = int(reduction * width)
            params, macs = params + 2 * width + width * out, macs + width * out * side**2
            width, side = out, side // 2
    return params + 2 * width + 10 * width + 10, macs + 10 * width


@pytest.mark.parametrize(("bottleneck", "reduction"), [(4, 0.5), (2, 0.7), (1, 1.0)])
def test_sizes_equal_the_definition(bottleneck: int, reduction: float) -> None:
    space = EasDense(preset="small", bottleneck=bottleneck, reduction=reduction, blocks=[2, 3, 4])
    rng = Random(0)
    for _ in range(6):
        a = space.sample(rng, "decisions")
        with torch.device("meta"):
            workload = trace(space.build(a), space.example_input(a))
        expected = by_hand(space.format(a), bottleneck, reduction, 32)
        assert (workload.params, workload.macs) == expected


def test_growth_rates_may_differ() -> None:
    space = EasDense()
    network = space.build(space.parse("g4_g7_t_g5_t_g6_g4"))
    plan = network.plan
    assert plan.stem == 10  # 2 * 26 / 5, rounded down
    assert plan.transitions == ((10 + 4 + 7) // 2, (10 + 5) // 2)
    assert plan.inputs(0) == [10, 14, 21]
    assert plan.inputs(2) == [7, 13, 17]
    assert network.blocks[0][1].conv1.out_channels == 28  # type: ignore[index, union-attr]


# ---------------------------------------------------------------- how many
def test_the_size_is_that_of_all_depths_within_the_limit() -> None:
    """Growth rates 40, 44, ..., 64; depths 1 to 20; two transitions."""
    expected = sum(
        7 ** sum(depths) for depths in product(range(1, 21), repeat=3) if 2 + sum(depths) <= 50
    )
    assert EasDense().size == expected
    assert EasDense(max_layers=62).size == sum(7**depth for depth in range(1, 21)) ** 3


def test_every_text_within_the_limit_is_there_once() -> None:
    space = EasDense(preset="tiny", blocks=[1, 2], growths=[4, 8], block_layers=3, max_layers=5)
    runs = ["_".join(run) for n in (1, 2, 3) for run in product(("g4", "g8"), repeat=n)]
    two = [f"{a}_t_{b}" for a, b in product(runs, repeat=2)]
    expected = {text for text in (*runs, *two) if len(text.split("_")) <= 5}
    assert {space.format(a) for a in space.enumerate()} == expected
    assert space.size == len(expected)


# ---------------------------------------------------------------- notation
def test_the_form_of_the_original_is_read() -> None:
    """It joins mini-blocks by `-`, and writes first convolution and head as `t` too."""
    space = EasDense()
    a = space.parse("g4_g6_t_g8_t_g10_g12")
    for text in ("t_g4-g6_t_g8_t_g10-g12_t", "t_g4_g6_t_g8_t_g10_g12", "g4-g6-t-g8-t-g10-g12"):
        assert space.parse(text) == a
    assert space.format(a) == "g4_g6_t_g8_t_g10_g12"
    assert space.parse(["g4", "g6", "t", "g8", "t", "g10", "g12"]) == a
    assert space.parse(space.format(space.parse("g3"))) == space.parse("g3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t", "a dense block has at least one mini-block"),
        ("t_t", "a dense block has at least one mini-block"),
        ("g4_t_t_g4", "a dense block has at least one mini-block"),
        ("g4_x_g4", "entry 1 is 'x'"),
        ("g4_g", "entry 1 is 'g'"),
        ("g0", "block1.layer1.growth must be one of 40, .* got 0"),
        ("_t_".join(["g4"] * 7), "allows up to 6 dense blocks, got 7"),
        ("_".join(["g4"] * 21), r"block1.depth must be at most 20 \(block_layers\), got 21"),
        (equal(106, 4), r"at most 50 entries .* has 53"),
        ("[4, 4]", "entry 0 is 4"),
        ("[]", "at least one mini-block"),
    ],
)
def test_what_cannot_be_built_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=message):
        EasDense().parse(text)


def test_a_transition_needs_a_channel() -> None:
    space = EasDense(reduction=0.1)
    with pytest.raises(InvalidArchitecture, match=r"needs a channel, .* have \[0\]; raise reduc"):
        space.parse("g1_t_g1")
    assert space.parse("g40_t_g40")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"growths": [8, 4]}, "growths must list whole numbers above 0 that rise"),
        ({"blocks": [7]}, r"blocks: a map of 32 pixels a side \(resolution\) allows up to 6"),
        ({"bottleneck": 0}, "bottleneck must be an integer of at least 1"),
        ({"reduction": 0.0}, "reduction must be above 0, up to 1, got 0.0"),
        ({"reduction": 1.5}, "reduction must be above 0"),
        ({"reduction": 0.05, "growths": [4, 8]}, "the narrowest network, g4_t_g4_t_g4, have no ch"),
        ({"dropout": -0.1}, "dropout must be at least 0 and below 1"),
        ({"max_layers": 4}, "no network has at most 4 entries .* the fewest have 5"),
        ({"preset": "big"}, "preset must be one of full, small, tiny"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        EasDense(**options)


@pytest.mark.parametrize("resolution", [4, 7, 9, 15])
def test_odd_maps_lose_a_row(resolution: int) -> None:
    space = EasDense(preset="tiny", resolution=resolution, in_channels=2)
    a = space.parse("g4_t_g4_t_g4")
    assert space.build(a).eval()(torch.zeros(1, 2, resolution, resolution)).shape == (1, 10)
    assert space.parts(a)[-1].inputs[0].shape[-1] == resolution // 4


def test_dropout_stands_behind_every_convolution_but_the_first() -> None:
    network = EasDense(preset="tiny", dropout=0.2).build(EasDense().parse("g4_t_g4"))
    names = {n.rpartition(".")[0] for n, m in network.named_modules() if n.endswith("drop")}
    assert names == {"blocks.0.0", "blocks.1.0", "transitions.0"}


def test_widths_may_be_those_of_a_grown_network() -> None:
    space = EasDense(preset="tiny")
    a = space.parse("g4_t_g4_t_g4")
    plan = space.build(a, widths=[9, 8, 7]).plan
    assert (plan.stem, plan.transitions) == (9, (8, 7))
    with pytest.raises(InvalidArchitecture, match="the first convolution and of the 2 trans"):
        space.build(a, widths=[9, 8])
