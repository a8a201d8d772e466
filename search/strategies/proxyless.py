"""ProxylessNAS: one path at a time, its architecture learned by binary gates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ...errors import SpecError
from ..one_shot.strategy import BilevelSearch, Count, NotNegative, Positive, Share
from ..strategy import Context

if TYPE_CHECKING:
    from ..one_shot.penalty import Terms
    from ..one_shot.trainer import Trainer


class Proxyless(BilevelSearch):
    """Trains one path of the super-network per step, drawn by a softmax of logits.

    Every few steps the logits take a step on the other half of the training split: the options'
    gates, of which one is open, have gradients by what each option gives or would have given.
    With `gates: two` only two options of each decision run for that, and their probabilities
    alone change; with `all` every option runs. In memory and time a step on the weights is that
    of a network of the space. Paths of the warm-up are uniform, and in the first epoch after it
    the logits rest.

    With `reference` the cost that a path is expected to have enters the logits' loss, in the
    metric's own unit (MACs; milliseconds on a device).

    Deviations: steps on the logits are counted through the epochs, so that epochs shorter than
    `arch_every` have some; no label smoothing; running statistics of batch norms do not move in
    the step on the logits; half of the training split is the logits' (`train_share`), the paper
    keeps 10,000 images of ImageNet.

    Source: Cai et al., arXiv:1812.00332; mit-han-lab/proxylessnas: search/nas_manager.py,
    search/modules/mix_op.py.

    Args:
        gates: How many options of each decision run in a step on the logits: `two`, or `all`.
        arch_every: Steps on the weights for each step on the logits.
        reference: Metric -> the cost that is wanted: `macs`, `params`, `latency_ms@DEVICE`,
            `energy_mj@DEVICE` (the paper: 80 ms on a phone).
        penalty: `add`: `penalty_weight` (E[cost] - reference) / reference is added to the loss;
            `multiply`: the loss is times `penalty_scale` (log E[cost] / log reference) to the
            power `penalty_power`.
        penalty_weight: See `penalty`.
        penalty_scale: See `penalty`.
        penalty_power: See `penalty`.
        epochs: Passes over the weights' half, the warm-up among them.
        warmup_epochs: Epochs at the start in which only weights are trained.
        warmup_lr: Learning rate of the weights at the start of the warm-up, 0 at its end.
        lr: After the warm-up, `lr_min` at the end of a half cosine.
        lr_min: See `lr`.
        nesterov: Whether the weights' momentum is Nesterov's.

    Raises:
        SpecError: If options contradict each other.
    """

    name: ClassVar[str] = "proxyless"

    def __init__(
        self,
        *,
        gates: Literal["two", "all"] = "two",
        arch_every: Count = 5,
        reference: Mapping[str, Positive] | None = None,
        penalty: Literal["add", "multiply"] = "add",
        penalty_weight: Positive = 0.1,
        penalty_scale: Positive = 0.2,
        penalty_power: Positive = 0.3,
        epochs: Count = 160,
        warmup_epochs: Annotated[int, Field(ge=0)] = 40,
        warmup_lr: Positive = 0.05,
        lr: Positive = 0.025,
        lr_min: NotNegative = 0.0,
        nesterov: bool = True,
        weight_decay: NotNegative = 4e-5,
        grad_clip: Positive | None = None,
        arch_lr: Positive = 1e-3,
        arch_betas: tuple[Annotated[float, Field(ge=0, lt=1)], Share] = (0.0, 0.999),
        arch_weight_decay: NotNegative = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(
            epochs=epochs,
            warmup_epochs=warmup_epochs,
            lr=lr,
            lr_min=lr_min,
            weight_decay=weight_decay,
            grad_clip=grad_clip,
            arch_lr=arch_lr,
            arch_betas=arch_betas,
            arch_weight_decay=arch_weight_decay,
            **options,
        )
        self.gates, self.arch_every, self.nesterov = gates, arch_every, nesterov
        self.warmup_lr, self.reference = warmup_lr, dict(reference or {})
        self.penalty, self.penalty_weight = penalty, penalty_weight
        self.penalty_scale, self.penalty_power = penalty_scale, penalty_power
        self._check()

    def _check(self) -> None:
        if self.reference:
            _ = self.terms
        if self.epochs < self.warmup_epochs + 2:
            raise SpecError(
                f"epochs must be at least {self.warmup_epochs + 2}: the warm-up "
                f"({self.warmup_epochs}), one in which the logits rest, and one in which they "
                f"learn; got {self.epochs}"
            )
        if self.nesterov and not self.momentum:
            raise SpecError("nesterov needs momentum, got 0; set nesterov: false")
        if self.gates == "two" and (self.arch_betas[0] or self.arch_weight_decay):
            raise SpecError(
                f"gates: two moves the logits of the options that ran alone, so that arch_betas "
                f"must begin with 0 and arch_weight_decay be 0; got {list(self.arch_betas)} and "
                f"{self.arch_weight_decay:g}; use gates: all"
            )

    @property
    def terms(self) -> Terms:
        """How costs enter the loss."""
        from ..one_shot.penalty import Terms

        return Terms(
            self.reference,
            self.penalty,
            self.penalty_weight,
            self.penalty_scale,
            self.penalty_power,
        )

    def trainer(self, context: Context, seed: int, name: str) -> Trainer:
        """Return the search that starts from `seed`."""
        from ..one_shot.proxyless import ProxylessTrainer

        return ProxylessTrainer(self, context, seed, name)
