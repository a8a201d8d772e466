"""One trial taken apart; words."""

from __future__ import annotations

import doctest

import pytest

from netloom.dashboard import TrialView, details, diagnosis, markup, words
from netloom.dashboard.choice import Choice
from netloom.dashboard.details import metric_rows, provenance_text
from netloom.dashboard.pages.trial import facts_line
from netloom.dashboard.words import MISSING
from netloom.db import CurvePoint
from netloom.db.records import CostRecord, MetricRecord
from netloom.db.rescored import rescored_info
from netloom.errors import StoreError

BOUND = ({"metric": "latency_ms@eyeriss", "max": 6.0}, {"metric": "params", "max": 10.0})


def test_a_parent_is_a_link(store, make, trial):
    make([trial(0), trial(1, parent=0)])
    line = facts_line(TrialView.of(store, "toy", 1), "toy")
    assert line.children[-1].href == "/exp/toy/trial/0"
    assert line.children[-1].children == "derived from trial 0"


def test_a_trial_with_everything(store, make, trial):
    metrics = {"valid_accuracy": 91.25, "latency_ms@eyeriss": 7.0, "params": 9.0}
    record = make(
        [trial(0, metrics, status="infeasible", violation=1 / 6, parent=None)], constraints=BOUND
    )
    with store.transaction() as transaction:
        points = [CurvePoint("loss", step, 1.0 / step, 0) for step in (1, 2)]
        transaction.add_curves(record.id, [*points, CurvePoint("loss", 1, 9.0)])
    view = TrialView.of(store, "toy", 0)
    assert view.decisions == (("edge0", "nor_conv_3x3"), ("edge1", "0"))
    assert view.violated == ("latency_ms@eyeriss ≤ 6 ms",)
    assert [(curve.name, curve.values.tolist()) for curve in view.curves] == [("loss", [1.0, 0.5])]
    assert view.status == "infeasible"
    by_name = {row.name: row for row in view.metrics}
    assert by_name["valid_accuracy"].text == "91.25 %"
    assert by_name["valid_accuracy"].provenance == "table · NAS-Bench-201, CIFAR-10 · 1"
    assert by_name["latency_ms@pixel3"].value is None
    assert [row.name for row in view.metrics][:2] == ["valid_accuracy", "latency_ms@pixel3"]
    assert [curve.name for curve in details.read_curves(store, record, None)] == ["loss"]


def test_what_rescoring_added_is_a_metric_of_the_trial(store, make, trial):
    record = make([trial(0, {"valid_accuracy": 91.25}), trial(1, {"valid_accuracy": 92.0})])
    first = store.trial(record.id, 0)
    metric = MetricRecord("latency_ms@new", "ms", "minimize", "rescore", "f" * 64)
    costs = [
        CostRecord(first.key, "new", version, name, value)
        for version, name, value in (("1", "latency_ms", 7), ("2", "latency_ms", 5), ("2", "x", 1))
    ]
    with store.transaction() as transaction:
        transaction.add_costs(record.space_fingerprint, costs)
        info = rescored_info(record.info, "new", model_version="2", metrics=[metric])
        transaction.update_experiment(record.id, info=info)
    values = [{r.name: r.text for r in TrialView.of(store, "toy", n).metrics} for n in (0, 1)]
    assert [each["latency_ms@new"] for each in values] == ["5 ms", MISSING]
    assert "x@new" not in values[0]


def test_a_curve_has_the_unit_of_its_metric(store, make, trial):
    record = make([trial(0, {"valid_accuracy": 91.25})])
    with store.transaction() as transaction:
        transaction.add_curves(record.id, [CurvePoint("valid_accuracy", 1, 80.0, 0)])
    assert [curve.label for curve in TrialView.of(store, "toy", 0).curves] == ["valid_accuracy (%)"]


def test_a_trial_whose_process_died_waits_again(store, make, trial):
    record = make([trial(0, {}, status="running", told=None)], status="running")
    assert TrialView.of(store, "toy", 0).status == "queued"
    with store.claim(record.id):
        assert TrialView.of(store, "toy", 0).status == "running"


def test_a_trial_that_is_not_there(store, make):
    make()
    with pytest.raises(StoreError):
        TrialView.of(store, "toy", 7)


def test_metric_rows_without_a_trial(store, make):
    names = [row.name for row in metric_rows(make())]
    assert names == [
        "valid_accuracy",
        "latency_ms@pixel3",
        "latency_ms@eyeriss",
        "params",
        "test_accuracy",
    ]


def test_provenance_in_one_line():
    said = provenance_text({"version": 2, "kind": "model", "error": 0.1, "note": None})
    assert said == "model · 2 · error: 0.1"


@pytest.mark.parametrize("module", [words, markup, diagnosis])
def test_the_examples_in_the_docstrings(module):
    assert doctest.testmod(module).failed == 0
    assert doctest.testmod(module).attempted > 0


@pytest.mark.parametrize(
    ("search", "choice"),
    [
        ("", Choice()),
        (None, Choice()),
        ("?trial=7&x=a%40b&y=c", Choice("a@b", "c", 7)),
        ("?by=time", Choice(by="time")),
        ("?by=trials", Choice()),
        ("?trial=-1", Choice()),
        ("?trial=99999999999999999999", Choice()),
        ("?trial=4294967296", Choice()),
        ("?trial=²", Choice()),
    ],
)
def test_what_a_url_says(search, choice):
    assert Choice.parse(search) == choice
    assert Choice.parse(choice.search) == choice
    assert Choice.load(choice.data) == choice
