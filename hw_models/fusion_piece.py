"""The kernels of one piece of a network, given those that wrote its inputs; see `fusion`."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from .fusion_rules import SAME_SIZE, Rules, State
from .graph import depends_on, in_place, reaches_output, values
from .workload import Layer, Workload


class Kernel:
    """Layers that run as one; intermediate results between them move no bytes.

    The same piece of a network gives the same object every time, so that costs can be remembered
    by it.

    Args:
        layers: In execution order, with the names that they have in their pieces.
        read_bytes: Of the tensors read from outside, without weights; read twice counts twice.
        write_bytes: Of the tensors that leave.
    """

    __slots__ = ("__weakref__", "layers", "macs", "read_bytes", "weight_bytes", "write_bytes")

    def __init__(self, layers: tuple[Layer, ...], read_bytes: int, write_bytes: int) -> None:
        self.layers, self.read_bytes, self.write_bytes = layers, read_bytes, write_bytes
        self.macs = sum([layer.macs for layer in layers])
        self.weight_bytes = sum([layer.weight_bytes for layer in layers])

    @property
    def signature(self) -> tuple[Any, ...]:
        """Everything but names: kernels of equal signature cost the same anywhere."""
        return (self.read_bytes, self.write_bytes, *[x.signature for x in self.layers])


class Given(NamedTuple):
    """The kernel that wrote an input of a piece, as far as a layer of the piece may join it.

    Args:
        state: What it is; empty: it takes up nothing, or somebody else reads what it wrote.
        size: Elements that it wrote.
        order: Written later is larger; equal for two names of one value.
    """

    state: State
    size: int
    order: int


CLOSED = Given("", 0, 0)


class Use(NamedTuple):
    """What a piece, whose output is needed, does with its inputs.

    Args:
        runs: Which of its layers are neither removed nor computed once.
        varies: Whether its output depends on the network's input.
        readers: For each input, the layers that read it.
        needed: For each input, whether it is needed at all.
        alias: The input of which the output is a view, if it is one.
        inner: Number of the layers inside the piece that read its output.
    """

    runs: tuple[bool, ...]
    varies: bool
    readers: tuple[frozenset[int], ...]
    needed: tuple[bool, ...]
    alias: int | None
    inner: int


class Group(NamedTuple):
    """Layers of one piece in one kernel.

    Args:
        joins: The input whose kernel they continue; None: they start one.
        layers: Their numbers in the piece.
        state: What the kernel is after them.
        writes_output: Whether their last one writes the output of the piece.
        kernel: The layers as a kernel.
        outside: The names of what the kernel that they continue wrote.
    """

    joins: int | None
    layers: tuple[int, ...]
    state: State
    writes_output: bool
    kernel: Kernel
    outside: frozenset[int]


class Piece:
    """A workload as a piece of a network that a runtime fuses; remembers what it worked out.

    Args:
        workload: With one output where it is one of several pieces.
        rules: Those of the runtime.
    """

    def __init__(self, workload: Workload, rules: Rules) -> None:
        self.rules = rules
        self.layers, self.tensors = workload.layers, workload.tensors
        self._inputs, self._outputs = workload.inputs, workload.outputs
        self._value = values(self.layers, self.tensors)
        self._results = {self._value[i] for i in self._outputs}
        self._position: dict[int, int] = {}
        for position, index in enumerate(self._inputs):
            self._position.setdefault(index, position)
        self._uses: dict[tuple[bool, ...], Use] = {}
        self._walks: dict[Any, tuple[Group, ...]] = {}
        self._kernels: dict[Any, Kernel] = {}

    @cached_property
    def writes_inputs(self) -> bool:
        """Whether a layer writes into the memory of an input, which others may read."""
        given = {self.tensors[i].storage for i in self._inputs}
        return any(
            in_place(layer, self.tensors)
            and not given.isdisjoint([self.tensors[i].storage for i in layer.outputs])
            for layer in self.layers
        )

    @cached_property
    def output_size(self) -> int:
        """Elements of the value that the output is, or is a view of."""
        return math.prod(self.tensors[self._value[self._outputs[0]]].shape)

    # ---------------------------------------------------------------- what it needs
    def use(self, varies: tuple[bool, ...]) -> Use:
        """Return what it does with its inputs; `varies`: which depend on the network's."""
        known = self._uses.get(varies)
        if known is None:
            known = self._uses[varies] = self._use(varies)
        return known

    def _use(self, varies: tuple[bool, ...]) -> Use:
        runs = reaches_output(self.layers, self.tensors, self._outputs)
        given = [i for i, v in zip(self._inputs, varies, strict=True) if v]
        depends = depends_on(self.layers, self.tensors, given)
        if self.rules.folds:
            runs = tuple([r and d for r, d in zip(runs, depends, strict=True)])
        readers: dict[int, set[int]] = {i: set() for i in (*self._inputs, *self._results)}
        for number, layer in enumerate(self.layers):
            if runs[number] and not layer.view:
                for index in layer.inputs:
                    if (value := self._value[index]) in readers:
                        readers[value].add(number)
        output = self._value[self._outputs[0]]
        made = self.tensors[output].producer
        return Use(
            runs=runs,
            varies=output in given if made is None else depends[made],
            readers=tuple([frozenset(readers[i]) for i in self._inputs]),
            needed=tuple([bool(readers[i]) or i == output for i in self._inputs]),
            alias=self._position.get(output),
            inner=len(readers[output]),
        )

    # ---------------------------------------------------------------- what runs as one
    def walk(self, use: Use, given: tuple[Given, ...]) -> tuple[Group, ...]:
        """Return its groups, given the kernels that wrote its inputs."""
        key = (use.runs, given)
        known = self._walks.get(key)
        if known is None:
            known = self._walks[key] = self._walk(use.runs, given)
        return known

    def _walk(self, runs: Sequence[bool], given: Sequence[Given]) -> tuple[Group, ...]:
        lone = self._read_once(runs)
        ends: dict[int, _End] = {}
        for index, position in self._position.items():
            if given[position].state:
                ends[index] = _End(-1 - position, *given[position])
                lone.add(index)
        found: list[_Open] = []
        for number, layer in enumerate(self.layers):
            if layer.view or not runs[number]:
                continue
            group, state = self._taken(layer, lone, ends)
            if group is None or group < 0:
                found.append(_Open(None if group is None else -1 - group))
                group = len(found) - 1
            if len(layer.outputs) == 1:
                size = math.prod(layer.output_shapes[0])
                ends[layer.outputs[0]] = _End(group, state, size, len(given) + number)
            else:
                state = ""
            found[group].add(number, state)
        return tuple([self._group(x, given) for x in found])

    def _read_once(self, runs: Sequence[bool]) -> set[int]:
        """Return the values that one layer reads and nobody outside."""
        count = dict.fromkeys(self._results, 2)
        for number, layer in enumerate(self.layers):
            if runs[number] and not layer.view:
                for value in {self._value[i] for i in layer.inputs}:
                    count[value] = count.get(value, 0) + 1
        return {value for value, readers in count.items() if readers == 1}

    def _taken(
        self, layer: Layer, lone: Collection[int], ends: dict[int, _End]
    ) -> tuple[int | None, State]:
        """Return which kernel takes up a layer and what it becomes; None: the layer starts one."""
        chosen: int | None = None
        state, latest = self.rules.start(layer), -1
        size = math.prod(layer.output_shapes[0]) if layer.output_shapes else 0
        for index in layer.inputs:
            value = self._value[index]
            end = ends.get(value)
            if end is None or value not in lone or end.order <= latest or not end.state:
                continue
            if layer.kind in SAME_SIZE and end.size != size:
                continue
            taken = self.rules.takes(end.state, layer)
            if taken is not None:
                chosen, state, latest = end.group, taken, end.order
        return chosen, state

    def _group(self, found: _Open, given: Sequence[Given]) -> Group:
        outside: frozenset[int] = frozenset()
        if found.joins is not None:  # other inputs may be names of the same value
            order = given[found.joins].order
            outside = frozenset(
                [i for i, p in self._position.items() if given[p].state and given[p].order == order]
            )
        layers = tuple(found.layers)
        written = self.layers[layers[-1]].outputs
        return Group(
            joins=found.joins,
            layers=layers,
            state=found.state,
            writes_output=self._value[self._outputs[0]] in written,
            kernel=self._kernel(layers, outside),
            outside=outside,
        )

    # ---------------------------------------------------------------- kernels
    def _kernel(self, numbers: tuple[int, ...], outside: frozenset[int]) -> Kernel:
        known = self._kernels.get((numbers, outside))
        if known is None:
            known = self._kernels[numbers, outside] = self._new_kernel(numbers, outside)
        return known

    def _new_kernel(self, numbers: tuple[int, ...], outside: frozenset[int]) -> Kernel:
        inside, read = set(outside), 0
        for number in numbers:
            layer = self.layers[number]
            read += sum(
                [self.tensors[i].size_bytes for i in layer.inputs if self._value[i] not in inside]
            )
            inside.update(layer.outputs)
        layers = tuple([self.layers[number] for number in numbers])
        return Kernel(layers, read, layers[-1].output_bytes)

    def parted(self, group: Group, position: int) -> tuple[Group | None, Group]:
        """Return a group in two, the second beginning with its layer at `position`."""
        first, second = group.layers[:position], group.layers[position:]
        rest = Group(None, second, "chain", group.writes_output, self._kernel(second, _NONE), _NONE)
        if not first:
            return None, rest
        kernel = self._kernel(first, group.outside)
        return Group(group.joins, first, "scores", False, kernel, group.outside), rest

    def joined(self, parts: tuple[Kernel, ...]) -> Kernel:
        """Return one kernel of those of several pieces, of which this has the first."""
        known = self._kernels.get(parts)
        if known is None:
            layers = tuple([layer for part in parts for layer in part.layers])
            read = sum([part.read_bytes for part in parts])
            known = self._kernels[parts] = Kernel(layers, read, parts[-1].write_bytes)
        return known


_NONE: frozenset[int] = frozenset()


class _End(NamedTuple):
    """The kernel that wrote a value: its number, what it is, and as in `Given`."""

    group: int
    state: State
    size: int
    order: int


class _Open:
    """A group while it grows."""

    def __init__(self, joins: int | None) -> None:
        self.joins = joins
        self.layers: list[int] = []
        self.state: State = ""

    def add(self, number: int, state: State) -> None:
        self.layers.append(number)
        self.state = state
