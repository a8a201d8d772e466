"""RARTS on widths: which channels can go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ..one_shot.strategy import Count, NotNegative, Positive, Share
from ..strategy import Context
from .rarts import Rarts

if TYPE_CHECKING:
    from ..one_shot.trainer import Trainer


class RartsWidth(Rarts):
    """Prunes channels: the architecture of `rarts` is a score for each channel of each width.

    The super-network runs at its largest widths, and a score multiplies its channel wherever a
    layer reads it. An L1 term, taken by a proximal step, makes scores 0 that little depends on.
    What is left of a width, rounded up to the next one there is to choose, is proposed, to be
    trained anew by the estimators.

    Only the abstract of the paper could be read and no code was published: that channels have
    scores under an L1 term and the same split of the data is recalled, all else (the proximal
    step, where scores act, the threshold, all defaults) is chosen here. The trained super-network
    is not kept: its channels count only with their scores.

    Source: Xue et al., arXiv:2008.03901.

    Args:
        train_weight: lambda, how much the training half counts.
        coupling: beta, how strongly the copies pull each other; times `lr` it must stay well
            below 1.
        mode: `strict` or `fused`, see `rarts`.
        sparsity: mu, the weight of the L1 term.
        threshold: Share of a width's largest score at or below which a channel is pruned.
        arch_lr: Step of the scores; times `sparsity` it is what a channel without use loses of its
            score, 1 at first, in every step.
        epochs: Passes over the weights' half.
        warmup_epochs: Epochs at the start in which only weights are trained.
        supernet: Options of the space's super-network (`norms` of `nats_sss`).

    Raises:
        SpecError: If the coupling is too strong for the learning rate.
    """

    name: ClassVar[str] = "rarts_width"
    needs: ClassVar[frozenset[str]] = frozenset({"widths"})

    def __init__(
        self,
        *,
        train_weight: NotNegative = 1.0,
        coupling: NotNegative = 1.0,
        mode: Literal["strict", "fused"] = "strict",
        sparsity: NotNegative = 0.01,
        threshold: Annotated[float, Field(ge=0, lt=1)] = 0.01,
        arch_lr: Positive = 0.1,
        epochs: Count = 50,
        batch_size: Count = 64,
        augment: list[Literal["crop", "flip", "cutout"]] | None = None,
        train_share: Share = 0.5,
        lr: Positive = 0.025,
        lr_min: NotNegative = 0.001,
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9,
        weight_decay: NotNegative = 3e-4,
        grad_clip: Positive | None = 5.0,
        warmup_epochs: Annotated[int, Field(ge=0)] = 0,
        searches: Count = 1,
        propose: Literal["final", "epochs"] = "final",
        supernet: Mapping[str, Any] | None = None,
        accumulate: Count = 1,
        amp: bool = False,
        channels_last: bool = False,
        checkpoint_minutes: Positive = 5.0,
    ) -> None:
        super().__init__(
            train_weight=train_weight,
            coupling=coupling,
            mode=mode,
            arch_lr=arch_lr,
            epochs=epochs,
            batch_size=batch_size,
            augment=augment,
            train_share=train_share,
            lr=lr,
            lr_min=lr_min,
            momentum=momentum,
            weight_decay=weight_decay,
            grad_clip=grad_clip,
            warmup_epochs=warmup_epochs,
            searches=searches,
            propose=propose,
            supernet=supernet,
            accumulate=accumulate,
            amp=amp,
            channels_last=channels_last,
            checkpoint_minutes=checkpoint_minutes,
        )
        self.sparsity, self.threshold = sparsity, threshold

    def trainer(self, context: Context, seed: int, name: str) -> Trainer:
        """Return the search that starts from `seed`."""
        from ..one_shot.relaxed_width import WidthTrainer

        return WidthTrainer(self, context, seed, name)

    def _publish(self, trainer: Trainer) -> None:
        """Keep no super-network: it is nothing without its scores."""
