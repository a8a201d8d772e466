"""What page and report say under the figures of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .axes import Axis, pick_axis
from .contest import Contest
from .growth import MIN_BAND, Growth


@dataclass(frozen=True, slots=True)
class Captions:
    """A caption for each figure."""

    fronts: str
    growth: str
    attainment: str


def plane_of(axes: Sequence[Axis], x: str | None = None, y: str | None = None) -> tuple[Axis, Axis]:
    """Return the plane of two of the common objectives.

    Args:
        axes: The common objectives; of one alone both axes are that one.
        x: The horizontal one; by default one that is not up.
        y: The vertical one; by default a quality. Where both are the same, `x` gives way.

    Raises:
        UnknownName: If one is no common objective.
    """
    across = pick_axis(axes, x) if x else None
    if y:
        up = pick_axis(axes, y)
    else:
        free = [axis for axis in axes if axis != across] or list(axes)
        up = next((axis for axis in free if axis.direction == "maximize"), free[0])
    if across is None or across == up:
        across = next((axis for axis in axes if axis != up), up)
    return across, up


def captions(contest: Contest, growth: Growth, x: Axis, y: Axis) -> Captions:
    """Return the captions of a comparison shown in the plane of `x` and `y`."""
    return Captions(_fronts(contest, x, y), _growth(contest, growth), _attainment(contest))


def pair_note(contest: Contest) -> str:
    """Return how the table of pairs is to be read."""
    if contest.reference is None:
        return "No feasible trial yet, so there is nothing to compare."
    if len(contest.competitors) < 2:
        return (
            "One competitor alone: runs of one spec that differ in their seed are its repetitions. "
            "Choose another experiment, or each seed by itself."
        )
    return (
        "Hypervolumes are means over the runs, of equally many evaluations of each, against the "
        "one reference point. A front covers the share of the other's networks that one of its own "
        "equals or betters in every common objective (the mean over the runs; both ways need not "
        "add up to 100 %)."
    )


def _fronts(contest: Contest, x: Axis, y: Axis) -> str:
    if not contest.plane:
        return ""
    goals = ", ".join(axis.metric for axis in contest.axes)
    said = [f"The front of each run in the common objectives: {goals}."]
    bands = [len(each.runs) >= MIN_BAND for each in contest.competitors]
    if len(contest.axes) > 2 and not all(bands):
        said.append(f"Lines are the fronts of {x.metric} and {y.metric} alone.")
    if any(bands) and len(contest.axes) == 2:
        said.append("The line of several seeds is what half of them attain.")
    counts = {run.evaluations for run in contest.runs}
    if len(counts) > 1:
        said.append(
            f"The runs have from {min(counts):,} to {max(counts):,} evaluations: fronts of "
            "unequal effort."
        )
    return " ".join(said)


def _growth(contest: Contest, growth: Growth) -> str:
    said = []
    time = growth.by == "time"
    if any(len(each.runs) >= MIN_BAND for each in contest.competitors):
        reach = (
            "where a run that has ended keeps its value" if time else "as far as all of them reach"
        )
        said.append(
            f"Of three seeds and more: the median and the quartiles, {reach} (of best values, from "
            "where all have one)."
        )
    if time:
        said.append(
            "Time counts from the creation of an experiment to each result, pauses included; what "
            "other work the machine had is in it."
        )
    return " ".join(said)


def _attainment(contest: Contest) -> str:
    if len(contest.axes) != 2 or all(len(c.runs) < MIN_BAND for c in contest.competitors):
        return ""
    return (
        "What at least 25, 50 and 75 % of a competitor's seeds attain: some network of their front "
        "is at least as good in both objectives. The thick line of 50 % is the median front; "
        "between 25 (dotted) and 75 % (dashed) lies the spread over seeds."
    )
