"""FBNet: sizes by hand, the rule of skips, measured sums of blocks, the super-network."""

from __future__ import annotations

from collections import Counter
from itertools import product
from random import Random

import numpy as np
import pytest
import torch
from torch import nn

from netloom.errors import InvalidArchitecture, SpecError
from netloom.estimators.tables import load_table
from netloom.spaces import DecisionSpace
from netloom.spaces.layers import OneOf
from netloom.spaces.networks.fbnet import Block, Skip
from netloom.spaces.testing import SpaceContract
from netloom.spaces.zoo.fbnet import CODES, FBNet

from .conftest import (
    Costs,
    assert_extraction_is_exact,
    assert_parameters_are_those_read,
    images,
    traced,
)

STAGES, WIDTHS = (1, 4, 4, 4, 4, 4, 1), (16, 24, 32, 64, 112, 184, 352)


class TestFBNet(SpaceContract):
    draws = 6
    networks = 2

    def make(self) -> DecisionSpace:
        return FBNet(preset="tiny", resolution=8, in_channels=1)

    def other_options(self) -> DecisionSpace:
        return FBNet(preset="tiny", strides=[1, 2, 2, 2, 1, 2, 1], resolution=8, in_channels=1)


# ---------------------------------------------------------------- sizes
def by_hand(codes: list[str], *, imagenet: bool, features: int, classes: int) -> tuple[int, int]:
    """Parameters and MACs, layer by layer, from the definition of the blocks."""
    strides = (1, 2 if imagenet else 1, 2, 2, 1, 2, 1)
    side = 112 if imagenet else 32
    params, macs = 27 * 16 + 2 * 16, 27 * 16 * side**2
    places = [
        (w, s if i == 0 else 1)
        for w, s, n in zip(WIDTHS, strides, STAGES, strict=True)
        for i in range(n)
    ]
    width = 16
    for code, (out, stride) in zip(codes, places, strict=True):
        after = side // stride
        if code == "skip":
            if stride == 2 or width != out:
                params += width * out + 2 * out
                macs += width * out * after**2
        else:
            area, ratio, groups = int(code[1]) ** 2, int(code[4]), 2 if "g2" in code else 1
            hidden = width * ratio
            params += width * hidden // groups + 2 * hidden
            params += area * hidden + 2 * hidden + hidden * out // groups + 2 * out
            macs += width * hidden // groups * side**2
            macs += (area * hidden + hidden * out // groups) * after**2
        width, side = out, after
    params += 352 * features + 2 * features + features * classes + classes
    return params, macs + 352 * features * side**2 + features * classes


@pytest.mark.parametrize("code", CODES)
def test_networks_of_one_block_have_the_sizes_of_the_definition(code: str) -> None:
    for preset, features, classes in (("full", 1504, 100), ("imagenet", 1984, 1000)):
        space = FBNet(preset=preset)
        a = space.parse(" ".join([code] * 22))
        with torch.device("meta"):
            workload = traced(space.build(a), space, a)
        expected = by_hand(
            [code] * 22, imagenet=preset == "imagenet", features=features, classes=classes
        )
        assert (workload.params, workload.macs) == expected
        assert Costs().of(space.parts(a)) == expected


def test_any_network_has_the_size_of_the_definition() -> None:
    space, costs, rng = FBNet(), Costs(), Random(0)
    for a in (space.sample(rng) for _ in range(50)):
        codes = space.format(a).split()
        expected = by_hand(codes, imagenet=False, features=1504, classes=100)
        assert costs.of(space.parts(a)) == expected


def test_the_networks_of_the_paper() -> None:
    """The paper's figures are 4.3, 4.5 and 5.5 million, and 249, 295 and 375 million MACs.

    Those of A are met; B and C are larger as their authors published them later.
    """
    known = {
        1504: {"FBNet-A": (4_321_464, 249_921_848)},
        1984: {"FBNet-B": (4_863_288, 306_210_888), "FBNet-C": (5_572_200, 384_960_160)},
    }
    for features, networks in known.items():
        space = FBNet(preset="imagenet", features=features)
        assert set(space.published()) == set(networks)
        for name, size in networks.items():
            a = space.parse(name)
            assert Costs().of(space.parts(a)) == size
            codes = space.format(a).split()
            assert by_hand(codes, imagenet=True, features=features, classes=1000) == size
    assert FBNet().published() == {}


# ---------------------------------------------------------------- blocks
def test_a_skip_is_an_identity_where_width_and_side_stay() -> None:
    space = FBNet()
    network = space.build(space.parse("skip " * 22))
    kinds = [type(layer) for layer in network.layers]
    four = [Skip, nn.Identity, nn.Identity, nn.Identity]
    assert kinds == [nn.Identity, *four * 5, Skip]
    assert [type(layer) for layer in network.layers[1]] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert [network.layers[i][0].stride for i in (1, 5, 9, 13, 17, 21)] == [
        (s, s) for s in (1, 2, 2, 1, 2, 1)
    ]
    strided = FBNet(strides=[2, 1, 2, 2, 1, 2, 1])
    assert type(strided.build(strided.parse("skip " * 22)).layers[0]) is Skip


def test_groups_meet_in_the_shuffle() -> None:
    """Every hidden channel behind the shuffle goes to a group, from both groups in turn."""
    block = Block(8, 8, 3, 1, 2, 1)
    assert [c.groups for c in (block.expand[0], block.depthwise[0], block.project[0])] == [2, 8, 2]
    assert [c.groups for c in (Block(8, 8, 3, 3, 1, 1).expand[0],)] == [1]
    x = torch.arange(8.0).view(1, 8, 1, 1)
    assert block.shuffle(x).flatten().tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    block.eval()
    x = torch.randn(1, 8, 5, 5, requires_grad=True)
    block.residual = False
    block(x)[:, :4].square().sum().backward()
    assert x.grad.abs().sum(dim=(0, 2, 3)).bool().all()  # half of the outputs see all inputs


def test_the_first_convolution_is_there_at_ratio_one() -> None:
    assert Block(8, 8, 3, 1, 1, 1).expand[0].weight.shape == (8, 8, 1, 1)


def test_only_equal_shapes_are_added() -> None:
    space = FBNet()
    network = space.build(space.parse("k3_e1 " * 22))
    assert [layer.residual for layer in network.layers] == [
        True, *[False, True, True, True] * 5, False
    ]  # fmt: skip


def test_weights_are_drawn_as_the_benchmark_draws_them() -> None:
    torch.manual_seed(0)
    space = FBNet()
    network = space.build(space.parse("k5_e6 " * 22))
    conv, linear = network.head.expand[0], network.head.classifier
    assert conv.weight.std().item() == pytest.approx((2 / 1504) ** 0.5, rel=0.02)
    depthwise = network.layers[20].depthwise[0]  # the fan of each filter counts all filters
    assert depthwise.weight.std().item() == pytest.approx((2 / (25 * 1104)) ** 0.5, rel=0.02)
    assert linear.weight.std().item() == pytest.approx(0.001, rel=0.02)
    assert not linear.bias.any()


@pytest.mark.parametrize("resolution", [1, 7, 9, 30])
def test_odd_sides_build(resolution: int) -> None:
    strides = [2, 2, 2, 2, 1, 2, 1]
    space = FBNet(preset="tiny", strides=strides, stem_stride=2, classes=3, resolution=resolution)
    rng = Random(resolution)
    for a in (space.parse("skip " * 22), space.sample(rng), space.sample(rng)):
        values = {-1: space.example_input(a)}
        with torch.no_grad():
            for i, part in enumerate(space.parts(a)):
                inputs = [values[s.source] for s in part.inputs]
                assert [tuple(x.shape) for x in inputs] == [s.shape for s in part.inputs]
                values[i] = part.build().eval()(*inputs)
            y = space.build(a).eval()(values[-1])
        assert y.shape == (1, 3) == values[len(values) - 2].shape


# ---------------------------------------------------------------- measured networks
def test_a_thousand_measured_networks_are_read() -> None:
    space, table = FBNet(), load_table("fbnet_latency")
    assert len(table["arch"]) == 1_000
    for text in table["arch"]:
        a = space.parse(text)
        assert space.format(a) == text
        assert space.parse([CODES.index(code) for code in text.split()]) == a


def test_latencies_from_look_up_tables_are_sums_over_the_parts() -> None:
    """Four devices' latencies were summed from tables of blocks: these blocks, on these shapes.

    If two places shared a part that have different shapes or strides, or an identity had a cost
    that depends on its place, no cost per part could explain a thousand networks to the last
    printed digit. Latencies measured on whole networks are no such sums.
    """
    space, table = FBNet(), load_table("fbnet_latency")
    counts = [Counter(p.key for p in space.parts(space.parse(t))) for t in table["arch"]]
    keys = sorted(set().union(*counts))
    assert len(keys) == 2 + 8 + 5 * (9 + 8) + 9  # stem and head; per stage the first and the rest
    features = np.array([[count[key] for key in keys] for count in counts], dtype=float)
    errors = {}
    for device in ("eyeriss", "fpga", "raspi4", "pixel3", "gold_6226", "1080ti_1"):
        latency = table[f"latency_ms_{device}"]
        costs = np.linalg.lstsq(features, latency, rcond=None)[0]
        errors[device] = float(np.abs(features @ costs - latency).max())
    sums = {device: errors.pop(device) for device in ("eyeriss", "fpga", "raspi4", "pixel3")}
    assert max(sums.values()) < 1e-5  # five decimals are printed
    assert min(errors.values()) > 0.1


# ---------------------------------------------------------------- size, classes, notation
def test_counts_are_exact() -> None:
    assert FBNet().counts() == {"architectures": 9**22, "networks": 9**2 * (9 * 585) ** 5}
    # strides in the first stage: its only layer changes the side
    assert FBNet(strides=[2, 1, 2, 2, 1, 2, 1]).counts()["networks"] == 9**2 * (9 * 585) ** 5
    # equal widths: the second stage begins with a layer like the others
    joined = FBNet(channels_list=[16, 16, 32, 64, 112, 184, 352])
    run = sum(8**n for n in range(6))
    assert joined.counts()["networks"] == run * 9 * (9 * 585) ** 4


def test_identities_have_no_place() -> None:
    space = FBNet()
    beginnings = (
        "skip skip skip k3_e1 k5_e6 skip k3_e1 skip skip",
        "skip skip k3_e1 skip k5_e6 skip skip k3_e1 skip",
        "skip skip k5_e6 k3_e1 skip skip k3_e1 skip skip",
    )
    a, b, c = (space.parse(f"{codes}{' k3_e6' * 13}") for codes in beginnings)
    assert space.canonical(a) == space.canonical(b) != space.canonical(c)
    assert [p.key for p in space.parts(a)] == [p.key for p in space.parts(b)]
    assert [p.key for p in space.parts(a)] != [p.key for p in space.parts(c)]


def test_canonical_texts_and_networks_match() -> None:
    space = FBNet()
    classes: dict[str, tuple[str, ...]] = {}
    for first in product(("skip", "k3_e1"), repeat=9):
        a = space.parse([*first, *["skip"] * 13])
        keys = tuple(p.key for p in space.parts(a))
        assert classes.setdefault(space.canonical(a), keys) == keys
    assert len(set(classes.values())) == len(classes) == 2 * (2 * 4) ** 2


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("k3_e1 k3_e1", "22 codes separated by blanks.*it has 2"),
        ("k3_e1 " * 21 + "k3_e2", r"place 22, stage7.layer1: unknown block 'k3_e2'; did you mean"),
        ([0] * 21 + [9], r"place 22, stage7.layer1: unknown block 9; known: k3_e1"),
        ([True] * 22, r"place 1, stage1.layer1: unknown block True"),
        ([float("nan")] * 22, "unknown block nan"),
        ([["skip"]] * 22, r"unknown block \['skip'\]"),
        (7, "22 codes separated by blanks"),
    ],
)
def test_errors_name_the_place(value: object, message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=message):
        FBNet().parse(value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strides": [1, 1]}, "strides must have a number for each of the 7 stages"),
        ({"strides": [1, 1, 2, 3, 1, 2, 1]}, "a stride must be 1 or 2, got 3"),
        ({"stem_stride": 4}, "a stride must be 1 or 2, got 4"),
        ({"channels_list": [16] * 8}, "channels_list must have a number for each"),
        ({"channels_list": 16}, "channels_list must be a list of integers, got 16"),
        ({"channels": 3}, "channels must be even.*got 3"),
        ({"channels_list": [16, 24, 32, 64, 112, 184, 0]}, r"channels_list\[6\]"),
        ({"preset": "cifar"}, "preset must be one of full, imagenet, tiny; got 'cifar'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        FBNet(**options)


def test_presets() -> None:
    full, imagenet = FBNet().options, FBNet(preset="imagenet").options
    changed = {name for name in full if full[name] != imagenet[name]}
    assert changed == {"preset", "strides", "stem_stride", "features", "classes", "resolution"}
    assert (full["classes"], full["resolution"], full["strides"]) == (
        100,
        32,
        [1, 1, 2, 2, 1, 2, 1],
    )
    assert (imagenet["classes"], imagenet["resolution"]) == (1000, 224)
    assert FBNet(preset="imagenet", classes=10).options["classes"] == 10


# ---------------------------------------------------------------- super-network
def test_extraction_is_exact() -> None:
    supernet = FBNet(preset="tiny", resolution=9).supernet()
    assert_extraction_is_exact(supernet, members=4)
    assert_parameters_are_those_read(supernet, members=4)


def test_it_has_every_block_in_every_layer() -> None:
    space = FBNet()
    with torch.device("meta"):
        supernet = space.supernet()
    assert len([m for m in supernet.modules() if isinstance(m, OneOf)]) == 22
    uniform = [by_hand([c] * 22, imagenet=False, features=1504, classes=100) for c in CODES]
    stem, head = 27 * 16 + 2 * 16, 352 * 1504 + 2 * 1504 + 1504 * 100 + 100
    params = sum(p for p, _ in uniform) - 8 * (stem + head)
    macs = sum(m for _, m in uniform) - 8 * (27 * 16 * 32**2 + 352 * 1504 * 4**2 + 1504 * 100)
    supernet.mix({d.name: torch.full((9,), 1 / 9, device="meta") for d in space.decisions})
    workload = traced(supernet, space, space.parse("skip " * 22))
    assert (workload.params, workload.macs) == (params, macs)


def test_a_mixture_of_one_block_is_that_path() -> None:
    space = FBNet(preset="tiny", resolution=8)
    supernet, a = space.supernet().eval(), space.sample(Random(3))
    supernet.activate(a)
    x = images(space, a)
    with torch.no_grad():
        path = supernet(x)
        supernet.mix({n: torch.tensor([float(c == a[n]) for c in CODES]) for n in a})
        torch.testing.assert_close(supernet(x), path)
