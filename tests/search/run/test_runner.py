"""Resume, interruption, stopping, weights, test metrics, baseline, warm start."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_plans import TRAIN, make_plan, trained

from netloom.db import Store
from netloom.errors import SpecError, StoreError
from netloom.search.run.events import Event
from netloom.search.run.plan import Plan
from netloom.search.run.runner import Runner
from netloom.search.run.spec import Budget

Plans = Callable[..., Plan]
EVOLVE = {"name": "nsga2", "population": 4, "batch": 4}


def rows(store: Store, ref: str) -> list[tuple[Any, ...]]:
    return [
        (r.number, r.key, r.status, r.seed, r.parent, r.metrics, r.violation, r.told)
        for r in store.trial_records(store.experiment(ref).id)
    ]


def signalling(number: int, times: int = 1) -> Callable[[Event], None]:
    """Return a listener that presses Ctrl-C when a trial starts."""

    def listener(event: Event) -> None:
        if (event.kind, event.number) == ("evaluating", number):
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)

    return listener


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
def test_an_interrupted_search_goes_on_as_if_nothing_had_happened(
    plan: Plans, store: Store, times: int
) -> None:
    changes = {**TRAIN, "strategy": EVOLVE, "budget": {"trials": 14}}
    Runner(plan(**changes, name="calm"), store).run()
    handler = signal.getsignal(signal.SIGINT)
    summary = Runner(plan(**changes), store, listeners=[signalling(6, times)]).run()
    assert signal.getsignal(signal.SIGINT) is handler
    assert (summary.reason, summary.exit_code) == ("interrupted", 130)
    assert summary.experiment.status == "interrupted"
    assert summary.counts.get("running", 0) == 0
    assert summary.counts["done"] == 6  # finished trials are kept, the running one is queued
    summary = Runner.resume(store, "toy")
    assert (summary.reason, summary.exit_code) == ("budget", 0)
    assert rows(store, "toy") == rows(store, "calm")


def test_a_cheap_search_is_interrupted_between_batches(plan: Plans, store: Store) -> None:
    Runner(plan(name="calm"), store).run()
    summary = Runner(plan(), store, listeners=[signalling(9)]).run()
    assert summary.exit_code == 130
    assert summary.counts["done"] == 12
    Runner.resume(store, "toy")
    assert rows(store, "toy") == rows(store, "calm")


def test_stop_ends_the_run_and_resume_goes_on(plan: Plans, store: Store) -> None:
    def stop(event: Event) -> None:
        if (event.kind, event.number) == ("committed", 3):
            store.request_stop(store.experiment("toy").id)

    changes = trained(sleep_s=0.02) | {"budget": {"trials": 40}}
    summary = Runner(plan(**changes), store, listeners=[stop]).run()
    assert (summary.reason, summary.exit_code) == ("stopped", 130)
    assert 4 <= summary.counts["done"] < 40
    again = Runner.resume(store, "toy")
    assert again.reason == "budget"
    assert again.counts["done"] == 40


def test_a_larger_budget_goes_on_where_it_ended(plan: Plans, store: Store) -> None:
    changes = {**TRAIN, "strategy": EVOLVE}
    Runner(plan(**{**changes, "budget": {"trials": 20}}, name="long"), store).run()
    Runner(plan(**{**changes, "budget": {"trials": 8}}), store).run()
    summary = Runner.resume(store, "toy", budget=Budget(trials=20))
    tested = {r.number for r in summary.front}
    for mine, calm in zip(rows(store, "toy"), rows(store, "long"), strict=True):
        if mine[0] in tested:
            assert mine == calm
        assert mine[:5] == calm[:5]
    assert summary.experiment.spec["budget"]["trials"] == 20


def test_resuming_a_finished_search_changes_nothing(plan: Plans, store: Store) -> None:
    first = Runner(plan(**TRAIN), store).run()
    before = rows(store, "toy")
    again = Runner.resume(store, "toy")
    assert rows(store, "toy") == before
    assert [r.number for r in again.front] == [r.number for r in first.front]


def test_another_plan_cannot_resume(plan: Plans, store: Store) -> None:
    Runner(plan(**TRAIN), store).run()
    with pytest.raises(SpecError, match="the seed of toy has changed"):
        Runner.resume(store, "toy", plan=plan(**TRAIN, seed=4))
    with pytest.raises(SpecError, match="the metrics of toy has changed"):
        Runner.resume(store, "toy", plan=plan(**trained(epochs=9)))


def test_a_running_experiment_cannot_be_resumed(plan: Plans, store: Store) -> None:
    refused: list[str] = []

    def resume(event: Event) -> None:
        if (event.kind, event.number) == ("committed", 1):
            with Store(store.url) as other, pytest.raises(StoreError) as error:
                Runner.resume(other, "toy")
            refused.append(str(error.value))

    Runner(plan(**TRAIN), store, listeners=[resume]).run()
    assert f"is being run by pid {os.getpid()}" in refused[0]


def test_a_trial_whose_process_died_too_often_is_failed(plan: Plans, store: Store) -> None:
    Runner(plan(**TRAIN), store, listeners=[signalling(5)]).run()
    id = store.experiment("toy").id
    for _ in range(3):  # as if the kernel had killed the process each time it ran trial 5
        with store.transaction() as transaction:
            transaction.start_trials(id, [5])
    summary = Runner.resume(store, "toy")
    record = store.trial(id, 5)
    assert record.status == "failed"
    assert "died 4 times" in (record.error or "")
    assert summary.counts["done"] + summary.counts["failed"] == 10


def test_test_metrics_are_measured_once_at_the_end_for_the_front(plan: Plans, store: Store) -> None:
    seen: list[set[str]] = []

    def watch(event: Event) -> None:
        if event.kind == "committed":
            records = store.trial_records(store.experiment("toy").id)
            seen.append({name for r in records for name in r.metrics})

    summary = Runner(plan(**trained(weights=True)), store, listeners=[watch]).run()
    assert all("test_accuracy" not in names for names in seen)
    front = {r.number for r in summary.front}
    assert summary.test_failures == {}
    for record in store.trial_records(summary.experiment.id):
        tested = record.metrics.get("test_accuracy")
        assert tested == (sum(record.architecture.values()) - 1 if record.number in front else None)


def test_no_strategy_sees_a_test_metric_and_none_is_measured_twice(
    plan: Plans, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a finished search, whose front was tested, goes on."""
    from toys import Train

    from netloom.search.strategies.local_search import LocalSearch

    told: set[str] = set()
    tested: list[str] = []
    tell, test = LocalSearch.tell, Train.test

    def listen(self: Any, results: Any) -> None:
        told.update(name for result in results for name in result.metrics)
        tell(self, results)

    def count(self: Any, architecture: Any, **given: Any) -> Any:
        tested.append(architecture.key)
        return test(self, architecture, **given)

    monkeypatch.setattr(LocalSearch, "tell", listen)
    monkeypatch.setattr(Train, "test", count)
    changes = trained(weights=True) | {"strategy": {"name": "local_search", "initial": 4}}
    before = Runner(plan(**changes), store).run()
    assert sorted(tested) == sorted(r.key for r in before.front)
    after = Runner.resume(store, "toy", budget=Budget(trials=24))
    assert len(tested) == len(set(tested))
    assert {r.key for r in after.front} <= set(tested)
    assert {"accuracy", "cost"} <= told
    assert "test_accuracy" not in told


