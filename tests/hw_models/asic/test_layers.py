"""What becomes of each kind of layer: on the array, fused, on the vector unit, refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from netloom.errors import SpecError, UnsupportedLayer
from netloom.hw_models import load_device, model_for, trace
from netloom.hw_models.asic.layers import jobs_of, rule_of, vector_operations
from netloom.hw_models.asic.systolic import SystolicModel


def layers(network, *shape):
    return trace(network, torch.zeros(shape)).layers


class Function(nn.Module):
    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, x):
        return self.call(x)


@pytest.mark.parametrize(
    ("network", "shape", "rule"),
    [
        (nn.Conv2d(3, 8, 3), (1, 3, 8, 8), "array"),
        (nn.Conv1d(3, 8, 3), (1, 3, 8), "array"),
        (nn.ConvTranspose2d(3, 8, 2, 2), (1, 3, 8, 8), "array"),
        (nn.Linear(8, 8), (1, 8), "array"),
        (Function(lambda x: x @ x.mT), (1, 4, 8), "array"),
        (nn.BatchNorm2d(3), (1, 3, 8, 8), "fused"),
        (nn.ReLU(), (1, 8), "fused"),
        (nn.Flatten(), (1, 3, 8, 8), "fused"),
        (nn.LayerNorm(8), (1, 4, 8), "vector"),
        (nn.MaxPool2d(2), (1, 3, 8, 8), "vector"),
        (nn.Softmax(-1), (1, 8), "vector"),
        (Function(lambda x: x + x), (1, 8), "vector"),
        (Function(lambda x: torch.cat([x, x], 1)), (1, 8), "vector"),
        (Function(lambda x: x.mean((2, 3))), (1, 3, 8, 8), "vector"),
        (nn.Conv3d(1, 2, 3), (1, 1, 8, 8, 8), "unsupported"),
        (nn.LSTM(8, 8), (4, 1, 8), "unsupported"),
    ],
    ids=lambda v: v if isinstance(v, str) else type(v).__name__,
)
def test_the_rule_of_each_kind(network, shape, rule):
    found = [
        layer for layer in layers(network, *shape) if layer.kind != "reshape" or rule == "fused"
    ]
    assert rule_of(found[0]) == rule


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (nn.Conv2d(6, 8, 3, padding=1), (1, 6, 9, 7)),
        (nn.Conv2d(6, 12, 3, stride=2, groups=3), (1, 6, 9, 9)),
        (nn.Conv2d(6, 6, (1, 5), groups=6, dilation=(1, 2)), (1, 6, 9, 19)),
        (nn.Conv1d(6, 4, 3), (1, 6, 11)),
        (nn.Linear(6, 5), (1, 6)),
        (nn.Linear(6, 5), (1, 7, 3, 6)),
        (Function(lambda x: x @ x.mT), (1, 2, 4, 8)),
        (Function(lambda x: torch.einsum("bij,bkj->bik", x, x)), (1, 4, 8)),
        (Function(lambda x: F.scaled_dot_product_attention(x, x, x)), (1, 2, 4, 8)),
        (nn.MultiheadAttention(8, 2, batch_first=True), (1, 5, 8)),
    ],
    ids=lambda v: "x".join(map(str, v)) if isinstance(v, tuple) else type(v).__name__,
)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_loops_hold_all_multiply_adds(network, shape, batch):
    if isinstance(network, nn.MultiheadAttention):
        attend = network
        network = Function(lambda x: attend(x, x, x)[0])
    found = [layer for layer in layers(network, *shape) if rule_of(layer) == "array"]
    assert found
    for layer in found:
        assert sum(job.macs for job in jobs_of(layer, batch)) == batch * layer.macs


def test_the_loops_of_a_convolution():
    (layer,) = layers(nn.Conv2d(6, 12, (3, 1), (2, 1), (1, 0), groups=3), 1, 6, 9, 7)
    (job,) = jobs_of(layer, 2)
    assert (job.b, job.g, job.k, job.c) == (2, 3, 4, 2)
    assert (job.oy, job.ox, job.fy, job.fx, job.sy, job.sx) == (5, 7, 3, 1, 2, 1)
    assert (job.iy, job.ix, job.py, job.px) == (9, 7, 11, 7)
    assert (job.rows_read, job.columns_read) == (11, 7)
    assert job.weights == 12 * 2 * 3
    assert job.inputs == 2 * 6 * 11 * 7


def test_a_transposed_convolution_multiplies_the_zeros_between_pixels_too():
    (layer,) = layers(nn.ConvTranspose2d(3, 8, 2, 2), 1, 3, 8, 8)
    (job,) = jobs_of(layer, 1)
    assert (job.oy, job.ox, job.sy, job.py) == (16, 16, 1, 17)
    assert job.macs == 8 * 3 * 16 * 16 * 4 == 4 * layer.macs


@pytest.mark.parametrize(
    ("network", "shape", "operations"),
    [
        (nn.MaxPool2d(2), (1, 3, 8, 8), 3 * 64),
        (nn.AvgPool2d(3, 1, 1), (1, 3, 8, 8), 3 * 64 * 9),
        (nn.Softmax(-1), (1, 4, 8), 3 * 32),
        (nn.LayerNorm(8), (1, 4, 8), 3 * 32),
        (Function(lambda x: x + x), (1, 4, 8), 64),
        (Function(lambda x: x.mean((2, 3))), (1, 3, 8, 8), 192),
        (Function(lambda x: torch.cat([x, x], 1)), (1, 4, 8), 64),
    ],
    ids=lambda v: "" if isinstance(v, tuple) else str(v)[:12],
)
def test_operations_of_the_vector_unit(network, shape, operations):
    assert vector_operations(layers(network, *shape)[0]) == operations


def test_the_vector_unit_is_paid_and_moves_its_operands():
    model = model_for("tpu_like_32x32")
    cost = model.cost(trace(nn.MaxPool2d(2), torch.zeros(1, 3, 8, 8)), batch=2)
    pool = cost.layers[0]
    assert pool.latency_ms * 1e6 == pytest.approx(2 * 192 / 32)
    assert pool.bytes_moved == 2 * (192 + 48)
    dram = 2 * (192 * 87.5 + 48 * 93.75)
    assert pool.energy_mj == pytest.approx((dram + 2 * 2 * 240 * 1.625) * 1e-9)
    free = model_for("nvdla_256").cost(trace(nn.MaxPool2d(2), torch.zeros(1, 3, 8, 8)))
    assert (free.latency_ms, free.energy_mj) == (0, 0)


def test_the_softmax_of_attention_is_paid_whether_fused_or_not():
    def apart(x):
        return (x @ x.mT).softmax(-1) @ x

    def fused(x):
        return F.scaled_dot_product_attention(x, x, x, scale=1.0)

    works = [trace(Function(f), torch.zeros(1, 2, 24, 40)) for f in (apart, fused)]
    assert [len(w.layers) for w in works if w.layers[-1].kind == "attention"] == [1]
    for device in ("tpu_like_32x32", "tpu_v1", "nvdla_256"):
        model = model_for(device)
        each, whole = (model.cost(w, batch=3) for w in works)
        assert whole.latency_ms == pytest.approx(each.latency_ms)
        assert whole.energy_mj == pytest.approx(each.energy_mj)


@pytest.mark.parametrize(
    ("network", "shape", "remedy"),
    [
        (nn.LSTM(8, 8), (4, 1, 8), r"\(lstm\); write its steps as linear layers"),
        (nn.Conv3d(1, 2, 3), (1, 1, 8, 8, 8), r"\(conv3d\); use convolutions of one or two"),
    ],
    ids=["lstm", "conv3d"],
)
def test_what_no_array_computes_is_refused_by_name(network, shape, remedy):
    for device in ("tpu_v1", "nvdla_256", "edge_tpu_like", "eyeriss_168"):
        with pytest.raises(UnsupportedLayer, match=f"{device} cannot compute the layer .*{remedy}"):
            model_for(device).cost(trace(network, torch.zeros(shape)), enforce=False)


def test_a_layer_is_costed_once_per_shape(monkeypatch):
    model = model_for("eyeriss_168")
    calls = []
    original = type(model).array_cost
    monkeypatch.setattr(
        type(model), "array_cost", lambda self, job: calls.append(job) or original(self, job)
    )
    twin = nn.Sequential(*[nn.Conv2d(8, 8, 3, padding=1) for _ in range(5)])
    first = model.cost(trace(twin, torch.zeros(1, 8, 8, 8)))
    model.cost(trace(twin[:2], torch.zeros(1, 8, 8, 8)))
    assert len(calls) == 1
    assert [layer.name for layer in first.layers] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("other_layers: vector", "other_layers: free", "vector_lanes must be given with"),
        (
            "other_layers: vector",
            "other_layers: gratis",
            "other_layers: must be 'free' or 'vector', got 'gratis'",
        ),
        ("precision: int8", "precision: int4", "precision: must be"),
        ("rows: {value: 256, unit: PEs", "rows: {value: 256, unit: cores", "unit must be PEs"),
        ("rows: {value: 256", "rows: {value: 2.5", "rows: value must be a whole number, got 2.5"),
        ("dataflow: ws", "dataflow: rs", "dataflow: must be 'os', 'ws' or 'is', got 'rs'"),
        ("dataflow: ws", "dataflov: ws", "dataflov: unknown key; did you mean dataflow"),
    ],
)
def test_a_wrong_file_is_told_where_and_what(old, new, said, tmp_path):
    with open(load_device("tpu_v1").origin, encoding="utf-8") as file:
        text = file.read()
    assert old in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(old, new))
    with pytest.raises(SpecError, match=rf"mine\.yaml:\d+: .*{said}"):
        load_device(path)


def test_a_device_of_another_family_is_refused():
    with pytest.raises(SpecError, match="got the device 'nvdla_256' of family 'maestro'"):
        SystolicModel(load_device("nvdla_256"))
