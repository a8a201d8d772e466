"""Calibration finds what made the measurements, knows its error, and refuses what cannot do."""

from __future__ import annotations

import dataclasses
import functools
import math
import random

import numpy as np
import pytest

from netloom.errors import SpecError
from netloom.estimators.complexity import Workloads
from netloom.hw_models import HardwareModel, load_device, model_for
from netloom.hw_models.calibrate import Measurement, calibrate, write_device
from netloom.hw_models.design import Design
from netloom.hw_models.executed import live_kernels
from netloom.hw_models.fit import Coefficients, Correction
from netloom.hw_models.fitting import Fitter
from netloom.hw_models.regression import folds, forest, non_negative, ridge, towards
from netloom.hw_models.scores import noise_ceiling, rounded, validation
from netloom.hw_models.testing import HardwareContract, toy_network
from netloom.hw_models.work import work_of
from netloom.spaces import SPACES

SPACE = SPACES.get("nb201")(preset="tiny")
CPU = load_device("cpu_generic")
COSTS = {"conv": 40.0, "pointwise_conv": 15.0, "pool": 9.0, "mul": 3.0, "add": 2.0}  # us


def networks(count, seed=0):
    workloads, rng = Workloads(SPACE), random.Random(seed)
    return [workloads.of(SPACE.sample(rng)) for _ in range(count)]


def counted(workload, kernels=None):
    """A device on which each kind of layer has a price, beside 100 us."""
    layers = [k.layers[0] for k in kernels] if kernels is not None else workload.layers
    return (100.0 + math.fsum([COSTS.get(layer.kind, 1.0) for layer in layers])) / 1e3


def toys(count):
    """Toy networks of several widths, sides and depths."""
    rng = random.Random(0)
    return [
        toy_network(rng.choice((8, 16, 32)), rng.choice((8, 16)), 1 + n % 6) for n in range(count)
    ]


@functools.cache
def toy_device():
    prices = [Measurement(w, 0.05 + 1e-6 * w.macs + 0.02 * len(w.layers)) for w in toys(16)]
    return calibrate(CPU, prices).device


class TestFitted(HardwareContract):
    def make(self) -> HardwareModel:
        return model_for(toy_device())


def test_prices_per_layer_are_found_exactly():
    measured = [Measurement(w, counted(w)) for w in networks(25)]
    found = calibrate(CPU, measured, name="priced")
    model = model_for(found.device)
    for workload in networks(30, seed=1):
        cost = model.cost(workload)
        assert cost.latency_ms == pytest.approx(counted(workload), rel=1e-9)
        assert math.fsum([layer.latency_ms for layer in cost.layers]) == pytest.approx(
            cost.latency_ms, rel=1e-12
        )
    assert found.report.mape_percent < 1e-6
    assert found.report.within_5_percent == 100
    assert found.report.spearman == pytest.approx(1)
    assert found.device.calibrated
    assert found.device.validation["latency_ms"] == found.report
    assert model.provenance("latency_ms").source == "fitted"
    assert model.provenance("latency_ms").validation == found.report
    assert model.provenance("peak_memory_bytes").source == "analytic"


def test_ten_networks_are_enough_for_prices():
    measured = [Measurement(w, counted(w)) for w in networks(10, seed=4)]
    model = model_for(calibrate(CPU, measured).device)
    for workload in networks(20, seed=5):
        assert model.cost(workload).latency_ms == pytest.approx(counted(workload), rel=1e-6)


def test_a_device_that_always_takes_as_long_is_a_constant():
    rows = networks(12)
    found = calibrate(CPU, [Measurement(w, 5.0) for w in rows])
    assert model_for(found.device).cost(networks(1, seed=3)[0]).latency_ms == pytest.approx(5)
    assert (found.report.spearman, found.report.within_5_percent) == (None, 100)
    jitter = random.Random(0)
    noisy = calibrate(CPU, [Measurement(w, jitter.uniform(4.9, 5.1)) for w in rows])
    assert model_for(noisy.device).cost(rows[0]).latency_ms == pytest.approx(5, rel=0.03)


