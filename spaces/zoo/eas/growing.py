"""Spaces of networks that grow, their ladders of widths, and errors about actions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING

from ....errors import InvalidArchitecture
from ...decision import Architecture
from ...networks.eas_actions import Action, Growth, Noise
from ...space import DecisionSpace
from .blocks import BlocksSpace

if TYPE_CHECKING:
    from torch import Tensor, nn


class GrowingSpace(BlocksSpace):
    """A space whose networks hand their weights on by growing, instead of by a super-network.

    It offers `growth` to strategies that need it.
    """

    _contract = True

    @property
    def supports(self) -> frozenset[str]:
        """What the class defines, and `growth`."""
        return super().supports | {"growth"}

    @abstractmethod
    def actions(self, architecture: Architecture) -> list[Action]:
        """Return what `grow` can do: each layer to its next width, each new layer."""

    @abstractmethod
    def after(self, architecture: Architecture, action: Action) -> Architecture:
        """Return the architecture that an action makes, without any network.

        Raises:
            InvalidArchitecture: If the action is not possible, with the rule.
        """

    @abstractmethod
    def grow(
        self,
        network: nn.Module,
        architecture: Architecture,
        action: Action,
        *,
        rng: Random,
        images: Tensor | None = None,
        noise: Noise | None = None,
        maps: Mapping[str, Sequence[int]] | None = None,
    ) -> Growth:
        """Return a larger network with the same outputs in eval mode.

        Args:
            network: The parent, as `build` or `grow` made it; it stays as it is.
            architecture: Of the parent.
            action: What to do.
            rng: What copies what, and the noise, are drawn from it.
            images: A batch of training images, where a new layer needs statistics.
            noise: None: none, the outputs stay. `Noise()` is the original's, which changes them.
            maps: Of a recorded growth, which is repeated.

        Raises:
            InvalidArchitecture: If the action is not possible, with the rule.
            SpecError: If the network is another one, or images are missing.
        """


def ladder_above(steps: Sequence[int], width: int) -> int | None:
    """Return the smallest step above a width, which need be none itself; None: there is none."""
    return next((step for step in steps if step > width), None)


def error_of(space: DecisionSpace, action: Action, rule: str, remedy: str) -> InvalidArchitecture:
    """Return the error for an action that is not possible."""
    return InvalidArchitecture(
        f"{space.name}: {rule}; got {action}" + (f"; {remedy}" if remedy else "")
    )


def readable(space: DecisionSpace, texts: Mapping[str, str]) -> dict[str, Architecture]:
    """Return the named networks that the options of a space allow."""
    found = {}
    for name, text in texts.items():
        try:
            found[name] = space.parse_notation(text)
        except InvalidArchitecture:
            continue  # too deep, or with more pools than the image has room for
    return found
