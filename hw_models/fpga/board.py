"""What a board offers an accelerator: multipliers, block RAM, external memory, a clock, watts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Annotated

from ...errors import SpecError
from ..cost import Excess
from ..device import Device, Number, Numbers, measures
from ..dtypes import DTYPE_BYTES, Dtype
from ..workload import Workload

BRAM_BITS = 18_000  # usable bits of an 18 Kbit block, as the published formulas round it


class BoardNumbers(Numbers):
    """What a file of either FPGA family holds.

    Args:
        clock: Of the accelerator.
        dsp: DSP slices of the device.
        bram: Block RAM of the device.
        dsp_per_mac_int16: DSP slices that one 16-bit multiply-add per cycle takes.
        dsp_per_mac_int8: Likewise, 8 bits (two share a slice: 0.5); left out: not offered.
        dsp_per_mac_float32: Likewise, single precision; left out: not offered.
        memory_bandwidth: Of the external memory.
        memory: External memory, which holds weights and activations.
        power: Of the board while the accelerator runs.
    """

    clock: Annotated[Number, measures("frequency")]
    dsp: Annotated[Number, measures("DSP slices")]
    bram: Annotated[Number, measures("block RAMs")]
    dsp_per_mac_int16: Annotated[Number, measures("DSP slices per multiply-add")]
    dsp_per_mac_int8: Annotated[Number, measures("DSP slices per multiply-add")] | None = None
    dsp_per_mac_float32: Annotated[Number, measures("DSP slices per multiply-add")] | None = None
    memory_bandwidth: Annotated[Number, measures("bytes per second")]
    memory: Annotated[Number, measures("memory")]
    power: Annotated[Number, measures("power")]


@dataclass(frozen=True)
class Board:
    """The numbers of a board in base units.

    Args:
        clock: Hz.
        dsp: DSP slices.
        bram: Blocks of 18 Kbit.
        dsp_per_mac: DSP slices per multiply-add and cycle, by number format.
        bandwidth: Bytes per second of external memory.
        memory: Bytes of external memory.
        power: Watts.
    """

    clock: float
    dsp: int
    bram: int
    dsp_per_mac: Mapping[Dtype, float]
    bandwidth: float
    memory: int
    power: float

    @classmethod
    def of(cls, device: Device, family: str, numbers: type[BoardNumbers]) -> Board:
        """Return the board of a device file.

        Raises:
            SpecError: If the device is of another family.
        """
        given = device.numbers
        if not isinstance(given, numbers):
            raise SpecError(
                f"the {family} model needs a device of family {family}, got {device.name!r} of "
                f"family {device.family!r}; use model_for(device)"
            )
        slices: dict[Dtype, Number | None] = {
            "int16": given.dsp_per_mac_int16,
            "int8": given.dsp_per_mac_int8,
            "float32": given.dsp_per_mac_float32,
        }
        return cls(
            clock=given.clock.si,
            dsp=int(given.dsp.si),
            bram=int(given.bram.si),
            dsp_per_mac={dtype: n.si for dtype, n in slices.items() if n is not None},
            bandwidth=given.memory_bandwidth.si,
            memory=int(given.memory.si),
            power=given.power.si,
        )

    @property
    def dtypes(self) -> tuple[Dtype, ...]:
        """The number formats offered, 16-bit integers first."""
        return tuple(self.dsp_per_mac)

    def slices(self, macs: int, dtype: Dtype) -> int:
        """Return the DSP slices that so many multiply-adds per cycle take."""
        return ceil(macs * self.dsp_per_mac[dtype])

    def peak_macs(self, dtype: Dtype) -> float:
        """Return the multiply-adds per second of all DSP slices."""
        return self.dsp / self.dsp_per_mac[dtype] * self.clock

    def over(
        self, dsp: int = 0, bram: int = 0, memory: int = 0, *, layer: str = "", remedy: str
    ) -> tuple[Excess, ...]:
        """Return the limits that such needs break: DSP slices, block RAM, bytes outside."""
        needs = (
            ("dsp", dsp, self.dsp, "slices"),
            ("bram", bram, self.bram, "BRAM18"),
            ("memory", memory, self.memory, "bytes"),
        )
        return tuple(
            Excess(resource, needed, limit, unit, layer, remedy)
            for resource, needed, limit, unit in needs
            if needed > limit
        )

    def outside(self, workload: Workload, batch: int) -> tuple[int, tuple[Excess, ...]]:
        """Return the bytes of external memory that a network needs, and whether that is too many.

        All weights are resident, also those of parts that this input does not run (the experts of
        other tasks): the store is shared. Only weights that are used move.
        """
        needed = workload.peak_activation_bytes * batch + workload.weight_bytes
        if needed <= self.memory:
            return needed, ()
        remedy = "choose a smaller network, input, batch or number format"
        return needed, self.over(memory=needed, layer=workload.peak_layer, remedy=remedy)


def word_bits(dtype: Dtype) -> int:
    """Return the bits of one word."""
    return 8 * DTYPE_BYTES[dtype]
