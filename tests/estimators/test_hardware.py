"""Costs of architectures on named devices."""

from __future__ import annotations

import random

import pytest
import torch
from pydantic import ValidationError

from netloom.errors import EvaluationError, HardwareLimit, SpecError, UnknownName
from netloom.estimators import Hardware
from netloom.estimators.hardware import DeviceChoice
from netloom.estimators.testing import EstimatorContract
from netloom.hw_models import model_for, trace
from netloom.options import build
from netloom.spaces import SPACES


def space():
    return SPACES.get("nas_bench_macro")()


def small_memory(tmp_path):
    path = tmp_path / "small.yaml"
    text = (
        "name: small\nfamily: cpu\ntitle: 1 MiB\ncalibrated: false\nnumbers:\n"
        "  clock: {value: 1, unit: GHz, source: made up for the test}\n"
        "  flops_per_cycle: {value: 2, unit: FLOP/cycle, source: made up for the test}\n"
        "  memory_bandwidth: {value: 1, unit: GB/s, source: made up for the test}\n"
        "  layer_overhead: {value: 0, unit: us, source: made up for the test}\n"
        "  memory: {value: 1, unit: MiB, source: made up for the test}\n"
    )
    path.write_text(text)
    return str(path)


class TestHardware(EstimatorContract):
    def make(self):
        return Hardware(space(), devices=["cpu_generic"])

    def variants(self):
        batch = {"device": "cpu_generic", "batch": 8}
        return [
            Hardware(space(), devices=[batch]),
            Hardware(space(), devices=[{"device": "cpu_generic", "as": "cpu"}]),
            Hardware(space(), devices=["cpu_generic", {**batch, "as": "b8"}]),
        ]


def test_values_are_those_of_the_model_on_the_whole_network():
    macro = space()
    architecture = macro.sample(random.Random(1))
    estimator = Hardware(
        macro, devices=["cpu_generic", {"device": "cpu_generic", "batch": 4, "as": "cpu_b4"}]
    )
    assert [m.name for m in estimator.metrics] == [
        "latency_ms@cpu_generic",
        "peak_memory_bytes@cpu_generic",
        "latency_ms@cpu_b4",
        "peak_memory_bytes@cpu_b4",
    ]
    values = estimator.evaluate(architecture)
    whole = trace(macro.build(architecture), macro.example_input(architecture))
    for target, batch in (("cpu_generic", 1), ("cpu_b4", 4)):
        cost = model_for("cpu_generic").cost(whole, batch)
        assert values[f"latency_ms@{target}"] == cost.latency_ms
        assert values[f"peak_memory_bytes@{target}"] == cost.peak_memory_bytes


def test_provenance_says_that_it_is_a_model_without_calibration():
    provenance = Hardware(space(), devices=["cpu_generic"]).metrics[0].provenance
    assert provenance["kind"] == "model"
    assert provenance["calibrated"] is False
    assert provenance["source"] == "cpu_generic"


def test_provenance_says_what_is_a_multiple_of_what():
    devices = ["cpu_generic", {"device": "zcu102", "as": "board"}]
    found = {m.name: m.provenance for m in Hardware(space(), devices=devices).metrics}
    multiples = {n: p["proportional_to"] for n, p in found.items() if "proportional_to" in p}
    assert multiples == {"energy_mj@board": "latency_ms@board"}


def test_a_network_that_does_not_fit_raises_the_limit(tmp_path):
    macro = space()
    estimator = Hardware(macro, devices=[small_memory(tmp_path)])
    architecture = macro.sample(random.Random(1))
    with pytest.raises(HardwareLimit, match="small has 1,048,576 bytes"):
        estimator.evaluate(architecture)
    (result,) = estimator.evaluate_many([architecture], seeds=[0])
    assert isinstance(result, HardwareLimit)
    assert result.violation > 0
    assert result.layer


