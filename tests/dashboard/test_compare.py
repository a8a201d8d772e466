"""Ahead of random search and of the noise: only when the data say so."""

from __future__ import annotations

import numpy as np
import pytest

from netloom.dashboard import BaselineView
from netloom.dashboard.compare import division_test, paired_interval

SPEED = ({"metric": "latency_ms@pixel3", "direction": "minimize"},)


def draw(seed: int, *, shift: float = 0.0, rows: int = 40) -> list[tuple[float, float]]:
    rng = np.random.default_rng(seed)
    latency = rng.uniform(2, 12, rows)
    accuracy = 60 + 2 * latency - rng.exponential(6, rows) + shift
    return list(zip(accuracy.tolist(), latency.tolist(), strict=True))


def test_no_baseline_no_statement(store, make, pairs):
    make(pairs(draw(0)))
    assert BaselineView.of(store, "toy") is None


@pytest.mark.parametrize(("shift", "verdict"), [(8.0, "ahead"), (-8.0, "behind"), (0.0, "level")])
def test_one_seed(store, make, pairs, shift, verdict):
    record = make(pairs(draw(1, shift=shift)))
    make(pairs(draw(2)), "toy-random", kind="baseline", parent=record.id)
    view = BaselineView.of(store, "toy")
    assert view.verdict == verdict
    assert (view.evaluations, view.seeds, view.interval) == (40, 1, None)
    assert (view.p_value < 0.05) == (verdict != "level")
    assert view.difference == pytest.approx(view.score - view.baseline_score)
    assert "One seed says nothing about how other seeds vary" in view.sentence
    assert BaselineView.of(store, "toy") == view


def test_both_sides_are_cut_to_equal_effort_and_infeasible_trials_are_free(
    store, make, pairs, trial
):
    good = {"valid_accuracy": 99.0, "latency_ms@pixel3": 1.0}
    searched = [
        *pairs(draw(1)),
        *(trial(n, good, status="infeasible", violation=1.0) for n in (40, 41)),
    ]
    record = make(searched)
    make(pairs(draw(2, rows=60)), "toy-random", kind="baseline", parent=record.id)
    assert BaselineView.of(store, "toy").evaluations == 40


def test_a_handful_of_evaluations_says_nothing(store, make, pairs):
    record = make(pairs(draw(1, shift=50, rows=5)))
    make(pairs(draw(2, rows=5)), "toy-random", kind="baseline", parent=record.id)
    view = BaselineView.of(store, "toy")
    assert (view.verdict, view.p_value) == ("too few", None)
    assert "cannot be told from noise (5 evaluations now)" in view.sentence


def test_nothing_feasible_on_either_side(store, make, trial):
    lost = [trial(n, {}, status="failed") for n in range(20)]
    record = make(lost)
    make(lost, "toy-random", kind="baseline", parent=record.id)
    view = BaselineView.of(store, "toy")
    assert view.verdict == "too few"
    assert "nothing to compare" in view.sentence


def test_one_objective_is_told_in_its_own_unit(store, make, trial):
    def fast(base: float):
        return [trial(n, {"latency_ms@pixel3": base + n}) for n in range(12)]

    record = make(fast(3.0), objectives=SPEED)
    make(fast(20.0), "toy-random", kind="baseline", parent=record.id, objectives=SPEED)
    view = BaselineView.of(store, "toy")
    assert (view.score, view.baseline_score, view.difference) == pytest.approx((3.0, 20.0, 17.0))
    assert view.verdict == "ahead"
    assert "Best latency_ms@pixel3: 3 ms, random search with the same 12 evaluations: 20 ms" in (
        view.sentence
    )


def test_one_side_without_a_feasible_result(store, make, trial):
    record = make([trial(n, {}, status="failed") for n in range(12)], objectives=SPEED)
    found = [trial(n, {"latency_ms@pixel3": 4.0}) for n in range(12)]
    make(found, "toy-random", kind="baseline", parent=record.id, objectives=SPEED)
    view = BaselineView.of(store, "toy")
    assert np.isnan(view.score)
    assert view.verdict == "behind"
    assert "nothing feasible" in view.sentence


