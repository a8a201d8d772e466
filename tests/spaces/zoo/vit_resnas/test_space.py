"""ViT-ResNAS: decisions and their numbers, notation, options."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from netloom.errors import InvalidArchitecture, SpecError
from netloom.spaces import DecisionSpace
from netloom.spaces.restricted import RestrictedSpace
from netloom.spaces.testing import SpaceContract
from netloom.spaces.zoo.vit_resnas import VitResNas

from .conftest import largest, tiny

REDUCED: dict[str, Any] = {
    "layers": [1, 2],
    "removable": [[], [2]],
    "embed_dims": [[8, 12], [16]],
    "heads": [[1, 2], [1, 2]],
    "head_dims": [4, 4],
    "mlps": [[8, 12], [8, 16]],
}
RUN: dict[str, Any] = {"layers": [3, 4, 1], "removable": [[2, 3], [2, 3, 4], []]}
# of yilunliao/vit-search: scripts/vit-sr-nas/searched_net/tiny.sh
DEFINITION = (
    "((4, 176), (1, (176, 3, 32), (176, 704), 1), (1, (176, 3, 32), (176, 576), 1), "
    "(1, (176, 3, 32), (176, 640), 1), (1, (176, 4, 32), (176, 576), 1), "
    "(1, (176, 4, 32), (176, 704), 1), (3, 176, 352), (1, (352, 10, 48), (352, 1408), 1), "
    "(1, (352, 8, 48), (352, 1408), 1), (1, (352, 8, 48), (352, 1280), 1), "
    "(1, (352, 8, 48), (352, 1408), 1), (1, (352, 10, 48), (352, 1280), 1), "
    "(1, (352, 10, 48), (352, 1024), 1), (3, 352, 704), (1, (704, 10, 64), (704, 2560), 1), "
    "(1, (704, 10, 64), (704, 1792), 1), (1, (704, 10, 64), (704, 2816), 1), "
    "(1, (704, 8, 64), (704, 2816), 1), (1, (704, 8, 64), (704, 2560), 1), (2, 704, 1000))"
)


class TestVitResNas(SpaceContract):
    draws = 10
    networks = 2

    def make(self) -> DecisionSpace:
        return tiny()

    def reduced(self) -> DecisionSpace:
        return tiny(**REDUCED)

    def other_options(self) -> DecisionSpace:
        return tiny(patch=4)


class TestRuns(SpaceContract):
    """Removable places that follow each other, and a stem of one convolution."""

    draws = 10
    networks = 2

    def make(self) -> DecisionSpace:
        return tiny(stem="linear_patch2", **RUN)


class TestPartOfVitResNas(SpaceContract):
    draws = 10

    def make(self) -> DecisionSpace:
        masks = {"stage1.block2.keep": [0], "stage2.embed_dim": [32, 64]}
        return RestrictedSpace(tiny(), masks)


# ---------------------------------------------------------------- numbers
@pytest.mark.parametrize(
    ("preset", "n", "figures"),
    [
        ("sr_tiny_mh", 6, ("1.92e+28", "7.16e+30", "1.56e+28")),
        ("sr_small_mh", 7, ("4.21e+32", "1.57e+35", "3.42e+32")),
    ],
)
def test_there_are_so_many_networks(preset: str, n: int, figures: tuple[str, ...]) -> None:
    space = VitResNas(preset=preset)
    assert space.size == 5**3 * 28 ** (3 * n - 9) * 29**9
    counts = space.counts()
    assert counts["architectures"] == space.size
    assert counts["encodings"] == 5**3 * 28 ** (3 * n) * 2**9
    alone = (28**n + 28 ** (n - 1) + 28 ** (n - 2) + 28 ** (n - 3)) ** 3
    assert counts["stand-alone networks"] == 5**3 * alone
    assert tuple(f"{count:.2e}" for count in counts.values()) == figures


@pytest.mark.parametrize(
    "options", [REDUCED, {**REDUCED, "layers": [1, 3], "removable": [[], [2, 3]]}]
)
def test_different_networks_are_told_by_their_canonical_text(options: dict[str, Any]) -> None:
    space = tiny(**options)
    found = list(space.enumerate())
    counts = space.counts()
    assert len(found) == counts["architectures"]
    assert len({space.canonical(a) for a in found}) == counts["stand-alone networks"]


def test_empty_places_keep_nothing() -> None:
    """Sizes of a block that is not there do not make another architecture."""
    space = tiny()
    a = {**largest(space), "stage1.block2.keep": 0}
    b = {**a, "stage1.block2.heads": 1, "stage1.block2.mlp": 32}
    assert space.architecture(a).key == space.architecture(b).key
    assert "stage1.block2.heads" not in space.architecture(a)
    drawn = [space.sample(Random(i)) for i in range(200)]
    assert all(("stage2.block2.mlp" in a) == a["stage2.block2.keep"] for a in drawn)


def test_each_block_has_sizes_of_its_own() -> None:
    space = VitResNas()
    names = [d.name for d in space.decisions if len(d.options) > 1]
    assert len(names) == 3 + 2 * 18 + 9
    assert sum(name.endswith(".heads") for name in names) == 18
    removable = [name for name in names if name.endswith(".keep")]
    assert removable == [f"stage{s}.block{b}.keep" for s in (1, 2, 3) for b in (2, 4, 6)]


def test_an_empty_place_empties_the_removable_ones_behind_it() -> None:
    space, rng = tiny(**RUN), Random(0)
    seen = set()
    for _ in range(300):
        a = space.sample(rng, "decisions")
        keeps = tuple(a.get(f"stage2.block{i}.keep", 0) for i in (1, 2, 3, 4))
        assert list(keeps) == sorted(keeps, reverse=True)
        seen.add(keeps)
    assert len(seen) == 4
    block = {"stage": 2, "heads": 2, "head_dim": 12, "mlp": 64, "keep": 1}
    value = json.loads(space.format(space.at(space.size - 1)))
    value["blocks"] = [b for b in value["blocks"] if b["stage"] != 2]
    value["blocks"][3:3] = [block, {"stage": 2, "keep": 0}, block, block]
    with pytest.raises(InvalidArchitecture, match=r"stage2\.block3 must be empty too"):
        space.parse(value)


def test_training_draws_from_lists_with_the_largest_first() -> None:
    """A removable block stands there twice with and twice without: drawn by entries, not as a set.

    So many entries of a list are unlocked at an epoch of the warm-up of 30; removal begins at 20.
    """
    lists = VitResNas().elastic_lists()
    assert lists["stage1.embed_dim"] == (256, 224, 192, 176, 160)
    assert lists["stage1.block1.heads"] == (6, 5, 4, 3)
    assert lists["stage3.block6.mlp"] == (3072, 2816, 2560, 2304, 2048, 1792, 1536)
    assert lists["stage2.block4.keep"] == (1, 1, 0, 0)
    assert "stage1.block1.keep" not in lists
    assert not [name for name in lists if name == "stem" or name.endswith("head_dim")]

    def unlocked(name: str, epoch: int) -> tuple[Any, ...]:
        n = len(lists[name])
        return lists[name][: min(1 + epoch * (n - 1) // 30, n)]

    assert unlocked("stage2.block4.keep", 19) == (1, 1)
    assert unlocked("stage2.block4.keep", 20) == (1, 1, 0)
    sizes = [len(unlocked("stage1.block1.mlp", e)) for e in (0, 4, 5, 9, 15, 30, 99)]
    assert sizes == [1, 1, 2, 2, 4, 7, 7]
    assert [len(unlocked("stage1.embed_dim", e)) for e in (7, 8)] == [1, 2]


# ---------------------------------------------------------------- notation
def test_the_released_networks_round_trip() -> None:
    names = set()
    for preset in ("sr_tiny_mh", "sr_small_mh"):
        space = VitResNas(preset=preset)
        for name, a in space.published().items():
            names.add(name)
            assert space.parse(name) == a
            text = space.format(a)
            assert space.parse(text) == a
            assert space.format(space.parse(json.loads(text))) == text
            known = {d.name: d for d in space.decisions}
            beyond = {n.split(".")[-1] for n in a if known[n].index(a[n]) is None}
            assert beyond == ({"head_dim"} if name == "ViT-Res-Tiny" else set())
    assert names == {"ViT-Res-Tiny", "ViT-ResNAS-Tiny", "ViT-ResNAS-Small", "ViT-ResNAS-Medium"}
    assert VitResNas(patch=28).published() == tiny().published() == {}


def test_a_stage_may_list_fewer_blocks() -> None:
    """The last removable places are then empty, so that a super-network holds the network."""
    space = VitResNas(preset="sr_small_mh")
    a = space.published()["ViT-ResNAS-Small"]
    keeps = [[a.get(f"stage{s}.block{b}.keep", 0) for b in range(1, 8)] for s in (1, 2, 3)]
    assert keeps == [[1, 1, 1, 1, 1, 0, 1]] * 2 + [[1, 1, 1, 0, 1, 0, 1]]
    assert (a["stage1.block5.mlp"], a["stage1.block7.mlp"]) == (720, 720)
    assert (a["stage3.block5.heads"], a["stage3.block7.heads"]) == (12, 14)
    written = json.loads(space.format(a))
    assert len(written["blocks"]) == 21
    assert written["blocks"][5] == {"stage": 1, "heads": 0, "head_dim": 0, "mlp": 0, "keep": 0}


def test_unused_slots_are_ignored() -> None:
    space = tiny()
    a = space.architecture({**largest(space), "stage1.block2.keep": 0})
    value = json.loads(space.format(a))
    for other in ({"heads": 99, "mlp": "?"}, {"heads": 1, "head_dim": 8, "mlp": 32}):
        value["blocks"][1] = {"stage": 1, **other, "keep": 0}
        assert space.parse(value) == a
    value["blocks"][1] = {"stage": 1, "keep": False}
    assert space.parse(value) == a
    value["blocks"][0]["heads"] = 3.0
    assert space.parse(value) == a


def test_networks_beyond_the_lists_are_read() -> None:
    space = tiny()
    value = json.loads(space.format(space.at(space.size - 1)))
    value |= {"stem": "linear_patch2", "embed_dims": [40, 40, 300]}
    value["blocks"] = [{"stage": 2, "heads": 7, "head_dim": 5, "mlp": 33}]
    a = space.parse(value)
    assert (a["stem"], a["stage2.block1.head_dim"], a["stage2.block1.keep"]) == (
        "linear_patch2",
        5,
        1,
    )
    assert a["stage1.block1.keep"] == 0
    assert space.parse(space.format(a)) == a
    assert all(space.architecture(n) == n for n in space.neighbors(a))
    rng = Random(0)
    for _ in range(300):
        b = space.mutate(a, rng)
        assert b != a
        assert space.architecture(b) == b
        child = space.crossover(b, space.sample(rng), rng)
        assert space.architecture(child) == child


def test_the_definition_of_the_original_code_is_read() -> None:
    space = VitResNas()
    a = space.published()["ViT-ResNAS-Tiny"]
    assert space.parse(DEFINITION) == a
    assert space.parse(DEFINITION.replace("(", "[").replace(")", "]")) == a
    assert space.parse(DEFINITION.replace("(4, 176)", "(5, 176, 32)"))["stem"] == "conv_stem_mid32"
    assert space.parse(DEFINITION.replace("(4, 176)", "(0, 176)"))["stem"] == "linear_patch14"
    without = DEFINITION.replace("(176, 704), 1), (3", "(176, 704), 0), (3")
    assert space.parse(without)["stage1.block6.keep"] == 0


OBJECT = {"stem": "conv_stem_mid8", "embed_dims": [16, 32, 64]}
BLOCK = {"stage": 1, "heads": 1, "head_dim": 8, "mlp": 32, "keep": 1}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({**OBJECT, "blocks": [BLOCK], "block": 1}, "no key 'block'; did you mean blocks"),
        ({**OBJECT, "blocks": 3}, "blocks must be a list"),
        ({"embed_dims": [16, 32, 64], "blocks": []}, "'stem' is missing"),
        (OBJECT, "'blocks' is missing"),
        ({**OBJECT, "embed_dims": [16, 32], "blocks": []}, "the widths of 3 stages"),
        ({**OBJECT, "embed_dims": [16, 64, 32], "blocks": []}, r"narrower.*\[16, 64, 32\]"),
        ({**OBJECT, "embed_dims": [0, 32, 64], "blocks": []}, "stage1.embed_dim must be one of"),
        ({**OBJECT, "embed_dims": [16, "b", 64], "blocks": []}, "stage2.embed_dim.* got 'b'"),
        ({**OBJECT, "stem": "linear_patch14", "blocks": []}, "linear_patch2.*got 'linear_patch14'"),
        ({**OBJECT, "stem": "conv_stem", "blocks": []}, "conv_stem_mid and a width.*'conv_stem'"),
        ({**OBJECT, "stem": 24, "blocks": []}, "stem must be one of"),
        ({**OBJECT, "blocks": [BLOCK] * 3}, "stage 1 has 2 places.*lists 3 blocks"),
        ({**OBJECT, "blocks": [{**BLOCK, "stage": 4}]}, "block 1: stage must be .* from 1 to 3"),
        ({**OBJECT, "blocks": [{**BLOCK, "stage": 2}, BLOCK]}, "stage by stage; block 2 is of"),
        ({**OBJECT, "blocks": [{**BLOCK, "keep": 2}]}, "block 1: keep must be 1 or 0, got 2"),
        ({**OBJECT, "blocks": [{**BLOCK, "head": 2}]}, "block 1 has no key 'head'; did you mean"),
        ({**OBJECT, "blocks": [{"stage": 1, "heads": 2}]}, "block 1: 'head_dim' is missing"),
        ({**OBJECT, "blocks": [7]}, "block 1 must be an object, got 7"),
        (
            {**OBJECT, "blocks": [{**BLOCK, "heads": 0}]},
            "stage1.block1.heads must be one of.*got 0",
        ),
        ({**OBJECT, "blocks": [{**BLOCK, "heads": 1.5}]}, "stage1.block1.heads must be one of"),
        ({**OBJECT, "blocks": [{**BLOCK, "mlp": True}]}, "stage1.block1.mlp must be one of"),
        (
            "((4, 16), (3, 16, 32), (3, 32, 64), (2, 64, 9))",
            "9 outputs; the option classes says 10",
        ),
        ("((4, 16), (3, 16, 32), (3, 30, 64), (2, 64, 10))", "entry 2, .* width of the .*, 32"),
        ("((4, 16), (3, 16, 32), (2, 32, 10))", "3 stages, this has 2"),
        ("((4, 16), (3, 16, 32), (3, 32, 64))", "ends with the head"),
        ("((3, 16, 32), (3, 32, 64))", r"entry 0 must be \(0, E\), \(4, E\)"),
        ("((4, 16), (4, 16))", r"entry 1 must be \(1, \(E, heads, d\)"),
        ("((4, 16), (1, (16, 2), (16, 32), 1))", "entry 1 must be"),
        ("((4, 16), (1, (16, 2, 8), (24, 32), 1))", "entry 1, .* width of the tokens"),
        ("((4, 16", "written"),
        ("ViT-ResNAS-Tiny", "written"),
        ([], "begins with a stem"),
        ([[True, 16]], "entry 0 must be"),
    ],
)
def test_errors_name_the_rule(value: Any, message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=message):
        tiny().parse(value)


# ---------------------------------------------------------------- options
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 20}, "resolution must be a multiple of 8.*got 20; choose another patch"),
        ({"preset": "sr_tiny_mh", "resolution": 32}, "multiple of 56"),
        ({"preset": "base"}, "preset must be one of sr_tiny_mh, sr_small_mh, tiny"),
        ({"patch": 3, "resolution": 12}, "stem must be conv_stem_mid and a width.*with patch 3"),
        ({"stem": "linear_patch4"}, "linear_patch2; got 'linear_patch4'"),
        ({"layers": [2, 2]}, "embed_dims needs an entry for each of the 2 stages"),
        ({"layers": []}, "stages must be an integer of at least 1"),
        ({"layers": [2, 2, 0]}, r"layers\[2\] must be"),
        ({"removable": [[3], [], []]}, r"removable\[0\] must list places from 1 to 2"),
        ({"removable": [[], [1, 1], []]}, r"removable\[1\]"),
        ({"embed_dims": [[16, 40], [32, 48], [64]]}, "no width of a stage may be smaller"),
        ({"heads": [[0], [1], [1]]}, r"heads\[0\]\[0\] must be"),
        ({"heads": [[1], [], [1]]}, "at least one option"),
        ({"mlps": [[8], [8], [8, 8]]}, "must differ"),
        ({"drop_path": 1.0}, "drop_path must be at least 0 and below 1, got 1.0"),
        ({"patch_head": 1}, "patch_head must be true or false"),
        ({"in_channels": 0}, "in_channels must be"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        tiny(**options)


def test_parts_have_labels_of_their_places() -> None:
    space = tiny(layers=[2, 3, 2])
    a = space.architecture({**largest(space), "stage2.block2.keep": 0})
    labels = [part.label for part in space.parts(a)]
    assert labels == [
        *("stem", "stage1.block1", "stage1.block2", "reduction1", "stage2.block1"),
        *("stage2.block3", "reduction2", "stage3.block1", "stage3.block2", "head"),
    ]
