"""Dominance, hypervolume and crowding agree with brute force and with pymoo."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pymoo.indicators.hv import HV
from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from netloom import pareto


def tables(max_value: int = 5):
    """Small integer tables: ties and duplicates are the rule."""
    shapes = st.tuples(st.integers(1, 12), st.integers(1, 4))
    values = st.integers(0, max_value).map(float)
    return shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=values))


def dominates(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((a <= b).all() and (a < b).any())


@settings(deadline=None)
@given(tables())
def test_the_front_is_what_nothing_dominates(points) -> None:
    expected = [not any(dominates(b, a) for b in points) for a in points]
    assert pareto.front_mask(points).tolist() == expected


@settings(deadline=None)
@given(tables())
def test_ranks_agree_with_pymoo(points) -> None:
    expected = np.empty(len(points), dtype=int)
    for rank, rows in enumerate(NonDominatedSorting().do(points)):
        expected[rows] = rank
    assert pareto.ranks(points).tolist() == expected.tolist()


@settings(deadline=None)
@given(tables())
def test_crowding_agrees_with_pymoo(points) -> None:
    np.testing.assert_allclose(pareto.crowding(points), calc_crowding_distance(points))


@settings(deadline=None)
@given(tables())
def test_hypervolume_agrees_with_pymoo(points) -> None:
    reference = np.full(points.shape[1], 4.5)  # some points lie beyond it
    expected = HV(ref_point=reference)(points)
    assert pareto.hypervolume(points, reference) == pytest.approx(expected)


def test_hypervolume_of_a_staircase_is_the_sum_of_its_steps() -> None:
    assert pareto.hypervolume([[1, 3], [2, 2], [3, 1], [3, 3]], [4, 4]) == 6.0
    assert pareto.hypervolume([[5.0, 0.0]], [4, 4]) == 0.0
    assert pareto.hypervolume(np.zeros((0, 2)), [4, 4]) == 0.0


def test_a_trial_without_a_value_is_worst() -> None:
    points = [[np.inf, np.inf], [1.0, 2.0], [np.inf, 0.0]]
    assert pareto.front_mask(points).tolist() == [False, True, True]
    assert pareto.ranks(points).tolist() == [1, 0, 0]
    assert pareto.hypervolume(points, [3, 3]) == 2.0


def test_the_reference_point_lies_a_tenth_beyond_the_worst_values() -> None:
    points = [[0.0, 50.0], [10.0, 50.0], [5.0, 50.0], [np.inf, 0.0]]
    assert pareto.reference_point(points).tolist() == [11.0, 55.0]
    assert pareto.reference_point([[0.0, -2.0]]) == pytest.approx([0.1, -1.8])


def test_no_points_are_no_error_where_there_is_an_answer() -> None:
    empty = np.zeros((0, 2))
    assert pareto.front_mask(empty).tolist() == []
    assert pareto.ranks(empty).tolist() == []
    assert pareto.crowding(empty).tolist() == []
    with pytest.raises(ValueError, match="at least one point"):
        pareto.reference_point(empty)


@pytest.mark.parametrize(
    "function",
    [
        pareto.front_mask,
        pareto.ranks,
        pareto.crowding,
        pareto.reference_point,
        lambda x: pareto.hypervolume(x, [1.0, 1.0]),
    ],
)
def test_nan_and_wrong_shapes_are_refused(function) -> None:
    with pytest.raises(ValueError, match="NaN"):
        function([[0.0, 1.0], [float("nan"), 1.0]])
    with pytest.raises(ValueError, match="shape"):
        function([1.0, 2.0])


def test_bad_references_are_refused() -> None:
    with pytest.raises(ValueError, match="one value per objective"):
        pareto.hypervolume([[0.0, 1.0]], [1.0])
    with pytest.raises(ValueError, match="reference point"):
        pareto.hypervolume([[0.0, 1.0]], [1.0, float("nan")])
    with pytest.raises(ValueError, match="finite"):
        pareto.crowding([[0.0, np.inf]])


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(pareto).failed == 0
