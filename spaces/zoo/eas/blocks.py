"""Spaces of blocks of layers, with a limit to the entries of a network in all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from random import Random
from typing import Any, NamedTuple, cast

from ....errors import InvalidArchitecture, SpecError
from ...decision import Architecture, Decision, Option
from ...restricted import RestrictedSpace, left
from ...space import DecisionSpace, Space


class _Block(NamedTuple):
    """A block: how deep it may be, and what is decided at each depth."""

    decision: Decision
    layers: dict[int, tuple[Decision, ...]]
    ways: dict[int, int]  # of its layers, by depth

    @property
    def name(self) -> str:
        return self.decision.name

    @property
    def least(self) -> int:
        return min(self.layers)


class Blocks(DecisionSpace):
    """A number of blocks, a depth for each, options for each layer; bounded in all.

    The first decision is the number of blocks. A decision `....depth` is a block's depth, perhaps
    under conditions on that number; every other decision belongs to a layer and is conditional on
    one depth alone. A network has an entry for each layer and for what stands between blocks.

    Args:
        decisions: Number of blocks; then depth and layers of each block.
        limit: The most entries that a network has.
        between: Entries that are no layers, less the number of blocks.

    Raises:
        SpecError: If no network keeps to the limit.
    """

    _contract = True

    def __init__(self, decisions: Sequence[Decision], limit: int, between: int) -> None:
        self._limit, self._between = limit, between
        DecisionSpace.__init__(self, decisions)
        self.rule = f"at most {limit} entries in all (max_layers)"
        if not self.size:
            raise SpecError(
                f"{self.name}: no network has {self.rule}: the fewest have "
                f"{min(self._fewest(count) for count in self._numbers)}; raise max_layers"
            )

    # ---------------------------------------------------------------- counting
    @property
    def size(self) -> int:
        """The number of networks that keep to the limit, exact."""
        return sum(self._ways[count][0][self._room(count)] for count in self._possible)

    @cached_property
    def _numbers(self) -> tuple[int, ...]:
        """The numbers of blocks."""
        return cast("tuple[int, ...]", self.decisions[0].options)

    @cached_property
    def _possible(self) -> tuple[int, ...]:
        return tuple(count for count in self._numbers if self._fewest(count) <= self._limit)

    def _fewest(self, count: int) -> int:
        return self._limit - self._room(count) + sum(b.least for b in self._blocks(count))

    def _room(self, count: int) -> int:
        """Return how many layers may stand in so many blocks."""
        return self._limit - count - self._between

    @cached_property
    def _depths(self) -> list[_Block]:
        children: dict[str, list[Decision]] = {}
        for decision in self.decisions:
            for parent in decision.when or ():
                children.setdefault(parent, []).append(decision)
        found = []
        for decision in self.decisions:
            if decision.name.endswith(".depth"):
                own = children.get(decision.name, [])
                layers = {cast("int", o): _active(own, decision.name, o) for o in decision.options}
                ways = {o: prod(len(d.options) for d in active) for o, active in layers.items()}
                found.append(_Block(decision, layers, ways))
        return found

    def _blocks(self, count: int) -> list[_Block]:
        """Return the blocks of networks with so many."""
        if (found := self._known.get(count)) is None:
            number = self.decisions[0].name
            found = self._known[count] = [
                block
                for block in self._depths
                if block.decision.when is None or count in block.decision.when[number]
            ]
        return found

    @cached_property
    def _known(self) -> dict[int, list[_Block]]:
        return {}

    @cached_property
    def _ways(self) -> dict[int, list[list[int]]]:
        """By number of blocks: the ways to finish, before each block, by the room left."""
        return {count: self._finish(count) for count in self._possible}

    def _finish(self, count: int) -> list[list[int]]:
        room = self._room(count)
        tables = [[1] * (room + 1)]
        for block in reversed(self._blocks(count)):
            after = tables[-1]
            tables.append(
                [
                    sum(n * after[left - depth] for depth, n in block.ways.items() if depth <= left)
                    for left in range(room + 1)
                ]
            )
        return tables[::-1]

    # ---------------------------------------------------------------- architectures
    def architecture(self, mapping: Mapping[str, Any]) -> Architecture:
        """Return the architecture that `mapping` (decision name -> value) describes.

        Raises:
            InvalidArchitecture: As any space; or if it has more entries than the limit.
        """
        checked = super().architecture(mapping)
        count = self._count_of(checked)
        entries = count + self._between + sum(self._depths_of(checked).values())
        if entries > self._limit:
            raise InvalidArchitecture(
                f"{self.name}: a network has {self.rule}, with what stands between its blocks; "
                f"this has {entries}; take layers away, or raise max_layers"
            )
        return checked

    def nearest(self, mapping: Mapping[str, Any]) -> Architecture:
        """Return a network that keeps to the limit, with as few depths changed as possible."""
        wanted = super().architecture(mapping)
        count, depths = self._count_of(wanted), self._depths_of(wanted)
        excess = sum(depths.values()) - self._room(count)
        cuts = sorted(self._blocks(count), key=lambda b: b.least - depths[b.name])
        for block in cuts:
            if excess <= 0:
                break
            depth = depths[block.name]
            fitting = [o for o in block.layers if o <= depth - excess] or [block.least]
            depths[block.name] = max(fitting)
            excess -= depth - depths[block.name]
        return self._complete({**wanted, **depths}, None)

    def at(self, index: int) -> Architecture:
        """Return network number `index`, 0 <= index < size, in the order of `enumerate`.

        Raises:
            IndexError: If there is no such number.
        """
        if not 0 <= index < self.size:
            raise IndexError(f"{self.name} numbers its architectures 0..{self.size - 1}")
        for count in self._possible:
            room, tables = self._room(count), self._ways[count]
            if index < tables[0][room]:
                break
            index -= tables[0][room]
        chosen: dict[str, Option] = {self.decisions[0].name: count}
        for block, after in zip(self._blocks(count), tables[1:], strict=True):
            for depth, ways in block.ways.items():
                rest = after[room - depth] if depth <= room else 0
                if index < ways * rest:
                    break
                index -= ways * rest
            room -= depth
            own, index = divmod(index, rest)
            chosen[block.name] = depth
            chosen |= _numbered(block.layers[depth], own)
        return Architecture(chosen)

    def neighbors(self, architecture: Architecture) -> list[Architecture]:
        """Return the networks that differ in one decision; new layers take first options."""
        return [
            self._complete({**architecture, decision.name: option}, None)
            for decision in self._active_in(architecture)
            for option in self._others(decision, architecture)
        ]

    def mutate(self, architecture: Architecture, rng: Random) -> Architecture:
        """Return a copy with one decision changed within the limit; never an equal one.

        An ordered decision goes to an adjacent option half of the time, where that fits. New
        layers are drawn uniformly, behind those of their block.

        Raises:
            SpecError: If there is no other network.
        """
        active = self._active_in(architecture)
        while active:
            place = rng.randrange(len(active))
            decision = active[place]
            if others := self._others(decision, architecture):
                if decision.ordered and len(others) > 1 and rng.random() < 0.5:
                    others = _adjacent(decision, architecture[decision.name], others) or others
                option = others[rng.randrange(len(others))]
                return self._complete({**architecture, decision.name: option}, rng)
            del active[place]  # drawn again, uniformly from those that can change
        if self.size == 1:
            raise SpecError(f"{self.name}: nothing can change, there is one network")
        while (other := self.sample(rng)) == architecture:
            pass
        return other

    def crossover(self, first: Architecture, second: Architecture, rng: Random) -> Architecture:
        """Return a network that takes each decision from either parent with equal chance.

        Where only one of two depths leaves room for the blocks behind, it is taken.
        """
        parents, mixed = (first, second), dict[str, Option]()
        count = self._count_of(parents[rng.randrange(2)])
        blocks = self._blocks(count)
        given = [[cast("int", p[b.name]) for p in parents if b.name in p] for b in blocks]
        room = self._room(count) - sum(map(min, given))
        for block, depths in zip(blocks, given, strict=True):
            room += min(depths)
            fitting = [depth for depth in depths if depth <= room]
            mixed[block.name] = depth = fitting[rng.randrange(len(fitting))]
            room -= depth
            for decision in self._layers(block, depth):
                options = [p[decision.name] for p in parents if decision.name in p]
                mixed[decision.name] = options[rng.randrange(len(options))]
        return self._complete({self.decisions[0].name: count, **mixed}, rng)

    # ---------------------------------------------------------------- inside
    def _count_of(self, architecture: Mapping[str, Any]) -> int:
        return cast("int", architecture[self.decisions[0].name])

    def _depths_of(self, architecture: Mapping[str, Any]) -> dict[str, int]:
        """Return the depth of each block that there is."""
        blocks = self._blocks(self._count_of(architecture))
        return {block.name: architecture[block.name] for block in blocks}

    def _layers(self, block: _Block, depth: int) -> tuple[Decision, ...]:
        """Return the decisions of a block's layers, also at depths beyond the options."""
        if (found := block.layers.get(depth)) is None:
            found = _active(self.decisions, block.name, depth)
        return found

    def _active_in(self, architecture: Architecture) -> list[Decision]:
        """Return the decisions that a network takes, in their order."""
        found = [self.decisions[0]]
        for block in self._blocks(self._count_of(architecture)):
            found.append(block.decision)
            found += self._layers(block, cast("int", architecture[block.name]))
        return found

    def _others(self, decision: Decision, architecture: Architecture) -> list[Any]:
        """Return to what a decision can change alone."""
        value: Any = architecture[decision.name]
        others: list[Any] = [option for option in decision.options if option != value]
        if decision is self.decisions[0]:
            depths = self._depths_of(architecture)
            return [n for n in others if n in self._possible and self._fits(n, depths)]
        if decision.name.endswith(".depth"):
            room = self._room(self._count_of(architecture))
            spare = room - sum(self._depths_of(architecture).values())
            return [depth for depth in others if depth <= value + spare]
        return others

    def _fits(self, count: int, depths: Mapping[str, int]) -> bool:
        """Return whether blocks of these depths leave room for so many."""
        least = sum(depths.get(block.name, block.least) for block in self._blocks(count))
        return least <= self._room(count)

    def _complete(self, mapping: Mapping[str, Any], rng: Random | None) -> Architecture:
        """Return `mapping` without what is inactive and with the rest drawn (or first options).

        Depths are drawn, block by block, from those that leave room for the blocks behind.
        """

        def pick(decision: Decision, options: Sequence[Any]) -> Any:
            if decision.name in mapping:
                return mapping[decision.name]
            return options[rng.randrange(len(options))] if rng else options[0]

        number = self.decisions[0]
        chosen: dict[str, Option] = {number.name: (count := pick(number, self._possible))}
        blocks = self._blocks(count)
        room = self._room(count) - sum(mapping.get(b.name, b.least) for b in blocks)
        for block in blocks:
            top = room + mapping.get(block.name, block.least)
            depth = pick(block.decision, [o for o in block.layers if o <= top])
            room = top - depth
            chosen[block.name] = depth
            for decision in self._layers(block, depth):
                chosen[decision.name] = pick(decision, decision.options)
        return Architecture(chosen)


