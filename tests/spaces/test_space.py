from __future__ import annotations

import itertools
import json
import pickle
from collections import Counter
from copy import deepcopy
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netloom.errors import InvalidArchitecture, SpecError
from netloom.spaces import (
    Architecture,
    Decision,
    DecisionSpace,
    ProductSpace,
    Space,
)
from netloom.spaces.testing import SpaceContract

TREE = (
    Decision(
        "late", (1, 2), when={"op": ("conv",), "depth": (2, 3)}
    ),  # declared before its parents
    Decision("depth", (1, 2, 3), ordered=True),
    Decision("op", ("conv", "pool", "skip"), when={"depth": (2, 3)}),
    Decision("kernel", (3, 5, 7), ordered=True, when={"op": ("conv", "pool")}),
    Decision("bias", (True, False, None)),
    Decision("fixed", ("only",)),
)


class Tree(DecisionSpace):
    decisions = TREE


class TestConditionalSpace(SpaceContract):
    def make(self) -> DecisionSpace:
        return Tree()


class TestPlainSpace(SpaceContract):
    def make(self) -> DecisionSpace:
        return DecisionSpace(
            [Decision(f"d{i}", range(i + 1), ordered=i % 2 == 0) for i in range(5)]
        )


class TestProduct(SpaceContract):
    def make(self) -> DecisionSpace:
        return ProductSpace(net=Tree(), chip=DecisionSpace([Decision("pes", (64, 128, 256))]))

    def other_options(self) -> DecisionSpace:
        return ProductSpace(net=Tree(), asic=DecisionSpace([Decision("pes", (64, 128))]))


class TestOnce(SpaceContract):
    def make(self) -> DecisionSpace:
        return once_for_all()

    def reduced(self) -> DecisionSpace:
        return once_for_all(stages=1)


def once_for_all(stages: int = 5) -> DecisionSpace:
    """Depth 2 to 4 per stage, kernel and ratio per block, as in Once-for-All."""
    decisions = []
    for stage in range(stages):
        depth = f"stage{stage}.depth"
        decisions.append(Decision(depth, (2, 3, 4), ordered=True))
        for block in range(4):
            when = {depth: tuple(d for d in (2, 3, 4) if d > block)} if block >= 2 else None
            for name, options in (("kernel", (3, 5, 7)), ("ratio", (3, 4, 6))):
                path = f"stage{stage}.block{block}.{name}"
                decisions.append(Decision(path, options, ordered=True, when=when))
    return DecisionSpace(decisions)


def brute_force(decisions: list[Decision]) -> set[Architecture]:
    """All combinations of all options, inactive ones dropped by the definition of `when`."""
    by_name = {d.name: d for d in decisions}
    found = set()
    for options in itertools.product(*(d.options for d in decisions)):
        chosen = dict(zip(by_name, options, strict=True))

        def active(name: str, chosen: dict[str, Any] = chosen) -> bool:
            conditions = (by_name[name].when or {}).items()
            return all(active(parent) and chosen[parent] in values for parent, values in conditions)

        found.add(Architecture({name: chosen[name] for name in by_name if active(name)}))
    return found


@st.composite
def conditional_decisions(draw: st.DrawFn) -> list[Decision]:
    n = draw(st.integers(1, 7))
    decisions: list[Decision] = []
    for i in range(n):
        options = tuple(range(draw(st.integers(1, 3))))
        parents = draw(st.sets(st.integers(0, i - 1), max_size=3)) if i else set()
        when = {
            decisions[p].name: tuple(
                draw(st.sets(st.sampled_from(decisions[p].options), min_size=1))
            )
            for p in sorted(parents)
        }
        ordered = draw(st.booleans())
        decisions.append(Decision(f"d{i}", options, ordered=ordered, when=when or None))
    return draw(st.permutations(decisions))


@settings(max_examples=120, deadline=None)
@given(conditional_decisions(), st.integers(0, 2**32))
def test_conditional_spaces_equal_brute_force(decisions: list[Decision], seed: int) -> None:
    space, expected = DecisionSpace(decisions), brute_force(decisions)
    found = list(space.enumerate())
    assert space.size == len(found) == len(set(found)) == len(expected)
    assert set(found) == expected
    rng = Random(seed)
    assert len({tuple(space.encode(a)) for a in found}) == len(found)
    for law in ("architectures", "decisions"):
        a, b = (space.sample(rng, law) for _ in range(2))  # type: ignore[arg-type]
        assert {a, b, space.crossover(a, b, rng), *space.neighbors(a)} <= expected
        assert space.parse(space.format(a)) == a
        if any(len(d.options) > 1 for d in decisions if d.name in a):
            assert space.mutate(a, rng) in expected - {a}
        else:
            with pytest.raises(SpecError, match="nothing can change"):
                space.mutate(a, rng)


