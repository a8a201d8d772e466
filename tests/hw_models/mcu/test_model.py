"""The model of a device: the conformance suite, verdicts, runtimes, two memories."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netloom.errors import HardwareLimit, SpecError, UnknownName, UnsupportedLayer
from netloom.estimators.hardware import Hardware
from netloom.hw_models import HardwareModel, device_names, load_device, model_for, trace
from netloom.hw_models.device import shipped_devices, with_runtime
from netloom.hw_models.mcu import McuModel
from netloom.hw_models.testing import HardwareContract, toy_network
from netloom.spaces import SPACES

MCUS = [n for n in shipped_devices() if load_device(n).family == "mcu"]


class TestStm32F746(HardwareContract):
    def make(self) -> HardwareModel:
        return model_for("stm32f746")


class TestTinyEngine(HardwareContract):
    def make(self) -> HardwareModel:
        return McuModel(load_device("stm32h743"), "tinyengine")


class TestEsp32(HardwareContract):
    def make(self) -> HardwareModel:
        return model_for("esp32s3")


class TestIdealWithPatches(HardwareContract):
    def make(self) -> HardwareModel:
        return McuModel(load_device("stm32l4r5"), {"preset": "ideal", "patch": "auto"})


def test_the_devices_of_the_sheet_are_there():
    assert MCUS == [
        "esp32s3",
        "nrf52840",
        "nrf5340",
        "ra6m4",
        "rp2040",
        "stm32f412",
        "stm32f427",
        "stm32f446",
        "stm32f746",
        "stm32h743",
        "stm32h7a3",
        "stm32l4r5",
        "stm32u575",
    ]


@pytest.mark.parametrize(
    ("name", "mhz", "sram", "flash"),
    [
        ("stm32f412", 100, 256, 1024),
        ("stm32f427", 180, 192, 1024),
        ("stm32f446", 180, 128, 512),
        ("stm32f746", 216, 320, 1024),
        ("stm32h743", 480, 512, 2048),
        ("stm32h7a3", 280, 1024, 2048),
        ("stm32l4r5", 120, 640, 2048),
        ("stm32u575", 160, 768, 2048),
        ("nrf52840", 64, 256, 1024),
        ("nrf5340", 128, 512, 1024),
        ("ra6m4", 200, 256, 1024),
        ("rp2040", 125, 264, 0),
        ("esp32s3", 240, 320, 0),
    ],
)
def test_clock_and_memories(name, mhz, sram, flash):
    numbers = load_device(name).numbers
    assert numbers.clock.si == mhz * 1e6
    assert numbers.sram_contiguous.si == sram * 1024
    assert numbers.flash_on_chip.si == flash * 1024


@pytest.mark.parametrize("name", MCUS)
def test_what_was_recalled_or_assumed_says_so(name):
    """Power was measured on three boards; every other number of it must say what it is."""
    source = load_device(name).numbers.active_power.source
    assert ("MLPerf" in source) or ("recalled" in source) or ("assumption" in source)


def test_totals_by_hand(network):
    """mcunet-in0 under TinyEngine: 25 ms, 49 kB, 842 kB on this device by its README."""
    model = McuModel(load_device("stm32h743"), "tinyengine")
    cost = model.cost(network("in0"))
    assert cost.peak_memory_bytes == 50_064
    assert cost.flash_bytes == 735_176 + 31_328 + 31_328 + 63 * 1024
    stem, dense = 24 * 24 * 24 * 27, 0
    depthwise = 0
    for layer in network("in0").layers:
        if layer.kind == "depthwise_conv":
            depthwise += layer.macs
        elif layer.kind in ("pointwise_conv", "linear"):
            dense += layer.macs
    cycles = 9.16 * stem + 1.25 * dense + 2.55 * depthwise
    assert cost.latency_ms == pytest.approx(cycles / 480e3)
    assert cost.latency_ms == pytest.approx(25, rel=0.05)
    assert cost.energy_mj == pytest.approx(0.675 * cost.latency_ms)
    assert math.isclose(math.fsum(x.latency_ms for x in cost.layers), cost.latency_ms)


def test_what_tensorflow_lite_micro_could_not_run_does_not_fit(network):
    """The README reports in4 as out of memory there; TinyEngine runs it."""
    model = model_for("stm32h743")
    with pytest.raises(HardwareLimit, match="contiguous SRAM; the network needs 769,") as caught:
        model.cost(network("in4"))
    assert caught.value.layer.endswith(".pad")
    cost = model.cost(network("in4"), enforce=False)
    assert [e.resource for e in cost.excesses] == ["contiguous SRAM", "Flash"]
    assert not cost.fits
    assert McuModel(load_device("stm32h743"), "tinyengine").cost(network("in4")).fits


def test_every_limit_has_its_own_reason(network, tmp_path):
    text = Path(load_device("stm32h743").origin).read_text()
    for old, new in [
        ("sram_contiguous: {value: 512", "sram_contiguous: {value: 64"),
        ("flash_on_chip: {value: 2", "flash_on_chip: {value: 1"),
        ("name: stm32h743", "name: small"),
    ]:
        assert old in text
        text = text.replace(old, new)
    text = text.replace(
        "  runtime: tflm_cmsis\n",
        "  runtime: tflm_cmsis\n"
        "  latency_budget: {value: 40, unit: ms, source: what the product needs}\n"
        "  energy_budget: {value: 20, unit: mJ, source: what the product needs}\n",
    )
    path = tmp_path / "small.yaml"
    path.write_text(text)
    cost = model_for(path).cost(network("in0"), enforce=False)
    found = {e.resource: (e.needed, e.limit, e.unit) for e in cost.excesses}
    assert found == {
        "contiguous SRAM": (cost.peak_memory_bytes, 60 * 1024, "bytes"),
        "Flash": (cost.flash_bytes, 1 << 20, "bytes"),
        "latency": (round(cost.latency_ms * 1e3), 40_000, "us"),
        "energy": (round(cost.energy_mj * 1e3), 20_000, "uJ"),
    }


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("sram_total: {value: 1056", "sram_total: {value: 100", "must not exceed sram_total"),
        ("sram_reserved: {value: 4", "sram_reserved: {value: 512", "must leave some"),
        ("value: cortex-m7", "value: cortex-m9", r"numbers\.core\.value"),
        ("runtime: tflm_cmsis", "runtime: tflm_cmsiss", "did you mean tflm_cmsis"),
        ("runtime: tflm_cmsis", "runtime: {preset: ideal, planer: x}", "did you mean planner"),
        ("unit: MHz, ", "", r"numbers\.clock\.unit: is required and missing"),
        (
            "  runtime:",
            "  psram: {value: 8, unit: MiB, source: a module with it}\n  runtime:",
            "psram_bandwidth must be given together",
        ),
        ("flash_on_chip: {value: 2", "flash_on_chip: {value: 0", "got neither"),
    ],
)
def test_a_wrong_file_is_told_what(tmp_path, old, new, said):
    text = Path(load_device("stm32h743").origin).read_text()
    assert old in text
    path = tmp_path / "wrong.yaml"
    path.write_text(text.replace(old, new, 1).replace("name: stm32h743", "name: wrong"))
    with pytest.raises(SpecError, match=said):
        load_device(path)


def test_an_unknown_device_is_an_error():
    with pytest.raises(UnknownName, match="did you mean stm32f746"):
        model_for("stm32f747")
    assert "stm32f746" in device_names()


def test_a_runtime_of_ones_own(network):
    device = load_device("stm32h743")
    usual, other = McuModel(device), McuModel(device, {"preset": "tflm_cmsis", "pad_fused": True})
    assert usual.fingerprint == McuModel(device, "tflm_cmsis").fingerprint != other.fingerprint
    assert other.cost(network("in0")).peak_memory_bytes < 130_000
    assert pickle.loads(pickle.dumps(other)).cost(network("in0")) == other.cost(network("in0"))
    with pytest.raises(UnknownName, match="unknown runtime 'tinyengin'; did you mean tinyengine"):
        McuModel(device, "tinyengin")
    with pytest.raises(SpecError, match=r"runtime\.planner.*got 'best'"):
        McuModel(device, {"planner": "best"})
    with pytest.raises(SpecError, match="must be the name of a preset or a mapping"):
        McuModel(device, 3)  # type: ignore[arg-type]


def test_a_runtime_per_use(network):
    changed = with_runtime(load_device("stm32h743"), "tinyengine")
    assert model_for(changed).cost(network("in0")).peak_memory_bytes == 50_064
    assert changed.validation == {}
    assert with_runtime(changed, "tinyengine") is changed
    space = SPACES.get("nats_sss")()
    estimator = Hardware(
        space,
        devices=[
            "stm32f746",
            {"device": "stm32f746", "runtime": "tinyengine", "as": "te"},
            {
                "device": "stm32f746",
                "runtime": {"preset": "tinyengine", "patch": "auto"},
                "as": "p",
            },
        ],
    )
    found = estimator.evaluate(space.parse("8:16:32:48:64"))
    peaks = [found[f"peak_memory_bytes@{name}"] for name in ("stm32f746", "te", "p")]
    assert peaks[0] != peaks[1] >= peaks[2]
    details = estimator.details(space.parse("8:16:32:48:64"))
    assert details["te"]["memory"]["peak_bytes"] == peaks[1]
    assert details["te"]["memory"]["timeline"][0]["blocks"][0]["offset"] == 0
    assert len(details["te"]["layers"]) == len(details["stm32f746"]["layers"])
    with pytest.raises(SpecError, match="eyeriss run networks in one way, got runtime 'fast'"):
        with_runtime(load_device("eyeriss_168"), "fast")
    with pytest.raises(SpecError, match="did you mean tinyengine"):
        with_runtime(load_device("stm32f746"), "tinyengin")


def test_kernels_without_measured_cycles_are_refused():
    with pytest.raises(SpecError, match="esp_nn, plain_c, got 'tinyengine'"):
        McuModel(load_device("esp32s3"), "tinyengine")


def test_validation_holds_for_the_runtime_that_was_compared():
    device = load_device("stm32h743")
    assert McuModel(device).provenance("latency_ms").error_percent == 3.1
    assert McuModel(device, "tinyengine").provenance("latency_ms").error_percent is None
    measured = McuModel(
        load_device("stm32u575"), {"preset": "tflm_cmsis", "kernels": "x_cube_ai"}
    ).provenance("latency_ms")
    assert (measured.source, measured.calibrated, measured.validation.n) == ("fitted", True, 4)
    assert McuModel(device).provenance("peak_memory_bytes").source == "analytic"
    assert McuModel(device).provenance("energy_mj").derived_from == "latency_ms"


def test_large_tensors_go_to_external_memory(network):
    """in1 needs more than the SRAM of an ESP32-S3; its two largest tensors are moved out."""
    model = model_for("esp32s3")
    report = model.report(network("in2"))
    assert report.memory.peak_bytes > model.sram_bytes
    assert report.regions.fast_bytes <= model.sram_bytes
    assert report.regions.slow
    sizes = {b.size_bytes for s in report.memory.timeline for b in s.blocks if b.role == "tensor"}
    assert report.regions.slow_bytes >= max(sizes)
    slow = [o.slow_ms for o in report.operators]
    moved = sum(slow) * 40e6 / 1e3
    assert moved == pytest.approx(round(moved))
    assert moved >= max(sizes)
    assert any(o.bottleneck == "memory" for o in report.operators)
    assert report.cost.fits


def test_what_fits_no_memory_names_the_external_one(network):
    model = model_for("esp32s3")
    cost = model.cost(trace(nn.ReLU(), torch.zeros(1, 64, 256, 256)), enforce=False)
    assert [e.resource for e in cost.excesses] == ["external RAM"]


def test_weights_may_lie_in_sram(network):
    usual = McuModel(load_device("stm32h743"), "tinyengine")
    loaded = McuModel(load_device("stm32h743"), {"preset": "tinyengine", "weights": "sram"})
    extra = 735_176 + 2 * 31_328
    usual_bytes = usual.cost(network("in0")).peak_memory_bytes
    cost = loaded.cost(network("in0"), enforce=False)
    assert cost.peak_memory_bytes == usual_bytes + extra


def test_flash_outside_the_chip(network):
    report = model_for("rp2040").report(network("vww1"))
    assert report.flash.on_chip == 0
    assert report.flash.external == report.flash.total == report.cost.flash_bytes


class Shapes(nn.Module):
    """A group norm, two resolutions, a resize, a concatenation, a maximum over positions."""

    def __init__(self):
        super().__init__()
        self.fine = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.GroupNorm(2, 8), nn.SiLU())
        self.coarse = nn.Conv2d(8, 16, 3, 2, 1)
        self.head = nn.Conv2d(24, 4, 1)

    def forward(self, x):
        fine = self.fine(x)
        coarse = self.coarse(F.max_pool2d(fine, 3, 2, 1))
        coarse = F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear")
        return self.head(torch.cat([fine, coarse], 1)).amax((2, 3))


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), (1, 16, 32)),
        (Shapes, (1, 3, 32, 32)),
        (lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.PReLU(4)), (1, 2, 16)),
    ],
)
def test_other_networks(build, shape):
    """Whatever the runtime, totals are those of the breakdown and patches never need more."""
    workload = trace(build().eval(), torch.zeros(shape))
    for runtime in ("tflm_ref", "tflm_cmsis", "tinyengine", "ideal", "mcunet_act"):
        model = McuModel(load_device("stm32h743"), runtime)
        whole, total = (model.cost(workload, breakdown=b) for b in (True, False))
        assert vars(total) == {**vars(whole), "layers": ()}
        patched = McuModel(model.device, {"preset": runtime, "patch": "auto"})
        assert patched.cost(workload).peak_memory_bytes <= whole.peak_memory_bytes


def test_layers_that_no_microcontroller_runs_are_named():
    model = model_for("stm32f746")
    with pytest.raises(UnsupportedLayer, match=r"kind 'rnn', got .*lstm.*use convolutions"):
        model.cost(trace(nn.LSTM(4, 4), torch.zeros(5, 1, 4)))
    with pytest.raises(UnsupportedLayer, match="use a resize and a convolution"):
        model.cost(trace(nn.ConvTranspose2d(4, 4, 2), torch.zeros(1, 4, 8, 8)), enforce=False)
    with pytest.raises(UnsupportedLayer, match="at most 2 dimensions"):
        model.cost(trace(nn.Conv3d(4, 4, 3), torch.zeros(1, 4, 8, 8, 8)))
    with pytest.raises(SpecError, match="int8, got 'float32'"):
        model.cost(toy_network(), dtype="float32")


def test_another_family_is_refused():
    with pytest.raises(SpecError, match="family mcu, got 'cpu_generic' of family 'cpu'"):
        McuModel(load_device("cpu_generic"))


def test_the_plan_is_plain_data(network):
    plan = model_for("stm32f746").memory_plan(network("kws"))
    data = plan.to_dict()
    assert data["peak_bytes"] == plan.peak_bytes
    assert len(data["timeline"]) == len(plan.timeline)
    step = data["timeline"][2]
    assert set(step) == {"op", "kind", "live_bytes", "blocks"}
    assert set(step["blocks"][0]) == {"name", "offset", "size_bytes", "role"}
