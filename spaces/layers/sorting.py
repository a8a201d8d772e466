"""Putting the important channels first, where a smaller width keeps the first ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...errors import SpecError
from .elastic import Elastic
from .mutable import Size
from .reorder import Remembered
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
    module: nn.Module,
    size: Size,
    by: Elastic,
    *,
    within: int | None = None,
    importance: Tensor | None = None,
    state: Remembered | None = None,
) -> Tensor:
    """Sort the channels of `size` by their importance for a layer that reads them.

    Every elastic layer of `module` that writes or reads `size` (the same object) is permuted, so
    that the largest network computes what it did before (arXiv 1908.09791, section 3.2).

    Args:
        module: With the layers.
        size: The width whose channels are sorted.
        by: Reads `size`; the sum of its |weights| per channel is the importance.
        within: Sort only so many of the first channels.
        importance: (size.max,), instead of that sum.
        state: Of the optimizer that trains the module; its moments move too.

    Returns:
        (size.max,), int64: the former place of the channel at each place.

    Raises:
        SpecError: If `by` does not read the size, `within` is not in 1..size.max, or each width
            has a batch norm of its own, which no order of all channels fits.
    """
    if within is not None and not 1 <= within <= size.max:
        raise SpecError(f"within must be one of 1 .. {size.max} channels, got {within}")
    order = importance_order(by.importance(size) if importance is None else importance, within)
    for layer in mutables(module):
        if isinstance(layer, SwitchableBatchNorm2d) and layer.channels is size:
            raise SpecError(
                f"the channels of {size!r} cannot be sorted: each width has a batch norm of its "
                "own; build the super-network with one for all widths"
            )
    for layer in mutables(module):
        if isinstance(layer, Elastic):
            layer.permute(size, order, state)
    return order


class Sortable(nn.Module):
    """A block with hidden widths: what writes their channels and what reads them is inside it."""

    def readers(self) -> Sequence[nn.Module]:
        """Return the layer that reads each hidden width; by default there is none.

        Layers whose widths are not chosen are passed over.
        """
        return ()

    def importance(self, reader: Elastic, size: Size) -> Tensor:
        """Return what each channel of a hidden width is worth; by default to its reader.

        Args:
            reader: One of `readers`.
            size: What it reads.
        """
        return reader.importance(size)

    def sort_hidden(self, *, whole: bool = False, state: Remembered | None = None) -> int:
        """Sort the hidden channels of this block; see the function `sort_hidden`."""
        count = 0
        for reader in self.readers():
            if isinstance(reader, Elastic) and (size := reader.reads) and size.choices:
                worth = self.importance(reader, size)
                within = None if whole else size.least
                sort_channels(self, size, reader, within=within, importance=worth, state=state)
                count += 1
        return count


def sort_hidden(module: nn.Module, *, whole: bool = False, state: Remembered | None = None) -> int:
    """Sort the hidden channels of all `Sortable` blocks so that smaller widths keep the best.

    Only channels that every network has which the choices' masks admit trade places: none of
    those networks changes. With the masks of what was trained so far, this is what comes before
    smaller widths are trained (arXiv 1908.09791, section 3.2).

    Args:
        module: With the blocks.
        whole: All channels trade places: the largest network stays as it is, smaller ones change
            (arXiv 2109.00642 sorts so while it adds smaller widths).
        state: `state` of the optimizer that trains the module; its moments move too.

    Returns:
        The number of widths sorted.
    """
    blocks = [block for block in module.modules() if isinstance(block, Sortable)]
    return sum(block.sort_hidden(whole=whole, state=state) for block in blocks)
