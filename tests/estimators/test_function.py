from __future__ import annotations

import pickle
import sys

import pytest
import torch

from netloom.errors import EvaluationError, SpecError, StopTrial, UnknownName
from netloom.estimators import (
    ESTIMATORS,
    Estimator,
    FunctionEstimator,
    Tabular,
    check_finite,
    resolve_estimator,
)
from netloom.estimators.data.digits import Digits
from netloom.estimators.testing import EstimatorContract
from netloom.spaces import Decision, Space

MODULE = """
import torch
from netloom.errors import StopTrial
from netloom.estimators import Estimator, Metric, declares


@declares({"score": "maximize", "latency_ms@bench": {"direction": "minimize", "unit": "ms"}})
def evaluate(network, architecture, *, seed, scale: float = 1.0):
    total = float(network.weight.detach().double().sum())
    return {"score": scale * total, "latency_ms@bench": architecture["width"]}


@declares({"n": "minimize"}, cheap=True, deterministic=True, version=3)
def count(architecture):
    return {"n": architecture["width"]}


def bare(architecture, *, seed, budget, report):
    for step in (1, 2):
        report(step, {"loss": 1 / step})
    return {"loss": seed + (budget or 0)}


@declares({"n": "minimize"})
def with_data(data):
    return {"n": data.classes}


@declares({"n": "minimize"})
def needs(architecture, strength):
    return {"n": strength}


@declares({"n": "minimize"})
def answers(architecture, value=None):
    if value == "raise":
        raise ZeroDivisionError("at width 4")
    return {"none": None, "nan": {"n": float("nan")}, "text": {"n": "many"}, "less": {},
            "more": {"n": 1, "m": 2}}[value]


@declares({"n": "sideways"})
def sideways(architecture):
    return {"n": 1}


@declares({"n": {"direction": "minimize", "units": "mm"}})
def misspelt(architecture):
    return {"n": 1}


@declares({"n": "minimize"})
def dropout(network):
    return {"n": float(torch.rand(()))}


class Own(Estimator):
    name = "own"
    metrics = (Metric("n", "", "minimize"),)

    def identity(self):
        return {}

    def evaluate(self, architecture, *, seed=0, budget=None, report=None):
        return {"n": 1.0}


number = 7
"""


class Lines(Space):
    decisions = (Decision("width", (2, 4, 8)),)

    def build(self, architecture):
        if architecture["width"] == 8:
            raise ValueError("too wide")
        return torch.nn.Linear(3, architecture["width"])

    def example_input(self, architecture):
        return torch.zeros(1, 3)


