"""Candidates from another experiment that come before the strategy's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import InvalidArchitecture, SpecError
from ..objectives import Objective
from ..strategy import Candidate
from .finishing import front_records

if TYPE_CHECKING:
    from ...db import Store
    from .plan import Plan


def warm_candidates(plan: Plan, store: Store) -> list[Candidate]:
    """Return the front of the experiment that the plan starts from, best first.

    The front is that of the plan's objectives where that experiment measured them, else that of its
    own objectives.

    Raises:
        SpecError: If its architectures are not of the plan's space.
        StoreError: If there is no such experiment.
    """
    if plan.warm_start is None:
        return []
    record = store.experiment(plan.warm_start)
    feasible = [r for r in store.trial_records(record.id, statuses=["done"]) if r.feasible]
    objectives: Sequence[Objective] = plan.objectives
    if not all(o.metric in r.metrics for o in objectives for r in feasible):
        objectives = [Objective(o["metric"], o["direction"]) for o in record.objectives]
    chosen = front_records(objectives, feasible)
    candidates = []
    for trial in chosen:
        try:
            architecture = plan.space.architecture(trial.architecture)
        except InvalidArchitecture as error:
            raise SpecError(
                f"warm_start needs an experiment on the same kind of space, got {record.name} "
                f"(space {record.space}): {error}; name another, or leave it out"
            ) from error
        candidates.append(Candidate(architecture, tags={"warm_start": record.name}))
    return candidates
