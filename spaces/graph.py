"""Writing down a network as parts without loading torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from .part import NETWORK_INPUT, Input, Part

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
        name, _, attribute = self.path.partition(":")
        return cast("nn.Module", getattr(import_module(name), attribute)(*self.args))

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


class PartGraph:
    """Collects the parts of a network in execution order and keeps track of the shapes.

    A tensor is named by the position of the part that makes it; `NETWORK_INPUT` is the input.

    Args:
        shape: Of the network's input, with batch 1.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self.parts: list[Part] = []
        self._inputs = [Input(NETWORK_INPUT, tuple(shape))]  # each tensor as an input of others

    def add(self, label: str, module: Module, *sources: int, shape: Sequence[int]) -> int:
        """Append a part that reads `sources` and makes a tensor of `shape`; return its position."""
        known, position = self._inputs, len(self.parts)
        inputs = tuple([known[source + 1] for source in sources])
        key = module.key(tuple([given.shape for given in inputs]))
        self.parts.append(Part(key, label, module, inputs))
        known.append(Input(position, tuple(shape)))
        return position

    def extend(self, label: str, other: PartGraph, source: int) -> int:
        """Append the parts of another graph, whose input is `source`; return the last position.

        Args:
            label: Goes before the labels of the other graph.
            other: At least one part; it must not grow afterwards.
            source: A tensor of the shape that the other graph was begun with.
        """
        first = len(self.parts)
        place = [self._inputs[source + 1]]  # the other graph's tensors as inputs here
        for position, (key, name, module, reads, shape) in enumerate(other._rows, start=first):
            if len(reads) == 1:
                inputs: tuple[Input, ...] = (place[reads[0]],)
            else:
                inputs = tuple([place[read] for read in reads])
            # past the constructors, which take half of the time
            self.parts.append(tuple.__new__(Part, (key, label + name, module, inputs)))
            place.append(tuple.__new__(Input, (position, shape)))
        self._inputs += place[1:]
        return len(self.parts) - 1

    @cached_property
    def _rows(self) -> list[tuple[str, str, Any, tuple[int, ...], tuple[int, ...]]]:
        """Key, label, module, inputs (0: the graph's own, 1: part 0) and shape of each part."""
        made = zip(self.parts, self._inputs[1:], strict=True)
        return [
            (
                part.key,
                part.label,
                part.build,
                tuple([i.source + 1 for i in part.inputs]),
                out.shape,
            )
            for part, out in made
        ]
