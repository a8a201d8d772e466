"""The tree of masks, and the epochs of its nodes."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netloom.errors import SpecError
from netloom.search.one_shot.splitting import ROOT, Node, Schedule, Segment, SplitTree, connects
from netloom.spaces import SPACES, Decision, DecisionSpace
from netloom.spaces.restricted import RestrictedSpace

NB201 = SPACES.get("nb201")()
OPTIONS = {d.name: d.options for d in NB201.decisions}
FIRST, SECOND, *_, LAST = OPTIONS
OPERATIONS = OPTIONS[FIRST]


def halves(options, k=2):
    return options[:k], options[k:]


@st.composite
def trees(draw):
    """A tree of up to three levels, each node split by a decision and a partition of its own."""
    tree = SplitTree(NB201, OPTIONS)
    for level in range(draw(st.integers(1, 3))):
        for node in tree.level(level):
            decision = draw(st.sampled_from(sorted(tree.whole(node.name))))
            order = draw(st.permutations(OPERATIONS))
            tree.split(node.name, decision, halves(order))
    return tree


@settings(deadline=None, max_examples=20)
@given(trees())
def test_leaves_are_disjoint_cover_the_space_and_hold_a_connected_cell(tree):
    leaves = tree.leaves
    assert sum(tree.size(leaf.name) for leaf in leaves) == NB201.size == 15625
    for a, b in combinations(leaves, 2):
        common = set(a.masks) & set(b.masks)
        assert any(not set(a.masks[n]) & set(b.masks[n]) for n in common)
    for leaf in leaves:
        part = RestrictedSpace(NB201, leaf.masks)
        assert any(connects(NB201, a) for a in part.enumerate())


@settings(deadline=None, max_examples=20)
@given(trees())
def test_no_decision_is_split_twice_on_the_way_to_a_leaf(tree):
    for leaf in tree.leaves:
        seen, node = [], leaf
        while node.parent is not None:
            parent = tree.nodes[node.parent]
            assert {n: row for n, row in node.masks.items() if n != parent.split} == parent.masks
            seen.append(parent.split)
            node = parent
        assert node.name == ROOT
        assert sorted(seen) == sorted(set(seen)) == sorted(leaf.masks)
        assert len(seen) == leaf.level


@settings(deadline=None, max_examples=10)
@given(trees())
def test_a_tree_goes_through_json(tree):
    other = SplitTree(NB201, OPTIONS)
    other.load(tree.to_json())
    assert other.nodes == tree.nodes


def test_siblings_may_be_split_by_different_decisions():
    tree = SplitTree(NB201, OPTIONS)
    a, b = tree.split(ROOT, FIRST, halves(OPERATIONS))
    assert (a, b) == (
        Node("0", {FIRST: OPERATIONS[:2]}, ROOT),
        Node("1", {FIRST: OPERATIONS[2:]}, ROOT),
    )
    tree.split("0", SECOND, halves(OPERATIONS))
    tree.split("1", LAST, halves(OPERATIONS, 3))
    assert [n.name for n in tree.leaves] == ["0.0", "0.1", "1.0", "1.1"]
    assert [n.name for n in tree.level(1)] == ["0", "1"]
    assert tree.size("1.0") == 15625 * 3 * 3 // 25
    assert SECOND not in tree.whole("0.0")
    assert SECOND in tree.whole("1.0")


def test_every_option_on_its_own():
    tree = SplitTree(NB201, OPTIONS)
    children = tree.split(ROOT, FIRST, [[o] for o in OPERATIONS])
    assert [tree.size(c.name) for c in children] == [3125] * 5


def test_what_cannot_be_split():
    tree = SplitTree(NB201, OPTIONS)
    tree.split(ROOT, FIRST, halves(OPERATIONS))
    with pytest.raises(SpecError, match=f"split once.*{FIRST}"):
        tree.split(ROOT, SECOND, halves(OPERATIONS))
    with pytest.raises(SpecError, match=f"has whole.*got '{FIRST}'"):
        tree.split("0", FIRST, halves(OPERATIONS))
    for groups in ([OPERATIONS], [OPERATIONS[:2], OPERATIONS[1:]], [OPERATIONS[:2]]):
        with pytest.raises(SpecError, match="must hold each of"):
            tree.split("0", SECOND, groups)


def test_a_part_without_a_connected_cell_is_refused():
    """The way of last resort leads through the edges into the last node."""
    tree = SplitTree(NB201, OPTIONS)
    name = ROOT
    into_last = [n for n in OPTIONS if n.startswith("node3")]
    for decision in into_last[:2]:
        [name, _] = [c.name for c in tree.split(name, decision, (("none",), OPERATIONS[1:]))]
    with pytest.raises(SpecError, match="path from input to output"):
        tree.split(name, into_last[2], (("none",), OPERATIONS[1:]))
    assert tree.nodes[name].split is None


def test_a_space_that_cannot_tell_is_taken_as_connected():
    space = DecisionSpace([Decision("a", ("none", "b")), Decision("c", (1, 2, 3))])
    tree = SplitTree(space, {d.name: d.options for d in space.decisions})
    tree.split(ROOT, "a", [["none"], ["b"]])
    tree.split("0", "c", [[3, 1], [2]])
    assert {n.name: tree.size(n.name) for n in tree.leaves} == {"1": 3, "0.0": 2, "0.1": 1}


def test_operations_that_no_architecture_takes():
    """`none` of a search network is no option of the space."""
    cells = SPACES.get("darts")(preset="tiny")
    edge = "normal.node2.from0"
    tree = SplitTree(cells, cells.operations)
    none, *others = cells.operations[edge]
    with pytest.raises(SpecError, match="path from input to output"):
        tree.split(ROOT, edge, [[none], others])
    children = tree.split(ROOT, edge, [[none, *others[:3]], others[3:]])
    assert all(tree.size(c.name) < cells.size for c in children)


# ---------------------------------------------------------------- epochs
def test_the_epochs_of_nas_bench_201():
    schedule = Schedule((15, 30), 30)
    assert schedule.segment(0) == Segment(0, 15, 60, fresh=True, frozen=True)
    assert schedule.segment(1) == Segment(15, 30, 60, fresh=False, frozen=True)
    assert schedule.segment(2) == Segment(0, 30, 60, fresh=True, frozen=False)
    assert schedule.cost([2, 2]) == 165


def test_the_epochs_of_darts():
    schedule = Schedule((2, 4, 6), 15, cosine="leaf")
    assert schedule.segment(3) == Segment(0, 15, 15, fresh=True, frozen=False)
    assert schedule.cost([2, 2, 2]) == 134
    assert Schedule((0,), 20).cost([7]) == 140


def test_without_a_restart_leaves_go_on():
    schedule = Schedule((40, 80), 40, restart="none")
    assert schedule.segment(2) == Segment(80, 120, 120, fresh=False, frozen=False)


@pytest.mark.parametrize("splits", [(), (3, 3), (4, 2)])
def test_epochs_that_do_not_rise(splits):
    with pytest.raises(SpecError, match="rising"):
        Schedule(splits, 5)
