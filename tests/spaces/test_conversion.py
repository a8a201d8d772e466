"""Plain modules made elastic: which widths depend on each other, and that every member is right."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netloom.errors import SpecError
from netloom.spaces.conversion import elasticize
from netloom.spaces.layers import Choice, ElasticConv2d, Mutable
from netloom.spaces.testing import SpaceContract


def conv_norm(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1):
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Basic(nn.Module):
    """The block of ResNet-18."""

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv_norm(inputs, width, 3, stride), conv_norm(width, width, 3)
        same = stride == 1 and inputs == width
        self.shortcut = nn.Identity() if same else conv_norm(inputs, width, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x)))
        y += self.shortcut(x)
        return F.relu(y)


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_norm(3, 8, 3)
        self.layer1 = nn.Sequential(Basic(8, 8), Basic(8, 8))
        self.layer2 = nn.Sequential(Basic(8, 16, 2), Basic(16, 16), Basic(16, 16))
        self.classifier = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1(self.stem(x).relu()))
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class Gate(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True)))))


class Inverted(nn.Module):
    """The block of MobileNetV3."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        hidden = 4 * inputs
        self.same = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            conv_norm(inputs, hidden),
            nn.Hardswish(),
            conv_norm(hidden, hidden, 5, stride, groups=hidden),
            Gate(hidden),
            conv_norm(hidden, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + x if self.same else self.layers(x)


class MobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        blocks = [Inverted(8, 8, 1), Inverted(8, 12, 2), Inverted(12, 12, 1), Inverted(12, 12, 1)]
        self.features = nn.Sequential(conv_norm(3, 8, 3, 2), *blocks)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(12 * 4, 20), nn.ReLU(), nn.Linear(20, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.project = heads, nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, _ = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.project(mixed.transpose(1, 2).reshape(n, tokens, -1))


class Transformer(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, 2)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    def __init__(self, positions: bool) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 4, 4)
        self.positions = nn.Parameter(torch.randn(1, 4, 12)) if positions else None
        self.blocks = nn.ModuleList(Transformer(12) for _ in range(3))
        self.norm, self.head = nn.LayerNorm(12), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        if self.positions is not None:
            x = x + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


MODELS = {
    "resnet": ResNet,
    "mobilenet": MobileNet,
    "vit": lambda: ViT(False),
    "vit with positions": lambda: ViT(True),
}
X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def disturbed(module: nn.Module) -> nn.Module:
    """Give norms statistics that a wrong slice would show."""
    with torch.no_grad():
        for buffer in module.buffers():
            if buffer.is_floating_point():
                buffer.copy_(torch.rand_like(buffer) + 0.5)
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


@pytest.mark.parametrize("name", MODELS)
def test_every_member_extracts_to_an_equal_network(name: str) -> None:
    torch.manual_seed(0)
    module = disturbed(MODELS[name]()).eval()
    space = elasticize(module, X)
    supernet = space.supernet().eval()
    rng = Random(0)
    smallest, largest = space.at(0), space.at(space.size - 1)
    for a in (smallest, largest, *(space.sample(rng, "decisions") for _ in range(12))):
        supernet.activate(a)
        for training in (False, True):
            supernet.train(training)
            network = supernet.extract(a)
            assert torch.equal(network(X), supernet(X)), dict(a)
    supernet = space.supernet().eval()
    supernet.activate(largest)
    torch.testing.assert_close(supernet(X), module(X))
    assert not any(isinstance(m, Mutable) for m in supernet.extract(smallest).modules())


class TestElasticResNet(SpaceContract):
    networks = 2

    def make(self):
        torch.manual_seed(0)
        return elasticize(ResNet(), X)


def test_the_widths_of_a_residual_network() -> None:
    space = elasticize(ResNet(), X, widths=(0.5, 1), depths=False)
    assert {d.name: d.options for d in space.decisions} == {
        "stem.0.width": (4, 8),  # one for all that layer1 adds up
        "layer1.0.conv1.0.width": (4, 8),
        "layer1.1.conv1.0.width": (4, 8),
        "layer2.0.conv1.0.width": (8, 16),
        "layer2.0.conv2.0.width": (8, 16),
        "layer2.1.conv1.0.width": (8, 16),
        "layer2.2.conv1.0.width": (8, 16),
    }
    assert space.frozen == {"classifier": "it is an output of the network"}


def test_the_depths_of_a_residual_network() -> None:
    space = elasticize(ResNet(), X, widths=())
    assert {d.name: d.options for d in space.decisions} == {
        "layer1.depth": (1, 2),  # a chain is never left out as a whole
        "layer2.depth": (0, 1, 2),  # after the block that changes the shape
    }


def test_depthwise_layers_gates_and_flattened_maps() -> None:
    space = elasticize(MobileNet(), X, widths={"features.*": (0.5, 1)})
    options = {d.name: d.options for d in space.decisions}
    assert options["features.1.layers.0.0.width"] == (16, 32)
    assert "features.1.layers.2.0.width" not in options  # depthwise: the width before it
    assert options["features.1.layers.3.reduce.width"] == (2, 4)
    assert options["features.3.depth"] == (0, 1, 2)
    assert not any("layers.depth" in name for name in options)  # a gate is no residual block
    assert "head.1.width" not in options  # no pattern fits
    a = space.at(0)
    linear = space.build(a).head[1]
    last = a["features.2.layers.4.0.width"]
    assert linear.in_features == last * 4  # 2x2 map, flattened


def test_a_transformer_keeps_what_reshapes_and_positions_need() -> None:
    free, bound = (elasticize(ViT(p), X, widths=(0.5, 1)) for p in (False, True))
    names = [{d.name for d in space.decisions} for space in (free, bound)]
    hidden = {f"blocks.{i}.mlp.0.width" for i in range(3)}
    assert names[1] == {*hidden, "blocks.depth"}
    assert names[0] == {*names[1], "patches.width"}
    assert bound.frozen["blocks.0.attention.qkv"] == "reshape cuts across it"
    assert bound.frozen["patches"].startswith("positions has this size")


def test_the_super_network_has_the_weights_of_the_module() -> None:
    module = ResNet()
    space = elasticize(module, X)
    weight = space.supernet().module.stem[0].weight
    assert torch.equal(weight, module.stem[0].weight)
    assert weight.data_ptr() != module.stem[0].weight.data_ptr()
    torch.manual_seed(0)
    built = space.build(space.at(space.size - 1)).stem[0].weight
    assert not torch.equal(built, module.stem[0].weight)
    assert not any(isinstance(m, Mutable) for m in module.modules())  # it was copied


def test_shared_modules_and_repeated_calls() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.shared = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1)
            self.last = nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.shared(self.shared(self.first(x)))).mean((2, 3))

    space = elasticize(Twice(), X, widths=(0.25, 1))
    assert [d.name for d in space.decisions] == ["first.width"]  # read and written: one width
    for a in islice(space.enumerate(), 2):
        supernet = space.supernet()
        supernet.activate(a)
        assert torch.equal(supernet.extract(a)(X), supernet(X))