def test_a_front_that_cannot_be_tested_is_reported(plan: Plans, store: Store) -> None:
    changes = trained(weights=True)
    messages: list[str] = []

    def spoil(event: Event) -> None:
        if (event.kind, event.number) == ("told", 9):
            with store.transaction() as transaction:
                transaction.remove_artifacts(store.experiment("toy").id, kind="weights")
        if event.kind == "message":
            messages.append(event.data["text"])

    summary = Runner(plan(**changes), store, listeners=[spoil]).run()
    assert set(summary.test_failures) == {r.number for r in summary.front}
    assert all("has no test metrics: EvaluationError" in text for text in messages)
    assert summary.exit_code == 0


def test_weights_of_the_front_and_of_the_best_are_kept(plan: Plans, store: Store) -> None:
    import torch

    summary = Runner(plan(**trained(weights=True), keep_weights=2), store).run()
    records = store.trial_records(summary.experiment.id)
    best = {r.number for r in sorted(records, key=lambda r: -r.metrics["accuracy"])[:2]}
    best |= {r.number for r in sorted(records, key=lambda r: r.metrics["cost"])[:2]}
    artifacts = store.artifacts(summary.experiment.id, kind="weights")
    assert {a.number for a in artifacts} == best | {r.number for r in summary.front}
    assert len(artifacts) < len(records)
    for artifact in artifacts:
        state = torch.load(store.artifact_path(artifact), weights_only=True)
        assert artifact.number is not None
        assert float(state["w"][0]) == records[artifact.number].seed % 1000
    on_disk = {path.name for path in store.files.folder.glob("??/*")}
    assert on_disk == {a.sha256 for a in artifacts}, "weights that fell out are off the disk"


