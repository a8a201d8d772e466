"""Networks on one tiled engine, in one number format: the sum over their layers."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar, NamedTuple
from weakref import WeakKeyDictionary

from ..cost import Bottleneck, Excess, LayerCost, SequentialModel
from ..device import Device
from ..dtypes import Dtype
from ..workload import Layer, Workload
from .board import Board, word_bits
from .engine import Accounting, Banks, Engine, Nests, banks, bram, dense, depthwise
from .loops import is_free, is_streamed, loops_of, passes_over
from .tiling import Stream

SMALLER = (
    "take a narrower number format, an engine with fewer multipliers or smaller tiles, or leave "
    "the engine out of the device file, so that each network gets its best"
)


class Needs(NamedTuple):
    """What layers need of an engine's buffers.

    Args:
        array: Banks of the array.
        unit: Banks of the depthwise unit.
        layer: Name of the layer that needs most alone.
        blocks: Block RAMs that it needs alone.
    """

    array: Banks = Banks()
    unit: Banks = Banks()
    layer: str = ""
    blocks: int = 0

    def joined(self, other: Needs, part: str = "") -> Needs:
        """Return what both need; `part` is where in the network the other's layers are."""
        layer, blocks = self.layer, self.blocks
        if other.blocks > blocks:
            layer, blocks = f"{part}.{other.layer}" if part else other.layer, other.blocks
        return Needs(_more(self.array, other.array), _more(self.unit, other.unit), layer, blocks)


def _more(a: Banks, b: Banks) -> Banks:
    return Banks(max(a.inputs, b.inputs), max(a.weights, b.weights))


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
        self._needs: WeakKeyDictionary[Workload, Needs] = WeakKeyDictionary()
        self._layer_costs: dict[Any, LayerCost] = {}

    @property
    def dtypes(self) -> tuple[Dtype, ...]:
        """The one number format."""
        return (self.dtype,)

    def memory(self, workload: Workload, batch: int) -> tuple[int, tuple[Excess, ...]]:
        """Return the bytes of external memory, and what of the board does not suffice."""
        needed, excesses = self.board.outside(workload, batch)
        needs = Needs()
        for label, piece in workload.pieces:
            needs = needs.joined(self._needs_of(piece), label)
        return needed, (*self.excesses(needs), *excesses)

    def excesses(self, needs: Needs) -> tuple[Excess, ...]:
        """Return the limits of the board that the engine breaks with such buffers."""
        slices = self.board.slices(self.engine.macs, self.dtype)
        blocks = int(bram(self.engine, needs.array, needs.unit, word_bits(self.dtype)))
        return (
            *self.board.over(dsp=slices, remedy=SMALLER),
            *self.board.over(bram=blocks, layer=needs.layer, remedy=SMALLER),
        )

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

    def _needs_of(self, piece: Workload) -> Needs:
        known = self._needs.get(piece)
        if known is None:
            known = Needs()
            for layer in piece.layers:
                if not is_free(layer) and not is_streamed(layer):
                    known = known.joined(self._needs_of_layer(layer))
            self._needs[piece] = known
        return known

    def _needs_of_layer(self, layer: Layer) -> Needs:
        loops, bits = loops_of(layer), word_bits(self.dtype)
        made = banks(self.engine, loops, bits, self.accounting.window)
        found = Banks(float(made.inputs), float(made.weights))
        own = any(x.depthwise for x in loops) and self.engine.depthwise > 0
        array, unit = (Banks(), found) if own else (found, Banks())
        return Needs(array, unit, layer.name, int(bram(self.engine, array, unit, bits)))


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
