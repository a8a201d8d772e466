"""Spaces whose decisions follow one another: counting, masks, moves that keep the path a path."""

from __future__ import annotations

import pickle
from collections import Counter
from itertools import pairwise, product
from random import Random

import pytest

from netloom.errors import InvalidArchitecture, SpecError
from netloom.spaces import Architecture, Decision, DecisionSpace, ProductSpace
from netloom.spaces.chain import Chain, RestrictedChain
from netloom.spaces.restricted import RestrictedSpace
from netloom.spaces.testing import SpaceContract

FALLING = {level: (level, level - 1) for level in (3, 2, 1)} | {0: (0,)}


class Falling(Chain):
    """Levels that stay or fall by one."""

    def __init__(self, *, length: int = 5, top: int = 3) -> None:
        levels = tuple(range(top, -1, -1))
        names = [f"step{i}" for i in range(1, length + 1)]
        decisions = [Decision(name, levels, accepts=Level()) for name in names]
        super().__init__(decisions, FALLING, "a level stays or falls by one")


class Level:
    """Any known level."""

    def __call__(self, value: object) -> bool:
        return not isinstance(value, bool) and value in FALLING


def paths(length: int, levels: tuple[int, ...]) -> list[tuple[int, ...]]:
    """All lists of levels, filtered."""
    return [
        path
        for path in product(levels, repeat=length)
        if all(b in (a, a - 1) for a, b in pairwise(path))
    ]


class TestFalling(SpaceContract):
    def make(self) -> DecisionSpace:
        return Falling()

    def other_options(self) -> DecisionSpace:
        return Falling(length=4)


class TestPartOfFalling(SpaceContract):
    def make(self) -> DecisionSpace:
        return RestrictedSpace(Falling(), {"step3": [3, 1], "step5": [1, 0]})


def test_exactly_the_paths_are_counted_and_listed() -> None:
    space = Falling()
    found = [tuple(a.values()) for a in space.enumerate()]
    assert found == paths(5, (3, 2, 1, 0))
    assert space.size == len(found)


def test_a_mask_keeps_to_the_rule() -> None:
    space = Falling()
    part = RestrictedSpace(space, {"step2": [3], "step4": [2, 1]})
    assert isinstance(part, RestrictedChain)
    assert isinstance(pickle.loads(pickle.dumps(part)), RestrictedChain)
    wanted = [p for p in paths(5, (3, 2, 1, 0)) if p[1] == 3 and p[3] in (2, 1)]
    assert [tuple(a.values()) for a in part.enumerate()] == wanted
    drawn = {tuple(part.sample(Random(i), "decisions").values()) for i in range(200)}
    assert drawn == set(wanted)  # no dead end is entered
    with pytest.raises(InvalidArchitecture, match="step2 must be one of 3"):
        part.parse(dict(zip(dict(space.at(0)), (2, 2, 2, 2, 2), strict=True)))


def test_a_mask_without_a_path_is_refused() -> None:
    with pytest.raises(SpecError, match=r"no path leads through.*a level stays or falls by one"):
        RestrictedSpace(Falling(), {"step1": [3], "step2": [1, 0]})


def test_steps_are_drawn_one_after_the_other() -> None:
    """Law `decisions`: each step uniformly among those that follow."""
    rng, space = Random(0), Falling(length=2)
    seen = Counter(tuple(space.sample(rng, "decisions").values()) for _ in range(8000))
    for (first, _), n in seen.items():
        assert n == pytest.approx(8000 / 4 / (2 if first else 1), rel=0.12)


def test_a_step_that_cannot_follow_is_named() -> None:
    space = Falling()
    a = dict(space.at(0))
    with pytest.raises(
        InvalidArchitecture,
        match=r"step4 must be one of 3, 2 after step3 = 3 \(a level stays or falls by one\); got 1",
    ):
        space.architecture({**a, "step4": 1, "step5": 1})


