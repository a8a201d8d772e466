"""What a training needs that the experiment did not have: data, an estimator, what it serves."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from ...errors import SpecError
from ...estimators import Estimator
from ...estimators.chosen import factors_of
from ...options import SpecProblems
from .parts import FACTOR, declared_by, make_data, make_estimator, make_space
from .spec import ConstraintSpec, Named, Spec

if TYPE_CHECKING:
    from ...db.records import ExperimentRecord

TRAINING = "training"
_EPOCHS = 50  # of the training that is suggested
_DATA = "digits"  # the data that are suggested: small, and at hand


@dataclass(frozen=True)
class Wording:
    """How a caller writes what it asks for, so that errors name it as it does.

    Args:
        front: The front.
        trial: A trial.
        inherit: Stored weights as the start.
        override: What stands before one `a.b=c` text.
        overrides: Writes several of them.
    """

    front: str
    trial: str
    inherit: str
    override: str
    overrides: Callable[[Sequence[str]], str]


COMMAND = Wording(
    "--front",
    "--trial",
    "--inherit",
    "--set",
    lambda texts: " ".join(f"--set {shlex.quote(text)}" for text in texts),
)
PYTHON = Wording(
    "trials=None",
    "trials=[...]",
    "inherit=True",
    "the override",
    lambda texts: f"overrides={list(texts)!r}",
)


def for_data_of(spec: Spec, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a spec, its space without the options that its data decide.

    The stored space has them as the data of the search decided them; others may differ.

    Raises:
        SpecProblems: If the data cannot be made.
    """
    if spec.data is None:
        return dict(values)
    try:
        data, _ = make_data(spec.data)
    except SpecProblems as error:
        raise error if spec.document is None else spec.document.located(error.problems) from error
    return {**values, "space": _without(values["space"], declared_by(data))}


def _without(space: Mapping[str, Any], decided: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes a space, or the spaces of a product, without some of their options."""
    kept = {key: value for key, value in space.items() if key not in decided}
    if isinstance(factors := kept.get("factors"), Mapping):
        kept["factors"] = {name: _without(factor, decided) for name, factor in factors.items()}
    return kept


def no_recipe(record: ExperimentRecord, spec: Spec, wording: Wording) -> SpecError:
    """Return the error that says what is to be added so that something trains.

    Args:
        record: The experiment that networks were chosen from.
        spec: The new one, in which nothing trains.
        wording: The caller's.
    """
    names = ", ".join(e.name for e in spec.estimators)
    if any(entry["name"] == TRAINING for entry in record.spec["estimators"]):
        return SpecError(
            f"retrain needs the estimator training, which {record.name} has, and the overrides "
            f"leave {names}; keep training in estimators"
        )
    said = f"retrain needs the estimator training, and {record.name} has {names}"
    try:
        texts = _suggested(spec)
    except SpecError as error:
        return SpecError(f"{said}; it cannot be added: {error}")
    return SpecError(
        f"{said}; add it with its data and what can be asked of both: {wording.overrides(texts)}"
    )


def _suggested(spec: Spec) -> list[str]:
    """Return overrides with which something trains, and everything asked for has its estimator.

    Raises:
        SpecError: If nothing of the space can be trained.
    """
    texts = [] if spec.data else [f"data={_DATA}"]
    written = spec.to_json()
    data, _ = make_data(spec.data or Named(name=_DATA))
    space, _ = make_space(Named(**_without(written["space"], declared_by(data))), data)
    factors: list[dict[str, Any]] = [{FACTOR: name} for name in factors_of(space)[0]]
    ours = [{"name": TRAINING, **factor, "epochs": _EPOCHS} for factor in factors or [{}]]
    made = [make_estimator(Named(**e), space, data, ("estimators",))[0] for e in ours]
    entries: list[Any] = list(ours)
    first = next(m for m in made[0].metrics if m.split == "valid")
    for entry in written["estimators"]:
        if beside := _beside(entry, space, data, made):
            made.append(beside)
            entries.append(_short(entry))
    given = {m.name for e in made for m in e.metrics if m.split == "valid"}
    objectives = [o for o in spec.objectives if o.objective().metric in given]
    goals: list[Any] = [o.model_dump(mode="json") for o in objectives]
    if first.name not in {o.objective().metric for o in objectives}:
        goals.insert(0, {first.direction: first.name})
    constraints = [c for c in spec.constraints if c.metric in given]
    texts.append(f"estimators={_flow(entries)}")
    if len(objectives) < len(spec.objectives) or len(goals) > len(objectives):
        texts.append(f"objectives={_flow(goals)}")
    if len(constraints) < len(spec.constraints):
        texts.append(f"constraints={_flow([_bound(c) for c in constraints])}")
    return texts


def _beside(
    entry: Mapping[str, Any], space: Any, data: Any, others: Sequence[Estimator]
) -> Estimator | None:
    """Return an estimator of the search if it can be asked about these data, beside the others."""
    try:
        made, _ = make_estimator(Named(**entry), space, data, ("estimators",))
    except SpecError:  # a table of other networks, for example
        return None
    known = {m.name for other in others for m in other.metrics}
    return None if known & {m.name for m in made.metrics} else made


def _short(entry: Mapping[str, Any]) -> Any:
    """Return an estimator as people write it: without what is left to it."""
    said = {key: value for key, value in entry.items() if value is not None}
    return said["name"] if len(said) == 1 else said


def _bound(constraint: ConstraintSpec) -> str:
    sign, bound = ("<=", constraint.max) if constraint.max is not None else (">=", constraint.min)
    return f"{constraint.metric} {sign} {bound!r}"


def _flow(value: Any) -> str:
    """Return a value as YAML in one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False)
    return text.strip()
