"""RARTS: a single-level relaxation of the architecture search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ...errors import SpecError
from ..one_shot.strategy import GradientSearch, NotNegative
from ..strategy import Context

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

    Raises:
        SpecError: If the coupling is too strong for the learning rate.
    """

    name: ClassVar[str] = "rarts"

    def __init__(
        self,
        *,
        train_weight: NotNegative = 1.0,
        coupling: NotNegative = 1.0,
        mode: Literal["strict", "fused"] = "strict",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.train_weight, self.coupling, self.mode = train_weight, coupling, mode
        if self.lr * coupling >= 1:
            raise SpecError(
                f"coupling times lr must be below 1, got {coupling:g} x {self.lr:g}: the copies "
                "would jump over each other; lower one of them"
            )

    def trainer(self, context: Context, seed: int, name: str) -> Trainer:
        """Return the search that starts from `seed`."""
        from ..one_shot.relaxed import RelaxedTrainer

        return RelaxedTrainer(self, context, seed, name)
