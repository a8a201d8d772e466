"""Putting the important channels first, where a smaller width keeps the first ones."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...errors import SpecError
from .elastic import Elastic
from .mutable import Size
from .switchable import SwitchableBatchNorm2d
from .tree import mutables


def importance_order(importance: Tensor, within: int | None = None) -> Tensor:
    """Return the places of the channels from the most important one down.

    Args:
        importance: (channels,); equal ones keep their order.
        within: Sort only so many of the first channels, those that smaller networks have trained
            already; the others stay where they are.

    Returns:
        (channels,), int64.
    """
    n = len(importance) if within is None else within
    order = torch.arange(len(importance), device=importance.device)
    order[:n] = torch.argsort(importance[:n], descending=True, stable=True)
    return order


def sort_channels(
    module: nn.Module, size: Size, by: Elastic, *, within: int | None = None
) -> Tensor:
    """Sort the channels of `size` by their importance for a layer that reads them.

    Every elastic layer of `module` that writes or reads `size` (the same object) is permuted, so
    that the largest network computes what it did before (arXiv 1908.09791, section 3.2).

    Args:
        module: With the layers.
        size: The width whose channels are sorted.
        by: Reads `size`; the sum of its |weights| per channel is the importance.
        within: Sort only so many of the first channels.

    Returns:
        (size.max,), int64: the former place of the channel at each place.

    Raises:
        SpecError: If `by` does not read the size, `within` is not in 1..size.max, or each width
            has a batch norm of its own, which no order of all channels fits.
    """
    if within is not None and not 1 <= within <= size.max:
        raise SpecError(f"within must be one of 1 .. {size.max} channels, got {within}")
    order = importance_order(by.importance(size), within)
    for layer in mutables(module):
        if isinstance(layer, SwitchableBatchNorm2d) and layer.channels is size:
            raise SpecError(
                f"the channels of {size!r} cannot be sorted: each width has a batch norm of its "
                "own; build the super-network with one for all widths"
            )
    for layer in mutables(module):
        if isinstance(layer, Elastic):
            layer.permute(size, order)
    return order


class Sortable(nn.Module):
    """A block with hidden widths: what writes their channels and what reads them is inside it."""

    @abstractmethod
    def readers(self) -> Sequence[nn.Module]:
        """Return the layer that reads each hidden width; its weights say what a channel is worth.

        Layers whose widths are not chosen are passed over.
        """


def sort_hidden(module: nn.Module) -> int:
    """Sort the hidden channels of all `Sortable` blocks so that smaller widths keep the best.

    Only channels that every network has which the choices' masks admit trade places: none of
    those networks changes. With the masks of what was trained so far, this is what comes before
    smaller widths are trained (arXiv 1908.09791, section 3.2).

    Returns:
        The number of widths sorted.
    """
    count = 0
    for block in module.modules():
        if not isinstance(block, Sortable):
            continue
        for reader in block.readers():
            if not isinstance(reader, Elastic):
                continue
            if (size := reader.reads) is not None and size.choices:
                sort_channels(block, size, reader, within=size.least)
                count += 1
    return count
