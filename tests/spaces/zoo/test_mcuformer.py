"""MCUFormer: sizes, parameters and MACs to the unit, notation, options, the super-network."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
import torch

from netloom.errors import InvalidArchitecture, SpecError
from netloom.hw_models.tracer import build_on_meta, trace_built
from netloom.spaces import Architecture, DecisionSpace
from netloom.spaces.layers import ElasticGroupedLinear
from netloom.spaces.networks import mcuformer_plan as plan
from netloom.spaces.restricted import RestrictedSpace
from netloom.spaces.testing import SpaceContract
from netloom.spaces.zoo.mcuformer import McuFormer

from .conftest import assert_parameters_are_those_read, images, randomize

SMALL: dict[str, Any] = {"preset": "tiny", "in_channels": 1, "classes": 3}


class TestMcuFormer(SpaceContract):
    draws = 10

    def make(self) -> DecisionSpace:
        return McuFormer(**SMALL)

    def reduced(self) -> DecisionSpace:
        return McuFormer(**SMALL, depths=[1, 2], heads=[2], rank_ratios=[0.5, 1.0])

    def other_options(self) -> DecisionSpace:
        return McuFormer(**SMALL, factors=2)


class TestSeparateRanks(SpaceContract):
    draws = 10
    networks = 2

    def make(self) -> DecisionSpace:
        return McuFormer(**SMALL, ranks="separate", factors=2)


class TestWholeLayers(SpaceContract):
    draws = 10
    networks = 2

    def make(self) -> DecisionSpace:
        return McuFormer(**SMALL, factors=1)


class TestPartOfMcuFormer(SpaceContract):
    def make(self) -> DecisionSpace:
        masks = {"patch": [8], "embed_dim": [32], "depth": [2], "block2.heads": [3]}
        return RestrictedSpace(McuFormer(**SMALL), masks)


# ---------------------------------------------------------------- reference numbers
def turns(value: Any, depth: int) -> list[Any]:
    """Return a value for each block; several take turns."""
    values = value if isinstance(value, list) else [value]
    return (values * depth)[:depth]


def member(patch: int, r: float, depth: int, dim: int, mlp: Any, heads: Any) -> dict[str, Any]:
    return {
        "patch": patch,
        "rank_ratio": r,
        "depth": depth,
        "embed_dim": dim,
        "mlp_ratio": turns(mlp, depth),
        "num_heads": turns(heads, depth),
    }


# patch, ratio, depth, width, ratios of the MLP, heads: parameters, patches, flops, MACs
CASES = [
    ((20, 0.9, 12, 192, 4, 3), (9_696_136, 144, 1_499_201_208, 1_549_828_320)),
    ((20, 0.9, 14, 216, 4, 4), (13_746_784, 144, 2_142_227_136, 2_236_988_960)),
    ((28, 0.5, 13, 168, 3.5, 3), (4_804_260, 81, 423_298_262.5, 435_309_632)),
    ((16, 0.6, 12, 216, [3.5, 4], [3, 4]), (7_133_968, 225, 1_875_020_310, 2_072_864_256)),
]


@pytest.mark.parametrize(("written", "expected"), CASES)
def test_reference_numbers(written: tuple[Any, ...], expected: tuple[float, ...]) -> None:
    """Parameters, patches, what the released code counts, true MACs: run in the released code."""
    space = McuFormer()
    a = space.parse(member(*written))
    workload = trace_built(lambda: space.build(a), space.example_input(a))
    whole = (space.blocks(a), a["patch"], space.patches(a), 1000, 3)
    params, patches, flops, macs = expected
    assert (workload.params, workload.macs) == (params, macs)
    assert (plan.params(*whole), plan.macs(*whole)) == (params, macs)
    assert (space.patches(a), plan.official_flops(*whole)) == (patches, flops)


def written_out(space: McuFormer, a: Architecture, top: int) -> int:
    """Return the parameters by the formula of three factors, one line per term.

    Args:
        space: With 3 factors, 1000 classes, 3 channels.
        a: Of it.
        top: Width of the super-network.
    """
    value = json.loads(space.format(a))
    p, e, n = value["patch"], value["embed_dim"], space.patches(a)
    ra, r = int(top * round(100 * value["r_attn"]) // 100), round(100 * value["r_mlp"])
    total = 3 * p * p * e + e + e * (n + 2) + 2 * e + 1000 * e + 1000
    for heads, ratio in zip(value["num_heads"], value["mlp_ratio"], strict=True):
        q, f = 64 * heads, int(e * ratio)
        rm = min(e, f) * r // 100
        total += 4 * e + (e * ra + ra * ra + 3 * q * ra + 3 * q)
        total += q * ra + ra * ra + ra * e + e + 4 * 30 * 64
        total += (e * rm + rm * rm + rm * f + f) + (f * rm + rm * rm + rm * e + e)
    return total


@pytest.mark.parametrize("networks", [5, pytest.param(20, marks=pytest.mark.full)])
@pytest.mark.parametrize(("preset", "top"), [("T", 256), ("S", 448), ("B", 640)])
def test_parameters_in_closed_form(preset: str, top: int, networks: int) -> None:
    space, rng = McuFormer(preset=preset), Random(0)
    for _ in range(networks):
        a = space.sample(rng)
        network = build_on_meta(lambda a=a: space.build(a))
        params = sum(p.numel() for p in network.parameters())
        whole = (space.blocks(a), a["patch"], space.patches(a), 1000, 3)
        assert params == written_out(space, a, top) == plan.params(*whole)


@pytest.mark.parametrize("factors", [1, 2, 3])
@pytest.mark.parametrize("preset", ["T", "tiny"])
def test_closed_forms_hold_for_any_number_of_factors(factors: Any, preset: str) -> None:
    space, rng = McuFormer(preset=preset, factors=factors, classes=7, in_channels=2), Random(1)
    for _ in range(4):
        a = space.sample(rng)
        workload = trace_built(lambda a=a: space.build(a), space.example_input(a))
        whole = (space.blocks(a), a["patch"], space.patches(a), 7, 2)
        assert (workload.params, workload.macs) == (plan.params(*whole), plan.macs(*whole))


def test_whole_layers_are_those_of_autoformer() -> None:
    """The largest AutoFormer-T at 224 pixels, as the hub of NNI 3.0 builds it."""
    space = McuFormer(factors=1, patches=[16], resolution=224, embed_dims=[192, 216, 240])
    a = space.at(space.size - 1)
    assert plan.params(space.blocks(a), 16, 196, 1000, 3) == 10_517_272
    network = build_on_meta(lambda: space.build(a))
    assert sum(p.numel() for p in network.parameters()) == 10_517_272


def test_cardinalities() -> None:
    """Of one patch and rank by the formula; with 12 ratios and 5 patches 60 times as many."""
    for preset, expected in {
        "T": 1_056_964_608,
        "S": 3 * (9**12 + 9**13 + 9**14),
        "B": 3 * (6**14 + 6**15 + 6**16),
    }.items():
        space = McuFormer(preset=preset)
        assert space.counts() == {
            "architectures": 60 * expected,
            "patches and ranks": 60,
            "networks of one patch and rank": expected,
        }
        assert McuFormer(preset=preset, patches=[20], rank_ratios=[0.9]).size == expected
    assert McuFormer(ranks="separate").size == 12 * McuFormer().size
    assert McuFormer(factors=1).size == 5 * 1_056_964_608


@pytest.mark.parametrize(
    ("resolution", "patches", "expected"),
    [
        (240, (16, 20, 24, 28, 32), (225, 144, 100, 81, 64)),
        (224, (16, 18, 20, 22, 24, 26), (196, 169, 144, 121, 100, 81)),
    ],
)
def test_tokens(resolution: int, patches: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """A position for each, and one for the class token."""
    space = McuFormer(resolution=resolution, patches=patches)
    for patch, count in zip(patches, expected, strict=True):
        a = space.architecture({**space.at(0), "patch": patch})
        assert space.patches(a) == count
        network = build_on_meta(lambda a=a: space.build(a))
        assert network.embedding.positions.weight.shape == (count + 1, 168)
        y = network.embedding(torch.empty(1, 3, resolution, resolution, device="meta"))
        assert y.shape == (1, count + 1, 168)


def test_padding() -> None:
    assert [plan.padding(240, p) for p in (16, 20, 24, 28, 32)] == [0, 0, 0, 6, 8]
    assert [plan.padding(224, p) for p in (16, 18, 20, 22, 24, 26)] == [0, 5, 8, 9, 8, 5]


# ---------------------------------------------------------------- ranks
def test_ranks_of_three_factors() -> None:
    """Attention's are parts of the super-network's width, the MLP's of the sampled ones."""
    space = McuFormer()
    for dim in (168, 192, 216):
        [block, *_] = space.blocks(space.parse(member(20, 0.45, 12, dim, 3.5, 3)))
        assert (block.rank_attn, block.rank_mlp) == (115, int(dim * 0.45))
    [block, *_] = space.blocks(space.parse(member(20, 0.5, 12, 192, 0.5, 3)))
    assert block.rank_mlp == 48  # of the hidden width where that is narrower


