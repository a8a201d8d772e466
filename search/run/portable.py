"""Trials as JSON lines, that another store can take in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field

from ...db.records import (
    FINISHED,
    FIXED,
    FIXED_SPACE,
    ExperimentRecord,
    MetricRecord,
    NewExperiment,
    NewTrial,
    SpaceRef,
    TrialRecord,
)
from ...db.rescored import RESCORED
from ...errors import SpecError, did_you_mean
from ...jsonio import digest
from ...options import SpecProblems, options_of, validate
from ..objectives import Objective
from .spec import ConstraintSpec, ExperimentName, MetricId, Seed

_T = TypeVar("_T")
FORMAT = 1  # of the JSON lines; raised when an older netloom could not read them


class _Goal(BaseModel, extra="forbid"):
    metric: MetricId
    direction: str


class _Head(BaseModel, extra="ignore"):
    """What of a header decides how its trials are ranked."""

    name: ExperimentName
    seed: Seed
    objectives: Annotated[tuple[_Goal, ...], Field(min_length=1)]
    constraints: tuple[ConstraintSpec, ...] = ()


def trial_lines(record: ExperimentRecord, trials: Sequence[TrialRecord]) -> Iterator[str]:
    """Yield the header line, which holds the experiment, and one line per finished trial."""
    head = asdict(record)
    kept = {field.name: head[field.name] for field in fields(NewExperiment)} | {"parent": None}
    # costs belong to a store: they are added again where the trials are imported
    kept["info"] = {key: value for key, value in head["info"].items() if key != RESCORED}
    yield json.dumps({"netloom_trials": FORMAT, "experiment": kept})
    names = [field.name for field in fields(NewTrial) if field.name != "reused_from"]
    for trial in trials:
        if trial.status in FINISHED:
            values = asdict(trial)
            yield json.dumps({name: values[name] for name in names})


def read_trials(
    lines: Sequence[str], source: str, name: str | None = None
) -> tuple[NewExperiment, list[NewTrial]]:
    """Return the experiment and the trials that `trial_lines` wrote.

    Trials are numbered from 0 in their order; parents that are not in the file are dropped.

    Args:
        lines: The file.
        source: Its name, for messages.
        name: Name of the experiment; that of the header when left out.

    Raises:
        SpecError: With file and line of the first thing that is wrong.
    """
    new, trials = None, dict[int, NewTrial]()
    for count, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{source}:{count}"
        values = _object(line, where)
        try:
            if new is None:
                new = _experiment(_header(values), name)
                continue
            trial = _checked(_made(NewTrial, values), new)
            if trial.number in trials:
                raise SpecError(f"trial {trial.number} stands in the file twice")
            trials[trial.number] = trial
        except SpecProblems as error:
            raise SpecError("\n".join(f"{where}: {p}" for p in error.problems)) from error
        except SpecError as error:
            raise SpecError(f"{where}: {error}") from error
    if new is None:
        raise SpecError(f"{source} is empty; it must be what `netloom trials export` wrote")
    return _with_fixed(new, trials.values()), _renumbered(trials)


def _with_fixed(new: NewExperiment, trials: Iterable[NewTrial]) -> NewExperiment:
    """Return the experiment with those of its fixed points that are in the file."""
    names = {trial.tags.get(FIXED) for trial in trials}
    kept = [point for point in new.info.get(FIXED, ()) if point["name"] in names]
    return replace(new, info={**new.info, FIXED: kept}) if FIXED in new.info else new


def _renumbered(trials: Mapping[int, NewTrial]) -> list[NewTrial]:
    numbers: dict[int | None, int] = {old: new for new, old in enumerate(sorted(trials))}
    return [
        replace(trials[old], number=new, parent=numbers.get(trials[old].parent))
        for new, old in enumerate(sorted(trials))
    ]


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise SpecError(f"{where}: a line must be JSON: {error}") from error
    if not isinstance(value, dict):
        raise SpecError(f"{where}: a line must be a JSON object, got {type(value).__name__}")
    return value


def _header(values: Mapping[str, Any]) -> dict[str, Any]:
    version, head = values.get("netloom_trials"), values.get("experiment")
    if version != FORMAT or not isinstance(head, dict) or not isinstance(head.get("metrics"), list):
        raise SpecError(
            f"the first line must name format {FORMAT} and the experiment, as `netloom trials "
            f"export` writes it; got format {version!r}"
        )
    return dict(head)


def _experiment(head: dict[str, Any], name: str | None) -> NewExperiment:
    """Return the experiment of a header: on its own here, whatever it belonged to."""
    metrics = tuple(_made(MetricRecord, m) for m in head.pop("metrics"))
    head |= {} if name is None else {"name": name}
    new = _made(NewExperiment, {**head, "metrics": [], "parent": None, "kind": "search"})
    goals = validate(
        _Head, {key: value for key, value in head.items() if key in _Head.model_fields}
    )
    known = [metric.name for metric in metrics]
    for goal in goals.objectives:
        _known(Objective(goal.metric, goal.direction).metric, known)
    for constraint in goals.constraints:
        _known(constraint.metric, known)
    return replace(new, metrics=metrics)


def _known(metric: str, known: Sequence[str]) -> None:
    if metric not in known:
        raise SpecError(
            f"the experiment must declare its metrics, {metric!r} is not one of them"
            f"{did_you_mean(metric, known)}"
        )


def _made(cls: type[_T], values: Mapping[str, Any]) -> _T:
    """Return a record made of JSON values, every field checked."""
    model = validate(options_of(cls, skip=()), values)
    return cls(**{field: getattr(model, field) for field in type(model).model_fields})


def _key(trial: NewTrial) -> str:
    """Return the key that the architecture of a trial has.

    Raises:
        SpecError: If it is of another space, and it is not said of which.
    """
    key = digest(dict(trial.architecture))
    there = trial.tags.get(FIXED_SPACE) if FIXED in trial.tags else None
    if there is None:
        return key
    try:
        ref = _made(SpaceRef, there)
    except SpecError as error:
        raise SpecError(f"the tag {FIXED_SPACE} must name a space, got {there!r}") from error
    return ref.key(key)


def _checked(trial: NewTrial, experiment: NewExperiment) -> NewTrial:
    """Return the trial if it is finished, its own, and what the experiment declares."""
    if trial.status not in FINISHED:
        raise SpecError(f"status must be one of {', '.join(FINISHED)}, got {trial.status!r}")
    if trial.key != _key(trial):
        raise SpecError("the key is not that of the architecture; the file was changed")
    if trial.number < 0 or not 0 <= trial.seed < 2**63:
        raise SpecError(
            "number and seed must not be negative, and a seed has at most 63 bits; got "
            f"{trial.number} and {trial.seed}"
        )
    for metric in trial.metrics:
        _known(metric, [m.name for m in experiment.metrics])
    return replace(trial, told=None, reused_from=None)
