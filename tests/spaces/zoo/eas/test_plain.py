"""Plain networks that grow: sizes, notation, how many there are, what is refused."""

from __future__ import annotations

from itertools import product
from random import Random
from typing import Any

import pytest
import torch
from torch import nn

from netloom.errors import InvalidArchitecture, SpecError
from netloom.hw_models import trace
from netloom.spaces import Architecture, DecisionSpace
from netloom.spaces.networks.eas_plain import ConvLayer, FullLayer, GlobalPool, MaxPool
from netloom.spaces.restricted import RestrictedSpace
from netloom.spaces.testing import SpaceContract
from netloom.spaces.zoo.eas import EasPlain

SMALL = "conv-4-3_pool_conv-4-3_pool_conv-4-3_pool_conv-4-3_pool_fc-8"
START = "conv-16-3_pool_conv-32-3_pool_conv-64-3_pool_conv-128-3_pool_fc-256"


class TestEasPlain(SpaceContract):
    def make(self) -> DecisionSpace:
        return EasPlain(preset="tiny", resolution=8, in_channels=1)

    def reduced(self) -> DecisionSpace:
        return EasPlain(
            filters=[4, 8], units=[8], pools=[1, 2], block_layers=2, max_layers=5, resolution=4
        )

    def other_options(self) -> DecisionSpace:
        return EasPlain(preset="tiny", resolution=8, in_channels=1, last_pool="max")


class TestPartOfEasPlain(SpaceContract):
    def make(self) -> DecisionSpace:
        masks = {
            "block1.depth": [2, 3],
            "block2.depth": [1, 3],
            "block1.layer1.kernel": [5],
            "fc.layer1.units": [8, 16],
        }
        return RestrictedSpace(EasPlain(preset="tiny", pools=[1, 2], resolution=8), masks)


def size_of(space: EasPlain, text: str) -> int:
    a = space.parse(text)
    with torch.device("meta"):
        return trace(space.build(a), space.example_input(a)).params


# ---------------------------------------------------------------- sizes
@pytest.mark.parametrize(
    ("text", "params"),
    [
        (SMALL, 710),
        (START, 133_530),
        (SMALL.replace("conv-4-3_pool", "conv-8-3_pool", 1), 970),
        ("conv-4-3_pool_conv-8-3_pool_conv-4-3_pool_conv-4-3_pool_fc-8", 1006),
        ("conv-4-3_pool_conv-4-3_pool_conv-8-3_pool_conv-4-3_pool_fc-8", 1006),
        ("conv-4-3_pool_conv-4-3_pool_conv-4-3_pool_conv-8-3_pool_fc-8", 894),
        (SMALL.replace("fc-8", "fc-16"), 838),
        ("conv-4-3_" + SMALL, 862),
        ("conv-4-3_pool_conv-4-3_conv-4-1_pool_conv-4-3_pool_conv-4-3_pool_fc-8", 734),
        ("conv-4-3_pool_conv-4-3_pool_conv-4-3_pool_conv-4-3_conv-4-5_pool_fc-8", 1118),
        (SMALL + "_fc-8", 790),
    ],
)
def test_networks_have_their_sizes(text: str, params: int) -> None:
    assert size_of(EasPlain(), text) == params


def by_hand(space: EasPlain, a: Architecture, *, side: int, classes: int) -> tuple[int, int]:
    """Parameters and MACs from the definition, entry by entry."""
    width, params, macs = 3, 0, 0
    for entry in space.format(a).split("_"):
        kind, *numbers = entry.split("-")
        if kind == "pool":
            side //= 2
            continue
        out = int(numbers[0])
        weights = width * out * (int(numbers[1]) ** 2 if kind == "conv" else 1)
        params += weights + 2 * out
        macs += weights * (side**2 if kind == "conv" else 1)
        width = out
    return params + width * classes + classes, macs + width * classes


def test_sizes_equal_the_definition() -> None:
    space, rng = EasPlain(preset="small", pools=[3, 4, 5], classes=7), Random(0)
    for _ in range(10):
        a = space.sample(rng, "decisions")
        with torch.device("meta"):
            workload = trace(space.build(a), space.example_input(a))
        assert (workload.params, workload.macs) == by_hand(space, a, side=32, classes=7)


