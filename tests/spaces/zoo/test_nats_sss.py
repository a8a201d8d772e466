"""The size space of NATS-Bench: parameters by its layers, the slimmable super-network."""

from __future__ import annotations

from random import Random

import pytest
import torch
from torch import nn

from netloom.errors import InvalidArchitecture, SpecError
from netloom.estimators import Tabular
from netloom.spaces import DecisionSpace
from netloom.spaces.layers import SwitchableBatchNorm2d, calibrate
from netloom.spaces.testing import SpaceContract
from netloom.spaces.zoo.nats_sss import NatsSSS

from .conftest import (
    Costs,
    assert_extraction_is_exact,
    assert_parameters_are_those_read,
    images,
    randomize,
)


class TestNatsSSS(SpaceContract):
    def make(self) -> DecisionSpace:
        return NatsSSS(preset="tiny", resolution=8, in_channels=1)

    def reduced(self) -> DecisionSpace:
        return NatsSSS(preset="tiny", widths=[4, 8, 12])

    def other_options(self) -> DecisionSpace:
        return NatsSSS(preset="tiny", widths=[8, 16], resolution=8, in_channels=1)


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
    space, costs, rng = NatsSSS(), Costs(), Random(1)
    for a in (space.sample(rng) for _ in range(300)):
        size = sum(p.numel() for p in space.build(a).parameters())
        assert costs.of(space.parts(a))[0] == size


def test_widths_between_the_options_can_be_read() -> None:
    space = NatsSSS()
    a = space.parse("8:12:24:64:8")
    assert space.format(a) == "8:12:24:64:8"
    assert space.parse([8, 12.0, "24", 64, 8]) == a
    assert space.encode(a)[1] == pytest.approx(0.5 / 7)
    assert sum(p.numel() for p in space.build(a).parameters()) == nats_params((8, 12, 24, 64, 8))
    assert a not in space.neighbors(a)
    assert space.mutate(a, Random(0)) != a


def test_nats_sss_wants_a_list_of_widths() -> None:
    with pytest.raises(SpecError, match="widths must be a list of integers, got 8"):
        NatsSSS(widths=8)  # type: ignore[arg-type]
    with pytest.raises(InvalidArchitecture, match=r"written as c1:c2:c3:c4:c5.*; got b'88888'"):
        NatsSSS().parse(b"88888")  # type: ignore[arg-type]


def test_presets_set_what_is_left_out() -> None:
    widths = [8, 16, 24, 32, 40, 48, 56, 64]
    assert NatsSSS().options == NatsSSS(widths=widths, resolution=32, cells=1).options
    assert NatsSSS().size == 8**5 == 32_768
    assert NatsSSS(preset="tiny").size == 4**5
    assert NatsSSS(preset="tiny", resolution=24).options["resolution"] == 24
    with pytest.raises(SpecError, match="preset must be one of full, tiny; got 'large'"):
        NatsSSS(preset="large")
    with pytest.raises(SpecError, match="resolution: 32, the space has resolution: 16"):
        Tabular(NatsSSS(preset="tiny"))


def test_the_network_that_the_literature_names() -> None:
    space = NatsSSS()
    assert space.format(space.parse("BossNAS")) == "64:40:48:64:56"


# ---------------------------------------------------------------- super-network
def norm_sizes(widths: list[int]) -> list[int]:
    """Parameters of all batch norms: one for all widths, one for each."""
    norms = 1 + 5 + 2 + 6 + 2 + 6 + 1  # stem, cells (a skip inside from the second on), head
    return [norms * 2 * n for n in (max(widths), sum(widths))]


def test_it_has_the_widest_network_and_the_skips() -> None:
    space = NatsSSS()
    widest = nats_params((64,) * 5) + 2 * (64 * 64 + 2 * 64)
    shared, own = norm_sizes([8, 16, 24, 32, 40, 48, 56, 64])
    sizes = {
        norms: sum(p.numel() for p in space.supernet(norms=norms).parameters())
        for norms in ("shared", "width")
    }
    assert sizes == {"shared": widest, "width": widest - shared + own}
    assert sum(p.numel() for p in space.supernet().parameters()) == sizes["width"]


