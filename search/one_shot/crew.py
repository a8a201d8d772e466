"""The processes that train one super-network together, each on its share of every batch.

All hold the same weights, logits and optimizers, draw the same batches and take the same steps:
sums of what each computed on its share (gradients, losses, moments of batch norms) are what one
process computes on the whole batch, rounding apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from .batches import Batch
from .strategy import LEAST


class Crew:
    """This process's place among those that train together.

    Args:
        rank: Of this process.
        size: How many there are.
        device: Of the tensors that they exchange.
    """

    def __init__(self, rank: int = 0, size: int = 1, device: torch.device | None = None) -> None:
        self.rank, self.size, self._device = rank, size, device

    @classmethod
    def joined(cls, device: torch.device) -> Crew:
        """Return that of torch's process group."""
        return cls(dist.get_rank(), dist.get_world_size(), device)

    def shares(self, batch: Batch, pieces: int) -> list[tuple[Batch, float]]:
        """Return what this process computes of a batch, with the parts that it is of the whole.

        Args:
            batch: The same in all processes, of at least one example for each.
            pieces: Into how many it is cut one after the other; fewer, where a process would have
                none of a piece, or a piece less than two examples.
        """
        count = len(batch.y)
        pieces = max(1, min(pieces, count // max(LEAST, self.size)))
        if pieces == self.size == 1:
            return [(batch, 1.0)]
        xs, ys = (
            [part.tensor_split(self.size)[self.rank] for part in whole.tensor_split(pieces)]
            for whole in batch
        )
        return [(Batch(x, y), len(y) / count) for x, y in zip(xs, ys, strict=True)]

    def total(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return the sums over all processes, in one exchange for each type of number."""
        found = list(tensors)
        for dtype in dict.fromkeys(t.dtype for t in tensors):
            places = [i for i, t in enumerate(tensors) if t.dtype == dtype]
            alike = [tensors[i] for i in places]
            flat = _summed(torch.cat([t.reshape(-1) for t in alike]))
            parts = torch.split(flat, [t.numel() for t in alike])
            for i, part, like in zip(places, parts, alike, strict=True):
                found[i] = part.view(like.shape)
        return found

    def any(self, flag: bool) -> bool:
        """Return whether a flag is set in one of them."""
        if self.size == 1:
            return flag
        return bool(_summed(torch.tensor([float(flag)], device=self._device)) > 0)

    def agreed(self, value: float) -> float:
        """Return the first process's value."""
        if self.size == 1:
            return value
        own = value if self.rank == 0 else 0.0
        return float(_summed(torch.tensor([own], dtype=torch.float64, device=self._device)))

    def norms(self) -> AbstractContextManager[Any]:
        """Let batch norms see the examples of all processes, within a block."""
        return nullcontext() if self.size == 1 else _JointNorms()


class _Sum(torch.autograd.Function):
    """The sum over all processes, of which any derivative can be taken.

    The loss is the sum of those of all processes, and each of these depends on the sum: the
    gradient of what a process put in is the sum of their gradients.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _summed(gradients[0])


def _summed(x: Tensor) -> Tensor:
    y: Tensor = _Sum.apply(x)  # type: ignore[no-untyped-call]
    return y


class _JointNorms(TorchFunctionMode):
    """Takes the moments of every batch norm in train mode over the examples of all processes.

    On any device and twice differentiable, which torch's own `SyncBatchNorm` is not.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.batch_norm:
            return _batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return what `F.batch_norm` gives for the examples of all processes together."""
    if not training:
        return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    others = [0, *range(2, x.ndim)]  # all but the channels
    shape = [1, -1] + [1] * (x.ndim - 2)
    own = wide.new_full((1,), x.numel() / x.shape[1])
    sums = _summed(torch.cat([wide.sum(others), own]))
    count = sums[-1].detach()
    mean = sums[:-1] / count
    centred = wide - mean.view(shape)
    variance = _summed((centred * centred).sum(others)) / count
    y = centred * torch.rsqrt(variance + eps).view(shape)
    y = y if weight is None else y * weight.view(shape)
    y = y if bias is None else y + bias.view(shape)
    with torch.no_grad():
        if running_mean is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        if running_var is not None:
            unbiased = variance * (count / (count - 1))
            running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    return y.to(x.dtype)
