"""DARTS: differentiable architecture search, first and second order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ...errors import SpecError
from ..one_shot.strategy import GradientSearch, check_options
from ..strategy import Context

if TYPE_CHECKING:
    from ..one_shot.trainer import Trainer

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


class Darts(GradientSearch):
    """Trains the mixture of all options, and its logits by gradients; proposes what is heaviest.

    Every iteration takes a step of Adam on the logits, by the loss on one half of the training
    split, and a step of SGD on the weights, by the loss on the other half. In first order the
    weights are taken as they are; in second order the logits' gradient looks one step of SGD
    ahead, momentum and weight decay included, its second derivative by a finite difference
    (`hessian: difference`, the paper's) or in full (`exact`). Two and five forward and backward
    passes per iteration.

    Deviations: running statistics of batch norms do not move in the step on the logits; the two
    halves are drawn at random, once.

    Source: Liu et al., arXiv:1806.09055; quark0/darts: cnn/train_search.py, cnn/architect.py.

    Args:
        epochs: Passes over the weights' half.
        order: 1 or 2.
        hessian: How the second derivative is taken.
        sampling: Which weights a pass has: `softmax` (the paper's), or those that other methods
            draw: `snas`, `gdas`, `drnas` (first order only).
        beta_decay: Weight of mean logsumexp of the rows in the logits' loss at the end of a linear
            rise (arXiv 2203.01665; 0: none), against logits that grow apart.
        cost: Metric -> weight of its expectation in the logits' loss: `macs`, `params`,
            `latency_ms@DEVICE`, `energy_mj@DEVICE`; 1 makes "as expensive as uniform logits" count
            as much as a loss of 1.
        early_stop: Whether the search stops when the largest eigenvalue of the Hessian over the
            logits rises (arXiv 1909.09656), and goes back to the epoch before; it takes a backward
            pass per logit in each epoch.
        batch_size: Examples of a step, of either half.
        augment: Any of `crop`, `flip`, `cutout`, for both halves.
        train_share: Of the training split that the weights learn from.
        lr: Learning rate of the weights at the start, `lr_min` at the end of a half cosine.
        lr_min: See `lr`.
        momentum: Of the weights.
        weight_decay: Of the weights.
        grad_clip: Largest norm of the weights' gradient; None: no limit.
        arch_lr: Learning rate of the logits.
        arch_betas: Of their Adam.
        arch_weight_decay: Of the logits.
        warmup_epochs: Epochs at the start in which only weights are trained.
        searches: Searches from different seeds; each proposes its own architecture, and the
            estimators say which is best.
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
        SpecError: If options contradict each other.
    """

    name: ClassVar[str] = "darts"

    def __init__(
        self,
        *,
        epochs: Count = 50,
        order: Literal[1, 2] = 1,
        hessian: Literal["difference", "exact"] = "difference",
        sampling: Literal["softmax", "snas", "gdas", "drnas"] = "softmax",
        beta_decay: Annotated[float, Field(ge=0)] = 0.0,
        cost: Mapping[str, Positive] | None = None,
        early_stop: bool = False,
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
        self.epochs, self.order, self.hessian = epochs, order, hessian
        self.sampling, self.beta_decay = sampling, beta_decay
        self.cost, self.early_stop = dict(cost or {}), early_stop
        self.batch_size, self.augment = batch_size, tuple(augment or ())
        self.train_share, self.lr, self.lr_min = train_share, lr, lr_min
        self.momentum, self.weight_decay, self.grad_clip = momentum, weight_decay, grad_clip
        self.arch_lr, self.arch_betas = arch_lr, arch_betas
        self.arch_weight_decay, self.warmup_epochs = arch_weight_decay, warmup_epochs
        self.searches, self.propose, self.supernet = searches, propose, dict(supernet or {})
        self.max_skips, self.limits = max_skips, dict(limits or {})
        self.amp, self.checkpoint_minutes = amp, checkpoint_minutes
        check_options(self)
        if order == 2 and sampling != "softmax":
            raise SpecError(
                f"sampling: {sampling} needs order 1, got order 2: each pass that looks ahead "
                "would draw other weights"
            )

    def trainer(self, context: Context, seed: int, name: str) -> Trainer:
        """Return the search that starts from `seed`."""
        from ..one_shot.bilevel import BilevelTrainer

        return BilevelTrainer(self, context, seed, name)
