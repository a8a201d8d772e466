"""The decisions of one kind of cell: which two states each node reads, and by which operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ....errors import InvalidArchitecture
from ...decision import Decision
from ...networks.darts.plan import SEARCHED, edge_name, node_name, pairs
from .genotype import Cell
from .operations import Edges


class Form:
    """Cells of the searched form; other cells are one decision, their text.

    Args:
        kind: `normal` or `reduce`.
        operations: Of each edge of a finished cell.
        concat: The nodes that are put out.
    """

    searched = SEARCHED

    def __init__(self, kind: str, operations: Edges, concat: Sequence[int]) -> None:
        self.kind, self.operations, self.concat = kind, operations, tuple(concat)
        self.name = f"{kind}.cell"
        self._nodes = range(2, 2 + len(operations))

    def decisions(self) -> list[Decision]:
        """Return the decisions: the form; for each node its inputs; for each edge its operation."""
        searched = {self.name: (SEARCHED,)}
        found = [Decision(self.name, (SEARCHED,), accepts=OtherCell(self))]
        for node in self._nodes:
            options, inputs = pairs(node), self._inputs(node)
            if len(options) > 1:
                found.append(Decision(inputs, options, when=searched))
            for source, names in enumerate(self.operations[node - 2]):
                keep = tuple(o for o in options if str(source) in o.split("+"))
                when = {inputs: keep} if len(options) > 1 else searched
                found.append(Decision(self.edge(node, source), names, when=when))
        return found

    def edge(self, node: int, source: int) -> str:
        """Return the name of the decision of an edge."""
        return edge_name(self.kind, node, source)

    def edges(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the edges into each node, by the name of the node."""
        return {
            node_name(self.kind, node): tuple(self.edge(node, source) for source in range(node))
            for node in self._nodes
        }

    # ---------------------------------------------------------------- cells
    def holds(self, cell: Cell) -> bool:
        """Return whether the decisions can write a cell."""
        if cell.concat != self.concat or len(cell.nodes) != len(self.operations):
            return False
        return all(
            len({source for _, source in node}) == 2
            and all(name in operations[source] for name, source in node)
            for node, operations in zip(cell.nodes, self.operations, strict=True)
        )

    def write(self, cell: Cell) -> dict[str, Any]:
        """Return the decisions of a cell."""
        if not self.holds(cell):
            return {self.name: cell.to_json()}
        chosen: dict[str, Any] = {self.name: SEARCHED}
        for node, pair in enumerate(cell.nodes, start=2):
            if node > 2:
                chosen[self._inputs(node)] = "+".join(str(source) for _, source in pair)
            chosen |= {self.edge(node, source): name for name, source in pair}
        return chosen

    def read(self, chosen: Mapping[str, Any]) -> Cell:
        """Return the cell that decisions write."""
        if chosen[self.name] != SEARCHED:
            return Cell.from_json(chosen[self.name])
        nodes = []
        for node in self._nodes:
            kept = [0, 1] if node == 2 else map(int, chosen[self._inputs(node)].split("+"))
            nodes.append(tuple((chosen[self.edge(node, source)], source) for source in kept))
        return Cell(tuple(nodes), self.concat)

    def _inputs(self, node: int) -> str:
        return f"{node_name(self.kind, node)}.inputs"


class OtherCell:
    """The rule for the texts of cells that the decisions cannot write."""

    def __init__(self, form: Form) -> None:
        self._form = form

    def __call__(self, value: Any) -> bool:
        """Return whether `value` is such a text, in the canonical order."""
        if not isinstance(value, str):
            return False
        try:
            return not self._form.holds(Cell.from_json(value))
        except InvalidArchitecture:
            return False
