"""The tiled engine: published cycles, formulas by hand, and what must hold for every engine."""

from __future__ import annotations

from itertools import product
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netloom.hw_models.fpga.engine import (
    Accounting,
    Banks,
    Engine,
    Nests,
    attainable,
    banks,
    bram,
    ctc,
    dense,
    depthwise,
)
from netloom.hw_models.fpga.loops import Loops

EXACT, FULL, HOTNAS = Accounting(), Accounting("full"), Accounting("full", "tile")
ALEXNET1 = Loops(1, 48, 3, 55, 55, (11, 11), (4, 4), (11, 11))
FREE_PORTS = (1e9, 1e9, 1e9)


def cycles(engine, loops, how=EXACT):
    run = depthwise if loops.depthwise else dense
    return float(run(engine, Nests.of([loops]), how).cycles[0])


def compute(engine, loops, how=EXACT):
    run = depthwise if loops.depthwise else dense
    return float(run(engine, Nests.of([loops]), how).compute[0])


# ---------------------------------------------------------------- published
@pytest.mark.parametrize("side", [11, 13, 55])
def test_the_first_layer_of_alexnet_on_64_by_7(side):
    """Zhang et al. 2015: 366,025 cycles; real remainders make the sides of tiles irrelevant."""
    assert cycles(Engine(64, 7, side, side, 0, *FREE_PORTS), ALEXNET1) == 366_025


def test_charged_in_full_the_side_matters():
    assert cycles(Engine(64, 7, 55, 55, 0, *FREE_PORTS), ALEXNET1, FULL) == 366_025
    assert cycles(Engine(64, 7, 13, 13, 0, *FREE_PORTS), ALEXNET1, FULL) == 5 * 5 * 169 * 121


def test_56_rows_with_tiles_of_55_are_four_full_tiles():
    loops = ALEXNET1._replace(rows=56, columns=56)
    engine = Engine(64, 7, 55, 55, 0, *FREE_PORTS)
    assert cycles(engine, loops, HOTNAS) == 4 * 55 * 55 * 121
    assert cycles(engine, loops) == 56 * 56 * 121


def test_filling_the_pipeline_is_charged_per_tile():
    engine, how = Engine(64, 7, 13, 13, 0, *FREE_PORTS), Accounting("full", "halo", 10)
    assert cycles(engine, ALEXNET1, how) == 25 * (169 * 121 + 10)


def test_the_layer_of_hotnas_own_configuration():
    """weiwenjiang/hotNAS-CODES20, PM_Config.py: 192 to 128 channels on 13 x 13, 1 x 1, 32 bits."""
    engine, loops = Engine(64, 4, 13, 13, 0, 16, 2, 2), Loops(1, 128, 192, 13, 13)
    made = dense(engine, Nests.of([loops]), HOTNAS)
    assert float(made.cycles[0]) == 2 * 48 * 169 == 16_224


# ---------------------------------------------------------------- by hand
def ports_by_hand(e: Engine, x: Loops) -> float:
    """Return the cycles of the version with ports, one stride for both axes."""
    rows, columns = min(e.rows, x.rows), min(e.columns, x.columns)
    k2 = x.kernel[0] * x.kernel[1]
    read = min(e.inputs, x.inputs) * rows * columns / e.input_words
    weights = e.outputs * e.inputs * k2 / e.weight_words
    stored = min(e.outputs, x.outputs) * rows * columns / e.output_words
    first = max(read, weights, k2 * rows * columns)
    second = max(ceil(x.inputs / e.inputs) * first, stored)
    tiles = ceil(x.rows / e.rows) * ceil(x.columns / e.columns) * ceil(x.outputs / e.outputs)
    return x.groups * tiles * second


@pytest.mark.parametrize("words", [(18, 6, 6), (16, 2, 2), (1, 30, 1), (4, 4, 0.5)])
@pytest.mark.parametrize(
    "loops",
    [ALEXNET1, Loops(1, 128, 192, 13, 13), Loops(2, 100, 30, 27, 14, (5, 5), (1, 1), (5, 5))],
)
def test_the_version_with_ports(words, loops):
    engine = Engine(64, 4, 13, 13, 0, *words)
    assert cycles(engine, loops, HOTNAS) == pytest.approx(ports_by_hand(engine, loops), rel=1e-12)


def exact_by_hand(e: Engine, x: Loops) -> float:
    """Walk through the tiles one by one."""

    def cut(size, tile):
        return [min(tile, size - i) for i in range(0, size, tile)]

    k2, total = x.kernel[0] * x.kernel[1], 0.0
    places = product(cut(x.rows, e.rows), cut(x.columns, e.columns), cut(x.outputs, e.outputs))
    for tr, tc, tm in places:
        window = (x.stride[0] * (tr - 1) + x.extent[0]) * (x.stride[1] * (tc - 1) + x.extent[1])
        inner = sum(
            max(tn * window / e.input_words, tm * tn * k2 / e.weight_words, k2 * tr * tc)
            for tn in cut(x.inputs, e.inputs)
        )
        total += max(inner, tm * tr * tc / e.output_words)
    return x.groups * total


