"""Batch-norm statistics for weights that were trained in other company."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...errors import SpecError
from .norms import ElasticBatchNorm2d


class _Pool:
    """Means and variances of the batches that a norm has seen, weighted by their samples."""

    def __init__(self, norm: nn.Module) -> None:
        self.mean: Tensor | float = 0.0
        self.variance: Tensor | float = 0.0
        self.samples = 0
        self._kept = [b.clone() for b in _statistics(norm)]

    def add(self, norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Count a batch, and let the norm use its statistics."""
        x = inputs[0]
        dims = [d for d in range(x.dim()) if d != 1]
        mean, variance = x.double().mean(dims), x.double().var(dims, correction=0)
        self.samples += len(x)
        self.mean = self.mean + len(x) * mean
        self.variance = self.variance + len(x) * variance
        _write(norm, mean, variance)

    def finish(self, norm: nn.Module) -> None:
        """Give the norm the averages, and what they do not cover back."""
        for buffer, kept in zip(_statistics(norm), self._kept, strict=True):
            buffer.copy_(kept)
        if self.samples:
            _write(norm, *(cast(Tensor, t) / self.samples for t in (self.mean, self.variance)))


@torch.no_grad()
def calibrate(module: nn.Module, batches: Iterable[Any]) -> int:
    """Replace the statistics of the batch norms by those of `batches`, in place.

    Each norm that runs normalises with the statistics of the batch; its new mean and variance are
    the averages, weighted by the number of samples, of the batches' means and biased variances
    (arXiv 1908.09791, as its code does it). All else stays: weights, norms that do not run,
    channels beyond the active width, modes.

    Args:
        module: A network, or a copy of a super-network with an architecture active.
        batches: Inputs, as the module takes them.

    Returns:
        The number of norms with new statistics.

    Raises:
        SpecError: If there is no batch although there is something to calibrate.
    """
    pools = {m: _Pool(m) for m in module.modules() if _has_statistics(m)}
    modes = {m: m.training for m in module.modules()}
    handles = [norm.register_forward_pre_hook(pool.add) for norm, pool in pools.items()]
    module.eval()
    count = 0
    try:
        for batch in batches:
            module(batch)
            count += 1
    except BaseException:
        for pool in pools.values():
            pool.samples = 0  # half a calibration is none
        raise
    finally:
        for handle in handles:
            handle.remove()
        for layer, training in modes.items():
            layer.training = training
        for norm, pool in pools.items():
            pool.finish(norm)
    if pools and not count:
        raise SpecError("calibration needs at least one batch, got none")
    return sum(pool.samples > 0 for pool in pools.values())


def _has_statistics(layer: nn.Module) -> bool:
    if isinstance(layer, ElasticBatchNorm2d):
        return True
    return isinstance(layer, _BatchNorm) and layer.running_mean is not None


def _statistics(norm: nn.Module) -> tuple[Tensor, Tensor]:
    return cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)


def _write(norm: nn.Module, mean: Tensor, variance: Tensor) -> None:
    for buffer, new in zip(_statistics(norm), (mean, variance), strict=True):
        buffer[: len(new)].copy_(new)
