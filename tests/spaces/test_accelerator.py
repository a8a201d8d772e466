"""The space of accelerators: what is counted, what is legal, what it hands on."""

from __future__ import annotations

import re
from itertools import product
from random import Random

import pytest

from netloom.errors import InvalidArchitecture, SpecError
from netloom.spaces import FACTORS, AcceleratorSpace, DecisionSpace
from netloom.spaces.testing import SpaceContract

W1 = "dla,576,56 + shi,1792,8"


class TestTinyChips(SpaceContract):
    def make(self) -> DecisionSpace:
        return AcceleratorSpace(preset="tiny")

    def other_options(self) -> DecisionSpace:
        return AcceleratorSpace(preset="tiny", costs="2021")


class TestThreeAccelerators(SpaceContract):
    def make(self) -> DecisionSpace:
        return AcceleratorSpace(
            accelerators=3, dataflows=("dla", "rs"), pes=320, pe_step=64, bandwidth=32
        )


class TestOneAccelerator(SpaceContract):
    def make(self) -> DecisionSpace:
        return AcceleratorSpace(accelerators=1)


def test_the_full_space_is_nasaics_without_what_no_chip_is():
    """3^2 dataflows x 8,385 pairs of elements x 28 of bandwidth, counted as chips.

    Both accelerators there: C(128, 2) pairs of positive multiples of 32 with a sum of at most
    4,096. One there: it takes any of 128 sizes, and 8 shares. None there: no chip.
    """
    pairs = sum(1 for a, b in product(range(129), repeat=2) if a + b <= 128)
    assert pairs == 8385
    both = sum(1 for a, b in product(range(1, 129), repeat=2) if a + b <= 128)
    shares = sum(1 for a, b in product(range(1, 9), repeat=2) if a + b <= 8)
    assert (both, shares) == (8128, 28)
    assert AcceleratorSpace().size == 9 * both * shares + 2 * 3 * 128 * 8 == 2_054_400


def test_size_is_that_of_a_plain_count():
    space = AcceleratorSpace(preset="tiny")
    pes, shares = range(0, 257, 64), range(8, 25, 8)
    parts = [None, *product("dsr", pes[1:], shares)]
    legal = {
        chip
        for chip in product(parts, repeat=2)
        if any(chip) and sum(p[1] for p in chip if p) <= 256 and sum(p[2] for p in chip if p) <= 24
    }
    assert len(legal) == space.size


@pytest.mark.parametrize("law", ["architectures", "decisions"])
def test_no_draw_breaks_a_total(law):
    space, rng = AcceleratorSpace(accelerators=3), Random(0)
    for _ in range(300):
        choice = space.choice(space.sample(rng, law))
        assert sum(a["pes"] for a in choice["accelerators"]) <= 4096
        assert sum(a["bandwidth"] for a in choice["accelerators"]) <= 64
        assert choice["accelerators"]


def test_a_choice_is_plain_data():
    space = AcceleratorSpace()
    assert space.choice(space.parse(W1)) == {
        "accelerators": [
            {"dataflow": "dla", "pes": 576, "bandwidth": 56},
            {"dataflow": "shi", "pes": 1792, "bandwidth": 8},
        ],
        "costs": "2019-20",
        "clock_ghz": 1.0,
    }
    lanes = AcceleratorSpace(lanes=4, costs="2021")
    assert lanes.choice(lanes.parse("off + rs,32,8")) == {
        "accelerators": [{"dataflow": "rs", "pes": 32, "bandwidth": 8, "lanes": 4}],
        "costs": "2021",
        "clock_ghz": 1.0,
    }


def test_the_order_of_the_accelerators_is_no_difference():
    space = AcceleratorSpace()
    a, b = space.parse(W1), space.parse("shi,1792,8 + dla,576,56")
    assert a != b
    assert space.canonical(a) == space.canonical(b)
    alone, other = space.parse("dla,576,56"), space.parse("off + dla,576,56")
    assert space.canonical(alone) == space.canonical(other) != space.canonical(a)


def test_the_published_chips_are_members():
    published = AcceleratorSpace().published()
    assert len(published) == 6
    assert AcceleratorSpace().format(published["nasaic_w1"]) == W1
    assert AcceleratorSpace(preset="tiny").published() == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dla,4096,32 + shi,32,32", "the pes of all must be at most 4096; got 4096 . 32"),
        ("dla,64,40 + shi,32,32", "the bandwidth of all must be at most 64; got 40 . 32"),
        ("off + off", "one accelerator at least must have processing elements; got none"),
        ("off", "one accelerator at least"),
        ("dla,100,8", "acc1.pes must be one of 0, 32, 64, .*; got 100"),
        ("tpu,64,8", 'acc1.dataflow must be one of "dla", "shi", "rs"; got \'tpu\''),
        ("dla,64", "'dla,64' is not dataflow,PEs,bandwidth"),
        ("dla,64,8+dla,64,8+dla,64,8", "at most 2 accelerators"),
        ("dla,64,8 shi,64,8", "an architecture is written as dataflow,PEs,bandwidth"),
    ],
)
def test_what_is_no_chip_is_told_why(text, said):
    with pytest.raises(InvalidArchitecture, match=said):
        AcceleratorSpace().parse(text)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"accelerators": 0}, "accelerators must be at least 1, got 0"),
        ({"pes": 16}, "pes must be at least 32, got 16"),
        ({"bandwidth": 4}, "bandwidth must be at least 8, got 4"),
        ({"pe_step": 0}, "pe_step must be at least 1, got 0"),
        ({"dataflows": []}, "needs at least one option"),
        ({"preset": "huge"}, "preset must be one of full, tiny; got 'huge'"),
    ],
)
def test_options_that_leave_no_chip(options, said):
    with pytest.raises(SpecError, match=re.escape(said)):
        AcceleratorSpace(**options)


def test_it_is_a_factor_by_name():
    assert FACTORS.get("accelerator") is AcceleratorSpace