@pytest.fixture(autouse=True)
def module(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("package")
    (folder / "my_fns.py").write_text(MODULE)
    monkeypatch.syspath_prepend(folder)
    yield
    sys.modules.pop("my_fns", None)


def width(w):
    return Lines().architecture({"width": w})


def make(path, space=None, data=None, **options) -> Estimator:
    cls, resolved = resolve_estimator(path, options)
    return cls(space or Lines(), data, **resolved)


class TestContract(EstimatorContract):
    def make(self):
        return make("my_fns:evaluate")

    def variants(self):
        return [make("my_fns:evaluate", scale=2.0), make("my_fns:count")]

    def some(self, estimator):
        return [width(2), width(4)]


def test_metrics_and_flags_are_those_declared():
    plain, cheap = make("my_fns:evaluate"), make("my_fns:count")
    assert [(m.name, m.unit, m.direction) for m in plain.metrics] == [
        ("score", "", "maximize"),
        ("latency_ms@bench", "ms", "minimize"),
    ]
    assert (plain.cheap, plain.deterministic, plain.reports) == (False, False, False)
    assert (cheap.cheap, cheap.deterministic) == (True, True)
    assert cheap.metrics[0].provenance["version"] == 3
    assert make("my_fns:count", cheap=False).cheap is False
    assert pickle.loads(pickle.dumps(cheap)).cheap is True
    assert FunctionEstimator.cheap is False


def test_a_function_without_marks_is_declared_in_the_spec():
    seen = []
    estimator = make("my_fns:bare", metrics={"loss": "minimize"}, reports=True)
    assert estimator.reports
    values = estimator.evaluate(width(2), seed=4, budget=2, report=lambda *args: seen.append(args))
    assert values == {"loss": 6.0}
    assert seen == [(1, {"loss": 1.0}), (2, {"loss": 0.5})]
    assert estimator.evaluate(width(2), seed=4) == {"loss": 4.0}
    with pytest.raises(SpecError, match="must declare its metrics"):
        make("my_fns:bare")


def test_a_scheduler_may_stop_a_function():
    def stop(step, metrics):
        raise StopTrial("enough")

    estimator = make("my_fns:bare", metrics={"loss": "minimize"})
    with pytest.raises(StopTrial):
        estimator.evaluate(width(2), report=stop)


def test_the_network_is_built_from_the_seed_and_its_weights_are_kept():
    estimator = make("my_fns:evaluate", scale=2.0)
    first = estimator.evaluate(width(4), seed=1)
    weights = estimator.trained_weights()
    assert first["score"] == pytest.approx(2 * float(weights["weight"].double().sum()))
    assert estimator.evaluate(width(4), seed=2) != first
    assert estimator.evaluate(width(4), seed=1) == first
    make("my_fns:count").evaluate(width(8))  # asks for no network: none is built
    with pytest.raises(EvaluationError, match="build raised ValueError: too wide"):
        estimator.evaluate(width(8))


def test_torch_draws_of_the_function_come_from_the_seed():
    estimator = make("my_fns:dropout")
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = estimator.evaluate(width(2), seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert estimator.evaluate(width(2), seed=5) == first
    assert estimator.evaluate(width(2), seed=6) != first


def test_data_are_given_to_who_asks():
    assert make("my_fns:with_data", data=Digits()).evaluate(width(2)) == {"n": 10.0}
    with pytest.raises(SpecError, match="asks for data"):
        make("my_fns:with_data")
    small, large = (make("my_fns:with_data", data=Digits(resolution=r)) for r in (8, 16))
    assert small.fingerprint != large.fingerprint


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("raise", "raised ZeroDivisionError: at width 4"),
        ("none", "must return {metric: value}, got NoneType"),
        ("nan", "n must be a finite number, got nan"),
        ("text", "n must be a number, got 'many'"),
        ("less", "must give n"),
        ("more", "returned m, which it does not declare"),
    ],
)
def test_what_a_function_may_not_return(value, reason):
    with pytest.raises(EvaluationError, match=reason):
        make("my_fns:answers", value=value).evaluate(width(2))


@pytest.mark.parametrize(
    ("path", "options", "rule"),
    [
        ("my_fns:evaluate", {"scal": 2}, "did you mean scale"),
        ("my_fns:evaluate", {"seed": 2}, "unknown option of my_fns:evaluate 'seed'"),
        ("my_fns:needs", {}, "needs the options strength"),
        ("my_fns:sideways", {}, "maximize or minimize, got 'sideways'"),
        ("my_fns:misspelt", {}, "did you mean unit"),
        ("my_fns:number", {}, "must be an Estimator subclass or a function, got int"),
        ("my_fns:evaluat", {}, "did you mean evaluate"),
        ("no_such_module:f", {}, "there is no module"),
        ("function", {"function": "my_fns:Own"}, "an Estimator class goes under name"),
    ],
)
def test_a_broken_declaration_is_refused(path, options, rule):
    with pytest.raises(SpecError, match=rule):
        make(path, **options)


def test_names_paths_and_classes_resolve():
    assert make("my_fns:needs", strength=2).evaluate(width(2)) == {"n": 2.0}
    assert resolve_estimator("tabular", {"dataset": "cifar100"}) == (
        Tabular,
        {"dataset": "cifar100"},
    )
    assert resolve_estimator("my_fns:Own", {})[0].name == "own"
    assert make("my_fns:Own").evaluate(width(2)) == {"n": 1.0}
    with pytest.raises(UnknownName, match="did you mean tabular"):
        resolve_estimator("tabula", {})


def test_every_named_estimator_can_be_had():
    for name in ("function", "tabular", "training"):
        assert issubclass(ESTIMATORS.get(name), Estimator)
        assert ESTIMATORS.get(name).name == name


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), "text", None])
def test_only_finite_numbers_pass(value):
    with pytest.raises(EvaluationError, match="mine: a must be"):
        check_finite("mine", {"a": value}, ["a"])
