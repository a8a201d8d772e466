"""Boards with one tiled engine: the conformance suite, costs by hand, verdicts, wrong files."""

from __future__ import annotations

import math
import pickle
import random
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from netloom.errors import HardwareLimit, SpecError, UnsupportedLayer
from netloom.hw_models import HardwareModel, PartCache, load_device, model_for, trace
from netloom.hw_models.fpga import tiled
from netloom.hw_models.fpga.tiled import TiledModel, task_of
from netloom.hw_models.testing import HardwareContract, toy_network
from netloom.hw_models.tracer import trace_built
from netloom.spaces import SPACES

BOARDS = ("zc706", "zcu102", "zcu104")


def values_of(name: str) -> dict:
    return yaml.safe_load(Path(load_device(name).origin).read_text())


@pytest.fixture
def made(tmp_path):
    """Return a function that makes a board from a shipped one, some numbers changed."""

    def make(base: str = "zcu102", **changes: object) -> TiledModel:
        values = values_of(base)
        for name, value in changes.items():
            if value is None:
                del values["numbers"][name]
            elif isinstance(value, int | float):
                values["numbers"][name]["value"] = value
            else:
                values["numbers"][name] = value
        values["name"] = "board"
        path = tmp_path / "board.yaml"
        path.write_text(yaml.safe_dump(values))
        return model_for(path)

    return make


ENGINE = {
    "output_channels": 16,
    "input_channels": 8,
    "rows": 8,
    "columns": 8,
    "depthwise": 16,
    "input_ports": 2,
    "weight_ports": 1,
    "output_ports": 1,
    "source": "made up for the test",
}


class _Board(HardwareContract):
    board: str

    def make(self) -> HardwareModel:
        return model_for(self.board)


class TestZc706(_Board):
    board = "zc706"


class TestZcu102(_Board):
    board = "zcu102"


class TestZcu104(_Board):
    board = "zcu104"


class TestAnEngineForEachNetwork(HardwareContract):
    def make(self) -> HardwareModel:
        device = load_device("zcu102")
        numbers = device.numbers.model_copy(update={"engine": None})
        return TiledModel(type(device)(**{**vars(device), "numbers": numbers}))


# ---------------------------------------------------------------- costs by hand
def test_a_small_network_by_hand(made):
    model = made(engine=ENGINE)
    network = nn.Sequential(
        nn.Conv2d(8, 16, 3, padding=1, bias=False),  # 16 x 16
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1024, 10, bias=False),
    )
    cost = model.cost(trace(network, torch.zeros(1, 8, 16, 16)))
    conv, norm, relu, deep, pool, flatten, linear = cost.layers
    # four tiles of 8 x 8: 100 x 8 words at 16 per cycle and 16 x 8 x 9 at 8 wait for 64 x 9 cycles
    assert conv.latency_ms == pytest.approx(4 * 576 / 1e5)
    assert (conv.bottleneck, conv.bytes_moved) == ("compute", 2 * 4 * (800 + 1152 + 1024))
    assert (norm.latency_ms, relu.latency_ms, flatten.latency_ms) == (0, 0, 0)
    assert (norm.bottleneck, norm.bytes_moved) == ("none", 0)
    assert deep.latency_ms == pytest.approx(4 * 576 / 1e5)
    assert deep.bytes_moved == 2 * 4 * (1600 + 144 + 1024)
    # 4096 words in at 16 per cycle, 1024 out at 8
    assert pool.latency_ms == pytest.approx(256 / 1e5)
    assert pool.bottleneck == "memory"
    # 128 tiles of inputs, each 10 x 8 weights at 8 per cycle
    assert linear.latency_ms == pytest.approx(128 * 10 / 1e5)
    assert linear.bottleneck == "memory"
    assert cost.latency_ms == pytest.approx((8 * 576 + 256 + 1280) / 1e5)
    assert cost.energy_mj == pytest.approx(7.42 * cost.latency_ms)
    macs = 8 * 16 * 9 * 256 + 16 * 9 * 256 + 10240
    assert cost.utilization == pytest.approx(macs / (2520 * 1e5 * cost.latency_ms))


def test_slow_memory_bounds_every_layer(made):
    model = made(engine=ENGINE, memory_bandwidth=0.1)
    cost = model.cost(toy_network(channels=16))
    for layer in cost.layers:
        assert layer.latency_ms >= layer.bytes_moved / 1e5 * (1 - 1e-12)
        assert layer.bottleneck in ("memory", "none")


@pytest.mark.parametrize("board", BOARDS)
def test_no_latency_is_below_the_multipliers_or_the_memory(board):
    model = model_for(board)
    for dtype in ("int16", "int8"):
        cost = model.cost(toy_network(channels=64, side=16), dtype=dtype)
        peak = model.board.dsp / model.board.dsp_per_mac[dtype] * model.board.clock
        moved = sum(layer.bytes_moved for layer in cost.layers)
        macs = sum(layer.macs for layer in cost.layers)
        assert cost.latency_ms >= 1e3 * macs / peak
        assert cost.latency_ms >= 1e3 * moved / model.board.bandwidth


