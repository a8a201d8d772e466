"""The ways to run a choice of layers."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from netloom.errors import SpecError
from netloom.spaces.layers import Choice, Junction, OneOf, Zero, cut


def test_a_gate_scales_the_active_candidate_and_has_a_gradient() -> None:
    layer, x = OneOf("op", [nn.Tanh(), nn.Identity()]), torch.randn(3, 4)
    weights = torch.tensor([1.0, 0.5], requires_grad=True)
    layer.gate(weights)
    layer.choice.activate(1)
    assert torch.equal(layer(x), 0.5 * x)
    layer(x).sum().backward()
    torch.testing.assert_close(weights.grad, torch.tensor([0.0, x.sum()]))
    layer.gate(None)
    assert torch.equal(layer(x), x)
    layer.mix(weights)
    assert deepcopy(layer).mode == "one"


class Forbidden(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("a masked candidate must not run")


def test_masked_candidates_do_not_run() -> None:
    layer, x = OneOf("op", [nn.Tanh(), Forbidden(), nn.Identity()]), torch.randn(3, 4)
    layer.choice.restrict([0, 2])
    weights = torch.tensor([0.3, 0.3, 0.4], requires_grad=True)
    layer.mix(weights)
    torch.testing.assert_close(layer(x), 0.3 * torch.tanh(x) + 0.4 * x)
    layer(x).sum().backward()
    assert weights.grad[1] == 0


def test_zero_adds_nothing_and_keeps_the_shape() -> None:
    x = torch.randn(2, 3, 5, 5)
    assert Zero(2)(x).shape == (2, 3, 3, 3)
    layer = OneOf("op", [Zero(), nn.Identity()])
    layer.mix(torch.tensor([0.9, 0.1]))
    torch.testing.assert_close(layer(x), 0.1 * x)
    layer.choice.restrict([0])
    assert torch.equal(layer(x), torch.zeros_like(x))


# ---------------------------------------------------------------- partial channels
def test_the_shuffle_interleaves_the_groups() -> None:
    layer = OneOf("op", [nn.Identity()], partial=4)
    x = torch.arange(8.0).view(1, 8, 1, 1)
    assert layer(x).flatten().tolist() == [0, 2, 4, 6, 1, 3, 5, 7]


def test_candidates_see_the_first_channels_only() -> None:
    layer = OneOf("op", [nn.Conv2d(2, 2, 1), nn.Identity()], partial=4)
    x = torch.randn(2, 8, 3, 3)
    weights = torch.tensor([0.25, 0.75])
    layer.mix(weights)
    mixed = 0.25 * layer.candidates[0](x[:, :2]) + 0.75 * x[:, :2]
    expected = torch.cat([mixed, x[:, 2:]], 1)[:, [0, 2, 4, 6, 1, 3, 5, 7]]
    torch.testing.assert_close(layer(x), expected)
    layer.mix(None)
    layer.choice.activate(0)
    network = cut(deepcopy(nn.Sequential(layer)), inherit=True)
    assert torch.equal(network(x), layer(x))
    assert [type(m) for m in network.modules() if isinstance(m, OneOf)] == []


@pytest.mark.parametrize("side", [7, 8])
def test_channels_that_pass_a_strided_layer_are_pooled(side: int) -> None:
    layer = OneOf("op", [nn.Conv2d(2, 2, 3, 2, 1)], partial=2, stride=2)
    x = torch.randn(1, 4, side, side)
    rest = nn.functional.max_pool2d(x[:, 2:], 2, 2, ceil_mode=True)
    joined = torch.cat([layer.candidates[0](x[:, :2]), rest], 1)
    assert torch.equal(layer(x), joined[:, [0, 2, 1, 3]])


def test_what_partial_needs() -> None:
    layer = OneOf("op", [nn.Identity()], partial=3)
    with pytest.raises(SpecError, match="divide by partial=3, got 4"):
        layer(torch.zeros(1, 4, 2, 2))
    with pytest.raises(SpecError, match="2 or more parts"):
        OneOf("op", [nn.Identity()], partial=0)


def test_a_junction_weighs_its_inputs() -> None:
    junction = Junction("node")
    a, b = torch.randn(2, 3), torch.randn(2, 3)
    assert torch.equal(junction(a, b), a + b)
    weights = torch.tensor([0.25, 0.75], requires_grad=True)
    junction.mix(weights)
    torch.testing.assert_close(junction(a, b), 0.25 * a + 0.75 * b)
    junction(a, b).sum().backward()
    torch.testing.assert_close(weights.grad, torch.stack([a.sum(), b.sum()]))
    assert deepcopy(junction).weights is None
    with pytest.raises(SpecError, match="3 inputs need as many weights, got 2"):
        junction(a, b, a)


def test_one_choice_decides_many_layers() -> None:
    choice = Choice("op", ("tanh", "same"), ordered=False)
    pair = [OneOf(choice, {"tanh": nn.Tanh(), "same": nn.Identity()}) for _ in range(2)]
    choice.activate("tanh")
    x = torch.randn(3)
    assert torch.equal(pair[1](pair[0](x)), torch.tanh(torch.tanh(x)))
