"""Every named space: the workload composed from its parts is that of the network it builds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from random import Random

import pytest

from netloom.hw_models import PartCache, model_for
from netloom.hw_models.tracer import trace_built
from netloom.spaces import SPACES, Space

SMALL = {
    "nb201": {"channels": 4, "cells": 2, "resolution": 9, "in_channels": 1, "classes": 3},
    "nats_sss": {"cells": 1, "resolution": 8, "in_channels": 1, "classes": 3},
    "nas_bench_macro": {"resolution": 16, "in_channels": 1, "classes": 3},
    "darts": {"preset": "tiny", "resolution": 9, "in_channels": 1, "skeleton": "imagenet"},
    "eas_plain": {"preset": "tiny", "resolution": 9, "in_channels": 1, "last_pool": "max"},
    "eas_dense": {"preset": "tiny", "resolution": 9, "in_channels": 1, "bottleneck": 2},
    "fbnet": {"preset": "tiny", "resolution": 9, "in_channels": 1},
    "hiera": {"preset": "tiny", "resolution": 48, "in_channels": 1},
    "fbnetv5": {"preset": "tiny", "masks": "each", "resolution": 96, "in_channels": 1},
    "hytra": {"preset": "tiny", "resolution": 70, "in_channels": 1},
    "mcuformer": {"preset": "tiny", "resolution": 30, "in_channels": 1, "factors": 2},
    "vit_resnas": {"preset": "tiny", "stem": "linear_patch2", "resolution": 24, "in_channels": 1},
    "ofa_mbv3": {"preset": "tiny", "resolutions": [4, 9, 16], "in_channels": 1},
    "ofa_proxyless": {"preset": "tiny", "resolutions": [4, 9, 16], "in_channels": 1},
    "ofa_resnet50": {"preset": "tiny", "resolutions": [4, 9, 16], "stem_pool": False},
}


def spaces_with_parts() -> list[str]:
    return [name for name in SPACES.names() if issubclass(SPACES.get(name), Space)]


def assert_equal_workloads(space: Space, seed: int, members: int) -> None:
    cache, rng, model = PartCache(), Random(seed), model_for("cpu_generic")
    for _ in range(members):
        architecture = space.sample(rng)
        parts = space.parts(architecture)
        assert parts is not None, f"{space.name} must have parts, as every named space"
        composed = cache.compose(parts)
        build = partial(space.build, architecture)
        traced = trace_built(build, space.example_input(architecture))
        where = space.format(architecture)
        assert composed.params == traced.params, where
        assert composed.macs == traced.macs, where
        assert composed.weight_bytes == traced.weight_bytes, where
        assert composed.peak_activation_bytes == traced.peak_activation_bytes, where
        signatures = [Counter(layer.signature for layer in w.layers) for w in (composed, traced)]
        assert signatures[0] == signatures[1], where
        costs = [model.cost(w, 2, breakdown=False) for w in (composed, traced)]
        assert costs[0] == costs[1], where


@pytest.mark.parametrize("name", spaces_with_parts())
def test_composed_equals_traced(name):
    assert_equal_workloads(SPACES.get(name)(), seed=0, members=4)


@pytest.mark.parametrize("name", SMALL)
def test_composed_equals_traced_at_reduced_size(name):
    assert_equal_workloads(SPACES.get(name)(**SMALL[name]), seed=1, members=8)


@pytest.mark.full
@pytest.mark.parametrize("name", spaces_with_parts())
def test_composed_equals_traced_for_many(name):
    assert_equal_workloads(SPACES.get(name)(), seed=2, members=300)


@pytest.mark.parametrize("name", spaces_with_parts())
def test_labels_are_unique_and_shapes_are_right(name):
    space, cache = SPACES.get(name)(), PartCache()
    architecture = space.sample(Random(3))
    parts = space.parts(architecture)
    assert len({part.label for part in parts}) == len(parts)
    shapes = {-1: tuple(space.example_input(architecture).shape)}
    for position, part in enumerate(parts):
        for read in part.inputs:
            assert read.shape == shapes[read.source], part.label
        workload = cache.workload(part)
        shapes[position] = workload.tensors[workload.outputs[0]].shape


DEVICES = ("stm32h743", "stm32u575", "nvdla_256", "eyeriss_168", "titan_rtx", "zcu102")


@pytest.mark.parametrize("name", ["nb201", "ofa_mbv3"])
@pytest.mark.parametrize("device", DEVICES)
def test_composed_costs_equal_those_of_a_cold_trace(device, name):
    assert_equal_costs(SPACES.get(name)(), device, seed=4, members=3)


@pytest.mark.full
@pytest.mark.parametrize("name", ["nb201", "ofa_mbv3", "fbnet", "ofa_resnet50", "nas_bench_macro"])
@pytest.mark.parametrize("device", DEVICES)
def test_composed_costs_equal_those_of_a_cold_trace_for_many(device, name):
    assert_equal_costs(SPACES.get(name)(), device, seed=5, members=60)


def assert_equal_costs(space: Space, device: str, seed: int, members: int) -> None:
    """Every number, to the last digit, and every limit that is broken."""
    cache, rng = PartCache(), Random(seed)
    warm, cold = model_for(device), model_for(device)
    for _ in range(members):
        architecture = space.sample(rng)
        composed = cache.compose(space.parts(architecture))
        build = partial(space.build, architecture)
        traced = trace_built(build, space.example_input(architecture))
        found = [
            m.cost(w, breakdown=False, enforce=False) for m, w in ((warm, composed), (cold, traced))
        ]
        assert replace(found[0], excesses=()) == replace(found[1], excesses=())
        broken = [[(e.resource, e.needed, e.limit) for e in c.excesses] for c in found]
        assert broken[0] == broken[1], space.format(architecture)
