"""Trials per second that a table answers and SQLite stores: netloom beside Optuna."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from tempfile import TemporaryDirectory

from machine import load
from search_tasks import ground

from netloom.db import Store
from netloom.search import Result, Runner
from netloom.search.run.plan import Plan, build_plan
from netloom.search.run.spec import parse
from netloom.search.strategies.random import RandomSearch

TRIALS, GROUP, OPTUNA_TRIALS = 10_000, 1_000, 250
TASK = "hypervolume"  # nb201: validation accuracy and latency


def measure(rounds: int) -> dict[str, list[dict[str, float]]]:
    """Return what alternating runs took: batches of 32, one at a time, Optuna."""
    by_batch(32, 2 * GROUP)  # imports, and the table is read
    by_optuna(5)
    runs: dict[str, list[dict[str, float]]] = {"batch 32": [], "batch 1": [], "Optuna": []}
    for _ in range(rounds):
        runs["batch 32"].append(by_batch(32, TRIALS))
        runs["batch 1"].append(by_batch(1, TRIALS))
        runs["Optuna"].append(by_optuna(OPTUNA_TRIALS))
    return runs


class Watched(RandomSearch):
    """Random search that notes the time of this process after every `GROUP` results."""

    def __init__(self, batch: int) -> None:
        super().__init__(batch=batch)
        self._told, self.marks = 0, [time.process_time()]

    def tell(self, results: Sequence[Result]) -> None:
        """Count the results."""
        super().tell(results)
        self._told += len(results)
        if self._told >= GROUP * len(self.marks):
            self.marks.append(time.process_time())


def by_batch(batch: int, trials: int) -> dict[str, float]:
    """Run a random search in this process, from the empty store to the finished experiment."""
    strategy = Watched(batch)
    with TemporaryDirectory() as folder, Store(f"sqlite:///{folder}/netloom.db") as store:
        runner = Runner(replace(searched(store.url, trials), strategy=strategy), store)
        clock = Clock()
        done = runner.run().counts["done"]
        rates = clock.rates(trials)
    if done != trials:
        raise RuntimeError(f"{trials} trials were asked for, {done} are stored")
    spans = [after - before for before, after in pairwise(strategy.marks)]
    return rates | {"last_to_first": round(spans[-1] / spans[0], 3)}


def by_optuna(trials: int) -> dict[str, float]:
    """Run Optuna's random sampler over the same table with its storage in SQLite."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = ground(TASK)
    rows = {tuple(choice): i for i, choice in enumerate(table.choices.tolist())}

    def objective(trial: optuna.Trial) -> tuple[float, ...]:
        chosen = (
            trial.suggest_categorical(d.name, range(len(d.options))) for d in table.space.decisions
        )
        return tuple(table.losses[rows[tuple(chosen)]])

    with TemporaryDirectory() as folder:
        study = optuna.create_study(
            storage=f"sqlite:///{folder}/optuna.db",
            sampler=optuna.samplers.RandomSampler(seed=0),
            directions=["minimize", "minimize"],
        )
        clock = Clock()
        study.optimize(objective, n_trials=trials)
        return clock.rates(trials)


class Clock:
    """Starts when made."""

    def __init__(self) -> None:
        self._load, self._wall, self._cpu = load(), time.perf_counter(), time.process_time()

    def rates(self, trials: int) -> dict[str, float]:
        """Return trials per second by the clock and by this process's own time, and the load."""
        seconds, cpu_seconds = time.perf_counter() - self._wall, time.process_time() - self._cpu
        rates = {"per_s": trials / seconds, "per_cpu_s": trials / cpu_seconds}
        return {name: round(rate, 1) for name, rate in rates.items()} | {"load": self._load}


def searched(url: str, trials: int) -> Plan:
    """Return a random search of `nb201` with two objectives, answered by the table."""
    spec = {
        "name": "inline",
        "space": "nb201",
        "estimators": ["tabular"],
        "strategy": "random",
        "objectives": [{"maximize": "valid_accuracy"}, {"minimize": "latency_ms@pixel3"}],
        "budget": {"trials": trials},
        "runner": {"engine": "inline"},
        "baseline": False,
        "store": url,
    }
    return build_plan(parse(spec))
