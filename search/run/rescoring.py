"""A device's costs for every stored architecture of an experiment, nothing evaluated again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...dashboard.table import TrialTable
from ...db.records import (
    FIXED,
    CostRecord,
    ExperimentRecord,
    MetricRecord,
    SpaceRef,
    TrialRecord,
)
from ...db.rescored import RESCORED, VIOLATION, rescored_info
from ...errors import HardwareLimit, NetloomError, SpecError, did_you_mean
from ...estimators.hardware import DeviceChoice, Hardware
from ...hw_models import device_names
from ...hw_models.device_folders import add_device_folder
from ...options import build, validate
from ...spaces import Architecture, DecisionSpace
from ..objectives import Constraint
from .fixed import stored_ref
from .members import stored_architecture
from .parts import make_importable, make_space
from .spec import Named

if TYPE_CHECKING:
    from ...db import Store

CHUNK = 500  # architectures per transaction
_LEAST = 1e-9  # what a device refuses never fits, however small the excess


@dataclass(frozen=True)
class Rescored:
    """What was added.

    Args:
        target: What metrics call the device.
        metrics: The metrics that the experiment has now.
        architectures: How many different ones it holds.
        added: How many got costs now; the others had them.
        infeasible: How many of all the device cannot run.
        failed: Notation of an architecture -> why it has no costs.
    """

    target: str
    metrics: tuple[MetricRecord, ...]
    architectures: int
    added: int
    infeasible: int
    failed: Mapping[str, str]


def rescore(
    store: Store,
    record: ExperimentRecord,
    choice: Mapping[str, Any],
    *,
    options: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Rescored:
    """Add the costs of a device to every stored architecture of an experiment.

    They are stored per architecture, device and model version: what is there already is not
    computed again, and a device whose numbers changed is a new version. Of a network that the
    device cannot run the violation alone is stored.

    Args:
        store: Where the experiment is, open for writing.
        record: The experiment.
        choice: `{"device": ..., "batch": ..., "dtype": ..., "resolution": ..., "as": ...}`.
        options: Further options of the estimator `hardware`.
        progress: Called with how many of how many architectures are costed.

    Raises:
        SpecError: If the experiment has a metric of that name of its own, or its space cannot be
            made again.
        UnknownName: If there is no such device.
    """
    space = stored_space(record)
    device = validate(DeviceChoice, dict(choice), where="--device")
    named = {"devices": [device], **(options or {})}
    estimator: Hardware = build(Hardware, named, space, None, where=("--device",))
    [target] = estimator.targets
    version = f"{estimator.targets[target].model.version}-{estimator.fingerprint[:16]}"
    metrics = _metrics(estimator, record)
    groups: dict[SpaceRef | None, dict[str, TrialRecord]] = {}
    for trial in store.trial_records(record.id):
        groups.setdefault(trial.space, {}).setdefault(trial.key, trial)
    added, infeasible, failed = 0, 0, dict[str, str]()
    for ref, stored in groups.items():
        fingerprint = record.space_fingerprint if ref is None else ref.fingerprint
        known = _violations(store, fingerprint, target, version)
        if missing := [trial for key, trial in stored.items() if key not in known]:
            asked = estimator
            if ref is not None:
                there = foreign_space(record, ref)
                asked = build(Hardware, named, there, None, where=("--device",))
            why = _add(store, fingerprint, asked, missing, (target, version), progress)
            failed, added = failed | why, added + len(missing) - len(why)
            known = _violations(store, fingerprint, target, version)
        infeasible += sum(known.get(key, 0.0) > 0 for key in stored)
    info = rescored_info(
        record.info,
        target,
        model_version=version,
        metrics=metrics,
        hardware={**(options or {}), "devices": [_kept(device)]},
    )
    store.update_experiment(record.id, info=info)
    total = sum(map(len, groups.values()))
    return Rescored(target, metrics, total, added, infeasible, failed)


def rescored_hardware(
    record: ExperimentRecord, space: DecisionSpace
) -> tuple[list[Hardware], dict[str, str]]:
    """Return the estimators of the devices that were added after the run, on one of its spaces.

    Returns:
        Those that can be made again, and why another one cannot: target -> reason.
    """
    found: list[Hardware] = []
    lost: dict[str, str] = {}
    for target, entry in record.info.get(RESCORED, {}).items():
        if "hardware" not in entry:
            lost[target] = "how it was asked is not stored; rescore it once more"
            continue
        try:
            found.append(build(Hardware, entry["hardware"], space, None, where=("--device",)))
        except NetloomError as error:
            lost[target] = str(error)
    return found, lost


def _kept(device: DeviceChoice) -> dict[str, Any]:
    """Return a device as JSON values; a file by its whole path."""
    kept = device.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    if Path(device.device).is_file():
        kept["device"] = str(Path(device.device).resolve())
    return kept


def _add(
    store: Store,
    fingerprint: str,
    estimator: Hardware,
    trials: Sequence[TrialRecord],
    device: tuple[str, str],
    progress: Callable[[int, int], None],
) -> dict[str, str]:
    """Store the costs of trials of one space; return why some have none, by notation."""
    failed: dict[str, str] = {}
    for start in range(0, len(trials), CHUNK):
        some = {trial.key: trial for trial in trials[start : start + CHUNK]}
        for trial in some.values():
            estimator.space.architecture(trial.architecture)  # refuses what it does not hold
        members = [stored_architecture(trial) for trial in some.values()]
        costs, why = _costs(estimator, members, *device)
        failed |= {some[key].notation: text for key, text in why.items()}
        with store.transaction() as transaction:
            transaction.add_costs(fingerprint, costs)
        progress(start + len(some), len(trials))
    return failed


def _violations(store: Store, fingerprint: str, target: str, version: str) -> dict[str, float]:
    """Return by key how much architectures of a space break the limits of a device."""
    known = store.costs(fingerprint, device=target)
    chosen = known[(known["model_version"] == version) & (known["metric"] == VIOLATION)]
    return dict(zip(chosen["key"], chosen["value"], strict=True))


def foreign_space(record: ExperimentRecord, ref: SpaceRef) -> DecisionSpace:
    """Return the space of a fixed point that is of another one than the search.

    Raises:
        SpecError: If it cannot be made again, or is another one now.
    """
    _prepare(record)
    specs = [p["space"]["spec"] for p in record.info.get(FIXED, ()) if stored_ref(p) == ref]
    space = make_space(Named(**specs[0]))[0] if specs else None
    if space is None or space.fingerprint != ref.fingerprint:
        raise SpecError(
            f"the space {ref.name} of a fixed point of {record.name} has changed since it ran, "
            "and its architectures mean other networks now; start a new search"
        )
    return space


def _prepare(record: ExperimentRecord) -> None:
    """Make what the spec of an experiment names by path importable."""
    if folder := record.info.get("source_dir"):
        make_importable(Path(folder))
        add_device_folder(Path(folder) / "devices")


def stored_space(record: ExperimentRecord) -> DecisionSpace:
    """Return the space of an experiment, made again from its spec.

    Raises:
        SpecError: If it was a Python object, or is another one now.
    """
    if "space" in record.spec.get("objects", ()):
        raise SpecError(
            f"the space of {record.name} was given as a Python object, which no spec names; "
            "write it into a module and name it by its import path"
        )
    _prepare(record)
    space, _ = make_space(Named(**record.spec["space"]))
    if space.fingerprint != record.space_fingerprint:
        raise SpecError(
            f"the space of {record.name} has changed since it ran, and its architectures mean "
            "other networks now; start a new search"
        )
    return space


def _metrics(estimator: Hardware, record: ExperimentRecord) -> tuple[MetricRecord, ...]:
    """Return what the experiment is to know of its new metrics.

    Raises:
        SpecError: If its run gave one of these.
    """
    own = {metric.name for metric in record.metrics}
    taken = [metric.name for metric in estimator.metrics if metric.name in own]
    if taken:
        raise SpecError(
            f"{record.name} has {taken[0]} from its run; give the device another name with --as"
        )
    return tuple(
        MetricRecord(
            metric.name,
            metric.unit,
            metric.direction,
            estimator="rescore",
            fingerprint=estimator.fingerprint,
            provenance=metric.provenance,
        )
        for metric in estimator.metrics
    )


def _costs(
    estimator: Hardware, members: Sequence[Architecture], target: str, version: str
) -> tuple[list[CostRecord], dict[str, str]]:
    """Return the costs of architectures, and why some have none."""
    costs: list[CostRecord] = []
    failed: dict[str, str] = {}
    answers = estimator.evaluate_many(members, seeds=[0] * len(members))
    for member, answer in zip(members, answers, strict=True):
        if isinstance(answer, HardwareLimit):
            values = {VIOLATION: max(answer.violation, _LEAST)}
        elif isinstance(answer, Exception):
            failed[member.key] = f"{type(answer).__name__}: {answer}"
            continue
        else:
            values = {VIOLATION: 0.0}
            values |= {name.partition("@")[0]: value for name, value in answer.items()}
        costs += [CostRecord(member.key, target, version, *item) for item in values.items()]
    return costs, failed


def objectives_of(record: ExperimentRecord, texts: Sequence[str]) -> list[dict[str, str]]:
    """Return the objectives that `--objective` names, each a metric of the experiment.

    Args:
        record: With the metrics that rescoring added.
        texts: `metric`, or `maximize:metric` and `minimize:metric` where the metric's own
            direction is not what is wanted.

    Raises:
        SpecError: If there is no such metric (says how to get it), it is given twice, or it is
            another one times a constant.
    """
    known = {metric.name: metric.direction for metric in record.metrics}
    found: dict[str, dict[str, str]] = {}
    for text in texts:
        way, sign, name = text.partition(":")
        if not sign:
            way, name = "", text
        if way not in ("", "maximize", "minimize"):
            raise SpecError(
                f"--objective must read METRIC, maximize:METRIC or minimize:METRIC, got {text!r}"
            )
        if name not in known:
            raise SpecError(_unknown(record, name, known))
        if name in found:
            raise SpecError(f"--objective names {name} twice; keep one")
        found[name] = {"metric": name, "direction": way or known[name]}
    bases = {m.name: m.provenance.get("proportional_to", m.name) for m in record.metrics}
    first: dict[str, str] = {}
    for name in found:
        other = first.setdefault(bases[name], name)
        if other != name:
            raise SpecError(
                f"{name} is a constant times {other} and no objective beside it: they order "
                "networks alike; drop one"
            )
    return list(found.values())


def constraints_of(record: ExperimentRecord, texts: Sequence[str]) -> list[Constraint]:
    """Return the bounds that `--constraint` names.

    Raises:
        SpecError: If one is no bound, or on no metric of the experiment.
    """
    found = [Constraint.parse(text) for text in texts]
    known = {metric.name: metric.direction for metric in record.metrics}
    for constraint in found:
        if constraint.metric not in known:
            raise SpecError(_unknown(record, constraint.metric, known))
    return found


def kept(table: TrialTable, constraints: Sequence[Constraint]) -> TrialTable:
    """Return the trials that keep every bound; one without the metric keeps none on it."""

    def keeps(metrics: Mapping[str, float]) -> bool:
        return all(c.metric in metrics and c.violation(metrics) == 0 for c in constraints)

    if not constraints:
        return table
    return table.where(np.array([keeps(row.metrics) for row in table.rows], dtype=bool))


def _unknown(record: ExperimentRecord, name: str, known: Mapping[str, str]) -> str:
    target = name.partition("@")[2]
    if target in device_names():
        return (
            f"{record.name} has no metric {name!r}; netloom rescore {record.ref} --device "
            f"{target} adds it"
        )
    return f"{record.name} has no metric {name!r}{did_you_mean(name, known)}"
