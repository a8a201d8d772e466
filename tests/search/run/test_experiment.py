"""Searches from Python."""

from __future__ import annotations

import pytest
from toy_plans import PROJECT
from toys import Cost, Grid, Train

from netloom import Experiment, Objective
from netloom.db import Store
from netloom.errors import SpecError
from netloom.search import Constraint, Runner
from netloom.search.run.spec import Budget
from netloom.search.strategies.random import RandomSearch

NAMES = {
    "space": "toys:Grid",
    "strategy": "random",
    "estimators": ["toys:Cost"],
    "objectives": [{"maximize": "gain"}, {"minimize": "cost"}],
    "budget": 12,
    "baseline": False,
    "source_dir": PROJECT,
}


def test_names_and_objects_give_the_same_trials(store: Store) -> None:
    space = Grid()
    objects = {
        "space": space,
        "strategy": RandomSearch(),
        "estimators": [Cost(space)],
        "objectives": [Objective("gain", "maximize"), Objective("cost", "minimize")],
    }
    named = Experiment(**NAMES, name="named", store=store).run()
    built = Experiment(**{**NAMES, **objects}, name="built", store=store).run()
    keys = [[r.key for r in store.trial_records(s.experiment.id)] for s in (named, built)]
    assert keys[0] == keys[1]
    assert len(keys[0]) == 12


def test_constraints_and_mixed_parts(store: Store) -> None:
    space = Grid()
    experiment = Experiment(
        **{**NAMES, "space": space, "estimators": ["toys:Cost", Train(space)]},
        constraints=["cost <= 12", Constraint("gain", min=2.0)],
        runner={"engine": "inline"},
        store=store.url,
    )
    assert experiment.objects == ["space", "estimators"]
    summary = experiment.run()
    assert all(r.metrics["cost"] <= 12 <= 10 + r.metrics["gain"] for r in summary.front)


def test_one_made_of_names_is_resumed_from_its_spec(store: Store) -> None:
    Experiment(**NAMES, name="named", store=store).run()
    assert Runner.resume(store, "named", budget=Budget(trials=15)).counts["done"] == 15


def test_one_made_of_objects_needs_the_objects_again(store: Store) -> None:
    space = Grid()
    experiment = Experiment(
        **{**NAMES, "space": space, "estimators": [Cost]}, name="built", store=store
    )
    experiment.run()
    with pytest.raises(SpecError, match=r"space, estimators.*Experiment\(\.\.\.\)\.resume"):
        Runner.resume(store, "built", budget=Budget(trials=15))
    assert experiment.resume("built", budget=Budget(trials=15)).counts["done"] == 15


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": 3}, "space must be a DecisionSpace"),
        ({"space": Grid(), "strategy": 3}, "strategy must be a Strategy"),
        ({"space": Grid(), "estimators": [3]}, r"estimators\[0\] must be an Estimator"),
        ({"space": Grid(), "estimators": [Cost(Grid())]}, "made for another space"),
        ({"objectives": [{"maximize": "gian"}]}, "gain"),
        ({"budget": {"trails": 3}}, "trials"),
        ({"strategy": "randm"}, "random"),
        ({"runner": {"engine": "spark"}}, "engine"),
        ({"space": Grid(), "name": "a/b"}, "name: must match pattern"),
        ({"space": Grid(), "seed": -1}, "seed: must be greater than or equal to 0"),
        ({"space": Grid(), "repeats": 0}, "repeats: must be greater"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Experiment(**{**NAMES, **changes})
