"""Calibration of microcontrollers: what it finds, what it says of itself, what it refuses."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from netloom.errors import SpecError
from netloom.hw_models import HardwareModel, load_device, model_for, trace
from netloom.hw_models.calibrate import Measurement, calibrate, write_device
from netloom.hw_models.device import with_runtime
from netloom.hw_models.mcu import McuModel
from netloom.hw_models.mcu.cycles import cycles_of
from netloom.hw_models.testing import HardwareContract, toy_network

F746 = load_device("stm32f746")
# published under TinyEngine on an STM32H743, ms
TINYENGINE = {"in0": 25, "in1": 56, "in2": 280, "in3": 336, "in4": 463, "vww0": 27, "vww1": 51}
TINYENGINE |= {"vww2": 234, "proxyless_r64": 23, "proxyless_r176": 176, "mbv2_r64": 23}
# MLPerf Tiny v1.0 on an STM32L4R5, X-CUBE-AI
MLPERF = {"ad": 7.58, "kws": 75.1, "vww": 230.5, "ic": 226.9}


def toys(count):
    """Networks of one stem and a mixture of 1x1, depthwise and plain convolutions."""
    found = []
    for i in range(count):
        width = 16 * (1 + i % 3)
        layers = [nn.Conv2d(3, width, 3, 2, 1)]
        for k in range(1 + i % 4):
            layers += [nn.Conv2d(width, width, 3, 1, 1, groups=width if (i + k) % 2 else 1)]
            layers += [nn.Conv2d(width, width, 1)] * (i % 5)
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10 + 30 * i)]
        found.append(trace(nn.Sequential(*layers), torch.zeros(1, 3, 32, 32)))
    return found


def priced(device, table, workloads):
    """What a device with these cycles would take."""
    model = McuModel(device)
    model.cycles = table
    costs = [model.cost(w, breakdown=True, enforce=False).latency_ms for w in workloads]
    return [Measurement(w, ms) for w, ms in zip(workloads, costs, strict=True)]


class TestFitted(HardwareContract):
    def make(self) -> HardwareModel:
        table = cycles_of("cmsis_nn", "cortex-m7").scaled(1.7)
        return model_for(calibrate(F746, priced(F746, table, toys(8))).device)


def test_a_slower_device_is_found():
    """Caches off: everything takes three times as long, depthwise layers five times."""
    known = cycles_of("cmsis_nn", "cortex-m7")
    truth = known.scaled(3)._replace(dw=known.dw * 5)
    found = calibrate(F746, priced(F746, truth, toys(24)), name="caches_off")
    assert found.report.n == 24
    assert found.report.mape_percent < 3  # what is known of the kernels pulls a little
    assert found.report.within_10_percent == 100
    assert found.report.spearman > 0.99
    held = found.device.numbers.cycles["cmsis_nn"].table()
    assert 3 * known.dw < held.dw <= truth.dw  # few of their cycles
    assert held.stem == pytest.approx(truth.stem, rel=0.05)
    assert found.model.startswith("cycles of stem, conv, pw, dw, fc, op under cmsis_nn, near")


def test_ten_published_networks_calibrate_their_board(network):
    """The board as if it were a new one: better than the published table on networks left out."""
    device = with_runtime(load_device("stm32h743"), "tinyengine")
    rows = [Measurement(network(name), ms, name) for name, ms in TINYENGINE.items()]
    found = calibrate(device, rows, name="mine", source="TinyEngine's README, December 2022")
    assert found.report.n == len(TINYENGINE)
    assert found.report.mape_percent < 7
    assert found.report.spearman > 0.98
    assert found.report.noise_ceiling is None
    assert found.device.validation["latency_ms"] == found.report
    model = McuModel(found.device)
    provenance = model.provenance("latency_ms")
    assert (provenance.source, provenance.calibrated) == ("fitted", True)
    assert provenance.validation == found.report
    assert model.provenance("peak_memory_bytes").source == "analytic"
    for row in rows:
        cost = model.cost(row.workload, enforce=False)
        assert cost.latency_ms == pytest.approx(row.value_ms, rel=0.12)


def test_the_four_networks_of_mlperf_tiny_give_the_shipped_file(network):
    runtime = {"preset": "tflm_cmsis", "pad_fused": True, "kernels": "x_cube_ai"}
    device = with_runtime(load_device("stm32l4r5"), runtime)
    rows = [Measurement(network(name), ms) for name, ms in MLPERF.items()]
    found = calibrate(device, rows).device.numbers.cycles["x_cube_ai"]
    shipped = load_device("stm32l4r5").numbers.cycles["x_cube_ai"]
    assert found.table() == pytest.approx(shipped.table(), rel=1e-3)
    assert round(found.validation.mape_percent, 1) == shipped.validation.mape_percent


def test_the_written_file_is_the_device(tmp_path):
    table = cycles_of("tinyengine", "cortex-m7").scaled(2)
    start = with_runtime(F746, {"preset": "tinyengine", "patch": "auto"})
    found = calibrate(start, priced(start, table, toys(6)), name="my-mcu", source="of this test")
    write_device(found.device, tmp_path / "my-mcu.yaml")
    loaded = load_device(tmp_path / "my-mcu.yaml")
    assert loaded.to_dict() == found.device.to_dict()
    assert loaded.numbers.runtime == start.numbers.runtime
    cost = model_for(loaded).cost(toys(7)[6])
    assert cost == model_for(found.device).cost(toys(7)[6])


def test_halos_of_tiles_and_slow_memory_are_no_cycles():
    """Measured in tiles, and with maps in external RAM."""
    wide = [
        trace(
            nn.Sequential(nn.Conv2d(3, c, 3, 1, 1), nn.Conv2d(c, c, 3, 1, 1, groups=c), *tail),
            torch.zeros(1, 3, 96, 96),
        )
        for c in (16, 24, 32, 40, 48)
        for tail in ([], [nn.Conv2d(c, 8, 1)], [nn.Conv2d(c, 16, 3, 2, 1)])
    ]
    truth = cycles_of("esp_nn", "xtensa-lx7").scaled(1.5)
    for runtime in ({"preset": "tflm_esp"}, {"preset": "tflm_esp", "patch": "auto"}):
        device = with_runtime(load_device("esp32s3"), runtime)
        rows = priced(device, truth, wide)
        model = McuModel(device)
        reports = [model.report(w) for w in wide]
        assert any(r.memory.patch if "patch" in runtime else r.regions.slow for r in reports)
        found = calibrate(device, rows)
        assert found.report.mape_percent < 1


def test_repeats_of_a_network_are_never_parted():
    rows = priced(F746, cycles_of("cmsis_nn", "cortex-m7"), toys(12))
    again = [m._replace(value_ms=1.02 * m.value_ms) for m in rows]
    found = calibrate(F746, [*rows, *again])
    assert found.report.n == 24
    assert "12 networks under cmsis_nn" in found.report.source
    assert found.report.mape_percent == pytest.approx(1, abs=0.5)
    grouped = [m._replace(group=str(i)) for half in (rows, again) for i, m in enumerate(half)]
    assert calibrate(F746, grouped).report.noise_ceiling > 0.95


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0])
def test_a_value_that_is_no_time_is_refused(value):
    rows = priced(F746, cycles_of("cmsis_nn", "cortex-m7"), toys(6))
    rows[4] = rows[4]._replace(value_ms=value)
    with pytest.raises(SpecError, match=f"positive number of ms, got {value} for network 4"):
        calibrate(F746, rows)


def test_too_few_networks_are_refused_with_what_is_missing():
    rows = priced(F746, cycles_of("cmsis_nn", "cortex-m7"), toys(3))
    with pytest.raises(SpecError, match="at least 4 different networks, got 3; measure 1 more"):
        calibrate(F746, rows)
    with pytest.raises(SpecError, match=r"got 1 \(5 measurements\); measure 3 more"):
        calibrate(F746, [rows[0]._replace(value_ms=1.0 + n) for n in range(5)])
    with pytest.raises(SpecError, match="got 0; measure 4 more"):
        calibrate(F746, [])


def test_networks_that_differ_in_one_way_only_are_refused():
    rows = [Measurement(toy_network(blocks=b), float(b)) for b in range(1, 9)]
    said = "at least two ways, .* all of these grow and shrink together: stem, fc, op; measure"
    with pytest.raises(SpecError, match=said):
        calibrate(F746, rows)


def test_what_else_is_refused():
    rows = priced(F746, cycles_of("cmsis_nn", "cortex-m7"), toys(6))
    with pytest.raises(SpecError, match="int8, got 'float32'"):
        calibrate(F746, rows, dtype="float32")
    with pytest.raises(SpecError, match="batch must be"):
        calibrate(F746, rows, batch=0)
    with pytest.raises(SpecError, match="cycles on cortex-m7 are known for the kernels"):
        calibrate(with_runtime(F746, "tflm_esp"), rows)
    big = trace(nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1), nn.ReLU()), torch.zeros(1, 3, 112, 112))
    quick = [Measurement(w, 0.9 - 0.1 * n) for n, w in enumerate((*toys(4), big))]
    with pytest.raises(
        SpecError, match=r"longer than its traffic with external RAM, got 0.5 ms for"
    ):
        calibrate(load_device("esp32s3"), quick)
