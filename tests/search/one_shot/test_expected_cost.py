"""The expected cost of a mixture."""

from __future__ import annotations

import pytest
import torch

from netloom.errors import SpecError
from netloom.hw_models import model_for, trace
from netloom.search.one_shot.bilevel import BilevelTrainer
from netloom.search.one_shot.expected_cost import ExpectedCost
from netloom.search.one_shot.logits import Logits
from netloom.search.strategies.darts import Darts
from netloom.search.strategies.pc_darts import PcDarts

from .stripes import make_context

OPTIONS = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]


@pytest.fixture(scope="module")
def supernet():
    return make_context().space.supernet()


def test_the_table_holds_what_each_option_costs_in_all_cells(supernet):
    """Three cells: 4 channels on 8x8, 8 on 4x4, 16 on 2x2."""
    cost = ExpectedCost(supernet, torch.zeros(1, 1, 8, 8), {"macs": 1.0, "params": 1.0})
    values = cost.tables["macs"]["node2.from0"].tolist()
    row = dict(zip(supernet.mixtures["node2.from0"], values, strict=True))
    one = 4 * 4 * 64 + 8 * 8 * 16 + 16 * 16 * 4
    assert row == {
        "none": 0,
        "skip_connect": 0,
        "nor_conv_1x1": one,
        "nor_conv_3x3": 9 * one,
        "avg_pool_3x3": 0,
    }
    params = cost.tables["params"]["node1.from0"]
    assert params[OPTIONS.index("nor_conv_1x1")] == 16 + 64 + 256 + 2 * (4 + 8 + 16)


def test_uniform_logits_cost_one_and_one_hot_ones_their_architecture(supernet):
    cost = ExpectedCost(supernet, torch.zeros(1, 1, 8, 8), {"macs": 2.0})
    logits = Logits(supernet.mixtures)
    assert float(cost(logits.weights()).detach()) == pytest.approx(2.0)
    with torch.no_grad():
        for row in logits.rows:
            row[OPTIONS.index("nor_conv_3x3")] = 60.0
    found = float(cost.relative(logits.weights())["macs"].detach())
    assert found == pytest.approx(9 / 2)  # over the mean of 0, 0, 1, 9, 0
    cost(logits.weights()).backward()


def test_costs_of_a_device_are_those_of_its_model(supernet):
    cost = ExpectedCost(supernet, torch.zeros(1, 1, 8, 8), {"latency_ms@cpu_generic": 1.0})
    model = model_for("cpu_generic")
    layers = [m for m in supernet.modules() if getattr(m, "choice", None) is not None]
    mine = [m for m in layers if m.choice.name == "node3.from1"]
    position = OPTIONS.index("nor_conv_3x3")
    sides = zip(mine, (8, 4, 2), strict=True)
    wanted = sum(
        model.cost(
            trace(m.candidates[position], torch.zeros(1, 4 * 8 // side, side, side))
        ).latency_ms
        for m, side in sides
    )
    table = cost.tables["latency_ms@cpu_generic"]["node3.from1"]
    assert float(table[position]) == pytest.approx(wanted)


@pytest.mark.parametrize("name", ["nb201", "darts"])
def test_a_search_with_a_cost_ends_cheaper(name):
    expected = []
    for cost in (None, {"macs": 3.0}):
        context = make_context(name, **({"preset": "tiny"} if name == "darts" else {}))
        recipe = Darts(epochs=2, batch_size=16, arch_lr=0.1, cost=cost)
        search = BilevelTrainer(recipe, context, 7, "search")
        search.run()
        table = ExpectedCost(search.supernet, search.halves.valid(0).x[:1], {"macs": 1.0})
        expected.append(float(table(search.logits.weights()).detach()))
    assert expected[1] < 0.9 * expected[0]
    assert len(context.curves["search/expected_macs"]) == 2


def test_partial_channels_cost_their_part():
    context = make_context()
    tables = []
    for partial in (2, 4):
        recipe = PcDarts(epochs=1, batch_size=8, partial=partial, warmup_epochs=0)
        search = recipe.trainer(context, 0, "search")
        cost = ExpectedCost(search.supernet, torch.zeros(1, 1, 8, 8), {"macs": 1.0})
        tables.append(float(cost.tables["macs"]["node1.from0"].sum()))
    assert tables[0] == 4 * tables[1]


@pytest.mark.parametrize(
    ("metric", "match"),
    [
        ("peak_memory_bytes@cpu_generic", "must add up over the layers"),
        ("valid_accuracy", "must add up over the layers"),
        ("energy_mj@cpu_generic", "cpu_generic gives latency_ms"),
        ("latency_ms@cpu_generik", "device's own name.*did you mean cpu_generic"),
    ],
)
def test_what_is_no_cost_term(supernet, metric, match):
    with pytest.raises(SpecError, match=match):
        ExpectedCost(supernet, torch.zeros(1, 1, 8, 8), {metric: 1.0})
