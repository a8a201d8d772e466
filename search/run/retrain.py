"""Chosen networks of an experiment trained again, with the full recipe, as a new experiment."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...db.records import ARCHIVED, RETRAINED
from ...errors import EvaluationError, MissingDependency, SpecError
from ...seeds import derive_seed
from ...spaces import Architecture, ProductSpace
from ..objectives import Objective
from ..strategies.given import PATH
from .describe import changed_data
from .finishing import front_records
from .fixed import stored_space
from .inherited import inherited_weights
from .origin import Inherited, Origin, give_initial
from .parts import FACTOR, make_importable
from .plan import build_plan
from .recipe import COMMAND, TRAINING, Wording, for_data_of, no_recipe
from .spec import Spec, parse

if TYPE_CHECKING:
    from ...db import Store
    from ...db.records import ExperimentRecord, TrialRecord
    from .plan import Plan

_OURS = ("strategy", "fixed", "warm_start", "dedup")  # what decides which networks are trained


def retrain_plan(
    store: Store,
    ref: str,
    *,
    trials: Sequence[int] | None = None,
    epochs: int | None = None,
    inherit: bool = False,
    name: str | None = None,
    overrides: Sequence[str] = (),
    store_url: str | None = None,
    note: Callable[[str], None] = lambda text: None,
    wording: Wording = COMMAND,
) -> tuple[Plan, Origin]:
    """Return the plan that trains chosen networks again, and where they come from.

    `Runner(plan, store).run(origin=origin)` runs it. Nothing is written here.

    Args:
        store: Where the experiment is.
        ref: Name, id or unique prefix.
        trials: Numbers of its trials; None: its front.
        epochs: Epochs of the training; those of the experiment when left out.
        inherit: Start from the weights that the trials ended with, or from their parts of the
            super-network that the search trained, not from scratch.
        name: Name of the new experiment; `NAME-retrained` when left out.
        overrides: `a.b=c` texts, applied to the new spec.
        store_url: Store of the new spec; `NETLOOM_STORE`, then the default when left out.
        note: Called with what the user is to know.
        wording: How the caller writes these arguments.

    Raises:
        SpecError: If the trials, the weights or the recipe are not there; says what to do.
        StoreError: If there is no such experiment or trial.
    """
    record = store.experiment(ref)
    chosen = _chosen(store, record, trials, note, wording)
    values = _values(record, chosen) | {"store": store_url}
    if name is not None:
        values["name"] = name
    folder = record.info.get("source_dir")
    source_dir = Path(folder) if folder else None
    make_importable(source_dir)  # the data may be of there
    spec = _parsed(record, values, overrides, epochs, wording)
    plan = build_plan(spec, source_dir=source_dir)
    _compare_data(record, plan, note)
    if not inherit:
        return plan, Origin(record, tuple(t.number for t in chosen))
    weights = inherited_weights(store, record, plan.space, chosen, asked=wording.inherit)
    plan = build_plan(_inheriting(spec, plan, chosen, weights), source_dir=source_dir)
    origin = Origin(record, tuple(t.number for t in chosen), tuple(weights))
    give_initial(plan, origin)
    _check_fit(plan, chosen, wording)
    return plan, origin


def _compare_data(record: ExperimentRecord, plan: Plan, note: Callable[[str], None]) -> None:
    """Say so where the same data set gives other examples than it did in the search."""
    if plan.data is None or plan.spec.get("data") != record.spec.get("data"):
        return
    try:
        changed = changed_data(record, plan.data)
    except MissingDependency:
        return  # the run says which file is missing, and a dry run needs none
    if changed:
        note(f"{changed}: its metrics and those of the search cannot be compared")


def _chosen(
    store: Store,
    record: ExperimentRecord,
    numbers: Sequence[int] | None,
    note: Callable[[str], None],
    wording: Wording,
) -> list[TrialRecord]:
    """Return the trials to train again, all of one space; of equal architectures the first.

    Raises:
        SpecError: If one was not evaluated, or there is no front.
    """
    if numbers is None:
        found = _front(store, record, note, wording)
    else:
        if not numbers:
            raise SpecError("retrain needs at least one trial, got none; name some, or the front")
        found = [store.trial(record.id, number) for number in numbers]
    for trial in found:
        if trial.status not in ("done", "pruned"):
            raise SpecError(_unfit(record, trial))
        if trial.space != found[0].space:
            raise SpecError(
                f"retrain trains networks of one space at a time, and trials {found[0].number} and "
                f"{trial.number} of {record.name} are of two; train them one after the other"
            )
    return list({trial.key: trial for trial in reversed(found)}.values())[::-1]


def _front(
    store: Store, record: ExperimentRecord, note: Callable[[str], None], wording: Wording
) -> list[TrialRecord]:
    """Return the front without published networks of other spaces: one experiment has one space.

    Raises:
        SpecError: If there is none.
    """
    objectives = [Objective(o["metric"], o["direction"]) for o in record.objectives]
    front = front_records(objectives, store.trial_records(record.id, statuses=["done"]))
    found = [trial for trial in front if trial.space is None]
    others = ", ".join(f"{t.number} ({t.fixed})" for t in front if t.space is not None)
    if not front:
        raise SpecError(
            f"{wording.front} needs an experiment with a front, and {record.name} has no feasible "
            f"trial (it is {record.status}); name trials with {wording.trial}, or "
            "search on"
        )
    if not found:
        raise SpecError(
            f"{wording.front} trains networks of the space that was searched, and the front of "
            f"{record.name} has published networks of others alone: {others}; name trials with "
            f"{wording.trial}"
        )
    if others:
        note(f"left out, being of other spaces: {others}; {wording.trial} trains them")
    return found


def _unfit(record: ExperimentRecord, trial: TrialRecord) -> str:
    """Return why a trial cannot be trained again."""
    said = f"retrain needs evaluated trials, and trial {trial.number} of {record.name} "
    if trial.status == "infeasible":
        said += "breaks a constraint, so that it would not be trained"
    elif trial.status == "failed":
        said += f"failed ({trial.error})"
    else:
        said += "has not ended"
    return f"{said}; choose another: netloom pareto {record.ref}"


def _values(record: ExperimentRecord, chosen: Sequence[TrialRecord]) -> dict[str, Any]:
    """Return the values of the new spec: the old one's, and the networks instead of a strategy.

    Raises:
        SpecError: If the old one was made of Python objects.
    """
    if objects := record.spec.get("objects"):
        raise SpecError(
            f"{record.name} was run from Python with objects that a spec cannot name "
            f"({', '.join(objects)}); name them by import paths to train its networks again"
        )
    runner = {**record.spec.get("runner", {}), "scheduler": {"name": "none"}}
    architectures = [dict(trial.architecture) for trial in chosen]
    tags = [{RETRAINED: trial.number} for trial in chosen]  # which one each of them is
    return {
        **record.spec,
        "space": dict(stored_space(record, chosen[0])),
        "name": f"{_plain_name(record)[:90]}-retrained",
        # seeds of its own: a network chosen for a lucky draw is not to have the same one again
        "seed": derive_seed(record.seed, "retrain"),
        "strategy": {"name": PATH, "architectures": architectures, "tags": tags},
        "fixed": [],
        "warm_start": None,
        "dedup": "key",  # each of the chosen ones is meant
        "budget": {"trials": len(chosen)},
        "runner": runner,
        "keep_weights": max(len(chosen), record.spec.get("keep_weights", 0)),
        "baseline": False,
        "tags": [tag for tag in record.tags if tag != ARCHIVED],
        "group": None,
    }


def _plain_name(record: ExperimentRecord) -> str:
    """Return the name as a spec may write it: `netloom rename` takes any."""
    name = re.sub(r"[^\w.\-]", "_", record.name)
    return re.sub(r"^[^A-Za-z0-9]+", "", name) or record.id


def _parsed(
    record: ExperimentRecord,
    values: dict[str, Any],
    overrides: Sequence[str],
    epochs: int | None,
    wording: Wording,
) -> Spec:
    """Return the new spec, its training found and given its epochs.

    Raises:
        SpecError: If nothing trains in it, or an override would train other networks.
    """
    keys = [text.partition("=")[0].strip() for text in overrides]
    for key, text in zip(keys, overrides, strict=True):
        if key.partition(".")[0] in _OURS:
            raise SpecError(
                f"retrain trains the chosen networks, got {wording.override} {text}; {key} cannot "
                "be changed, start a search for it"
            )
    spec = parse(values, overrides=overrides, called=wording.override)
    if any(key.partition(".")[0] == "data" for key in keys):
        values = for_data_of(spec, values)
        spec = parse(values, overrides=overrides, called=wording.override)
    if not _trainings(spec):
        raise no_recipe(record, spec, wording)
    if epochs is not None:
        longer = [f"estimators.{i}.epochs={epochs}" for i in _trainings(spec)]
        spec = parse(values, overrides=[*overrides, *longer], called=wording.override)
    return spec


def _trainings(spec: Spec) -> list[int]:
    """Return which estimators of a spec train; several where a product has several networks."""
    return [i for i, e in enumerate(spec.estimators) if e.name == TRAINING]


def _inheriting(
    spec: Spec, plan: Plan, chosen: Sequence[TrialRecord], weights: Sequence[Inherited]
) -> Spec:
    """Return the spec whose training starts from the weights."""
    values = spec.to_json()
    for position in _trainings(spec):
        training = values["estimators"][position]
        initial: dict[str, str] = {}
        for trial, inherited in zip(chosen, weights, strict=True):
            architecture = Architecture(trial.architecture)
            if isinstance(plan.space, ProductSpace):
                architecture = plan.space.project(architecture, training[FACTOR])
            initial.setdefault(architecture.key, inherited.sha256)  # several accelerators
        training["initial"] = initial
    return parse(values)


def _check_fit(plan: Plan, chosen: Sequence[TrialRecord], wording: Wording) -> None:
    """Refuse weights of other networks before anything is stored.

    Raises:
        SpecError: With the trial.
    """
    for trial in chosen:
        for estimator in plan.estimators:
            try:
                estimator.check_initial(Architecture(trial.architecture))
            except EvaluationError as error:
                raise SpecError(
                    f"trial {trial.number} cannot go on from its weights: {error}; leave "
                    f"{wording.inherit} out to train from scratch"
                ) from error
