"""Why no architecture was feasible: the binding constraint and the nearest miss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...db.records import TrialRecord
from ..objectives import Constraint

_DEVICE_LIMITS = "device limits"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a search without one feasible architecture can say.

    Args:
        binding: The constraint that the smallest share of architectures satisfied; among equals
            the one that its closest architecture misses by most.
        satisfied: Constraint -> share of the architectures seen that satisfied it (0-1).
        number: Trial with the smallest total violation.
        architecture: Its decisions.
        notation: The same as its literature writes it.
        violation: Its violation, relative to the bounds.
        metrics: What is known of it.
        reason: What a device said, where one refused the network altogether.
    """

    binding: str
    satisfied: Mapping[str, float]
    number: int
    architecture: Mapping[str, Any]
    notation: str
    violation: float
    metrics: Mapping[str, float]
    reason: str | None = None

    def __str__(self) -> str:
        share = self.satisfied[self.binding]
        detail = f" ({self.reason})" if self.reason else ""
        return (
            f"no architecture was feasible: {self.binding} held for {share:.1%} of those seen; "
            f"the nearest is trial {self.number}, {self.notation}, off by {self.violation:.1%} of "
            f"the bound{detail}; relax {self.binding}, or search another space"
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def diagnose(records: Sequence[TrialRecord], constraints: Sequence[Constraint]) -> Diagnosis | None:
    """Return why nothing was feasible; None when no trial broke a constraint."""
    missed = [r for r in records if r.violation > 0]
    if not missed:
        return None
    satisfied: dict[str, float] = {}
    misses: dict[str, float] = {}
    for constraint in constraints:
        measured = [r for r in records if constraint.metric in r.metrics]
        if measured:
            excess = [constraint.violation(r.metrics) for r in measured]
            satisfied[str(constraint)] = excess.count(0.0) / len(measured)
            misses[str(constraint)] = min(excess)
    refused = [r for r in records if r.status == "infeasible" and r.error is not None]
    if refused:
        satisfied[_DEVICE_LIMITS] = 1 - len(refused) / len(records)
        misses[_DEVICE_LIMITS] = min(r.violation for r in refused)
    nearest = min(missed, key=lambda r: (r.violation, r.number))
    return Diagnosis(
        binding=min(satisfied, key=lambda name: (satisfied[name], -misses[name])),
        satisfied=satisfied,
        number=nearest.number,
        architecture=nearest.architecture,
        notation=nearest.notation,
        violation=nearest.violation,
        metrics=nearest.metrics,
        reason=nearest.error,
    )
