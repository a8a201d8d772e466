"""The front drawn with characters."""

from __future__ import annotations

import re
import sys

import pytest

from netloom.dashboard.terminal import front_text
from netloom.dashboard.views import ParetoView
from netloom.errors import MissingDependency, SpecError

from .conftest import MAX_ACCURACY, MIN_LATENCY

CROSS = "×"  # noqa: RUF001


@pytest.fixture
def view(store, make, pairs, trial):
    broken = trial(3, {"valid_accuracy": 99.0, "latency_ms@pixel3": 9.0}, status="infeasible")
    make([*pairs([(90, 1), (95, 5), (80, 5)]), broken])
    return ParetoView.of(store, "toy")


def test_every_trial_stands_where_it_belongs(view):
    lines = front_text(view, width=60, height=20).split("\n")
    assert lines[0] == "valid_accuracy (%)   better ↖"
    assert lines[-1] == f"◆ front (2)  · feasible (1)  {CROSS} infeasible (1)"
    drawn = lines[1:-1]
    marks = {
        mark: [
            (x, y) for y, line in enumerate(drawn) for x, each in enumerate(line) if each == mark
        ]
        for mark in f"◆·{CROSS}"
    }
    (first, (middle, upper)) = sorted(marks["◆"])
    ((below, lower),) = marks["·"]
    ((right, top),) = marks[CROSS]
    assert first[0] < middle < right  # 1, 5 and 9 ms
    assert abs(below - middle) <= 1  # 5 ms both
    assert top < upper < first[1] < lower  # 99, 95, 90, 80 %


def test_axes_have_units_and_say_what_is_not_drawn(store, make, trial):
    goals = (MAX_ACCURACY, MIN_LATENCY, {"metric": "params", "direction": "minimize"})
    values = [(90, 1, 20_000), (95, 5, 73_310)]
    names = [goal["metric"] for goal in goals]
    trials = [trial(i, dict(zip(names, row, strict=True))) for i, row in enumerate(values)]
    make(trials, objectives=goals)
    view = ParetoView.of(store, "toy")
    lines = front_text(view, width=60, height=20).split("\n")
    assert lines[2].lstrip().startswith("95 %┤")
    assert {"1 ms", "5 ms"} <= set(re.findall(r"\d+ ms", lines[-4]))
    assert lines[-1] == (
        "drawn: valid_accuracy and latency_ms@pixel3, not params, which the front is of, too"
    )
    view = ParetoView.of(store, "toy", "params", "valid_accuracy")
    assert "20 k" in front_text(view, width=60, height=20)


def test_it_is_as_wide_as_asked_and_has_no_codes(view):
    text = front_text(view, width=50, height=14)
    assert "\x1b" not in text
    assert max(map(len, text.split("\n")[1:-1])) == 50
    assert len(text.split("\n")) == 16
    assert "\x1b[" in front_text(view, width=50, height=14, colour=True)


def test_trials_on_one_character_are_drawn_once(store, make, pairs):
    make(pairs([(90 + i / 1e6, 5.0) for i in range(500)] + [(50, 9)]))
    view = ParetoView.of(store, "toy")
    text = front_text(view, width=60, height=20)
    assert "feasible (500)" in text
    assert sum(line.count("·") for line in text.split("\n")[1:-1]) <= 2


def test_too_small_a_place(view):
    with pytest.raises(SpecError, match=r"30 columns and 12 rows, got 20 and 20"):
        front_text(view, width=20, height=20)


def test_without_the_extra(view, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotext", None)
    with pytest.raises(MissingDependency, match=r"pip install 'netloom\[plot\]'"):
        front_text(view, width=60, height=20)