@pytest.mark.parametrize("norms", ["width", "shared"])
@pytest.mark.parametrize("cells", [1, pytest.param(2, marks=pytest.mark.full)])
def test_extraction_is_exact(norms: str, cells: int) -> None:
    supernet = NatsSSS(preset="tiny", cells=cells, resolution=7).supernet(norms=norms)
    assert_extraction_is_exact(supernet, members=8)
    assert_parameters_are_those_read(supernet, members=8)


def test_small_networks_are_the_leading_channels() -> None:
    space = NatsSSS()
    supernet = space.supernet()
    randomize(supernet)
    network = supernet.extract(space.parse("16:24:8:64:40"))
    whole, own = supernet.module, network
    assert torch.equal(own.stem[0].weight, whole.stem[0].weight[:16])
    pairs = [(own.layers[1].conv_a[1], whole.layers[1].conv_a[1])]
    pairs += [(own.layers[1].shortcut[1], whole.layers[1].shortcut[1])]
    for conv, shared in pairs:
        assert torch.equal(conv.weight, shared.weight[:24, :16])
    assert torch.equal(own.head.classifier.weight, whole.head.classifier.weight[:, :40])
    norm, shared = own.stem[1], whole.stem[1]
    assert isinstance(shared, SwitchableBatchNorm2d)
    assert torch.equal(norm.running_mean, shared.norms["16"].running_mean)


def test_a_skip_between_equal_widths_is_none() -> None:
    space = NatsSSS(preset="tiny")
    supernet = space.supernet()
    for text, kind in {"8:4:4:4:4": nn.Identity, "8:4:12:4:4": nn.Sequential}.items():
        a = space.parse(text)
        skips = [n.layers[2].nodes[2][0] for n in (supernet.extract(a), space.build(a))]
        assert all(isinstance(skip, kind) for skip in skips)
        assert not any(isinstance(layer, nn.ReLU) for skip in skips for layer in skip.modules())


def test_networks_run_together_as_one_by_one() -> None:
    space = NatsSSS(preset="tiny", resolution=8)
    supernet, rng = space.supernet().eval(), Random(2)
    randomize(supernet.double())  # full-width sums add their zeros in another order
    members = [space.parse("4:4:4:4:4"), *(space.sample(rng) for _ in range(4))]
    x = images(space, members[0], len(members)).double()
    with torch.no_grad(), supernet.together(members):
        outputs = supernet(x)
    for i, a in enumerate(members):
        supernet.activate(a)
        with torch.no_grad():
            torch.testing.assert_close(outputs[i : i + 1], supernet(x[i : i + 1]))


def test_each_width_keeps_its_statistics_when_another_is_calibrated() -> None:
    space = NatsSSS(preset="tiny", resolution=8)
    supernet = space.supernet()
    randomize(supernet)
    a, b = space.parse("4:4:4:4:4"), space.parse("8:8:8:8:8")
    x = images(space, a)
    supernet.activate(b)
    with torch.no_grad():
        before = supernet.eval()(x)
    supernet.activate(a)
    assert calibrate(supernet, [x]) == 1 + 5 + 2 + 5 + 2 + 5 + 1
    supernet.activate(b)
    with torch.no_grad():
        assert torch.equal(supernet(x), before)


def test_the_super_network_has_the_listed_widths_only() -> None:
    space = NatsSSS()
    supernet = space.supernet()
    with pytest.raises(InvalidArchitecture, match=r"layer2.width must be one of .* got 12"):
        supernet.activate(space.parse("8:12:24:64:8"))
    with pytest.raises(SpecError, match="norms must be width or shared, got 'both'"):
        space.supernet(norms="both")
    assert space.supports == {"supernet", "widths"}
