from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest
import torch
from torch import nn

from netloom.errors import InvalidArchitecture, SpecError
from netloom.options import build, options_of
from netloom.spaces import SPACES, Architecture, DecisionSpace, Part, Space
from netloom.spaces.testing import SpaceContract
from netloom.spaces.zoo.nas_bench_macro import NasBenchMacro
from netloom.spaces.zoo.nats_sss import NatsSSS
from netloom.spaces.zoo.nb201 import NB201

ALL_CONV = "|c3~0|+|c3~0|c3~1|+|c3~0|c3~1|c3~2|".replace("c3", "nor_conv_3x3")


class TestNB201(SpaceContract):
    def make(self) -> DecisionSpace:
        return NB201(channels=4, cells=1, resolution=8, in_channels=1)

    def other_options(self) -> DecisionSpace:
        return NB201(channels=4, cells=2, resolution=8, in_channels=1)


class TestNatsSSS(SpaceContract):
    def make(self) -> DecisionSpace:
        return NatsSSS(resolution=8, in_channels=1)

    def reduced(self) -> DecisionSpace:
        return NatsSSS(widths=[4, 8, 12], resolution=8)

    def other_options(self) -> DecisionSpace:
        return NatsSSS(widths=[8, 16], resolution=8, in_channels=1)


class TestNasBenchMacro(SpaceContract):
    def make(self) -> DecisionSpace:
        return NasBenchMacro(channels=4, features=16, resolution=8, in_channels=1)

    def other_options(self) -> DecisionSpace:
        return NasBenchMacro(channels=4, features=16, resolution=12, in_channels=1)


class Costs:
    """Parameters and MACs (convolutions and linear layers) by part, counted with hooks."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[int, int]] = {}

    def of(self, parts: list[Part]) -> tuple[int, int]:
        found = [self.known.get(p.key) or self.count(p) for p in parts]
        return sum(params for params, _ in found), sum(macs for _, macs in found)

    def count(self, part: Part) -> tuple[int, int]:
        module = part.build().to("meta").eval()
        macs = 0

        def hook(layer: nn.Module, _: object, y: torch.Tensor) -> None:
            nonlocal macs
            if isinstance(layer, nn.Conv2d | nn.Linear):
                macs += y.numel() * layer.weight[0].numel()

        for layer in module.modules():
            layer.register_forward_hook(hook)
        module(*(torch.empty(i.shape, device="meta") for i in part.inputs))
        self.known[part.key] = sum(p.numel() for p in module.parameters()), macs
        return self.known[part.key]


def test_nb201_has_the_sizes_of_the_benchmark() -> None:
    space, costs = NB201(), Costs()
    known = {  # the benchmark's own figures; its FLOPs count the 10 additions of the linear bias
        ALL_CONV: (1_531_546, 220_119_680),
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1"
        "|skip_connect~2|": (129_306, 15_647_370 - 10),
        "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1"
        "|skip_connect~2|": (802_426, 113_951_370 - 10),
    }
    for text, expected in known.items():
        a = space.parse(text)
        assert costs.of(space.parts(a)) == expected
        assert sum(p.numel() for p in space.build(a).parameters()) == expected[0]
    for a in (space.sample(Random(i)) for i in range(200)):
        assert costs.of(space.parts(a)) == nb201_costs(a)


@pytest.mark.full
def test_every_member_of_nb201_has_the_size_of_its_operations() -> None:
    space, costs = NB201(), Costs()
    found = [costs.of(space.parts(a)) for a in space.enumerate()]
    assert found == [nb201_costs(a) for a in space.enumerate()]
    assert (min(found), max(found)) == ((73_306, 7_783_040), (1_531_546, 220_119_680))


def nb201_costs(a: Architecture) -> tuple[int, int]:
    """Parameters and MACs by the number of convolutions: all others are free."""
    small, large = (list(a.values()).count(f"nor_conv_{k}") for k in ("1x1", "3x3"))
    stages = ((16, 32), (32, 16), (64, 8))  # channels, side
    params = 5 * sum(small * (c * c + 2 * c) + large * (9 * c * c + 2 * c) for c, _ in stages)
    macs = 5 * sum((small + 9 * large) * c * c * side * side for c, side in stages)
    return 73_306 + params, 7_783_040 + macs


def test_dead_operations_of_nb201_count() -> None:
    space, costs = NB201(), Costs()
    dead = space.parse("|none~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|none~2|")
    alive = space.parse("|nor_conv_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|")
    assert costs.of(space.parts(dead)) == costs.of(space.parts(alive))
    assert space.canonical(dead) != space.canonical(alive)


def test_mirrored_cells_of_nb201_are_one_network() -> None:
    space = NB201(channels=4, cells=1, resolution=8)
    classes = Counter(space.canonical(a) for a in space.enumerate())
    assert Counter(classes.values()) == {1: 12_500 + 125, 2: 1_500}
    left = space.parse(
        "|nor_conv_3x3~0|+|avg_pool_3x3~0|none~1|+|none~0|nor_conv_1x1~1|skip_connect~2|"
    )
    right = space.parse(
        "|avg_pool_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|nor_conv_1x1~2|"
    )
    assert left != right
    assert space.canonical(left) == space.canonical(right)
    parts = [Counter(p.key for p in space.parts(a)) for a in (left, right)]
    assert parts[0] == parts[1]
    networks = [space.build(a).eval() for a in (left, right)]
    first, second = (dict(n.named_parameters()) for n in networks)
    renamed = {"nodes.0.0": "nodes.1.0", "nodes.1.0": "nodes.0.0"}
    renamed |= {"nodes.2.1": "nodes.2.2", "nodes.2.2": "nodes.2.1"}
    with torch.no_grad():
        for name, value in second.items():
            swapped = [name.replace(a, b) for a, b in renamed.items() if a in name] or [name]
            first[swapped[0]].copy_(value)
        x = torch.randn(2, 3, 8, 8)
        torch.testing.assert_close(networks[0](x), networks[1](x))


def macro_rows() -> Iterator[tuple[str, int, int]]:
    yield "00000000", 387_882, 7_713_280
    yield "11111111", 1_588_874, 53_246_464
    yield "22222222", 2_932_586, 105_660_928
    yield "22212220", 1_985_514, 85_164_544
    yield "02012100", 890_666, 47_327_744
    yield "11111221", 2_181_386, 65_012_224
    yield "00011110", 1_118_378, 31_390_208


def test_macro_has_the_sizes_of_the_benchmark() -> None:
    space, costs = NasBenchMacro(), Costs()
    for text, params, macs in macro_rows():
        a = space.parse(text)
        assert costs.of(space.parts(a)) == (params, macs)
        assert sum(p.numel() for p in space.build(a).parameters()) == params


def test_macro_has_3969_networks() -> None:
    space, costs = NasBenchMacro(), Costs()
    classes: dict[str, set[tuple[str, ...]]] = {}
    for a in space.enumerate():
        keys = tuple(p.key for p in space.parts(a))
        classes.setdefault(space.canonical(a), set()).add(keys)
    assert len(classes) == 3969
    assert {len(keys) for keys in classes.values()} == {1}  # the same layers in the same order
    assert len({next(iter(keys)) for keys in classes.values()}) == 3969
    assert costs.of(space.parts(space.parse("00000000")))[0] == 387_882


def nats_params(c: tuple[int, ...]) -> int:
    """Parameters of a network of the size space, by the layers of the benchmark's code."""

    def bn(n: int) -> int:
        return 2 * n

    def cell(i: int, o: int) -> int:
        from_input = 2 * (9 * i * o + bn(o)) + (i * o + bn(o) if i != o else 0)
        return from_input + 3 * (9 * o * o + bn(o))

    def reduction(i: int, o: int) -> int:
        return 9 * i * o + bn(o) + 9 * o * o + bn(o) + i * o

    body = cell(c[0], c[0]) + reduction(c[0], c[1]) + cell(c[1], c[2])
    body += reduction(c[2], c[3]) + cell(c[3], c[4])
    return 27 * c[0] + bn(c[0]) + body + bn(c[4]) + 10 * c[4] + 10


