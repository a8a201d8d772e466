"""DARTS: differentiable architecture search, first and second order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ...errors import SpecError
from ..one_shot.strategy import BilevelSearch, NotNegative, Positive
from ..strategy import Context

if TYPE_CHECKING:
    from ..one_shot.trainer import Trainer


class Darts(BilevelSearch):
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

    Raises:
        SpecError: If options contradict each other.
    """

    name: ClassVar[str] = "darts"

    def __init__(
        self,
        *,
        order: Literal[1, 2] = 1,
        hessian: Literal["difference", "exact"] = "difference",
        sampling: Literal["softmax", "snas", "gdas", "drnas"] = "softmax",
        beta_decay: NotNegative = 0.0,
        cost: Mapping[str, Positive] | None = None,
        early_stop: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.order, self.hessian = order, hessian
        self.sampling, self.beta_decay = sampling, beta_decay
        self.cost, self.early_stop = dict(cost or {}), early_stop
        if order == 2 and sampling != "softmax":
            raise SpecError(
                f"sampling: {sampling} needs order 1, got order 2: each pass that looks ahead "
                "would draw other weights"
            )
        if order == 2 and hessian == "exact" and self.accumulate > 1:
            raise SpecError(
                f"hessian: exact differentiates through the step, which needs all of a batch in "
                f"memory: accumulate must be 1, got {self.accumulate}; set hessian: difference"
            )

    def trainer(self, context: Context, seed: int, name: str) -> Trainer:
        """Return the search that starts from `seed`."""
        from ..one_shot.bilevel import BilevelTrainer

        return BilevelTrainer(self, context, seed, name)