def test_tied_weights_and_unknown_functions_are_left_alone() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Conv2d(n, 6, 1) for n in (3, 6, 6))
            self.c.weight = self.b.weight
            self.d, self.e = nn.Conv2d(6, 8, 1), nn.Conv2d(8, 4, 1)
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.e(self.d(self.c(self.b(self.a(x)))))
            return self.head(torch.cumsum(x, 1).mean((2, 3)))

    space = elasticize(Odd(), X, widths=(0.5, 1))
    assert [d.name for d in space.decisions] == ["d.width"]
    assert "cumsum" in space.frozen["e"]
    assert "conv2d" in space.frozen["a"]


def test_concatenation_keeps_what_it_joins() -> None:
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 6, 1), nn.Conv2d(10, 8, 1)
            self.d = nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.d(self.c(torch.cat([self.a(x), self.b(x)], 1)))

    space = elasticize(Dense(), X)
    assert [d.name for d in space.decisions] == ["c.width"]
    assert space.frozen["a"] == space.frozen["b"] == "it is concatenated with others"


def test_divisor() -> None:
    space = elasticize(ResNet(), X, widths=(0.1, 0.6, 1), depths=False, divisor=4)
    assert {d.options for d in space.decisions} == {(4, 8), (4, 8, 16)}


class Stubborn(nn.Module):
    """Writes a width as a number."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        return self.b(x.reshape(-1, 8, 8, 8))


@pytest.mark.parametrize(
    ("make", "options", "text"),
    [
        (lambda: nn.Sequential(nn.Linear(8, 2)), {}, "nothing of Sequential can be made elastic"),
        (ResNet, {"widths": (0.5, 1.5)}, "more than 0, at most 1; got 1.5"),
        (ResNet, {"widths": {"layer9.*": (0.5,)}}, r"matches 'layer9\.\*'"),
        (ResNet, {"depths": ["layer9"]}, "no chain of residual blocks matches 'layer9'"),
        (ResNet, {"divisor": 0}, "divisor must be at least 1, got 0"),
        (Stubborn, {}, "relies on a width that would be chosen"),
        (lambda: ElasticConv2d(3, Choice("w", (2, 4))), {}, "takes a plain module"),
    ],
)
def test_what_cannot_be_made_elastic(make, options, text) -> None:
    with pytest.raises(SpecError, match=text):
        elasticize(make(), X, **options)


def test_blocks_that_are_not_a_chain_are_noticed() -> None:
    class Crossed(nn.Module):
        """Calls its blocks backwards."""

        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 1)
            self.blocks = nn.ModuleList(Basic(4, 4) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            for i in (2, 1, 0):
                x = self.blocks[i % len(self.blocks)](x)
            return x.mean((2, 3))

    with pytest.raises(SpecError, match="pass depths=False"):
        elasticize(Crossed(), torch.zeros_like(X))
    assert elasticize(Crossed(), X, depths=False).size > 1
