"""Strategies in a space whose decisions follow one another: they propose paths, and all of them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from statistics import mean

import pytest

from netloom.search import Objective, Strategy
from netloom.search.strategies.local_search import LocalSearch
from netloom.search.strategies.nsga2 import NSGA2
from netloom.search.strategies.regularized_evolution import RegularizedEvolution
from netloom.search.strategies.tpe import TPE
from netloom.search.testing import MemoryContext
from netloom.spaces import Architecture, ChainSpace, Decision, ProductSpace
from netloom.spaces.chain import Chain

LEVELS = (3, 2, 1, 0)
FALLING = {3: (3, 2), 2: (2, 1), 1: (1, 0), 0: (0,)}


def falling(length: int) -> Chain:
    decisions = [Decision(f"step{i}", LEVELS) for i in range(length)]
    return Chain(decisions, FALLING, "a level stays or falls by one")


@pytest.mark.parametrize(
    "make",
    [
        lambda: TPE(startup=4, candidates=4),
        lambda: LocalSearch(initial=4),
        lambda: NSGA2(population=8),
        lambda: RegularizedEvolution(population=8, sample=3),
    ],
    ids=["tpe", "local_search", "nsga2", "regularized_evolution"],
)
def test_every_path_is_proposed_once_and_nothing_else(make: Callable[[], Strategy]) -> None:
    space = falling(4)
    context = MemoryContext(space, [Objective("loss", "minimize")])
    strategy = make()
    strategy.prepare(context)
    results = context.run(strategy, lambda a: {"loss": float(sum(a.values()))}, 100)
    assert {r.architecture for r in results} == set(space.enumerate())
    assert len(results) == space.size == 8 + 7 + 4 + 1  # by the first level


def test_tpe_learns_on_paths() -> None:
    """What it suggests is no path; the nearest one keeps most of it."""
    space = ProductSpace(net=falling(22), other=falling(2))
    wanted = [3] * 6 + [2] * 6 + [1] * 6 + [0] * 4

    def loss(a: Architecture) -> dict[str, float]:
        path = list(space.project(a, "net").values())
        assert all(b in FALLING[b0] for b0, b in pairwise(path))
        return {"loss": float(sum(abs(x - y) for x, y in zip(path, wanted, strict=True)))}

    context = MemoryContext(space, [Objective("loss", "minimize")])
    strategy = TPE(candidates=8)
    strategy.prepare(context)
    late = [r.metrics["loss"] for r in context.run(strategy, loss, 60)[30:]]
    assert mean(late) < 0.5 * mean(loss(a)["loss"] for a in space.enumerate())


def test_a_space_of_networks_can_be_a_chain() -> None:
    assert issubclass(ChainSpace, Chain)
