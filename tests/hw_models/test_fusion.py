"""Kernels of each runtime, by hand, and composed against traced."""

from __future__ import annotations

from collections import Counter
from functools import partial
from random import Random

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from netloom.errors import SpecError
from netloom.hw_models import PartCache, trace
from netloom.hw_models.fusion import RUNTIMES, fusion_groups, kernels
from netloom.hw_models.tracer import trace_built
from netloom.spaces import SPACES


class Calls(nn.Module):
    def __init__(self, function, **modules):
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.function(self, x)


def ops(workload, runtime):
    """The operators of each kernel."""
    return [
        " ".join(workload.layers[i].op for i in group) for group in fusion_groups(workload, runtime)
    ]


def traced(module, *shape):
    return trace(module, torch.zeros(shape))


def residual():
    body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Sigmoid())

    def forward(self, x):
        x = self.stem(x)
        return F.relu(self.body(x) + x).flatten(1)

    return Calls(forward, stem=nn.Conv2d(3, 4, 1), body=body)


def test_a_residual_block_by_hand():
    workload = traced(residual(), 1, 3, 8, 8)
    assert ops(workload, "eager") == ["conv2d", "conv2d", "batch_norm", "sigmoid", "add", "relu"]
    assert ops(workload, "compiled") == ["conv2d", "conv2d batch_norm sigmoid add relu"]
    fixed = ["conv2d", "conv2d batch_norm", "sigmoid", "add relu"]
    assert ops(workload, "tflm") == ops(workload, "tinyengine") == fixed


def test_what_stays_inside_a_kernel_moves_no_bytes():
    workload = traced(residual(), 1, 3, 8, 8)
    image, maps = 4 * 3 * 64, 4 * 4 * 64
    stem, body = kernels(workload, "compiled")
    assert (stem.read_bytes, stem.write_bytes, stem.weight_bytes) == (image, maps, 4 * (12 + 4))
    # the convolution and the addition both read the stem's maps
    assert (body.read_bytes, body.write_bytes) == (2 * maps, maps)
    assert body.macs == 4 * 4 * 9 * 64
    moved = [(k.read_bytes, k.write_bytes) for k in kernels(workload, "eager")]
    assert moved == [(image, maps), *[(maps, maps)] * 3, (2 * maps, maps), (maps, maps)]


def attention(mask=False, reuse=False):
    def forward(self, x):
        q, k, v = (t.transpose(1, 2) for t in self.qkv(x).view(1, 6, 3, 2, 4).unbind(2))
        scores = q @ k.transpose(-1, -2) * 0.5
        if mask:
            scores = scores.masked_fill(torch.ones(6, 6).tril() == 0, float("-inf"))
        weights = scores.softmax(-1)
        y = weights @ v
        return y + weights.sum() if reuse else y

    return Calls(forward, qkv=nn.Linear(8, 24))


def test_attention_written_out_is_one_kernel():
    workload = traced(attention(), 1, 6, 8)
    assert ops(workload, "compiled") == ["linear", "matmul mul softmax matmul"]
    assert ops(workload, "tflm") == ["linear", "matmul", "mul", "softmax", "matmul"]
    masked = ops(traced(attention(mask=True), 1, 6, 8), "compiled")
    assert masked[-1] == "matmul mul masked_fill softmax matmul"
    heads, fused = kernels(workload, "compiled")
    assert heads.write_bytes == 4 * 6 * 24
    assert (fused.read_bytes, fused.write_bytes) == (4 * 3 * 48, 4 * 48)  # no 6x6 scores


def test_attention_whose_weights_are_read_elsewhere_is_not_fused():
    found = ops(traced(attention(reuse=True), 1, 6, 8), "compiled")
    assert found == ["linear", "matmul mul", "softmax", "sum", "matmul add"]


def test_multi_head_attention_of_torch_holds_one_fused_kernel():
    module = Calls(
        lambda self, x: self.attend(x, x, x, need_weights=False)[0],
        attend=nn.MultiheadAttention(8, 2, batch_first=True),
    )
    workload = traced(module, 1, 5, 8)
    found = [
        [workload.layers[i].kind for i in group] for group in fusion_groups(workload, "compiled")
    ]
    whole = [kinds for kinds in found if "softmax" in kinds]
    assert len(whole) == 1
    assert (whole[0][0], whole[0][-1]) == ("matmul", "matmul")


def test_a_softmax_without_a_second_product_parts_again():
    module = Calls(lambda self, x: (x @ x.transpose(-1, -2) + 1).softmax(-1) * 2)
    assert ops(traced(module, 1, 5, 8), "compiled") == ["matmul add", "softmax mul"]


def test_padding_belongs_to_the_convolution_of_a_code_generator():
    module = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 4, 3, 2), nn.ReLU6())
    workload = traced(module, 1, 3, 8, 8)
    assert ops(workload, "tinyengine") == ["pad conv2d hardtanh"]
    assert ops(workload, "tflm") == ["pad", "conv2d hardtanh"]