def test_nats_sss_has_the_parameters_of_its_layers() -> None:
    space, costs, rng = NatsSSS(), Costs(), Random(0)
    for a in [space.parse("8:8:8:8:8"), *(space.sample(rng) for _ in range(20))]:
        widths = tuple(int(w) for w in space.format(a).split(":"))
        assert costs.of(space.parts(a))[0] == nats_params(widths)


@pytest.mark.full
def test_every_member_counts_alike_as_a_network_and_as_parts() -> None:
    for space in (NatsSSS(), NB201(cells=1)):
        costs, rng = Costs(), Random(1)
        for a in (space.sample(rng) for _ in range(300)):
            size = sum(p.numel() for p in space.build(a).parameters())
            assert costs.of(space.parts(a))[0] == size


@pytest.mark.parametrize("resolution", [1, 2, 7, 9, 30])
@pytest.mark.parametrize("cls", [NB201, NatsSSS, NasBenchMacro])
def test_any_resolution_builds(cls: type[Space], resolution: int) -> None:
    space = cls(resolution=resolution, in_channels=2, classes=3)  # type: ignore[call-arg]
    a = space.sample(Random(0))
    values = {-1: space.example_input(a)}
    for i, part in enumerate(space.parts(a) or []):
        assert all(tuple(values[s.source].shape) == s.shape for s in part.inputs)
        with torch.no_grad():
            values[i] = part.build().eval()(*(values[s.source] for s in part.inputs))
    assert space.build(a).eval()(values[-1]).shape == (1, 3) == values[len(values) - 2].shape


