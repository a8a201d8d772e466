"""What can be done to a network that grows, as plain data; loads no torch.

Source: arXiv 1707.04873, 1511.05641; han-cai/EAS: code/arch_search/.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ...errors import SpecError

if TYPE_CHECKING:
    from torch import nn

    from ..decision import Architecture

Maps: TypeAlias = dict[str, list[int]]  # layer -> for each new output, the old one that it copies


class Wider(NamedTuple):
    """Give a layer more outputs, copies of those that it has (Net2Wider).

    Args:
        layer: Its place in the text of the network, from 0; pools and transitions count.
        width: How many outputs; None: the next value of the ladder.
    """

    layer: int
    width: int | None = None


class Deeper(NamedTuple):
    """Put a layer that changes nothing behind another one (Net2Deeper).

    Args:
        block: Which block, from 0; in plain networks that of the linear layers is the last.
        layer: Which layer of the block stands before the new one, from 0.
        kernel: Of the new convolution; nothing to a linear layer or a mini-block.
    """

    block: int
    layer: int
    kernel: int | None = None


class Transitions(NamedTuple):
    """Widen first convolution and transitions to what the growth rates ask for, never narrow."""


Action: TypeAlias = Wider | Deeper | Transitions


class Noise(NamedTuple):
    """Normal noise on new weights, which lets copies become different.

    Args:
        wider: Standard deviation on added outputs, as a ratio of theirs.
        deeper: On the whole kernel of a new identity, as a ratio of its standard deviation.
    """

    wider: float = 1e-2
    deeper: float = 1e-3


class Growth(NamedTuple):
    """A network that has grown.

    Args:
        network: The child; the parent is as it was.
        architecture: Of the child.
        action: What was done, with the width that was meant.
        maps: Where the outputs of the layers that changed come from, by name of the layer.
    """

    network: nn.Module
    architecture: Architecture
    action: Action
    maps: Maps

    def record(self) -> dict[str, Any]:
        """Return action and maps as JSON values: with them, the same child grows again."""
        return {"action": to_json(self.action), "maps": self.maps}


def to_json(action: Action) -> dict[str, Any]:
    """Return the action as a JSON object."""
    return {"action": type(action).__name__.lower(), **action._asdict()}


def from_json(value: Mapping[str, Any]) -> Action:
    """Return the action that `to_json` wrote.

    Raises:
        SpecError: If it is none.
    """
    kinds = {kind.__name__.lower(): kind for kind in (Wider, Deeper, Transitions)}
    arguments = dict(value)
    try:
        return kinds[arguments.pop("action")](**arguments)
    except (KeyError, TypeError) as error:
        raise SpecError(
            f"an action is an object with `action`, one of {', '.join(kinds)}, and its arguments; "
            f"got {dict(value)!r}"
        ) from error
