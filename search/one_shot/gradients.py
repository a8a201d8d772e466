"""Gradients of a bilevel problem with respect to the architecture: DARTS, first and second order.

    min_alpha L_val(w*(alpha), alpha)    with    w*(alpha) = argmin_w L_train(w, alpha)

Nothing here touches `.grad`, and weights that are moved are put back bit for bit, so that a step on
the architecture leaves no trace in the step on the weights.

Source: arXiv 1806.09055, section 2.3; quark0/darts: cnn/architect.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from .pieces import Value, gradients_of

Loss: TypeAlias = Callable[[], Value]  # at the current values, on a batch that stays the same
LossAt: TypeAlias = Callable[[Sequence[Tensor]], Value]  # at other weights

RADIUS = 0.01  # of the finite difference, in weight space


@dataclass(frozen=True)
class WeightStep:
    """The step that SGD is about to take on the weights.

    Args:
        lr: xi, the learning rate of the weights at this time.
        momentum: mu.
        weight_decay: Of the weights.
        buffers: The momentum of each weight; None before its first step.
    """

    lr: float
    momentum: float
    weight_decay: float
    buffers: Sequence[Tensor | None]

    @classmethod
    def of(cls, optimizer: torch.optim.Optimizer, weights: Sequence[Tensor]) -> WeightStep:
        """Return the next step of an SGD optimizer of one parameter group."""
        [group] = optimizer.param_groups
        buffers = [optimizer.state.get(w, {}).get("momentum_buffer") for w in weights]
        return cls(group["lr"], group["momentum"], group["weight_decay"], buffers)

    def after(self, weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
        """Return the weights after the step: w - xi (mu m + g + lambda w)."""
        moved = []
        for w, g, buffer in zip(weights, gradients, self.buffers, strict=True):
            change = g + self.weight_decay * w
            if buffer is not None:
                change = change + self.momentum * buffer
            moved.append(w - self.lr * change)
        return moved


def first_order(
    valid: Loss, alphas: Sequence[Tensor], weights: Sequence[Tensor] = ()
) -> list[Tensor]:
    """Return d L_val(w, alpha) / d alpha: the weights are taken to be those of alpha already.

    One forward and backward pass.

    Args:
        valid: L_val on a batch.
        alphas: alpha.
        weights: w, for which nothing is recorded.
    """
    with unrecorded(weights):
        return gradients_of(valid(), alphas)


def second_order(
    train: Loss,
    valid: Loss,
    weights: Sequence[Tensor],
    alphas: Sequence[Tensor],
    step: WeightStep,
    radius: float = RADIUS,
) -> list[Tensor]:
    """Return the gradient of L_val after one step of training, its implicit part by differences.

    With w' = w after `step` and v = d L_val(w', alpha) / dw', it is

        d L_val(w', alpha) / d alpha
            - xi [d L_train(w + eps v) / d alpha - d L_train(w - eps v) / d alpha] / (2 eps)

    with eps = radius / |v| over all weights. Four forward and backward passes. The weights have
    their old bits afterwards.

    Args:
        train: L_train on a batch.
        valid: L_val on a batch.
        weights: w, changed in place meanwhile.
        alphas: alpha.
        step: The step on the weights to look ahead by.
        radius: How far the weights are moved to either side.
    """
    kept = [w.detach().clone() for w in weights]
    try:
        ahead = gradients_of(train(), weights)
        _set(weights, step.after(kept, ahead))
        both = gradients_of(valid(), [*alphas, *weights])
        direct, vector = both[: len(alphas)], both[len(alphas) :]
        norm = torch.sqrt(sum((v.double() ** 2).sum() for v in vector) + torch.zeros(()).double())
        if step.lr == 0 or not float(norm):
            return direct
        eps = radius / float(norm)
        sides = []
        for sign in (1.0, -1.0):
            _set(weights, [w + sign * eps * v for w, v in zip(kept, vector, strict=True)])
            with unrecorded(weights):
                sides.append(gradients_of(train(), alphas))
    finally:
        _set(weights, kept)
    return [
        d - step.lr * (plus - minus) / (2 * eps)
        for d, plus, minus in zip(direct, *sides, strict=True)
    ]


def exact_second_order(
    train: LossAt,
    valid: LossAt,
    weights: Sequence[Tensor],
    alphas: Sequence[Tensor],
    step: WeightStep,
) -> list[Tensor]:
    """Return the gradient of L_val after one step of training, differentiated through the step.

    What `second_order` approximates; takes the memory of a second derivative.

    Args:
        train: L_train as a function of the weights.
        valid: L_val as a function of the weights.
        weights: w.
        alphas: alpha.
        step: The step on the weights to look ahead by.
    """
    ahead = gradients_of(train(weights), weights, again=True)
    return gradients_of(valid(step.after(weights, ahead)), alphas)


@contextmanager
def unrecorded(weights: Sequence[Tensor]) -> Iterator[None]:
    """Record nothing for weights in a pass of which the architecture's gradient alone is wanted.

    Asking for that gradient alone is not enough: what a layer would need for the gradient of its
    weights is kept all the same, and layers with a backward pass of their own compute it.
    """
    before = [weight.requires_grad for weight in weights]
    try:
        for weight in weights:
            weight.requires_grad_(False)
        yield
    finally:
        for weight, recorded in zip(weights, before, strict=True):
            weight.requires_grad_(recorded)


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Normalise by batches as in training, without moving the running statistics.

    The original code moves them in every pass of the architecture's step, with batches that the
    weights are not trained on and, in second order, with weights that are thrown away.
    """
    norms: list[Any] = [m for m in module.modules() if _counts(m)]
    momenta = [m.momentum for m in norms]
    counts = [m.num_batches_tracked for m in norms]
    seen = torch.stack(counts).unbind() if counts else ()  # a copy, in one step
    try:
        for m in norms:
            m.momentum = 0.0
        yield
    finally:
        for m, momentum in zip(norms, momenta, strict=True):
            m.momentum = momentum
        if counts:
            torch._foreach_copy_(counts, seen)


def _counts(module: nn.Module) -> bool:
    """Return whether a module keeps running statistics."""
    return isinstance(module._buffers.get("num_batches_tracked"), Tensor)


@torch.no_grad()
def _set(weights: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for weight, value in zip(weights, values, strict=True):
        weight.copy_(value)