def test_attention_is_two_products_and_a_softmax(made):
    class Attention(nn.Module):
        def forward(self, q, k, v):
            return nn.functional.scaled_dot_product_attention(q, k, v)

    q, kv = torch.zeros(1, 4, 64, 8), torch.zeros(1, 4, 64, 8)
    cost = made(engine=ENGINE).cost(trace(Attention(), (q, kv, kv)))
    assert cost.layers[0].macs == 2 * 4 * 64 * 64 * 8
    scores = 4 * 4 * (64 + 0)  # per head ceil(64 / 16) tiles of outputs, one of 8 inputs, 64 rows
    mixed = 4 * 8 * 64  # ceil(8 / 16) tiles of outputs, 8 of inputs
    softmax = 2 * 4 * 64 * 64 / 16  # read twice
    assert cost.latency_ms >= (scores + mixed + softmax) / 1e5
    assert cost.latency_ms < 2 * (scores + mixed + softmax) / 1e5


def test_rows_of_linear_layers_are_taken_together(made):
    model = made(engine=ENGINE)
    linear = trace(nn.Linear(64, 64, bias=False), torch.zeros(1, 64))
    one, four = model.cost(linear), model.cost(linear, batch=4)
    assert four.latency_ms == one.latency_ms  # both wait for the weights, loaded once
    conv = trace(nn.Conv2d(8, 8, 3), torch.zeros(1, 8, 8, 8))
    assert model.cost(conv, batch=4).latency_ms == pytest.approx(4 * model.cost(conv).latency_ms)


def test_all_experts_are_resident_and_the_active_ones_move(made):
    """Memory holds every weight of the store; only those that this input uses are loaded."""

    class Experts(nn.Module):
        def __init__(self):
            super().__init__()
            self.experts = nn.ModuleList([nn.Linear(64, 64, bias=False) for _ in range(8)])

        def forward(self, x):
            return self.experts[0](x)

    cost = made(engine=ENGINE).cost(trace(Experts(), torch.zeros(1, 64)))
    assert cost.peak_memory_bytes == 2 * (8 * 64 * 64 + 2 * 64)
    assert cost.layers[0].bytes_moved == pytest.approx(2 * 64 * 64, rel=0.15)


def test_half_the_bits_move_half_the_bytes(made):
    model = made(engine=ENGINE)
    wide, narrow = (model.cost(toy_network(), dtype=d) for d in ("int16", "int8"))
    for a, b in zip(wide.layers, narrow.layers, strict=True):
        assert a.bytes_moved == pytest.approx(2 * b.bytes_moved, abs=1)
    assert narrow.peak_memory_bytes * 2 == wide.peak_memory_bytes
    assert narrow.latency_ms <= wide.latency_ms


def test_the_best_engine_is_no_slower_than_the_files():
    fixed = model_for("zcu102")
    searched = TestAnEngineForEachNetwork().make()
    network = toy_network(channels=32, side=16)
    assert searched.cost(network).latency_ms <= fixed.cost(network).latency_ms
    assert searched.engine_for(network) != fixed.engine_for(network)


def test_the_best_engine_is_searched_once(monkeypatch):
    searched = TestAnEngineForEachNetwork().make()
    network = toy_network(channels=32, side=16)
    first = searched.cost(network)
    monkeypatch.setattr(tiled, "search_engine", None)  # a second search would call it
    assert searched.cost(network) == first
    assert searched.engine_for(network) == searched.engine_for(network)


# ---------------------------------------------------------------- verdicts
def test_an_engine_that_needs_too_many_multipliers_in_single_precision():
    model, network = model_for("zcu102"), toy_network()
    cost = model.cost(network, dtype="float32", enforce=False)
    assert not cost.fits
    found = {e.resource: e for e in cost.excesses}
    macs = model.engine_for(network, 1, "float32").macs
    assert (found["dsp"].needed, found["dsp"].limit) == (5 * macs, 2520)
    with pytest.raises(HardwareLimit, match="zcu102 has 2,520 slices of dsp; the network needs"):
        model.cost(network, dtype="float32")


def test_a_kernel_that_no_buffer_holds(made):
    model = made(
        bram=20, engine={**ENGINE, "output_channels": 2, "input_channels": 2, "depthwise": 0}
    )
    small = trace(nn.Conv2d(4, 4, 3), torch.zeros(1, 4, 64, 64))
    assert model.cost(small).fits
    large = trace(nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 61)), torch.zeros(1, 4, 64, 64))
    excess = model.cost(large, enforce=False).excesses[0]
    weights = math.ceil(4 * 61 * 61 * 16 / 18000)
    window = math.ceil(62 * 62 * 16 / 18000)  # two rows and columns of outputs
    assert (excess.resource, excess.unit, excess.layer) == ("bram", "BRAM18", "1")
    assert (excess.needed, excess.limit) == (2 * 2 * window + 2 * 2 + 4 * weights, 40)
    with pytest.raises(HardwareLimit, match="most at layer '1'") as caught:
        model.cost(large)
    assert caught.value.violation == pytest.approx(excess.needed / 40 - 1)


