"""Estimators asked about one factor of a product, and hardware that a factor decides."""

from __future__ import annotations

import pickle
from random import Random

import pytest

from netloom.errors import SpecError
from netloom.estimators import ESTIMATORS
from netloom.estimators.estimator import Estimator, Metric
from netloom.estimators.factor import FactorEstimator
from netloom.estimators.hardware import Hardware
from netloom.estimators.testing import EstimatorContract
from netloom.hw_models import model_for, trace
from netloom.hw_models.together import cost_together
from netloom.spaces import SPACES, AcceleratorSpace, Decision, DecisionSpace, ProductSpace

W1 = "dla,576,56 + shi,1792,8"


def product(**more):
    net = SPACES.get("nb201")
    return ProductSpace(left=net(), right=net(classes=100), chip=AcceleratorSpace(), **more)


class TestCountedFactor(EstimatorContract):
    def make(self) -> Estimator:
        space = product()
        inner = ESTIMATORS.get("complexity")(space.factors["right"])
        return FactorEstimator(space, inner, "right")


class TestHardwareOfAProduct(EstimatorContract):
    def make(self) -> Estimator:
        return Hardware(product(), devices=["chip", "tpu_like_32x32"])


def drawn(space, seed=0):
    return space.sample(Random(seed))


# ---------------------------------------------------------------- any estimator, of one factor
def test_metrics_carry_the_name_of_the_factor():
    space = product()
    a = drawn(space)
    own = space.project(a, "right")
    counted = ESTIMATORS.get("complexity")(space.factors["right"])
    wrapped = FactorEstimator(space, counted, "right")
    expected = {f"{name}@right": v for name, v in counted.evaluate(own).items()}
    assert wrapped.evaluate(a) == expected
    assert wrapped.evaluate_many([a, a], seeds=[0, 0]) == [expected, expected]
    assert [m.name for m in wrapped.metrics] == list(expected)
    assert wrapped.details(a) == counted.details(own)
    assert (wrapped.name, wrapped.cheap) == ("complexity", True)


def test_a_metric_with_a_target_keeps_it():
    space = product()
    inner = Hardware(space.factors["left"], devices=["nvdla_256"])
    wrapped = FactorEstimator(space, inner, "left")
    assert "latency_ms@left.nvdla_256" in {m.name for m in wrapped.metrics}
    a = drawn(space)
    given = inner.evaluate(space.project(a, "left"))["latency_ms@nvdla_256"]
    assert wrapped.evaluate(a)["latency_ms@left.nvdla_256"] == given


def test_the_factor_and_the_estimator_decide_the_fingerprint():
    space = product()
    prints = set()
    for factor in ("left", "right"):
        for device in ("nvdla_256", "tpu_v1"):
            inner = Hardware(space.factors[factor], devices=[device])
            prints.add(FactorEstimator(space, inner, factor).fingerprint)
    assert len(prints) == 4


class Trainer(Estimator):
    """Pretends to train: what it reports, keeps and is given back is what a test looks at."""

    name = "trainer"
    reports = True
    deterministic = False

    def __init__(self, space, data=None):
        super().__init__(space, data)
        self.given = None

    @property
    def metrics(self):
        return (
            Metric("valid_accuracy", "%", "maximize"),
            Metric("test_accuracy", "%", "maximize", "test"),
        )

    def identity(self):
        return {}

    def evaluate(self, architecture, *, seed=0, budget=None, report=None):
        report(1, {"valid_accuracy": 10.0})
        return {"valid_accuracy": 20.0}

    def test(self, architecture, *, seed=0, weights=None):
        self.given = weights
        return {"test_accuracy": 30.0}

    def trained_weights(self):
        return {"stem.weight": 1}


def test_what_training_reports_and_keeps_is_the_factors():
    space = product()
    inner = Trainer(space.factors["left"])
    wrapped = FactorEstimator(space, inner, "left")
    seen = []
    values = wrapped.evaluate(drawn(space), report=lambda step, m: seen.append((step, dict(m))))
    assert values == {"valid_accuracy@left": 20.0}
    assert seen == [(1, {"valid_accuracy@left": 10.0})]
    assert (wrapped.reports, wrapped.deterministic) == (True, False)
    assert wrapped.trained_weights() == {"left.stem.weight": 1}
    both = {"left.stem.weight": 1, "right.stem.weight": 2}
    assert wrapped.test(drawn(space), weights=both) == {"test_accuracy@left": 30.0}
    assert inner.given == {"stem.weight": 1}


