"""What a device file of the family `mcu` holds."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..device import Number, Numbers, Validation, measures
from .cycles import CORES, Cycles
from .policy import Kernels, PolicyField


class Core(BaseModel):
    """The processor.

    Args:
        value: One of `CORES`.
        source: Where it comes from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    value: str = Field(pattern=f"^({'|'.join(CORES)})$")
    source: str = Field(min_length=10)


class FittedCycles(BaseModel):
    """Coefficients fitted to networks measured on this device; see `Cycles`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    stem: Annotated[Number, measures("cycles per MAC", positive=False)]
    conv: Annotated[Number, measures("cycles per MAC", positive=False)]
    pw: Annotated[Number, measures("cycles per MAC", positive=False)]
    dw: Annotated[Number, measures("cycles per MAC", positive=False)]
    fc: Annotated[Number, measures("cycles per MAC", positive=False)]
    output: Annotated[Number, measures("cycles per output", positive=False)] | None = None
    op: Annotated[Number, measures("cycles", positive=False)]
    validation: Validation | None = None

    def table(self) -> Cycles:
        """Return the coefficients."""
        output = 0.0 if self.output is None else self.output.value
        return Cycles(
            stem=self.stem.value,
            conv=self.conv.value,
            pw=self.pw.value,
            dw=self.dw.value,
            fc=self.fc.value,
            output=output,
            op=self.op.value,
        )


class McuNumbers(Numbers):
    """What a file of the family holds.

    Args:
        core: The processor.
        clock: At which it runs.
        sram_total: All of its SRAM.
        sram_contiguous: The largest piece in one run of addresses: where the arena must fit.
        sram_reserved: What stack, frame buffers and radio take of that piece.
        flash_on_chip: Its own Flash; 0 for none.
        flash_external: Flash that it runs code or reads weights from; 0 for none.
        psram: RAM in another chip, for tensors that do not fit.
        psram_bandwidth: What the core gets from it.
        supply: Voltage at which the power was taken.
        active_power: While the network runs.
        measured_power: Likewise, where it was measured under a runtime's kernels.
        runtime: Name of a preset, `{preset: name, key: value}`, or all keys of a policy.
        cycles: Coefficients fitted on the device itself, by kernels.
        latency_budget: A limit to judge by; none if left out.
        energy_budget: Likewise.
    """

    core: Core
    clock: Annotated[Number, measures("frequency")]
    sram_total: Annotated[Number, measures("memory")]
    sram_contiguous: Annotated[Number, measures("memory")]
    sram_reserved: Annotated[Number, measures("memory", positive=False)]
    flash_on_chip: Annotated[Number, measures("memory", positive=False)]
    flash_external: Annotated[Number, measures("memory", positive=False)] | None = None
    psram: Annotated[Number, measures("memory")] | None = None
    psram_bandwidth: Annotated[Number, measures("bytes per second")] | None = None
    supply: Annotated[Number, measures("voltage")]
    active_power: Annotated[Number, measures("power")]
    measured_power: dict[Kernels, Annotated[Number, measures("power")]] = Field(default={})
    runtime: PolicyField
    cycles: dict[Kernels, FittedCycles] = Field(default={})
    latency_budget: Annotated[Number, measures("time")] | None = None
    energy_budget: Annotated[Number, measures("energy")] | None = None

    @model_validator(mode="after")
    def _agree(self) -> McuNumbers:
        if self.sram_contiguous.si > self.sram_total.si:
            raise ValueError(
                "sram_contiguous must not exceed sram_total, got "
                f"{self.sram_contiguous.si:,.0f} and {self.sram_total.si:,.0f} bytes"
            )
        if self.sram_reserved.si >= self.sram_contiguous.si:
            raise ValueError(
                "sram_reserved must leave some of sram_contiguous, got "
                f"{self.sram_reserved.si:,.0f} of {self.sram_contiguous.si:,.0f} bytes"
            )
        if (self.psram is None) != (self.psram_bandwidth is None):
            raise ValueError("psram and psram_bandwidth must be given together, got one of them")
        if not self.flash_on_chip.si and (
            self.flash_external is None or not self.flash_external.si
        ):
            raise ValueError("a device must have flash_on_chip or flash_external, got neither")
        return self
