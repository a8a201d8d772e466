"""Views on stores whose fronts and volumes can be checked with a pencil."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from netloom.dashboard import ExperimentRow, HistoryView, ParetoView, experiment_rows, front
from netloom.dashboard.rows import open_record
from netloom.dashboard.table import TableCache, TrialTable
from netloom.db import MetricRecord
from netloom.db.records import CostRecord
from netloom.db.rescored import rescored_info
from netloom.errors import StoreError, UnknownName

FIVE = [(90, 5), (85, 3), (80, 4), (95, 9), (95, 9), (70, 2)]  # the third is dominated


def test_the_front_keeps_equal_results_and_is_sorted_along_the_cost(store, make, pairs):
    make(pairs(FIVE))
    view = ParetoView.of(store, "toy")
    assert (view.x.metric, view.y.metric) == ("latency_ms@pixel3", "valid_accuracy")
    assert view.front.tolist() == [True, True, False, True, True, True]
    assert view.front_numbers == [5, 1, 0, 3, 4]
    assert [record.number for record in front(store, "toy")] == [5, 1, 0, 3, 4]
    assert np.array_equal(view.front, view.pair_front)


def test_points_carry_what_a_page_shows(store, make, pairs):
    make(pairs(FIVE[:2]))
    first, second = ParetoView.of(store, "toy").points()
    assert (first.number, first.x, first.y, first.status) == (0, 5.0, 90.0, "done")
    assert first.front
    assert second.notation == "|nor_conv_3x3~0|+|skip~1|"


def test_the_hypervolume_and_its_reference(store, make, pairs):
    make(pairs([(90, 5), (80, 3)]))
    view = ParetoView.of(store, "toy")
    # The worst values and 10 % of the range beyond: 79 % and 5.2 ms.
    assert view.reference == pytest.approx({"valid_accuracy": 79.0, "latency_ms@pixel3": 5.2})
    # 11 x 0.2 under the accurate network, 1 x 2.2 under the fast one, 1 x 0.2 counted twice.
    assert view.hypervolume == pytest.approx(2.2 + 2.2 - 0.2)


def test_what_does_not_count(store, make, trial):
    both = {"valid_accuracy": 80.0, "latency_ms@pixel3": 4.0}
    better = {"valid_accuracy": 99.0, "latency_ms@pixel3": 1.0}
    make(
        [
            trial(0, both),
            trial(1, better, status="infeasible", violation=0.5),
            trial(2, {}, status="failed", error="it broke"),
            trial(3, better, status="pruned"),
            trial(4, better, status="queued", told=None),
            trial(5, {"latency_ms@pixel3": 0.5}),
        ]
    )
    view = ParetoView.of(store, "toy")
    assert view.front_numbers == [0]
    assert view.shown.tolist() == [True, True, False, True, True, False]
    assert view.feasible.tolist() == [True, False, False, False, False, True]
    assert view.table.spent.tolist() == [True, False, True, True, False, True]


def test_both_maximised(store, make, trial):
    goals = [{"metric": "valid_accuracy", "direction": "maximize"}]
    goals.append({"metric": "params", "direction": "maximize"})  # against its own nature
    values = [(90, 1), (80, 2), (70, 3), (80, 1)]
    trials = [trial(n, {"valid_accuracy": a, "params": s}) for n, (a, s) in enumerate(values)]
    make(trials, objectives=tuple(goals))
    view = ParetoView.of(store, "toy")
    assert view.front.tolist() == [True, True, True, False]
    assert (view.x.metric, view.x.direction) == ("params", "maximize")


def test_one_objective_is_drawn_over_the_trials(store, make, trial):
    goal = ({"metric": "latency_ms@pixel3", "direction": "minimize"},)
    values = [5.0, 7.0, 3.0, 3.0]
    make([trial(n, {"latency_ms@pixel3": v}) for n, v in enumerate(values)], objectives=goal)
    view = ParetoView.of(store, "toy")
    assert (view.x.metric, view.y.metric) == ("trial", "latency_ms@pixel3")
    assert view.front_numbers == [2, 3]
    assert view.reference == pytest.approx({"latency_ms@pixel3": 7.4})
    assert view.hypervolume == pytest.approx(4.4)
    assert view.line[1].tolist() == [5.0, 5.0, 3.0, 3.0]


def test_three_objectives_keep_one_front_and_each_plane_has_its_own_line(store, make, trial):
    goals = (
        {"metric": "valid_accuracy", "direction": "maximize"},
        {"metric": "latency_ms@pixel3", "direction": "minimize"},
        {"metric": "params", "direction": "minimize"},
    )
    rows = [(90, 5, 10), (90, 6, 5), (80, 7, 1), (80, 7, 2)]
    names = [goal["metric"] for goal in goals]
    make(
        [trial(n, dict(zip(names, row, strict=True))) for n, row in enumerate(rows)],
        objectives=goals,
    )
    view = ParetoView.of(store, "toy")
    assert view.front.tolist() == [True, True, True, False]
    assert view.pair_front.tolist() == [True, False, False, False]
    other = ParetoView.of(store, "toy", x="params", y="latency_ms@pixel3")
    assert other.front.tolist() == view.front.tolist()
    assert other.pair_front.tolist() == [True, True, True, False]


def test_any_two_metrics_and_the_constraints_on_them(store, make, trial):
    values = {"valid_accuracy": 90.0, "latency_ms@pixel3": 5.0, "params": 3.0}
    make([trial(0, values)], constraints=({"metric": "latency_ms@pixel3", "max": 6.0},))
    view = ParetoView.of(store, "toy", x="params", y="latency_ms@pixel3")
    assert [(line.along, line.kind, line.bound) for line in view.lines] == [("y", "max", 6.0)]
    assert "test_accuracy" in [axis.metric for axis in view.axes]
    assert [axis.metric for axis in view.axes if axis.objective] == [
        "valid_accuracy",
        "latency_ms@pixel3",
    ]


def test_an_unknown_metric_names_the_closest(store, make, pairs):
    make(pairs(FIVE))
    with pytest.raises(UnknownName, match="did you mean valid_accuracy"):
        ParetoView.of(store, "toy", y="valid_acuracy")


def test_an_unknown_experiment(store, make):
    make()
    with pytest.raises(StoreError, match="toy"):
        ParetoView.of(store, "tyo")


def test_an_empty_experiment(store, make):
    make(status="running")
    view = ParetoView.of(store, "toy")
    assert (view.front_numbers, view.hypervolume, view.reference) == ([], None, {})
    assert view.points() == []
    assert front(store, "toy") == []
    history = HistoryView.of(store, "toy")
    assert len(history.hypervolume) == 0
    assert set(history.best) == {"valid_accuracy", "latency_ms@pixel3"}


def test_the_history_ends_where_the_view_is(store, make, pairs, trial):
    trials = pairs([(90, 5), (80, 3), (85, 3)])
    make([trial(0, {}, status="failed"), *(trial(n + 1, t.metrics) for n, t in enumerate(trials))])
    history = HistoryView.of(store, "toy")
    # Reference 79 %, 5.2 ms; the failed trial and the time before the first result add nothing.
    assert history.hypervolume.tolist() == pytest.approx([0.0, 2.2, 4.2, 13.2 + 2.2 - 1.2])
    assert history.hypervolume[-1] == pytest.approx(ParetoView.of(store, "toy").hypervolume)
    assert history.evaluations.tolist() == [1, 2, 3, 4]
    assert np.isnan(history.best["valid_accuracy"][0])
    assert history.best["valid_accuracy"][1:].tolist() == [90, 90, 90]
    assert history.best["latency_ms@pixel3"][1:].tolist() == [5, 3, 3]


def test_histories_share_a_reference_when_they_are_told_to(store, make, pairs):
    record = make(pairs([(90, 5)]))
    table = TrialTable.read(store, record)
    shared = {"valid_accuracy": 80.0, "latency_ms@pixel3": 10.0}
    assert HistoryView.from_table(record, table, reference=shared).hypervolume.tolist() == [50.0]


def test_rows_of_the_list(store, make, pairs, trial):
    record = make(pairs(FIVE))
    store.update_experiment(record.id, summary={"front": [5, 1, 0], "hypervolume": 4.5})
    make([trial(0, {}, status="infeasible")], "second", status="running", info={}, spec={})
    make([], "toy-random", kind="baseline", parent=record.id)
    newest, oldest = experiment_rows(store)
    assert (newest.name, newest.spent, newest.budget, newest.front_size) == (
        "second",
        0,
        None,
        None,
    )
    assert (oldest.spent, oldest.budget, oldest.front_size, oldest.hypervolume) == (6, 300, 3, 4.5)
    assert oldest.goal == "max valid_accuracy, min latency_ms@pixel3"
    assert oldest.elapsed_s == 12.5
    assert isinstance(oldest, ExperimentRow)
    assert len(experiment_rows(store, all=True)) == 3


def test_a_running_experiment_is_followed_without_reading_it_again(
    store, make, pairs, trial, monkeypatch
):
    trials = pairs(FIVE)
    record = make([*trials[:4], trial(4, {}, status="running", told=None)], status="running")
    cache = TableCache()
    table = cache.table(store, record)
    assert len(table) == 5
    assert np.isnan(table.metric("valid_accuracy")[4])
    asked: list[Any] = []

    def watch(name, answered):
        plain = getattr(store, name)

        def watched(*given, **narrow):
            found = plain(*given, **narrow)
            asked.append((name, answered(found, *given)))
            return found

        monkeypatch.setattr(store, name, watched)

    watch("columns", lambda found, *_: found.number.tolist())
    watch("metrics", lambda found, *_: len(found))
    watch("metric_column", lambda found, _, name: name)
    assert len(cache.table(store, store.experiment(record.id))) == 5
    assert asked == []
    with store.transaction() as transaction:
        transaction.add_trials(record.id, [trials[5]])
    table = cache.table(store, store.experiment(record.id))
    assert asked == [("columns", [4, 5]), ("metrics", 1)]
    assert table.number.tolist() == [0, 1, 2, 3, 4, 5]
    assert table.metric("valid_accuracy")[[0, 5]].tolist() == [FIVE[0][0], 70]
    assert len(asked) == 2  # the column was there, and grew
    assert table.metric("latency_ms@pixel3")[0] == FIVE[0][1]
    assert asked[2:] == [("metric_column", "latency_ms@pixel3")]
    with store.transaction() as transaction:
        transaction.set_metrics(record.id, 0, {"test_accuracy": 89.5})
        transaction.update_experiment(record.id, status="done")
    table = cache.table(store, store.experiment(record.id))
    assert table.metric("test_accuracy")[0] == 89.5


def test_metrics_that_were_added_by_rescoring_are_axes_and_make_fronts(store, make, pairs):
    record, cache = make(pairs(FIVE)), TableCache()
    assert np.isnan(cache.table(store, record).metric("latency_ms@new")).all()
    metric = MetricRecord("latency_ms@new", "ms", "minimize", "rescore", "f" * 64)
    trials = store.trial_records(record.id)
    costs = [CostRecord(t.key, "new", "v", "latency_ms", 10.0 - t.number) for t in trials]
    with store.transaction() as transaction:
        transaction.add_costs(record.space_fingerprint, costs)
        info = rescored_info(record.info, "new", model_version="v", metrics=[metric])
        transaction.update_experiment(record.id, info=info)
    record = open_record(store, record.id)
    assert cache.table(store, record).metric("latency_ms@new")[0] == 10.0
    view = ParetoView.of(store, record.id, "latency_ms@new", "valid_accuracy")
    assert view.x.unit == "ms"
    assert view.xs.tolist() == [10.0 - t.number for t in trials]
    goals = [{"metric": "latency_ms@new", "direction": "minimize"}]
    [best] = front(store, record.id, objectives=goals)
    assert best.number == trials[-1].number
    assert best.metrics["latency_ms@new"] == 10.0 - best.number
    plain = [t.number for t in front(store, record.id)]
    assert plain == [t.number for t in front(store, record.id, objectives=record.objectives)]
    with pytest.raises(UnknownName, match="latency_ms@new"):
        front(store, record.id, objectives=[{"metric": "latency_ms@nev", "direction": "minimize"}])
