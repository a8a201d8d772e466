"""Progress: counts, best values and the front follow the events; lines and table show them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from netloom.search.commands import progress as module
from netloom.search.commands.progress import Goal, Lines, Progress, goal_of, listening
from netloom.search.objectives import Objective
from netloom.search.run.events import Event

GOAL = Goal((Objective("score", "maximize"), Objective("cost", "minimize")), trials=4)


def done(number: int, score: float, cost: float, status: str = "done", **data: Any) -> Event:
    values = {"score": score, "cost": cost}
    return Event("committed", number, {"status": status, "metrics": values, **data})


def shown(*events: Event, goal: Goal = GOAL) -> dict[str, str]:
    progress = Progress(goal)
    for event in events:
        progress(event)
    return progress.facts()


def test_counts_best_values_and_front() -> None:
    facts = shown(
        Event("started", None, {"name": "toy"}),
        done(0, 10, 5),
        done(1, 20, 9),
        done(2, 5, 9),
        done(3, 99, 1, status="infeasible", violation=1.0),
        Event("committed", 4, {"status": "failed", "metrics": {}}),
        Event("evaluating", 5),
    )
    assert facts["trials"] == "4/4"
    assert (facts["infeasible"], facts["failed"], facts["running"]) == ("1", "1", "1")
    assert (facts["best score"], facts["best cost"], facts["front"]) == ("20", "5", "2")


def test_what_the_front_dominates_is_a_share_of_the_box_of_values_seen() -> None:
    # losses scaled to 0..1: (1, 0) and (0, 1) against (1.1, 1.1): 2 * 1.1 * 0.1 - 0.01
    facts = shown(done(0, 0, 0), done(1, 10, 10))
    assert facts["dominated"] == "17.36 % of the box seen"  # 0.21 / 1.21


def test_a_resumed_run_counts_what_is_there() -> None:
    record = SimpleNamespace(
        objectives=[{"metric": "score", "direction": "maximize"}],
        counts={"done": 5, "running": 2, "infeasible": 1},
        elapsed_s=40.0,
    )
    stored = [
        SimpleNamespace(number=n, metrics={"score": score}, feasible=feasible, fixed=fixed)
        for n, score, feasible, fixed in [
            (0, 3.0, True, None),
            (1, 7.0, True, None),
            (2, 9.0, False, None),
            (3, 8.0, True, "toy/known"),  # of the literature, not of the search
        ]
    ]
    goal = goal_of(record, {"trials": 9, "time": 100.0}, stored)
    facts = shown(done(5, 1, 1), goal=goal)
    assert facts["trials"] == "6/9"
    assert facts["best score"] == "7"  # of the earlier process, and feasible
    assert "running" not in facts
    assert "dominated" not in facts  # one objective has no front to measure
    assert goal.time_s == 60.0
    assert goal_of(record, {"trials": 9, "time": None}).time_s is None


def test_what_is_left_is_what_ends_first(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    goals = {
        "trials": Goal(GOAL.objectives, trials=6),
        "epochs": Goal(GOAL.objectives, epochs=100),
        "time": Goal(GOAL.objectives, time_s=45.0),
        "all": Goal(GOAL.objectives, trials=6, epochs=100, time_s=45.0),
    }
    progress = {name: Progress(goal) for name, goal in goals.items()}
    for number in range(4):
        clock[0] += 10.0  # a trial of five epochs every ten seconds
        for each in progress.values():
            each(done(number, 1, 1, epochs=5 * (number + 1)))
    left = {name: each.facts().get("left") for name, each in progress.items()}
    assert left == {"trials": "20 s", "epochs": "2 min 40 s", "time": "5 s", "all": "5 s"}
    assert progress["epochs"].facts()["epochs"] == "20/100"
    assert "epochs" not in progress["trials"].facts()


def test_lines_come_at_most_once_a_second(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    lines = Lines(Progress(GOAL))
    lines(done(0, 1, 1))
    lines(done(1, 2, 2))
    clock[0] += 1.5
    lines(done(2, 3, 3))
    lines(Event("message", None, {"text": "a message"}))
    lines(Event("finished", None, {"reason": "budget"}))
    captured = capsys.readouterr()
    assert captured.out == ""
    said = captured.err.splitlines()
    assert [line.split(",")[0] for line in said] == ["trials 1/4", "trials 3/4", "a message"]


def test_a_training_before_the_trials_says_a_line_every_ten_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    lines = Lines(Progress(GOAL))
    for step in range(1, 26):
        clock[0] += 1.0
        lines(Event("progress", None, {"text": "search: steps", "done": step, "total": 40}))
    assert capsys.readouterr().err.splitlines() == [
        "search: steps 10/40, left 30 s, time 10 s",
        "search: steps 20/40, left 20 s, time 20 s",
    ]


def test_the_table_draws(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(GOAL)
    for event in (
        Event("started", None, {"name": "toy"}),
        done(0, 1, 1),
        Event("progress", None, {"text": "training the super-network", "done": 3, "total": 9}),
    ):
        progress(event)
    Console(width=120).print(progress.table())
    text = capsys.readouterr().out
    assert "toy" in text
    assert "1/4" in text
    assert "training the super-network 3/9" in text
    assert "━" in text  # a bar


def test_how_long_a_training_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what was done since it was first heard of: a resumed one begins in the middle."""
    now = 100.0
    monkeypatch.setattr("netloom.search.commands.progress.time.monotonic", lambda: now)
    progress = Progress(GOAL)
    said = []
    for at, text, number in ((100, "search0", 40), (110, "search0", 60), (111, "search1", 1)):
        now = float(at)
        progress(Event("progress", None, {"text": text, "done": number, "total": 100}))
        said.append(str(progress.phase))
    assert said == ["search0 40/100", "search0 60/100, left 20 s", "search1 1/100"]
    progress(Event("asked", None, {}))
    assert progress.phase is None


def test_live_and_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with listening(GOAL, quiet=True, live=True) as listeners:
        assert listeners == []
    with listening(GOAL, quiet=False, live=True) as [listener]:
        listener(done(0, 1, 1))
        listener(Event("message", None, {"text": "a message"}))
    assert "a message" in capsys.readouterr().err
