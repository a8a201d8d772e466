"""What becomes of the layers of a network on a microcontroller."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from netloom.errors import SpecError
from netloom.hw_models import trace
from netloom.hw_models.mcu import Lowering, lower, plan_memory, policy
from netloom.hw_models.mcu.lower import is_same

IMAGE = (1, 4, 16, 16)


class Calls(nn.Module):
    def __init__(self, function, *modules):
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(modules)

    def forward(self, x):
        return self.function(x, *self.parts)


def lowered(module, shape=IMAGE, **how):
    return lower(trace(module, torch.zeros(shape)), Lowering(**how))


def kinds(module, shape=IMAGE, **how):
    return [op.kind for op in lowered(module, shape, **how).ops]


def test_norms_fold_and_clamps_fuse():
    conv = nn.Conv2d(4, 8, 3, bias=False)
    graph = lowered(nn.Sequential(conv, nn.BatchNorm2d(8), nn.ReLU6(), nn.BatchNorm2d(8)))
    assert [op.kind for op in graph.ops] == ["conv", "mul"]  # nothing folds behind a clamp
    # one bias per channel, from the norm
    assert (graph.ops[0].weights, graph.ops[0].channels) == (4 * 8 * 9, 8)
    assert [t.shape[1] for t in graph.tensors] == [4, 8, 8]


def test_what_is_read_again_takes_nothing_in():
    conv, norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
    assert kinds(Calls(lambda x, c, n: (y := c(x)) + n(y), conv, norm)) == ["pw", "mul", "add"]
    assert kinds(Calls(lambda x, c: (y := c(x)) + y.relu(), conv)) == ["pw", "lut", "add"]
    # nor through another name of the same bytes
    assert kinds(Calls(lambda x, c: (y := c(x)).flatten(1).relu().view(IMAGE) + y, conv)) == [
        "pw",
        "lut",
        "add",
    ]
    both = nn.Sequential(nn.Conv2d(4, 4, 1))
    assert kinds(Calls(lambda x, c: (y := c(x), y.relu()), both)) == ["pw", "lut"]


def test_activations_without_a_clamp_are_operators():
    layers = [nn.Conv2d(4, 4, 1), nn.Hardswish(), nn.Sigmoid(), nn.GELU()]
    assert kinds(nn.Sequential(*layers)) == ["pw", "lut", "lut", "lut"]
    assert kinds(nn.Sequential(nn.AvgPool2d(2), nn.ReLU())) == ["pool"]
    assert kinds(nn.ReLU()) == ["lut"]


def test_reshapes_rename():
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2), nn.ReLU())
    graph = lowered(network)
    assert [op.kind for op in graph.ops] == ["pool", "fc"]
    assert (graph.ops[1].weights, graph.ops[1].channels) == (8, 2)
    assert kinds(Calls(lambda x: x.flatten(2).transpose(1, 2))) == ["copy"]
    assert kinds(Calls(lambda x: x.mean((2, 3)).unsqueeze(1).transpose(0, 1) * 2)) == [
        "pool",
        "mul",
    ]
    assert kinds(Calls(lambda x: torch.cat([y * 2 for y in x.chunk(2, 1)], 1))) == [
        "copy",
        "copy",
        "mul",
        "mul",
        "concat",
    ]


def test_dead_and_constant_layers_are_gone():
    dead, alive = nn.Conv2d(4, 64, 3), nn.Conv2d(4, 4, 1)
    assert kinds(Calls(lambda x, d, a: (d(x), a(x))[1], dead, alive)) == ["pw"]
    assert kinds(Calls(lambda x: x + torch.ones(IMAGE).cumsum(1) * 2)) == ["add"]


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "pad", "same"),
    [
        (16, 3, 1, 1, True),
        (16, 5, 1, 2, True),
        (16, 3, 2, 1, False),  # SAME pads behind only
        (15, 3, 2, 1, True),
        (16, 7, 2, 3, False),
        (16, 1, 2, 0, True),
        (16, 3, 1, 2, False),
    ],
)
def test_padding_that_same_cannot_express_is_an_operator(side, kernel, stride, pad, same):
    conv = nn.Conv2d(4, 4, kernel, stride, pad)
    shape = (1, 4, side, side)
    assert kinds(conv, shape) == ([] if same else ["pad"]) + (["pw"] if kernel == 1 else ["conv"])
    assert kinds(conv, shape, pad_fused=True)[-1:] == kinds(conv, shape)[-1:]
    assert len(kinds(conv, shape, pad_fused=True)) == 1
    if not same:
        graph = lowered(conv, shape)
        assert graph.tensors[1].shape == (1, 4, side + 2 * pad, side + 2 * pad)


def test_same_is_what_tensorflow_calls_so():
    assert is_same((5, 49), (3, 25), (3, 10), (2, 2), (1, 4))
    assert not is_same((6, 49), (3, 25), (3, 10), (2, 2), (1, 4))


def test_written_pads():
    network = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(4, 4, 3, 2))
    assert kinds(network) == ["pad", "conv"]
    graph = lowered(network, pad_fused=True)
    assert [op.kind for op in graph.ops] == ["conv"]
    assert graph.ops[0].padding == (0, 1, 0, 1)
    read_twice = Calls(
        lambda x, c: c(y := F.pad(x, (1, 1, 1, 1))).sum() + y.sum(), nn.Conv2d(4, 4, 3)
    )
    assert kinds(read_twice, pad_fused=True)[0] == "pad"


def test_explicit_pads_never_need_less(network):
    for name in ("in0", "in1", "vww1"):
        apart, inside = (
            plan_memory(
                lower(network(name), Lowering(pad_fused=fused)), policy({"pad_fused": fused})
            )
            for fused in (False, True)
        )
        assert apart.peak_bytes >= inside.peak_bytes


def test_a_float_input_is_quantised_on_the_device():
    network = nn.Conv2d(3, 2, 3, 1, 1)
    graph = lowered(network, (1, 3, 32, 32), float_input=True)
    assert [op.kind for op in graph.ops] == ["quantize", "conv"]
    plan = plan_memory(graph, policy({"float_input": True}))
    assert plan.timeline[0].live_bytes == 4 * 3 * 1024 + 3 * 1024


def test_attention_is_two_products_and_a_softmax():
    class Attention(nn.Module):
        def forward(self, x):
            q, k, v = x.view(1, 2, 16, 3 * 8).split(8, -1)
            return F.scaled_dot_product_attention(q, k, v)

    graph = lowered(Attention(), (1, 2 * 16 * 24))
    assert [op.kind for op in graph.ops] == ["copy"] * 3 + ["matmul", "softmax", "matmul"]
    assert [op.macs for op in graph.ops[3:]] == [2 * 16 * 16 * 8, 0, 2 * 16 * 16 * 8]
    assert graph.tensors[graph.ops[4].output].shape == (1, 2, 16, 16)


def test_a_layer_norm_is_an_operator():
    graph = lowered(nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8)), (1, 5, 8))
    assert [(op.kind, op.weights) for op in graph.ops] == [("fc", 64), ("layernorm", 16)]
    assert graph.ops[0].macs == 5 * 64


def test_windows_over_time_have_one_row():
    graph = lowered(nn.Conv1d(4, 8, 5, 2, 2, groups=4), (1, 4, 20))
    assert [op.kind for op in graph.ops] == ["pad", "dw"]
    assert (graph.ops[1].kernel, graph.ops[1].stride) == ((1, 5), (1, 2))
    assert graph.tensors[1].shape == (1, 4, 24)


def test_doubling_the_sides_multiplies_activations_by_four_and_flash_by_one(network):
    conv = nn.Sequential(nn.Conv2d(4, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 4, 1))
    small, large = (lowered(conv, (1, 4, side, side)) for side in (8, 16))
    plain = policy({"planner": "greedy16", "overhead": "none"})
    assert plan_memory(large, plain).peak_bytes == 4 * plan_memory(small, plain).peak_bytes
    assert large.macs == 4 * small.macs
    assert [op.weights for op in large.ops] == [op.weights for op in small.ops]


def test_a_batch_multiplies_tensors_and_work():
    workload = trace(nn.Conv2d(4, 8, 3), torch.zeros(IMAGE))
    one, four = lower(workload), lower(workload, batch=4)
    assert [t.size_bytes for t in four.tensors] == [4 * t.size_bytes for t in one.tensors]
    assert four.macs == 4 * one.macs
    assert four.ops[0].weights == one.ops[0].weights
    assert lower(workload) is one


def test_shapes_must_be_numbers():
    workload = trace(nn.ReLU(), torch.zeros(IMAGE))
    first = workload.tensors[0]._replace(shape=(1, None, 16, 16))
    workload._tensors = (first, *workload.tensors[1:])
    with pytest.raises(SpecError, match=r"shapes must be known numbers, got \(1, None, 16, 16\)"):
        lower(workload)
