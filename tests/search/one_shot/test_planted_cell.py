"""A search that knows the answer: a student cell imitates a discrete teacher cell.

Two inputs, four nodes that add two edges each, five operations; chance recovers 1.3 of the 8 pairs
of edge and operation.
"""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from netloom.search.one_shot.gradients import first_order
from netloom.search.one_shot.pieces import gradients_of
from netloom.search.one_shot.relaxed import Relaxed

CHANNELS, NODES = 4, 4
EDGES = [(i, j) for i in range(2, 2 + NODES) for j in range(i)]


class Depthwise(nn.Conv2d):
    def __init__(self):
        super().__init__(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS, bias=False)


def operations():
    return nn.ModuleList(
        [
            nn.MaxPool2d(3, 1, 1),
            nn.AvgPool2d(3, 1, 1, count_include_pad=False),
            nn.Identity(),
            Depthwise(),
        ]
    )


class Cell(nn.Module):
    """Every operation on every edge; column 0 of the weights is `none`."""

    def __init__(self):
        super().__init__()
        self.edges = nn.ModuleList(operations() for _ in EDGES)

    def forward(self, inputs, weights):
        states = list(inputs)
        for node in range(2, 2 + NODES):
            total = 0
            for k, (i, j) in enumerate(EDGES):
                if i == node:
                    for column, op in enumerate(self.edges[k], start=1):
                        share = weights[k][column]
                        if not isinstance(share, float) or share:
                            total = total + share * op(states[j])
            states.append(total)
        return torch.cat(states[2:], 1)


def planted(seed):
    """Return a teacher's outputs on batches, and its (edge, operation) pairs."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    teacher = Cell()
    chosen = {}
    for node in range(2, 2 + NODES):
        for j in draw.sample(range(node), 2):
            chosen[EDGES.index((node, j))] = draw.randrange(1, 5)
    weights = [[float(chosen.get(k) == c) for c in range(5)] for k in range(len(EDGES))]

    def batch():
        x = torch.randn(2, 16, CHANNELS, 8, 8)
        with torch.no_grad():
            return x, teacher(x, weights)

    return batch, set(chosen.items())


def derived(alphas):
    found = set()
    rows = [torch.softmax(a.detach(), 0) for a in alphas]
    for node in range(2, 2 + NODES):
        own = [k for k, (i, _) in enumerate(EDGES) if i == node]
        best = sorted(own, key=lambda k: -float(rows[k][1:].max()))[:2]
        found |= {(k, 1 + int(rows[k][1:].argmax())) for k in best}
    return found


def loss(cell, alphas, batch):
    x, y = batch
    return F.mse_loss(cell(x, [torch.softmax(a, 0) for a in alphas]), y)


def darts(batch, iterations):
    cell, alphas = Cell(), logits()
    weights = list(cell.parameters())
    adam, sgd = torch.optim.Adam(alphas, lr=0.05), torch.optim.SGD(weights, lr=0.05)
    for _ in range(iterations):
        train, valid = batch(), batch()
        step(adam, alphas, first_order(lambda v=valid: loss(cell, alphas, v), alphas))
        step(sgd, weights, gradients_of(loss(cell, alphas, train), weights))
    return alphas


def rarts(batch, iterations):
    w, y, alphas = Cell(), Cell(), logits()
    y.load_state_dict(w.state_dict())
    adam = torch.optim.Adam(alphas, lr=0.05)
    own, twin = list(w.parameters()), list(y.parameters())
    sgd = [torch.optim.SGD(weights, lr=0.05) for weights in (own, twin)]
    problem = Relaxed(own, twin, alphas, train_weight=1.0, coupling=1.0, mode="fused")
    for _ in range(iterations):
        train, valid = batch(), batch()
        problem.step(
            lambda t=train: loss(w, alphas, t),
            lambda v=valid: loss(y, alphas, v),
            lambda g: step(sgd[0], own, g),
            lambda g: step(sgd[1], twin, g),
            lambda g: step(adam, alphas, g),
        )
    return alphas


def logits():
    return [(1e-3 * torch.randn(5)).requires_grad_() for _ in EDGES]


def step(optimizer, tensors, gradients):
    for t, g in zip(tensors, gradients, strict=True):
        t.grad = g
    optimizer.step()


@pytest.mark.full
@pytest.mark.parametrize("method", [darts, rarts])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_planted_cell_is_recovered(method, seed):
    batch, chosen = planted(seed)
    assert len(derived(method(batch, 400)) & chosen) >= 6
