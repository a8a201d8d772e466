"""Accelerators and what other floors know: simulated tables, networks composed of parts."""

from __future__ import annotations

from functools import partial
from random import Random

import pytest

from netloom.estimators import ESTIMATORS
from netloom.hw_models import PartCache, model_for
from netloom.hw_models.tracer import trace_built
from netloom.spaces import SPACES

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


def cell(*ops):
    a, b, c, d, e, f = ops
    return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"


@pytest.fixture(scope="module")
def ask():
    """Return (simulated, modelled) latency of cells."""
    space = SPACES.get("nb201")()
    table = ESTIMATORS.get("tabular")(space)
    modelled = ESTIMATORS.get("hardware")(space, devices=["eyeriss_168_dense_pool"])

    def ask(*ops):
        a = space.parse(cell(*ops))
        given = table.evaluate(a)["latency_ms@eyeriss"]
        return given, modelled.evaluate(a)["latency_ms@eyeriss_168_dense_pool"]

    return ask


@pytest.mark.parametrize("op", OPS[1:])
def test_an_operation_more_costs_what_the_table_says(op, ask):
    empty, one = ask(*["none"] * 6), ask(op, *["none"] * 5)
    assert one[1] - empty[1] == pytest.approx(one[0] - empty[0], abs=1e-9)


def test_any_two_cells_differ_as_the_table_says(ask):
    rng = Random(0)
    cells = [[rng.choice(OPS) for _ in range(6)] for _ in range(12)]
    pairs = [ask(*ops) for ops in cells]
    offsets = [modelled - given for given, modelled in pairs]
    assert max(offsets) - min(offsets) < 1e-9
    assert len({round(given, 6) for given, _ in pairs}) > 6


DEVICES = (
    "scale_sim_12x14",
    "tpu_v1",
    "eyeriss_168",
    "eyeriss_168_dense_pool",
    "nvdla_256",
    "shidiannao_64",
    "row_stationary_168",
    "nasaic_w1",
    "tpu_like_32x32",
    "edge_tpu_like",
)


@pytest.mark.parametrize("name", ["nb201", "ofa_mbv3"])
def test_a_composed_network_costs_what_the_traced_one_does(name):
    """To the last digit, on every accelerator, batch 2; models that know layers already, too."""
    space, cache, rng = SPACES.get(name)(preset="tiny"), PartCache(), Random(5)
    models = [model_for(device) for device in DEVICES]
    for _ in range(2):
        a = space.sample(rng)
        composed = cache.compose(space.parts(a))
        traced = trace_built(partial(space.build, a), space.example_input(a))
        for warm in models:
            cold = model_for(warm.device)
            expected = cold.cost(traced, 2, breakdown=False)
            assert warm.cost(composed, 2, breakdown=False) == expected
            assert 0 < expected.utilization <= 1
