"""The plan of a search: everything that the spec names, as objects, checked together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Any, Literal, TypeVar

from ...db.records import SpaceRef
from ...errors import MissingDependency, SpecError, WrongStore, did_you_mean
from ...estimators import Estimator, Metric
from ...hw_models.device_folders import add_device_folder
from ...options import Path, Problem, SpecProblems
from ...spaces import Architecture, DecisionSpace
from ..objectives import Constraint, Objective
from ..strategy import Strategy
from .capabilities import SpaceCheck, pairing_problem
from .fixed import FixedPoint, fixed_points
from .foreign import Foreign, abroad_of
from .members import Member
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
_HINTS = {
    "params": "complexity",
    "macs": "complexity",
    "peak_activation_bytes": "complexity",
    "valid_accuracy": "training or tabular",
    "test_accuracy": "training or tabular",
    "valid_loss": "training",
    "accuracy": "tabular (nats_sss, nas_bench_macro)",
}


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
        if problems := list(_mismatches(self)):
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


def no_provider(metric: str, known: Iterable[str]) -> str:
    """Return why `metric` cannot be had, the closest metrics, and who could provide it."""
    names = sorted(known)
    base, _, target = metric.partition("@")
    close = get_close_matches(metric, names, n=3, cutoff=0.6)
    text = f"no estimator of this spec provides {metric!r}"
    if close:
        text += f"; did you mean {' or '.join(close)}?"
    if target:
        text += _modelled(metric, target, quiet=bool(close))
    elif hint := _HINTS.get(base):
        text += f"; {metric} comes from the estimator {hint}"
    if not close:
        text += did_you_mean(metric, names) if names else ""
    return text


def _modelled(metric: str, target: str, *, quiet: bool) -> str:
    """Return which estimator models `target`, or, unless `quiet`, which devices there are."""
    from ...estimators.tables import measured_devices
    from ...hw_models import device_names

    devices = device_names()
    if target in devices:
        return f"; {metric} comes from the estimator hardware (devices: [{target}])"
    if spaces := measured_devices().get(target):
        return f"; {target} was measured on {', '.join(spaces)} (estimator tabular)"
    return "" if quiet else f"; no device {target!r} is modelled{did_you_mean(target, devices)}"


def _mismatches(plan: Plan) -> Iterable[Problem]:
    """Yield what does not fit together."""
    yield from _twice_provided(plan.estimators)
    yield from _unprovided(plan)
    yield from _one_in_two(plan)
    reason = pairing_problem(type(plan.strategy), plan.space, len(plan.objectives))
    if reason:
        yield Problem(("strategy",), reason)
    elif isinstance(plan.strategy, SpaceCheck):
        try:
            plan.strategy.check_space(plan.space)
        except SpecError as error:
            yield Problem(("strategy",), str(error))
    if plan.strategy.needs_data and plan.data is None:
        name = plan.strategy.name or type(plan.strategy).__name__
        remedy = "name a data set (data: {name: digits})"
        yield Problem(("data",), f"strategy {name} trains and needs data, got none; {remedy}")
    yield from _runner_problems(plan)


def _twice_provided(estimators: Sequence[Estimator]) -> Iterable[Problem]:
    first: dict[str, tuple[int, str]] = {}
    for i, estimator in enumerate(estimators):
        label = estimator.name or type(estimator).__name__
        clashes: dict[str, list[str]] = {}
        for metric in estimator.metrics:
            j, other = first.setdefault(metric.name, (i, label))
            if j != i:
                clashes.setdefault(f"estimators[{j}] ({other})", []).append(metric.name)
        for other, names in clashes.items():
            verb = "is" if len(names) == 1 else "are"
            text = (
                f"{', '.join(names)} {verb} provided by both {other} and estimators[{i}] "
                f"({label}); a metric must come from exactly one, remove the other"
            )
            yield Problem(("estimators", i), text)


def _unprovided(plan: Plan) -> Iterable[Problem]:
    wanted: list[tuple[Path, str]] = [
        (("objectives", i, o.direction), o.metric) for i, o in enumerate(plan.objectives)
    ]
    wanted += [(("constraints", i), c.metric) for i, c in enumerate(plan.constraints)]
    seen: set[str] = set()
    for path, metric in wanted:
        if path[0] == "objectives" and metric in seen:
            yield Problem(path, f"{metric} is an objective twice; keep one")
        seen.add(metric)
        try:
            provider = plan.provider(metric)
        except SpecError as error:
            yield Problem(path, str(error))
            continue
        given = {m.name: m for m in provider.metrics}.get(metric)
        if given is not None and given.split == "test":
            valid = [m for m in plan.metrics.values() if m.split == "valid"]
            close = did_you_mean(metric, [m.name for m in valid])
            text = (
                f"{metric} is measured on the test split, which no search may see (the front gets "
                f"it once, at the end); use a validation metric{close}"
            )
            yield Problem(path, text)


def _one_in_two(plan: Plan) -> Iterable[Problem]:
    """Yield objectives that are a constant times another: they order networks alike.

    An estimator says so in a metric's provenance, `proportional_to`.
    """
    metrics = plan.metrics

    def root(name: str) -> str:
        metric = metrics.get(name)
        base = metric.provenance.get("proportional_to") if metric else None
        return root(base) if base else name

    first: dict[str, str] = {}
    for i, objective in enumerate(plan.objectives):
        name = objective.metric
        other = first.setdefault(root(name), name)
        if other != name:
            derived, base = (name, other) if root(name) != name else (other, name)
            text = (
                f"{derived} is a constant times {root(base)}, so that it is no objective of its "
                f"own beside {base}, got both; keep one, or bound the other by a constraint"
            )
            yield Problem(("objectives", i, objective.direction), text)


def _runner_problems(plan: Plan) -> Iterable[Problem]:
    runner, reports = plan.runner, any(e.reports for e in plan.estimators)
    names = ", ".join(e.name or type(e).__name__ for e in plan.estimators)
    if runner.scheduler.name != "none":
        path = ("runner", "scheduler")
        if not reports:
            text = f"{runner.scheduler.name} needs an estimator that reports while it works"
            yield Problem(path, f"{text} (training does); got {names}")
        if runner.engine == "inline":
            yield Problem(path, f"{runner.scheduler.name} needs engine ray, got engine inline")
        if runner.scheduler.metric is not None and runner.scheduler.metric not in plan.metrics:
            text = no_provider(runner.scheduler.metric, plan.metrics)
            yield Problem((*path, "metric"), text)
    if runner.engine == "inline":
        if (runner.workers or 1) > 1:
            text = f"engine inline runs one trial at a time, got {runner.workers}; use engine ray"
            yield Problem(("runner", "workers"), text)
        if runner.address is not None:
            text = f"engine inline has no cluster, got {runner.address!r}; use engine ray"
            yield Problem(("runner", "address"), text)
    if plan.budget.epochs is not None and plan.cheap:
        text = f"counts epochs of training, and no estimator trains ({names}); bound trials or time"
        yield Problem(("budget", "epochs"), text)
