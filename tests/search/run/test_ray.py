"""The Ray engines: the same trials for any number of workers, lost workers, early stopping."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_plans import PROJECT, TRAIN, trained

from netloom.db import Store
from netloom.errors import EvaluationError, SpecError, StoreError
from netloom.search.run.events import Event
from netloom.search.run.plan import Plan
from netloom.search.run.runner import Runner

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared_ray")]
Plans = Callable[..., Plan]
EVOLVE = {"name": "nsga2", "population": 4, "batch": 4}


def wait_for_the_end_of(pid: int) -> None:
    while (stat := Path(f"/proc/{pid}/stat")).exists() and ") Z " not in stat.read_text():
        time.sleep(0.01)


class AtWork:
    """Counts how many trials run at a time."""

    def __init__(self) -> None:
        self.now: set[int | None] = set()
        self.most = 0

    def __call__(self, event: Event) -> None:
        if event.kind == "evaluating":
            self.now.add(event.number)
            self.most = max(self.most, len(self.now))
        elif event.kind == "committed":
            self.now.discard(event.number)


def ray(workers: int, **options: Any) -> dict[str, Any]:
    return {"runner": {"engine": "ray", "workers": workers, **options}}


def rows(store: Store, name: str) -> list[tuple[Any, ...]]:
    return [
        (r.number, r.key, r.status, r.seed, r.parent, r.metrics, r.violation, r.told)
        for r in store.trial_records(store.experiment(name).id)
    ]


@pytest.mark.parametrize("workers", [3, pytest.param(1, marks=pytest.mark.full)])
def test_the_number_of_workers_does_not_change_the_trials(
    plan: Plans, store: Store, workers: int
) -> None:
    changes = trained(raise_at=7, exit_at=13) | {"strategy": EVOLVE, "budget": {"trials": 16}}
    changes |= {"constraints": ["cost <= 14"]}
    Runner(plan(**changes, name="inline"), store).run()
    watch = AtWork()
    made = plan(**{**changes, **ray(workers)}, name="ray")
    Runner(made, store, listeners=[watch]).run()
    assert 1 <= watch.most <= workers
    assert rows(store, "ray") == rows(store, "inline")
    failed = [r for r in store.trial_records(store.experiment("ray").id) if r.status == "failed"]
    assert {r.error for r in failed} == {"EvaluationError: it does not train", "SystemExit: 3"}
    for record in failed:
        printed = "--- what the trial printed ---\nwhat it printed" in record.traceback
        assert printed == ("EvaluationError" in record.error)


def test_cheap_batches_run_in_actors_with_the_same_result(plan: Plans, store: Store) -> None:
    changes = {
        "estimators": [{"name": "toys:Cost", "broken": 7, "limit": 15}],
        "strategy": EVOLVE,
        "budget": {"trials": 40},
    }
    Runner(plan(**changes, name="inline"), store).run()
    Runner(plan(**changes, **ray(3), name="actors"), store).run()
    assert rows(store, "actors") == rows(store, "inline")


def test_a_lost_worker_is_replaced_and_its_trial_tried_again(
    plan: Plans, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    changes = trained(die_at=8) | {"budget": {"trials": 6}} | ray(2, retries=1)
    summary = Runner(plan(**changes), store).run()
    records = store.trial_records(summary.experiment.id)
    lost = [r for r in records if r.status == "failed"]
    assert lost
    for record in lost:
        assert sum(record.architecture.values()) == 8
        assert record.error == "WorkerLost: the worker that evaluated it died 2 times"
        assert record.attempts == 2
    assert summary.counts["done"] == 6 - len(lost)
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def short_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever kills a worker, Ray says that it was for want of memory."""
    from ray import get
    from ray.exceptions import OutOfMemoryError, RayActorError

    def low(*arguments: Any, **options: Any) -> Any:
        try:
            return get(*arguments, **options)
        except RayActorError as error:
            raise OutOfMemoryError("the node is running low on memory") from error

    monkeypatch.setattr("ray.get", low)


@pytest.mark.parametrize(
    "fixture",
    [
        pytest.param("short_of_memory", id="memory"),
        pytest.param("tmp_path", id="killed", marks=pytest.mark.full),
    ],
)
def test_a_worker_that_dies_between_trials_costs_the_next_one_an_attempt(
    plan: Plans, store: Store, tmp_path: Path, request: pytest.FixtureRequest, fixture: str
) -> None:
    request.getfixturevalue(fixture)
    pids = tmp_path / "pids"

    def kill(event: Event) -> None:
        if (event.kind, event.number) == ("committed", 1):
            worker = int(pids.read_text())
            os.kill(worker, signal.SIGKILL)
            wait_for_the_end_of(worker)

    changes = trained(pids=str(pids)) | {"budget": {"trials": 4}} | ray(1, retries=1)
    summary = Runner(plan(**changes), store, listeners=[kill]).run()
    records = store.trial_records(summary.experiment.id)
    assert [r.status for r in records] == ["done"] * 4
    assert [r.attempts for r in records] == [1, 1, 2, 1]