class BlocksSpace(Blocks, Space):
    """A space of networks whose decisions are blocks of layers."""

    _contract = True


class RestrictedBlocks(Blocks, RestrictedSpace):
    """The networks of a space of blocks that a mask admits.

    Args:
        space: The whole.
        masks: Decision name -> the options that are left.

    Raises:
        SpecError: As `RestrictedSpace`; or if the mask leaves no network within the limit.
    """

    _contract = True

    def __init__(self, space: Blocks, masks: Mapping[str, Iterable[Any]]) -> None:
        self.whole: DecisionSpace = space
        self.name = space.name
        Blocks.__init__(self, left(space, masks), space._limit, space._between)


Blocks.part = RestrictedBlocks


def depth_of(
    block: str, options: Sequence[int], when: Mapping[str, tuple[Option, ...]] | None, least: int
) -> Decision:
    """Return the decision of a block's depth; `parse` reads depths from `least` on."""
    accepts = Between(least, max(options))
    return Decision(f"{block}.depth", tuple(options), ordered=True, when=when, accepts=accepts)


def layer_of(
    block: str, layer: int, deepest: int, name: str, options: Sequence[int], accepts: Any
) -> Decision:
    """Return a decision of a layer, the number of which counts from 1."""
    when = {f"{block}.depth": tuple(range(layer, deepest + 1))}
    full = f"{block}.layer{layer}.{name}"
    return Decision(full, tuple(options), ordered=True, when=when, accepts=accepts)


