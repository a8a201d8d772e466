"""The list of experiments: what each has found, which are shown, the list as a file."""

from __future__ import annotations

import csv
import io

import pytest

from netloom.dashboard import create_app
from netloom.dashboard.list_choice import ListChoice, tags_of
from netloom.dashboard.results import Results, best_text
from netloom.dashboard.rows import experiment_rows
from netloom.db import Outcome
from netloom.pareto import hypervolume, reference_point

from .conftest import MAX_ACCURACY


@pytest.fixture
def rows(store):
    return lambda **more: {row.name: row for row in experiment_rows(store, **more)}


def test_best_values_and_volume_of_an_open_search(store, make, pairs, trial, rows):
    broken = trial(
        3, {"valid_accuracy": 99.0, "latency_ms@pixel3": 1.0}, status="infeasible", violation=1.0
    )
    make([*pairs([(90, 5), (80, 2), (70, 9)]), broken], status="interrupted")
    row = rows()["toy"]
    found = Results().of(store, [row])[row.id]
    assert found.best == {"valid_accuracy": 90, "latency_ms@pixel3": 2}
    losses = [[-90.0, 5.0], [-80.0, 2.0], [-70.0, 9.0]]
    assert found.hypervolume == pytest.approx(hypervolume(losses, reference_point(losses)))
    assert best_text(row, found) == "90 %, 2 ms"


def test_what_a_run_wrote_down_is_believed(store, make, pairs, rows):
    record = make(pairs([(90, 5), (80, 2)]))
    store.update_experiment(record.id, summary={"front": [0, 1], "hypervolume": 12.5})
    one = make(pairs([(90, 5), (70, 3)]), "one", objectives=(MAX_ACCURACY,))
    make([], "none")
    listed = rows()
    found = Results().of(store, list(listed.values()))
    assert found[record.id].hypervolume == 12.5
    assert found[record.id].best == {"valid_accuracy": 90, "latency_ms@pixel3": 2}
    assert (found[one.id].best, found[one.id].hypervolume) == ({"valid_accuracy": 90}, None)
    assert (found[listed["none"].id].best, found[listed["none"].id].hypervolume) == ({}, None)


def test_published_networks_are_no_result_of_a_search(store, make, pairs, rows):
    make(
        pairs([(99, 1), (90, 5)]), info={"fixed": [{"name": "nb201/ResNet"}]}, status="interrupted"
    )
    row = rows()["toy"]
    assert Results().of(store, [row])[row.id].best["valid_accuracy"] == 90


def test_results_are_asked_again_only_when_trials_changed(
    store, make, pairs, trial, rows, monkeypatch
):
    record = make([*pairs([(90, 5)]), trial(1, {}, status="running", told=None)], status="running")
    results, asked = Results(), []
    plain = store.feasible_values
    monkeypatch.setattr(
        store, "feasible_values", lambda *a, **k: asked.append(a[0]) or plain(*a, **k)
    )
    with store.claim(record.id):
        for _ in range(3):
            assert results.of(store, list(rows().values()))[record.id].best["valid_accuracy"] == 90
        assert len(asked) == 1
        with store.transaction() as transaction:
            values = {"valid_accuracy": 95.0, "latency_ms@pixel3": 4.0}
            transaction.finish_trials(record.id, [Outcome(1, "done", values)])
        assert results.of(store, list(rows().values()))[record.id].best["valid_accuracy"] == 95
        assert len(asked) == 2


def test_words_tags_and_the_archive_choose_lines(store, make, rows):
    make([], "a", tags=("paper", "cheap"), strategy="nsga2")
    make([], "b", tags=("paper",), status="failed")
    old = make([], "c", strategy="tpe")
    store.archive_experiment(old.id)
    every = rows(archived=True)
    assert set(rows(archived=False)) == {"a", "b"}

    def shown(search: str) -> str:
        choice = ListChoice.parse(search)
        assert ListChoice.parse(choice.search) == choice
        return "".join(sorted(name for name, row in every.items() if choice.fits(row)))

    assert shown("") == "abc"
    assert shown("?tag=paper") == "ab"
    assert shown("?tag=paper,cheap") == "a"
    assert shown("?status=failed,running") == "b"
    assert shown("?q=NSGA2+paper") == "ab"
    assert shown("?q=tpe") == "c"
    assert ListChoice.parse("?archived=yes&baselines=1").search == "?baselines=1"
    assert tags_of(every.values()) == ["cheap", "paper"]


def test_the_list_is_a_file(store, make, pairs):
    make(pairs([(90, 5), (80, 2)]), "=1+1", tags=("x",))
    store.archive_experiment(make([], "gone").id)
    client = create_app(store.url).server.test_client()

    def read(search: str) -> list[dict[str, str]]:
        text = client.get(f"/download/experiments.csv{search}").get_data(as_text=True)
        return list(csv.DictReader(io.StringIO(text)))

    [row] = read("")
    assert (row["name"], row["evaluated"], row["best values"]) == ("'=1+1", "2", "90.0 2.0")
    assert row["tags"] == "x"
    assert [row["name"] for row in read("?archived=1")] == ["gone", "'=1+1"]
    assert read("?tag=nothing") == []
