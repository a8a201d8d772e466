"""Coverage by hand, and statements that claim no more than the data allow."""

from __future__ import annotations

import numpy as np
import pytest

from netloom.dashboard.contest import read_contest
from netloom.dashboard.findings import coverage, findings, welch_interval

from .test_compare import draw


def test_coverage_by_hand(store, make, pairs):
    make(pairs([(80, 2), (90, 6), (60, 9)]), "A")  # the last one is not on the front
    make(pairs([(80, 2), (85, 6), (70, 1), (95, 12)]), "B")
    first, second = read_contest(store, ["A", "B"]).competitors
    # of B: (80, 2) is equalled, (85, 6) dominated, (70, 1) and (95, 12) are not
    assert coverage(first, second) == 0.5
    # of A: (80, 2) is equalled, (90, 6) is not
    assert coverage(second, first) == 0.5
    assert coverage(first, first) == 1.0


def test_coverage_of_several_runs_is_the_mean_over_pairs(store, make, pairs):
    make(pairs([(80, 4)]), "A", strategy="random")
    for seed, values in enumerate([[(70, 5)], [(90, 5)], []]):
        make(pairs(values), f"B-s{seed}", group="B", seed=seed)
    one, many = read_contest(store, ["A"], ["B"]).competitors
    assert coverage(one, many) == 0.5  # one of two; the third has no front to cover
    assert coverage(many, one) == 0.0
    make(pairs([(80, 4)]), "B-s3", group="B", seed=3)
    one, many = read_contest(store, ["A"], ["B"]).competitors
    assert coverage(one, many) == pytest.approx(2 / 3)
    assert coverage(many, one) == 0.25  # the run without a front covers nothing, and counts


def test_no_front_no_coverage(store, make, pairs, trial):
    make(pairs([(80, 4)]), "A")
    make([trial(0, {}, status="failed")], "B")
    first, second = read_contest(store, ["A", "B"]).competitors
    assert coverage(first, second) is None
    assert coverage(second, first) == 0.0


@pytest.mark.parametrize(("shift", "verdict"), [(8.0, "ahead"), (-8.0, "behind"), (0.0, "level")])
def test_one_run_each_is_divided_with_equal_effort(store, make, pairs, shift, verdict):
    make(pairs(draw(1, shift=shift)), "A")
    make(pairs(draw(2, rows=60)), "B")
    (found,) = findings(read_contest(store, ["A", "B"]))
    assert (found.verdict, found.evaluations, found.interval) == (verdict, 40, None)
    assert (found.p_value < 0.05) == (verdict != "level")
    assert "after 40 evaluations of each run" in found.sentence
    assert "nor which method is better" in found.sentence
    leader = {"ahead": "A is ahead", "behind": "B is ahead"}.get(verdict, "within the noise")
    assert leader in found.sentence


@pytest.mark.parametrize(("shift", "verdict"), [(8.0, "ahead"), (-8.0, "behind"), (0.0, "level")])
def test_seeds_are_compared_by_an_interval(store, make, pairs, shift, verdict):
    for seed in range(4):
        make(pairs(draw(seed, shift=shift)), f"A-s{seed}", group="A", seed=seed)
    for seed in range(3):
        make(pairs(draw(100 + seed)), f"B-s{seed}", group="B", seed=seed, strategy="random")
    (found,) = findings(read_contest(store, [], ["A", "B"]))
    assert (found.verdict, found.p_value) == (verdict, None)
    low, high = found.interval
    assert low < found.scores[0] - found.scores[1] < high
    assert found.sentence.startswith("Mean hypervolume after 40 evaluations of each run: ")
    assert "(A, 4 runs) against" in found.sentence
    assert "The 95 % interval of the difference is" in found.sentence
    assert "noise between seeds" in found.sentence


def test_fewer_seeds_claim_nothing(store, make, pairs):
    for seed in range(2):
        make(pairs(draw(seed, shift=50)), f"A-s{seed}", group="A", seed=seed)
    make(pairs(draw(9)), "B", strategy="random")
    (found,) = findings(read_contest(store, ["B"], ["A"]))
    assert (found.verdict, found.p_value, found.interval) == ("too few", None, None)
    assert "1 run and 2 runs cannot tell this from noise; give each 3 seeds" in found.sentence


def test_a_handful_of_evaluations_claims_nothing(store, make, pairs):
    make(pairs(draw(1, shift=50, rows=5)), "A")
    make(pairs(draw(2, rows=50)), "B")
    (found,) = findings(read_contest(store, ["A", "B"]))
    assert found.verdict == "too few"
    assert "fewer than 10 evaluations" in found.sentence


def test_nothing_feasible_is_not_compared(store, make):
    make((), "A")
    make((), "B")
    assert findings(read_contest(store, ["A", "B"])) == []


def test_the_error_is_shared_among_the_comparisons(store, make, pairs):
    for name in "ABC":
        for seed in range(3):
            values = draw(seed + 10 * ord(name))
            make(pairs(values), f"{name}-s{seed}", group=name, seed=seed, strategy=name)
    three = findings(read_contest(store, [], ["A", "B", "C"]))
    assert [(each.first, each.second) for each in three] == [("A", "B"), ("A", "C"), ("B", "C")]
    assert "The 98.33 % interval" in three[0].sentence
    assert "(5 % shared among 3 comparisons)" in three[0].sentence
    (alone,) = findings(read_contest(store, [], ["A", "B"]))
    wide = three[0].interval[1] - three[0].interval[0]
    assert wide > alone.interval[1] - alone.interval[0]


def test_the_interval_is_welchs():
    first, second = np.array([3.0, 4.0, 5.0]), np.array([1.0, 1.0, 1.0])
    # the second varies not at all: 2 degrees of freedom, t = 4.302653, sqrt(1 / 3)
    half = 4.302653 / 3**0.5
    assert welch_interval(first, second) == pytest.approx((3 - half, 3 + half), rel=1e-5)
    # equal sizes and variances: 4 degrees of freedom, t = 2.776445, sqrt(2 / 3)
    half = 2.776445 * (2 / 3) ** 0.5
    assert welch_interval(first, first + 1) == pytest.approx((-1 - half, -1 + half), rel=1e-5)
    assert welch_interval(second, second) == (0.0, 0.0)
