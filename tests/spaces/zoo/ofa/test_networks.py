"""The networks of Once-for-All: what the spaces owe, how large they and their networks are."""

from __future__ import annotations

from random import Random

import pytest
import torch
from torch import nn

from netloom.errors import InvalidArchitecture, SpecError
from netloom.spaces import DecisionSpace
from netloom.spaces.layers import SqueezeExcite
from netloom.spaces.networks.mobile_blocks import Classifier, InvertedResidual
from netloom.spaces.restricted import RestrictedSpace
from netloom.spaces.rounding import expanded, make_divisible, squeezed
from netloom.spaces.testing import SpaceContract
from netloom.spaces.zoo.ofa.base import OfaSpace
from netloom.spaces.zoo.ofa.mbv3 import OfaMbv3
from netloom.spaces.zoo.ofa.proxyless import OfaProxyless
from netloom.spaces.zoo.ofa.resnet50 import OfaResNet50

from .conftest import FAMILIES, tiny, uniform


class OfaContract(SpaceContract):
    family: type[OfaSpace]

    def make(self) -> DecisionSpace:
        return tiny(self.family)

    def other_options(self) -> DecisionSpace:
        return tiny(self.family, stem_stride=2)

    def reduced(self) -> DecisionSpace:
        """Two stages whose depth and whose last block are chosen; all else is fixed."""
        space = self.make()
        free = ("resolution", "stage1.depth", "stage2.depth", "stage1.block4.expand", "stem.out")
        masks = {d.name: d.options[:1] for d in space.decisions if d.name not in free}
        return RestrictedSpace(space, masks)


class TestOfaMbv3(OfaContract):
    family = OfaMbv3


class TestOfaProxyless(OfaContract):
    family = OfaProxyless


class TestOfaResNet50(OfaContract):
    family = OfaResNet50


# ---------------------------------------------------------------- blocks
def test_widths_are_rounded_to_eight() -> None:
    assert [make_divisible(n) for n in (1, 12, 18, 30, 33.6, 41.6)] == [8, 16, 24, 32, 32, 40]
    assert make_divisible(19.2) == 24  # 16 would be less than 90 %
    assert expanded(168, 0.2) == 32  # 33.6, 34, 32
    assert expanded(168, 0.25) == 40
    assert [squeezed(n) for n in (72, 120, 960)] == [24, 32, 240]  # 18 -> 24, 30 -> 32


def test_blocks_are_those_of_the_plan() -> None:
    space = OfaMbv3(width=1.2)
    with torch.device("meta"):
        network = space.build(uniform(space, ks=7, e=6, d=4))
    blocks = [b for b in network.stages.modules() if isinstance(b, InvertedResidual)]
    assert [b.residual for b in blocks] == [False, True, True, True] * 5
    widths = [b.project.conv.out_channels for b in blocks]
    assert widths == [n for n in (32, 48, 96, 136, 192) for _ in range(4)]
    strides = [b.depthwise.conv.stride[0] for b in blocks]
    assert strides == [s for first in (2, 2, 2, 1, 2) for s in (first, 1, 1, 1)]
    excites = [isinstance(b.excite, SqueezeExcite) for b in blocks]
    assert excites == [x for x in (False, True, False, True, True) for _ in range(4)]
    names = [type(b.depthwise.activation) for b in blocks]
    assert names == [nn.ReLU] * 8 + [nn.Hardswish] * 12
    assert network.first.residual
    assert isinstance(network.first.expand, nn.Identity)
    assert (network.stem.conv.out_channels, network.first.project.conv.out_channels) == (24, 24)
    assert {m.eps for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-5}
    mix = network.classifier.mix[0]
    assert (mix.in_channels, mix.out_channels, mix.bias) == (1152, 1536, None)


def test_proxyless_networks_have_relu6_and_no_squeeze() -> None:
    space = OfaProxyless(width=1.3)
    with torch.device("meta"):
        network = space.build(uniform(space, ks=3, e=6, d=4))
    blocks = [b for b in network.stages.modules() if isinstance(b, InvertedResidual)]
    widths = [b.project.conv.out_channels for b in blocks]
    assert widths == [n for n in (32, 56, 104, 128, 248) for _ in range(4)] + [416]
    assert not any(isinstance(m, SqueezeExcite | nn.ReLU) for m in network.modules())
    assert {m.eps for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}
    assert not network.first.residual
    assert network.last.conv.out_channels == network.classifier.linear.in_features == 1664


def test_a_tiny_fixed_block_adds_its_input_only_where_the_family_does() -> None:
    assert not tiny(OfaProxyless).build(tiny(OfaProxyless).at(0)).first.residual
    assert tiny(OfaMbv3).build(tiny(OfaMbv3).at(0)).first.residual


