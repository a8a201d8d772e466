"""`Experiment`: a search from Python, with objects or names; the same runner as the CLI's."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...db import Store, public_url, store_url
from ...errors import SpecError
from ...estimators import Estimator
from ...options import validate
from ...spaces import DecisionSpace
from ..objectives import Constraint, Objective
from ..strategy import Strategy
from .events import Listener
from .fixed import fixed_points
from .foreign import Abroad, needed_metrics
from .loaded import StoredExperiment
from .parts import (
    make_data,
    make_estimator,
    make_importable,
    make_space,
    make_strategy,
    wanted_options,
)
from .plan import Plan, build_plan
from .runner import Runner, RunSummary
from .spec import Budget, ConstraintSpec, Named, ObjectiveSpec, RunnerOptions, Spec, parse

if TYPE_CHECKING:
    from pydantic import BaseModel

Part = Any  # an object, a registered name, an import path, or {"name": ..., option: ...}


class Experiment:
    """One search, described with Python objects or with the names that a spec uses.

    An experiment made of names alone is stored as a spec: `netloom resume` goes on with it. One
    with objects is resumed with the same `Experiment` again (`resume`): objects are not stored.

    Example:
        >>> experiment = Experiment(
        ...     space="nb201",
        ...     strategy="random",
        ...     estimators=[{"name": "tabular", "dataset": "cifar10"}],
        ...     objectives=[{"maximize": "valid_accuracy"}, {"minimize": "latency_ms@pixel3"}],
        ...     constraints=["latency_ms@eyeriss <= 6"],
        ...     budget=100,
        ... )

    Args:
        space: What can be built.
        strategy: What proposes architectures; an object is copied for each run.
        estimators: Where metrics come from.
        objectives: `Objective`s, or `{"maximize": metric}` and `{"minimize": metric}`.
        budget: A `Budget`, a number of trials, or a mapping as in a spec.
        constraints: `Constraint`s, or texts such as `macs <= 30M`.
        data: The data set, for estimators that train.
        seed: Every random draw derives from it.
        name: Name of the experiment; a taken one becomes `name-2`.
        store: A `Store` or its URL; `NETLOOM_STORE`, then `sqlite:///netloom.db` when left out.
        runner: `RunnerOptions`, or a mapping as in a spec.
        repeats: Seeds per architecture.
        dedup: Which architectures count as one.
        reuse: Whether stored results of equal evaluations are taken.
        keep_weights: Trained weights kept, per objective, beside those of the front.
        baseline: Whether an equal random search is stored; None: when evaluations are cheap.
        warm_start: Experiment whose front is proposed first.
        fixed: Published networks, of this space or of others (`darts/DARTS_V2`), evaluated first
            and beside what the search finds.
        group: Name that several runs share.
        tags: Free words.
        source_dir: Folder that import paths may use, in workers too.

    Raises:
        SpecError: If the parts do not fit together.
    """

    def __init__(
        self,
        *,
        space: Part,
        strategy: Part,
        estimators: Sequence[Part],
        objectives: Iterable[Objective | Mapping[str, str]],
        budget: Budget | int | Mapping[str, Any],
        constraints: Iterable[Constraint | str | Mapping[str, Any]] = (),
        data: Part = None,
        seed: int = 0,
        name: str = "search",
        store: Store | str | None = None,
        runner: RunnerOptions | Mapping[str, Any] | None = None,
        repeats: int = 1,
        dedup: Literal["key", "canonical"] = "key",
        reuse: bool = True,
        keep_weights: int = 5,
        baseline: bool | None = None,
        warm_start: str | None = None,
        fixed: Sequence[str] = (),
        group: str | None = None,
        tags: Sequence[str] = (),
        source_dir: str | Path | None = None,
    ) -> None:
        self._parts: dict[str, Part] = {
            "space": space,
            "data": data,
            "strategy": strategy,
            "estimators": list(estimators),
        }
        self._source_dir = None if source_dir is None else Path(source_dir)
        self._store = store
        self._rest: dict[str, Any] = {
            "name": name,
            "seed": seed,
            "objectives": [_objective(o) for o in objectives],
            "constraints": [_constraint(c) for c in constraints],
            "budget": _jsonable(Budget, {"trials": budget} if isinstance(budget, int) else budget),
            "runner": _jsonable(RunnerOptions, {} if runner is None else runner),
            "store": store.url if isinstance(store, Store) else store,
            "repeats": repeats,
            "dedup": dedup,
            "reuse": reuse,
            "keep_weights": keep_weights,
            "baseline": baseline,
            "warm_start": warm_start,
            "fixed": list(fixed),
            "group": group,
            "tags": list(tags),
        }
        self.plan()  # what is wrong is said now, not when it runs

    @classmethod
    def load(cls, ref: str, *, store: Store | str | None = None) -> StoredExperiment:
        """Return an experiment of the store, finished or running, to look at.

        Args:
            ref: Name, id or unique prefix.
            store: A `Store` or its URL; `NETLOOM_STORE`, then `sqlite:///netloom.db` when left out.

        Raises:
            StoreError: If there is no such store or experiment; the closest names are shown.
        """
        return StoredExperiment(ref, store=store)

    @property
    def objects(self) -> list[str]:
        """The parts that are objects, which a spec cannot name."""
        found = [
            key
            for key in ("space", "data", "strategy")
            if self._parts[key] is not None and not _is_named(self._parts[key])
        ]
        named = all(_is_named(e) for e in self._parts["estimators"])
        return found if named else [*found, "estimators"]

    def plan(self) -> Plan:
        """Return a plan of its own for one run."""
        if not self.objects:
            values = {k: v for k, v in {**self._parts, **self._rest}.items() if v is not None}
            return build_plan(parse(values), source_dir=self._source_dir)
        make_importable(self._source_dir)
        data = self._data()
        space = self._space(data)
        estimators = [
            self._estimator(part, space, data, i)
            for i, part in enumerate(self._parts["estimators"])
        ]
        strategy = self._strategy()
        checked, rest = self._checked(), self._rest
        spec = {**rest, "objects": self.objects, "space": {"name": space.name}}
        spec["store"] = None if rest["store"] is None else public_url(rest["store"])
        spec["strategy"] = {"name": strategy.name or type(strategy).__name__}
        spec["estimators"] = [{"name": e.name or type(e).__name__} for e in estimators]
        spec["data"] = (
            None if data is None else {"name": getattr(data, "name", type(data).__name__)}
        )
        return Plan(
            name=checked.name,
            seed=checked.seed,
            space=space,
            data=data,
            estimators=tuple(estimators),
            strategy=strategy,
            objectives=tuple(o.objective() for o in checked.objectives),
            constraints=tuple(c.constraint() for c in checked.constraints),
            budget=checked.budget,
            runner=checked.runner,
            store_url=store_url(checked.store),
            repeats=checked.repeats,
            dedup=checked.dedup,
            reuse=checked.reuse,
            keep_weights=checked.keep_weights,
            baseline=checked.baseline,
            warm_start=checked.warm_start,
            fixed=tuple(
                fixed_points(checked.fixed, space, abroad=self._abroad(checked, data, estimators))
            ),
            group=checked.group,
            tags=checked.tags,
            spec=spec,
            source_dir=self._source_dir,
        )

    def _checked(self) -> Spec:
        """Return everything but the parts, checked as a spec's values are."""
        values = {key: value for key, value in self._rest.items() if value is not None}
        part = {"name": "object"}
        return parse({**values, "space": part, "strategy": part, "estimators": [part]})

    def run(self, *, listeners: Sequence[Listener] = ()) -> RunSummary:
        """Run it as a new experiment.

        Raises:
            NetloomError: If the store, the strategy or an engine fails.
        """
        plan = self.plan()
        if isinstance(self._store, Store):
            return Runner(plan, self._store, listeners=listeners).run()
        with Store(plan.store_url) as store:
            return Runner(plan, store, listeners=listeners).run()

    def resume(
        self,
        ref: str | None = None,
        *,
        budget: Budget | None = None,
        listeners: Sequence[Listener] = (),
    ) -> RunSummary:
        """Go on with a stored run of this experiment.

        Args:
            ref: Name, id or unique prefix; this experiment's name when left out.
            budget: A larger budget.
            listeners: Called with every event.

        Raises:
            SpecError: If it was started with other parts.
        """
        plan = self.plan()
        with Store(plan.store_url) as store:
            return Runner.resume(
                store, ref or plan.name, plan=plan, budget=budget, listeners=listeners
            )

    def _data(self) -> Any:
        part = self._parts["data"]
        return make_data(_named(part))[0] if part is not None and _is_named(part) else part

    def _space(self, data: Any) -> DecisionSpace:
        part = self._parts["space"]
        if _is_named(part):
            named = [_named(e) for e in self._parts["estimators"] if _is_named(e)]
            return make_space(_named(part), data, wanted=wanted_options(named, _named(part)))[0]
        if not isinstance(part, DecisionSpace):
            raise SpecError(
                f"space must be a DecisionSpace, a name or an import path, got {part!r}; wrap a "
                "module with ModuleSpace(module, example_input)"
            )
        return part

    def _estimator(self, part: Part, space: DecisionSpace, data: Any, i: int) -> Estimator:
        if _is_named(part):
            return make_estimator(_named(part), space, data, ("estimators", i))[0]
        if inspect.isclass(part) and issubclass(part, Estimator):
            part = part(space, data)
        if not isinstance(part, Estimator):
            raise SpecError(
                f"estimators[{i}] must be an Estimator, a name or an import path, got {part!r}"
            )
        if part.space is not space:
            raise SpecError(
                f"estimators[{i}] was made for another space; make it with the space object that "
                "the experiment gets"
            )
        return part

    def _abroad(self, checked: Spec, data: Any, own: Sequence[Estimator]) -> Abroad:
        """Return what finds published networks of other spaces, and evaluates them as here."""
        parts = self._parts["estimators"]

        def made(space: DecisionSpace, part: Part, i: int) -> Estimator:
            if isinstance(part, Estimator):
                raise SpecError(
                    f"estimators[{i}] is an object made for the space that is searched; give its "
                    "name or its class instead"
                )
            return self._estimator(part, space, data, i)

        makers = [lambda space, p=part, i=i: made(space, p, i) for i, part in enumerate(parts)]
        named = [_named(part) for part in parts if _is_named(part)]
        needed = needed_metrics(
            [o.objective() for o in checked.objectives],
            [c.constraint() for c in checked.constraints],
        )
        return Abroad(data, lambda space: wanted_options(named, space), makers, own, needed)

    def _strategy(self) -> Strategy:
        part = self._parts["strategy"]
        if _is_named(part):
            return make_strategy(_named(part))[0]
        if inspect.isclass(part) and issubclass(part, Strategy):
            part = part()
        if not isinstance(part, Strategy):
            raise SpecError(f"strategy must be a Strategy, a name or an import path, got {part!r}")
        return copy.deepcopy(part)


def _is_named(part: Part) -> bool:
    return isinstance(part, str | Mapping | Named)


def _named(part: Part) -> Named:
    if isinstance(part, Named):
        return part
    return Named(name=part) if isinstance(part, str) else Named(**part)


def _objective(value: Objective | Mapping[str, str]) -> dict[str, str]:
    if isinstance(value, Objective):
        return {value.direction: value.metric}
    return _jsonable(ObjectiveSpec, value)


def _constraint(value: Constraint | str | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(value, str):
        value = Constraint.parse(value)
    if isinstance(value, Constraint):
        value = {"metric": value.metric, "max": value.max, "min": value.min}
    return _jsonable(ConstraintSpec, value)


def _jsonable(model: type[BaseModel], value: Any) -> dict[str, Any]:
    if not isinstance(value, model):
        value = validate(model, dict(value))
    dumped: dict[str, Any] = value.model_dump(mode="json", by_alias=True)
    return dumped
