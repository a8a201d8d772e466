"""Networks on one tiled engine, in one number format: the sum over their layers."""

from __future__ import annotations

from functools import reduce
from math import prod
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from ..cost import Bottleneck, Excess, LayerCost, SequentialModel
from ..device import Device
from ..dtypes import Dtype
from ..workload import Layer, Workload
from .board import Board, word_bits
from .engine import Accounting, Engine, Nests, Reach, bram, dense, depthwise, reach_of
from .loops import is_free, is_streamed, loops_of, passes_over
from .tiling import Stream

SMALLER = (
    "take a narrower number format, an engine with fewer multipliers or smaller tiles, or leave "
    "the engine out of the device file, so that each network gets its best"
)


class EngineRun(SequentialModel):
    """Costs networks on one engine.

    Args:
        device: The device, for messages.
        board: Its numbers.
        engine: Words of its ports are those of `dtype`.
        dtype: Number format.
        accounting: How tiles are charged.
    """

    provides: ClassVar[tuple[str, ...]] = (
        "latency_ms",
        "peak_memory_bytes",
        "energy_mj",
        "utilization",
    )

    def __init__(
        self, device: Device, board: Board, engine: Engine, dtype: Dtype, accounting: Accounting
    ) -> None:
        super().__init__(device)
        self.board, self.engine, self.dtype, self.accounting = board, engine, dtype, accounting
        self._reaches: WeakKeyDictionary[Workload, Reach] = WeakKeyDictionary()
        self._layer_costs: dict[Any, LayerCost] = {}

    @property
    def dtypes(self) -> tuple[Dtype, ...]:
        """The one number format."""
        return (self.dtype,)

    def memory(self, workload: Workload, batch: int) -> tuple[int, tuple[Excess, ...]]:
        """Return the bytes of external memory, and what of the board does not suffice."""
        needed, excesses = self.board.outside(workload, batch)
        reaches = [self._reach(piece).within(label) for label, piece in workload.pieces]
        reach = reduce(Reach.joined, reaches, Reach())
        return needed, (*self.excesses(reach), *excesses)

    def excesses(self, reach: Reach) -> tuple[Excess, ...]:
        """Return the limits of the board that the engine breaks with such kernels."""
        slices = self.board.slices(self.engine.macs, self.dtype)
        blocks = int(bram(self.engine, reach, word_bits(self.dtype), self.accounting.window))
        return self.board.over(dsp=slices, bram=blocks, layer=reach.layer, remedy=SMALLER)

    def utilization(self, macs: int, latency_ms: float) -> float | None:
        """Return the multiply-adds over those that all DSP slices could do in this time."""
        if latency_ms <= 0:
            return 0.0
        return 1e3 * macs / latency_ms / self.board.peak_macs(self.dtype)

    def layer_cost(self, layer: Layer, batch: int) -> LayerCost:
        """Return the time of one layer, worked out once per kind and shape."""
        key = (layer.signature, batch)
        known = self._layer_costs.get(key)
        if known is None:
            known = self._layer_costs[key] = self._time(layer, batch)
        return known

    def _time(self, layer: Layer, batch: int) -> LayerCost:
        cycles = compute = ports = moved = 0.0
        if not is_free(layer):
            if not is_streamed(layer):
                cycles, compute, ports, moved = self._nests(layer, batch)
            for read, written in streams_of(layer, batch):
                passing = max(read / self.engine.input_words, written / self.engine.output_words)
                cycles, ports = cycles + passing, ports + passing
                moved += read + written
        bytes_moved = moved * word_bits(self.dtype) / 8
        outside = bytes_moved / self.board.bandwidth
        seconds = max(cycles / self.board.clock, outside)
        bottleneck: Bottleneck = "none"
        if seconds > 0:
            waits = max(ports / self.board.clock, outside)
            bottleneck = "memory" if waits > compute / self.board.clock else "compute"
        return LayerCost(
            name=layer.name,
            kind=layer.kind,
            latency_ms=1e3 * seconds,
            energy_mj=1e3 * seconds * self.board.power,
            macs=layer.macs * batch,
            bytes_moved=round(bytes_moved),
            bottleneck=bottleneck,
        )

    def _nests(self, layer: Layer, batch: int) -> tuple[float, float, float, float]:
        """Return cycles, cycles of arithmetic alone, of the busiest port alone, and words moved."""
        loops = loops_of(layer, batch)
        nests = Nests.of(loops)
        deep = any(x.depthwise for x in loops)
        made = (depthwise if deep else dense)(self.engine, nests, self.accounting)
        cycles, compute, read, weights, written = (float(x.sum()) for x in made)
        e = self.engine
        ports = max(read / e.input_words, weights / e.weight_words, written / e.output_words)
        return cycles, compute, ports, read + weights + written

    def _reach(self, piece: Workload) -> Reach:
        known = self._reaches.get(piece)
        if known is None:
            layers = [x for x in piece.layers if not is_free(x) and not is_streamed(x)]
            reaches = [reach_of(loops, x.name) for x in layers for loops in loops_of(x)]
            known = self._reaches[piece] = reduce(Reach.joined, reaches, Reach())
        return known


def streams_of(layer: Layer, batch: int) -> tuple[Stream, ...]:
    """Return the words that a layer passes beside its loop nests.

    For attention that is the softmax between its products: the scores, read twice.
    """
    if layer.kind == "attention":
        q, k = layer.input_shapes[:2]
        scores = prod(q[:-1]) * k[-2] * batch
        return (Stream(2 * scores, scores),)
    if not is_streamed(layer):
        return ()
    read = sum(prod(shape) for shape in layer.input_shapes) * batch
    written = sum(prod(shape) for shape in layer.output_shapes) * batch
    if layer.kind == "embedding":  # the rows that it returns, not positions and not its table
        read = written
    return (Stream(read * passes_over(layer), written),)
