"""The life of trials, their metrics, curves, costs and details."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from ...errors import StoreError
from ...jsonio import digest
from ..records import (
    FIXED,
    FIXED_SPACE,
    CostRecord,
    CurvePoint,
    MetricRecord,
    Outcome,
    SpaceRef,
)
from ..rescored import rescored_info, rescored_metrics
from ..store import Store
from .samples import METRICS, SPACE, Fixtures, done, experiment, trial


class TrialChecks(Fixtures):
    """The life of trials, their metrics, curves, costs and details."""

    def test_a_trial_lives_from_queued_to_done(self, store: Store, exp: str) -> None:
        with store.transaction() as tx:
            tx.add_trials(exp, [trial(0, seed=2**62, parent=None, budget=4.0, tags={"g": [1]})])
        queued = store.trial(exp, 0)
        assert (queued.status, queued.attempts, queued.finished_at) == ("queued", 0, None)
        with store.transaction() as tx:
            tx.start_trials(exp, [0])
            tx.requeue_trials(exp, [0])
        assert (store.trial(exp, 0).status, store.trial(exp, 0).attempts) == ("queued", 1)
        with store.transaction() as tx:
            tx.start_trials(exp, [0])
            values = {"accuracy": 1.5, "latency_ms@dev": 2.0}
            tx.finish_trials(exp, [Outcome(0, "done", values, duration_s=3.0)])
            tx.mark_told(exp, {0: 5})
        record = store.trial(exp, 0)
        assert (record.status, record.attempts, record.told) == ("done", 2, 5)
        assert (record.metrics, record.duration_s, record.feasible) == (values, 3.0, True)
        assert (record.seed, record.budget, record.tags) == (2**62, 4.0, {"g": [1]})
        assert record.architecture == {"stage1.op": "op0", "depth": 0}
        assert list(record.architecture) == ["stage1.op", "depth"]  # in the order of the decisions
        assert (record.key, record.notation) == (trial(0).key, "|op0|")
        assert record.finished_at is not None
        assert record.finished_at >= record.created_at
        assert store.experiment(exp).counts == {"done": 1}

    def test_finished_trials_are_added_at_once(self, store: Store, exp: str) -> None:
        trials = [
            done(0, told=0),
            trial(1, status="infeasible", violation=0.25, metrics={"latency_ms@dev": 7.5}, told=1),
            trial(2, status="failed", error="boom", traceback="Traceback\n  boom", parent=0),
            done(3, key=trial(0).key, architecture=trial(0).architecture),
        ]
        with store.transaction() as tx:
            tx.add_trials(exp, trials)
            tx.save_state(exp, {"n": 1}, 2)
        records = store.trial_records(exp)
        assert [r.status for r in records] == ["done", "infeasible", "failed", "done"]
        assert [r.attempts for r in records] == [1, 1, 1, 1]
        assert [r.metrics for r in records] == [dict(t.metrics) for t in trials]
        assert (records[1].violation, records[1].feasible) == (0.25, False)
        assert (records[2].error, records[2].traceback) == ("boom", "Traceback\n  boom")
        assert (records[2].parent, records[2].told) == (0, None)
        assert store.keys(exp) == {trial(n).key: n for n in range(3)}
        assert store.load_state(exp) == ({"n": 1}, 2)
        assert store.experiment(exp).counts == {"done": 2, "infeasible": 1, "failed": 1}

    def test_a_fixed_point_keeps_the_space_that_it_is_of(self, store: Store, exp: str) -> None:
        there = SpaceRef("elsewhere", "e" * 64)
        own, tags = done(1), {FIXED: "elsewhere/Net", FIXED_SPACE: there.tag}
        other = replace(own, number=0, key=there.key(own.key), tags=tags)
        with store.transaction() as tx:  # the same words are another network in each space
            tx.add_trials(exp, [other, own, replace(other, number=2)])
            tx.add_costs(SPACE, [CostRecord(own.key, "dev", "1", "latency_ms", 1.0)])
            tx.add_costs(there.fingerprint, [CostRecord(other.key, "dev", "1", "latency_ms", 2.0)])
        records = store.trial_records(exp)
        assert [r.space for r in records] == [there, None, there]
        assert [r.key for r in records] == [other.key, own.key, other.key]
        assert store.keys(exp) == {other.key: 0, own.key: 1}
        assert store.architectures(exp, [own.key, other.key]).keys() == {own.key}
        assert [r.number for r in store.trial_records(exp, keys=[own.key, other.key])] == [1]
        costs = store.costs(there.fingerprint)
        assert list(zip(costs["key"], costs["value"], strict=True)) == [(other.key, 2.0)]
        assert store.experiment(exp).space == "toy"
        store.delete_experiment(exp)
        assert store.gc().architectures == 2

    def test_trials_are_chosen_by_number_status_and_key(self, store: Store, exp: str) -> None:
        with store.transaction() as tx:
            tx.add_trials(exp, [done(n) if n % 2 else trial(n) for n in range(1200)])
        numbers = range(1100, -1, -1)  # more than one query takes
        assert [r.number for r in store.trial_records(exp, numbers=numbers)] == list(range(1101))
        some = store.trial_records(exp, numbers=range(10), statuses=["done"])
        assert [r.number for r in some] == [1, 3, 5, 7, 9]
        keys = [trial(n).key for n in range(600)]
        assert [r.number for r in store.trial_records(exp, keys=keys)] == list(range(600))
        assert [r.number for r in store.trial_records(exp, keys=keys[:2])] == [0, 1]
        assert [r.number for r in store.trial_records(exp, numbers=[7], keys=keys[:9])] == [7]
        assert store.trial_records(exp, numbers=[]) == []
        found = store.architectures(exp, [*keys, "unknown"])
        assert found == {trial(n).key: dict(trial(n).architecture) for n in range(600)}
        with pytest.raises(StoreError, match="got 1200; those of this experiment are 0 to 1199"):
            store.trial(exp, 1200)

    def test_a_trial_ends_once(self, store: Store, exp: str) -> None:
        with store.transaction() as tx:
            tx.add_trials(exp, [done(0), trial(1)])
        for number, status in ((0, "failed"), (1, "running"), (2, "done")):
            with pytest.raises(StoreError, match="a trial"), store.transaction() as tx:
                tx.finish_trials(exp, [Outcome(number, status)])  # type: ignore[arg-type]
        with pytest.raises(StoreError, match="trial 0, which is done"), store.transaction() as tx:
            tx.start_trials(exp, [0])
        with pytest.raises(StoreError, match="given by its number, got 7"):
            store.trial(exp, 7)
        assert [r.status for r in store.trial_records(exp)] == ["done", "queued"]

    def test_a_number_is_taken_once(self, store: Store, exp: str) -> None:
        with store.transaction() as tx:
            tx.add_trials(exp, [done(0)])
        with pytest.raises(StoreError, match="number that is taken"), store.transaction() as tx:
            tx.add_trials(exp, [done(1), replace(done(2), number=0)])
        assert [r.number for r in store.trial_records(exp)] == [0]

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_a_metric_is_finite(self, store: Store, exp: str, value: float) -> None:
        with store.transaction() as tx:
            tx.add_trials(exp, [trial(0)])
        with pytest.raises(StoreError, match=f"got accuracy = {value} for"):  # noqa: SIM117
            with store.transaction() as tx:
                tx.add_trials(exp, [done(1, metrics={"accuracy": value})])
        with pytest.raises(StoreError, match="finite"), store.transaction() as tx:
            tx.finish_trials(exp, [Outcome(0, "done", {"accuracy": value})])
        with pytest.raises(StoreError, match="finite"), store.transaction() as tx:
            tx.finish_trials(exp, [Outcome(0, "infeasible", violation=value)])
        assert [r.status for r in store.trial_records(exp)] == ["queued"]

    def test_a_metric_is_declared(self, store: Store, exp: str) -> None:
        with (
            pytest.raises(StoreError, match="'acuracy'; did you mean accuracy"),
            store.transaction() as tx,
        ):
            tx.add_trials(exp, [done(0, metrics={"acuracy": 1.0})])

    def test_a_rolled_back_transaction_leaves_no_trace(self, store: Store, exp: str) -> None:
        before = store.revision()
        with pytest.raises(StoreError, match="nope"), store.transaction() as tx:  # noqa: PT012
            tx.add_trials(exp, [done(0), done(1)])
            tx.save_state(exp, {"n": 1}, 2)
            tx.set_metrics(exp, 0, {"nope": 1.0})
        assert (store.trial_records(exp), store.load_state(exp)) == ([], None)
        assert store.revision() == before
        with store.transaction() as tx:  # ids that were looked up meanwhile must not linger
            tx.add_trials(exp, [done(1), done(0)])
        assert [r.metrics for r in store.trial_records(exp)] == [done(0).metrics, done(1).metrics]

    def test_results_are_told_once_and_replayed_in_order(self, store: Store, exp: str) -> None:
        with store.transaction() as tx:
            tx.add_trials(exp, [done(n) for n in range(1003)])
            tx.mark_told(exp, {n: 1001 - n for n in range(1002)})
        told = list(store.told_trials(exp))
        assert [r.number for r in told] == list(range(1001, -1, -1))
        assert told[0].metrics == done(1001).metrics
        with pytest.raises(StoreError, match="told once"), store.transaction() as tx:
            tx.mark_told(exp, {1002: 3})

    def test_the_state_keeps_any_json(self, store: Store, exp: str) -> None:
        assert store.load_state(exp) is None
        state = {"z": [1, 2.5, None], "a": {"nul": "\0", "half": "\ud800", "best": -math.inf}}
        for told in (1, 2):
            with store.transaction() as tx:
                tx.save_state(exp, state, told)
        loaded = store.load_state(exp)
        assert loaded == (state, 2)
        assert list(loaded[0]) == ["z", "a"]

    def test_hostile_text_is_kept_readable(self, store: Store, exp: str) -> None:
        text = "NUL \0, half \ud83d, '; DROP TABLE trials; --, ☃"
        failed = trial(0, status="failed", error=text, traceback=text, notation=text)
        with store.transaction() as tx:
            tx.add_trials(exp, [failed])
        record = store.trial(exp, 0)
        expected = text.replace("\0", "\\x00").replace("\ud83d", "\\ud83d")
        assert (record.error, record.traceback, record.notation) == (expected,) * 3

    def test_a_test_metric_comes_last(self, store: Store, exp: str) -> None:
        with store.transaction() as tx:
            tx.add_trials(exp, [done(0)])
            tx.set_metrics(exp, 0, {"test_accuracy": 80.0, "accuracy": 91.0})
        expected = {"accuracy": 91.0, "latency_ms@dev": 1.0, "test_accuracy": 80.0}
        assert store.trial(exp, 0).metrics == expected

    def test_lookup_finds_what_the_rule_allows(self, store: Store, exp: str) -> None:
        other = store.create_experiment(experiment("other")).id
        far = store.create_experiment(experiment("far", space_fingerprint=digest("far"))).id
        values = {"accuracy": 1.0, "latency_ms@dev": 2.0, "test_accuracy": 3.0}
        with store.transaction() as tx:
            tx.add_trials(exp, [done(0, metrics=values, seed=3), trial(1), done(2, budget=4.0)])
            tx.add_trials(exp, [trial(3, status="infeasible", metrics={"latency_ms@dev": 9.0})])
            tx.add_trials(other, [done(0, seed=4)])
            tx.add_trials(far, [done(4)])
        keys = {n: trial(n).key for n in range(6)}

        def find(**changes: Any) -> dict[str, tuple[int, dict[str, float]]]:
            return store.lookup(SPACE, keys.values(), **{"fingerprint": "tabular-1"} | changes)

        first = store.trial(exp, 0).id
        assert find() == {keys[0]: (first, {"accuracy": 1.0})}  # never a test metric
        assert find(fingerprint="hardware-1") == {keys[0]: (first, {"latency_ms@dev": 2.0})}
        assert find(fingerprint="tabular-2") == {}
        assert find(seed=4) == {keys[0]: (store.trial(other, 0).id, {"accuracy": 90.0})}
        assert find(seed=5) == {}
        assert list(find(budget=4.0)) == [keys[2]]
        assert store.lookup(SPACE, [], fingerprint="tabular-1") == {}

    def test_a_reused_value_survives_its_source(self, store: Store, exp: str) -> None:
        other = store.create_experiment(experiment("other")).id
        with store.transaction() as tx:
            tx.add_trials(exp, [done(0)])
        with store.transaction() as tx:
            tx.add_trials(other, [done(0, reused_from=store.trial(exp, 0).id)])
        assert store.trial(other, 0).reused_from == store.trial(exp, 0).id
        store.delete_experiment(exp)
        assert store.trial(other, 0).reused_from is None
        assert store.trial(other, 0).metrics == done(0).metrics

    def test_trials_are_a_frame(self, store: Store) -> None:
        metrics = (*METRICS, replace(METRICS[0], name="status"))
        exp = store.create_experiment(experiment(metrics=metrics)).id
        odd = {"number": 3, "extra": True}
        with store.transaction() as tx:
            tx.add_trials(exp, [done(0), trial(1, parent=0)])
            tx.add_trials(exp, [trial(2, key="k", architecture=odd)])
        frame = store.trials("exp")
        decisions = ["stage1.op", "depth", "decision:number", "extra"]
        values = ["accuracy", "latency_ms@dev", "test_accuracy", "metric:status"]
        first, last = ["number", "key", "status", "violation"], ["duration_s", "parent", "notation"]
        assert list(frame.columns) == [*first, *decisions, *values, *last]
        assert frame["number"].tolist() == [0, 1, 2]
        assert frame["accuracy"].tolist()[0] == 90.0
        assert frame["accuracy"].isna().tolist() == [False, True, True]
        assert frame["parent"].isna().tolist() == [True, False, True]
        assert frame.loc[2, "decision:number"] == 3
        assert frame["stage1.op"].isna().tolist() == [False, False, True]
        empty = store.trials(store.create_experiment(experiment("empty")).id)
        assert (len(empty), list(empty.columns)) == (0, [*first, *values[:3], *last])

    def test_curves_by_step(self, store: Store, exp: str) -> None:
        with store.transaction() as tx:
            tx.add_trials(exp, [trial(0), trial(1)])
            tx.add_curves(exp, [CurvePoint("loss", step, 1 / (step + 1), 1) for step in range(3)])
            tx.add_curves(exp, [CurvePoint("loss", 2, math.nan, 1), CurvePoint("temp", 0, 5.0)])
            tx.add_curves(exp, [CurvePoint("loss", 0, 2.0, 0), CurvePoint("loss", 0, 3.0, 0)])
        frame = store.curves(exp)
        assert frame["number"].isna().tolist() == [True, False, False, False, False]
        assert frame["name"].tolist() == ["temp", "loss", "loss", "loss", "loss"]
        assert frame["value"].tolist()[:4] == [5.0, 3.0, 1.0, 0.5]
        assert math.isnan(frame["value"].tolist()[4])
        assert store.curves(exp, number=1)["step"].tolist() == [0, 1, 2]
        with pytest.raises(StoreError, match="must be added before"), store.transaction() as tx:
            tx.add_curves(exp, [CurvePoint("loss", 0, 1.0, 9)])

    def test_costs_belong_to_architectures(self, store: Store, exp: str) -> None:
        key = trial(0).key
        costs = [
            CostRecord(key, dev, "1", "latency_ms", ms) for dev, ms in (("a", 1.0), ("b", 2.0))
        ]
        with store.transaction() as tx:
            tx.add_trials(exp, [done(0)])
            tx.add_costs(SPACE, [*costs, replace(costs[0], model_version="2", value=3.0)])
            tx.add_costs(SPACE, [replace(costs[0], value=1.5)])
        frame = store.costs(SPACE)
        assert frame["value"].tolist() == [1.5, 3.0, 2.0]
        assert list(frame.columns) == ["key", "device", "model_version", "metric", "value"]
        assert store.costs(SPACE, [key], "b")["value"].tolist() == [2.0]
        assert len(store.costs(SPACE, ["nobody"])) == len(store.costs(digest("far"))) == 0
        for bad in (replace(costs[0], value=math.nan), replace(costs[0], key="nobody")):
            with pytest.raises(StoreError, match=r"a cost must|costs belong"):  # noqa: SIM117
                with store.transaction() as tx:
                    tx.add_costs(SPACE, [bad])

    def test_costs_are_added_to_an_experiment_afterwards(self, store: Store, exp: str) -> None:
        keys = [trial(n).key for n in range(3)]
        costs = [CostRecord(k, "dev", "v1", "latency_ms", float(i)) for i, k in enumerate(keys)]
        costs += [replace(costs[0], metric="violation"), replace(costs[0], device="other")]
        with store.transaction() as tx:
            tx.add_trials(exp, [done(n) for n in range(3)])
            tx.add_costs(SPACE, [*costs, replace(costs[1], model_version="v0", value=9.0)])
        record = store.experiment(exp)
        assert store.rescored(record) == {}
        metric = MetricRecord("latency_ms@dev", "ms", "minimize", "rescore", "f" * 64)
        info = rescored_info(record.info, "dev", model_version="v1", metrics=[metric])
        store.update_experiment(exp, info=info)
        record = store.experiment(exp)
        assert rescored_metrics(record) == (metric,)
        assert metric not in record.metrics
        assert store.rescored(record) == {
            key: {"latency_ms@dev": float(i)} for i, key in enumerate(keys)
        }
        newer = rescored_info(record.info, "dev", model_version="v0", metrics=[metric])
        store.update_experiment(exp, info=newer)
        assert store.rescored(store.experiment(exp)) == {keys[1]: {"latency_ms@dev": 9.0}}

    def test_single_values_of_many_trials(self, store: Store, exp: str) -> None:
        other = store.create_experiment(experiment("other")).id
        with store.transaction() as tx:
            tx.add_trials(exp, [done(0, tags={"generation": 3}), done(1), done(2, violation=1.0)])
            tx.add_trials(exp, [trial(3), done(4, architecture={"depth": 8}, key="k" * 64)])
            tx.add_trials(other, [done(7)])
        assert store.decision_values(exp, "stage1.op") == {n: f"op{n}" for n in range(4)}
        assert store.decision_values(exp, "depth") == {0: 0, 1: 1, 2: 2, 3: 3, 4: 8}
        assert store.decision_values(exp, "nothing") == {}
        assert store.tag_values(exp) == {0: {"generation": 3}}
        latency, names = {0: 1.0, 1: 2.0, 4: 5.0}, ["latency_ms@dev", "nothing"]
        assert store.feasible_values(exp, names) == {"latency_ms@dev": latency, "nothing": {}}
        assert store.feasible_values(exp, names[:1], first=1)[names[0]] == {1: 2.0, 4: 5.0}
        assert store.extremes([exp, other, "nobody"], names) == {
            exp: {"latency_ms@dev": (1.0, 5.0)},
            other: {"latency_ms@dev": (8.0, 8.0)},
        }
        assert store.extremes([exp], names, first=1) == {exp: {"latency_ms@dev": (2.0, 5.0)}}

    def test_details_by_kind(self, store: Store, exp: str) -> None:
        layers = {"layers": [{"name": f"conv{n}", "macs": n} for n in range(100)]}
        with store.transaction() as tx:
            tx.add_trials(exp, [done(0), done(1)])
            tx.add_details(exp, 0, "cost", {"old": 1})
            tx.add_details(exp, 0, "cost", layers)
            tx.add_details(exp, 1, "cost", {"x": "é\0"})
        assert store.details(exp, 0, "cost") == layers
        assert store.details(exp, 1, "cost") == {"x": "é\0"}
        assert store.details(exp, 0, "other") is None
        with store.transaction() as tx:
            tx.remove_details(exp, kind="cost", numbers=[0])
        assert store.details(exp, 0, "cost") is None
        assert store.details(exp, 1, "cost") is not None

    def test_trials_are_imported_behind_the_others(self, store: Store, exp: str) -> None:
        with store.transaction() as tx:
            tx.add_trials(exp, [done(0)])
        assert store.import_trials(exp, [done(7), done(9)]) == [1, 2]
        assert [r.notation for r in store.trial_records(exp)] == ["|op0|", "|op7|", "|op9|"]
        bad = [done(10), done(11, metrics={"nope": 1.0})]
        with pytest.raises(StoreError, match="nope"):
            store.import_trials(exp, bad)
        assert len(store.trial_records(exp)) == 3

    def test_columns_hold_what_records_hold(self, store: Store, exp: str) -> None:
        with store.transaction() as tx:
            tx.add_trials(exp, [done(2), done(0, tags={FIXED: "net-a", "g": 1}, parent=None)])
            tx.add_trials(exp, [trial(1, tags={"g": 2}), trial(3, status="failed", error="boom")])
            tx.set_metrics(exp, 2, {"accuracy": 50.0})
        columns, records = store.columns(exp), store.trial_records(exp)
        assert columns.number.tolist() == [0, 1, 2, 3]
        for name in ("id", "status", "violation", "parent", "error", "key", "notation", "fixed"):
            assert list(getattr(columns, name)) == [getattr(each, name) for each in records]
        times = [each.finished_at.timestamp() if each.finished_at else None for each in records]
        assert [None if math.isnan(t) else t for t in columns.finished_at.tolist()] == times
        assert math.isnan(columns.duration_s[1])
        ids, values = store.metric_column(exp, "accuracy")
        assert dict(zip(ids.tolist(), values.tolist(), strict=True)) == {
            each.id: each.metrics["accuracy"] for each in records if each.metrics
        }
        assert ids.tolist() == sorted(ids.tolist())
        some = store.metric_column(exp, "accuracy", ids=[10**9, records[2].id])
        assert [part.tolist() for part in some] == [[records[2].id], [50.0]]
        assert [part.tolist() for part in store.metric_column(exp, "nope")] == [[], []]
        assert store.metrics(exp, [records[2].id]) == {records[2].id: dict(records[2].metrics)}

    def test_columns_of_some_trials(self, store: Store, exp: str) -> None:
        assert len(store.columns(exp)) == 0
        with store.transaction() as tx:
            tx.add_trials(exp, [done(n) for n in range(6)])
        assert store.columns(exp, numbers=[1]).number.tolist() == [1]
        assert store.columns(exp, above=3).number.tolist() == [4, 5]
        assert store.columns(exp, numbers=[0, 2], above=4).number.tolist() == [0, 2, 5]
        assert len(store.columns(exp, numbers=[])) == 0
