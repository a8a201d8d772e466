from __future__ import annotations

import importlib.util
import pickle
import sys
from copy import deepcopy
from functools import partial
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from netloom.errors import InvalidArchitecture, SpecError
from netloom.options import build
from netloom.spaces import DecisionSpace, ModuleSpace, OneOf, Space, Supernet
from netloom.spaces.layers import (
    Choice,
    ElasticBatchNorm2d,
    ElasticConv2d,
    ElasticLinear,
    Mutable,
    Repeat,
)
from netloom.spaces.testing import SpaceContract

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> ModuleType:
    """Import an example the way a spec does: by a module name of its own."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


class Gate(nn.Module):
    """A network with one choice of each kind, one nested in another, one shared by two layers."""

    def __init__(self, width: int = 4, classes: int = 3) -> None:
        super().__init__()
        act = Choice("act", ("relu", "tanh"))
        acts = [OneOf(act, {"relu": nn.ReLU(), "tanh": nn.Tanh()}) for _ in range(2)]
        inner = OneOf("inner", [nn.Linear(width, width), nn.Identity()])
        self.first = nn.Sequential(nn.Linear(5, width), acts[0])
        self.op = OneOf(
            "op", {"deep": nn.Sequential(nn.Linear(width, width), inner), "flat": acts[1]}
        )
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.op(self.first(x)))


class TestWrappedModule(SpaceContract):
    def make(self) -> DecisionSpace:
        torch.manual_seed(0)
        return ModuleSpace(Gate(), torch.zeros(1, 5))

    def other_options(self) -> DecisionSpace:
        return ModuleSpace(Gate, torch.zeros(1, 5), width=6)


class TestMobileExample(SpaceContract):
    networks = 4

    def make(self) -> DecisionSpace:
        return example("module_space").MobileSpace()

    def other_options(self) -> DecisionSpace:
        return example("module_space").MobileSpace(in_channels=3, resolution=16, classes=7)


class TestCustomExample(SpaceContract):
    def make(self) -> DecisionSpace:
        return example("custom_space").Perceptron()

    def other_options(self) -> DecisionSpace:
        return example("custom_space").Perceptron(resolution=16)


def test_examples_take_the_options_of_their_data() -> None:
    image = {"in_channels": 2, "resolution": 12, "classes": 4}
    for name, cls in (("custom_space", "Perceptron"), ("module_space", "MobileSpace")):
        space = build(getattr(example(name), cls), image, where="space")
        assert space.options == image
        a = space.sample(Random(0))
        assert tuple(space.example_input(a).shape) == (1, 2, 12, 12)
        assert space.build(a).eval()(torch.zeros(2, 2, 12, 12)).shape == (2, 4)


def test_a_custom_space_is_short() -> None:
    text = (EXAMPLES / "custom_space.py").read_text()
    body = text[text.index("class Perceptron") :]
    assert len([line for line in body.splitlines() if line.strip()]) < 30


def test_the_mobile_example_learns_digits() -> None:
    from sklearn.datasets import load_digits

    data = load_digits()
    x = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
    y = torch.tensor(data.target)
    space = example("module_space").MobileSpace()
    torch.manual_seed(0)
    smallest = space.at(0)
    network = space.build(smallest)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(5):
        for batch in torch.randperm(1400).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():
        accuracy = float((network(x[1400:]).argmax(1) == y[1400:]).float().mean())
    assert accuracy > 0.7  # chance is 0.1


def test_decisions_follow_the_nesting_of_layers() -> None:
    space = ModuleSpace(Gate, torch.zeros(1, 5))
    by_name = {d.name: d for d in space.decisions}
    assert list(by_name) == ["act", "op", "inner"]
    assert by_name["inner"].when == {"op": ("deep",)}
    assert by_name["act"].when is None  # one of its two layers always runs
    assert space.size == 2 * (2 + 1)
    mobile = example("module_space").MobileSpace()
    blocks = {d.name: d.when for d in mobile.decisions if d.name.startswith("stage2.block")}
    assert blocks["stage2.block1.kernel"] is None
    assert blocks["stage2.block2.kernel"] == {"stage2.depth": (2, 3)}
    assert blocks["stage2.block3.expand"] == {"stage2.depth": (3,)}
    assert mobile.size == (3 * (6 + 6**2 + 6**3)) ** 2 * 2


def test_a_choice_shared_by_conditional_blocks_is_active_where_any_runs() -> None:
    kernel = Choice("kernel", (3, 5))
    blocks = [nn.Identity(), *(ElasticConv2d(2, 2, kernel) for _ in range(2))]
    space = ModuleSpace(Repeat("depth", blocks), torch.zeros(1, 2, 4, 4))
    assert {d.name: d.when for d in space.decisions} == {"depth": None, "kernel": {"depth": (2, 3)}}


def test_networks_have_no_choice_left_and_the_size_they_should() -> None:
    space = example("module_space").MobileSpace()
    a = space.architecture(
        {
            "stage1.depth": 1,
            "stage1.width": 12,
            "stage1.block1.expand": 3,
            "stage1.block1.kernel": 5,
            "stage2.depth": 2,
            "stage2.width": 24,
            "stage2.block1.expand": 2,
            "stage2.block1.kernel": 3,
            "stage2.block2.expand": 4,
            "stage2.block2.kernel": 5,
            "pool": "max",
        }
    )

    def block(i: int, o: int, k: int, e: int) -> int:
        h = i * e
        return i * h + 2 * h + h * k * k + 2 * h + h * o + 2 * o

    network = space.build(a)
    expected = 9 * 8 + 16 + block(8, 12, 5, 3) + block(12, 24, 3, 2) + block(24, 24, 5, 4) + 250
    assert sum(p.numel() for p in network.parameters()) == expected
    assert not [m for m in network.modules() if isinstance(m, Mutable)]
    assert any(isinstance(m, nn.AdaptiveMaxPool2d) for m in network.modules())
    assert space.build(a).state_dict().keys() == network.state_dict().keys()


def test_a_wrapped_module_keeps_its_weights_to_itself() -> None:
    module = Gate()
    before = deepcopy(module.state_dict())
    space = ModuleSpace(module, torch.zeros(1, 5))
    a = space.sample(Random(0))
    first, second = space.build(a), space.build(a)
    assert not torch.equal(first.head.weight, second.head.weight)
    assert not torch.equal(first.head.weight, module.head.weight)
    with torch.no_grad():
        for parameter in [*first.parameters(), *space.supernet().parameters()]:
            parameter.zero_()
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def test_a_factory_initialises_every_network_in_its_own_way() -> None:
    class Zeroed(Gate):
        def __init__(self) -> None:
            super().__init__()
            nn.init.zeros_(self.head.weight)

    space = ModuleSpace(Zeroed, torch.zeros(1, 5))
    assert not space.build(space.at(0)).head.weight.any()


def test_a_choice_kept_outside_is_not_touched() -> None:
    width = Choice("width", (2, 4))

    def make() -> nn.Module:
        return nn.Sequential(ElasticLinear(5, width), nn.ReLU(), ElasticLinear(width, 3))

    space = ModuleSpace(make, torch.zeros(1, 5))
    supernet = space.supernet()
    supernet.activate({"width": 2})
    assert space.build(space.architecture({"width": 4}))[0].out_features == 4
    assert (width.active, supernet.module[0].out_features.value) == (4, 2)


def test_weighted_mixtures() -> None:
    layer = OneOf("op", [nn.Linear(3, 3), nn.Identity(), nn.Tanh()])
    x, weights = torch.randn(2, 3), torch.tensor([0.2, 0.3, 0.5], requires_grad=True)
    layer.mix(weights)
    expected = 0.2 * layer.candidates[0](x) + 0.3 * x + 0.5 * torch.tanh(x)
    torch.testing.assert_close(layer(x), expected)
    layer(x).sum().backward()
    assert weights.grad is not None
    assert bool(weights.grad.abs().min() > 0)
    layer.mix(None)
    layer.choice.activate(1)
    assert torch.equal(layer(x), x)
    with pytest.raises(SpecError, match=r"shape \(3,\), got \(2,\)"):
        layer.mix(torch.ones(2))


def test_mixtures_of_a_super_network() -> None:
    space = ModuleSpace(Gate, torch.zeros(1, 5))
    assert space.supports == {"supernet", "mixture"}
    supernet, x = space.supernet(), torch.randn(4, 5)
    supernet.activate(space.architecture({"act": "tanh", "op": "flat"}))
    plain = supernet(x)
    supernet.mix({"op": torch.tensor([0.0, 1.0])})
    torch.testing.assert_close(supernet(x), plain)
    supernet.mix({"op": torch.tensor([0.5, 0.5])})
    assert not torch.allclose(supernet(x), plain)
    supernet.mix({"op": None})
    torch.testing.assert_close(supernet(x), plain)
    with pytest.raises(SpecError, match="'opp' is no OneOf"):
        supernet.mix({"opp": None})
    assert example("module_space").MobileSpace().supports == {"supernet", "kernels"}


def test_mixtures_among_some_options() -> None:
    """A search runs a few options of each decision per step; masks and what is active stay."""
    space = ModuleSpace(Gate, torch.zeros(1, 5))
    supernet, x = space.supernet(), torch.randn(4, 5)
    supernet.activate(space.architecture({"act": "tanh", "op": "flat"}))
    plain = supernet(x)
    other = next(o for o in supernet.mixtures["op"] if o != "flat")
    active = supernet.active
    with supernet.among({"op": ["flat"]}):
        supernet.mix({"op": torch.ones(2)})
        torch.testing.assert_close(supernet(x), plain)
        assert supernet.active == active
    assert not torch.allclose(supernet(x), plain)
    assert supernet.masks == {}
    supernet.restrict({"op": [other]})
    with supernet.among({"op": [other, "flat"]}):
        assert supernet.masks == {"op": (other,)}
    with pytest.raises(SpecError, match="'opp' is no choice"), supernet.among({"opp": []}):
        pass


def test_unequal_shapes_cannot_be_mixed() -> None:
    layer = OneOf("op", [nn.Linear(3, 3), nn.Linear(3, 4)])
    layer.mix(torch.ones(2))
    with pytest.raises(SpecError, match="only equal shapes can be mixed"):
        layer(torch.zeros(1, 3))


def test_parameters_of_an_architecture() -> None:
    space = ModuleSpace(Gate, torch.zeros(1, 5))
    supernet = space.supernet()
    assert isinstance(supernet, Supernet)
    names = {id(p): n for n, p in supernet.module.named_parameters()}

    def of(**options: Any) -> set[str]:
        a = space.architecture(options)
        return {names[id(p)].rsplit(".", 1)[0] for p in supernet.parameters_of(a)}

    supernet.activate(space.at(0))
    before = {
        c.name: c.active for m in supernet.modules() if isinstance(m, OneOf) for c in m.choices
    }
    assert of(act="relu", op="flat") == {"first.0", "head"}
    assert of(act="relu", op="deep", inner=1) == {"first.0", "head", "op.candidates.0.0"}
    assert len(of(act="relu", op="deep", inner=0)) == 4
    after = {
        c.name: c.active for m in supernet.modules() if isinstance(m, OneOf) for c in m.choices
    }
    assert before == after


def test_elastic_layers_equal_plain_ones_on_slices() -> None:
    torch.manual_seed(0)
    width, kernel = Choice("width", (2, 4, 6)), Choice("kernel", (1, 3, 5))
    conv = ElasticConv2d(3, width, kernel, stride=2, bias=True)
    depthwise = ElasticConv2d(width, width, kernel, depthwise=True)
    x = torch.randn(2, 3, 9, 9)
    for w, k in ((2, 1), (4, 3), (6, 5)):
        width.activate(w)
        kernel.activate(k)
        margin = (5 - k) // 2
        window = conv.weight[:w, :, margin : margin + k, margin : margin + k]
        y = nn.functional.conv2d(x, window, conv.bias[:w], 2, k // 2)
        torch.testing.assert_close(conv(x), y)
        window = depthwise.weight[:w, :, margin : margin + k, margin : margin + k]
        z = nn.functional.conv2d(y, window, None, 1, k // 2, groups=w)
        torch.testing.assert_close(depthwise(y), z)
        for layer, value in ((conv, x), (depthwise, y)):
            torch.testing.assert_close(layer.cut(inherit=True)(value), layer(value))
            fresh = layer.cut(inherit=False)
            assert not torch.equal(fresh.weight, layer.cut(inherit=True).weight)


def test_elastic_batch_norm_shares_its_statistics() -> None:
    width = Choice("width", (2, 4))
    norm, x = ElasticBatchNorm2d(width), torch.randn(8, 4, 3, 3)
    width.activate(2)
    norm(x[:, :2])
    assert bool((norm.running_mean[:2] != 0).all())
    assert bool((norm.running_mean[2:] == 0).all())
    norm.momentum = None  # recalibration: the average over batches
    norm.reset_parameters()
    batches = [torch.randn(8, 2, 3, 3) for _ in range(3)]
    for batch in batches:
        norm(batch)
    means = torch.stack([b.mean((0, 2, 3)) for b in batches]).mean(0)
    torch.testing.assert_close(norm.running_mean[:2], means)


def test_extraction_keeps_dtype_and_mode() -> None:
    space = example("module_space").MobileSpace()
    supernet = space.supernet().double().eval()
    network = supernet.extract(space.sample(Random(0)))
    assert {p.dtype for p in network.parameters()} == {torch.float64}
    assert not any(m.training for m in network.modules())
    again = pickle.loads(pickle.dumps(supernet))
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    assert torch.equal(again(x), supernet(x))


def test_a_layer_used_twice_is_cut_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.op = self.again = OneOf("op", [nn.Linear(4, 4), nn.Identity()])

        def forward(self, x: Tensor) -> Tensor:
            return self.again(self.op(x))

    space = ModuleSpace(Twice, torch.zeros(1, 4))
    network = space.build(space.architecture({"op": 0}))
    assert network.op is network.again
    assert isinstance(network.op, nn.Linear)


def duplicate() -> nn.Module:
    return nn.Sequential(OneOf("op", [nn.Identity()]), OneOf("op", [nn.Tanh()]))


def unread() -> nn.Module:
    module = nn.Sequential(OneOf("op", [nn.Identity()]))
    module.width = Choice("width", (1, 2))
    return module


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Linear(2, 2), "Linear holds no decision"),
        (duplicate, "'op' is used twice"),
        (unread, "'width', which no mutable layer reads"),
        (lambda: 3, "needs a torch module, its function made 3"),
        (3, "wraps a module or what makes one, got 3"),
    ],
)
def test_modules_are_checked(module: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ModuleSpace(module, torch.zeros(1, 2))


def test_layers_check_their_arguments() -> None:
    with pytest.raises(SpecError, match="at least one option"):
        OneOf("op", [])
    with pytest.raises(SpecError, match="options of the choice"):
        OneOf(Choice("op", ("a", "b")), {"a": nn.Identity(), "c": nn.Identity()})
    with pytest.raises(SpecError, match=r"one of 0 \.\. 1"):
        Repeat("depth", [nn.Identity()], depths=[1, 2])
    with pytest.raises(SpecError, match="no depth runs more than 1"):
        Repeat("depth", [nn.Identity(), nn.Identity()], depths=[0, 1])
    with pytest.raises(SpecError, match="kernels must be odd"):
        ElasticConv2d(1, 1, Choice("kernel", (3, 4)))
    with pytest.raises(SpecError, match="one width"):
        ElasticConv2d(1, Choice("width", (1, 2)), 3, depthwise=True)
    with pytest.raises(SpecError, match="whole number or a Choice, got '8'"):
        ElasticLinear("8", 2)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=r"must be whole numbers: 1\.5"):
        ElasticLinear(Choice("width", (1.5, 2)), 2)
    with pytest.raises(InvalidArchitecture, match="width must be one of"):
        Choice("width", (1, 2)).activate(3)
    with pytest.raises(SpecError, match="finished module"):
        ModuleSpace(Gate(), torch.zeros(1, 5), width=3)
    with pytest.raises(SpecError, match="batch of inputs"):
        ModuleSpace(Gate(), (1, 5))  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="has no options"):
        ModuleSpace(Gate(), torch.zeros(1, 5)).supernet(sandwich=True)


def test_the_structure_of_the_module_is_in_the_fingerprint() -> None:
    def space(stride: int) -> Space:
        def make() -> nn.Module:
            return nn.Sequential(ElasticConv2d(1, 2, Choice("k", (1, 3)), stride=stride))

        return ModuleSpace(make, torch.zeros(1, 1, 4, 4))

    assert space(1).fingerprint == space(1).fingerprint != space(2).fingerprint


def test_a_ratio_times_a_width() -> None:
    ratio, width = Choice("ratio", (1.5, 2)), Choice("width", (3, 8))
    hidden = ratio * width
    ratio.activate(1.5)
    width.activate(3)
    assert (hidden.value, hidden.max) == (4, 16)
    assert (2 * width).max == 16
    assert {c.name for c in hidden.choices} == {"ratio", "width"}


def test_factories_can_be_partial() -> None:
    space = ModuleSpace(partial(Gate, classes=9), torch.zeros(1, 5))
    assert space.options == {"width": 4, "classes": 9}
    assert space.name == "Gate"
    assert space.build(space.at(0)).head.out_features == 9


class Listed(nn.Module):
    """Keeps its layers once more in plain containers, and runs them from there."""

    def __init__(self) -> None:
        super().__init__()
        width = Choice("width", (2, 4))
        self.first, self.last = ElasticLinear(3, width), ElasticLinear(width, 3)
        self.order = [self.first, self.last]
        self.named = {"stages": (self.first, [self.last])}

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.order:
            x = layer(x)
        return x


def test_layers_in_plain_containers_are_cut_too() -> None:
    space = ModuleSpace(Listed, torch.zeros(1, 3))
    network = space.build(space.architecture({"width": 2}))
    network(torch.ones(1, 3)).sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    assert network.order == [network.first, network.last]
    assert network.named == {"stages": (network.first, [network.last])}


class Attend(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        heads = {h: nn.MultiheadAttention(4, h, batch_first=True) for h in (1, 2)}
        self.attention = OneOf("heads", heads)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.attention(x, x, x, need_weights=False)[0]
        return out


def test_candidates_take_keyword_arguments() -> None:
    space = ModuleSpace(Attend, torch.zeros(1, 5, 4))
    supernet, x = space.supernet().eval(), torch.randn(2, 5, 4)
    for a in space.enumerate():
        supernet.activate(a)
        torch.testing.assert_close(supernet.extract(a)(x), supernet(x=x))


def test_the_weights_of_a_mixture_stay_outside_the_network() -> None:
    space = ModuleSpace(Gate, torch.zeros(1, 5))
    supernet = space.supernet()
    names = [name for name, _ in supernet.named_parameters()]
    alpha = nn.Parameter(torch.zeros(2))
    supernet.mix({"inner": alpha, "op": torch.softmax(alpha, 0)})
    assert [name for name, _ in supernet.named_parameters()] == names
    a = space.at(0)
    supernet.activate(a)
    network, x = supernet.extract(a), torch.randn(2, 5)  # also copies what is no leaf
    supernet.mix({"inner": None, "op": None})
    torch.testing.assert_close(network(x), supernet(x))


@pytest.mark.parametrize("candidates", [[nn.Identity(), 3], {"a": None}])
def test_candidates_are_modules(candidates: Any) -> None:
    with pytest.raises(SpecError, match=r"x: every candidate must be a torch\.nn\.Module, got"):
        OneOf("x", candidates)


def test_an_extracted_norm_goes_on_as_the_shared_one() -> None:
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            width = Choice("width", (2, 4))
            self.conv, self.norm = ElasticConv2d(3, width), ElasticBatchNorm2d(width)
            self.norm.momentum = None

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.norm(self.conv(x))
            return out

    space = ModuleSpace(Normed, torch.zeros(1, 3, 4, 4))
    a, supernet = space.architecture({"width": 2}), space.supernet()
    supernet.activate(a)
    supernet(torch.randn(4, 3, 4, 4))
    network, x = supernet.extract(a), torch.randn(4, 3, 4, 4)
    network(x), supernet(x)
    torch.testing.assert_close(network.eval()(x), supernet.eval()(x))