def test_whether_dead_layers_run_is_found_out():
    for kernels in (None, live_kernels):
        price = {w: counted(w, kernels and kernels(w)) for w in networks(30)}
        found = calibrate(CPU, [Measurement(w, ms) for w, ms in price.items()])
        assert found.device.numbers.fit.runs == ("every" if kernels is None else "live")
        assert ("every layer" in found.model) == (kernels is None)


def test_a_roofline_is_found_by_its_work():
    gpu = model_for("gtx1080ti")
    measured = [Measurement(w, 1.5 * gpu.cost(w, 64).latency_ms) for w in toys(60)]
    found = calibrate(load_device("v100"), measured, batch=64)
    assert found.report.mape_percent < 5
    assert found.report.spearman > 0.98


def test_the_written_file_is_the_device(tmp_path):
    measured = [Measurement(w, counted(w)) for w in networks(12)]
    device = calibrate(CPU, measured, name="my-cpu", source="a price list of the test").device
    path = tmp_path / "my-cpu.yaml"
    write_device(device, path)
    loaded = load_device(path)
    assert loaded.to_dict() == device.to_dict()
    assert loaded.numbers.fit.source == "a price list of the test"
    network = networks(1, seed=9)[0]
    assert model_for(loaded).cost(network) == model_for(device).cost(network)
    assert model_for(loaded).fingerprint == model_for(device).fingerprint
    again = calibrate(loaded, measured, name="my-cpu", source="a price list of the test").device
    assert again.numbers == loaded.numbers


def test_a_fit_holds_for_its_batch_and_number_format():
    measured = [Measurement(w, counted(w)) for w in networks(12)]
    device = calibrate(load_device("a100"), measured, batch=8, dtype="float16").device
    model, network = model_for(device), networks(1, seed=9)[0]
    assert model.dtypes == ("float16",)
    assert model.cost(network, 8).latency_ms == pytest.approx(counted(network), rel=1e-6)
    plain = model_for("a100")
    ratio = [plain.cost(network, b, dtype="float16").latency_ms for b in (64, 8)]
    times = [model.cost(network, b).latency_ms for b in (64, 8)]
    assert times[0] / times[1] == pytest.approx(ratio[0] / ratio[1])
    with pytest.raises(SpecError, match=r"float16.*float32"):
        model.cost(network, dtype="float32")


def test_a_kind_never_measured_costs_the_scaled_roofline():
    plain = model_for("cpu_generic")
    rows = [w for w in networks(60) if not any(x.op == "avg_pool2d" for x in _cell_pools(w))]
    found = calibrate(CPU, [Measurement(w, 3 * plain.cost(w).latency_ms) for w in rows[:20]])
    fit = found.device.numbers.fit
    assert fit.scale == pytest.approx(3)
    softmax = toy_network()
    odd = [x._replace(kind="softmax", op="softmax") for x in softmax.layers[1:2]]
    changed = type(softmax)(
        [softmax.layers[0], *odd, *softmax.layers[2:]],
        softmax.tensors,
        inputs=softmax.inputs,
        outputs=softmax.outputs,
        params=softmax.params,
        weight_bytes=softmax.weight_bytes,
    )
    model = model_for(found.device)
    [kernel] = [k for k in _kernels(changed) if k.layers[0].kind == "softmax"]
    expected = 3e3 * plain.kernel_time(work_of(kernel), 1, "float32").ms
    assert model.fitted_us(kernel) == pytest.approx(expected)


def _cell_pools(workload):
    return [x for x in workload.layers if x.kind == "pool" and x.kernel == (3, 3)]


def _kernels(workload):
    from netloom.hw_models.executed import every_kernel

    return every_kernel(workload)


def test_a_learned_factor_is_tried_from_a_hundred_networks_on():
    noise = random.Random(0)
    rows = networks(110, seed=2)
    curved = np.array([counted(w) ** 2 * noise.uniform(0.99, 1.01) for w in rows])  # no sum
    model = model_for(CPU)
    fitter = Fitter(
        Design.of(rows, 1),
        curved * 1e3,
        [str(i) for i in range(len(rows))],
        lambda work: 1e3 * model.kernel_time(work, 1, "float32").ms,
        seed=0,
    )
    for count in (99, 110):
        some = np.arange(len(rows)) < count
        chosen = fitter.choose(some)
        assert (chosen.extra in ("ridge", "forest")) == (count >= 100)
        assert (fitter.fit(chosen, some).correction is None) == (count < 100)
    assert fitter.errors(chosen, some).mean() < 0.05


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0])
def test_a_value_that_is_no_time_is_refused(value):
    rows = [Measurement(w, counted(w)) for w in networks(12)]
    rows[7] = rows[7]._replace(value_ms=value)
    with pytest.raises(SpecError, match=rf"positive number of ms, got {value} for network 7"):
        calibrate(CPU, rows)