def test_a_network_without_a_value_is_an_error_that_says_so(monkeypatch):
    estimator = Hardware(space(), devices=["nvdla_256"])
    nothing = trace(torch.nn.Identity(), torch.zeros(1, 3, 8, 8))
    monkeypatch.setattr(estimator._networks, "of", lambda architecture: [nothing])
    with pytest.raises(EvaluationError, match=r"nvdla_256 has no utilization for .* takes time"):
        estimator.evaluate(space().at(0))


def test_details_break_down_by_layer():
    macro = space()
    estimator = Hardware(macro, devices=["cpu_generic"])
    architecture = macro.sample(random.Random(2))
    details = estimator.details(architecture)["cpu_generic"]
    total = sum(layer["latency_ms"] for layer in details["layers"])
    assert total == pytest.approx(details["latency_ms"])
    assert {"name", "kind", "bottleneck", "macs"} <= set(details["layers"][0])
    with pytest.raises(UnknownName, match="unknown target 'cpu'"):
        estimator.cost(architecture, "cpu")


@pytest.mark.parametrize(
    ("devices", "error", "said"),
    [
        (["cpu_generc"], UnknownName, r"unknown device 'cpu_generc'; did you mean cpu_generic\?"),
        (["cpu_generic", "cpu_generic"], SpecError, "different names, got 'cpu_generic' twice"),
        ([], SpecError, "must be a list of device names"),
        ("cpu_generic", SpecError, "must be a list of device names"),
        (
            [{"device": "cpu_generic", "bach": 2}],
            SpecError,
            "bach: unknown key; did you mean batch",
        ),
        ([{"device": "cpu_generic", "batch": 0}], SpecError, "batch: must be greater"),
        ([{"device": "cpu_generic", "as": "a b"}], SpecError, "as: must match pattern"),
    ],
)
def test_wrong_devices(devices, error, said):
    with pytest.raises(error, match=said):
        Hardware(space(), devices=devices)


def test_options_of_a_spec():
    made = build(
        Hardware, {"devices": ["cpu_generic", {"device": "cpu_generic", "as": "b"}]}, space()
    )
    assert list(made.targets) == ["cpu_generic", "b"]
    for wrong, said in (
        ({}, "devices: is required"),
        ({"devices": []}, "devices: must have at least 1 item"),
        ({"devices": ["cpu_generc"]}, "did you mean cpu_generic"),
        (
            {"devices": [{"device": "cpu_generic", "bach": 2}]},
            "bach: unknown key; did you mean batch",
        ),
    ):
        with pytest.raises(SpecError, match=said):
            build(Hardware, wrong, space())


def test_a_choice_in_python_takes_either_spelling():
    assert DeviceChoice(device="v100", as_="a") == DeviceChoice.model_validate(
        {"device": "v100", "as": "a"}
    )
    with pytest.raises(ValidationError):
        DeviceChoice(device="v100", batch=0)


def test_a_resolution_is_that_of_the_images():
    macro = space()
    architecture = macro.sample(random.Random(3))
    sizes = {"own": None, "wide": (48, 64), "large": 64}
    choices = [
        DeviceChoice(device="cpu_generic", resolution=size, as_=name)
        for name, size in sizes.items()
    ]
    estimator = Hardware(macro, devices=choices)
    found = estimator.evaluate(architecture)
    network = macro.build(architecture)
    for name, size in {"own": (32, 32), "wide": (48, 64), "large": (64, 64)}.items():
        whole = trace(network, torch.zeros(1, 3, *size))
        assert found[f"latency_ms@{name}"] == model_for("cpu_generic").cost(whole).latency_ms
    assert [m.provenance.get("resolution") for m in estimator.metrics[::2]] == [
        None,
        [48, 64],
        [64, 64],
    ]
    own = Hardware(macro, devices=[choices[0]])
    assert own.fingerprint != Hardware(macro, devices=[choices[1]]).fingerprint
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        DeviceChoice(device="cpu_generic", resolution=0)
