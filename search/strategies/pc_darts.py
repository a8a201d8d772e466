"""PC-DARTS: partial channel connections for memory, edge normalisation for stability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ..strategy import Context
from .darts import Count, Darts, Positive, Share

if TYPE_CHECKING:
    from ..one_shot.trainer import Trainer


class PcDarts(Darts):
    """First-order DARTS whose operations work on 1/K of the channels; the others pass them by.

    The first C/K channels go through the mixture, the others (max-pooled where the edge has a
    stride) are put beside them and all are shuffled, so that the next edge sees other ones. A
    softmax over the edges into each node, trained with the logits of the operations, weighs them;
    it multiplies the strength of an edge when an architecture is derived. Weights alone are trained
    for the first epochs. The smaller memory pays for larger batches.

    Defaults are those for CIFAR-10; for ImageNet: `partial: 2`, `batch_size: 1024`, `lr: 0.5`,
    `arch_lr: 0.006`, `warmup_epochs: 35`. Odd sides are pooled upwards.

    Source: Xu et al., arXiv:1907.05737; yuhuixu1993/PC-DARTS: train_search.py. Deviations are those
    of `darts`.

    Args:
        partial: K. A `ModuleSpace` says it in its `OneOf` layers, and this is not used.
        edge_normalization: Whether edges have logits of their own.
        epochs: Passes over the weights' half.
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
    """

    name: ClassVar[str] = "pc_darts"
    needs: ClassVar[frozenset[str]] = frozenset({"mixture", "partial"})

    def __init__(
        self,
        *,
        partial: Annotated[int, Field(ge=2)] = 4,
        edge_normalization: bool = True,
        epochs: Count = 50,
        batch_size: Count = 256,
        augment: list[Literal["crop", "flip", "cutout"]] | None = None,
        train_share: Share = 0.5,
        lr: Positive = 0.1,
        lr_min: Annotated[float, Field(ge=0)] = 0.0,
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9,
        weight_decay: Annotated[float, Field(ge=0)] = 3e-4,
        grad_clip: Positive | None = 5.0,
        arch_lr: Positive = 6e-4,
        arch_betas: tuple[Share, Share] = (0.5, 0.999),
        arch_weight_decay: Annotated[float, Field(ge=0)] = 1e-3,
        warmup_epochs: Annotated[int, Field(ge=0)] = 15,
        searches: Count = 1,
        propose: Literal["final", "epochs"] = "final",
        max_skips: Annotated[int, Field(ge=0)] | None = None,
        limits: Mapping[str, Positive] | None = None,
        supernet: Mapping[str, Any] | None = None,
        amp: bool = False,
        checkpoint_minutes: Positive = 5.0,
    ) -> None:
        self.partial, self.edge_normalization = partial, edge_normalization
        super().__init__(
            epochs=epochs,
            batch_size=batch_size,
            augment=augment,
            train_share=train_share,
            lr=lr,
            lr_min=lr_min,
            momentum=momentum,
            weight_decay=weight_decay,
            grad_clip=grad_clip,
            arch_lr=arch_lr,
            arch_betas=arch_betas,
            arch_weight_decay=arch_weight_decay,
            warmup_epochs=warmup_epochs,
            searches=searches,
            propose=propose,
            max_skips=max_skips,
            limits=limits,
            supernet=supernet,
            amp=amp,
            checkpoint_minutes=checkpoint_minutes,
        )

    def trainer(self, context: Context, seed: int, name: str) -> Trainer:
        """Return the search that starts from `seed`."""
        from ..one_shot.partial import PartialTrainer

        return PartialTrainer(self, context, seed, name)