@pytest.mark.full
@pytest.mark.usefixtures("short_of_memory")
def test_a_worker_killed_for_memory_is_a_lost_worker(plan: Plans, store: Store) -> None:
    """Ray answers for it with an error that Tune does not know, and would end at."""
    changes = trained(die_at=8) | {"budget": {"trials": 6}} | ray(2, retries=1)
    summary = Runner(plan(**changes, name="tune"), store).run()
    deadly = {"estimators": [{"name": "toys:Cost", "deadly": 8}], "budget": {"trials": 6}}
    actors = Runner(plan(**deadly, **ray(2, retries=1), name="actors"), store).run()
    for found, how in ((summary, ", killed for want of memory"), (actors, "")):
        records = store.trial_records(found.experiment.id)
        lost = [r for r in records if sum(r.architecture.values()) == 8]
        text = f"WorkerLost: the worker that evaluated it died 2 times{how}"
        assert [r.error for r in lost] == [text] * len(lost)
        assert lost
        assert found.counts["done"] == 6 - len(lost)


@pytest.mark.parametrize("retries", [0, pytest.param(2, marks=pytest.mark.full)])
def test_a_cheap_evaluation_that_kills_its_worker_takes_no_other_with_it(
    plan: Plans, store: Store, retries: int
) -> None:
    deadly = {"estimators": [{"name": "toys:Cost", "deadly": 8}], "budget": {"trials": 24}}
    summary = Runner(plan(**deadly, **ray(2, retries=retries)), store).run()
    records = store.trial_records(summary.experiment.id)
    lost = [r for r in records if r.status == "failed"]
    assert lost
    assert {sum(r.architecture.values()) for r in lost} == {8}
    assert all(f"died {max(2, 1 + retries)} times" in (r.error or "") for r in lost)
    assert summary.counts["done"] == 24 - len(lost)


@pytest.mark.parametrize("scheduler", ["asha", pytest.param("median", marks=pytest.mark.full)])
def test_schedulers_prune_what_falls_behind(plan: Plans, store: Store, scheduler: str) -> None:
    changes = trained(epochs=9) | {"budget": {"trials": 16}}
    changes |= ray(2, scheduler=scheduler, order="arrival")
    summary = Runner(plan(**changes), store).run()
    records = store.trial_records(summary.experiment.id)
    pruned = [r for r in records if r.status == "pruned"]
    assert pruned
    assert summary.counts["done"] + len(pruned) == 16
    assert sorted(r.told for r in records if r.told is not None) == list(range(16))
    curves = store.curves(summary.experiment.id).groupby("number").step.max()
    assert all(curves[r.number] < 9 for r in pruned)
    assert all(curves[r.number] == 9 for r in records if r.status == "done")
    assert all(r.metrics.keys() == {"accuracy", "cost", "gain"} for r in pruned)
    best = max(records, key=lambda r: sum(r.architecture.values()))
    assert best.status == "done"


@pytest.mark.full
def test_a_store_that_refuses_ends_the_run_with_its_own_error(plan: Plans, store: Store) -> None:
    def refuse(event: Event) -> None:
        if (event.kind, event.number) == ("transaction", 2):
            raise StoreError("the disk is full")

    changes = trained() | {"strategy": EVOLVE, "budget": {"trials": 6}}
    Runner(plan(**changes, name="calm"), store).run()
    with pytest.raises(StoreError, match="the disk is full"):
        Runner(plan(**changes | ray(2)), store, listeners=[refuse]).run()
    record = store.experiment("toy")
    assert record.status == "failed"
    assert record.counts.get("failed", 0) == 0  # no trial is blamed
    Runner.resume(store, "toy")
    assert rows(store, "toy") == rows(store, "calm")


