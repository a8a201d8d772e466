"""Several Ray workers train one super-network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from together import work

from netloom.db import Store
from netloom.errors import EvaluationError, SpecError
from netloom.search.run.engines.ray_actors import RayActorsEngine
from netloom.search.run.engines.ray_tune import RayTuneEngine
from netloom.search.run.evaluation import Panel
from netloom.search.run.plan import Plan
from netloom.search.run.runner import Runner
from netloom.search.run.together import Home, Task

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared_ray")]
Plans = Callable[..., Plan]
DARTS: dict[str, Any] = {
    "space": {"name": "nb201", "channels": 2, "cells": 1},
    "data": "digits",
    "strategy": {"name": "darts", "epochs": 2, "batch_size": 256, "arch_lr": 0.05},
    "estimators": ["complexity"],
    "objectives": [{"minimize": "macs"}],
    "budget": {"trials": 1},
}


def task(made: Plan, how: str) -> Task:
    return Task(partial(work, how), made.space, (), (), 0, None, "cpu")


def together(engine: Any, made: Plan, how: str, stop: bool = False) -> tuple[Any, dict[str, Any]]:
    """Return what two workers give, and what they sent."""
    sent: dict[str, Any] = {}
    home = Home(lambda message: sent.update([message]), lambda: stop and "checkpoint" in sent)
    with engine:
        return engine.parallel(task(made, how), 2, home), sent


@pytest.mark.full
def test_a_search_with_two_workers_is_that_of_one(plan: Plans, store: Store) -> None:
    """Under the engine whose actors have to make room; curves and checkpoints reach the store."""
    Runner(plan(**DARTS, name="alone"), store).run()
    strategy = {**DARTS["strategy"], "workers": 2}
    runner = {"engine": "ray", "workers": 2}
    made = plan(**{**DARTS, "strategy": strategy, "runner": runner}, name="together")
    assert Runner(made, store).run().counts["done"] == 1
    found = {}
    for name in ("alone", "together"):
        record = store.experiment(name)
        points = store.curves(record.id)
        found[name] = points.set_index(["name", "step"])["value"].to_dict()
        assert store.checkpoint(record.id, "search") is not None
    assert ("search/valid_loss", 2) in found["alone"]
    assert found["together"] == pytest.approx(found["alone"], rel=1e-3)


@pytest.mark.full
def test_trials_and_workers_share_the_means(plan: Plans) -> None:
    made = plan(estimators=["toys:Cost"], runner={"engine": "ray", "workers": 2})
    panel = Panel(made.estimators, repeats=1, keep_weights=False)
    for engine in (RayActorsEngine(panel, made), RayTuneEngine(panel, made)):
        found, sent = together(engine, made, "adds")
        assert found == [6.0]
        assert sent["record"] == ("work/sum", 3.0, 1)


@pytest.mark.full
@pytest.mark.parametrize(
    ("how", "kind", "text"),
    [
        ("dies", EvaluationError, r"WorkerLost: one of 2 workers.*number 1.*resume"),
        ("raises", SpecError, r"^its own words$"),
    ],
)
def test_a_worker_that_fails_is_named(plan: Plans, how: str, kind: Any, text: str) -> None:
    made = plan(estimators=["toys:Cost"], runner={"engine": "ray", "workers": 2})
    engine = RayTuneEngine(Panel(made.estimators, repeats=1, keep_weights=False), made)
    with pytest.raises(kind, match=text):
        together(engine, made, how)


@pytest.mark.full
def test_a_stop_of_the_run_reaches_the_first_worker(plan: Plans) -> None:
    made = plan(estimators=["toys:Cost"], runner={"engine": "ray", "workers": 2})
    engine = RayTuneEngine(Panel(made.estimators, repeats=1, keep_weights=False), made)
    found, sent = together(engine, made, "waits", stop=True)
    assert found == [6.0]
    assert sent["progress"] == ("waiting", 0, 1)


def test_workers_that_do_not_fit_are_refused(plan: Plans) -> None:
    made = plan(runner={"engine": "ray", "workers": 1, "cpus_per_trial": 2})
    engine = RayTuneEngine(Panel(made.estimators, repeats=1, keep_weights=False), made)
    with pytest.raises(SpecError, match=r"2 workers must fit.*room for 1 trials"):
        together(engine, made, "adds")
