"""What the Ray engine adds to a trial: 100 free trials, beside a bare loop of Ray Tune.

Both sides run in one local Ray, two trials at a time, with one actor per place that is used again
for the next trial, Tune's own files and tables off: the bare loop is as lean as Tune allows. Ours
is a whole `Runner.run`: strategy, engine, every trial and its states committed to SQLite.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from free import count
from machine import load

from netloom.db import Store
from netloom.search import Runner
from netloom.search.run.engines.cluster import SETTINGS, Cluster, environment, quiet
from netloom.search.run.plan import Plan, build_plan
from netloom.search.run.spec import RunnerOptions, parse
from netloom.spaces import SPACES

TRIALS, WORKERS = 100, 2


def measure(pairs: int) -> list[dict[str, float]]:
    """Return the seconds of both sides, pair by pair; who begins alternates."""
    found = []
    with environment(SETTINGS), quiet(), Cluster(RunnerOptions(engine="ray", workers=WORKERS)):
        ours(8), bare(8)  # workers start, modules are imported
        for pair in range(pairs):
            busy = load()
            sides = (ours, bare) if pair % 2 == 0 else (bare, ours)
            seconds = {side.__name__: side(TRIALS) for side in sides}
            found.append({**seconds, "ratio": seconds["ours"] / seconds["bare"], "load": busy})
    return [{name: round(value, 3) for name, value in pair.items()} for pair in found]


def ours(trials: int) -> float:
    """Return the seconds of a random search of `nb201` by the Ray engine."""
    with TemporaryDirectory() as folder, Store(f"sqlite:///{folder}/netloom.db") as store:
        runner = Runner(searched(store.url, trials), store)
        start = time.perf_counter()
        counts = runner.run().counts
        seconds = time.perf_counter() - start
    if counts["done"] != trials:
        raise RuntimeError(f"{trials} trials were asked for, got {dict(counts)}")
    return seconds


def bare(trials: int) -> float:
    """Return the seconds of the same draws by Tune alone."""
    from ray import tune

    class Free(tune.Trainable):  # type: ignore[misc]  # Ray is untyped here
        def setup(self, config: Mapping[str, Any]) -> None:
            self.chosen = config

        def reset_config(self, new_config: Mapping[str, Any]) -> bool:
            self.chosen = new_config
            return True

        def step(self) -> dict[str, Any]:
            return {"score": count(self.chosen), "done": True}

    decisions = SPACES.get("nb201")().decisions
    with TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources(Free, {"cpu": 1}),
            param_space={d.name: tune.choice(list(d.options)) for d in decisions},
            tune_config=tune.TuneConfig(
                num_samples=trials, max_concurrent_trials=WORKERS, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                name="bare",
                storage_path=folder,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        )
        start = time.perf_counter()
        results = tuner.fit()
        seconds = time.perf_counter() - start
    if len(results) != trials or results.errors:
        raise RuntimeError(f"{trials} trials were asked for, {len(results)} ended")
    return seconds


def searched(url: str, trials: int) -> Plan:
    """Return a random search whose evaluations are free, but not declared to be."""
    spec = {
        "name": "ray",
        "space": "nb201",
        "estimators": ["free:score"],
        "strategy": "random",
        "objectives": [{"maximize": "score"}],
        "budget": {"trials": trials},
        "runner": {"engine": "ray", "workers": WORKERS},
        "baseline": False,
        "store": url,
    }
    return build_plan(parse(spec), source_dir=Path(__file__).parent)