def test_the_operand_written_last_takes_up_an_addition():
    def forward(self, x):
        return self.first(x) + self.second(x)

    module = Calls(forward, first=nn.Conv2d(3, 4, 3), second=nn.Conv2d(3, 4, 3))
    assert fusion_groups(traced(module, 1, 3, 8, 8), "compiled") == ((0,), (1, 2))


def test_a_gate_is_not_applied_by_what_computes_it():
    def forward(self, x):
        return x * torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))

    module = Calls(forward, gate=nn.Conv2d(4, 4, 1))
    assert ops(traced(module, 1, 4, 8, 8), "compiled") == ["mean", "conv2d sigmoid", "mul"]


def test_norms_with_statistics_end_products_and_continue_chains():
    module = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.GELU(), nn.LayerNorm(8))
    assert ops(traced(module, 1, 8), "compiled") == ["linear", "layer_norm gelu layer_norm"]


def test_dead_and_constant_layers_are_left_out_where_exporters_remove_them():
    def forward(self, x):
        self.dead(x)
        scale = torch.exp(self.scale)
        return self.conv(x) * scale

    modules = {"dead": nn.Conv2d(3, 4, 1), "conv": nn.Conv2d(3, 4, 1)}
    module = Calls(forward, **modules)
    module.scale = nn.Parameter(torch.zeros(1))
    workload = traced(module, 1, 3, 8, 8)
    assert workload.reaches_output == (False, True, True, True)
    assert workload.depends_on_input == (True, False, True, True)
    assert ops(workload, "eager") == ["conv2d", "exp", "conv2d", "mul"]
    assert ops(workload, "compiled") == ["exp", "conv2d mul"]
    assert ops(workload, "tflm") == ["conv2d", "mul"]


def test_a_layer_that_nobody_but_a_dead_one_shares_fuses():
    def forward(self, x):
        x = self.conv(x)
        torch.sigmoid(x)
        return torch.relu(x)

    module = Calls(forward, conv=nn.Conv2d(3, 4, 1))
    assert ops(traced(module, 1, 3, 8, 8), "tflm") == ["conv2d relu"]


def test_views_belong_to_no_kernel_and_hide_no_reader():
    def forward(self, x):
        x = self.conv(x)
        return torch.relu(x.flatten(1)), x.view(-1)

    workload = traced(Calls(forward, conv=nn.Conv2d(3, 4, 1)), 1, 3, 8, 8)
    assert ops(workload, "compiled") == ["conv2d", "relu"]
    through = Calls(lambda self, x: torch.relu(self.conv(x).flatten(1)), conv=nn.Conv2d(3, 4, 1))
    assert ops(traced(through, 1, 3, 8, 8), "compiled") == ["conv2d relu"]
    part = Calls(lambda self, x: torch.relu(self.conv(x)[:, :2]), conv=nn.Conv2d(3, 4, 1))
    assert ops(traced(part, 1, 3, 8, 8), "compiled") == ["conv2d", "relu"]


def test_an_unknown_runtime_is_refused():
    workload = traced(nn.ReLU(), 1, 4)
    for function in (fusion_groups, kernels):
        with pytest.raises(SpecError, match="eager, compiled, tflm, tinyengine, got 'onnx'"):
            function(workload, "onnx")


def named_spaces():
    return [n for n in SPACES.names() if hasattr(SPACES.get(n), "example_input")]


@pytest.mark.parametrize("name", named_spaces())
def test_composed_networks_fuse_as_traced_ones(name):
    space = SPACES.get(name)()
    rng, cache = Random(5), PartCache()
    for _ in range(2):
        architecture = space.sample(rng)
        composed = cache.compose(space.parts(architecture))
        whole = trace_built(partial(space.build, architecture), space.example_input(architecture))
        for runtime in RUNTIMES:
            found = [Counter(k.signature for k in kernels(w, runtime)) for w in (composed, whole)]
            assert found[0] == found[1], (runtime, space.format(architecture))


def test_the_same_part_gives_the_same_kernels():
    space, cache = SPACES.get("ofa_mbv3")(), PartCache()
    architecture = space.sample(Random(6))
    one, two = (cache.compose(space.parts(architecture)) for _ in range(2))
    for runtime in RUNTIMES:
        pairs = zip(kernels(one, runtime), kernels(two, runtime), strict=True)
        assert all(a is b for a, b in pairs)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_layer_that_runs_is_in_one_kernel(runtime):
    space, cache = SPACES.get("darts")(), PartCache()
    workload = cache.compose(space.parts(space.sample(Random(7))))
    runs = [not layer.view for layer in workload.layers]
    if runtime != "eager":
        runs = [a and b for a, b in zip(runs, workload.reaches_output, strict=True)]
    groups = fusion_groups(workload, runtime)
    assert sorted(i for g in groups for i in g) == [i for i, r in enumerate(runs) if r]
    assert sum(k.macs for k in kernels(workload, runtime)) <= workload.macs