@settings(max_examples=30, deadline=None)
@given(conditional_decisions(), st.integers(0, 2**32))
def test_local_moves_reach_everything(decisions: list[Decision], seed: int) -> None:
    space, rng = DecisionSpace(decisions), Random(seed)
    if space.size > 40 or space.size == 1:
        return
    a, seen = space.sample(rng), set()
    for _ in range(30 * space.size):
        seen.add(a)
        if not space.neighbors(a):
            return  # nothing active has a second option
        a = space.mutate(a, rng)
    assert len(seen) >= 0.9 * space.size


def test_crossover_takes_from_either_parent_with_equal_chance() -> None:
    space = DecisionSpace(
        [
            Decision("deep", (False, True)),
            *(Decision(f"d{i}", (0, 1)) for i in range(3)),
            Decision("width", range(4), when={"deep": (True,)}),
        ]
    )
    flat = space.architecture({"deep": False, "d0": 0, "d1": 0, "d2": 0})
    deep = space.architecture({"deep": True, "d0": 1, "d1": 1, "d2": 1, "width": 3})
    rng = Random(2)
    children = [space.crossover(flat, deep, rng) for _ in range(2000)]
    for name in ("deep", "d0", "d1", "d2"):
        assert 900 < sum(bool(child[name]) for child in children) < 1100, name
    genes = Counter((child["d0"], child["d1"], child["d2"]) for child in children)
    assert len(genes) == 8  # each decision for itself
    assert min(genes.values()) > 190
    # of the parent that has it
    assert {child["width"] for child in children if child["deep"]} == {3}


def test_uniform_over_architectures_or_over_decisions() -> None:
    space = DecisionSpace(
        [Decision("deep", (False, True)), Decision("width", range(9), when={"deep": (True,)})]
    )
    assert space.size == 10
    rng = Random(0)
    shares = {
        law: Counter(space.sample(rng, law)["deep"] for _ in range(4000))[False] / 4000  # type: ignore[arg-type]
        for law in ("architectures", "decisions")
    }
    assert shares["architectures"] == pytest.approx(0.1, abs=0.02)
    assert shares["decisions"] == pytest.approx(0.5, abs=0.04)


def test_huge_spaces_are_counted_exactly() -> None:
    space = once_for_all()
    assert space.size == (9**2 + 9**3 + 9**4) ** 5
    last = space.at(space.size - 1)
    assert space.architecture(last) == last
    wide = DecisionSpace([Decision(f"d{i}", range(9)) for i in range(200)])
    assert wide.size == 9**200
    assert len(wide.sample(Random(0))) == 200
    assert next(wide.enumerate()) == wide.at(0)
    chain = [Decision("d0", (0, 1))]
    chain += [Decision(f"d{i}", (0, 1), when={f"d{i - 1}": (1,)}) for i in range(1, 3000)]
    assert DecisionSpace(chain).size == 3001


def test_a_decision_with_many_parents_is_counted_exactly() -> None:
    switches = [Decision(f"s{i}", (0, 1)) for i in range(60)]
    joint = Decision("joint", range(5), when={s.name: (1,) for s in switches})
    assert DecisionSpace([joint, *switches]).size == 2**60 + 4