def test_too_few_networks_are_refused_with_what_is_missing():
    with pytest.raises(SpecError, match="at least 10 different networks, got 7; measure 3 more"):
        calibrate(CPU, [Measurement(w, counted(w)) for w in networks(7)])
    with pytest.raises(SpecError, match="got 0; measure 10 more"):
        calibrate(CPU, [])
    again = networks(1) * 20
    with pytest.raises(SpecError, match=r"got 1 \(20 measurements\); measure 9 more"):
        calibrate(CPU, [Measurement(w, 1.0 + n) for n, w in enumerate(again)])


def test_repeats_that_are_all_equal_say_nothing_of_noise():
    groups = [str(n) for n in range(12)] * 2
    assert noise_ceiling(np.ones(24), groups) is None
    assert noise_ceiling(np.arange(24.0) % 12, groups) == pytest.approx(1)


def test_networks_that_differ_in_one_way_only_are_refused():
    rows = [Measurement(toy_network(blocks=b), float(b)) for b in range(1, 15)]
    with pytest.raises(
        SpecError, match=r"at least two ways.*activation, add, conv, linear, reduce"
    ):
        calibrate(CPU, rows)


def test_other_families_and_formats_are_refused():
    rows = [Measurement(w, counted(w)) for w in networks(12)]
    for name, family in (("zcu102", "fpga"), ("scale_sim_12x14", "systolic")):
        said = f"cpu, gpu and mcu, got '{name}' of family '{family}', whose cycles are computed"
        with pytest.raises(SpecError, match=said):
            calibrate(load_device(name), rows)
    with pytest.raises(SpecError, match="float32, got 'int8'"):
        calibrate(CPU, rows, dtype="int8")
    with pytest.raises(SpecError, match="batch must be"):
        calibrate(CPU, rows, batch=0)


