"""Any module written with mutable layers as a space."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from ..errors import SpecError
from .arguments import as_json
from .decision import Architecture
from .layers.elastic import ElasticConv2d
from .layers.mutable import Choice
from .layers.one_of import OneOf
from .layers.supernet import ModuleSupernet, activate, choices_of
from .layers.tree import cut, derive_decisions, mutables
from .space import Space


class ModuleSpace(Space):
    """The networks that a module with mutable layers can be cut down to.

    Decisions, sampling, stand-alone networks and the super-network are derived from the module.
    Subclass it to give the space options that a spec can set (`classes`, `resolution`, ...): the
    subclass passes `partial(Net, classes=classes)` on.

    Args:
        module: The module, or the function or class that makes it. A function is called anew for
            every network, so that each starts with the author's own initialisation (elastic layers
            draw anew, by torch's rule for their active sizes); a module is copied and the layers
            that have `reset_parameters` are drawn again.
        example_input: An input; its first item becomes the example of batch size 1.
        options: Passed to the function; the options of the space when `ModuleSpace` itself is
            used.

    Raises:
        SpecError: If the module holds no decision or repeats a name, if the first argument is
            neither module nor function, or if options are given to a finished module.
    """

    _contract = True

    def __init__(
        self,
        module: nn.Module | Callable[..., nn.Module],
        example_input: torch.Tensor,
        **options: Any,
    ) -> None:
        if isinstance(module, nn.Module) and options:
            raise SpecError(
                f"options {sorted(options)} need the class {type(module).__name__} instead of a "
                "finished module"
            )
        if not callable(module):
            raise SpecError(f"a ModuleSpace wraps a module or what makes one, got {module!r}")
        if not isinstance(example_input, torch.Tensor) or example_input.dim() < 1:
            raise SpecError(f"example_input must be a batch of inputs, got {example_input!r}")
        self._source, self._factory_options = module, options
        self._example = example_input[:1].detach().clone()
        template = self._fresh()
        if type(self) is ModuleSpace:
            self.name = type(template).__name__
        self._structure = _structure(template)
        layers = list(mutables(template))
        self._mixture = all(isinstance(layer, OneOf) for layer in layers)
        self._kernels = any(
            isinstance(layer, ElasticConv2d) and isinstance(layer.kernel, Choice)
            for layer in layers
        )
        read = {c for layer in layers if isinstance(c := getattr(layer, "reads", None), Choice)}
        self._widths = read == {c for layer in layers for c in layer.choices}
        self._partial = all(isinstance(layer, OneOf) and layer.channels for layer in layers)
        super().__init__(derive_decisions(template))

    @property
    def options(self) -> dict[str, Any]:
        """The options of the subclass, or of the function that makes the module."""
        own = type(self).__mro__[: type(self).__mro__.index(ModuleSpace)]
        if any("__init__" in vars(cls) for cls in own):
            return super().options
        if isinstance(self._source, nn.Module):
            return {}
        parameters = inspect.signature(self._source).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        return as_json(self.name, {**defaults, **self._factory_options})

    @property
    def supports(self) -> frozenset[str]:
        """A super-network; mixtures where every layer is a `OneOf`; kernels of one weight."""
        offers = {
            "supernet": True,
            "mixture": self._mixture,
            "widths": self._widths,
            "kernels": self._kernels,
            "partial": self._partial,
        }
        return frozenset(name for name, offered in offers.items() if offered)

    def identity(self) -> dict[str, Any]:
        """Return name, options, decisions and the structure of the module."""
        return {**super().identity(), "module": self._structure}

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network, freshly initialised, its weights shared with nothing."""
        module = self._fresh()
        activate(choices_of(module), self.architecture(architecture))
        network = cut(module, inherit=False)
        if isinstance(self._source, nn.Module):
            _reset(network)
        return network

    def example_input(self, architecture: Architecture) -> torch.Tensor:
        """Return the example, batch size 1."""
        return self._example.clone()

    def supernet(self, **options: Any) -> ModuleSupernet:
        """Return the module as a super-network with its own initial weights.

        Raises:
            SpecError: If options are given; there is none.
        """
        if options:
            raise SpecError(f"the super-network of a module has no options, got {sorted(options)}")
        module = self._fresh()
        if isinstance(self._source, nn.Module):
            _reset(module)
        return ModuleSupernet(self, module)

    def _fresh(self) -> nn.Module:
        if isinstance(self._source, nn.Module):
            return deepcopy(self._source)
        made = self._source(**self._factory_options)
        if not isinstance(made, nn.Module):
            raise SpecError(f"a ModuleSpace needs a torch module, its function made {made!r}")
        return deepcopy(made)  # a Choice that the author keeps elsewhere is not ours to set


def _reset(module: nn.Module) -> None:
    """Draw new weights for every layer that knows how; others keep those they were made with."""
    for layer in module.modules():
        if callable(reset := getattr(layer, "reset_parameters", None)):
            reset()


def _structure(module: nn.Module) -> list[list[str]]:
    """Return what tells one module from another: its layers with their arguments, its tensors."""
    layers = [
        [path, type(layer).__name__, re.sub(r"0x[0-9a-f]+", "", layer.extra_repr())]
        for path, layer in module.named_modules()
    ]
    return [*layers, *([name, str(tuple(t.shape))] for name, t in module.state_dict().items())]
