"""The roofline against a calculation by hand, and the conformance suite."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

from netloom.errors import HardwareLimit, SpecError
from netloom.hw_models import HardwareModel, Workload, load_device, model_for, trace
from netloom.hw_models.cpu import CpuModel
from netloom.hw_models.testing import HardwareContract, toy_network

TEN_GFLOPS = """
name: slow
family: cpu
title: 1 GHz, 10 FLOP per cycle, 1 GB/s, 2 us per operation
calibrated: false
numbers:
  clock: {value: 1, unit: GHz, source: made up for the test}
  flops_per_cycle: {value: 10, unit: FLOP/cycle, source: made up for the test}
  memory_bandwidth: {value: 1000, unit: MB/s, source: made up for the test}
  layer_overhead: {value: 2, unit: us, source: made up for the test}
  memory: {value: 1, unit: MiB, source: made up for the test}
"""


@pytest.fixture
def model(tmp_path) -> HardwareModel:
    path = tmp_path / "slow.yaml"
    path.write_text(TEN_GFLOPS)
    return model_for(path)


class TestCpuGeneric(HardwareContract):
    def make(self) -> HardwareModel:
        return model_for("cpu_generic")


class TestCpuOnTracedNetworks(HardwareContract):
    def make(self) -> HardwareModel:
        return CpuModel(load_device("cpu_generic"))

    def workload(self, channels: int = 8, side: int = 8, blocks: int = 2) -> Workload:
        layers = [nn.Conv2d(channels, channels, 3, padding=1) for _ in range(blocks)]
        network = nn.Sequential(nn.Conv2d(3, channels, 1), *layers, nn.Flatten(), nn.ReLU())
        return trace(network, torch.zeros(1, 3, side, side))


def test_the_roofline_by_hand(model):
    network = nn.Sequential(
        nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(4096, 10)
    )
    cost = model.cost(trace(network, torch.zeros(1, 16, 16, 16)))
    maps, dense = 4 * 4096, 4096 * 10
    conv, relu, flatten, linear = cost.layers
    # 2 x 589,824 MACs at 10 GFLOP/s = 0.1179648 ms; its 42 KB at 1 GB/s would take 0.042 ms
    assert conv.latency_ms == pytest.approx(0.002 + 2 * 256 * 16 * 144 / 1e7)
    assert (conv.bottleneck, conv.bytes_moved) == ("compute", 2 * maps + 4 * 16 * 144)
    assert relu.latency_ms == pytest.approx(0.002 + 2 * maps / 1e6)
    assert relu.bottleneck == "memory"
    assert (flatten.latency_ms, flatten.bytes_moved, flatten.bottleneck) == (0, 0, "none")
    weights = 4 * (dense + 10)
    assert linear.latency_ms == pytest.approx(0.002 + (maps + weights + 40) / 1e6)
    assert linear.bottleneck == "memory"
    total = conv.latency_ms + relu.latency_ms + linear.latency_ms
    assert cost.latency_ms == pytest.approx(total)
    assert cost.peak_memory_bytes == 2 * maps + 4 * 16 * 144 + weights
    macs = 256 * 16 * 144 + dense
    assert cost.utilization == pytest.approx(2 * macs / 1e7 / total)
    assert (cost.energy_mj, cost.area_mm2, cost.flash_bytes) == (None, None, None)


def test_a_batch_moves_weights_once(model):
    linear = trace(nn.Linear(256, 256, bias=False), torch.zeros(1, 256))
    one, eight = model.cost(linear), model.cost(linear, batch=8)
    assert one.layers[0].bytes_moved == 4 * (256 + 256 + 256 * 256)
    assert eight.layers[0].bytes_moved == 4 * (8 * 512 + 256 * 256)
    assert eight.layers[0].macs == 8 * one.layers[0].macs
    assert eight.peak_memory_bytes == 4 * (8 * 512 + 256 * 256)


def test_tiny_layers_wait_for_the_overhead(model):
    cost = model.cost(trace(nn.ReLU(), torch.zeros(1, 4)))
    assert cost.layers[0].bottleneck == "overhead"
    assert cost.latency_ms == pytest.approx(0.002 + 32e-6)


def test_an_embedding_reads_its_rows_only(model):
    table = nn.Embedding(10_000, 16)
    cost = model.cost(trace(table, torch.zeros(1, 5, dtype=torch.long)))
    assert cost.layers[0].bytes_moved == 5 * 8 + 2 * 5 * 16 * 4
    assert cost.peak_memory_bytes == 5 * 8 + 5 * 16 * 4 + 4 * 160_000


def test_nothing_to_do_costs_nothing(model):
    cost = model.cost(trace(nn.Identity(), torch.zeros(1, 4)))
    assert (cost.latency_ms, cost.utilization, cost.layers) == (0.0, None, ())


def test_a_network_that_does_not_fit_is_refused_with_the_excess(model):
    wide = toy_network(channels=256, side=32, blocks=1)
    with pytest.raises(HardwareLimit, match="slow has 1,048,576 bytes") as caught:
        model.cost(wide)
    error = caught.value
    assert error.layer == "block0.relu"
    assert error.needed == wide.peak_activation_bytes + wide.weight_bytes
    assert error.limit == 1024**2
    assert error.violation == pytest.approx(error.needed / 1024**2 - 1)
    small = toy_network(channels=16)
    model.cost(small)
    with pytest.raises(HardwareLimit):
        model.cost(small, batch=200)


def test_a_device_of_another_family_is_refused():
    class Other:
        name, family, numbers = "f746", "mcu", None

    with pytest.raises(SpecError, match="family cpu, got 'f746' of family 'mcu'"):
        CpuModel(Other())  # type: ignore[arg-type]


def test_a_used_model_can_be_pickled(model):
    model.cost(toy_network())
    assert pickle.loads(pickle.dumps(model)).cost(toy_network()) == model.cost(toy_network())


def test_a_cost_as_json_holds_what_the_model_gives(model):
    cost = model.cost(toy_network(), breakdown=False).to_dict()
    assert set(cost) == {"latency_ms", "peak_memory_bytes", "utilization", "layers"}