def test_a_file_that_contradicts_itself_is_refused(tmp_path):
    device = calibrate(CPU, [Measurement(w, counted(w)) for w in networks(12)]).device
    with pytest.raises(SpecError, match="carries a fit and says calibrated: false"):
        model_for(dataclasses.replace(device, calibrated=False))
    write_device(device, tmp_path / "mine.yaml")
    text = (tmp_path / "mine.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("runs: every", "runs: some"))
    with pytest.raises(SpecError, match=r"mine\.yaml:\d+: numbers\.fit\.runs: .*'every' or 'live'"):
        load_device(tmp_path / "mine.yaml")


def test_a_correction_that_leads_nowhere_is_refused():
    shared = {"totals": ("a",), "center": (0,), "spread": (1,), "constant": 1, "lowest": 0.5}
    leaf = (-1, 0, -1, -1, 2)
    assert Correction(**shared, trees=(((0, 1, 1, 2, 0), leaf, leaf),), highest=9).factor({}) == 3
    for wrong in ((), ((0, 1, 0, 0, 0),), ((0, 1, 1, 5, 0), leaf), ((7, 1, 1, 1, 0), leaf)):
        with pytest.raises(ValueError, match="tree 0 must have nodes"):
            Correction(**shared, trees=(wrong,), highest=9)
    with pytest.raises(ValueError, match="weights must have 1"):
        Correction(**shared, weights=(1, 2), highest=9)
    with pytest.raises(ValueError, match="center and spread must have 1"):
        Correction(**{**shared, "spread": (0,)}, highest=9)


# ---------------------------------------------------------------- the parts
def test_scores_by_hand():
    measured = np.array([1.0, 2.0, 4.0, 8.0])
    found = validation(np.array([1.02, 2.2, 4.0, 6.0]), measured, source="made up here")
    assert found.mape_percent == pytest.approx(100 * (0.02 + 0.1 + 0 + 0.25) / 4)
    assert (found.within_5_percent, found.within_10_percent) == (50, 75)
    assert (found.spearman, found.kendall, found.n) == (1, 1, 4)


def test_noise_in_the_last_digits_breaks_no_tie():
    noisy = np.array([1.0, 1.0 + 1e-14, 2.0, 2.0 - 1e-13])
    assert rounded(noisy).tolist() == [1, 1, 2, 2]
    ties = validation(noisy, np.array([1.0, 1.0, 2.0, 2.0]), source="made up here")
    assert ties.spearman == pytest.approx(1)


def test_the_noise_ceiling_of_repeats():
    rng = np.random.default_rng(0)
    true = rng.uniform(1, 10, 2000)
    groups = [str(i) for i in range(2000)] * 2
    same = np.concatenate([true, true])
    assert noise_ceiling(same, groups) == pytest.approx(1)
    noisy = same + rng.normal(0, 1.5, 4000)
    ceiling = noise_ceiling(noisy, groups)
    best = validation(same, np.maximum(noisy, 0.01), source="made up here").spearman
    assert ceiling == pytest.approx(best, abs=0.01)
    assert noise_ceiling(same[:9], groups[:9]) is None


def test_regressions_find_what_was_mixed():
    rng = np.random.default_rng(1)
    columns = rng.uniform(0, 5, (30, 4))
    truth = np.array([2.0, 0.0, 1.0, 3.0])
    assert non_negative(columns, columns @ truth) == pytest.approx(truth, abs=1e-9)
    wild = columns @ truth
    wild[4] *= 5
    assert non_negative(columns, wild) == pytest.approx(truth, rel=0.02, abs=0.02)
    centred = columns - columns.mean(0)
    weights, constant = ridge(centred, 7 + centred @ truth)
    assert weights == pytest.approx(truth, abs=1e-4)
    assert constant == pytest.approx(7)


def test_a_table_keeps_the_prior_of_parts_never_measured():
    counts = np.zeros((40, 5))
    counts[:, :4] = np.random.default_rng(2).integers(0, 4, (40, 4)) + 1
    truth, prior = np.array([1.0, 2.0, 3.0, 4.0, 9.0]), np.array([2.0, 2.0, 2.0, 2.0, 5.0])
    found = towards(counts, prior, prior, counts @ truth + 3, 3.0)
    assert found[:4] == pytest.approx(truth[:4], rel=1e-4)
    assert found[4] == 5
    nothing = np.zeros(5)
    assert towards(counts, nothing, nothing, np.full(40, 3.0), 3.0).tolist() == [0] * 5


def test_folds_never_part_a_group():
    names = [str(i % 40) for i in range(100)]
    found = folds(names, 0)
    assert len(found) == 10
    assert sum(fold.astype(int) for fold in found).tolist() == [1] * 100
    for fold in found:
        inside = {n for n, held in zip(names, fold, strict=True) if held}
        assert not inside & {n for n, held in zip(names, fold, strict=True) if not held}
    assert len(folds(names[:12], 0)) == 12


def test_trees_say_what_the_forest_says():
    from sklearn.ensemble import RandomForestRegressor

    rng = np.random.default_rng(3)
    x = rng.normal(size=(120, 3)).astype(np.float32).astype(float)
    y = 1 + 0.3 * (x[:, 0] > 0) * x[:, 1]
    model = RandomForestRegressor(40, max_leaf_nodes=16, min_samples_leaf=3, random_state=5)
    expected = model.fit(x, y).predict(x)
    names = ("a", "b", "c")
    shared = {"totals": names, "center": (0,) * 3, "spread": (1,) * 3, "constant": 0}
    found = Correction(**shared, trees=forest(x, y, 5), lowest=0.01, highest=100)
    ours = [found.factor(dict(zip(names, row, strict=True))) for row in x]
    assert ours == pytest.approx(expected.tolist())
    clipped = found.model_copy(update={"highest": 1.0})
    assert max(clipped.factor(dict(zip(names, row, strict=True))) for row in x) == 1


def test_coefficients_by_hand():
    each = Coefficients(us_per_kernel=3, us_per_mmac=2, us_per_mb=5)
    assert each.us((1, 10, 0.5, 7)) == 3 + 20 + 2.5
