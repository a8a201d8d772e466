"""The kernel roofline against calculations by hand, every device file, the conformance suite."""

from __future__ import annotations

import dataclasses
import random

import pytest
import torch
from torch import nn

from netloom.errors import HardwareLimit, SpecError
from netloom.estimators.complexity import Workloads
from netloom.hw_models import HardwareModel, load_device, model_for, trace
from netloom.hw_models.gpu import GpuModel
from netloom.hw_models.testing import HardwareContract, toy_network
from netloom.spaces import SPACES

NUMBERS = """
  peak_float32: {value: 10, unit: TFLOP/s, source: made up for the test}
  peak_float16: {value: 40, unit: TFLOP/s, source: made up for the test}
  memory_bandwidth: {value: 100, unit: GB/s, source: made up for the test}
  launch: {value: 5, unit: us, source: made up for the test}
  memory: {value: 1, unit: GiB, source: made up for the test}
"""
GPUS = ["gtx1080ti", "rtx2080ti", "titan_rtx", "v100", "a100", "h100", "h200", "rtx4090"]
GPUS += ["jetson_orin"]
CPUS = ["raspberry_pi_4", "raspberry_pi_5", "xeon_gold_6226", "epyc_7763", "pixel_3_cpu"]


@pytest.fixture
def write(tmp_path):
    def write(extra="", family="gpu", numbers=NUMBERS):
        path = tmp_path / "slow.yaml"
        head = f"name: slow\nfamily: {family}\ntitle: A card\ncalibrated: false\nnumbers:"
        path.write_text(head + numbers + extra)
        return path

    return write


class TestV100(HardwareContract):
    def make(self) -> HardwareModel:
        return model_for("v100")


class TestCompiled(HardwareContract):
    def make(self) -> HardwareModel:
        device = load_device("rtx4090")
        numbers = device.numbers.model_copy(update={"runtime": "compiled"})
        return model_for(dataclasses.replace(device, numbers=numbers))


class TestPhone(HardwareContract):
    def make(self) -> HardwareModel:
        return model_for("pixel_3_cpu")


def block(channels=64):
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
    ).eval()


def test_the_roofline_by_hand(write):
    model = model_for(write())
    wide = trace(block(256), torch.zeros(1, 256, 64, 64))
    conv, norm, relu = model.cost(wide).layers
    macs, map_bytes = 256 * 256 * 9 * 64 * 64, 4 * 256 * 64 * 64
    assert conv.latency_ms == pytest.approx(2 * macs / 10e12 * 1e3)
    assert conv.bottleneck == "compute"
    assert conv.bytes_moved == 2 * map_bytes + 4 * 256 * 256 * 9
    assert relu.latency_ms == pytest.approx(2 * map_bytes / 100e9 * 1e3)
    assert norm.bottleneck == relu.bottleneck == "memory"
    small = model.cost(trace(block(4), torch.zeros(1, 4, 8, 8)))
    assert [layer.latency_ms for layer in small.layers] == pytest.approx([0.005] * 3)
    assert {layer.bottleneck for layer in small.layers} == {"overhead"}
    assert small.latency_ms == pytest.approx(0.015)


def test_a_number_format_has_its_own_peak_and_bytes(write):
    model = model_for(write())
    wide = trace(block(256), torch.zeros(1, 256, 64, 64))
    assert model.dtypes == ("float32", "float16")
    single, half = (model.cost(wide, dtype=d).layers for d in model.dtypes)
    assert half[0].latency_ms == pytest.approx(single[0].latency_ms / 4)
    assert half[2].latency_ms == pytest.approx(single[2].latency_ms / 2)


def test_a_batch_multiplies_all_but_weights(write):
    model = model_for(write())
    linear = trace(nn.Linear(4096, 4096, bias=False), torch.zeros(1, 4096))
    one, many = model.cost(linear), model.cost(linear, 16)
    weights = 4 * 4096 * 4096
    assert one.latency_ms == pytest.approx((weights + 2 * 4 * 4096) / 100e9 * 1e3)
    assert many.latency_ms == pytest.approx((weights + 16 * 2 * 4 * 4096) / 100e9 * 1e3)


def test_what_is_compiled_runs_as_one_kernel(write):
    net = trace(block(4), torch.zeros(1, 4, 8, 8))
    eager, compiled = model_for(write()), model_for(write("  runtime: compiled\n"))
    assert eager.cost(net).latency_ms == pytest.approx(0.015)
    cost = compiled.cost(net)
    assert cost.latency_ms == pytest.approx(0.005)
    assert [layer.latency_ms for layer in cost.layers] == pytest.approx([0.005, 0, 0])
    assert cost.layers[0].bytes_moved == 4 * (2 * 256 + 4 * 4 * 9 + 4 * 4)  # with the norm's


def test_shares_of_the_peaks(write):
    shares = "  compute_share: {value: 50, unit: percent, source: made up for the test}\n"
    shares += "  memory_share: {value: 0.25, unit: share, source: made up for the test}\n"
    full, less = model_for(write()), model_for(write(shares))
    wide = trace(block(256), torch.zeros(1, 256, 64, 64))
    before, after = full.cost(wide).layers, less.cost(wide).layers
    assert after[0].latency_ms == pytest.approx(2 * before[0].latency_ms)
    assert after[2].latency_ms == pytest.approx(4 * before[2].latency_ms)
    more = "  compute_share: {value: 120, unit: percent, source: made up for the test}\n"
    with pytest.raises(SpecError, match="at most 1, got 120 percent"):
        model_for(write(more))


def test_a_network_that_does_not_fit_is_refused(write):
    with pytest.raises(HardwareLimit, match="slow has 1,073,741,824 bytes of memory"):
        model_for(write()).cost(toy_network(channels=64, side=64), batch=2000)


def test_a_device_of_another_family_is_refused():
    with pytest.raises(SpecError, match="family gpu, got 'cpu_generic' of family 'cpu'"):
        GpuModel(load_device("cpu_generic"))


@pytest.mark.parametrize("name", [*GPUS, *CPUS])
def test_every_device_file_costs_networks_and_names_its_sources(name):
    device = load_device(name)
    model = model_for(device)
    small, large = (model.cost(toy_network(channels=c)) for c in (8, 64))
    assert 0 < small.latency_ms <= large.latency_ms
    assert device.family == ("gpu" if name in GPUS else "cpu")
    assert not device.calibrated
    for number in device.to_dict()["numbers"].values():
        assert number == "compiled" or len(number["source"]) > 20


def test_newer_cards_are_not_slower():
    big = toy_network(channels=512, side=64, blocks=4)
    times = [model_for(n).cost(big).latency_ms for n in ("gtx1080ti", "v100", "a100", "h100")]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize("device", ["v100", "pixel_3_cpu"])
@pytest.mark.parametrize("name", ["nb201", "ofa_mbv3", "fbnet"])
def test_composed_networks_cost_what_traced_ones_do(device, name):
    space = SPACES.get(name)(preset="tiny") if name != "ofa_mbv3" else SPACES.get(name)()
    workloads, model = Workloads(space), model_for(device)
    for seed in range(3):
        a = space.sample(random.Random(seed))
        with torch.device("meta"):
            network = space.build(a).eval()
        traced = trace(network, space.example_input(a))
        for batch in (1, 8):
            ours = model.cost(workloads.of(a), batch, breakdown=False)
            assert ours == model.cost(traced, batch, breakdown=False)
