"""Parameters, multiply-adds and numbers of networks, to the unit."""

from __future__ import annotations

import struct
from random import Random

import pytest
import torch
from torch import nn

from netloom.hw_models import PartCache
from netloom.hw_models.tracer import trace_built
from netloom.spaces import Architecture, Space
from netloom.spaces.restricted import RestrictedSpace
from netloom.spaces.zoo.ofa.base import OfaSpace
from netloom.spaces.zoo.ofa.mbv3 import OfaMbv3
from netloom.spaces.zoo.ofa.proxyless import OfaProxyless
from netloom.spaces.zoo.ofa.resnet50 import OfaResNet50

from .conftest import FAMILIES, tiny, uniform


# ---------------------------------------------------------------- sizes of the networks
def size(space: Space, a: Architecture) -> tuple[int, int]:
    workload = trace_built(lambda: space.build(a), space.example_input(a))
    return workload.params, workload.macs


LARGEST, SMALLEST, MIDDLE = (7, 6, 4), (3, 3, 2), (5, 4, 3)
MOBILE = {  # per network: parameters, multiply-adds at 224
    (OfaMbv3, 1.0): [(7_664_760, 566_170_656), (3_410_792, 121_278_672), (4_551_792, 250_746_944)],
    (OfaMbv3, 1.2): [(10_701_632, 843_101_040), (4_602_456, 193_078_200), (6_245_312, 385_659_168)],
    (OfaProxyless, 1.0): [
        (5_103_336, 606_590_720),
        (2_500_632, 154_160_000),
        (3_312_936, 286_405_120),
    ],
    (OfaProxyless, 1.3): [
        (7_942_056, 1_004_908_032),
        (3_718_832, 265_526_256),
        (5_053_864, 486_974_112),
    ],
}


@pytest.mark.parametrize(("family", "width"), MOBILE)
def test_mobile_networks_have_the_known_sizes(family: type[OfaSpace], width: float) -> None:
    space = family(width=width)
    for (k, e, d), known in zip((LARGEST, SMALLEST, MIDDLE), MOBILE[family, width], strict=True):
        assert size(space, uniform(space, ks=k, e=e, d=d)) == known


def test_the_network_that_gradient_matching_found_has_the_known_size() -> None:
    """Of Once-for-All's space split by three kernels (skhu101/GM-NAS), of its first leaf."""
    kernels = [7, 7, 5, 5, 5, 5, 7, 3, 7, 3, 7, 7, 7, 7, 3, 3, 5, 3, 7, 5]
    expansions = [3, 3, 4, 4, 4, 3, 6, 4, 6, 4, 3, 6, 6, 6, 6, 4, 6, 6, 6, 3]
    space = OfaMbv3(width=1.2)
    a = space.parse({"ks": kernels, "e": expansions, "d": [4] * 5, "r": 224})
    assert size(space, a) == (9_242_168, 584_450_288)
    leaf = {"stage1.block1": (7,), "stage2.block1": (3, 5), "stage3.block1": (7,)}  # 1, 5 and 9
    assert all(a[f"{block}.kernel"] in left for block, left in leaf.items())


@pytest.mark.parametrize(
    ("side", "largest", "smallest"),
    [(160, 291_318_048, 63_240_528), (128, 188_248_320, 41_476_224)],
)
def test_smaller_images_cost_less(side: int, largest: int, smallest: int) -> None:
    space = OfaMbv3()
    for (k, e, d), macs in ((LARGEST, largest), (SMALLEST, smallest)):
        assert size(space, uniform(space, ks=k, e=e, d=d, r=side))[1] == macs


RESNETS = [  # d, e, w, parameters, multiply-adds at 224
    (2, 0.35, 2, 48_105_992, 7_491_643_904),
    (0, 0.2, 0, 6_539_280, 962_192_128),
    (2, 0.25, 2, 30_109_256, 4_765_556_736),
]


@pytest.mark.parametrize(("d", "e", "w", "params", "macs"), RESNETS)
def test_resnets_have_the_known_sizes(d: int, e: float, w: int, params: int, macs: int) -> None:
    space = OfaResNet50()
    assert size(space, uniform(space, d=d, e=e, w=w)) == (params, macs)


@pytest.mark.parametrize(
    ("family", "width", "params", "blocks"),
    [
        (OfaMbv3, 1.0, 7_678_880, 20),
        (OfaMbv3, 1.2, 10_715_752, 20),
        (OfaProxyless, 1.0, 5_118_162, 21),
        (OfaProxyless, 1.3, 7_956_882, 21),
        (OfaResNet50, 1.0, 48_105_992, 0),
    ],
)
def test_supernets_add_the_transforms_to_the_largest_network(
    family: type[OfaSpace], width: float, params: int, blocks: int
) -> None:
    space = family(width=width)
    with torch.device("meta"):
        supernet = space.supernet()
    assert sum(p.numel() for p in supernet.parameters()) == params
    largest = RESNETS[0][3] if not blocks else MOBILE[family, width][0][0]
    assert params == largest + 706 * blocks