def test_the_layers_are_those_of_the_definition() -> None:
    network = EasPlain(dropout=0.2).build(EasPlain().parse(START))
    kinds = [ConvLayer, MaxPool, ConvLayer, MaxPool, ConvLayer, MaxPool, ConvLayer, GlobalPool]
    assert [type(layer) for layer in network.layers] == [*kinds, FullLayer]
    for layer in network.layers:
        if isinstance(layer, ConvLayer | FullLayer):
            assert layer.layer.bias is None
            assert (layer.norm.eps, layer.norm.momentum) == (1e-5, 0.1)
    dropped = [getattr(layer, "drop", None) is not None for layer in network.layers]
    assert dropped == [False, False, True, False, True, False, True, False, True]
    assert network.classifier.layer.bias is not None
    assert not any(isinstance(m, nn.Dropout) for m in EasPlain().build(network_of()).modules())
    assert sum(isinstance(m, ConvLayer | FullLayer) for m in network.modules()) + 1 == 6  # depth


def network_of() -> Architecture:
    return EasPlain().parse(START)


# ---------------------------------------------------------------- how many
def test_the_size_is_that_of_all_depths_within_the_limit() -> None:
    """33 convolutions (11 filters, 3 kernels), 9 linear layers; depths 1 to 10, 4 pools."""
    expected = sum(
        33 ** sum(depths[:4]) * 9 ** depths[4]
        for depths in product(range(1, 11), repeat=5)
        if 4 + sum(depths) <= 50
    )
    assert EasPlain().size == expected
    unlimited = sum(33**depth for depth in range(1, 11)) ** 4 * sum(9**d for d in range(1, 11))
    assert EasPlain(max_layers=54).size == EasPlain(max_layers=1000).size == unlimited > expected


def test_every_text_within_the_limit_is_there_once() -> None:
    """Two pools or one; on 2x2 pixels behind the first, kernels up to 3."""
    options = {"filters": [4, 8], "units": [8], "pools": [1, 2], "block_layers": 2}
    space = EasPlain(**options, max_layers=6, resolution=4)  # type: ignore[arg-type]
    first = [f"conv-{f}-{k}" for f in (4, 8) for k in (1, 3, 5)]
    second = [f"conv-{f}-{k}" for f in (4, 8) for k in (1, 3)]

    def runs(options: list[str]) -> list[list[str]]:
        return [list(run) for n in (1, 2) for run in product(options, repeat=n)]

    texts = {
        "_".join([*run, "pool", *full]) for run in runs(first) for full in (["fc-8"], ["fc-8"] * 2)
    }
    for one, two, full in product(runs(first), runs(second), (["fc-8"], ["fc-8"] * 2)):
        text = [*one, "pool", *two, "pool", *full]
        if len(text) <= 6:
            texts.add("_".join(text))
    assert {space.format(a) for a in space.enumerate()} == texts
    assert space.size == len(texts)


def test_drawn_networks_keep_to_the_limit() -> None:
    space, rng = EasPlain(), Random(1)
    for law in ("architectures", "decisions"):
        drawn = [space.sample(rng, law) for _ in range(50)]  # type: ignore[arg-type]
        mutants = [space.mutate(a, rng) for a in drawn]
        children = [space.crossover(a, b, rng) for a, b in zip(drawn, mutants[1:], strict=False)]
        for a in (*drawn, *mutants, *children):
            assert len(space.entries(a)) <= 50
            assert space.architecture(a) == a


def test_the_nearest_network_changes_few_depths() -> None:
    space = EasPlain(preset="tiny", pools=[2], max_layers=7)
    deep = EasPlain(preset="tiny", pools=[2], max_layers=11)
    a = deep.parse("conv-4-3_conv-4-3_conv-4-3_pool_conv-4-3_conv-4-3_conv-4-3_pool_fc-8_fc-8_fc-8")
    nearest = space.nearest(a)
    assert space.architecture(nearest) == nearest
    assert len(space.entries(nearest)) == 7
    assert sum(nearest[name] != 3 for name in a if name.endswith(".depth")) == 2
    kept = space.parse("conv-4-3_pool_conv-4-3_pool_fc-8")
    assert space.nearest(kept) == kept


