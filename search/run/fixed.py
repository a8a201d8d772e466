"""Fixed points: published networks that a search evaluates beside what it finds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...db.records import FIXED
from ...errors import InvalidArchitecture, SpecError, did_you_mean
from ...options import Problem, SpecProblems
from ...spaces import SPACES, Architecture, DecisionSpace
from ..strategy import Candidate

if TYPE_CHECKING:
    from ...db.records import ExperimentRecord, NewExperiment


@dataclass(frozen=True)
class FixedPoint:
    """A published network of the space.

    Args:
        name: `SPACE/NETWORK`, as viewers show it.
        architecture: It.
    """

    name: str
    architecture: Architecture


def fixed_points(names: Sequence[str], space: DecisionSpace, told: str = "") -> list[FixedPoint]:
    """Return the published networks that a spec names.

    Args:
        names: `SPACE/NETWORK`, or the network's name alone.
        space: Where the search goes on.
        told: What the spec calls the space, where that is not its own name.

    Raises:
        SpecProblems: If one is named twice, is no published network, is of another space, or
            cannot be built with the options of this one.
    """
    problems, found = [], dict[str, FixedPoint]()
    for i, name in enumerate(names):
        try:
            point = _point(name, space, {space.name, told})
            if point.name in found:
                raise SpecError(f"{point.name} is a fixed point already; name it once")
            found[point.name] = point
        except SpecError as error:
            problems.append(Problem((FIXED, i), str(error)))
    if problems:
        raise SpecProblems(problems)
    return list(found.values())


def _point(text: str, space: DecisionSpace, called: set[str]) -> FixedPoint:
    published = space.published()
    of, slash, name = text.partition("/")
    if text in published or not slash:
        name = text
    elif of not in called:
        close = did_you_mean(of, called - {""}) if of not in SPACES else ""
        raise SpecError(
            f"a fixed point must be of the space that is searched, {space.name}; got {text}, of "
            f"the space {of!r}{close}"
        )
    name = _full(name, published) or name
    if name not in published:
        raise SpecError(_unknown(name, published, space))
    try:
        return FixedPoint(f"{space.name}/{name}", space.architecture(published[name]))
    except InvalidArchitecture as error:
        raise SpecError(f"{name} cannot be built with the options of this space: {error}") from None


def _full(text: str, published: Iterable[str]) -> str | None:
    """Return the one name that `text` begins, whatever its case and its punctuation.

    `flops-595m` is short for `flops@595M_top1@80.0_finetune@75`.

    Raises:
        SpecError: If it begins several.
    """
    if text in published:
        return text
    words = _words(text)
    found = [name for name in published if words and _words(name)[: len(words)] == words]
    if len(found) > 1:
        raise SpecError(f"{text!r} is short for several networks: {', '.join(found)}; give one")
    return found[0] if found else None


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z0-9.+]+", name.lower())


def _unknown(name: str, published: Mapping[str, Architecture], space: DecisionSpace) -> str:
    """Return why there is no such network: other options have it, or nobody published it."""
    for options, others in _elsewhere(space):
        if full := _full(name, others):
            here = ", ".join(f"{key} {space.options[key]!r}" for key in options)
            there = ", ".join(f"{key}: {value!r}" for key, value in options.items())
            return (
                f"{space.name}/{full} cannot be built with {here}; it is a network of "
                f"{{name: {space.name}, {there}}}"
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
    kept = [{"name": p.name, "architecture": dict(p.architecture)} for p in points]
    return replace(new, info={**new.info, FIXED: kept})


def stored_fixed(record: ExperimentRecord) -> list[Candidate]:
    """Return the fixed points of a stored experiment, as what is evaluated first."""
    return [
        Candidate(Architecture(kept["architecture"]), tags={FIXED: kept["name"]})
        for kept in record.info.get(FIXED, ())
    ]
