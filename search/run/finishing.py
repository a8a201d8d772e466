"""The last step of a search: test metrics, details, what the summary says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...db.records import RETRAINED, SpaceRef, TrialRecord
from ...errors import EvaluationError
from ...estimators import Estimator, check_finite
from ...pareto import front_mask, hypervolume, reference_point
from ...spaces import Architecture
from ..objectives import Objective, losses
from .book import WEIGHTS
from .evaluation import label, one_line
from .explanation import Explainer, explain_trials
from .members import space_of, stored_architecture
from .session import DETAILED
from .standing import Standing
from .tensors import unpack_tensors

if TYPE_CHECKING:
    from ...db import Store
    from ...db.records import ExperimentRecord
    from .context import Mapper
    from .events import Emitter
    from .plan import Plan

EXPLAINED = 100  # networks of the front, best first, that are taken apart at the end
EXPLAINING_S = 20.0  # and what that may take

_Item = tuple[Architecture, int, bytes | None]


def front_records(
    objectives: Sequence[Objective], records: Sequence[TrialRecord]
) -> tuple[TrialRecord, ...]:
    """Return the feasible front, best first in the first objective."""
    feasible = _ranked(objectives, records)
    if not feasible:
        return ()
    points = np.array([losses(objectives, r.metrics) for r in feasible])
    front = [
        (tuple(point), r.number, r)
        for point, r, on in zip(points.tolist(), feasible, front_mask(points), strict=True)
        if on
    ]
    return tuple(r for _, _, r in sorted(front, key=lambda entry: entry[:2]))


def _ranked(objectives: Sequence[Objective], records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the feasible trials that have every objective: imported ones may lack some."""
    return [r for r in records if r.feasible and all(o.metric in r.metrics for o in objectives)]


def volume(objectives: Sequence[Objective], records: Sequence[TrialRecord]) -> float | None:
    """Return the hypervolume of the feasible trials against their own reference point."""
    points = [losses(objectives, r.metrics) for r in _ranked(objectives, records)]
    return hypervolume(points, reference_point(points)) if points else None


def to_be_tested(
    record: ExperimentRecord, front: Sequence[TrialRecord], records: Sequence[TrialRecord]
) -> list[TrialRecord]:
    """Return whose test metrics are due: the front's; of networks chosen before, of every one."""
    if record.kind != RETRAINED:
        return list(front)
    ahead = {r.number for r in front}
    return [*front, *(r for r in records if r.feasible and r.number not in ahead)]


def test_chosen(
    plan: Plan,
    store: Store,
    experiment_id: str,
    chosen: Sequence[TrialRecord],
    *,
    mapper: Mapper,
    emit: Emitter,
) -> dict[int, str]:
    """Store the test metrics of those of the chosen trials that have none yet.

    Returns:
        Trial number -> why it could not be tested.
    """
    failed: dict[int, str] = {}
    for estimator, names, members in _tests(plan, chosen):
        waiting = [r for r in members if not all(name in r.metrics for name in names)]
        if not names or not waiting:
            continue
        emit(
            "progress", text=f"taking test metrics ({label(estimator)})", done=0, total=len(waiting)
        )
        items = [_item(store, experiment_id, estimator, record) for record in waiting]
        try:
            found = mapper(partial(_tested, estimator, tuple(names)), items)
        except EvaluationError as error:  # a worker was lost; what was searched is there
            found = [one_line(error)] * len(items)
        with store.transaction() as transaction:
            for record, answer in zip(waiting, found, strict=True):
                if isinstance(answer, str):
                    failed[record.number] = answer
                else:
                    transaction.set_metrics(experiment_id, record.number, answer)
    for number, reason in failed.items():
        emit("message", text=f"trial {number} has no test metrics: {reason}")
    return failed


def _tests(
    plan: Plan, chosen: Sequence[TrialRecord]
) -> Iterator[tuple[Estimator, list[str], list[TrialRecord]]]:
    """Yield each estimator with its test metrics and the chosen trials of its space."""
    for estimator in plan.estimators:
        names = [m.name for m in estimator.metrics if m.split == "test"]
        yield estimator, names, [r for r in chosen if r.space is None]
    for ref, there in plan.foreign.items():
        members = [r for r in chosen if r.space == ref]
        for estimator in there.estimators:
            tested = [m.name for m in estimator.metrics if m.split == "test"]
            yield estimator, [name for name in tested if name in there.metrics], members


def _item(store: Store, experiment_id: str, estimator: Estimator, record: TrialRecord) -> _Item:
    weights = None
    if not estimator.cheap:
        kept = store.artifacts(experiment_id, kind=WEIGHTS, number=record.number)
        weights = store.artifact_path(kept[-1]).read_bytes() if kept else None
    return stored_architecture(record), record.seed, weights


def _tested(estimator: Estimator, names: tuple[str, ...], item: _Item) -> Mapping[str, float] | str:
    architecture, seed, weights = item
    try:
        state = None if weights is None else unpack_tensors(weights)
        given = estimator.test(architecture, seed=seed, weights=state)
        return check_finite(label(estimator), given, names)
    except Exception as error:  # the others are tested all the same; the reason is reported
        return one_line(error)


def _detailed(estimators: Sequence[Estimator]) -> list[Estimator]:
    return [e for e in estimators if type(e).details is not Estimator.details]


def add_details(
    plan: Plan,
    store: Store,
    experiment_id: str,
    records: Sequence[TrialRecord],
    standing: Standing,
    *,
    emit: Emitter,
) -> None:
    """Store the breakdowns of the front and of the best trials per objective."""
    detailed: dict[SpaceRef | None, list[Estimator]] = {}
    detailed[None] = _detailed(plan.estimators)
    detailed |= {ref: _detailed(there.estimators) for ref, there in plan.foreign.items()}
    if not any(detailed.values()):
        return
    wanted = standing.kept(DETAILED)
    by_number = {r.number: r for r in records}
    found: list[tuple[int, str, Mapping[str, Any]]] = []
    for number in sorted(wanted):
        architecture = stored_architecture(by_number[number])
        for estimator in detailed[space_of(architecture)]:
            try:
                payload = estimator.details(architecture)
            except Exception as error:
                emit("message", text=f"no details of trial {number}: {one_line(error)}")
                continue
            if payload is not None:
                found.append((number, label(estimator), payload))
    with store.transaction() as transaction:
        for number, kind, payload in found:
            transaction.add_details(experiment_id, number, kind, payload)


def add_explanations(
    plan: Plan,
    store: Store,
    experiment_id: str,
    front: Sequence[TrialRecord],
    records: Sequence[TrialRecord],
    *,
    emit: Emitter,
) -> None:
    """Store drawing and costs by layer of the front and of the fixed points; see `Explainer`."""
    fixed = [r for r in records if r.fixed is not None]
    chosen = {r.number: r for r in (*fixed, *front[:EXPLAINED])}
    try:
        beside = {r: Explainer(f.space, f.estimators) for r, f in plan.foreign.items()}
        explainer = Explainer(plan.space, plan.estimators, beside=beside)
        found = explain_trials(
            store, experiment_id, explainer, list(chosen.values()), seconds=EXPLAINING_S
        )
    except Exception as error:  # what was searched is there
        emit("message", text=f"the front was not taken apart: {one_line(error)}")
        return
    wanted = {r.number for r in (*fixed, *front)}
    if left := len(wanted) - len(chosen) + len(found.left):
        words = "network was" if left == 1 else "networks were"
        name = store.experiment(experiment_id).name
        emit("message", text=f"{left} {words} not taken apart; netloom explain {name} --front does")
