"""Part of a space: some options are forbidden."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from ..errors import SpecError, did_you_mean
from .decision import Architecture, Decision, Option
from .space import DecisionSpace


class RestrictedSpace(DecisionSpace):
    """The architectures of a space that a mask admits.

    Splitting a super-network gives each child such a mask (few-shot search); those of the
    children of one split are disjoint and cover their parent's.

    Args:
        space: The whole.
        masks: Decision name -> the options that are left.

    Raises:
        SpecError: If a name is no decision, an option is unknown, or none is left.
    """

    _contract = True

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Return an object of the class that keeps to the rules of the whole."""
        space = args[0] if args else kwargs.get("space")
        wanted: type[Self] | None = getattr(space, "part", None) if cls is RestrictedSpace else None
        return super().__new__(wanted or cls, *args, **kwargs)

    def __init__(self, space: DecisionSpace, masks: Mapping[str, Iterable[Any]]) -> None:
        self.whole = space
        self.name = space.name
        super().__init__(left(space, masks))

    @property
    def options(self) -> dict[str, Any]:
        """The options of the whole, and the masks."""
        return {**self.whole.options, "masks": {d.name: list(d.options) for d in self.decisions}}

    def parse_notation(self, value: str | Sequence[Any]) -> Architecture:
        """Read the notation of the whole.

        Raises:
            InvalidArchitecture: Also where the mask forbids an option.
        """
        return self.architecture(self.whole.parse(value))

    def parse_object(self, value: Mapping[str, Any]) -> Architecture:
        """Read what the whole reads.

        Raises:
            InvalidArchitecture: Also where the mask forbids an option.
        """
        return self.architecture(self.whole.parse(value))

    def format(self, architecture: Architecture) -> str:
        """Return the notation of the whole."""
        return self.whole.format(architecture)

    def canonical(self, architecture: Architecture) -> str:
        """Return what the whole says."""
        return self.whole.canonical(architecture)


def left(space: DecisionSpace, masks: Mapping[str, Iterable[Any]]) -> list[Decision]:
    """Return the decisions with their options masked, without those that are never active.

    Raises:
        SpecError: If a name is no decision, an option is unknown, or none is left.
    """
    known = {d.name for d in space.decisions}
    if unknown := [name for name in masks if name not in known]:
        raise SpecError(
            f"{space.name}: a mask names the decision {unknown[0]!r}, which there is not"
            f"{did_you_mean(unknown[0], known)}"
        )
    options: dict[str, tuple[Option, ...]] = {}
    for decision in space.decisions:
        wanted = tuple(masks.get(decision.name, decision.options))
        places = [decision.index(option) for option in wanted]
        if None in places or not places:
            raise SpecError(
                f"{decision.name}: a mask must leave at least one of {decision.options}; "
                f"got {wanted}"
            )
        options[decision.name] = tuple(o for i, o in enumerate(decision.options) if i in places)
    found: dict[str, Decision] = {d.name: d for d in space.decisions}
    while True:  # a decision whose condition can no longer hold takes its children with it
        kept = {}
        for name, decision in found.items():
            when = {
                parent: tuple(v for v in values if parent in found and v in options[parent])
                for parent, values in (decision.when or {}).items()
            }
            if all(when.values()):
                accepts = None if name in masks else decision.accepts
                kept[name] = replace(
                    decision, options=options[name], when=when or None, accepts=accepts
                )
        if len(kept) == len(found):
            return list(kept.values())
        found = {name: found[name] for name in kept}
