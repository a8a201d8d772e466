"""Every strategy runs the conformance suite."""

from __future__ import annotations

from netloom.search.strategies.local_search import LocalSearch
from netloom.search.strategies.nsga2 import NSGA2
from netloom.search.strategies.random import RandomSearch
from netloom.search.strategies.regularized_evolution import RegularizedEvolution
from netloom.search.strategies.tpe import TPE
from netloom.search.testing import StrategyContract


class TestRandom(StrategyContract):
    def make(self):
        return RandomSearch(batch=5)


class TestRegularizedEvolution(StrategyContract):
    def make(self):
        return RegularizedEvolution(population=8, sample=3)


class TestNSGA2(StrategyContract):
    def make(self):
        return NSGA2(population=8)


class TestTPE(StrategyContract):
    trials = 20  # Optuna needs some 10 ms per suggestion
    growth = (30, 45, 60)

    def make(self):
        return TPE(startup=8, candidates=8)


class TestLocalSearch(StrategyContract):
    growth = (100, 150, 200)

    def make(self):
        return LocalSearch(initial=5)


class TestPlainLocalSearch(StrategyContract):
    def make(self):
        return LocalSearch(initial=5, order="random", batch=3)
