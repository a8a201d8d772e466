"""Counting and numbering the architectures of conditional decisions, exactly.

The decisions fall into components that no `when` connects. Inside a component the decisions are
put in an order in which parents come first, and one walk over that order has as its state the set
of conditions that can no longer hold. Counting the ways to finish from each state gives the exact
size and a bijection between `range(size)` and the architectures, so that a uniform draw is one
random integer and a space of 10^20 networks costs no more than one of 10^3.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod

from ..errors import SpecError, did_you_mean
from .decision import Decision, Token, token

Choice = list[int | None]  # option position per decision; None: inactive


@dataclass(frozen=True)
class Condition:
    """A `when` with names resolved: all of `parents` must hold.

    Args:
        parents: (position of the parent, tokens of its values that satisfy the condition).
    """

    parents: tuple[tuple[int, frozenset[Token]], ...]


@dataclass
class _Step:
    """One decision in the walk over a component.

    Args:
        decision: Its position in the space.
        condition: Bit of its condition, 0 when unconditional.
        fails: Per option, the bits of the conditions that this option makes impossible.
        inactive: The bits that are impossible when the decision is inactive.
        keep: The bits that later decisions still ask for.
    """

    decision: int
    condition: int
    fails: list[int]
    inactive: int
    keep: int


class _Component:
    """Decisions connected by conditions: how many ways, and which is number i."""

    def __init__(self, steps: list[_Step]) -> None:
        self.steps = steps
        self.alone = steps[0].decision if len(steps) == 1 else None  # nothing to look up then
        counts: dict[int, int] = {0: 1}
        # cumulative counts of the options per state; None: the decision is inactive in this state
        self._tables: list[dict[int, list[int] | None]] = []
        for step, states in zip(reversed(steps), reversed(_states(steps)), strict=True):
            table: dict[int, list[int] | None] = {}
            here: dict[int, int] = {}
            for state in states:
                if state & step.condition:
                    table[state] = None
                    here[state] = counts[(state | step.inactive) & step.keep]
                else:
                    ways = (counts[(state | bits) & step.keep] for bits in step.fails)
                    table[state] = sums = list(accumulate(ways))
                    here[state] = sums[-1]
            self._tables.append(table)
            counts = here
        self._tables.reverse()
        self.size = counts[0]

    def write(self, index: int, choice: Choice) -> None:
        """Write the options of combination `index` (0 <= index < size) into `choice`."""
        state = 0
        for step, table in zip(self.steps, self._tables, strict=True):
            sums = table[state]
            if sums is None:
                state = (state | step.inactive) & step.keep
                continue
            option = bisect_right(sums, index)
            if option:
                index -= sums[option - 1]
            choice[step.decision] = option
            state = (state | step.fails[option]) & step.keep


class Conditions:
    """The `when`s of a space, checked and ready for counting.

    Args:
        decisions: In the order of the space.

    Raises:
        SpecError: If one is no `Decision`, two share a name, a `when` names an unknown decision or
            a value that its decision never takes, or conditions form a cycle.
    """

    def __init__(self, decisions: Sequence[Decision]) -> None:
        if not decisions:
            raise SpecError("a space needs at least one decision, got none")
        if strange := [d for d in decisions if not isinstance(d, Decision)]:
            raise SpecError(f"a space is made of Decision objects, got {strange[0]!r}")
        names = [d.name for d in decisions]
        if duplicates := sorted(
            {n for n in names if names.count(n) > 1} if _repeats(names) else ()
        ):
            raise SpecError(f"decision names must be unique; repeated: {', '.join(duplicates)}")
        position = {name: i for i, name in enumerate(names)}
        self.of = [_condition(d, decisions, position) for d in decisions]
        self.order = _parents_first(decisions, self.of)
        self.components = [
            _Component(_steps(group, decisions, self.of)) for group in self._groups()
        ]
        self.size = prod(c.size for c in self.components)

    def at(self, index: int) -> Choice:
        """Return the option positions of architecture `index` (0 <= index < size)."""
        choice: Choice = [None] * len(self.of)
        for component in reversed(self.components):
            index, rest = divmod(index, component.size)
            if component.alone is None:
                component.write(rest, choice)
            else:
                choice[component.alone] = rest
        return choice

    def _groups(self) -> list[list[int]]:
        """Return the components, each with parents first, ordered by their first decision."""
        root = list(range(len(self.of)))

        def find(i: int) -> int:
            while root[i] != i:
                root[i] = root[root[i]]
                i = root[i]
            return i

        for child, condition in enumerate(self.of):
            for parent, _ in condition.parents if condition else ():
                low, high = sorted((find(parent), find(child)))
                root[high] = low
        groups: dict[int, list[int]] = {}
        for i in self.order:
            groups.setdefault(find(i), []).append(i)
        return [groups[key] for key in sorted(groups)]


def _repeats(names: list[str]) -> bool:
    return len(set(names)) != len(names)


def _condition(
    decision: Decision, decisions: Sequence[Decision], position: dict[str, int]
) -> Condition | None:
    if not decision.when:
        return None
    parents = []
    for name, values in decision.when.items():
        if name not in position:
            raise SpecError(
                f"decision {decision.name!r}: its condition names {name!r}, which is no decision"
                f"{did_you_mean(name, position)}"
            )
        parent = decisions[position[name]]
        if not values:
            raise SpecError(
                f"decision {decision.name!r}: its condition on {name!r} must list at least one "
                "value, got none"
            )
        for value in values:
            if parent.index(value) is None and not parent.accepted(value):
                raise SpecError(
                    f"decision {decision.name!r}: its condition needs {name!r} to be {value!r}, "
                    f"which is not one of {parent.options}"
                )
        parents.append((position[name], frozenset(map(token, values))))
    return Condition(tuple(sorted(parents, key=lambda p: p[0])))


def _parents_first(decisions: Sequence[Decision], conditions: list[Condition | None]) -> list[int]:
    """Return the decisions in declared order, each as soon as all its parents are placed.

    Children follow their last parent at once (depth first): few conditions are open at a time,
    which is what keeps the counting small.
    """
    children: list[list[int]] = [[] for _ in decisions]
    missing = [0] * len(decisions)
    for i, condition in enumerate(conditions):
        for parent, _ in condition.parents if condition else ():
            children[parent].append(i)
            missing[i] += 1
    order: list[int] = []
    for first in [i for i, n in enumerate(missing) if not n]:
        stack = [first]
        while stack:
            i = stack.pop()
            order.append(i)
            for child in reversed(children[i]):
                missing[child] -= 1
                if not missing[child]:
                    stack.append(child)
    if len(order) != len(decisions):
        cycle = ", ".join(d.name for i, d in enumerate(decisions) if i not in set(order))
        raise SpecError(f"conditions must not form a cycle; these wait for each other: {cycle}")
    return order


def _steps(
    group: list[int], decisions: Sequence[Decision], conditions: list[Condition | None]
) -> list[_Step]:
    """Return the walk over one component; equal conditions share a bit."""
    bits: dict[Condition, int] = {}
    asking: dict[int, list[tuple[int, frozenset[Token]]]] = {}  # by parent: bits, values
    for i in group:
        if (condition := conditions[i]) is not None and condition not in bits:
            bits[condition] = bit = 1 << len(bits)
            for parent, values in condition.parents:
                asking.setdefault(parent, []).append((bit, values))
    steps: list[_Step] = []
    keep = 0
    for i in reversed(group):
        condition = conditions[i]
        own = bits[condition] if condition else 0
        fails = [0] * len(decisions[i].options)
        inactive = 0
        for bit, values in asking.get(i, ()):
            inactive |= bit
            for position, option in enumerate(decisions[i].options):
                if token(option) not in values:
                    fails[position] |= bit
        steps.append(_Step(i, own, fails, inactive, keep))
        keep |= own
    steps.reverse()
    return steps


def _states(steps: list[_Step]) -> list[set[int]]:
    """Return the states that can be reached before each step."""
    states = [{0}]
    for step in steps[:-1]:
        after: set[int] = set()
        for state in states[-1]:
            ways = (step.inactive,) if state & step.condition else set(step.fails)
            after |= {(state | bits) & step.keep for bits in ways}
        states.append(after)
    return states
