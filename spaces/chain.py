"""Spaces whose decisions follow one another: each has the options that the one before leaves."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, pairwise
from random import Random
from typing import Any, TypeAlias

from ..errors import InvalidArchitecture, SpecError
from .decision import Architecture, Decision, Option, token
from .restricted import RestrictedSpace, left
from .space import DecisionSpace, Space

Following: TypeAlias = Mapping[Any, Iterable[Any]]  # option -> what may come next


class Chain(DecisionSpace):
    """Decisions in a row, none of them conditional; an architecture is a path through them.

    Args:
        decisions: In the order of the chain.
        following: For every option, and value accepted beyond them, what may come next.
        rule: What that is in words, for error messages.

    Raises:
        SpecError: If no path leads through, a decision is conditional, or it is not said what
            follows one of its options.
    """

    _contract = True

    def __init__(self, decisions: Sequence[Decision], following: Following, rule: str) -> None:
        self._following: dict[Option, frozenset[Option]] = {
            option: frozenset(after) for option, after in following.items()
        }
        self.rule = rule
        DecisionSpace.__init__(self, decisions)
        if conditional := [d.name for d in self.decisions if d.when]:
            raise SpecError(f"a chain has no conditions of its own; {conditional[0]} has one")
        _check_following(self.decisions, self._following)
        if not self.size:
            raise SpecError(
                f"{self.name}: no path leads through all decisions ({rule}): "
                + ", ".join(f"{d.name} in {d.options}" for d in self.decisions)
            )

    @cached_property
    def _ways(self) -> list[dict[Option, list[tuple[Option, int]]]]:
        """For each decision: the value before -> (option, ways to go on from it) of what is left.

        The first decision has the value None before it.
        """
        after: dict[Option, list[tuple[Option, int]]] = {}
        tables: list[dict[Option, list[tuple[Option, int]]]] = []
        for place in reversed(range(len(self.decisions))):
            last = place == len(self.decisions) - 1
            own = [
                (option, 1 if last else sum(ways for _, ways in after[option]))
                for option in self.decisions[place].options
            ]
            own = [(option, ways) for option, ways in own if ways]
            after = {
                before: [(option, ways) for option, ways in own if option in allowed]
                for before, allowed in self._following.items()
            }
            tables.append(after if place else {None: own})
        return tables[::-1]

    @cached_property
    def _sums(self) -> list[dict[Option, list[int]]]:
        """The ways of `_ways`, each with those before it added."""
        return [
            {before: list(accumulate(ways for _, ways in row)) for before, row in table.items()}
            for table in self._ways
        ]

    @property
    def size(self) -> int:
        """The number of paths, exact."""
        return sum(ways for _, ways in self._ways[0][None])

    # ---------------------------------------------------------------- architectures
    def architecture(self, mapping: Mapping[str, Any]) -> Architecture:
        """Return the architecture that `mapping` (decision name -> value) describes.

        Raises:
            InvalidArchitecture: As any space; or if a value cannot follow the one before.
        """
        checked = super().architecture(mapping)
        for (before, value), (name, option) in pairwise(checked.items()):
            allowed = self._following.get(value, frozenset())
            if option not in allowed:
                can = ", ".join(str(o) for o in self._following if o in allowed) or "nothing"
                raise InvalidArchitecture(
                    f"{self.name}: {name} must be one of {can} after {before} = {value!r} "
                    f"({self.rule}); got {option!r}"
                )
        return checked

    def nearest(self, mapping: Mapping[str, Any]) -> Architecture:
        """Return the path that agrees with most of `mapping`; of several the first.

        Raises:
            InvalidArchitecture: If a decision is missing, or a value is not allowed.
        """
        wanted = super().architecture(mapping)
        agreed: dict[Option, int] = {}  # the most decisions that can agree behind an option
        best: list[dict[Option, Option]] = []  # what to take after an option, from the last place
        for decision, table in zip(reversed(self.decisions), reversed(self._ways), strict=True):
            own = token(wanted[decision.name])
            worth = {o: (token(o) == own) + agreed.get(o, 0) for o in decision.options}
            rows = {before: [o for o, _ in row] for before, row in table.items() if row}
            best.append({before: max(row, key=worth.__getitem__) for before, row in rows.items()})
            agreed = {before: worth[option] for before, option in best[-1].items()}
        chosen: list[Option] = []
        for after in reversed(best):
            chosen.append(after[chosen[-1] if chosen else None])
        return self._make(chosen)

    def at(self, index: int) -> Architecture:
        """Return path number `index`, 0 <= index < size, in the order of `enumerate`.

        Raises:
            IndexError: If there is no such number.
        """
        if not 0 <= index < self.size:
            raise IndexError(f"{self.name} numbers its architectures 0..{self.size - 1}")
        before: Option = None
        chosen = []
        for table, sums in zip(self._ways, self._sums, strict=True):
            position = bisect_right(sums[before], index)
            if position:
                index -= sums[before][position - 1]
            before = table[before][position][0]
            chosen.append(before)
        return self._make(chosen)

    def neighbors(self, architecture: Architecture) -> list[Architecture]:
        """Return the paths that differ in one decision, in decision and option order."""
        return [
            Architecture({**architecture, self.decisions[place].name: option})
            for place, others in self._changes(architecture)
            for option in others
        ]

    def mutate(self, architecture: Architecture, rng: Random) -> Architecture:
        """Return a copy with one decision changed, where the path stays one; never an equal one.

        The decision is drawn uniformly from those that can change alone, then its option. Where
        a mask leaves none of them, any other path is drawn.

        Raises:
            SpecError: If there is no other path.
        """
        changes = self._changes(architecture)
        if not changes:
            if self.size == 1:
                raise SpecError(f"{self.name}: nothing can change, there is one path")
            while (other := self.sample(rng)) == architecture:
                pass
            return other
        place, others = changes[rng.randrange(len(changes))]
        name = self.decisions[place].name
        return Architecture({**architecture, name: others[rng.randrange(len(others))]})

    def crossover(self, first: Architecture, second: Architecture, rng: Random) -> Architecture:
        """Return a path that takes each decision from either parent with equal chance.

        Where only one of both values can follow, it is taken; that of the parent which gave the
        value before always can.
        """
        chosen: list[Option] = []
        for values in zip(self._values(first), self._values(second), strict=True):
            left = values if not chosen else [v for v in values if v in self._following[chosen[-1]]]
            chosen.append(left[rng.randrange(2)] if len(left) == 2 else left[0])
        return self._make(chosen)

    # ---------------------------------------------------------------- inside
    def _values(self, architecture: Mapping[str, Option]) -> list[Option]:
        """Return the path, whatever the order in which the architecture lists it."""
        return [architecture[decision.name] for decision in self.decisions]

    def _changes(self, architecture: Architecture) -> list[tuple[int, tuple[Option, ...]]]:
        """Return the decisions that can change alone, by place, and to what."""
        values = self._values(architecture)
        last = len(values) - 1
        found = []
        for place, value in enumerate(values):
            before = values[place - 1] if place else None
            after = values[place + 1] if place < last else None
            if others := self._between(place, before, value, after):
                found.append((place, others))
        return found

    def _between(
        self, place: int, before: Option, value: Option, after: Option
    ) -> tuple[Option, ...]:
        """Return the other options between two values; at the ends there is only one."""
        key = (place, before, value, after)
        if (found := self._known.get(key)) is None:
            last = place == len(self.decisions) - 1
            found = self._known[key] = tuple(
                option
                for option in self.decisions[place].options
                if option != value
                and (not place or option in self._following[before])
                and (last or after in self._following[option])
            )
        return found

    @cached_property
    def _known(self) -> dict[tuple[int, Option, Option, Option], tuple[Option, ...]]:
        return {}

    def _complete(self, mapping: Mapping[str, Option], rng: Random | None) -> Architecture:
        """Return a path with the rest drawn uniformly, step by step (or first options)."""
        chosen: list[Option] = []
        for decision, table in zip(self.decisions, self._ways, strict=True):
            if decision.name in mapping:
                chosen.append(mapping[decision.name])
            else:
                row = table[chosen[-1] if chosen else None]
                chosen.append(row[rng.randrange(len(row)) if rng else 0][0])
        return self._make(chosen)


class ChainSpace(Chain, Space):
    """A space of networks whose decisions are a chain."""

    _contract = True


class RestrictedChain(Chain, RestrictedSpace):
    """The paths of a chain that a mask admits.

    Args:
        space: The whole.
        masks: Decision name -> the options that are left.

    Raises:
        SpecError: As `RestrictedSpace`; or if the mask leaves no path.
    """

    _contract = True

    def __init__(self, space: Chain, masks: Mapping[str, Iterable[Any]]) -> None:
        self.whole: DecisionSpace = space
        self.name = space.name
        Chain.__init__(self, left(space, masks), space._following, space.rule)


def _check_following(
    decisions: Sequence[Decision], following: Mapping[Option, frozenset[Option]]
) -> None:
    """Raise SpecError where an option has no rule, or shares that of another one."""
    for decision in decisions:
        if len(set(decision.options)) < len(decision.options):
            raise SpecError(
                f"{decision.name}: a chain cannot tell true from 1, false from 0; its options are "
                f"{decision.options}"
            )
        for option in decision.options if decision is not decisions[-1] else ():
            if option not in following:
                raise SpecError(
                    f"{decision.name}: a chain must say what may follow each option (following); "
                    f"nothing is said about {option!r}"
                )


Chain.part = RestrictedChain
