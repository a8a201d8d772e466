"""Early stopping in Ray Tune: which rule, and what it compares."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule, TrialScheduler

from ..evaluation import valid_metrics
from .trainable import SCORE, STEP

if TYPE_CHECKING:
    from ..plan import Plan

_ENDLESS = 10**6  # more steps than a trial has: its end is its outcome, not a step count


class _MedianRule(MedianStoppingRule):  # type: ignore[misc]  # Ray is untyped here
    """Knows that a trial may end before its first report."""

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        if SCORE in result:
            super().on_trial_complete(tune_controller, trial, result)


def score(plan: Plan) -> tuple[str | None, str]:
    """Return the metric that the scheduler compares, and which way is better."""
    if plan.runner.scheduler.name == "none":
        return None, "max"
    reported = [m for e in plan.estimators if e.reports for m in valid_metrics(e)]
    wanted = [o.metric for o in plan.objectives if o.metric in reported]
    metric = plan.runner.scheduler.metric or (wanted or reported)[0]
    directions = {o.metric: o.direction for o in plan.objectives}
    direction = directions.get(metric, plan.metrics[metric].direction)
    return metric, "max" if direction == "maximize" else "min"


def make_scheduler(plan: Plan, mode: str) -> TrialScheduler | None:
    """Return Tune's scheduler; None lets every trial run to its end."""
    options = plan.runner.scheduler
    if options.name == "asha":
        return AsyncHyperBandScheduler(
            time_attr=STEP,
            metric=SCORE,
            mode=mode,
            max_t=_ENDLESS,
            grace_period=options.grace,
            reduction_factor=options.reduction,
        )
    if options.name == "median":
        return _MedianRule(
            time_attr=STEP,
            metric=SCORE,
            mode=mode,
            grace_period=options.grace,
            min_samples_required=options.min_trials,
            min_time_slice=math.inf,  # it would pause trials to wait for others; ours cannot pause
        )
    return None
