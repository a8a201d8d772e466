"""A traced network at another image size equals the trace of an image of that size."""

from __future__ import annotations

from functools import partial
from random import Random

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from netloom.errors import SpecError
from netloom.hw_models import PartCache, trace
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


def calls(function):
    return Calls(lambda self, x: function(x))


def excited(self, x):
    gate = self.gate(x.mean((2, 3), keepdim=True)).sigmoid()
    return (x * gate).mean((2, 3))


def shuffled(x):
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def tokens(self, x):
    n, c, _, _ = x.shape
    x = self.norm(x.flatten(2).transpose(1, 2))
    q, k, v = self.qkv(x).reshape(n, -1, 3, 2, c // 2).permute(2, 0, 3, 1, 4).unbind(0)
    y = F.scaled_dot_product_attention(q, k, v)
    y = y + ((q @ k.transpose(-1, -2)) * 0.5).softmax(-1) @ v
    return y.transpose(1, 2).reshape(n, -1, c).mean(1)


def branches(x):
    first, second = x.chunk(2, dim=1)
    return torch.cat([F.relu(first), second[:, 1:], x], 1).contiguous()


NETWORKS = {
    "convolutions": nn.Sequential(
        nn.Conv2d(4, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.PReLU(8), nn.Conv2d(8, 4, (1, 5), groups=2)
    ),
    "dilated and transposed": nn.Sequential(
        nn.Conv2d(4, 8, 3, dilation=2), nn.ConvTranspose2d(8, 4, 3, 2, 1, output_padding=1)
    ),
    "pools": nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2, ceil_mode=True)),
    "adaptive": nn.Sequential(nn.AdaptiveAvgPool2d((3, 1)), nn.Flatten(), nn.Linear(12, 2)),
    "excitation": Calls(excited, gate=nn.Conv2d(4, 4, 1)),
    "group norm": nn.Sequential(nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.GELU()),
    "shuffle": calls(shuffled),
    "torch's shuffle": nn.ChannelShuffle(2),
    "tokens": Calls(tokens, norm=nn.LayerNorm(4), qkv=nn.Linear(4, 12)),
    "branches": calls(branches),
    "padding": calls(lambda x: F.pad(x, (1, 2, 0, 3))),
    "whole factor": nn.Upsample(scale_factor=2),
    "pixels": nn.Sequential(nn.PixelShuffle(2), nn.Tanh()),
    "in place": nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU(inplace=True)),
    "whole dimensions": calls(lambda x: torch.relu(x[0, 1].T.mT[:, :].select(1, 0))),
    "first row": calls(lambda x: x.flatten(2).transpose(1, 2)[:, 0]),
}


def at(module, height, width):
    return trace(module, torch.zeros(1, 4, height, width))


def assert_same(found, expected):
    assert found.layers == expected.layers
    assert found.tensors == expected.tensors
    assert (found.inputs, found.outputs) == (expected.inputs, expected.outputs)
    assert (found.params, found.weight_bytes) == (expected.params, expected.weight_bytes)
    assert found.macs == expected.macs
    assert found.live_bytes == expected.live_bytes


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(24, 24), (17, 30), (12, 9)])
def test_another_size_equals_its_own_trace(name, size):
    module = NETWORKS[name]
    assert_same(at(module, 16, 20).at_resolution(*size), at(module, *size))


@pytest.mark.parametrize("name", ["nb201", "fbnet", "mobilenet", "ofa_mbv3", "ofa_resnet50"])
def test_composed_networks_too(name):
    space, cache = SPACES.get(name)(), PartCache()
    architecture = space.sample(Random(3))
    x = space.example_input(architecture)
    size = (x.shape[-2] + 20, x.shape[-1] + 36)
    found = cache.compose(space.parts(architecture)).at_resolution(*size)
    build = partial(space.build, architecture)
    whole = trace_built(build, torch.zeros(*x.shape[:2], *size))
    assert_same(trace_built(build, x).at_resolution(*size), whole)
    assert [layer.signature for layer in found.layers] == [y.signature for y in whole.layers]
    assert found.macs == whole.macs
    assert found.peak_activation_bytes == whole.peak_activation_bytes


def test_the_same_size_and_the_same_question_give_the_same_object():
    workload = at(NETWORKS["pools"], 16, 20)
    assert workload.at_resolution(16, 20) is workload
    assert workload.at_resolution(9, 9) is workload.at_resolution(9, 9)


def test_a_part_at_another_size_is_worked_out_once():
    space, cache = SPACES.get("nb201")(), PartCache()
    networks = [cache.compose(space.parts(space.at(i))).at_resolution(40, 40) for i in (5, 5)]
    pairs = zip(networks[0].pieces, networks[1].pieces, strict=True)
    assert all(a is b for (_, a), (_, b) in pairs)


def test_other_number_formats_keep_their_bytes():
    half = at(NETWORKS["convolutions"], 16, 20).cast("float16").at_resolution(24, 24)
    assert_same(half, at(NETWORKS["convolutions"], 24, 24).cast("float16"))


REFUSED = {
    "a fixed size": (calls(lambda x: F.interpolate(x, size=(20, 20))), "'interpolate'.*recorded"),
    "features": (nn.Sequential(nn.Flatten(), nn.Linear(4 * 16 * 20, 2)), "'1'.*1280 features"),
    "a window of the map": (calls(lambda x: F.relu(x[:, :, 1:, 1:])), "'getitem'.*which part"),
    "a full pool or a fixed one": (nn.AdaptiveAvgPool2d((16, 20)), "adaptive.*keeps its input's"),
    "a map that is no more": (nn.Sequential(nn.Conv2d(4, 4, 13)), "'0'.*which is empty"),
    "a table of positions": (
        Calls(lambda self, x: x + self.table.weight.view(1, 1, 16, 20), table=nn.Linear(16, 20)),
        "'add'.*do not fit together",
    ),
    "a norm of the map": (nn.LayerNorm([16, 20]), r"normalises \(16, 20\)"),
    "a number of tensors": (calls(lambda x: x.unbind(3)[0]), "'unbind'.*10 tensors, not 20"),
    "a recurrent layer": (
        Calls(lambda self, x: self.cell(x.flatten(2))[0], cell=nn.GRU(320, 2, batch_first=True)),
        "kind rnn",
    ),
    "sizes joined beside others": (
        calls(lambda x: torch.cat([x, F.interpolate(x, size=(16, 20))])),
        "'interpolate'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_tell_its_shape_is_refused_by_name(name):
    module, message = REFUSED[name]
    with pytest.raises(SpecError, match=f"{message}.*trace the network for that size"):
        at(module, 16, 20).at_resolution(12, 10)


def test_a_refusal_names_the_part():
    space, cache = SPACES.get("darts")(), PartCache()
    workload = cache.compose(space.parts(space.sample(Random(0))))
    with pytest.raises(SpecError, match=r"layer 'cell\d+\.\S+\.getitem'.*45 x 50"):
        workload.at_resolution(45, 50)


def test_only_a_network_of_one_image_has_a_resolution():
    with pytest.raises(SpecError, match=r"one image .* this one takes \(1, 8\)"):
        trace(nn.ReLU(), torch.zeros(1, 8)).at_resolution(4, 4)


@pytest.mark.parametrize("size", [(0, 4), (4, -1), (4.0, 4), (True, 4)])
def test_a_resolution_is_two_positive_integers(size):
    with pytest.raises(SpecError, match="at least 1 pixel, got"):
        at(nn.ReLU(), 4, 4).at_resolution(*size)