sizes = st.integers(1, 40)
tiles = st.integers(1, 20)
words = st.sampled_from([1.0, 2.0, 4.0, 8.0, 16.0])
engines = st.builds(Engine, tiles, tiles, tiles, tiles, tiles, words, words, words)
kernels = st.sampled_from([1, 2, 3, 5])
loops = st.builds(
    lambda g, m, n, r, c, k, s, d: Loops(
        g, m, n, r, c, (k, k), (s, s), (d * (k - 1) + 1, d * (k - 1) + 1)
    ),
    *[st.integers(1, 3), sizes, sizes, sizes, sizes, kernels, st.integers(1, 3), st.integers(1, 2)],
)


@given(engines, loops)
@settings(max_examples=60, deadline=None)
def test_real_remainders_are_the_sum_over_the_tiles(engine, nest):
    assert cycles(engine, nest) == pytest.approx(exact_by_hand(engine, nest), rel=1e-9)


def test_products_of_matrices_fill_tiles_whatever_their_sides():
    engine = Engine(8, 8, 7, 14, 0, *FREE_PORTS)
    tall = dense(engine, Nests.of([Loops(1, 16, 16, 1, 196, flat=True)]), EXACT)
    assert float(tall.weight_words[0]) == 2 * 16 * 16  # two tiles of 98 rows
    assert float(tall.cycles[0]) == 4 * 196


def test_groups_follow_one_another_on_the_array():
    """A depthwise layer written as groups keeps one multiplier busy, whatever the array."""
    nest = Loops(32, 1, 1, 14, 14, (3, 3), (1, 1), (3, 3))
    assert cycles(Engine(64, 7, 14, 14, 0, *FREE_PORTS), nest) == 32 * 196 * 9


@pytest.mark.parametrize(("lanes", "passes"), [(0, 32), (1, 32), (10, 4), (32, 1), (64, 1)])
def test_the_depthwise_unit_works_on_many_channels(lanes, passes):
    nest = Loops(1, 32, 1, 14, 14, (3, 3), (1, 1), (3, 3), depthwise=True)
    engine = Engine(64, 7, 14, 14, lanes, *FREE_PORTS)
    assert cycles(engine, nest) == passes * 196 * 9
    assert nest.macs == 32 * 196 * 9


def test_a_depthwise_tile_reads_as_many_channels_as_it_writes():
    nest = Loops(1, 32, 1, 14, 14, (3, 3), (2, 2), (3, 3), depthwise=True)
    made = depthwise(Engine(64, 7, 14, 14, 8, *FREE_PORTS), Nests.of([nest]), EXACT)
    assert float(made.input_words[0]) == 32 * 29 * 29
    assert float(made.weight_words[0]) == 32 * 9
    assert float(made.output_words[0]) == 32 * 14 * 14


# ---------------------------------------------------------------- resources
def blocks(engine, loops, bits, window="halo"):
    return bram(engine, banks(engine, [loops], bits, window), Banks(), bits)


def test_block_ram_of_16_bit_engines():
    """2 Tn ceil(Tr Tc b / 18000) + 2 Tm ceil(Tr Tc b / 18000) + Tm Tn ceil(4 K^2 b / 18000)."""
    engine = Engine(64, 7, 55, 55, 0, *FREE_PORTS)
    side = ceil(55 * 55 * 16 / 18000)
    assert side == 3
    assert blocks(engine, ALEXNET1, 16, "tile") == 2 * 7 * 3 + 2 * 64 * 3 + 64 * 7 * 1
    large = ALEXNET1._replace(kernel=(17, 17))
    assert blocks(engine, large, 16, "tile") == 2 * 7 * 3 + 2 * 64 * 3 + 64 * 7 * 2


def test_block_ram_of_single_precision_holds_weights_twice():
    engine = Engine(64, 7, 13, 13, 0, *FREE_PORTS)
    assert blocks(engine, ALEXNET1, 32, "tile") == 2 * 7 + 2 * 64 + 2 * 64 * 7


def test_block_ram_of_the_input_holds_the_halo():
    engine = Engine(1, 1, 13, 13, 0, *FREE_PORTS)
    window = (4 * 12 + 11) ** 2
    assert blocks(engine, ALEXNET1, 16) == 2 * ceil(window * 16 / 18000) + 2 + 1


