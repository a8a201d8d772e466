"""The row-stationary model beside the latencies that HW-NAS-Bench simulated with the same rules."""

from __future__ import annotations

from random import Random

import pytest

from netloom.estimators import ESTIMATORS
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
