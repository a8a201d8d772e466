"""Writing down a network as parts without loading torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
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


class PartGraph:
    """Collects the parts of a network in execution order and keeps track of the shapes.

    A tensor is named by the position of the part that makes it; `NETWORK_INPUT` is the input.

    Args:
        shape: Of the network's input, with batch 1.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self.parts: list[Part] = []
        self._shapes: dict[int, tuple[int, ...]] = {NETWORK_INPUT: tuple(shape)}

    def add(self, label: str, module: Module, *sources: int, shape: Sequence[int]) -> int:
        """Append a part that reads `sources` and makes a tensor of `shape`; return its position."""
        shapes = tuple([self._shapes[source] for source in sources])
        inputs = tuple([Input(*pair) for pair in zip(sources, shapes, strict=True)])
        position = len(self.parts)
        self.parts.append(Part(module.key(shapes), label, module, inputs))
        self._shapes[position] = tuple(shape)
        return position
