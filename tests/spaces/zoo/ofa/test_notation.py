"""Reading and printing, the encodings, and the laws of sampling."""

from __future__ import annotations

import json
import math
from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

import pytest
import torch

from netloom.errors import InvalidArchitecture
from netloom.spaces import Architecture
from netloom.spaces.restricted import RestrictedSpace
from netloom.spaces.zoo.ofa.base import OfaSpace
from netloom.spaces.zoo.ofa.mbv3 import OfaMbv3
from netloom.spaces.zoo.ofa.proxyless import OfaProxyless
from netloom.spaces.zoo.ofa.resnet50 import OfaResNet50

from .conftest import FAMILIES, tiny, uniform

MEASURED = [  # of the 1,000 networks that were measured on GPUs: ks, e, d, r, in slot order
    (
        "7 7 5 5 3 3 5 7 5 7 7 7 7 5 3 5 5 7 7 7",
        "6 3 3 4 3 6 4 4 4 4 3 6 6 3 4 3 6 4 3 3",
        "2 3 3 4 4",
        128,
    ),
    (
        "5 3 5 5 3 7 5 7 3 3 7 7 3 7 3 3 5 7 5 5",
        "3 3 6 3 3 4 4 3 4 3 6 3 6 6 4 6 3 6 3 4",
        "2 3 3 3 4",
        172,
    ),
]


def measured(row: int) -> dict[str, Any]:
    ks, e, d, r = MEASURED[row]
    lists = {"ks": ks, "e": e, "d": d}
    return {**{k: [int(x) for x in text.split()] for k, text in lists.items()}, "r": r}


def test_slots_go_by_stage() -> None:
    space, value = OfaMbv3(), measured(0)
    a = space.parse(value)
    assert (a["stage2.block1.kernel"], a["stage2.block3.kernel"]) == (3, 5)
    assert (a["stage1.block1.expand"], a["stage5.block4.expand"]) == (6, 3)
    assert "stage1.block3.kernel" not in a
    assert "stage2.block4.expand" not in a
    printed = json.loads(space.format(a))
    assert printed["d"] == value["d"]
    assert printed["ks"][:8] == [7, 7, 0, 0, 3, 3, 5, 0]
    assert printed["r"] == 128
    assert space.parse(json.dumps(value)) == a == space.parse(printed)


def test_other_spellings_of_the_reference() -> None:
    space, value = OfaMbv3(), measured(1)
    a = space.parse(value)
    assert space.parse({**value, "r": [172], "wid": None}) == a
    r = value.pop("r")
    assert space.parse({**value, "image_size": r}) == a
    assert space.parse({**value, "r": 172.0, "d": [float(d) for d in value["d"]]}) == a
    with pytest.raises(InvalidArchitecture, match='the input side is missing; add "r": 224'):
        space.parse(value)
    assert OfaMbv3(resolution=172).parse(value) == a


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_read_stays_whole(family: type[OfaSpace]) -> None:
    """A configuration can be read and built twice."""
    space, value = tiny(family), {**GOOD[family], "r": [8]}
    copy = json.loads(json.dumps(value))
    first, second = (space.build(space.parse(value)) for _ in range(2))
    assert value == copy
    assert [p.shape for p in first.parameters()] == [p.shape for p in second.parameters()]


def test_unused_slots_are_ignored() -> None:
    space, value = OfaMbv3(), measured(0)
    a = space.parse(value)
    for anything in (0, 9, 4, None, "?"):
        value["ks"][2] = value["e"][3] = anything
        b = space.parse(value)
        assert (b, b.key, space.encode(b)) == (a, a.key, space.encode(a))


def test_the_last_stage_of_proxyless_has_one_block() -> None:
    space = OfaProxyless()
    lists = {"ks": [3] * 21, "e": [4] * 21, "r": 160}
    networks = {space.parse({**lists, "d": [3, 3, 3, 3, 3, last]}) for last in (1, 2, 4)}
    assert len(networks) == 1
    assert json.loads(space.format(networks.pop()))["d"] == [3, 3, 3, 3, 3, 1]
    for wrong in (0, "?", None):
        with pytest.raises(InvalidArchitecture, match="a stage of one block"):
            space.parse({**lists, "d": [3, 3, 3, 3, 3, wrong]})


