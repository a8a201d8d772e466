"""HyTra's super-network: its operators, its blocks, the paths through it, the original's traps."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from random import Random

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netloom.errors import InvalidArchitecture, SpecError
from netloom.spaces.layers import Choice
from netloom.spaces.networks.hytra import Attention2d, Branch, Entry, Operator, Projection
from netloom.spaces.networks.hytra_plan import ATTENTION, resolution_of
from netloom.spaces.networks.hytra_search import (
    EitherEntry,
    Fabric,
    FabricLayer,
    HytraSupernet,
    Shortcut,
)
from netloom.spaces.zoo.hytra import Hytra

from .conftest import (
    assert_extraction_is_exact,
    assert_parameters_are_those_read,
    images,
    randomize,
    traced,
)

T0_PATH = "5 4 3 3 | 3 2 3 0 | 0 0 1 0 | 0 0 0 0"


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@cache
def without_classifier() -> HytraSupernet:
    """The super-network of full size, on no device."""
    with torch.device("meta"):
        return Hytra().supernet(classifier=False)


# ---------------------------------------------------------------- sizes
def test_the_released_super_network_has_854_265_344_parameters() -> None:
    """6, 5, 4, 4 operators per layer; one side, without a classifier."""
    with torch.device("meta"):
        supernet = Hytra(scales=[3, 2, 1, 1]).supernet(classifier=False)
    assert count(supernet) == 854_265_344
    layers = [m for m in supernet.modules() if isinstance(m, FabricLayer)]
    assert [len(layer.operators) for layer in layers] == [6] * 4 + [5] * 4 + [4] * 8


def test_operators_are_built_by_the_rule_of_the_paths() -> None:
    """Six in every layer, so that no path ends before its time."""
    with torch.device("meta"):
        whole = Hytra().supernet()
    supernet = without_classifier()
    assert count(supernet) == 949_624_832
    assert count(whole) == 949_624_832 + 1000 * (256 + 512 + 1024 + 2048) + 4 * 1000
    layers = [m for m in supernet.modules() if isinstance(m, FabricLayer)]
    assert [len(layer.operators) for layer in layers] == [6] * 16


def test_operators_have_their_sizes() -> None:
    with torch.device("meta"):
        blocks = Hytra().supernet().blocks
    operators = blocks[1][0].operators
    above = count(operators["0"].entry.above)
    # 1x1, depthwise 3x3 with bias, norm; 3x3 and norm past the branch
    assert above == 1024 * 512 + 10 * 512 + 2 * 512 + 9 * 1024 * 2048 + 2 * 2048
    assert count(operators["0"]) - above == 2_894_848
    assert count(operators["5"]) == 71_040
    first = blocks[0][0]
    assert [count(a) for a in first.adaptors.values()] == [
        64 * 4 ** (3 - r) + 64 * width + 2 * width for r, width in enumerate((512, 256, 128, 64))
    ]


def test_the_path_of_bossnet_costs_more_in_the_super_network() -> None:
    space = Hytra()
    a = space.parse(T0_PATH)
    with torch.device("meta"):
        network = space.build_path(a, classifier=False)
        workload = traced(network, space, a)
        cut = space.supernet(classifier=False).extract(a)
    assert (workload.params, workload.macs) == (57_294_464, 5_919_137_280)
    assert count(cut) == 57_294_464
    # the difference to stand-alone, without squeeze-and-excitation: shortcuts of 3x3 instead of
    # 1x1; adaptor, 1x1 convolution and shortcut of the first layer; the classifier
    shortcuts = 8 * (256 * 512 + 512 * 1024 + 1024 * 2048)
    adaptor = 64 + 64 * 64 + 2 * 64
    assert 37_319_080 + shortcuts + adaptor - (2048 * 1000 + 1000) == 57_294_464


def test_maps_are_those_of_the_space() -> None:
    """(256, 56, 56) to (2048, 7, 7); higher where a path never comes down."""
    supernet = without_classifier()
    space = supernet.space
    with torch.device("meta"):
        x = torch.empty(1, 3, 224, 224)
        assert supernet.module.stem(x).shape == (1, 64, 56, 56)
        for text, shape in [
            (T0_PATH, (1, 2048, 7, 7)),
            ("4 " * 7 + "3 " * 9, (1, 1024, 14, 14)),
            ("5 " * 8 + "4 " * 8, (1, 512, 28, 28)),
            ("5 " * 16, (1, 256, 56, 56)),
            ("0 " * 16, (1, 2048, 7, 7)),
        ]:
            supernet.activate(space.parse(text))
            assert supernet(x).shape == shape


# ---------------------------------------------------------------- extraction
def test_extraction_is_exact() -> None:
    supernet = Hytra(preset="tiny", in_channels=1).supernet()
    assert_extraction_is_exact(supernet, members=4, same_as_build=False)
    assert_parameters_are_those_read(supernet, members=4)


@pytest.mark.parametrize("classifier", [True, False])
def test_a_path_that_is_cut_out_is_the_network_of_the_path(classifier: bool) -> None:
    space = Hytra(preset="tiny")
    supernet = space.supernet(classifier=classifier)
    randomize(supernet)
    rng = Random(2)
    for a in (space.sample(rng), space.sample(rng), space.parse("2 " * 16)):
        network = supernet.extract(a).eval()
        alone = space.build_path(a, classifier=classifier).eval()
        alone.load_state_dict(network.state_dict())
        x = images(space, a)
        with torch.no_grad():
            assert torch.equal(alone(x), network(x))
        assert not any(isinstance(m, EitherEntry | FabricLayer) for m in network.modules())


@pytest.mark.parametrize("resolution", [1, 4, 9, 30])
def test_any_side_runs(resolution: int) -> None:
    space = Hytra(preset="tiny", resolution=resolution)
    supernet = space.supernet().eval()
    for text in ("5 4 2 0 " + "0 " * 12, "4 " * 16, "0 " * 16, "5 " * 15 + "4"):
        a = space.parse(text)
        supernet.activate(a)
        assert supernet(space.example_input(a)).shape == (1, 10)


def test_the_released_scales_run() -> None:
    space = Hytra(preset="tiny", scales=[3, 2, 1, 1])
    supernet = space.supernet()
    assert_extraction_is_exact(supernet, members=3, same_as_build=False)
    rng = Random(7)
    for _ in range(5):
        supernet.activate(space.sample(rng))
        supernet(torch.randn(2, 3, 32, 32))
    with pytest.raises(InvalidArchitecture, match=r"block1\.layer4 must be one of"):
        supernet.activate(dict.fromkeys((d.name for d in space.decisions), 5))


def test_what_the_released_super_network_cannot_continue_runs() -> None:
    space = Hytra(preset="tiny")
    supernet = space.supernet().eval()
    for text in ("5 5 5 5 | 5 4 3 3 | 2 2 0 0 | 0 0 0 0", "4 4 4 4 | 4 4 4 4 | 4 3 2 2 | 1 1 1 1"):
        supernet.activate(space.parse(text))
        assert supernet(torch.randn(1, 3, 32, 32)).shape == (1, 10)


# ---------------------------------------------------------------- blocks
def test_blocks_run_one_by_one() -> None:
    space = Hytra(preset="tiny")
    supernet = space.supernet(classifier=False).eval()
    randomize(supernet)
    a = space.parse(T0_PATH)
    x = images(space, a)
    supernet.activate(a)
    with torch.no_grad():
        whole = supernet(x)
        supernet.activate(space.at(0))  # what was active before does not matter
        y = x
        for number, text in enumerate(T0_PATH.split("|")):
            path = [int(code) for code in text.split()]
            y = supernet.run_block(number, y, path)
        assert torch.equal(y, whole)


def test_a_block_runs_all_its_paths_on_one_input() -> None:
    space = Hytra(preset="tiny", blocks=2, layers=4)
    supernet = space.supernet().eval()
    x = supernet.run_block(0, torch.randn(2, 3, 32, 32), (5, 4))
    shapes = {path: tuple(supernet.run_block(1, x, path).shape) for path in space.block_paths(1, 4)}
    assert len(shapes) == 11
    widths = {3: 16, 2: 32, 1: 64, 0: 128}
    for path, shape in shapes.items():
        r = resolution_of(path[-1])
        assert shape == (2, widths[r], 1 << r, 1 << r)


def test_a_block_trains_alone() -> None:
    space = Hytra(preset="tiny")
    supernet = space.supernet()
    with torch.no_grad():
        x = supernet.run_block(0, torch.randn(4, 3, 32, 32), (5, 4, 3, 3))
    supernet.run_block(1, x, (3, 2, 3, 0)).square().mean().backward()
    reached = {n for n, p in supernet.named_parameters() if p.grad is not None}
    assert reached
    assert all(name.startswith("module.blocks.1.") for name in reached)


def test_a_copy_has_choices_of_its_own() -> None:
    """The target network of a bootstrapped search is such a copy."""
    space = Hytra(preset="tiny")
    supernet = space.supernet().eval()
    supernet.activate(space.parse(T0_PATH))
    target = deepcopy(supernet)
    x = torch.randn(1, 3, 32, 32)
    expected = target(x)
    supernet.activate(space.at(0))
    assert torch.equal(target(x), expected)


def test_wrong_paths_of_a_block_are_refused() -> None:
    supernet = Hytra(preset="tiny").supernet()
    x = supernet.run_block(0, torch.randn(4, 3, 32, 32), (5, 4, 3, 3))
    with pytest.raises(InvalidArchitecture, match=r"block1.layer4 must be .*got 3"):
        supernet.run_block(1, x, (4, 4, 4, 4))
    with pytest.raises(InvalidArchitecture, match=r"block2.layer1 must be .*got 3"):
        supernet.run_block(1, x, (3, 4, 4, 4))
    with pytest.raises(InvalidArchitecture, match=r"block2.layer2 must be one of .*got 7"):
        supernet.run_block(1, x, (3, 7, 0, 0))
    with pytest.raises(SpecError, match="block 1 has 4 layers, got the path"):
        supernet.run_block(1, x, (3, 3))
    with pytest.raises(SpecError, match="the blocks are 0 to 3, got 4"):
        supernet.run_block(4, x, (3, 3, 3, 3))
    released = Hytra(preset="tiny", scales=[3, 2, 1, 1]).supernet()
    x = released.run_block(0, torch.randn(4, 3, 32, 32), (5, 5, 5, 5))
    with pytest.raises(InvalidArchitecture, match="as far as its block goes"):
        released.run_block(1, x, (4, 4, 4, 4))


def test_networks_of_many_sizes_do_not_run_together() -> None:
    space = Hytra(preset="tiny")
    supernet = space.supernet().eval()
    with (
        supernet.together([space.at(0), space.at(1)]),
        pytest.raises(SpecError, match="maps of different sizes"),
    ):
        supernet(torch.randn(2, 3, 32, 32))


def test_masks_keep_to_the_paths() -> None:
    space = Hytra(preset="tiny")
    supernet = space.supernet()
    supernet.restrict({"block1.layer3": [4], "block2.layer1": [3]})
    for step in range(50):
        a = supernet.sample(step)
        assert (a["block1.layer3"], a["block2.layer1"]) == (4, 3)
        assert space.architecture(a) == a
        supernet.activate(a)
    with pytest.raises(SpecError, match="no path leads through"):
        supernet.restrict({"block1.layer1": [5], "block1.layer2": [2]})


# ---------------------------------------------------------------- operators
def operator(kind: int, width: int = 64, heads: int = 4) -> Operator:
    """An operator of the fabric whose input has its resolution."""
    entry = Entry(Projection(width, width // 4, 1), nn.Identity())
    layer = Operator(entry, Branch(kind, width, heads, "relu"), "relu")
    randomize(layer)
    return layer.eval()


def test_a_layer_is_its_shortcut_while_its_last_scale_is_zero() -> None:
    supernet = Hytra(preset="tiny").supernet()
    fresh = [m for m in supernet.modules() if isinstance(m, Branch)]
    assert len(fresh) == 16 * 6
    assert all(not m.norm2.weight.any() for m in fresh)
    x = torch.randn(2, 64, 6, 6)
    for kind in (0, 1):
        layer = operator(kind)
        with torch.no_grad():
            assert not torch.equal(layer(x), F.relu(x))
            nn.init.zeros_(layer.branch.norm2.weight)
            nn.init.zeros_(layer.branch.norm2.bias)
            assert torch.equal(layer(x), F.relu(x))


def test_a_network_of_new_weights_is_its_shortcuts() -> None:
    space = Hytra(preset="tiny")
    supernet = space.supernet(classifier=False).eval()
    supernet.activate(space.parse("5 " * 16))
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        first = supernet.module.blocks[0][0](supernet.module.stem(x))
        assert torch.equal(supernet(x), first)


def permuted(x: Tensor, order: Tensor) -> Tensor:
    return x.flatten(2)[..., order].view_as(x)


def test_attention_knows_places_by_the_depthwise_convolution_alone() -> None:
    layer = operator(ATTENTION).double()
    x = torch.randn(2, 64, 5, 5, dtype=torch.float64)
    order = torch.randperm(25, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert not torch.allclose(layer(permuted(x, order)), permuted(layer(x), order), atol=1e-2)
        centre = layer.entry.projection.position.weight[..., 1:2, 1:2].clone()
        layer.entry.projection.position.weight.zero_()[..., 1:2, 1:2] = centre
        torch.testing.assert_close(layer(permuted(x, order)), permuted(layer(x), order))


def test_attention_weighs_values_by_rows_that_sum_to_one() -> None:
    """The released search multiplies by the transposed matrix, whose rows do not sum to 1."""
    heads, dim = 4, 8
    layer = Attention2d(heads * dim, heads).double()
    x = torch.randn(2, heads * dim, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        q, k, v = layer.to_qkv(x).view(2, 3 * heads, dim, 12).chunk(3, dim=1)
        a = (q.transpose(-2, -1) @ k * dim**-0.5).softmax(-1)
        torch.testing.assert_close(a.sum(-1), torch.ones(2, heads, 12, dtype=torch.float64))
        expected = (v @ a.transpose(-2, -1)).reshape(2, -1, 3, 4)
        torch.testing.assert_close(layer(x), expected)
        assert not torch.allclose((v @ a).reshape(2, -1, 3, 4), expected, atol=1e-2)
        nn.init.zeros_(layer.to_qkv.weight[: 2 * heads * dim])  # all weights are then 1/12
        mean = layer(x)[..., 0, 0]
        torch.testing.assert_close(layer(x), mean[..., None, None].expand_as(x))


def test_attention_has_gradients() -> None:
    """The released one scales its queries in place, which autograd refuses."""
    layer = Attention2d(16, 2)
    layer(torch.randn(1, 16, 3, 3)).square().sum().backward()
    assert layer.to_qkv.weight.grad.abs().sum() > 0


def test_the_depthwise_convolution_is_an_encoding_without_residual() -> None:
    projection = Projection(8, 4, 2)
    position = projection.position
    assert (position.groups, position.stride, position.bias is not None) == (4, (2, 2), True)
    with torch.no_grad():
        position.weight.zero_()
        position.bias.copy_(torch.arange(4.0))
        y = projection.eval()(torch.randn(1, 8, 6, 6))
    expected = torch.arange(4.0) / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(y, expected.view(1, 4, 1, 1).expand(1, 4, 3, 3))


def test_shortcuts_of_the_fabric_are_activated() -> None:
    """3x3 of stride 2 from above; 1x1 behind the adaptor; else the input itself."""
    blocks = Hytra(preset="tiny").supernet().blocks
    above = blocks[1][0].operators["3"].entry.above.shortcut
    first = blocks[0][0].operators["4"].entry.same.shortcut
    for shortcut, kernel, stride in ((above, 3, 2), (first, 1, 1)):
        assert isinstance(shortcut, Shortcut)
        assert (shortcut.conv.kernel_size[0], shortcut.conv.stride[0]) == (kernel, stride)
        assert isinstance(shortcut.activation, nn.ReLU)
        assert shortcut.conv.bias is None
    assert isinstance(blocks[1][0].operators["3"].entry.same.shortcut, nn.Identity)
    assert all(isinstance(op.excite, nn.Identity) for op in blocks[1][0].operators.values())


def test_the_way_in_follows_from_the_operator_before() -> None:
    before = Choice("before", (5, 4, 3, 2, 1, 0), ordered=False)
    same, above = (Entry(nn.Identity(), nn.Identity()) for _ in range(2))
    entry = EitherEntry(before, same, above, resolution=1)
    found = {}
    for code in before.options:
        before.activate(code)
        try:
            found[code] = entry.active
        except InvalidArchitecture:
            found[code] = None
    assert found == {5: None, 4: above, 3: same, 2: same, 1: None, 0: None}


def test_a_decided_fabric_is_plain() -> None:
    fabric = Fabric((3, 4, 2, True), [[5, 4], [4, 2]], None, [3, 3])
    assert not any(isinstance(m, FabricLayer | EitherEntry) for m in fabric.modules())
    assert fabric.eval()(torch.randn(1, 3, 32, 32)).shape == (1, 64, 2, 2)
