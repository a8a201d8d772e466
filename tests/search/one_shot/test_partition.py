"""Balanced minimum cuts against brute force, and the choice of what to split."""

from __future__ import annotations

import math
from itertools import combinations, permutations, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netloom.errors import SpecError
from netloom.search.one_shot.partition import Cut, balanced_labels, best_split, minimum_cut


def symmetric(upper, n):
    """Return the matrix of an upper triangle, read by rows."""
    matrix = torch.zeros(n, n, dtype=torch.float64)
    for (i, j), value in zip(combinations(range(n), 2), upper, strict=True):
        matrix[i, j] = matrix[j, i] = value
    return matrix


FIVE = symmetric([0.30, 0.80, 0.85, 0.25, 0.75, 0.90, 0.35, 0.40, 0.70, 0.65], 5)
SEVEN = symmetric(
    [
        0.2,
        0.3,
        0.7,
        0.8,
        0.6,
        0.9,
        0.25,
        0.75,
        0.7,
        0.65,
        0.8,
        0.6,
        0.85,
        0.7,
        0.75,
        0.3,
        0.35,
        0.4,
        0.2,
        0.45,
        0.3,
    ],
    7,
)


def crossing(matrix, groups):
    label = {option: k for k, group in enumerate(groups) for option in group}
    n = len(matrix)
    return math.fsum(
        float(matrix[i, j]) for i, j in combinations(range(n), 2) if label[i] != label[j]
    )


# ---------------------------------------------------------------- worked examples
def test_five_options():
    """The matrix holds distances."""
    cut = minimum_cut(1 - FIVE, 2)
    assert cut.groups == ((0, 1, 4), (2, 3))
    assert cut.cost == pytest.approx(1.35)
    assert cut.pairs == 6
    assert cut.score == pytest.approx(0.225)
    assert crossing(FIVE, cut.groups) == pytest.approx(4.65)


def test_seven_options():
    cut = minimum_cut(1 - SEVEN, 2)
    assert cut.groups == ((0, 1, 2), (3, 4, 5, 6))
    assert cut.cost == pytest.approx(3.20)
    assert float(SEVEN.sum()) / 2 - crossing(SEVEN, cut.groups) == pytest.approx(2.75)


# ---------------------------------------------------------------- against brute force
@pytest.mark.parametrize("groups", [2, 3])
@pytest.mark.parametrize("n", range(3, 9))
def test_partitions_are_all_and_each_once(n, groups):
    by_hand = set()
    for labels in product(range(groups), repeat=n):
        sizes = [labels.count(g) for g in range(groups)]
        if max(sizes) - min(sizes) <= 1:
            firsts = sorted(set(labels), key=labels.index)
            by_hand.add(tuple(firsts.index(x) for x in labels))
    found = list(balanced_labels(n, groups))
    assert found == sorted(by_hand)


sizes = st.integers(3, 8).flatmap(
    lambda n: st.tuples(
        st.just(n),
        st.integers(2, 3),
        st.lists(st.floats(-1, 1), min_size=n * (n - 1) // 2, max_size=n * (n - 1) // 2),
        st.permutations(range(n)),
    )
)


@settings(deadline=None, max_examples=25)
@given(sizes)
def test_no_balanced_partition_is_cheaper(case):
    n, groups, upper, order = case
    matrix = symmetric(upper, n)
    cut = minimum_cut(matrix, groups)
    assert sorted(o for group in cut.groups for o in group) == list(range(n))
    lengths = [len(group) for group in cut.groups]
    assert len(lengths) == groups
    assert max(lengths) - min(lengths) <= 1
    assert cut.cost == crossing(matrix, cut.groups)
    every = [
        crossing(matrix, [[o for o in range(n) if labels[o] == g] for g in range(groups)])
        for labels in product(range(groups), repeat=n)
        if max(map(labels.count, range(groups))) - min(map(labels.count, range(groups))) <= 1
    ]
    assert cut.cost == min(every)
    relabelled = minimum_cut(matrix[list(order)][:, list(order)], groups)
    assert relabelled.cost == cut.cost  # to the last bit
    if every.count(cut.cost) == math.factorial(groups):  # one partition, its groups in any order
        found = {frozenset(order[o] for o in group) for group in relabelled.groups}
        assert found == set(map(frozenset, cut.groups))


def test_equal_cuts_go_to_the_first_and_twice_to_the_same():
    alike = torch.ones(4, 4)
    assert minimum_cut(alike, 2).groups == ((0, 1), (2, 3))
    assert minimum_cut(alike, 2) == minimum_cut(alike.clone(), 2)
    assert minimum_cut(torch.zeros(7, 7), 3).groups == ((0, 1, 2), (3, 4), (5, 6))


def test_the_order_of_a_sum_makes_no_difference():
    """0.1, 0.2 and 0.3 add up to two numbers, by the order."""
    matrix = symmetric([0.1, 0.2, 0.3, 0.3, 0.2, 0.1], 4)
    costs = {minimum_cut(matrix[list(o)][:, list(o)], 2).cost for o in permutations(range(4))}
    assert len(costs) == 1
    assert costs.pop() == pytest.approx(0.6)


# ---------------------------------------------------------------- which decision
def test_the_split_decision_has_the_least_similar_groups():
    cuts = {
        "few": Cut(((0,), (1, 2)), 1.0, 2),
        "many": Cut(((0, 1, 2), (3, 4, 5, 6)), 3.0, 12),  # a larger sum, a smaller mean
        "same": Cut(((0, 1), (2, 3)), 1.0, 4),
    }
    assert best_split(cuts) == "many"
    assert best_split({"same": cuts["same"], "many": cuts["many"]}) == "same"


def test_scores_below_any_number_are_no_special_case():
    """A score may be negative where gradients oppose each other, or as large as 1."""
    assert best_split({"a": Cut(((0,), (1,)), 1.0, 1), "b": Cut(((0,), (1,)), -1.0, 1)}) == "b"
    assert best_split({"a": Cut(((0,), (1,)), 1.0, 1)}) == "a"


# ---------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("matrix", "groups", "message"),
    [
        (torch.zeros(9, 9), 2, "at most 8 options are partitioned.*got 9"),
        (torch.zeros(5, 5), 1, "2 to 5 groups, got 1"),
        (torch.zeros(3, 3), 4, "2 to 3 groups, got 4"),
        (torch.zeros(3, 4), 2, "square matrix"),
        (torch.tensor([[0, 1.0], [2.0, 0]]), 2, "symmetric, got 1.0 and 2.0"),
        (torch.full((3, 3), math.nan), 2, "finite"),
    ],
)
def test_matrices_that_cannot_be_cut(matrix, groups, message):
    with pytest.raises(SpecError, match=message):
        minimum_cut(matrix, groups)


def test_nothing_left_to_split():
    with pytest.raises(SpecError, match="not split yet"):
        best_split({})