def test_resnets_count_extra_blocks() -> None:
    space = OfaResNet50()
    value = {"d": [2, 0, 1, 2, 1], "e": [0.25] * 18, "w": [0, 1, 2, 2, 1, 0], "r": 192}
    a = space.parse(value)
    assert [a[f"stage{i}.depth"] for i in (1, 2, 3, 4)] == [2, 3, 6, 3]
    names = ("stem.mid", "stem.out", *(f"stage{i}.width" for i in (1, 2, 3, 4)))
    assert [a[name] for name in names] == [0.65, 0.8, 1.0, 1.0, 0.8, 0.65]
    assert a["stem.residual"] == 1
    printed = json.loads(space.format(a))
    assert (printed["d"], printed["w"], printed["r"]) == (value["d"], value["w"], 192)
    assert printed["e"] == [0.25, 0.25, 0, 0] + [0.25] * 3 + [0] + [0.25] * 9 + [0]


def test_values_beyond_the_lists_build() -> None:
    space = tiny(OfaMbv3)
    value = {"ks": [9, 1] * 10, "e": [1, 2.5] * 10, "d": [1, 2, 3, 4, 1], "r": 20}
    a = space.parse(value)
    assert space.parse(space.format(a)) == a
    network = space.build(a)
    assert [len(stage) for stage in network.stages] == [1, 2, 3, 4, 1]
    assert isinstance(network.stages[0][0].expand, torch.nn.Identity)
    assert network.stages[0][0].depthwise.conv.kernel_size == (9, 9)
    assert network.eval()(space.example_input(a)).shape == (1, 3)
    supernet = space.supernet()
    with pytest.raises(InvalidArchitecture, match=r"stage1\.depth must be one of .*; got 1"):
        supernet.activate(a)
    wide = tiny(OfaResNet50).parse({"d": [0] * 5, "e": [0.5] * 18, "w": [2] * 6, "r": 8})
    assert wide["stage1.block1.expand"] == 0.5


GOOD: dict[type[OfaSpace], dict[str, Any]] = {
    OfaMbv3: {"ks": [3] * 20, "e": [4] * 20, "d": [2] * 5, "r": 160},
    OfaProxyless: {"ks": [3] * 21, "e": [4] * 21, "d": [2] * 6, "r": 160},
    OfaResNet50: {"d": [0] * 5, "e": [0.2] * 18, "w": [0] * 6, "r": 160},
}
WRONG = [
    (OfaMbv3, {"ks": [3] * 19}, "ks must list 20 numbers, with those of unused slots; it lists 19"),
    (OfaMbv3, {"ks": [3] * 21}, "ks must list 20 numbers"),
    (OfaMbv3, {"d": [2] * 6}, "d must list 5 numbers"),
    (OfaMbv3, {"ks": 7}, "ks must be a list of 20 numbers"),
    (OfaMbv3, {"e": None}, "e must be a list of 20 numbers"),
    (OfaMbv3, {"kernel": [3]}, "there is no key 'kernel'"),
    (OfaMbv3, {"w": [0] * 6}, "there is no key 'w'"),
    (OfaMbv3, {"wid": 2}, "there is no key 'wid'"),
    (OfaMbv3, {"image_size": 160}, "one thing"),
    (OfaMbv3, {"ks": [4] + [3] * 19}, "stage1.block1.kernel must be one of 3, 5, 7; got 4"),
    (OfaMbv3, {"ks": [3, [3]] + [3] * 18}, "stage1.block2.kernel must be one of"),
    (OfaMbv3, {"e": [0] + [3] * 19}, "stage1.block1.expand must be one of 3, 4, 6; got 0"),
    (OfaMbv3, {"d": [2, 2, 2, 2, 5]}, "stage5.depth must be one of 2, 3, 4; got 5"),
    (OfaMbv3, {"d": [2, 0, 2, 2, 2]}, "stage2.depth must be one of 2, 3, 4; got 0"),
    (OfaMbv3, {"r": 226}, "resolution must be one of .*; got 226"),
    (OfaMbv3, {"r": -4}, "resolution must be one of .*; got -4"),
    (OfaMbv3, {"r": [160, 192]}, "resolution must be one of"),
    (OfaProxyless, {"ks": [3] * 20}, "ks must list 21 numbers"),
    (OfaProxyless, {"d": [2] * 5}, "d must list 6 numbers"),
    (OfaResNet50, {"ks": [7] * 20}, "there is no key 'ks'"),
    (OfaResNet50, {"e": [0.2] * 17}, "e must list 18 numbers"),
    (OfaResNet50, {"e": [-1] + [0.2] * 17}, "stage1.block1.expand must be one of"),
    (OfaResNet50, {"d": [1, 0, 0, 0, 0]}, r"d\[0\], the residual .*, must be one of 0, 2; got 1"),
    (OfaResNet50, {"d": [0, 0, 0, 4, 0]}, r"d\[3\], the extra blocks of stage3, .* 0, 1, 2; got 4"),
    (OfaResNet50, {"w": [3] + [0] * 5}, r"w\[0\], stem.mid, must be one of 0, 1, 2; got 3"),
    (OfaResNet50, {"w": [0.65] * 6}, r"w\[0\], stem.mid, must be one of 0, 1, 2; got 0.65"),
]


