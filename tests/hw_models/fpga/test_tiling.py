"""The search for an engine: against trying everything, and what more of a board must not spoil."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netloom.hw_models.fpga import tiling
from netloom.hw_models.fpga.board import Board
from netloom.hw_models.fpga.engine import Accounting, Engine, Nests, banks, bram, dense, depthwise
from netloom.hw_models.fpga.loops import Loops
from netloom.hw_models.fpga.tiling import Ports, Stream, Task, search_engine

BOARD = Board(
    clock=100e6,
    dsp=220,
    bram=280,
    dsp_per_mac={"int16": 1.0, "int8": 0.5, "float32": 5.0},
    bandwidth=4e9,
    memory=2**30,
    power=5.0,
)
PORTS = Ports(4, 64)
HOW = Accounting()
CONV = Loops(1, 48, 24, 28, 28, (3, 3), (1, 1), (3, 3))
DEEP = Loops(1, 96, 1, 14, 14, (3, 3), (2, 2), (3, 3), depthwise=True)
DENSE = Loops(1, 100, 96, 1, 1, flat=True)
TASK = Task((CONV, CONV, DEEP, DENSE), (Stream(9408, 2352),))


def seconds(engine: Engine, task: Task, board: Board = BOARD, how: Accounting = HOW) -> float:
    """Return the time of a task on an engine, one layer after the other."""
    total = 0.0
    for loops in task.loops:
        made = (depthwise if loops.depthwise else dense)(engine, Nests.of([loops]), how)
        outside = float(made.words[0]) * 2 / board.bandwidth
        total += max(float(made.cycles[0]) / board.clock, outside)
    for read, written in task.streams:
        cycles = max(read / engine.input_words, written / engine.output_words)
        total += max(cycles / board.clock, 2 * (read + written) / board.bandwidth)
    return total


def blocks(engine: Engine, task: Task, bits: int, window: str = "halo") -> float:
    """Return the block RAMs of an engine for a task."""
    array = task.array if engine.depthwise else task.loops
    parts = [banks(engine, loops, bits, window) for loops in (array, task.unit)]
    return float(bram(engine, *parts, bits))


@pytest.fixture
def coarse(monkeypatch):
    monkeypatch.setattr(tiling, "CHANNELS", (3, 8, 24, 96))
    monkeypatch.setattr(tiling, "SIDES", (4, 14, 28))


@pytest.mark.parametrize("how", [HOW, Accounting("full"), Accounting("full", "tile")])
def test_nothing_in_the_grid_is_better(coarse, how):
    best = search_engine(BOARD, PORTS, TASK, "int16", how)
    assert best is not None
    words = (4.0, 8.0)
    found = []
    for tm in tiling.CHANNELS:
        for tn in tiling.CHANNELS:
            for unit in (0, *tiling.CHANNELS):
                if tm * tn + unit > BOARD.dsp:
                    continue
                for r in tiling.SIDES:
                    for c in tiling.SIDES:
                        for split in ((8.0, 4.0, 4.0), (4.0, 8.0, 4.0), (4.0, 4.0, 8.0)):
                            engine = Engine(tm, tn, r, c, unit, *split)
                            if blocks(engine, TASK, 16, how.window) <= BOARD.bram:
                                found.append(engine)
    assert set(best[5:]) == set(words)
    least = min(seconds(e, TASK, how=how) for e in found)
    assert seconds(best, TASK, how=how) == pytest.approx(least, rel=1e-12)


def test_the_engine_fits_the_board():
    for dtype, bits in (("int16", 16), ("int8", 8), ("float32", 32)):
        engine = search_engine(BOARD, PORTS, TASK, dtype, HOW)
        assert BOARD.slices(engine.macs, dtype) <= BOARD.dsp
        assert blocks(engine, TASK, bits) <= BOARD.bram
        assert sum(engine[5:]) == 256 / bits


def test_the_search_draws_nothing():
    assert len({search_engine(BOARD, PORTS, TASK, "int16", HOW) for _ in range(3)}) == 1
    turned = Task(TASK.loops[::-1], TASK.streams)
    assert search_engine(BOARD, PORTS, turned, "int16", HOW) == search_engine(
        BOARD, PORTS, TASK, "int16", HOW
    )


def test_a_task_without_depthwise_layers_gets_no_unit_for_them():
    engine = search_engine(BOARD, PORTS, Task((CONV,)), "int16", HOW)
    assert engine.depthwise == 0


def test_no_engine_fits_a_board_without_block_ram():
    assert search_engine(replace(BOARD, bram=4), PORTS, TASK, "int16", HOW) is None


@cache
def best_seconds(board_dsp: int, board_bram: int, gbps: int, task: Task) -> float:
    board = replace(BOARD, dsp=board_dsp, bram=board_bram, bandwidth=gbps * 1e9)
    engine = search_engine(board, PORTS, task, "int16", HOW)
    assert engine is not None
    return seconds(engine, task, board)


dsp, brams, rates = st.integers(20, 400), st.integers(60, 600), st.integers(1, 8)


@given(dsp, brams, rates, st.sampled_from(["dsp", "bram", "bandwidth"]), st.integers(1, 200))
@settings(max_examples=12, deadline=None)
def test_more_of_a_board_is_never_slower(slices, bram18, gbps, what, more):
    grown = {
        "dsp": (slices + more, bram18, gbps),
        "bram": (slices, bram18 + more, gbps),
        "bandwidth": (slices, bram18, gbps + more),
    }[what]
    less = best_seconds(slices, bram18, gbps, TASK)
    assert best_seconds(*grown, TASK) <= less * (1 + 1e-9)


@given(dsp, st.sampled_from(["outputs", "inputs", "rows", "columns", "kernel"]), st.integers(1, 9))
@settings(max_examples=12, deadline=None)
def test_a_larger_network_is_never_faster_on_its_own_engine(slices, field, more):
    value = getattr(CONV, field)
    grown = CONV._replace(**{field: value + more if field != "kernel" else (3 + more, 3)})
    if field == "kernel":
        grown = grown._replace(extent=(3 + more, 3))
    small, large = Task((CONV, DEEP)), Task((grown, DEEP))
    fast = best_seconds(slices, 300, 4, small)
    assert fast <= best_seconds(slices, 300, 4, large) * (1 + 1e-9)
