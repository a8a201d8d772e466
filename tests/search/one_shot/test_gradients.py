"""Gradients of the architecture against closed forms and exact derivatives."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from netloom.search.one_shot.gradients import (
    WeightStep,
    exact_second_order,
    first_order,
    frozen_statistics,
    second_order,
    unrecorded,
)
from netloom.search.one_shot.pieces import gradients_of


class Toy:
    """L_val = alpha w - 2 alpha + 1, L_train = w^2 - 2 alpha w + alpha^2; the optimum is (1, 1)."""

    def __init__(self, alpha=2.0, w=-2.0):
        self.alpha = torch.tensor(alpha, dtype=torch.float64, requires_grad=True)
        self.w = torch.tensor(w, dtype=torch.float64, requires_grad=True)
        self.passes = 0

    def train(self, weights=None):
        self.passes += 1
        w = weights[0] if weights else self.w
        return w**2 - 2 * self.alpha * w + self.alpha**2

    def valid(self, weights=None):
        self.passes += 1
        w = weights[0] if weights else self.w
        return self.alpha * w - 2 * self.alpha + 1

    def plain(self, xi):
        return WeightStep(xi, momentum=0.0, weight_decay=0.0, buffers=[None])


@pytest.mark.parametrize("xi", [0.0, 0.1, 0.25, 0.5])
@pytest.mark.parametrize("exact", [False, True])
def test_darts_converges_to_the_known_point_of_the_toy_problem(xi, exact):
    toy = Toy()
    for _ in range(500):
        if exact:
            [g] = exact_second_order(toy.train, toy.valid, [toy.w], [toy.alpha], toy.plain(xi))
        elif xi:
            [g] = second_order(toy.train, toy.valid, [toy.w], [toy.alpha], toy.plain(xi))
        else:
            [g] = first_order(toy.valid, [toy.alpha])
        toy.alpha.data -= 0.05 * g
        toy.w.data -= 0.2 * gradients_of(toy.train(), [toy.w])[0]
    where = 2 / (1 + 2 * xi)
    assert toy.alpha.item() == pytest.approx(where, abs=1e-6)
    assert toy.w.item() == pytest.approx(where, abs=1e-6)


def test_passes():
    toy = Toy()
    first_order(toy.valid, [toy.alpha])
    assert toy.passes == 1  # and one more for the weights
    second_order(toy.train, toy.valid, [toy.w], [toy.alpha], toy.plain(0.5))
    assert toy.passes == 1 + 4


class Smooth(nn.Module):
    """Two mixed layers without kinks, float64."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.mixed = nn.ModuleList(
            nn.ModuleList([nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Identity()])
            for _ in range(2)
        )
        self.head = nn.Linear(4, 3)
        self.double()

    def forward(self, x, alphas):
        x = F.softplus(self.stem(x))
        for candidates, row in zip(self.mixed, alphas, strict=True):
            shares = torch.softmax(row, 0)
            x = F.softplus(sum(s * c(x) for s, c in zip(shares, candidates, strict=True)))
        return self.head(F.avg_pool2d(x, x.shape[-1]).flatten(1))


@pytest.fixture
def problem():
    network = Smooth()
    draw = torch.Generator().manual_seed(0)
    alphas = [
        (1e-3 * torch.randn(3, generator=draw, dtype=torch.float64)).requires_grad_()
        for _ in range(2)
    ]
    x = torch.randn(2, 8, 2, 6, 6, generator=draw, dtype=torch.float64)
    y = torch.randint(0, 3, (2, 8), generator=draw)
    weights = dict(network.named_parameters())

    def loss(part):
        def at(values=None):
            chosen = weights if values is None else dict(zip(weights, values, strict=True))
            return F.cross_entropy(functional_call(network, chosen, (x[part], alphas)), y[part])

        return at

    buffers = [0.1 * torch.randn(w.shape, generator=draw).double() for w in weights.values()]
    step = WeightStep(0.1, momentum=0.9, weight_decay=3e-4, buffers=buffers)
    return loss(0), loss(1), list(weights.values()), alphas, step


def relative(found, wanted):
    gap = sum(float(((a - b) ** 2).sum()) for a, b in zip(found, wanted, strict=True))
    return math.sqrt(gap / sum(float((b**2).sum()) for b in wanted))


def test_the_difference_approaches_the_exact_gradient_quadratically(problem):
    train, valid, weights, alphas, step = problem
    exact = exact_second_order(train, valid, weights, alphas, step)
    errors = [
        relative(second_order(train, valid, weights, alphas, step, radius), exact)
        for radius in (0.3, 0.03, 0.003)
    ]
    assert relative(second_order(train, valid, weights, alphas, step), exact) < 2e-3
    assert 50 < errors[0] / errors[1] < 200
    assert 50 < errors[1] / errors[2] < 200
    # the implicit part is there: leaving it out is another gradient
    assert relative(first_order(valid, alphas), exact) > 100 * errors[1]


