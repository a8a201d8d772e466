"""ProxylessNAS: steps on the weights of one drawn path, now and then one on the architecture.

Source: arXiv 1812.00332; mit-han-lab/proxylessnas: search/nas_manager.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..strategy import Context
from .batches import Batch
from .bilevel import BilevelTrainer
from .binary import draw_gates, draw_path, gate_gradients, keep_others, logit_gradients, run_path
from .gradients import unrecorded
from .penalty import PathCost
from .pieces import gradients_of, value_of
from .trainer import half_cosine

if TYPE_CHECKING:
    from ..strategies.proxyless import Proxyless


class ProxylessTrainer(BilevelTrainer):
    """SGD on the weights of a path, every few steps Adam on the logits by the gates' gradients."""

    recipe: Proxyless

    def __init__(self, recipe: Proxyless, context: Context, seed: int, name: str) -> None:
        super().__init__(recipe, context, seed, name)
        for group in self.weight_optimizer.param_groups:
            group["nesterov"] = recipe.nesterov
        self._cost: PathCost | None = None
        if recipe.terms.reference:
            self._cost = PathCost(self.supernet, self.halves.valid(0).x[:1], recipe.terms)

    def mix(self) -> None:
        """Run a path alone, drawn by the logits."""
        run_path(self.supernet, draw_path(self.logits))

    def rate(self, epoch: int) -> float:
        """Return the weights' learning rate: a half cosine over the warm-up, another after it."""
        recipe, first = self.recipe, self.recipe.warmup_epochs
        if epoch < first:
            return recipe.warmup_lr * half_cosine(epoch, first)
        share = half_cosine(epoch - first, recipe.epochs - first)
        return recipe.lr_min + (recipe.lr - recipe.lr_min) * share

    def step(self, epoch: int, train: Batch, valid: Batch) -> dict[str, Tensor]:
        """Take a step on the weights of a path, then, if it is time, on the logits.

        It is time every `arch_every` steps, from the second epoch after the warm-up on.
        """
        losses = {"train_loss": self.train_weights(train)}
        if epoch > self.recipe.warmup_epochs and self._due(self.done):
            value = self._step_logits(valid)
            first = epoch * self.halves.steps
            among = sum(map(self._due, range(first, first + self.halves.steps)))
            losses["valid_loss"] = value * (self.halves.steps / among)  # the mean over its steps
        return losses

    def train_weights(self, train: Batch) -> Tensor:
        """Take a step on the weights of a path; return its loss."""
        self.mix()
        loss = self.pieces(train)
        self.descend(loss)
        return value_of(loss)

    @torch.no_grad()
    def points(self, epoch: int) -> dict[str, float]:
        """Return the expected costs."""
        if self._cost is None:
            return {}
        costs = self._cost.expected(self.logits.weights())
        return {f"expected_{metric}": float(value) for metric, value in costs.items()}

    def _due(self, step: int) -> bool:
        return (step + 1) % self.recipe.arch_every == 0

    def _step_logits(self, valid: Batch) -> Tensor:
        drawn = draw_gates(self.logits, self.recipe.gates)
        before = {n: r.detach().clone() for n, r in zip(drawn, self.logits.rows, strict=True)}
        loss = self.pieces(valid, frozen=True)
        with unrecorded(self.weights):
            gates = gate_gradients(self.supernet, self.logits, drawn, lambda: loss)
        error = value_of(loss)
        factor, direct = self._penalty(error)
        through = logit_gradients(self.logits, drawn, gates)
        for row, a, b in zip(self.logits.rows, through, direct, strict=True):
            row.grad = factor * a + b
        self.arch_optimizer.step()
        self.arch_optimizer.zero_grad(set_to_none=True)
        if self.recipe.gates == "two":
            keep_others(self.logits, drawn, before)
        return error

    def _penalty(self, error: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return by what the cost multiplies the error's gradient, and its own by the logits."""
        rows = list(self.logits.rows)
        if self._cost is None:
            return torch.ones_like(error), [torch.zeros_like(row) for row in rows]
        error = error.detach().requires_grad_()
        total = self.recipe.terms.loss(error, self._cost.expected(self.logits.weights()))
        factor, *direct = gradients_of(total, [error, *rows])
        return factor, direct
