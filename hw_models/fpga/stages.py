"""Stages of a layer pipeline: how wide each must be so that none is slower than a given time.

A stage with CPF x KPF multipliers takes OH OW K^2 ceil(C / CPF) ceil(M / KPF) cycles for an image;
one for a grouped layer also runs GPF groups at once, and divides by ceil(G / GPF) in their place.
For a given time T, a stage takes the fewest multipliers that bring it to T or below, which is its
multiply-adds over T, rounded up to what its channels divide into: multipliers are shared in
proportion to multiply-adds.

Source: Zhang et al., "DNNBuilder", ICCAD 2018 (recalled).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import NamedTuple

from .board import BRAM_BITS
from .loops import Loops

PORT_BITS = 36  # what one 18 Kbit block reads per cycle (AMD UG473, UG573)


class Width(NamedTuple):
    """How parallel a stage is.

    Args:
        folds: Passes over groups and channels that one output position takes.
        multipliers: GPF x CPF x KPF.
        groups: Groups at once (GPF).
        inputs: Input channels at once (CPF).
        outputs: Output channels at once (KPF).
    """

    folds: int
    multipliers: int
    groups: int
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Stage:
    """A layer as a stage.

    Args:
        index: Of the layer in the workload.
        name: Of the layer.
        groups: Groups that do not share channels; 1 for a dense layer.
        outputs: Output channels of a group.
        inputs: Input channels of a group.
        rows: Of the output.
        columns: Of the output; rows x columns positions, those of all images of one input.
        kernel: Height and width.
        column: Rows of the input, padding included: what one column of it holds.
        cached: Columns of the input that the stage keeps: K + S.
    """

    index: int
    name: str
    groups: int
    outputs: int
    inputs: int
    rows: int
    columns: int
    kernel: tuple[int, int]
    column: int
    cached: int

    @property
    def positions(self) -> int:
        """Cycles for one fold: output positions times the kernel."""
        return self.rows * self.columns * self.kernel[0] * self.kernel[1]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Groups, input channels and output channels."""
        return (self.groups, self.inputs, self.outputs)

    @property
    def widths(self) -> tuple[Width, ...]:
        """The useful widths, fastest first."""
        return widths(*self.shape)

    @property
    def weights(self) -> int:
        """Weights of the layer."""
        return self.groups * self.outputs * self.inputs * self.kernel[0] * self.kernel[1]

    def width(self, cycles: int) -> Width | None:
        """Return the narrowest width that takes at most so many cycles; None: none does."""
        k = bisect_right(_folds(*self.shape), cycles // self.positions)
        return self.widths[k - 1] if k else None

    def cycles(self, width: Width) -> int:
        """Return the cycles for one image."""
        return self.positions * width.folds

    def cache_blocks(self, bits: int) -> int:
        """Return the block RAMs of the columns of the input that are kept."""
        words = self.cached * self.column * self.groups * self.inputs
        return ceil(words * bits / BRAM_BITS)

    def weight_blocks(self, width: Width, bits: int) -> int:
        """Return the block RAMs of the weights of one fold, held twice, all read each cycle."""
        read = width.multipliers * bits
        kernel = self.kernel[0] * self.kernel[1]
        return max(ceil(2 * kernel * read / BRAM_BITS), ceil(read / PORT_BITS))

    def resident_blocks(self, width: Width, bits: int) -> int:
        """Return the block RAMs of all weights of the layer."""
        return max(
            ceil(self.weights * bits / BRAM_BITS), ceil(width.multipliers * bits / PORT_BITS)
        )


def stage_of(loops: Loops, index: int, name: str) -> Stage:
    """Return the stage of a layer with one loop nest; channels of a depthwise layer are groups.

    The rows of a linear layer are one column: they pass while its weights stay.
    """
    groups, outputs = (loops.outputs, 1) if loops.depthwise else (loops.groups, loops.outputs)
    rows, columns = (loops.columns, 1) if loops.flat else (loops.rows, loops.columns)
    return Stage(
        index=index,
        name=name,
        groups=groups,
        outputs=outputs,
        inputs=loops.inputs,
        rows=rows,
        columns=columns,
        kernel=loops.kernel,
        column=loops.stride[0] * (rows - 1) + loops.extent[0],
        cached=loops.extent[1] + loops.stride[1],
    )


@lru_cache(maxsize=4096)
def widths(groups: int, inputs: int, outputs: int) -> tuple[Width, ...]:
    """Return the widths that no other beats in both folds and multipliers, fewest folds first.

    Widths between two that divide a dimension into as many passes only idle, so they are left out.
    """
    best: dict[int, Width] = {}
    for g in _shares(groups):
        for c in _shares(inputs):
            for k in _shares(outputs):
                folds = ceil(groups / g) * ceil(inputs / c) * ceil(outputs / k)
                width = Width(folds, g * c * k, g, c, k)
                if folds not in best or width < best[folds]:
                    best[folds] = width
    found: list[Width] = []
    for width in sorted(best.values(), key=lambda w: (w.multipliers, w.folds)):
        if not found or width.folds < found[-1].folds:
            found.append(width)
    return tuple(reversed(found))


@lru_cache(maxsize=4096)
def _folds(groups: int, inputs: int, outputs: int) -> Sequence[int]:
    return [w.folds for w in widths(groups, inputs, outputs)]


@lru_cache(maxsize=4096)
def _shares(size: int) -> Sequence[int]:
    """Return the smallest share for each number of passes over `size`."""
    return sorted({ceil(size / passes) for passes in range(1, size + 1)})
