"""Experiments and trials to store, and the fixtures that every check needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select

from ...jsonio import digest
from ..records import CostRecord, CurvePoint, MetricRecord, NewExperiment, NewTrial
from ..store import Store
from ..tables import Base

SPACE = digest("space")
METRICS = (
    MetricRecord("accuracy", "%", "maximize", "tabular", "tabular-1", provenance={"kind": "table"}),
    MetricRecord("latency_ms@dev", "ms", "minimize", "hardware", "hardware-1"),
    MetricRecord("test_accuracy", "%", "maximize", "tabular", "tabular-1", split="test"),
)


def experiment(name: str = "exp", **changes: Any) -> NewExperiment:
    """Return an experiment to be stored."""
    plain = NewExperiment(
        name=name,
        spec={"version": 1, "name": name},
        space="toy",
        space_fingerprint=SPACE,
        strategy="random",
        objectives=({"metric": "accuracy", "direction": "maximize"},),
        constraints=({"metric": "latency_ms@dev", "max": 6.0},),
        metrics=METRICS,
        seed=7,
    )
    return replace(plain, **changes)


def trial(number: int, **changes: Any) -> NewTrial:
    """Return a queued trial of an architecture of its own."""
    choice = {"stage1.op": f"op{number}", "depth": number}
    return replace(NewTrial(number, digest(choice), choice, f"|op{number}|"), **changes)


def done(number: int, **changes: Any) -> NewTrial:
    """Return a trial that was answered at once."""
    values = {"accuracy": 90.0 + number / 1000, "latency_ms@dev": 1.0 + number}
    return trial(number, **{"status": "done", "metrics": values, "duration_s": 0.5} | changes)


class Fixtures:
    """A database per test, the store on it, and an experiment."""

    @pytest.fixture
    def url(self) -> str:
        """Return the URL of a database that is empty, one per test."""
        raise NotImplementedError("a subclass of StoreContract gives the fixture `url`")

    @pytest.fixture
    def store(self, url: str) -> Iterator[Store]:
        """Return an open store."""
        with Store(url) as store:
            yield store

    @pytest.fixture
    def exp(self, store: Store) -> str:
        """Return the id of an experiment."""
        return store.create_experiment(experiment()).id


def fill(store: Store, experiment_id: str) -> None:
    """Write something into every table below an experiment."""
    sha256, size = store.put_file(b"weights")
    with store.transaction() as tx:
        tx.add_trials(experiment_id, [done(0, told=0), done(1, told=1)])
        tx.save_state(experiment_id, {"n": 2}, 2)
        tx.add_curves(experiment_id, [CurvePoint("loss", 0, 1.0, 0), CurvePoint("temp", 0, 1.0)])
        tx.add_details(experiment_id, 0, "cost", {"layers": []})
        tx.add_costs(SPACE, [CostRecord(trial(0).key, "dev", "1", "latency_ms", 1.0)])
        for kind in ("checkpoint", "weights"):
            tx.add_artifact(
                experiment_id, kind=kind, name="w", sha256=sha256, size_bytes=size, number=0
            )
    store.request_stop(experiment_id)


def count_rows(store: Store) -> dict[str, int]:
    """Return the number of rows of each table."""
    with store._database.read() as connection:
        return {
            table.name: int(
                connection.execute(select(func.count()).select_from(table)).scalar_one()
            )
            for table in Base.metadata.sorted_tables
        }