def test_resnet_blocks_are_those_of_the_plan() -> None:
    space = OfaResNet50()
    with torch.device("meta"):
        network = space.build(uniform(space, d=0, e=0.25, w=1))
    assert [len(stage) for stage in network.stages] == [2, 2, 4, 2]
    assert len(network.stem.residual) == 0
    stem = (network.stem.first.conv.out_channels, network.stem.last.conv.out_channels)
    assert stem == (24, 48)
    blocks = [block for stage in network.stages for block in stage]
    assert {b.conv3.conv.out_channels for b in blocks} == {208, 408, 816, 1640}
    assert [b.conv2.conv.stride[0] for stage in network.stages for b in stage[:1]] == [1, 2, 2, 2]
    shortcuts = [[type(m).__name__ for m in b.shortcut] for b in blocks]
    assert shortcuts[:3] == [["ConvNorm"], [], ["AvgPool2d", "ConvNorm"]]
    assert blocks[2].shortcut[0].ceil_mode
    assert blocks[0].conv1.conv.out_channels == expanded(208, 0.25) == 56


def test_the_classifier_drops_features_in_training() -> None:
    torch.manual_seed(0)
    network = tiny(OfaMbv3, dropout=0.5).build(tiny(OfaMbv3).at(0))
    layer = network.classifier
    assert isinstance(layer, Classifier)
    assert layer.dropout.p == 0.5
    x = torch.randn(2, 240, 1, 1)
    assert torch.equal(layer.eval()(x), layer(x))
    assert not torch.equal(layer.train()(x), layer(x))


def test_weights_are_drawn_by_fan_out() -> None:
    torch.manual_seed(0)
    network = OfaResNet50(width=0.25).build(OfaResNet50().at(0))
    conv = network.stages[3][1].conv2.conv
    assert conv.weight.std().item() == pytest.approx((2 / (9 * conv.out_channels)) ** 0.5, rel=0.05)
    bound = network.classifier.linear.in_features**-0.5
    assert network.classifier.linear.weight.abs().max() <= bound
    assert not network.classifier.linear.bias.any()


# ---------------------------------------------------------------- options
def test_small_images_need_no_strided_stem() -> None:
    for family in FAMILIES:
        space = family(preset="tiny", resolution=32, stem_stride=1, in_channels=1, classes=7)
        a = space.sample(Random(0))
        assert a["resolution"] == 32
        parts = space.parts(a)
        assert parts[1].inputs[0].shape[2:] == (32, 32)
        assert space.build(a).eval()(torch.zeros(2, 1, 32, 32)).shape == (2, 7)
    small = OfaResNet50(preset="tiny", stem_pool=False, strides=[1, 1, 2, 2], resolution=16)
    parts = {p.label: p.inputs[0].shape[2] for p in small.parts(small.at(0))}
    assert "stem.pool" not in parts
    assert parts["stage3.block1"] == 16
    assert parts["classifier"] == 4


def test_sides_to_draw_from() -> None:
    assert OfaMbv3().decisions[0].options == tuple(range(128, 225, 4))
    assert OfaMbv3(resolution=32).options["resolutions"] == [32]
    both = OfaMbv3(resolution=32, resolutions=[24, 32])
    assert both.decisions[0].options == (24, 32)
    again = OfaMbv3(**both.options)
    assert again.fingerprint == both.fingerprint
    assert OfaMbv3(width=1.0).fingerprint == OfaMbv3().fingerprint != OfaMbv3(width=1.2).fingerprint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "huge"}, "preset must be one of full, tiny; got 'huge'"),
        ({"width": 0}, "width must be a number above 0, up to 100; got 0"),
        ({"width": "1.0"}, "width must be a number above 0, up to 100; got '1.0'"),
        ({"dropout": 1}, "dropout must be a number from 0 to below 1, got 1"),
        ({"strides": [2, 2]}, "strides must list . integers, one for each stage; got \\[2, 2\\]"),
        ({"strides": [0] * 5}, "strides\\[0\\] must be an integer of at least 1, got 0"),
        ({"stem_stride": 0}, "stem_stride must be an integer of at least 1"),
        ({"classes": 0}, "classes must be an integer of at least 1"),
        ({"resolutions": [32, 24]}, "resolutions must rise"),
        ({"resolutions": 32}, "resolutions must be a list of integers, got 32"),
        ({"resolution": 0}, "resolution must be an integer of at least 1, got 0"),
    ],
)
def test_options_are_refused_by_name(options: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        OfaMbv3(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("side", [4, 20, 36])
def test_any_multiple_of_4_is_a_side(family: type[OfaSpace], side: int) -> None:
    space = tiny(family)
    a = space.architecture({**space.sample(Random(side)), "resolution": side})
    x = space.example_input(a)
    assert x.shape[2:] == (side, side)
    values = {-1: x}
    for i, part in enumerate(space.parts(a)):
        assert tuple(values[part.inputs[0].source].shape) == part.inputs[0].shape
        with torch.no_grad():
            values[i] = part.build().eval()(values[part.inputs[0].source])
    assert values[i].shape == space.build(a).eval()(x).shape == (1, 3)
    with pytest.raises(InvalidArchitecture, match="resolution must be one of"):
        space.architecture({**a, "resolution": side + 2})
