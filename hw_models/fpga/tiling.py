"""The best tiled engine of a board for a set of layers, by branch and bound: exact, no randomness.

Candidates are a fixed grid, the same for every board and network: channels with three leading bits
(1 to 8, 10, 12, 14, 16, 20, ...), rows and columns that powers of two and halves of 224 have, and
every way to give the memory ports to inputs, weights and outputs. So a larger board is never
slower, and a larger network never faster. Pairs of channel tiles are visited in the order of a
lower bound of their time; the search ends where no bound is below the best engine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..dtypes import Dtype
from .board import Board, word_bits
from .engine import Accounting, Banks, Engine, Nests, banks, bram, dense, depthwise
from .loops import Loops

CHANNELS = tuple(sorted({m << k for k in range(8) for m in range(1, 8)}))
SIDES = (1, 2, 4, 7, 8, 14, 16, 28, 32, 56, 64)


@dataclass(frozen=True)
class Ports:
    """The ports to memory.

    Args:
        count: How many there are, each given to inputs, weights or outputs; at least 3.
        bits: Width of each, per cycle.
    """

    count: int
    bits: int

    def words(self, ports: int, bits: int) -> float:
        """Return the words per cycle of so many ports."""
        return ports * self.bits / bits


class Stream(NamedTuple):
    """Words that a layer without multiply-adds reads and writes."""

    read: int
    written: int


@dataclass(frozen=True)
class Task:
    """What an engine is chosen for.

    Args:
        loops: The loop nests of all layers.
        streams: The layers that only pass words.
    """

    loops: tuple[Loops, ...]
    streams: tuple[Stream, ...] = ()

    @cached_property
    def key(self) -> Hashable:
        """Equal for tasks of the same layers, in whatever order."""
        loops, streams = Counter(self.loops), Counter(self.streams)
        return (frozenset(loops.items()), frozenset(streams.items()))

    @cached_property
    def array(self) -> tuple[Loops, ...]:
        """The loop nests of the array of multipliers."""
        return tuple(x for x in self.loops if not x.depthwise)

    @cached_property
    def unit(self) -> tuple[Loops, ...]:
        """The loop nests of the depthwise unit."""
        return tuple(x for x in self.loops if x.depthwise)


def search_engine(
    board: Board, ports: Ports, task: Task, dtype: Dtype, how: Accounting
) -> Engine | None:
    """Return the engine with the least latency that fits the board; None: no engine fits.

    Among equals the one with fewer DSP slices, then fewer block RAMs, then smaller tiles.
    """
    least, bits = smallest_engine(ports, dtype), word_bits(dtype)
    if bram(least, banks(least, task.loops, bits, how.window), Banks(), bits) > board.bram:
        return None
    return _Search(board, ports, task, dtype, how).best()


def smallest_engine(ports: Ports, dtype: Dtype) -> Engine:
    """Return the engine with one multiplier, tiles of one position and a port for each stream."""
    words = ports.words(1, word_bits(dtype))
    return Engine(1, 1, 1, 1, 0, words, words, words)


class _Search:
    def __init__(
        self, board: Board, ports: Ports, task: Task, dtype: Dtype, how: Accounting
    ) -> None:
        self.board, self.dtype, self.how = board, dtype, how
        self.bits = word_bits(dtype)
        self.dense, self.deep = _Group(task.array), _Group(task.unit)
        self.streams = Counter(task.streams)
        sides = np.array([(r, c) for r in SIDES for c in SIDES], float)
        self.options = [
            Engine(0, 0, sides[:, :1], sides[:, 1:], 0, *(ports.words(n, self.bits) for n in split))
            for split in _splits(ports.count)
        ]
        self.banks = [
            banks(self.options[0], loops, self.bits, how.window)
            for loops in (task.array, task.unit, task.loops)
        ]
        self.extra = [self._streamed(o) for o in self.options]
        self._known: dict[tuple[int, int, int, int], Any] = {}

    def best(self) -> Engine | None:
        found: tuple[Any, ...] | None = None
        for bound, outputs, inputs, lanes, split in self._candidates():
            if found is not None and bound > found[0]:
                break
            place = self._place(outputs, inputs, lanes, split)
            if place is not None:
                found = place if found is None else min(found, place)
        return None if found is None else self._engine(*found[3:])

    def _place(self, outputs: int, inputs: int, lanes: int, split: int) -> tuple[Any, ...] | None:
        """Return the rank of the best tile sides for the rest of an engine, and the engine."""
        option = self.options[split]
        engine = option._replace(outputs=outputs, inputs=inputs, depthwise=lanes)
        array, unit, both = self.banks
        blocks = bram(engine, array if lanes else both, unit, self.bits)[:, 0]
        fits = np.flatnonzero(blocks <= self.board.bram)
        if not fits.size:
            return None
        seconds = self._seconds(outputs, inputs, 0, split) + self._seconds(0, 0, lanes, split)
        seconds = seconds[fits] + self.extra[split]
        first = fits[np.lexsort((fits, blocks[fits], seconds))[0]]
        slices = self.board.slices(outputs * inputs + lanes, self.dtype)
        time = float(seconds[np.searchsorted(fits, first)])
        return (time, slices, float(blocks[first]), outputs, inputs, lanes, split, int(first))

    def _engine(self, outputs: int, inputs: int, lanes: int, split: int, side: int) -> Engine:
        option = self.options[split]
        rows, columns = int(option.rows[side, 0]), int(option.columns[side, 0])
        return Engine(outputs, inputs, rows, columns, lanes, *option[5:])

    def _candidates(self) -> list[tuple[float, int, int, int, int]]:
        """Return (lower bound of the seconds, Tm, Tn, depthwise lanes, ports), ascending."""
        limit, slices = self.board.dsp, self.board.slices
        tiles = CHANNELS if self.dense else (1,)
        pairs = [(m, n) for m in tiles for n in tiles if slices(m * n, self.dtype) <= limit]
        units = (0, *CHANNELS) if self.deep else (0,)
        found = []
        for split, option in enumerate(self.options):
            array = [self._bound(self.dense, *pair, option) for pair in pairs]
            unit = [self._bound(self.deep, lanes, 1, option) for lanes in units]
            found += [
                ((x + y + self.extra[split]) * (1 - 1e-12), *pair, lanes, split)
                for x, pair in zip(array, pairs, strict=True)
                for y, lanes in zip(unit, units, strict=True)
                if slices(pair[0] * pair[1] + lanes, self.dtype) <= limit
            ]
        return sorted(found)

    def _bound(self, group: _Group, outputs: int, inputs: int, option: Engine) -> float:
        """Return seconds that no engine with these channel tiles and ports can beat."""
        if not group:
            return 0.0
        x = group.nests
        passes = np.ceil(x.outputs / max(outputs, 1))
        kernel, pixels = x.kernel[0] * x.kernel[1], x.rows * x.columns
        fresh = 1.0
        if self.how.window == "halo":
            fresh = np.minimum(x.stride[0], x.extent[0]) * np.minimum(x.stride[1], x.extent[1])
        reads = (x.outputs if group.deep else passes * x.inputs) * pixels * fresh
        cycles = np.maximum(
            np.maximum(passes * np.ceil(x.inputs / inputs) * pixels * kernel, reads / option[5]),
            np.maximum(x.outputs * x.inputs * kernel / option[6], x.outputs * pixels / option[7]),
        )
        return float((group.counts * x.groups * cycles).sum() / self.board.clock)

    def _streamed(self, option: Engine) -> float:
        """Return the seconds of layers that only pass words."""
        seconds = 0.0
        for (read, written), count in self.streams.items():
            cycles = max(read / option.input_words, written / option.output_words)
            outside = (read + written) * self.bits / 8 / self.board.bandwidth
            seconds += count * max(cycles / self.board.clock, outside)
        return seconds

    def _seconds(self, outputs: int, inputs: int, lanes: int, split: int) -> Any:
        """Return, for each pair of sides, the seconds of the array's or the unit's layers."""
        key = (outputs, inputs, lanes, split)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._compute(*key)
        return known

    def _compute(self, outputs: int, inputs: int, lanes: int, split: int) -> Any:
        group = self.dense if outputs else self.deep
        option = self.options[split]
        if not group:
            return np.zeros(len(option.rows))
        engine = option._replace(outputs=outputs, inputs=inputs, depthwise=lanes)
        made = (dense if outputs else depthwise)(engine, group.nests, self.how)
        outside = made.words * self.bits / 8 / self.board.bandwidth
        times = np.maximum(made.cycles / self.board.clock, outside)
        return (group.counts * times).sum(axis=1)


def _splits(ports: int) -> list[tuple[int, int, int]]:
    """Return every way to give all ports to inputs, weights and outputs, at least one each."""
    return [(i, w, ports - i - w) for i in range(1, ports - 1) for w in range(1, ports - i)]


class _Group:
    """Equal loop nests once, with how often each occurs."""

    def __init__(self, loops: Iterable[Loops]) -> None:
        counted = Counter(loops)
        self.deep = any(x.depthwise for x in counted)
        if counted:
            self.nests = Nests.of(counted)
            self.counts = np.array(list(counted.values()), float)
        self._size = len(counted)

    def __bool__(self) -> bool:
        return self._size > 0
