"""Writing down a network as parts without loading torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast, overload

from .part import Input, Part

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Module:
    """A module to be made later: its class by import path and the constructor's arguments.

    Args:
        path: `package.module:Class`; the module is imported when the part is built.
        args: Plain values; with the path they identify the module.
    """

    path: str
    args: tuple[Any, ...] = ()

    def __call__(self) -> nn.Module:
        """Return the module, freshly initialised."""
        return self.load()(*self.args)

    def load(self) -> Callable[..., nn.Module]:
        """Return the class, or the function that makes the module."""
        name, _, attribute = self.path.partition(":")
        return cast("Callable[..., nn.Module]", getattr(import_module(name), attribute))

    def key(self, shapes: tuple[tuple[int, ...], ...]) -> str:
        """Return a text that identifies the module on inputs of `shapes`."""
        if (key := self._keys.get(shapes)) is None:
            inputs = ", ".join("x".join(map(str, shape)) for shape in shapes)
            key = self._keys[shapes] = f"{self.path}({', '.join(map(repr, self.args))}) @ {inputs}"
        return key

    @cached_property
    def _keys(self) -> dict[tuple[tuple[int, ...], ...], str]:
        return {}  # a network asks the same few over and over


@lru_cache(maxsize=1 << 14)
def known_module(path: str, *args: Any) -> Module:
    """Return the same object for the same module, which has worked its keys out already."""
    return Module(path, args)


Sources: TypeAlias = tuple[tuple[int, ...], ...]
_Wire: TypeAlias = tuple[int, ...] | tuple[Sources, int]  # of a part; of a graph, and its input


@lru_cache(maxsize=1 << 14)
def _sources(wiring: tuple[_Wire, ...]) -> Sources:
    """Return what each part reads."""
    found: list[tuple[int, ...]] = []
    for wire in wiring:
        if wire and isinstance(wire[0], tuple):
            inner, source = wire
            place = [*range(len(found), len(found) + len(inner)), source]  # -1, the last: its input
            found += [tuple([place[read] for read in reads]) for reads in inner]
        else:
            found.append(wire)
    return tuple(found)


class PartGraph:
    """Collects the parts of a network in execution order and keeps track of the shapes.

    A tensor is named by the position of the part that makes it; `NETWORK_INPUT` is the input.

    Args:
        shape: Of the network's input, with batch 1.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self.keys: list[str] = []
        self.shapes: list[tuple[int, ...]] = [tuple(shape)]  # the input's, then of each part
        self._pieces: list[_Single | _Repeat] = []
        self._wiring: list[_Wire] = []  # of the pieces
        self._sources: Sources = ()

    def add(self, label: str, module: Module, *sources: int, shape: Sequence[int]) -> int:
        """Append a part that reads `sources` and makes a tensor of `shape`; return its position."""
        shapes = self.shapes
        key = module.key(tuple([shapes[source + 1] for source in sources]))
        return self.add_known(label, module, key, sources, tuple(shape))

    def add_known(
        self, label: str, module: Module, key: str, sources: tuple[int, ...], shape: tuple[int, ...]
    ) -> int:
        """Do what `add` does, with the module's key for the shapes of these sources at hand."""
        self.keys.append(key)
        self.shapes.append(shape)
        self._pieces.append(_Single(label, module))
        self._wiring.append(sources)
        return len(self.keys) - 1

    def extend(self, label: str, other: PartGraph, source: int) -> int:
        """Append the parts of another graph, whose input is `source`; return the last position.

        Args:
            label: Goes before the labels of the other graph.
            other: At least one part; it must not grow afterwards.
            source: A tensor of the shape that the other graph was begun with.
        """
        self.keys += other.keys
        self.shapes += other.shapes[1:]
        self._pieces.append(_Repeat(label, other))
        self._wiring.append((other.sources, source))
        return len(self.keys) - 1

    @property
    def sources(self) -> Sources:
        """For each part, the tensors that it reads; the same object for graphs wired alike."""
        if len(self._sources) != len(self.keys):
            self._sources = _sources(tuple(self._wiring))
        return self._sources

    @property
    def parts(self) -> Parts:
        """The parts so far."""
        return Parts(self)

    def labels(self) -> list[str]:
        """Return the label of each part."""
        return [label for label, _ in self._modules()]

    def written(self) -> list[Part]:
        """Return each part written out."""
        made = zip(self.keys, self._modules(), self.sources, strict=True)
        return [
            Part(key, label, module, tuple([Input(s, self.shapes[s + 1]) for s in sources]))
            for key, (label, module), sources in made
        ]

    def _modules(self) -> Iterator[tuple[str, Module]]:
        for piece in self._pieces:
            if isinstance(piece, _Single):
                yield piece
            else:
                for label, module in piece.graph._modules():
                    yield piece.label + label, module


class Parts(Sequence[Part]):
    """The parts of a network: their keys and sources at hand, each written out when looked at.

    Composing workloads needs no more than the former, for networks of known parts.

    Args:
        graph: It must not grow afterwards.
    """

    def __init__(self, graph: PartGraph) -> None:
        self._graph = graph
        self._written: list[Part] | None = None

    @property
    def keys(self) -> list[str]:
        """The key of each part."""
        return self._graph.keys

    @property
    def sources(self) -> Sources:
        """For each part, the positions of those that it reads; -1 is the network's input."""
        return self._graph.sources

    def labels(self) -> list[str]:
        """Return the label of each part."""
        return self._graph.labels()

    def __len__(self) -> int:
        return len(self._graph.keys)

    @overload
    def __getitem__(self, index: int) -> Part: ...
    @overload
    def __getitem__(self, index: slice) -> list[Part]: ...
    def __getitem__(self, index: int | slice) -> Part | list[Part]:
        return self._parts[index]

    def __iter__(self) -> Iterator[Part]:
        return iter(self._parts)

    @property
    def _parts(self) -> list[Part]:
        if self._written is None:
            self._written = self._graph.written()
        return self._written


class _Single(NamedTuple):
    label: str
    module: Module


class _Repeat(NamedTuple):
    label: str
    graph: PartGraph
