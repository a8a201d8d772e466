"""The systolic array against SCALE-Sim's published cycle counts."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from netloom.hw_models import HardwareModel, model_for, trace
from netloom.hw_models.asic.systolic import systolic_cycles
from netloom.hw_models.testing import HardwareContract

DATAFLOWS = ("os", "ws", "is")
sizes = st.integers(1, 300)


class TestScaleSim(HardwareContract):
    def make(self) -> HardwareModel:
        return model_for("scale_sim_12x14")


class TestTpuV1(HardwareContract):
    def make(self) -> HardwareModel:
        return model_for("tpu_v1")


@pytest.mark.parametrize(("dataflow", "printed"), [("os", 28_895), ("ws", 25_439), ("is", 46_175)])
def test_scale_sim_to_the_cycle(dataflow, printed, altered, conv, cycles):
    """12 x 14, conv 3x3 16 -> 16 on 34x34 padded; SCALE-Sim 3.0.0 prints one cycle less."""
    model = altered("scale_sim_12x14", dataflow=dataflow)
    assert cycles(model, conv(16, 16, 32)) == printed
    true = altered("scale_sim_12x14", dataflow=dataflow, drop_last_cycle=False)
    assert cycles(true, conv(16, 16, 32)) == printed + 1


def test_sizes_are_rounded_up_only_as_scale_sim_does(altered, conv, cycles):
    """A stride of 2 on 34 padded rows gives 16 rows; SCALE-Sim counts 17."""
    odd = conv(16, 16, 32, stride=2)
    assert odd.layers[0].output_shapes == ((1, 16, 16, 16),)
    window = 9 * 16
    per_fold = 12 + 14 + window - 2
    assert cycles(altered("scale_sim_12x14"), odd) == -(-17 * 17 // 12) * 2 * per_fold - 1
    floor = altered("scale_sim_12x14", output_size="floor", drop_last_cycle=False)
    assert cycles(floor, odd) == -(-16 * 16 // 12) * 2 * per_fold


def test_a_depthwise_layer_keeps_one_column_busy(altered, conv, cycles):
    model = altered("scale_sim_12x14", drop_last_cycle=False)
    deep = conv(32, 32, 16, groups=32)
    assert cycles(model, deep) == 32 * -(-256 // 12) * (12 + 14 + 9 - 2)
    assert model.cost(deep).utilization < 1 / 14


def test_products_of_activations_are_matrix_products(altered, cycles):
    class Scores(nn.Module):
        def forward(self, x):
            return x @ x.transpose(1, 2)

    work = trace(Scores(), torch.zeros(1, 24, 40))
    model = altered("scale_sim_12x14", drop_last_cycle=False)
    assert cycles(model, work) == 2 * 2 * (12 + 14 + 40 - 2)
    # two images are two products
    assert cycles(model, work, batch=2) == 2 * 2 * 2 * (12 + 14 + 40 - 2)


def test_fused_attention_costs_its_two_products(altered, cycles):
    class Attention(nn.Module):
        def forward(self, x):
            return nn.functional.scaled_dot_product_attention(x, x, x)

    work = trace(Attention(), torch.zeros(1, 2, 24, 40))
    model = altered("scale_sim_12x14", drop_last_cycle=False)
    scores = 2 * 2 * (12 + 14 + 40 - 2)  # 24 x 40 times 40 x 24
    result = 2 * 3 * (12 + 14 + 24 - 2)  # 24 x 24 times 24 x 40
    assert cycles(model, work) == 2 * (scores + result)
    assert model.cost(work).layers[0].macs == 2 * 2 * 24 * 24 * 40


def test_images_of_a_batch_follow_through_the_same_weights(altered, conv, cycles):
    model = altered("scale_sim_12x14", dataflow="ws", drop_last_cycle=False)
    one, four = (cycles(model, conv(16, 16, 8), batch=b) for b in (1, 4))
    folds = 12 * 2
    assert one == folds * (24 + 14 + 64 - 2)
    assert four == folds * (24 + 14 + 4 * 64 - 2)


def test_a_memory_that_is_too_slow_is_the_bound(altered, conv):
    cost = model_for("tpu_v1").cost(conv(256, 256, 1, 1))
    moved = 256 * 256 + 2 * 256
    assert cost.layers[0].bottleneck == "memory"
    assert cost.layers[0].bytes_moved == moved
    assert cost.latency_ms == pytest.approx(moved / 34e9 * 1e3, rel=1e-3)  # whole cycles
    assert altered("tpu_v1", bandwidth=None).cost(conv(256, 256, 1, 1)).latency_ms < cost.latency_ms


@given(p=sizes, w=sizes, f=sizes, rows=st.integers(2, 40), columns=st.integers(2, 40))
def test_never_faster_than_its_multipliers(p, w, f, rows, columns):
    for dataflow in DATAFLOWS:
        array = {"rows": rows, "columns": columns, "dataflow": dataflow}
        needed = systolic_cycles(p, w, f, **array)
        assert needed * rows * columns >= p * w * f
        for more in product((0, 1), repeat=3):
            larger = systolic_cycles(p + more[0], w + more[1], f + more[2], **array)
            assert larger >= needed
