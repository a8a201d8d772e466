"""Layer pipelines: shares, latency and buffers by hand, verdicts, what must always hold."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from netloom.errors import HardwareLimit, SpecError, UnsupportedLayer
from netloom.hw_models import HardwareModel, load_device, model_for, trace
from netloom.hw_models.fpga.loops import Loops
from netloom.hw_models.fpga.pipeline import PipelineModel
from netloom.hw_models.fpga.stages import Stage, stage_of, widths
from netloom.hw_models.testing import HardwareContract, toy_network

BOARDS = ("zc706_pipeline", "zcu102_pipeline", "zcu104_pipeline")


def model(**changes: float) -> PipelineModel:
    """Return a board of 100 MHz with some numbers changed, in base units."""
    found = PipelineModel(load_device("zcu102_pipeline"))
    found.board = replace(found.board, **{"power": 10.0, **changes})
    return found


class _Board(HardwareContract):
    board: str

    def make(self) -> HardwareModel:
        return model_for(self.board)


class TestZc706(_Board):
    board = "zc706_pipeline"


class TestZcu102(_Board):
    board = "zcu102_pipeline"


class TestZcu104(_Board):
    board = "zcu104_pipeline"


# ---------------------------------------------------------------- stages
def test_widths_divide_channels_into_passes():
    assert [tuple(w[:2]) for w in widths(1, 4, 4)] == [(1, 16), (2, 8), (4, 4), (8, 2), (16, 1)]
    assert widths(1, 3, 2)[0][3:] == (3, 2)
    assert [(w.folds, w.groups) for w in widths(6, 1, 1)] == [(1, 6), (2, 3), (3, 2), (6, 1)]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4), st.integers(1, 2000))
@settings(max_examples=60, deadline=None)
def test_a_stage_takes_the_fewest_multipliers(inputs, outputs, groups, folds):
    stage = Stage(0, "", groups, outputs, inputs, 2, 3, (3, 3), 4, 4)
    width = stage.width(54 * folds)
    fewest = min(
        (
            g * c * k
            for g in range(1, groups + 1)
            for c in range(1, inputs + 1)
            for k in range(1, outputs + 1)
            if ceil(groups / g) * ceil(inputs / c) * ceil(outputs / k) <= folds
        ),
        default=None,
    )
    assert width.multipliers == fewest
    assert stage.cycles(width) <= 54 * folds


def test_a_time_below_one_pass_is_out_of_reach():
    assert Stage(0, "", 1, 8, 8, 2, 3, (3, 3), 4, 4).width(53) is None


def test_channels_of_a_depthwise_layer_are_groups():
    stage = stage_of(Loops(1, 32, 1, 7, 7, (3, 3), (2, 2), (3, 3), depthwise=True), 0, "deep")
    assert (stage.groups, stage.inputs, stage.outputs) == (32, 1, 1)
    assert (stage.column, stage.cached, stage.weights) == (15, 5, 288)


# ---------------------------------------------------------------- latency by hand
def chain() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1, bias=False),  # 16 x 16
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 10, bias=False),
    )


def test_a_chain_by_hand():
    """73,728, 147,456 and 5,120 multiply-adds share 64 multipliers as 16, 32 and 2 at T = 4,608."""
    workload = trace(chain(), torch.zeros(1, 4, 16, 16))
    found = model(dsp=64, bandwidth=1e15)
    made = found.pipeline(workload)
    assert [w.multipliers for w in made.widths] == [16, 32, 2]
    assert made.cycles == (4608, 4608, 2560)
    assert made.dsp == 50
    cost = found.cost(workload)
    # the first stage is the slowest: its time is the interval and adds no fill; the classifier
    # waits for all columns of the pool, which come with those of the second stage, and gives one
    cycles = 4608 + 4608 + 2560
    assert cost.latency_ms == pytest.approx(cycles / 1e5)
    assert cost.throughput_per_s == pytest.approx(1e8 / 4608)
    assert cost.energy_mj == pytest.approx(10 * cost.latency_ms)
    first, _, _, second, _, _, linear = cost.layers
    assert first.latency_ms == pytest.approx(4608 / 1e5)
    assert second.latency_ms == pytest.approx(4608 / 1e5)
    assert linear.latency_ms == pytest.approx(2560 / 1e5)
    five = found.cost(workload, batch=5)
    assert five.latency_ms == pytest.approx((cycles + 4 * 4608) / 1e5)
    assert five.throughput_per_s == cost.throughput_per_s


def test_a_stage_lags_by_the_columns_of_the_next_kernel():
    network = nn.Sequential(
        nn.Conv2d(4, 4, 3, padding=1, bias=False),
        nn.Conv2d(4, 8, 5, padding=2, bias=False),
        nn.Conv2d(8, 8, 3, padding=1, bias=False),
    )
    found = model(dsp=10**6, bandwidth=1e15)
    workload = trace(network, torch.zeros(1, 4, 16, 16))
    made = found.pipeline(workload)
    assert made.cycles == (4608, 6400, 4608)
    # 3 columns of the first for a kernel of 5 with 2 of padding; the slowest adds no fill; the
    # last column that comes out
    assert made.flow.fill == pytest.approx(3 * 4608 / 16 + 4608 / 16)
    assert found.cost(workload).latency_ms == pytest.approx((6400 + 1152) / 1e5)


def test_multipliers_are_shared_in_proportion_to_multiply_adds():
    network = nn.Sequential(*[nn.Conv2d(c, 4 * c, 1, bias=False) for c in (16, 64)])
    made = model(dsp=544).pipeline(trace(network, torch.zeros(1, 16, 8, 8)))
    few, many = (w.multipliers for w in made.widths)
    assert (few, many) == (32, 512)  # 16 times the multiply-adds


def test_branches_meet_in_a_buffer():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(4, 4, 1, bias=False)
            self.body = nn.Conv2d(4, 4, 3, padding=1, bias=False)

        def forward(self, x):
            x = self.stem(x)
            return x + self.body(x)

    made = model().pipeline(trace(Skip(), torch.zeros(1, 4, 16, 16)))
    assert made.flow.waiting == {2: 4 * 16 * 2}  # 2 of 16 columns of 4 channels of 16 rows


def test_squeeze_and_excite_keeps_the_whole_map():
    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(4, 4, 1, bias=False)
            self.scale = nn.Conv2d(4, 4, 1, bias=False)

        def forward(self, x):
            x = self.stem(x)
            return x * torch.sigmoid(self.scale(x.mean((2, 3), keepdim=True)))

    made = model().pipeline(trace(Gate(), torch.zeros(1, 4, 16, 16)))
    assert sum(made.flow.waiting.values()) == 4 * 16 * 16


def vgg16() -> nn.Module:
    layers: list[nn.Module] = []
    channels = 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    layers += [nn.Flatten(), nn.Linear(25088, 4096), nn.ReLU(), nn.Linear(4096, 4096)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Linear(4096, 1000))


@pytest.mark.parametrize(("dtype", "gops"), [("int16", 262), ("int8", 524)])
def test_vgg16_on_the_xc7z045_is_near_dnnbuilders(dtype, gops):
    """GOP/s at 200 MHz with 680 DSP slices; recalled from the paper's table, not looked up."""
    with torch.device("meta"):
        workload = trace(vgg16(), torch.zeros(1, 3, 224, 224))
    board = PipelineModel(load_device("zc706_pipeline"))
    board.board = replace(board.board, dsp=680)
    cost = board.cost(workload, dtype=dtype, breakdown=False)
    assert 2e-9 * workload.macs * cost.throughput_per_s == pytest.approx(gops, rel=0.02)


