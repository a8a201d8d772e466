"""Super-networks: one set of shared weights for all networks of a space."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from ...errors import InvalidArchitecture, SpecError, did_you_mean
from ...seeds import derive_rng
from ..decision import Architecture, Option
from ..restricted import RestrictedSpace
from .calibrate import calibrate
from .mutable import Choice, Mutable
from .one_of import OneOf
from .partial_channels import Junction
from .reorder import Remembered
from .sorting import sort_hidden
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

    def sample(
        self, step: int, seed: int = 0, law: Literal["architectures", "decisions"] = "decisions"
    ) -> Architecture:
        """Draw the architecture of a training step; the same one in every process.

        Args:
            step: Number of the draw.
            seed: Of the experiment.
            law: As `DecisionSpace.sample` takes it.
        """
        return self.space.sample(derive_rng(seed, "path", step), law)

    def calibrated(self, architecture: Mapping[str, Any], batches: Iterable[Any]) -> nn.Module:
        """Return the stand-alone network with batch-norm statistics of its own.

        Args:
            architecture: Which network.
            batches: Inputs; see `calibrate`.
        """
        network = self.extract(architecture)
        calibrate(network, batches)
        return network


class ModuleSupernet(Supernet):
    """A module with mutable layers as the super-network of its space.

    Decisions that no layer holds (a resolution) are the caller's to follow.

    Args:
        space: The space; the layers' choices have the names of its decisions.
        module: Owned by this object from now on.
    """

    def __init__(self, space: Space, module: nn.Module) -> None:
        super().__init__(space)
        self.module = module
        self._choices = choices_of(module)
        self._weighed = _weighed(module)
        self._masked: RestrictedSpace | None = None

    @property
    def active(self) -> dict[str, Option]:
        """The active option of every choice, also of those that do not run now."""
        return {name: choice.active for name, choice in self._choices.items()}

    def activate(self, architecture: Mapping[str, Any]) -> None:
        """Make `forward` compute the network of `architecture` from now on.

        Raises:
            InvalidArchitecture: If the space does not hold it, or a mask forbids it.
        """
        activate(self._choices, self.space.architecture(architecture))

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Run the active network."""
        return self.module(*inputs, **named)

    def extract(self, architecture: Mapping[str, Any]) -> nn.Module:
        """Return the stand-alone network with a copy of the weights."""
        with self._activated(architecture):
            network = deepcopy(self.module, _left_out(self.module))
        return cut(network, inherit=True)

    def parameters_of(self, architecture: Mapping[str, Any]) -> Iterator[nn.Parameter]:
        """Yield the shared parameters that the network reads, elastic ones whole, each once."""
        found: dict[int, nn.Parameter] = {}
        with self._activated(architecture):
            for layer in running(self.module):
                own = layer.parameters(recurse=False)
                for parameter in layer.read_parameters() if isinstance(layer, Mutable) else own:
                    found.setdefault(id(parameter), parameter)
        yield from found.values()

    @contextmanager
    def _activated(self, architecture: Mapping[str, Any]) -> Iterator[None]:
        before = self.active
        self.activate(architecture)
        try:
            yield
        finally:
            activate(self._choices, before)

    def sort_hidden(self, *, whole: bool = False, state: Remembered | None = None) -> int:
        """Sort the hidden channels by importance, before smaller widths are trained.

        No network that the masks admit changes: restrict the super-network to what was trained so
        far. Of one that was trained at its largest width only, all channels are sorted.

        Args:
            whole: Sort all channels whatever the masks: only the largest network stays the same.
            state: `state` of the optimizer that trains the weights; its moments move too.

        Returns:
            The number of widths sorted.

        Raises:
            SpecError: If no block of the super-network has hidden widths to choose from.
        """
        if not (count := sort_hidden(self.module, whole=whole, state=state)):
            raise SpecError(
                f"the super-network of {self.space.name} has no hidden width to sort: no Sortable "
                "block reads a chosen one; leave the sorting out"
            )
        return count

    # ---------------------------------------------------------------- mixtures
    @property
    def mixtures(self) -> dict[str, tuple[Option, ...]]:
        """The decisions whose options can be mixed: name -> options, in the order of weights."""
        return {
            name: next(x.choice.options for x in layers if isinstance(x, OneOf))
            for name, layers in self._weighed.items()
            if any(isinstance(x, OneOf) for x in layers)
        }

    @property
    def junctions(self) -> dict[str, int]:
        """The sums whose inputs can be weighed: name -> number of inputs."""
        return {
            name: next(x.inputs for x in layers if isinstance(x, Junction))
            for name, layers in self._weighed.items()
            if any(isinstance(x, Junction) for x in layers)
        }

    def mix(self, weights: Mapping[str, Any]) -> None:
        """Run weighted mixtures: name -> weights, None to end it.

        A decision's name sets the weights of its options, in every layer that holds it; the name
        of a `Junction` those of its inputs.

        Raises:
            SpecError: If a name is neither, or a shape does not fit.
        """
        self._weigh(weights, "mix")

    def select(self, options: Mapping[str, Any]) -> None:
        """Make options of single choices active, also such that no architecture takes.

        A search network may have an option more than its space (`none`).

        Raises:
            SpecError: If a name is no choice of this module.
            InvalidArchitecture: If an option is none of the choice, or a mask forbids it.
        """
        for name, option in options.items():
            if name not in self._choices:
                hint = did_you_mean(name, self._choices)
                raise SpecError(f"{name!r} is no choice of this super-network{hint}")
            self._choices[name].activate(option)

    def gate(self, weights: Mapping[str, Any]) -> None:
        """Run the active options times their weights: decision name -> weights, None to end it.

        Raises:
            SpecError: If a name is no `OneOf` of this module, or a shape does not fit.
        """
        self._weigh(weights, "gate")

    def _weigh(self, weights: Mapping[str, Any], mode: Literal["mix", "gate"]) -> None:
        kinds = (OneOf, Junction) if mode == "mix" else OneOf
        for name, values in weights.items():
            layers = [x for x in self._weighed.get(name, ()) if isinstance(x, kinds)]
            if not layers:
                raise SpecError(
                    f"{name!r} is no OneOf of this module; mixtures exist for "
                    f"{sorted(self._weighed)}"
                )
            for layer in layers:
                getattr(layer, mode)(values)

    # ---------------------------------------------------------------- masks
    @property
    def masks(self) -> dict[str, tuple[Option, ...]]:
        """The options that are left, of every decision where some are forbidden."""
        return {
            name: choice.allowed
            for name, choice in self._choices.items()
            if len(choice.allowed) < len(choice.options)
        }

    def restrict(self, masks: Mapping[str, Iterable[Any]]) -> None:
        """Forbid all options but those listed, as splitting a super-network does.

        Forbidden candidates are neither run nor drawn; they keep their weights.

        Args:
            masks: Decision name -> the options that are left; decisions left out allow all.

        Raises:
            SpecError: If a name is no choice of this module, or no option is left.
        """
        if unknown := [name for name in masks if name not in self._choices]:
            raise SpecError(
                f"a mask names {unknown[0]!r}, which is no choice of this super-network"
                f"{did_you_mean(unknown[0], self._choices)}"
            )
        wanted = {name: tuple(options) for name, options in masks.items()}
        restricted = RestrictedSpace(self.space, self._decided(wanted)) if wanted else None
        for name, choice in self._choices.items():
            choice.restrict(wanted.get(name))
        self._masked = restricted

    @contextmanager
    def among(self, options: Mapping[str, Sequence[Any]]) -> Iterator[None]:
        """Leave only some of the allowed options to mixtures meanwhile.

        Unlike `restrict` it says nothing about what is drawn or active, and takes no time: for
        searches that run a few options of each decision per step.

        Args:
            options: Decision name -> options; decisions left out keep theirs.

        Raises:
            SpecError: If a name is no choice of this module.
        """
        if unknown := [name for name in options if name not in self._choices]:
            raise SpecError(
                f"{unknown[0]!r} is no choice of this super-network"
                f"{did_you_mean(unknown[0], self._choices)}"
            )
        before = {name: self._choices[name].allowed for name in options}
        for name, some in options.items():
            self._choices[name].allowed = tuple(o for o in before[name] if o in some)
        try:
            yield
        finally:
            for name, allowed in before.items():
                self._choices[name].allowed = allowed

    def _decided(self, masks: Mapping[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        """Return masks without options that no architecture takes (`none` of a search network)."""
        known = {decision.name: decision for decision in self.space.decisions}
        return {
            name: tuple(
                o
                for o in options
                if known[name].index(o) is not None or self._choices[name].decision.index(o) is None
            )
            for name, options in masks.items()
        }

    def admits(self, architecture: Mapping[str, Any]) -> bool:
        """Return whether the masks allow `architecture`, a member of the space."""
        masks = self.masks
        return all(architecture[name] in masks[name] for name in masks if name in architecture)

    def sample(
        self, step: int, seed: int = 0, law: Literal["architectures", "decisions"] = "decisions"
    ) -> Architecture:
        """Draw an architecture that the masks allow; the same one in every process."""
        space = self.space if self._masked is None else self._masked
        return space.sample(derive_rng(seed, "path", step), law)

    # ---------------------------------------------------------------- many networks in one batch
    @contextmanager
    def together(self, architectures: Sequence[Mapping[str, Any]]) -> Iterator[None]:
        """Let each sample of a batch run a network of its own, in one forward.

        Layers run at their largest sizes and zero what a sample's network does not have, so that
        outputs and gradients are those of the networks one by one (arXiv 2109.00642).

        Args:
            architectures: One per sample of the batches that are run meanwhile.

        Raises:
            InvalidArchitecture: If the space does not hold one.
            SpecError: If there is none, or (in forward) where a layer mixes the samples.
        """
        wanted = [self.space.architecture(a) for a in architectures]
        if not wanted:
            raise SpecError("each sample needs an architecture, got an empty list")
        for name, choice in self._choices.items():
            choice.spread = tuple(
                choice.checked(a[name]) if name in a else choice.active for a in wanted
            )
        layers = list(mutables(self.module))
        for layer in layers:
            layer.together = True
        try:
            yield
        finally:
            for layer in layers:
                layer.together = False
            for choice in self._choices.values():
                choice.spread = None

    # ---------------------------------------------------------------- state
    def get_extra_state(self) -> Tensor:
        """Return what is active and masked, for `state_dict`: a text as bytes."""
        state = {"active": self.active, "masks": self.masks}
        return torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Any) -> None:
        """Take over what `get_extra_state` returned.

        Raises:
            SpecError: If it belongs to another super-network.
        """
        known = json.loads(bytes(state.tolist()).decode())
        try:
            self.restrict(known["masks"])
            activate(self._choices, known["active"])
        except (KeyError, InvalidArchitecture) as error:
            raise SpecError(
                f"the state is that of another super-network than {self.space.name} ({error})"
            ) from error


def choices_of(module: nn.Module) -> dict[str, Choice]:
    """Return the choices of the mutable layers of `module` by name."""
    return {choice.name: choice for layer in mutables(module) for choice in layer.choices}


def _weighed(module: nn.Module) -> dict[str, list[OneOf | Junction]]:
    """Return the layers that a search gives weights to, by the name of their decision or sum."""
    layers: dict[str, list[OneOf | Junction]] = {}
    for layer in module.modules():
        if isinstance(layer, OneOf):
            layers.setdefault(layer.choice.name, []).append(layer)
        elif isinstance(layer, Junction) and layer.name:
            layers.setdefault(layer.name, []).append(layer)
    return layers


def activate(choices: Mapping[str, Choice], architecture: Mapping[str, Any]) -> None:
    """Set every choice that `architecture` decides."""
    for name, option in architecture.items():
        if name in choices:
            choices[name].activate(option)


def _left_out(module: nn.Module) -> dict[int, Any]:
    """Return the memo with which a deep copy of `module` copies no more than it has to.

    What does not run becomes an empty layer, and what a layer copies itself when it is cut is
    shared with the original until then.
    """
    runs = set(running(module))
    memo: dict[int, Any] = {}
    for layer in mutables(module):
        if layer not in runs:
            continue
        for child, _ in layer.branches():
            if child not in runs:
                memo[id(child)] = nn.Identity()
        if layer.copies:
            for tensor in (*layer.parameters(), *layer.buffers()):
                memo[id(tensor)] = tensor
    return memo
