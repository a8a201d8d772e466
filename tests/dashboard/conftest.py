"""Stores made by hand: results that a reader can check with a pencil, and one that looks real."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from netloom.dashboard.strategy_view import StrategyView
from netloom.db import CurvePoint, ExperimentRecord, MetricRecord, NewExperiment, NewTrial, Store
from netloom.jsonio import digest

ACCURACY = MetricRecord(
    "valid_accuracy",
    "%",
    "maximize",
    "tabular",
    "f" * 64,
    provenance={"kind": "table", "source": "NAS-Bench-201, CIFAR-10", "version": "1"},
)
LATENCY = MetricRecord(
    "latency_ms@pixel3",
    "ms",
    "minimize",
    "tabular",
    "f" * 64,
    provenance={"kind": "measured", "source": "HW-NAS-Bench", "version": "1"},
)
EYERISS = replace(LATENCY, name="latency_ms@eyeriss")
PARAMS = MetricRecord(
    "params", "", "minimize", "complexity", "c" * 64, provenance={"kind": "count"}
)
TEST = replace(ACCURACY, name="test_accuracy", split="test")
MAX_ACCURACY = {"metric": "valid_accuracy", "direction": "maximize"}
MIN_LATENCY = {"metric": "latency_ms@pixel3", "direction": "minimize"}


def new_experiment(name: str = "toy", **changes: Any) -> NewExperiment:
    plain = NewExperiment(
        name=name,
        spec={"version": 1, "name": name, "space": {"name": "nb201"}, "budget": {"trials": 300}},
        space="nb201",
        space_fingerprint="a" * 64,
        strategy="nsga2",
        objectives=(MAX_ACCURACY, MIN_LATENCY),
        constraints=(),
        metrics=(ACCURACY, LATENCY, EYERISS, PARAMS, TEST),
        seed=0,
        versions={"netloom": "0.1.0", "python": "3.11.7"},
        info={"budget": {"trials": 300}},
    )
    return replace(plain, **changes)


def new_trial(number: int, metrics: Mapping[str, float] | None = None, **changes: Any) -> NewTrial:
    architecture = {"edge0": "nor_conv_3x3", "edge1": number}
    plain = NewTrial(
        number=number,
        key=digest(architecture),
        architecture=architecture,
        notation=f"|nor_conv_3x3~0|+|skip~{number}|",
        status="done",
        metrics=dict(metrics or {}),
        duration_s=0.25,
        told=number,
    )
    return replace(plain, **changes)


Make = Callable[..., ExperimentRecord]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path}/netloom.db") as opened:
        yield opened


@pytest.fixture
def make(store: Store) -> Make:
    """Store an experiment with its trials: `make(trials, name, status="done", **fields)`."""

    def make(
        trials: Sequence[NewTrial] = (), name: str = "toy", *, status: str = "done", **changes: Any
    ) -> ExperimentRecord:
        record = store.create_experiment(new_experiment(name, **changes))
        with store.transaction() as transaction:
            transaction.add_trials(record.id, list(trials))
            if status != "running":
                transaction.update_experiment(record.id, status=status, elapsed_s=12.5)
        return store.experiment(record.id)

    return make


@pytest.fixture
def keep(store: Store) -> Callable[..., StrategyView]:
    """Store curves, and notes (name -> (kind, value)), of an experiment's strategy."""

    def keep(
        record: ExperimentRecord,
        curves: Sequence[CurvePoint] = (),
        notes: Mapping[str, tuple[str, Any]] | None = None,
    ) -> StrategyView:
        with store.transaction() as transaction:
            transaction.add_curves(record.id, list(curves))
            for name, (kind, value) in (notes or {}).items():
                sha256, size = store.put_file(json.dumps(value).encode())
                meta = {"kind": kind, "value": value}
                transaction.add_artifact(
                    record.id, kind="note", name=name, sha256=sha256, size_bytes=size, meta=meta
                )
        return StrategyView.of(store, record)

    return keep


@pytest.fixture
def trial() -> Callable[..., NewTrial]:
    return new_trial


@pytest.fixture
def pairs() -> Callable[[Sequence[tuple[float, float]]], list[NewTrial]]:
    """Trials from (accuracy, latency) pairs."""

    def trials(values: Sequence[tuple[float, float]]) -> list[NewTrial]:
        return [
            new_trial(number, {"valid_accuracy": accuracy, "latency_ms@pixel3": latency})
            for number, (accuracy, latency) in enumerate(values)
        ]

    return trials


def cells(count: int, seed: int, *, skill: float) -> list[NewTrial]:
    """Trials that look like NAS-Bench-201 on two devices; more `skill`, better ones over time."""
    rng = random.Random(seed)
    operations = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    trials = []
    for number in range(count):
        size = rng.random() ** (1 - 0.5 * skill)
        latency = 2.0 + 17.0 * size + rng.gauss(0, 0.4)
        loss = abs(rng.gauss(0, 4.5 * (1.3 - skill * min(1, number / (0.6 * count)))))
        accuracy = 94.4 - 16 * (1 - size) ** 3 - loss
        cell = {f"edge{edge}": rng.choice(operations) for edge in range(6)}
        cell["width"] = number
        eyeriss = 0.45 * latency + rng.gauss(0, 0.25)
        notation = "+".join(
            "|"
            + "|".join(f"{cell[f'edge{edge}']}~{place}" for place, edge in enumerate(node))
            + "|"
            for node in ((0,), (1, 2), (3, 4, 5))
        )
        metrics = {
            "valid_accuracy": round(accuracy, 2),
            "latency_ms@pixel3": round(latency, 3),
            "latency_ms@eyeriss": round(eyeriss, 3),
            "params": float(int(7e4 + 1.4e6 * size)),
        }
        broken = max(0.0, eyeriss / 6 - 1)
        trials.append(
            new_trial(
                number,
                metrics,
                key=digest(cell),
                architecture=cell,
                notation=notation,
                status="infeasible" if broken else "done",
                violation=broken,
                parent=rng.randrange(number) if number > 20 else None,
            )
        )
    return trials


@pytest.fixture
def real_looking(store: Store, make: Make) -> ExperimentRecord:
    """A search of 300 trials with constraint, failures, test metrics, curves and a baseline."""
    constraints = ({"metric": "latency_ms@eyeriss", "max": 6.0},)
    trials = cells(360, 1, skill=1.0)
    for number in (17, 140):
        trials[number] = replace(
            trials[number],
            status="failed",
            metrics={},
            violation=0.0,
            error="EvaluationError: the loss became NaN in epoch 3",
            traceback="Traceback (most recent call last):\n  ...\nEvaluationError: NaN",
        )
    record = make(trials, "quickstart", constraints=constraints)
    make(
        cells(360, 2, skill=0.0),
        "quickstart-random",
        constraints=constraints,
        kind="baseline",
        parent=record.id,
        strategy="random",
    )
    return record
