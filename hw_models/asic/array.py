"""Family `array`: a grid on which loops are unrolled, fed from DRAM through double buffers.

compute = the product of ceil(extent / unrolled) over all loops (images B, groups G, channels K and
C, pixels OY and OX, taps FY and FX). What is not unrolled takes its turn, so a depthwise layer on
a grid that unrolls K and C keeps one element busy; `depthwise` may unroll it otherwise.

    latency = max(compute + I / bandwidth, (I + W + O) / bandwidth)       with `on_load: inputs`
    latency = max(compute, (I + W + O) / bandwidth)                       with `on_load: none`

I, W, O are bytes of input (halo included), weights and output; each moves once. The first form
waits for the input before it starts, as the memory hierarchies of the TPU-like and Edge-TPU-like
arrays make it; others (Eyeriss-like) do not.

Energy: DRAM reads of I and W, DRAM writes of O; per multiply-add the unit, one read of the weight's
register, a read and a write of the partial sum's; SRAM: the input is written once and read once
per cycle by every unrolled channel and tap, the output is written and read once.

Source: fitted to ZigZag 3.9.1 (Mei et al., IEEE TC 2021) on public layers, see the documentation;
the energies are those of one array.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from math import ceil
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from ..device import Device, Number, measures
from .layers import Job
from .model import ArrayCost, ArrayModel, ArrayNumbers, numbers_of

Loop: TypeAlias = Literal["B", "G", "K", "C", "OY", "OX", "FY", "FX"]
Unrolling: TypeAlias = Annotated[dict[Loop, Annotated[int, Field(ge=1)]], Field(min_length=1)]
_LOOPS: tuple[Loop, ...] = ("B", "G", "K", "C", "OY", "OX", "FY", "FX")
_SHARED = ("B", "OY", "OX", "G", "C", "FY", "FX")  # loops that an input differs along

_Energy = Annotated[Number, measures("energy", positive=False)]
_ByteEnergy = Annotated[Number, measures("energy per byte", positive=False)]


class ArrayEnergies(BaseModel):
    """Energies of an array.

    Args:
        mac: One multiply-add.
        weight_register: One read of a weight.
        partial_sum_register: One access of a partial sum; every multiply-add takes two.
        sram: One byte read from or written to the shared buffer.
        dram_read: One byte.
        dram_write: One byte.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    mac: _Energy
    weight_register: _Energy
    partial_sum_register: _Energy
    sram: _ByteEnergy
    dram_read: _ByteEnergy
    dram_write: _ByteEnergy


class SpatialArrayNumbers(ArrayNumbers):
    """What a file of the family holds.

    Args:
        unroll: Loop -> how many of its iterations run at once; their product is the grid's size.
        depthwise: Likewise, for depthwise layers; left out: as the others.
        bandwidth: To DRAM.
        on_load: Whether a layer waits for its inputs before it starts: `inputs` or `none`.
        energies: Left out: the device gives no energy.
    """

    unroll: Unrolling
    depthwise: Unrolling | None = None
    bandwidth: Annotated[Number, measures("bytes per cycle")]
    on_load: Literal["inputs", "none"]
    energies: ArrayEnergies | None = None


class SpatialArrayModel(ArrayModel):
    """A grid of unrolled loops; see the module's text."""

    Numbers: ClassVar[type[ArrayNumbers]] = SpatialArrayNumbers

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        numbers = numbers_of(device, SpatialArrayNumbers)
        self.unroll = dict(numbers.unroll)
        self.depthwise = dict(numbers.depthwise or numbers.unroll)
        self.bandwidth, self.on_load = numbers.bandwidth.si, numbers.on_load == "inputs"
        self.energies = numbers.energies
        if self.energies is not None:
            self.provides = (*self.provides, "energy_mj")  # type: ignore[misc]  # this device's

    @property
    def macs_per_cycle(self) -> int:
        """One per element of the grid."""
        return max(math.prod(self.unroll.values()), math.prod(self.depthwise.values()))

    def array_cost(self, job: Job) -> ArrayCost:
        """Return the larger of arithmetic, with what it waits for, and traffic."""
        unroll = self.depthwise if job.k == job.c == 1 < job.g else self.unroll
        extents = dict(zip(_LOOPS, job[:8], strict=True))
        compute = math.prod([ceil(extents[d] / unroll.get(d, 1)) for d in _LOOPS])
        sizes = (job.inputs, job.weights, job.outputs)
        read, weights, written = (self.word_bytes * elements for elements in sizes)
        started = compute + (ceil(read / self.bandwidth) if self.on_load else 0)
        moving = ceil((read + weights + written) / self.bandwidth)
        energy = self._energy(job, compute, unroll, (read, weights, written))
        waits = moving > started
        return ArrayCost(
            max(started, moving),
            energy,
            read + weights + written,
            "memory" if waits else "compute",
        )

    def _energy(
        self, job: Job, compute: int, unroll: Mapping[Loop, int], sizes: tuple[int, int, int]
    ) -> float | None:
        e = self.energies
        if e is None:
            return None
        read, weights, written = sizes
        extents = dict(zip(_LOOPS, job[:8], strict=True))
        lanes = math.prod([min(unroll.get(d, 1), extents[d]) for d in _LOOPS if d in _SHARED])
        arithmetic = e.mac.si + e.weight_register.si + 2 * e.partial_sum_register.si
        sram = self.word_bytes * compute * lanes + read + 2 * written
        dram = (read + weights) * e.dram_read.si + written * e.dram_write.si
        return 1e12 * (dram + job.macs * arithmetic + sram * e.sram.si)

    def movement_pj(self, read_bytes: int, written_bytes: int) -> float | None:
        """Return the energy of DRAM and of the buffer between."""
        e = self.energies
        if e is None:
            return None
        sram = 2 * (read_bytes + written_bytes) * e.sram.si
        return 1e12 * (read_bytes * e.dram_read.si + written_bytes * e.dram_write.si + sram)
