"""The tiled engine: what one choice of tiles costs in time, traffic, DSP slices and block RAM.

An engine multiplies Tm x Tn pairs of channels per cycle and works tile by tile, Tr x Tc output
positions at a time, over a loop nest of M output and N input channels, R x C positions and a
K x K kernel. Every tile is loaded, computed and stored through ports of I_p, W_p and O_p words per
cycle, double-buffered:

    I = tn in(tr) in(tc) / I_p     W = tm tn K^2 / W_p     O = tm tr tc / O_p
    L1 = max(I, W, K^2 tr tc + P)  L2 = max(sum over the tiles of N of L1, O)
    cycles = sum of L2 over the tiles of R, C, M

With `remainder="full"` every tile is charged as a whole one: ceil(R/Tr) ceil(C/Tc) ceil(M/Tm)
max(ceil(N/Tn) L1, O). With "exact" the last tile of each dimension has the size it really has; the
lanes that it leaves idle stay idle. `window="halo"` counts the input positions that a tile really
reads, in(t) = S (t - 1) + extent of the kernel; "tile" counts as many as it writes.

Functions take numbers or numpy arrays that broadcast (engines along one axis, loop nests along the
other), so that a search and a single cost are one formula.

Source: Zhang et al., FPGA 2015 (tiles, roofline, computation to communication); the version with
ports and the accounting of DSP slices and block RAM are hotNAS's (arXiv 2007.09087).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from .board import BRAM_BITS
from .loops import Loops

Remainder: TypeAlias = Literal["exact", "full"]
Window: TypeAlias = Literal["halo", "tile"]
Values: TypeAlias = Any  # a float, or an array of them


class Accounting(NamedTuple):
    """How tiles are charged.

    Args:
        remainder: `exact` or `full`; see the module's text.
        window: `halo` or `tile`.
        depth: Cycles to fill the arithmetic pipeline, per tile (P).
    """

    remainder: Remainder = "exact"
    window: Window = "halo"
    depth: int = 0


class Engine(NamedTuple):
    """One configuration; the fields may be arrays.

    Args:
        outputs: Output channels at once (Tm).
        inputs: Input channels at once (Tn).
        rows: Rows of the output per tile (Tr).
        columns: Columns of the output per tile (Tc).
        depthwise: Multipliers of the unit for depthwise layers; 0: there is none, and one
            multiplier of the array does their work.
        input_words: Words per cycle of the input ports.
        weight_words: Likewise, weights.
        output_words: Likewise, outputs.
    """

    outputs: Values
    inputs: Values
    rows: Values
    columns: Values
    depthwise: Values
    input_words: Values
    weight_words: Values
    output_words: Values

    @property
    def macs(self) -> Values:
        """Multiply-adds per cycle, both units together."""
        return self.outputs * self.inputs + self.depthwise


class Nests(NamedTuple):
    """Loop nests as arrays; the fields are those of `Loops`."""

    groups: Values
    outputs: Values
    inputs: Values
    rows: Values
    columns: Values
    kernel: tuple[Values, Values]
    stride: tuple[Values, Values]
    extent: tuple[Values, Values]
    flat: Values

    @classmethod
    def of(cls, loops: Iterable[Loops]) -> Nests:
        """Return loop nests, at least one, as arrays along the last axis."""
        found = list(loops)

        def plain(name: str) -> Values:
            return np.array([getattr(x, name) for x in found], float)

        def pair(name: str) -> tuple[Values, Values]:
            high, wide = np.array([getattr(x, name) for x in found], float).T
            return high, wide

        return cls(
            groups=plain("groups"),
            outputs=plain("outputs"),
            inputs=plain("inputs"),
            rows=plain("rows"),
            columns=plain("columns"),
            kernel=pair("kernel"),
            stride=pair("stride"),
            extent=pair("extent"),
            flat=np.array([x.flat for x in found]),
        )


class Schedule(NamedTuple):
    """What loop nests take on an engine.

    Args:
        cycles: From the first word to the last.
        compute: Cycles if words came and went for free.
        input_words: Words loaded, with those loaded again.
        weight_words: Likewise.
        output_words: Words stored.
    """

    cycles: Values
    compute: Values
    input_words: Values
    weight_words: Values
    output_words: Values

    @property
    def words(self) -> Values:
        """All words that pass the ports."""
        return self.input_words + self.weight_words + self.output_words


def dense(engine: Engine, x: Nests, how: Accounting) -> Schedule:
    """Return the schedule of convolutions and products on the array of multipliers."""
    tiles = _Tiles(engine.outputs, engine.inputs, engine, x, how)
    return _schedule(engine, x, tiles, how, shared=True)


def depthwise(engine: Engine, x: Nests, how: Accounting) -> Schedule:
    """Return the schedule of depthwise layers: a tile of outputs reads as many inputs."""
    lanes = np.maximum(engine.depthwise, 1)
    tiles = _Tiles(lanes, np.ones_like(lanes), engine, x, how)
    return _schedule(engine, x, tiles, how, shared=False)


class _Tiles:
    """The sizes of tiles, each with how many of them there are."""

    def __init__(
        self, outputs: Values, inputs: Values, engine: Engine, x: Nests, how: Accounting
    ) -> None:
        rows = np.where(x.flat, 1, engine.rows)
        columns = np.where(x.flat, engine.rows * engine.columns, engine.columns)
        self.outputs = list(_cut(x.outputs, outputs, how.remainder))
        self.inputs = list(_cut(x.inputs, inputs, how.remainder))
        self.rows = list(_cut(x.rows, rows, how.remainder))
        self.columns = list(_cut(x.columns, columns, how.remainder))
        # charged in full, weights fill their buffer whatever the layer has
        self.whole = outputs * inputs if how.remainder == "full" else None


def _cut(size: Values, tile: Values, remainder: Remainder) -> Iterator[tuple[Values, Values]]:
    """Yield (how many, of which size) for the tiles along one dimension."""
    if remainder == "full":
        yield np.ceil(size / tile), np.minimum(size, tile)
        return
    whole = np.floor(size / tile)
    rest = size - whole * tile
    yield whole, np.minimum(size, tile)
    yield np.minimum(rest, 1), rest


def _schedule(
    engine: Engine, x: Nests, tiles: _Tiles, how: Accounting, *, shared: bool
) -> Schedule:
    kernel = x.kernel[0] * x.kernel[1]
    cycles = compute = inputs = weights = outputs = 0.0
    for rows_count, rows in tiles.rows:
        for columns_count, columns in tiles.columns:
            window = _window(x, rows, columns, how.window)
            pixels = rows * columns
            for outputs_count, tm in tiles.outputs:
                count = x.groups * rows_count * columns_count * outputs_count
                inner = 0.0
                for inputs_count, tn in tiles.inputs:
                    read = (tn if shared else tm) * window
                    weight = (tm * tn if tiles.whole is None else tiles.whole) * kernel
                    work = kernel * pixels + how.depth
                    load = np.maximum(read / engine.input_words, weight / engine.weight_words)
                    inner = inner + inputs_count * np.maximum(load, work)
                    times = count * inputs_count
                    compute = compute + times * work
                    inputs, weights = inputs + times * read, weights + times * weight
                stored = tm * pixels
                cycles = cycles + count * np.maximum(inner, stored / engine.output_words)
                outputs = outputs + count * stored
    return Schedule(cycles, compute, inputs, weights, outputs)


def _window(x: Nests, rows: Values, columns: Values, window: Window) -> Values:
    """Return the input positions that a tile of outputs reads; none for an empty tile."""
    if window == "tile":
        return rows * columns
    high = x.stride[0] * (rows - 1) + x.extent[0]
    wide = x.stride[1] * (columns - 1) + x.extent[1]
    return np.where(rows * columns > 0, high * wide, 0.0)


class Banks(NamedTuple):
    """Block RAMs of one unit's buffers, each held twice.

    Args:
        inputs: Per input channel at once.
        weights: Per multiplier.
    """

    inputs: Values = 1
    weights: Values = 1

    def joined(self, other: Banks) -> Banks:
        """Return what both need."""
        return Banks(np.maximum(self.inputs, other.inputs), np.maximum(self.weights, other.weights))


def banks(engine: Engine, loops: Iterable[Loops], bits: int, window: Window = "halo") -> Banks:
    """Return the banks that hold the tiles of all these loop nests, one block each at least.

    A bank of inputs holds the largest window of a tile, ceil(in(Tr) in(Tc) b / 18000), where no
    tile is larger than the map; with `window="tile"` ceil(Tr Tc b / 18000). A bank of weights
    holds four kernels of up to 16 bits, ceil(4 K^2 b / 18000), else one.
    """
    found = Banks()
    for x in {x._replace(groups=1, outputs=1, inputs=1) for x in loops}:
        kernel = x.kernel[0] * x.kernel[1]
        words: Values = engine.rows * engine.columns
        if window == "halo" and x.flat:
            words = np.minimum(words, x.columns)
        elif window == "halo":
            high = x.stride[0] * (np.minimum(engine.rows, x.rows) - 1) + x.extent[0]
            wide = x.stride[1] * (np.minimum(engine.columns, x.columns) - 1) + x.extent[1]
            words = high * wide
        packed = 1 if bits > 16 else 4
        own = Banks(_blocks(words, bits), _blocks(packed * kernel, bits))
        found = found.joined(own)
    return found


def bram(engine: Engine, array: Banks, unit: Banks, bits: int) -> Values:
    """Return the block RAMs of 18 Kbit that an engine takes.

        2 Tn ceil(in(Tr) in(Tc) b / 18000) + 2 Tm ceil(Tr Tc b / 18000)
        + Tm Tn ceil(4 K^2 b / 18000)                up to 16 bits
        + 2 Tm Tn ceil(K^2 b / 18000)                above

    The depthwise unit has buffers of its own: the same with Tn = Tm in the first term and 1 in the
    last. Inputs and outputs are buffered twice, a bank per channel.

    Args:
        engine: The engine.
        array: Banks for the layers that the array runs.
        unit: Banks for the layers of the depthwise unit.
        bits: Of a word.
    """
    stored = 2 * _blocks(engine.rows * engine.columns, bits)
    copies = 2 if bits > 16 else 1
    loaded = engine.inputs * 2 * array.inputs
    held = engine.outputs * (stored + engine.inputs * copies * array.weights)
    return loaded + held + engine.depthwise * (2 * unit.inputs + stored + copies * unit.weights)


def _blocks(words: Values, bits: int) -> Values:
    return np.ceil(words * bits / BRAM_BITS)


def ctc(engine: Engine, loops: Loops, bits: int) -> float:
    """Return operations per byte of external traffic, all tiles charged in full.

    CTC = 2 M N R C K^2 / (a_in B_in + a_w B_w + a_out B_out) with
    B_in = Tn (S Tr + K - S)(S Tc + K - S), B_w = Tm Tn K^2, B_out = Tm Tr Tc,
    a_in = a_w = ceil(M/Tm) ceil(N/Tn) ceil(R/Tr) ceil(C/Tc), a_out = the same without N: partial
    sums stay in the buffer.
    """
    e, x = engine, loops
    stored = -(-x.outputs // e.outputs) * -(-x.rows // e.rows) * -(-x.columns // e.columns)
    loaded = stored * -(-x.inputs // e.inputs)
    window = (x.stride[0] * (e.rows - 1) + x.extent[0]) * (
        x.stride[1] * (e.columns - 1) + x.extent[1]
    )
    kernel = x.kernel[0] * x.kernel[1]
    words = loaded * (e.inputs * window + e.outputs * e.inputs * kernel)
    words += stored * e.outputs * e.rows * e.columns
    return float(2 * x.macs / (x.groups * words * bits / 8))


def attainable(engine: Engine, loops: Loops, bits: int, clock: float, bandwidth: float) -> float:
    """Return the roof in operations per second: min(2 Tm Tn f, CTC x bandwidth)."""
    peak = 2 * engine.outputs * engine.inputs * clock
    return float(min(peak, ctc(engine, loops, bits) * bandwidth))
