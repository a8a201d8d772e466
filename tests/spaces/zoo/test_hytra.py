"""HyTra: paths and their numbers, the sizes of BossNet, notation, options."""

from __future__ import annotations

import json
from itertools import pairwise
from random import Random
from typing import Any

import pytest
import torch
from torch import nn

from netloom.errors import InvalidArchitecture, SpecError
from netloom.spaces import Architecture, DecisionSpace
from netloom.spaces.networks.hytra import Down
from netloom.spaces.networks.hytra_plan import FOLLOWING, levels_of, path_of, resolution_of
from netloom.spaces.restricted import RestrictedSpace
from netloom.spaces.testing import SpaceContract
from netloom.spaces.zoo.hytra import Hytra

from .conftest import Costs, images, traced

T0 = [[1], [1], [1, 1, 1, 0, 1], [0, 0, 0, 1, 0, 0, 0, 0, 0]]
T0_PATH = "5 4 3 3 | 3 2 3 0 | 0 0 1 0 | 0 0 0 0"
VIT = [[], [], [0] * 16, []]  # `boss_vit` of the original's script for costs


class TestHytra(SpaceContract):
    draws = 10
    networks = 2

    def make(self) -> DecisionSpace:
        return Hytra(preset="tiny", in_channels=1)

    def reduced(self) -> DecisionSpace:
        return Hytra(preset="tiny", layers=8)

    def other_options(self) -> DecisionSpace:
        return Hytra(preset="tiny", in_channels=1, stage4_stride=1)

    def standing_alone(self, architecture: Architecture) -> Any:
        """The super-network has other layers than stand-alone networks, by definition."""
        space = self.make()
        assert isinstance(space, Hytra)
        return space.build_path(architecture)


class TestPartOfHytra(SpaceContract):
    def make(self) -> DecisionSpace:
        masks = {"block1.layer3": [4, 2], "block2.layer4": [3, 0]}
        return RestrictedSpace(Hytra(preset="tiny", layers=8, blocks=2), masks)


# ---------------------------------------------------------------- paths
def test_codes_are_resolutions_and_kinds() -> None:
    assert {code: resolution_of(code) for code in range(6)} == {0: 0, 1: 0, 2: 1, 3: 1, 4: 2, 5: 3}
    low = dict.fromkeys((3, 2), (3, 2, 1, 0)) | dict.fromkeys((1, 0), (1, 0))
    assert {5: (5, 4), 4: (4, 3, 2)} | low == FOLLOWING


def test_there_are_51_and_16_paths_through_a_block() -> None:
    """Tables by what came before: d = 4 (also for the first block), 3, 2, 1."""
    space = Hytra()
    assert len(space.block_paths(0)) == 51
    for number in (1, 2, 3):
        tables = [space.block_paths(number, code) for code in (5, 4, 3, 2, 1, 0)]
        assert [len(set(table)) for table in tables] == [51, 99, 80, 80, 16, 16]
        for code, table in zip((5, 4, 3, 2, 1, 0), tables, strict=True):
            for path in table:
                steps = [resolution_of(a) - resolution_of(b) for a, b in pairwise((code, *path))]
                assert set(steps) <= {0, 1}
    assert space.block_paths(3, 0) == space.block_paths(2, 1)
    assert all(resolution_of(path[0]) in (3, 2) for path in space.block_paths(0))


def test_the_space_has_1_703_991_paths() -> None:
    space, anywhere = Hytra(), Hytra(first=[3, 2, 1, 0])
    assert space.size == 1_703_991
    assert anywhere.size == 2_818_103
    assert space.counts()["first resolution free"] == 2_818_103
    assert anywhere.counts()["first resolution free"] == 2_818_103
    assert space.counts()["paths of block 2 after 1/8"] == 99


