"""Hardware models against measured tables: what a few networks must be enough for."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy.stats import spearmanr

from netloom.estimators.complexity import Workloads
from netloom.estimators.tables import load_table
from netloom.hw_models import load_device, model_for
from netloom.hw_models.calibrate import Measurement, calibrate
from netloom.hw_models.scores import rounded
from netloom.spaces import SPACES

SPACE = SPACES.get("nb201")()
TABLE = load_table("nb201")
WORKLOADS = Workloads(SPACE)


def measured(column, count, seed=0):
    """Random cells with a 3x3 from input to output, and what they took."""
    chosen = random.Random(seed).sample(
        [i for i, text in enumerate(TABLE["arch"].tolist()) if "|nor_conv_3x3~0|none~1|" in text],
        count,
    )
    networks = [WORKLOADS.of(SPACE.parse(TABLE["arch"][i])) for i in chosen]
    return networks, TABLE[f"latency_ms_{column}"][chosen]


@pytest.mark.parametrize("column", ["eyeriss", "fpga"])
def test_twelve_networks_say_all_of_a_simulator_that_sums_operations(column):
    networks, values = measured(column, 150)
    rows = [Measurement(w, ms) for w, ms in zip(networks[:12], values[:12], strict=True)]
    found = calibrate(load_device("cpu_generic"), rows)
    model = model_for(found.device)
    costs = [model.cost(w, breakdown=False).latency_ms for w in networks[12:]]
    assert np.abs(np.array(costs) / values[12:] - 1).max() < 1e-9
    assert "every layer" in found.model
    assert "table" not in found.model


def test_a_data_sheet_orders_small_networks_at_batch_1():
    networks, values = measured("1080ti_1", 300)
    model = model_for("gtx1080ti")
    costs = [model.cost(w, breakdown=False).latency_ms for w in networks]
    assert spearmanr(rounded(np.array(costs)), values).statistic > 0.96
    assert spearmanr([w.macs for w in networks], values).statistic < 0.9


def test_ten_networks_of_a_server_cpu_order_the_others():
    networks, values = measured("gold_6226", 210, seed=1)
    rows = [Measurement(w, ms) for w, ms in zip(networks[:10], values[:10], strict=True)]
    model = model_for(calibrate(load_device("xeon_gold_6226"), rows).device)
    costs = np.array([model.cost(w, breakdown=False).latency_ms for w in networks[10:]])
    assert spearmanr(costs, values[10:]).statistic > 0.94
    assert np.mean(np.abs(costs / values[10:] - 1)) < 0.1


@pytest.mark.parametrize(
    ("name", "column", "batch"),
    [
        ("gtx1080ti_fbnet", "1080ti_1", 1),
        ("xeon_gold_6226_fbnet", "gold_6226", 1),
        ("raspberry_pi_4_fbnet", "raspi4", 1),
        ("pixel_3_fbnet", "pixel3", 1),
    ],
)
def test_fitted_files_predict_networks_that_they_were_not_fitted_to(name, column, batch):
    space, table = SPACES.get("fbnet")(), load_table("fbnet_latency")
    model, workloads = model_for(name), Workloads(space)
    rows = range(200, 300)  # the files were fitted to the first 200
    costs = [
        model.cost(workloads.of(space.parse(table["arch"][i])), batch, breakdown=False).latency_ms
        for i in rows
    ]
    values = table[f"latency_ms_{column}"][rows.start : rows.stop]
    report = model.device.validation["latency_ms"]
    assert model.device.calibrated
    assert model.device.numbers.fit.n == report.n == 200
    error = 100 * np.mean(np.abs(np.array(costs) / values - 1))
    assert error < 1.5 * report.mape_percent
    assert spearmanr(costs, values).statistic > report.spearman - 0.04
