"""Family `fpga`: one tiled engine that runs the layers one after another.

The engine (tiles and ports) is that of the device file; a file without one means that the board is
configured for each network, with the best engine for it (`tiling.py`). Time of a layer:

    max(cycles / clock, bytes moved / memory bandwidth)

with the cycles of `engine.py`. Depthwise layers run on a unit of their own where the engine has
one, else on one multiplier of the array; groups follow one another. Batch norms are folded into
weights; activations and functions of each element, concatenations and padding happen on the way in
and out of the buffers; pooling, additions, products, other norms, softmax, resizing and copies
stream through the ports. Images of a batch follow one another; linear layers take them together.

Energy is power times latency: a multiple of it, and no objective of its own.

Source: Zhang et al., FPGA 2015; hotNAS, arXiv 2007.09087.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from ...errors import SpecError
from ..cost import Cost, HardwareModel
from ..device import Device, Number, Numbers, measures
from ..dtypes import Dtype
from ..workload import Workload
from .board import Board, BoardNumbers, word_bits
from .engine import Accounting, Engine, Remainder, Window
from .loops import Loops, is_free, is_streamed, loops_of
from .run import SMALLER, EngineRun, Needs, streams_of
from .tiling import Ports, Stream, Task, search_engine, smallest_engine


class EngineNumbers(BaseModel):
    """The engine that a board is configured with.

    Args:
        output_channels: Output channels at once (Tm).
        input_channels: Input channels at once (Tn).
        rows: Rows of the output per tile (Tr).
        columns: Columns of the output per tile (Tc).
        depthwise: Multipliers of the unit for depthwise layers; 0: none.
        input_ports: Memory ports that load inputs.
        weight_ports: Memory ports that load weights.
        output_ports: Memory ports that store outputs.
        source: Where this choice comes from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    output_channels: int = Field(ge=1)
    input_channels: int = Field(ge=1)
    rows: int = Field(ge=1)
    columns: int = Field(ge=1)
    depthwise: int = Field(default=0, ge=0)
    input_ports: int = Field(ge=1)
    weight_ports: int = Field(ge=1)
    output_ports: int = Field(ge=1)
    source: str = Field(min_length=10)

    def engine(self, ports: Ports, bits: int) -> Engine:
        """Return the engine for words of so many bits."""
        given = (self.input_ports, self.weight_ports, self.output_ports)
        words = [ports.words(n, bits) for n in given]
        tiles = (self.output_channels, self.input_channels, self.rows, self.columns)
        return Engine(*tiles, self.depthwise, *words)


class TiledNumbers(BoardNumbers):
    """What a file of the family holds, beside what every board has.

    Args:
        ports: Ports to memory, at least three.
        port_width: Bits that each moves per cycle.
        pipeline_depth: Cycles to fill the arithmetic pipeline, once per tile.
        engine: The engine; left out: the best one for each network.
        remainder: How the last tile of a dimension is charged: `exact`, by its real size, or
            `full`, as a whole one (what hotNAS does).
        window: What loading a tile counts: `halo`, every position that it reads (Zhang et al.),
            or `tile`, as many as it writes (hotNAS).
    """

    ports: Annotated[Number, measures("ports")]
    port_width: Annotated[Number, measures("bits")]
    pipeline_depth: Annotated[Number, measures("cycles", positive=False)]
    engine: EngineNumbers | None = None
    remainder: Remainder = "exact"
    window: Window = "halo"


class TiledModel(HardwareModel):
    """The tiled engine of a board; see the module's text for its assumptions."""

    Numbers: ClassVar[type[Numbers]] = TiledNumbers
    provides: ClassVar[tuple[str, ...]] = EngineRun.provides
    proportional: ClassVar[Mapping[str, str]] = {"energy_mj": "latency_ms"}

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self.board = Board.of(device, "fpga", TiledNumbers)
        numbers = device.numbers
        assert isinstance(numbers, TiledNumbers)
        self.ports = Ports(int(numbers.ports.si), int(numbers.port_width.si))
        depth = int(numbers.pipeline_depth.si)
        self.accounting = Accounting(numbers.remainder, numbers.window, depth)
        self._given = numbers.engine
        self._runs: dict[tuple[Engine, Dtype], EngineRun] = {}
        self._best: dict[Hashable, Engine | None] = {}
        self._check()

    def _check(self) -> None:
        """Refuse numbers of a file that contradict one another."""
        name, given, ports = self.device.name, self._given, self.ports.count
        if ports < 3:
            raise SpecError(
                f"{name}: an engine needs a port each for inputs, weights and outputs, got "
                f"{ports}; write more and narrower ones"
            )
        if given is None:
            return
        used = given.input_ports + given.weight_ports + given.output_ports
        if used > ports:
            raise SpecError(
                f"{name}: the engine uses {used} ports and the board has {ports}; give it fewer"
            )
        dtype = self.dtypes[0]
        run = self._run(given.engine(self.ports, word_bits(dtype)), dtype)
        for excess in run.excesses(Needs()):
            raise SpecError(
                f"{name}: the engine takes {excess.needed} {excess.unit} of {excess.resource} in "
                f"{dtype} and the board has {excess.limit}; {SMALLER}"
            )

    @property
    def dtypes(self) -> tuple[Dtype, ...]:
        """The number formats of the board."""
        return self.board.dtypes

    def engine_for(
        self, workload: Workload, batch: int = 1, dtype: Dtype | None = None
    ) -> Engine | None:
        """Return the engine that runs a network: the device's, or the best; None: none fits.

        Raises:
            UnsupportedLayer: If the engine has to be found, and none can run one of the layers.
        """
        dtype = self.settled(batch, dtype)
        if self._given is not None:
            return self._given.engine(self.ports, word_bits(dtype))
        return self.best_engine(task_of([workload], batch), dtype)

    def best_engine(self, task: Task, dtype: Dtype) -> Engine | None:
        """Return the engine with the least latency for a task, whatever the file says.

        Found once for the same layers.
        """
        key = (task.key, dtype)
        if key not in self._best:
            self._best[key] = search_engine(self.board, self.ports, task, dtype, self.accounting)
        return self._best[key]

    def cost_of(self, workload: Workload, batch: int, dtype: Dtype, *, breakdown: bool) -> Cost:
        """Return the cost on the device's engine, or on the best one for this network."""
        run = self._run_for(workload, batch, dtype)
        return run.cost_of(workload, batch, dtype, breakdown=breakdown)

    def _run_for(self, workload: Workload, batch: int, dtype: Dtype) -> EngineRun:
        if self._given is not None:
            return self._run(self._given.engine(self.ports, word_bits(dtype)), dtype)
        best = self.best_engine(task_of([workload], batch), dtype)
        # where no engine fits, the smallest says by how much
        return self._run(best or smallest_engine(self.ports, dtype), dtype)

    def _run(self, engine: Engine, dtype: Dtype) -> EngineRun:
        key = (engine, dtype)
        if key not in self._runs:
            self._runs[key] = EngineRun(self.device, self.board, engine, dtype, self.accounting)
        return self._runs[key]


def task_of(workloads: list[Workload], batch: int = 1) -> Task:
    """Return what one engine for several networks has to do.

    Raises:
        UnsupportedLayer: If no engine can run one of their layers.
    """
    loops: list[Loops] = []
    streams: list[Stream] = []
    for workload in workloads:
        for layer in [layer for _, piece in workload.pieces for layer in piece.layers]:
            if is_free(layer):
                continue
            streams += streams_of(layer, batch)
            if not is_streamed(layer):
                loops += loops_of(layer, batch)
    return Task(tuple(loops), tuple(streams))
