"""What one more millisecond buys: the networks of the front next to one, and two side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..db.records import ExperimentRecord
from .axes import Axis, feasible_losses, front_of, objective_axes
from .details import TrialView
from .table import Row, TrialTable
from .words import MISSING, value_text


@dataclass(frozen=True, slots=True)
class Difference:
    """One quantity of another network beside this one's.

    Args:
        axis: Which quantity.
        value: The other's.
        change: The other's without this one's.
    """

    axis: Axis
    value: float
    change: float

    @property
    def better(self) -> bool | None:
        """Whether the other is the better one; None: they are equal, or nothing says."""
        if self.change == 0 or self.axis.direction is None:
            return None
        return self.change * self.axis.sign < 0

    @property
    def text(self) -> str:
        """The change in words: `+1.2 ms`."""
        return change_text(self.change, self.axis.unit)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The member of the front next to a network along one cost.

    Args:
        axis: The cost.
        side: `cheaper` or `dearer`.
        number: Its trial.
        notation: Its architecture.
        differences: Of every objective.
    """

    axis: Axis
    side: str
    number: int
    notation: str
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """A decision or a metric of two networks.

    Args:
        name: Which.
        here: Of the first, in words.
        there: Of the second.
        differs: Whether they are not the same.
        change: Of a metric the second's without the first's, in words; else empty.
        better: Whether the second is the better one; None where nothing says.
    """

    name: str
    here: str
    there: str
    differs: bool
    change: str = ""
    better: bool | None = None


def change_text(change: float, unit: str) -> str:
    """Return a difference with its sign.

    >>> change_text(1.25, "ms"), change_text(-2048, "bytes"), change_text(0, "%")
    ('+1.25 ms', '-2 KB', 'the same')
    """
    if change == 0:
        return "the same"
    text = value_text(abs(change), unit)
    return f"{'+' if change > 0 else '-'}{text}"


def front_rows(record: ExperimentRecord, table: TrialTable) -> tuple[Row, ...]:
    """Return the members of the front."""
    members = np.flatnonzero(front_of(feasible_losses(table, record)))
    return tuple(table.where(members).rows)


def neighbours(
    record: ExperimentRecord, members: Sequence[Row], trial: TrialView
) -> tuple[Neighbour, ...]:
    """Return the next cheaper and the next dearer member of the front along each cost.

    Costs are the objectives to be minimised; where there are none, every objective counts.
    Members of equal cost are no neighbours along it; of several that are equally near, the best in
    the other objectives, the first of which decides.

    Args:
        record: The experiment.
        members: Of its front.
        trial: On the front or not; without a value of a cost it has no neighbours along it.
    """
    axes, own = objective_axes(record), trial.trial.metrics
    costs = [axis for axis in axes if axis.direction == "minimize"] or list(axes)
    others = [row for row in members if row.number != trial.trial.number]
    found = []
    for axis in costs:
        if axis.metric not in own:
            continue
        here = axis.sign * own[axis.metric]
        away = [(axis.sign * row.metrics[axis.metric] - here, row) for row in others]
        for side, sign in (("cheaper", -1.0), ("dearer", 1.0)):
            beyond = [(sign * step, row) for step, row in away if sign * step > 0]
            if beyond:
                row = min(beyond, key=lambda item: (item[0], *_losses(axes, item[1])))[1]
                found.append(_neighbour(axis, side, row, axes, trial))
    return tuple(found)


def _losses(axes: Sequence[Axis], row: Row) -> tuple[float, ...]:
    return (*(axis.sign * row.metrics[axis.metric] for axis in axes), float(row.number))


def _neighbour(
    axis: Axis, side: str, row: Row, axes: Sequence[Axis], trial: TrialView
) -> Neighbour:
    own = trial.trial.metrics
    differences = tuple(
        Difference(each, row.metrics[each.metric], row.metrics[each.metric] - own[each.metric])
        for each in axes
        if each.metric in own
    )
    return Neighbour(axis, side, row.number, row.notation, differences)


def decision_pairs(here: TrialView, there: TrialView) -> tuple[Pair, ...]:
    """Return the decisions of two networks side by side; one that is not there is a dash."""
    return named_pairs(dict(here.decisions), dict(there.decisions))


def named_pairs(first: Mapping[str, str], second: Mapping[str, str]) -> tuple[Pair, ...]:
    """Return what is named in either of two networks side by side; what is not there is a dash."""
    names = dict.fromkeys((*first, *second))
    return tuple(
        Pair(
            name,
            first.get(name, MISSING),
            second.get(name, MISSING),
            first.get(name) != second.get(name),
        )
        for name in names
    )


def metric_pairs(here: TrialView, there: TrialView) -> tuple[Pair, ...]:
    """Return the metrics of two networks of one experiment side by side."""
    pairs = []
    for one, other in zip(here.metrics, there.metrics, strict=True):
        if one.value is None and other.value is None:
            continue
        if one.value is None or other.value is None:
            pairs.append(Pair(one.name, one.text, other.text, True))
            continue
        axis = Axis(one.name, one.unit, one.direction)
        step = Difference(axis, other.value, other.value - one.value)
        text, differs = step.text if step.change else "", step.change != 0
        pairs.append(Pair(one.name, one.text, other.text, differs, text, step.better))
    return tuple(pairs)
