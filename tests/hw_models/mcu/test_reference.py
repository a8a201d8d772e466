"""Published and computed numbers of known networks, to the byte where they are arithmetic.

Sources: runs of tensorflow/tflite-micro and mit-han-lab/tinyengine on the released models; the
tables of TinyEngine's README (December 2022). KiB are 1024 bytes there.
"""

from __future__ import annotations

import pytest

from netloom.hw_models.mcu import PRESETS, lower, plan_memory, policy
from netloom.hw_models.mcu.flash import flash, network_flash
from netloom.hw_models.memory.scratch import tail_bytes, tail_counts

TFLM = PRESETS["tflm_ref"]
SAME = policy({"preset": "tflm_ref", "pad_fused": True})  # converters that need no pad operators
FLOAT = policy({"preset": "tflm_ref", "float_input": True})


def planned(workload, how):
    return plan_memory(lower(workload, how.lowering), how)


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("in0", 749_840, 6_364_224),
        ("in4", 1_732_640, 125_874_400),
        ("kws", None, 2_656_768),
        ("ic", None, 12_501_632),
        ("vww", None, 7_489_664),
        ("ad", None, 264_192),
    ],
)
def test_the_networks_are_the_published_ones(network, name, params, macs):
    assert network(name).macs == macs
    assert params in (None, network(name).params)


@pytest.mark.parametrize(
    ("name", "macs", "params", "act"),
    [
        ("in0", 6.4, 0.75, 45),
        ("in1", 12.8, 0.64, 90),
        ("in2", 67.3, 0.73, 325),
        ("in3", 81.8, 0.74, 333),
        ("in4", 125.9, 1.73, 413),
        ("vww0", 6.0, 0.37, None),
        ("vww1", 11.6, 0.43, None),
        ("vww2", 55.8, 0.64, None),
        ("mbv2_r80", 7.3, 0.63, 94),
        ("mbv2_r144", 23.5, 0.75, 303),
        ("proxyless_r176", 38.3, 0.75, 242),
    ],
)
def test_the_model_zoo_of_mcunet(network, name, macs, params, act):
    """Millions, and KiB of activations, as the READMEs of mcunet and tinyml print them."""
    assert network(name).macs / 1e6 == pytest.approx(macs, abs=0.051)
    assert network(name).params / 1e6 == pytest.approx(params, abs=0.0051)
    if act is not None:
        peak = planned(network(name), PRESETS["mcunet_act"]).peak_bytes
        assert peak / 1024 == pytest.approx(act, abs=1)


@pytest.mark.parametrize(
    ("name", "how", "liveness", "head", "tail"),
    [
        ("kws", SAME, 16_000, 16_000, 8_272),
        ("ic", SAME, 49_152, 49_152, 6_832),
        ("vww1", FLOAT, 161_472, 161_472, 63_504),
        ("in0", TFLM, 87_040, 87_040, 76_736),
        ("in0", SAME, 46_080, 46_080, 76_064),
        ("in4", TFLM, 662_208, 662_208, 109_632),
        ("in4", SAME, 422_400, 422_400, 108_832),
    ],
)
def test_tensorflow_lite_micro(network, name, how, liveness, head, tail):
    plan = planned(network(name), how)
    assert (plan.liveness_bytes, plan.arena_bytes) == (liveness, head)
    assert -0.07 <= plan.persistent_bytes / tail - 1 <= 0.03
    assert plan.peak_bytes == head + plan.persistent_bytes


@pytest.mark.parametrize(
    ("name", "act", "scratch", "peak"),
    [
        ("vww1", 89_600, 3_528 + 864, 93_992),
        ("in0", 46_080, 2_688 + 1_296, 50_064),
        ("in4", 409_600, 14_792 + 1_728, 426_120),
    ],
)
def test_tinyengine(network, name, act, scratch, peak):
    plan = planned(network(name), PRESETS["tinyengine"])
    assert (plan.arena_bytes, plan.scratch_bytes, plan.peak_bytes) == (act, scratch, peak)


def test_the_peak_that_tinyengines_generator_prints_for_vww0(network):
    assert planned(network("vww0"), PRESETS["tinyengine"]).peak_bytes == 60_800


@pytest.mark.parametrize(("name", "act"), [("in0", 46_080), ("in4", 422_400)])
def test_the_proxy_of_mcunets_search(network, name, act):
    assert planned(network(name), PRESETS["mcunet_act"]).peak_bytes == act


@pytest.mark.parametrize(
    ("name", "constants"),
    # the files also hold the 8 bytes of the shape that their reshape reads
    [("kws", 24_376 - 8), ("ic", 78_752 - 8)],
)
def test_constants(network, name, constants):
    elements, channels, _ = network_flash(lower(network(name), SAME.lowering))
    assert elements + 4 * channels == constants


