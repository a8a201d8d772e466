"""Why nothing was feasible, and why trials failed."""

from __future__ import annotations

import pytest

from netloom.dashboard import Diagnosis
from netloom.dashboard.diagnosis import Failure, failures
from netloom.dashboard.table import TrialTable

EYERISS = {"metric": "latency_ms@eyeriss", "max": 6.0}
PARAMS = {"metric": "params", "max": 10.0}


def diagnose(store, record):
    return Diagnosis.of(record, TrialTable.read(store, record))


def lost(trial, rows):
    """Infeasible trials from (Eyeriss latency, parameters, violation)."""
    return [
        trial(
            number,
            {"latency_ms@eyeriss": latency, "params": params},
            status="infeasible",
            violation=violation,
        )
        for number, (latency, params, violation) in enumerate(rows, start=1)
    ]


def test_the_binding_constraint_and_the_nearest_miss(store, make, trial):
    rows = [(7.0, 9.0, 1.3 / 6), (8.0, 10.0, 2.3 / 6), (9.0, 9.0, 3.3 / 6)]
    trials = [trial(0, {}, status="failed"), *lost(trial, rows)]
    found = diagnose(store, make(trials, constraints=(EYERISS, PARAMS)))
    assert (found.title, found.broken) == ("Nothing feasible", True)
    assert (found.nearest, found.notation) == (1, "|nor_conv_3x3~0|+|skip~1|")
    assert found.violation == pytest.approx(1.3 / 6)
    assert [(share.held, share.known) for share in found.shares] == [(0, 3), (3, 3)]
    assert (
        "The binding one is latency_ms@eyeriss ≤ 6 ms: 0 of 3 trials satisfy it, the closest: 7 ms."
        " Trial 1 comes nearest, off by 22 % of the bounds in all."
    ) in found.sentence


def test_among_constraints_that_none_satisfies_the_one_missed_by_most_binds(store, make, trial):
    rows = [(7.0, 500.0, 49.2), (8.0, 600.0, 59.3)]
    found = diagnose(store, make(lost(trial, rows), constraints=(EYERISS, PARAMS)))
    assert [share.text for share in found.shares] == ["params ≤ 10", "latency_ms@eyeriss ≤ 6 ms"]
    assert "The binding one is params ≤ 10" in found.sentence
    assert "off by 49.2 times the bounds in all" in found.sentence


def test_a_lower_bound(store, make, trial):
    trials = [trial(0, {"params": 4.0}, status="infeasible", violation=0.2)]
    found = diagnose(store, make(trials, constraints=({"metric": "params", "min": 5.0},)))
    assert "The binding one is params ≥ 5: 0 of 1 trials satisfy it" in found.sentence
    assert "off by 20 % of the bound. Relax that bound, or search another space." in found.sentence


def test_what_a_device_cannot_hold_has_no_bound_to_relax(store, make, trial):
    trials = [
        trial(
            n, {}, status="infeasible", violation=0.5 + n, error=f"HardwareLimit: {n} KB too much"
        )
        for n in range(2)
    ]
    found = diagnose(store, make(trials))
    assert [(share.text, share.held, share.known) for share in found.shares] == [
        ("device limits", 0, 2)
    ]
    assert "the closest: HardwareLimit: 0 KB too much" in found.sentence


def test_no_diagnosis_with_a_feasible_trial(store, make, pairs):
    assert diagnose(store, make(pairs([(90, 5)]))) is None


@pytest.mark.parametrize(
    ("statuses", "title", "said", "broken"),
    [
        ([], "No trial yet", "No trial", False),
        (["failed"], "Every trial failed", "The only trial failed", True),
        (["failed"] * 2, "Every trial failed", "All 2 trials failed", True),
        (["failed", "queued"], "Nothing finished yet", "1 waiting, 1 failed", True),
        (["queued", "pruned"], "Nothing finished yet", "1 waiting, 1 stopped early", False),
    ],
)
def test_other_reasons_for_nothing_feasible(store, make, trial, statuses, title, said, broken):
    record = make([trial(n, {}, status=s, told=None) for n, s in enumerate(statuses)])
    found = diagnose(store, record)
    assert (found.title, found.broken) == (title, broken)
    assert said in found.sentence


def test_failures_are_told_by_reason_the_most_frequent_first(store, make, trial):
    reasons = ["NaN", "out of memory", "out of memory", None]
    trials = [trial(n, {}, status="failed", error=text) for n, text in enumerate(reasons)]
    record = make([*trials, trial(4, {"valid_accuracy": 90.0})])
    assert failures(TrialTable.read(store, record)) == [
        Failure("out of memory", (1, 2)),
        Failure("NaN", (0,)),
        Failure("no reason recorded", (3,)),
    ]
