"""Comparing results: feasible ones by their losses, the others by how far off they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ... import pareto
from ..objectives import Objective
from ..strategy import Result

FEASIBLE, PRUNED, VIOLATING, FAILED = range(4)


class Merit(NamedTuple):
    """How good a result is; for one objective, a smaller tuple is a better result.

    Deb's rule (a feasible network beats any infeasible one, the smaller violation beats the
    larger) with two more steps: a pruned trial is feasible but was given up, so it stands behind
    the finished ones; a failed one says nothing but that it failed, and stands last.

    Args:
        tier: FEASIBLE, PRUNED, VIOLATING or FAILED.
        violation: Sum of relative violations; 0 outside of VIOLATING.
        losses: One per objective, lower is better; infinities where there is no value.
    """

    tier: int
    violation: float
    losses: tuple[float, ...]


def merit(objectives: Sequence[Objective], result: Result) -> Merit:
    """Return how good a result is."""
    nothing = (float("inf"),) * len(objectives)
    if result.status == "failed":
        return Merit(FAILED, 0.0, nothing)
    if result.violation > 0 or result.status == "infeasible":
        return Merit(VIOLATING, result.violation, nothing)
    losses = tuple(
        o.loss(result.metrics) if o.metric in result.metrics else float("inf") for o in objectives
    )
    return Merit(FEASIBLE if result.status == "done" else PRUNED, 0.0, losses)


def constrained_ranks(merits: Sequence[Merit]) -> NDArray[np.int64]:
    """Return the front number of each under constraint domination, 0 is best, shape (n,).

    Non-dominated sorting inside the feasible and inside the pruned ones; the violating ones are
    sorted by violation, equal violations share a rank.

    Source: NSGA-II, Deb et al. 2002, section VI.
    """
    tiers = np.array([m.tier for m in merits], dtype=np.int64)
    ranks = np.zeros(len(merits), dtype=np.int64)
    offset = 0
    for tier in (FEASIBLE, PRUNED, VIOLATING, FAILED):
        rows = np.flatnonzero(tiers == tier).tolist()
        if not rows:
            continue
        if tier == VIOLATING:
            violations = np.array([merits[i].violation for i in rows])
            inner = np.unique(violations, return_inverse=True)[1]
        elif tier == FAILED:
            inner = np.zeros(len(rows), dtype=np.int64)
        else:
            inner = pareto.ranks([merits[i].losses for i in rows])
        ranks[rows] = offset + inner
        offset += int(inner.max()) + 1
    return ranks
