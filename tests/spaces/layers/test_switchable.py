"""Batch norms of which each width has its own."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from netloom.errors import SpecError
from netloom.spaces.layers import (
    Choice,
    Derived,
    ElasticConv2d,
    Mutable,
    SwitchableBatchNorm2d,
    calibrate,
    cut,
    sort_channels,
)
from netloom.spaces.layers import make as layers


@pytest.fixture
def width() -> Choice:
    return Choice("width", (2, 5))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_it_is_the_norm_of_the_active_width(width: Choice, affine: bool, training: bool) -> None:
    torch.manual_seed(0)
    norm = SwitchableBatchNorm2d(width, eps=1e-3, momentum=0.3, affine=affine).train(training)
    own = {n: nn.BatchNorm2d(n, 1e-3, 0.3, affine).train(training) for n in (2, 5)}
    for n, plain in own.items():
        for tensor in plain.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 2.0)
        norm.norms[str(n)].load_state_dict(plain.state_dict())
    for n in (5, 2, 5):
        width.activate(n)
        x, other = torch.randn(4, n, 3, 3), deepcopy(norm.norms[str(7 - n)].state_dict())
        assert torch.equal(norm(x), own[n](x))
        for name, tensor in norm.norms[str(7 - n)].state_dict().items():
            assert torch.equal(tensor, other[name])  # it keeps its statistics
        network = cut(deepcopy(nn.Sequential(norm)), inherit=True)
        assert not any(isinstance(m, Mutable) for m in network.modules())
        assert torch.equal(network(x), norm(x))


def test_samples_of_different_widths_use_their_own_norms(width: Choice) -> None:
    norm = SwitchableBatchNorm2d(width).eval()
    for n in (2, 5):
        norm.norms[str(n)].running_mean.fill_(n)
    x = torch.randn(3, 5, 2, 2)
    x[1, 2:] = 0.0
    norm.together, width.spread = True, (5, 2, 5)
    y = norm(x)
    torch.testing.assert_close(y[[0, 2]], norm.norms["5"](x[[0, 2]]))
    torch.testing.assert_close(y[1:2, :2], norm.norms["2"](x[1:2, :2]))
    assert not y[1, 2:].any()
    with pytest.raises(SpecError, match="cannot be trained"):
        norm.train()(x)


def test_calibration_reaches_the_width_that_runs(width: Choice) -> None:
    norm = nn.Sequential(SwitchableBatchNorm2d(width))
    width.activate(2)
    assert calibrate(norm, [torch.full((3, 2, 1, 1), 7.0)]) == 1
    assert norm[0].norms["2"].running_mean.tolist() == [7.0, 7.0]
    assert norm[0].norms["5"].running_mean.tolist() == [0.0] * 5


def test_the_widths_must_be_known(width: Choice) -> None:
    assert isinstance(layers.batch_norm2d(width, switchable=True), SwitchableBatchNorm2d)
    assert type(layers.batch_norm2d(4, switchable=True)) is nn.BatchNorm2d
    with pytest.raises(SpecError, match="needs a Choice of widths"):
        layers.batch_norm2d(Derived(int, width), switchable=True)


def test_its_channels_cannot_be_sorted(width: Choice) -> None:
    network = nn.Sequential(
        ElasticConv2d(3, width), SwitchableBatchNorm2d(width), ElasticConv2d(width, 4)
    )
    before = network[0].weight.clone()
    with pytest.raises(SpecError, match="one for all widths"):
        sort_channels(network, width, network[2])
    assert torch.equal(network[0].weight, before)
