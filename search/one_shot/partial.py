"""PC-DARTS: operations on part of the channels, and a softmax over the edges into a node.

Source: arXiv 1907.05737; yuhuixu1993/PC-DARTS: model_search.py, train_search.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...seeds import derive_seed
from ..strategy import Context
from .bilevel import BilevelTrainer
from .logits import Logits
from .trainer import supernet_of

if TYPE_CHECKING:
    from ...spaces.layers import ModuleSupernet
    from ..strategies.pc_darts import PcDarts


class PartialTrainer(BilevelTrainer):
    """First-order DARTS with a second table of logits: one for each edge into each node."""

    recipe: PcDarts

    def __init__(self, recipe: PcDarts, context: Context, seed: int, name: str) -> None:
        self.edges: Logits | None = None
        super().__init__(recipe, context, seed, name)

    def make_supernet(self) -> ModuleSupernet:
        """Return the super-network on 1/K of the channels."""
        space: Any = self.context.space
        options = dict(self.recipe.supernet)
        if "partial" in signature(space.supernet).parameters:
            options = {"partial": self.recipe.partial, **options}
        return supernet_of(space, options)

    def architecture_parameters(self) -> Sequence[Tensor]:
        """Return the logits of operations, and of edges."""
        rows = list(super().architecture_parameters())
        if self.recipe.edge_normalization:
            sums = {name: range(n) for name, n in self.supernet.junctions.items()}
            draws = torch.Generator().manual_seed(derive_seed(self.seed, "edge logits"))
            self.edges = Logits(sums, generator=draws).to(self.device)
            rows += list(self.edges.rows)
        return rows

    def mix(self) -> None:
        """Set the mixtures of operations and of edges."""
        super().mix()
        if self.edges is not None:
            self.supernet.mix(self.edges.weights())

    def parts(self) -> dict[str, Any]:
        """Return everything that has a state, by name."""
        own = {} if self.edges is None else {"edges": self.edges}
        return {**super().parts(), **own}

    def edge_weights(self) -> Mapping[str, Tensor] | None:
        """Return the softmax over the edges into each node."""
        return None if self.edges is None else self.edges.weights()
