"""The searches that `search_quality.py` measures: a space, measured values, marks and a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from netloom import pareto
from netloom.estimators import ESTIMATORS
from netloom.search import Objective
from netloom.spaces import SPACES, Architecture, DecisionSpace


@dataclass(frozen=True)
class Task:
    """A search over a space whose every architecture has been measured.

    Args:
        space: Name of the space.
        objectives: One (scored by regret) or two (scored by hypervolume).
        marks: Distinct evaluations after which the score is read.
        references: For two objectives: the accuracy of each reference point; its cost is the
            worst of the table.
    """

    space: str
    objectives: tuple[Objective, ...]
    marks: tuple[int, ...]
    references: tuple[float, ...] = ()


ACCURACY = Objective("accuracy", "maximize")
VALID = Objective("valid_accuracy", "maximize")
MACS = Objective("macs", "minimize")
PIXEL3 = Objective("latency_ms@pixel3", "minimize")
REGRET, VOLUME = (100, 150, 300), (200, 500, 1000)
TASKS = {
    "regret": Task("nb201", (VALID,), REGRET),
    "hypervolume": Task("nb201", (VALID, PIXEL3), VOLUME, (10.0, 80.0)),
    # The defaults are chosen on these, and on nothing else.
    "tune-regret-sss": Task("nats_sss", (ACCURACY,), (50, 100, 150)),
    "tune-regret-macro": Task("nas_bench_macro", (ACCURACY,), (50, 100, 150)),
    "tune-volume-sss": Task("nats_sss", (ACCURACY, MACS), VOLUME, (10.0, 90.0)),
    "tune-volume-macro": Task("nas_bench_macro", (ACCURACY, MACS), VOLUME, (10.0, 90.0)),
}


@dataclass(frozen=True)
class Ground:
    """The table of a task.

    Args:
        space: The space.
        architectures: All of them, in the order of `enumerate`.
        losses: Lower is better, shape (n, m).
        metrics: Key -> the values that a strategy is told.
        rows: Key -> row.
        choices: Option positions, shape (n, decisions): what the peers search over.
    """

    space: DecisionSpace
    architectures: list[Architecture]
    losses: NDArray[np.float64]
    metrics: Mapping[str, Mapping[str, float]]
    rows: Mapping[str, int]
    choices: NDArray[np.int64]


@cache
def ground(name: str) -> Ground:
    """Return the table of a task."""
    task = TASKS[name]
    space = SPACES.get(task.space)()
    architectures = list(space.enumerate())
    metrics: list[dict[str, float]] = [{} for _ in architectures]
    wanted = {o.metric for o in task.objectives}
    for estimator in ("tabular", "complexity") if MACS in task.objectives else ("tabular",):
        values = ESTIMATORS.get(estimator)(space).evaluate_many(
            architectures, seeds=[0] * len(architectures)
        )
        for known, value in zip(metrics, values, strict=True):
            if isinstance(value, Exception):
                raise value
            known.update((k, v) for k, v in value.items() if k in wanted)
    losses = np.array([[o.loss(m) for o in task.objectives] for m in metrics])
    choices = np.array([[d.index(a[d.name]) for d in space.decisions] for a in architectures])
    keys = [a.key for a in architectures]
    return Ground(
        space,
        architectures,
        losses,
        dict(zip(keys, metrics, strict=True)),
        {key: row for row, key in enumerate(keys)},
        choices,
    )


def references(name: str) -> list[NDArray[np.float64]]:
    """Return the reference points of a task in losses (accuracy is maximised, cost minimised)."""
    worst = ground(name).losses[:, -1].max()
    return [np.array([-accuracy, worst]) for accuracy in TASKS[name].references]


def scores(name: str, evaluated: Sequence[int]) -> list[list[float]]:
    """Return the score after each mark: regrets, or the share of the true front's hypervolume.

    Args:
        name: The task.
        evaluated: Rows in the order of evaluation, all different. Where a method stopped before a
            mark, what it had counts.

    Returns:
        One list over the marks per reference point; a single one for regret.
    """
    task, losses = TASKS[name], ground(name).losses
    prefixes = [losses[list(evaluated[:mark])] for mark in task.marks]
    if len(task.objectives) == 1:
        best = losses.min()
        return [[float(prefix.min() - best) for prefix in prefixes]]
    return [
        [
            pareto.hypervolume(prefix, point) / pareto.hypervolume(losses, point)
            for prefix in prefixes
        ]
        for point in references(name)
    ]