def test_ranks_of_two_factors() -> None:
    """Attention's are parts of the width of all heads; its output layer stays whole."""
    space = McuFormer(factors=2, ranks="separate")
    value = {**member(24, 0.7, 12, 216, 4, [3, 4]), "r_attn": 0.7, "r_mlp": 0.6}
    del value["rank_ratio"]
    first, second, *_ = space.blocks(space.parse(value))
    assert [(b.rank_attn, b.rank_mlp) for b in (first, second)] == [(134, 129), (179, 129)]
    network = build_on_meta(lambda: space.build(space.parse(value)))
    attention = network.blocks[1].attention
    assert [tuple(layer.weight.shape) for layer in attention.qkv] == [(179, 216), (768, 179)]
    assert tuple(attention.proj.weight.shape) == (216, 256)
    assert [tuple(layer.weight.shape) for layer in network.blocks[1].mlp.fc2] == [
        (129, 864),
        (216, 129),
    ]


@pytest.mark.parametrize("r", [0.4 + 0.05 * 4, 0.6000000001, 0.5999999, 0.95 - 7 * 0.05])
def test_ratios_are_hundredths_whatever_floats_say(r: float) -> None:
    """0.6 of 256 is 153 after any number of steps; as floats, some of these give 152."""
    space = McuFormer()
    a = space.parse(member(20, r, 12, 192, 4, 3))
    assert a["rank_attn"] == 60
    assert space.blocks(a)[0].rank_attn == 153
    assert json.loads(space.format(a))["r_attn"] == 0.6


