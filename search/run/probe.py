"""A look at a search before anything is spent: random architectures, cheap metrics, durations."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from ...errors import HardwareLimit
from ...estimators import Estimator
from ...seeds import derive_rng, derive_seed
from ...spaces import Architecture
from ..objectives import Constraint
from .evaluation import label, one_line
from .plan import Plan

_DRAWS = 64  # tries per architecture before a small space counts as used up


@dataclass(frozen=True)
class Range:
    """Values of one metric over the architectures for which it is known."""

    metric: str
    min: float
    median: float
    max: float
    count: int


@dataclass(frozen=True)
class Share:
    """How many of the architectures satisfy one constraint, of those for which it is known."""

    text: str
    held: int
    known: int


@dataclass(frozen=True)
class Probe:
    """What a probe found.

    Args:
        drawn: Different architectures drawn.
        ranges: One per cheap metric.
        constraints: One per constraint of the spec.
        feasible: Architectures that satisfy every constraint on a cheap metric.
        seconds_per_trial: Of one feasible trial, all estimators.
        expected_s: Of the whole search, its budget's time at most.
        notes: What was not measured, in words.
    """

    drawn: int
    ranges: tuple[Range, ...]
    constraints: tuple[Share, ...]
    feasible: int
    seconds_per_trial: float
    expected_s: float | None
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def run_probe(plan: Plan, count: int) -> Probe:
    """Draw `count` random architectures, evaluate them cheaply, time one expensive evaluation.

    An expensive estimator that takes a budget is timed on its smallest one (one epoch) and scaled.
    """
    architectures = _draw(plan, count)
    metrics: list[dict[str, float]] = [{} for _ in architectures]
    blocked = [False] * len(architectures)
    notes: list[str] = []
    cheap_s = 0.0
    for estimator in (e for e in plan.estimators if e.cheap):
        seconds, failed = _evaluate(plan, estimator, architectures, metrics, blocked)
        cheap_s += seconds
        if failed:
            name = label(estimator)
            first = one_line(failed[0])
            notes.append(f"{name} failed on {len(failed)} of {len(architectures)}: {first}")
    names = [m.name for e in plan.estimators if e.cheap for m in e.metrics if m.split == "valid"]
    cheap = [c for c in plan.constraints if c.metric in names]
    good = [
        not stop and all(c.metric in m and c.violation(m) == 0.0 for c in cheap)
        for m, stop in zip(metrics, blocked, strict=True)
    ]
    expensive_s, more = _time_expensive(plan, architectures, good)
    per_trial = cheap_s / max(1, len(architectures)) + expensive_s
    return Probe(
        drawn=len(architectures),
        ranges=tuple(r for name in names if (r := _range(name, metrics)) is not None),
        constraints=tuple(_share(c, metrics) for c in plan.constraints),
        feasible=sum(good),
        seconds_per_trial=per_trial,
        expected_s=_expected(plan, per_trial),
        notes=(*notes, *more),
    )


def _draw(plan: Plan, count: int) -> list[Architecture]:
    rng = derive_rng(plan.seed, "probe")
    found: dict[Architecture, None] = {}
    misses = 0
    while len(found) < min(count, plan.space.size) and misses < _DRAWS:
        drawn = plan.space.sample(rng)
        misses = misses + 1 if drawn in found else 0
        found[drawn] = None
    return list(found)


def _evaluate(
    plan: Plan,
    estimator: Estimator,
    architectures: Sequence[Architecture],
    metrics: list[dict[str, float]],
    blocked: list[bool],
) -> tuple[float, list[Exception]]:
    """Fill `metrics` and `blocked` (cannot run on the device at all); return seconds, failures."""
    seeds = [derive_seed(plan.seed, "probe", i) for i in range(len(architectures))]
    estimator.evaluate_many(architectures[:1], seeds=seeds[:1])  # tables load at the first use
    start = time.perf_counter()
    answers = estimator.evaluate_many(architectures, seeds=seeds)
    seconds = time.perf_counter() - start
    failed: list[Exception] = []
    for i, answer in enumerate(answers):
        if isinstance(answer, HardwareLimit):
            blocked[i] = True
        elif isinstance(answer, Exception):
            failed.append(answer)
            blocked[i] = True
        else:
            metrics[i] |= answer
    return seconds, failed


def _time_expensive(
    plan: Plan, architectures: Sequence[Architecture], good: Sequence[bool]
) -> tuple[float, list[str]]:
    chosen = next((a for a, g in zip(architectures, good, strict=True) if g), None)
    seconds, notes = 0.0, []
    check = getattr(plan.data, "check", None)
    if check is not None and chosen is not None:
        check()  # loads the data once, before the clock runs; a broken data set says so here
    for estimator in (e for e in plan.estimators if not e.cheap):
        name = label(estimator)
        if chosen is None:
            notes.append(f"{name} was not timed: no drawn architecture satisfies the constraints")
            continue
        epochs = getattr(estimator, "epochs", None)
        budget = 1.0 if estimator.reports and isinstance(epochs, int) else None
        start = time.perf_counter()
        estimator.evaluate(chosen, seed=derive_seed(plan.seed, "probe"), budget=budget)
        once = time.perf_counter() - start
        seconds += once * (epochs if budget and epochs else 1) * plan.repeats
        notes.append(f"{name} was timed on one network" + (" for one epoch" if budget else ""))
    return seconds, notes


def _expected(plan: Plan, per_trial: float) -> float | None:
    workers = 1 if plan.cheap else plan.runner.workers or os.cpu_count() or 1
    limits = []
    if plan.budget.trials is not None:
        limits.append(per_trial * min(plan.budget.trials, plan.space.size) / workers)
    if plan.budget.time_s is not None:
        limits.append(plan.budget.time_s)
    return min(limits, default=None)


def _range(name: str, metrics: Sequence[dict[str, float]]) -> Range | None:
    values = [m[name] for m in metrics if name in m]
    if not values:
        return None
    return Range(name, min(values), median(values), max(values), len(values))


def _share(constraint: Constraint, metrics: Sequence[dict[str, float]]) -> Share:
    known = [m for m in metrics if constraint.metric in m]
    held = sum(constraint.violation(m) == 0.0 for m in known)
    return Share(str(constraint), held, len(known))