@pytest.mark.parametrize(("family", "change", "message"), WRONG)
def test_what_breaks_a_rule_is_refused(
    family: type[OfaSpace], change: dict[str, Any], message: str
) -> None:
    space = family()
    assert space.parse(GOOD[family])["resolution"] == 160
    with pytest.raises(InvalidArchitecture, match=message):
        space.parse({**GOOD[family], **change})


def test_a_part_of_a_space_reads_the_notation_too() -> None:
    space = OfaMbv3()
    part = RestrictedSpace(space, {"stage1.depth": [2], "resolution": [160]})
    a = part.parse(json.dumps(GOOD[OfaMbv3]))
    assert a == part.parse(part.format(a)) == part.parse(dict(a))
    with pytest.raises(InvalidArchitecture, match="resolution must be one of 160"):
        part.parse({**GOOD[OfaMbv3], "r": 164})


# ---------------------------------------------------------------- encodings
def ones(vector: list[float]) -> int:
    assert set(vector) <= {0.0, 1.0}
    return int(sum(vector))


def depth(a: Architecture) -> int:
    return sum(name.endswith("expand") for name in a)


@pytest.mark.parametrize(("family", "slots"), [(OfaMbv3, 20), (OfaProxyless, 21)])
def test_mobile_networks_in_the_package_form(family: type[OfaSpace], slots: int) -> None:
    space, rng = family(), Random(0)
    four = space.package_encoding([128, 160, 192, 224])
    assert len(space.encoding) == 25 + 6 * slots
    assert len(four) == 4 + 6 * slots
    for _ in range(20):
        a = space.architecture({**space.sample(rng), "resolution": rng.choice((128, 224))})
        for encoding in (space.encoding, four):
            vector = encoding.encode(a)
            assert ones(vector) == 1 + 2 * depth(a)
            assert encoding.decode(vector) == a
        assert space.decode(space.encode(a)) == a
    a = uniform(space, ks=5, e=6, d=2, r=160)
    vector = four.encode(a)
    assert vector[:4] == [0, 1, 0, 0]
    assert vector[4:16] == [0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]  # kernels of the first stage
    start = 4 + 3 * slots
    assert vector[start : start + 12] == [0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]  # its ratios


def test_resnets_in_the_package_form() -> None:
    space, rng = OfaResNet50(), Random(0)
    eight = space.package_encoding(range(112, 225, 16))
    assert len(eight) == 82
    for _ in range(20):
        a = space.architecture({**space.sample(rng), "resolution": 208})
        vector = eight.encode(a)
        assert ones(vector) == 1 + 1 + 6 + depth(a)
        assert eight.decode(vector) == a
    a = space.parse({"d": [2, 0, 0, 0, 0], "e": [0.25] * 18, "w": [2, 1, 0, 0, 0, 0], "r": 112})
    assert eight.encode(a)[8:19] == [0, 1, 0, 0, 1, 0, 1, 0, 1, 0, 0]
    assert eight.encode(a)[28:40] == [0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]


