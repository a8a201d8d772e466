"""What an architecture costs, as a strategy that trains is told."""

from __future__ import annotations

import math

import pytest

from netloom.errors import HardwareLimit
from netloom.estimators.hardware import Hardware
from netloom.search.run.plan import build_plan
from netloom.search.run.pricing import Pricing, is_cost
from netloom.search.run.spec import parse


def pricing(**changes):
    spec = {
        "version": 1,
        "space": {"name": "nb201", "preset": "tiny"},
        "estimators": [
            {"name": "complexity"},
            {"name": "hardware", "devices": ["cpu_generic", "v100"]},
        ],
        "strategy": "random",
        "objectives": [{"minimize": "params"}],
        "constraints": ["latency_ms@cpu_generic <= 5"],
        "budget": {"trials": 1},
        **changes,
    }
    plan = build_plan(parse(spec))
    return Pricing(plan), plan


def test_costs_are_those_that_trials_get():
    asked, plan = pricing()
    complexity, hardware = plan.estimators
    for index in (0, 77):
        architecture = plan.space.at(index)
        expected = hardware.evaluate(architecture)["latency_ms@cpu_generic"]
        assert asked.of(architecture) == {
            "params": complexity.evaluate(architecture)["params"],
            "latency_ms@cpu_generic": expected,
        }


def test_an_architecture_is_costed_once(monkeypatch):
    asked, plan = pricing()
    calls = []
    evaluate = Hardware.evaluate
    monkeypatch.setattr(Hardware, "evaluate", lambda s, a: calls.append(a) or evaluate(s, a))
    first, second = plan.space.at(3), plan.space.at(4)
    for architecture in (first, second, first, plan.space.at(3)):
        asked.of(architecture)
    assert calls == [first, second]


def test_what_cannot_run_there_has_no_cost(monkeypatch):
    def refuse(self, architecture):
        raise HardwareLimit("too large", layer="stem", needed=2, limit=1)

    monkeypatch.setattr(Hardware, "evaluate", refuse)
    asked, plan = pricing()
    found = asked.of(plan.space.at(0))
    assert math.isnan(found["latency_ms@cpu_generic"])
    assert found["params"] > 0


@pytest.mark.parametrize("metric", ["macs", "params", "latency_ms@v100", "energy_mj@x"])
def test_costs(metric):
    assert is_cost(metric)


@pytest.mark.parametrize("metric", ["valid_accuracy", "accuracy@net", "latency_ms", "score"])
def test_how_good_it_is_is_no_cost(metric):
    assert not is_cost(metric)


def test_qualities_are_never_told():
    """Also where a table gives them at once."""
    asked, plan = pricing(
        space={"name": "nb201"},
        estimators=[{"name": "tabular"}],
        objectives=[{"maximize": "valid_accuracy"}, {"minimize": "latency_ms@pixel3"}],
        constraints=[],
    )
    architecture = plan.space.at(1234)
    expected = plan.estimators[0].evaluate(architecture)["latency_ms@pixel3"]
    assert asked.of(architecture) == {"latency_ms@pixel3": expected}
