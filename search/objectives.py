"""What a search wants: objectives stay several, constraints are measured by their violation."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import SpecError

_COUNTS = {"K": 1e3, "M": 1e6, "G": 1e9, "%": 1.0}
_UNITS_OF = {  # what the metric is measured in (the end of its name) -> units of a bound
    "bytes": {"B": 1.0, "KB": 1024.0, "MB": 1024.0**2, "GB": 1024.0**3}
    | {"KiB": 1024.0, "MiB": 1024.0**2, "GiB": 1024.0**3},
    "ms": {"us": 1e-3, "ms": 1.0, "s": 1e3},
    "mj": {"nJ": 1e-6, "uJ": 1e-3, "mJ": 1.0, "J": 1e3},
    "mm2": {"mm2": 1.0},
}
_NUMBER = r"(?P<number>[-+]?\d[\d_]*(?:\.\d*)?(?:[eE][-+]?\d+)?)\s*(?P<unit>[A-Za-z%]*2?)\s*$"
_BOUND = re.compile(rf"^\s*{_NUMBER}")
_CONSTRAINT = re.compile(
    rf"^\s*(?P<metric>[A-Za-z_][\w.]*(?:@[\w.\-]+)?)\s*(?P<sign><=|>=)\s*{_NUMBER}"
)
# The same as any JSON Schema reads them: without the names of groups.
BOUND_PATTERN, CONSTRAINT_PATTERN = (
    re.sub(r"\?P<\w+>", "", expression.pattern) for expression in (_BOUND, _CONSTRAINT)
)


@dataclass(frozen=True)
class Objective:
    """One metric to push one way.

    Args:
        metric: `metric` or `metric@target`.
        direction: `maximize` or `minimize`.

    Raises:
        SpecError: If the direction is neither.
    """

    metric: str
    direction: Literal["maximize", "minimize"]

    def __post_init__(self) -> None:
        if self.direction not in ("maximize", "minimize"):
            raise SpecError(
                f"objective {self.metric}: the direction must be maximize or minimize, "
                f"got {self.direction!r}"
            )

    def loss(self, metrics: Mapping[str, float]) -> float:
        """Return the value with its sign turned so that lower is better."""
        value = metrics[self.metric]
        return -value if self.direction == "maximize" else value


@dataclass(frozen=True)
class Constraint:
    """A bound on one metric.

    Args:
        metric: `metric` or `metric@target`.
        max: Upper bound, or None.
        min: Lower bound, or None.

    Raises:
        SpecError: If not exactly one bound is given, or it is not a finite number.
    """

    metric: str
    max: float | None = None
    min: float | None = None

    def __post_init__(self) -> None:
        if (self.max is None) == (self.min is None):
            raise SpecError(f"constraint on {self.metric}: give exactly one of max and min")
        if not math.isfinite(self._bound):
            raise SpecError(
                f"constraint on {self.metric}: the bound must be a finite number, got {self._bound}"
            )

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Read `latency_ms@eyeriss <= 6` or `peak_memory_bytes <= 320KB`.

        A bound without a unit is in the metric's own. K, M and G are 1000s; KB, MB and GB (KiB,
        MiB, GiB) are 1024s of bytes; us, ms, s and nJ, uJ, mJ, J go with metrics in ms and mj.

        Raises:
            SpecError: If the text is not `metric <= number` or `metric >= number`, or the unit is
                not one of the metric.
        """
        match = _CONSTRAINT.match(text)
        if match is None:
            raise SpecError(
                "a constraint must read 'metric <= number' or 'metric >= number', for example "
                f"'peak_memory_bytes@stm32f746 <= 320KB'; got {text!r}"
            )
        number = float(match["number"].replace("_", ""))
        bound = number * _factor(match["metric"], match["unit"], text)
        if match["sign"] == "<=":
            return cls(match["metric"], max=bound)
        return cls(match["metric"], min=bound)

    def violation(self, metrics: Mapping[str, float]) -> float:
        """Return by how much the bound is broken, relative to it; 0 when it holds.

        A bound of 0 has no relative scale: the plain excess is returned. A NaN is infinitely far
        off, so that it can never pass for feasible.
        """
        value = metrics[self.metric]
        if math.isnan(value):
            return math.inf
        excess = value - self._bound if self.max is not None else self._bound - value
        return max(0.0, excess / (abs(self._bound) or 1.0))

    @property
    def _bound(self) -> float:
        return self.max if self.max is not None else self.min  # type: ignore[return-value]

    def __str__(self) -> str:
        sign = "<=" if self.max is not None else ">="
        return f"{self.metric} {sign} {self._bound:.12g}"


def read_bound(text: str, metric: str | None = None) -> float:
    """Return the number that `320KB` or `1.5 s` means, in the unit of `metric` (None: of any).

    Raises:
        SpecError: If the text is not a number with a unit of the metric.
    """
    match = _BOUND.match(text)
    if match is None:
        raise SpecError(f"a bound must be a number, with a unit such as KB or M, got {text!r}")
    return float(match["number"].replace("_", "")) * _factor(metric, match["unit"], text)


def _factor(metric: str | None, unit: str, text: str) -> float:
    """Return what one `unit` is in the unit of `metric`, which stands at the end of its name."""
    if not unit:
        return 1.0
    own = (metric or "").partition("@")[0].rpartition("_")[2]
    # A metric that does not say its unit may be anything that is counted, bytes included.
    units = {**_UNITS_OF.get(own, _UNITS_OF["bytes"]), **_COUNTS}
    if metric is None:
        units = {name: factor for group in _UNITS_OF.values() for name, factor in group.items()}
        units |= _COUNTS
    if unit not in units:
        raise SpecError(
            f"constraint {text!r}: {unit!r} is not a unit of {metric or 'anything'}; "
            f"leave it out, or use one of {', '.join(units)}"
        )
    return units[unit]


def total_violation(constraints: Iterable[Constraint], metrics: Mapping[str, float]) -> float:
    """Return the sum of the violations of the constraints whose metric is present."""
    return sum(c.violation(metrics) for c in constraints if c.metric in metrics)


def losses(objectives: Sequence[Objective], metrics: Mapping[str, float]) -> tuple[float, ...]:
    """Return one loss per objective, lower is better."""
    return tuple(objective.loss(metrics) for objective in objectives)