def test_ranks_are_those_of_exact_arithmetic() -> None:
    for width in (168, 192, 216, 256, 320, 384, 448, 528, 576, 624, 640):
        for hundredths in range(40, 100, 5):
            assert plan.share(width, hundredths) == int(width * round(hundredths / 100, 2))


def test_low_rank_need_not_be_smaller() -> None:
    """Ratio 0.4 shrinks the whole-layer network of the sheet, 0.6 and 0.9 make it grow."""
    dense = McuFormer(factors=1, patches=[20])
    value = member(20, 1.0, 12, 192, 4, 3)
    counted = [plan.params(dense.blocks(dense.parse(value)), 20, 144, 1000, 3)]
    space = McuFormer()
    for r in (0.4, 0.6, 0.9):
        a = space.parse({**value, "rank_ratio": r})
        counted.append(plan.params(space.blocks(a), 20, 144, 1000, 3))
    assert [round(n / 1e6, 2) for n in counted] == [5.88, 4.12, 6.22, 9.70]
    widths = [(100, r, factors) for factors, r in ((3, 70), (2, 80))]
    assert [plan.weights(d, 4 * d, r, f) <= 4 * d * d for d, r, f in widths] == [True, True]
    assert [plan.weights(d, 4 * d, r + 1, f) <= 4 * d * d for d, r, f in widths] == [False, False]


