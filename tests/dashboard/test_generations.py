"""Generations of a search: who is in them, and how the values of each spread."""

from __future__ import annotations

import json

import numpy as np
import pytest

from netloom.dashboard.generation_parts import generation_parts
from netloom.dashboard.generations import GenerationsView
from netloom.dashboard.report import report_html
from netloom.dashboard.report_formats import report_text
from netloom.dashboard.table import TrialTable

from .test_report import Page


@pytest.fixture
def born(trial):
    """Trials from (generation, accuracy, latency); None: noted none, or not evaluated."""

    def trials(values):
        found = []
        for number, (generation, accuracy, latency) in enumerate(values):
            metrics = {"valid_accuracy": accuracy, "latency_ms@pixel3": latency}
            known = {name: value for name, value in metrics.items() if value is not None}
            tags = {} if generation is None else {"generation": generation}
            status = "done" if len(known) == 2 else "failed"
            found.append(trial(number, known, tags=tags, status=status))
        return found

    return trials


def view_of(store, record) -> GenerationsView | None:
    return GenerationsView.of(store, record, TrialTable.read(store, record))


def test_the_values_of_each_generation_by_hand(store, make, born, trial):
    trials = born(
        [(0, 80, 5), (0, 90, 9), (0, 84, 7), (1, 95, 6), (2, None, None), (3, 91, 4), (3, 93, 8)]
    )
    trials.append(
        trial(7, {"latency_ms@pixel3": 30.0}, tags={"generation": 1}, status="infeasible")
    )
    trials.append(trial(8, tags={"generation": 4}, status="queued"))
    view = view_of(store, make(trials))
    assert view.noted
    assert view.number.tolist() == [0, 1, 2, 3]  # the fourth has no result yet
    assert view.trials.tolist() == [3, 2, 1, 2]
    assert view.feasible.tolist() == [3, 1, 0, 2]
    accuracy, latency = view.spreads
    assert accuracy.best.tolist() == pytest.approx([90, 95, np.nan, 93], nan_ok=True)
    assert accuracy.median.tolist() == pytest.approx([84, 95, np.nan, 92], nan_ok=True)
    assert accuracy.low.tolist() == pytest.approx([82, 95, np.nan, 91.5], nan_ok=True)
    assert accuracy.high.tolist() == pytest.approx([87, 95, np.nan, 92.5], nan_ok=True)
    assert latency.best.tolist() == pytest.approx([5, 6, np.nan, 4], nan_ok=True)


def test_the_same_as_numpy(store, make, born):
    rng = np.random.default_rng(3)
    values = [(int(g), float(a), float(b)) for g, a, b in zip(
        rng.integers(0, 7, 200), rng.normal(size=200), rng.normal(size=200), strict=True
    )]  # fmt: skip
    view = view_of(store, make(born(values)))
    for column, spread in enumerate(view.spreads, start=1):
        for place, generation in enumerate(view.number.tolist()):
            own = [each[column] for each in values if each[0] == generation]
            found = [spread.low[place], spread.median[place], spread.high[place]]
            assert found == pytest.approx(np.quantile(own, [0.25, 0.5, 0.75]).tolist())
            assert spread.best[place] == (max(own) if column == 1 else min(own))


def test_who_is_of_no_generation(store, make, born, trial):
    warm = trial(3, {"valid_accuracy": 99.0, "latency_ms@pixel3": 1.0}, tags={"warm_start": "old"})
    point = trial(4, {"valid_accuracy": 98.0, "latency_ms@pixel3": 2.0}, tags={"fixed": "known"})
    record = make([*born([(0, 80, 5), (0, 90, 9), (1, 91, 5)]), warm, point])
    view = view_of(store, record)
    assert view.trials.tolist() == [2, 1]
    assert view.without == 1
    (part,) = generation_parts(view)
    assert "1 trial of no generation left out" in part.text


def test_without_notes_ancestors_are_counted(store, make, trial):
    numbers = [{"valid_accuracy": 80.0 + n, "latency_ms@pixel3": 5.0} for n in range(5)]
    parents = [None, None, 0, 2, 1]
    trials = [trial(n, m, parent=p) for n, (m, p) in enumerate(zip(numbers, parents, strict=True))]
    view = view_of(store, make(trials))
    assert not view.noted
    assert view.number.tolist() == [0, 1, 2]
    assert view.trials.tolist() == [2, 2, 1]
    assert view.spreads[0].best.tolist() == [81.0, 84.0, 83.0]
    assert "number of its ancestors" in generation_parts(view)[0].text


@pytest.mark.parametrize("notes", [[None, None], [2, 2], ["1", True]])
def test_fewer_than_two_generations_show_nothing(store, make, born, notes):
    assert view_of(store, make(born([(note, 90, 5) for note in notes]))) is None
    assert generation_parts(None) == []


def test_the_part_and_the_report(store, make, born):
    make(born([(0, 80, 5), (0, 90, 9), (1, None, None), (2, 95, 7)]))
    (part,) = generation_parts(view_of(store, store.experiment("toy")))
    names = {trace.name for trace in part.figure.data}
    assert names == {"lower quartile", "middle half", "median", "best", "trials", "feasible trials"}
    assert [axis.title.text for axis in part.figure.select_yaxes()] == [
        "valid_accuracy (%)", "latency_ms@pixel3", "trials",
    ]  # fmt: skip
    first, second, _ = part.rows.rows
    assert first[:5] == ("0", "2", "2", "90 %", "85 % (82.5 % to 87.5 %)")
    assert second[1:5] == ("1", "0", "–", "–")  # noqa: RUF001
    (found,) = json.loads(report_text(store, ["toy"], "json"))["experiments"]
    first, second, _ = found["generations"]
    assert (first["generation"], first["trials"], first["feasible"]) == (0, 2, 2)
    accuracy = {"best": 90.0, "q1": 82.5, "median": 85.0, "q3": 87.5}
    assert first["objectives"]["valid_accuracy"] == accuracy
    assert set(second["objectives"]["valid_accuracy"].values()) == {None}
    text = Page(report_html(store, "toy")).text
    assert "Generations The feasible networks that each generation brought" in text
