"""HyTra's networks compute what the paper's code computes, not only with its sizes.

Both references are written from the description in functions alone, on the weights by name; in
double precision, since 16 layers of random weights make much of a rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from netloom.spaces.networks.hytra_plan import levels_of
from netloom.spaces.zoo.hytra import Hytra

from .conftest import images, randomize

State = Mapping[str, Tensor]
MAPS = {5: 3, 4: 2, 3: 1, 2: 1, 1: 0, 0: 0}  # operator code -> resolution


def norm(w: State, name: str, x: Tensor) -> Tensor:
    statistics = w[f"{name}.running_mean"], w[f"{name}.running_var"]
    return F.batch_norm(x, *statistics, w[f"{name}.weight"], w[f"{name}.bias"], False, 0.0, 1e-5)


def conv(w: State, name: str, x: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
    weight, bias = w[f"{name}.weight"], w.get(f"{name}.bias")
    return F.conv2d(x, weight, bias, stride, weight.shape[-1] // 2, groups=groups)


def attention(w: State, name: str, x: Tensor, heads: int) -> Tensor:
    """q, k, v one after the other, each head by head; out = v A^T."""
    n, channels, height, width = x.shape
    dim = channels // heads
    qkv = F.conv2d(x, w[f"{name}.to_qkv.weight"]).view(n, 3 * heads, dim, height * width)
    q, k, v = qkv[:, :heads], qkv[:, heads : 2 * heads], qkv[:, 2 * heads :]
    scores = torch.einsum("nhdi,nhdj->nhij", q * dim**-0.5, k).softmax(-1)
    return torch.einsum("nhij,nhdj->nhdi", scores, v).reshape(n, channels, height, width)


def branch(w: State, name: str, x: Tensor, heads: int | None, act: object) -> Tensor:
    """From behind the depthwise convolution and its norm to the last norm."""
    x = act(x)
    x = conv(w, f"{name}.mix", x) if heads is None else attention(w, f"{name}.mix", x, heads)
    return norm(w, f"{name}.norm2", conv(w, f"{name}.conv", act(norm(w, f"{name}.norm1", x))))


def projection(w: State, name: str, x: Tensor, stride: int) -> Tensor:
    x = conv(w, f"{name}.conv", x)
    return norm(w, f"{name}.norm", conv(w, f"{name}.position", x, stride, groups=x.shape[1]))


def stem(w: State, x: Tensor, act: object) -> Tensor:
    return F.max_pool2d(act(norm(w, "stem.norm", conv(w, "stem.conv", x, 2))), 3, 2, 1)


def stand_alone(w: State, x: Tensor, levels: list[list[int]], act: object, se: bool) -> Tensor:
    x = stem(w, x, act)
    numbers = iter(range(20))
    for level, kinds in enumerate(levels):
        stride = 1 if level == 0 else 2
        if not kinds:
            name = f"layers.{next(numbers)}"
            x = act(norm(w, f"{name}.norm", conv(w, f"{name}.conv", x, stride)))
        for place, kind in enumerate(kinds):
            name = f"layers.{next(numbers)}"
            step = stride if place == 0 else 1
            y = projection(w, f"{name}.entry.projection", x, step)
            y = branch(w, f"{name}.branch", y, 2**level if kind == 0 else None, act)
            if kind == 1 and se:
                gate = F.relu(conv(w, f"{name}.excite.reduce", y.mean((2, 3), keepdim=True)))
                y = y * torch.sigmoid(conv(w, f"{name}.excite.expand", gate))
            if place == 0:  # the width changes here, at 1/4 too
                if step == 2:
                    x = F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False)
                shortcut = f"{name}.entry.shortcut"
                x = norm(w, f"{shortcut}.norm", conv(w, f"{shortcut}.conv", x))
            x = act(x + y)
    return F.linear(x.mean((2, 3)), w["head.classifier.weight"], w["head.classifier.bias"])


@pytest.mark.parametrize("options", [{}, {"se": False, "activation": "relu"}, {"resolution": 70}])
def test_stand_alone_networks_compute_what_the_paper_says(options: dict[str, object]) -> None:
    space, rng = Hytra(preset="tiny", **options), Random(1)
    act = F.relu if options.get("activation") == "relu" else F.silu
    texts = ["[[1], [1], [1, 1, 1, 0, 1], [0, 0, 0, 1, 0, 0, 0, 0, 0]]", "2 " * 16, "4 " * 16]
    for a in [*map(space.parse, texts), *(space.sample(rng) for _ in range(4))]:
        network, x = space.build(a).eval().double(), images(space, a).double()
        randomize(network)
        levels = levels_of(space.path(a))
        with torch.no_grad():
            expected = stand_alone(network.state_dict(), x, levels, act, bool(space.options["se"]))
            torch.testing.assert_close(network(x), expected)


def fabric(w: State, x: Tensor, path: list[int]) -> Tensor:
    """The operator whose nominal side is half that of the map takes its second way in."""
    x = stem(w, x, F.relu)
    side = x.shape[-1]
    for place, code in enumerate(path):
        name = f"blocks.{place // 4}.{place % 4}"
        nominal = side >> (3 - MAPS[code])
        if place == 0:
            adaptor = f"{name}.adaptors.{MAPS[code]}"
            step = side // nominal
            weight = w[f"{adaptor}.reduce.weight"]
            x = F.conv2d(x, weight, stride=step, groups=x.shape[1])
            x = norm(w, f"{adaptor}.norm", conv(w, f"{adaptor}.conv", x))
        name = f"{name}.operators.{code}"
        above = x.shape[-1] > nominal
        entry = f"{name}.entry"
        if f"{entry}.projection.conv.weight" not in w:  # where there is only one way, it is there
            entry = f"{entry}.{'above' if above else 'same'}"
        y = projection(w, f"{entry}.projection", x, 2 if above else 1)
        heads = {2: 4, 0: 8}.get(code)
        y = branch(w, f"{name}.branch", y, heads, F.relu)
        if f"{entry}.shortcut.conv.weight" in w:  # 1x1 at the first layer, 3x3 from above
            shortcut = conv(w, f"{entry}.shortcut.conv", x, 2 if above else 1)
            x = F.relu(norm(w, f"{entry}.shortcut.norm", shortcut))
        x = F.relu(x + y)
    return x


def test_paths_of_the_super_network_compute_what_the_paper_says() -> None:
    space, rng = Hytra(preset="tiny", resolution=64), Random(2)
    supernet = space.supernet(classifier=False).eval().double()
    randomize(supernet)
    state = supernet.module.state_dict()
    texts = ["5 4 3 3 | 3 2 3 0 | 0 0 1 0 | 0 0 0 0", "2 " * 16, "5 " * 16, "0 " * 16]
    for a in [*map(space.parse, texts), *(space.sample(rng) for _ in range(6))]:
        supernet.activate(a)
        x = images(space, a).double()
        with torch.no_grad():
            expected = fabric(state, x, space.path(a))
            torch.testing.assert_close(supernet(x), expected)
