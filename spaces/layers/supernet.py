"""Super-networks: one set of shared weights for all networks of a space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from torch import nn

from ...errors import SpecError
from .mutable import Choice
from .one_of import OneOf
from .tree import cut, mutables, running

if TYPE_CHECKING:
    from ..space import Space


class Supernet(nn.Module, ABC):
    """One set of shared weights for all networks of a space.

    Args:
        space: Whose networks it holds.
    """

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space

    @abstractmethod
    def activate(self, architecture: Mapping[str, Any]) -> None:
        """Make `forward` compute the network of `architecture` from now on."""

    @abstractmethod
    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Run the active network."""

    @abstractmethod
    def extract(self, architecture: Mapping[str, Any]) -> nn.Module:
        """Return the stand-alone network with a copy of the weights.

        Its output equals that of the super-network with `architecture` active, to float precision
        and in the same mode (train or eval). What is active stays so.
        """

    @abstractmethod
    def parameters_of(self, architecture: Mapping[str, Any]) -> Iterator[nn.Parameter]:
        """Yield the shared parameters that the network reads, elastic ones whole, each once."""


class ModuleSupernet(Supernet):
    """A module with mutable layers as the super-network of its space.

    Args:
        space: The `ModuleSpace`.
        module: Owned by this object from now on.
    """

    def __init__(self, space: Space, module: nn.Module) -> None:
        super().__init__(space)
        self.module = module
        self._choices = choices_of(module)

    def activate(self, architecture: Mapping[str, Any]) -> None:
        """Make `forward` compute the network of `architecture` from now on.

        Raises:
            InvalidArchitecture: If the space does not hold it.
        """
        activate(self._choices, self.space.architecture(architecture))

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Run the active network."""
        return self.module(*inputs, **named)

    def extract(self, architecture: Mapping[str, Any]) -> nn.Module:
        """Return the stand-alone network with a copy of the weights."""
        module = deepcopy(self.module)
        activate(choices_of(module), self.space.architecture(architecture))
        return cut(module, inherit=True)

    def parameters_of(self, architecture: Mapping[str, Any]) -> Iterator[nn.Parameter]:
        """Yield the shared parameters that the network reads, elastic ones whole, each once."""
        before = {name: choice.active for name, choice in self._choices.items()}
        self.activate(architecture)
        try:
            found: dict[int, nn.Parameter] = {}
            for layer in running(self.module):
                for parameter in layer.parameters(recurse=False):
                    found.setdefault(id(parameter), parameter)
        finally:
            activate(self._choices, before)
        yield from found.values()

    def mix(self, weights: Mapping[str, Any]) -> None:
        """Run weighted mixtures: decision name -> weights of its options, None to end it.

        Raises:
            SpecError: If a name is no `OneOf` of this module, or a shape does not fit.
        """
        layers = {m.choice.name: m for m in mutables(self.module) if isinstance(m, OneOf)}
        for name, values in weights.items():
            if name not in layers:
                raise SpecError(
                    f"{name!r} is no OneOf of this module; mixtures exist for {sorted(layers)}"
                )
            layers[name].mix(values)


def choices_of(module: nn.Module) -> dict[str, Choice]:
    """Return the choices of the mutable layers of `module` by name."""
    return {choice.name: choice for layer in mutables(module) for choice in layer.choices}


def activate(choices: Mapping[str, Choice], architecture: Mapping[str, Any]) -> None:
    """Set every choice that `architecture` decides."""
    for name, option in architecture.items():
        choices[name].activate(option)
