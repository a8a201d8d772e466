"""A traced network at another image size equals the trace of an image of that size."""

from __future__ import annotations

from functools import partial
from random import Random

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from netloom.errors import SpecError, TraceError
from netloom.hw_models import PartCache, trace
from netloom.hw_models.tracer import trace_built
from netloom.spaces import SPACES


class Calls(nn.Module):
    def __init__(self, function, **modules):
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, *args):
        return self.function(self, *args)


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
    "cuts of a fixed size": calls(lambda x: F.relu(x[:, :, 1:-1, ::2])[..., :5]),
    "a row taken out": calls(lambda x: x[:, 1:, 2]),
    "pool of the whole map": calls(lambda x: F.avg_pool2d(x, x.shape[2:]).flatten(1)),
    "sizes read beside": Calls(
        lambda self, x: self.pad(x).view(x.shape[0], -1, 1), pad=nn.ZeroPad2d((1, 0, 2, 0))
    ),
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
    assert [layer[1:] for layer in found.layers] == [y[1:] for y in whole.layers]
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
    "half of the map": (calls(lambda x: x[:, :, x.shape[2] // 2 :]), "'getitem'.*which part"),
    "padded to a multiple": (
        calls(lambda x: F.pad(x, (0, -x.size(3) % 16, 0, 0))),
        "'pad'.*worked out from the size of a tensor",
    ),
    "a size from below": (
        Calls(lambda self, x: F.pad(x, (0, self.below(x))), below=calls(lambda x: x.shape[3] % 3)),
        "'pad'.*worked out from the size of a tensor",
    ),
    "a size from above": (
        Calls(
            lambda self, x: self.pool(x, x.shape[2]),
            pool=Calls(lambda self, x, n: F.max_pool2d(x, n // 4)),
        ),
        "'pool'.*max_pool2d.*worked out from",
    ),
    "a factor of the map": (
        calls(lambda x: F.interpolate(x, scale_factor=x.shape[2] // 8)),
        "'interpolate'.*worked out from",
    ),
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
    space, cache = SPACES.get("nb201")(), PartCache()
    workload = cache.compose(space.parts(space.sample(Random(0))))
    with pytest.raises(SpecError, match=r"layer 'layer\d+\.add'.*33 x 34.*its strides divide"):
        workload.at_resolution(33, 34)


class Odd(nn.Module):
    """Pads odd maps, as it finds out while it runs."""

    def forward(self, x):
        return F.relu(F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2)))


class Tokens(nn.Module):
    """Patches of 4 pixels with a table of positions, one for each."""

    def __init__(self, side):
        super().__init__()
        self.patches = nn.Conv2d(4, 8, 4, 4)
        self.positions = nn.Parameter(torch.zeros(1, (side // 4) ** 2, 8))

    def forward(self, x):
        return self.patches(x).flatten(2).transpose(1, 2) + self.positions


@pytest.mark.parametrize("size", [(24, 24), (17, 30), (12, 9)])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_network_that_can_be_built_again_is_traced_where_shapes_do_not_tell(size, dtype):
    x = torch.zeros(1, 4, 15, 20)
    with pytest.raises(SpecError, match=r"'pad'.*worked out from the size"):
        trace(Odd(), x).at_resolution(*size)
    found = trace_built(Odd, x).cast(dtype).at_resolution(*size)
    assert_same(found, at(Odd(), *size).cast(dtype))


def test_a_table_of_positions_is_refused_whoever_can_build_it():
    workload = trace_built(lambda: Tokens(32), torch.zeros(1, 4, 32, 32))
    assert workload.at_resolution(64, 16).macs == workload.macs  # as many patches
    with pytest.raises(SpecError, match=r"layer 'add'.*48 x 32: .*do not fit.*build and trace the"):
        workload.at_resolution(48, 32)


CHANGES = ((32, 32), (-8, 24), (7, 13), (1, 0))
STEPS = {"fbnetv5": 32}  # of sides that a network can be built for


def same_sizes(space, architecture, change):
    """Compare with a trace at the size; False where the network cannot be built for it."""
    x = space.example_input(architecture)
    size = (x.shape[-2] + change[0], x.shape[-1] + change[1])
    found = PartCache().compose(space.parts(architecture))
    try:
        whole = trace_built(
            partial(space.build, architecture), torch.zeros(*x.shape[:2], *size, device="meta")
        )
    except TraceError:
        with pytest.raises(SpecError, match="cannot be costed for images of"):
            found.at_resolution(*size)
        return False
    found = found.at_resolution(*size)
    assert [layer[1:] for layer in found.layers] == [y[1:] for y in whole.layers]
    assert (found.macs, found.params) == (whole.macs, whole.params)
    assert found.peak_activation_bytes == whole.peak_activation_bytes
    return True


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["darts", "nas_bench_macro", "nats_sss", "nb201", "fbnet"])
def test_networks_of_spaces_equal_those_built_for_the_size_or_cannot_be(name, change):
    space = SPACES.get(name)(preset="tiny")
    done = [same_sizes(space, space.sample(Random(seed)), change) for seed in range(3)]
    assert any(done) or change[0] % 2


FIXED = ("hiera", "mcuformer", "vit_resnas")  # have tables of positions for one size


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", FIXED)
def test_networks_with_tables_of_positions_are_refused_at_other_sizes(name, change):
    space = SPACES.get(name)(preset="tiny")
    beyond = (name, change) == ("mcuformer", (1, 0))  # a row beyond whole patches is not read
    assert same_sizes(space, space.sample(Random(0)), change) == beyond


@pytest.mark.full
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", [n for n in SPACES.names() if n not in ("hytra", *FIXED)])
def test_whole_networks_of_spaces_too(name, change):
    space = SPACES.get(name)()
    done = [same_sizes(space, space.sample(Random(seed)), change) for seed in range(2)]
    assert any(done) or change[0] % STEPS.get(name, 2)


def test_only_a_network_of_one_image_has_a_resolution():
    with pytest.raises(SpecError, match=r"one image .* this one takes \(1, 8\)"):
        trace(nn.ReLU(), torch.zeros(1, 8)).at_resolution(4, 4)


@pytest.mark.parametrize("size", [(0, 4), (4, -1), (4.0, 4), (True, 4)])
def test_a_resolution_is_two_positive_integers(size):
    with pytest.raises(SpecError, match="at least 1 pixel, got"):
        at(nn.ReLU(), 4, 4).at_resolution(*size)
