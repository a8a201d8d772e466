"""Networks that run at the same time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netloom.errors import HardwareLimit, SpecError
from netloom.hw_models import Number, model_for
from netloom.hw_models.asic import from_choice
from netloom.hw_models.asic.schedule import schedule
from netloom.hw_models.testing import toy_network
from netloom.hw_models.together import cost_together, in_turn

A = [[10, 6], [8, 12], [9, 5]]
B = [[7, 10], [12, 6], [6, 9]]


def test_a_small_case_by_hand():
    """Each decision is the layer that can be done first; the shortest schedule takes 21."""
    steps = schedule([A, B])
    assert [tuple(s) for s in steps] == [
        (0, 0, 1, 0, 6),
        (1, 0, 0, 0, 7),
        (1, 1, 1, 7, 13),
        (0, 1, 0, 7, 15),
        (0, 2, 1, 15, 20),
        (1, 2, 0, 15, 21),
    ]


times = st.integers(1, 9).map(float)


@given(
    places=st.integers(1, 3),
    data=st.data(),
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=3),
)
def test_a_schedule_is_one(places, data, lengths):
    layer = st.lists(times, min_size=places, max_size=places)
    chains = [data.draw(st.lists(layer, min_size=n, max_size=n)) for n in lengths]
    steps = schedule(chains)
    assert sorted((s.network, s.layer) for s in steps) == [
        (n, i) for n, chain in enumerate(chains) for i in range(len(chain))
    ]
    for s in steps:
        assert s.end - s.start == chains[s.network][s.layer][s.place]
    for first in steps:
        for second in steps:
            apart = first.end <= second.start or second.end <= first.start
            if first is not second and first.place == second.place:
                assert apart
            if first.network == second.network and first.layer < second.layer:
                assert first.end <= second.start
    end = max((s.end for s in steps), default=0)
    fastest = [sum(map(min, chain)) for chain in chains]
    assert end >= max(fastest)
    assert end >= sum(fastest) / places
    if places == 1:
        assert end == sum(fastest)


def test_networks_at_once_are_faster_than_in_turn_and_no_faster_than_the_slowest():
    chip = model_for("nasaic_w1")
    both = [toy_network(channels=64, blocks=3), toy_network(channels=48, side=16)]
    each = [chip.cost(w) for w in both]
    cost = cost_together(chip, both)
    turn = in_turn(each)
    assert max(c.latency_ms for c in each) <= cost.latency_ms <= turn.latency_ms
    assert cost.peak_memory_bytes == sum(c.peak_memory_bytes for c in each)
    assert cost.area_mm2 == max(c.area_mm2 for c in each)
    macs = sum(w.macs for w in both)
    assert cost.utilization == pytest.approx(macs / (cost.latency_ms * 1e6 * (576 + 1792) * 9))
    names = [layer.name for layer in cost.layers]
    assert len(names) == len(set(names))
    assert {name[:2] for name in names} == {"0.", "1."}
    paid = [x for c in each for x in c.layers if x.latency_ms]
    assert len(names) == len(paid)


def test_a_schedule_says_where_and_when():
    half = {"dataflow": "shi", "pes": 512, "bandwidth": 16}
    chosen = {"accelerators": [half, half], "costs": "2021", "clock_ghz": 1.0}
    chip = model_for(from_choice(chosen))
    both = [toy_network(channels=64), toy_network(channels=48)]
    steps = chip.steps_at_once(both)
    cost = cost_together(chip, both)
    assert max(s.end for s in steps) == cost.latency_ms
    assert {s.place for s in steps} == {0, 1}
    for step in steps:
        layer = both[step.network].layers[step.layer]
        options = chip.layer_options(layer)
        assert step.end - step.start == pytest.approx(options.times[step.place])
    # two equal accelerators: as long as the longer network takes by itself
    assert cost.latency_ms == pytest.approx(max(chip.cost(w).latency_ms for w in both))


def test_one_network_costs_what_it_costs_alone():
    for name in ("nasaic_w1", "tpu_v1"):
        chip = model_for(name)
        assert cost_together(chip, [toy_network()]) == chip.cost(toy_network())
    chip = model_for("nasaic_w1")
    alone = chip.cost_at_once([toy_network()])
    assert alone.latency_ms == pytest.approx(chip.cost(toy_network()).latency_ms)


def test_on_one_array_networks_follow_one_another():
    array = model_for("tpu_like_32x32")
    first, second = array.cost(toy_network()), array.cost(toy_network(channels=32))
    cost = cost_together(array, [toy_network(), toy_network(channels=32)])
    assert cost.latency_ms == pytest.approx(first.latency_ms + second.latency_ms)
    assert cost.energy_mj == pytest.approx(first.energy_mj + second.energy_mj)
    assert cost.peak_memory_bytes == second.peak_memory_bytes
    macs = toy_network().macs + toy_network(channels=32).macs
    assert cost.utilization == pytest.approx(macs / (1024 * cost.latency_ms * 1e6))
    assert len(cost.layers) == len(first.layers) + len(second.layers)


def test_a_network_too_many_is_refused(altered):
    small = Number(value=24, unit="KiB", source="made up for the test")
    chip = altered("nasaic_w1", memory=small)
    chip.cost(toy_network())
    with pytest.raises(HardwareLimit, match="24,576 bytes of memory"):
        cost_together(chip, [toy_network(), toy_network(channels=64)])
    with pytest.raises(SpecError, match="at least one network"):
        cost_together(chip, [])
