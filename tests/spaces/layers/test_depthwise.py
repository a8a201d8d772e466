"""Depthwise convolution with gradients of its own: those of torch, to rounding."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netloom.hw_models import trace
from netloom.spaces.layers.depthwise import (
    DepthwiseConv2d,
    depthwise_conv2d,
    phases,
    unphased,
)


def by_torch(x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    padding = dilation * (weight.shape[-1] // 2)
    return F.conv2d(x, weight, None, stride, padding, dilation, groups=len(weight))


def tensors(kernel: int, height: int, width: int, channels: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, channels, height, width, generator=generator, dtype=torch.double)
    weight = torch.randn(channels, 1, kernel, kernel, generator=generator, dtype=torch.double)
    return x.requires_grad_(), weight.requires_grad_()


@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 9])
@pytest.mark.parametrize(("stride", "dilation"), [*product((1, 2), (1, 2, 3))])
def test_values_and_gradients_are_those_of_torch(kernel: int, stride: int, dilation: int) -> None:
    for height, width in ((1, 2), (2, 3), (6, 7), (8, 5)):
        x, weight = tensors(kernel, height, width)
        for memory_format in (torch.contiguous_format, torch.channels_last):
            read = x.contiguous(memory_format=memory_format)
            y = depthwise_conv2d(read, weight, stride, dilation)
            expected = by_torch(x, weight, stride, dilation)
            torch.testing.assert_close(y, expected)
            grad = torch.randn(y.shape, dtype=torch.double)
            found = torch.autograd.grad(y, (x, weight), grad)
            torch.testing.assert_close(found, torch.autograd.grad(expected, (x, weight), grad))


# torch's own rules for forward mode are scripts
FORWARD_MODE = pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")


@FORWARD_MODE
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(5, 1, 1), (3, 1, 2), (5, 2, 1)])
def test_it_can_be_differentiated_twice(kernel: int, stride: int, dilation: int) -> None:
    def run(x: Tensor, weight: Tensor) -> Tensor:
        return depthwise_conv2d(x, weight, stride, dilation)

    inputs = tensors(kernel, 4, 3, channels=1)
    assert torch.autograd.gradcheck(run, inputs, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(run, inputs)


@FORWARD_MODE
def test_function_transforms_see_through_it() -> None:
    x, weight = (t.detach() for t in tensors(3, 4, 4))

    def loss(run: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda w: run(x, w, 1, 2).pow(3).sum()

    found = torch.func.hessian(loss(depthwise_conv2d))(weight)
    torch.testing.assert_close(found, torch.func.hessian(loss(by_torch))(weight))


def test_the_module_is_a_plain_convolution_elsewhere() -> None:
    layer = DepthwiseConv2d(4, 5, stride=2, dilation=2)
    plain = nn.Conv2d(4, 4, 5, 2, 4, 2, groups=4, bias=False)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(2, 4, 9, 8)
    torch.testing.assert_close(layer(x), plain(x))
    with torch.no_grad():
        assert torch.equal(layer(x), plain(x))
    assert trace(layer, x[:1]).macs == trace(plain, x[:1]).macs == 4 * 25 * 5 * 4
    exported = torch.export.export(layer, (x,)).module()
    torch.testing.assert_close(exported(x), plain(x))
    with torch.autocast("cpu"):
        assert layer(x).dtype == torch.bfloat16


def test_phases_are_the_pixels_by_place() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    apart = phases(x, 2)
    assert apart[:, 0].tolist() == [
        [[0, 2], [8, 10]],
        [[1, 3], [9, 11]],
        [[4, 6], [12, 14]],
        [[5, 7], [13, 15]],
    ]
    assert torch.equal(unphased(apart, 2), x)
    assert phases(torch.ones(2, 3, 5, 4), 2).shape == (8, 3, 3, 2)
