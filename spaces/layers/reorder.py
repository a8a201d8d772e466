"""Putting the entries of a parameter into another order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

Remembered: TypeAlias = Mapping[Any, Mapping[str, Any]]  # `state` of a torch optimizer


def reorder(
    tensor: Tensor,
    dim: int,
    order: Tensor,
    *,
    shape: Sequence[int] | None = None,
    state: Remembered | None = None,
) -> None:
    """Put the entries along one dimension into another order, in place.

    Moments that an optimizer keeps of a weight move with it; else they would belong to another.

    Args:
        tensor: A parameter or buffer, contiguous.
        dim: Which dimension.
        order: (entries,), int64: the present place of the entry that goes to each place.
        shape: View it like this first, where a dimension holds several.
        state: Of the optimizer that trains it.
    """
    kept = state.get(tensor, {}).values() if state is not None else ()
    moments = [m for m in kept if isinstance(m, Tensor) and m.shape == tensor.shape]
    with torch.no_grad():
        for each in (tensor, *moments):
            viewed = each.view(tuple(shape or each.shape))
            viewed.copy_(viewed.index_select(dim, order.to(each.device)))
