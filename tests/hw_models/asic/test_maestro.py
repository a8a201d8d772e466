"""MAESTRO's dataflows and cost tables against its public numbers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from netloom.errors import HardwareLimit, SpecError
from netloom.hw_models import HardwareModel, Number, model_for, trace
from netloom.hw_models.asic import from_choice
from netloom.hw_models.asic.layers import Job
from netloom.hw_models.asic.maestro_costs import TABLES, area_um2, energy_nj
from netloom.hw_models.asic.maestro_flows import flow_of
from netloom.hw_models.testing import HardwareContract, toy_network

OLD = TABLES["2019-20"]
# filters, channels, side, of the ten convolutions of <32, 128, 2, 256, 2, 256, 2>
RESNET9 = [
    (32, 3, 32),
    (128, 32, 32),
    (128, 128, 16),
    (128, 128, 16),
    (256, 128, 16),
    (256, 256, 8),
    (256, 256, 8),
    (256, 256, 8),
    (256, 256, 4),
    (256, 256, 4),
]


class TestNvdla(HardwareContract):
    def make(self) -> HardwareModel:
        return model_for("nvdla_256")


class TestShiDianNao(HardwareContract):
    def make(self) -> HardwareModel:
        return model_for("shidiannao_64")


class TestRowStationary(HardwareContract):
    def make(self) -> HardwareModel:
        return model_for("row_stationary_168")


class TestNasaicW1(HardwareContract):
    def make(self) -> HardwareModel:
        return model_for("nasaic_w1")


def layer(k: int, c: int, side: int, kernel: int = 3) -> Job:
    padded = side + kernel - 1
    return Job(1, 1, k, c, side, side, kernel, kernel, 1, 1, 1, 1, side, side, padded, padded)


# ---------------------------------------------------------------- latency
@pytest.mark.parametrize(
    ("dataflow", "pes", "bandwidth", "lanes", "sizes", "published"),
    [
        ("dla", 256, 32, 9, (128, 128, 16), 609_079),
        ("dla", 256, 32, 1, (128, 128, 16), 739_647),
        ("shi", 1984, 16, 9, (256, 256, 8), 458_768),
        ("rs", 168, 16, 9, (128, 32, 32), 262_155),
    ],
)
def test_the_public_layers(dataflow, pes, bandwidth, lanes, sizes, published):
    flow = flow_of(dataflow, layer(*sizes), pes, bandwidth, lanes)
    assert flow.cycles == pytest.approx(published, rel=1e-3)


def test_the_nine_lanes_are_those_of_the_older_table(conv, altered, cycles):
    work = conv(128, 128, 16)
    assert cycles(model_for("nvdla_256"), work) == pytest.approx(739_647, rel=1e-3)
    older = altered("nvdla_256", costs="2019-20")
    assert cycles(older, work) == pytest.approx(609_079, rel=1e-3)
    chosen = {"dataflow": "dla", "pes": 256, "bandwidth": 32, "lanes": 1}
    one = from_choice({"accelerators": [chosen], "costs": "2019-20", "clock_ghz": 1})
    assert cycles(model_for(one), work) == pytest.approx(739_647, rel=1e-3)


def test_resnet9_on_dla():
    """511,930 cycles and, as printed, 2.11e9 nJ: without L1 of the last layer."""
    flows = [(flow_of("dla", layer(*s), 2112, 48, 9), layer(*s)) for s in RESNET9]
    assert sum(job.macs for _, job in flows) == 321_748_992
    assert sum(flow.cycles for flow, _ in flows) == pytest.approx(511_930, rel=0.01)
    l2 = sum(flow.l2_reads + flow.l2_writes for flow, _ in flows)
    l1 = 4 * sum(job.macs for _, job in flows[:-1])
    assert energy_nj(OLD, l1, l2) == pytest.approx(2.11e9, rel=0.02)


def test_one_dla_layer_by_hand():
    """16 filters, 8 channels, 3x3, on 64 elements: one filter at a time, 9 MACs in a row."""
    flow = flow_of("dla", layer(16, 8, 4), 64, 16, 1)
    step = math.ceil(2 * 8 * 9 / 16) + 9
    load = math.ceil(2 * 8 * 9 / 16) + 1
    assert flow.cycles == 16 * (max(load, step) + 15 * step)
    assert flow.l2_reads == 16 * (8 * 9 + 16 * 8 * 9)
    assert flow.l2_writes == 16 * 16
    assert (math.ceil(2 * 8 * 9 / 16), flow.bottleneck) == (9, "compute")


def test_an_array_smaller_than_a_cluster_is_one_cluster():
    """32 channels at a time, 4 columns at a time, one element for 3 rows of the kernel."""
    deep = flow_of("dla", layer(1, 64, 1, 1), 32, 64, 1)
    assert deep.cycles == 2 * (math.ceil(2 * 32 / 64) + 1)
    wide = flow_of("shi", layer(1, 1, 8, 1), 4, 64, 1)
    assert wide.cycles == 8 * 2 * 1 + 1  # 16 tiles of one row and 4 columns, and the first load
    alone = flow_of("rs", layer(1, 1, 4, 3), 1, 64, 1)
    assert alone.cycles == 16 * 9 + 1


flows = st.sampled_from(["dla", "shi", "rs"])
small = st.integers(1, 40)


@given(
    dataflow=flows,
    k=small,
    c=small,
    side=st.integers(1, 20),
    kernel=st.sampled_from([1, 3, 5]),
    pes=st.integers(1, 1280),
    bandwidth=st.integers(1, 64),
    lanes=st.sampled_from([1, 9]),
)
def test_flows_keep_to_physics(dataflow, k, c, side, kernel, pes, bandwidth, lanes):
    job = layer(k, c, side, kernel)
    flow = flow_of(dataflow, job, pes, bandwidth, lanes)
    assert flow.cycles * pes * lanes >= job.macs
    assert flow.cycles * bandwidth >= max(flow.l2_reads, flow.l2_writes)
    assert flow.l2_reads >= job.weights
    assert flow.l2_writes >= job.outputs
    assert flow_of(dataflow, job, pes, 2 * bandwidth, lanes).cycles <= flow.cycles
    larger = flow_of(dataflow, layer(k + 1, c, side, kernel), pes, bandwidth, lanes)
    assert larger.cycles >= flow.cycles
    deeper = flow_of(dataflow, layer(k, c + 1, side, kernel), pes, bandwidth, lanes)
    assert deeper.cycles >= flow.cycles
    batch = flow_of(dataflow, job._replace(b=3), pes, bandwidth, lanes)
    assert flow.cycles <= batch.cycles <= 3 * flow.cycles


# ---------------------------------------------------------------- area and energy
@pytest.mark.parametrize(
    ("first", "second", "published"),
    [
        ((2112, 48), (1984, 16), 4.670e9),
        ((1088, 24), (2368, 40), 3.804e9),
        ((576, 56), (1792, 8), 1.986e9),
        ((2368, 56), (1728, 8), 4.790e9),
        ((2112, 24), (1536, 40), 3.814e9),
        ((2112, 40), (1184, 24), 3.311e9),
    ],
)
def test_areas_of_nasaics_chips(first, second, published):
    """The law with one cell of 64 bytes per element, as the sums are published: four digits."""
    total = sum(area_um2(OLD, *part, 9, 64, 32768) for part in (first, second))
    assert total == pytest.approx(published, abs=5e5)


@pytest.mark.parametrize(
    ("pes", "bandwidth", "count", "published"),
    [(2112, 48, 1, 2.524e9), (4096, 64, 1, 9.13e9), (2048, 32, 2, 4.66e9), (1024, 32, 2, 1.26e9)],
)
def test_areas_of_single_designs(pes, bandwidth, count, published):
    area = count * area_um2(OLD, pes, bandwidth, 9, 64, 32768)
    assert area == pytest.approx(published, rel=3e-3)


def test_the_area_law_term_by_term():
    pes, bandwidth = 100, 10
    expected = (
        pes * (9 * 4470.9014 + 2 * 4505.1889)  # 65 bytes are two cells
        + 3 * 4161.536
        + 101.7938 * (14.662 * pes + 28.895) * bandwidth
        + 395.473 * (1.2886 * pes**2 + 5.5814 * pes - 23.711)
    )
    assert area_um2(OLD, pes, bandwidth, 9, 65, 2 * 32768 + 1) == pytest.approx(expected, rel=2e-5)
    newer = area_um2(TABLES["2021"], pes, bandwidth, 1, 65, 1000)
    cells = pes * (283 + 65 * 0.104) + 1000 * 0.104
    assert newer == pytest.approx(
        cells + expected - pes * (9 * 4470.9014 + 2 * 4505.1889) - 3 * 4161.536
    )
    assert area_um2(OLD, 0, 8, 9, 64, 64) == 0


def test_the_area_of_a_chip_is_that_of_the_buffers_its_network_needs(conv):
    chip = model_for("nasaic_w1")
    narrow, wide = conv(16, 16, 16), conv(16, 16, 16, 7)
    assert chip.area_mm2(narrow) == pytest.approx(1986.45, rel=2e-5)
    cell = (576 + 1792) * 4505.1889e-6
    # 7x7: 2 (49 + 49 + 1) = 198 bytes are four cells of 64
    assert chip.area_mm2(wide) - chip.area_mm2(narrow) == pytest.approx(3 * cell, rel=1e-3)


def test_energy_counts_accesses_and_no_multiply_add(conv):
    work = conv(16, 16, 8)
    chip = model_for("nvdla_256")
    flow = flow_of("dla", layer(16, 16, 8), 256, 32, 1)
    unit = 0.00023e-6  # mJ
    expected = (18.61 * (flow.l2_reads + flow.l2_writes) + 1.68 * 4 * work.macs) * unit
    assert chip.cost(work).energy_mj == pytest.approx(expected)


def test_the_older_table_charges_3900_times_the_energy(conv, altered):
    work = conv(16, 16, 8)
    new = model_for("nvdla_256").cost(work).energy_mj
    old = altered("nvdla_256", costs="2019-20").cost(work).energy_mj
    assert old / new == pytest.approx(0.904 / 0.00023)


# ---------------------------------------------------------------- buffers that are given
def number(value, unit="bytes"):
    return Number(value=value, unit=unit, source="made up for the test")


def test_buffers_that_a_file_sizes_are_a_limit(conv, altered):
    chip = altered("nvdla_256", l1=number(64), l2=number(65536))
    chip.cost(conv(16, 16, 8))  # 3x3 takes 38 bytes
    with pytest.raises(HardwareLimit, match="64 bytes of l1; the network needs 102") as caught:
        chip.cost(conv(16, 16, 8, 5))
    assert (caught.value.layer, caught.value.needed, caught.value.limit) == ("conv2d", 102, 64)
    cost = chip.cost(conv(16, 16, 8, 5), enforce=False)
    assert [e.resource for e in cost.excesses] == ["l1"]
    assert cost.latency_ms > 0
    assert chip.area_mm2(conv(16, 16, 8)) == chip.area_mm2(conv(16, 16, 8, 5))


def test_a_layer_goes_to_the_accelerator_that_holds_it(conv):
    """rs needs 2 (16 x 3 + 3 + 16) = 134 bytes per element, shi 38."""
    parts = [
        {"dataflow": "rs", "pes": 2048, "bandwidth": 64},
        {"dataflow": "shi", "pes": 8, "bandwidth": 1},
    ]
    free = {"accelerators": parts, "costs": "2021", "clock_ghz": 1}
    work = conv(16, 16, 16)
    both = model_for(from_choice(free)).cost(work)
    tight = model_for(from_choice({**free, "l1_bytes": 64}))
    alone = model_for(from_choice({**free, "accelerators": parts[1:]}))
    assert both.latency_ms < tight.cost(work).latency_ms == alone.cost(work).latency_ms
    assert tight.layer_options(work.layers[0]).times[0] == math.inf


# ---------------------------------------------------------------- several accelerators
def test_one_network_takes_the_fastest_accelerator_for_each_layer():
    parts = [
        {"dataflow": "dla", "pes": 576, "bandwidth": 56},
        {"dataflow": "shi", "pes": 1792, "bandwidth": 8},
    ]
    chosen = {"accelerators": parts, "costs": "2019-20", "clock_ghz": 1.0}
    work = trace(
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 64, 3), nn.Conv2d(64, 64, 1)),
        torch.zeros(1, 3, 32, 32),
    )
    chip = model_for(from_choice(chosen)).cost(work)
    alone = [model_for(from_choice({**chosen, "accelerators": [p]})).cost(work) for p in parts]
    for i, layer_cost in enumerate(chip.layers):
        assert layer_cost.latency_ms == min(each.layers[i].latency_ms for each in alone)
    assert chip.area_mm2 == pytest.approx(sum(each.area_mm2 for each in alone))


def test_the_chip_of_the_file_is_the_chip_chosen():
    parts = [
        {"dataflow": "dla", "pes": 576, "bandwidth": 56},
        {"dataflow": "shi", "pes": 1792, "bandwidth": 8},
    ]
    chosen = model_for(from_choice({"accelerators": parts, "costs": "2019-20", "clock_ghz": 1.0}))
    assert chosen.cost(toy_network()) == model_for("nasaic_w1").cost(toy_network())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"acelerators": []}, "unknown: acelerators"),
        ({"costs": "2022"}, "numbers.costs"),
        ({"accelerators": []}, "accelerators"),
        ({"accelerators": [{"dataflow": "dla", "pes": 64}]}, "missing: bandwidth"),
        (
            {"accelerators": [{"dataflow": "tpu", "pes": 64, "bandwidth": 8}]},
            r"accelerators\[0\].dataflow",
        ),
        (
            {"accelerators": [{"dataflow": "dla", "pes": 0, "bandwidth": 8}]},
            "value must be greater than 0, got 0",
        ),
    ],
)
def test_a_choice_that_is_none_is_told_why(change, said):
    good = {
        "accelerators": [{"dataflow": "dla", "pes": 64, "bandwidth": 8}],
        "costs": "2021",
        "clock_ghz": 1.0,
    }
    from_choice(good)
    with pytest.raises(SpecError, match=said):
        from_choice({**good, **change})
