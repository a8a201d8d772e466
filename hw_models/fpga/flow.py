"""How an image flows through a pipeline: who waits for whom, and what waits in between.

Stages work column by column. A stage begins when the columns that its kernel covers are there, so
it lags behind the one before it by the time those take: the fill. The fill of a network is that of
its slowest path; where paths of unequal lag meet, the early one waits in a buffer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, prod
from typing import NamedTuple

from ..workload import Layer, Workload
from .board import BRAM_BITS
from .loops import is_free, unsupported

_WHOLE = frozenset({"linear", "reduce", "softmax", "norm"})  # begin when all of the input is there


class Wave(NamedTuple):
    """A bound on when columns come: n of them are not there before `time + n * pace`.

    Args:
        time: Cycles after the first pixel of the image.
        pace: Cycles per column.
        payer: Index of the stage that sets the pace; -1: the input.
        before: The wave that `time` was waited for on; None at the input.
        paid: Cycles waited for that.
    """

    time: float
    pace: float = 0.0
    payer: int = -1
    before: Wave | None = None
    paid: float = 0.0

    def after(self, columns: float) -> Wave:
        """Return the moment when so many columns have come."""
        paid = columns * self.pace
        if paid <= 0:
            return self._replace(pace=0.0)
        return Wave(self.time + paid, 0.0, self.payer, self, paid)


class Ready(NamedTuple):
    """When a tensor comes.

    Args:
        waves: Each bounds it.
        lag: When its first column comes, in images, if every stage took as long as the slowest.
        columns: How many columns it comes in.
    """

    waves: tuple[Wave, ...]
    lag: float
    columns: int

    def after(self, columns: float) -> Wave:
        """Return the moment when so many columns have come."""
        return _latest([w.after(min(columns, self.columns)) for w in self.waves])


class Flow(NamedTuple):
    """What a pass over the graph gives.

    Args:
        fill: Cycles until the last tensor begins to come, with its first column.
        waits: Cycles of it that each stage causes, by index of its layer.
        waiting: Words that wait where paths meet, by index of the layer.
    """

    fill: float
    waits: Mapping[int, float]
    waiting: Mapping[int, int]


def flow(workload: Workload, cycles: Mapping[int, int], slowest: int) -> Flow:
    """Return how an image passes through the pipeline.

    Args:
        workload: The network.
        cycles: Of each stage, by index of its layer.
        slowest: The stage whose time counts in full, so that it adds no fill.
    """
    start = (Wave(0.0),)
    ready = {i: Ready(start, 0.0, [1, *workload.tensors[i].shape][-1]) for i in workload.inputs}
    waiting: dict[int, int] = {}
    for index, layer in enumerate(workload.layers):
        sources = [(ready[i], s) for i, s in _sources(layer, ready)]
        need = _need(layer)
        lags = [r.lag + min(1.0, need(r.columns) / r.columns) for r, _ in sources]
        late = max(lags, default=0.0)
        words = sum(
            ceil(min(1.0, late - lag) * prod(shape))
            for lag, (_, shape) in zip(lags, sources, strict=True)
        )
        if words:
            waiting[index] = words
        out = _out(layer, index, [r for r, _ in sources], need, late, cycles, slowest)
        ready.update(dict.fromkeys(layer.outputs, out))
    last = _latest([ready[i].after(1) for i in workload.outputs if i in ready])
    waits: dict[int, float] = {}
    wave: Wave | None = last
    while wave is not None and wave.before is not None:
        payer = wave.before.payer
        waits[payer] = waits.get(payer, 0.0) + wave.paid
        wave = wave.before
    return Flow(last.time, waits, waiting)


def pool_words(layer: Layer) -> int:
    """Return the words that pooling holds: a column of results for each window open at a time."""
    if layer.kind != "pool" or not layer.kernel:
        return 0
    stride = layer.stride[-1] if layer.stride else layer.kernel[-1]
    return prod(layer.output_shapes[0][:-1]) * ceil(layer.kernel[-1] / max(1, stride))


def blocks_of(words: int, bits: int) -> int:
    """Return the block RAMs of a buffer."""
    return ceil(words * bits / BRAM_BITS)


def check(layer: Layer) -> None:
    """Refuse what a tiled engine runs and a pipeline does not.

    Raises:
        UnsupportedLayer: If the layer multiplies activations, or looks its input up.
    """
    if layer.kind in ("matmul", "attention"):
        text = "a stage holds weights, and this multiplies two activations: use a tiled engine"
        raise unsupported(layer, "a layer pipeline", text)
    if layer.kind == "embedding":
        raise unsupported(layer, "a layer pipeline", "use a tiled engine")


def _sources(layer: Layer, ready: Mapping[int, Ready]) -> Sequence[tuple[int, tuple[int, ...]]]:
    """Return the tensors that a layer waits for, constants left out, with their shapes."""
    return [(i, s) for i, s in zip(layer.inputs, layer.input_shapes, strict=True) if i in ready]


def _need(layer: Layer) -> Callable[[int], float]:
    """Return how many of so many columns a layer needs to begin."""
    if layer.kind in _WHOLE and not is_free(layer):
        return float
    if not layer.kernel:
        return lambda columns: 0.0
    padding = layer.padding[-1] if layer.padding else 0
    dilation = layer.dilation[-1] if layer.dilation else 1
    extent = dilation * (layer.kernel[-1] - 1) + 1
    return lambda columns: float(min(columns, max(1, extent - padding)))


def _out(
    layer: Layer,
    index: int,
    sources: Sequence[Ready],
    need: Callable[[int], float],
    lag: float,
    cycles: Mapping[int, int],
    slowest: int,
) -> Ready:
    """Return when the output of a layer begins to come."""
    shape = layer.output_shapes[0]
    if index in cycles:
        begun = _latest([r.after(need(r.columns)) for r in sources])
        columns = shape[-1] if layer.kernel else 1
        pace = 0.0 if index == slowest else cycles[index] / columns
        return Ready((begun._replace(pace=pace, payer=index),), lag, columns)
    if layer.kind in _WHOLE and not is_free(layer):  # then it is there at once
        return Ready((_latest([r.after(r.columns) for r in sources]),), lag, 1)
    columns = max([r.columns for r in sources], default=1)
    if layer.kernel or layer.kind == "resize":
        columns = shape[-1]
    return Ready(_passed(sources, need, columns), lag, columns)


def _passed(
    sources: Sequence[Ready], need: Callable[[int], float], columns: int
) -> tuple[Wave, ...]:
    """Return the waves behind a layer that keeps pace with its sources.

    A column that comes out stands for several that came in, and the first for a window of them.
    """
    waves = []
    for ready in sources:
        many = ready.columns / columns
        for wave in ready.waves:
            begun = wave.after(max(0.0, need(ready.columns) - many))
            waves.append(begun._replace(pace=wave.pace * many, payer=wave.payer))
    found: list[Wave] = []
    for wave in sorted(waves, key=lambda w: (-w.time, -w.pace)):
        if not found or wave.pace > found[-1].pace:  # else one that comes later is slower too
            found.append(wave)
    return tuple(found) or (Wave(0.0),)


def _latest(moments: Sequence[Wave]) -> Wave:
    return max(moments, key=lambda w: w.time, default=Wave(0.0))
