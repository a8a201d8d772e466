"""Patch-based inference against the numbers of TinyEngine, and its choice."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from netloom.errors import SpecError
from netloom.hw_models import load_device, trace
from netloom.hw_models.mcu import Lowering, McuModel, lower, plan_memory, policy
from netloom.hw_models.memory import patch
from netloom.hw_models.memory.patch import Tiling

FUSED = Lowering(pad_fused=True)


def test_the_fields_of_vww1(network):
    graph = lower(network("vww1"), FUSED)
    assert patch.field(graph, 5) == 11
    assert patch.field(graph, 5, 10) == 47


def test_the_multiply_adds_of_vww1(network):
    """TinyEngine also counts an operation per element of each add."""
    graph = lower(network("vww1"), FUSED)
    adds = sum(graph.size(op.output) for op in graph.ops if op.kind == "add")
    assert graph.macs + adds == 11_600_344
    tiled = patch.op_macs(graph, Tiling(2, 5), clip=False)
    assert sum(tiled) + adds == 11_930_840


def test_halos_are_computed_again():
    """Two 3x3 convolutions on 8 x 8: a tile of 4 x 4 needs 5 x 5 of the first one's output."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 1, 1))
    graph = lower(trace(network, torch.zeros(1, 3, 8, 8)), FUSED)
    first, second = graph.ops
    assert patch.op_macs(graph, Tiling(2, 2)) == [first.macs * 4 * 25 // 64, second.macs]
    # without clipping each tile computes the halo beyond the image too
    assert patch.op_macs(graph, Tiling(2, 2), clip=False)[0] == first.macs * 4 * 36 // 64
    regions = patch.regions(graph, 2, ((0, 4), (4, 8)))
    assert regions == {2: ((0, 4), (4, 8)), 1: ((0, 5), (3, 8)), 0: ((0, 6), (2, 8))}


def test_the_last_tile_is_smaller(network):
    graph = lower(trace(nn.Conv2d(3, 4, 3, 1, 1), torch.zeros(1, 3, 10, 7)), FUSED)
    rows = {tile[0] for tile in patch.tiles(graph, Tiling(3, 1))}
    assert rows == {(0, 4), (4, 8), (8, 10)}
    columns = {tile[1] for tile in patch.tiles(graph, Tiling(3, 1))}
    assert columns == {(0, 3), (3, 6), (6, 7)}


def test_branches_take_the_union_of_their_regions():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide = nn.Conv2d(4, 4, 5, 1, 2)
            self.narrow = nn.Conv2d(4, 4, 3, 1, 1)

        def forward(self, x):
            return self.wide(x) + self.narrow(x)

    graph = lower(trace(Skip(), torch.zeros(1, 4, 16, 16)), FUSED)
    assert patch.regions(graph, 3, ((4, 8), (4, 8)))[0] == ((2, 10), (2, 10))


def test_one_tile_by_hand():
    """1 x 16 x 16 -> 8 channels -> 8 channels, 2 x 2 tiles: the clipped corner tile is largest."""
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.AdaptiveAvgPool2d(1)
    )
    graph = lower(trace(network, torch.zeros(1, 1, 16, 16)), FUSED)
    whole, tile = 8 * 256, 8 * 64
    plain = {"planner": "liveness", "overhead": "none", "pad_fused": True}
    fixed = {**plain, "patch": {"n": 2, "split": 2}}
    streamed = plan_memory(graph, policy({**fixed, "input_resident": False}))
    resident = plan_memory(graph, policy(fixed))
    # the second convolution holds 9 x 9 of the first, its own tile, and all tiles' output
    assert streamed.peak_bytes == whole + 8 * 81 + tile
    assert resident.peak_bytes == whole + 8 * 81 + tile + 256
    assert resident.patch.whole_peak_bytes == 2 * whole
    assert resident.patch.overhead == pytest.approx(
        (graph.macs - graph.ops[0].macs + graph.ops[0].macs * 4 * 81 // 256) / graph.macs
    )


def test_the_choice_is_never_worse_than_no_tiles(network):
    for name in ("in0", "vww1", "ic"):
        for runtime in ("tflm_ref", "tinyengine"):
            whole = policy(runtime)
            auto = policy({"preset": runtime, "patch": "auto"})
            graph = lower(network(name), whole.lowering)
            found, without = plan_memory(graph, auto), plan_memory(graph, whole)
            assert found.peak_bytes <= without.peak_bytes
            if found.patch:
                assert found.patch.overhead <= auto.patch_overhead
                assert found.patch.whole_peak_bytes == without.peak_bytes


def test_tiles_may_need_more_than_none_and_are_left_out():
    """tinyengine issue 104: a stage whose output is large beside its tiles; n = 1 is kept."""
    layers = [nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(4, 32, 3, 1, 1), nn.AdaptiveAvgPool2d(1)]
    graph = lower(trace(nn.Sequential(*layers), torch.zeros(1, 4, 16, 16)), FUSED)
    plain = {"planner": "greedy16", "overhead": "none", "pad_fused": True}
    stage = plan_memory(graph, policy({**plain, "patch": {"n": 2, "split": 2}}))
    auto = plan_memory(graph, policy({**plain, "patch": "auto"}))
    assert stage.patch.whole_peak_bytes == auto.peak_bytes == 4 * 256 + 32 * 256
    assert stage.peak_bytes > auto.peak_bytes
    assert auto.patch is None


def test_vww1_in_tiles(network):
    """TinyEngine's example of patches: 2 x 2 through the first five convolutions."""
    stage = {"preset": "tinyengine", "patch": {"n": 2, "split": 5}}
    model = McuModel(load_device("stm32h743"), stage)
    plan = model.memory_plan(network("vww1"))
    assert (plan.arena_bytes, plan.scratch_bytes) == (59_568, 1_920 + 864)
    assert plan.peak_bytes == 62_352
    assert plan.patch.whole_peak_bytes == 93_992
    graph = model.graph(network("vww1"))
    adds = sum(graph.size(op.output) for op in graph.ops if op.kind == "add")
    assert plan.patch.macs + adds == 11_930_840
    whole = McuModel(load_device("stm32h743"), "tinyengine").cost(network("vww1"))
    cost = model.cost(network("vww1"))
    assert cost.peak_memory_bytes == 62_352
    halos = 9.16 * (4 * 23 * 23 - 1600) * 16 * 27  # cycles of the first four
    halos += (4 * 21 * 21 - 1600) * (2.55 * 16 * 9 + 1.25 * (16 * 8 + 8 * 48))
    assert cost.latency_ms == pytest.approx(whole.latency_ms + halos / 480e3)


@pytest.mark.parametrize(("resident", "peak"), [(True, 65_880), (False, 49_552)])
def test_vww1_in_clipped_tiles(network, resident, peak):
    """What TinyEngine's stage would need if its output were freed, and with the image beside it."""
    stage = {"preset": "tinyengine", "patch": {"n": 2, "split": 5}, "patch_rule": "clipped"}
    model = McuModel(load_device("stm32h743"), {**stage, "input_resident": resident})
    assert model.memory_plan(network("vww1")).peak_bytes == peak


def test_tinyengine_keeps_what_nothing_reads_to_the_end():
    """1 x 16 x 16 -> 8 channels -> 8 channels -> 1 channel; tiles also compute beyond borders."""
    layers = [nn.Conv2d(1, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 1, 1)]
    graph = lower(trace(nn.Sequential(*layers), torch.zeros(1, 1, 16, 16)), FUSED)
    plain = {"planner": "liveness", "overhead": "none", "pad_fused": True, "input_resident": False}
    stage = {**plain, "patch": {"n": 2, "split": 2}}
    whole, tile = 8 * 256, 8 * 64
    clipped = plan_memory(graph, policy(stage))
    kept = plan_memory(graph, policy({**stage, "patch_rule": "tinyengine"}))
    assert [s.live_bytes for s in clipped.timeline] == [
        whole + 10 * 10 + 8 * 81,
        whole + 8 * 81 + tile,
        whole + tile,
        whole + 256,
    ]
    assert [s.live_bytes for s in kept.timeline] == [
        whole + 12 * 12 + 8 * 100,
        whole + 8 * 100 + tile,
        whole + tile,
        whole + tile + 256,
    ]
    first, *rest = graph.ops
    assert kept.patch.macs == first.macs * 400 // 256 + sum(op.macs for op in rest)


def test_tinyengines_tiles_can_need_more_than_the_whole(network):
    """tinyengine issue 104: mcunet-in2, in3 and vww2, in the tiles of the example."""
    for name in ("in2", "in3", "vww2"):
        graph = lower(network(name), FUSED)
        stage = {"preset": "tinyengine", "patch": {"n": 2, "split": 5}}
        plan = plan_memory(graph, policy(stage))
        assert plan.peak_bytes > plan.patch.whole_peak_bytes
        auto = plan_memory(graph, policy({**stage, "patch": "auto"}))
        assert auto.peak_bytes <= plan.patch.whole_peak_bytes
        assert (auto.patch is None) == (name != "vww2")


@pytest.mark.parametrize(
    ("layers", "side", "stage", "said"),
    [
        ([nn.Conv2d(1, 4, 3, 1, 1), nn.Conv2d(4, 4, 1)], 9, (2, 1), "2 x 2 equal tiles"),
        ([nn.Conv2d(1, 4, 3, 3, 1), nn.Conv2d(4, 4, 1)], 12, (2, 1), "strides 1 and 2"),
        ([nn.Conv2d(1, 4, (3, 1)), nn.Conv2d(4, 4, 1)], 12, (2, 1), "square windows"),
        ([nn.Conv2d(1, 4, 3, 1, 2, 2), nn.Conv2d(4, 4, 1)], 12, (2, 1), "undilated"),
        ([nn.Conv2d(1, 4, 1), nn.MaxPool2d(2), nn.Conv2d(4, 4, 1)], 12, (2, 2), "a chain of conv"),
        ([nn.Conv2d(1, 4, 1)], 12, (2, 1), "an output that one operator reads"),
    ],
)
def test_what_tinyengine_cannot_cut(layers, side, stage, said):
    graph = lower(trace(nn.Sequential(*layers), torch.zeros(1, 1, side, side)), FUSED)
    how = {"preset": "tinyengine", "patch": {"n": stage[0], "split": stage[1]}}
    with pytest.raises(SpecError, match=f"TinyEngine's patch stage needs .*{said}.*clipped"):
        plan_memory(graph, policy(how))
    clipped = plan_memory(graph, policy({**how, "patch_rule": "clipped"}))
    assert clipped.patch.n == 2
    assert plan_memory(graph, policy({**how, "patch": "auto"})).peak_bytes > 0


def test_tinyengine_reads_its_tiles_from_outside_the_arena():
    with pytest.raises(SpecError, match="input_resident must be false with patch_rule tinyengine"):
        policy({"preset": "tinyengine", "input_resident": True})


def test_stages_end_where_one_map_is_left(network):
    graph = lower(network("vww1"), FUSED)
    assert patch.splits(graph)[:8] == [1, 2, 3, 4, 5, 6, 10, 14]
    with pytest.raises(SpecError, match=r"after one of \[1, 2, 3.*got 8"):
        plan_memory(graph, policy({"preset": "tinyengine", "patch": {"n": 2, "split": 8}}))
    assert math.prod(graph.tensors[graph.ops[13].output].shape) == 16 * 400