def test_values_beyond_the_options_follow_the_rule_too() -> None:
    space = Falling(top=2)
    names = [d.name for d in space.decisions]
    a = space.parse(dict(zip(names, (3, 3, 2, 2, 1), strict=True)))
    assert a not in list(space.enumerate())
    with pytest.raises(InvalidArchitecture, match="step2 must be one of 3, 2 after step1 = 3"):
        space.parse(dict(zip(names, (3, 1, 1, 1, 1), strict=True)))
    for n in space.neighbors(a):
        assert space.architecture(n) == n
        assert all(n[name] in (2, 1, 0) or n[name] == a[name] for name in names)
    assert space.mutate(a, Random(0)) in space.neighbors(a)


def test_every_path_is_reached_by_moves() -> None:
    space = Falling()
    seen, waiting = {space.at(0)}, [space.at(0)]
    while waiting:
        new = [n for n in space.neighbors(waiting.pop()) if n not in seen]
        seen.update(new)
        waiting += new
    assert len(seen) == space.size


def test_the_order_in_which_an_architecture_lists_its_decisions_does_not_matter() -> None:
    space = Falling(length=11)  # in JSON, step10 comes before step2
    rng = Random(4)
    for _ in range(20):
        a, b = space.sample(rng), space.sample(rng)
        again, other = (Architecture.from_json(x.to_json()) for x in (a, b))
        assert space.neighbors(again) == space.neighbors(a)
        assert space.mutate(again, Random(1)) == space.mutate(a, Random(1))
        assert space.crossover(again, other, Random(2)) == space.crossover(a, b, Random(2))


def test_where_no_decision_can_change_alone_another_path_is_drawn() -> None:
    part = RestrictedSpace(Falling(length=3), {"step1": [3], "step2": [3, 2], "step3": [3, 1]})
    first, second = part.enumerate()
    assert [tuple(a.values()) for a in (first, second)] == [(3, 3, 3), (3, 2, 1)]
    assert part.neighbors(first) == []
    assert part.mutate(first, Random(0)) == second


def test_what_cannot_change_is_said() -> None:
    space = RestrictedSpace(Falling(length=2, top=1), {"step1": [1], "step2": [0]})
    with pytest.raises(SpecError, match="nothing can change, there is one path"):
        space.mutate(space.at(0), Random(0))


def test_chains_have_no_conditions() -> None:
    decisions = [Decision("a", (1, 0)), Decision("b", (1, 0), when={"a": (1,)})]
    with pytest.raises(SpecError, match="no conditions of its own; b has one"):
        Chain(decisions, {1: (1, 0), 0: (0,)}, "falls")


def test_each_option_needs_a_rule_of_its_own() -> None:
    decisions = [Decision("a", (2, 1)), Decision("b", (2, 1, 0))]
    assert Chain(decisions, {2: (2, 1), 1: (1, 0)}, "falls").size == 4  # nothing follows the last
    with pytest.raises(SpecError, match=r"a: .*what may follow each option .*about 1"):
        Chain(decisions, {2: (2, 1)}, "falls")
    with pytest.raises(SpecError, match="a chain cannot tell true from 1"):
        Chain([Decision("a", (True, 1))], {1: (1,)}, "stays")


def test_the_nearest_path_agrees_with_most() -> None:
    """Compared with all paths; a path is its own nearest."""
    space, rng = Falling(), Random(5)
    names = [d.name for d in space.decisions]
    every = list(space.enumerate())
    for _ in range(40):
        wanted = dict(zip(names, (rng.randrange(4) for _ in names), strict=True))
        agreement = [sum(a[n] == wanted[n] for n in names) for a in every]
        assert space.nearest(wanted) == every[agreement.index(max(agreement))]
    assert all(space.nearest(a) == a for a in every)
    with pytest.raises(InvalidArchitecture, match="missing: step5"):
        space.nearest(dict.fromkeys(names[:4], 3))


def test_the_nearest_of_a_product_is_that_of_each_factor() -> None:
    part = RestrictedSpace(Falling(length=2), {"step2": [2, 0]})
    space = ProductSpace(first=Falling(length=2), second=part)
    wanted = {"first.step1": 1, "first.step2": 3, "second.step1": 0, "second.step2": 2}
    assert dict(space.nearest(wanted)) == {
        "first.step1": 3,
        "first.step2": 3,
        "second.step1": 3,
        "second.step2": 2,
    }