# ---------------------------------------------------------------- notation
def test_other_networks_than_those_drawn_are_read() -> None:
    space = EasPlain()
    for text in (
        "conv-5-7_pool",  # no linear layer; a width off the ladder, another kernel
        "conv-16-3_pool_pool_conv-16-3_pool_fc-3",  # a block without a layer
        "pool_conv-16-1_pool_fc-64",
        "_".join(["conv-4-1_pool"] * 6),
    ):
        a = space.parse(text)
        assert space.format(a) == text
        assert space.parse(text.split("_")) == a
        network, x = space.build(a).eval(), torch.randn(2, 3, 32, 32)
        assert network(x).shape == (2, 10)
        assert space.architecture(space.mutate(a, Random(0)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("conv-16-3", "a pool ends each block, and there is none at the end"),
        ("conv-16-3_fc-64", "a pool ends each block, and there is none before entry 1, fc-64"),
        ("fc-64", "there is none before entry 0"),
        ("conv-16-3_pool_fc-64_pool", "linear layers come last, and entry 3, pool"),
        ("conv-16_pool", "entry 0 is 'conv-16'"),
        ("conv-16-3__pool", "entry 1 is ''"),
        ("conv-16-3_pool_fc", "entry 2 is 'fc'"),
        (f"conv-{'9' * 5000}-3_pool", "entry 0 is"),
        ("conv-0-3_pool", r"block1.layer1.filters must be one of 16, .* got 0"),
        ("conv-16-4_pool", "block1.layer1.kernel: kernels are odd"),
        ("conv-16-65_pool", r"block1.layer1.kernel: .* on 32x32 pixels, 63 is the largest"),
        ("_".join(["conv-4-1_pool"] * 5) + "_conv-4-3_pool", r"block6.layer1.kernel.* 1x1 pixels"),
        ("_".join(["conv-4-1_pool"] * 7), r"allows up to 6 pools .*, got 7"),
        ("_".join(["conv-4-1"] * 11) + "_pool", r"block1.depth must be at most 10 \(block_layers"),
        ("_".join(["_".join(["conv-4-1"] * 10) + "_pool"] * 5), r"at most 50 entries .* has 55"),
        ('{"pools": 1, "block1.depth": 0}', "missing: fc.depth"),
        ("[1, 2]", "entry 0 is 1"),
    ],
)
def test_what_cannot_be_built_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=message):
        EasPlain().parse(text)


def test_decisions_are_refused_by_name() -> None:
    space = EasPlain()
    a = dict(space.parse(START))
    with pytest.raises(InvalidArchitecture, match=r"block1\.layer1\.kernel must be one of 1, 3, 5"):
        space.architecture({**a, "block1.layer1.kernel": 65})
    with pytest.raises(InvalidArchitecture, match=r"fc\.depth must be one of 1, 2"):
        space.architecture({**a, "fc.depth": 11})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": [8, 4]}, "filters must list whole numbers above 0 that rise"),
        ({"filters": []}, "filters must list whole numbers"),
        ({"units": [0]}, "units must list whole numbers above 0"),
        ({"kernels": [2, 3]}, "kernels must be odd"),
        ({"pools": [7]}, r"pools: a map of 32 pixels a side \(resolution\) allows up to 6"),
        ({"pools": [6], "last_pool": "max"}, "allows up to 5"),
        ({"pools": [4], "resolution": 8, "kernels": [3]}, "kernels: block4 works on maps of 1"),
        ({"max_layers": 8}, "no network has at most 8 entries .* the fewest have 9"),
        ({"last_pool": "min"}, "last_pool must be global or max"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1"),
        ({"preset": "big"}, "preset must be one of full, large, small, tiny"),
        ({"block_layers": 0}, "block_layers must be an integer of at least 1"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        EasPlain(**options)


@pytest.mark.parametrize("resolution", [8, 9, 15, 28])
@pytest.mark.parametrize("last_pool", ["global", "max"])
def test_odd_maps_lose_a_row(resolution: int, last_pool: Any) -> None:
    space = EasPlain(preset="tiny", resolution=resolution, last_pool=last_pool, in_channels=2)
    a = space.parse("conv-4-3_pool_conv-6-3_pool_fc-8")
    network = space.build(a).eval()
    side = 1 if last_pool == "global" else resolution // 4
    assert network.layers[4].layer.in_features == 6 * side**2  # type: ignore[union-attr]
    assert network(torch.zeros(1, 2, resolution, resolution)).shape == (1, 10)
    assert [part.inputs[0].shape[-1] for part in space.parts(a)[:4]] == [
        resolution,
        resolution,
        resolution // 2,
        resolution // 2,
    ]


def test_the_start_networks_are_named() -> None:
    space = EasPlain()
    published = {name: space.format(a) for name, a in space.published().items()}
    assert published == {"EAS-start": START, "EAS-start-small": SMALL}
    assert set(EasPlain(resolution=8).published()) == set()  # a 3x3 kernel on one pixel
    assert EasPlain().options["max_layers"] == 50
    assert EasPlain(preset="small").decisions[2].options == tuple(range(4, 41, 4))


def test_it_has_no_super_network_and_says_how_weights_are_handed_on() -> None:
    assert EasPlain().supports == {"growth"}
    with pytest.raises(SpecError, match=r"no super-network \(it offers: growth\)"):
        EasPlain().supernet()
