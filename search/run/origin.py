"""Where the networks of an experiment come from: the one that they were chosen from.

What their training starts from is kept with the new experiment: the old one may be deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...db.records import RETRAINED
from ...errors import SpecError
from .tensors import unpack_tensors

if TYPE_CHECKING:
    from ...db import Store
    from ...db.records import ArtifactRecord, ExperimentRecord, NewExperiment
    from .plan import Plan

INITIAL = "initial"  # the kind of the artifacts that hold what a training starts from


@dataclass(frozen=True)
class Origin:
    """The experiment that networks were chosen from.

    Args:
        record: It.
        trials: Numbers of the chosen trials, in the order in which they are trained again.
        weights: What their training starts from; empty: from scratch.
    """

    record: ExperimentRecord
    trials: tuple[int, ...]
    weights: tuple[ArtifactRecord, ...] = ()


def with_origin(new: NewExperiment, origin: Origin | None) -> NewExperiment:
    """Return the record with its link to where its networks come from."""
    if origin is None:
        return new
    link = {
        "id": origin.record.id,
        "name": origin.record.name,  # shown when that experiment is deleted, too
        "trials": list(origin.trials),
        "inherited": bool(origin.weights),
    }
    info = {**new.info, RETRAINED: link}
    return replace(new, kind=RETRAINED, parent=origin.record.id, info=info)


def keep_initial(store: Store, experiment_id: str, origin: Origin | None) -> None:
    """Name the files that the trainings start from in the new experiment: gc spares them."""
    if origin is None or not origin.weights:
        return
    with store.transaction() as transaction:
        for artifact in origin.weights:
            transaction.add_artifact(
                experiment_id,
                kind=INITIAL,
                name=artifact.name,
                sha256=artifact.sha256,
                size_bytes=artifact.size_bytes,
                meta=artifact.meta,
            )


def give_initial(plan: Plan, store: Store, artifacts: Iterable[ArtifactRecord]) -> None:
    """Give the estimators the stored weights that their evaluations start from.

    Raises:
        SpecError: If weights that the plan names are not among `artifacts`, or cannot be read.
        StoreError: If a file is not beside the store.
    """
    wanted = {d for estimator in plan.estimators for d in estimator.initial_weights}
    if not wanted:
        return
    known = {artifact.sha256: artifact for artifact in artifacts}
    if missing := sorted(wanted - known.keys()):
        raise SpecError(
            f"a training starts from weights that the store holds, and it does not hold "
            f"{', '.join(d[:12] for d in missing)}; choose trials with netloom retrain --inherit"
        )
    weights = {digest: _read(store, known[digest]) for digest in sorted(wanted)}
    for estimator in plan.estimators:
        estimator.take_initial(weights)


def give_stored_initial(plan: Plan, store: Store, experiment_id: str) -> None:
    """Give the estimators the weights that a stored experiment began with."""
    if any(estimator.initial_weights for estimator in plan.estimators):
        give_initial(plan, store, store.artifacts(experiment_id, kind=INITIAL))


def _read(store: Store, artifact: ArtifactRecord) -> Mapping[str, Any]:
    data = store.artifact_path(artifact).read_bytes()
    try:
        return unpack_tensors(data)
    except Exception as error:  # torch raises many kinds, and nothing in the file was executed
        raise SpecError(
            f"the weights {artifact.name!r} cannot be read ({type(error).__name__}); copy the "
            "folder of the store again, or train from scratch"
        ) from error
