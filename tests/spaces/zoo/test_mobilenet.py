"""The mixed-operation space of ProxylessNAS: published networks, counts, the super-network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from netloom.errors import InvalidArchitecture, SpecError
from netloom.spaces import DecisionSpace
from netloom.spaces.layers import OneOf, Zero
from netloom.spaces.networks.mobile_blocks import InvertedResidual
from netloom.spaces.testing import SpaceContract
from netloom.spaces.zoo.mobilenet import MobileNet

from .conftest import (
    Costs,
    assert_extraction_is_exact,
    assert_parameters_are_those_read,
    traced,
)


class TestMobileNet(SpaceContract):
    def make(self) -> DecisionSpace:
        return MobileNet(preset="tiny")

    def other_options(self) -> DecisionSpace:
        return MobileNet(preset="tiny", width=2)


PUBLISHED = {  # parameters as imgclsmob states them; MACs of `mobile` as the sheet has them
    "mobile": (4_080_512, 320_427_584),
    "mobile_14": (6_857_568, None),
    "gpu": (7_119_848, None),
    "cpu": (4_361_648, None),
}


@pytest.mark.parametrize("preset", PUBLISHED)
def test_published_networks(preset: str) -> None:
    space = MobileNet(preset=preset)
    [(name, a)] = space.published().items()
    assert name == f"proxyless_{preset}"
    params, macs = PUBLISHED[preset]
    counted = Costs().of(space.parts(a))
    assert counted == (params, macs or counted[1])
    network = space.build(a)
    assert sum(p.numel() for p in network.parameters()) == params
    assert traced(network, space, a).macs == counted[1]


def test_published_networks_belong_to_their_widths() -> None:
    assert MobileNet().published() == {}
    assert MobileNet(preset="mobile", width=1.4).published() == {}
    widths = [32, 16, 32, 40, 80, 96, 192, 320]
    assert set(MobileNet(channels_list=widths).published()) == {"proxyless_mobile"}


def test_the_size_is_exact() -> None:
    space = MobileNet()
    assert space.size == 6**6 * 7**15 == 221_502_229_807_900_608
    assert space.counts() == {
        "architectures": space.size,
        "places with zero": 15,
        "places without": 6,
    }
    assert len(space.decisions) == 21


def test_the_candidates_of_a_place() -> None:
    space = MobileNet()
    first, second = space.decisions[:2]
    assert first.options == ("k3_e3", "k3_e6", "k5_e3", "k5_e6", "k7_e3", "k7_e6")
    assert second.options == (*first.options, "zero")
    assert [d.name for d in space.decisions if "zero" not in d.options] == [
        f"stage{i}.block1.op" for i in range(1, 7)
    ]


def test_zero_leaves_nothing_behind() -> None:
    space = MobileNet(preset="tiny")
    with_zero = space.parse("k3_e3 zero k5_e6 zero k7_e3")  # the first stage keeps its width
    assert [p.label for p in space.parts(with_zero)] == [
        "stem", "first", "stage1.block1", "stage2.block1", "stage3.block1", "last", "classifier"
    ]  # fmt: skip
    network = space.build(with_zero)
    assert sum(isinstance(m, InvertedResidual) for m in network.modules()) == 4
    x = torch.randn(2, 8, 16, 16)
    assert network.blocks.stage1_block2(x) is x


def test_other_blocks_can_be_read() -> None:
    space = MobileNet(preset="tiny")
    a = space.parse("k9_e4 k3_e1 k5_e6 zero k7_e3")
    assert space.format(a) == "k9_e4 k3_e1 k5_e6 zero k7_e3"
    network = space.build(a)
    conv = network.blocks.stage1_block1.operation.depthwise.conv
    assert (conv.kernel_size, conv.groups) == ((9, 9), 32)
    assert isinstance(network.blocks.stage1_block2.operation.expand, nn.Identity)
    assert network.eval()(space.example_input(a)).shape == (1, 10)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("k3_e3 k3_e3", "there are 5 places, this has 2"),
        ("k3_e3 k3_e3 zero k3_e3 k3_e3", r"stage2\.block1\.op must be one of .* got 'zero'"),
        ("k4_e3 k3_e3 k3_e3 k3_e3 k3_e3", r"stage1\.block1\.op must be one of .* got 'k4_e3'"),
        ("k3_e0 k3_e3 k3_e3 k3_e3 k3_e3", "got 'k3_e0'"),
        ("k3 k3_e3 k3_e3 k3_e3 k3_e3", "got 'k3'"),
    ],
)
def test_what_is_no_network(text: str, problem: str) -> None:
    with pytest.raises(InvalidArchitecture, match=problem):
        MobileNet(preset="tiny").parse(text)


def test_widths() -> None:
    costs = Costs()
    assert MobileNet(channels_list=[32, 40, 80, 96, 192, 320]).options["channels_list"][0] == 32
    wide = MobileNet(width=1.3)
    [stem, first] = wide.parts(wide.at(0))[:2]
    assert stem.key.startswith("netloom.spaces.networks.mobile_blocks:ConvNorm(3, 40,")
    assert "(40, 24)" in first.key
    assert "ConvNorm(416, 1664," in next(p.key for p in wide.parts(wide.at(0)) if p.label == "last")
    narrow = MobileNet(width=0.5)
    assert "1280," in next(p.key for p in narrow.parts(narrow.at(0)) if p.label == "last")
    assert costs.of(wide.parts(wide.at(0))) > costs.of(narrow.parts(narrow.at(0)))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"preset": "mobil"}, "preset must be one of full, mobile.*did you mean mobile"),
        ({"channels_list": [32, 16]}, "channels_list holds 6 widths for the stages, 8 with"),
        ({"strides": [2, 2]}, "one number for each of the 6 stages"),
        ({"width": 0}, "width must be a positive multiplier, got 0"),
        ({"stages": [4, 0, 4, 4, 4, 1]}, r"stages\[1\] must be an integer of at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout must be a share in \[0, 1\), got 1.0"),
    ],
)
def test_options_that_make_no_space(options: dict, text: str) -> None:
    with pytest.raises(SpecError, match=text):
        MobileNet(**options)


# ---------------------------------------------------------------- super-network
def test_extraction_is_exact() -> None:
    space = MobileNet(preset="tiny")
    assert_extraction_is_exact(space.supernet(), 6)
    assert_parameters_are_those_read(space.supernet(), 3)


def test_extracted_weights_load_into_a_built_network() -> None:
    space = MobileNet(preset="tiny")
    a = space.parse("k3_e3 zero k5_e6 zero k7_e3")
    space.build(a).load_state_dict(space.supernet().extract(a).state_dict())


def test_a_super_network_holds_every_candidate_once() -> None:
    space, costs = MobileNet(preset="tiny"), Costs()
    module = space.supernet().module
    layers = [m for m in module.modules() if isinstance(m, OneOf)]
    assert [len(m.candidates) for m in layers] == [7, 7, 6, 7, 6]
    counted = {}
    for i in range(7):
        codes = {d.name: d.options[i % len(d.options)] for d in space.decisions}
        for part in space.parts(space.architecture(codes)):
            counted[part.label, part.key] = costs.of([part])[0]
    assert sum(counted.values()) == sum(p.numel() for p in module.parameters())


def test_mixtures_weigh_the_candidates_not_the_shortcut() -> None:
    """The gradient of a gate is <dL/dy, o(x)> (arXiv 1812.00332, equation 4)."""
    torch.manual_seed(0)
    space = MobileNet(preset="tiny")
    supernet = space.supernet().eval()
    block = supernet.module.blocks.stage1_block2
    x = torch.randn(2, 8, 16, 16)
    weights = torch.full((7,), 0.1, requires_grad=True)
    block.operation.mix(weights)
    y = block(x)
    outputs = [c(x) for c in block.operation.candidates if not isinstance(c, Zero)]
    torch.testing.assert_close(y, x + 0.1 * sum(outputs))
    y.sum().backward()
    expected = torch.stack([*(o.sum() for o in outputs), torch.tensor(0.0)])
    torch.testing.assert_close(weights.grad, expected)


def test_sampled_paths_run_one_candidate() -> None:
    space = MobileNet(preset="tiny")
    supernet = space.supernet()
    supernet.activate(space.parse("k3_e3 zero k5_e6 zero k7_e3"))
    ran = []
    for layer in supernet.modules():
        if isinstance(layer, InvertedResidual):
            layer.register_forward_hook(lambda m, *_: ran.append(m))
    supernet(torch.randn(2, 3, 16, 16))
    assert len(ran) == 4  # the fixed block and three candidates
