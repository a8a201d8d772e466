"""Architectures of other spaces than the one that is searched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...db.records import SpaceRef
from ...spaces import Architecture, Option

if TYPE_CHECKING:
    from ...db.records import TrialRecord


class Member(Architecture):
    """An architecture of another space than the one that is searched.

    Args:
        options: Decision -> option.
        space: Which space.
    """

    __slots__ = ("space",)

    def __init__(self, options: Mapping[str, Option], space: SpaceRef) -> None:
        super().__init__(options)
        self.space = space

    @property
    def key(self) -> str:
        """The key of the architecture in its own space, with that space before it."""
        return self.space.key(super().key)

    def __eq__(self, other: object) -> bool:
        return self.key == other.key if isinstance(other, Architecture) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.key)

    def __reduce__(self) -> tuple[type[Member], tuple[dict[str, Option], SpaceRef]]:  # type: ignore[override]
        return (type(self), (dict(self), self.space))


def space_of(architecture: Architecture) -> SpaceRef | None:
    """Return the space of an architecture where it is not the one that is searched."""
    return architecture.space if isinstance(architecture, Member) else None


def stored_architecture(trial: TrialRecord) -> Architecture:
    """Return the architecture of a stored trial."""
    space = trial.space
    return Architecture(trial.architecture) if space is None else Member(trial.architecture, space)