def test_block_ram_holds_no_more_than_the_map():
    engine = Engine(1, 1, 64, 64, 0, *FREE_PORTS)
    stored = 2 * ceil(64 * 64 * 16 / 18000)
    small = ALEXNET1._replace(rows=7, columns=7)
    assert blocks(engine, small, 16) == 2 * ceil(35 * 35 * 16 / 18000) + stored + 1
    rows = Loops(1, 8, 8, 1, 10, flat=True)
    assert blocks(engine, rows, 16) == 2 + stored + 1


def test_every_layer_fits_the_buffers_by_itself():
    """A wide stride and a wide kernel of two layers do not make a window that neither has."""
    engine = Engine(1, 1, 14, 14, 0, *FREE_PORTS)
    strided = Loops(1, 8, 8, 112, 112, (3, 3), (2, 2), (3, 3))
    wide = Loops(1, 8, 8, 112, 112, (9, 9), (1, 1), (9, 9))
    both = banks(engine, [strided, wide], 16)
    assert both.inputs == 1  # 29 x 29 and 22 x 22, not 35 x 35


def test_block_ram_of_the_depthwise_unit():
    deep = Loops(1, 32, 1, 14, 14, (3, 3), (1, 1), (3, 3), depthwise=True)
    engine = Engine(16, 4, 14, 14, 10, *FREE_PORTS)
    array, unit = banks(engine, [], 16), banks(engine, [deep], 16)
    without = bram(engine._replace(depthwise=0), array, unit, 16)
    assert bram(engine, array, unit, 16) == without + 10 * (2 + 2 + 1)


# ---------------------------------------------------------------- roofline
def test_the_roofline_of_zhang():
    engine, x = Engine(64, 7, 13, 13, 0, *FREE_PORTS), ALEXNET1
    ops = 2 * 48 * 3 * 55 * 55 * 121
    words = 25 * (7 * 59 * 59 + 64 * 7 * 121) + 25 * 64 * 169
    assert ctc(engine, x, 32) == pytest.approx(ops / (4 * words), rel=1e-12)
    peak = 2 * 64 * 7 * 100e6
    assert attainable(engine, x, 32, 100e6, 1e15) == peak
    slow = ctc(engine, x, 32) * 1e9
    assert slow < peak
    assert attainable(engine, x, 32, 100e6, 1e9) == slow


# ---------------------------------------------------------------- invariants
@given(engines, loops, st.sampled_from([EXACT, FULL, HOTNAS, Accounting("full", "tile", 7)]))
@settings(max_examples=80, deadline=None)
def test_no_engine_is_faster_than_its_multipliers_or_its_ports(engine, nest, how):
    made = dense(engine, Nests.of([nest]), how)
    total = float(made.cycles[0]) * (1 + 1e-9)
    assert total >= nest.macs / (engine.outputs * engine.inputs)
    assert total >= float(made.input_words[0]) / engine.input_words
    assert total >= float(made.weight_words[0]) / engine.weight_words
    assert total >= float(made.output_words[0]) / engine.output_words
    assert total >= float(made.compute[0])


@given(engines, loops)
@settings(max_examples=60, deadline=None)
def test_charging_in_full_is_never_cheaper(engine, nest):
    assert cycles(engine, nest) <= cycles(engine, nest, FULL) * (1 + 1e-9)
    assert compute(engine, nest) <= compute(engine, nest, FULL)


@given(
    engines,
    loops,
    st.sampled_from(["groups", "outputs", "inputs", "rows", "columns", "kernel", "stride"]),
    st.sampled_from([EXACT, FULL, HOTNAS]),
    st.booleans(),
)
@settings(max_examples=120, deadline=None)
def test_a_larger_layer_is_never_faster(engine, nest, field, how, deep):
    if deep:
        nest = nest._replace(inputs=1, depthwise=True)
        field = "groups" if field == "inputs" else field
    value = getattr(nest, field)
    grown = (value[0] + 1, value[1]) if isinstance(value, tuple) else value + 1
    larger = nest._replace(**{field: grown})
    if field == "kernel":
        larger = larger._replace(extent=(nest.extent[0] + 1, nest.extent[1]))
    assert cycles(engine, nest, how) <= cycles(engine, larger, how) * (1 + 1e-9)


@given(
    engines, loops, st.sampled_from(["input_words", "weight_words", "output_words", "depthwise"])
)
@settings(max_examples=60, deadline=None)
def test_wider_ports_and_units_are_never_slower(engine, nest, field):
    wider = engine._replace(**{field: 2 * getattr(engine, field)})
    assert cycles(wider, nest) <= cycles(engine, nest) * (1 + 1e-9)
    deep = nest._replace(inputs=1, depthwise=True)
    if field == "depthwise":  # as many lanes twice: the same channels in half the passes
        assert compute(wider, deep) <= compute(engine, deep)
