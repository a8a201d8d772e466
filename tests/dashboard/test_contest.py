"""Competitors on one ground: who repeats whom, on what they are compared, against what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netloom.dashboard.axes import reference_of
from netloom.dashboard.contest import MAX_COMPETITORS, Contest, common_objectives, read_contest
from netloom.errors import SpecError, StoreError, UnknownName

from .conftest import ACCURACY, EYERISS, LATENCY, MAX_ACCURACY, MIN_LATENCY

PARAMETERS = {"metric": "params", "direction": "minimize"}


def labels(contest: Contest) -> list[str]:
    return [each.label for each in contest.competitors]


def test_one_reference_and_volumes_by_hand(store, make, pairs):
    make(pairs([(80, 2), (90, 6)]), "A")
    make(pairs([(70, 4), (85, 12)]), "B")
    contest = read_contest(store, ["A", "B"])
    # the worst of all and 10 % of the range: 70 - 2 %, 12 + 1 ms
    assert contest.named_reference == pytest.approx(
        {"valid_accuracy": 68.0, "latency_ms@pixel3": 13.0}
    )
    first, second = (each.runs[0] for each in contest.competitors)
    assert first.volume(contest.reference) == pytest.approx(12 * (13 - 2) + 10 * (13 - 6))
    assert first.volume(contest.reference, 1) == pytest.approx(12 * 11)
    assert second.volume(contest.reference) == pytest.approx(2 * 9 + 15 * 1)
    assert labels(contest) == ["A", "B"]
    assert contest.warnings == ()


def test_what_counts_is_what_the_search_evaluated(store, make, trial):
    good = {"valid_accuracy": 99.0, "latency_ms@pixel3": 1.0}
    make(
        [
            trial(0, good, status="infeasible", violation=1.0),
            trial(1, {}, status="failed"),
            trial(2, {"valid_accuracy": 80.0, "latency_ms@pixel3": 4.0}),
            trial(3, {"valid_accuracy": 70.0, "latency_ms@pixel3": 5.0}),
            trial(4, good, tags={"fixed": "ResNet"}),
        ],
        "A",
    )
    (run,) = read_contest(store, ["A"]).runs
    assert run.evaluations == 3
    assert run.number.tolist() == [1, 2, 3]
    assert run.front.tolist() == run.entered.tolist() == [1]
    assert run.notation == {1: "|nor_conv_3x3~0|+|skip~2|"}


def test_seeds_of_one_spec_repeat_each_other(store, make, pairs):
    for seed in range(3):
        make(pairs([(80 + seed, 2)]), f"toy-s{seed}", group="toy", seed=seed)
    make(pairs([(80, 2)]), "other", group="toy", seed=7, strategy="random")
    make(pairs([(80, 2)]), "again", group="toy", seed=1)
    contest = read_contest(store, [], ["toy"])
    assert labels(contest) == ["toy", "other", "again"]  # a seed counts once
    assert [len(each.runs) for each in contest.competitors] == [3, 1, 1]
    apart = read_contest(store, ["toy-s0", "toy-s1", "toy-s1"], apart=True)
    assert labels(apart) == ["toy-s0", "toy-s1"]


def test_competitors_of_one_group_are_told_apart(store, make, pairs):
    for strategy in ("nsga2", "random"):
        for seed in range(2):
            make(pairs([(80, 2)]), f"{strategy}{seed}", group="g", seed=seed, strategy=strategy)
    assert labels(read_contest(store, [], ["g"])) == ["g, nsga2", "g, random"]


def test_other_options_are_another_competitor(store, make, pairs):
    def spec(name, population):
        return {"name": name, "strategy": {"name": "nsga2", "population": population}}

    for seed, population in ((0, 16), (1, 16), (2, 64)):
        name = f"toy-s{seed}"
        make(pairs([(80, 2)]), name, group="g", seed=seed, spec=spec(name, population))
    contest = read_contest(store, [], ["g"])
    assert [len(each.runs) for each in contest.competitors] == [2, 1]


def test_only_common_objectives_count(store, make, trial):
    values = {"valid_accuracy": 80.0, "latency_ms@pixel3": 4.0, "params": 10.0}
    goals = (MAX_ACCURACY, PARAMETERS, MIN_LATENCY)
    # worse in what both have, so not on the front that both have
    make([trial(0, values), trial(1, {**values, "valid_accuracy": 70, "params": 1})], "A",
         objectives=goals)  # fmt: skip
    make([trial(0, values)], "B", objectives=(MIN_LATENCY, MAX_ACCURACY))
    contest = read_contest(store, ["A", "B"])
    assert [axis.metric for axis in contest.axes] == ["valid_accuracy", "latency_ms@pixel3"]
    assert [run.front.tolist() for run in contest.runs] == [[0], [0]]
    assert contest.runs[0].losses[0].tolist() == [-80.0, 4.0]


@pytest.mark.parametrize(
    ("objectives", "metrics", "said"),
    [
        ((PARAMETERS,), None, "min params"),
        (({**MIN_LATENCY, "direction": "maximize"},), None, "max latency_ms@pixel3"),
        ((MIN_LATENCY,), "other unit", "min latency_ms@pixel3 (us)"),
    ],
)
def test_without_a_common_objective_nothing_is_compared(store, make, objectives, metrics, said):
    more = {"metrics": (ACCURACY, replace(LATENCY, unit="us"))} if metrics else {}
    records = [make((), "A"), make((), "B", objectives=objectives, **more)]
    with pytest.raises(SpecError, match="got none: A has") as refusal:
        common_objectives(records)
    assert "A has max valid_accuracy (%), min latency_ms@pixel3" in str(refusal.value)
    assert said in str(refusal.value)


def test_unknown_names_and_too_many(store, make):
    for number in range(MAX_COMPETITORS + 1):
        make((), f"toy{number}", seed=0, group="five")
    with pytest.raises(StoreError, match="toy0"):
        read_contest(store, ["toi0"])
    with pytest.raises(UnknownName, match="did you mean five"):
        read_contest(store, [], ["fife"])
    with pytest.raises(SpecError, match="one to 60 experiments, got 0"):
        read_contest(store, [])
    with pytest.raises(SpecError, match="at most 6 competitors, got 7"):
        read_contest(store, [], ["five"])


def test_an_experiment_without_a_front(store, make, pairs, trial):
    make(pairs([(80, 2)]), "A")
    make([trial(0, {}, status="failed")], "B")
    contest = read_contest(store, ["A", "B"])
    assert contest.runs[1].volume(contest.reference) == 0.0
    assert len(contest.runs[1].extremes) == 0
    nothing = read_contest(store, ["B"])
    assert nothing.reference is None
    assert nothing.named_reference == {}


def test_unlike_measurements_and_constraints_are_said(store, make, pairs):
    make(pairs([(80, 2)]), "A")
    make(
        pairs([(80, 2)]),
        "B",
        metrics=(replace(ACCURACY, fingerprint="0" * 64), LATENCY, EYERISS),
        constraints=({"metric": "latency_ms@eyeriss", "max": 6.0},),
    )
    measured, limits = read_contest(store, ["A", "B"]).warnings
    assert measured.startswith("The values of valid_accuracy do not come from the same estimator")
    assert limits == (
        "The constraints differ: A searched without constraints; "
        "B searched with latency_ms@eyeriss ≤ 6 ms."
    )


def test_the_extremes_give_the_same_reference_as_all_results(store, make, pairs):
    rng = np.random.default_rng(0)
    make(pairs(rng.uniform(1, 9, (30, 2)).tolist()), "A")
    make(pairs(rng.uniform(2, 19, (30, 2)).tolist()), "B")
    contest = read_contest(store, ["A", "B"])
    whole = reference_of(*(run.losses for run in contest.runs))
    assert contest.reference.tolist() == whole.tolist()
