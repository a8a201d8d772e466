"""Decisions beside a metric: which trials are shown, how values spread, what the figures hold."""

from __future__ import annotations

import json

import numpy as np
import pytest

from netloom.dashboard import decision_view
from netloom.dashboard.columns import NOT_THERE
from netloom.dashboard.decision_figures import (
    AXES,
    importance_figure,
    marginal_figure,
    parallel_figure,
)
from netloom.dashboard.decision_parts import decision_part, decision_views
from netloom.dashboard.decision_view import DecisionView
from netloom.dashboard.pages.decisions import DecisionChoice
from netloom.dashboard.report import report_html
from netloom.dashboard.report_formats import report_text
from netloom.dashboard.source import Source, epoch_of
from netloom.dashboard.table import TrialTable
from netloom.errors import UnknownName
from netloom.jsonio import digest

from .test_report import Page

HOSTILE = "<script>alert('x')</script>"


def view_of(store, record, metric=None):
    return DecisionView.of(store, record, TrialTable.read(store, record), metric)


@pytest.fixture
def wide(trial):
    """Trials of a kernel, a depth, and an expansion behind depth 2: accuracy is 10 x kernel."""

    def trials(count, **more):
        found = []
        for number in range(count):
            each = {"kernel": (3, 5, 7)[number % 3], "depth": 1 + number // 3 % 2, "id": number}
            if each["depth"] == 2:
                each["expand"] = (1.5, 6)[number // 6 % 2]
            each |= more
            numbers = {"valid_accuracy": 10.0 * each["kernel"] + each["depth"]}
            numbers["latency_ms@pixel3"] = 1.0 + number % 7
            found.append(trial(number, numbers, key=digest(each), architecture=each))
        return found

    return trials


def test_the_view_of_a_search(store, make, wide):
    view = view_of(store, make(wide(60)))
    assert view.axis.metric == "valid_accuracy"
    assert view.sentence == "60 trials with a value of valid_accuracy."
    assert view.ranked[0].name == "kernel"
    assert [column.name for column in view.columns] == ["kernel", "depth", "id", "expand"]
    assert view.front.sum() == view.front_total > 0
    assert not view.study.poor


def test_the_distribution_of_each_option(store, make, wide):
    view = view_of(store, make(wide(60)))
    kernel = view.marginal()
    assert (kernel.decision, kernel.numeric) == ("kernel", True)
    assert [(g.text, g.place, g.count) for g in kernel.groups] == [
        ("3", 3.0, 20),
        ("5", 5.0, 20),
        ("7", 7.0, 20),
    ]
    first = kernel.groups[0]
    assert (first.low, first.median, first.high) == (31.0, 31.5, 32.0)
    assert [g.predicted for g in kernel.groups] == pytest.approx([31.5, 51.5, 71.5], abs=5)
    expand = view.marginal("expand").groups
    assert [(g.text, g.count) for g in expand] == [("1.5", 15), ("6", 15), (NOT_THERE, 30)]
    assert np.isnan(expand[-1].predicted)
    with pytest.raises(UnknownName, match="kernel"):
        view.marginal("kernal")


def test_a_metric_that_some_trials_miss(store, make, wide, trial):
    trials = wide(40)
    lost = {"kernel": 9, "depth": 1, "id": -1}
    numbers = {"latency_ms@pixel3": 3.0}
    trials.append(
        trial(40, numbers, key=digest(lost), architecture=lost, status="infeasible", violation=0.5)
    )
    stopped = {"kernel": 11, "depth": 1, "id": -2}
    trials.append(
        trial(
            41, {"valid_accuracy": 1.0}, key=digest(stopped), architecture=stopped, status="pruned"
        )
    )
    record = make(trials)
    assert view_of(store, record).total == 40
    view = view_of(store, record, "latency_ms@pixel3")
    assert view.total == 41
    axis = parallel_figure(view).data[0].dimensions[-2]
    assert axis.label == "valid_accuracy"
    assert axis.ticktext[0] == "none"
    assert axis.values[-1] == axis.tickvals[0] < np.nanmin(view.metrics["valid_accuracy"])
    assert view_of(store, record, "test_accuracy").sentence == (
        "No trial has a value of test_accuracy yet."
    )
    with pytest.raises(UnknownName, match="valid_accuracy"):
        view_of(store, record, "valid_acuracy")


@pytest.mark.parametrize("count", [1, 2])
def test_a_trial_or_two(store, make, wide, count):
    view = view_of(store, make(wide(count)))
    assert f"there are {count}" in view.study.problem
    assert len(parallel_figure(view).data[0].dimensions[0]["values"]) == count
    found = view.marginal()
    assert (found is None) == (count == 1)
    if found is not None:
        assert len(marginal_figure(found).data) == 3  # nothing is predicted


def test_one_option_only(store, make, wide):
    view = view_of(store, make(wide(40, kernel=3, depth=1, id=0)[:1] + wide(40, kernel=3)[1:]))
    assert view.fixed == ["kernel"]
    assert "kernel" not in [each.name for each in view.ranked]


def test_large_experiments_are_sampled_and_the_front_is_kept(store, make, wide, monkeypatch):
    monkeypatch.setattr(decision_view, "COUNTED", 50)
    monkeypatch.setattr(decision_view, "MAX_TRIALS", 40)
    record = make(wide(300))
    view = view_of(store, record)
    assert view.total == 300
    assert len(view.number) == len(set(view.number.tolist())) == 50
    assert view.sentence.startswith(
        "50 of 300 trials with a value of valid_accuracy: the whole front, and others"
    )
    assert view.front.sum() == view.front_total
    assert view.study.trials == 40
    assert view_of(store, record).number.tolist() == view.number.tolist()


@pytest.mark.parametrize("most", [2, 10, 40])
def test_some_are_drawn_as_lines(store, make, wide, monkeypatch, most):
    monkeypatch.setattr(decision_view, "DRAWN", most)
    view = view_of(store, make(wide(60)))
    front = np.flatnonzero(view.front)
    assert len(view.drawn) == len(set(view.drawn.tolist())) == most
    assert view.front[view.drawn].sum() == min(len(front), max(most // 2, most - 60 + len(front)))
    best = front[np.argmax(view.values[front])]
    assert most == 2 or best in view.drawn
    lines = parallel_figure(view).data[0]
    assert list(lines.line.color) == view.values[view.drawn].tolist()
    assert all(len(axis["values"]) == most for axis in lines.dimensions)


def test_an_architecture_counts_once(store, make, trial):
    same = {"kernel": 3}
    trials = [trial(n, {"valid_accuracy": n}, key=digest(same), architecture=same) for n in (0, 1)]
    assert len(view_of(store, make(trials)).number) == 1


def test_the_figures_hold_what_they_show(store, make, wide):
    view = view_of(store, make(wide(60)))
    lines = parallel_figure(view).data[0]
    labels = [axis.label for axis in lines.dimensions]
    assert labels[0] == "kernel"
    assert labels[-3:] == ["front", "latency_ms@pixel3", "valid_accuracy"]
    assert list(lines.line.color) == view.values.tolist()
    kernel = lines.dimensions[0]
    assert list(kernel.ticktext) == ["3", "5", "7"]
    assert np.round(kernel["values"]).tolist() == view.columns[0].codes.tolist()
    bars = importance_figure(view.study).data[0]
    assert bars.customdata[-1][0] == "kernel"  # drawn from below
    assert bars.x[-1] == max(bars.x)
    spread = marginal_figure(view.marginal("kernel"))
    assert list(spread.layout.xaxis.ticktext) == ["3<br>20", "5<br>20", "7<br>20"]
    assert list(spread.data[0].x) == [3.0, 5.0, 7.0]


def test_a_decision_in_powers_is_drawn_on_a_logarithmic_axis(store, make, trial):
    trials = [
        trial(n, {"valid_accuracy": n}, key=str(n) * 64, architecture={"width": 8 * 2**n})
        for n in range(8)
    ]
    figure = marginal_figure(view_of(store, make(trials)).marginal("width"))
    assert figure.layout.xaxis.type == "log"
    assert list(figure.data[0].x) == [8.0 * 2**n for n in range(8)]


def test_few_axes_are_drawn_of_many_decisions(store, make, trial):
    rng = np.random.default_rng(0)
    trials = []
    for number in range(60):
        each = {f"layer{place}": int(rng.integers(4)) for place in range(40)}
        value = {"valid_accuracy": 5.0 * each["layer33"] + 0.1 * rng.random()}
        trials.append(trial(number, value, key=digest(each), architecture=each))
    view = view_of(store, make(trials))
    axes = parallel_figure(view).data[0].dimensions
    assert len(axes) == AXES
    assert axes[0].label == "layer33"


def test_names_from_the_store_are_text(store, make, trial):
    trials = [
        trial(
            n,
            {"valid_accuracy": n % 2},
            key=f"{n:064}",
            architecture={HOSTILE: f"{HOSTILE}{n % 2}"},
        )
        for n in range(40)
    ]
    view = view_of(store, make(trials))
    bars, spread = importance_figure(view.study), marginal_figure(view.marginal())
    lines = parallel_figure(view).data[0]
    said = [
        *bars.layout.yaxis.ticktext,
        *(hover for _, hover in bars.data[0].customdata),  # beside it the name, for a click
        *spread.layout.xaxis.ticktext,
        spread.layout.xaxis.title.text,
        *spread.data[2].customdata,
        *(axis.label for axis in lines.dimensions),
    ]
    assert any("&lt;" in text for text in said)
    assert not any("<script" in text for text in said)


def test_the_report_says_what_decides_each_objective(store, make, wide):
    record = make(wide(60))
    views = decision_views(store, record, TrialTable.read(store, record))
    accuracy, latency = map(decision_part, views)
    assert accuracy.title == "What decides valid_accuracy"
    assert accuracy.rows.rows[0][0] == "kernel"
    assert {row[0] for row in accuracy.rows.rows} == {"kernel", "depth", "id", "expand"}
    assert latency.title == "What decides latency_ms@pixel3"
    assert not any("-0.000" in cell for row in accuracy.rows.rows for cell in row)
    text = Page(report_html(store, "toy")).text
    assert "What decides valid_accuracy A random forest learned from 60 trials predicts" in text
    assert text.count("Permutation importance") == 2


def test_papers_and_scripts_have_the_importances_too(store, make, wide):
    make(wide(60))
    (found,) = json.loads(report_text(store, ["toy"], "json"))["experiments"]
    accuracy, latency = found["decisions"]
    assert (accuracy["metric"], latency["metric"]) == ("valid_accuracy", "latency_ms@pixel3")
    assert (accuracy["trials"], accuracy["problem"]) == (60, None)
    assert accuracy["r2"] > 0.5
    first = accuracy["importances"][0]
    assert first["decision"] == "kernel"
    assert first["low"] < first["mean"] < first["high"]
    markdown = report_text(store, ["toy"], "md")
    assert "## What decides valid_accuracy" in markdown
    assert f"| kernel | {first['mean']:.3f} | {first['low']:.3f} to" in markdown
    make(wide(3), "few")
    (few,) = json.loads(report_text(store, ["few"], "json"))["experiments"]
    assert "at least 30 trials" in few["decisions"][0]["problem"]
    assert (few["decisions"][0]["r2"], few["decisions"][0]["importances"]) == (None, [])


def test_the_report_of_few_trials_says_what_is_missing(store, make, wide):
    make(wide(3))
    text = Page(report_html(store, "toy")).text
    assert "What decides valid_accuracy Importances need at least 30 trials" in text
    make([], "empty")
    assert "What decides" not in report_html(store, "empty")


def test_the_choice_is_the_url():
    assert DecisionChoice.parse("?metric=a%26b&decision=x.y") == DecisionChoice("a&b", "x.y")
    assert DecisionChoice("a&b").search == "?metric=a%26b"
    assert DecisionChoice.parse("").search == ""


def test_a_running_search_is_fitted_with_every_tenth_more(store, make, wide):
    trials = wide(60)
    record = make(trials[:50], status="running")
    source = Source(store.url)
    with store.claim(record.id):
        first = source.snapshot(record.id)
        assert source.decisions(first, None) is source.decisions(first, None)
        with store.transaction() as transaction:
            transaction.add_trials(record.id, trials[50:51])
        second = source.snapshot(record.id)
        assert first.state != second.state
        assert epoch_of(first) == epoch_of(second)
        assert source.decisions(second, None).total == 50
        with store.transaction() as transaction:
            transaction.add_trials(record.id, trials[51:])
        assert source.decisions(source.snapshot(record.id), None).total == 60
    source.close()
