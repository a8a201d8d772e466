"""Family `fpga_pipeline`: a stage for every layer, all working at once on different columns.

A stage of CPF x KPF multipliers takes OH OW K^2 ceil(C / CPF) ceil(M / KPF) cycles per image. The
multipliers of the board are shared in proportion to multiply-adds: every stage takes the fewest
that bring it to a common time T, and T is the smallest for which all stages fit the DSP slices and
block RAM (`stages.py`); where there is none, the pipeline of the narrowest stages says by how much.
Then

    interval   = max(slowest stage / clock, external bytes per image / memory bandwidth)
    latency    = interval + fill of the slowest path (`flow.py`), further images one interval each
    throughput = 1 / interval

Activations stay on the chip: a stage keeps K + S columns of its input, pooling a column of results
for each window that is open, and where paths of unequal lag meet, the early one waits. Weights come
from external memory once per column of the output, except those of the stages with the most
columns, which stay on the chip as long as block RAM is left. Batch norms are folded, functions of
each element, additions and products keep the pace of the stages.

Energy is power times latency: a multiple of it, and no objective of its own.

Source: Zhang et al., "DNNBuilder", ICCAD 2018 (recalled): stages, CPF and KPF, the cache of columns
and shares in proportion. The buffers at joins, the weights that stay and the search for T are ours.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from math import fsum, prod
from typing import ClassVar, NamedTuple

from ..cost import Bottleneck, Cost, Excess, HardwareModel, LayerCost
from ..device import Device, Numbers
from ..dtypes import DTYPE_BYTES, Dtype
from ..workload import Workload
from .board import Board, BoardNumbers, word_bits
from .flow import Flow, blocks_of, check, flow, pool_words
from .loops import is_free, is_streamed, loops_of
from .stages import Stage, Width, stage_of

_SMALLER = "choose a network with fewer or smaller layers, or a narrower number format"


class PipelineNumbers(BoardNumbers):
    """What a file of the family holds: the board."""


class Pipeline(NamedTuple):
    """A network laid out on a board.

    Args:
        stages: One per layer with weights, in order.
        widths: Of each stage.
        resident: Indices of the layers whose weights stay on the chip.
        dsp: DSP slices taken.
        bram: Block RAMs taken.
        bytes_moved: Bytes of external memory traffic per image, by index of the layer: weights
            that do not stay, the image at the first layer and the result at the last.
        slowest: Index of the layer whose stage takes longest; -1: there is none.
        fullest: Index of the layer at which most activations wait; -1: there is none.
        flow: How an image passes.
    """

    stages: tuple[Stage, ...]
    widths: tuple[Width, ...]
    resident: frozenset[int]
    dsp: int
    bram: int
    bytes_moved: Mapping[int, float]
    slowest: int
    fullest: int
    flow: Flow

    @property
    def cycles(self) -> tuple[int, ...]:
        """Cycles of each stage per image."""
        return tuple(s.cycles(w) for s, w in zip(self.stages, self.widths, strict=True))


class PipelineModel(HardwareModel):
    """A layer pipeline on a board; see the module's text for its assumptions."""

    Numbers: ClassVar[type[Numbers]] = PipelineNumbers
    provides: ClassVar[tuple[str, ...]] = (
        "latency_ms",
        "throughput_per_s",
        "peak_memory_bytes",
        "energy_mj",
        "utilization",
    )
    proportional: ClassVar[Mapping[str, str]] = {"energy_mj": "latency_ms"}

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self.board = Board.of(device, "fpga_pipeline", PipelineNumbers)

    @property
    def dtypes(self) -> tuple[Dtype, ...]:
        """The number formats of the board."""
        return self.board.dtypes

    def pipeline(self, workload: Workload, dtype: Dtype | None = None) -> Pipeline:
        """Return the network laid out on the board; where it does not fit, as small as can be.

        Raises:
            UnsupportedLayer: If a layer can be no stage.
        """
        return _Layout(workload, self.board, self.settled(1, dtype)).pipeline()

    def cost_of(self, workload: Workload, batch: int, dtype: Dtype, *, breakdown: bool) -> Cost:
        """Return the cost; latencies of layers are what each adds to that of the network."""
        made = self.pipeline(workload, dtype)
        interval = self._interval(made)
        latency = batch * interval + made.flow.fill / self.board.clock
        macs = workload.macs * batch
        memory = workload.cast(dtype).weight_bytes + batch * _passing_bytes(workload, dtype)
        return Cost(
            latency_ms=1e3 * latency,
            peak_memory_bytes=memory,
            energy_mj=1e3 * latency * self.board.power,
            utilization=macs / latency / self.board.peak_macs(dtype),
            throughput_per_s=1 / interval,
            layers=self._layers(workload, made, batch) if breakdown else (),
            excesses=self._excesses(workload, made, memory),
        )

    def _excesses(self, workload: Workload, made: Pipeline, memory: int) -> tuple[Excess, ...]:
        fullest = workload.layers[made.fullest].name if made.bram > self.board.bram else ""
        remedy = "choose a smaller network, batch or number format"
        return (
            *self.board.over(dsp=made.dsp, remedy=_SMALLER),
            *self.board.over(bram=made.bram, layer=fullest, remedy=_SMALLER),
            *self.board.over(memory=memory, remedy=remedy),
        )

    def _interval(self, made: Pipeline) -> float:
        """Return the seconds from one image to the next."""
        slowest = max(made.cycles, default=0) / self.board.clock
        return max(slowest, fsum(made.bytes_moved.values()) / self.board.bandwidth)

    def _layers(self, workload: Workload, made: Pipeline, batch: int) -> tuple[LayerCost, ...]:
        """Return what each layer adds: its part of the fill, and of the intervals."""
        seconds = {i: cycles / self.board.clock for i, cycles in made.flow.waits.items()}
        interval, moved = self._interval(made), made.bytes_moved
        compute = max(made.cycles, default=0) / self.board.clock >= interval
        if compute:
            parts = {made.slowest: interval}
        else:
            total = fsum(moved.values())
            parts = {i: interval * size / total for i, size in moved.items()}
        for index, part in parts.items():
            seconds[index] = seconds.get(index, 0.0) + batch * part
        costs = []
        for index, layer in enumerate(workload.layers):
            time, size = seconds.get(index, 0.0), round(batch * moved.get(index, 0.0))
            waits: Bottleneck = "none" if not time else "compute" if compute else "memory"
            macs, power = layer.macs * batch, self.board.power
            costs.append(
                LayerCost(layer.name, layer.kind, 1e3 * time, 1e3 * time * power, macs, size, waits)
            )
        return tuple(costs)


