"""Cells: two inputs, a chain of nodes that add operations on earlier ones, a concatenation.

`Cell` holds a finished cell, `SearchCell` all of them; cutting the second down gives the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ....errors import SpecError
from ...decision import Option
from ...layers import Choice, Junction, Mutable, OneOf
from ...layers.mutable import Context
from .joint import mixture, runs_jointly
from .operations import added


class Node(nn.Module):
    """The sum of operations on earlier states of the cell.

    Args:
        edges: (position of the state, operation), in the order in which they are added.
    """

    def __init__(self, edges: Iterable[tuple[int, nn.Module]]) -> None:
        super().__init__()
        edges = list(edges)
        self.sources = [source for source, _ in edges]
        self.edges = nn.ModuleList(operation for _, operation in edges)
        self.drop_path = 0.0

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """Return the sum of tensors of one shape."""
        values = []
        for source, operation in zip(self.sources, self.edges, strict=True):
            y = operation(states[source])
            if self.drop_path and self.training and not isinstance(operation, nn.Identity):
                y = y * _survivors(y, 1 - self.drop_path)
            values.append(y)
        return added(values)


class Cell(nn.Module):
    """A finished cell.

    Args:
        preprocess0: Brings the output of the cell before the previous one to the cell's width.
        preprocess1: The same for that of the previous cell.
        nodes: Each reads the two inputs and the nodes before it.
        concat: Positions of the states (nodes from 2 on) that make the output.
    """

    def __init__(
        self,
        preprocess0: nn.Module,
        preprocess1: nn.Module,
        nodes: Iterable[nn.Module],
        concat: Sequence[int],
    ) -> None:
        super().__init__()
        self.preprocess0, self.preprocess1 = preprocess0, preprocess1
        self.nodes = nn.ModuleList(nodes)
        self.concat = list(concat)

    def forward(self, s0: Tensor, s1: Tensor) -> Tensor:
        """Return the states of `concat`, side by side."""
        states: list[Tensor] = [self.preprocess0(s0), self.preprocess1(s1)]
        for node in self.nodes:
            states.append(node(states))
        return torch.cat([states[i] for i in self.concat], dim=1)


class SearchNode(Mutable):
    """A node with every operation on every edge; the inputs that it keeps are a choice.

    An edge runs if the choice keeps it, or with the weights that a search gave it; where a search
    mixes any edge of the node, all of them run.

    Args:
        name: Of its junction.
        edges: One for each earlier state, in their order.
        inputs: The pairs of states to keep, as `0+2`; None: there is only one pair.
    """

    def __init__(self, name: str, edges: Sequence[OneOf], inputs: Choice | None) -> None:
        super().__init__()
        self.edges = nn.ModuleList(edges)
        self.junction = Junction(name, len(edges))
        self.inputs = inputs
        options = () if inputs is None else inputs.options
        pairs = {option: tuple(map(int, str(option).split("+"))) for option in options}
        self._pairs: dict[Option, tuple[int, ...]] = {None: (0, 1), **pairs}

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choice of the inputs, where there is one."""
        return () if self.inputs is None else (self.inputs,)

    @property
    def layers(self) -> list[OneOf]:
        """The edges."""
        return cast("list[OneOf]", list(self.edges))

    @property
    def mixes(self) -> bool:
        """Whether a search mixes the operations of any edge."""
        return any(edge.mode == "mix" for edge in self.layers)

    def running(self) -> list[int]:
        """Return the states whose edges run."""
        if self.mixes:
            allowed = (None,) if self.inputs is None else self.inputs.allowed
            return sorted({source for option in allowed for source in self._pairs[option]})
        return [j for j, e in enumerate(self.layers) if j in self._kept or e.mode == "gate"]

    @property
    def _kept(self) -> tuple[int, ...]:
        return self._pairs[None if self.inputs is None else self.inputs.active]

    def scale(self, source: int) -> Tensor | None:
        """Return the weight of the edge from a state; None: edges are added plainly.

        Raises:
            SpecError: If the junction's weights are not one for each edge.
        """
        weights = self.junction.weights
        if weights is not None and len(weights) != len(self.edges):
            raise SpecError(
                f"{self.junction.name}: {len(self.edges)} edges need as many weights, got "
                f"{len(weights)}"
            )
        return None if weights is None else weights[source]

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """Return the (weighted) sum of the edges that run."""
        if self.together:
            return self._together(states)
        values = []
        for j in self.running():
            y, scale = self.edges[j](states[j]), self.scale(j)
            values.append(y if scale is None else y * scale)
        return added(values)

    def _together(self, states: Sequence[Tensor]) -> Tensor:
        """Run, for each sample, the edges of its own architecture."""
        n = len(states[0])
        options = (None,) * n if self.inputs is None else self.inputs.each_option(n)
        values = []
        for j, edge in enumerate(self.edges):
            mine = torch.tensor([j in self._pairs[o] for o in options], device=states[0].device)
            values.append(edge(states[j]) * mine.view(n, 1, 1, 1))
        return added(values)

    def branches(self) -> Iterator[tuple[nn.Module, Context]]:
        """Yield the edges with the options that keep them."""
        yield self.junction, {}
        for j, edge in enumerate(self.edges):
            if self.inputs is None:
                yield edge, {}
            else:
                keep = tuple(o for o in self.inputs.options if j in self._pairs[o])
                yield edge, {self.inputs: keep}

    def cut(self, inherit: bool) -> nn.Module:
        """Return the node with the edges that the choice keeps."""
        return Node((j, self.edges[j]) for j in self._kept)