# ---------------------------------------------------------------- block RAM and traffic
def test_buffers_by_hand():
    workload = trace(nn.Conv2d(8, 16, 3, padding=1, bias=False), torch.zeros(1, 8, 32, 32))
    made = model(dsp=8, bandwidth=1e15).pipeline(workload)
    (width,) = made.widths
    assert width.multipliers == 8
    cache = ceil((3 + 1) * 34 * 8 * 16 / 18000)
    read = ceil(8 * 16 / 36)  # eight words of 16 bits a cycle
    assert read == 4
    assert made.resident == {0}  # 1,152 weights fit two blocks, read from four
    assert made.bram == cache + 4
    assert made.bytes_moved == {0: 2 * (8 * 32 * 32 + 16 * 32 * 32)}


def test_weights_that_do_not_stay_come_for_every_column():
    workload = trace(nn.Conv2d(64, 64, 3, padding=1, bias=False), torch.zeros(1, 64, 8, 8))
    stays = model(dsp=64).pipeline(workload)
    leaves = model(dsp=64, bram=stays.bram - 1).pipeline(workload)
    assert (stays.resident, leaves.resident) == ({0}, frozenset())
    image = 2 * 2 * 64 * 64
    assert stays.bytes_moved[0] == image
    assert leaves.bytes_moved[0] == image + 2 * 8 * 64 * 64 * 9


