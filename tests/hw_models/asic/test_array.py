"""The generic array against ZigZag's public numbers, and against its own definition."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netloom.errors import SpecError
from netloom.hw_models import HardwareModel, Number, load_device, model_for
from netloom.hw_models.asic.array import SpatialArrayModel
from netloom.hw_models.asic.layers import Job
from netloom.hw_models.testing import HardwareContract, toy_network

TPU = SpatialArrayModel(load_device("tpu_like_32x32"))


class TestTpuLike(HardwareContract):
    def make(self) -> HardwareModel:
        return model_for("tpu_like_32x32")


class TestEdgeTpuLike(HardwareContract):
    def make(self) -> HardwareModel:
        return model_for("edge_tpu_like")


@pytest.mark.parametrize(
    ("sizes", "zigzag_cycles", "zigzag_uj"),
    [((256, 256, 14, 3), 125_854, 89.75), ((16, 96, 112, 1), 175_663, 137.6)],
)
def test_the_public_layers_of_zigzag(sizes, zigzag_cycles, zigzag_uj, conv, cycles):
    work = conv(*sizes)
    assert cycles(TPU, work) == pytest.approx(zigzag_cycles, rel=0.06)
    assert TPU.cost(work).energy_mj * 1e3 == pytest.approx(zigzag_uj, rel=0.02)


def test_a_layer_by_hand(conv):
    """64 -> 48 channels, 3x3, stride 2, 7 rows of output: 15 rows of input are read."""
    cost = TPU.cost(conv(64, 48, 14, stride=2))
    compute = 2 * 2 * 7 * 7 * 9
    read, weights, written = 64 * 15 * 15, 64 * 48 * 9, 48 * 49
    assert read + weights + written == cost.layers[0].bytes_moved
    moving = math.ceil((read + weights + written) / 8)
    assert cost.latency_ms * 1e6 == pytest.approx(max(compute + read / 8, moving))
    assert cost.layers[0].bottleneck == "memory"
    macs = 64 * 48 * 9 * 49
    sram = compute * 32 + read + 2 * written
    joules = 87.5 * (read + weights) + 93.75 * written + 0.177 * macs + 1.625 * sram
    assert cost.energy_mj == pytest.approx(joules * 1e-9)


def test_waiting_for_the_input_is_an_option(conv, altered, cycles):
    work = conv(256, 256, 14)
    compute = 8 * 8 * 9 * 196
    assert cycles(altered("tpu_like_32x32", on_load="none"), work) == compute
    assert cycles(TPU, work) == compute + 256 * 16 * 16 // 8


def test_a_depthwise_layer_keeps_one_element_of_1024_busy(conv):
    """ZigZag: 0.09 % on 32x32; about ten times as fast where pixels are unrolled."""
    deep = conv(144, 144, 56, groups=144, stride=2)
    tpu, edge = TPU.cost(deep), model_for("edge_tpu_like").cost(deep)
    assert 0.0007 < tpu.utilization < 1 / 1024
    assert 8 < tpu.latency_ms / edge.latency_ms < 12


def test_depthwise_layers_may_be_unrolled_otherwise(conv, altered, cycles):
    wide = Number(value=1024, unit="bytes/cycle", source="made up for the test")
    plain = altered("tpu_like_32x32", bandwidth=wide)
    model = altered("tpu_like_32x32", bandwidth=wide, depthwise={"G": 32, "OX": 32})
    deep, dense = conv(64, 64, 32, groups=64), conv(64, 64, 32)
    assert model.cost(dense) == plain.cost(dense)
    loaded = math.ceil(64 * 34 * 34 / 1024)
    assert cycles(model, deep) == 2 * 32 * 9 + loaded
    assert cycles(plain, deep) == 64 * 32 * 32 * 9 + loaded


def test_without_energies_there_are_none(altered, conv):
    model = altered("tpu_like_32x32", energies=None)
    assert "energy_mj" not in model.provides
    assert "energy_mj" in TPU.provides
    cost = model.cost(conv(8, 8, 8))
    assert (cost.energy_mj, cost.layers[0].energy_mj) == (None, None)


def test_an_unknown_loop_is_told(tmp_path):
    path = tmp_path / "odd.yaml"
    with open(load_device("edge_tpu_like").origin, encoding="utf-8") as file:
        text = file.read()
    path.write_text(text.replace("unroll: {K: 8", "unroll: {KK: 8"))
    with pytest.raises(SpecError, match=r"odd\.yaml:\d+: numbers\.unroll"):
        load_device(path)


loops = st.integers(1, 40)


@given(
    k=loops,
    c=loops,
    side=loops,
    kernel=st.sampled_from([1, 3]),
    groups=st.sampled_from([1, 4]),
    bandwidth=st.integers(1, 64),
)
def test_no_faster_than_arithmetic_and_traffic(k, c, side, kernel, groups, bandwidth):
    job = Job(1, groups, k, c, side, side, kernel, kernel)
    model = SpatialArrayModel(load_device("tpu_like_32x32"))
    model.bandwidth = float(bandwidth)
    cost = model.array_cost(job)
    assert cost.cycles * 1024 >= job.macs
    assert cost.cycles * bandwidth >= cost.bytes_moved == job.inputs + job.weights + job.outputs
    dram = 87.5 * (job.inputs + job.weights) + 93.75 * job.outputs
    assert cost.energy_pj >= 0.04 * job.macs + dram
    model.bandwidth = 2.0 * bandwidth
    assert model.array_cost(job).cycles <= cost.cycles
    model.bandwidth = float(bandwidth)
    model.unroll = {"K": 64, "C": 64}
    assert model.array_cost(job).cycles <= cost.cycles
    for larger in (job._replace(k=k + 1), job._replace(c=c + 1), job._replace(oy=side + 1)):
        assert SpatialArrayModel.array_cost(model, larger).cycles >= model.array_cost(job).cycles


def test_a_given_memory_is_a_limit(altered):
    kib = Number(value=1, unit="KiB", source="made up for the test")
    cost = altered("tpu_like_32x32", memory=kib).cost(toy_network(), enforce=False)
    assert [(e.resource, e.limit) for e in cost.excesses] == [("memory", 1024)]
