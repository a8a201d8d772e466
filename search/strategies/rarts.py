"""RARTS: a single-level relaxation of the architecture search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ...errors import SpecError
from ..one_shot.strategy import GradientSearch, check_options
from ..strategy import Context
from .darts import Count, Positive, Share

if TYPE_CHECKING:
    from ..one_shot.trainer import Trainer


class Rarts(GradientSearch):
    """Minimises L_val(y) + lambda L_train(w) + beta / 2 |y - w|^2 over y, w and the logits.

    Two copies of the super-network, each with batch-norm statistics of its own, learn from the two
    halves of the training split and are pulled together; the logits learn from both, without a
    second derivative. `strict` takes their gradient at the new copies (four forward and backward
    passes per iteration), `fused` from the two passes that moved the copies.

    Only the abstract of the paper could be read and no code was published: the form of the loss
    and the order of the steps are recalled, the optimizers are those of `darts`, and the values of
    lambda and beta are chosen here.

    Source: Xue et al., arXiv:2008.03901.

    Args:
        train_weight: lambda, how much the training half counts.
        coupling: beta, how strongly the copies pull each other; times `lr` it must stay well
            below 1.
        mode: `strict` or `fused`.
        epochs: Passes over the weights' half.
        batch_size: Examples of a step, of either half.
        augment: Any of `crop`, `flip`, `cutout`, for both halves.
        train_share: Of the training split that w learns from.
        lr: Learning rate of both copies at the start, `lr_min` at the end of a half cosine.
        lr_min: See `lr`.
        momentum: Of both copies.
        weight_decay: Of both copies.
        grad_clip: Largest norm of a copy's whole gradient; None: no limit.
        arch_lr: Learning rate of the logits.
        arch_betas: Of their Adam.
        arch_weight_decay: Of the logits.
        warmup_epochs: Epochs at the start in which only weights are trained.
        searches: Searches from different seeds; each proposes its own architecture.
        propose: `final`: what each search ends with; `epochs`: also what it would have ended with
            after earlier epochs, the latest first.
        max_skips: Skip connections allowed when an architecture is derived (of `darts`: in the
            normal cell); the lightest go first (arXiv 1904.12760). None: any number.
        limits: Metric -> most that a derived architecture may cost: `macs`, `params`,
            `peak_activation_bytes`, or a metric of a device (`latency_ms@v100`).
        supernet: Options of the space's super-network (`channels`, `layers` of `darts`).
        amp: Mixed precision (bfloat16) on CUDA.
        checkpoint_minutes: Between two checkpoints.

    Raises:
        SpecError: If the coupling is too strong for the learning rate.
    """

    name: ClassVar[str] = "rarts"

    def __init__(
        self,
        *,
        train_weight: Annotated[float, Field(ge=0)] = 1.0,
        coupling: Annotated[float, Field(ge=0)] = 1.0,
        mode: Literal["strict", "fused"] = "strict",
        epochs: Count = 50,
        batch_size: Count = 64,
        augment: list[Literal["crop", "flip", "cutout"]] | None = None,
        train_share: Share = 0.5,
        lr: Positive = 0.025,
        lr_min: Annotated[float, Field(ge=0)] = 0.001,
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9,
        weight_decay: Annotated[float, Field(ge=0)] = 3e-4,
        grad_clip: Positive | None = 5.0,
        arch_lr: Positive = 3e-4,
        arch_betas: tuple[Share, Share] = (0.5, 0.999),
        arch_weight_decay: Annotated[float, Field(ge=0)] = 1e-3,
        warmup_epochs: Annotated[int, Field(ge=0)] = 0,
        searches: Count = 1,
        propose: Literal["final", "epochs"] = "final",
        max_skips: Annotated[int, Field(ge=0)] | None = None,
        limits: Mapping[str, Positive] | None = None,
        supernet: Mapping[str, Any] | None = None,
        amp: bool = False,
        checkpoint_minutes: Positive = 5.0,
    ) -> None:
        self.train_weight, self.coupling, self.mode = train_weight, coupling, mode
        self.epochs, self.batch_size, self.augment = epochs, batch_size, tuple(augment or ())
        self.train_share, self.lr, self.lr_min = train_share, lr, lr_min
        self.momentum, self.weight_decay, self.grad_clip = momentum, weight_decay, grad_clip
        self.arch_lr, self.arch_betas = arch_lr, arch_betas
        self.arch_weight_decay, self.warmup_epochs = arch_weight_decay, warmup_epochs
        self.searches, self.propose, self.supernet = searches, propose, dict(supernet or {})
        self.max_skips, self.limits = max_skips, dict(limits or {})
        self.amp, self.checkpoint_minutes = amp, checkpoint_minutes
        check_options(self)
        if lr * coupling >= 1:
            raise SpecError(
                f"coupling times lr must be below 1, got {coupling:g} x {lr:g}: the copies would "
                "jump over each other; lower one of them"
            )

    def trainer(self, context: Context, seed: int, name: str) -> Trainer:
        """Return the search that starts from `seed`."""
        from ..one_shot.relaxed import RelaxedTrainer

        return RelaxedTrainer(self, context, seed, name)
