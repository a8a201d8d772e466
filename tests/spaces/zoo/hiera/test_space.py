"""The space `hiera`: genomes, notation, published networks, options, what is refused."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
import torch

from netloom.errors import InvalidArchitecture, SpecError
from netloom.spaces import DecisionSpace
from netloom.spaces.restricted import RestrictedSpace
from netloom.spaces.testing import SpaceContract
from netloom.spaces.zoo.hiera import Hiera

from ..conftest import images, randomize

FLAGS = [f"stage{i}.local" for i in range(1, 5)]
STOCK = {
    "Hiera-T": (96, 1, [1, 2, 7, 2]),
    "Hiera-S": (96, 1, [1, 2, 11, 2]),
    "Hiera-B": (96, 1, [2, 3, 16, 3]),
    "Hiera-B+": (112, 2, [2, 3, 16, 3]),
    "Hiera-L": (144, 2, [2, 6, 36, 4]),
    "Hiera-H": (256, 4, [2, 6, 36, 4]),
}
PLAIN = {"widths": [32, 64, 128, 256], "heads": [2, 4, 8, 16], "stages": [1, 1, 2, 1]}


def part(space: Hiera) -> RestrictedSpace:
    """Return 4 x 2 x 2 x 16 x 2 x 2 x 2 of its architectures."""
    masks = {
        "stage1.depth": [1],
        "stage2.depth": [1],
        "stage3.depth": [2],
        "stage4.depth": [1, 2],
        **{f"stage{i}.width": list(space.decisions[3 * i - 2].options[:2]) for i in (1, 4)},
        **{f"stage{i}.width": list(space.decisions[3 * i - 2].options[:1]) for i in (2, 3)},
        "mlp_ratio": [2, 4],
    }
    return RestrictedSpace(space, masks)


class TestHiera(SpaceContract):
    draws = 20

    def make(self) -> DecisionSpace:
        return Hiera(preset="tiny", in_channels=1)

    def reduced(self) -> DecisionSpace:
        return part(Hiera(preset="tiny", in_channels=1))

    def other_options(self) -> DecisionSpace:
        return Hiera(preset="tiny", in_channels=1, stem_stride=1)


# ---------------------------------------------------------------- genomes
@pytest.mark.parametrize("preset", ["full", "tiny"])
def test_there_are_184_757_760_genomes(preset: str) -> None:
    space = Hiera(preset=preset)
    assert space.size == space.counts()["architectures"] == 184_757_760
    options = [len(d.options) for d in space.decisions]
    assert options == [3, 5, 2, 4, 6, 2, 11, 9, 2, 3, 9, 2, 2, 3, 2]


def test_genes_are_those_of_the_reference() -> None:
    options = {d.name: d.options for d in Hiera().decisions}
    assert options["stage1.width"] == (32, 48, 64, 80, 96)
    assert options["stage2.width"] == (48, 64, 96, 128, 160, 192)
    assert options["stage3.width"] == (128, 160, 192, 224, 256, 288, 320, 352, 384)
    assert options["stage4.width"] == (256, 320, 384, 448, 512, 576, 640, 704, 768)
    depths = [options[f"stage{i}.depth"] for i in range(1, 5)]
    assert depths == [(1, 2, 3), (1, 2, 3, 4), tuple(range(2, 13)), (1, 2, 3)]
    assert [options[name] for name in ("head_size", "mlp_ratio", "q_pool")] == [
        (16, 32),
        (2, 3, 4),
        (2, 3),
    ]
    quarter = {d.name: d.options for d in Hiera(preset="tiny").decisions}
    for name in ("head_size", *(f"stage{i}.width" for i in range(1, 5))):
        assert tuple(4 * int(w) for w in quarter[name]) == options[name]


def test_different_networks_are_counted() -> None:
    """The flag of a last stage of one block says nothing, and any where one window is all."""
    space = Hiera(preset="tiny")
    assert space.counts()["networks"] == 184_757_760 * 5 // 6
    one = Hiera(preset="tiny", stem_stride=4)
    assert one.counts()["networks"] == 184_757_760 // 16
    for whole, flags in ((space, 8 + 16), (one, 1 + 1)):  # with a last stage of 1, of 2 blocks
        some = part(whole)
        expected = some.size // (2 * 16) * flags
        assert len({some.canonical(a) for a in some.enumerate()}) == expected


def test_flags_are_dead_where_one_window_fills_the_map() -> None:
    """At 32 x 32 a patch every four pixels leaves 8 x 8 tokens: one window."""
    space = Hiera(preset="tiny", stem_stride=4)
    a = space.sample(Random(0))
    local, whole = (space.architecture({**a, **dict.fromkeys(FLAGS, f)}) for f in (True, False))
    assert local != whole
    assert space.canonical(local) == space.canonical(whole)
    first, second = space.build(local).eval(), space.build(whole).eval()
    randomize(first)
    second.load_state_dict(first.state_dict())
    x = images(space, a)
    with torch.no_grad():
        assert torch.equal(first(x), second(x))
    assert [p.key for p in space.parts(local)] == [p.key for p in space.parts(whole)]

    alive = Hiera(preset="tiny")  # a patch every two pixels: four windows
    assert alive.canonical(local) != alive.canonical(whole)
    first, second = alive.build(local).eval(), alive.build(whole).eval()
    randomize(first)
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        assert not torch.allclose(first(x), second(x))


def test_a_last_stage_of_one_block_attends_as_the_one_before() -> None:
    space = Hiera(preset="tiny")
    a = {**space.sample(Random(1)), "stage4.depth": 1}
    texts = [
        space.canonical(space.architecture({**a, "stage3.local": third, "stage4.local": fourth}))
        for third in (True, False)
        for fourth in (True, False)
    ]
    assert texts[0] == texts[1] != texts[2] == texts[3]


# ---------------------------------------------------------------- notation
@pytest.mark.parametrize("name", STOCK)
def test_published_networks_are_read_in_both_forms_and_printed_in_one(name: str) -> None:
    space = Hiera()
    dim, heads, stages = STOCK[name]
    assert list(space.published()) == list(STOCK)
    stock = {"embed_dim": dim, "num_heads": heads, "stages": stages}
    doubled = [2**i for i in range(4)]
    printed = {
        "widths": [dim * n for n in doubled],
        "heads": [heads * n for n in doubled],
        "stages": stages,
    }
    usual = {
        "q_pool": 3,
        "q_stride": [2, 2],
        "mask_unit_size": [8, 8],
        "mask_unit_attn": [True, True, False, False],
        "mlp_ratio": 4.0,
    }
    a = space.parse(name)
    assert space.format(a) == json.dumps(printed)
    for value in (stock, printed):
        for written in (value, {**value, **usual}):
            assert space.parse(written) == space.parse(json.dumps(written)) == a
    assert space.heads(a) == tuple(printed["heads"])
    assert all(b.attend.heads == heads for b in on_meta(space, a).stages[0])


def on_meta(space: Hiera, a: Any) -> Any:
    with torch.device("meta"):
        return space.build(a)


def test_published_networks_belong_to_full_widths_and_patches() -> None:
    assert list(Hiera(classes=10, resolution=64).published()) == list(STOCK)
    assert Hiera(preset="tiny").published() == {}
    assert Hiera(stem_stride=2).published() == {}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"q_pool": 2},
        {"q_pool": 0, "mlp_ratio": 2.5},
        {"mask_unit_attn": [False, False, True, True]},
        {"q_stride": [2, 1], "mask_unit_size": [8, 7]},
        {"mask_unit_size": [4, 4]},
        {"widths": [30, 30, 30, 30], "heads": [1, 2, 3, 5]},
        {"widths": [17, 17, 17, 17], "heads": [1, 1, 1, 1], "stages": [1, 1, 40, 1]},
        {"widths": [500, 20, 20, 1000], "heads": [1, 20, 10, 2]},
    ],
)
def test_whatever_can_be_built_is_read_back(more: dict[str, Any]) -> None:
    space = Hiera()
    written = {**PLAIN, **more}
    a = space.parse(written)
    assert json.loads(space.format(a)) == written
    assert space.parse(space.format(a)) == a == space.parse(dict(a)) == space.parse(a.to_json())
    heads = [[b.attend.heads for b in stage] for stage in on_meta(space, a).stages]
    assert [h for stage in heads for h in set(stage)] == written["heads"]
    assert all(space.architecture(n) == n for n in space.neighbors(a))


def test_one_head_size_stands_for_all_that_give_the_same_heads() -> None:
    space = Hiera()
    a = space.parse({**PLAIN, "heads": [1, 2, 4, 8]})
    assert a["head_size"] == 32
    assert space.architecture({**a, "head_size": "1 2 4 8"}) == a
    odd = space.parse({**PLAIN, "widths": [96, 96, 192, 384], "heads": [2, 2, 4, 8]})
    assert odd["head_size"] == 48
    assert space.architecture({**odd, "head_size": 45}) == odd


def test_mutants_of_unusual_networks_can_be_built() -> None:
    """Where a flag makes windows too small for the poolings, the usual ones replace both."""
    space, rng = Hiera(), Random(2)
    a = space.parse({**PLAIN, "stages": [1, 1, 2, 2], "mask_unit_size": [4, 4]})
    assert a["q_pool"] == "3 of 2x2 in 4x4"
    for _ in range(100):
        mutant = space.mutate(a, rng)
        assert space.parse(space.format(mutant)) == mutant
        on_meta(space, mutant)
    assert any(n["q_pool"] == 3 for n in space.neighbors(a) if n["stage4.local"])


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({**PLAIN, "stages": [1, 1, 2]}, "stages must be a list of 4 numbers"),
        ({**PLAIN, "widths": 96}, "widths must be a list of 4 numbers"),
        ({**PLAIN, "stages": [1, 0, 2, 1]}, r"stages\[1\] must be a whole number of at least 1"),
        ({**PLAIN, "widths": [32, 64.5, 128, 256]}, r"widths\[1\] must be a whole number"),
        ({**PLAIN, "heads": [2, 4, 8, True]}, r"heads\[3\] must be a whole number"),
        ({**PLAIN, "heads": [2, 5, 8, 16]}, "the heads of stage 2 must divide its width, 5 do not"),
        ({**PLAIN, "q_pool": 4}, "4 stages have 0 to 3 poolings"),
        ({**PLAIN, "q_pool": -1}, "q_pool must be a whole number of at least 0"),
        ({**PLAIN, "q_stride": [2]}, "q_stride must be a list of 2 numbers"),
        ({**PLAIN, "q_stride": [3, 3]}, "3 poolings .* of 3 .* must divide the 56 tokens"),
        ({**PLAIN, "mask_unit_size": [16, 16]}, "stage 1 attends inside windows .* those of 16"),
        (
            {**PLAIN, "mask_unit_size": [4, 4], "mask_unit_attn": [True, True, True, True]},
            "stage 4 attends inside windows .* those of 4",
        ),
        ({**PLAIN, "mask_unit_attn": [True, True]}, "mask_unit_attn must be a list of 4"),
        (
            {**PLAIN, "mask_unit_attn": [1, 1, 0, 0]},
            "mask_unit_attn must hold true and false, not 1",
        ),
        ({**PLAIN, "mlp_ratio": 0}, "mlp_ratio must be a number above 0, not 0"),
        ({**PLAIN, "mlp_ratio": "4"}, "mlp_ratio must be a number above 0"),
        ({**PLAIN, "mlp_ratio": 0.01}, "mlp_ratio leaves stage 1 of width 32 no width"),
        ({**PLAIN, "depths": [1]}, "there is no key 'depths'"),
        ({**PLAIN, "q_pools": 3}, "there is no key 'q_pools'; did you mean q_pool?"),
        ({**PLAIN, "embed_dim": 96}, "give embed_dim and num_heads, or widths and heads"),
        ({"embed_dim": 96, "stages": [1, 1, 2, 1]}, "give embed_dim and num_heads"),
        ({"embed_dim": 96, "num_heads": 1}, "stages must be a list of 4 numbers"),
        ({"embed_dim": 0, "num_heads": 1, "stages": [1, 1, 2, 1]}, "embed_dim must be a whole"),
    ],
)
def test_what_cannot_be_built_is_refused(value: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidArchitecture, match=f"hiera: {problem}.*[;,] got "):
        Hiera().parse(value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"stage1.width": 0}, r"stage1\.width must be one of 32, 48"),
        ({"stage3.depth": 1.5}, r"stage3\.depth must be one of 2, 3"),
        ({"stage1.local": 1}, r"stage1\.local must be one of false, true; got 1"),
        ({"head_size": "1 2 4"}, "head_size must be one of 16, 32"),
        ({"head_size": "1 2 4 5"}, "the heads of stage 4 must divide its width 256, got 5"),
        ({"q_pool": 5}, "q_pool must be one of 2, 3; got 5"),
        ({"q_pool": "3 of 2x2"}, "q_pool must be one of 2, 3"),
        ({"q_pool": "2 of 2x2 in 8x8"}, "q_pool must be one of 2, 3"),  # that is 2
        ({"q_pool": "3 of 2x2 in 3x3"}, "stage 1 attends inside windows"),
    ],
)
def test_decisions_are_checked(change: dict[str, Any], problem: str) -> None:
    space = Hiera()
    with pytest.raises(InvalidArchitecture, match=problem):
        space.architecture({**space.parse(PLAIN), **change})


# ---------------------------------------------------------------- options
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"resolution": 112},
            "resolution must be a multiple of 32 .*, got 112; the next one is 128",
        ),
        ({"resolution": 28, "stem_stride": 2}, "a multiple of 16 .*, got 28; the next one is 32"),
        ({"resolution": 0}, "resolution must be an integer of at least 1"),
        ({"stem_stride": 0}, "stem_stride must be an integer of at least 1"),
        ({"classes": 0}, "classes must be an integer of at least 1"),
        ({"in_channels": "3"}, "in_channels must be an integer"),
        ({"width": 0.3}, r"width must be .* \(a multiple of 0\.0625\), got 0\.3"),
        ({"width": -1}, "width must be a number above 0"),
        ({"drop_path": 1}, "drop_path must be at least 0 and below 1"),
        ({"preset": "huge"}, "preset must be one of full, tiny; got 'huge'"),
    ],
)
def test_options_are_checked(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        Hiera(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"resolution": 8, "stem_stride": 1, "in_channels": 1},
        {"resolution": 64},
        {"preset": "tiny", "width": 0.0625, "resolution": 48, "classes": 2},
    ],
)
def test_other_images_fit(options: dict[str, Any]) -> None:
    space = Hiera(**{"preset": "tiny", **options})
    a = space.sample(Random(3))
    with torch.no_grad():
        y = space.build(a).eval()(space.example_input(a))
    assert y.shape == (1, space.options["classes"])