def test_the_smallest_network_does_not_fit_into_flash() -> None:
    """3.38 M parameters, a byte each, where boards have 1 MiB."""
    space = McuFormer()
    a = space.parse(member(32, 0.4, 12, 168, 3.5, 3))
    assert round(plan.params(space.blocks(a), 32, 64, 1000, 3) / 1e6, 2) > 3
    least = min(
        plan.params(space.blocks(b), b["patch"], space.patches(b), 1000, 3)
        for p in (16, 20, 24, 28, 32)
        if (b := space.architecture({**a, "patch": p}))
    )
    assert round(least / 1e6, 2) == 3.38


# ---------------------------------------------------------------- notation, options
def test_notation() -> None:
    space = McuFormer(**SMALL)
    value = member(4, 0.7, 2, 32, [2, 3], [3, 2])
    a = space.parse(value)
    assert dict(a) == {
        "patch": 4,
        "rank_attn": 70,
        "rank_mlp": 0,
        "depth": 2,
        "embed_dim": 32,
        "block1.mlp_ratio": 2,
        "block1.heads": 3,
        "block2.mlp_ratio": 3,
        "block2.heads": 2,
    }
    both = {**value, "r_attn": 0.7, "r_mlp": 0.7}
    del both["rank_ratio"]
    assert json.loads(space.format(a)) == both
    assert space.parse(both) == a
    released = {**both, "layer_num": 2, "embed_dim": [32, 32]}
    del released["depth"]
    assert space.parse(released) == a
    assert space.architecture({**a, "rank_mlp": 70}) == a  # one spelling of equal ratios
    assert space.format(Architecture({**a, "block1.mlp_ratio": 2.0})) == space.format(a)
    one = McuFormer(**SMALL, patches=[4], rank_ratios=[0.7])
    short = {key: value[key] for key in ("depth", "embed_dim", "mlp_ratio", "num_heads")}
    assert one.parse(short) == a


def test_networks_beyond_the_lists_are_read() -> None:
    """AutoFormer-T's widths, the patches and ratios of others, whole ranks."""
    space = McuFormer()
    value = {**member(18, 0.9, 11, 240, 4.5, 2), "r_attn": 0.62, "r_mlp": 1.0}
    del value["rank_ratio"]
    a = space.parse(value)
    assert space.parse(space.format(a)) == a
    [block, *rest] = space.blocks(a)
    assert len(rest) == 10
    assert (block.rank_attn, block.rank_mlp, block.hidden) == (158, 240, 1080)
    assert len(space.encode(a)) == len(space.encode(space.at(0)))
    params = sum(p.numel() for p in build_on_meta(lambda: space.build(a)).parameters())
    assert params == written_out(space, a, 256)


def test_super_networks_run_what_is_listed() -> None:
    space = McuFormer(**SMALL)
    supernet = space.supernet()
    for name, value in {"rank_mlp": 100, "rank_attn": 55, "embed_dim": 40, "depth": 1}.items():
        with pytest.raises(InvalidArchitecture, match=f"{name} must be one of"):
            supernet.activate({**space.at(0), name: value})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"mlp_ratio": [4] * 11}, "mlp_ratio must list 12 numbers, as many as depth; it lists 11"),
        ({"num_heads": 3}, "num_heads must be a list of 12 numbers"),
        ({"num_heads": [3] * 11 + [0]}, "block12.heads must be one of 3, 4; got 0"),
        ({"mlp_ratio": [4] * 11 + ["4"]}, "block12.mlp_ratio must be one of 3.5, 4; got '4'"),
        ({"depth": 15, "mlp_ratio": [4] * 15, "num_heads": [3] * 15}, "depth must be one of"),
        ({"embed_dim": [192] * 11 + [216]}, "embed_dim is one number for all blocks"),
        ({"embed_dim": 0}, "embed_dim must be one of 168, 192, 216; got 0"),
        ({"patch": 241}, "patch must be one of 16, 20, 24, 28, 32; got 241"),
        ({"rank_ratio": 0.599}, "r_attn must be a hundredth from 0.01 to 1"),
        ({"rank_ratio": 1.05}, "r_attn must be a hundredth from 0.01 to 1"),
        ({"r_mlp": 0.9}, "r_mlp is given twice"),
        ({"num_head": [3] * 12}, "there is no key 'num_head'"),
        ({"mlp_ratio": [0.001] * 12}, "ranks and hidden widths must be at least 1, block 1"),
    ],
)
def test_what_cannot_be_built_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidArchitecture, match=problem):
        McuFormer().parse({**member(20, 0.9, 12, 192, 4, 3), **change})


