"""Where the networks of an experiment come from: the one that they were chosen from.

What their training starts from is kept with the new experiment: the old one may be deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ...db.records import RETRAINED
from ...errors import SpecError
from .tensors import unpack_tensors

if TYPE_CHECKING:
    from ...db import Store
    from ...db.records import ExperimentRecord, NewExperiment
    from .plan import Plan

INITIAL = "initial"  # the kind of the artifacts that hold what a training starts from


@dataclass(frozen=True)
class Inherited:
    """Weights that a training starts from.

    Args:
        source: In words, whose they are.
        sha256: Digest of the data.
        data: The state dict as `torch.save` writes it.
    """

    source: str
    sha256: str
    data: bytes = field(repr=False)


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
    weights: tuple[Inherited, ...] = ()


def with_origin(new: NewExperiment, origin: Origin | None) -> NewExperiment:
    """Return the record with its link to where its networks come from."""
    if origin is None:
        return new
    link = {
        "id": origin.record.id,
        "name": origin.record.name,  # shown when that experiment is deleted, too
        "trials": list(origin.trials),
        "inherited": list(dict.fromkeys(w.source for w in origin.weights)),
    }
    info = {**new.info, RETRAINED: link}
    return replace(new, kind=RETRAINED, parent=origin.record.id, info=info)


def keep_initial(store: Store, experiment_id: str, origin: Origin | None) -> None:
    """Keep the files that the trainings start from with the new experiment."""
    if origin is None or not origin.weights:
        return
    files = [(weights.source, *store.put_file(weights.data)) for weights in origin.weights]
    with store.transaction() as transaction:
        for source, sha256, size in files:
            transaction.add_artifact(
                experiment_id,
                kind=INITIAL,
                name=source,
                sha256=sha256,
                size_bytes=size,
                meta={"format": "torch.save of a state dict"},
            )


def give_initial(plan: Plan, origin: Origin | None) -> None:
    """Give the estimators the weights that their evaluations start from.

    Raises:
        SpecError: If the plan names weights that `origin` has not, or they cannot be read.
    """
    _give(plan, {w.sha256: (w.source, w.data) for w in (origin.weights if origin else ())})


def give_stored_initial(plan: Plan, store: Store, experiment_id: str) -> None:
    """Give the estimators the weights that a stored experiment began with.

    Raises:
        SpecError: If the experiment does not hold them.
        StoreError: If a file is not beside the store.
    """
    if any(estimator.initial_weights for estimator in plan.estimators):
        kept = store.artifacts(experiment_id, kind=INITIAL)
        _give(plan, {a.sha256: (a.name, store.artifact_path(a).read_bytes()) for a in kept})


def _give(plan: Plan, known: Mapping[str, tuple[str, bytes]]) -> None:
    wanted = sorted({d for estimator in plan.estimators for d in estimator.initial_weights})
    if missing := [digest[:12] for digest in wanted if digest not in known]:
        raise SpecError(
            f"a training starts from weights that the store holds, and it does not hold "
            f"{', '.join(missing)}; choose trials with netloom retrain --inherit"
        )
    weights = {digest: read_weights(known[digest][1], known[digest][0]) for digest in wanted}
    for estimator in plan.estimators:
        if estimator.initial_weights:
            estimator.take_initial(weights)


def read_weights(data: bytes, whose: str) -> Mapping[str, Any]:
    """Return a stored state dict.

    Raises:
        SpecError: If it is none.
    """
    try:
        return unpack_tensors(data)
    except Exception as error:  # torch raises many kinds, and nothing in the file was executed
        raise SpecError(
            f"the weights of {whose} cannot be read ({type(error).__name__}); copy the folder of "
            "the store again, or train from scratch"
        ) from error