@dataclass(frozen=True)
class Between:
    """The rule for whole numbers of a range."""

    least: int
    most: int

    def __call__(self, value: Any) -> bool:
        """Return whether `value` is one."""
        whole = not isinstance(value, bool) and value == int(value)
        return whole and self.least <= value <= self.most


@dataclass(frozen=True)
class Odd:
    """The rule for odd numbers up to a largest one."""

    most: int

    def __call__(self, value: Any) -> bool:
        """Return whether `value` is one."""
        return Between(1, self.most)(value) and value % 2 == 1


def _active(decisions: Iterable[Decision], depth: str, value: Option) -> tuple[Decision, ...]:
    return tuple(d for d in decisions if d.when and value in d.when.get(depth, ()))


def _numbered(decisions: Sequence[Decision], number: int) -> dict[str, Option]:
    """Return combination `number` of the options; the last decision changes first."""
    picked: list[Option] = []
    for decision in reversed(decisions):
        number, position = divmod(number, len(decision.options))
        picked.append(decision.options[position])
    return {d.name: option for d, option in zip(decisions, reversed(picked), strict=True)}


def _adjacent(decision: Decision, value: Option, others: Sequence[Any]) -> list[Any]:
    """Return those of `others` next to `value` in the list of options."""
    if (place := decision.index(value)) is None:
        return []
    near = decision.options[max(0, place - 1) : place + 2]
    return [option for option in others if option in near]
