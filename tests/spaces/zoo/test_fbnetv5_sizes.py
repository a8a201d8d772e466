"""FBNetV5's numbers: blocks, networks of the block library, super-network, counts, costs."""

from __future__ import annotations

from functools import cache
from itertools import combinations, product
from random import Random

import pytest
import torch
from torch import nn

from netloom.hw_models import PartCache, Workload, trace
from netloom.spaces import Architecture
from netloom.spaces.networks.fbnetv5 import Down, Fusion, Up, backbone, residual
from netloom.spaces.networks.fbnetv5_blocks import InvertedResidual, PoolTail, round8
from netloom.spaces.networks.fbnetv5_plan import Plan
from netloom.spaces.networks.mobile_blocks import ConvNorm
from netloom.spaces.zoo.fbnetv5 import FBNetV5

from .conftest import traced

WIDTHS = (24, 40, 120, 184)


def every(space: FBNetV5, bit: int) -> Architecture:
    return space.architecture({decision.name: bit for decision in space.decisions})


def size(module: nn.Module, *shape: int) -> tuple[int, int]:
    workload = trace(module.to("meta"), torch.empty(1, *shape, device="meta"))
    return workload.params, workload.macs


def built(space: FBNetV5, a: Architecture) -> Workload:
    with torch.device("meta"):
        return traced(space.build(a), space, a)


@cache
def costs_of_bits() -> tuple[int, dict[str, int]]:
    """MACs of the network without any block and edge, and what each adds to it alone."""
    space = FBNetV5(tasks=[])
    nothing = built(space, every(space, 0)).macs
    each = {
        name: built(space, space.architecture({**every(space, 0), name: 1})).macs - nothing
        for name in space.plan.bits()
    }
    return nothing, each


# ---------------------------------------------------------------- blocks
@pytest.mark.parametrize(
    ("value", "rounded"), [(6, 8), (10, 16), (12, 16), (20, 24), (29, 32), (30.4, 32), (84, 88)]
)
def test_widths_are_multiples_of_8(value: float, rounded: int) -> None:
    """Halves go up; 8 is too little for 10, of which it is less than 95 %."""
    assert round8(value) == rounded


def test_blocks() -> None:
    assert size(residual(40, 40, "k5_e3_se"), 40, 28, 28) == (17_136, 9_882_240)
    assert size(residual(120, 120, "k5_e3_se"), 120, 14, 14) == (120_512, 18_721_440)


def chain(width: int, rows: list[str], **options: object) -> list[nn.Module]:
    """Blocks of rows `kernel, se, width, stride, ratio, times`."""
    blocks = []
    for row in rows:
        kernel, excite, out, stride, ratio, times = map(int, row.split())
        for i in range(times):
            step = stride if i == 0 else 1
            blocks.append(
                InvertedResidual(width, out, kernel, ratio, bool(excite), step, **options)
            )
            width = out
    return blocks


