"""An elastic layer is the plain layer on slices of its weights, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from netloom.errors import InvalidArchitecture, SpecError
from netloom.spaces.layers import (
    Attention,
    Choice,
    Derived,
    ElasticAttention,
    ElasticBatchNorm2d,
    ElasticClassToken,
    ElasticConv2d,
    ElasticLayerNorm,
    ElasticLinear,
    ElasticPositions,
    LowRankLinear,
    Mlp,
    Mutable,
    SqueezeExcite,
    cut,
)
from netloom.spaces.layers import make as layers


def randomize(module: nn.Module) -> None:
    """Give every parameter and buffer a value that a wrong slice would show."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        for name, buffer in module.named_buffers():
            if buffer.is_floating_point():
                buffer.copy_(torch.rand_like(buffer) + (0.5 if "var" in name else 0.0))


def image(width: int) -> Tensor:
    return torch.randn(4, width, 7, 7)


def tokens(width: int) -> Tensor:
    return torch.randn(4, 5, width)


A, B, K = (2, 5, 8), (3, 6), (1, 3, 5, 7)
Case = tuple[Callable[..., nn.Module], tuple[tuple[int, ...], ...], Callable[[int], Tensor]]
CASES: dict[str, Case] = {
    "conv": (lambda a, b: ElasticConv2d(a, b, 3, stride=2, bias=True), (A, B), image),
    "kernel": (lambda a, k: ElasticConv2d(a, 4, k), (A, K), image),
    "transform": (lambda a, k: ElasticConv2d(a, 4, k, transform=True), (A, K), image),
    "depthwise": (
        lambda a, k: ElasticConv2d(a, a, k, depthwise=True, transform=True, stride=2),
        (A, K),
        image,
    ),
    "batch norm": (ElasticBatchNorm2d, (A,), image),
    "batch norm without scale": (lambda a: ElasticBatchNorm2d(a, affine=False), (A,), image),
    "linear": (ElasticLinear, (A, B), tokens),
    "linear without bias": (lambda a, b: ElasticLinear(a, b, bias=False), (A, B), tokens),
    "layer norm": (lambda a: ElasticLayerNorm(a, eps=1e-6), (A,), tokens),
    "attention": (ElasticAttention, (A, (1, 2, 3), (2, 4)), tokens),
    "attention without bias": (lambda a: ElasticAttention(a, 3, 4, bias=False), (A,), tokens),
    "mlp": (lambda a, b: Mlp(a, b), (A, B), tokens),
    "class token": (ElasticClassToken, (A,), tokens),
    "positions": (lambda a: ElasticPositions(5, a), (A,), tokens),
    "patches": (lambda a, b: ElasticConv2d(a, b, 2, stride=2, padding=0, bias=True), (A, B), image),
    "low rank": (lambda a, b, r: LowRankLinear(a, b, r), (A, B, (1, 2)), tokens),
    "low rank in three": (
        lambda a, b, r: LowRankLinear(a, b, r, factors=3),
        (A, B, (1, 2)),
        tokens,
    ),
    "squeeze and excite": (lambda a, b: SqueezeExcite(a, b), (A, B), image),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("training", [True, False])
def test_elastic_equals_plain(name: str, training: bool) -> None:
    torch.manual_seed(0)
    make, options, inputs = CASES[name]
    choices = [Choice(f"c{i}", o) for i, o in enumerate(options)]
    module = nn.Sequential(make(*choices)).train(training)
    randomize(module)
    for values in product(*options):
        for choice, value in zip(choices, values, strict=True):
            choice.activate(value)
        plain = nn.Sequential(_cut_copy(module))
        assert not any(isinstance(m, Mutable) for m in plain.modules())
        assert plain[0].training == training
        x = inputs(values[0])
        assert torch.equal(plain(x), module(x)), values
        for buffer, own in zip(plain.buffers(), module.buffers(), strict=True):
            part = own[: len(buffer)] if own.dim() else own  # statistics move alike
            assert torch.equal(buffer, part)


def _cut_copy(module: nn.Module) -> nn.Module:
    from copy import deepcopy

    return cut(deepcopy(module), inherit=True)


@pytest.mark.parametrize("name", CASES)
def test_new_weights_fit_too(name: str) -> None:
    make, options, inputs = CASES[name]
    choices = [Choice(f"c{i}", o) for i, o in enumerate(options)]
    module = nn.Sequential(make(*choices))
    for choice, values in zip(choices, options, strict=True):
        choice.activate(values[0])
    plain = cut(module, inherit=False)
    assert torch.isfinite(plain(inputs(options[0][0]))).all()


def test_layers_without_a_choice_are_plain() -> None:
    conv = layers.conv2d(4, 4, 5, stride=2, depthwise=True, bias=True)
    assert (type(conv), conv.groups, conv.padding) == (nn.Conv2d, 4, (2, 2))
    assert type(layers.batch_norm2d(4, eps=1e-3)) is nn.BatchNorm2d
    assert type(layers.linear(4, 2)) is nn.Linear
    assert type(layers.layer_norm(4)) is nn.LayerNorm
    patches = layers.conv2d(3, 4, 14, stride=14, padding=0, bias=True)
    assert patches(torch.zeros(1, 3, 28, 28)).shape == (1, 4, 2, 2)
    width = Choice("width", (2, 4))
    assert isinstance(layers.conv2d(3, width), ElasticConv2d)
    elastic = layers.conv2d(3, width, 14, stride=14, padding=0)
    assert elastic(torch.zeros(1, 3, 28, 28)).shape == (1, 4, 2, 2)
    assert isinstance(layers.layer_norm(width), ElasticLayerNorm)


def test_attention_is_that_of_torch() -> None:
    torch.manual_seed(0)
    ours, theirs = Attention(12, 3, 4), nn.MultiheadAttention(12, 3, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        theirs.in_proj_bias.copy_(ours.qkv.bias)
        theirs.out_proj.load_state_dict(ours.proj.state_dict())
    x = tokens(12)
    torch.testing.assert_close(ours(x), theirs(x, x, x, need_weights=False)[0])


# ---------------------------------------------------------------- learned kernels
def elastic_kernel() -> tuple[Choice, ElasticConv2d]:
    kernel = Choice("kernel", (3, 5, 7))
    return kernel, ElasticConv2d(6, 6, kernel, depthwise=True, transform=True)


def test_transforms_are_square_matrices_that_begin_as_identities() -> None:
    kernel, conv = elastic_kernel()
    assert sum(p.numel() for p in conv.transforms.values()) == 25**2 + 9**2 == 706
    kernel.activate(3)
    assert torch.equal(conv.sliced("weight"), conv.weight[..., 2:5, 2:5])
    kernel.activate(5)
    assert torch.equal(conv.sliced("weight"), conv.weight[..., 1:6, 1:6])


def test_the_small_kernel_is_made_of_the_middle_one() -> None:
    torch.manual_seed(0)
    kernel, conv = elastic_kernel()
    randomize(conv)
    m5, m3 = conv.transforms["5"], conv.transforms["3"]
    five = (conv.weight[..., 1:6, 1:6].reshape(6, 25) @ m5.T).view(6, 1, 5, 5)
    three = (five[..., 1:4, 1:4].reshape(6, 9) @ m3.T).view(6, 1, 3, 3)
    kernel.activate(5)
    torch.testing.assert_close(conv.sliced("weight"), five)
    kernel.activate(3)
    torch.testing.assert_close(conv.sliced("weight"), three)


@pytest.mark.parametrize(("side", "moved"), [(7, set()), (5, {"5"}), (3, {"3", "5"})])
def test_gradients_reach_what_a_kernel_is_made_of(side: int, moved: set[str]) -> None:
    kernel, conv = elastic_kernel()
    kernel.activate(side)
    conv(image(6)).square().sum().backward()
    assert {k for k, m in conv.transforms.items() if m.grad is not None} == moved
    border = conv.weight.grad.clone()
    border[..., 1:6, 1:6] = 0
    assert bool(border.any()) == (side == 7)
    assert bool(conv.weight.grad[..., 2:5, 2:5].any())


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("image_side", [3, 8])
def test_depthwise_gradients_are_those_of_the_plain_layer(stride: int, image_side: int) -> None:
    torch.manual_seed(0)
    width, kernel = Choice("width", (4, 6)), Choice("kernel", (3, 5, 7))
    conv = ElasticConv2d(width, width, kernel, stride=stride, depthwise=True, transform=True)
    conv = conv.double()
    randomize(conv)
    for side, channels in product((3, 5, 7), (4, 6)):
        kernel.activate(side)
        width.activate(channels)
        x = torch.randn(2, channels, image_side, image_side).double().requires_grad_()
        plain, alone = _cut_copy(nn.Sequential(conv)), x.detach().requires_grad_()
        conv.zero_grad()
        outputs = conv(x), plain(alone)
        assert torch.equal(*outputs)
        for y in outputs:
            y.square().sum().backward()
        torch.testing.assert_close(x.grad, alone.grad)
        border = conv.weight.grad[channels:]
        assert not border.any()
        if side == 7:
            torch.testing.assert_close(conv.weight.grad[:channels], plain[0].weight.grad)


# ---------------------------------------------------------------- sizes, masks
def test_derived_sizes() -> None:
    index, expand = Choice("w", (0, 1, 2)), Choice("e", (0.2, 0.25))
    width = Derived((24, 32, 48).__getitem__, index)
    middle = (expand * width).map(_double)
    assert (width.max, middle.max) == (48, 24)
    index.activate(1)
    expand.activate(0.2)
    assert (width.value, middle.value) == (32, 12)
    assert middle.choices == (expand, index)


def _double(value: int) -> int:
    return 2 * value


def test_masks_forbid_options() -> None:
    choice = Choice("op", ("a", "b", "c"))
    choice.restrict(["c", "a"])
    assert choice.allowed == ("a", "c")
    with pytest.raises(InvalidArchitecture, match=r"must be one of \('a', 'c'\).*got 'b'"):
        choice.activate("b")
    choice.restrict(["b"])
    assert choice.active == "b"
    choice.restrict(None)
    choice.activate("c")
    for wrong in ([], ["d"]):
        with pytest.raises(SpecError, match="a mask must leave at least one"):
            choice.restrict(wrong)


def test_a_full_rank_factorization_is_the_layer() -> None:
    torch.manual_seed(0)
    dense, x = nn.Linear(6, 8), tokens(6)
    for factors in (2, 3):
        low = LowRankLinear(6, 8, 6, factors=factors)
        low.factorize(dense.weight, dense.bias)
        torch.testing.assert_close(low(x), dense(x), rtol=1e-5, atol=1e-5)
        less = LowRankLinear(6, 8, 3, factors=factors)
        less.factorize(dense.weight)
        matrix = torch.linalg.multi_dot(
            [p for p in reversed(list(less.parameters())) if p.dim() > 1]
        )
        error = torch.linalg.matrix_norm(matrix - dense.weight)
        best = torch.linalg.svdvals(dense.weight)[3:].square().sum().sqrt()
        torch.testing.assert_close(error, best)


def test_ranks_beyond_the_narrower_side_take_over_the_layer_and_learn() -> None:
    torch.manual_seed(0)
    dense, x = nn.Linear(6, 8), tokens(6)
    for factors in (2, 3):
        low = LowRankLinear(6, 8, 9, factors=factors)
        low.factorize(dense.weight, dense.bias)
        torch.testing.assert_close(low(x), dense(x), rtol=1e-5, atol=1e-5)
        low(x).square().sum().backward()
        assert (low[1].weight.grad[:, 6:] != 0).any()  # the part that adds nothing yet
