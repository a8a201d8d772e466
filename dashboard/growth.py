"""How competitors grow: step curves, their median and quartiles, and attainment surfaces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import moocore
import numpy as np

from .axes import Axis
from .contest import Competitor, Contest, Run
from .progress import By, best_so_far, clock, hypervolume_so_far
from .table import Floats
from .thinning import evenly

MIN_BAND = 3  # runs: of fewer, each is a line of its own
MAX_STEPS = 2000  # places of a median that are drawn
PERCENTS = (25, 50, 75)


@dataclass(frozen=True)
class Steps:
    """A value that changes at some places and holds in between.

    Args:
        x: Where it changes, (k,), rising.
        y: What it is from there on, (k,).
        end: How far it is known.
        start: What it is before the first change; NaN where it is not known.
    """

    x: Floats = field(repr=False)
    y: Floats = field(repr=False)
    end: float
    start: float = np.nan

    def at(self, places: Floats) -> Floats:
        """Return the values at `places`."""
        known = np.searchsorted(self.x, places, side="right")
        return np.concatenate([[self.start], self.y])[known]


@dataclass(frozen=True)
class Line:
    """What is drawn of a competitor: one run, or the median of several with its quartiles.

    Args:
        label: The competitor's.
        name: Of the run, empty for a median.
        x: (k,).
        y: (k,).
        low: Lower quartile, (k,); None for a run.
        high: Upper quartile, (k,).
    """

    label: str
    name: str
    x: Floats = field(repr=False)
    y: Floats = field(repr=False)
    low: Floats | None = field(default=None, repr=False)
    high: Floats | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Growth:
    """The histories of a contest along one axis.

    Args:
        by: `trials` or `time`.
        label: Of the horizontal axis, with its unit.
        volume: Hypervolume of each competitor.
        best: Best feasible value by objective.
    """

    by: By
    label: str
    volume: tuple[Line, ...]
    best: dict[str, tuple[Line, ...]]

    @classmethod
    def of(cls, contest: Contest, by: By = "trials") -> Growth:
        """Measure the histories of all competitors against the common reference.

        Time counts from the creation of an experiment, pauses included.
        """
        scale, unit = _clock(contest) if by == "time" else (1.0, "")
        label = f"time since the start ({unit})" if by == "time" else "trials evaluated"

        def lines(value: Callable[[Floats], Floats], start: float) -> tuple[Line, ...]:
            return tuple(
                line
                for each in contest.competitors
                for line in _lines(
                    each, [_steps(r, by, scale, value, start) for r in each.runs], by
                )
            )

        reference = contest.reference
        if reference is None:
            return cls(by, label, (), {axis.metric: () for axis in contest.axes})
        return cls(
            by=by,
            label=label,
            volume=lines(lambda losses: hypervolume_so_far(losses, reference), 0.0),
            best={
                axis.metric: lines(_best(number, axis.sign), np.nan)
                for number, axis in enumerate(contest.axes)
            },
        )


@dataclass(frozen=True)
class Surface:
    """The border of what a share of a competitor's runs attains.

    Args:
        label: The competitor's.
        percent: The share: 50 is the median surface.
        xs: Objective values of its corners, (k,), along the horizontal axis.
        ys: (k,).
    """

    label: str
    percent: int
    xs: Floats = field(repr=False)
    ys: Floats = field(repr=False)


def surfaces(contest: Contest, x: Axis, y: Axis) -> list[Surface]:
    """Return the 25, 50 and 75 % attainment surfaces of every competitor with three runs or more.

    A point is attained by a run whose front has a network at least as good in both objectives. The
    surface of p % is the border of what at least p % of the runs attain; a run without a feasible
    network attains nothing and counts. Two objectives only: of more there is no such line.

    Source: Grunert da Fonseca, Fonseca & Hall, EMO 2001 (the attainment function); computed by
    moocore.
    """
    if len(contest.axes) != 2 or contest.reference is None:
        return []
    across, up = contest.axes.index(x), contest.axes.index(y)
    found = []
    for each in contest.competitors:
        if len(each.runs) < MIN_BAND:
            continue
        corners = attained([run.losses[run.front][:, [across, up]] for run in each.runs])
        for percent, points in corners.items():
            if len(points):
                values = points * np.array([x.sign, y.sign])
                found.append(Surface(each.label, percent, values[:, 0], values[:, 1]))
    return found


def attained(fronts: Sequence[Floats]) -> dict[int, Floats]:
    """Return the corners, (k, 2), of the surfaces of 25, 50 and 75 % of the fronts.

    Args:
        fronts: (n, 2) losses each; an empty one attains nothing.
    """
    if not any(len(front) for front in fronts):
        return {percent: np.empty((0, 2)) for percent in PERCENTS}
    beyond = np.concatenate([front for front in fronts if len(front)]).max(axis=0) + 1.0
    # moocore counts the sets that it sees: one without a point gets a corner behind all others
    padded = [front if len(front) else beyond[None, :] for front in fronts]
    sets = np.repeat(np.arange(len(padded)), [len(front) for front in padded])
    found = moocore.eaf(np.concatenate(padded), sets, percentiles=PERCENTS)
    inside = found[np.all(found[:, :2] < beyond, axis=1)]
    return {percent: inside[inside[:, 2] == percent][:, :2] for percent in PERCENTS}


def _best(column: int, sign: float) -> Callable[[Floats], Floats]:
    return lambda losses: np.asarray(sign * best_so_far(losses)[:, column])


def _clock(contest: Contest) -> tuple[float, str]:
    """Return the seconds of a unit that suits the longest run, and its name."""
    spans = [run.duration_s for run in contest.runs]
    return clock(max((span for span in spans if np.isfinite(span)), default=0.0))


def _steps(
    run: Run, by: By, scale: float, value: Callable[[Floats], Floats], start: float
) -> Steps:
    """Return where a value of a run changes."""
    rows = run.entered if by == "trials" else run.entered_in_time
    x: Floats = (rows + 1).astype(np.float64) if by == "trials" else run.elapsed_s[rows] / scale
    y = value(run.losses[rows])
    changed = np.flatnonzero(np.diff(y, prepend=np.nan) != 0)
    end = run.evaluations if by == "trials" else run.duration_s / scale
    return Steps(x[changed], y[changed], float(end), start)


def _lines(competitor: Competitor, runs: Sequence[Steps], by: By) -> list[Line]:
    """Return the lines of a competitor; runs of which nothing is known have none."""
    known = [steps for steps in runs if np.isfinite(steps.end)]
    if len(known) >= MIN_BAND and len(known) == len(runs):
        return [median_line(competitor.label, known, by)]
    lines = []
    for run, steps in zip(competitor.runs, runs, strict=True):
        if len(steps.x) and np.isfinite(steps.end):
            xs, ys = np.append(steps.x, steps.end), np.append(steps.y, steps.y[-1])
            lines.append(Line(competitor.label, run.record.name, xs, ys))
    return lines


def median_line(label: str, runs: Sequence[Steps], by: By = "trials") -> Line:
    """Return the median and the quartiles of runs.

    Over trials they reach as far as all runs do: equal effort. Over time a run that has ended keeps
    its value. Quartiles interpolate linearly between the runs. Where one of them has no value yet
    there is none of the median either.
    """
    reach = max if by == "time" else min
    end = reach(steps.end for steps in runs)
    places = np.unique(np.concatenate([*(steps.x for steps in runs), [end]]))
    places = evenly(places[places <= end], MAX_STEPS)
    values = np.stack([steps.at(places) for steps in runs])
    known = ~np.isnan(values).any(axis=0)
    low, middle, high = np.quantile(values[:, known], [0.25, 0.5, 0.75], axis=0)
    return Line(label, "", places[known], middle, low, high)