@pytest.mark.parametrize(
    ("decisions", "message"),
    [
        ([], "at least one decision"),
        ([Decision("a", (1,)), Decision("a", (2,))], "unique; repeated: a"),
        ([Decision("depth", (1,)), Decision("b", (1,), when={"dept": (1,)})], "did you mean depth"),
        ([Decision("a", (1, 2)), Decision("b", (1,), when={"a": (3,)})], "needs 'a' to be 3"),
        ([Decision("a", (1, 2)), Decision("b", (1,), when={"a": ()})], "at least one value"),
        ([Decision("a", (True,)), Decision("b", (1,), when={"a": (1,)})], "needs 'a' to be 1"),
        (
            [Decision("a", (1,), when={"b": (1,)}), Decision("b", (1,), when={"a": (1,)})],
            "cycle.*: a, b",
        ),
        ([Decision("a", (1,), when={"a": (1,)})], "cycle"),
    ],
)
def test_decisions_are_checked(decisions: list[Decision], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        DecisionSpace(decisions)


def test_architectures_are_checked() -> None:
    space = Tree()
    good = {"depth": 3, "op": "conv", "kernel": 5, "bias": None, "fixed": "only", "late": 2}
    assert space.architecture({**good, "kernel": 5.0, "depth": 3.0}) == space.architecture(good)
    with pytest.raises(InvalidArchitecture, match="no decision 'kernl'; did you mean kernel"):
        space.architecture({**good, "kernl": 3})
    with pytest.raises(InvalidArchitecture, match="kernel must be one of 3, 5, 7; got 4"):
        space.architecture({**good, "kernel": 4})
    with pytest.raises(InvalidArchitecture, match="missing: op, bias"):
        space.architecture({"depth": 2, "fixed": "only"})
    with pytest.raises(InvalidArchitecture, match="bias must be one of true, false, null; got 1"):
        space.architecture({**good, "bias": 1})
    with pytest.raises(InvalidArchitecture, match="must not repeat a key"):
        space.parse('{"depth": 1, "depth": 2}')
    shallow = space.architecture({**good, "depth": 1, "kernel": "never read"})
    assert dict(shallow) == {"depth": 1, "bias": None, "fixed": "only"}


def even(value: Any) -> bool:
    return isinstance(value, int | float) and value % 2 == 0 and value > 0


def test_copies_of_a_network_share_its_decisions() -> None:
    decision = Decision("a", (1, 2))
    assert deepcopy([decision])[0] is decision


def test_accepted_values_beyond_the_options() -> None:
    side = Decision("side", (8, 16, 32), ordered=True, accepts=even)
    space = DecisionSpace([side, Decision("crop", (0, 1), when={"side": (16, 40)})])
    assert space.size == 2 + 2  # 40 is legal but never drawn
    a = space.architecture({"side": 40.0, "crop": 1})
    assert dict(a) == {"side": 40, "crop": 1}
    assert dict(space.architecture({"side": 12, "crop": 1})) == {"side": 12}
    assert space.encode(space.architecture({"side": 12}))[0] == pytest.approx(0.25)
    assert space.encode(space.architecture({"side": 40, "crop": 0}))[0] == pytest.approx(1.25)
    assert space.parse(space.format(a)) == a
    assert {n["side"] for n in space.neighbors(a)} == {8, 16, 32, 40}
    assert space.mutate(a, Random(0)) != a
    with pytest.raises(InvalidArchitecture, match="side must be one of 8, 16, 32; got 7"):
        space.architecture({"side": 7})
    unordered = DecisionSpace([Decision("side", (8, 16), accepts=even)])
    with pytest.raises(InvalidArchitecture, match="ordered decision"):
        unordered.encode(unordered.architecture({"side": 12}))


def test_ordered_decisions_prefer_adjacent_options() -> None:
    space = DecisionSpace([Decision("w", range(11), ordered=True)])
    a, rng = space.architecture({"w": 5}), Random(0)
    steps = Counter(abs(int(space.mutate(a, rng)["w"] or 0) - 5) for _ in range(2000))
    assert set(steps) == {1, 2, 3, 4, 5}
    assert steps[1] / 2000 == pytest.approx(0.5 + 0.5 * 0.2, abs=0.04)


def test_encoding_names_its_entries() -> None:
    space = Tree()
    a = space.architecture({"depth": 2, "op": "pool", "kernel": 7, "bias": True, "fixed": "only"})
    entries = dict(zip(space.encoding.names, space.encode(a), strict=True))
    assert entries["depth"] == 0.5
    assert (entries["op=conv"], entries["op=pool"]) == (0.0, 1.0)
    assert (entries["kernel is active"], entries["kernel"]) == (1.0, 1.0)
    assert entries["late=1"] == entries["late=2"] == 0.0


class Base(Space):
    def __init__(self, *, width: int = 4, resolution: int = 8) -> None:
        super().__init__([Decision("d", (1, 2))])

    def build(self, architecture: Architecture) -> Any:
        raise NotImplementedError


class Derived(Base):
    version = 2

    def __init__(self, depth: int, *, in_channels: int = 3, **options: Any) -> None:
        super().__init__(**options)


def test_options_are_the_arguments_of_the_constructor() -> None:
    assert Base().options == {"width": 4, "resolution": 8}
    derived = Derived(5, width=6)
    assert derived.options == {"depth": 5, "in_channels": 3, "width": 6, "resolution": 8}
    assert derived.name == "Derived"
    assert pickle.loads(pickle.dumps(derived)).options == derived.options
    fingerprints = {
        s.fingerprint
        for s in (Base(), Base(width=5), derived, Derived(depth=5), Derived(4, width=6))
    }
    assert len(fingerprints) == 5
    assert Derived(depth=5, width=6).fingerprint == derived.fingerprint
    assert tuple(derived.example_input(derived.at(0)).shape) == (1, 3, 8, 8)


def test_what_a_custom_space_may_forget() -> None:
    with pytest.raises(SpecError, match="must define example_input"):
        Base().example_input(Base().at(0))
    with pytest.raises(SpecError, match=r"no super-network.*stand-alone networks only"):
        Base().supernet()
    assert Base().supports == frozenset()
    assert Base().tasks(Base().at(0)) == ()
    assert Base().parts(Base().at(0)) is None

    class Undeclared(DecisionSpace):
        pass

    with pytest.raises(SpecError, match="declares no decisions"):
        Undeclared()

    class Objects(Base):
        def __init__(self, thing: object) -> None:
            super().__init__()

    with pytest.raises(SpecError, match="JSON values"):
        _ = Objects(object()).options


def test_a_product_is_one_network_where_each_factor_is() -> None:
    class Unordered(DecisionSpace):
        """Two places whose order does not matter."""

        decisions = (Decision("a", (0, 1)), Decision("b", (0, 1)))

        def canonical(self, architecture: Architecture) -> str:
            return str(sorted(int(v) for v in architecture.values()))  # type: ignore[arg-type]

    both = ProductSpace(net=Unordered(), chip=DecisionSpace([Decision("pes", (64, 128))]))
    assert len({both.canonical(a) for a in both.enumerate()}) == 3 * 2


def test_a_product_mutates_every_decision_equally_often() -> None:
    wide = DecisionSpace([Decision(f"d{i}", (0, 1)) for i in range(9)])
    both = ProductSpace(wide=wide, narrow=DecisionSpace([Decision("one", (0, 1))]))
    a, rng = both.at(0), Random(3)
    moved = sum(both.mutate(a, rng)["narrow.one"] == 1 for _ in range(2000))
    assert 140 < moved < 260  # one decision of ten


def test_products_keep_the_rules_of_their_factors() -> None:
    chip = DecisionSpace([Decision("pes", (64, 128)), Decision("kb", (8, 16))])
    both = ProductSpace(net=Tree(), chip=chip)
    assert both.size == Tree().size * 4
    a = both.sample(Random(0))
    assert both.join(net=both.project(a, "net"), chip=both.project(a, "chip")) == a
    assert json.loads(both.format(a)).keys() == {"net", "chip"}
    assert both.parse({"net": dict(both.project(a, "net")), "chip": both.project(a, "chip")}) == a
    moved = {both.project(both.mutate(a, Random(i)), "chip") for i in range(50)}
    assert len(moved) == 3
    with pytest.raises(SpecError, match="no factor 'nett'; did you mean net"):
        both.project(a, "nett")
    with pytest.raises(InvalidArchitecture, match=r"'chip\.pe'; did you mean chip\.pes"):
        both.parse({**a, "chip.pe": 64})
    with pytest.raises(SpecError, match="at least one factor"):
        ProductSpace()
    with pytest.raises(SpecError, match="name=space"):
        ProductSpace(net=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": 3, "options": (1,)}, "the name of a decision must be a text, got 3"),
        ({"name": "a", "options": 3}, "write values as a list, got 3"),
        ({"name": "a", "options": "abc"}, "write values as a list, got 'abc'"),
        ({"name": "a", "options": ([1],)}, r"must be a JSON scalar .* got \[1\]"),
        ({"name": "a", "options": (float("nan"),)}, "must be a JSON scalar .* got nan"),
        ({"name": "a", "options": (1,), "when": {"b": "conv"}}, "as a list, got 'conv'"),
        ({"name": "a", "options": (1,), "when": ["b"]}, r"when must be a mapping .* got \['b'\]"),
    ],
)
def test_a_decision_is_made_of_json_values(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Decision(**fields)


def test_a_space_is_made_of_decisions() -> None:
    with pytest.raises(SpecError, match="made of Decision objects, got 'kernel'"):
        DecisionSpaceOf(["kernel"])  # type: ignore[list-item]


class DecisionSpaceOf(DecisionSpace):
    pass


def test_a_rule_is_asked_about_any_value() -> None:
    space = DecisionSpaceOf([Decision("r", (128, 160), ordered=True, accepts=lambda v: v % 4 == 0)])
    assert space.architecture({"r": 236.0})["r"] == 236
    for value in ("abc", None, float("inf"), float("nan"), [4], 130):
        with pytest.raises(InvalidArchitecture, match="r must be one of 128, 160; got"):
            space.architecture({"r": value})


@pytest.mark.parametrize("text", ["[" * 100_000, f'{{"r": {"9" * 5000}}}', '{"r": NaN}'])
def test_json_that_python_cannot_hold(text: str) -> None:
    with pytest.raises(InvalidArchitecture):
        DecisionSpaceOf([Decision("r", (1, 2))]).parse(text)
    with pytest.raises(InvalidArchitecture):
        Architecture.from_json(text)
