"""What is stored of a search before its first trial."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...db import public_url
from ...db.records import MetricRecord, NewExperiment
from ...errors import MissingDependency
from .evaluation import label, std_name

if TYPE_CHECKING:
    from ...db.records import ExperimentRecord
    from ...estimators import DataSet
    from .plan import Plan

_PACKAGES = ("torch", "ray", "numpy", "moocore", "SQLAlchemy", "optuna")


def new_experiment(
    plan: Plan, *, command: Sequence[str] = (), kind: str = "search", parent: str | None = None
) -> NewExperiment:
    """Return the record of a plan that is about to run."""
    return NewExperiment(
        name=plan.name,
        spec=plan.spec,
        space=plan.space.name,
        space_fingerprint=plan.space.fingerprint,
        strategy=plan.strategy.name or type(plan.strategy).__name__,
        objectives=tuple({"metric": o.metric, "direction": o.direction} for o in plan.objectives),
        constraints=tuple(
            {"metric": c.metric, **({"max": c.max} if c.max is not None else {"min": c.min})}
            for c in plan.constraints
        ),
        metrics=metric_records(plan),
        seed=plan.seed,
        kind=kind,
        parent=parent,
        group=plan.group,
        tags=plan.tags,
        versions=versions(command),
        info=info(plan),
    )


def metric_records(plan: Plan) -> tuple[MetricRecord, ...]:
    """Return every metric that trials may carry, the spread over repeats included."""
    records = []
    for estimator in plan.estimators:
        fingerprint, deterministic = estimator.fingerprint, estimator.deterministic
        for metric in estimator.metrics:
            names = [metric.name]
            if plan.repeats > 1 and not deterministic and metric.split == "valid":
                names.append(std_name(metric.name))
            records += [
                MetricRecord(
                    name=name,
                    unit=metric.unit,
                    direction=metric.direction if name == metric.name else "minimize",
                    estimator=label(estimator),
                    fingerprint=fingerprint,
                    split=metric.split,
                    deterministic=deterministic,
                    provenance=metric.provenance,
                )
                for name in names
            ]
    return tuple(records)


def info(plan: Plan) -> dict[str, Any]:
    """Return what viewers show and a later process needs: no objects, JSON only."""
    return {
        "space_size": str(plan.space.size),  # JSON readers lose digits beyond 2^53
        "decisions": [
            {"name": d.name, "options": list(d.options), "ordered": d.ordered}
            for d in plan.space.decisions
        ],
        "budget": plan.budget.model_dump(mode="json"),
        "repeats": plan.repeats,
        "source_dir": None if plan.source_dir is None else str(plan.source_dir),
        "data": None if plan.data is None else data_info(plan.data),
    }


def data_info(data: DataSet) -> dict[str, Any]:
    """Return which examples a data set gives: its options, the digests of its files, its licence.

    Files that are not there are no error here: a search that trains nothing needs the shape alone.
    """
    try:
        identity, fingerprint = data.identity(), data.fingerprint
    except MissingDependency:
        identity, fingerprint = {}, None
    return {
        "name": data.label,
        "licence": data.licence,
        "identity": identity,
        "fingerprint": fingerprint,
    }


def changed_data(record: ExperimentRecord, data: DataSet) -> str:
    """Return how a data set of today differs from the one that an experiment ran with.

    Empty: it does not, or the store does not say which examples that one gave.

    Raises:
        MissingDependency: If its files are not there.
    """
    stored = (record.info.get("data") or {}).get("fingerprint")
    if stored is None or stored == data.fingerprint:
        return ""
    return (
        f"the data set {data.label} gives other examples than when {record.name} ran (fingerprint "
        f"{data.fingerprint[:12]} instead of {stored[:12]})"
    )


def versions(command: Sequence[str] = ()) -> Mapping[str, Any]:
    """Return package versions, platform and command line, without importing anything."""
    found: dict[str, Any] = {"netloom": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package.lower()] = version(package)
        except PackageNotFoundError:
            continue
    found["platform"] = platform.platform()
    if command:
        found["command"] = [public_url(word) for word in command]
    return found
