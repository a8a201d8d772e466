"""Balanced minimum cuts of a few options, and which decision to split by them.

Vertices are the options of a decision, the weight of an edge is the similarity of two options. Of
all ways to put the options into B groups the one with the smallest sum of similarities between
groups is kept.

Balance: sizes of groups differ by at most one (5 options: 2 and 3; 7: 3 and 4). Without it a single
option, which has the fewest crossing pairs, would nearly always be cut off.

Ties: groups are written in the order of their first options; of equal cuts the one stays whose
list of group numbers, one per option, comes first. Sums are correctly rounded, so that neither the
order of options nor the machine decides.

Source: arXiv 2203.15207, which enumerates; the reference's programs have five other rules.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

from torch import Tensor

from ...errors import SpecError

MOST = 8  # options that are enumerated, unless more are allowed

Groups: TypeAlias = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Cut:
    """A partition of the options 0 .. n - 1.

    Args:
        groups: Disjoint, covering, each ascending, in the order of their first options.
        cost: Sum of the similarities of all pairs in different groups.
        pairs: How many such pairs there are.
    """

    groups: Groups
    cost: float
    pairs: int

    @property
    def score(self) -> float:
        """The mean similarity of crossing pairs: it does not grow with the number of options."""
        return self.cost / self.pairs


def minimum_cut(similarity: Tensor, groups: int, most: int = MOST) -> Cut:
    """Return the cheapest balanced partition.

    Args:
        similarity: (n, n), symmetric; the diagonal is not read.
        groups: B.
        most: The largest n of which all partitions are tried.

    Raises:
        SpecError: If n is more than `most`, B is less than 2 or more than n, or the matrix is not
            a symmetric one of finite numbers.
    """
    values = _checked(similarity, groups, most)
    return min(
        (_cut(values, labels) for labels in balanced_labels(len(values), groups)),
        key=lambda cut: cut.cost,  # the first of equal ones
    )


def best_split(cuts: Mapping[str, Cut]) -> str:
    """Return the decision whose groups are least alike: the smallest score, the first of ties.

    Raises:
        SpecError: If there is none to choose from.
    """
    if not cuts:
        raise SpecError("a split needs a decision that is not split yet, got none")
    return min(cuts, key=lambda name: cuts[name].score)


def balanced_labels(options: int, groups: int) -> Iterator[tuple[int, ...]]:
    """Yield each balanced partition once, as a group number per option, in ascending order."""
    small, larger = divmod(options, groups)

    def extend(labels: tuple[int, ...], sizes: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if len(labels) == options:
            if len(sizes) == groups and min(sizes) >= small:
                yield labels
            return
        for group in range(min(len(sizes) + 1, groups)):
            grown = (*sizes, 0) if group == len(sizes) else sizes
            grown = (*grown[:group], grown[group] + 1, *grown[group + 1 :])
            over = sum(size > small for size in grown)
            if max(grown) <= small + 1 and over <= larger:
                yield from extend((*labels, group), grown)

    yield from extend((), ())


def _cut(values: Sequence[Sequence[float]], labels: Sequence[int]) -> Cut:
    found: list[list[int]] = [[] for _ in range(max(labels) + 1)]
    for option, label in enumerate(labels):
        found[label].append(option)
    crossing = [
        values[i][j] for i, j in combinations(range(len(labels)), 2) if labels[i] != labels[j]
    ]
    return Cut(tuple(map(tuple, found)), math.fsum(crossing), len(crossing))


def _checked(similarity: Tensor, groups: int, most: int) -> list[list[float]]:
    shape = tuple(similarity.shape)
    if len(shape) != 2 or shape[0] != shape[1]:
        raise SpecError(f"a similarity of options must be a square matrix, got shape {shape}")
    n = shape[0]
    if n > most:
        raise SpecError(
            f"at most {most} options are partitioned (all partitions are tried), got {n}; leave "
            "this decision whole"
        )
    if not 2 <= groups <= n:
        raise SpecError(f"{n} options must be put into 2 to {n} groups, got {groups}")
    values: list[list[float]] = similarity.tolist()
    pairs = [(values[i][j], values[j][i]) for i, j in combinations(range(n), 2)]
    if bad := next(((a, b) for a, b in pairs if not (math.isfinite(a) and a == b)), None):
        raise SpecError(f"similarities must be finite and symmetric, got {bad[0]} and {bad[1]}")
    return values
