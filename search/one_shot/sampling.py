"""How logits become the weights of one forward pass.

`softmax`: all options, by their softmax (DARTS, arXiv 1806.09055). `snas`: all options, by a
softmax of logits plus Gumbel noise (SNAS, arXiv 1812.09926). `gdas`: one option, drawn by the same
noise, with the gradient of the softmax (GDAS, arXiv 1910.04465). `drnas`: all options, by a draw
from Dirichlet(elu(logits) + 1) (DrNAS, arXiv 2006.10355).

The temperature of the noise falls linearly over the epochs. Only the sampling is those methods':
the two-level problem around it stays that of DARTS (SNAS trains everything on one half).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from ...spaces.layers import ModuleSupernet
from .logits import Logits

Sampling: TypeAlias = Literal["softmax", "snas", "gdas", "drnas"]

TEMPERATURES: dict[Sampling, tuple[float, float]] = {
    "softmax": (1.0, 1.0),
    "snas": (1.0, 0.1),
    "gdas": (10.0, 0.1),
    "drnas": (1.0, 1.0),
}


def temperature(sampling: Sampling, done: float) -> float:
    """Return the temperature when a share `done` of the search is over."""
    first, last = TEMPERATURES[sampling]
    return first + (last - first) * done


def set_mixture(
    supernet: ModuleSupernet, logits: Logits, sampling: Sampling, tau: float = 1.0
) -> None:
    """Set the weights of the next forward pass; random ones come from torch's generator.

    Args:
        supernet: What runs.
        logits: Gradients flow into them.
        sampling: How.
        tau: Temperature of the noise.
    """
    if sampling == "softmax":
        supernet.mix(logits.weights())
        return
    masked = logits.masked()
    if sampling == "drnas":
        supernet.mix({name: _dirichlet(row) for name, row in masked.items()})
        return
    noisy = {name: torch.softmax((row + _gumbel(row)) / tau, 0) for name, row in masked.items()}
    if sampling == "snas":
        supernet.mix(noisy)
        return
    chosen = {name: int(row.argmax()) for name, row in noisy.items()}
    supernet.select({name: logits.options[name][i] for name, i in chosen.items()})
    supernet.gate({name: _one_hot(row, chosen[name]) for name, row in noisy.items()})


def _gumbel(row: Tensor) -> Tensor:
    return -torch.empty_like(row).exponential_().log()


def _one_hot(row: Tensor, chosen: int) -> Tensor:
    """Return a one-hot row with the gradient of `row`."""
    hard = F.one_hot(torch.tensor(chosen, device=row.device), len(row)).to(row.dtype)
    return hard + (row - row.detach())


def _dirichlet(row: Tensor) -> Tensor:
    """Return a draw over the options that are left, zeros elsewhere."""
    left = torch.isfinite(row)
    draw = torch.distributions.Dirichlet(F.elu(row[left]) + 1.0, validate_args=False).rsample()
    weights = torch.zeros_like(row)
    return weights.masked_scatter(left, draw)
