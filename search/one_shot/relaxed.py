"""RARTS: one loss over two coupled copies of the weights instead of a bilevel problem.

    L(y, w, alpha) = L_val(y, alpha) + lambda L_train(w, alpha) + beta / 2 |y - w|^2

is minimised jointly, w, y and alpha in turn: the architecture learns from both halves of the data,
without second derivatives.

Source: arXiv 2008.03901. No code was published and only the abstract could be read: the form of L
and of the steps is recalled, the fixed points of the solvable model (tests) follow from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from ..strategy import Context
from .batches import Batch
from .gradients import Loss, unrecorded
from .pieces import Value, gradients_of, value_of
from .trainer import Trainer

if TYPE_CHECKING:
    from ...spaces.layers import ModuleSupernet
    from ..strategies.rarts import Rarts

Move: TypeAlias = Callable[[Sequence[Tensor]], None]  # takes a step by gradients


@dataclass(frozen=True)
class Relaxed:
    """The three coupled problems, and one round of steps on them.

    Args:
        w: Weights that learn from the training half.
        y: Weights that learn from the validation half.
        alphas: The architecture.
        train_weight: lambda.
        coupling: beta.
        mode: `strict` takes the architecture's gradient at the new w and y (four passes), `fused`
            from the two passes that moved them.
    """

    w: Sequence[Tensor]
    y: Sequence[Tensor]
    alphas: Sequence[Tensor]
    train_weight: float
    coupling: float
    mode: Literal["strict", "fused"] = "strict"

    def step(
        self, train: Loss, valid: Loss, move_w: Move, move_y: Move, move_alpha: Move
    ) -> tuple[Tensor, Tensor]:
        """Move w, then y (towards the new w), then alpha.

        Args:
            train: L_train(w, alpha) on a batch.
            valid: L_val(y, alpha) on a batch.
            move_w: Takes a step on w.
            move_y: Takes a step on y.
            move_alpha: Takes a step on alpha.

        Returns:
            L_train and L_val before the step.
        """
        train_loss = train()
        both = gradients_of(train_loss, [*self.w, *self.alphas], self.train_weight)
        own, first = both[: len(self.w)], both[len(self.w) :]
        move_w(self._pulled(own, self.w, self.y))
        valid_loss = valid()
        both = gradients_of(valid_loss, [*self.y, *self.alphas])
        own, second = both[: len(self.y)], both[len(self.y) :]
        move_y(self._pulled(own, self.y, self.w))
        if self.mode == "strict":
            with unrecorded([*self.w, *self.y]):
                first = gradients_of(train(), self.alphas, self.train_weight)
                second = gradients_of(valid(), self.alphas)
        move_alpha([a + b for a, b in zip(first, second, strict=True)])
        return value_of(train_loss), value_of(valid_loss)

    @torch.no_grad()
    def distance(self) -> Tensor:
        """Return |y - w|."""
        squares = [((y - w) ** 2).sum() for y, w in zip(self.y, self.w, strict=True)]
        return torch.stack(squares).sum().sqrt()

    def value(self, train_loss: Tensor, valid_loss: Tensor) -> Tensor:
        """Return L."""
        return (
            valid_loss + self.train_weight * train_loss + self.coupling / 2 * self.distance() ** 2
        )

    @torch.no_grad()
    def _pulled(
        self, gradients: Sequence[Tensor], own: Sequence[Tensor], other: Sequence[Tensor]
    ) -> list[Tensor]:
        return [g + self.coupling * (a - b) for g, a, b in zip(gradients, own, other, strict=True)]


class RelaxedTrainer(Trainer):
    """RARTS on a super-network: two copies with their own statistics, one table of logits."""

    recipe: Rarts

    def __init__(self, recipe: Rarts, context: Context, seed: int, name: str) -> None:
        super().__init__(recipe, context, seed, name)
        self.twin = deepcopy(self.supernet)  # y starts as w
        self.twin_weights = [p for p in self.twin.parameters() if p.requires_grad]
        self.twin_optimizer = torch.optim.SGD(
            self.twin_weights,
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            foreach=True,
        )
        self.alphas = self.architecture_parameters()
        self.arch_optimizer = self.make_arch_optimizer()
        self.problem = Relaxed(
            self.weights,
            self.twin_weights,
            self.alphas,
            recipe.train_weight,
            recipe.coupling,
            recipe.mode,
        )

    def architecture_parameters(self) -> list[Tensor]:
        """Return alpha."""
        return list(self.logits.rows)

    def make_arch_optimizer(self) -> torch.optim.Optimizer:
        """Return what takes the steps on alpha."""
        return torch.optim.Adam(
            self.alphas,
            lr=self.recipe.arch_lr,
            betas=self.recipe.arch_betas,
            weight_decay=self.recipe.arch_weight_decay,
        )

    def set(self, network: ModuleSupernet) -> None:
        """Let a copy run as alpha says."""
        network.mix(self.logits.weights())

    def parts(self) -> dict[str, Any]:
        """Return everything that has a state, by name."""
        return {
            **super().parts(),
            "twin": self.twin,
            "twin_optimizer": self.twin_optimizer,
            "arch_optimizer": self.arch_optimizer,
        }

    def step(self, epoch: int, train: Batch, valid: Batch) -> dict[str, Tensor]:
        """Take a round of steps: w, y, alpha."""
        for group in self.twin_optimizer.param_groups:
            group["lr"] = self.rate(epoch)
        losses = self.problem.step(
            _Counted(self, self.supernet, train),
            _Counted(self, self.twin, valid),
            lambda g: self._descend(self.weight_optimizer, self.weights, g),
            lambda g: self._descend(self.twin_optimizer, self.twin_weights, g),
            self.move_architecture if epoch >= self.recipe.warmup_epochs else _stay,
        )
        return {
            "train_loss": losses[0],
            "valid_loss": losses[1],
            "relaxed_loss": self.problem.value(*losses),
            "distance": self.problem.distance(),
        }

    def move_architecture(self, gradients: Sequence[Tensor]) -> None:
        """Take a step on alpha."""
        self._descend(self.arch_optimizer, self.alphas, gradients, clip=False)

    def _descend(
        self,
        optimizer: torch.optim.Optimizer,
        tensors: Sequence[Tensor],
        gradients: Sequence[Tensor],
        clip: bool = True,
    ) -> None:
        for tensor, gradient in zip(tensors, gradients, strict=True):
            tensor.grad = gradient
        if clip and self.recipe.grad_clip:
            nn.utils.clip_grad_norm_(tensors, self.recipe.grad_clip, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


class _Counted:
    """The loss of a copy on a batch; statistics move in its first pass only."""

    def __init__(self, trainer: RelaxedTrainer, network: Any, batch: Batch) -> None:
        self._trainer, self._network, self._batch = trainer, network, batch
        self._first = True

    def __call__(self) -> Value:
        self._trainer.set(self._network)
        frozen, self._first = not self._first, False
        return self._trainer.pieces(self._batch, network=self._network, frozen=frozen)


def _stay(gradients: Sequence[Tensor]) -> None:
    """Take no step: the warm-up trains weights alone."""
