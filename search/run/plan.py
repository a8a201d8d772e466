"""The plan of a search: everything that the spec names, as objects, checked together."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Literal, TypeVar

from ...db.records import SpaceRef
from ...errors import MissingDependency, SpecError, WrongStore
from ...estimators import Estimator, Metric
from ...hw_models.device_folders import add_device_folder
from ...options import Problem, SpecProblems
from ...spaces import Architecture, DecisionSpace
from ..objectives import Constraint, Objective
from ..strategy import Strategy
from .fixed import FixedPoint, fixed_points
from .foreign import Foreign, abroad_of
from .members import Member
from .mismatches import mismatches, no_provider
from .parts import (
    make_data,
    make_estimator,
    make_importable,
    make_space,
    make_strategy,
    wanted_options,
)
from .spec import Budget, RunnerOptions, Spec

_T = TypeVar("_T")


@dataclass(frozen=True)
class Plan:
    """A search, ready to run.

    Args:
        name: Wished name of the experiment.
        seed: Every random draw derives from it.
        space: What can be built.
        data: The data set, or None.
        estimators: Where metrics come from.
        strategy: What proposes architectures; used for one run only.
        objectives: What is wanted.
        constraints: What must hold.
        budget: When to stop.
        runner: Where trials run.
        store_url: Where results go.
        repeats: Seeds per architecture.
        dedup: Which architectures count as one.
        reuse: Whether stored results are taken.
        keep_weights: Trained weights kept per objective.
        baseline: Whether a random search is stored beside it; None: when evaluations are cheap.
        warm_start: Experiment whose front is proposed first.
        fixed: Published networks that are evaluated beside what the search finds.
        group: Name that several runs share.
        tags: Free words.
        spec: The resolved spec as JSON values, without the store's password; `spec.parse` reads it
            again.
        source_dir: Folder of the spec; import paths may use it.

    Raises:
        SpecProblems: If the parts do not fit together.
    """

    name: str
    seed: int
    space: DecisionSpace
    data: Any | None
    estimators: tuple[Estimator, ...]
    strategy: Strategy
    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...]
    budget: Budget
    runner: RunnerOptions
    store_url: str
    repeats: int = 1
    dedup: Literal["key", "canonical"] = "key"
    reuse: bool = True
    keep_weights: int = 5
    baseline: bool | None = None
    warm_start: str | None = None
    fixed: tuple[FixedPoint, ...] = ()
    group: str | None = None
    tags: tuple[str, ...] = ()
    spec: Mapping[str, Any] = field(default_factory=dict)
    source_dir: FilePath | None = None

    def __post_init__(self) -> None:
        if problems := list(mismatches(self)):
            raise SpecProblems(problems)

    @property
    def metrics(self) -> dict[str, Metric]:
        """Every metric that the estimators provide, by id."""
        return {m.name: m for e in self.estimators for m in e.metrics}

    @property
    def foreign(self) -> dict[SpaceRef, Foreign]:
        """The other spaces that fixed points are of."""
        spaces = (point.foreign for point in self.fixed)
        return {there.ref: there for there in spaces if there is not None}

    def space_of(self, architecture: Architecture) -> DecisionSpace:
        """Return the space of an architecture: the one that is searched, or that of a `Member`.

        Raises:
            SpecError: If that is another space now than when its experiment ran.
        """
        if not isinstance(architecture, Member):
            return self.space
        there = self.foreign.get(architecture.space)
        if there is None:
            raise SpecError(
                f"the space {architecture.space.name} of a fixed point has changed since the "
                "search ran, and so has that network; start a new search"
            )
        return there.space

    @property
    def cheap(self) -> bool:
        """Whether every estimator answers in milliseconds."""
        return all(e.cheap for e in self.estimators)

    def provider(self, metric: str) -> Estimator:
        """Return the estimator that gives `metric` (its `_std` under `repeats` too).

        Raises:
            SpecError: If none does; says the closest metrics.
        """
        for estimator in self.estimators:
            for given in estimator.metrics:
                if metric == given.name or (self.repeats > 1 and metric == f"{given.name}_std"):
                    return estimator
        seen = [name for name, m in self.metrics.items() if m.split == "valid"]
        raise SpecError(no_provider(metric, seen))


def build_plan(spec: Spec, *, source_dir: FilePath | None = None) -> Plan:
    """Return the plan of a spec: names looked up, options checked, parts compared.

    Args:
        spec: What was read.
        source_dir: Folder of the spec's file, made importable; its folder `devices` is looked
            into for devices.

    Raises:
        SpecProblems: With everything that is wrong, placed in the file where there is one.
        MissingDependency: If a part needs a package that is not installed.
    """
    make_importable(source_dir)
    if source_dir is not None:
        add_device_folder(source_dir / "devices")
    try:
        return _build(spec, source_dir)
    except SpecProblems as error:
        if spec.document is None:
            raise
        raise spec.document.located(error.problems) from error


def _build(spec: Spec, source_dir: FilePath | None) -> Plan:
    from ...db import public_url, store_url

    problems: list[Problem] = []
    _attempt(problems, lambda: _check_store(spec.store))
    strategy = _attempt(problems, lambda: make_strategy(spec.strategy))
    data: tuple[Any, Any] | None = (None, None)
    if spec.data is not None:
        data = _attempt(problems, lambda: make_data(spec.data))  # type: ignore[arg-type]
    space = None
    if data is not None:
        wanted = wanted_options(spec.estimators, spec.space)
        space = _attempt(problems, lambda: make_space(spec.space, data[0], wanted=wanted))
    if space is None or data is None:
        raise SpecProblems(problems)
    estimators = [
        _attempt(
            problems,
            lambda n=named, i=i: make_estimator(n, space[0], data[0], ("estimators", i)),  # type: ignore[misc]
        )
        for i, named in enumerate(spec.estimators)
    ]
    found = [e for e in estimators if e is not None]
    fixed = None
    if len(found) == len(estimators):  # they are made for other spaces too
        abroad = abroad_of(spec, data[0], [e for e, _ in found])
        fixed = _attempt(
            problems, lambda: fixed_points(spec.fixed, space[0], spec.space.name, abroad)
        )
    if problems or strategy is None:
        raise SpecProblems(problems)
    resolved = spec.to_json() | {
        "space": space[1],
        "data": data[1],
        "strategy": strategy[1],
        "estimators": [stored for _, stored in found],
        "store": None if spec.store is None else public_url(spec.store),
    }
    return Plan(
        name=spec.name,
        seed=spec.seed,
        space=space[0],
        data=data[0],
        estimators=tuple(estimator for estimator, _ in found),
        strategy=strategy[0],
        objectives=tuple(o.objective() for o in spec.objectives),
        constraints=tuple(c.constraint() for c in spec.constraints),
        budget=spec.budget,
        runner=spec.runner,
        store_url=store_url(spec.store),
        repeats=spec.repeats,
        dedup=spec.dedup,
        reuse=spec.reuse,
        keep_weights=spec.keep_weights,
        baseline=spec.baseline,
        warm_start=spec.warm_start,
        fixed=tuple(fixed or ()),
        group=spec.group,
        tags=spec.tags,
        spec=json.loads(json.dumps(resolved)),
        source_dir=source_dir,
    )


def _check_store(url: str | None) -> None:
    """Refuse what names no store; whether there is one shows when the search begins.

    Raises:
        SpecProblems: If the spec's own `store` is wrong.
        WrongStore: If that of the environment is.
    """
    from ...db.url import parse_url, store_url

    try:
        parse_url(store_url(url))
    except WrongStore as error:
        if not url:
            raise
        raise SpecProblems([Problem(("store",), str(error))]) from error


def _attempt(problems: list[Problem], make: Callable[[], _T]) -> _T | None:
    """Return what `make` gives, or note its problems: all parts are tried before giving up."""
    try:
        return make()
    except MissingDependency:
        raise
    except SpecProblems as error:
        problems += error.problems
        return None
