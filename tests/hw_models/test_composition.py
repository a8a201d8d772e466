"""Composed workloads against the trace of the whole, where sharing of memory makes it hard."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from netloom.errors import TraceError
from netloom.hw_models import PartCache, compose, model_for, trace
from netloom.hw_models.fusion import RUNTIMES, fusion_groups, kernels

SHAPE = (1, 4, 8, 8)


@dataclass(frozen=True)
class Input:
    source: int
    shape: tuple[int, ...] = SHAPE


@dataclass(frozen=True)
class Part:
    key: str
    label: str
    build: Callable[[], nn.Module]
    inputs: tuple[Input, ...]


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


class Network(nn.Module):
    """Runs the parts in order."""

    def __init__(self, parts):
        super().__init__()
        self.parts = nn.ModuleDict({part.label: part.build() for part in parts})
        self.sources = [[i.source for i in part.inputs] for part in parts]

    def forward(self, x):
        results = {-1: x}
        for i, (module, sources) in enumerate(zip(self.parts.values(), self.sources, strict=True)):
            results[i] = module(*(results[s] for s in sources))
        return results[i]


MODULES = {
    "norm": lambda: nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)),
    "clip": lambda: nn.ReLU6(),
    "pad": lambda: nn.Sequential(nn.Conv2d(4, 4, 3), nn.ZeroPad2d(1)),
    "scores": lambda: Calls(lambda x: x @ x.transpose(-1, -2)),
    "softmax": lambda: nn.Softmax(-1),
    "product": lambda: Calls(lambda x, y: x @ y),
    "conv": lambda: nn.Conv2d(4, 4, 3, padding=1),
    "double": lambda: nn.Sequential(nn.Conv2d(4, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1)),
    "wide": lambda: nn.Sequential(nn.Conv2d(4, 64, 1), nn.ReLU(inplace=True), nn.Conv2d(64, 4, 1)),
    "residual": lambda: Calls(lambda x: torch.relu(torch.relu(x)) + x),
    "identity": lambda: nn.Identity(),
    "inplace": lambda: nn.ReLU(inplace=True),
    "view": lambda: Calls(lambda x: x.view(1, 4, 64).view(SHAPE)),
    "zeros": lambda: Calls(lambda x: torch.zeros(SHAPE)),
    "late": lambda: Calls(lambda x: torch.relu(torch.ones(SHAPE) * x)),
    "add": lambda: Calls(lambda x, y: x + y),
    "second": lambda: Calls(lambda x, y: torch.relu(y)),
}
GRAPHS = {
    "convolution and norm, activation": ["norm -1", "clip 0", "conv 1", "clip 2", "clip 3"],
    "convolution and norm, sum": ["norm -1", "norm 0", "add 0 1", "clip 2", "norm 3", "add 3 4"],
    "padding before a convolution": ["pad -1", "conv 0", "pad 1", "add 2 2"],
    "attention": ["norm -1", "scores 0", "softmax 1", "product 2 0", "clip 3"],
    "a softmax without a product": ["norm -1", "scores 0", "softmax 1", "clip 2"],
    "a softmax far from its product": ["scores -1", "clip 0", "view 1", "softmax 2", "product 3 0"],
    "chain": ["conv -1", "double 0", "wide 1"],
    "residual": ["conv -1", "double 0", "add 0 1"],
    "long shortcut": ["conv -1", "wide 0", "wide 1", "conv 2", "add 3 0"],
    "input to the end": ["conv -1", "wide 0", "add 1 -1"],
    "identity": ["identity -1", "conv 0", "identity 1", "identity 2", "add 3 1"],
    "only identity": ["identity -1"],
    "in place": ["conv -1", "inplace 0", "wide 1", "inplace 2"],
    "in place on the input": ["inplace -1", "conv 0", "conv 1"],
    "views": ["conv -1", "view 0", "wide 1", "add 2 0"],
    "twice the same": ["conv -1", "add 0 0", "add 1 1"],
    "same memory twice": ["conv -1", "identity 0", "wide 0", "add 0 1", "add 3 2"],
    "unread part": ["conv -1", "wide -1", "conv 0", "wide 0", "conv 2"],
    "unread identity": ["conv -1", "identity 0", "wide 0"],
    "read by one that looks away": ["conv -1", "conv 0", "wide 0", "second 1 2", "add 3 2"],
    "zeros": ["conv -1", "zeros 0", "add 1 0"],
    "zeros from nothing": ["zeros -1", "conv 0"],
    "late reader": ["conv -1", "late 0", "residual 1", "add 2 1"],
    "diamond": ["conv -1", "wide 0", "residual 0", "add 1 2", "conv 3", "add 4 0"],
    "output read by a dead end": ["conv -1", "conv 0", "identity 1", "inplace 1", "add 0 2"],
}


def parts_of(lines):
    parts = []
    for number, line in enumerate(lines):
        name, *sources = line.split()
        inputs = tuple(Input(int(s)) for s in sources)
        parts.append(Part(name, f"p{number}", MODULES[name], inputs))
    return parts


@pytest.fixture(scope="module")
def cache():
    return PartCache()


@pytest.mark.parametrize("graph", GRAPHS)
def test_composed_equals_traced(graph, cache):
    parts = parts_of(GRAPHS[graph])
    composed, traced = cache.compose(parts), trace(Network(parts), torch.zeros(SHAPE))
    assert composed.params == traced.params
    assert composed.weight_bytes == traced.weight_bytes
    assert composed.macs == traced.macs
    signatures = [Counter(layer.signature for layer in w.layers) for w in (composed, traced)]
    assert signatures[0] == signatures[1]
    assert composed.live_bytes == traced.live_bytes
    assert composed.peak_activation_bytes == traced.peak_activation_bytes
    assert composed.reaches_output == traced.reaches_output
    assert composed.depends_on_input == traced.depends_on_input
    for runtime in RUNTIMES:
        assert fusion_groups(composed, runtime) == fusion_groups(traced, runtime), runtime
        moved = [Counter(k.signature for k in kernels(w, runtime)) for w in (composed, traced)]
        assert moved[0] == moved[1], runtime
    model = model_for("cpu_generic")
    costs = [model.cost(w, breakdown=False) for w in (composed, traced)]
    assert costs[0] == costs[1]


def test_each_part_is_traced_once():
    cache, built = PartCache(), []

    def build():
        built.append(1)
        return nn.Conv2d(4, 4, 3, padding=1)

    parts = [Part("conv", f"p{i}", build, (Input(i - 1),)) for i in range(5)]
    assert cache.compose(parts).macs == 5 * cache.workload(parts[0]).macs
    assert (len(built), len(cache)) == (1, 1)


def test_layers_are_named_by_part_and_edges_survive(cache):
    composed = cache.compose(parts_of(GRAPHS["residual"]))
    assert [layer.name for layer in composed.layers] == [
        "p0.conv2d",
        "p1.0",
        "p1.1",
        "p1.2",
        "p2.add",
    ]
    add = composed.layers[-1]
    assert [composed.tensors[i].producer for i in add.inputs] == [0, 3]
    assert composed.tensors[add.inputs[0]].consumers == (1, 4)
    assert composed.outputs == add.outputs
    assert [label for label, _ in composed.pieces] == ["p0", "p1", "p2"]


def test_a_composed_workload_survives_pickling(cache):
    composed = cache.compose(parts_of(GRAPHS["diamond"]))
    copy = pickle.loads(pickle.dumps(composed))
    assert copy.layers == composed.layers
    assert copy.peak_activation_bytes == composed.peak_activation_bytes


def test_parts_that_do_not_fit_are_refused(cache):
    conv, add = (cache.workload(p) for p in parts_of(["conv -1", "add 0 0"]))
    part = parts_of(["conv 0"])[0]
    with pytest.raises(TraceError, match=r"'p0' must read from parts before it, got \(0,\)"):
        compose([(part, conv)])
    with pytest.raises(TraceError, match=r"must take 1 tensors and return one; .* has 2 and 1"):
        compose([(part, add)])
    with pytest.raises(TraceError, match="at least one part, got none"):
        compose([])
    pair = Part("pair", "pair", lambda: Calls(lambda x: (x, x + 1)), (Input(-1),))
    with pytest.raises(TraceError, match=r"'pair' .* has 1 and 2 .*only the last part"):
        cache.compose([pair, part])
    other = replace(pair, inputs=(Input(-1), Input(-1)))
    with pytest.raises(TraceError, match="has 1 and 2"):
        compose([(other, cache.workload(pair))])


SEVERAL = {
    "new ones": lambda x, y: {"sum": x + y, "others": [(torch.relu(x), x * y), y - x]},
    "one of them read": lambda x, y: (x, x + y),
    "those read": lambda x, y: (y, x),
    "in place": lambda x, y: (x.relu_(), x + y),
    "views": lambda x, y: (x.view(1, 4, 64), y.view(1, 256)),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_the_last_part_may_return_several_tensors(name, cache):
    """They all live to the end; the first is not the only one."""
    parts = parts_of(["conv -1", "double 0", "wide 0"])
    inputs = (Input(1), Input(2))
    parts.append(Part(f"several: {name}", "several", lambda: Calls(SEVERAL[name]), inputs))
    composed, traced = cache.compose(parts), trace(Network(parts), torch.zeros(SHAPE))
    assert len(composed.outputs) == len(traced.outputs) > 1
    assert composed.tensors == traced.tensors
    assert composed.outputs == traced.outputs
    assert (composed.params, composed.macs) == (traced.params, traced.macs)
    assert composed.weight_bytes == traced.weight_bytes
    assert composed.live_bytes == traced.live_bytes
    costs = [model_for("cpu_generic").cost(w, 2, breakdown=False) for w in (composed, traced)]
    assert costs[0] == costs[1]
    for runtime in RUNTIMES:
        moved = [[k.signature for k in kernels(w, runtime)] for w in (composed, traced)]
        assert moved[0] == moved[1], runtime


def test_a_part_that_cannot_be_built_is_named(cache):
    def build():
        raise ValueError("no such kernel")

    with pytest.raises(TraceError, match="part 'bad': no such kernel") as caught:
        cache.compose([Part("bad", "bad", build, (Input(-1),))])
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_constructor_that_reads_values_is_built_for_real(cache):
    def build():
        widths = [int(v) for v in torch.linspace(4, 8, 2)]
        return nn.Conv2d(*widths, 1)

    generator = torch.get_rng_state()
    workload = cache.workload(Part("reads", "reads", build, (Input(-1),)))
    assert workload.params == 40
    assert torch.equal(torch.get_rng_state(), generator)


SHAPELESS = [name for name in MODULES if name not in ("scores", "softmax", "product", "zeros")]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_graphs_need_the_memory_of_the_traced_network(cache, data):
    lines = []
    for i in range(data.draw(st.integers(1, 9))):
        name = data.draw(st.sampled_from(SHAPELESS))
        near = st.sampled_from([i - 1, i - 1, i - 1, *range(-1, i)])  # narrow places are common
        count = 2 if name in ("add", "second") else 1
        lines.append(" ".join([name, *[str(data.draw(near)) for _ in range(count)]]))
    parts = parts_of(lines)
    composed, traced = cache.compose(parts), trace(Network(parts), torch.zeros(SHAPE))
    assert composed.peak_activation_bytes == traced.peak_activation_bytes
    assert (composed.params, composed.weight_bytes) == (traced.params, traced.weight_bytes)
    eight = composed.cast("int8")
    assert eight.peak_activation_bytes == traced.cast("int8").peak_activation_bytes
    assert (eight.params, eight.macs) == (traced.params, traced.macs)
