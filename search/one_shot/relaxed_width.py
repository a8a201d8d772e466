"""RARTS on widths: scores of channels in place of logits, made sparse by an L1 term.

    L(y, w, alpha) = L_val(y, alpha) + lambda L_train(w, alpha) + beta / 2 |y - w|^2 + mu |alpha|_1

Source: arXiv 2008.03901 (recalled; see `relaxed`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ...spaces import Architecture
from ...spaces.layers import ModuleSupernet
from .batches import Batch
from .relaxed import RelaxedTrainer
from .widths import Scores, proximal_step, widest_supernet

if TYPE_CHECKING:
    from ..strategies.rarts_width import RartsWidth


class WidthTrainer(RelaxedTrainer):
    """Two copies at their largest widths, one table of channel scores."""

    recipe: RartsWidth

    def make_supernet(self) -> ModuleSupernet:
        """Return the super-network at its largest widths."""
        return widest_supernet(self.context.space, self.recipe.supernet)

    def architecture_parameters(self) -> list[Tensor]:
        """Return the scores of all channels."""
        self.scores = Scores(self.supernet).to(self.device)
        return list(self.scores.rows)

    def make_arch_optimizer(self) -> torch.optim.Optimizer:
        """Return plain gradient descent, whose proximal step is `move_architecture`'s."""
        return torch.optim.SGD(self.alphas, lr=self.recipe.arch_lr)

    def set(self, network: ModuleSupernet) -> None:
        """Do nothing: scores are applied in `loss`."""

    def loss(
        self,
        batch: Batch,
        weights: Sequence[Tensor] | None = None,
        network: nn.Module | None = None,
    ) -> Tensor:
        """Return the mean loss of a copy with its channels multiplied by their scores."""
        with self.scores.applied(network or self.supernet):
            return super().loss(batch, weights, network)

    def move_architecture(self, gradients: Sequence[Tensor]) -> None:
        """Take a proximal step on the scores."""
        proximal_step(self.alphas, gradients, self.recipe.arch_lr, self.recipe.sparsity)

    def parts(self) -> dict[str, Any]:
        """Return everything that has a state, by name."""
        return {**super().parts(), "scores": self.scores}

    def step(self, epoch: int, train: Batch, valid: Batch) -> dict[str, Tensor]:
        """Take a round of steps: w, y, alpha."""
        losses = super().step(epoch, train, valid)
        sparse = self.recipe.sparsity * self.scores.norm()
        return {**losses, "relaxed_loss": losses["relaxed_loss"] + sparse}

    def derived(self) -> Architecture:
        """Return the smallest widths that hold the channels which are kept."""
        return self.scores.derived(self.context.space, self.recipe.threshold)

    def points(self, epoch: int) -> dict[str, float]:
        """Return how many channels are kept."""
        return {"channels": float(sum(self.scores.kept(self.recipe.threshold).values()))}
