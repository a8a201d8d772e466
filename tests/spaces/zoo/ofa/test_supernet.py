"""Super-networks of Once-for-All: extraction, transforms, sorting, calibration, seeds."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from netloom.errors import InvalidArchitecture, SpecError
from netloom.spaces.layers import (
    Elastic,
    ElasticBatchNorm2d,
    ElasticConv2d,
    ModuleSupernet,
    Sortable,
    calibrate,
)
from netloom.spaces.zoo.ofa.base import OfaSpace
from netloom.spaces.zoo.ofa.mbv3 import OfaMbv3
from netloom.spaces.zoo.ofa.resnet50 import OfaResNet50

from ..conftest import assert_extraction_is_exact, assert_parameters_are_those_read, randomize
from .conftest import FAMILIES, tiny, uniform


def prepared(space: OfaSpace) -> Any:
    """Return a super-network with other transforms than identities and useful statistics."""
    torch.manual_seed(0)
    supernet = space.supernet()
    with torch.no_grad():
        for name, p in supernet.named_parameters():
            scale = 0.3 if "transforms" in name or "norm" in name else 0.1
            p.add_(scale * torch.randn_like(p) * p.abs().mean())
    for i in range(3):
        supernet.activate(supernet.sample(i))
        calibrate(supernet, [torch.randn(8, 3, 16, 16)])
    return supernet.eval()


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda f: f.name)
def family(request: pytest.FixtureRequest) -> Any:
    return request.param


# ---------------------------------------------------------------- extraction
def test_extracted_networks_are_exact(family: type[OfaSpace]) -> None:
    assert_extraction_is_exact(tiny(family).supernet(), members=3)


def test_shared_parameters_are_those_read(family: type[OfaSpace]) -> None:
    space = tiny(family)
    supernet = prepared(space)
    assert_parameters_are_those_read(supernet, members=2)


def test_calibrated_networks_are_those_of_a_calibrated_supernet(family: type[OfaSpace]) -> None:
    space = tiny(family)
    supernet, a = prepared(space), space.sample(Random(3))
    batches = [torch.randn(n, 3, 12, 12) for n in (4, 7)]
    before = {k: v.clone() for k, v in supernet.state_dict().items()}
    network = supernet.calibrated(a, batches)
    after = supernet.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())
    supernet.activate(a)
    calibrate(supernet, batches)
    x = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(network.eval()(x), supernet(x))
    for name, value in supernet.state_dict().items():
        if "running" not in name and "extra_state" not in name:
            assert torch.equal(value, before[name]), name


@pytest.mark.full
@pytest.mark.parametrize("side", [32, 64])
def test_extracted_networks_are_exact_at_full_size(family: type[OfaSpace], side: int) -> None:
    space = family(resolutions=[side])
    assert_extraction_is_exact(space.supernet(), members=2)


# ---------------------------------------------------------------- kernels
def test_all_depthwise_kernels_have_their_own_transforms() -> None:
    supernet = OfaMbv3(preset="tiny").supernet()
    convs = [m for m in supernet.modules() if isinstance(m, ElasticConv2d) and m.depthwise]
    assert len(convs) == 20
    assert all(set(m.transforms) == {"3", "5"} for m in convs)
    matrices = [p for m in convs for p in m.transforms.parameters()]
    assert len({id(p) for p in matrices}) == 40
    assert all(torch.equal(p, torch.eye(len(p))) for p in matrices)


def test_small_kernels_depend_on_the_transforms_of_all_larger_ones() -> None:
    space = tiny(OfaMbv3)
    supernet, x = prepared(space), torch.randn(2, 3, 12, 12)
    for kernel, moved in ((7, set()), (5, {"5"}), (3, {"3", "5"})):
        supernet.activate(uniform(space, ks=kernel, e=4, d=2, r=12))
        supernet.zero_grad(set_to_none=True)
        supernet(x).square().sum().backward()
        conv = supernet.module.stages[0].blocks[0].depthwise.conv
        assert {k for k, p in conv.transforms.items() if p.grad is not None} == moved
        border = conv.weight.grad[:32].clone()
        border[..., 1:6, 1:6] = 0
        assert bool(border.any()) == (kernel == 7)
        assert not conv.weight.grad[32:].any()  # beyond the active width: 4 x 8 channels


# ---------------------------------------------------------------- sorting
def network_outputs(supernet: ModuleSupernet, ratios: tuple[float, ...], x: Tensor) -> list[Tensor]:
    """Return the outputs of some networks whose ratios are drawn from those given."""
    space, rng, found = supernet.space, Random(4), []
    for _ in range(6):
        a = dict(space.sample(rng, "decisions"))
        changed = {n: rng.choice(ratios) for n in a if n.endswith("expand")}
        supernet.activate({**a, **changed})
        with torch.no_grad():
            found.append(supernet(x))
    return found


def expands(space: OfaSpace) -> list[str]:
    return [d.name for d in space.decisions if d.name.endswith("expand")]


def far(first: list[Tensor], second: list[Tensor]) -> float:
    """Return the largest relative difference."""
    return max(float((a - b).norm() / b.norm()) for a, b in zip(first, second, strict=True))


RATIOS = {"ofa_mbv3": (6, 4, 3), "ofa_proxyless": (6, 4, 3), "ofa_resnet50": (0.35, 0.25, 0.2)}


def test_sorting_changes_no_network_that_was_trained(family: type[OfaSpace]) -> None:
    space = tiny(family, width=0.25)
    supernet = prepared(space).double()
    x, ratios = torch.randn(4, 3, 12, 12).double(), RATIOS[space.name]
    for phase in (1, 2):
        trained, added = ratios[:phase], ratios[phase]
        before = network_outputs(supernet, trained, x)
        new = network_outputs(supernet, (added,), x)
        supernet.restrict(dict.fromkeys(expands(space), trained))
        count = supernet.sort_hidden()
        supernet.restrict({})
        assert count == {"ofa_mbv3": 20 + 12, "ofa_proxyless": 21, "ofa_resnet50": 36}[space.name]
        assert far(network_outputs(supernet, trained, x), before) < 1e-12
        assert far(network_outputs(supernet, (added,), x), new) > 1e-4
        for block in supernet.modules():
            for reader in block.readers() if isinstance(block, Sortable) else ():
                if isinstance(reader, Elastic):
                    check_order(reader, trained)
        with torch.no_grad():
            for p in supernet.parameters():  # as if it had been trained on
                p.add_(0.1 * torch.randn_like(p) * p.abs().mean())


def check_order(reader: Any, trained: tuple[float, ...]) -> None:
    """Importances do not rise, within what all trained networks have."""
    size = reader.reads
    expand = next(c for c in size.choices if c.name.endswith("expand"))
    expand.restrict(trained)
    importance, within = reader.importance(size), size.least
    expand.restrict(None)
    if len(trained) == len(size.choices) == 1:
        assert within == size.max == len(importance)
    assert torch.equal(importance[:within], importance[:within].sort(descending=True).values)


@pytest.mark.parametrize("family", FAMILIES[:2])
def test_sorting_in_single_precision(family: type[OfaSpace]) -> None:
    torch.manual_seed(0)
    space = tiny(family)
    supernet, x = space.supernet().eval(), torch.randn(4, 3, 16, 16)
    supernet.activate(uniform(space, ks=7, e=6, d=4, r=16))
    supernet.restrict({name: [6] for name in expands(space)})
    with torch.no_grad():
        for norm in (m for m in supernet.modules() if isinstance(m, ElasticBatchNorm2d)):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 1.5)
        before = supernet(x)
        supernet.sort_hidden()
        after = supernet(x)
    assert float((after - before).norm() / before.norm()) < 1e-6


def test_widths_that_were_not_trained_bound_no_sorting() -> None:
    """A ResNet of the largest widths only is sorted as a whole, one of all widths is not."""
    space = tiny(OfaResNet50, width=0.25)
    supernet = space.supernet()
    widths = [d.name for d in space.decisions if d.name.endswith("width")]
    block = supernet.module.stages[0].blocks[0]
    size = block.conv3.conv.reads
    assert (size.max, size.least) == (24, 8)
    supernet.restrict({**{n: [0.35] for n in expands(space)}, **{n: [1.0] for n in widths}})
    assert size.least == size.max
    supernet.restrict({n: [0.35] for n in expands(space)})
    assert size.least == 16  # 40 x 0.35


# ---------------------------------------------------------------- phases and seeds
def test_phases_are_masks() -> None:
    space = OfaMbv3(preset="tiny")
    supernet = space.supernet()
    phase = {n: (7,) for n in supernet.active if n.endswith("kernel")}
    phase |= {n: (3, 4) for n in supernet.active if n.endswith("depth")}
    supernet.restrict(phase)
    drawn = [supernet.sample(step, seed=5) for step in range(50)]
    assert {v for a in drawn for n, v in a.items() if n.endswith("kernel")} == {7}
    assert {v for a in drawn for n, v in a.items() if n.endswith("depth")} == {3, 4}
    assert {v for a in drawn for n, v in a.items() if n.endswith("expand")} == {3, 4, 6}
    other = space.supernet()
    other.restrict(phase)
    assert [other.sample(step, seed=5) for step in range(50)] == drawn
    assert [other.sample(step, seed=6) for step in range(50)] != drawn
    with pytest.raises(InvalidArchitecture, match="the options that the mask leaves"):
        supernet.activate(uniform(space, ks=3, e=3, d=3, r=32))
    with pytest.raises(SpecError, match="resolution"):
        supernet.restrict({"resolution": [32]})


def test_the_state_is_whole(family: type[OfaSpace]) -> None:
    space = tiny(family)
    first, second = prepared(space), space.supernet().eval()
    a = space.sample(Random(9))
    first.activate(a)
    second.load_state_dict(first.state_dict())
    x = torch.randn(2, 3, 12, 12)
    with torch.no_grad():
        assert torch.equal(second(x), first(x))


def test_networks_of_a_batch_run_together(family: type[OfaSpace]) -> None:
    space = tiny(family)
    supernet, rng = prepared(space).double(), Random(2)
    wanted = [space.sample(rng, "decisions") for _ in range(4)]
    x = torch.randn(4, 3, 12, 12).double()
    with torch.no_grad(), supernet.together(wanted):
        together = supernet(x)
    for i, a in enumerate(wanted):
        supernet.activate(a)
        with torch.no_grad():
            torch.testing.assert_close(together[i : i + 1], supernet(x[i : i + 1]))


def test_random_weights_do_not_hide_slices() -> None:
    """The helper of the exactness test moves every transform away from the identity."""
    supernet = tiny(OfaMbv3).supernet()
    randomize(supernet)
    convs = [m for m in supernet.modules() if isinstance(m, ElasticConv2d) and m.depthwise]
    assert all(not torch.equal(p, torch.eye(len(p))) for m in convs for p in m.transforms.values())
    assert isinstance(supernet, nn.Module)