def test_blocks_continue_each_other_to_the_whole_space() -> None:
    """The tables, one after the other, give as many paths as there are."""
    space = Hytra()
    ways: dict[int | None, int] = {None: 1}
    for number in range(4):
        after: dict[int | None, int] = {}
        for last, n in ways.items():
            for path in space.block_paths(number, last):
                after[path[-1]] = after.get(path[-1], 0) + n
        ways = after
    assert sum(ways.values()) == space.size


def test_drawn_paths_keep_the_rule() -> None:
    space, rng = Hytra(), Random(0)
    for law in ("architectures", "decisions"):
        for _ in range(300):
            a = space.sample(rng, law)
            path = [resolution_of(code) for code in space.path(a)]
            assert path[0] in (3, 2)
            assert all(b in (r, r - 1) for r, b in pairwise(path))
            assert space.parse(space.format_path(a)) == a


def test_the_released_super_network_ends_some_paths() -> None:
    """It has no operator above 1/8 in block 2, above 1/16 in blocks 3 and 4.

    Paths that keep block 1 at 1/4 or block 2 at 1/8 fail there, with an index that is not built;
    with its `scales` they are refused, and never drawn.
    """
    space, released = Hytra(), Hytra(scales=[3, 2, 1, 1])
    lost = [
        a
        for a in (space.sample(Random(i)) for i in range(3000))
        if a["block1.layer4"] == 5 or a["block2.layer4"] in (5, 4)
    ]
    assert lost
    for a in lost:
        with pytest.raises(InvalidArchitecture, match=r"block\d.layer\d must be one of"):
            released.parse(space.format(a))
    # all others: 1/4 in the first block up to its third layer, 1/8 up to the third of the second
    kept = sum(
        2 ** sum(r < 2 for r in resolutions)
        for resolutions in _schedules(16, (3, 2))
        if resolutions[3] < 3 and resolutions[7] < 2
    )
    assert released.size == kept == 1_615_872
    assert len(released.block_paths(0)) == 50
    assert released.block_paths(1, 5) == released.block_paths(2, 4) == []
    with pytest.raises(SpecError, match="scales must have a resolution for each of the 4 blocks"):
        Hytra(scales=[3, 2, 1])


