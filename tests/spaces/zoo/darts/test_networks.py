"""The final networks of DARTS: sizes to the unit, layers, auxiliary classifier, drop path."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netloom.hw_models import PartCache, Workload, trace
from netloom.hw_models.tracer import build_on_meta, trace_built
from netloom.spaces import Architecture
from netloom.spaces.networks.darts.cell import Cell, Node
from netloom.spaces.networks.darts.network import AuxiliaryHead, Network
from netloom.spaces.networks.darts.operations import FactorizedReduce, operation
from netloom.spaces.zoo.darts import Darts
from netloom.spaces.zoo.darts.operations import FINISHED

from .conftest import SEARCHED, batch, norms


def workload(space: Darts, a: Architecture) -> Workload:
    return trace_built(lambda: space.build(a), space.example_input(a))


def shape_of(space: Darts, a: Architecture) -> Network:
    network = build_on_meta(lambda: space.build(a))
    assert isinstance(network, Network)
    return network


# ---------------------------------------------------------------- sizes
@pytest.mark.parametrize(
    ("skeleton", "name", "params", "macs"),
    [
        ("cifar", "DARTS_V2", 3_349_342, 528_359_040),
        ("imagenet", "PC_DARTS_image", 5_342_464, 581_627_328),
    ],
)
def test_networks_have_the_known_sizes(skeleton: str, name: str, params: int, macs: int) -> None:
    space = Darts(skeleton=skeleton)  # type: ignore[arg-type]
    a = space.parse(name)
    found = workload(space, a)
    assert (found.params, found.macs) == (params, macs)
    composed = PartCache().compose(space.parts(a))
    assert (composed.params, composed.macs) == (params, macs)


@pytest.mark.parametrize(
    ("skeleton", "name", "millions"),
    [  # as published
        ("cifar", "DARTS_V2", 3.3),
        ("cifar", "PC_DARTS_cifar", 3.6),
        ("cifar", "PDARTS", 3.4),
        ("cifar", "DrNAS_cifar10", 4.1),
        ("imagenet", "DARTS_V2", 4.7),
        ("imagenet", "PC_DARTS_image", 5.3),
        ("imagenet", "PDARTS", 4.9),
        ("imagenet", "DrNAS_imagenet", 5.7),
    ],
)
def test_published_genotypes_have_the_published_sizes(
    skeleton: str, name: str, millions: float
) -> None:
    space = Darts(skeleton=skeleton)  # type: ignore[arg-type]
    params = PartCache().compose(space.parts(space.parse(name))).params
    assert round(params / 1e6, 1) == millions


def test_another_rule_gives_the_published_operations() -> None:
    """MACs, two for each output of a batch norm, one for each of a ReLU."""
    space = Darts(skeleton="imagenet")
    published = {"PC_DARTS_image": 597, "PDARTS": 557, "DARTS_V2": 544}  # DARTS says 574
    for name, millions in published.items():
        found = workload(space, space.parse(name))
        extra = 0
        for layer in found.layers:
            outputs = sum(map(math.prod, layer.output_shapes))
            extra += {"batch_norm": 2, "relu": 1}.get(layer.op, 0) * outputs
        assert round((found.macs + extra) / 1e6) == millions


def expected_params(space: Darts, a: Architecture) -> int:
    """Parameters of a network by the layers of the paper, without the auxiliary classifier."""
    o = space.options
    c, cells, found = o["channels"], space.cells(a), o["in_channels"]
    if o["skeleton"] == "cifar":
        width = 3 * c
        total, halves = 9 * found * width + 2 * width, False
    else:
        width = c
        total = 9 * found * c // 2 + c + 9 * c // 2 * c + 2 * c + 9 * c * c + 2 * c
        halves = True
    before = previous = width
    for i in range(o["layers"]):
        kind = "reduce" if i in (o["layers"] // 3, 2 * o["layers"] // 3) else "normal"
        c *= 1 + (kind == "reduce")
        total += (before + previous) * c + 4 * c
        for name, source in (pair for node in cells[kind].nodes for pair in node):
            stride = 2 if kind == "reduce" and source < 2 else 1
            total += SEARCHED[name](c, stride) + 2 * c * norms(name, stride)
        before, previous = previous, c * len(cells[kind].concat)
    assert halves or o["skeleton"] == "cifar"
    return int(total + previous * o["classes"] + o["classes"])


@pytest.mark.parametrize("skeleton", ["cifar", "imagenet"])
def test_every_genotype_has_the_parameters_of_its_layers(skeleton: str) -> None:
    space, cache, rng = Darts(skeleton=skeleton), PartCache(), Random(0)  # type: ignore[arg-type]
    some = [*space.published().values(), *(space.sample(rng) for _ in range(20))]
    for a in some:
        assert cache.compose(space.parts(a)).params == expected_params(space, a)
    small = Darts(preset="tiny", skeleton=skeleton, layers=5, multiplier=2, in_channels=1)  # type: ignore[arg-type]
    for a in (small.sample(rng), small.parse("NASNet"), small.parse("AmoebaNet")):
        params = sum(p.numel() for p in small.build(a).parameters())
        assert params == expected_params(small, a) == cache.compose(small.parts(a)).params


@pytest.mark.parametrize("name", ["NASNet", "AmoebaNet", "noise"])
def test_parts_of_other_cells_are_those_that_run(name: str) -> None:
    space = Darts(preset="tiny", skeleton="imagenet", resolution=45, operations="S4", layers=4)
    a = space.sample(Random(3)) if name == "noise" else space.parse(name)
    network = space.build(a)
    traced, composed = (
        trace(network, space.example_input(a)),
        PartCache().compose(space.parts(a)),
    )
    assert composed.params == traced.params == sum(p.numel() for p in network.parameters())
    assert composed.macs == traced.macs
    assert composed.peak_activation_bytes == traced.peak_activation_bytes
    kinds = [Counter(layer.signature for layer in w.layers) for w in (composed, traced)]
    assert kinds[0] == kinds[1]


# ---------------------------------------------------------------- layers
def test_the_skeletons_are_those_of_the_papers() -> None:
    for skeleton, reductions, last in (("cifar", (6, 13), 576), ("imagenet", (4, 9), 768)):
        space = Darts(skeleton=skeleton)  # type: ignore[arg-type]
        network = shape_of(space, space.parse("DARTS_V2"))
        widths = [cell.preprocess1[2].num_features for cell in network.cells]  # type: ignore[index]
        c = space.options["channels"]
        rises = [i for i in range(1, len(widths)) if widths[i] > widths[i - 1]]
        assert tuple(rises) == reductions
        assert [widths[0], *(widths[i] for i in reductions)] == [c, 2 * c, 4 * c]
        assert network.head.classifier.in_features == last == 16 * c  # type: ignore[union-attr]
        factorized = [
            i
            for i, cell in enumerate(network.cells)
            if isinstance(cell.preprocess0, FactorizedReduce)
        ]
        behind = [i + 1 for i in reductions]
        assert factorized == (behind if skeleton == "cifar" else [0, *behind])


def test_final_networks_have_scales_and_no_norm_behind_pools() -> None:
    space = Darts()
    network = shape_of(space, space.parse("DARTS_V2"))
    batch_norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(norm.affine for norm in batch_norms)
    pools = [
        edge
        for node in network.modules()
        if isinstance(node, Node)
        for edge in node.edges
        if isinstance(edge, nn.MaxPool2d)
    ]
    assert len(pools) == 2 * 5


def test_the_classifier_reads_the_last_cell() -> None:
    space = Darts()
    for name, nodes in (("NASNet", 5), ("AmoebaNet", 3)):
        network = shape_of(space, space.parse(name))
        assert network.head.classifier.in_features == nodes * 4 * 36  # type: ignore[union-attr]
    last = Darts(preset="tiny", layers=2)  # ends with a reduction
    network = shape_of(last, last.parse("NASNet"))
    assert network.head.classifier.in_features == 3 * 4 * 4  # type: ignore[union-attr]


@pytest.mark.parametrize("side", [1, 2, 7, 8, 15])
@pytest.mark.parametrize("name", [*FINISHED, "none"])
@pytest.mark.parametrize("search", [False, True])
def test_operations_halve_upwards(name: str, side: int, search: bool) -> None:
    for stride in (1, 2):
        layer = operation(name, 4, stride, search=search)
        y = layer(torch.randn(2, 4, side, side + 1))
        assert y.shape == (2, 4, -(-side // stride), -(-(side + 1) // stride))
        params = sum(p.numel() for p in layer.parameters())
        affine = 0 if search else 2 * 4 * norms(name, stride)
        assert params == SEARCHED[name](4, stride) + affine
        found = [m for m in layer.modules() if isinstance(m, nn.BatchNorm2d)]
        assert len(found) == norms(name, stride) + (search and "pool" in name)


def test_factorized_reduce_reads_pixels_one_apart() -> None:
    torch.manual_seed(0)
    layer = FactorizedReduce(3, 4).eval()
    x = torch.randn(2, 3, 6, 8)
    first = F.conv2d(x.relu(), layer.conv_1.weight, stride=2)
    second = F.conv2d(x[:, :, 1:, 1:].relu(), layer.conv_2.weight, stride=2)
    torch.testing.assert_close(layer(x), layer.bn(torch.cat([first, second], 1)))
    odd = layer(x[:, :, :5, :7])  # the last row and column of the second half read zeros
    torch.testing.assert_close(odd[:, :, :2, :3], layer(x)[:, :, :2, :3])
    edge = layer.bn(torch.zeros(1, 4, 1, 1))[0, 2:, 0, 0]
    torch.testing.assert_close(odd[:, 2:, 2, :], edge[None, :, None].expand(2, 2, 4))


def test_averages_do_not_count_the_padding() -> None:
    y = operation("avg_pool_3x3", 1, 1)(torch.ones(1, 1, 4, 4))
    assert torch.equal(y, torch.ones(1, 1, 4, 4))


def test_nodes_add_and_cells_concatenate() -> None:
    space = Darts(preset="tiny")
    genotype = {
        "normal": [["skip_connect", 0], ["skip_connect", 0], ["skip_connect", 2], ["noise", 1]],
        "normal_concat": [3, 2],
        "reduce": [["max_pool_3x3", 0], ["max_pool_3x3", 1]],
        "reduce_concat": [2],
    }
    a = space.parse(genotype)
    cell = space.build(a).cells[0]
    assert isinstance(cell, Cell)
    s0, s1 = torch.randn(2, 12, 8, 8), torch.randn(2, 12, 8, 8)
    cell.eval()
    torch.manual_seed(0)
    y = cell(s0, s1)
    torch.manual_seed(0)
    h0, h1 = cell.preprocess0(s0), cell.preprocess1(s1)
    torch.testing.assert_close(y[:, 4:], 2 * h0)
    torch.testing.assert_close(y[:, :4], torch.randn_like(h1) + 2 * h0)


# ---------------------------------------------------------------- any image
@pytest.mark.parametrize("skeleton", ["cifar", "imagenet"])
@pytest.mark.parametrize("resolution", [1, 7, 30, 31])
def test_any_resolution_builds(skeleton: str, resolution: int) -> None:
    space = Darts(
        preset="tiny",
        skeleton=skeleton,  # type: ignore[arg-type]
        resolution=resolution,
        in_channels=2,
        classes=3,
        auxiliary=True,
    )
    for a in (space.sample(Random(1)), space.parse("AmoebaNet")):
        network = space.build(a)
        assert network.eval()(batch(2, resolution, channels=2)).shape == (2, 3)
        shapes = [tuple(p.inputs[0].shape) for p in space.parts(a)]
        assert shapes[0] == (1, 2, resolution, resolution)


# ---------------------------------------------------------------- auxiliary classifier
def test_the_auxiliary_classifier_is_for_training_only() -> None:
    plain, space = Darts(), Darts(auxiliary=True)
    a = space.parse("DARTS_V2")
    networks = [shape_of(s, a) for s in (plain, space)]
    params = [sum(p.numel() for p in n.parameters()) for n in networks]
    assert params == [3_349_342, 3_825_768]
    assert params[1] - params[0] == 476_426
    assert PartCache().compose(space.parts(a)).params == 3_349_342
    tiny = Darts(preset="tiny", resolution=32, auxiliary=True, layers=4)
    network = tiny.build(tiny.parse("DARTS_V1"))
    assert network.auxiliary_weight == 0.4
    x = batch(3, 32)
    outputs = network(x)
    assert [tuple(o.shape) for o in outputs] == [(3, 10), (3, 10)]
    sum(o.sum() for o in outputs).backward()
    assert all(p.grad is not None for p in network.parameters())
    assert isinstance(network.eval()(x), Tensor)


def test_the_auxiliary_classifier_follows_the_second_reduction() -> None:
    space = Darts(preset="tiny", resolution=32, auxiliary=True, layers=6)
    network, seen = space.build(space.parse("AmoebaNet")), {}
    network.cells[4].register_forward_hook(lambda m, i, y: seen.update(cell=y))
    network.auxiliary.register_forward_pre_hook(lambda m, i: seen.update(read=i[0]))
    network(batch(2, 32))
    assert seen["read"] is seen["cell"]
    assert seen["read"].shape == (2, 3 * 16, 8, 8)


def test_the_head_for_imagenet_lacks_its_last_norm() -> None:
    cifar, imagenet = AuxiliaryHead(8, 10, 8, False), AuxiliaryHead(8, 10, 7, True)
    last = [sum(isinstance(m, nn.BatchNorm2d) for m in h.modules()) for h in (cifar, imagenet)]
    assert last == [2, 1]
    size = 8 * 128 + 256 + 4 * 128 * 768 + 768 * 10 + 10
    assert sum(p.numel() for p in imagenet.parameters()) == size
    assert sum(p.numel() for p in cifar.parameters()) == size + 2 * 768
    pools = [head.features[1] for head in (cifar, imagenet)]
    assert [(p.kernel_size, p.stride) for p in pools] == [(5, 3), (5, 2)]  # type: ignore[union-attr]
    for side in (1, 2, 5, 7, 8, 14):
        assert AuxiliaryHead(8, 10, side, False)(torch.randn(2, 8, side, side)).shape == (2, 10)


# ---------------------------------------------------------------- drop path
def dropped(name: str, stride: int = 1) -> Tensor:
    torch.manual_seed(0)
    node = Node([(0, operation("skip_connect", 4, 1)), (1, operation(name, 4, stride))])
    node.drop_path = 0.25
    x = torch.zeros(400, 4, 2, 2)
    return node([x[..., ::stride, ::stride], x + 1])


def test_drop_path_drops_samples_and_scales_the_others() -> None:
    y = dropped("max_pool_3x3")
    assert y.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert torch.equal(y.amin((1, 2, 3)), y.amax((1, 2, 3)))  # one draw for each sample
    assert 0.65 < float((y[:, 0, 0, 0] > 0).float().mean()) < 0.85


def test_drop_path_spares_identities_only() -> None:
    assert set(dropped("skip_connect").unique().tolist()) == {1.0}
    torch.manual_seed(0)
    node = Node([(0, operation("skip_connect", 4, 2))])
    node.drop_path = 0.5
    y = node([torch.randn(200, 4, 2, 2)])
    assert 60 < sum(bool((sample == 0).all()) for sample in y) < 140


def test_drop_path_leaves_the_states_alone() -> None:
    space = Darts(preset="tiny")
    network = space.build(space.parse("DARTS_V1"))
    x = batch(4, 16)
    network.eval()
    expected = network(x)
    network.set_drop_path(0.5)
    assert torch.equal(network(x), expected)
    network.train()
    torch.manual_seed(0)
    first = network(x)
    assert not torch.equal(first, network(x))
    network.set_drop_path(0.0)
    assert torch.equal(network(x), network(x))
    node = Node([(0, operation("max_pool_3x3", 1, 1)), (1, operation("skip_connect", 1, 1))])
    node.drop_path = 0.9
    states = [torch.ones(8, 1, 2, 2), torch.ones(8, 1, 2, 2)]
    node(states)
    assert all(torch.equal(s, torch.ones(8, 1, 2, 2)) for s in states)
    with pytest.raises(Exception, match="drop path must be from 0 to below 1, got 1"):
        network.set_drop_path(1)


# ---------------------------------------------------------------- export
@pytest.mark.full
@pytest.mark.parametrize("name", ["DARTS_V2", "NASNet"])
def test_networks_export(name: str) -> None:
    space = Darts(preset="tiny", resolution=15, auxiliary=True)
    a = space.parse(name)
    network, x = space.build(a).eval(), space.example_input(a)
    program = torch.export.export(network, (x,))
    torch.testing.assert_close(program.module()(x), network(x))
