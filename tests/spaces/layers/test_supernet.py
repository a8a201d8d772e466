"""Super-networks: masks, sampling, many networks in one batch, calibration, sorting, state."""

from __future__ import annotations

import subprocess
import sys
from random import Random

import pytest
import torch
from torch import Tensor, nn

from netloom.errors import InvalidArchitecture, SpecError
from netloom.spaces import ModuleSpace
from netloom.spaces.layers import (
    Choice,
    ElasticBatchNorm2d,
    ElasticConv2d,
    Mlp,
    OneOf,
    Repeat,
    SqueezeExcite,
    attention,
    calibrate,
    importance_order,
    layer_norm,
    linear,
    sort_channels,
)
from netloom.spaces.restricted import RestrictedSpace


class Block(nn.Module):
    """A transformer block whose heads and hidden width are chosen."""

    def __init__(self, name: str, dim: Choice) -> None:
        super().__init__()
        heads, hidden = Choice(f"{name}.heads", (1, 2, 3)), Choice(f"{name}.hidden", (5, 9))
        self.norm1, self.attention = layer_norm(dim), attention(dim, heads, 4)
        self.norm2, self.mlp = layer_norm(dim), Mlp(dim, hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """Embedding, up to three blocks, a choice of activations, head."""

    def __init__(self) -> None:
        super().__init__()
        dim = Choice("dim", (6, 8, 12))
        self.embed = linear(3, dim)
        self.blocks = Repeat("depth", [Block(f"block{i}", dim) for i in range(3)], (1, 2, 3))
        self.op = OneOf("op", {"relu": nn.ReLU(), "linear": linear(dim, dim, bias=False)})
        self.head = linear(dim, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.op(self.blocks(self.embed(x))).mean(1))


@pytest.fixture
def space() -> ModuleSpace:
    return ModuleSpace(Transformer, torch.zeros(1, 5, 3))


# ---------------------------------------------------------------- many networks in one batch
def test_networks_run_together_as_one_by_one(space: ModuleSpace) -> None:
    torch.manual_seed(0)
    supernet, rng = space.supernet().double(), Random(0)
    deep = RestrictedSpace(space, {"depth": [3]})
    wanted = [
        space.architecture({**deep.sample(rng), "dim": dim, "depth": depth})
        for dim, depth in ((6, 1), (12, 3), (8, 2), (6, 3), (8, 1), (12, 2))
    ]
    batch = [a for a in wanted for _ in range(2)]
    x, target = torch.randn(12, 5, 3).double(), torch.randn(12, 4).double()
    with supernet.together(batch):
        outputs = supernet(x)
        (outputs * target).sum().backward()
    together = {n: p.grad.clone() for n, p in supernet.named_parameters()}
    supernet.zero_grad()
    for i, a in enumerate(wanted):
        supernet.activate(a)
        own = slice(2 * i, 2 * i + 2)
        y = supernet(x[own])
        torch.testing.assert_close(outputs[own], y)
        (y * target[own]).sum().backward()
    for name, parameter in supernet.named_parameters():
        grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(together[name], grad, msg=name)


def test_together_needs_an_architecture_for_each_sample(space: ModuleSpace) -> None:
    supernet, a = space.supernet(), space.sample(Random(1))
    with supernet.together([a, a]), pytest.raises(SpecError, match="2 architectures for 3 samples"):
        supernet(torch.zeros(3, 5, 3))
    with pytest.raises(SpecError, match="empty list"), supernet.together([]):
        pass
    supernet.activate(a)
    x = torch.randn(3, 5, 3)
    torch.testing.assert_close(supernet(x), supernet.extract(a)(x))


class Convolutions(nn.Module):
    """Kernel and width of a convolution, depth zero to two, squeeze-and-excitation."""

    def __init__(self, norm: bool = True) -> None:
        super().__init__()
        width, kernel = Choice("width", (2, 4)), Choice("kernel", (1, 3, 5))
        self.first = ElasticConv2d(3, width, kernel, transform=True, bias=True)
        self.norm = ElasticBatchNorm2d(width) if norm else nn.Identity()
        self.more = Repeat("depth", [SqueezeExcite(width, width) for _ in range(2)], (0, 1, 2))
        self.last = ElasticConv2d(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.more(torch.relu(self.norm(self.first(x))))).mean((2, 3))


def test_convolutions_run_together() -> None:
    torch.manual_seed(0)
    space = ModuleSpace(Convolutions, torch.zeros(1, 3, 6, 6))
    supernet = space.supernet()
    calibrate(supernet, [torch.randn(4, 3, 6, 6)])
    rng, x = Random(3), torch.randn(8, 3, 6, 6)
    wanted = [space.sample(rng) for _ in range(8)]
    supernet.eval()
    with supernet.together(wanted):
        together = supernet(x)
    for i, a in enumerate(wanted):
        supernet.activate(a)
        torch.testing.assert_close(together[i : i + 1], supernet(x[i : i + 1]))
    supernet.train()
    with supernet.together(wanted), pytest.raises(SpecError, match="batch norm mixes the samples"):
        supernet(x)


# ---------------------------------------------------------------- masks and sampling
def test_masks_restrict_what_is_drawn_and_run(space: ModuleSpace) -> None:
    supernet = space.supernet()
    supernet.restrict({"dim": [6, 8], "op": ["relu"], "depth": [1]})
    assert supernet.masks == {"dim": (6, 8), "op": ("relu",), "depth": (1,)}
    drawn = [supernet.sample(i) for i in range(30)]
    assert {a["dim"] for a in drawn} == {6, 8}
    assert all(supernet.admits(a) for a in drawn)
    with pytest.raises(InvalidArchitecture, match="the options that the mask leaves"):
        supernet.activate({**drawn[0], "dim": 12})
    assert not supernet.admits({**drawn[0], "dim": 12})
    supernet.restrict({})
    assert supernet.masks == {}
    with pytest.raises(SpecError, match="did you mean depth"):
        supernet.restrict({"deptth": [1]})


def test_masks_split_a_space_without_overlap(space: ModuleSpace) -> None:
    halves = [{"depth": [1]}, {"depth": [2, 3]}]
    parts = [RestrictedSpace(space, mask) for mask in halves]
    assert sum(part.size for part in parts) == space.size
    assert "block1.heads" not in {d.name for d in parts[0].decisions}
    for part in parts:
        a = part.sample(Random(0))
        assert space.architecture(a) == a == part.parse(part.format(a))
    small = RestrictedSpace(parts[0], {"dim": [6], "op": ["relu"], "block0.heads": [1]})
    assert [dict(a) for a in small.enumerate()] == [
        {"dim": 6, "depth": 1, "block0.heads": 1, "block0.hidden": n, "op": "relu"} for n in (5, 9)
    ]
    with pytest.raises(InvalidArchitecture):
        small.parse(space.format(space.sample(Random(2))))


def test_every_process_draws_the_same_path(space: ModuleSpace) -> None:
    own = [space.supernet().sample(step, seed=3).key for step in range(4)]
    code = (
        "import sys, torch; sys.path.insert(0, 'tests/spaces/layers')\n"
        "from test_supernet import Transformer; from netloom.spaces import ModuleSpace\n"
        "s = ModuleSpace(Transformer, torch.zeros(1, 5, 3)).supernet()\n"
        "print(*[s.sample(i, seed=3).key for i in range(4)])"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.split() == own
    assert len({space.supernet().sample(0, seed=s).key for s in range(8)}) > 4


def test_the_state_holds_weights_choices_and_masks(space: ModuleSpace) -> None:
    first, second = space.supernet(), space.supernet()
    first.restrict({"dim": [8, 12]})
    first.activate(first.sample(5))
    second.load_state_dict(first.state_dict())
    x = torch.randn(2, 5, 3)
    assert torch.equal(first(x), second(x))
    assert (second.active, second.masks) == (first.active, first.masks)


def test_extraction_copies_only_what_runs(space: ModuleSpace) -> None:
    supernet = space.supernet()
    a = space.architecture({**space.sample(Random(0)), "depth": 1, "op": "relu"})
    before = {n: p.data_ptr() for n, p in supernet.named_parameters()}
    network = supernet.extract(a)
    mine = {p.data_ptr() for p in network.parameters()}
    assert mine.isdisjoint(before.values())
    assert before == {n: p.data_ptr() for n, p in supernet.named_parameters()}
    assert sum(p.numel() for p in network.parameters()) == sum(
        p.numel() for p in space.build(a).parameters()
    )


# ---------------------------------------------------------------- calibration
def test_calibration_weighs_batches_by_their_samples() -> None:
    norm = nn.BatchNorm2d(1)
    batches = [torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1), torch.full((1, 1, 1, 1), 7.0)]
    for _ in range(2):
        assert calibrate(norm, batches) == 1
        assert norm.running_mean.item() == pytest.approx(3.25)
        assert norm.running_var.item() == pytest.approx(0.5)  # not the pooled 5.1875


def test_calibration_leaves_all_else_alone() -> None:
    torch.manual_seed(0)
    space = ModuleSpace(Convolutions, torch.zeros(1, 3, 6, 6))
    supernet = space.supernet()
    supernet.train()
    supernet(torch.randn(4, 3, 6, 6))
    supernet.activate(a := space.architecture({"width": 2, "kernel": 3, "depth": 1}))
    before = {k: v.clone() for k, v in supernet.state_dict().items()}
    batches = [torch.randn(n, 3, 6, 6) for n in (4, 3)]
    network = supernet.calibrated(a, batches)
    after = supernet.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    calibrate(supernet, batches)
    after = supernet.state_dict()
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    assert changed == {"module.norm.running_mean", "module.norm.running_var"}
    for name in changed:
        assert torch.equal(before[name][2:], after[name][2:])
        assert not torch.equal(before[name][:2], after[name][:2])
    assert supernet.training
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(network.eval()(x), supernet.eval()(x))
    with pytest.raises(SpecError, match="at least one batch"):
        calibrate(network, [])


# ---------------------------------------------------------------- sorting
def test_sorting_keeps_the_largest_network() -> None:
    torch.manual_seed(0)
    width = Choice("width", (3, 5, 8))
    first, norm = ElasticConv2d(3, width, bias=True), ElasticBatchNorm2d(width)
    depthwise = ElasticConv2d(width, width, 3, depthwise=True)
    gate, last = SqueezeExcite(width, 4), ElasticConv2d(width, 3)
    network = nn.Sequential(first, norm, nn.ReLU(), depthwise, gate, last)
    calibrate(network, [3 * torch.randn(8, 3, 6, 6) + 1])
    network.eval()
    x = torch.randn(2, 3, 6, 6)
    before = network(x)
    sort_channels(network, width, last)
    torch.testing.assert_close(network(x), before, rtol=1e-5, atol=1e-6)
    importance = last.importance(width)
    assert torch.equal(importance, importance.sort(descending=True).values)
    width.activate(5)
    middle = network(x)
    with torch.no_grad():
        last.weight.copy_(torch.randn_like(last.weight))
    middle = network(x)
    order = sort_channels(network, width, last, within=5)
    assert order[5:].tolist() == [5, 6, 7]
    torch.testing.assert_close(network(x), middle, rtol=1e-5, atol=1e-6)


def test_what_sorting_refuses() -> None:
    width = Choice("width", (3, 5))
    first, last = ElasticConv2d(3, width), ElasticConv2d(width, 3)
    network = nn.Sequential(first, last)
    with pytest.raises(SpecError, match="does not read"):
        sort_channels(network, width, first)
    with pytest.raises(SpecError, match=r"1 \.\. 5 channels, got 6"):
        sort_channels(network, width, last, within=6)
    assert importance_order(torch.tensor([1.0, 3.0, 3.0])).tolist() == [1, 2, 0]
