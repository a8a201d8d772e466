"""Fixed points: published networks that a search evaluates beside what it finds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...db.records import FIXED, FIXED_SPACE, SpaceRef
from ...errors import InvalidArchitecture, SpecError, did_you_mean
from ...options import Problem, SpecProblems
from ...spaces import SPACES, Architecture, DecisionSpace
from ..strategy import Candidate
from .foreign import Abroad, Foreign
from .members import Member
from .published import full_name

if TYPE_CHECKING:
    from ...db.records import ExperimentRecord, NewExperiment, TrialRecord


@dataclass(frozen=True)
class FixedPoint:
    """A published network.

    Args:
        name: `SPACE/NETWORK`, as viewers show it.
        architecture: It; a `Member` where it is of another space than the one that is searched.
        foreign: That space.
    """

    name: str
    architecture: Architecture
    foreign: Foreign | None = None


def fixed_points(
    names: Sequence[str], space: DecisionSpace, told: str = "", abroad: Abroad | None = None
) -> list[FixedPoint]:
    """Return the published networks that a spec names.

    Args:
        names: `SPACE/NETWORK`, or the network's name alone, which is then one of `space`.
        space: Where the search goes on.
        told: What the spec calls the space, where that is not its own name.
        abroad: Finds those of other spaces.

    Raises:
        SpecProblems: If one is named twice, is no published network, cannot be built with the
            options of its space, or cannot be evaluated beside this search.
    """
    problems, found = [], dict[str, FixedPoint]()
    abroad = abroad or Abroad()
    for i, name in enumerate(names):
        try:
            point = _point(name, space, {space.name, told}, abroad)
            if point.name in found:
                raise SpecError(f"{point.name} is a fixed point already; name it once")
            found[point.name] = point
        except SpecError as error:
            problems.append(Problem((FIXED, i), str(error)))
    if problems:
        raise SpecProblems(problems)
    return list(found.values())


def _point(text: str, space: DecisionSpace, called: set[str], abroad: Abroad) -> FixedPoint:
    published = space.published()
    of, slash, name = text.partition("/")
    if text in published or not slash:
        name = text
    elif of not in called or (full_name(name, published) is None and _has(space, name)):
        return _beside(of, name, space, called, abroad)
    name = full_name(name, published) or name
    if name not in published:
        raise SpecError(_unknown(name, published, space))
    try:
        return FixedPoint(f"{space.name}/{name}", space.architecture(published[name]))
    except InvalidArchitecture as error:
        raise SpecError(f"{name} cannot be built with the options of this space: {error}") from None


def _beside(
    of: str, text: str, searched: DecisionSpace, called: set[str], abroad: Abroad
) -> FixedPoint:
    """Return a network of another space than the one that is searched, or of other options."""
    if of not in SPACES and ":" not in of:
        close = did_you_mean(of, {*called - {""}, *SPACES})
        raise SpecError(f"there is no space {of!r}, got the fixed point {of}/{text}{close}")
    name, foreign, architecture = abroad.find(of, text)
    name = f"{foreign.space.name}/{name}"
    if foreign.space.fingerprint == searched.fingerprint:
        return FixedPoint(name, architecture)
    return FixedPoint(name, Member(architecture, foreign.ref), foreign)


def _has(space: DecisionSpace, name: str) -> bool:
    """Whether the space has a network of that name, with other options than these."""
    return any(full_name(name, others) for _, others in _elsewhere(space))


def _unknown(name: str, published: Mapping[str, Architecture], space: DecisionSpace) -> str:
    """Return why there is no such network: other options have it, or nobody published it."""
    for options, others in _elsewhere(space):
        if full := full_name(name, others):
            here = ", ".join(f"{key} {space.options[key]!r}" for key in options)
            there = ", ".join(f"{key}: {value!r}" for key, value in options.items())
            return (
                f"{space.name}/{full} cannot be built with {here}; it is a network of "
                f"{{name: {space.name}, {there}}}; write {space.name}/{full} to have it from there"
            )
    if not published:
        return (
            f"a fixed point must be a published network, and {space.name} has none with these "
            f"options; got {name!r}, leave it out"
        )
    close = did_you_mean(name, published)
    return f"a fixed point must be a published network of {space.name}, got {name!r}{close}"


def _elsewhere(
    space: DecisionSpace,
) -> Iterator[tuple[dict[str, object], Mapping[str, Architecture]]]:
    """Yield the published networks of the registered space, of its presets and of its variants.

    With each come the options that it sets otherwise than `space`.
    """
    cls = type(space)
    if space.name not in SPACES or SPACES.get(space.name) is not cls:
        return
    for options in (*({"preset": name} for name in cls.presets), *cls.variants, {}):
        try:
            other = cls(**options)
        except SpecError:  # it needs options that only the user knows
            continue
        differing = {k: v for k, v in other.options.items() if space.options.get(k) != v}
        wanted = {k: v for k, v in options.items() if k in differing}
        if differing:
            yield wanted or differing, other.published()


def with_fixed(new: NewExperiment, points: Sequence[FixedPoint]) -> NewExperiment:
    """Return the record with its fixed points in it: a resumed run evaluates the same ones."""
    if not points:
        return new
    return replace(new, info={**new.info, FIXED: [_kept(point) for point in points]})


def _kept(point: FixedPoint) -> dict[str, Any]:
    kept: dict[str, Any] = {"name": point.name, "architecture": dict(point.architecture)}
    if point.foreign is not None:
        kept["space"] = {**point.foreign.ref.tag, "spec": dict(point.foreign.stored)}
    return kept


def stored_fixed(record: ExperimentRecord) -> list[Candidate]:
    """Return the fixed points of a stored experiment, as what is evaluated first."""
    return [_candidate(kept) for kept in record.info.get(FIXED, ())]


def _candidate(kept: Mapping[str, Any]) -> Candidate:
    tags, there = {FIXED: kept["name"]}, stored_ref(kept)
    if there is None:
        return Candidate(Architecture(kept["architecture"]), tags=tags)
    member = Member(kept["architecture"], there)
    return Candidate(member, tags={**tags, FIXED_SPACE: there.tag})


def stored_ref(kept: Mapping[str, Any]) -> SpaceRef | None:
    """Return the space of a stored fixed point where it is not the experiment's."""
    space = kept.get("space")
    return None if space is None else SpaceRef(space["name"], space["fingerprint"])


def stored_space(record: ExperimentRecord, trial: TrialRecord) -> Mapping[str, Any]:
    """Return what makes the space of a trial again: its name and all its options.

    Raises:
        SpecError: If it is a fixed point of another space, and the experiment does not say.
    """
    if trial.space is None:
        searched: Mapping[str, Any] = record.spec["space"]
        return searched
    for kept in record.info.get(FIXED, ()):
        if kept["name"] == trial.fixed and stored_ref(kept) == trial.space:
            beside: Mapping[str, Any] = kept["space"]["spec"]
            return beside
    raise SpecError(
        f"trial {trial.number} of {record.name} is {trial.fixed}, and the experiment does not say "
        "with which options its space was made; take it from the store that ran the search"
    )
