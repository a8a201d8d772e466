"""NAS-Bench-201: sizes of the benchmark, classes of equal networks, the super-network."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
import torch
from torch import nn

from netloom.errors import InvalidArchitecture, SpecError
from netloom.estimators import Tabular
from netloom.options import build
from netloom.spaces import Architecture, DecisionSpace
from netloom.spaces.layers import ModuleSupernet, OneOf
from netloom.spaces.testing import SpaceContract
from netloom.spaces.zoo.nb201 import NB201, OPERATIONS

from .conftest import (
    Costs,
    assert_extraction_is_exact,
    assert_parameters_are_those_read,
    images,
    traced,
)

ALL_CONV = "|c3~0|+|c3~0|c3~1|+|c3~0|c3~1|c3~2|".replace("c3", "nor_conv_3x3")
NONE = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


class TestNB201(SpaceContract):
    def make(self) -> DecisionSpace:
        return NB201(preset="tiny", resolution=8, in_channels=1)

    def other_options(self) -> DecisionSpace:
        return NB201(preset="tiny", cells=2, resolution=8, in_channels=1)


def test_nb201_has_the_sizes_of_the_benchmark() -> None:
    space, costs = NB201(), Costs()
    known = {  # the benchmark's own figures; its FLOPs count the 10 additions of the linear bias
        ALL_CONV: (1_531_546, 220_119_680),
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1"
        "|skip_connect~2|": (129_306, 15_647_370 - 10),
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1"
        "|skip_connect~2|": (802_426, 113_951_370 - 10),
    }
    for text, expected in known.items():
        a = space.parse(text)
        assert costs.of(space.parts(a)) == expected
        assert sum(p.numel() for p in space.build(a).parameters()) == expected[0]
    for a in (space.sample(Random(i)) for i in range(200)):
        assert costs.of(space.parts(a)) == nb201_costs(a)


@pytest.mark.full
def test_every_member_of_nb201_has_the_size_of_its_operations() -> None:
    space, costs = NB201(), Costs()
    found = [costs.of(space.parts(a)) for a in space.enumerate()]
    assert found == [nb201_costs(a) for a in space.enumerate()]
    assert (min(found), max(found)) == ((73_306, 7_783_040), (1_531_546, 220_119_680))


def nb201_costs(a: Architecture) -> tuple[int, int]:
    """Parameters and MACs by the number of convolutions: all others are free."""
    small, large = (list(a.values()).count(f"nor_conv_{k}") for k in ("1x1", "3x3"))
    stages = ((16, 32), (32, 16), (64, 8))  # channels, side
    params = 5 * sum(small * (c * c + 2 * c) + large * (9 * c * c + 2 * c) for c, _ in stages)
    macs = 5 * sum((small + 9 * large) * c * c * side * side for c, side in stages)
    return 73_306 + params, 7_783_040 + macs


def test_dead_operations_of_nb201_count() -> None:
    space, costs = NB201(), Costs()
    dead = space.parse("|none~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|none~2|")
    alive = space.parse("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|")
    assert costs.of(space.parts(dead)) == costs.of(space.parts(alive))
    assert space.canonical(dead) != space.canonical(alive)


def test_mirrored_cells_of_nb201_are_one_network() -> None:
    space = NB201(preset="tiny", resolution=8)
    classes = Counter(space.canonical(a) for a in space.enumerate())
    assert Counter(classes.values()) == {1: 12_500 + 125, 2: 1_500}
    left = space.parse(
        "|nor_conv_3x3~0|+|avg_pool_3x3~0|none~1|+|none~0|nor_conv_1x1~1|skip_connect~2|"
    )
    right = space.parse(
        "|avg_pool_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|nor_conv_1x1~2|"
    )
    assert left != right
    assert space.canonical(left) == space.canonical(right)
    parts = [Counter(p.key for p in space.parts(a)) for a in (left, right)]
    assert parts[0] == parts[1]
    networks = [space.build(a).eval() for a in (left, right)]
    first, second = (dict(n.named_parameters()) for n in networks)
    renamed = {"nodes.0.0": "nodes.1.0", "nodes.1.0": "nodes.0.0"}
    renamed |= {"nodes.2.1": "nodes.2.2", "nodes.2.2": "nodes.2.1"}
    with torch.no_grad():
        for name, value in second.items():
            swapped = [name.replace(a, b) for a, b in renamed.items() if a in name] or [name]
            first[swapped[0]].copy_(value)
        x = torch.randn(2, 3, 8, 8)
        torch.testing.assert_close(networks[0](x), networks[1](x))


@pytest.mark.full
def test_every_member_counts_alike_as_a_network_and_as_parts() -> None:
    space, costs, rng = NB201(cells=1), Costs(), Random(1)
    for a in (space.sample(rng) for _ in range(300)):
        size = sum(p.numel() for p in space.build(a).parameters())
        assert costs.of(space.parts(a))[0] == size


def test_the_cells_of_the_literature() -> None:
    space = NB201()
    cell = space.parse("ResNet")
    assert isinstance(cell, Architecture)
    assert cell["node2.from1"] == "nor_conv_3x3"
    best = space.format(space.parse("NATS-size"))
    assert best.count("nor_conv_3x3") == 5
    assert best.endswith("+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|")


def test_pools_do_not_count_the_padding_and_have_no_norm() -> None:
    space = NB201(preset="tiny")
    cell = space.build(space.parse("|avg_pool_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|"))
    pool = cell.layers[0].nodes[0][0]
    assert isinstance(pool, nn.AvgPool2d)
    ones = torch.ones(1, 4, 5, 5)
    assert torch.equal(pool(ones), ones)


# ---------------------------------------------------------------- counts
def test_counts_are_those_of_the_literature() -> None:
    counts = NB201().counts()
    assert counts == {"architectures": 5**6, "networks": 14_125, "connected": 15_625 - 341}


@pytest.mark.parametrize(
    ("text", "connected"),
    [
        (NONE, False),
        ("|none~0|+|none~0|nor_conv_3x3~1|+|none~0|avg_pool_3x3~1|skip_connect~2|", False),
        ("|skip_connect~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|", False),
        ("|skip_connect~0|+|none~0|avg_pool_3x3~1|+|none~0|none~1|skip_connect~2|", True),
        ("|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|", True),
    ],
)
def test_a_network_sees_its_input_where_a_way_leads_through(text: str, connected: bool) -> None:
    space = NB201(preset="tiny")
    a = space.parse(text)
    network = space.build(a).eval()
    with torch.no_grad():
        first, second = network(images(space, a, 2))
    assert torch.equal(first, second) != connected


# ---------------------------------------------------------------- presets
def test_presets_set_what_is_left_out() -> None:
    full = {"channels": 16, "cells": 5, "resolution": 32}
    assert NB201().options == NB201(preset="full", **full).options
    assert NB201().options == {**full, "preset": "full", "classes": 10, "in_channels": 3}
    assert NB201(preset="tiny", cells=2).options["channels"] == 4
    assert NB201(preset="tiny", cells=2).options["cells"] == 2
    with pytest.raises(SpecError, match=r"preset must be one of full, tiny; got 'tinny'.*did you"):
        NB201(preset="tinny")


def test_the_table_knows_the_full_preset_only() -> None:
    assert Tabular(NB201(preset="full")).table == "nb201"
    assert Tabular(NB201(preset="tiny", channels=16, cells=5, resolution=32)).table == "nb201"
    with pytest.raises(SpecError, match=r"channels: 16, the space has channels: 4"):
        Tabular(NB201(preset="tiny"))


# ---------------------------------------------------------------- super-network
def mixed(supernet: ModuleSupernet, **weights: torch.Tensor) -> None:
    uniform = torch.full((len(OPERATIONS),), 1.0 / len(OPERATIONS))
    supernet.mix({d.name: weights.get(d.name, uniform) for d in supernet.space.decisions})


def test_the_search_network_has_the_size_of_the_literature() -> None:
    space = NB201()
    supernet = space.supernet(affine=False)
    mixed(supernet)
    workload = traced(supernet, space, space.parse(ALL_CONV))
    assert (workload.params, workload.macs) == (1_692_826, 243_712_640)
    assert sum(len(d.options) for d in space.decisions) == 30  # architecture parameters


def test_with_affine_norms_it_has_no_biases() -> None:
    convolutions = 5 * 6 * 2 * sum((16, 32, 64))  # a scale and a shift for what was a bias
    assert sum(p.numel() for p in NB201().supernet().parameters()) == 1_692_826 + convolutions


@pytest.mark.parametrize("affine", [True, False])
def test_extraction_is_exact(affine: bool) -> None:
    supernet = NB201(preset="tiny", cells=2, resolution=7).supernet(affine=affine)
    assert_extraction_is_exact(supernet, members=6, same_as_build=affine)
    assert_parameters_are_those_read(supernet, members=6)


def test_networks_from_the_search_network_have_biases_instead_of_scales() -> None:
    space = NB201(preset="tiny", resolution=8)
    network = space.supernet(affine=False).extract(space.parse(ALL_CONV))
    _, conv, norm = network.layers[0].nodes[0][0]
    assert conv.bias is not None
    assert norm.weight is None
    assert network.stem[1].weight is not None


def test_all_cells_share_the_choice_of_an_edge() -> None:
    supernet = NB201(preset="tiny", cells=2).supernet()
    layers = [m for m in supernet.modules() if isinstance(m, OneOf)]
    assert len(layers) == 3 * 2 * 6
    assert len({id(layer.choice) for layer in layers}) == 6
    assert [d.name for d in supernet.space.decisions] == list(supernet.active)


def test_a_mixture_of_one_operation_is_that_path() -> None:
    space = NB201(preset="tiny", resolution=8)
    supernet, rng = space.supernet(affine=False).eval(), Random(0)
    for a in (space.sample(rng) for _ in range(5)):
        supernet.activate(a)
        x = images(space, a)
        with torch.no_grad():
            path = supernet(x)
            choice = {n: [float(o == a[n]) for o in OPERATIONS] for n in a}
            mixed(supernet, **{n: torch.tensor(w) for n, w in choice.items()})
            torch.testing.assert_close(supernet(x), path)
        supernet.mix(dict.fromkeys(a))


def test_nothing_but_none_leaves_the_bias_of_the_classifier() -> None:
    space = NB201(preset="tiny", resolution=8)
    a = space.parse(NONE)
    supernet = space.supernet().eval()
    supernet.activate(a)
    with torch.no_grad():
        y = supernet(images(space, a))
    assert torch.equal(y, supernet.module.head.classifier.bias.expand(4, -1))


def test_every_weight_of_the_mixture_has_a_gradient_but_none() -> None:
    space = NB201(preset="tiny", resolution=8)
    supernet = space.supernet(affine=False)
    weights = {d.name: torch.full((5,), 0.2, requires_grad=True) for d in space.decisions}
    supernet.mix(weights)
    supernet(images(space, space.parse(NONE))).square().sum().backward()
    for weight in weights.values():
        assert (weight.grad != 0).tolist() == [False, True, True, True, True]


def test_masks_split_the_super_network() -> None:
    space = NB201(preset="tiny", resolution=8)
    supernet = space.supernet()
    supernet.restrict({"node1.from0": ["nor_conv_1x1", "nor_conv_3x3"]})
    assert {supernet.sample(step)["node1.from0"] for step in range(20)} == {
        "nor_conv_1x1",
        "nor_conv_3x3",
    }
    with pytest.raises(InvalidArchitecture, match="mask"):
        supernet.activate(space.parse(NONE))


def test_options_of_the_super_network_are_checked() -> None:
    space = NB201(preset="tiny")
    assert isinstance(build(space.supernet, {"affine": False}), nn.Module)
    for wrong in ({"affine": "no"}, {"afine": False}):
        with pytest.raises(SpecError):
            build(space.supernet, wrong)
