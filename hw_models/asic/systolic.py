"""Family `systolic`: a grid of R x C processing elements through which operands flow.

A convolution is a matrix product: Px output pixels, windows of Win elements, M filters. The
dataflow says which two of the three lie on the grid (SR down, SC across) and which streams (T):
output stationary (Px, M, Win), weight stationary (Win, M, Px), input stationary (Win, Px, M). What
does not fit is folded: folds = ceil(SR/R) ceil(SC/C), each of R + C + T - 2 cycles for output
stationary, 2R + C + T - 2 for the others, which first load the grid. Groups are products of their
own, one after the other: a depthwise layer keeps one column busy.

Source: SCALE-Sim (Samajdar et al., arXiv 1811.02883) as of version 3.0.0, whose cycle counts this
equals. Two habits of its are options: it drops the last cycle of every layer (its issue 125), and
it rounds the size of an output up where the true one is rounded down. Like its CALC mode there are
no stalls, whatever the memories; `bandwidth` adds a bound that SCALE-Sim does not have.
"""

from __future__ import annotations

from math import ceil
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..device import Device, Number, measures
from .layers import Job
from .model import WHOLE, ArrayCost, ArrayModel, ArrayNumbers, numbers_of


class SystolicNumbers(ArrayNumbers):
    """What a file of the family holds.

    Args:
        rows: Processing elements down, R.
        columns: Across, C.
        dataflow: What stays in place: outputs (`os`), weights (`ws`) or inputs (`is`).
        drop_last_cycle: Count one cycle less per layer, as SCALE-Sim prints.
        output_size: `floor` is the size that networks have; `ceil` is SCALE-Sim's.
        bandwidth: Of main memory; a layer takes at least as long as its operands and results do.
            Left out: no bound.
    """

    rows: Annotated[Number, measures("processing elements"), WHOLE]
    columns: Annotated[Number, measures("processing elements"), WHOLE]
    dataflow: Literal["os", "ws", "is"]
    drop_last_cycle: bool = Field(default=False)
    output_size: Literal["floor", "ceil"] = "floor"
    bandwidth: Annotated[Number, measures("bytes per second")] | None = None


class SystolicModel(ArrayModel):
    """The cycles of a systolic array; see the module's text."""

    Numbers: ClassVar[type[ArrayNumbers]] = SystolicNumbers

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        numbers = numbers_of(device, SystolicNumbers)
        self.rows, self.columns = int(numbers.rows.si), int(numbers.columns.si)
        self.dataflow, self.output_size = numbers.dataflow, numbers.output_size
        self.dropped = int(numbers.drop_last_cycle)
        self.bytes_per_cycle = (
            numbers.bandwidth.si / numbers.clock.si if numbers.bandwidth is not None else None
        )

    @property
    def macs_per_cycle(self) -> int:
        """One per processing element."""
        return self.rows * self.columns

    def array_cost(self, job: Job) -> ArrayCost:
        """Return the folds times the length of one, and what memory needs where it is a bound."""
        cycles = systolic_cycles(
            job.b * self._pixels(job),
            job.fy * job.fx * job.c,
            job.k,
            rows=self.rows,
            columns=self.columns,
            dataflow=self.dataflow,
        )
        cycles = job.g * cycles - self.dropped
        moved = self.word_bytes * (job.inputs + job.weights + job.outputs)
        if self.bytes_per_cycle is None:
            return ArrayCost(cycles, None, moved, "compute")
        memory = ceil(moved / self.bytes_per_cycle)
        return ArrayCost(
            max(cycles, memory), None, moved, "memory" if memory > cycles else "compute"
        )

    def _pixels(self, job: Job) -> int:
        if self.output_size == "floor":
            return job.oy * job.ox
        tall, wide = (job.fy - 1) * job.dy + 1, (job.fx - 1) * job.dx + 1
        return ceil((job.py - tall + job.sy) / job.sy) * ceil((job.px - wide + job.sx) / job.sx)


def systolic_cycles(
    pixels: int, window: int, filters: int, *, rows: int, columns: int, dataflow: str
) -> int:
    """Return the cycles of the product of a pixels x window and a window x filters matrix."""
    down, across, stream = {
        "os": (pixels, filters, window),
        "ws": (window, filters, pixels),
        "is": (window, pixels, filters),
    }[dataflow]
    folds = ceil(down / rows) * ceil(across / columns)
    load = 0 if dataflow == "os" else rows
    return folds * (load + rows + columns + stream - 2)