def _schedules(length: int, first: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the resolutions of all paths, layer by layer."""
    found = [(r,) for r in first]
    for _ in range(length - 1):
        found = [(*s, r) for s in found for r in (s[-1], s[-1] - 1) if r >= 0]
    return found


# ---------------------------------------------------------------- sizes
@pytest.mark.parametrize(
    ("options", "params", "macs"),
    [
        ({"se": False, "activation": "relu"}, 37_319_080, 3_441_888_768),
        ({}, 38_415_960, 3_442_978_304),
        ({"resolution": 288}, 38_415_960, 5_731_872_256),
        ({"stage4_stride": 1}, 38_415_960, 7_944_442_880),
        ({"stage4_stride": 1, "resolution": 256}, 38_415_960, 10_509_148_160),
    ],
)
def test_bossnet_has_its_sizes(options: dict[str, Any], params: int, macs: int) -> None:
    space = Hytra(**options)
    (name,) = space.published()
    assert name == ("BossNet-T1" if options.get("stage4_stride") == 1 else "BossNet-T0")
    a = space.parse(name)
    assert a == space.parse(T0)
    with torch.device("meta"):
        workload = traced(space.build(a), space, a)
    assert (workload.params, workload.macs) == (params, macs)


def test_the_published_formula_differs_by_an_excitation_of_attention() -> None:
    """It adds squeeze-and-excitation to ResAtt, which has none: 2 C^2 / 16 for each."""
    widths = [1024] + [2048] * 8
    extra = sum(2 * width * (width // 16) for width in widths)
    assert 3_442_978_304 + extra == 3_447_303_680
    assert 10_509_148_160 + extra == 10_513_473_536


def by_hand(
    levels: list[list[int]], *, se: bool, stride4: int, side: int, classes: int = 1000
) -> tuple[int, int]:
    """Parameters and MACs from the definition, operator by operator."""
    side //= 4
    params, macs = 3 * 64 * 49 + 2 * 64, 3 * 64 * 49 * (2 * side) ** 2
    width, head = 64, 64
    for kinds, out, stride in zip(levels, (256, 512, 1024, 2048), (1, 2, 2, stride4), strict=True):
        if not kinds:
            side //= 2 if out > 256 else 1
            params += 9 * width * out + 2 * out
            macs += 9 * width * out * side**2
            width = out
        for kind in kinds:
            inner, before, side = out // 4, side, side // stride
            n = side**2
            params += width * inner + 9 * inner + inner + 2 * inner
            macs += width * inner * before**2 + 9 * inner * n
            if kind == 0:
                heads = inner // head
                params += 3 * inner * inner
                macs += 3 * inner * inner * n + 2 * heads * n * n * head
            else:
                params += 9 * inner * inner
                macs += 9 * inner * inner * n
                if se:
                    squeezed = out // 16
                    params += 2 * out * squeezed + squeezed + out
                    macs += 2 * out * squeezed
            params += 2 * inner + inner * out + 2 * out
            macs += inner * out * n
            if width != out:  # the shortcut; a stride comes with another width
                params += width * out + 2 * out
                macs += width * out * n
            width, stride = out, 1
    return params + width * classes + classes, macs + width * classes


def test_any_network_has_the_size_of_the_definition() -> None:
    costs, rng = Costs(), Random(1)
    for options in ({}, {"se": False}, {"stage4_stride": 1}, {"resolution": 256}):
        space = Hytra(**options)
        o = space.options
        some = [space.sample(rng) for _ in range(2)]
        for a in (*some, space.parse(VIT), space.parse([[1] * 16, [], [], []])):
            levels = levels_of(space.path(a))
            side, stride4 = o["resolution"], o["stage4_stride"]
            expected = by_hand(levels, se=o["se"], stride4=stride4, side=side)
            with torch.device("meta"):
                workload = traced(space.build(a), space, a)
                params, _ = costs.of(space.parts(a))
            assert (workload.params, workload.macs) == expected, space.format(a)
            assert params == expected[0]


@pytest.mark.parametrize(
    ("levels", "sides"),
    [
        ([[], [1], [1] * 5, [0] * 10], [56, 28, 14, 7]),  # released: 28, 14, 7, 4
        (VIT, [56, 28, 14, 7]),
        ([[1] * 16, [], [], []], [56, 28, 14, 7]),
        ([[1], [1] * 15, [], []], [56, 28, 14, 7]),
    ],
)
def test_resolutions_without_layers_are_left_by_a_convolution(
    levels: list[list[int]], sides: list[int]
) -> None:
    """At 1/4 its stride is 1; the released network halves the map there once too often."""
    space = Hytra()
    a = space.parse(levels)
    with torch.device("meta"):
        network = space.build(a)
        x = network.stem(space.example_input(a).to("meta"))
        assert x.shape == (1, 64, 56, 56)
        found = []
        layers = iter(network.layers)
        for kinds in levels:
            for layer in [next(layers) for _ in kinds or [None]]:
                assert isinstance(layer, Down) == (not kinds)
                x = layer(x)
            found.append(x.shape[-1])
    assert found == sides
    assert x.shape == (1, 2048, 7, 7)


def test_the_last_stride_is_an_option() -> None:
    """Of the layers at 1/32; where there is none, the convolution to there has stride 2."""
    for stride, side in ((2, 7), (1, 14)):
        space = Hytra(stage4_stride=stride)
        for levels, last in ((T0, side), ([[1], [1], [1] * 14, []], 7)):
            head = space.parts(space.parse(levels))[-1]
            assert head.inputs[0].shape == (1, 2048, last, last)


# ---------------------------------------------------------------- networks
def test_only_convolutions_are_excited_and_dropped() -> None:
    space = Hytra(preset="tiny", drop_path=0.3)
    network = space.build(space.parse(T0))
    kinds = [kind for level in T0 for kind in level]
    for place, (kind, layer) in enumerate(zip(kinds, network.layers, strict=True)):
        assert isinstance(layer.excite, nn.Identity) == (kind == 0)
        assert layer.drop.rate == pytest.approx(0.3 * place / 15 if kind else 0.0)
    assert not any(layer.drop.rate for layer in Hytra(preset="tiny").build(space.parse(T0)).layers)
    plain = Hytra(preset="tiny", se=False)
    network = plain.build(plain.parse(T0))
    assert all(isinstance(layer.excite, nn.Identity) for layer in network.layers)


def test_a_dropped_branch_leaves_the_shortcut() -> None:
    space = Hytra(preset="tiny", se=False, drop_path=0.5)
    layer = space.build(space.parse([[1], [1] * 15, [], []])).layers[15]
    nn.init.ones_(layer.branch.norm2.weight)
    x = torch.randn(64, 32, 4, 4, generator=torch.Generator().manual_seed(3))
    torch.manual_seed(0)
    y = layer.train()(x)
    alone = layer.activation(x)
    dropped = (y == alone).flatten(1).all(1)
    assert 10 < int(dropped.sum()) < 54
    layer.drop.rate = 0.0
    kept = layer.branch(layer.entry.projection(x))  # those that survive count twice
    torch.testing.assert_close(y[~dropped], layer.activation(x + 2 * kept)[~dropped])


def test_shortcuts_are_averages_without_activation() -> None:
    """Average of 2x2 (an odd side is halved upwards, what is missing does not count), 1x1, norm."""
    space = Hytra(preset="tiny")
    network = space.build(space.parse(T0)).eval()
    entries = [layer.entry.shortcut for layer in network.layers]
    changing = [i for i, s in enumerate(entries) if not isinstance(s, nn.Identity)]
    assert changing == [0, 1, 2, 7]
    names = [[name for name, _ in entries[i].named_children()] for i in changing]
    assert names == [["conv", "norm"]] + [["pool", "conv", "norm"]] * 3
    x = torch.arange(9.0).view(1, 1, 3, 3)
    expected = torch.tensor([[2.0, 3.5], [6.5, 8.0]])
    assert torch.equal(entries[1].pool(x)[0, 0], expected)


def test_small_images_keep_their_side() -> None:
    """Without the stride and the pooling of the stem, resolutions are four times as high."""
    a = Hytra(preset="tiny").parse(T0)
    for options, sides in (
        ({"stem_stride": 1, "stem_pool": False}, [32, 32, 16, 8, 4]),
        ({"stem_stride": 1}, [16, 16, 8, 4, 2]),
        ({"stem_pool": False}, [16, 16, 8, 4, 2]),
        ({}, [8, 8, 4, 2, 1]),
    ):
        space = Hytra(preset="tiny", **options)
        parts = space.parts(a)
        shapes = [part.inputs[0].shape[-1] for part in parts[1:]]
        assert list(dict.fromkeys([shapes[0], *shapes])) == list(dict.fromkeys(sides))
        labels = [part.label for part in parts]
        assert f"layer1 at 1/{32 // sides[0]}" in labels
        assert space.build(a).eval()(images(space, a)).shape == (4, 10)
        supernet = space.supernet(classifier=False).eval()
        supernet.activate(a)
        assert supernet(images(space, a)).shape == (4, 128, sides[-1], sides[-1])
    small = Hytra(stem_stride=1, stem_pool=False)
    assert small.published() == {}
    with pytest.raises(InvalidArchitecture, match=r"1/2, layer 1: .*exists at 1/4 and 1/8 only"):
        small.parse([[], [0], [1] * 6, [0] * 9])


@pytest.mark.parametrize("resolution", [1, 2, 7, 9, 30])
def test_any_side_builds(resolution: int) -> None:
    space = Hytra(preset="tiny", resolution=resolution, in_channels=2, classes=3)
    rng = Random(resolution)
    for a in (space.parse(T0), space.sample(rng), space.parse(VIT)):
        values = {-1: space.example_input(a)}
        with torch.no_grad():
            for i, part in enumerate(space.parts(a)):
                inputs = [values[s.source] for s in part.inputs]
                assert [tuple(x.shape) for x in inputs] == [s.shape for s in part.inputs]
                values[i] = part.build().eval()(*inputs)
            y = space.build(a).eval()(values[-1])
        assert y.shape == (1, 3) == values[len(values) - 2].shape


def test_networks_begin_as_their_shortcuts() -> None:
    space = Hytra(preset="tiny")
    network = space.build(space.parse(T0))
    assert all(not layer.branch.norm2.weight.any() for layer in network.layers)
    conv = Hytra(preset="tiny", channels=32).build(space.parse(T0)).layers[0].branch.mix
    assert conv.weight.std().item() == pytest.approx((2 / (9 * 32)) ** 0.5, rel=0.05)


# ---------------------------------------------------------------- notation
def test_both_notations_are_read() -> None:
    space = Hytra()
    a = space.parse("BossNet-T0")
    codes = [int(c) for c in T0_PATH.replace("|", "").split()]
    for value in (T0, json.dumps(T0), T0_PATH, T0_PATH.replace("|", ""), codes, str(codes)):
        assert space.parse(value) == a
    assert space.parse([[1.0], [1], [1, 1, 1, 0.0, 1], T0[3]]) == a
    assert space.format(a) == json.dumps(T0)
    assert space.format_path(a) == T0_PATH
    assert path_of(T0) == codes
    assert levels_of(codes) == T0


def test_networks_with_another_first_resolution_are_read() -> None:
    space, anywhere = Hytra(), Hytra(first=[1])
    for value in (VIT, [[], [], [], [0] * 16], "2 " * 16, "1 " * 16):
        a = space.parse(value)
        assert space.parse(space.format(a)) == a == space.parse(space.format_path(a))
    assert anywhere.size == 16 * 2**16
    assert all(anywhere.sample(Random(i))["block1.layer1"] in (3, 2) for i in range(20))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[0], [1], [1] * 5, [0] * 9], r"1/4, layer 1: must be 1 .*got 0; attention exists at"),
        ([[1], [1, 0], [1] * 4, [0] * 9], "1/8, layer 2: must be 1 .*got 0; attention exists at"),
        ([[1], [1], [1] * 5, [0] * 8 + [2]], r"1/32, layer 9: must be 1 \(ResConv\) or 0.*got 2"),
        ([[1], [1], [1] * 5, [0] * 8 + [True]], "1/32, layer 9: .*got True"),
        ([[1], [1], [1] * 5, [0] * 8 + ["x"]], "1/32, layer 9: .*got 'x'"),
        ([[1], [1], [1] * 5, [0] * 8 + [[0]]], r"1/32, layer 9: .*got \[0\]"),
        ([[1], [1], [1] * 14], "there must be four lists, for 1/4, 1/8, 1/16, 1/32, this has 3"),
        ([[1], [1], [1] * 5, [0] * 8], "has 16 layers .option layers., this has 15"),
        ([[1], [1], 1, [0] * 9], "1/16 must be a list of 0 and 1, got 1"),
        (
            [[1], [], [1] * 6, [0] * 9],
            "1/8 has no layer, although there are some before and behind it; the resolution stays",
        ),
        ([[1], [1] * 14, [], [0]], "1/16 has no layer, although there are"),
        ([[], [], [], []], "this has 0"),
        ("5 4 3 3 | 3 2 3 0 | 0 0 1 0 | 0 0 0", "4 blocks of 4 layers; this has 4, 4, 4, 3"),
        ("5 4 3 3 3 2 3 0 0 0 1 0 0 0 0", "has 16 layers .option layers., this has 15"),
        ("5 4 4 5 | 3 2 3 0 | 0 0 1 0 | 0 0 0 0", "block1.layer4 must be one of 4, 3, 2 after"),
        ("5 3 3 3 | 3 2 3 0 | 0 0 1 0 | 0 0 0 0", r"block1.layer2 must be one of 5, 4 after"),
        ("5 4 2 6 | 3 2 3 0 | 0 0 1 0 | 0 0 0 0", "block1.layer4 must be one of"),
        ("5 4 2 x | 3 2 3 0 | 0 0 1 0 | 0 0 0 0", "block1.layer4 must be one of .*got 'x'"),
        ([5, 4, 3, 3, 3, 2, 3, 0, 0, 0, True, 0, 0, 0, 0, 0], "block3.layer3 must be .*got True"),
        ([float("nan")] * 16, "block1.layer1 must be one of 5, 4; got nan"),
        (7, "four lists of 0"),
        ('{"block1.layer9": 5}', "there is no decision 'block1.layer9'; did you mean"),
    ],
)
def test_errors_name_the_rule(value: object, message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=message):
        Hytra().parse(value)


# ---------------------------------------------------------------- options
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 15}, "layers must divide into 4 equal blocks, got 15"),
        ({"scales": [3, 3, 2]}, "scales must have a resolution for each of the 4 blocks"),
        ({"scales": [2, 3, 1, 1]}, "none higher than the one before"),
        ({"scales": [4, 3, 1, 1]}, "scales: a resolution is 3 .* got 4"),
        ({"scales": "3211"}, "scales must be a list of resolutions, got '3211'"),
        ({"first": []}, r"no path begins at one of the resolutions \[\]"),
        ({"first": [3], "scales": [2, 2, 1, 1]}, r"no path begins at one of .* \[3\] \(first\)"),
        ({"first": [True]}, "first: a resolution is 3 .* got True"),
        ({"activation": "gelu"}, "activation must be relu or silu, got 'gelu'"),
        ({"stage4_stride": 3}, "stage4_stride must be 1 or 2, got 3"),
        ({"stem_stride": 4}, "stem_stride must be 1 or 2, got 4"),
        ({"drop_path": 1.0}, "drop_path must be at least 0 and below 1"),
        ({"drop_path": "much"}, "drop_path must be at least 0 and below 1, got 'much'"),
        ({"channels": 0}, "channels must be an integer of at least 1, got 0"),
        ({"preset": "huge"}, "preset must be one of full, tiny; got 'huge'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Hytra(**options)


def test_presets_scale_the_widths() -> None:
    full, tiny = Hytra().options, Hytra(preset="tiny").options
    changed = {name for name in full if full[name] != tiny[name]}
    assert changed == {"preset", "channels", "classes", "resolution"}
    space = Hytra(preset="tiny")
    assert space.published() == {}
    widths = [part.inputs[0].shape[1] for part in space.parts(space.parse(T0))]
    assert widths == [3, 4, 16, 32, 64, 64, 64, 64, 64, *[128] * 9]
    attention = space.build(space.parse(T0)).layers[5].branch.mix
    assert (attention.heads, attention.to_qkv.weight.shape) == (4, (48, 16, 1, 1))


def test_blocks_and_layers_are_options() -> None:
    toy = Hytra(preset="tiny", blocks=2, layers=4)
    assert [d.name for d in toy.decisions] == [f"block{b}.layer{i}" for b in (1, 2) for i in (1, 2)]
    assert toy.size == 51
    a = toy.parse("5 4 | 3 2")
    assert toy.format(a) == "[[1], [1], [1, 0], []]"
    assert toy.build(a).eval()(images(toy, a)).shape == (4, 10)


def test_wrong_blocks_are_refused() -> None:
    space = Hytra(preset="tiny")
    with pytest.raises(SpecError, match="the blocks are 0 to 3, got 4"):
        space.block_paths(4, 0)
    for number, last in ((0, 5), (1, None), (1, 6)):
        with pytest.raises(InvalidArchitecture, match=f"got block {number} after {last}"):
            space.block_paths(number, last)
