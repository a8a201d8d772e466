"""Finished cells, as the literature writes them: two (operation, input) pairs for each node."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from ....errors import InvalidArchitecture, did_you_mean
from ...networks.darts.plan import KINDS
from .operations import FINISHED, NONE

Pair: TypeAlias = "tuple[str, int]"
_LONGEST = 1000  # list that `range` may stand for
KEYS = tuple(key for kind in KINDS for key in (kind, f"{kind}_concat"))


@dataclass(frozen=True)
class Cell:
    """A finished cell.

    Args:
        nodes: For each node, from 2 on, what it adds up: (operation, state), by state.
        concat: The nodes that are put out.
    """

    nodes: tuple[tuple[Pair, ...], ...]
    concat: tuple[int, ...]

    def to_json(self) -> str:
        """Return the one text that `from_json` reads back."""
        return json.dumps({"nodes": self.nodes, "concat": self.concat}, separators=(",", ":"))

    @classmethod
    @lru_cache(maxsize=256)
    def from_json(cls, text: str) -> Cell:
        """Return the cell that `to_json` wrote.

        Raises:
            InvalidArchitecture: If it is none, or not in the canonical order.
        """
        try:
            value = json.loads(text)
            pairs = [pair for node in value["nodes"] for pair in node]
            cell = read_cell("cell", pairs, value["concat"])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise InvalidArchitecture(f"no cell: {text!r}") from error
        if cell.to_json() != text:
            raise InvalidArchitecture(f"a cell has one text, {cell.to_json()}; got {text}")
        return cell

    def canonical(self) -> str:
        """Return a text that cells share which differ in the order of their nodes only.

        Of all orders in which no node comes before one that it reads, that whose list of nodes
        is the first in the alphabet.
        """
        return min(self._orders({0: 0, 1: 1}))

    def _orders(self, place: dict[int, int]) -> Iterator[str]:
        """Yield what may follow once the states of `place` have their new numbers."""
        found: dict[str, dict[tuple[Pair, ...], int]] = {}
        for number, node in enumerate(self.nodes, start=2):
            if number not in place and all(source in place for _, source in node):
                pairs = sorted((place[source], name) for name, source in node)
                key = f"{pairs}{'!' if number in self.concat else ''};"
                found.setdefault(key, {})[self._readers(number)] = number  # twins: one is enough
        if not found:
            yield ""
            return
        first = min(found)
        for number in found[first].values():
            for rest in self._orders({**place, number: len(place)}):
                yield first + rest

    def _readers(self, state: int) -> tuple[Pair, ...]:
        """Return (operation, node) of what reads a state."""
        nodes = enumerate(self.nodes, start=2)
        return tuple((name, n) for n, node in nodes for name, source in node if source == state)


def read_genotype(space: str, value: Mapping[str, Any]) -> dict[str, Cell]:
    """Return the cells of a genotype by kind.

    Raises:
        InvalidArchitecture: If a key is missing or unknown, or a cell breaks a rule.
    """
    for key in value:
        if key not in KEYS:
            raise InvalidArchitecture(
                f"{space}: a genotype has no key {key!r}{did_you_mean(str(key), KEYS)}"
            )
    if missing := [key for key in KEYS if key not in value]:
        raise InvalidArchitecture(
            f"{space}: a genotype needs {', '.join(KEYS)}; missing: {', '.join(missing)}"
        )
    return {
        kind: read_cell(f"{space}: {kind}", value[kind], value[f"{kind}_concat"]) for kind in KINDS
    }


def read_cell(where: str, pairs: Any, concat: Any) -> Cell:
    """Return the cell of (operation, input) pairs, two for each node, and a list of nodes.

    Raises:
        InvalidArchitecture: If one is not, or an input is no earlier state.
    """
    if not _is_list(pairs) or len(pairs) % 2 or not pairs:
        count = f" of {len(pairs)}" if _is_list(pairs) else ""
        raise InvalidArchitecture(
            f"{where} must list two [operation, input] pairs for each node; got {pairs!r}{count}"
        )
    read = [_pair(f"{where}, node {2 + i // 2}", pair, 2 + i // 2) for i, pair in enumerate(pairs)]
    nodes = [sorted(read[i : i + 2], key=_place) for i in range(0, len(read), 2)]
    outputs = range(2, 2 + len(nodes))
    numbers = [_number(n) for n in concat] if _is_list(concat) else []
    if not numbers or len(set(numbers)) < len(numbers) or any(n not in outputs for n in numbers):
        raise InvalidArchitecture(
            f"{where}_concat must list nodes of the cell, {outputs[0]} to {outputs[-1]}, each at "
            f"most once; got {concat!r}"
        )
    return Cell(tuple(map(tuple, nodes)), tuple(int(n) for n in numbers))


def _pair(where: str, pair: Any, states: int) -> Pair:
    if not _is_list(pair) or len(pair) != 2:
        raise InvalidArchitecture(f"{where} must list [operation, input] pairs, got {pair!r}")
    name, source = pair[0], _number(pair[1])
    if name == NONE:
        raise InvalidArchitecture(
            f"{where}: none is an operation of search networks, a finished cell keeps two inputs "
            f"with another one; got {list(pair)}"
        )
    if name not in FINISHED:
        hint = did_you_mean(name, FINISHED) if isinstance(name, str) else ""
        raise InvalidArchitecture(f"{where}: unknown operation {name!r}{hint}")
    if source not in range(states):
        raise InvalidArchitecture(
            f"{where} reads the states 0 to {states - 1} (the two inputs of the cell and the nodes "
            f"before); got {pair[1]!r}"
        )
    return name, int(source)


def _place(pair: Pair) -> tuple[int, int]:
    return pair[1], FINISHED.index(pair[0])


def _number(value: Any) -> Any:
    """Return a whole number as such (4.0 is 4); what is none stays for the message."""
    if isinstance(value, bool):
        return None
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def write_genotype(cells: Mapping[str, Cell]) -> str:
    """Return the JSON text of a genotype."""
    value: dict[str, Any] = {}
    for kind in KINDS:
        value[kind] = [pair for node in cells[kind].nodes for pair in node]
        value[f"{kind}_concat"] = cells[kind].concat
    return json.dumps(value)


def read_python(text: str) -> dict[str, Any] | None:
    """Return the arguments of `Genotype(normal=[...], normal_concat=range(2, 6), ...)`.

    So do the repositories write it; nothing is run. None: it is no such text.
    """
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            return None
        return {str(k.arg): _literal(k.value) for k in call.keywords}
    except (SyntaxError, TypeError, ValueError, OverflowError, RecursionError, MemoryError):
        return None


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
        numbers = range(*map(ast.literal_eval, node.args))
        if len(numbers) > _LONGEST:
            raise ValueError("no cell has that many nodes")
        return list(numbers)
    return ast.literal_eval(node)
