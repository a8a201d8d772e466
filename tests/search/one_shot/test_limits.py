"""Derivation with few skips, and within budgets."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from netloom.errors import SpecError
from netloom.estimators.complexity import Workloads
from netloom.search.one_shot.bilevel import BilevelTrainer
from netloom.search.one_shot.derivation import derive
from netloom.search.one_shot.limits import limit_cost, limit_skips
from netloom.search.strategies.darts import Darts
from netloom.search.strategies.pc_darts import PcDarts
from netloom.search.strategies.rarts import Rarts

from .stripes import make_context

OPTIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


@pytest.fixture(scope="module")
def space():
    return make_context().space


def rows(space, **first):
    """Return uniform weights but for `decision=(option, weight)`."""
    found = {d.name: torch.full((5,), 0.1) for d in space.decisions}
    for name, (option, weight) in first.items():
        found[name.replace("__", ".")][OPTIONS.index(option)] = weight
    return found


def test_the_lightest_skips_go_first(space):
    weights = rows(
        space,
        node1__from0=("skip_connect", 0.9),
        node2__from0=("skip_connect", 0.5),
        node2__from1=("skip_connect", 0.7),
        node3__from0=("nor_conv_3x3", 0.8),
    )
    weights["node2.from0"][OPTIONS.index("avg_pool_3x3")] = 0.2
    options = dict.fromkeys(weights, OPTIONS)
    found, left = limit_skips(space, options, weights, partial(derive, space, options), 2)
    assert found["node1.from0"] == found["node2.from1"] == "skip_connect"
    assert found["node2.from0"] == "avg_pool_3x3"  # the next best of the lightest
    assert left["node2.from0"][1] == 0
    assert weights["node2.from0"][1] == 0.5  # untouched
    same, _ = limit_skips(space, options, weights, partial(derive, space, options), 3)
    assert same["node2.from0"] == "skip_connect"


def test_cells_of_darts_count_the_skips_of_the_normal_cell():
    space = make_context("darts", preset="tiny").space
    options = space.operations
    weights = {}
    for i, (edge, names) in enumerate(options.items()):
        row = torch.full((len(names),), 0.01)
        row[names.index("skip_connect")] = 0.5 + 0.01 * i
        row[names.index("sep_conv_3x3")] = 0.3
        weights[edge] = row
    found, _ = limit_skips(space, options, weights, partial(derive, space, options), 2)
    kept = space.kept_edges(found)
    skips = [edge for edge, o in kept.items() if o == "skip_connect"]
    assert len([e for e in skips if e.startswith("normal")]) == 2
    assert len([e for e in skips if e.startswith("reduce")]) == 8


def test_a_budget_gives_up_what_costs_least_weight_for_what_it_saves(space):
    weights = rows(
        space,
        node1__from0=("nor_conv_3x3", 0.9),
        node2__from0=("nor_conv_3x3", 0.6),
        node3__from2=("nor_conv_3x3", 0.8),
    )
    weights["node2.from0"][OPTIONS.index("nor_conv_1x1")] = 0.5
    options = dict.fromkeys(weights, OPTIONS)
    table = {name: torch.tensor([0.0, 0.0, 1.0, 9.0, 0.0]) for name in weights}
    works = Workloads(space)

    def measure(architecture):
        return float(works.of(architecture).macs)

    derive_from = partial(derive, space, options)
    full = measure(derive_from(weights))
    found, _ = limit_cost(space, options, weights, derive_from, table, measure, full - 1)
    assert found["node2.from0"] == "nor_conv_1x1"
    assert found["node1.from0"] == found["node3.from2"] == "nor_conv_3x3"
    least, _ = limit_cost(space, options, weights, derive_from, table, measure, full / 3)
    assert measure(least) <= full / 3
    with pytest.raises(SpecError, match="cheapest options"):
        limit_cost(space, options, weights, derive_from, table, measure, 10.0)


SMALL = {"epochs": 1, "batch_size": 24}


@pytest.mark.parametrize("kind", [Darts, Rarts, PcDarts])
def test_every_search_keeps_its_limits(kind):
    context = make_context()
    free = kind(warmup_epochs=0, **SMALL).trainer(context, 3, "search")
    with torch.no_grad():
        for row in free.logits.rows:
            row[OPTIONS.index("nor_conv_3x3")] = 2.0
    works = Workloads(context.space)
    dear = works.of(free.derived()).macs
    bound = kind(
        warmup_epochs=0, limits={"macs": dear / 2, "latency_ms@cpu_generic": 1e3}, **SMALL
    ).trainer(context, 3, "search")
    bound.logits.load_state_dict(free.logits.state_dict())
    assert works.of(bound.derived()).macs <= dear / 2
    limited = kind(warmup_epochs=0, max_skips=0, **SMALL).trainer(context, 3, "search")
    assert "skip_connect" not in limited.derived().values()


def test_limits_that_cannot_be():
    with pytest.raises(SpecError, match="does not follow from a network's layers"):
        BilevelTrainer(Darts(limits={"valid_accuracy": 3.0}), make_context(), 0, "search")
    search = BilevelTrainer(
        Darts(epochs=1, batch_size=24, limits={"macs": 1.0}), make_context(), 0, "search"
    )
    with pytest.raises(SpecError, match="cheapest options"):
        search.derived()
