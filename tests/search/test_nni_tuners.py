"""NNI's tuners run the conformance suite of strategies."""

from __future__ import annotations

import sys

import pytest

from netloom.errors import MissingDependency
from netloom.search.strategies.nni_tuners import NniEvolution, NniTPE
from netloom.search.strategies.random import RandomSearch
from netloom.search.testing import StrategyContract, planted

nni = pytest.mark.nni


@nni
class TestNniTPE(StrategyContract):
    trials = 30
    growth = (40, 60, 80)

    def make(self):
        return NniTPE(startup=8, candidates=8)


@nni
class TestNniEvolution(StrategyContract):
    def make(self):
        return NniEvolution(population=8)


def best(strategy, seed, trials=80):
    problem = planted(6, 4)
    context = problem.context(seed)
    strategy.prepare(context)
    results = context.run(strategy, problem.evaluate, trials)
    return max(r.metrics["quality"] for r in results)


@nni
@pytest.mark.parametrize("make", [NniTPE, lambda: NniEvolution(population=16)])
def test_they_find_more_than_chance(make):
    seeds = range(12)
    ahead = sum(best(make(), seed) > best(RandomSearch(), seed) for seed in seeds)
    behind = sum(best(make(), seed) < best(RandomSearch(), seed) for seed in seeds)
    assert ahead >= behind + 6


@nni
def test_a_batch_is_told_by_the_tuners_own_numbers():
    problem = planted(3, 4)
    context, strategy = problem.context(), NniEvolution(population=6)
    strategy.prepare(context)
    numbers = context.ask(strategy, 4)
    assert len(strategy._tuner.running_trials) == 4
    results = [context.result(n, problem.evaluate) for n in reversed(numbers)]
    context.tell(strategy, results)
    assert strategy._tuner.running_trials == {}
    rewards = [one.result for one in strategy._tuner.population if one.result is not None]
    assert rewards == [r.metrics["quality"] for r in results]


@pytest.mark.parametrize("make", [NniTPE, NniEvolution])
def test_without_nni_the_extra_is_named(make, monkeypatch):
    monkeypatch.setitem(sys.modules, make.module, None)
    with pytest.raises(MissingDependency, match=r"pip install 'netloom\[nni\]'"):
        make()