def test_fbnet_c() -> None:
    rows = ["3 0 16 1 1 1", "3 0 24 2 6 1", "3 0 24 1 1 2", "5 0 32 2 6 1", "5 0 32 1 3 1"]
    rows += ["5 0 32 1 6 1", "3 0 32 1 6 1", "5 0 64 2 6 1", "5 0 64 1 3 1", "5 0 64 1 6 2"]
    rows += ["5 0 112 1 6 3", "5 0 112 1 3 1", "5 0 184 2 6 1", "5 0 184 1 6 3", "3 0 352 1 6 1"]
    network = nn.Sequential(
        ConvNorm(3, 16, 3, 2, "relu", bias=True),
        *chain(16, rows, activation="relu", bias=True),
        ConvNorm(352, 1984, 1, 1, "relu", bias=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(1984, 1000),
    )
    assert size(network, 3, 224, 224) == (5_592_784, 378_136_224)


def test_fbnetv2_f0() -> None:
    """With the classifier, which the released comments leave out of this one's numbers."""
    first = ["5 0 8 1 1 1", "5 0 16 2 4 1", "5 0 16 1 3 1"]
    second = ["5 1 24 2 4 1", "5 1 24 1 3 1"]
    third = ["5 1 48 2 4 1", "3 1 48 1 3 1", "5 1 64 1 3 1", "5 1 64 1 2 1"]
    third += ["3 1 128 2 3 1", "5 1 160 1 3 1"]
    body = [
        ConvNorm(3, 8, 3, 2, "h_swish", bias=True),
        *chain(8, first, narrow=False),
        *chain(16, second, narrow=False, activation="relu"),
        *chain(24, third, narrow=False),
        ConvNorm(160, 192, 1, 1, "relu"),
        PoolTail(192, 1280, 4),
    ]
    classifier = nn.Linear(1280, 1000)
    assert size(nn.Sequential(*body, classifier), 3, 224, 224) == (2_822_368, 66_280_000)
    params, macs = size(nn.Sequential(*body), 3, 224, 224)
    assert (params / 1e6, macs / 1e6) == (pytest.approx(1.53, rel=0.01), pytest.approx(65.2, 0.01))


V3_A = ["3 0 16 1 1 2", "5 0 24 2 4 1", "5 0 24 1 2 3", "5 1 40 2 5 1", "5 1 40 1 3 4"]
V3_A += ["5 0 72 2 5 1", "3 0 72 1 3 4", "3 1 120 1 5 1", "5 1 120 1 3 5"]
V3_A += ["3 1 184 2 6 1", "5 1 184 1 4 5", "5 1 224 1 6 1"]


def test_fbnetv3_a_as_it_was_released() -> None:
    """Its last two strides have less padding: maps of 13 and 6, where ours have 14 and 7."""
    body = [ConvNorm(3, 16, 3, 2, "h_swish", bias=True), *chain(16, V3_A)]
    head = [PoolTail(224, 1984), nn.Linear(1984, 1000)]
    assert trace(nn.Sequential(*body), torch.empty(1, 3, 224, 224)).layers[-1].output_shapes[0][
        2:
    ] == (7, 7)
    strided = [m.depthwise.conv for m in body[1:] if m.depthwise.conv.stride == (2, 2)]
    assert [conv.padding for conv in strided] == [(2, 2), (2, 2), (2, 2), (1, 1)]
    strided[2].padding, strided[3].padding = (1, 1), (0, 0)
    assert size(nn.Sequential(*body, *head), 3, 224, 224) == (8_598_480, 355_514_328)
    sides = [
        layer.output_shapes[0][2]
        for layer in trace(nn.Sequential(*body), torch.empty(1, 3, 224, 224, device="meta")).layers
        if layer.kind == "depthwise_conv" and layer.stride == (2, 2)
    ]
    assert sides == [56, 28, 13, 6]


# ---------------------------------------------------------------- super-network
def test_the_super_network() -> None:
    space = FBNetV5(tasks=[])
    whole, stage0 = built(space, every(space, 1)), built(space, every(space, 0))
    shapes = [whole.tensors[i].shape[1:] for i in whole.outputs]
    assert shapes == [(24, 56, 56), (40, 28, 28), (120, 14, 14), (184, 7, 7)]
    assert (whole.params, whole.macs) == (3_891_576, 452_773_592)
    assert (stage0.params, stage0.macs) == (332_640, 89_028_080)
    with torch.device("meta"):
        supernet = space.supernet()
    assert sum(p.numel() for p in supernet.parameters()) == 3_891_576


EDGES = {(0, 1): 921_984, (1, 0): 752_640, (1, 2): 1_011_360}
EDGES |= {(2, 1): 940_800, (2, 3): 1_134_840, (3, 2): 1_081_920}


def test_edges_and_fusions() -> None:
    params = macs = 0
    for (i, j), expected in EDGES.items():
        kind = Down if i < j else Up
        found = size(kind(WIDTHS[i], WIDTHS[j]), WIDTHS[i], 56 >> i, 56 >> i)
        assert found[1] == expected
        params, macs = params + found[0], macs + found[1]
    assert (params, macs) == (58_760, 5_843_544)
    fusions = [Fusion(j, [i for i in (j - 1, j + 1) if 0 <= i < 4], WIDTHS) for j in range(4)]
    assert sum(p.numel() for fusion in fusions for p in fusion.parameters()) == 58_760


def test_every_bit_costs_what_its_unit_does() -> None:
    space = FBNetV5(tasks=[])
    nothing, each = costs_of_bits()
    blocks = {0: "k5_e2", 1: "k5_e3_se", 2: "k5_e3_se", 3: "k5_e4_se"}
    for name in space.plan.bits():
        alone = each[name]
        if "edge" in name:
            i, j = map(int, name.split("edge")[1].split("_"))
            assert alone == EDGES[i, j]
        else:
            path = int(name.split("path")[1][0])
            shape = (WIDTHS[path], 56 >> path, 56 >> path)
            assert alone == size(residual(shape[0], shape[0], blocks[path]), *shape)[1]
    assert nothing + sum(each.values()) == 452_773_592


def test_heads() -> None:
    """By hand: the tail of V3-A and its linear layer; a pyramid of 64; a sum of 64."""
    bare = FBNetV5(tasks=[])
    without = built(bare, every(bare, 1))
    tail = 184 * 1104 + 2 * 1104 + 1104 * 1984
    found = {
        "classification": (tail + 1985 * 1000, 49 * 184 * 1104 + 1104 * 1984 + 1984 * 1000),
        "detection": (
            (40 + 120 + 184) * 64 + 3 * 128  # projections
            + 2 * 9 * 64 * 64 + 2 * 3 * 128  # two convolutions, norms for each of three maps
            + 65 * (80 + 4),
            (784 * 40 + 196 * 120 + 49 * 184) * 64
            + (784 + 196 + 49) * (2 * 9 * 64 * 64 + 64 * 84),
        ),
        "segmentation": (
            (24 + 40 + 120 + 184) * 64 + 4 * 128 + 9 * 64 * 64 + 128 + 65 * 150,
            (3136 * 24 + 784 * 40 + 196 * 120 + 49 * 184) * 64 + 3136 * (9 * 64 * 64 + 64 * 150),
        ),
    }  # fmt: skip
    for task, (params, macs) in found.items():
        space = FBNetV5(tasks=[task])
        whole = built(space, every(space, 1))
        unread = 0, 0
        if task != "segmentation":  # which alone reads the path at 1/4, or all paths
            # what the last stage makes only for paths that nobody reads is not built
            reads = space.task(task).reads
            live = space.plan.live(space.plan.bits(), reads)
            with torch.device("meta"):
                part = trace(backbone(space.plan, live), space.example_input(every(space, 1)))
            unread = without.params - part.params, without.macs - part.macs
        assert whole.params == without.params - unread[0] + params
        assert whole.macs == without.macs - unread[1] + macs
    together = FBNetV5()
    workload = built(together, every(together, 1))
    assert workload.params == without.params + sum(params for params, _ in found.values())
    assert workload.macs == without.macs + sum(macs for _, macs in found.values())


# ---------------------------------------------------------------- counts
def test_topologies() -> None:
    """24 blocks and 18 edges; a task's network may need less of them than there are."""
    space = FBNetV5()
    assert len(space.plan.bits()) == 42
    assert sum("block" in name for name in space.plan.bits()) == 24
    assert space.size == 2**42 == 4_398_046_511_104
    assert FBNetV5(masks="each").size == 2**126
    counts = space.counts()
    assert counts["topologies of a task"] == 2**42
    assert counts["connected to segmentation"] == 2**42
    # the last path alone, and what its only edge reaches in three stages
    assert counts["connected to classification"] == 2_232_448


@pytest.mark.parametrize("reads", [*combinations(range(2), 1), (0, 1)])
def test_connected_topologies_are_counted(reads: tuple[int, ...]) -> None:
    plan = Plan((3, 8, 2), (8, 8), ("k3_e2",) * 2, ("k3_e2",) * 2, (1, 2), 2)
    found = set()
    for bits in product((0, 1), repeat=len(plan.bits())):
        on = {name for name, bit in zip(plan.bits(), bits, strict=True) if bit}
        found.add(plan.live(on, reads))
    assert len(found) == plan.connected(reads)


def test_more_paths_and_stages_are_a_change_of_options() -> None:
    more = {"entries": ["k3_e2"] * 6, "operators": ["k3_e2"] * 6, "blocks": [1, 0, 1, 0, 1, 2]}
    space = FBNetV5(channels_list=[8] * 6, **more, stages=4, resolution=128, tasks=[])
    assert space.size == 2 ** (4 * (5 + 10))
    whole = built(space, every(space, 1))
    assert [whole.tensors[i].shape[2] for i in whole.outputs] == [32, 16, 8, 4, 2, 1]
    wide = FBNetV5(width=0.75)
    assert wide.plan.widths == (24, 32, 88, 136)  # 18 and 30 are rounded up, 90 and 138 down


# ---------------------------------------------------------------- costs
def test_a_pruned_network_costs_no_more_than_its_bits_and_these_no_more_than_all() -> None:
    space = FBNetV5(tasks=["classification"])
    nothing, each = costs_of_bits()
    head = built(space, every(space, 0)).macs - nothing
    cache, rng, fewer = PartCache(), Random(0), 0
    most = nothing + head + sum(each.values())
    for _ in range(60):
        a = space.sample(rng)
        pruned = cache.compose(space.parts(a)).macs
        additive = nothing + head + sum(each[name] for name, bit in a.items() if bit)
        assert pruned <= additive <= most
        fewer += pruned < additive
        kept = space.pruned(a)
        assert pruned == nothing + head + sum(each[name] for name, bit in kept.items() if bit)
    assert fewer > 50
