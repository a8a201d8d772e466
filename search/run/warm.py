"""Candidates from another experiment that come before the strategy's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...errors import InvalidArchitecture, SpecError
from ...spaces import Architecture
from ..objectives import Objective
from ..strategy import Candidate
from .finishing import front_records

if TYPE_CHECKING:
    from ...db import Store
    from ...db.records import ExperimentRecord, NewExperiment
    from .plan import Plan

_KEY = "warm_start"


def warm_candidates(plan: Plan, store: Store) -> list[Candidate]:
    """Return the front of the experiment that the plan starts from, best first.

    The front is that of the plan's objectives where that experiment measured them, else that of its
    own objectives.

    Raises:
        SpecError: If it has no front, or its architectures are not of the plan's space.
        StoreError: If there is no such experiment.
    """
    if plan.warm_start is None:
        return []
    record = store.experiment(plan.warm_start)
    done = store.trial_records(record.id, statuses=["done"])
    feasible = [r for r in done if r.feasible and r.space is None]
    objectives: Sequence[Objective] = plan.objectives
    if not all(o.metric in r.metrics for o in objectives for r in feasible):
        objectives = [Objective(o["metric"], o["direction"]) for o in record.objectives]
    chosen = front_records(objectives, feasible)
    if not chosen:
        raise SpecError(
            f"warm_start needs an experiment with a front, and {record.name} has no feasible "
            "trial; name another, or leave it out"
        )
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


def check_warm(plan: Plan) -> None:
    """Look for the experiment to start from before anything runs; the store is only read.

    Raises:
        SpecError: If its front is of no use to the plan.
        StoreError: If there is no such store or experiment.
    """
    from ...db import Store

    if plan.warm_start is not None:
        with Store(plan.store_url, read_only=True) as store:
            warm_candidates(plan, store)


def with_warm(new: NewExperiment, candidates: Sequence[Candidate]) -> NewExperiment:
    """Return the record with its warm candidates in it: a resumed run proposes the same ones.

    By then the experiment that they come from may have another front, or be deleted.
    """
    if not candidates:
        return new
    kept = [{"architecture": dict(c.architecture), "tags": dict(c.tags)} for c in candidates]
    return replace(new, info={**new.info, _KEY: kept})


def stored_warm(record: ExperimentRecord) -> list[Candidate]:
    """Return the warm candidates of a stored experiment."""
    return [
        Candidate(Architecture(kept["architecture"]), tags=kept["tags"])
        for kept in record.info.get(_KEY, ())
    ]