def test_the_flash_of_in0_in_parts(network):
    graph = lower(network("in0"), PRESETS["tinyengine"].lowering)
    stored = flash(*network_flash(graph), PRESETS["tinyengine"], 2 << 20, 0)
    assert (stored.weights, stored.bias, stored.scales) == (735_176, 31_328, 31_328)
    assert stored.total / 1024 == pytest.approx(842, abs=1)


@pytest.mark.parametrize(
    ("runtime", "sizes"),
    [
        (
            "tflm_ref",
            {"in0": 1072, "in1": 937, "in2": 1084, "in3": 1091}
            | {"vww0": 627, "vww1": 718, "mbv2_r64": 940},
        ),
        (
            "tflm_cmsis",
            {"in0": 1090, "in1": 956, "in2": 1102, "in3": 1106}
            | {"vww0": 646, "vww1": 736, "mbv2_r64": 959},
        ),
        (
            "tinyengine",
            {"in0": 842, "in1": 727, "in2": 830, "in3": 835, "in4": 1825}
            | {"vww0": 453, "vww1": 521, "vww2": 741, "mbv2_r64": 690},
        ),
    ],
)
def test_published_flash_is_met_within_one_per_cent(network, runtime, sizes):
    for name, kib in sizes.items():
        assert flash_kib(network(name), runtime) == pytest.approx(kib, rel=0.01), name


@pytest.mark.parametrize(
    ("name", "runtime", "kib", "percent"),
    [
        ("vww2", "tflm_ref", 1016, -2.0),
        ("vww2", "tflm_cmsis", 1034, -2.0),
        ("proxyless_r64", "tflm_ref", 1065, -1.4),
        ("proxyless_r64", "tflm_cmsis", 1084, -1.5),
        ("proxyless_r64", "tinyengine", 777, 8.2),  # which leaves 0 KiB for code
        ("proxyless_r176", "tinyengine", 779, 7.9),
    ],
)
def test_published_flash_that_is_not_met_within_one_per_cent(network, name, runtime, kib, percent):
    found = 100 * (flash_kib(network(name), runtime) / kib - 1)
    assert found == pytest.approx(percent, abs=0.05)


def flash_kib(workload, runtime):
    how = PRESETS[runtime]
    parts = network_flash(lower(workload, how.lowering))
    return flash(*parts, how, 2 << 20, 0).total / 1024


TINYENGINE = {"in0": 49, "in1": 96, "in2": 215, "in3": 260, "in4": 416}
TINYENGINE |= {"vww0": 59, "vww1": 92, "vww2": 174, "mbv2_r64": 61, "mbv2_r144": 295}
TINYENGINE |= {"proxyless_r64": 35, "proxyless_r176": 259}


@pytest.mark.parametrize("name", TINYENGINE)
def test_published_sram_of_tinyengine(network, name):
    """The README rounds down, or to the nearest; 61 for mbv2_r64 is 2 more than the rules give."""
    plan = planned(network(name), PRESETS["tinyengine"])
    off = 2 if name == "mbv2_r64" else 1
    assert abs(plan.peak_bytes / 1024 - TINYENGINE[name]) <= off


@pytest.mark.parametrize(
    ("name", "how", "kib"),
    [
        ("in0", TFLM, 161),
        ("in1", TFLM, 219),
        ("in2", FLOAT, 460),
        ("vww0", TFLM, 163),
        ("mbv2_r64", TFLM, 173),
        ("proxyless_r176", TFLM, 453),
    ],
)
def test_published_sram_of_tensorflow_lite_micro(network, name, how, kib):
    """Within what the estimate of the tail may be off, and 2 KiB of the device's own."""
    total = planned(network(name), how).peak_bytes / 1024
    assert total <= kib <= total * 1.03


@pytest.mark.parametrize(("name", "kib"), [("vww2", 385), ("proxyless_r64", 128)])
def test_published_sram_with_a_float_input(network, name, kib):
    """Met within 2 % from above: the tail of these is estimated too large."""
    total = planned(network(name), FLOAT).peak_bytes / 1024
    assert kib < total < 1.02 * kib


def test_the_tail_is_a_sum_over_operators(network):
    graph = lower(network("kws"), SAME.lowering)
    counts = tail_counts(graph)
    assert counts == {"channels": 588, "tensors": 33, "ops": 12, "convolutions": 9}
    assert tail_bytes(**counts) == 8 * 588 + 24 * 33 + 64 * 12 + 88 * 9 + 1000