def test_ctrl_c_keeps_what_is_finished(plan: Plans, store: Store) -> None:
    def interrupt(event: Event) -> None:
        if (event.kind, event.number) == ("committed", 2):
            os.kill(os.getpid(), signal.SIGINT)

    changes = trained(sleep_s=0.05) | {"strategy": EVOLVE, "budget": {"trials": 10}}
    Runner(plan(**changes, name="calm"), store).run()
    summary = Runner(plan(**changes | ray(2)), store, listeners=[interrupt]).run()
    assert (summary.reason, summary.exit_code) == ("interrupted", 130)
    assert summary.counts.get("running", 0) == 0
    assert 3 <= summary.counts["done"] < 10
    Runner.resume(store, "toy")
    assert rows(store, "toy") == rows(store, "calm")


def test_time_stops_running_trials(plan: Plans, store: Store) -> None:
    changes = trained(sleep_s=0.1, epochs=1000) | {"budget": {"time": 3}} | ray(2)
    summary = Runner(plan(**changes), store).run()
    assert summary.reason == "time"
    assert summary.counts.get("done", 0) == 0
    assert summary.counts["queued"] == 4


def test_weights_come_back_and_the_front_is_tested_in_workers(plan: Plans, store: Store) -> None:
    summary = Runner(
        plan(**trained(weights=True) | {"budget": {"trials": 4}} | ray(2)), store
    ).run()
    assert summary.test_failures == {}
    assert all("test_accuracy" in r.metrics for r in summary.front)
    kept = {a.number for a in store.artifacts(summary.experiment.id, kind="weights")}
    assert {r.number for r in summary.front} <= kept


@pytest.mark.full
def test_a_test_that_kills_its_worker_is_reported(plan: Plans, store: Store) -> None:
    changes = trained(tested=True, deadly_test=True) | {"budget": {"trials": 3}}
    summary = Runner(plan(**changes | ray(2, retries=0)), store).run()
    assert (summary.exit_code, summary.counts["done"]) == (0, 3)
    assert summary.test_failures.keys() == {r.number for r in summary.front}
    assert {"WorkerLost" in text for text in summary.test_failures.values()} == {True}


def test_what_no_worker_can_load_ends_the_run(plan: Plans, store: Store) -> None:
    changes = {**TRAIN, "estimators": ["toys:Cost", "toys:Unloadable"], **ray(1)}
    with pytest.raises(EvaluationError, match=r"workers cannot load the search.*elsewhere"):
        Runner(plan(**changes), store).run()
    record = store.experiment("toy")
    assert record.status == "failed"
    assert record.counts.get("running", 0) == 0


def test_cheap_estimators_that_no_worker_can_load_end_the_run_too(
    plan: Plans, store: Store
) -> None:
    with pytest.raises(EvaluationError, match=r"workers cannot load the search.*elsewhere"):
        Runner(plan(estimators=["toys:UnloadableCost"], **ray(1)), store).run()
    assert store.experiment("toy").status == "failed"
    assert store.trial_records(store.experiment("toy").id) == []


def test_more_workers_than_there_is_room_for_do_not_wait_for_each_other(
    plan: Plans, store: Store
) -> None:
    summary = Runner(plan(budget={"trials": 12}, **ray(5)), store).run()
    assert summary.counts["done"] == 12


def test_what_cannot_be_sent_is_refused_by_name(plan: Plans, store: Store) -> None:
    made = plan(**{**TRAIN, **ray(1)})
    made.estimators[1].lock = __import__("threading").Lock()  # type: ignore[attr-defined]
    with pytest.raises(SpecError, match="the estimator train cannot be pickled"):
        Runner(made, store).run()


def test_a_ray_that_the_run_starts_is_stopped_and_leaves_nothing(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("h")
    script = (
        "import os, sys, tempfile\n"
        f"sys.path.insert(0, {str(PROJECT)!r})\n"
        "from toy_plans import TRAIN, make_plan\n"
        "from netloom.db import Store\n"
        "from netloom.search.run.runner import Runner\n"
        "before = set(os.environ), set(os.listdir(tempfile.gettempdir()))\n"
        f"url = 'sqlite:///{tmp_path}/store.db'\n"
        "changes = {**TRAIN, 'runner': {'engine': 'ray', 'workers': 2}}\n"
        "with Store(url) as store:\n"
        "    Runner(make_plan(url, **changes), store).run()\n"
        "import ray\n"
        "assert not ray.is_initialized()\n"
        "assert not [n for n in os.listdir(tempfile.gettempdir()) if n.startswith('netloom-')"
        " and n not in before[1]]\n"
        "left = {n for n in set(os.environ) - before[0] if n.startswith(('RAY_U', 'TUNE_'))}\n"
        "assert left <= {'TUNE_ORIG_WORKING_DIR'}, left\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == ""
    assert ended.stderr == ""
    assert list(home.iterdir()) == []