class _Layout:
    """Finds the widths of all stages."""

    def __init__(self, workload: Workload, board: Board, dtype: Dtype) -> None:
        self.workload, self.board, self.dtype = workload, board, dtype
        self.bits = word_bits(dtype)
        stages: list[Stage] = []
        self.blocks: dict[int, int] = {}  # of the activations that wait at each layer
        for index, layer in enumerate(workload.layers):
            check(layer)
            self.blocks[index] = blocks_of(pool_words(layer), self.bits)
            if not (is_free(layer) or is_streamed(layer)):
                stages.append(stage_of(loops_of(layer)[0], index, layer.name))
                self.blocks[index] += stages[-1].cache_blocks(self.bits)
        self.stages = tuple(stages)
        # as if every stage took as long as the slowest: what waits then does not depend on widths
        for index, words in flow(workload, {s.index: 0 for s in stages}, -1).waiting.items():
            self.blocks[index] += blocks_of(words, self.bits)
        self.buffers = sum(self.blocks.values())

    def pipeline(self) -> Pipeline:
        widths = self._widths()
        blocks = self.buffers + self._weight_blocks(widths)
        resident, blocks = self._resident(widths, blocks)
        cycles = {s.index: s.cycles(w) for s, w in zip(self.stages, widths, strict=True)}
        slowest = max(cycles, key=lambda i: cycles[i], default=-1)
        return Pipeline(
            stages=self.stages,
            widths=widths,
            resident=resident,
            dsp=self._slices(widths),
            bram=blocks,
            bytes_moved=self._moved(resident),
            slowest=slowest,
            fullest=max(self.blocks, key=lambda i: self.blocks[i], default=-1),
            flow=flow(self.workload, cycles, slowest),
        )

    def _widths(self) -> tuple[Width, ...]:
        """Return the widths for the smallest time that fits; the narrowest where none does."""
        narrowest = tuple(s.widths[-1] for s in self.stages)
        if self.buffers + self._weight_blocks(narrowest) > self.board.bram:
            return narrowest  # a stage with one multiplier has the smallest buffer for weights
        kinds = {(s.positions, s.shape): s for s in self.stages}
        times = sorted({s.positions * w.folds for s in kinds.values() for w in s.widths})
        first = bisect_left(times, True, key=lambda t: self._fits_slices(self._at(t)))
        for time in times[first:]:
            widths = self._at(time)
            if widths and self.buffers + self._weight_blocks(widths) <= self.board.bram:
                return widths
        return narrowest

    def _at(self, time: int) -> tuple[Width, ...] | None:
        """Return the narrowest widths at which no stage takes longer; None: there are none."""
        found = []
        for stage in self.stages:
            width = stage.width(time)
            if width is None:
                return None
            found.append(width)
        return tuple(found)

    def _fits_slices(self, widths: tuple[Width, ...] | None) -> bool:
        return widths is not None and self._slices(widths) <= self.board.dsp

    def _slices(self, widths: Sequence[Width]) -> int:
        return sum(self.board.slices(w.multipliers, self.dtype) for w in widths)

    def _weight_blocks(self, widths: Sequence[Width]) -> int:
        return sum(s.weight_blocks(w, self.bits) for s, w in zip(self.stages, widths, strict=True))

    def _resident(self, widths: Sequence[Width], blocks: int) -> tuple[frozenset[int], int]:
        """Return the layers whose weights stay, the most columns first, until one does not fit."""
        found: list[int] = []
        pairs = zip(self.stages, widths, strict=True)
        for stage, width in sorted(pairs, key=lambda pair: (-pair[0].columns, pair[0].index)):
            more = stage.resident_blocks(width, self.bits) - stage.weight_blocks(width, self.bits)
            if stage.columns == 1 or blocks + more > self.board.bram:
                break
            found.append(stage.index)
            blocks += more
        return frozenset(found), blocks

    def _moved(self, resident: frozenset[int]) -> dict[int, float]:
        size = DTYPE_BYTES[self.dtype]
        moved = {
            s.index: float(size * s.weights * s.columns)
            for s in self.stages
            if s.index not in resident
        }
        read, written = _passing_words(self.workload)
        last = len(self.workload.layers) - 1
        for index, words in ((min(0, last), read), (last, written)):
            moved[index] = moved.get(index, 0.0) + words * size
        return moved


def _passing_words(workload: Workload) -> tuple[int, int]:
    """Return the words of the image and of the result."""
    tensors = workload.tensors
    read, written = (
        sum(prod(tensors[i].shape) for i in indices)
        for indices in (workload.inputs, workload.outputs)
    )
    return read, written


def _passing_bytes(workload: Workload, dtype: Dtype) -> int:
    return DTYPE_BYTES[dtype] * sum(_passing_words(workload))
