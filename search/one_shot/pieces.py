"""A loss on a batch that is computed in pieces: gradients add up, memory does not.

Pieces follow one another in one process (gradient accumulation) and lie side by side in several
(data-parallel training). Their losses are weighed by their share of the batch's examples, so that
their sum is the mean over the batch, and its gradient the sum of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

Total: TypeAlias = Callable[[Sequence[Tensor]], list[Tensor]]


class Pieces:
    """A loss as the sum of parts; the graph of one is gone before the next is computed.

    Args:
        parts: Each computes its part of the loss. They may share a graph (that of the mixture's
            weights), which is kept until the last.
        total: Sums tensors over the processes that have other parts; None: there are none.
    """

    def __init__(self, parts: Sequence[Callable[[], Tensor]], total: Total | None = None) -> None:
        self._parts, self._total = parts, total
        self._value: Tensor | None = None

    @property
    def value(self) -> Tensor:
        """The loss, once a gradient was taken; without a graph."""
        assert self._value is not None, "the loss is known after its gradient"
        return self._value

    def gradients(
        self, tensors: Sequence[Tensor], scale: float = 1.0, *, again: bool = False
    ) -> list[Tensor]:
        """Return `scale` d loss / d tensor; see `gradients_of`."""
        found: list[Tensor] = []
        values = []
        for compute in self._parts:
            part = compute()
            values.append(part.detach())
            more = gradients_of(part, tensors, scale, keep=len(self._parts) > 1, again=again)
            found = [a + b for a, b in zip(found, more, strict=True)] if found else more
            del part  # and its graph with it
        return self._summed(found, values)

    def backward(self, tensors: Sequence[Tensor]) -> None:
        """Put d loss / d tensor into `.grad`, None where the loss does not depend on it."""
        values = []
        for compute in self._parts:
            part = compute()
            values.append(part.detach())
            torch.autograd.backward(part, inputs=tensors, retain_graph=len(self._parts) > 1)
            del part
        known = [tensor for tensor in tensors if tensor.grad is not None]
        summed = self._summed([t.grad for t in known if t.grad is not None], values)
        for tensor, gradient in zip(known, summed, strict=True):
            tensor.grad = gradient

    def _summed(self, found: list[Tensor], values: list[Tensor]) -> list[Tensor]:
        self._value = torch.stack(values).sum() if len(values) > 1 else values[0]
        if self._total is not None:
            *found, self._value = self._total([*found, self._value])
        return found


Value: TypeAlias = Tensor | Pieces


def gradients_of(
    loss: Value,
    tensors: Sequence[Tensor],
    scale: float = 1.0,
    *,
    keep: bool = False,
    again: bool = False,
) -> list[Tensor]:
    """Return `scale` d loss / d tensor, zeros where the loss does not depend on it.

    Args:
        loss: One tensor, or in pieces.
        tensors: Of the graph.
        scale: Factor.
        keep: Whether the graph is used again.
        again: Whether the gradient is differentiated again.
    """
    if isinstance(loss, Pieces):
        return loss.gradients(tensors, scale, again=again)
    if not loss.requires_grad:
        return [torch.zeros_like(tensor) for tensor in tensors]
    found = torch.autograd.grad(
        loss if scale == 1.0 else scale * loss,
        tensors,
        retain_graph=keep or again,
        create_graph=again,
        allow_unused=True,
        materialize_grads=True,
    )
    return list(found)


def value_of(loss: Value) -> Tensor:
    """Return the loss without its graph; of pieces, once a gradient was taken."""
    return loss.value if isinstance(loss, Pieces) else loss.detach()