# ---------------------------------------------------------------- hardware that a factor decides
def test_the_accelerator_of_the_architecture_runs_its_networks_at_once():
    space = product()
    left, right, chips = space.factors.values()
    a = space.join(left=left.at(11_111), right=right.at(2_222), chip=chips.parse(W1))
    works = [trace(f.build(x), f.example_input(x)) for f, x in
             ((left, left.at(11_111)), (right, right.at(2_222)))]  # fmt: skip
    expected = cost_together(model_for("nasaic_w1"), works)
    given = Hardware(space, devices=["chip"]).evaluate(a)
    assert given == {
        f"{field}@chip": getattr(expected, field)
        for field in ("latency_ms", "peak_memory_bytes", "utilization", "energy_mj", "area_mm2")
    }


def test_a_device_is_shared_by_the_networks_of_a_product():
    space = product()
    a = drawn(space)
    both = Hardware(space, devices=["tpu_like_32x32"])
    each = [
        Hardware(space.factors[n], devices=["tpu_like_32x32"]).evaluate(space.project(a, n))
        for n in ("left", "right")
    ]
    total = sum(m["latency_ms@tpu_like_32x32"] for m in each)
    assert both.evaluate(a)["latency_ms@tpu_like_32x32"] == pytest.approx(total)


def test_a_chip_at_a_batch_of_its_own():
    space = product()
    estimator = Hardware(space, devices=["chip", {"device": "chip", "batch": 4, "as": "chip_b4"}])
    values = estimator.evaluate(drawn(space))
    assert (
        values["latency_ms@chip"]
        < values["latency_ms@chip_b4"]
        <= 4.001 * values["latency_ms@chip"]
    )


def test_details_say_what_was_decided_and_where_layers_run():
    space = product()
    a = space.parse({"left": space.factors["left"].format(space.factors["left"].at(9)),
                     "right": space.factors["right"].format(space.factors["right"].at(15_000)),
                     "chip": W1})  # fmt: skip
    found = Hardware(space, devices=["chip"]).details(a)["chip"]
    assert found["accelerator"] == space.factors["chip"].choice(space.factors["chip"].parse(W1))
    assert max(s["end"] for s in found["schedule"]) == found["latency_ms"]
    assert len(found["schedule"]) == len(found["layers"])


def test_provenance_names_the_factor():
    (metric, *_) = Hardware(product(), devices=["chip"]).metrics
    assert metric.name == "latency_ms@chip"
    assert metric.provenance["source"] == "factor chip"
    assert metric.provenance["family"] == "maestro"


def test_equal_chips_share_what_they_know_and_a_copy_starts_anew():
    estimator = Hardware(product(), devices=["chip"])
    chips = estimator._chips["chip"]
    a = drawn(estimator.space)
    assert chips.model(a) is chips.model(a)
    again = pickle.loads(pickle.dumps(estimator))
    assert again.evaluate(a) == estimator.evaluate(a)
    assert again.fingerprint == estimator.fingerprint


def test_models_of_chips_are_not_kept_without_end(monkeypatch):
    monkeypatch.setattr("netloom.estimators.chosen._KEPT", 3)
    space = ProductSpace(net=SPACES.get("nb201")(), chip=AcceleratorSpace(preset="tiny"))
    chips = Hardware(space, devices=["chip"])._chips["chip"]
    for seed in range(20):
        chips.model(drawn(space, seed))
    assert len(chips._known) <= 3


def test_a_product_without_networks_is_refused():
    space = ProductSpace(chip=AcceleratorSpace(), other=DecisionSpace([Decision("x", (1, 2))]))
    with pytest.raises(SpecError, match="a factor that builds networks, got chip, other"):
        Hardware(space, devices=["chip"])


def test_a_name_means_one_thing():
    space = ProductSpace(net=SPACES.get("nb201")(), nvdla_256=AcceleratorSpace(preset="tiny"))
    with pytest.raises(SpecError, match="'nvdla_256' is a factor of the space and a device"):
        Hardware(space, devices=["nvdla_256"])
    with pytest.raises(SpecError, match="unknown device 'net'"):
        Hardware(product(), devices=["net"])
    with pytest.raises(SpecError, match="different names, got 'chip' twice"):
        Hardware(product(), devices=["chip", {"device": "nvdla_256", "as": "chip"}])


def test_eyeriss_stays_the_name_of_the_measured_column():
    with pytest.raises(SpecError, match="measured on nb201: use tabular"):
        Hardware(SPACES.get("nb201")(), devices=["eyeriss"])
    assert "latency_ms@eyeriss_168" in {
        m.name for m in Hardware(SPACES.get("nb201")(), devices=["eyeriss_168"]).metrics
    }
