"""Histories of several runs, their medians and quartiles, and attainment surfaces, by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from netloom.dashboard.brushed import mark_selected
from netloom.dashboard.contest import Contest, Run, read_contest
from netloom.dashboard.figures import best_figure, hypervolume_figure
from netloom.dashboard.growth import MAX_STEPS, Growth, Steps, attained, median_line, surfaces
from netloom.dashboard.report_formats import report_text
from netloom.dashboard.table import Row, TrialTable
from netloom.dashboard.views import HistoryView


def test_one_run_each_is_a_line(store, make, pairs):
    make(pairs([(80, 2), (70, 5), (90, 6)]), "A")
    make(pairs([(70, 4), (85, 12)]), "B")
    contest = read_contest(store, ["A", "B"])
    grown = Growth.of(contest)
    first, second = grown.volume
    # reference 68 %, 13 ms; the second trial changes nothing
    assert (first.label, first.name, first.low) == ("A", "A", None)
    assert (first.x.tolist(), first.y.tolist()) == ([1, 3, 3], [132.0, 202.0, 202.0])
    assert (second.x.tolist(), second.y.tolist()) == ([1, 2, 2], [18.0, 33.0, 33.0])
    assert [line.y.tolist() for line in grown.best["valid_accuracy"]] == [
        [80, 90, 90],
        [70, 85, 85],
    ]
    assert [line.x.tolist() for line in grown.best["latency_ms@pixel3"]] == [[1, 3], [1, 2]]
    assert grown.label == "trials evaluated"


def test_the_same_as_the_history_of_the_experiment(store, make, pairs):
    rng = np.random.default_rng(3)
    make(pairs(rng.uniform(1, 9, (200, 2)).tolist()), "A")
    (line,) = Growth.of(read_contest(store, ["A"])).volume
    history = HistoryView.of(store, "A")
    steps = Steps(line.x, line.y, 200.0, 0.0)
    assert steps.at(history.evaluations.astype(float)) == pytest.approx(history.hypervolume)


def test_median_and_quartiles_by_hand():
    runs = [
        Steps(np.array([1.0, 3.0]), np.array([0.0, 8.0]), 4.0),
        Steps(np.array([2.0]), np.array([4.0]), 9.0),
        Steps(np.array([1.0, 6.0]), np.array([2.0, 90.0]), 9.0),
    ]
    line = median_line("toy", runs)
    # the second has no value before 2; the shortest ends at 4: what comes at 6 is left out
    assert line.x.tolist() == [2, 3, 4]
    assert line.y.tolist() == [2.0, 4.0, 4.0]
    assert line.low.tolist() == [1.0, 3.0, 3.0]
    assert line.high.tolist() == [3.0, 6.0, 6.0]
    held = median_line("toy", runs, "time")  # over time the first one keeps its 8
    assert held.x.tolist() == [2, 3, 6, 9]
    assert held.y.tolist() == [2.0, 4.0, 8.0, 8.0]
    assert held.high.tolist() == [3.0, 6.0, 49.0, 49.0]


def test_long_medians_are_thinned_and_keep_their_ends():
    x = np.arange(1.0, 3 * MAX_STEPS)
    line = median_line("toy", [Steps(x, x * factor, x[-1]) for factor in (1, 2, 3)])
    assert len(line.x) == MAX_STEPS
    assert (line.x[0], line.x[-1]) == (1.0, x[-1])
    assert line.y.tolist() == (2 * line.x).tolist()


def test_seeds_become_one_line_with_a_band(store, make, pairs):
    for seed in range(3):
        make(pairs([(80 + seed, 2)]), f"toy-s{seed}", group="toy", seed=seed)
    grown = Growth.of(read_contest(store, [], ["toy"]))
    (line,) = grown.best["valid_accuracy"]
    assert (line.label, line.name) == ("toy", "")
    assert (line.low[-1], line.y[-1], line.high[-1]) == (80.5, 81.0, 81.5)
    make(pairs([(80, 2)]), "B")
    make(pairs([(80, 2)]), "C", seed=1)
    lines = Growth.of(read_contest(store, ["B", "C"])).volume
    assert [line.name for line in lines] == ["B", "C"]  # two runs: each its own line


def row(number: int, accuracy: float, latency: float, seconds: float) -> Row:
    return Row(
        number=number,
        key="",
        notation="",
        status="done",
        violation=0.0,
        parent=None,
        reused=False,
        duration_s=1.0,
        finished_s=seconds,
        metrics={"valid_accuracy": accuracy, "latency_ms@pixel3": latency},
    )


def test_time_orders_by_the_clock(make):
    values = [(80.0, 240.0), (70.0, 60.0), (90.0, 1800.0), (95.0, np.nan)]
    rows = [row(n, accuracy, 4.0, seconds) for n, (accuracy, seconds) in enumerate(values)]
    contest = Contest.from_runs([Run.of(make(), TrialTable(rows))])
    grown = Growth.of(contest, "time")
    (line,) = grown.best["valid_accuracy"]
    assert grown.label == "time since the start (min)"
    assert line.x.tolist() == [1.0, 4.0, 30.0, 30.0]
    assert line.y.tolist() == [70.0, 80.0, 90.0, 90.0]
    assert Growth.of(contest).best["valid_accuracy"][0].y.tolist() == [80, 90, 95, 95]


def test_the_history_of_one_experiment_along_time(make):
    seconds = [240.0, 60.0, 1800.0, np.nan]
    values = [(80.0, 6.0), (70.0, 5.0), (90.0, 9.0), (95.0, 1.0)]
    record = make()
    table = TrialTable(
        [row(n, *v, s) for n, (v, s) in enumerate(zip(values, seconds, strict=True))]
    )
    history = HistoryView.from_table(record, table, by="time")
    assert history.number.tolist() == [1, 0, 2]  # the last has no time
    assert history.places(60.0).tolist() == [1.0, 4.0, 30.0]
    assert history.best["valid_accuracy"].tolist() == [70, 80, 90]
    assert history.best["latency_ms@pixel3"].tolist() == [5, 5, 5]
    # the reference of these three: 68 %, 9.4 ms
    assert history.hypervolume.tolist() == pytest.approx([8.8, 8.8 + 34, 8.8 + 34 + 4])
    volume, best = hypervolume_figure(history), best_figure(history)
    assert volume.data[0].x.tolist() == [1.0, 4.0, 30.0]
    assert volume.layout.xaxis.title.text == "time since the start (min)"
    assert best.layout.xaxis2.title.text == "time since the start (min)"
    mark_selected(best, history, table, np.array([True, False, True, True]), 60.0)
    marked = best.data[-2]
    assert (marked.x.tolist(), marked.y.tolist()) == ([4.0, 30.0], [80.0, 90.0])
    assert list(marked.customdata) == [0, 2]


def test_scripts_get_the_history_where_it_changes(store, make, pairs, trial):
    trials = [trial(0, status="failed"), *pairs([(90, 5), (80, 3), (70, 9), (70, 9)])]
    make([replace(each, number=n, told=n, key=str(n)) for n, each in enumerate(trials)])
    (found,) = json.loads(report_text(store, ["toy"], "json"))["experiments"]
    history = found["history"]
    assert [(each["trial"], each["evaluations"]) for each in history] == [(1, 2), (2, 3), (4, 5)]
    assert [each["best"]["latency_ms@pixel3"] for each in history] == [5, 3, 3]
    assert history[-1]["hypervolume"] == found["hypervolume"]
    assert history[0]["elapsed_s"] <= history[-1]["elapsed_s"]


def test_nothing_feasible_draws_nothing(store, make, pairs, trial):
    make([trial(0, {}, status="failed")], "A")
    assert Growth.of(read_contest(store, ["A"])).volume == ()
    make(pairs([(80, 2)]), "B")
    assert [line.label for line in Growth.of(read_contest(store, ["A", "B"])).volume] == ["B"]


FRONTS = [np.array(each, dtype=float) for each in ([[1, 4], [3, 2]], [[2, 3], [4, 1]], [[2, 2]])]


def test_attainment_by_hand():
    found = {percent: points.tolist() for percent, points in attained(FRONTS).items()}
    assert found == {
        25: [[1, 4], [2, 2], [4, 1]],  # one of three
        50: [[2, 3], [3, 2]],  # two of three
        75: [[2, 4], [3, 3], [4, 2]],  # all
    }


def test_a_run_without_a_front_attains_nothing_and_counts():
    found = attained([*FRONTS[:1], np.empty((0, 2)), FRONTS[2]])
    assert found[25].tolist() == [[1, 4], [2, 2]]
    assert found[50].tolist() == [[2, 4], [3, 2]]
    assert found[75].tolist() == []  # three of three never
    assert all(len(points) == 0 for points in attained([np.empty((0, 2))] * 3).values())


def test_surfaces_have_the_signs_and_axes_of_the_plane(store, make, pairs):
    for seed, values in enumerate([[(80, 2)], [(90, 6)], [(85, 4)]]):
        make(pairs(values), f"toy-s{seed}", group="toy", seed=seed)
    make(pairs([(80, 2)]), "alone", strategy="random")
    contest = read_contest(store, ["alone"], ["toy"])
    accuracy, latency = contest.axes
    low, median, high = surfaces(contest, latency, accuracy)
    assert {each.label for each in (low, median, high)} == {"toy"}
    # two of three: 80 % within 4 ms (first and third), 85 % within 6 ms (second and third)
    assert (median.percent, median.xs.tolist(), median.ys.tolist()) == (50, [4, 6], [80, 85])
    assert (high.percent, high.xs.tolist(), high.ys.tolist()) == (75, [6], [80])
    assert (low.percent, low.xs.tolist(), low.ys.tolist()) == (25, [2, 4, 6], [80, 85, 90])


def test_three_objectives_have_no_surfaces(store, make, trial):
    from .conftest import MAX_ACCURACY, MIN_LATENCY

    goals = (MAX_ACCURACY, MIN_LATENCY, {"metric": "params", "direction": "minimize"})
    values = {"valid_accuracy": 80.0, "latency_ms@pixel3": 4.0, "params": 10.0}
    for seed in range(3):
        make([trial(0, values)], f"toy-s{seed}", group="toy", seed=seed, objectives=goals)
    contest = read_contest(store, [], ["toy"])
    assert surfaces(contest, *contest.axes[:2]) == []
    assert len(Growth.of(contest).volume) == 1