def test_slow_memory_sets_the_interval():
    workload = trace(chain(), torch.zeros(1, 4, 16, 16))
    found = model(bandwidth=1e6)
    moved = sum(found.pipeline(workload).bytes_moved.values())
    cost = found.cost(workload)
    assert cost.throughput_per_s == pytest.approx(1e6 / moved)
    assert cost.latency_ms >= 1e3 * moved / 1e6
    assert {x.bottleneck for x in cost.layers} == {"memory", "none"}
    assert sum(x.latency_ms for x in cost.layers) == pytest.approx(cost.latency_ms)
    assert sum(x.bytes_moved for x in cost.layers) == moved


# ---------------------------------------------------------------- verdicts
def test_more_stages_than_multipliers():
    workload = toy_network(blocks=5)
    excess = model(dsp=3).cost(workload, enforce=False).excesses[0]
    assert (excess.resource, excess.needed, excess.limit) == ("dsp", 7, 3)
    with pytest.raises(HardwareLimit, match="has 3 slices of dsp; the network needs 7"):
        model(dsp=3).cost(workload)


def test_buffers_that_do_not_fit():
    workload = toy_network(channels=64, side=64)
    least = model(dsp=3).pipeline(workload).bram
    excesses = model(bram=10).cost(workload, enforce=False).excesses
    assert [(e.resource, e.limit, e.unit) for e in excesses] == [("bram", 10, "BRAM18")]
    assert excesses[0].layer == "block0.conv"
    assert 10 < excesses[0].needed <= least


def test_products_of_activations_are_refused():
    class Attention(nn.Module):
        def forward(self, x):
            return nn.functional.scaled_dot_product_attention(x, x, x)

    workload = trace(Attention(), torch.zeros(1, 2, 8, 4))
    with pytest.raises(UnsupportedLayer, match="two activations: use a tiled engine"):
        model().cost(workload)


def test_a_device_of_another_family_is_refused():
    with pytest.raises(SpecError, match="needs a device of family fpga_pipeline, got 'zcu102'"):
        PipelineModel(load_device("zcu102"))


# ---------------------------------------------------------------- invariants
sizes = st.fixed_dictionaries(
    {
        "channels": st.integers(1, 24),
        "side": st.integers(4, 20),
        "blocks": st.integers(1, 4),
        "classes": st.integers(1, 20),
    }
)
boards = st.fixed_dictionaries(
    {"dsp": st.integers(8, 600), "bram": st.integers(200, 2000), "bandwidth": st.integers(1, 9)}
)


@given(sizes, boards)
@settings(max_examples=40, deadline=None)
def test_no_pipeline_beats_its_multipliers_or_its_memory(size, board):
    workload = toy_network(**size)
    found = model(**{**board, "bandwidth": board["bandwidth"] * 1e7})
    made, cost = found.pipeline(workload), found.cost(workload)
    assert cost.latency_ms >= 1e3 * workload.macs / (board["dsp"] * 1e8) * (1 - 1e-9)
    assert 1 / cost.throughput_per_s <= cost.latency_ms / 1e3 * (1 + 1e-9)
    assert cost.latency_ms >= 1e3 * sum(made.bytes_moved.values()) / found.board.bandwidth * 0.999
    alone = sum(made.cycles) / 1e8 + sum(made.bytes_moved.values()) / found.board.bandwidth
    assert cost.latency_ms <= 1e3 * alone * (1 + 1e-9)
    assert made.dsp <= board["dsp"]
    assert made.bram <= board["bram"]
    assert sum(x.latency_ms for x in cost.layers) == pytest.approx(cost.latency_ms)


@given(sizes, boards, st.sampled_from(["dsp", "bram", "bandwidth"]), st.integers(1, 300))
@settings(max_examples=40, deadline=None)
def test_more_of_a_board_is_never_slower(size, board, what, more):
    workload = toy_network(**size)
    before, after = (
        model(**{**b, "bandwidth": b["bandwidth"] * 1e7}).cost(workload, breakdown=False)
        for b in (board, {**board, what: board[what] + more})
    )
    assert after.throughput_per_s >= before.throughput_per_s * (1 - 1e-9)


@given(sizes, st.sampled_from(["channels", "side", "blocks", "classes"]), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_a_larger_network_is_never_faster(size, what, more):
    found = model(dsp=300, bram=10**5, bandwidth=1e9)
    small, large = (
        found.cost(toy_network(**s), breakdown=False)
        for s in (size, {**size, what: size[what] + more})
    )
    assert large.throughput_per_s <= small.throughput_per_s * (1 + 1e-9)
