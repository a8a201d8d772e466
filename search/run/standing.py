"""Where a search stands: its front and the best trials per objective, kept up trial by trial."""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping, Sequence

import numpy as np

from ..objectives import Objective, losses

Point = tuple[float, ...]


class Standing:
    """The feasible front and the best trials per objective.

    Both depend on the set of trials only, not on the order in which they arrived: a dominated
    trial stays dominated, a trial that fell out of the best never comes back.

    Args:
        objectives: What is wanted.
        best: How many of the best trials per objective are remembered.
    """

    def __init__(self, objectives: Sequence[Objective], *, best: int) -> None:
        self._objectives, self._size = tuple(objectives), best
        self._numbers: list[int] = []
        # A row per objective, a column per member; columns beyond the front are room.
        self._points = np.empty((len(self._objectives), 64))
        self._best: list[list[tuple[float, int]]] = [[] for _ in objectives]

    def add(self, number: int, metrics: Mapping[str, float]) -> None:
        """Count a feasible trial that was evaluated in full."""
        point = losses(self._objectives, metrics)
        for ranked, loss in zip(self._best, point, strict=True):
            if len(ranked) < self._size or (loss, number) < ranked[-1]:
                insort(ranked, (loss, number))
                del ranked[self._size :]
        self._add_to_front(number, point)

    def _add_to_front(self, number: int, point: Point) -> None:
        size = len(self._numbers)
        front = self._points[:, :size]
        no_worse, no_better = np.ones(size, dtype=bool), np.ones(size, dtype=bool)
        for row, loss in zip(front, point, strict=True):
            no_worse &= row <= loss
            no_better &= row >= loss
        if (no_worse & ~no_better).any():
            return
        beaten = no_better & ~no_worse
        if beaten.any():
            left = front[:, ~beaten]
            size = left.shape[1]
            self._points[:, :size] = left
            self._numbers = [n for n, b in zip(self._numbers, beaten, strict=True) if not b]
        if size == self._points.shape[1]:
            self._points = np.concatenate([self._points, np.empty_like(self._points)], axis=1)
        self._points[:, size] = point
        self._numbers.append(number)

    @property
    def front(self) -> dict[int, Point]:
        """The front: trial number -> losses (equal points are all in it)."""
        members = self._points[:, : len(self._numbers)].T.tolist()
        return {n: tuple(losses) for n, losses in zip(self._numbers, members, strict=True)}

    def best(self, count: int) -> set[int]:
        """Return the `count` best trials of each objective."""
        return {number for ranked in self._best for _, number in ranked[:count]}

    def kept(self, count: int) -> set[int]:
        """Return the trials whose weights are worth keeping: the front and the best ones."""
        return {*self._numbers, *self.best(count)}

    def leaders(self) -> dict[str, tuple[int, float]]:
        """Return the best trial and its value for each objective's metric."""
        found = {}
        for objective, ranked in zip(self._objectives, self._best, strict=True):
            if ranked:
                loss, number = ranked[0]
                value = -loss if objective.direction == "maximize" else loss
                found[objective.metric] = (number, value)
        return found