def test_replaced_checkpoints_are_off_the_disk(plan: Plans, store: Store) -> None:
    import torch

    made = plan(strategy="toys:Remembering", budget={"trials": 12})
    summary = Runner(made, store).run()
    (kept,) = store.artifacts(summary.experiment.id, kind="checkpoint")
    assert store.checkpoint(summary.experiment.id, "memory") == kept
    state = torch.load(store.artifact_path(kept), weights_only=True)
    assert int(state["told"]) == 12
    assert [path.name for path in store.files.folder.glob("??/*")] == [kept.sha256]


def test_notes_are_kept_as_values_and_as_a_file(plan: Plans, store: Store) -> None:
    summary = Runner(plan(strategy="toys:Noting", budget={"trials": 12}), store).run()
    (kept,) = store.artifacts(summary.experiment.id, kind="note")
    (note,) = store.notes(summary.experiment.id)
    assert (note.name, note.kind) == ("memory", "count")
    assert note.value == {"told": 12, "by": ["four"]}
    assert json.loads(store.artifact_path(kept).read_text()) == note.value


def test_details_are_kept(plan: Plans, store: Store) -> None:
    summary = Runner(plan(), store).run()
    for record in summary.front:
        payload = store.details(summary.experiment.id, record.number, "cost")
        assert payload == {"parts": dict(record.architecture)}


def test_a_cheap_search_stores_an_equal_random_baseline(plan: Plans, store: Store) -> None:
    changes = {"strategy": EVOLVE, "baseline": None, "budget": {"trials": 30}}
    numbers: list[int] = []

    def count(event: Event) -> None:
        if event.kind == "committed" and event.number is not None:
            numbers.append(event.number)

    summary = Runner(plan(**changes), store, listeners=[count]).run()
    assert numbers == list(range(30))  # the baseline's trials are not the search's
    assert [e.name for e in store.experiments()] == ["toy"]
    (baseline,) = store.experiments(all=True, parent=summary.experiment.id)
    assert (baseline.kind, baseline.strategy, baseline.status) == ("baseline", "random", "done")
    assert baseline.counts["done"] == 30
    assert baseline.name == "toy-random"
    assert summary.experiment.summary["baseline"]["id"] == baseline.id
    assert summary.experiment.summary["hypervolume"] > 0
    mine = {r.key for r in store.trial_records(summary.experiment.id)}
    assert mine != {r.key for r in store.trial_records(baseline.id)}


def test_an_interrupted_baseline_goes_on(plan: Plans, store: Store) -> None:
    def interrupt(event: Event) -> None:
        if event.kind == "message":
            os.kill(os.getpid(), signal.SIGINT)

    changes = {"baseline": True, "strategy": EVOLVE}
    summary = Runner(plan(**changes), store, listeners=[interrupt]).run()
    assert summary.exit_code == 130
    assert summary.counts["done"] == 20
    summary = Runner.resume(store, "toy")
    assert summary.exit_code == 0
    (baseline,) = store.experiments(all=True, parent=summary.experiment.id)
    assert baseline.counts["done"] == 20


def test_training_has_a_baseline_only_when_asked(plan: Plans, store: Store) -> None:
    Runner(plan(**TRAIN, baseline=None), store).run()
    assert len(store.experiments(all=True)) == 1
    Runner(plan(**TRAIN | {"baseline": True}), store).run()
    assert len(store.experiments(all=True)) == 3


def test_a_warm_start_proposes_the_front_first(plan: Plans, store: Store) -> None:
    first = Runner(plan(name="first", budget={"trials": 60}), store).run()
    changes = {**TRAIN, "strategy": EVOLVE, "budget": {"trials": 30}}
    for name in ("warm", "calm"):
        plan_ = plan(**{**changes, "warm_start": "first", "name": name})
        listeners = [signalling(3)] if name == "warm" else []
        Runner(plan_, store, listeners=listeners).run()
    Runner.resume(store, "warm")
    assert rows(store, "warm") == rows(store, "calm")
    records = store.trial_records(store.experiment("warm").id)
    front = [r.key for r in first.front][: len(records)]
    assert [r.key for r in records[: len(front)]] == front
    assert records[0].tags == {"warm_start": "first"}
    assert len({r.key for r in records}) == 30


