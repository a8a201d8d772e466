"""PC-DARTS: partial channel connections for memory, edge normalisation for stability."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from ..one_shot.strategy import BilevelSearch, Count, NotNegative, Positive
from ..strategy import Context

if TYPE_CHECKING:
    from ..one_shot.trainer import Trainer


class PcDarts(BilevelSearch):
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
    """

    name: ClassVar[str] = "pc_darts"
    needs: ClassVar[frozenset[str]] = frozenset({"mixture", "partial"})

    def __init__(
        self,
        *,
        partial: Annotated[int, Field(ge=2)] = 4,
        edge_normalization: bool = True,
        batch_size: Count = 256,
        lr: Positive = 0.1,
        lr_min: NotNegative = 0.0,
        arch_lr: Positive = 6e-4,
        warmup_epochs: Annotated[int, Field(ge=0)] = 15,
        **options: Any,
    ) -> None:
        super().__init__(
            batch_size=batch_size,
            lr=lr,
            lr_min=lr_min,
            arch_lr=arch_lr,
            warmup_epochs=warmup_epochs,
            **options,
        )
        self.partial, self.edge_normalization = partial, edge_normalization

    def trainer(self, context: Context, seed: int, name: str) -> Trainer:
        """Return the search that starts from `seed`."""
        from ..one_shot.partial import PartialTrainer

        return PartialTrainer(self, context, seed, name)