class SearchCell(Mutable):
    """All cells in one.

    Args:
        form: The choice that says that a cell has the searched form: two inputs for each node.
        preprocess0: As in `Cell`.
        preprocess1: As in `Cell`.
        nodes: As in `Cell`.
        concat: As in `Cell`.
    """

    def __init__(
        self,
        form: Choice,
        preprocess0: nn.Module,
        preprocess1: nn.Module,
        nodes: Sequence[SearchNode],
        concat: Sequence[int],
    ) -> None:
        super().__init__()
        self.form = form
        self.preprocess0, self.preprocess1 = preprocess0, preprocess1
        self.nodes = nn.ModuleList(nodes)
        self.concat = list(concat)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The form of the cell."""
        return (self.form,)

    def forward(self, s0: Tensor, s1: Tensor) -> Tensor:
        """Return the states of `concat`, side by side.

        Raises:
            SpecError: In train mode when each sample runs a network of its own: their statistics
                would mix.
        """
        if self.together and self.training:
            raise SpecError(
                "batch norm mixes the samples of a batch, so that cells cannot be trained together "
                "in one batch; activate one architecture at a time"
            )
        states: list[Tensor] = [self.preprocess0(s0), self.preprocess1(s1)]
        nodes = cast("list[SearchNode]", list(self.nodes))
        mixes = not self.together and any(node.mixes for node in nodes)
        if mixes and s0.device.type == "cpu":  # where it makes convolutions faster
            states = [x.contiguous(memory_format=torch.channels_last) for x in states]
        if mixes and runs_jointly(nodes, states[0]):
            states = mixture(nodes, states)
        else:
            for node in nodes:
                states.append(node(states))
        return torch.cat([states[i] for i in self.concat], dim=1)

    def cut(self, inherit: bool) -> nn.Module:
        """Return the finished cell."""
        return Cell(self.preprocess0, self.preprocess1, self.nodes, self.concat)


def _survivors(y: Tensor, keep: float) -> Tensor:
    """Return 1 / keep for the samples that survive, 0 for the others: (N, 1, 1, 1)."""
    return y.new_empty(len(y), 1, 1, 1).bernoulli_(keep).div_(keep)