def hooked(space: Space, a: Architecture) -> list[int]:
    """Return the multiply-adds of the convolutions and linear layers as they run."""
    with torch.device("meta"):
        network, found = space.build(a).eval(), []

    def hook(layer: nn.Module, _: object, y: torch.Tensor) -> None:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            found.append(y.numel() * layer.weight[0].numel())

    for layer in network.modules():
        layer.register_forward_hook(hook)
    network(space.example_input(a).to("meta"))
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_random_networks_count_alike_in_three_ways(family: type[OfaSpace]) -> None:
    space, rng, cache = family(), Random(0), PartCache()
    for _ in range(3):
        a = space.sample(rng)
        params, macs = size(space, a)
        composed = cache.compose(space.parts(a))
        assert macs == sum(hooked(space, a)) == composed.macs
        assert params == composed.params


# the project's table of released networks, in millions
RELEASED = {
    (OfaMbv3, 1.2): {"flops@595M_top1@80.0_finetune@75": (9.1, 595)},
    (OfaMbv3, 1.0): {
        "note8_lat@31ms_top1@72.8_finetune@25": (4.6, 101),
        "note8_lat@22ms_top1@70.4_finetune@25": (4.3, 67),
    },
    (OfaProxyless, 1.3): {
        "v100_gpu64@11ms_top1@76.1_finetune@25": (6.2, 352),
        "1080ti_gpu64@12ms_top1@72.6_finetune@25": (5.9, 165),
        "tx2_gpu16@96ms_top1@75.8_finetune@25": (6.2, 349),
        "tx2_gpu16@35ms_top1@70.3_finetune@25": (4.3, 121),
        "cpu_lat@15ms_top1@74.6_finetune@25": (4.9, 301),
        "cpu_lat@11ms_top1@72.0_finetune@25": (4.4, 160),
        "cpu_lat@10ms_top1@71.1_finetune@25": (4.2, 143),
    },
}


@pytest.mark.parametrize(("family", "width"), RELEASED)
def test_released_networks_have_the_sizes_of_the_table(
    family: type[OfaSpace], width: float
) -> None:
    space, table = family(width=width), RELEASED[family, width]
    assert space.published().keys() == table.keys()
    for name, (params, macs) in table.items():
        found = size(space, space.parse(name))
        assert (round(found[0] / 1e6, 1), round(found[1] / 1e6)) == (params, macs), name
    assert family(width=0.5).published() == family(width=width, stem_stride=1).published() == {}


def test_the_595m_network_is_that_of_the_project() -> None:
    """The project's profiler adds in float32, in the order of the layers, and is 40 short."""
    space = OfaMbv3(width=1.2)
    a = space.parse("flops@595M_top1@80.0_finetune@75")
    assert size(space, a) == (9_135_928, 595_189_032)
    total = 0.0
    for macs in hooked(space, a):
        total = float32(total + float32(macs))
    assert total == 595_188_992


def float32(value: float) -> float:
    return struct.unpack("f", struct.pack("f", value))[0]


# ---------------------------------------------------------------- how many there are
def test_spaces_have_the_known_sizes() -> None:
    mobile = 7371**5
    known = {
        OfaMbv3: {
            "architectures": 25 * mobile,
            "per_resolution": mobile,
            "networks": mobile,
            "strings": 3**45,
        },
        OfaProxyless: {
            "architectures": 25 * 9 * mobile,
            "per_resolution": 9 * mobile,
            "networks": 9 * mobile,
            "strings": 3**48,
        },
        OfaResNet50: {
            "architectures": 25 * 2_458_914_796_962,
            "per_resolution": 2_458_914_796_962,
            "networks": 2_458_914_796_962 * 2 // 3,
            "strings": 2 * 3 ** (4 + 18 + 6),
        },
    }
    assert mobile == 21_758_655_492_572_485_851
    for family, counts in known.items():
        space = family()
        assert space.counts() == counts
        assert space.size == counts["architectures"]
        assert family(resolution=32).size == counts["per_resolution"]


@pytest.mark.parametrize("family", FAMILIES)
def test_one_canonical_text_for_each_network(family: type[OfaSpace]) -> None:
    """Where the stem, the first stage and the side are free."""
    space = tiny(family)
    free = [d.name for d in space.decisions if d.name.startswith(("stage1", "stem", "resolution"))]
    masks = {d.name: d.options[:1] for d in space.decisions if d.name not in free}
    part = RestrictedSpace(space, {**masks, "stage1.depth": [2]})
    networks: dict[str, set[tuple[str, ...]]] = {}
    for a in part.enumerate():
        keys = tuple(p.key for p in space.parts(a))
        networks.setdefault(space.canonical(a), set()).add(keys)
    assert {len(keys) for keys in networks.values()} == {1}
    assert len(set().union(*networks.values())) == len(networks)
    assert (len(networks) < part.size) == (family is OfaResNet50)  # widths that round to one
