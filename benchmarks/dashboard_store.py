"""A store as large as a team's: many experiments, and one of a hundred thousand trials."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from netloom.db import MetricRecord, NewExperiment, NewTrial, Store
from netloom.jsonio import digest

LARGE = "large"
CHUNK = 5000  # trials per transaction
LAYERS = 12
GENERATION = 32  # trials
_KERNELS, _RATIOS, _WIDTHS = (3, 5, 7), (3, 4, 6), (16, 24, 32, 48)
_DEVICES = ("pixel3", "eyeriss", "raspi4")
METRICS = (
    MetricRecord("valid_accuracy", "%", "maximize", "tabular", "a" * 64),
    *(MetricRecord(f"latency_ms@{d}", "ms", "minimize", "tabular", "a" * 64) for d in _DEVICES),
    MetricRecord("params", "", "minimize", "complexity", "c" * 64),
    MetricRecord("macs", "MACs", "minimize", "complexity", "c" * 64),
)
BOUND = 9.0  # ms on eyeriss


def made(path: Path) -> float | None:
    """Make the store unless it is there; return the seconds."""
    if path.exists():
        return None
    start = time.perf_counter()
    with Store(f"sqlite:///{path}") as store:
        fill(store, trials=100_000, experiments=1000, small=20)
    return round(time.perf_counter() - start, 1)


def fill(store: Store, *, trials: int, experiments: int, small: int) -> None:
    """Make a search of `trials` trials with its baseline, and `experiments - 1` of `small` ones."""
    for number in range(experiments - 1):
        name, group = f"search-{number:04d}", f"group-{number // 5}"
        tags = ("archive",) if number % 7 == 0 else ()
        record = store.create_experiment(replace(_experiment(name, number), group=group, tags=tags))
        add(store, record.id, drawn(number, small))
        finish(store, record.id)
    search = store.create_experiment(_experiment(LARGE, 0))
    add(store, search.id, drawn(0, trials))
    finish(store, search.id)
    beside = replace(_experiment(f"{LARGE}-random", 1), kind="baseline", parent=search.id)
    baseline = store.create_experiment(replace(beside, strategy="random"))
    add(store, baseline.id, drawn(1, trials, skill=0.0))
    finish(store, baseline.id)


def add(store: Store, experiment: str, trials: Iterable[NewTrial]) -> None:
    """Insert trials, some thousand in a transaction."""
    left = iter(trials)
    while part := list(islice(left, CHUNK)):
        with store.transaction() as transaction:
            transaction.add_trials(experiment, part)


def finish(store: Store, experiment: str) -> None:
    """Say that a search has ended."""
    store.update_experiment(experiment, status="done", elapsed_s=60.0)


def drawn(seed: int, count: int, *, first: int = 0, skill: float = 0.6) -> Iterator[NewTrial]:
    """Yield trials whose accuracies grow with their costs, and with time where there is skill."""
    rng = random.Random(f"{seed}/{first}")
    for number in range(first, first + count):
        architecture: dict[str, Any] = {
            f"layer{layer}": {"kernel": rng.choice(_KERNELS), "ratio": rng.choice(_RATIOS)}
            for layer in range(LAYERS)
        }
        architecture["stem"] = {"width": rng.choice(_WIDTHS)}
        yield _trial(number, architecture, rng, skill * number / (first + count))


def _trial(
    number: int, architecture: dict[str, dict[str, int]], rng: random.Random, skill: float
) -> NewTrial:
    size = sum(p["kernel"] * p["ratio"] for k, p in architecture.items() if k != "stem")
    latency = size * architecture["stem"]["width"] / 400 * math.exp(rng.gauss(0, 0.2))
    accuracy = 95 - 30 / (1 + latency / 8) - abs(rng.gauss(0, 3 * (1.1 - skill)))
    eyeriss = 0.45 * latency * math.exp(rng.gauss(0, 0.1))
    broken = max(0.0, eyeriss / BOUND - 1)
    metrics = {
        "valid_accuracy": accuracy,
        "latency_ms@pixel3": latency,
        "latency_ms@eyeriss": eyeriss,
        "latency_ms@raspi4": 6 * latency,
        "params": 1e4 * size,
        "macs": 1e6 * size,
    }
    failed = not broken and rng.random() < 0.01
    return NewTrial(
        number=number,
        key=digest(architecture),
        architecture=architecture,
        notation=" ".join(f"{p['kernel']}x{p.get('ratio', 1)}" for p in _parts(architecture)),
        status="infeasible" if broken else "failed" if failed else "done",
        metrics={} if failed else metrics,
        violation=broken,
        error="the loss became NaN in epoch 3" if failed else None,
        duration_s=abs(rng.gauss(1, 0.3)),
        tags={"generation": number // GENERATION},
        told=number,
    )


def _parts(architecture: dict[str, dict[str, int]]) -> list[dict[str, int]]:
    return [part for name, part in architecture.items() if name != "stem"]


def _experiment(name: str, seed: int) -> NewExperiment:
    budget: dict[str, Any] = {"budget": {"trials": 100_000}}
    return NewExperiment(
        name=name,
        spec={"version": 1, "name": name, "space": {"name": "mobilenet"}, **budget},
        space="mobilenet",
        space_fingerprint="b" * 64,
        strategy="nsga2",
        objectives=(
            {"metric": "valid_accuracy", "direction": "maximize"},
            {"metric": "latency_ms@pixel3", "direction": "minimize"},
        ),
        constraints=({"metric": "latency_ms@eyeriss", "max": BOUND},),
        metrics=METRICS,
        seed=seed,
        versions={"netloom": "benchmark"},
        info=budget,
    )