def test_momentum_and_decay_are_part_of_the_step(problem):
    train, valid, weights, alphas, step = problem
    exact = exact_second_order(train, valid, weights, alphas, step)
    for change in ({"momentum": 0.0}, {"weight_decay": 1.0}):
        other = WeightStep(**{**vars(step), **change})
        found = second_order(train, valid, weights, alphas, other)
        assert relative(found, exact_second_order(train, valid, weights, alphas, other)) < 2e-3
        assert relative(found, exact) > 1e-2


def test_weights_and_gradients_are_left_as_they_were(problem):
    train, valid, weights, alphas, step = problem
    before = [w.detach().clone() for w in weights]
    second_order(train, valid, weights, alphas, step)
    assert all(torch.equal(w, b) for w, b in zip(weights, before, strict=True))
    assert all(t.grad is None for t in (*weights, *alphas))


def test_weights_are_put_back_after_a_failure(problem):
    train, _, weights, alphas, step = problem
    before = [w.detach().clone() for w in weights]

    def broken():
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError):
        second_order(train, broken, weights, alphas, step)
    assert all(torch.equal(w, b) for w, b in zip(weights, before, strict=True))


def test_without_a_step_the_second_order_is_the_first(problem):
    train, valid, weights, alphas, step = problem
    still = WeightStep(0.0, step.momentum, step.weight_decay, step.buffers)
    found = second_order(train, valid, weights, alphas, still)
    assert all(torch.equal(a, b) for a, b in zip(found, first_order(valid, alphas), strict=True))


def test_nothing_is_recorded_for_weights_whose_gradient_is_not_wanted(problem):
    _, valid, weights, alphas, _ = problem
    recorded = []

    def watched():
        recorded.append([w.requires_grad for w in weights])
        return valid()

    found = first_order(watched, alphas, weights)
    assert not any(recorded[0])
    assert all(w.requires_grad for w in weights)
    assert all(torch.equal(a, b) for a, b in zip(found, first_order(valid, alphas), strict=True))
    weights[0].requires_grad_(False)
    with pytest.raises(RuntimeError, match="out of memory"), unrecorded(weights):
        raise RuntimeError("out of memory")
    assert [w.requires_grad for w in weights] == [False] + [True] * (len(weights) - 1)
    assert [g.tolist() for g in gradients_of(torch.ones(()), alphas)] == [
        torch.zeros_like(a).tolist() for a in alphas
    ]


def test_a_training_loss_without_the_architecture_has_no_implicit_part(problem):
    _, valid, weights, alphas, step = problem

    def train():
        return sum((w**2).sum() for w in weights)

    still = [w.detach().clone() for w in weights]
    found = second_order(train, valid, weights, alphas, step)
    moved = step.after(weights, gradients_of(train(), weights))
    with torch.no_grad():
        for w, value in zip(weights, moved, strict=True):
            w.copy_(value)
    direct = first_order(valid, alphas)
    assert all(torch.equal(a, b) for a, b in zip(found, direct, strict=True))
    assert not all(torch.equal(w, s) for w, s in zip(weights, still, strict=True))


def test_a_flat_validation_loss_has_no_implicit_part():
    toy = Toy()
    [g] = second_order(
        toy.train, lambda: 3 * toy.alpha + 0 * toy.w, [toy.w], [toy.alpha], toy.plain(0.5)
    )
    assert float(g) == 3.0


def test_the_next_step_of_sgd_is_read_from_its_state(problem):
    train, _, weights, _, _ = problem
    sgd = torch.optim.SGD(weights, lr=0.1, momentum=0.9, weight_decay=3e-4)
    assert WeightStep.of(sgd, weights).buffers == [None] * len(weights)
    for _ in range(3):
        gradients = gradients_of(train(), weights)
        ahead = WeightStep.of(sgd, weights).after([w.detach() for w in weights], gradients)
        for w, g in zip(weights, gradients, strict=True):
            w.grad = g
        sgd.step()
        for w, a in zip(weights, ahead, strict=True):
            torch.testing.assert_close(w.detach(), a, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_frozen_statistics_stay_while_batches_normalise(momentum):
    norm = nn.BatchNorm2d(3, momentum=momentum)
    x = torch.randn(4, 3, 5, 5) + 2
    norm(x)
    before = {k: v.clone() for k, v in norm.state_dict().items()}
    with frozen_statistics(norm):
        y = norm(x)
    assert float(y.detach().mean().abs()) < 1e-6
    assert all(torch.equal(v, before[k]) for k, v in norm.state_dict().items())
    assert norm.momentum == momentum
    norm(x)
    assert int(norm.num_batches_tracked) == 2