@pytest.mark.parametrize(("shift", "verdict"), [(6.0, "ahead"), (0.0, "level")])
def test_several_seeds_are_compared_in_pairs(store, make, pairs, shift, verdict):
    for seed in range(4):
        record = make(pairs(draw(seed, shift=shift)), f"toy-s{seed}", group="five", seed=seed)
        make(
            pairs(draw(100 + seed)), f"random-s{seed}", kind="baseline", parent=record.id, seed=seed
        )
    make(pairs(draw(9)), "another strategy", group="five", strategy="random", seed=9)
    again = make(pairs(draw(1, shift=shift)), "toy-s1-2", group="five", seed=1)
    make(pairs(draw(101)), "random-s1-2", kind="baseline", parent=again.id, seed=1)
    view = BaselineView.of(store, "toy-s2")
    assert (view.seeds, view.verdict, view.p_value) == (4, verdict, None)
    low, high = view.interval
    assert low < view.difference < high
    assert "4 seeds of 40 evaluations each" in view.sentence
    assert view.sentence.startswith("Mean hypervolume")
    assert "noise between seeds" in view.sentence


def test_differences_of_percentages_are_points(store, make, trial):
    goal = ({"metric": "valid_accuracy", "direction": "maximize"},)
    for seed in range(3):
        trials = [trial(n, {"valid_accuracy": 80.0 + seed + n}) for n in range(12)]
        better = [trial(n, {"valid_accuracy": 90.0 + 1.1 * seed + n}) for n in range(12)]
        record = make(better, f"toy-s{seed}", group="g", seed=seed, objectives=goal)
        make(trials, f"r-s{seed}", kind="baseline", parent=record.id, seed=seed, objectives=goal)
    said = BaselineView.of(store, "toy-s0").sentence
    assert said.startswith("Mean best valid_accuracy: 102.1 %, random search with 3 seeds")
    assert "The 95 % interval of the difference is 9.852 points to 10.35 points" in said


def test_seeds_of_different_lengths_are_not_called_equal(store, make, pairs):
    for seed, rows in enumerate((40, 30, 40)):
        record = make(pairs(draw(seed, rows=rows)), f"toy-s{seed}", group="g", seed=seed)
        make(pairs(draw(9 + seed)), f"r-s{seed}", kind="baseline", parent=record.id, seed=seed)
    said = BaselineView.of(store, "toy-s0").sentence
    assert "3 seeds of at least 30 evaluations each" in said


def test_the_interval_is_students():
    low, high = paired_interval(np.array([1.0, 2.0, 3.0]))
    assert (low, high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), rel=1e-5)


def test_the_division_test_keeps_its_level():
    """When both sides are random search, about one comparison in twenty reaches 5 %."""
    rng, hits, runs = np.random.default_rng(5), 0, 300
    for _ in range(runs):
        losses = rng.normal(size=(2, 15, 2))
        hits += division_test(losses[0], losses[1], np.array([4.0, 4.0]), draws=79) <= 0.05
    assert 2 <= hits <= 30  # 15 expected, 4 standard deviations


def test_dropping_the_deep_ranks_changes_nothing():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 400, 2))
    reference = np.array([5.0, 5.0])
    from netloom.dashboard import compare

    pruned = division_test(first, second, reference, draws=1500)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "MAX_RANK", 10**6)
        whole = division_test(first, second, reference, draws=1500)
    assert whole == pytest.approx(pruned, abs=0.05)  # other draws: 4 standard deviations


def test_a_division_with_few_rows_that_matter_counts_all_evaluations():
    """One result on each side, the rest without: half of the divisions put both into one half."""
    first, second = np.full((50, 2), np.nan), np.full((50, 2), np.nan)
    first[7], second[31] = (1.0, 1.0), (1.0, 1.0)
    assert division_test(first, second, np.array([2.0, 2.0])) == 1.0  # observed: no difference
    second[31] = np.nan
    first[8] = 1.0, 1.0
    # of one side alone: the same volume as in every division that keeps the two together
    p_value = division_test(first, second, np.array([2.0, 2.0]), draws=4000)
    assert p_value == pytest.approx(49 / 99, abs=0.032)