def test_what_is_missing_is_named() -> None:
    value = member(20, 0.9, 12, 192, 4, 3)
    for key in ("patch", "rank_ratio", "depth", "embed_dim", "mlp_ratio"):
        rest = {k: v for k, v in value.items() if k != key}
        with pytest.raises(InvalidArchitecture, match="r_attn" if key == "rank_ratio" else key):
            McuFormer().parse(rest)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"preset": "X"}, "preset must be one of T, S, B, tiny"),
        ({"resolution": 24}, "patches must not be larger than the image, 24"),
        ({"patches": [20, 16]}, "patches must list whole numbers above 0 that rise"),
        ({"heads": [2.5]}, "heads must list whole numbers"),
        ({"mlp_ratios": []}, "mlp_ratios must list numbers"),
        ({"embed_dims": "192"}, "embed_dims must list"),
        ({"rank_ratios": [0.555]}, "rank_ratios must be hundredths"),
        ({"rank_ratios": [0.9, 1.2]}, "rank_ratios must be hundredths from 0.01 to 1"),
        ({"rank_ratios": [0.01], "embed_dims": [8]}, "ranks and hidden widths must be at least 1"),
        ({"factors": 4}, "factors must be 1, 2 or 3"),
        ({"ranks": "free"}, "ranks must be tied or separate"),
        ({"drop_path": 1.0}, "drop_path must be at least 0 and below 1"),
        ({"classes": 0}, "classes must be an integer of at least 1"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        McuFormer(**options)


@pytest.mark.parametrize("resolution", [28, 33, 64])
def test_small_images(resolution: int) -> None:
    """Images that patches do not divide are padded."""
    space = McuFormer(preset="tiny", resolution=resolution, patches=[5, 8], classes=2)
    for patch in (5, 8):
        a = space.architecture({**space.at(3), "patch": patch})
        y = space.build(a)(torch.randn(2, 3, resolution, resolution))
        assert y.shape == (2, 2)


# ---------------------------------------------------------------- attention
def test_tables_have_30_rows() -> None:
    space = McuFormer()
    network = build_on_meta(lambda: space.build(space.at(0)))
    tables = [p for n, p in network.named_parameters() if "vertical" in n or "horizontal" in n]
    assert len(tables) == 12 * 4
    assert all(tuple(table.shape) == (30, 64) for table in tables)


def test_the_class_token_is_not_looked_at() -> None:
    space = McuFormer(**SMALL)
    head = space.build(space.at(0)).head
    tokens = torch.randn(2, 65, 32)
    other = torch.cat((torch.randn(2, 1, 32), tokens[:, 1:]), 1)
    assert torch.equal(head(tokens), head(other))


# ---------------------------------------------------------------- super-network
def test_extraction() -> None:
    """Same states as stand-alone networks by name; outputs to float precision.

    The super-network works out relative positions line by line instead of pair by pair.
    """
    for options in ({}, {"factors": 2, "ranks": "separate"}, {"factors": 1}):
        supernet, rng = McuFormer(**SMALL, **options).supernet(), Random(2)
        randomize(supernet)
        for _ in range(4):
            a = supernet.space.sample(rng)
            supernet.activate(a)
            network, alone = supernet.extract(a), supernet.space.build(a)
            alone.load_state_dict(network.state_dict())
            x = images(supernet.space, a)
            with torch.no_grad():
                torch.testing.assert_close(network(x), supernet(x), rtol=1e-4, atol=1e-4)
                assert torch.equal(alone(x), network(x))
        assert_parameters_are_those_read(supernet, 3)


def test_networks_side_by_side_in_a_batch() -> None:
    """Each sample its own network: the same as one by one; the patch must be the same."""
    space = McuFormer(**SMALL)
    supernet, rng = space.supernet(), Random(3)
    randomize(supernet)
    members = [space.architecture({**space.sample(rng), "patch": 8}) for _ in range(4)]
    x = images(space, members[0])
    with torch.no_grad(), supernet.together(members):
        together = supernet(x)
    for i, a in enumerate(members):
        supernet.activate(a)
        with torch.no_grad():
            torch.testing.assert_close(together[i], supernet(x)[i], rtol=1e-3, atol=1e-3)
    mixed = [space.architecture({**a, "patch": 4 * (1 + i % 2)}) for i, a in enumerate(members)]
    with supernet.together(mixed), pytest.raises(SpecError, match="patch: only equal shapes"):
        supernet(x)


def test_weights_are_entangled() -> None:
    """Sub-networks are views of the largest; queries, keys, values take turns in the rows."""
    space = McuFormer(**SMALL)
    supernet = space.supernet()
    smallest = space.architecture({**space.at(0), "patch": 8})
    supernet.activate(smallest)
    block = supernet.module.blocks.blocks[0]
    for layer in (block.attention.qkv[0], block.attention.proj[0], block.mlp.fc1[2]):
        part = layer.sliced("weight")
        assert part.data_ptr() == layer.weight.data_ptr()
        assert part.numel() < layer.weight.numel()
    last = block.attention.qkv[2]
    assert isinstance(last, ElasticGroupedLinear)
    assert tuple(last.weight.shape) == (3 * 3 * 16, int(48 * 0.9))
    q = 2 * 16
    rows = [last.weight[i : 3 * q : 3, : int(48 * 0.5)] for i in range(3)]
    assert torch.equal(last.sliced("weight"), torch.cat(rows))
    assert torch.equal(last.sliced("bias"), torch.cat([last.bias[i : 3 * q : 3] for i in range(3)]))
    others = [x for x in supernet.modules() if isinstance(x, ElasticGroupedLinear)]
    assert len(others) == 3  # only the last factor, once for each block


def test_a_step_on_the_smallest_network_leaves_the_rest_alone() -> None:
    space = McuFormer(**SMALL, patches=[8], rank_ratios=[0.5])
    supernet = space.supernet()
    randomize(supernet)
    supernet.activate(space.at(0))
    before = {n: p.detach().clone() for n, p in supernet.named_parameters()}
    supernet(images(space, space.at(0))).square().sum().backward()
    torch.optim.SGD(supernet.parameters(), lr=0.1).step()
    touched = 0
    for name, parameter in supernet.named_parameters():
        kept = parameter == before[name]
        if parameter.grad is None:
            assert "blocks.2." in name, name  # beyond its depth
            assert kept.all()
        else:
            assert kept[parameter.grad == 0].all()
            touched += int((parameter.grad != 0).sum())
    own = sum(p.numel() for p in supernet.extract(space.at(0)).parameters())
    # all tables of relative positions, but for the distances that 4 x 4 patches do not have
    absent = 2 * 2 * 2 * (29 - 7) * 16
    assert own - absent - 100 < touched <= own - absent


def test_the_largest_network_uses_everything() -> None:
    space = McuFormer(**SMALL, patches=[4])
    supernet = space.supernet()
    largest = space.at(space.size - 1)
    assert set(largest.values()) >= {90, 3, 48}
    network = supernet.extract(largest)
    sizes = [sum(p.numel() for p in m.parameters()) for m in (supernet, network)]
    assert sizes[0] == sizes[1]


def test_the_super_network_of_the_literature_has_one_patch_and_rank() -> None:
    space = McuFormer(patches=[20], rank_ratios=[0.9])
    supernet = build_on_meta(space.supernet)
    largest = member(20, 0.9, 14, 216, 4, 4)
    assert sum(p.numel() for p in supernet.parameters()) == 13_746_784
    assert space.parse(largest) == space.at(space.size - 1)


def test_drop_path_rises_to_the_deepest_block() -> None:
    space = McuFormer(**SMALL, drop_path=0.1)
    shallow = space.build(space.architecture({**space.at(0), "depth": 2}))
    assert [block.drop.rate for block in shallow.blocks] == [0.0, 0.05]
    supernet = space.supernet()
    assert [b.drop.rate for b in supernet.module.blocks.blocks] == [0.0, 0.05, 0.1]