def test_a_board_on_which_no_engine_fits_says_what_the_smallest_takes(made):
    model = made(bram=1, engine=None)
    excess = model.cost(toy_network(), enforce=False).excesses[0]
    assert (excess.resource, excess.needed, excess.limit) == ("bram", 5, 2)


def test_a_network_larger_than_the_memory(made):
    model = made(engine=ENGINE, memory=2**-10)
    with pytest.raises(HardwareLimit, match="of memory; the network needs"):
        model.cost(trace(nn.Linear(1024, 1024), torch.zeros(1, 1024)))


@pytest.mark.parametrize(
    ("module", "shape", "said"),
    [
        (nn.ConvTranspose2d(4, 4, 3), (1, 4, 8, 8), "transposed_conv.*resize and a convolution"),
        (nn.Conv3d(2, 2, 3), (1, 2, 8, 8, 8), "conv3d.*over one or two dimensions"),
        (nn.LSTM(4, 4), (3, 1, 4), "rnn.*linear layers, one time step after another"),
    ],
)
def test_layers_that_no_engine_runs_are_named(module, shape, said):
    workload = trace(module, torch.zeros(shape))
    for board in ("zcu102", "zcu102_pipeline"):
        with pytest.raises(UnsupportedLayer, match=said):
            model_for(board).cost(workload)


# ---------------------------------------------------------------- files
def test_the_boards_are_those_of_the_literature():
    zcu102, zc706 = model_for("zcu102"), model_for("zc706")
    assert (zcu102.board.dsp, zcu102.board.bram, zcu102.board.clock) == (2520, 1824, 100e6)
    assert zcu102.ports.count * zcu102.ports.bits == 512
    assert (zc706.board.power, zc706.board.clock) == (7.0, 200e6)
    assert [model_for(b).board.dsp for b in ("zc706", "zcu104")] == [900, 1728]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ports": 2}, "a port each for inputs, weights and outputs, got 2; write"),
        ({"engine": {**ENGINE, "input_ports": 3}}, "the engine uses 5 ports and the board has 4"),
        ({"dsp": 100, "engine": ENGINE}, "takes 144 slices of dsp in int16 and the board has 100"),
        ({"bram": 10, "engine": ENGINE}, "takes 256 BRAM18 of bram in int16 and the board has 20"),
        ({"engine": {**ENGINE, "rows": 0}}, "numbers.engine.rows: must be greater than or equal"),
        ({"engine": {**ENGINE, "row": 8}}, "numbers.engine.row: unknown key; did you mean rows"),
        ({"remainder": "none"}, "numbers.remainder: must be 'exact' or 'full'"),
        ({"clock": {"value": 1, "unit": "W", "source": "made up here"}}, "unit must be Hz or MHz"),
    ],
)
def test_files_that_contradict_themselves(made, changes, said):
    with pytest.raises(SpecError, match=said):
        made(**changes)


def test_a_device_of_another_family_is_refused():
    with pytest.raises(SpecError, match="needs a device of family fpga, got 'cpu_generic'"):
        TiledModel(load_device("cpu_generic"))


@pytest.mark.parametrize("board", BOARDS)
def test_both_files_of_a_board_agree(board):
    tiled, pipeline = values_of(board), values_of(f"{board}_pipeline")
    assert pipeline["numbers"].items() <= tiled["numbers"].items()


@pytest.mark.parametrize("board", [b + s for b in BOARDS for s in ("", "_pipeline")])
def test_energy_is_said_to_be_a_multiple_of_latency(board):
    model = model_for(board)
    cost = model.cost(toy_network())
    assert cost.energy_mj == pytest.approx(model.board.power * cost.latency_ms)
    assert model.provenance("energy_mj").derived_from == "latency_ms"
    assert model.provenance("latency_ms").derived_from == ""
    assert pickle.loads(pickle.dumps(model)).cost(toy_network()) == cost


@pytest.mark.parametrize("device", ["zcu102", "zcu102_pipeline"])
def test_a_composed_network_costs_what_the_traced_one_costs(device):
    space, cache, model = SPACES.get("nb201")(), PartCache(), model_for(device)
    for seed in range(3):
        architecture = space.sample(random.Random(seed))
        composed = model.cost(cache.compose(space.parts(architecture)))
        traced = model.cost(
            trace_built(lambda a=architecture: space.build(a), space.example_input(architecture))
        )
        assert composed.latency_ms == traced.latency_ms
        assert composed.energy_mj == traced.energy_mj
        assert composed.peak_memory_bytes == traced.peak_memory_bytes
        times = [[layer.latency_ms for layer in cost.layers] for cost in (composed, traced)]
        assert times[0] == times[1]


@pytest.mark.full
@pytest.mark.parametrize("board", BOARDS)
def test_the_engine_in_the_file_is_what_the_search_finds(board):
    networks = []
    for name in ("ofa_mbv3", "ofa_resnet50", "darts"):
        space = SPACES.get(name)()
        largest = space.architecture({d.name: d.options[-1] for d in space.decisions})
        networks.append(PartCache().compose(space.parts(largest)))
    model = model_for(board)
    assert model.best_engine(task_of(networks), "int16") == model.engine_for(networks[0])
