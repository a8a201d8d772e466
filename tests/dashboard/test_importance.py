"""Importances of decisions: known ones are found, and what cannot be known is said."""

from __future__ import annotations

import random

import numpy as np
import pytest

from netloom.dashboard.columns import ABSENT, BINS, MAX_LEVELS, columns_of
from netloom.dashboard.importance import MIN_TRIALS, encode, study

OPERATIONS = ("none", "skip", "conv", "pool")


def architectures(count, *, seed=0):
    """Four words, a number, and a decision that is there only behind `depth` 2."""
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        each = {f"op{place}": rng.choice(OPERATIONS) for place in range(4)}
        each |= {"width": rng.choice([8, 16, 32, 64]), "depth": rng.choice([1, 2])}
        if each["depth"] == 2:
            each["second"] = rng.choice([3, 5, 7])
        found.append(each)
    return found


def test_a_metric_of_one_decision_is_all_that_decision():
    chosen = architectures(200)
    values = np.array([10.0 * (each["op2"] == "conv") for each in chosen])
    found = study(columns_of(chosen), values)
    first, *rest = found.importances
    assert (first.decision, found.problem, found.poor) == ("op2", None, False)
    assert first.share > 0.97
    assert first.mean == pytest.approx(2.0, abs=0.35)  # shuffled, it knows nothing and is misled
    assert first.low > 1.0
    assert all(each.mean < 0.05 for each in rest)
    assert found.r2 > 0.98
    assert found.spearman > 0.8  # of two values: ties
    levels = dict(zip(["conv", "none", "pool", "skip"], found.dependence["op2"], strict=True))
    assert levels["conv"] == pytest.approx(10.0, abs=0.5)
    assert levels["skip"] == pytest.approx(0.0, abs=0.5)


def test_two_decisions_share_as_their_variances():
    chosen = [{n: v for n, v in e.items() if n != "second"} for e in architectures(400)]
    values = np.array([3.0 * (e["depth"] == 2) + (e["op0"] in ("none", "skip")) for e in chosen])
    found = study(columns_of(chosen), values)
    shares = {each.decision: each.share for each in found.importances}
    assert shares["depth"] == pytest.approx(0.9, abs=0.04)
    assert shares["op0"] == pytest.approx(0.1, abs=0.04)
    assert found.importances[0].low < 1.8 < found.importances[0].high  # 2 x 0.9


def test_noise_has_no_importances_worth_the_name():
    values = np.random.default_rng(1).normal(size=200)
    found = study(columns_of(architectures(200)), values)
    assert found.poor
    assert found.r2 < 0.1
    assert abs(found.spearman) < 0.25
    assert "the importances mean little" in found.sentence


def test_a_conditional_decision_matters_where_it_is():
    chosen = architectures(300)
    values = np.array([float(each.get("second", 9)) for each in chosen])
    found = study(columns_of(chosen), values)
    first, second, *rest = found.importances
    assert (first.decision, second.decision) == ("second", "depth")  # depth says whether it is
    assert first.share > 0.5
    assert all(each.share < 0.01 for each in rest)
    assert found.dependence["second"] == pytest.approx([3, 5, 7], abs=0.6)


def test_the_same_trials_give_the_same_importances():
    chosen = architectures(60)
    values = np.array([float(each["width"]) for each in chosen])
    first, again = (study(columns_of(chosen), values) for _ in range(2))
    assert first.importances == again.importances
    assert first.r2 == again.r2


@pytest.mark.parametrize(
    ("chosen", "values", "said"),
    [
        ([{"op": "a"}], [1.0], f"at least {MIN_TRIALS} trials with a value, there are 1: 29 more"),
        ([], [], "there are 0: 30 more"),
        ([{"op": n % 3} for n in range(40)], [2.5] * 40, "the same value, 2.5"),
        ([{"op": "a", "width": 3}] * 40, list(range(40)), "taken one way only"),
    ],
)
def test_what_is_missing_is_said(chosen, values, said):
    found = study(columns_of(chosen), np.array(values, dtype=float))
    assert said in found.sentence
    assert found.importances == ()
    assert not found.poor


def test_values_that_hardly_differ_are_still_told_apart():
    chosen = architectures(80)
    values = np.array([1e6 + 0.01 * (each["op0"] == "conv") for each in chosen])
    assert study(columns_of(chosen), values).importances[0].decision == "op0"


def test_columns_know_what_is_not_there():
    first, second, third = columns_of([{"k": 5, "on": True}, {"k": 3, "on": 1}, {"op": "x"}])
    assert (first.name, first.options, first.numeric) == ("k", (3, 5), True)
    assert first.codes.tolist() == [1, 0, ABSENT]
    assert (second.numeric, len(second.options)) == (False, 2)  # true is not 1
    assert third.codes.tolist() == [ABSENT, ABSENT, 0]
    assert third.varied


def test_words_are_told_apart_and_numbers_are_in_order():
    columns = columns_of([{"op": "a", "k": 7}, {"op": "b", "k": 3}, {"k": 5}])
    matrix, blocks = encode(columns)
    assert [(block.start, block.stop) for block in blocks] == [(0, 2), (2, 3)]
    assert matrix.tolist() == [[1, 0, 2], [0, 1, 0], [0, 0, 1]]


def test_many_numbers_are_shown_in_ranges_and_many_words_by_use():
    columns = columns_of([{"n": n, "w": f"w{n // 2 if n < 40 else n}"} for n in range(120)])
    numbers, words = columns
    assert len(numbers.levels) == BINS
    assert numbers.levels[0].text == "0 to 9"
    assert numbers.levels[0].place == pytest.approx(4.5)
    assert sorted(code for level in numbers.levels for code in level.codes) == list(range(120))
    assert len(words.levels) == MAX_LEVELS
    assert words.levels[-1].text == "77 other options"
    values = np.array([float(n) for n in range(120)])
    found = study(columns, values)
    assert np.isnan(found.dependence["w"][-1])
    assert np.isfinite(found.dependence["n"]).all()
