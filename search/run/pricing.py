"""What an architecture costs, for strategies that train: no trial, and nothing of its quality."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...errors import HardwareLimit

if TYPE_CHECKING:
    from ...estimators import Estimator
    from ...spaces import Architecture
    from .plan import Plan

_COUNTS = ("macs", "params", "peak_activation_bytes")
_KEPT = 64  # architectures: of several searches side by side, epoch after epoch


class Pricing:
    """The costs among the objectives and constraints of a plan, by its own cheap estimators.

    A cost is a count of `complexity` or a field of a device's cost (`latency_ms@DEVICE`), whoever
    provides it, as long as it is deterministic.

    Args:
        plan: What runs.
    """

    def __init__(self, plan: Plan) -> None:
        wanted = {o.metric for o in plan.objectives} | {c.metric for c in plan.constraints}
        costs = {name for name in wanted if is_cost(name)}
        self._asked: list[tuple[Estimator, list[str]]] = []
        for estimator in plan.estimators:
            names = [m.name for m in estimator.metrics if m.name in costs and m.split == "valid"]
            if names and estimator.cheap and estimator.deterministic:
                self._asked.append((estimator, names))
        self._known: dict[str, dict[str, float]] = {}

    def of(self, architecture: Architecture) -> dict[str, float]:
        """Return metric -> value; NaN where the network cannot run on the estimator's devices.

        Raises:
            EvaluationError: If the network cannot be built.
        """
        found = self._known.pop(architecture.key, None)
        if found is None:
            found = {}
            for estimator, names in self._asked:
                found |= _priced(estimator, names, architecture)
        self._known[architecture.key] = found  # the last of the list is the last used
        if len(self._known) > _KEPT:
            del self._known[next(iter(self._known))]
        return dict(found)


def is_cost(metric: str) -> bool:
    """Say whether a metric is what a network costs, and not how good it is."""
    from ...estimators.hardware import FIELDS

    field, _, device = metric.partition("@")
    return field in (FIELDS if device else _COUNTS)


def _priced(estimator: Estimator, names: list[str], architecture: Architecture) -> dict[str, float]:
    try:
        metrics = estimator.evaluate(architecture)
    except HardwareLimit:
        return dict.fromkeys(names, math.nan)
    return {name: metrics[name] for name in names}
