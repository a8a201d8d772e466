"""DARTS: a step on the architecture, then a step on the weights.

Source: arXiv 1806.09055, algorithm 1; quark0/darts: cnn/train_search.py, cnn/architect.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..strategy import Context
from .batches import Batch
from .curvature import Eigenvalues, epoch_to_return_to, largest_eigenvalue
from .expected_cost import ExpectedCost
from .gradients import (
    WeightStep,
    exact_second_order,
    first_order,
    frozen_statistics,
    second_order,
)
from .pieces import Pieces, gradients_of, value_of
from .sampling import set_mixture, temperature
from .trainer import Trainer

if TYPE_CHECKING:
    from .strategy import BilevelSearch


class BilevelTrainer(Trainer):
    """Alternates Adam on the logits (the validation half) and SGD on the weights (the other)."""

    recipe: BilevelSearch

    def __init__(self, recipe: BilevelSearch, context: Context, seed: int, name: str) -> None:
        super().__init__(recipe, context, seed, name)
        self.alphas = list(self.architecture_parameters())
        self.arch_optimizer = torch.optim.Adam(
            self.alphas,
            lr=recipe.arch_lr,
            betas=recipe.arch_betas,
            weight_decay=recipe.arch_weight_decay,
        )
        self.cost: ExpectedCost | None = None
        if recipe.cost:
            example = self.halves.valid(0).x[:1]
            self.cost = ExpectedCost(self.supernet, example, recipe.cost)
        self._eigenvalues = Eigenvalues()

    def architecture_parameters(self) -> Sequence[Tensor]:
        """Return what the architecture's optimizer trains."""
        return list(self.logits.rows)

    def mix(self) -> None:
        """Set the mixture that the logits say."""
        tau = temperature(self.recipe.sampling, self.done / self.steps)
        set_mixture(self.supernet, self.logits, self.recipe.sampling, tau)

    def parts(self) -> dict[str, Any]:
        """Return everything that has a state, by name."""
        own = {"arch_optimizer": self.arch_optimizer, "eigenvalues": self._eigenvalues}
        return {**super().parts(), **own}

    @torch.no_grad()
    def points(self, epoch: int) -> dict[str, float]:
        """Return expected costs relative to uniform logits, and the largest eigenvalue."""
        found: dict[str, float] = {}
        if self.cost is not None:
            costs = self.cost.relative(self.logits.weights())
            found = {f"expected_{metric}": float(value) for metric, value in costs.items()}
        if self.recipe.early_stop and epoch >= self.recipe.warmup_epochs:
            found["max_eigenvalue"] = self.crew.agreed(self._eigenvalue(epoch))
            self._eigenvalues.values.append(found["max_eigenvalue"])
        return found

    def stop_at(self) -> int | None:
        """Return the epoch to go back to, where the curvature says that it is time to stop."""
        found = epoch_to_return_to(self._eigenvalues.values) if self.recipe.early_stop else None
        return None if found is None else found + self.recipe.warmup_epochs

    def _eigenvalue(self, epoch: int) -> float:
        batch = self.halves.valid(self.steps + epoch)  # of no step
        with torch.enable_grad(), frozen_statistics(self.supernet):
            self.supernet.mix(self.logits.weights())
            decay = self.recipe.arch_weight_decay
            return largest_eigenvalue(self.loss(batch), list(self.logits.rows), decay)

    def step(self, epoch: int, train: Batch, valid: Batch) -> dict[str, Tensor]:
        """Take a step on the architecture (after the warm-up), then on the weights."""
        losses: dict[str, Tensor] = {}
        if epoch >= self.recipe.warmup_epochs:
            losses["valid_loss"] = self._step_architecture(train, valid)
        self.mix()
        loss = self.pieces(train)
        self.descend(loss)
        return {**losses, "train_loss": value_of(loss)}

    def _step_architecture(self, train: Batch, valid: Batch) -> Tensor:
        seen: list[Pieces] = []

        def loss(batch: Batch, weights: Sequence[Tensor] | None = None) -> Pieces:
            self.mix()
            value = self.pieces(batch, weights)
            if batch is valid:
                seen.append(value)
            return value

        with frozen_statistics(self.supernet):
            gradients = self._gradients(train, valid, loss)
        if self.recipe.beta_decay or self.cost is not None:
            added = gradients_of(self._added(), self.alphas)
            gradients = [g + a for g, a in zip(gradients, added, strict=True)]
        for alpha, gradient in zip(self.alphas, gradients, strict=True):
            alpha.grad = gradient
        self.arch_optimizer.step()
        self.arch_optimizer.zero_grad(set_to_none=True)
        return value_of(seen[0])

    def _added(self) -> Tensor:
        """Return what is added to the architecture's loss and depends on the logits alone."""
        rate = self.recipe.beta_decay * self.done / self.steps
        rows = [torch.logsumexp(row, 0) for row in self.logits.masked().values()]
        total = rate * torch.stack(rows).mean()
        return total if self.cost is None else total + self.cost(self.logits.weights())

    def _gradients(
        self, train: Batch, valid: Batch, loss: Callable[..., Pieces]
    ) -> Sequence[Tensor]:
        if self.recipe.order == 1:
            return first_order(partial(loss, valid), self.alphas, self.weights)
        ahead = WeightStep.of(self.weight_optimizer, self.weights)
        method = exact_second_order if self.recipe.hessian == "exact" else second_order
        return method(partial(loss, train), partial(loss, valid), self.weights, self.alphas, ahead)