def test_a_failed_trial_keeps_what_it_printed_and_hides_nothing(
    plan: Plans, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    Runner(plan(**trained(raise_at=7) | {"budget": {"trials": 16}}), store).run()
    failed = store.trial_records(store.experiment("toy").id, statuses=["failed"])
    assert failed
    for record in failed:
        assert record.traceback.endswith("--- what the trial printed ---\nwhat it printed\n")
    assert capsys.readouterr().out == "what it printed\n" * len(failed)


def test_a_resumed_run_needs_the_experiment_it_started_from_no_more(
    plan: Plans, store: Store
) -> None:
    Runner(plan(name="first", budget={"trials": 60}), store).run()
    changes = {**TRAIN, "strategy": EVOLVE, "budget": {"trials": 12}, "warm_start": "first"}
    Runner(plan(**changes, name="calm"), store).run()
    Runner(plan(**changes, name="warm"), store, listeners=[signalling(3)]).run()
    store.delete_experiment(store.experiment("first").id)
    Runner.resume(store, "warm")
    assert rows(store, "warm") == rows(store, "calm")


def test_a_warm_start_without_a_front_is_refused(plan: Plans, store: Store) -> None:
    Runner(plan(name="first", constraints=["cost <= -1"], budget={"trials": 1}), store).run()
    with pytest.raises(SpecError, match="needs an experiment with a front, and first has no feas"):
        Runner(plan(warm_start="first"), store).run()


class _Starting:
    """An engine during whose start somebody presses Ctrl-C."""

    def __init__(self, engine: Any) -> None:
        self._engine, self.log = engine, []

    def __enter__(self) -> Any:
        self._engine.__enter__()
        os.kill(os.getpid(), signal.SIGINT)
        self.log.append("started")
        return self._engine

    def __exit__(self, *exception: object) -> None:
        self._engine.__exit__(*exception)
        self.log.append("ended")


def test_ctrl_c_lets_an_engine_start_before_it_ends(
    plan: Plans, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray does not survive a signal in the middle of its start."""
    from netloom.search.run import runner

    made = _Starting(runner.make_engine(plan()))
    monkeypatch.setattr(runner, "make_engine", lambda _: made)
    summary = Runner(plan(), store).run()
    assert made.log == ["started", "ended"]
    assert (summary.reason, summary.exit_code) == ("interrupted", 130)
    assert summary.experiment.status == "interrupted"


class _Seizing(_Starting):
    """An engine that takes SIGTERM for itself when it starts, as Ray does."""

    def __enter__(self) -> Any:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return self._engine.__enter__()


def test_sigterm_ends_a_run_cleanly_whatever_its_engine_does(
    plan: Plans, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from netloom.search.run import runner

    def terminate(event: Event) -> None:
        if (event.kind, event.number) == ("evaluating", 9):
            os.kill(os.getpid(), signal.SIGTERM)

    made = _Seizing(runner.make_engine(plan()))
    monkeypatch.setattr(runner, "make_engine", lambda _: made)
    before = signal.getsignal(signal.SIGTERM)
    summary = Runner(plan(), store, listeners=[terminate]).run()
    assert (summary.reason, summary.exit_code) == ("interrupted", 130)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_warm_start_from_another_space_is_refused(plan: Plans, store: Store) -> None:
    Runner(plan(name="first"), store).run()
    other = {"name": "toys:Grid", "depth": 2}
    with pytest.raises(SpecError, match="warm_start needs an experiment on the same kind of space"):
        Runner(plan(space=other, warm_start="first"), store).run()
    with pytest.raises(StoreError, match="nowhere"):
        Runner(plan(warm_start="nowhere"), store).run()


def test_a_full_store_ends_the_run_and_loses_nothing(
    plan: Plans, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from netloom.db.transaction import Transaction

    Runner(plan(**TRAIN, name="calm"), store).run()
    real = Transaction.finish_trials
    calls = iter(range(100))

    def full(self: Transaction, *arguments: Any) -> None:
        real(self, *arguments)
        if next(calls) == 5:
            raise StoreError("the disk is full")

    monkeypatch.setattr(Transaction, "finish_trials", full)
    with pytest.raises(StoreError, match="full"):
        Runner(plan(**TRAIN), store).run()
    monkeypatch.undo()
    assert store.experiment("toy").status == "failed"
    Runner.resume(store, "toy")
    assert rows(store, "toy") == rows(store, "calm")


def test_the_spec_of_a_stored_run_is_enough(tmp_path: Path, store: Store) -> None:
    Runner(make_plan(store.url, **TRAIN), store, listeners=[signalling(2)]).run()
    summary = Runner.resume(store, store.experiment("toy").id[:5])
    assert summary.counts["done"] == 10
