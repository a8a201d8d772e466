"""What there is to choose from on each edge: the space of DARTS, and the stress spaces.

Source: arXiv 1806.09055; arXiv 1909.09656, section 3 and appendix; automl/RobustDARTS:
src/spaces.py (the operations of each edge of S1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from ....errors import SpecError, did_you_mean
from ...networks.darts.plan import KINDS
from ..checks import listed

Edges: TypeAlias = "tuple[tuple[tuple[str, ...], ...], ...]"  # [node][earlier state][operation]

NONE = "none"  # an operation of search networks only
DARTS = (
    NONE,
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
# of the cells of NASNet and AmoebaNet, and of S4
FINISHED = (*DARTS[1:], "sep_conv_7x7", "conv_7x1_1x7", "noise")

_SHORT = {
    "max": "max_pool_3x3",
    "avg": "avg_pool_3x3",
    "skip": "skip_connect",
    "sep3": "sep_conv_3x3",
    "dil3": "dil_conv_3x3",
    "dil5": "dil_conv_5x5",
}
_S1 = {  # two operations for each of the 14 edges, node by node
    "normal": (
        "skip dil3 | skip dil5 | skip dil5 | skip sep3 | skip dil3 | max skip | skip sep3 | "
        "skip sep3 | skip dil3 | skip sep3 | max skip | skip dil3 | dil3 dil5 | dil3 dil5"
    ),
    "reduce": (
        "max avg | max dil3 | max avg | max avg | skip dil5 | max avg | max sep3 | "
        "skip dil3 | skip dil5 | max avg | max avg | skip dil5 | skip dil5 | skip dil5"
    ),
}
_SAME = {
    "darts": DARTS,
    "S2": ("skip_connect", "sep_conv_3x3"),
    "S3": (NONE, "skip_connect", "sep_conv_3x3"),
    "S4": ("noise", "sep_conv_3x3"),
}


def operations_of(wanted: str | Sequence[str], steps: int) -> dict[str, Edges]:
    """Return the operations of each edge of both kinds of cells.

    Args:
        wanted: `darts`, `S1` .. `S4`, or a list of operations for all edges.
        steps: Nodes of a cell.

    Raises:
        SpecError: If it names neither, or S1 is asked for another number of nodes than 4.
    """
    if wanted == "S1":
        if steps != 4:
            raise SpecError(f"operations: S1 lists the edges of 4 nodes, got steps: {steps}")
        return {kind: _split(_S1[kind]) for kind in KINDS}
    if isinstance(wanted, str):
        if wanted not in _SAME:
            names = sorted([*_SAME, "S1"])
            raise SpecError(
                f"operations must be one of {', '.join(names)}, or a list of operations; got "
                f"{wanted!r}"
            )
        wanted = _SAME[wanted]
    listed(operations=wanted)
    same = _checked(wanted)
    return dict.fromkeys(KINDS, tuple((same,) * node for node in range(2, 2 + steps)))


def _checked(wanted: Sequence[str]) -> tuple[str, ...]:
    known = (NONE, *FINISHED)
    for name in wanted:
        if name not in known:
            raise SpecError(
                f"operations: unknown operation {name!r}{did_you_mean(str(name), known)}"
            )
    if len(set(wanted)) < len(wanted):
        raise SpecError(f"operations must differ, got {list(wanted)}")
    if not set(wanted) - {NONE}:
        raise SpecError(f"operations must list at least one besides none, got {list(wanted)}")
    return tuple(wanted)


def _split(edges: str) -> Edges:
    """Return the operations of the edges that `skip dil3 | ...` lists, node by node."""
    apart = [tuple(_SHORT[word] for word in edge.split()) for edge in edges.split("|")]
    nodes, start = [], 0
    for node in range(2, 6):
        nodes.append(tuple(apart[start : start + node]))
        start += node
    return tuple(nodes)


def choices(edges: Mapping[str, Edges]) -> dict[str, Edges]:
    """Return the operations that a finished cell can have: all but `none`."""
    return {
        kind: tuple(tuple(tuple(o for o in e if o != NONE) for e in node) for node in nodes)
        for kind, nodes in edges.items()
    }
