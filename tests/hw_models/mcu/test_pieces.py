"""Totals composed from tables of parts against the whole graph, to the last digit."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netloom.hw_models import PartCache, load_device, trace
from netloom.hw_models.mcu import McuModel
from netloom.hw_models.mcu.head import greedy_head
from netloom.hw_models.memory import Buffer, greedy16
from netloom.hw_models.memory.placement import aligned
from netloom.spaces import SPACES

SPACE_NAMES = ["nb201", "nats_sss", "nas_bench_macro", "ofa_mbv3", "ofa_resnet50", "fbnet"]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([1, 16, 33, 64, 64, 500, 4096]), st.integers(0, 12)),
        min_size=1,
        max_size=30,
    ),
    st.data(),
)
def test_the_head_is_that_of_the_full_placement(rows, data):
    buffers = [
        Buffer(i, size, first, first + data.draw(st.integers(0, 5)))
        for i, (size, first) in enumerate(rows)
    ]
    found = greedy_head(
        [aligned(b.size) for b in buffers],
        [b.first for b in buffers],
        [b.last for b in buffers],
        18,
    )
    assert found == greedy16(buffers).head


@pytest.fixture(scope="module")
def caches():
    return {name: (SPACES.get(name)(), PartCache()) for name in SPACE_NAMES}


@pytest.mark.parametrize("name", SPACE_NAMES)
@pytest.mark.parametrize("device", ["stm32h743", "stm32l4r5"])
def test_random_members_cost_the_same_composed_and_traced(caches, name, device):
    space, cache = caches[name]
    rng = random.Random(7)
    for runtime in ("tflm_cmsis", {"preset": "tflm_cmsis", "pad_fused": True}):
        model = McuModel(load_device(device), runtime)
        for _ in range(3):
            architecture = space.sample(rng)
            composed = cache.compose(space.parts(architecture))
            whole = model.report(composed).cost
            fast = model.cost(composed, breakdown=False, enforce=False)
            assert model._composed(composed, 1) is not None
            assert {**vars(whole), "layers": ()} == vars(fast)
            batch = model.cost(composed, 2, breakdown=False, enforce=False)
            assert vars(batch) == {**vars(model.report(composed, 2).cost), "layers": ()}


@pytest.mark.parametrize("name", ["nb201", "nats_sss", "fbnet"])
def test_the_traced_network_costs_the_same(caches, name):
    space, cache = caches[name]
    model = McuModel(load_device("stm32h743"))
    rng = random.Random(1)
    for _ in range(2):
        architecture = space.sample(rng)
        composed = cache.compose(space.parts(architecture))
        traced = trace(space.build(architecture), space.example_input(architecture))
        ours, theirs = (model.cost(w, breakdown=False, enforce=False) for w in (composed, traced))
        assert ours.latency_ms == theirs.latency_ms
        assert ours.peak_memory_bytes == theirs.peak_memory_bytes
        assert (ours.energy_mj, ours.flash_bytes) == (theirs.energy_mj, theirs.flash_bytes)
