"""A network as a graph of small pieces that many networks share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import nn

NETWORK_INPUT = -1


class Input(NamedTuple):
    """One tensor that a part reads.

    Args:
        source: Position in the list of parts of the part that makes it; `NETWORK_INPUT` (-1) is
            the input of the network.
        shape: Its shape with batch 1.
    """

    source: int
    shape: tuple[int, ...]


class Part(NamedTuple):
    """A piece of a network, small enough to be shared between many networks.

    The parts of an architecture are listed in execution order; the output of the last one is the
    output of the network, and it alone may give several tensors, in any nesting. Their composition
    has exactly the workload of the built network.

    Args:
        key: Equal keys are equal layers on equal input shapes, in every network of every space.
        label: What a drawing writes on it; unique among the parts of a network.
        build: Makes the module; it takes the inputs as positional arguments and gives one tensor.
        inputs: Where the inputs come from.
    """

    key: str
    label: str
    build: Callable[[], nn.Module]
    inputs: tuple[Input, ...]