def test_the_tutorial_form() -> None:
    space, rng = OfaMbv3(width=1.2), Random(0)
    encoding = space.tutorial_encoding()
    assert len(encoding) == 128
    sizes = (128, 400, 400, 400, 1)
    layers = [torch.nn.Linear(*pair) for pair in pairwise(sizes)]
    assert sum(p.numel() for layer in layers for p in layer.parameters()) == 372_801
    for side, place in ((112, 0), (127, 0), (160, 3), (172, 3), (224, 7), (239, 7)):
        a = space.architecture({**space.sample(rng), "resolution": side - side % 4})
        vector = encoding.encode(a)
        assert ones(vector) == 1 + 2 * depth(a)
        assert vector[120:].index(1.0) == place
        assert encoding.decode(vector) == space.architecture({**a, "resolution": 112 + 16 * place})
    a = uniform(space, ks=7, e=3, d=3)
    assert encoding.encode(a)[:12] == [0, 0, 1] * 3 + [0, 0, 0]
    assert encoding.encode(a)[60:72] == [1, 0, 0] * 3 + [0, 0, 0]
    for side in (108, 240):
        with pytest.raises(InvalidArchitecture, match=r"must be in 112 \.\. 239"):
            encoding.encode({**a, "resolution": side})


def test_sides_between_the_entries_are_interpolated() -> None:
    space = OfaMbv3()
    encoding = space.package_encoding([128, 160, 224])
    base = uniform(space, ks=3, e=3, d=2)
    for side, start in ((144, [0.5, 0.5, 0]), (176, [0, 0.75, 0.25]), (256, [0, -0.5, 1.5])):
        vector = encoding.encode(space.architecture({**base, "resolution": side}))
        assert vector[:3] == start
        with pytest.raises(InvalidArchitecture, match="entries are 0 or 1"):
            encoding.decode(vector)
    with pytest.raises(InvalidArchitecture, match="one entry, for 128"):
        space.package_encoding([128]).encode(base)


def test_what_is_no_vector_of_a_network() -> None:
    space = OfaMbv3()
    encoding = space.encoding
    good = encoding.encode(uniform(space, ks=3, e=3, d=3))

    def changed(*places: int) -> list[float]:
        return [1 - x if i in places else x for i, x in enumerate(good)]

    first = encoding.names.index("stage1.block1.kernel=3")
    last, ratio = (encoding.names.index(f"stage1.block3.{n}=3") for n in ("kernel", "expand"))
    second = encoding.names.index("stage1.block2.kernel=3")
    for vector, message in (
        (good[1:], "145 entries, got 144"),
        (changed(first + 1), "block1.kernel must have one option, the vector has 2"),
        (changed(last), "2 kernels in the stage"),
        (changed(second), "without a gap"),
        (changed(encoding.names.index("resolution=224")), "missing: resolution"),
    ):
        with pytest.raises(InvalidArchitecture, match=message):
            encoding.decode(vector)
    assert encoding.decode(changed(last, ratio))["stage1.depth"] == 2


# ---------------------------------------------------------------- sampling
def chi2(counts: Counter[Any], shares: dict[Any, float]) -> float:
    n = sum(counts.values())
    assert counts.keys() <= shares.keys()
    return sum((counts[k] - n * p) ** 2 / (n * p) for k, p in shares.items())


def limit(shares: dict[Any, float]) -> float:
    freedom = len(shares) - 1
    return freedom + 5 * math.sqrt(2 * freedom) + 10


@pytest.mark.parametrize("family", FAMILIES)
def test_training_draws_every_gene_uniformly(family: type[OfaSpace]) -> None:
    space, rng = family(), Random(0)
    drawn = [space.sample(rng, "decisions") for _ in range(2000)]
    for decision in space.decisions:
        counts = Counter(a[decision.name] for a in drawn if decision.name in a)
        shares = {o: 1 / len(decision.options) for o in decision.options}
        assert chi2(counts, shares) < limit(shares), decision.name
    assert len({a.key for a in drawn}) == len(drawn)


@pytest.mark.parametrize("family", [OfaMbv3, OfaProxyless])
def test_uniform_draws_weigh_depths_by_their_networks(family: type[OfaSpace]) -> None:
    space, rng = family(), Random(0)
    shares = {d: 9**d / 7371 for d in (2, 3, 4)}
    depths = Counter(space.sample(rng)["stage1.depth"] for _ in range(3000))
    assert chi2(depths, shares) < limit(shares)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_slots_are_taken(family: type[OfaSpace]) -> None:
    space, rng = family(), Random(1)
    for _ in range(50):
        a = space.mutate(space.sample(rng, "decisions"), rng)
        for i in range(1, 5):
            slots = [n for n in space.sample(Random(0)) if n.startswith(f"stage{i}.block")]
            assert slots
            taken = {int(n.split(".")[1][5:]) for n in a if n.startswith(f"stage{i}.block")}
            assert taken == set(range(1, a[f"stage{i}.depth"] + 1))