@pytest.mark.parametrize(
    ("space", "text", "message"),
    [
        ("nb201", ALL_CONV.replace("nor_conv_3x3~2", "nor_conv_5x5~2"), "nor_conv_5x5.*did you"),
        ("nb201", "|none~0|+|none~0|none~1|", "3 nodes, this has 2"),
        ("nb201", "|none~0|+|none~0|+|none~0|none~1|none~2|", "node 2 has 2 operations"),
        ("nb201", "|none~0|+|none~1|none~0|+|none~0|none~1|none~2|", "op~0; got 'none~1'"),
        ("nb201", "none none none none none none", r"written as \|op~0\|"),
        ("nb201", "||none~0|+|none~0|none~1|+|none~0|none~1|none~2|", "node 1 has 1 operation"),
        ("nb201", f"|none~{'0' * 5000}|+|none~0|none~1|+|none~0|none~1|none~2|", "written op~0"),
        ("nats_sss", "8:8:8:8", "c1:c2:c3:c4:c5"),
        ("nats_sss", "8:8:8:8:x", "layer5.width must be one of 8, 16"),
        ("nats_sss", "8:8:8:8:72", "layer5.width must be one of 8, 16"),
        ("nats_sss", f"8:8:8:8:{'9' * 5000}", "layer5.width must be one of 8, 16"),
        ("nats_sss", "[8, 8, 8, 8, Infinity]", "layer5.width must be one of 8, 16.* got inf"),
        ("nats_sss", "[8, 8, 8, 8, NaN]", "layer5.width must be one of 8, 16.* got nan"),
        ("nas_bench_macro", "0120", "4 characters"),
        ("nas_bench_macro", "01201203", "'3' at place 8"),
        ("nas_bench_macro", '{"stage1.layer1": "identitty"}', "stage1.layer1 must be one of"),
    ],
)
def test_errors_name_the_rule(space: str, text: str, message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=message):
        SPACES.get(space)().parse(text)


def test_macro_wants_text() -> None:
    with pytest.raises(InvalidArchitecture, match="quotes"):
        NasBenchMacro().parse(22212220)  # type: ignore[arg-type]


def test_widths_between_the_options_can_be_read() -> None:
    space = NatsSSS()
    a = space.parse("8:12:24:64:8")
    assert space.format(a) == "8:12:24:64:8"
    assert space.parse([8, 12.0, "24", 64, 8]) == a
    assert space.encode(a)[1] == pytest.approx(0.5 / 7)
    assert sum(p.numel() for p in space.build(a).parameters()) == nats_params((8, 12, 24, 64, 8))
    assert a not in space.neighbors(a)
    assert space.mutate(a, Random(0)) != a


@pytest.mark.parametrize("name", sorted(SPACES.names()))
def test_options_are_validated(name: str) -> None:
    cls = SPACES.get(name)
    fields = options_of(cls).model_fields
    assert {"classes", "resolution", "in_channels"} <= set(fields)
    space = build(cls, {"classes": 7, "resolution": 8}, where="space")
    assert space.options["classes"] == 7
    assert set(space.options) == set(fields)
    for bad in ({"classes": 0}, {"resolution": "big"}, {"clases": 10}):
        with pytest.raises(SpecError):
            build(cls, bad, where="space")


def test_a_subclass_is_another_space() -> None:
    class Mine(NB201):
        pass

    assert Mine().name == "Mine"
    assert Mine().fingerprint != NB201().fingerprint
    assert Mine(cells=1).options == NB201(cells=1).options


def test_named_spaces_need_no_torch_until_they_build() -> None:
    code = (
        "import sys, random\n"
        "from netloom.spaces import SPACES\n"
        "for name in ('nb201', 'nats_sss', 'nas_bench_macro'):\n"
        "    s = SPACES.get(name)(); a = s.sample(random.Random(0))\n"
        "    s.parse(s.format(a)); s.encode(a); s.parts(a); s.canonical(a); s.fingerprint\n"
        "sys.exit('torch' in sys.modules or 'ray' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_resnet_cell() -> None:
    cell = NB201().parse("ResNet")
    assert isinstance(cell, Architecture)
    assert cell["node2.from1"] == "nor_conv_3x3"


@pytest.mark.full
@pytest.mark.parametrize("name", ["nb201", "nats_sss", "nas_bench_macro"])
def test_networks_export(name: str) -> None:
    space = SPACES.get(name)(resolution=8)
    a = space.sample(Random(0))
    network, x = space.build(a).eval(), space.example_input(a)
    program = torch.export.export(network, (x,))
    torch.testing.assert_close(program.module()(x), network(x))


def test_nats_sss_wants_a_list_of_widths() -> None:
    with pytest.raises(SpecError, match="widths must be a list of integers, got 8"):
        NatsSSS(widths=8)  # type: ignore[arg-type]
    with pytest.raises(InvalidArchitecture, match="written as c1:c2:c3:c4:c5; got b'88888'"):
        NatsSSS().parse(b"88888")  # type: ignore[arg-type]
