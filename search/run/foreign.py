"""Other spaces beside the one that is searched: where their published networks are evaluated."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...db.records import SpaceRef
from ...errors import InvalidArchitecture, MissingDependency, NetloomError, SpecError, did_you_mean
from ...estimators import Estimator
from ...options import SpecProblems
from ...spaces import SPACES, Architecture, DecisionSpace, Space
from ..objectives import Constraint, Objective
from .evaluation import label
from .parts import declared_by, make_estimator, make_space, wanted_options
from .published import full_name
from .spec import Named, Spec

Maker = Callable[[DecisionSpace], Estimator]


@dataclass(frozen=True)
class Foreign:
    """A space beside the one that is searched.

    Args:
        space: It.
        stored: What makes it again: its name and all its options.
        estimators: Those of the search, made for this space.
        metrics: What they give that the search has too; no trial carries anything else.
    """

    space: DecisionSpace
    stored: Mapping[str, Any]
    estimators: tuple[Estimator, ...]
    metrics: frozenset[str]

    @property
    def ref(self) -> SpaceRef:
        """How records call it."""
        return SpaceRef(self.space.name, self.space.fingerprint)


class Abroad:
    """Finds published networks of other spaces, and makes the estimators of a search for them.

    Args:
        data: The data set of the search, or None.
        wanted: Returns what the estimators want the options of a space to be.
        makers: Each makes an estimator of the search for another space, with the same options.
        own: The estimators of the search, in the same order.
        needed: Metrics that every network must have: of objectives and constraints.
    """

    def __init__(
        self,
        data: Any = None,
        wanted: Callable[[Named], Mapping[str, Any]] = lambda named: {},
        makers: Sequence[Maker] = (),
        own: Sequence[Estimator] = (),
        needed: Collection[str] = (),
    ) -> None:
        self._data, self._wanted = data, wanted
        self._estimators = list(zip(makers, own, strict=True))
        self._needed = needed
        self._made: dict[str, Foreign] = {}

    def find(self, of: str, text: str) -> tuple[str, Foreign, Architecture]:
        """Return the full name of a published network, its space, and it.

        The space has the options under which the network is published, its own defaults where
        these have it, and of those what the data set decides.

        Args:
            of: Name or import path of the space.
            text: What the network's name begins with.

        Raises:
            SpecError: If there is no such space or network, or it cannot be evaluated.
        """
        seen: list[str] = []
        for options in _choices(of):
            published = _published(of, options)
            if name := full_name(text, published):
                return name, *self._built(Named(name=of, **options), name, published[name])
            seen += published
        if not seen:
            raise SpecError(
                f"a fixed point must be a published network, and {of} has none; got {text!r}, "
                "leave it out"
            )
        close = did_you_mean(text, dict.fromkeys(seen))
        raise SpecError(f"a fixed point must be a published network of {of}, got {text!r}{close}")

    def _built(
        self, named: Named, name: str, published: Architecture
    ) -> tuple[Foreign, Architecture]:
        title = f"{named.name}/{name}"
        try:
            space, stored = make_space(named, self._data, wanted=self._wanted(named))
            architecture = space.architecture(published)
            untaken = [] if self._data is None else _untaken(space, stored, self._data)
        except MissingDependency:
            raise
        except (SpecError, InvalidArchitecture) as error:
            raise SpecError(
                f"{title} cannot be built beside this search: {_reason(error)}; leave it out"
            ) from error
        if untaken:
            raise SpecError(
                f"{title} cannot be built for this data set: the space has no option "
                f"{' and no option '.join(untaken)}; leave it out"
            )
        found = self._made.get(space.fingerprint)
        if found is None:
            found = self._made[space.fingerprint] = self._evaluated(space, stored, title)
        return found, architecture

    def _evaluated(self, space: DecisionSpace, stored: Mapping[str, Any], title: str) -> Foreign:
        """Return the space with its estimators; those that nothing needs may be missing.

        Raises:
            SpecError: If a metric of an objective or a constraint cannot be had.
        """
        made: list[Estimator] = []
        metrics: set[str] = set()
        for make, own in self._estimators:
            estimator, why = _made_for(space, make)
            given: set[str] = set()
            if estimator is not None:
                given = {m.name for m in estimator.metrics if m in own.metrics}
                why = "there they come from another source, which does not compare"
            lacking = [n for n in _of(own, self._needed) if n not in _of_names(given, self._needed)]
            if lacking:
                raise SpecError(
                    f"{title} cannot have {', '.join(lacking)}: the estimator {label(own)} does "
                    f"not give {'it' if len(lacking) == 1 else 'them'} for the space "
                    f"{space.name} ({why}); leave the network out"
                )
            if estimator is not None and given:
                made.append(estimator)
                metrics |= given
        return Foreign(space, stored, tuple(made), frozenset(metrics))


def abroad_of(spec: Spec, data: Any, own: Sequence[Estimator]) -> Abroad:
    """Return what finds published networks of other spaces, and evaluates them as here."""
    makers = [
        lambda space, n=named, i=i: make_estimator(n, space, data, ("estimators", i))[0]
        for i, named in enumerate(spec.estimators)
    ]
    needed = needed_metrics(
        [o.objective() for o in spec.objectives], [c.constraint() for c in spec.constraints]
    )
    return Abroad(data, lambda named: wanted_options(spec.estimators, named), makers, own, needed)


def needed_metrics(
    objectives: Iterable[Objective], constraints: Iterable[Constraint]
) -> tuple[str, ...]:
    """Return the metrics that every trial must have, each once."""
    named = (o.metric for o in objectives), (c.metric for c in constraints)
    return tuple(dict.fromkeys(name for names in named for name in names))


def _made_for(space: DecisionSpace, make: Maker) -> tuple[Estimator | None, str]:
    """Return an estimator for a space, or why there is none."""
    try:
        return make(space), ""
    except MissingDependency:
        raise
    except NetloomError as error:
        return None, _reason(error)


def _of(estimator: Estimator, needed: Collection[str]) -> list[str]:
    """Return what an estimator must give."""
    return _of_names({metric.name for metric in estimator.metrics}, needed)


def _of_names(names: Collection[str], needed: Collection[str]) -> list[str]:
    """Return those of the needed metrics that are among names, or their spread over repeats."""
    return [n for n in needed if n in names or n.removesuffix("_std") in names]


def _choices(of: str) -> Iterator[dict[str, Any]]:
    """Yield the options under which a space may publish networks: its defaults come first."""
    yield {}
    if of in SPACES:
        cls = SPACES.get(of)
        yield from map(dict, cls.variants)
        yield from ({"preset": name} for name in cls.presets)


def _published(of: str, options: Mapping[str, Any]) -> Mapping[str, Architecture]:
    """Return the networks that a space publishes under these options.

    Raises:
        SpecError: If there is no such space.
    """
    try:
        return make_space(Named(name=of, **options))[0].published()
    except SpecError as error:
        if of in SPACES:  # it needs options that only its user knows
            return {}
        raise SpecError(_reason(error)) from error


def _untaken(space: DecisionSpace, stored: Mapping[str, Any], data: Any) -> list[str]:
    """Return what a data set decides of networks and a space that builds them does not take."""
    if not isinstance(space, Space):
        return []
    return [name for name in declared_by(data) if name not in {*stored, *space.options}]


def _reason(error: Exception) -> str:
    if isinstance(error, SpecProblems):
        return "; ".join(problem.message for problem in error.problems)
    return str(error)
