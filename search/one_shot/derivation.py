"""From the weights of a mixture to an architecture.

Where each decision is an edge of its own (NAS-Bench-201, ProxylessNAS, any `ModuleSpace`), the
heaviest option is taken. In a cell space that keeps two edges of each node (DARTS), an edge is as
strong as its heaviest operation other than `none`, by the weight after the softmax over all of
them; the two strongest edges of a node stay. Ties go to the first.

Source: arXiv 1806.09055, section 2.4; quark0/darts: cnn/model_search.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from ...spaces import Architecture, DecisionSpace

NONE = "none"
KEPT = 2  # edges of a node


@runtime_checkable
class CellSpace(Protocol):
    """A space whose nodes keep some of their edges, as `netloom.spaces`' `darts` is."""

    @property
    def edges(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the edges into each node."""

    @property
    def operations(self) -> Mapping[str, tuple[str, ...]]:
        """Operations of each edge, in the order of the weights."""

    def from_edges(self, chosen: Mapping[str, str]) -> Architecture:
        """Return the architecture that keeps some edges."""


def derive(
    space: DecisionSpace,
    options: Mapping[str, Sequence[Any]],
    weights: Mapping[str, Tensor],
    *,
    nodes: Mapping[str, Tensor] | None = None,
    left: Mapping[str, int] | None = None,
) -> Architecture:
    """Return the architecture of the heaviest options.

    Args:
        space: Where it lives.
        options: Decision -> options, in the order of the weights.
        weights: Decision -> weights after the softmax.
        nodes: Node -> weights of its edges (edge normalisation of PC-DARTS), which multiply them.
        left: Decision -> how many options a mask left. The strengths of edges are then compared
            relative to a uniform softmax: with fewer options every weight is larger, and masked
            edges would win by that alone.
    """
    values = {name: row.tolist() for name, row in weights.items()}
    if not isinstance(space, CellSpace):
        best = {name: options[name][_heaviest(row)] for name, row in values.items()}
        return space.architecture({d.name: best[d.name] for d in space.decisions if d.name in best})
    chosen: dict[str, str] = {}
    for node, edges in space.edges.items():
        shares = nodes[node].tolist() if nodes else [1.0] * len(edges)
        found = [_strongest(space.operations[edge], values[edge]) for edge in edges]
        strengths = [
            strength * share * (left[edge] if left else 1)
            for (strength, _), share, edge in zip(found, shares, edges, strict=True)
        ]
        ranked = sorted(range(len(edges)), key=lambda j: -strengths[j])
        chosen |= {edges[j]: found[j][1] for j in sorted(ranked[:KEPT])}
    return space.from_edges(chosen)


def _heaviest(row: Sequence[float]) -> int:
    return max(range(len(row)), key=lambda i: row[i])


def _strongest(operations: Sequence[str], row: Sequence[float]) -> tuple[float, str]:
    """Return the heaviest operation other than `none`, with its weight."""
    there = [i for i, name in enumerate(operations) if name != NONE]
    best = max(there, key=lambda i: row[i])
    return row[best], operations[best]
