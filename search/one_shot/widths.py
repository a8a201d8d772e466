"""Scores of channels: which of them a network can do without.

A super-network runs at its largest widths, and every channel of a width has a score alpha that
multiplies it wherever a layer reads it: with score 0 a channel does nothing. An L1 term makes
scores sparse by proximal steps,

    alpha <- S(alpha - eta g, eta mu),      S(a, t) = sign(a) max(|a| - t, 0)

and what stays of a width after pruning, rounded up to an option, is the width that is proposed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import SpecError
from ...spaces import Architecture, DecisionSpace
from ...spaces.layers import Choice, ElasticLinear, ModuleSupernet
from .strategy import check_supernet


class Scores(nn.Module):
    """One score per channel of every width, 1 at first.

    Args:
        supernet: Whose decisions are all widths.

    Raises:
        SpecError: If no layer reads the channels of a decision.
    """

    def __init__(self, supernet: ModuleSupernet) -> None:
        super().__init__()
        widths = {c.name: c for _, c in _readers(supernet)}
        if missing := [d.name for d in supernet.space.decisions if d.name not in widths]:
            raise SpecError(
                f"scores of channels need decisions that are widths which a layer reads; "
                f"{missing[0]!r} of {supernet.space.name} is none: choose another strategy"
            )
        self.options = {name: sorted(choice.values) for name, choice in widths.items()}
        self.rows = nn.ParameterList(torch.ones(row[-1]) for row in self.options.values())

    @contextmanager
    def applied(self, network: nn.Module) -> Iterator[None]:
        """Multiply the channels that layers read by their scores, within a block.

        Args:
            network: The super-network or a copy of it, at its largest widths.
        """
        rows = dict(zip(self.options, self.rows, strict=True))
        handles = [
            layer.register_forward_pre_hook(_scaling(layer, rows[choice.name]))
            for layer, choice in _readers(network)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @torch.no_grad()
    def kept(self, threshold: float) -> dict[str, int]:
        """Return how many channels of each width have scores above a share of its largest one."""
        sizes = [row.abs() for row in self.rows]
        counts = [int((size > threshold * size.max()).sum()) for size in sizes]
        return dict(zip(self.options, counts, strict=True))

    def derived(self, space: DecisionSpace, threshold: float) -> Architecture:
        """Return the architecture of the smallest widths that hold what is kept."""
        kept = self.kept(threshold)
        return space.architecture(
            {
                name: next(width for width in row if width >= kept[name])
                for name, row in self.options.items()
            }
        )

    @torch.no_grad()
    def norm(self) -> Tensor:
        """Return the sum of |alpha|."""
        return torch.stack([row.abs().sum() for row in self.rows]).sum()


@torch.no_grad()
def proximal_step(
    scores: Sequence[Tensor], gradients: Sequence[Tensor], rate: float, sparsity: float
) -> None:
    """Take a step of gradient descent, then the proximal one of the L1 term, in place.

    Args:
        scores: alpha.
        gradients: Of the loss without the L1 term.
        rate: eta.
        sparsity: mu.
    """
    for score, gradient in zip(scores, gradients, strict=True):
        moved = score - rate * gradient
        score.copy_(moved.sign() * (moved.abs() - rate * sparsity).clamp(min=0))


def widest_supernet(space: Any, options: Mapping[str, Any]) -> ModuleSupernet:
    """Return the super-network of a space at its largest widths.

    Raises:
        SpecError: If it does not take these options.
    """
    check_supernet(space, options)
    supernet: ModuleSupernet = space.supernet(**options)
    supernet.select({d.name: d.options[-1] for d in space.decisions})
    return supernet


def _readers(network: nn.Module) -> Iterator[tuple[nn.Module, Choice]]:
    """Yield the layers that read a chosen width, with its choice."""
    for layer in network.modules():
        if isinstance(width := getattr(layer, "reads", None), Choice):
            yield layer, width


def _scaling(layer: nn.Module, scores: Tensor) -> Callable[..., tuple[Tensor, ...]]:
    last = isinstance(layer, ElasticLinear)  # (..., C); else (N, C, H, W)

    def scale(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x, *rest = inputs
        return (x * (scores if last else scores[:, None, None]), *rest)

    return scale
