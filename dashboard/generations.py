"""How a search that works in generations moves: the objectives of each of them, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..db.records import FINISHED, ExperimentRecord
from .axes import Axis, feasible_losses, objective_axes
from .table import Floats, TrialTable

if TYPE_CHECKING:
    from ..db import Store

TAG = "generation"  # what a strategy calls it in the notes of its trials
NONE = -1  # of a trial without a generation
QUARTERS = (0.25, 0.5, 0.75)
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Spread:
    """The feasible values of one objective by generation; NaN where nothing is feasible.

    Args:
        axis: The objective.
        best: (k,).
        low: Lower quartile, (k,), by its size: `low` <= `median` <= `high`.
        median: (k,).
        high: Upper quartile, (k,).
    """

    axis: Axis
    best: Floats = field(repr=False)
    low: Floats = field(repr=False)
    median: Floats = field(repr=False)
    high: Floats = field(repr=False)


@dataclass(frozen=True)
class GenerationsView:
    """The generations of a search.

    Args:
        noted: Whether the strategy noted them; else a trial's generation is the number of its
            ancestors.
        number: Generations with a finished trial, (k,), ascending.
        trials: Finished trials of each, (k,).
        feasible: Those of them that were evaluated in full and break no constraint, (k,).
        spreads: One per objective, of the feasible trials.
        without: Finished trials of the search that are of no generation.
    """

    noted: bool
    number: Counts = field(repr=False)
    trials: Counts = field(repr=False)
    feasible: Counts = field(repr=False)
    spreads: tuple[Spread, ...]
    without: int

    @classmethod
    def of(
        cls, store: Store, record: ExperimentRecord, table: TrialTable
    ) -> GenerationsView | None:
        """Read the generations of an experiment; None of a search that has fewer than two.

        Args:
            store: Where it is.
            record: The experiment.
            table: Its trials; published networks are of no generation.
        """
        table = table.searched
        generation = _noted(store, record, table)
        noted = bool((generation != NONE).any())
        if not noted:
            generation = _ancestors(table)
        ended = np.isin(table.status, FINISHED)
        number, place = np.unique(generation[ended & (generation != NONE)], return_inverse=True)
        if len(number) < 2:
            return None
        losses = feasible_losses(table, record)[ended & (generation != NONE)]
        counts = ~np.isnan(losses).any(axis=1)
        return cls(
            noted=noted,
            number=number,
            trials=np.bincount(place, minlength=len(number)),
            feasible=np.bincount(place[counts], minlength=len(number)),
            spreads=tuple(
                _spread(axis, place[counts], axis.sign * losses[counts, column], len(number))
                for column, axis in enumerate(objective_axes(record))
            ),
            without=int((ended & (generation == NONE)).sum()),
        )


def _noted(store: Store, record: ExperimentRecord, table: TrialTable) -> Counts:
    """Return the generation that the strategy noted of each trial, (n,)."""
    found = {
        number: tags[TAG]
        for number, tags in store.tag_values(record.id).items()
        if type(tags.get(TAG)) is int and tags[TAG] >= 0
    }
    return np.array([found.get(number, NONE) for number in table.number.tolist()], dtype=np.int64)


def _ancestors(table: TrialTable) -> Counts:
    """Return how many ancestors each trial has, (n,); a parent always has a lower number."""
    found: dict[int, int] = {}
    pairs = zip(table.number.tolist(), table.columns.parent.tolist(), strict=True)
    for number, parent in pairs:
        found[number] = 0 if parent is None else found.get(parent, -1) + 1
    return np.array(list(found.values()), dtype=np.int64)


def _spread(axis: Axis, place: Counts, values: Floats, count: int) -> Spread:
    """Return the spread of values whose generations are at `place`, of `count` generations."""
    order = np.lexsort((values, place))
    values, sizes = values[order], np.bincount(place, minlength=count)
    first = np.cumsum(sizes) - sizes
    known = sizes > 0

    def at(part: float) -> Floats:
        """Quantiles, linear between the values."""
        found = np.full(count, np.nan)
        where = part * (sizes[known] - 1)
        below = np.floor(where).astype(np.int64)
        above, rest = np.ceil(where).astype(np.int64), where - below
        start = first[known]
        found[known] = values[start + below] * (1 - rest) + values[start + above] * rest
        return found

    low, median, high = (at(part) for part in QUARTERS)
    return Spread(axis, at(1.0 if axis.direction == "maximize" else 0.0), low, median, high)
