"""What the loop records: budgets, infeasible and failed trials, reuse, repeats, order."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_plans import PROJECT, SPEC, TRAIN, trained

from netloom.db import Store
from netloom.search.run.plan import Plan
from netloom.search.run.runner import Runner

Plans = Callable[..., Plan]


def test_the_budget_of_trials_is_spent_exactly(plan: Plans, store: Store) -> None:
    summary = Runner(plan(budget={"trials": 21}), store).run()
    assert (summary.reason, summary.exit_code) == ("budget", 0)
    assert summary.counts["done"] == 21
    assert [r.number for r in store.trial_records(summary.experiment.id)] == list(range(21))
    assert summary.experiment.status == "done"


def test_every_trial_is_told_once_in_number_order(plan: Plans, store: Store) -> None:
    summary = Runner(plan(**TRAIN), store).run()
    told = [r.number for r in store.told_trials(summary.experiment.id)]
    assert told == list(range(10))


def test_a_small_space_is_exhausted(plan: Plans, store: Store) -> None:
    small = {"name": "toys:Grid", "depth": 2, "width": 3}
    summary = Runner(plan(space=small, budget={"trials": 100}), store).run()
    assert (summary.reason, summary.counts["done"], summary.exit_code) == ("exhausted", 9, 0)


def test_time_ends_the_search(plan: Plans, store: Store) -> None:
    changes = trained(sleep_s=0.02) | {"budget": {"time": 0.3}}
    summary = Runner(plan(**changes), store).run()
    assert summary.reason == "time"
    assert summary.exit_code == 0
    assert 0 < summary.counts["done"] < 1296
    assert summary.counts.get("running", 0) == 0


def test_epochs_end_the_search(plan: Plans, store: Store) -> None:
    summary = Runner(plan(**trained(epochs=3) | {"budget": {"epochs": 20}}), store).run()
    assert summary.reason == "budget"
    assert summary.experiment.summary["epochs"] == 21  # seven trials of three: the last overshoots
    assert summary.counts["done"] == 7


def test_what_breaks_a_cheap_constraint_is_recorded_and_never_trained(
    plan: Plans, store: Store, tmp_path: Path
) -> None:
    log = tmp_path / "trained"
    changes = trained(log=str(log)) | {"constraints": ["cost <= 9"], "budget": {"trials": 8}}
    summary = Runner(plan(**changes), store).run()
    records = store.trial_records(summary.experiment.id)
    bad = [r for r in records if r.status == "infeasible"]
    good = [r for r in records if r.status == "done"]
    assert len(good) == 8  # infeasible ones do not count
    assert bad
    assert all(r.violation == pytest.approx((r.metrics["cost"] - 9) / 9) for r in bad)
    assert all("accuracy" not in r.metrics for r in bad)
    assert len(log.read_text().splitlines()) == 8
    assert all(r.metrics["cost"] <= 9 for r in good)


def test_a_device_that_refuses_makes_a_trial_infeasible(plan: Plans, store: Store) -> None:
    changes = {"estimators": [{"name": "toys:Cost", "limit": 10}], "budget": {"trials": 10}}
    summary = Runner(plan(**changes), store).run()
    refused = [r for r in store.trial_records(summary.experiment.id) if r.status == "infeasible"]
    assert refused
    for record in refused:
        total = sum(record.architecture.values())
        assert record.violation == pytest.approx((total - 10) / 10)
        assert record.error == "HardwareLimit: too big"


def test_infeasible_architectures_are_capped(plan: Plans, store: Store) -> None:
    changes = {"constraints": ["cost <= -1"], "budget": {"trials": 5, "max_infeasible": 12}}
    summary = Runner(plan(**changes), store).run()
    assert (summary.reason, summary.exit_code) == ("max_infeasible", 3)
    assert 12 <= summary.counts["infeasible"] <= 15  # checked after each batch of four
    assert summary.experiment.status == "infeasible"


def test_a_search_without_a_feasible_architecture_says_why(plan: Plans, store: Store) -> None:
    changes = {
        "constraints": ["cost <= -1", "gain >= 0"],
        "budget": {"trials": 5, "max_infeasible": 40},
    }
    found = Runner(plan(**changes), store).run().nearest
    assert found is not None
    records = store.trial_records(store.experiment("toy").id)
    nearest = min(records, key=lambda r: r.violation)
    assert (found.number, found.violation) == (nearest.number, nearest.violation)
    assert found.binding == "cost <= -1"
    assert found.satisfied == {"cost <= -1": 0.0, "gain >= 0": 1.0}
    assert str(found.number) in str(found)
    assert "cost <= -1" in str(found)


def test_of_constraints_that_nothing_satisfies_the_farthest_binds(
    plan: Plans, store: Store
) -> None:
    changes = {"constraints": ["cost <= -1", "gain <= -0.01"], "budget": {"trials": 5}}
    found = Runner(plan(**changes), store).run().nearest
    assert found is not None
    assert found.satisfied == {"cost <= -1": 0.0, "gain <= -0.01": 0.0}
    assert found.binding == "gain <= -0.01"


def test_a_broken_constraint_on_a_costly_metric_is_measured(plan: Plans, store: Store) -> None:
    changes = {**TRAIN, "constraints": ["accuracy >= 12"]}
    summary = Runner(plan(**changes), store).run()
    records = store.trial_records(summary.experiment.id)
    assert {r.status for r in records} == {"done"}  # it was paid for
    low = [r for r in records if r.metrics["accuracy"] < 12]
    assert low
    assert all(r.violation == pytest.approx((12 - r.metrics["accuracy"]) / 12) for r in low)
    assert all(r.metrics["accuracy"] >= 12 for r in summary.front)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"raise_at": 8}, "EvaluationError: it does not train"),
        ({"nan_at": 8}, "EvaluationError: train: accuracy must be a finite number, got nan"),
        (
            {"nan_at": 8, "stop_at": 8},
            "EvaluationError: train: accuracy must be a finite number, got nan",
        ),
        ({"exit_at": 8}, "SystemExit: 3"),
    ],
)
def test_a_failed_trial_is_recorded_and_the_search_goes_on(
    plan: Plans, store: Store, options: dict[str, int], reason: str
) -> None:
    changes = trained(**options) | {"budget": {"trials": 40}}
    summary = Runner(plan(**changes), store).run()
    failed = [r for r in store.trial_records(summary.experiment.id) if r.status == "failed"]
    assert failed
    assert summary.counts["done"] + len(failed) == 40
    for record in failed:
        assert sum(record.architecture.values()) == 8
        assert record.error == reason
        assert "Traceback" in (record.traceback or "")
        assert "accuracy" not in record.metrics
        assert record.metrics["cost"] == 8  # what was known before stays


def test_a_trial_that_stops_itself_is_pruned_with_the_metrics_it_owes(
    plan: Plans, store: Store
) -> None:
    summary = Runner(plan(**trained(stop_at=8) | {"budget": {"trials": 40}}), store).run()
    records = store.trial_records(summary.experiment.id)
    pruned = [r for r in records if r.status == "pruned"]
    assert {sum(r.architecture.values()) for r in pruned} == {8}
    assert all(r.metrics.keys() == {"accuracy", "cost", "gain"} for r in pruned)
    assert all(r.metrics["accuracy"] == pytest.approx(8.1, abs=0.01) for r in pruned)
    assert summary.counts["done"] + len(pruned) == 40


def test_a_failing_cheap_estimator_is_a_failed_trial_with_one_line(
    plan: Plans, store: Store
) -> None:
    changes = {"estimators": [{"name": "toys:Cost", "broken": 8}], "budget": {"trials": 60}}
    summary = Runner(plan(**changes), store).run()
    failed = [r for r in store.trial_records(summary.experiment.id) if r.status == "failed"]
    assert failed
    assert {r.error for r in failed} == {"ValueError: the sum is 8 and that is bad"}
    assert summary.exit_code == 0


def test_when_every_trial_fails_the_run_fails(plan: Plans, store: Store) -> None:
    changes = trained(raise_at=0) | {"space": {"name": "toys:Grid", "width": 1}}
    summary = Runner(plan(**changes), store).run()
    assert summary.exit_code == 1
    assert summary.experiment.status == "failed"


def test_deterministic_results_are_reused_across_runs(
    plan: Plans, store: Store, tmp_path: Path
) -> None:
    log = tmp_path / "trained"
    exact = {"name": "toys:Exact", "log": str(log)}
    changes = {**TRAIN, "estimators": ["toys:Cost", exact]}
    first = Runner(plan(**changes), store).run()
    second = Runner(plan(**changes), store).run()
    assert len(log.read_text().splitlines()) == 10
    assert second.counts["reused"] == 10
    assert second.experiment.name == "toy-2"
    mine, theirs = (store.trial_records(s.experiment.id) for s in (first, second))
    assert [r.metrics for r in mine] == [r.metrics for r in theirs]
    assert [r.reused_from for r in theirs] == [r.id for r in mine]
    again = Runner(plan(**changes, reuse=False), store).run()
    assert again.counts["reused"] == 0
    assert len(log.read_text().splitlines()) == 20


@pytest.mark.parametrize(
    "changes",
    [
        {"estimators": ["toys:Cost", {"name": "toys:Exact", "epochs": 3}]},
        {"space": {"name": "toys:Grid", "width": 7}},
        {"estimators": ["toys:Cost", "toys:Train"]},
    ],
    ids=["options", "space", "random"],
)
def test_other_options_another_space_and_random_values_are_not_reused(
    plan: Plans, store: Store, changes: dict[str, Any]
) -> None:
    base = {**TRAIN, "estimators": ["toys:Cost", "toys:Exact"]}
    if "toys:Train" in changes.get("estimators", []):
        base = TRAIN
    Runner(plan(**base), store).run()
    assert Runner(plan(**{**base, **changes}), store).run().counts["reused"] == 0


def test_repeats_give_mean_and_spread(plan: Plans, store: Store, tmp_path: Path) -> None:
    log = tmp_path / "trained"
    summary = Runner(plan(**trained(log=str(log)), repeats=3), store).run()
    records = store.trial_records(summary.experiment.id)
    lines = [line.rsplit(" ", 1) for line in log.read_text().splitlines()]
    assert len(lines) == 30
    assert len({seed for _, seed in lines}) == 30
    from toys import Train

    for record, start in zip(records, range(0, 30, 3), strict=True):
        seeds = [int(seed) for _, seed in lines[start : start + 3]]
        assert seeds[0] == record.seed
        values = [sum(record.architecture.values()) + 0.2 + Train._noise(s) for s in seeds]
        assert record.metrics["accuracy"] == pytest.approx(statistics.fmean(values))
        assert record.metrics["accuracy_std"] == pytest.approx(statistics.stdev(values))
        assert "cost_std" not in record.metrics


def test_canonical_twins_count_as_one(plan: Plans, store: Store, tmp_path: Path) -> None:
    log = tmp_path / "trained"
    small = {"name": "toys:Grid", "depth": 2, "width": 4}  # 16 spellings of 10 networks
    changes = trained(log=str(log)) | {"space": small, "budget": {"trials": 50}}
    summary = Runner(plan(**changes, dedup="canonical"), store).run()
    records = store.trial_records(summary.experiment.id)
    assert len(log.read_text().splitlines()) == 10
    by_network: dict[tuple[Any, ...], set[float]] = {}
    for record in records:
        network = tuple(sorted(record.architecture.values()))
        by_network.setdefault(network, set()).add(record.metrics["accuracy"])
    assert len(by_network) == 10
    assert all(len(values) == 1 for values in by_network.values())
    assert len(records) == 10, "a twin in the same batch is no trial of its own"


def test_curves_of_trials_are_stored(plan: Plans, store: Store) -> None:
    summary = Runner(plan(**trained(epochs=3)), store).run()
    curves = store.curves(summary.experiment.id)
    assert set(curves.name) == {"accuracy", "loss"}
    curves = curves[curves.name == "accuracy"]
    assert len(curves) == 30
    last = curves[curves.step == 3].set_index("number").value.to_dict()
    records = store.trial_records(summary.experiment.id)
    assert last == {r.number: r.metrics["accuracy"] for r in records}


def test_events_come_in_order(plan: Plans, store: Store) -> None:
    events: list[tuple[str, int | None]] = []
    changes = {**TRAIN, "budget": {"trials": 4}}
    Runner(plan(**changes), store, listeners=[lambda e: events.append((e.kind, e.number))]).run()
    assert events[0] == ("started", None)
    assert events[-1] == ("finished", None)
    phases = [kind for kind, number in events if number == 2]
    assert phases == ["asked", "queued", "evaluating", "transaction", "committed", "told"]


def test_the_seed_decides_the_trials(plan: Plans, store: Store) -> None:
    def keys(seed: int) -> list[str]:
        summary = Runner(plan(**TRAIN, seed=seed), store).run()
        return [r.key for r in store.trial_records(summary.experiment.id)]

    assert keys(1) == keys(1) != keys(2)


def test_the_record_is_complete(plan: Plans, store: Store) -> None:
    record = Runner(plan(**TRAIN), store, command=["netloom", "search"]).run().experiment
    assert record.spec["estimators"][0]["name"] == "toys:Cost"
    assert record.info["source_dir"] == str(PROJECT)
    assert record.info["space_size"] == "1296"
    assert record.versions["command"] == ["netloom", "search"]
    assert record.strategy == SPEC["strategy"]["name"]
    assert {m.name: m.split for m in record.metrics} == {
        "cost": "valid",
        "gain": "valid",
        "accuracy": "valid",
    }
