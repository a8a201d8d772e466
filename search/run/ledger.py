"""What a search may spend, and what it has spent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ..strategy import Status

if TYPE_CHECKING:
    from .spec import Budget

_MANY = 1 << 30  # trials left when nothing bounds them


class Ledger:
    """Counts trials and epochs against the budget.

    Trials done, pruned, failed and reused count; infeasible ones have a cap of their own.

    Args:
        budget: What may be spent.
        epochs_each: Epochs that a trial is expected to take, before any has reported.
    """

    def __init__(self, budget: Budget, *, epochs_each: int | None = None) -> None:
        self.budget = budget
        self.counts: dict[str, int] = {"done": 0, "pruned": 0, "infeasible": 0, "failed": 0}
        self.reused, self.feasible, self.epochs = 0, 0, 0
        self._epochs_each = epochs_each or 1

    @property
    def counted(self) -> int:
        """Trials that count against the budget."""
        return self.counts["done"] + self.counts["pruned"] + self.counts["failed"]

    def add(self, status: Status, *, feasible: bool = False, reused: bool = False) -> None:
        """Count a finished trial."""
        self.counts[status] += 1
        self.feasible += feasible
        self.reused += reused

    def spend(self, epochs: int, *, finished: bool, asked: float | None = None) -> None:
        """Count the epochs of one trial.

        Args:
            epochs: Epochs that it reported.
            finished: Whether it ran to its end; one that reports nothing then counts as many as
                it was asked for, or as trials take. Every trial counts as one at least.
            asked: Its fidelity.
        """
        if finished and epochs == 0:
            epochs = int(asked) if asked else self._epochs_each
        self.epochs += max(1, epochs)
        self._epochs_each = max(self._epochs_each, epochs)

    def room(self, open_trials: int = 0) -> int:
        """Return how many more trials may be asked for, beside those that are open."""
        left = _MANY
        if self.budget.trials is not None:
            left = self.budget.trials - self.counted - open_trials
        if self.budget.epochs is not None:
            epochs = self.budget.epochs - self.epochs - open_trials * self._epochs_each
            left = min(left, math.ceil(epochs / self._epochs_each))
        return max(0, left)

    @property
    def too_many_infeasible(self) -> bool:
        """Whether so many were infeasible that the search gives up."""
        return self.counts["infeasible"] >= self.budget.infeasible_cap

    def load(self, counts: Mapping[str, int], *, feasible: int, reused: int, epochs: int) -> None:
        """Continue from what an earlier process stored."""
        for status in self.counts:
            self.counts[status] = counts.get(status, 0)
        self.feasible, self.reused, self.epochs = feasible, reused, epochs


def epochs_each(estimators: Iterable[object]) -> int | None:
    """Return the epochs that an estimator says it trains for, the largest of them."""
    found = [e for x in estimators if isinstance(e := getattr(x, "epochs", None), int) and e > 0]
    return max(found, default=None)
